"""The settings file: TOML, every key optional, an unknown key refused with its line."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import TypeGuard

from nanolocal.chat.choice import PREFERENCES
from nanolocal.errors import UsageError

_MICRO, _PLACES = 1_000_000, 6
_DEAREST_KWH = 100
_MOST_WATTS = 5000
_MOST_MINUTES = 10**9


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user may change. The defaults need no file at all."""

    model_directories: tuple[str, ...] = ()
    """Folders searched for builds beside nanolocal's own."""
    memory_mb: int = 0
    """The most that engines may hold in memory; 0 lets the machine decide."""
    prefer: str = "balanced"
    """What the router weighs most: quality, balanced, fast or cheap."""
    deny: tuple[str, ...] = ()
    """Builds that never answer unless they are asked for by name: patterns such as "phi*"."""
    deny_licences: tuple[str, ...] = ()
    """Licences under which none answers by itself, such as "*non-commercial*"."""
    confirm_pick: bool = False
    """The terminal app shows who would answer, and for how much at the most, before anything runs."""
    theme: str = "dark"
    """The terminal app's colours: dark or light."""
    idle_minutes: float = 15
    """The terminal app locks itself after so long without a key or an answer, fractions too; 0 never."""
    tariff: int = 300_000
    """What a kWh costs, in micro-credits; written in credits, such as 0.30: a usual price in Europe, in dollars."""
    watts: int = 30
    """What this machine draws while it answers; a laptop's 30 W unless you know better."""
    hub: str = ""
    """Where ``models pull`` fetches from; empty means huggingface.co, and ``HF_ENDPOINT`` goes before it."""
    cache_mb: int | None = None
    """The most that the vault keeps on disk of what engines have read; 0 keeps nothing, without it the disk decides."""
    insecure_hub: bool = False
    """Ask other machines for models over plain http too, as ``--insecure`` does: nobody vouches for what they send."""
    unload_minutes: float = 10
    """An engine leaves memory when it has not been asked for so long, fractions too; 0 never."""
    keep_loaded: tuple[str, ...] = ()
    """Builds that stay in memory while others fit beside them, and however long they are idle: ids or "qwen3*"."""
    helpers: bool = True
    """nanolocal itself works out sums, dates and units and looks up words and facts, and shows that as a source."""
    pictures: str = "auto"
    """How the terminal shows pictures: auto, kitty, iterm2, sixel, blocks or off; ``NANOLOCAL_PICTURES`` goes first."""

    keep_preview: bool = False
    """A picture that is stopped leaves its preview; without it, nothing."""


def load(path: Path) -> Settings:
    """Read the settings at ``path``; raises ``UsageError`` naming file and line for anything it does not know."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}", "mend or remove the file") from error
    import tomllib  # 10 ms, and most homes have no such file

    try:
        table = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}", "mend or remove the file") from error
    return Settings(**{key: _checked(path, text, key, value) for key, value in table.items()})  # type: ignore[arg-type]


def _checked(path: Path, text: str, key: str, value: object) -> object:
    known = {field.name for field in fields(Settings)}
    where = f"{path}, line {_line_of(text, key)}"
    if key not in known:
        raise UsageError(f"{where}: unknown setting {key!r}", f"known settings: {', '.join(sorted(known))}")
    checked = _CHECKS[key](value)
    if checked is None:
        shown = str(value).lower() if isinstance(value, Decimal) else repr(value)
        raise UsageError(f"{where}: {key} cannot be {shown}", _HINTS.get(key, "see the settings in the README"))
    return checked


def _names(value: object) -> tuple[str, ...] | None:
    return tuple(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def _truth(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _whole(lowest: int, highest: float) -> Callable[[object], int | None]:
    return lambda value: value if type(value) is int and lowest <= value <= highest else None


def _one_of(*words: str) -> Callable[[object], object]:
    return lambda value: value if value in words else None


def _address(value: object) -> str | None:
    is_address = isinstance(value, str) and value.startswith(("https://", "http://")) and value.isprintable()
    return str(value) if is_address or value == "" else None


def _minutes(value: object) -> float | None:
    return float(value) if _is_number(value) and 0 <= value <= _MOST_MINUTES else None


def _tariff(value: object) -> int | None:
    """Credits as written, in micro-credits; refused rather than rounded."""
    if not _is_number(value) or not 0 <= value <= _DEAREST_KWH:
        return None
    exponent = value.as_tuple().exponent if isinstance(value, Decimal) else 0
    return int(value * _MICRO) if isinstance(exponent, int) and -exponent <= _PLACES else None


def _is_number(value: object) -> TypeGuard[int | Decimal]:
    return type(value) is int or (isinstance(value, Decimal) and not value.is_nan())


_CHECKS: dict[str, Callable[[object], object]] = {
    "model_directories": _names,
    "memory_mb": _whole(0, math.inf),
    "unload_minutes": _minutes,
    "keep_loaded": _names,
    "prefer": _one_of(*PREFERENCES),
    "deny": _names,
    "deny_licences": _names,
    "confirm_pick": _truth,
    "theme": _one_of("dark", "light"),
    "helpers": _truth,
    "pictures": _one_of("auto", "kitty", "iterm2", "sixel", "blocks", "off"),
    "idle_minutes": _minutes,
    "tariff": _tariff,
    "watts": _whole(1, _MOST_WATTS),
    "hub": _address,
    "cache_mb": _whole(0, math.inf),
    "insecure_hub": _truth,
    "keep_preview": _truth,
}
_HINTS = {
    "tariff": f"write it in credits, from 0 to {_DEAREST_KWH} with at most six places: tariff = 0.30",
    "watts": f"write a whole number from 1 to {_MOST_WATTS}: watts = 30",
    "hub": 'write the address of a hub or mirror: hub = "https://huggingface.co"',
    "pictures": "one of auto, kitty, iterm2, sixel, blocks and off",
    "cache_mb": "write a whole number of megabytes, 0 to keep nothing: cache_mb = 2000",
}


def _line_of(text: str, key: str) -> int:
    return next((n for n, line in enumerate(text.splitlines(), 1) if line.lstrip().startswith(key)), 1)
