"""Pictures that go into a picture: what is changed, where, and what is followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanolocal.engines import pictures

if TYPE_CHECKING:
    from PIL.Image import Image


def opened(file: bytes, size: tuple[int, int] | None) -> Image:
    """A picture file as RGB of that width and height, its edges cut off where it has another shape.

    Raises ``UsageError`` where it cannot be read.
    """
    from PIL import Image, ImageOps

    pixels = pictures.decode(file)
    image = Image.frombytes("RGB", (pixels.width, pixels.height), pixels.data)
    if size is None or image.size == size:
        return image
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
