"""The picture pipelines that are known here, and every class that one may be made of.

``model_index.json`` names the classes that diffusers imports, from any library, so each is compared with these lists
first. All of them exist in diffusers 0.42 and transformers 5; a test imports every one. ``Role`` is what a part is for:
a class is taken only in its role.
"""

import re
from collections.abc import Mapping
from enum import StrEnum


class Family(StrEnum):
    """Pipelines that share their parts; ``described`` says it in words."""

    SD = "sd"
    SDXL = "sdxl"
    SD3 = "sd3"
    FLUX = "flux"
    FLUX2 = "flux2"
    CHROMA = "chroma"
    QWEN = "qwen-image"
    Z_IMAGE = "z-image"
    SANA = "sana"
    PIXART = "pixart"
    LUMINA = "lumina2"
    AURA = "auraflow"

    @property
    def described(self) -> str:
        """Its name as people know it."""
        return _SPOKEN[self]


_SPOKEN = {
    Family.SD: "Stable Diffusion 1 or 2", Family.SDXL: "SDXL", Family.SD3: "Stable Diffusion 3", Family.FLUX: "Flux",
    Family.FLUX2: "Flux 2", Family.CHROMA: "Chroma", Family.QWEN: "Qwen-Image", Family.Z_IMAGE: "Z-Image",
    Family.SANA: "Sana", Family.PIXART: "PixArt", Family.LUMINA: "Lumina 2", Family.AURA: "AuraFlow",
}  # fmt: skip

_BY_FAMILY: Mapping[Family, tuple[str, ...]] = {
    Family.SD: (
        "LatentConsistencyModelImg2ImgPipeline", "LatentConsistencyModelPipeline",
        "StableDiffusionControlNetImg2ImgPipeline", "StableDiffusionControlNetInpaintPipeline",
        "StableDiffusionControlNetPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline",
        "StableDiffusionInstructPix2PixPipeline", "StableDiffusionLatentUpscalePipeline", "StableDiffusionPipeline",
        "StableDiffusionUpscalePipeline",
    ),
    Family.SDXL: (
        "StableDiffusionXLControlNetImg2ImgPipeline", "StableDiffusionXLControlNetInpaintPipeline",
        "StableDiffusionXLControlNetPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline",
        "StableDiffusionXLInstructPix2PixPipeline", "StableDiffusionXLPipeline",
    ),
    Family.SD3: (
        "StableDiffusion3ControlNetPipeline", "StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline",
        "StableDiffusion3Pipeline",
    ),
    Family.FLUX: (
        "FluxControlImg2ImgPipeline", "FluxControlInpaintPipeline", "FluxControlNetImg2ImgPipeline",
        "FluxControlNetInpaintPipeline", "FluxControlNetPipeline", "FluxControlPipeline", "FluxFillPipeline",
        "FluxImg2ImgPipeline", "FluxInpaintPipeline", "FluxKontextInpaintPipeline", "FluxKontextPipeline",
        "FluxPipeline",
    ),
    Family.FLUX2: ("Flux2KleinInpaintPipeline", "Flux2KleinPipeline", "Flux2Pipeline"),
    Family.CHROMA: ("ChromaImg2ImgPipeline", "ChromaInpaintPipeline", "ChromaPipeline"),
    Family.QWEN: (
        "QwenImageControlNetPipeline", "QwenImageEditInpaintPipeline", "QwenImageEditPipeline",
        "QwenImageEditPlusPipeline", "QwenImageImg2ImgPipeline", "QwenImageInpaintPipeline", "QwenImagePipeline",
    ),
    Family.Z_IMAGE: ("ZImageControlNetPipeline", "ZImageImg2ImgPipeline", "ZImageInpaintPipeline", "ZImagePipeline"),
    Family.SANA: ("SanaControlNetPipeline", "SanaPipeline", "SanaSprintImg2ImgPipeline", "SanaSprintPipeline"),
    Family.PIXART: ("PixArtAlphaPipeline", "PixArtSigmaPipeline"),
    Family.LUMINA: ("Lumina2Pipeline",),
    Family.AURA: ("AuraFlowPipeline",),
}  # fmt: skip
PIPELINES: Mapping[str, Family] = {name: family for family, names in _BY_FAMILY.items() for name in names}
"""Every pipeline by the name of its class."""

UPSCALERS: Mapping[str, int] = {"StableDiffusionLatentUpscalePipeline": 2, "StableDiffusionUpscalePipeline": 4}
"""Pipelines that enlarge a picture and do nothing else, with how many times as long its sides become."""

_CONTROLNETS = {
    "ControlNetModel": (Family.SD, Family.SDXL), "ControlNetUnionModel": (Family.SDXL,),
    "FluxControlNetModel": (Family.FLUX,), "QwenImageControlNetModel": (Family.QWEN,),
    "SD3ControlNetModel": (Family.SD3,), "SanaControlNetModel": (Family.SANA,),
    "ZImageControlNetModel": (Family.Z_IMAGE,),
}  # fmt: skip
CONTROLNETS: Mapping[str, tuple[Family, ...]] = _CONTROLNETS
"""ControlNets by the name of their class, with the families that they may steer."""


class Role(StrEnum):
    """What a part of a pipeline is for."""

    SCHEDULER = "scheduler"
    TOKENIZER = "tokenizer"
    PROCESSOR = "processor"
    TEXT_ENCODER = "text encoder"
    DENOISER = "denoiser"
    DECODER = "decoder"
    IMAGE_ENCODER = "image encoder"
    SAFETY = "safety checker"
    CONTROLNET = "ControlNet"


WITHOUT_WEIGHTS = frozenset({Role.SCHEDULER, Role.TOKENIZER, Role.PROCESSOR})
_ROLES: tuple[tuple[re.Pattern[str], Role], ...] = (
    (re.compile(r"(low_res_)?scheduler"), Role.SCHEDULER),
    (re.compile(r"tokenizer(_[2-4])?"), Role.TOKENIZER),
    (re.compile(r"feature_extractor|image_processor|processor"), Role.PROCESSOR),
    (re.compile(r"text_encoder(_[2-4])?"), Role.TEXT_ENCODER),
    (re.compile(r"unet|transformer"), Role.DENOISER),
    (re.compile(r"vae"), Role.DECODER),
    (re.compile(r"image_encoder"), Role.IMAGE_ENCODER),
    (re.compile(r"safety_checker"), Role.SAFETY),
    (re.compile(r"controlnet"), Role.CONTROLNET),
)

CLASSES: Mapping[Role, Mapping[str, frozenset[str]]] = {
    Role.SCHEDULER: {
        "diffusers": frozenset({
            "DDIMScheduler", "DDPMScheduler", "DEISMultistepScheduler", "DPMSolverMultistepScheduler",
            "DPMSolverSinglestepScheduler", "EDMDPMSolverMultistepScheduler", "EDMEulerScheduler",
            "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler",
            "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler", "HeunDiscreteScheduler", "IPNDMScheduler",
            "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "LCMScheduler", "LMSDiscreteScheduler",
            "PNDMScheduler", "SASolverScheduler", "SCMScheduler", "TCDScheduler", "UniPCMultistepScheduler",
        }),
    },
    Role.TOKENIZER: {
        "transformers": frozenset({
            "CLIPTokenizer", "CLIPTokenizerFast", "GemmaTokenizer", "GemmaTokenizerFast", "LlamaTokenizer",
            "LlamaTokenizerFast", "PixtralProcessor", "PreTrainedTokenizerFast", "Qwen2Tokenizer",
            "Qwen2TokenizerFast", "T5Tokenizer", "T5TokenizerFast", "TokenizersBackend",
        }),
    },
    Role.PROCESSOR: {
        # CLIPFeatureExtractor is what transformers before 5 called CLIPImageProcessor; diffusers knows that.
        "transformers": frozenset({
            "CLIPFeatureExtractor", "CLIPImageProcessor", "CLIPImageProcessorPil", "Qwen2VLImageProcessor",
            "Qwen2VLProcessor", "Qwen2_5_VLProcessor", "SiglipImageProcessor", "SiglipImageProcessorPil",
        }),
    },
    Role.TEXT_ENCODER: {
        "transformers": frozenset({
            "CLIPTextModel", "CLIPTextModelWithProjection", "Gemma2ForCausalLM", "Gemma2Model",
            "Mistral3ForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration", "Qwen3ForCausalLM", "Qwen3Model",
            "T5EncoderModel", "UMT5EncoderModel",
        }),
    },
    Role.DENOISER: {
        "diffusers": frozenset({
            "AuraFlowTransformer2DModel", "ChromaTransformer2DModel", "Flux2Transformer2DModel",
            "FluxTransformer2DModel", "Lumina2Transformer2DModel", "PixArtTransformer2DModel",
            "QwenImageTransformer2DModel", "SD3Transformer2DModel", "SanaTransformer2DModel", "Transformer2DModel",
            "UNet2DConditionModel", "ZImageTransformer2DModel",
        }),
    },
    Role.DECODER: {
        "diffusers": frozenset({
            "AutoencoderDC", "AutoencoderKL", "AutoencoderKLFlux2", "AutoencoderKLQwenImage", "AutoencoderTiny",
        }),
    },
    Role.IMAGE_ENCODER: {"transformers": frozenset({"CLIPVisionModelWithProjection", "SiglipVisionModel"})},
    Role.SAFETY: {"stable_diffusion": frozenset({"StableDiffusionSafetyChecker"})},
    Role.CONTROLNET: {"diffusers": frozenset(_CONTROLNETS)},
}  # fmt: skip
"""By role and by the library that has them, as ``model_index.json`` spells it."""


def role_of(part: str) -> Role | None:
    """What the part of that name is for; nothing where pipelines have no such part."""
    return next((role for pattern, role in _ROLES if pattern.fullmatch(part)), None)
