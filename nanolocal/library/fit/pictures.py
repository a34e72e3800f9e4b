"""What a picture pipeline takes: its weights by component, and what is alive while a picture is drawn.

Measured with torch 2.13 and diffusers 0.42 on a CPU, where weights are held as 32-bit floats whatever the files hold:
the starter pipeline in a real engine child (407 MiB loaded; 450, 496 and 688 MiB at most for a picture of 128, 256 and
512 pixels a side), and modules in the shape of Stable Diffusion 1.5 with random weights (decoding took 114, 253 and 976
MiB at those sizes, a step of the UNet no more than decoding). Decoding decides, by the channels of the last layer.
"""

from dataclasses import dataclass
from pathlib import Path

from nanolocal.chat.routes import Footprint
from nanolocal.errors import Damaged
from nanolocal.library.jsonfiles import read_object

_PROGRAM = 395 * 2**20
"""The interpreter with torch, diffusers and transformers."""
_DRAWING = 40 * 2**20
_PER_PIXEL = 600
_LIVE = 30
"""Bytes a pixel and channel: some seven layers of 32-bit floats are alive at once in the last stage of decoding."""
_FLOAT = 4
_USUAL_CHANNELS, _USUAL_SIDE, _USUAL_SCALE = 128, 64, 8


@dataclass(frozen=True, slots=True)
class Drawing:
    """How a pipeline draws: channels in the last stage of its decoder, and the pixels of a picture of its own size."""

    channels: int
    pixels: int


def drawing_of(folder: Path) -> Drawing:
    """Read that from the configurations of a diffusers folder; what they do not say is that of Stable Diffusion 1.5."""
    decoder, denoiser = _config(folder / "vae"), _config(folder / "unet") or _config(folder / "transformer")
    channels = decoder.get("block_out_channels")
    stages = [item for item in channels if isinstance(item, int)] if isinstance(channels, list) else []
    side = denoiser.get("sample_size")
    scale = 2 ** (len(stages) - 1) if stages else _USUAL_SCALE
    edge = (side if isinstance(side, int) and 0 < side <= 1024 else _USUAL_SIDE) * scale
    return Drawing(stages[0] if stages else _USUAL_CHANNELS, edge * edge)


def drawing_bytes(drawing: Drawing, pixels: int) -> int:
    """What is alive while a picture of that many pixels is drawn, beside the weights."""
    return _DRAWING + pixels * (_PER_PIXEL + _LIVE * drawing.channels)


def picture_footprint(parameters: int, size_bytes: int, drawing: Drawing) -> Footprint:
    """The memory of a pipeline that draws at its own size."""
    loaded = _PROGRAM + parameters * _FLOAT
    return Footprint(
        file=size_bytes,
        mapped=0,
        used=0,
        held=loaded + drawing_bytes(drawing, drawing.pixels),
        loading=loaded,
        per_token=0,
    )


def picture_bytes(size_bytes: int, bytes_each: int) -> int:
    """The memory of a pipeline of which only the size is known, and that ``bytes_each`` hold a weight in its files.

    It is taken to draw as Stable Diffusion 1.5 does.
    """
    usual = Drawing(_USUAL_CHANNELS, (_USUAL_SIDE * _USUAL_SCALE) ** 2)
    return picture_footprint(size_bytes // bytes_each, size_bytes, usual).needed(0)


def _config(folder: Path) -> dict[str, object]:
    try:
        return read_object(folder / "config.json")
    except (OSError, Damaged):
        return {}
