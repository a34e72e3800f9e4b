"""The index of adopted builds: what was found in other programs' stores, so that nobody walks them at every start.

Format, ``{"version": 1, "entries": [{"path", "store", "root", "known_as", "model", "projector"}, ...]}``: nothing in it
that the stores do not say again, so that a damaged one is set aside and made anew by the next scan.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from nanolocal.errors import Damaged, UsageError
from nanolocal.library.found import Found
from nanolocal.library.jsonfiles import read_object, write_object

_VERSION = 1
_MAX_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or folder of a store: its path, the store's name, where that store lies, and what the store says."""

    path: str
    store: str
    root: str
    known_as: str = ""
    model: str = ""
    projector: str = ""

    @property
    def found(self) -> Found:
        """As a search would turn it up."""
        projector = Path(self.projector) if self.projector else None
        return Found(Path(self.path), self.known_as, self.model, projector)

    @property
    def shown(self) -> str:
        """The name as people know it: ``qwen3:4b (Ollama)``."""
        return f"{self.known_as or Path(self.path).name} ({self.store})"


class Adopted:
    """The index at ``path``. Reading never fails: what cannot be read counts as empty, and ``note`` says so."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.note = ""
        self._entries: tuple[Entry, ...] | None = None

    def entries(self) -> tuple[Entry, ...]:
        """Everything adopted, in the order found."""
        if self._entries is None:
            self._entries = self._read()
        return self._entries

    def keep(self, entries: Iterable[Entry]) -> None:
        """Make these all that is adopted, on disk before this returns; raises ``UsageError`` when it cannot be."""
        kept = tuple(dict.fromkeys(entries))
        rows = [{key: value for key, value in asdict(entry).items() if value} for entry in kept]
        try:
            write_object(self._path, {"version": _VERSION, "entries": rows}, durably=True)
        except (OSError, UnicodeEncodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "a name that is not text"
            raise UsageError(f"cannot write {self._path}: {why}", "nothing was adopted") from error
        self._entries, self.note = kept, ""

    def _read(self) -> tuple[Entry, ...]:
        try:
            table = read_object(self._path, _MAX_BYTES)
        except FileNotFoundError:
            return ()
        except (Damaged, OSError) as error:
            return self._damaged(error.message if isinstance(error, Damaged) else str(error.strerror))
        rows = table.get("entries")
        if table.get("version") != _VERSION or not isinstance(rows, list):
            return self._damaged("it is of another version")
        entries = [entry for row in rows if (entry := _entry(row)) is not None]
        if len(entries) < len(rows):
            self._damaged(f"{len(rows) - len(entries)} of its {len(rows)} entries say nothing")
        return tuple(entries)

    def _damaged(self, why: str) -> tuple[Entry, ...]:
        self.note = f"the list of adopted models is damaged ({why}): `nanolocal models scan` makes it again"
        return ()


def _entry(row: object) -> Entry | None:
    if not isinstance(row, dict) or not all(isinstance(value, str) for value in row.values()):
        return None
    try:
        entry = Entry(**row)
    except TypeError:
        return None
    return entry if entry.path and entry.store and "\0" not in entry.path + entry.projector else None
