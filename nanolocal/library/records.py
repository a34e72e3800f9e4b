"""What is remembered of builds and cannot be found out again: failures, licences that were shown, first hashes.

Format, version 1; times are seconds since 1970, and what says nothing is left out::

    {"version": 1,
     "builds": {SHA-256: {"failures": [[time, words], ...], "damaged": words, "stamp": [size, mtime_ns],
                          "licence_shown": time}},
     "files": {path: [SHA-256, size, mtime_ns, time]}}
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nanolocal.errors import Damaged
from nanolocal.library.jsonfiles import read_object, write_object

_VERSION = 1
_MAX_BYTES = 64 * 2**20
_MOST_WORDS = 400

Stamp = tuple[int, int]
"""Size and time of change of a file, in bytes and nanoseconds."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered of one build.

    ``failures`` are the times and words since it last answered, ``damaged`` says so if its file is, and ``stamp`` is
    that of the file which failed.
    """

    failures: tuple[tuple[float, str], ...] = ()
    damaged: str = ""
    stamp: Stamp | None = None
    licence_shown: float = 0.0


@dataclass(frozen=True, slots=True)
class Hashed:
    """A file that was read whole at the time ``at``: its SHA-256, size and time of change then."""

    sha256: str
    size: int
    mtime_ns: int
    at: float

    @property
    def stamp(self) -> Stamp:
        """Size and time of change."""
        return self.size, self.mtime_ns


class Records:
    """The records at ``path``. Reading never fails: a damaged file is set aside, and ``note`` says so.

    Changes are seen at once; ``save`` puts them on disk, over what other processes wrote meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self.note = ""
        self._path = path
        self._builds: dict[str, Record] | None = None
        self._files: dict[str, Hashed] = {}
        self._new_builds: dict[str, Record] = {}
        self._new_files: dict[str, Hashed | None] = {}

    def of(self, sha256: str) -> Record:
        """What is remembered of the build of that hash."""
        return self._all().get(sha256, Record())

    def put(self, sha256: str, record: Record) -> None:
        """Remember ``record`` of a build; one that says nothing forgets it."""
        self._all()[sha256] = self._new_builds[sha256] = record

    def hashed(self, path: Path) -> Hashed | None:
        """What the file at ``path`` was when it was read whole."""
        self._all()
        return self._files.get(os.fspath(path))

    def put_hashed(self, path: Path, hashed: Hashed | None) -> None:
        """Remember that of a file; ``None`` forgets it."""
        self._all()
        self._new_files[os.fspath(path)] = hashed
        _changed(self._files, {os.fspath(path): hashed})

    def save(self) -> bool:
        """Write what changed, on disk before this returns; false, with a ``note``, where it cannot be written."""
        if not self._new_builds and not self._new_files:
            return True
        builds, files = self._read()
        builds |= self._new_builds
        _changed(files, self._new_files)
        table = {
            "version": _VERSION,
            "builds": {sha256: row for sha256, record in builds.items() if (row := _row(record))},
            "files": {path: [*asdict(hashed).values()] for path, hashed in files.items()},
        }
        try:
            write_object(self._path, table, durably=True)
        except OSError as error:
            self.note = f"what is known of builds cannot be kept in {self._path}: {error.strerror}"
            return False
        self._builds, self._files = builds, files
        self._new_builds, self._new_files = {}, {}
        return True

    def _all(self) -> dict[str, Record]:
        if self._builds is None:
            self._builds, self._files = self._read()
        return self._builds

    def _read(self) -> tuple[dict[str, Record], dict[str, Hashed]]:
        try:
            table = read_object(self._path, _MAX_BYTES)
        except FileNotFoundError:
            return {}, {}
        except Damaged as error:
            return self._set_aside(error.message)
        except OSError as error:
            self.note = f"what is known of builds cannot be read: {self._path}: {error.strerror}"
            return {}, {}
        builds, files = table.get("builds"), table.get("files")
        if table.get("version") != _VERSION or not isinstance(builds, dict) or not isinstance(files, dict):
            return self._set_aside("it is of another version")
        return _known(builds), _hashes(files)

    def _set_aside(self, why: str) -> tuple[dict[str, Record], dict[str, Hashed]]:
        """Begin anew; the damaged file stays beside the new one for whoever wants to look."""
        aside = self._path.with_name(f"{self._path.name}.damaged")
        self.note = f"what was known of builds is lost ({why}): which ones failed, and what a first check found"
        try:
            self._path.replace(aside)
            self.note += f"; the file is now {aside}"
        except OSError:
            pass
        return {}, {}


def _changed(files: dict[str, Hashed], new: Mapping[str, Hashed | None]) -> None:
    """Put what is ``new`` into ``files``; ``None`` takes one away."""
    for path, hashed in new.items():
        if hashed is None:
            files.pop(path, None)
        else:
            files[path] = hashed


def _row(record: Record) -> dict[str, object]:
    return {name: value for name, value in asdict(record).items() if value}


def _known(rows: Mapping[str, object]) -> dict[str, Record]:
    return {sha256: record for sha256, row in rows.items() if (record := _record(row)) is not None}


def _record(row: object) -> Record | None:
    """A row as a record; what it says wrongly counts as not said."""
    if not isinstance(row, dict):
        return None
    failures, damaged, stamp, shown = (row.get(name) for name in ("failures", "damaged", "stamp", "licence_shown"))
    record = Record()
    if isinstance(failures, list):
        record = replace(record, failures=tuple(failure for item in failures if (failure := _failure(item))))
    if isinstance(damaged, str):
        record = replace(record, damaged=damaged[:_MOST_WORDS])
    if isinstance(stamp, list) and len(stamp) == 2 and all(type(number) is int for number in stamp):
        record = replace(record, stamp=(stamp[0], stamp[1]))
    if isinstance(shown, int | float):
        record = replace(record, licence_shown=float(shown))
    return record


def _failure(item: object) -> tuple[float, str] | None:
    match item:
        case [int() | float() as at, str() as words]:
            return float(at), words[:_MOST_WORDS]
    return None


def _hashes(rows: Mapping[str, object]) -> dict[str, Hashed]:
    hashes: dict[str, Hashed] = {}
    for path, row in rows.items():
        match row:
            case [str() as sha256, int() as size, int() as mtime_ns, int() | float() as at]:
                hashes[path] = Hashed(sha256, size, mtime_ns, float(at))
    return hashes
