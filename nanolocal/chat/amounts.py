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


def format_bytes(size: int) -> str:
    """A size in the unit that keeps it short: ``5.0 MB``, powers of ten as disks are sold."""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
