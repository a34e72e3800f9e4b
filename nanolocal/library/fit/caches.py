"""What a model remembers of the text: keys and values by layer, and the fixed state of recurrent layers.

The rules are llama.cpp's (src/llama-model.cpp ``create_memory``, src/llama-hparams.cpp, src/models/*.cpp), told by the
same keys of the header. For the few architectures with caches of their own (DeepSeek 4, GLM 5, Hunyuan 4, Kimi K3,
MiniMax M3) they come close; there the probe knows.
"""

from dataclasses import dataclass

from nanolocal.chat.routes import cells_for
from nanolocal.library.fit.layout import Layout

_RECURRENT = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
"""Architectures without attention."""
_BOTH = frozenset({"falcon-h1"})
"""Every layer attends and has a recurrent state."""
_WITHOUT_HEADS = frozenset({
    "jamba", "plamo2", "granitehybrid", "lfm2", "lfm2moe", "kimi-linear", "kimi-k3", "bailingmoe3", "glm5-next",
    "nemotron_h", "nemotron_h_moe",
})  # fmt: skip
"""A layer without key heads is recurrent."""
_INTERVAL = frozenset({"qwen3next", "qwen35", "qwen35moe", "qwen4exp", "minimax-01"})
"""Every fourth layer attends unless the header says otherwise."""
_WINDOWS = {
    # architecture: (window if the header names none, every which layer sees everything, whether it is the first)
    "afmoe": (0, 4, False), "cohere2": (0, 4, False), "cohere2moe": (0, 4, True), "exaone-moe": (128, 4, False),
    "gemma2": (4096, 2, False), "gemma3": (0, 6, False), "gemma3n": (0, 5, False), "gpt-oss": (0, 2, False),
    "laguna": (0, 4, True), "llama4": (8192, 4, False), "mellum": (0, 4, False), "muse-glimmer": (0, 4, False),
    "olmo2": (0, 4, False), "plamo3": (0, 8, False), "smallthinker": (0, 4, True),
}  # fmt: skip
_BY_ARRAY = frozenset({"gemma4", "granite_swa", "maple", "mimo2", "spark2_5", "step35", "dots3note"})
"""Architectures whose header lists the layers with a window."""

_BLOCK_BYTES = {"f16": (1, 2), "q8_0": (32, 34), "q4_0": (32, 18)}


@dataclass(frozen=True, slots=True)
class Caches:
    """Elements of keys and values per token of context, by kind of layer, and bytes of recurrent state.

    ``window`` is in tokens, 0 where no layer has one.
    """

    keys: int
    values: int
    window: int
    window_keys: int
    window_values: int
    state_bytes: int

    def size_bytes(self, n_ctx: int, kv: str = "f16", *, ubatch: int = 256, full_window: bool = True) -> int:
        """Bytes for ``n_ctx`` tokens; ``full_window`` is how this program runs them, so that a text can be rewound."""
        cells = cells_for(n_ctx)
        near = cells if full_window else min(cells, cells_for(self.window + ubatch))
        elements = (self.keys + self.values) * cells + (self.window_keys + self.window_values) * near
        return bytes_of(elements, kv) + self.state_bytes


def bytes_of(elements: int, kv: str) -> int:
    """What so many numbers of that type take."""
    block, size = _BLOCK_BYTES[kv]
    return elements * size // block


def caches_of(layout: Layout, first: int = 0) -> Caches:
    """The caches of a model, from layer ``first`` on."""
    count = max(layout.number("block_count") - layout.number("nextn_predict_layers"), 0)
    heads = layout.by_layer("attention.head_count", count, 1)
    kv_heads = layout.by_layer("attention.head_count_kv", count) if _has(layout, "attention.head_count_kv") else heads
    recurrent, attending = _kinds(layout, count, kv_heads)
    window, near = _windows(layout, count)
    stored = _stored_layers(layout, count)
    latent = bool(layout.number("attention.key_length_mla"))
    totals = {False: [0, 0], True: [0, 0]}
    for layer in range(first, count):
        if not attending[layer] or layer >= stored:
            continue
        keys, values = _head(layout, heads, is_near=near[layer])
        totals[near[layer]][0] += kv_heads[layer] * keys + layout.number("attention.indexer.key_length")
        totals[near[layer]][1] += 0 if latent else kv_heads[layer] * values
    return Caches(
        keys=totals[False][0],
        values=totals[False][1],
        window=window,
        window_keys=totals[True][0],
        window_values=totals[True][1],
        state_bytes=4 * sum(recurrent[first:]) * _state(layout, max(heads, default=0)),
    )


def _has(layout: Layout, key: str) -> bool:
    full = f"{layout.architecture}.{key}"
    return full in layout.facts.metadata or full in layout.facts.arrays


def _kinds(layout: Layout, count: int, kv_heads: tuple[int, ...]) -> tuple[list[bool], list[bool]]:
    """For each layer whether it has a recurrent state, and whether it attends."""
    name = layout.architecture
    if name in _RECURRENT:
        return [True] * count, [False] * count
    if name in _BOTH:
        return [True] * count, [True] * count
    if name in _INTERVAL:
        listed = layout.facts.arrays.get(f"{name}.attention.recurrent_layers", ())
        interval = max(layout.number("full_attention_interval", 4), 1)
        recurrent = [bool(listed[n]) if n < len(listed) else (n + 1) % interval != 0 for n in range(count)]
        return recurrent, [not state for state in recurrent]
    if name not in _WITHOUT_HEADS:
        return [False] * count, [True] * count
    recurrent, attending = [not heads for heads in kv_heads], [heads > 0 for heads in kv_heads]
    if name.startswith("nemotron_h"):  # there a layer is one of three: the third kind has a feed-forward part alone
        inner = layout.by_layer("feed_forward_length", count)
        recurrent = [state and not width for state, width in zip(recurrent, inner, strict=True)]
        attending = [sees and not width for sees, width in zip(attending, inner, strict=True)]
    return recurrent, attending


def _windows(layout: Layout, count: int) -> tuple[int, list[bool]]:
    """The window in tokens, and for each layer whether it sees no farther."""
    name = layout.architecture
    default, every, is_first = _WINDOWS.get(name, (0, 0, False))
    window = layout.number("attention.sliding_window", default)
    listed = layout.facts.arrays.get(f"{name}.attention.sliding_window_pattern")
    is_windowed = window > 0 and (every > 0 or name in _BY_ARRAY or (name == "exaone4" and count == 64))
    if not is_windowed:
        return 0, [False] * count
    if listed:
        return window, [bool(listed[n]) if n < len(listed) else False for n in range(count)]
    every = max(layout.number("attention.sliding_window_pattern", every or 4), 1)
    return window, [n % every != (0 if is_first else every - 1) for n in range(count)]


def _stored_layers(layout: Layout, count: int) -> int:
    """How many layers keep keys of their own; later ones use those of earlier ones."""
    if layout.architecture == "gemma3n":
        return 20
    return count - layout.number("attention.shared_kv_layers") if layout.architecture == "gemma4" else count


def _head(layout: Layout, heads: tuple[int, ...], *, is_near: bool) -> tuple[int, int]:
    """Elements of one head's key and value."""
    usual = layout.number("embedding_length") // max((*heads, 1))
    keys, values = layout.number("attention.key_length", usual), layout.number("attention.value_length", usual)
    if not is_near:
        return keys, values
    return layout.number("attention.key_length_swa", keys), layout.number("attention.value_length_swa", values)


def _state(layout: Layout, heads: int) -> int:
    """Elements of one layer's recurrent state, of four bytes each."""
    width, kernel = layout.number("embedding_length"), max(layout.number("ssm.conv_kernel") - 1, 0)
    if layout.number("wkv.head_size"):
        return width * (layout.number("token_shift_count", 2) + layout.number("wkv.head_size"))
    if layout.number("shortconv.l_cache"):
        return width * (layout.number("shortconv.l_cache") - 1)
    if head := layout.number("kda.head_dim"):
        return 3 * (kernel or 3) * heads * head + head * head * heads
    if layout.architecture == "minimax-01":
        return layout.number("attention.key_length") ** 2 * heads
    inner, state = layout.number("ssm.inner_size"), layout.number("ssm.state_size")
    return kernel * (inner + 2 * layout.number("ssm.group_count") * state) + state * inner
