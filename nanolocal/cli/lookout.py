"""Reads every file that changed since a moment, in the places where programs write, and looks for words in it."""

import os
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nanolocal.paths import Paths
from nanolocal.vault.scan import Trace, traces

_CLOCK_SLACK_S = 2.0
_LARGEST = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Place:
    """Some directories under one name for the report; what is ``nearby`` is looked at while programs run, too."""

    id: str
    name: str
    directories: tuple[Path, ...]
    nearby: bool = False


def places_to_look(paths: Paths) -> tuple[Place, ...]:
    """Where a program of this user writes, knowingly or not."""
    import platformdirs as user

    temporary = Path(tempfile.gettempdir())
    elsewhere = (
        *(user.user_cache_path(), user.user_config_path(), user.user_state_path(), user.user_log_path()),
        *(paths.cache, paths.config, paths.runtime),
    )
    return (
        Place("trace_temporary", "the folders for temporary files", (temporary, Path("/var/tmp")), nearby=True),  # noqa: S108
        Place("trace_elsewhere", "caches, settings and logs", elsewhere),
    )


class Lookout:
    """Looks at ``home`` and at ``places``; ``found`` keeps each trace once, ``read`` what was read, by place."""

    def __init__(self, home: Path, places: Sequence[Place]) -> None:
        self._home = home
        self._since = time.time() - _CLOCK_SLACK_S
        self._seen: dict[Path, tuple[int, int]] = {}
        self.places = (Place("trace_home", "the folder where it was tried", (home,), nearby=True), *places)
        self.found: dict[Place, list[Trace]] = {place: [] for place in self.places}
        self.read: dict[Place, set[Path]] = {place: set() for place in self.places}

    def look_nearby(self, stem: str, words: Sequence[str]) -> None:
        """Look for ``stem``, with which all ``words`` begin, where files come and go quickly."""
        for place in self.places:
            if place.nearby:
                self._look(place, stem, words)

    def look_everywhere(self, stem: str, words: Sequence[str]) -> None:
        """Look for it in every place."""
        for place in self.places:
            self._look(place, stem, words)

    def _look(self, place: Place, stem: str, words: Sequence[str]) -> None:
        for path, facts in self._changed(place):
            state = (facts.st_size, facts.st_mtime_ns)
            if self._seen.get(path) == state:
                continue
            data = _tail(path, facts.st_size)
            if data is None:
                continue
            self._seen[path] = state
            self.read[place].add(path)
            hidden = traces(path, data, [stem])
            new = (traces(path, data, words) or hidden) if hidden else []
            self.found[place] += [trace for trace in new if trace not in self.found[place]]

    def _changed(self, place: Place) -> Iterator[tuple[Path, os.stat_result]]:
        """Ordinary files that changed since the beginning; links and other file systems are left alone."""
        for top in dict.fromkeys(place.directories):
            try:
                device = top.stat().st_dev
            except OSError:
                continue
            for folder, below, names in os.walk(top):
                here = Path(folder)
                below[:] = [name for name in below if self._is_inside(here / name, device)]
                for path in (here / name for name in names):
                    facts = _facts(path)
                    if facts and stat.S_ISREG(facts.st_mode) and max(facts.st_mtime, facts.st_ctime) >= self._since:
                        yield path, facts

    def _is_inside(self, folder: Path, device: int) -> bool:
        facts = _facts(folder)
        return facts is not None and folder != self._home and facts.st_dev == device


def _facts(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _tail(path: Path, size: int) -> bytes | None:
    """The end of a file, where new text lies; ``None`` when it may not be read or has gone."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, size - _LARGEST))
            return file.read(_LARGEST)
    except OSError:
        return None
