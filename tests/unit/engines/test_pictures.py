"""Picture files as pixels."""

import io

import pytest
from PIL import Image

from nanolocal.engines.pictures import MOST_PIXELS, decode
from nanolocal.errors import UsageError

RED, WHITE = bytes((255, 0, 0)), bytes((255, 255, 255))


def saved(picture: Image.Image, kind: str, **how: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **how)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_every_format_gives_the_same_pixels(kind: str) -> None:
    how = {"lossless": True} if kind == "WEBP" else {}
    pixels = decode(saved(Image.new("RGB", (50, 40), "red"), kind, **how))
    assert (pixels.width, pixels.height, pixels.data) == (50, 40, RED * 2000)


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "ICO", "PPM"])
def test_other_formats_are_refused(kind: str) -> None:
    with pytest.raises(UsageError, match="no PNG, JPEG, WebP or GIF"):
        decode(saved(Image.new("RGB", (50, 40)), kind))


def test_of_a_moving_picture_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    assert decode(saved(frames[0], "GIF", save_all=True, append_images=frames[1:])).data == RED * 1600


def test_what_is_transparent_is_white() -> None:
    assert decode(saved(Image.new("RGBA", (40, 40), (0, 0, 0, 0)), "PNG")).data == WHITE * 1600


@pytest.mark.parametrize("size", [(80, 40), (4000, 2000)])
def test_a_turned_photo_is_upright(size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = decode(saved(Image.new("RGB", size, "red"), "JPEG", exif=exif))
    assert pixels.height / pixels.width == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize(("mode", "middle"), [("L", 128), ("I;16", 128 * 256), ("1", 1), ("P", 0), ("CMYK", (0,) * 4)])
def test_pictures_of_every_depth_are_read(mode: str, middle: int | tuple[int, ...]) -> None:
    picture = Image.new(mode, (40, 40), middle)
    pixels = decode(saved(picture, "JPEG" if mode == "CMYK" else "PNG"))
    wanted = {"L": 128, "I;16": 128, "1": 255, "P": 0, "CMYK": 255}[mode]
    assert pixels.data[:3] == bytes((wanted,)) * 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_large_picture_is_made_smaller_in_proportion(kind: str) -> None:
    pixels = decode(saved(Image.new("L", (4000, 1000)), kind))
    assert MOST_PIXELS * 0.99 < pixels.width * pixels.height <= MOST_PIXELS
    assert pixels.width / pixels.height == pytest.approx(4, rel=0.01)


def test_a_thread_of_pixels_lies_on_white() -> None:
    pixels = decode(saved(Image.new("RGB", (1000, 1), "red"), "PNG"))
    assert (pixels.width, pixels.height) == (1000, 50)
    assert pixels.data.count(RED) == 1000
