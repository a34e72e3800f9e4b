"""The settings file: TOML, every key optional, an unknown key refused with its line."""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from nanolocal.errors import UsageError

PREFERENCES = ("quality", "balanced", "fast", "cheap")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user may change. The defaults need no file at all."""

    model_directories: tuple[str, ...] = ()
    """Folders searched for builds beside nanolocal's own."""
    memory_mb: int = 0
    """The most that engines may hold in memory; 0 lets the machine decide."""
    prefer: str = "balanced"
    """What the router weighs most: quality, balanced, fast or cheap."""
    theme: str = "dark"
    """The terminal app's colours: dark or light."""
    idle_minutes: float = 15
    """The terminal app locks itself after so long without a key or an answer, fractions too; 0 never."""


def load(path: Path) -> Settings:
    """Read the settings at ``path``; raises ``UsageError`` naming file and line for anything it does not know."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}", "mend or remove the file") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}", "mend or remove the file") from error
    return Settings(**{key: _checked(path, text, key, value) for key, value in table.items()})  # type: ignore[arg-type]


def _checked(path: Path, text: str, key: str, value: object) -> object:
    known = {field.name for field in fields(Settings)}
    where = f"{path}, line {_line_of(text, key)}"
    if key not in known:
        raise UsageError(f"{where}: unknown setting {key!r}", f"known settings: {', '.join(sorted(known))}")
    if key == "model_directories" and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if key == "memory_mb" and isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if key == "idle_minutes" and isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return value
    if key == "prefer" and value in PREFERENCES:
        return value
    if key == "theme" and value in ("dark", "light"):
        return value
    raise UsageError(f"{where}: {key} cannot be {value!r}", "see the settings in the README")


def _line_of(text: str, key: str) -> int:
    return next((n for n, line in enumerate(text.splitlines(), 1) if line.lstrip().startswith(key)), 1)
