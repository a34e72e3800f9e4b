"""Pictures as pixels: read with care, and brought to the size that is shown."""

from io import BytesIO
from typing import TYPE_CHECKING

from nanolocal.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_MOST_PIXELS = 64_000_000
Colour = tuple[int, int, int]


def measure(data: bytes) -> tuple[int, int]:
    """Width and height in pixels; raises ``UsageError`` where that is no picture or too large a one."""
    return _opened(data).size


def read(data: bytes) -> "Image":
    """The pixels of a PNG, JPEG, WebP or the first ones of a GIF; raises ``UsageError`` where they cannot be read."""
    from PIL import Image

    picture = _opened(data)
    try:
        picture.load()
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise _unreadable() from error
    return picture


def fit(
    pixels: tuple[int, int], columns: int, rows: int, aspect: float = 2.0, enlarges: bool = False
) -> tuple[int, int]:
    """The largest size in cells within ``columns`` x ``rows`` that keeps the aspect.

    A cell is ``aspect`` times as tall as wide. Unless it ``enlarges``, a cell never is narrower than a pixel.
    """
    width, height = pixels
    scale = min(columns / width, aspect * rows / height)
    scale = scale if enlarges else min(1.0, scale)
    return max(1, round(width * scale)), max(1, min(rows, -(-round(height * scale * 2 / aspect) // 2)))


def flatten(picture: "Image", size: tuple[int, int], background: Colour) -> "Image":
    """RGB of this size, each pixel the mean of what it covers; what is transparent shows ``background``."""
    from PIL import Image

    is_smaller = size[0] <= picture.width or size[1] <= picture.height
    how = Image.Resampling.BOX if is_smaller else Image.Resampling.BICUBIC
    if not picture.has_transparency_data:
        return picture.convert("RGB").resize(size, how)
    small = picture.convert("RGBA").convert("RGBa").resize(size, how)
    return Image.alpha_composite(Image.new("RGBA", size, (*background, 255)), small.convert("RGBA")).convert("RGB")


def within(picture: "Image", size: tuple[int, int]) -> "Image":
    """Shrunk to fit into ``size`` pixels where it is larger."""
    from PIL import Image

    scale = min(size[0] / picture.width, size[1] / picture.height)
    if scale >= 1:
        return picture
    smaller = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    whole = picture if picture.mode in ("RGB", "RGBA", "L") else picture.convert("RGBA")
    return whole.resize(smaller, Image.Resampling.LANCZOS)


def as_png(picture: "Image") -> bytes:
    """A file with the pixels and nothing else."""
    whole = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    whole.info.clear()
    file = BytesIO()
    whole.save(file, "PNG", compress_level=1)
    return file.getvalue()


def thumbnail(data: bytes, size: int) -> bytes:
    """A PNG of at most ``size`` x ``size`` pixels; raises as ``read`` does."""
    return as_png(within(read(data), (size, size)))


def _opened(data: bytes) -> "Image":
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(BytesIO(data), formats=_FORMATS)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable() from error
    if picture.width * picture.height > _MOST_PIXELS:
        raise UsageError(f"the picture is too large to show: {picture.width} x {picture.height} pixels")
    return picture


def _unreadable() -> UsageError:
    return UsageError("the picture cannot be read", "it may be damaged; /save writes it to a file")
