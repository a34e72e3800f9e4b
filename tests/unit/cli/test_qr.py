import pytest
import segno

from nanolocal.cli import qr

CODE = "AEAT2345" * 22
_DARK = {"\u2588": (False, False), "\u2580": (False, True), "\u2584": (True, False), " ": (True, True)}


def test_a_voucher_fits_into_a_small_terminal() -> None:
    lines = qr.half_blocks(qr.modules(CODE))
    assert len(lines) <= 23
    assert {len(line) for line in lines} == {45}


def test_the_blocks_are_the_code() -> None:
    square = segno.make_qr(CODE, error="L", boost_error=False)
    assert (square.mode, square.designator) == ("alphanumeric", "6-L")
    drawn = []
    for line in qr.half_blocks(qr.modules(CODE)):
        drawn += [[_DARK[block][half] for block in line] for half in (0, 1)]
    expected = [[bool(module) for module in row] for row in square.matrix_iter(border=2)]
    assert drawn[:-1] == expected
    assert all(drawn[-1])


def test_paper_gets_a_code_that_stands_more_damage() -> None:
    picture = qr.svg(CODE)
    assert picture.startswith("<svg ") and picture.endswith("</svg>")
    assert 'viewBox="0 0 53 53"' in picture  # version 7, level M, and the quiet zone of four modules


def test_a_code_with_other_characters_is_refused() -> None:
    with pytest.raises(ValueError, match="alphanumeric"):
        qr.modules("lower case")
