"""How amounts are written for people: credits from micro-credits, sizes from bytes. Money is never rounded."""

MICRO = 1_000_000


def format_credits(micro: int) -> str:
    """Micro-credits as credits with all six places: ``99998`` is ``0.099998``."""
    sign = "-" if micro < 0 else ""
    whole, rest = divmod(abs(micro), MICRO)
    return f"{sign}{whole}.{rest:06d}"


def format_bytes(size: int) -> str:
    """A size in the unit that keeps it short: ``5.0 MB``, powers of ten as disks are sold."""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
