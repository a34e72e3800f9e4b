"""What a safetensors file is for, told by the names of its tensors: checkpoints, adapters, parts of picture pipelines.

The names are those of the original trainers (CompVis, Stability, Black Forest Labs), which ComfyUI, A1111 and Forge
read (ComfyUI: comfy/model_detection.py, comfy/supported_models.py), and of diffusers (loaders/single_file_utils.py).
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nanolocal.chat.routes import Kind
from nanolocal.formats.pipelines import PIPELINES, Family
from nanolocal.library.found import Role


@dataclass(frozen=True, slots=True)
class Use:
    """``role`` is None for a checkpoint and for a transformer that draws with the parts of a pipeline: both are builds.

    ``what`` says in words what the file is, ``family`` whose pipelines it goes with, where that can be told, and
    ``is_alone`` that it is one part of such a pipeline.
    """

    role: Role | None
    what: str
    architecture: str
    kind: Kind = Kind.IMAGE
    family: Family | None = None
    is_alone: bool = False


_ADAPTER = re.compile(
    r"(?:^|[._])lora\d?[._](?:A|B|up|down)\b|^lora_(?:unet|te\d?|transformer)_|\.hada_w[12]_|\.lokr_w[12]|\.dora_scale"
)
_PICTURE_ADAPTER = re.compile(
    r"^(?:lora_(?:unet|te\d?|transformer)_|unet\.|transformer\.|diffusion_model\.|text_encoder|(?:double|single)_blocks\.)"
)
_UNET = "model.diffusion_model."
_CONTROLNETS = ("control_model.", "controlnet_")

_CHECKPOINTS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    # (tensors that begin like this are all there, what it is, its pipeline in diffusers)
    (("conditioner.embedders.1.", f"{_UNET}input_blocks."), "an SDXL checkpoint", "StableDiffusionXLPipeline"),
    (("conditioner.embedders.0.", f"{_UNET}input_blocks."), "an SDXL refiner", "StableDiffusionXLImg2ImgPipeline"),
    (("cond_stage_model.model.", f"{_UNET}input_blocks."), "an SD 2 checkpoint", "StableDiffusionPipeline"),
    (("cond_stage_model.", f"{_UNET}input_blocks."), "an SD 1.5 checkpoint", "StableDiffusionPipeline"),
    (("text_encoders.", f"{_UNET}joint_blocks."), "an SD 3 checkpoint", "StableDiffusion3Pipeline"),
    (("text_encoders.", f"{_UNET}double_blocks."), "a Flux checkpoint", "FluxPipeline"),
)
_TRANSFORMERS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("joint_blocks.",), "the transformer of an SD 3 model", "StableDiffusion3Pipeline"),
    (("distilled_guidance_layer.", "double_blocks."), "the transformer of a Chroma model", "ChromaPipeline"),
    (("double_blocks.",), "the transformer of a Flux model", "FluxPipeline"),
)
_COMPONENTS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    ((f"{_UNET}input_blocks.",), "the UNet of a Stable Diffusion model", ""),
    (("input_blocks.", "output_blocks."), "the UNet of a Stable Diffusion model", ""),
    (("down_blocks.", "up_blocks."), "the UNet of a Stable Diffusion model", ""),
    (("transformer_blocks.",), "the transformer of a picture model", ""),
    (("first_stage_model.decoder.",), "a picture decoder (VAE)", ""),
    (("decoder.conv_in.",), "a picture decoder (VAE)", ""),
    (("decoder.layers.", "encoder.layers."), "a picture decoder (VAE)", ""),
    (("decoder.conv1.", "encoder.conv1."), "a picture decoder (VAE)", ""),
    (("text_model.encoder.",), "a text encoder (CLIP)", ""),
    (("transformer.resblocks.",), "a text encoder (CLIP)", ""),
    (("vision_model.encoder.",), "an image encoder (CLIP)", ""),
    (("model.layers.",), "a text encoder (a language model)", ""),
    (("encoder.block.",), "a text encoder (T5)", ""),
    (("emb_params",), "a textual inversion", ""),
    ((_UNET,), "the diffusion model of a picture model", ""),
    (("context_refiner.",), "the transformer of a picture model", ""),
    (("blocks.", "patch_embedding."), "the transformer of a picture model", ""),
)


def use_of(names: Iterable[str]) -> Use | None:
    """What a file with tensors of these names is for; nothing when that is not known."""
    listed = sorted(names)
    adapting = [name for name in listed if _ADAPTER.search(name)]
    if adapting:
        is_picture = any(_PICTURE_ADAPTER.search(name) for name in adapting)
        return Use(Role.ADAPTER, "a LoRA adapter", "", Kind.IMAGE if is_picture else Kind.TEXT)
    starts = _Starts(listed)
    if any(starts.have((start,)) for start in _CONTROLNETS):
        return Use(Role.CONTROLNET, "a ControlNet", "")
    for wanted, what, architecture in _CHECKPOINTS:
        if starts.have(wanted):
            return Use(None, what, architecture, family=PIPELINES[architecture])
    for wanted, what, architecture in _TRANSFORMERS:
        if starts.have(wanted) or starts.have(tuple(f"{_UNET}{start}" for start in wanted)):
            return Use(None, what, architecture, family=PIPELINES[architecture], is_alone=True)
    for wanted, what, architecture in _COMPONENTS:
        if starts.have(wanted):
            return Use(Role.COMPONENT, what, architecture)
    return None


def family_of_adapter(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The pictures that a LoRA adapter seems to be for, in words: by what it changes, and how wide that is."""
    names = "\n".join(shapes)
    for words, family in _ADAPTED:
        if all(word in names for word in words):
            return family.described
    widths = {shape[1] for name, shape in shapes.items() if _FROM_TEXT.search(name) and len(shape) > 1}
    return next((words for width, words in _BY_WIDTH.items() if width in widths), "")


_ADAPTED: tuple[tuple[tuple[str, ...], Family], ...] = (
    # (words that the names of its tensors hold, the family)
    (("lora_te2_",), Family.SDXL),
    (("single_transformer_blocks",), Family.FLUX),
    (("single_blocks",), Family.FLUX),
    (("joint_blocks",), Family.SD3),
    (("transformer_blocks", "img_mlp"), Family.QWEN),
    (("transformer_blocks", "img_mod"), Family.QWEN),
    (("transformer_blocks", "add_k_proj"), Family.SD3),
    (("noise_refiner",), Family.Z_IMAGE),
    (("layers", "feed_forward"), Family.Z_IMAGE),
)
_FROM_TEXT = re.compile(r"attn2[._]to_[kv][._].*(?:lora_)?(?:down|A)\b")
_BY_WIDTH = {2048: "SDXL", 1024: "Stable Diffusion 2", 768: "Stable Diffusion 1"}
"""By what its text encoders hand over: the inputs of the layers that look at the prompt."""


class _Starts:
    """Whether any of sorted names begins like this, by bisection."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def have(self, starts: tuple[str, ...]) -> bool:
        return all(self._has(start) for start in starts)

    def _has(self, start: str) -> bool:
        place = bisect_left(self._names, start)
        return place < len(self._names) and self._names[place].startswith(start)
