"""What a user asks a smaller build to be: its size or its memory, its loss, its speed, and the time it may take."""

import re
from dataclasses import dataclass
from typing import TypeAlias

from nanolocal.chat.amounts import sized
from nanolocal.errors import UsageError

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*([kmgt]i?)?(b?)", re.IGNORECASE | re.ASCII)
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_TIME = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*(s|m|min|h)", re.IGNORECASE | re.ASCII)
_LEAST_BPW, _MOST_BPW = 0.5, 32.0
_LEAST_TIME, _MOST_TIME = 1.0, 30 * 86_400.0
_HOW = "write it as 2.4GB, bpw=4.5 or ram=6GB"


@dataclass(frozen=True, slots=True)
class Bytes:
    """A file of at most so many bytes."""

    most: int

    def __str__(self) -> str:
        return sized(self.most)


@dataclass(frozen=True, slots=True)
class BitsPerWeight:
    """So many bits for each weight, counted as llama.cpp does: over the tensors, without the header."""

    most: float

    def __str__(self) -> str:
        return f"{self.most:g} bits a weight"


@dataclass(frozen=True, slots=True)
class Memory:
    """So many bytes of memory when it runs with its usual context."""

    most: int

    def __str__(self) -> str:
        return f"{sized(self.most)} of memory"


Size: TypeAlias = Bytes | BitsPerWeight | Memory


@dataclass(frozen=True, slots=True)
class Wish:
    """All that is asked for. Without a ``size`` this device decides, or ``max_kld`` where that is given.

    ``max_kld`` is the mean KL divergence from the source in nats a token, ``min_speed`` tokens written a second, and
    ``seconds`` how long it may take; ``None`` where nothing was said.
    """

    size: Size | None = None
    max_kld: float | None = None
    min_speed: float | None = None
    seconds: float | None = None


def parse_size(text: str) -> Size:
    """``2.4GB``, ``bpw=4.5`` or ``ram=6GB``; raises ``UsageError`` for anything else."""
    kind, equals, amount = text.strip().partition("=")
    match kind.strip().lower() if equals else "":
        case "":
            return Bytes(_bytes(text))
        case "size":
            return Bytes(_bytes(amount))
        case "bpw":
            return BitsPerWeight(_number(amount, "bits a weight", _LEAST_BPW, _MOST_BPW))
        case "ram" | "memory":
            return Memory(_bytes(amount))
    raise UsageError(f"{text[:40]!r} is no target", _HOW)


def parse_kld(text: str) -> float:
    """Nats a token, above 0; raises ``UsageError``."""
    return _number(text, "KL divergence, in nats a token", 1e-9, 100.0)


def parse_speed(text: str) -> float:
    """Tokens a second, above 0; raises ``UsageError``."""
    return _number(text, "speed, in tokens a second", 1e-6, 1e6)


def parse_time(text: str) -> float:
    """Seconds from ``90s``, ``10m`` or ``2h``; raises ``UsageError``."""
    match = _TIME.fullmatch(text.strip())
    seconds = float(match[1]) * _SECONDS[match[2].lower()] if match else 0.0
    if not _LEAST_TIME <= seconds <= _MOST_TIME:
        raise UsageError(f"{text[:40]!r} is no time from a second to 30 days", "write it as 90s, 10m or 2h")
    return seconds


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    number = round(float(match[1]) * _UNITS[(match[2] or "").lower()]) if match else 0
    if number < 1:
        raise UsageError(f"{text.strip()[:40]!r} is no size", _HOW)
    return number


def _number(text: str, what: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value <= most:
        raise UsageError(f"{text.strip()[:40]!r} is no {what}", f"give a number from {least:g} to {most:g}")
    return value
