"""Reads foreign JSON: what is missing or of the wrong kind reads as nothing, and no value raises."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from nanolocal.errors import UsageError

_LATEST = 1e11
"""Seconds since 1970 beyond which a time is one in smaller units, or wrong."""


def parsed(data: bytes, name: str) -> object:
    """The value of a JSON file; raises ``UsageError`` for anything else."""
    try:
        value: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is not valid JSON: {error}", "export it once more from its program") from error
    return value


def text(value: object) -> str:
    """A string, or nothing."""
    return value if isinstance(value, str) else ""


def first_text(*values: object) -> str:
    """The first string that is not empty."""
    return next((value for value in values if isinstance(value, str) and value), "")


def fields(value: object) -> Mapping[str, object]:
    """A JSON object, or an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[object]:
    """A JSON array, or an empty one."""
    return value if isinstance(value, list) else []


def number(value: object) -> float | None:
    """A number that can be a time in seconds since 1970, as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= _LATEST else None


def seconds(value: object) -> float | None:
    """Seconds since 1970 from a number in s, ms, us or ns, or from an ISO 8601 text (UTC where it does not say)."""
    if isinstance(value, str):
        return _iso(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e20:
        return None
    for unit in (1.0, 1e3, 1e6, 1e9):
        if value / unit <= _LATEST:
            return value / unit
    return None


def _iso(value: str) -> float | None:
    try:
        moment = datetime.fromisoformat(value[:64])
        stamp = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return stamp if 0 < stamp <= _LATEST else None
