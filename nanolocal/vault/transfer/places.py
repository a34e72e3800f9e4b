"""Where other programs keep their conversations on this machine."""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath


def histories(home: Path, environment: Mapping[str, str], platform: str) -> list[Path]:
    """The ones that exist; ``platform`` as in ``sys.platform``."""
    found = (home / place for place in _places(home, environment, platform))
    return [path for path in dict.fromkeys(found) if _has_something(path)]


def _places(home: Path, environment: Mapping[str, str], platform: str) -> Iterator[PurePath | str]:
    yield from (".lmstudio/conversations", ".cache/lm-studio/conversations")
    for base in _data_folders(home, environment, platform):
        yield base / "Jan" / "data" / "threads"
        yield base / "Ollama" / "db.sqlite"
        yield base / "open-webui" / "webui.db"
    yield from ("jan/threads", ".ollama/db.sqlite", ".ollama/history")
    yield from (".open-webui/webui.db", ".open-webui/data/webui.db", "open-webui/backend/data/webui.db")


def _data_folders(home: Path, environment: Mapping[str, str], platform: str) -> tuple[Path, ...]:
    """Where programs of this platform keep their data."""
    if platform == "darwin":
        return (home / "Library" / "Application Support",)
    if platform == "win32":
        roaming, local = environment.get("APPDATA"), environment.get("LOCALAPPDATA")
        return (Path(roaming or home / "AppData" / "Roaming"), Path(local or home / "AppData" / "Local"))
    config, data = environment.get("XDG_CONFIG_HOME"), environment.get("XDG_DATA_HOME")
    return (Path(config or home / ".config"), Path(data or home / ".local" / "share"))


def _has_something(path: Path) -> bool:
    try:
        return any(path.iterdir()) if path.is_dir() else path.is_file()
    except OSError:
        return False
