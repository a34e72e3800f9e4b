"""Pulls on their way: a hidden folder each, with the plan and what has arrived, so that any later start goes on.

    models/.pulling/KEY/pull.json    the plan (format below)
    models/.pulling/KEY/files/...    what has arrived; a file that bears its name is whole and checked

The library does not look into hidden folders, so half a build is never listed. ``pull.json`` is
``{"version": 1, "typed", "endpoint", "repo", "commit", "shape", "label", "folder", "terms", "files"}``.
"""

import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nanolocal.chat.amounts import format_bytes
from nanolocal.errors import Damaged, UsageError
from nanolocal.library.jsonfiles import read_object, write_object
from nanolocal.library.pull import UNFINISHED
from nanolocal.library.pull.choosing import Shape
from nanolocal.library.pull.names import checked, checked_all
from nanolocal.library.pull.plan import Fetched, Wanted
from nanolocal.library.pull.planned import Plan, without_query
from nanolocal.library.pull.telling import percent
from nanolocal.library.pull.terms import Terms

RECORD = "pull.json"
_VERSION = 1
_MAX_BYTES = 16 * 2**20
_TEXTS = ("typed", "endpoint", "repo", "commit", "label", "folder")


@dataclass(frozen=True, slots=True)
class Staged:
    """An unfinished pull and the hidden folder that holds what has arrived."""

    plan: Plan
    folder: Path

    @classmethod
    def of(cls, models: Path, plan: Plan) -> "Staged":
        """Where ``plan`` arrives, whether anything of it has or not."""
        return cls(plan, models / UNFINISHED / plan.key)

    @property
    def files(self) -> Path:
        """Where the files arrive."""
        return self.folder / "files"

    @property
    def done(self) -> int:
        """Bytes that have arrived."""
        return sum(_allocated(path) for path in self.files.rglob("*") if path.is_file())

    def remember(self, fetched: Sequence[Fetched]) -> None:
        """Write down what files turned out to be, so that a later start knows those whose hash nobody had told."""
        known = {file.name: {"size": file.size, "sha256": file.sha256} for file in fetched}
        files = tuple(replace(file, **known.get(file.name, {})) for file in self.plan.files)  # type: ignore[arg-type]
        write_object(self.folder / RECORD, _as_record(replace(self.plan, files=files)), durably=True)

    @property
    def share(self) -> str:
        """The same in words."""
        size = self.plan.size
        return format_bytes(self.done) if size is None else f"{percent(self.done, size)} %"

    def discard(self) -> None:
        """Delete the folder and what has arrived in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # others are on their way
            self.folder.parent.rmdir()


def begin(models: Path, plan: Plan) -> Staged:
    """The place for ``plan``, its record on disk before this returns; that of an earlier attempt is taken up."""
    staged = Staged.of(models, plan)
    try:
        staged.files.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_object(staged.folder / RECORD, _as_record(plan), durably=True)
    except OSError as error:
        raise UsageError(f"cannot write to {staged.folder}: {error.strerror}", "choose another --home DIR") from error
    return staged


def unfinished(models: Path) -> Iterator[Staged]:
    """Every pull that was begun and not finished; records that cannot be read are passed over."""
    for record in sorted((models / UNFINISHED).glob(f"*/{RECORD}")):
        try:
            yield Staged(_from_record(read_object(record, _MAX_BYTES)), record.parent)
        except (Damaged, UsageError, OSError, KeyError, TypeError, ValueError):
            continue


def notes(models: Path) -> list[str]:
    """What the user should know of them, a line each."""
    return [f"{each.plan.files[0].name}: {each.share} fetched: {command(each.plan.typed)} goes on"
            for each in unfinished(models)]  # fmt: skip


def command(typed: str) -> str:
    """What has to be typed in a shell to go on."""
    return f"nanolocal models pull {' --file '.join(shlex.quote(part) for part in typed.split(' --file ', 1))}"


def begun(models: Path, typed: str, endpoint: str) -> Staged | None:
    """The unfinished pull of what was typed, from the same hub; addresses in it have no query."""
    kept = without_query(typed)
    return next((each for each in unfinished(models) if each.plan.typed == kept
                 and each.plan.endpoint in ("", endpoint)), None)  # fmt: skip


def _allocated(path: Path) -> int:
    """Bytes of a file that are on disk: an unfinished one may have holes."""
    stat = path.stat()
    blocks = getattr(stat, "st_blocks", None)
    return stat.st_size if blocks is None else min(stat.st_size, blocks * 512)


def _as_record(plan: Plan) -> dict[str, object]:
    files = [asdict(file) | {"url": without_query(file.url)} for file in plan.files]
    return {"version": _VERSION, **asdict(plan), "typed": without_query(plan.typed), "files": files}


def _from_record(table: dict[str, object]) -> Plan:
    """The plan, its names checked again: whoever can change the record must not reach other places by it."""
    if table["version"] != _VERSION:
        raise ValueError("another version")
    texts = {name: _text(table[name]) for name in _TEXTS}
    checked(texts["folder"])
    terms, rows = table["terms"], table["files"]
    if not isinstance(terms, dict) or not isinstance(rows, list):
        raise TypeError("values of other types")
    files = tuple(_wanted(row) for row in rows)
    checked_all(file.name for file in files)
    told = Terms(*(_text(terms[name]) for name in ("licence", "link", "gated")))
    return Plan(shape=Shape(_text(table["shape"])), terms=told, files=files, **texts)


def _wanted(row: object) -> Wanted:
    if not isinstance(row, dict):
        raise TypeError("values of other types")
    size = row["size"]
    if size is not None and (type(size) is not int or size < 0):
        raise TypeError("values of other types")
    return Wanted(_text(row["url"]), _text(row["name"]), size, _text(row["sha256"]))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("values of other types")
    return value
