"""Smaller picture builds: a pipeline folder with the weights of its denoiser and text encoders in 8 bits.

The image engine loads it as it is, on any processor or card. ``shrink`` draws the same prompts with the same seeds by
both, each in an engine of its own in a child process, and compares the pictures. Weights in 4 bits (nf4) and GGUF
transformers need a card, or come from their makers: they are refused here.
"""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nanolocal.errors import EngineFailed, UsageError
from nanolocal.formats.pipeline_folder import GGUF, INDEX, PipelineFacts, check_folder
from nanolocal.formats.pipelines import Role

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS = ("int8",)
_ELSEWHERE = {
    "nf4": "weights in 4 bits need an NVIDIA card and bitsandbytes",
    "gguf": "a transformer in GGUF is made by its makers; nanolocal models pull gets one",
}
_CARD = "card.json"
_WINDOW = 7
"""Pixels a side of the squares that structure is compared in."""


@dataclass(frozen=True, slots=True)
class Shrink:
    """Write the pipeline ``folder`` with weights in 8 bits into the empty folder ``out``, as the model ``id``."""

    folder: str
    out: str
    id: str
    name: str
    convolutions: bool = True


@dataclass(frozen=True, slots=True)
class Shrunk:
    """Bytes of all weights before and after."""

    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Draw:
    """Draw each of ``prompts`` with ``seed`` and so on by the image engine; ``out`` is a folder for the pictures."""

    folder: str
    out: str
    prompts: tuple[str, ...]
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    threads: int


@dataclass(frozen=True, slots=True)
class Sketches:
    """Seconds of a step, the median of all pictures; the most memory that the process held, and what it held before."""

    step_s: float
    peak_bytes: int
    program_bytes: int


@dataclass(frozen=True, slots=True)
class Likeness:
    """How far two sets of pictures are apart, the mean of all.

    ``pixels`` is the root mean square difference of values from 0 to 1, ``structure`` 1 - SSIM of the brightness (Wang
    et al. 2004, squares of 7 pixels, c1 = 0.01^2, c2 = 0.03^2): 0 for the same picture, 1 for nothing in common.
    """

    pixels: float
    structure: float
    pictures: int


def check_kind(kind: str) -> None:
    """Raise ``UsageError`` for what is not made here."""
    if kind in _ELSEWHERE:
        raise UsageError(f"{kind} is not made on this machine: {_ELSEWHERE[kind]}", "choose int8")
    if kind not in KINDS:
        raise UsageError(f"picture builds are not made {kind[:40]!r}", "choose int8")


def check_source(folder: Path) -> PipelineFacts:
    """What the folder says of itself; raises ``Damaged``, and ``UsageError`` where there is nothing to make smaller."""
    if not (folder / INDEX).is_file():
        raise UsageError(f"{folder.name} is no pipeline folder", "choose a picture build in the diffusers format")
    facts = check_folder(folder)
    if facts.denoiser.files[0].suffix.lower() == GGUF or facts.denoiser.is_int8:
        raise UsageError(f"{folder.name} is quantized already", "choose the build that it was made from")
    return facts


def perform_shrink(task: Shrink, tell: Callable[[float], None]) -> Shrunk:
    """Do it, in a process that may use torch."""
    import torch

    from nanolocal.engines.diffusion import int8
    from nanolocal.engines.diffusion.opening import load_part

    facts, out = check_source(Path(task.folder)), Path(task.out)
    parts = (*facts.of(Role.TEXT_ENCODER), facts.denoiser)
    _copy_others(facts, {part.name for part in parts}, out)
    for number, part in enumerate(parts):
        place = out / part.name
        place.mkdir()
        _copy_settings(facts.folder / part.name, place)
        module = load_part(facts, part, torch.float32)
        int8.save(int8.shrink(module, convolutions=task.convolutions), part, place)
        del module
        tell((number + 1) / len(parts))
    _write_card(task, facts, out)
    return Shrunk(_weights(facts), _weights(check_folder(out)))


def perform_draw(task: Draw, tell: Callable[[float], None]) -> Sketches:
    """Do it, in a process of its own: memory is measured."""
    import psutil

    from nanolocal.engines.diffusion.engine import ImageEngine
    from nanolocal.engines.protocol import Drawn, Failed, LoadImage, Reply, RunImage, Step
    from nanolocal.engines.stopflag import StopFlag

    taken: list[Reply] = []
    moments: list[float] = []

    def emit(reply: Reply) -> None:
        if isinstance(reply, Step):
            moments.append(time.monotonic())
        elif isinstance(reply, Drawn | Failed):
            taken.append(reply)

    import diffusers  # noqa: F401  # so that the memory of the program is known before that of the build
    import torch  # noqa: F401

    before = int(psutil.Process().memory_info().rss)
    engine = ImageEngine(LoadImage("sketch", task.folder, task.threads), emit, StopFlag())
    seconds = []
    for number, prompt in enumerate(task.prompts, 1):
        moments.clear()
        job = (number, prompt, "", task.width, task.height, task.steps, task.guidance, task.seed)
        engine.take(RunImage(*job))
        engine.step()
        last = taken[-1] if len(taken) == number else None
        if not isinstance(last, Drawn):
            raise EngineFailed(
                last.message if isinstance(last, Failed) else "nothing was drawn", "choose another build"
            )
        (Path(task.out) / f"{number}.png").write_bytes(last.picture)
        seconds += [later - earlier for earlier, later in pairwise(moments)]
        tell(number / len(task.prompts))
    return Sketches(statistics.median(seconds) if seconds else 0.0, _peak(), before)


def likeness(one: Path, other: Path) -> Likeness:
    """Compare the pictures of two folders, which have the same names and sizes."""
    names = sorted(path.name for path in one.glob("*.png"))
    pairs = [(_pixels(one / name), _pixels(other / name)) for name in names]
    pixels = [float(np.sqrt(np.mean((a - b) ** 2))) for a, b in pairs]
    structure = [1 - ssim(_brightness(a), _brightness(b)) for a, b in pairs]
    return Likeness(statistics.fmean(pixels), statistics.fmean(structure), len(pairs))


def ssim(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The structural similarity of two pictures of values from 0 to 1 (height, width), 1 where they are the same."""
    mean_a, mean_b = _squares(one), _squares(other)
    var_a, var_b = _squares(one * one) - mean_a**2, _squares(other * other) - mean_b**2
    both = _squares(one * other) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return float(np.mean(top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))))


def _squares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of every square of ``_WINDOW`` pixels a side."""
    side = min(_WINDOW, *values.shape)
    windows = np.lib.stride_tricks.sliding_window_view(values, (side, side))
    means: NDArray[np.float64] = windows.mean(axis=(2, 3))
    return means


def _pixels(path: Path) -> NDArray[np.float64]:
    from PIL import Image

    with Image.open(path, formats=["PNG"]) as picture:
        return np.asarray(picture.convert("RGB"), np.float64) / 255


def _brightness(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    grey: NDArray[np.float64] = pixels @ np.array([0.299, 0.587, 0.114])
    return grey


def _copy_others(facts: PipelineFacts, parts: set[str], out: Path) -> None:
    """What stays as it is: the index, and the folders of the other parts."""
    shutil.copyfile(facts.folder / INDEX, out / INDEX)
    for name in facts.components:
        if name not in parts:
            shutil.copytree(facts.folder / name, out / name)


def _copy_settings(place: Path, into: Path) -> None:
    for file in place.glob("*.json"):
        if ".index." not in file.name and file.name != "config.json":
            shutil.copyfile(file, into / file.name)


def _write_card(task: Shrink, facts: PipelineFacts, out: Path) -> None:
    """What the card of the original says of how it draws, under a name of its own."""
    try:
        before = json.loads((facts.folder / _CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    kept = {key: before[key] for key in ("licence", "tiny", "defaults", "sizes", "quality") if key in before}
    card = {"id": task.id, "name": task.name, "quantization": "int8", **kept}
    (out / _CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def add_to_card(folder: Path, facts: dict[str, object]) -> None:
    """Put what was measured onto the card of a build."""
    card = json.loads((folder / _CARD).read_text(encoding="utf-8"))
    (folder / _CARD).write_text(json.dumps(card | {"compress": facts}, indent=2) + "\n", encoding="utf-8")


def measured(before: Sketches, after: Sketches, like: Likeness, made: Shrunk, task: Draw) -> dict[str, object]:
    """All figures with their method, for the card."""
    return {
        "method": "int8 by row, weights alone",
        "bytes": asdict(made),
        "original": asdict(before),
        "smaller": asdict(after),
        "likeness": asdict(like),
        "drawn": {"prompts": task.prompts, "seed": task.seed, "steps": task.steps, "size": [task.width, task.height]},
    }


def _weights(facts: PipelineFacts) -> int:
    return sum(file.stat().st_size for part in facts.components.values() for file in part.files)


def _peak() -> int:
    """The most memory that this process has held, in bytes."""
    import resource
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
