"""What a GGUF holds, over all its parts: the facts of its header and where every tensor lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nanolocal.formats.gguf import GGUFFacts, Tensor, read_facts
from nanolocal.formats.splits import parts_of


@dataclass(frozen=True, slots=True)
class Span:
    """One file of the model: its bytes, where its data begin, and its tensors."""

    size_bytes: int
    data_start: int
    tensors: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A model's header. ``facts`` are those of the first part, which alone describes the model."""

    facts: GGUFFacts
    spans: tuple[Span, ...]

    @property
    def architecture(self) -> str:
        """Its name in llama.cpp."""
        return str(self.facts.metadata.get("general.architecture", ""))

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(span.size_bytes for span in self.spans)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Those of all parts."""
        return tuple(tensor for span in self.spans for tensor in span.tensors)

    def number(self, key: str, default: int = 0) -> int:
        """The whole number at ``key`` of the architecture, at least 0; the largest where it differs by layer."""
        full = f"{self.architecture}.{key}"
        if full in self.facts.arrays:
            return max((*self.facts.arrays[full], 0))
        value = self.facts.metadata.get(full, default)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default

    def by_layer(self, key: str, layers: int, default: int = 0) -> tuple[int, ...]:
        """The number at ``key`` for each of ``layers``; where an array is too short, its last item goes on."""
        items = self.facts.arrays.get(f"{self.architecture}.{key}")
        if not items:
            return (self.number(key, default),) * layers
        return tuple(max(items[min(layer, len(items) - 1)], 0) for layer in range(layers))

    @property
    def vocabulary(self) -> int:
        """Tokens there are."""
        tokens = self.facts.lengths.get("tokenizer.ggml.tokens", 0)
        return tokens or self.number("vocab_size")


def read_layout(path: Path) -> Layout:
    """Read the GGUF that begins with ``path``, all parts of it; raises ``Damaged`` or ``OSError``."""
    parts = parts_of(path)
    facts = [read_facts(part, is_first=not number, with_layout=True) for number, part in enumerate(parts)]
    return join(facts, [part.stat().st_size for part in parts])


def join(facts: Sequence[GGUFFacts], sizes: Sequence[int]) -> Layout:
    """The layout of a model whose parts, in order, have these headers and sizes."""
    spans = (Span(size, part.data_start, part.layout) for part, size in zip(facts, sizes, strict=True))
    return Layout(facts[0], tuple(spans))
