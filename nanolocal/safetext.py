"""The one sanitiser between foreign text (models, files, networks) and a terminal.

It works character by character, so a control sequence split over two pieces cannot pass; ``safe`` is idempotent.
Control characters become visible symbols, bidirectional overrides and lone surrogates become U+FFFD, and characters
that are invisible but carry meaning are removed. Joiners that emoji and scripts need stay.
"""

from typing import NewType

SafeText = NewType("SafeText", str)

_REMOVED = [0x00AD, 0x180E, 0x200B, 0x2060, 0xFEFF, *range(0xE0000, 0xE0080)]
_REPLACED = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000)]


def _build_table() -> dict[int, str | None]:
    table: dict[int, str | None] = {code: chr(0x2400 + code) for code in range(0x20)}
    table.update(dict.fromkeys(range(0x80, 0xA0), "\ufffd"))
    table.update(dict.fromkeys(_REPLACED, "\ufffd"))
    table.update(dict.fromkeys(_REMOVED))
    table.update({0x7F: "\u2421", 0x09: "\t", 0x0A: "\n", 0x0D: "\n", 0x85: "\n", 0x2028: "\n", 0x2029: "\n"})
    return table


_TABLE = _build_table()


def safe(text: str) -> SafeText:
    """Return ``text`` with everything a terminal could act on made visible or harmless."""
    return SafeText(text.replace("\r\n", "\n").translate(_TABLE))


def safe_line(text: str) -> SafeText:
    """Return ``text`` as one safe line: line breaks and tabs become spaces."""
    if text.isascii() and text.isprintable() and "  " not in text:  # as nearly every cell of a table is
        return SafeText(text.strip())
    return SafeText(" ".join(safe(text).split()))
