"""Where things live on this device."""

import os
from dataclasses import dataclass
from pathlib import Path

from nanolocal.errors import UsageError


@dataclass(frozen=True, slots=True)
class Paths:
    """Every directory nanolocal reads or writes. None is made before something has to be stored in it."""

    data: Path
    config: Path
    cache: Path
    runtime: Path

    @classmethod
    def choose(cls, home: str | os.PathLike[str] | None = None) -> "Paths":
        """Everything under ``home``, else under ``NANOLOCAL_HOME``, else where this platform wants it."""
        chosen = home or os.environ.get("NANOLOCAL_HOME")
        if not chosen:
            return cls._platform()
        root = Path(chosen).expanduser().absolute()
        return cls(data=root / "data", config=root / "config", cache=root / "cache", runtime=root / "run")

    @classmethod
    def _platform(cls) -> "Paths":
        from platformdirs import PlatformDirs

        dirs = PlatformDirs("nanolocal", appauthor=False)
        return cls(
            data=dirs.user_data_path,
            config=dirs.user_config_path,
            cache=dirs.user_cache_path,
            runtime=dirs.user_runtime_path,
        )

    @property
    def vault(self) -> Path:
        """The encrypted store."""
        return self.data / "vault"

    @property
    def models(self) -> Path:
        """Builds that the user put here; the starter builds stay where the program is."""
        return self.data / "models"

    @property
    def adopted(self) -> Path:
        """The index of builds adopted from other programs, which stay where they are."""
        return self.data / "adopted.json"

    @property
    def records(self) -> Path:
        """What is remembered of builds: failures, licences that were shown, hashes of a first check."""
        return self.data / "builds.json"

    @property
    def settings(self) -> Path:
        """The settings file."""
        return self.config / "settings.toml"

    @property
    def index(self) -> Path:
        """What is known about the files of builds; made again when missing."""
        return self.cache / "builds.json"

    @property
    def bandwidth(self) -> Path:
        """How fast memory was measured to be; measured again when missing."""
        return self.cache / "bandwidth.json"

    def named(self) -> dict[str, Path]:
        """All of them with a name, for ``doctor``."""
        return {
            "vault": self.vault,
            "models": self.models,
            "settings": self.settings,
            "cache": self.cache,
            "runtime": self.runtime,
        }


def make_private(directory: Path) -> Path:
    """Make ``directory`` with mode 0700 and return it; raises ``UsageError`` where that is not allowed."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot write to {directory}: {error.strerror}", "choose another place with --home DIR"
        ) from error
    return directory


def starter_models() -> Path:
    """The builds that came with the program."""
    return Path(__file__).resolve().parent.parent / "models"
