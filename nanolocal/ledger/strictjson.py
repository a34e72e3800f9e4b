"""JSON from files whose every byte counts: one meaning per text, and limits on size and nesting."""

import json
from typing import NoReturn

_DEEPEST = 6
"""Levels of objects and lists; a receipt has three."""


def parse(data: bytes, limit: int) -> dict[str, object]:
    """The object that ``data`` holds; raises ``ValueError`` for anything else.

    Refused are more than ``limit`` bytes, a name given twice, fractions, NaN, what is not UTF-8, and deep nesting.
    """
    if len(data) > limit:
        raise ValueError(f"it has more than {limit} bytes")
    try:
        value = json.loads(data.decode(), object_pairs_hook=_unique, parse_float=_no_number, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError("it is not JSON") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(value, dict) or not _is_shallow(value):
        raise ValueError("it is not an object, or nested too deeply")
    return value


def canonical(value: object) -> str:
    """The one text of a value: sorted names, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def object_of(value: object, names: frozenset[str]) -> dict[str, object]:
    """``value`` as an object with exactly these names; raises ``ValueError``."""
    if not isinstance(value, dict) or value.keys() != names:
        raise ValueError(f"it is not an object of {', '.join(sorted(names))}")
    return value


def text_of(value: object) -> str:
    """``value`` as text; raises ``ValueError``."""
    if not isinstance(value, str):
        raise ValueError("it has something else where text belongs")
    return value


def bytes_of(value: object, length: int) -> bytes:
    """``length`` bytes from small hexadecimal digits; raises ``ValueError``."""
    raw = bytes.fromhex(text_of(value))
    if len(raw) != length or raw.hex() != value:
        raise ValueError(f"it has something else where {2 * length} hexadecimal digits belong")
    return raw


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("it gives a name twice")
    return record


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"it holds {text[:20]}, which is not a whole number")


def _is_shallow(value: object) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return not any(isinstance(each, dict | list) for each in level)
