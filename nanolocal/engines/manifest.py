"""Checks a diffusers folder before any of its code or weights is touched.

``model_index.json`` names the classes that diffusers would import, from any library; weights outside safetensors are
pickles, which run code. So both are compared with lists first, and nothing that brings code of its own passes.
"""

import json
from pathlib import Path

from nanolocal.errors import BuildFailed

PIPELINES = frozenset({
    "FluxPipeline", "LatentConsistencyModelPipeline", "SanaPipeline", "StableDiffusion3Pipeline",
    "StableDiffusionPipeline", "StableDiffusionXLPipeline",
})  # fmt: skip
_SCHEDULERS = frozenset({
    "DDIMScheduler", "DDPMScheduler", "DEISMultistepScheduler", "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler", "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler", "HeunDiscreteScheduler", "LCMScheduler", "LMSDiscreteScheduler", "PNDMScheduler",
    "TCDScheduler", "UniPCMultistepScheduler",
})  # fmt: skip
_WITHOUT_WEIGHTS = {
    "diffusers": _SCHEDULERS,
    "transformers": frozenset({
        "CLIPFeatureExtractor", "CLIPImageProcessor", "CLIPTokenizer", "CLIPTokenizerFast", "GemmaTokenizer",
        "GemmaTokenizerFast", "PreTrainedTokenizerFast", "T5Tokenizer", "T5TokenizerFast",
    }),
}  # fmt: skip
_WITH_WEIGHTS = {
    "diffusers": frozenset({
        "AutoencoderDC", "AutoencoderKL", "AutoencoderTiny", "FluxTransformer2DModel", "SD3Transformer2DModel",
        "SanaTransformer2DModel", "UNet2DConditionModel",
    }),
    "transformers": frozenset({
        "CLIPTextModel", "CLIPTextModelWithProjection", "CLIPVisionModelWithProjection", "Gemma2Model",
        "T5EncoderModel",
    }),
    "stable_diffusion": frozenset({"StableDiffusionSafetyChecker"}),
}  # fmt: skip
_CODE_SUFFIXES = frozenset({".py", ".pyc", ".so", ".dll", ".dylib"})
_MAX_JSON_BYTES = 16 * 2**20
_HINT = "use a folder of a known pipeline with safetensors weights"


def check_pipeline(folder: Path) -> str:
    """The pipeline class of ``folder``; raises ``BuildFailed`` with the first thing that must not be loaded."""
    index = _object(folder / "model_index.json")
    name = index.get("_class_name")
    if not isinstance(name, str) or name not in PIPELINES:
        raise BuildFailed(f"{folder.name} has the unknown pipeline {str(name)[:80]!r}", _HINT)
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in _CODE_SUFFIXES:
            raise BuildFailed(f"{folder.name} brings code of its own: {file.relative_to(folder)}", _HINT)
    for part, value in index.items():
        if not part.startswith("_") and isinstance(value, list) and value != [None, None]:
            _check_part(folder, part, value)
    return name


def _check_part(folder: Path, part: str, value: list[object]) -> None:
    texts = [item for item in value if isinstance(item, str)]
    if len(value) != 2 or len(texts) != 2:
        raise BuildFailed(f"{folder.name} describes its {part[:80]!r} wrongly: {str(value)[:80]}", _HINT)
    library, name = texts
    has_weights = name in _WITH_WEIGHTS.get(library, ())
    if not has_weights and name not in _WITHOUT_WEIGHTS.get(library, ()):
        raise BuildFailed(f"{folder.name} wants the unknown class {library[:80]}.{name[:80]} as {part[:80]}", _HINT)
    place = folder / part
    if place.parent != folder or not place.is_dir():
        raise BuildFailed(f"{folder.name} has no folder {part[:80]!r}", "get the missing files again")
    if has_weights and not any(place.glob("*.safetensors")):
        raise BuildFailed(f"{folder.name} has no safetensors weights for its {part}; other formats run code", _HINT)
    for file in sorted(place.glob("*config.json")):
        if "auto_map" in _object(file):
            raise BuildFailed(f"{folder.name} asks for code of its own in {part}/{file.name}", _HINT)


def _object(file: Path) -> dict[str, object]:
    """The JSON object in ``file``."""
    label = f"{file.parent.name}/{file.name}"
    try:
        if file.stat().st_size > _MAX_JSON_BYTES:
            raise BuildFailed(f"{label} is too large", _HINT)
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BuildFailed(f"{label} cannot be read: {error.strerror}", "get the missing files again") from error
    except (ValueError, RecursionError) as error:
        raise BuildFailed(f"{label} is not JSON", "get the file again") from error
    if not isinstance(value, dict):
        raise BuildFailed(f"{label} holds no object", _HINT)
    return value
