"""Where programs keep things on this machine."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class System:
    """A home directory, the environment, the platform (as ``sys.platform``), and where the file system begins."""

    home: Path
    environ: Mapping[str, str]
    platform: str = "linux"
    root: Path = Path("/")

    @classmethod
    def here(cls) -> "System":
        """The machine and the user that this runs on."""
        return cls(Path.home(), os.environ, sys.platform)

    def named(self, *names: str) -> Path | None:
        """The path in the first of these environment variables that is set."""
        for name in names:
            value = self.environ.get(name, "").strip().strip("\"'")
            if value:
                return self.expand(value)
        return None

    def expand(self, text: str) -> Path:
        """``text`` as a path, ``~`` and relative ones below the home directory."""
        if text == "~" or text.startswith(("~/", "~\\")):
            text = text[2:]
        return self.home / text

    @property
    def data(self) -> Path:
        """Where programs keep their data."""
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        if self.platform == "win32":
            return self.named("APPDATA") or self.home / "AppData" / "Roaming"
        return self.named("XDG_DATA_HOME") or self.home / ".local" / "share"

    @property
    def local_data(self) -> Path:
        """The same, for what does not move with the user: another place on Windows alone."""
        if self.platform == "win32":
            return self.named("LOCALAPPDATA") or self.home / "AppData" / "Local"
        return self.data

    @property
    def config(self) -> Path:
        """Where programs keep their settings."""
        if self.platform in ("darwin", "win32"):
            return self.data
        return self.named("XDG_CONFIG_HOME") or self.home / ".config"

    @property
    def cache(self) -> Path:
        """Where programs keep what they can get again."""
        if self.platform == "darwin":
            return self.home / "Library" / "Caches"
        if self.platform == "win32":
            return self.local_data
        return self.named("XDG_CACHE_HOME") or self.home / ".cache"
