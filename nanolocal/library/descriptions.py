"""What is known about files, remembered: a header is read again only when the file, its parts or its card changed."""

import json
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from nanolocal import __version__
from nanolocal.chat.canvas import Canvas, Stage, Way
from nanolocal.chat.routes import Build, Footprint, Kind, Sense
from nanolocal.errors import Damaged
from nanolocal.formats.splits import parts_of
from nanolocal.library.fingerprints import Fingerprints
from nanolocal.library.found import Found, Part, Problem, Role
from nanolocal.library.jsonfiles import write_object

Described: TypeAlias = Build | Part | Problem
Row: TypeAlias = dict[str, Any]
Stamp: TypeAlias = list[list[int]]

_VERSION = f"10 of {__version__}"
"""Another release may know more models, and other facts about them."""
_MOST_ROWS = 50_000
_MOST_FILES = 5_001
"""Files of a folder that are looked at; one with more is refused."""
_BUILD = {
    "id": str, "name": str, "quantization": str, "size_bytes": int, "sha256": str, "parameters": int,
    "context_length": int, "kv_bytes_per_token": int, "architecture": str, "licence": str, "tiny": bool,
    "defaults": dict, "quality": dict, "needs": str, "catalogue_id": str, "purposes": list, "strengths": dict,
    "retained": float,
}  # fmt: skip
_FOOTPRINT: dict[str, type] = dict.fromkeys(
    ("file", "mapped", "used", "held", "loading", "per_token", "read", "wider"), int
)
_PART = {"name": str, "what": str, "architecture": str, "size_bytes": int, "sha256": str, "memory": int,
         "senses": list}  # fmt: skip


class Descriptions:
    """Descriptions kept at ``index``: a cache, made again when it is missing, damaged or of another version."""

    def __init__(self, index: Path, fingerprints: Fingerprints) -> None:
        self._index = index
        self.fingerprints = fingerprints
        self._rows: Row | None = None
        self._learned: Row = {}
        self._cards: dict[str, list[int]] = {}

    def of(self, found: Found) -> Described:
        """What ``found`` is; a ``Problem`` when it cannot be used. Raises ``FileNotFoundError`` when it is gone."""
        try:
            stamp = self._stamp(found.path)
            key = f"{found.path}|{found.model}"
            known = _from_row(found.path, self._known().get(key), stamp)
            if known is None:
                known = self._describe(found)
                self._learned[key] = _to_row(known, stamp)
        except Damaged as error:
            return Problem(found.path, error.message, error.hint)
        except FileNotFoundError:
            raise
        except OSError as error:
            return Problem(found.path, f"cannot be read: {error.strerror}")
        return known

    def forget(self, paths: Iterable[Path]) -> None:
        """Describe what lies at ``paths`` anew when next asked: its hash is known better now."""
        known, gone = self._known(), {os.fspath(path) for path in paths}
        for key in [key for key in known if key.rpartition("|")[0] in gone]:
            del known[key]

    def save(self) -> None:
        """Write what was learned; a cache that cannot be written is not an error."""
        self.fingerprints.save()
        if not self._learned:
            return
        rows = dict([*self._known().items(), *self._learned.items()][-_MOST_ROWS:])
        try:
            write_object(self._index, {"version": _VERSION, "rows": rows}, durably=False)
        except OSError:
            return
        self._learned = {}

    def _describe(self, found: Found) -> Described:
        from nanolocal.library.describe import describe

        try:
            described = describe(found.path, self.fingerprints, found.model)
        except Damaged as error:
            return Problem(found.path, error.message, error.hint)
        return self._catalogued(described, found.known_as) if isinstance(described, Build) else described

    def _catalogued(self, build: Build, tag: str) -> Build:
        """The build with what the catalogue says of its model, where it is known to be one of those.

        The starter builds, which say of themselves that they are tiny, are in no catalogue.
        """
        if build.tiny:
            return build
        from nanolocal.library.catalogue import benchmarks, shelf

        catalogue = shelf.load()  # the first time a tenth of a second
        model = catalogue.match(build, tag=tag)
        if model is None:
            return build
        return replace(
            build,
            licence=build.licence or model.licence,
            catalogue_id=model.id,
            purposes=tuple(model.purposes),
            strengths=benchmarks.strengths(model, catalogue.models),
        )

    def _known(self) -> Row:
        if self._rows is None:
            self._rows = _read(self._index)
        return self._rows

    def _stamp(self, path: Path) -> Stamp:
        """Size, time of change and inode of everything that the description rests on."""
        name = os.fspath(path)
        whole = os.stat(name) if "-of-" not in name else None  # noqa: PTH116 (once for every file)
        if whole is not None and not stat.S_ISDIR(whole.st_mode):
            return [_numbers(whole), self._card(os.path.dirname(name))]  # noqa: PTH120
        if whole is None and not path.is_dir():
            return [*(_numbers(part.stat()) for part in parts_of(path)), self._card(os.path.dirname(name))]  # noqa: PTH120
        files = sorted(file for file in islice(path.rglob("*"), _MOST_FILES) if file.is_file())
        return [*(_numbers(file.stat()) for file in files), self._card(name)]

    def _card(self, folder: str) -> list[int]:
        if folder not in self._cards:
            try:
                self._cards[folder] = _numbers(os.stat(f"{folder}/card.json"))  # noqa: PTH116
            except OSError:
                self._cards[folder] = []
        return self._cards[folder]


def _numbers(found: os.stat_result) -> list[int]:
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def _read(index: Path) -> Row:
    try:
        table = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    rows = table.get("rows") if isinstance(table, dict) and table.get("version") == _VERSION else None
    return rows if isinstance(rows, dict) else {}


def _to_row(described: Described, stamp: Stamp) -> Row:
    if isinstance(described, Problem):
        return {"stamp": stamp, "problem": described.reason, "hint": described.hint}
    if isinstance(described, Part):
        return {"stamp": stamp, "role": described.role, "part": [_plain(getattr(described, name)) for name in _PART]}
    values = [_plain(getattr(described, name)) for name in _BUILD]
    row: Row = {"stamp": stamp, "kind": described.kind, "build": values}
    if described.footprint is not None:
        row["footprint"] = [getattr(described.footprint, name) for name in _FOOTPRINT]
        if described.footprint.canvas is not None:
            row["canvas"] = asdict(described.footprint.canvas)
    return row


def _from_row(path: Path, row: object, stamp: Stamp) -> Described | None:
    """What a row says, or nothing when it is of another time or was damaged."""
    if not isinstance(row, dict) or row.get("stamp") != stamp:
        return None
    try:
        if "build" in row:
            footprint = Footprint(**_checked(_FOOTPRINT, row["footprint"])) if "footprint" in row else None
            if footprint is not None and "canvas" in row:
                footprint = replace(footprint, canvas=_canvas(row["canvas"]))
            values = _checked(_BUILD, row["build"])
            values["purposes"] = tuple(values["purposes"])
            return Build(path=path, kind=Kind(row["kind"]), footprint=footprint, **values)
        if "part" in row:
            values = _checked(_PART, row["part"])
            values["senses"] = tuple(map(Sense, values["senses"]))
            return Part(path=path, role=Role(row["role"]), **values)
        return Problem(path, str(row["problem"]), str(row.get("hint", "")))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _canvas(row: Mapping[str, Any]) -> Canvas:
    """Raises ``TypeError`` or ``KeyError`` for anything but what ``asdict`` made of one."""
    width, height = _whole(row["width"], row["height"])
    return Canvas(width, height, _ways(row["ways"]), _ways(row["on_card"]))


def _ways(rows: Sequence[Mapping[str, Any]]) -> tuple[Way, ...]:
    ways = []
    for row in rows:
        held, loading, mapped = _whole(row["held"], row["loading"], row["mapped"])
        stages = tuple(Stage(*_whole(*stage.values())) for stage in row["stages"])
        ways.append(Way(str(row["rung"]), held, loading, mapped, stages))
    return tuple(ways)


def _whole(*values: object) -> list[int]:
    numbers = [value for value in values if type(value) is int]
    if len(numbers) != len(values):
        raise TypeError("values of other types")
    return numbers


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _checked(wanted: Mapping[str, type], values: list[object]) -> dict[str, Any]:
    if [*map(type, values)] != [*wanted.values()]:
        raise TypeError("values of other types")
    return dict(zip(wanted, values, strict=True))
