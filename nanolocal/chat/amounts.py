"""How amounts are written for people: credits from micro-credits, sizes from bytes. Money is never rounded."""

import re

from nanolocal.errors import UsageError

MICRO = 1_000_000
_AMOUNT = re.compile(r"(\d{1,9})(?:\.(\d{1,6}))?")


def format_credits(micro: int) -> str:
    """Micro-credits as credits with all six places: ``99998`` is ``0.099998``."""
    sign = "-" if micro < 0 else ""
    whole, rest = divmod(abs(micro), MICRO)
    return f"{sign}{whole}.{rest:06d}"


def parse_credits(text: str) -> int:
    """Credits as people write them (``0.10``) in micro-credits, exactly; raises ``UsageError`` for anything else."""
    match = _AMOUNT.fullmatch(text.strip())
    if not match:
        raise UsageError(f"{text!r} is not an amount of credits", "write it as 0.10, with at most six places")
    return int(match.group(1)) * MICRO + int((match.group(2) or "").ljust(6, "0"))


def short_credits(micro: int) -> str:
    """Credits with as many digits as the amount needs: ``0.10``, ``0.0042``, ``0.000031``; the others are cut off."""
    if micro == 0:
        return "0"
    whole, rest = divmod(abs(micro), MICRO)
    return f"{'-' if micro < 0 else ''}{whole}.{f'{rest:06d}'[: _places(micro)]}"


def most_credits(micro: int) -> str:
    """The same for a limit that holds: what ``short_credits`` would cut off counts as one more of the last digit."""
    unit = 10 ** (6 - _places(micro))
    return short_credits(-(-micro // unit) * unit)


def _places(micro: int) -> int:
    whole, rest = divmod(abs(micro), MICRO)
    return 2 if whole or rest >= MICRO // 10 else min(6, 8 - len(str(rest)))


def format_bytes(number: int) -> str:
    """A number of bytes: ``2 kB``, ``1.1 GB``; powers of ten, as disks are sold."""
    if number < 1000:
        return f"{number} B"
    value, unit = number / 1000, "kB"
    for unit in ("kB", "MB", "GB"):
        if value < 999.5 or unit == "GB":
            break
        value /= 1000
    return f"{value:.1f} {unit}" if unit == "GB" and value < 100 else f"{value:.0f} {unit}"


def sized(size: float) -> str:
    """Bytes with three digits, as the sizes of files of one model are close to each other."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{max(size, 0):.0f} B"
