"""The sizes of a language model as its GGUF metadata state them, in the words of llama.cpp's graphs.

Sources: ``llama_model_base::load_hparams`` and ``load_arch_hparams`` of src/models/{llama,qwen2,qwen3,gemma,gemma2,
gemma3}.cpp in llama.cpp 0c1e57098.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nanolocal.errors import UsageError

FAMILIES = ("llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3")
"""The architectures that this half of the lab computes."""

_PATTERNS = {"gemma2": 2, "gemma3": 6}
"""Every how many layers one looks at everything, where the file does not say."""
_WINDOWS = {"gemma2": 4096}
_CAPS = {"gemma2": (50.0, 30.0)}
"""Soft caps of attention and output where the file does not say."""
_LARGEST = {("gemma2", 46), ("gemma3", 62)}
"""The 27B models, which llama.cpp tells by their layers and whose attention it scales otherwise."""

Fact = int | float | bool | str | list[int] | list[bool]


@dataclass(frozen=True, slots=True)
class Shape:
    """One model. ``hidden`` is the width of the feed-forward part, ``head_size`` that of queries, keys and values.

    ``rope_base`` and ``rope_scale`` turn positions, ``local_base`` in layers that are ``windowed``, which see only the
    last ``window`` tokens. A cap of 0 is none.
    """

    architecture: str
    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    hidden: int
    context: int = 1024
    norm_eps: float = 1e-5
    rope_base: float = 10_000.0
    rope_scale: float = 1.0
    local_base: float = 10_000.0
    window: int = 0
    windowed: tuple[bool, ...] = ()
    attention_cap: float = 0.0
    output_cap: float = 0.0

    @property
    def is_gemma(self) -> bool:
        """Whether embeddings are scaled and the feed-forward part uses GELU."""
        return self.architecture.startswith("gemma")

    @property
    def turns_neighbours(self) -> bool:
        """Whether position turns pairs of neighbours of a head, and not pairs half a head apart."""
        return self.architecture == "llama"

    @property
    def attention_scale(self) -> float:
        """What the products of queries and keys are multiplied by."""
        size = self.width // self.heads if (self.architecture, self.layers) in _LARGEST else self.head_size
        return 1.0 / math.sqrt(size)

    @property
    def local_scale(self) -> float:
        """``rope_scale`` of the layers that are windowed."""
        return self.rope_scale if self.architecture == "gemma2" else 1.0

    def is_windowed(self, layer: int) -> bool:
        """Whether a layer sees only the last ``window`` tokens."""
        return bool(self.window and self.windowed and self.windowed[layer])


def shape_of(facts: Mapping[str, object], vocabulary: int) -> Shape:
    """The shape that a file's metadata describe, for a table of ``vocabulary`` embeddings.

    Raises ``UsageError`` for an architecture, or a variant of one, that this half of the lab does not compute.
    """
    architecture = facts.get("general.architecture")
    if architecture not in FAMILIES:
        raise UsageError(
            f"pruning and distilling know {', '.join(FAMILIES)}, not {str(architecture)[:40]!r}",
            "quantize this build only, or choose another one",
        )
    return _Reader(str(architecture), facts).shape(vocabulary)


@dataclass(frozen=True, slots=True)
class _Reader:
    architecture: str
    facts: Mapping[str, object]

    def _refuse(self, what: str) -> UsageError:
        return UsageError(
            f"pruning and distilling do not know this {self.architecture} model: {what}", "quantize this build only"
        )

    def _number(self, name: str, default: float | None = None) -> float:
        value = self.facts.get(f"{self.architecture}.{name}", default)
        if isinstance(value, list) and len(set(value)) == 1:
            value = value[0]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._refuse(f"{name} is {'missing' if value is None else 'not one number'}")
        return value

    def _count(self, name: str, default: int | None = None) -> int:
        value = self._number(name, default)
        if value != int(value) or value <= 0:
            raise self._refuse(f"{name} is {value}")
        return int(value)

    def shape(self, vocabulary: int) -> Shape:
        width, layers = self._count("embedding_length"), self._count("block_count")
        heads = self._count("attention.head_count")
        size = self._count("attention.key_length", width // heads)
        if self._count("attention.value_length", width // heads) != size:
            raise self._refuse("values have another size than keys")
        if self._count("rope.dimension_count", size) != size:
            raise self._refuse("position turns a part of each head only")
        if self._number("expert_count", 0):
            raise self._refuse("it is a mixture of experts")
        window, windowed = self._window(layers)
        scale = self._scale()
        cap, output_cap = _CAPS.get(self.architecture, (0.0, 0.0))
        follows = self.architecture == "gemma2"
        base = float(self._number("rope.freq_base", 10_000.0))
        return Shape(
            architecture=self.architecture,
            vocabulary=vocabulary,
            width=width,
            layers=layers,
            heads=heads,
            kv_heads=self._count("attention.head_count_kv", heads),
            head_size=size,
            hidden=self._count("feed_forward_length"),
            context=self._count("context_length"),
            norm_eps=float(self._number("attention.layer_norm_rms_epsilon")),
            rope_base=base,
            rope_scale=scale,
            local_base=float(self._number("rope.freq_base_swa", base if follows else 10_000.0)),
            window=window,
            windowed=windowed,
            attention_cap=float(self._number("attn_logit_softcapping", cap)) if follows else 0.0,
            output_cap=float(self._number("final_logit_softcapping", output_cap)) if self.is_capped else 0.0,
        )

    @property
    def is_capped(self) -> bool:
        return self.architecture in ("gemma2", "gemma3")

    def _scale(self) -> float:
        kind = self.facts.get(f"{self.architecture}.rope.scaling.type", "linear")
        factor = self._number("rope.scaling.factor", self._number("rope.scale_linear", 0.0))
        if kind not in ("linear", "none"):
            raise self._refuse(f"its positions are scaled by {str(kind)[:20]}")
        return 1.0 if kind == "none" or not factor else 1.0 / factor

    def _window(self, layers: int) -> tuple[int, tuple[bool, ...]]:
        if self.architecture not in _PATTERNS:
            return 0, ()
        window = int(self._number("attention.sliding_window", _WINDOWS.get(self.architecture, 0)))
        if not window:
            return 0, ()
        pattern = self.facts.get(f"{self.architecture}.attention.sliding_window_pattern")
        if isinstance(pattern, list):
            if len(pattern) < layers:
                raise self._refuse("its pattern of windows is shorter than it has layers")
            return window, tuple(bool(one) for one in pattern[:layers])
        every = int(pattern) if isinstance(pattern, int) else _PATTERNS[self.architecture]
        return window, tuple(not every or layer % every < every - 1 for layer in range(layers))


def facts_for(shape: Shape) -> dict[str, Fact]:
    """All metadata of ``shape``, by key, as a new file needs them."""
    own: dict[str, Fact] = {
        "context_length": shape.context,
        "embedding_length": shape.width,
        "block_count": shape.layers,
        "feed_forward_length": shape.hidden,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads,
        "attention.key_length": shape.head_size,
        "attention.value_length": shape.head_size,
        "attention.layer_norm_rms_epsilon": shape.norm_eps,
        "rope.dimension_count": shape.head_size,
        "rope.freq_base": shape.rope_base,
    }
    if shape.rope_scale != 1.0:
        own |= {"rope.scaling.type": "linear", "rope.scaling.factor": 1.0 / shape.rope_scale}
    if shape.architecture in _PATTERNS:
        own["final_logit_softcapping"] = shape.output_cap
    if shape.architecture == "gemma2":
        own["attn_logit_softcapping"] = shape.attention_cap
    if shape.window:
        own |= {
            "attention.sliding_window": shape.window,
            "attention.sliding_window_pattern": list(shape.windowed),
            "rope.freq_base_swa": shape.local_base,
        }
    return {f"{shape.architecture}.{name}": value for name, value in own.items()}


def changed_facts(before: Shape, after: Shape) -> dict[str, Fact]:
    """The metadata that differ between two shapes of one architecture; nothing for equal ones."""
    old, new = facts_for(before), facts_for(after)
    changed = {key: value for key, value in new.items() if old.get(key) != value}
    heads = {"attention.key_length", "attention.value_length", "rope.dimension_count"}
    if (before.width // before.heads) != (after.width // after.heads):
        # The size of a head no longer follows from how many there are.
        changed |= {key: new[key] for key in (f"{after.architecture}.{name}" for name in heads)}
    return dict(sorted(changed.items()))


def parameters_of(shape: Shape, *, has_own_output: bool = False) -> int:
    """How many weights a model of this shape has, less its norms and biases."""
    attention = shape.width * shape.head_size * (2 * shape.heads + 2 * shape.kv_heads)
    tables = shape.vocabulary * shape.width * (2 if has_own_output else 1)
    return tables + shape.layers * (attention + 3 * shape.width * shape.hidden)
