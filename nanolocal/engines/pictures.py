"""A picture file as pixels, within bounds. Runs in the child: decoders are foreign code that reads foreign files."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nanolocal.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
MOST_DECODED = 40_000_000
"""Pixels that are decoded at the most: 120 MB as RGB."""
MOST_PIXELS = 1_600_000
"""Pixels that a model gets at the most; what it makes of them is its own matter, and mostly fewer."""
_LEAST_SIDE = 32
_MOST_STRETCHED = 20


@dataclass(frozen=True, slots=True)
class Pixels:
    """Rows of RGB, three bytes a pixel."""

    width: int
    height: int
    data: bytes


def decode(data: bytes) -> Pixels:
    """The first frame of a picture file, upright, on white, no larger than ``MOST_PIXELS``; raises ``UsageError``."""
    from PIL import Image, UnidentifiedImageError

    try:
        picture: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise UsageError("the picture is no PNG, JPEG, WebP or GIF", "save it as one of these") from error
    except Image.DecompressionBombError as error:
        raise _too_large("") from error
    except Exception as error:  # a decoder can raise anything
        raise _unreadable(error) from error
    if picture.width * picture.height > MOST_DECODED:
        raise _too_large(f": {picture.width} x {picture.height} pixels")
    try:
        upright = _flat(_smaller(picture))
    except MemoryError:
        raise
    except Exception as error:  # a decoder can raise anything
        raise _unreadable(error) from error
    return Pixels(upright.width, upright.height, upright.tobytes())


def _smaller(picture: Image) -> Image:
    """At most ``MOST_PIXELS``; a JPEG is decoded to hardly more than that to begin with."""
    from PIL import Image, ImageOps

    scale = math.sqrt(MOST_PIXELS / (picture.width * picture.height))
    size = (max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))
    if scale < 1:
        picture.draft("RGB", size)
    picture.load()
    if picture.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip to white
        picture = picture.convert("I").point(lambda value: value * (1 / 256) + 0).convert("L")
    if picture.mode not in ("RGB", "L"):
        picture = picture.convert("RGBA")
    if scale < 1:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return ImageOps.exif_transpose(picture)


def _flat(picture: Image) -> Image:
    """RGB on white, with white around what is so narrow or small that preprocessors do not expect it."""
    from PIL import Image

    width = max(picture.width, _LEAST_SIDE, picture.height // _MOST_STRETCHED)
    height = max(picture.height, _LEAST_SIDE, picture.width // _MOST_STRETCHED)
    if picture.mode == "RGB" and (width, height) == picture.size:
        return picture
    ground = Image.new("RGB", (width, height), "white")
    mask = picture if picture.mode == "RGBA" else None
    ground.paste(picture, ((width - picture.width) // 2, (height - picture.height) // 2), mask)
    return ground


def _too_large(size: str) -> UsageError:
    most = f"at most {MOST_DECODED // 10**6} million pixels"
    return UsageError(f"the picture is too large to look at{size}", f"{most}: save it smaller")


def _unreadable(error: Exception) -> UsageError:
    return UsageError(f"the picture cannot be read: {error or type(error).__name__}", "it may be damaged; save it anew")
