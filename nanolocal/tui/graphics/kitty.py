"""Kitty's graphics protocol: pictures by number, placed over cells or into text that scrolls with the rest.

https://sw.kovidgoyal.net/kitty/graphics-protocol/
"""

import base64
from functools import cache

PLACEHOLDER = "\U0010eeee"
MOST_CELLS = 297
_CHUNK = 4096
_MARKS = """
    0305 030D-030E 0310 0312 033D-033F 0346 034A-034C 0350-0352 0357 035B 0363-036F 0483-0487 0592-0595 0597-0599
    059C-05A1 05A8-05A9 05AB-05AC 05AF 05C4 0610-0617 0657-065B 065D-065E 06D6-06DC 06DF-06E2 06E4 06E7-06E8
    06EB-06EC 0730 0732-0733 0735-0736 073A 073D 073F-0741 0743 0745 0747 0749-074A 07EB-07F1 07F3 0816-0819
    081B-0823 0825-0827 0829-082D 0951 0953-0954 0F82-0F83 0F86-0F87 135D-135F 17DD 193A 1A17 1A75-1A7C 1B6B
    1B6D-1B73 1CD0-1CD2 1CDA-1CDB 1CE0 1DC0-1DC1 1DC3-1DC9 1DCB-1DCC 1DD1-1DE6 1DFE 20D0-20D1 20D4-20D7 20DB-20DC
    20E1 20E7 20E9 20F0 2CEF-2CF1 2DE0-2DFF A66F A67C-A67D A6F0-A6F1 A8E0-A8F1 AAB0 AAB2-AAB3 AAB7-AAB8 AABE-AABF
    AAC1 FE20-FE26 10A0F 10A38 1D185-1D189 1D1AA-1D1AD 1D242-1D244
"""  # which mark means which row or column, in this order: the protocol's own table


def upload(png: bytes, number: int) -> str:
    """Give the terminal a picture without showing it."""
    text = base64.b64encode(png).decode("ascii")
    pieces = [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)]
    commands = [f"a=t,f=100,t=d,i={number},q=2,m=1", *["m=1"] * (len(pieces) - 1)]
    commands[-1] = commands[-1].replace("m=1", "m=0")
    return "".join(_command(command, piece) for command, piece in zip(commands, pieces, strict=True))


def place(number: int, columns: int, rows: int) -> str:
    """Show it over so many cells from the cursor on, which stays; once more moves it."""
    return _command(f"a=p,i={number},p=1,c={columns},r={rows},C=1,q=2")


def take_off(number: int) -> str:
    """Hide it; the terminal keeps it."""
    return _command(f"a=d,d=i,i={number},q=2")


def forget(number: int) -> str:
    """Hide it, and the terminal keeps nothing of it."""
    return _command(f"a=d,d=I,i={number},q=2")


def spread(number: int, columns: int, rows: int) -> str:
    """Let the placeholders of ``cell`` show it, as if they were so many columns and rows."""
    return _command(f"a=p,U=1,i={number},c={columns},r={rows},q=2")


def cell(column: int, row: int) -> str:
    """The text of one cell of a picture, to be written in the colour that is the picture's number."""
    marks = _marks()
    return f"{PLACEHOLDER}{marks[row]}{marks[column]}"


@cache
def _marks() -> tuple[str, ...]:
    marks: list[str] = []
    for part in _MARKS.split():
        first, _, last = part.partition("-")
        marks += [chr(code) for code in range(int(first, 16), int(last or first, 16) + 1)]
    return tuple(marks)


def _command(keys: str, payload: str = "") -> str:
    return f"\x1b_G{keys}{';' if payload else ''}{payload}\x1b\\"
