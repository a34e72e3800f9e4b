"""Which kinds of wish the words of a prompt speak for, by a word list, so that a word rare in training counts too."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

_FILE = Path(__file__).parent / "data" / "lexicon.toml"
_FIRST = 7
_UNSPACED = re.compile("[\u3040-\u9fff]")
"""Kana and Chinese characters, of which every mark but the Latin ones has one."""


def kinds_of(text: str, words: Sequence[str]) -> Iterator[str]:
    """The kinds that words of ``text`` speak for: at all, among the first words, and more than once."""
    lexicon, marks, latin_marks = _lexicon()
    seen = Counter(kind for word in words for kind in lexicon.get(word, ()))
    possible = marks if _UNSPACED.search(text) else latin_marks
    seen.update(kind for kind, pattern in possible.items() if pattern.search(text))
    early = {kind for word in words[:_FIRST] for kind in lexicon.get(word, ())}
    yield from sorted(seen)
    yield from (f"first {kind}" for kind in sorted(early))
    yield from (f"much {kind}" for kind, count in sorted(seen.items()) if count > 1)


@cache
def _lexicon() -> tuple[dict[str, list[str]], dict[str, re.Pattern[str]], dict[str, re.Pattern[str]]]:
    """The kinds of each word, each kind's marks in scripts without spaces, those also in ours; read on first use."""
    import tomllib  # 4 ms: not at import

    stored = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    kinds: dict[str, list[str]] = {}
    for kind, line in stored["words"].items():
        for word in line.split():
            kinds.setdefault(word, []).append(kind)
    marks = {kind: re.compile(pattern) for kind, pattern in stored["marks"].items()}
    return kinds, marks, {kind: pattern for kind, pattern in marks.items() if re.search("[a-z]", pattern.pattern)}
