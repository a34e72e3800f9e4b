"""QR codes: as half blocks in a terminal, and as SVG for a page to print."""

from collections.abc import Sequence

_BORDER = 2
_BLOCKS = {(True, True): "\u2588", (True, False): "\u2580", (False, True): "\u2584", (False, False): " "}


def modules(code: str) -> list[list[bool]]:
    """The square of a code of upper-case letters and digits, with its border; ``True`` is a dark module.

    Error level L keeps a voucher at 45 by 45 modules, so that it fits into a terminal of 80 by 24.
    """
    import segno

    square = segno.make_qr(code, mode="alphanumeric", error="L", boost_error=False)
    return [[bool(module) for module in row] for row in square.matrix_iter(scale=1, border=_BORDER)]


def half_blocks(square: Sequence[Sequence[bool]]) -> list[str]:
    """Two rows of modules in each line; blocks are the light modules, as the ink of a dark terminal is light."""
    rows = [*square, *([[True] * len(square[0])] if len(square) % 2 else [])]
    return [
        "".join(_BLOCKS[not above, not below] for above, below in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    ]


def svg(code: str) -> str:
    """The code as an SVG picture to put into a page; level M, which stands a stain on paper."""
    import segno

    square = segno.make_qr(code, mode="alphanumeric", error="M", boost_error=False)
    return square.svg_inline(border=4, omitsize=True, dark="#000", light="#fff")
