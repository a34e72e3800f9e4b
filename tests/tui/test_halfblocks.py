import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.color import ColorSystem
from rich.segment import Segment
from rich.terminal_theme import TerminalTheme

from nanolocal.errors import UsageError
from nanolocal.tui.graphics import halfblocks, pixels
from nanolocal.tui.graphics.showing import depth
from tests.tui.driving import colour_card, picture

Rgb = tuple[int, int, int]
_PLAIN = TerminalTheme((0, 0, 0), (255, 255, 255), list(halfblocks._BASIC[:8]), list(halfblocks._BASIC[8:]))


def _png(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def _colours(segment: Segment) -> tuple[Rgb, Rgb]:
    style = segment.style
    assert segment.text == "\u2580"
    assert style and style.color and style.color.triplet and style.bgcolor and style.bgcolor.triplet
    return tuple(style.color.triplet), tuple(style.bgcolor.triplet)  # type: ignore[return-value]


def _shown(cells: halfblocks.Cells) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
    """The pixels that a terminal would draw."""
    rows = []
    for row in cells.rows:
        pairs = [_colours(cell) for cell in row]
        rows += [[top for top, _ in pairs], [bottom for _, bottom in pairs]]
    return np.array(rows)


def test_each_cell_holds_the_two_pixels_above_each_other() -> None:
    image = Image.new("RGB", (2, 4))
    image.putdata([(1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 0), (5, 0, 0), (6, 0, 0), (7, 0, 0), (8, 0, 0)])
    cells = halfblocks.draw(image, (2, 2), (0, 0, 0))
    assert (cells.width, cells.height, cells.pixels) == (2, 2, (2, 4))
    assert [[_colours(cell) for cell in row] for row in cells.rows] == [
        [((1, 0, 0), (3, 0, 0)), ((2, 0, 0), (4, 0, 0))],
        [((5, 0, 0), (7, 0, 0)), ((6, 0, 0), (8, 0, 0))],
    ]


@pytest.mark.parametrize(("columns", "rows"), [(64, 32), (32, 16), (16, 8)])
def test_a_colour_card_is_the_mean_of_the_pixels_under_each_half(columns: int, rows: int) -> None:
    card = colour_card(64)
    size = pixels.fit(card.size, columns, rows)
    assert size == (columns, rows)
    block = 64 // columns
    wanted = np.asarray(card, dtype=float).reshape(columns, block, columns, block, 3).mean(axis=(1, 3))
    assert np.abs(_shown(halfblocks.draw(card, size, (0, 0, 0))) - wanted).max() <= 1


@pytest.mark.parametrize("columns", [1, 2, 7, 23, 47, 63])
def test_at_any_width_a_colour_card_keeps_its_edges(columns: int) -> None:
    card = colour_card(64)
    size = pixels.fit(card.size, columns, 100)
    shown = _shown(halfblocks.draw(card, size, (0, 0, 0)))
    assert shown.shape == (size[1] * 2, columns, 3)
    reference = _area_mean(np.asarray(card, dtype=float), size[1] * 2, columns)
    assert np.abs(shown - reference).max() <= 2


def _area_mean(
    image: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", rows: int, columns: int
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """Every pixel the mean of exactly what it covers."""
    result = np.asarray(np.einsum("yr,rcd->ycd", _weights(image.shape[0], rows), image))
    return np.asarray(np.einsum("xc,ycd->yxd", _weights(image.shape[1], columns), result))


def _weights(length: int, parts: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """How much of each pixel falls into each part: pixels count where their middle does."""
    weights = np.zeros((parts, length))
    for part in range(parts):
        start, end = part * length / parts, (part + 1) * length / parts
        inside = [place for place in range(length) if start <= place + 0.5 < end]
        weights[part, inside] = 1 / len(inside)
    return weights


def test_transparent_pixels_show_the_background_and_do_not_bleed() -> None:
    cells = halfblocks.draw(pixels.read(picture(2, 2, (255, 0, 0, 0))), (2, 1), (20, 23, 28))
    assert _colours(cells.rows[0][0]) == ((20, 23, 28), (20, 23, 28))
    half = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    half.putpixel((0, 0), (0, 0, 255, 255))
    half.putpixel((0, 1), (0, 0, 255, 255))
    assert _colours(halfblocks.draw(half, (1, 1), (0, 0, 0)).rows[0][0])[0] == (0, 0, 128)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 200), st.integers(1, 80), st.floats(1.2, 3.5))
def test_the_fit_stays_inside_and_never_enlarges(
    width: int, height: int, columns: int, rows: int, aspect: float
) -> None:
    fitted = pixels.fit((width, height), columns, rows, aspect)
    assert 1 <= fitted[0] <= min(columns, width)
    assert 1 <= fitted[1] <= rows
    enlarged = pixels.fit((width, height), columns, rows, aspect, enlarges=True)
    assert fitted[0] <= enlarged[0] <= columns and fitted[1] <= enlarged[1] <= rows


def test_the_aspect_is_kept() -> None:
    assert pixels.fit((512, 512), 60, 100) == (60, 30)
    assert pixels.fit((512, 256), 60, 100) == (60, 15)
    assert pixels.fit((512, 512), 200, 20) == (40, 20)
    assert pixels.fit((512, 512), 60, 100, aspect=2.4) == (60, 25)
    assert pixels.fit((16, 16), 60, 100, enlarges=True) == (60, 30)


@pytest.mark.parametrize("columns", [1, 2, 7, 40, 200])
def test_every_row_is_as_wide_as_it_says(columns: int) -> None:
    image = pixels.read(picture(37, 23))
    cells = halfblocks.draw(image, pixels.fit(image.size, columns, 50), (0, 0, 0))
    assert {len(row) for row in cells.rows} == {cells.width}
    assert len(cells.rows) == cells.height


def test_with_256_colours_those_that_exist_are_exact_and_others_are_mixed() -> None:
    exact = halfblocks.draw(Image.new("RGB", (4, 4), (215, 95, 0)), (4, 2), (0, 0, 0), "256")
    assert (_shown(exact) == (215, 95, 0)).all()
    shown = _shown(halfblocks.draw(Image.new("RGB", (16, 16), (115, 115, 200)), (16, 8), (0, 0, 0), "256"))
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 1
    assert np.abs(shown.mean(axis=(0, 1)) - (115, 115, 200)).max() < 8


@pytest.mark.parametrize(("depth", "system"), [("256", ColorSystem.EIGHT_BIT), ("standard", ColorSystem.STANDARD)])
def test_what_the_terminal_gets_is_what_was_mixed(depth: str, system: ColorSystem) -> None:
    for row in halfblocks.draw(colour_card(16), (16, 8), (0, 0, 0), depth).rows:
        for cell in row:
            assert cell.style and cell.style.color and cell.style.color.triplet
            near = cell.style.color.downgrade(system).get_truecolor(_PLAIN)
            wanted = cell.style.color.triplet
            assert max(abs(a - b) for a, b in zip(near, wanted, strict=True)) <= 10


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "truecolor"),
        ({"TERM": "xterm-256color"}, "256"),
        ({"TERM": "xterm"}, "standard"),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, "none"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "none"),
        ({}, "none"),
    ],
)
def test_the_colours_of_plain_output(environment: dict[str, str], wanted: str) -> None:
    assert depth(environment) == wanted


def test_without_colour_light_is_dense_on_dark_and_sparse_on_light() -> None:
    white, black = (pixels.read(picture(8, 4, (value,) * 3)) for value in (255, 0))
    assert [row[0].text for row in halfblocks.draw_grey(white, (8, 2), dark=True).rows] == ["@" * 8] * 2
    assert [row[0].text for row in halfblocks.draw_grey(black, (8, 2), dark=True).rows] == [" " * 8] * 2
    assert [row[0].text for row in halfblocks.draw_grey(black, (8, 2), dark=False).rows] == ["@" * 8] * 2
    assert all(cell.style is None for row in halfblocks.draw_grey(white, (8, 2), dark=True).rows for cell in row)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_the_kinds_that_can_be_attached_are_read(kind: str) -> None:
    data = _png(Image.new("RGB", (16, 8), (250, 250, 250)), kind)
    assert pixels.measure(data) == (16, 8)
    assert pixels.read(pixels.thumbnail(data, 8)).size == (8, 4)


def test_what_goes_to_the_terminal_has_pixels_and_nothing_else() -> None:
    info = Image.Exif()
    info[270] = "private words"
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG", exif=info)
    assert b"private words" in file.getvalue()
    assert b"private words" not in pixels.as_png(pixels.read(file.getvalue()))


@pytest.mark.parametrize("data", [b"", b"not a picture", picture()[:60], b"GIF89a" + b"\0" * 40])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        pixels.read(data)


def test_a_huge_picture_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(UsageError, match="too large"):
        pixels.read(_png(Image.new("1", (9000, 9000))))
