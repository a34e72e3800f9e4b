"""What a picture pipeline takes, by component and resolution, from its configurations and the headers of its weights.

A pipeline holds the weights of all its parts and runs through three stages: the text encoders read the prompt, the
denoiser goes over all places of the latent picture, the decoder makes pixels of it. What is alive in each is a multiple
of its width times the number of its tokens, places or pixels; the multiples count the tensors that torch and oneDNN
hold at once in the widest layer. They and the size of the program were measured with torch 2.13 and diffusers 0.42 on a
CPU, in engine children that draw with pipelines in the shapes of the real ones (``scripts/bench_picture_fit.py``).
The memory of graphics cards follows from the same counts at 16 bits a number, and was not measured.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

from nanolocal.chat.canvas import Canvas, Stage, Way
from nanolocal.chat.routes import Footprint
from nanolocal.formats.pipeline_folder import GGUF, Component, PipelineFacts, Weights
from nanolocal.formats.pipelines import Family, Role
from nanolocal.library.habits import native_size, scale_of

PROGRAM = 408 * 2**20
"""The interpreter with torch, diffusers and transformers, before it holds a weight."""
_DRAWING = 40 * 2**20
"""What torch makes ready for its first picture, and its allocator keeps."""
_CARD = 600 * 2**20
"""What a driver and its libraries keep of a card."""
_PIXEL = 60
"""Bytes of a decoded pixel: three numbers in the decoder, in numpy and in between, and its bytes in the end."""
_FULL, _HALF = 4, 2
_UNET_FLOATS = 46
"""Numbers for each channel and place: the layers to be joined, and a feed-forward layer 16 times as wide."""
_CONVOLUTION_FLOATS = 20
"""The same where a level has no attention."""
_DIT_FLOATS = {"SanaTransformer2DModel": 20, "PixArtTransformer2DModel": 14}
_USUAL_DIT_FLOATS = 16
"""Numbers for each token of a transformer, as multiples of its width: queries, keys and values, and four times as much
twice over in the feed-forward layer."""
_TEXT_TOKENS = {Family.FLUX: 512, Family.CHROMA: 512, Family.SD3: 256, Family.AURA: 256, Family.LUMINA: 256,
                Family.QWEN: 1024, Family.Z_IMAGE: 512, Family.FLUX2: 512}  # fmt: skip
_USUAL_TEXT_TOKENS = 300
"""To which a prompt is filled up, apart from CLIP's 77."""
_JOINED = frozenset({Family.SD3, Family.FLUX, Family.FLUX2, Family.CHROMA, Family.QWEN, Family.Z_IMAGE, Family.LUMINA,
                     Family.AURA})  # fmt: skip
"""Families whose transformer goes over the words of the prompt and the picture together."""
_ONE_PROMPT = frozenset({Family.FLUX, Family.FLUX2, Family.CHROMA, Family.QWEN})
"""Families that do not draw with and without the prompt at once."""
_EAGER = ("T5", "UMT5")
"""Encoders that keep a score for each pair of words."""
_LAST_STAGE = 4
"""Tensors as wide as the last stage but one that are alive at full size when it hands over to the last one."""
_INSIDE_LAST = 5
_OWN_SIDE = {"AutoencoderDC": 512, "AutoencoderKLQwenImage": 256, "AutoencoderTiny": 512}
"""Sides of tiles in pixels, where the configuration does not say."""
_LEAST_SHRUNK = 1024
"""Numbers from which the engine keeps the weights of a linear layer in 8 bits."""


def canvas_of(facts: PipelineFacts, size: tuple[int, int] | None = None) -> Canvas:
    """All ways to draw with a pipeline, by itself at ``size`` in pixels, where that is not what it was trained at."""
    width, height = size or native_size(facts)
    ways = [_on_cpu(facts, rung, floats) for rung, floats in _CPU_RUNGS]
    return Canvas(width, height, tuple(ways), tuple(_on_card(facts, rung) for rung in _CARD_RUNGS))


_CPU_RUNGS = (("full", _FULL), ("tiled", _FULL), ("half", _HALF), ("int8", _HALF))
_CARD_RUNGS = ("full", "tiled", "offload", "sequential")


def picture_footprint(facts: PipelineFacts, size: tuple[int, int] | None = None) -> Footprint:
    """The memory of a pipeline that draws at ``size`` in pixels, by default what it was trained at."""
    canvas = canvas_of(facts, size)
    full = canvas.ways[0]
    return Footprint(
        file=full.mapped,
        mapped=0,
        used=0,
        held=full.needed(canvas.width, canvas.height),
        loading=full.loading,
        per_token=0,
        canvas=canvas,
    )


def picture_bytes(size_bytes: int, bytes_each: int) -> int:
    """The memory of a pipeline of which only the size is known, and that ``bytes_each`` hold a weight in its files.

    It is taken to draw as Stable Diffusion 1.5 does.
    """
    usual = 512 * 512 * (_PIXEL + _FULL * _LAST_STAGE * 256)
    return PROGRAM + _DRAWING + size_bytes // bytes_each * _FULL + usual


def _on_cpu(facts: PipelineFacts, rung: str, floats: int) -> Way:
    parts = [part for part in facts.components.values() if part.weights.parameters]
    loaded = PROGRAM + sum(_loaded(part, floats) for part in parts)
    held = PROGRAM + sum(_shrunk(part) if rung == "int8" else _held(part, floats) for part in parts)
    mapped = sum(_converted(part, floats) for part in parts)
    return Way(rung, held + _DRAWING, loaded, mapped, _stages(facts, floats, is_tiled=rung != "full"))


def _on_card(facts: PipelineFacts, rung: str) -> Way:
    """``offload`` keeps one part there at a time, ``sequential`` one layer."""
    parts = [_all_as(part.weights, _HALF) for part in facts.components.values()]
    layer = max((math.prod(shape) for part in facts.components.values() for shape in part.weights.shapes.values()),
                default=0)  # fmt: skip
    weights = {"offload": max(parts, default=0), "sequential": layer * _HALF}.get(rung, sum(parts))
    return Way(rung, _CARD + weights, 0, 0, _stages(facts, _HALF, is_tiled=rung != "full"))


def _as_stored(part: Component, floats: int) -> bool:
    """Whether the files hold what is computed with, so that their pages are used as they are."""
    return part.weights.stored_as == {_FULL: "F32", _HALF: "BF16"}[floats]


def _all_as(weights: Weights, floats: int) -> int:
    return weights.floats * floats + weights.others_bytes


def _loaded(part: Component, floats: int) -> int:
    """Bytes of a part's weights when all parts are loaded."""
    return 0 if _as_stored(part, floats) else _all_as(part.weights, floats)


def _converted(part: Component, floats: int) -> int:
    """Pages of its files that may be there while it is loaded."""
    return 0 if _as_stored(part, floats) else part.weights.size_bytes


def _held(part: Component, floats: int) -> int:
    """Bytes of its weights once it has drawn: what is used of the files, or everything where that was converted."""
    if not _as_stored(part, floats):
        return _all_as(part.weights, floats)
    return (
        sum(math.prod(shape) for name, shape in part.weights.shapes.items() if not _is_idle(part.role, name)) * floats
    )


def _is_idle(role: Role, name: str) -> bool:
    """Whether drawing from a prompt reads no more than a little of that tensor: lists of words, and what encodes."""
    if role is Role.TEXT_ENCODER:
        return name.endswith(_WORDS)
    return role is Role.IMAGE_ENCODER or (role is Role.DECODER and name.startswith(("encoder.", "quant_conv.")))


_WORDS = ("token_embedding.weight", "shared.weight", "embed_tokens.weight")


def _shrunk(part: Component) -> int:
    """Bytes of its weights with those of linear layers in 8 bits, and a number for each of their rows."""
    if part.role not in (Role.TEXT_ENCODER, Role.DENOISER) or part.files[0].suffix.lower() == GGUF:
        return _held(part, _HALF)
    linear = [shape for name, shape in part.weights.shapes.items() if _is_linear(name, shape)]
    saved = sum(math.prod(shape) * (_HALF - 1) - shape[0] * _FULL for shape in linear)
    return _all_as(part.weights, _HALF) - saved


def _is_linear(name: str, shape: Sequence[int]) -> bool:
    is_table = name.endswith(_WORDS) or "embedding.weight" in name or "relative_attention_bias" in name
    return len(shape) == 2 and math.prod(shape) >= _LEAST_SHRUNK and not is_table


def _stages(facts: PipelineFacts, floats: int, *, is_tiled: bool) -> tuple[Stage, ...]:
    reading = max((_reading(facts.family, part) for part in facts.of(Role.TEXT_ENCODER)), default=0)
    return (Stage(floats * reading), _denoising(facts, floats), _decoding(facts.decoder, floats, is_tiled=is_tiled))


def _reading(family: Family, part: Component) -> int:
    """Numbers alive while a text encoder reads a prompt."""
    config = _texts(part.config)
    width, inner = _first(config, "hidden_size", "d_model"), _first(config, "intermediate_size", "d_ff")
    tokens = _tokens(family, part)
    alive = tokens * (8 * width + 3 * inner)
    if part.class_name.startswith(_EAGER):
        alive += 3 * _first(config, "num_attention_heads", "num_heads") * tokens**2
    if part.class_name.endswith(("ForCausalLM", "ForConditionalGeneration")):
        alive += tokens * _first(config, "vocab_size")
    return alive


def _texts(config: Mapping[str, object]) -> Mapping[str, object]:
    """Models that also see keep what is about text in a place of its own."""
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def _tokens(family: Family, part: Component) -> int:
    if part.class_name.startswith("CLIP"):
        return _first(part.config, "max_position_embeddings") or 77
    return _TEXT_TOKENS.get(family, _USUAL_TEXT_TOKENS)


def _denoising(facts: PipelineFacts, floats: int) -> Stage:
    part = facts.denoiser
    prompts = 1 if facts.family in _ONE_PROMPT else 2
    scale = scale_of(facts.decoder)
    largest = max((math.prod(shape) for shape in part.weights.shapes.values()), default=0)
    fixed = largest * floats if part.files[0].suffix.lower() == GGUF else 0
    if part.class_name == "UNet2DConditionModel":
        return Stage(fixed, -(-floats * prompts * _unet_floats(part.config) // scale**2))
    width = _first(part.config, "dim", "hidden_size") or _first(part.config, "num_attention_heads") * _first(
        part.config, "attention_head_dim"
    )
    each = floats * prompts * width * _DIT_FLOATS.get(part.class_name, _USUAL_DIT_FLOATS)
    words = sum(_tokens(facts.family, each) for each in facts.of(Role.TEXT_ENCODER)) if facts.family in _JOINED else 0
    return Stage(fixed + each * words, -(-each // (scale * _patch(part)) ** 2))


def _unet_floats(config: Mapping[str, object]) -> int:
    """Numbers alive at each place of the latent picture for one prompt, in the level that takes most."""
    channels, kinds = _numbers(config, "block_out_channels") or [320], config.get("down_block_types")
    with_attention = [isinstance(kind, str) and "Attn" in kind for kind in kinds] if isinstance(kinds, list) else []
    with_attention += [True] * (len(channels) - len(with_attention))
    levels = (
        count * (_UNET_FLOATS if attends else _CONVOLUTION_FLOATS) >> (2 * level + 1)
        for level, (count, attends) in enumerate(zip(channels, with_attention, strict=False))
    )
    return max(levels)


def _patch(part: Component) -> int:
    """How many latents a side are one token; Flux and its like pack two before their patches of one."""
    sizes = part.config.get("all_patch_size")
    if isinstance(sizes, list) and sizes and isinstance(sizes[0], int):
        return max(sizes[0], 1)
    patch = max(_first(part.config, "patch_size"), 1)
    return 2 * patch if part.class_name.startswith(("Flux", "Chroma")) else patch


def _decoding(part: Component, floats: int, *, is_tiled: bool) -> Stage:
    once = floats * _decoder_floats(part)
    side = _first(part.config, "sample_size") or _OWN_SIDE.get(part.class_name, 32)
    return Stage(0, _PIXEL, once, side * side if is_tiled else 0)


def _decoder_floats(part: Component) -> int:
    """Numbers alive for each pixel in the last stage, by the channels of it and of the one before."""
    if part.class_name == "AutoencoderKLQwenImage":
        base, multiples = _first(part.config, "base_dim"), _numbers(part.config, "dim_mult")
        channels, copies = [base * multiple for multiple in multiples], 2  # padded in time, to three of one picture
    else:
        keys = ("decoder_block_out_channels", "block_out_channels")
        channels = next((found for key in keys if (found := _numbers(part.config, key))), [128, 256])
        copies = 1
    before = channels[min(1, len(channels) - 1)] if channels else 256
    return copies * max(_LAST_STAGE * before, _INSIDE_LAST * (channels[0] if channels else 128))


def _first(config: Mapping[str, object], *keys: str) -> int:
    """The first of these that is a whole number above 0, else 0."""
    for key in keys:
        value = config.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0


def _numbers(config: Mapping[str, object], key: str) -> list[int]:
    value = config.get(key)
    found: Iterator[int] = (item for item in value if isinstance(item, int)) if isinstance(value, list) else iter(())
    return list(found)
