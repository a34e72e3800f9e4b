"""The size of a picture from its first bytes, against what Pillow makes of it."""

import io

import pytest
from PIL import Image

from nanolocal.chat.picturesize import pixels_of


def saved(kind: str, orientation: int = 1, **how: object) -> bytes:
    file = io.BytesIO()
    image = Image.new("RGB", (123, 45), "red")
    exif = image.getexif()
    exif[0x0112] = orientation
    given = {"exif": exif} if orientation > 1 else {}
    image.save(file, kind, **given, **how)
    return file.getvalue()


@pytest.mark.parametrize(
    "file", [saved("PNG"), saved("JPEG"), saved("JPEG", progressive=True), saved("GIF"), saved("WEBP"),
             saved("WEBP", lossless=True), saved("WEBP", 3)],
)  # fmt: skip
def test_every_kind_of_picture_tells_its_size(file: bytes) -> None:
    assert pixels_of(file) == (123, 45)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_that_lies_on_its_side_is_taken_as_it_is_seen(orientation: int) -> None:
    assert pixels_of(saved("JPEG", orientation)) == ((45, 123) if orientation >= 5 else (123, 45))


def test_what_is_no_picture_or_is_cut_off_has_no_size() -> None:
    assert pixels_of(b"") is None
    assert pixels_of(b"%PDF-1.7") is None
    for kind in ("PNG", "JPEG", "GIF", "WEBP"):
        whole = saved(kind, 6 if kind == "JPEG" else 1)
        found = {pixels_of(whole[:length]) for length in range(len(whole))}
        assert found <= {None, (123, 45), (45, 123)}, kind
