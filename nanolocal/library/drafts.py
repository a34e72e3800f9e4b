"""Which stored builds could write ahead of another one: small ones that know the same tokens."""

from collections.abc import Sequence

from nanolocal.chat.routes import Build, Kind
from nanolocal.errors import Damaged
from nanolocal.library.fit.layout import Layout, read_layout

_SMALLER = 4
_MOST = 2
_SAME = (
    "tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
)  # fmt: skip


def drafts_for(build: Build, builds: Sequence[Build]) -> list[Build]:
    """The smallest of ``builds`` that have at most a quarter of the weights of ``build`` and its vocabulary.

    By the header alone: the engine compares every token before it trusts one.
    """
    small = [
        other
        for other in builds
        if other.kind is Kind.TEXT
        and other.architecture == build.architecture
        and 0 < other.parameters * _SMALLER <= build.parameters
        and not other.needs
        and not other.set_aside
    ]
    if not small:
        return []
    wanted = _vocabulary(build)
    found = (other for other in sorted(small, key=lambda other: other.size_bytes) if _vocabulary(other) == wanted)
    return [other for other, _ in zip(found, range(_MOST), strict=False)] if wanted is not None else []


def _vocabulary(build: Build) -> tuple[object, ...] | None:
    """What tells vocabularies apart; ``None`` where the header cannot be read."""
    try:
        layout: Layout = read_layout(build.path)
    except (Damaged, OSError):
        return None
    return (layout.vocabulary, *(layout.facts.metadata.get(key) for key in _SAME))
