import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.segment import Segment

from nanolocal.errors import UsageError
from nanolocal.tui import halfblocks
from tests.tui.driving import picture


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _colours(segment: Segment) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    style = segment.style
    assert style and style.color and style.color.triplet and style.bgcolor and style.bgcolor.triplet
    return tuple(style.color.triplet), tuple(style.bgcolor.triplet)  # type: ignore[return-value]


def test_each_cell_holds_the_two_pixels_above_each_other() -> None:
    image = Image.new("RGB", (2, 4))
    image.putdata([(1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 0), (5, 0, 0), (6, 0, 0), (7, 0, 0), (8, 0, 0)])
    cells = halfblocks.draw(_png(image), 80, 24, (0, 0, 0))
    assert (cells.width, cells.height, cells.pixels) == (2, 2, (2, 4))
    assert [[_colours(cell) for cell in row] for row in cells.rows] == [
        [((1, 0, 0), (3, 0, 0)), ((2, 0, 0), (4, 0, 0))],
        [((5, 0, 0), (7, 0, 0)), ((6, 0, 0), (8, 0, 0))],
    ]


def test_transparent_pixels_show_the_background() -> None:
    cells = halfblocks.draw(picture(2, 2, (255, 0, 0, 0)), 80, 24, (20, 23, 28))
    assert _colours(cells.rows[0][0]) == ((20, 23, 28), (20, 23, 28))


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 200), st.integers(1, 80))
def test_the_fit_stays_inside_and_never_enlarges(width: int, height: int, columns: int, rows: int) -> None:
    fitted = halfblocks.fit((width, height), columns, rows)
    assert 1 <= fitted[0] <= min(columns, width)
    assert 1 <= fitted[1] <= min(rows, -(-height // 2))


def test_the_aspect_is_kept() -> None:
    assert halfblocks.fit((512, 512), 60, 100) == (60, 30)
    assert halfblocks.fit((512, 256), 60, 100) == (60, 15)
    assert halfblocks.fit((512, 512), 200, 20) == (40, 20)


@pytest.mark.parametrize("columns", [1, 2, 7, 40, 200])
def test_every_row_is_as_wide_as_it_says(columns: int) -> None:
    cells = halfblocks.draw(picture(37, 23), columns, 50, (0, 0, 0))
    assert {len(row) for row in cells.rows} == {cells.width}
    assert len(cells.rows) == cells.height


def test_without_colour_light_is_dense_on_dark_and_sparse_on_light() -> None:
    white, black = picture(8, 4, (255, 255, 255)), picture(8, 4, (0, 0, 0))
    assert [row[0].text for row in halfblocks.draw_grey(white, 80, 24, dark=True).rows] == ["@" * 8] * 2
    assert [row[0].text for row in halfblocks.draw_grey(black, 80, 24, dark=True).rows] == [" " * 8] * 2
    assert [row[0].text for row in halfblocks.draw_grey(black, 80, 24, dark=False).rows] == ["@" * 8] * 2
    assert all(cell.style is None for row in halfblocks.draw_grey(white, 80, 24, dark=True).rows for cell in row)


def test_jpeg_is_read_too() -> None:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (250, 250, 250)).save(file, "JPEG")
    assert halfblocks.measure(file.getvalue()) == (16, 16)


@pytest.mark.parametrize("data", [b"", b"not a picture", picture()[:60], b"GIF89a" + b"\0" * 40])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        halfblocks.draw(data, 80, 24, (0, 0, 0))


def test_a_huge_picture_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(UsageError, match="too large"):
        halfblocks.draw(_png(Image.new("1", (9000, 9000))), 80, 24, (0, 0, 0))
