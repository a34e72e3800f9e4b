"""ComfyUI, A1111 and Forge: a folder for each kind of picture file.

Layout (comfyanonymous/ComfyUI, folder_paths.py, extra_model_paths.yaml.example; the second line is A1111's)::

    models/checkpoints, diffusion_models, unet, loras, vae, text_encoders, clip, diffusers, controlnet
    models/Stable-diffusion, Lora, LyCORIS, VAE, text_encoder, diffusers, ControlNet

``extra_model_paths.yaml`` beside ComfyUI's main.py names more folders of these kinds. Folders of other kinds
(upscalers, embeddings) hold nothing that is used here and are not read.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from nanolocal.errors import Damaged
from nanolocal.library.discover import folder, yamls
from nanolocal.library.discover.system import System
from nanolocal.library.found import Found, Problem
from nanolocal.library.jsonfiles import read_text

NAME = "ComfyUI"
_USUAL = (
    "ComfyUI", "comfyui", "Documents/ComfyUI", "stable-diffusion-webui", "stable-diffusion-webui-forge",
    "sd-webui-forge-classic", "automatic1111",
)  # fmt: skip
_KINDS = frozenset({
    "checkpoints", "diffusion_models", "unet", "loras", "vae", "text_encoders", "clip", "diffusers",
    "stable-diffusion", "lora", "lycoris", "text_encoder", "controlnet",
})  # fmt: skip
_EXTRA = ("extra_model_paths.yaml", "extra_model_paths.yml", "extra_models_config.yaml")


def places(system: System) -> list[Path]:
    """Where people put these programs on ``system``: they have no place of their own."""
    return [system.home / name for name in _USUAL]


def is_store(root: Path) -> bool:
    """Whether ``root`` is where such a program lives."""
    return any((root / "models" / name).is_dir() for name in ("checkpoints", "Stable-diffusion", "diffusion_models"))


def read(root: Path, tell: Callable[[str], None]) -> Iterator[Found | Problem]:
    """Every file of a kind that is used here, called after its place in the folder of its kind."""
    folders: list[Path] = []
    try:
        models = [path for path in (root / "models").iterdir() if path.name.lower() in _KINDS and path.is_dir()]
        folders += sorted(models)
    except OSError as error:
        yield Problem(root / "models", f"cannot be read: {error.strerror}")
    for name in _EXTRA:
        try:
            folders += _extra(root, read_text(root / name))
        except FileNotFoundError:
            continue
        except OSError as error:
            yield Problem(root / name, f"cannot be read: {error.strerror}")
        except Damaged as error:
            yield Problem(root / name, error.message)
    for place in dict.fromkeys(folders):
        for found in folder.read(place, tell):
            yield _named(found, place)


def _named(found: Found | Problem, place: Path) -> Found | Problem:
    if isinstance(found, Problem) or found.known_as or not found.path.is_relative_to(place):
        return found
    inside = found.path.relative_to(place)
    return replace(found, known_as=(inside if found.path.is_dir() else inside.with_suffix("")).as_posix())


def _extra(root: Path, text: str) -> list[Path]:
    """The folders of an extra_model_paths.yaml that are there."""
    folders: list[Path] = []
    for section in yamls.sections(text).values():
        base = root / _expanded(section.get("base_path", ""))
        for kind, value in section.items():
            if kind.lower() in _KINDS:
                folders += [base / _expanded(line.strip()) for line in value.split("\n") if line.strip()]
    return [path for path in folders if path.is_dir()]


def _expanded(text: str) -> Path:
    """A path as ComfyUI takes it, with ``~`` and variables."""
    path = Path(os.path.expandvars(text.replace("\0", "")))
    try:
        return path.expanduser()
    except RuntimeError:  # the home of a user that is not there
        return path
