"""The files that a picture job names beside its build: LoRAs and ControlNets, by name or by path."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from nanolocal.chat.ports import ImageJob
from nanolocal.errors import Damaged, UsageError
from nanolocal.formats.pipeline_folder import check_controlnet
from nanolocal.formats.safetensors_header import read_header
from nanolocal.safetext import safe_line

_LORA, _CONTROLNET = "LoRA", "ControlNet"
_SHOWN = 20


def found(job: ImageJob, known: Mapping[str, Path]) -> ImageJob:
    """The same job with paths in place of names; raises ``UsageError`` where something is not there."""
    adapters = tuple((str(_path(name, known, _LORA)), weight) for name, weight in job.adapters)
    if len(dict(adapters)) < len(adapters):
        raise UsageError("the same LoRA is named twice", "give it once, with one weight")
    controlnet = str(_path(job.controlnet, known, _CONTROLNET)) if job.controlnet else ""
    return replace(job, adapters=adapters, controlnet=controlnet)


def places_of(job: ImageJob) -> frozenset[str]:
    """What a job that was ``found`` reads besides its build."""
    return frozenset([*(path for path, _ in job.adapters), *([job.controlnet] if job.controlnet else [])])


def numbers_of(job: ImageJob) -> int:
    """How many weights a job that was ``found`` has loaded besides its build; raises ``UsageError`` for no such file.

    Only headers are read.
    """
    try:
        adapters = [read_header(Path(path)).parameters for path, weight in job.adapters if weight]
        net = check_controlnet(Path(job.controlnet)).weights.parameters if job.controlnet else 0
    except Damaged as error:
        raise UsageError(error.message, error.hint) from error
    return net + sum(adapters)


def _path(name: str, known: Mapping[str, Path], what: str) -> Path:
    """A LoRA is a file, a ControlNet a folder."""
    is_wanted = Path.is_file if what == _LORA else _is_controlnet
    fitting = {called: path for called, path in known.items() if is_wanted(path)}
    wanted = name.casefold()
    for called, path in fitting.items():
        if wanted in (called.casefold(), path.name.casefold(), path.stem.casefold()):
            return path
    path = Path(name).expanduser()
    if is_wanted(path):
        return path.resolve()
    listed = ", ".join(sorted(map(safe_line, fitting))[:_SHOWN])
    form = "its .safetensors file" if what == _LORA else "its diffusers folder"
    raise UsageError(
        f"there is no {what} {safe_line(name)[:200]!r}", f"stored here: {listed}" if listed else f"give {form}"
    )


def _is_controlnet(path: Path) -> bool:
    return (path / "config.json").is_file()
