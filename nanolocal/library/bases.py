"""What a picture build that is one file lacks, and the pipeline folder here that has it.

A checkpoint holds all weights and no configuration; those of Stable Diffusion 1 and 2 and SDXL come with the engine. A
transformer alone draws with the text encoders and the decoder of a pipeline of its family. Which one goes with it is
told by the shapes that the file has and the configuration asks for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nanolocal.chat.routes import Build, Kind
from nanolocal.errors import Damaged
from nanolocal.formats.pipeline_folder import INDEX, Component, PipelineFacts, Weights, check_folder, weights_of
from nanolocal.formats.pipeline_shapes import layers_of
from nanolocal.formats.pipelines import PIPELINES, Family, Role
from nanolocal.library.fit.pictures import picture_footprint
from nanolocal.library.pictures import Use

_UNET = "model.diffusion_model."
_FIRST = f"{_UNET}input_blocks.0.0.weight"
_USUAL_FIRST = (320, 4)
_ALONE = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
_ASKS_TEXT = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
_UNET_FAMILIES = (Family.SD, Family.SDXL)
_LAYERS = {Family.SD3: ("joint_blocks", "num_layers"), Family.FLUX: ("double_blocks", "num_layers"),
           Family.CHROMA: ("double_blocks", "num_layers")}  # fmt: skip
_SAME: Mapping[Family, tuple[tuple[str, tuple[str, ...]], ...]] = {
    # family: (a tensor as its trainers call it, its first dimensions by the configuration of the transformer)
    Family.FLUX: (("img_in.weight", ("inner", "in_channels")), ("txt_in.weight", ("inner", "joint_attention_dim"))),
    Family.CHROMA: (("img_in.weight", ("inner", "in_channels")), ("txt_in.weight", ("inner", "joint_attention_dim"))),
    Family.SD3: (
        ("x_embedder.proj.weight", ("inner", "in_channels")),
        ("context_embedder.weight", ("caption_projection_dim", "joint_attention_dim")),
    ),
    Family.QWEN: (("img_in.weight", ("inner", "in_channels")), ("txt_in.weight", ("inner", "joint_attention_dim"))),
}


def is_enough(use: Use, weights: Weights) -> bool:
    """Whether the engine can draw with the file alone."""
    return use.architecture in _ALONE and weights.shapes.get(_FIRST, _USUAL_FIRST)[:2] == _USUAL_FIRST


def lacking(use: Use) -> str:
    """What has to be here besides, in words."""
    assert use.family is not None
    if use.is_alone:
        return f"the other parts of its {use.family.described} pipeline: a diffusers folder of that family"
    return f"the configuration of its {use.family.described} pipeline: a diffusers folder of that family"


def with_bases(builds: Sequence[Build]) -> list[Build]:
    """The builds, each that needs one with a pipeline folder among them that has what it lacks."""
    if not any(_wants_base(build) for build in builds):
        return list(builds)
    folders = _Folders(build.path for build in builds if build.kind is Kind.IMAGE and (build.path / INDEX).is_file())
    return [_based(build, folders) if _wants_base(build) else build for build in builds]


def _wants_base(build: Build) -> bool:
    return build.kind is Kind.IMAGE and bool(build.needs) and build.path.is_file()


class _Folders:
    """Pipelines by their folders, read when first asked for."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = sorted(paths)
        self._facts: list[PipelineFacts] | None = None

    def nearest_first(self, file: Path) -> list[PipelineFacts]:
        """All of them, one that lies beside ``file`` under its name first, then those in its own folder."""
        if self._facts is None:
            self._facts = [facts for path in self._paths if (facts := _read(path)) is not None]
        return sorted(
            self._facts,
            key=lambda facts: (facts.folder != file.with_suffix(""), facts.folder.parent != file.parent, facts.folder),
        )


def _read(folder: Path) -> PipelineFacts | None:
    try:
        return check_folder(folder)
    except (Damaged, OSError):
        return None


def _based(build: Build, folders: _Folders) -> Build:
    try:
        weights = weights_of((build.path,))
    except (Damaged, OSError):
        return build
    for facts in folders.nearest_first(build.path):
        if facts.family is PIPELINES.get(build.architecture) and is_fit(weights, facts):
            return _joined(build, weights, facts)
    return build


def _joined(build: Build, weights: Weights, facts: PipelineFacts) -> Build:
    """``build`` with the memory of all parts together."""
    own = facts.denoiser
    if any(name.startswith("first_stage_model.") for name in weights.shapes):
        footprint = picture_footprint(facts)
    else:
        mine = Component(own.name, Role.DENOISER, own.class_name, own.config, (build.path,), weights)
        footprint = picture_footprint(replace(facts, components={**facts.components, own.name: mine}))
    return replace(build, base=facts.folder, needs="", footprint=footprint)


def is_fit(weights: Weights, facts: PipelineFacts) -> bool:
    """Whether a file's main tensors have the shapes that the pipeline's configuration asks for."""
    shapes = {name.removeprefix(_UNET): shape for name, shape in weights.shapes.items()}
    config = dict(facts.denoiser.config)
    heads, head = config.get("num_attention_heads"), config.get("attention_head_dim")
    if isinstance(heads, int) and isinstance(head, int):
        config["inner"] = heads * head
    if facts.family in _UNET_FAMILIES:
        return _fits_unet(shapes, config)
    if facts.family is Family.FLUX and "img_in.weight" in shapes and config.get("guidance_embeds") is not None:
        has_guidance = any(name.startswith("guidance_in.") for name in shapes)
        if has_guidance is not config["guidance_embeds"]:
            return False
    if facts.family in _LAYERS:
        prefix, key = _LAYERS[facts.family]
        layers = layers_of(shapes, prefix)
        if layers and layers != config.get(key, layers):
            return False
    return all(_agrees(shapes, name, [config.get(key) for key in keys]) for name, keys in _SAME.get(facts.family, ()))


def _fits_unet(shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, object]) -> bool:
    channels = config.get("block_out_channels")
    first = [channels[0] if isinstance(channels, list) and channels else None, config.get("in_channels")]
    text = shapes.get(_ASKS_TEXT)
    reads = text is None or text[1:2] == (config.get("cross_attention_dim"),)
    return reads and _agrees(shapes, "input_blocks.0.0.weight", first)


def _agrees(shapes: Mapping[str, tuple[int, ...]], name: str, wanted: Sequence[object]) -> bool:
    found = shapes.get(name)
    return found is None or all(size is None or size == side for size, side in zip(wanted, found, strict=False))
