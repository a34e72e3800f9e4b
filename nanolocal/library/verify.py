"""Reading the files of builds whole, and comparing their SHA-256 with what it should be.

Where neither a card nor a store says what a file should be, the first check is trusted, and later ones compare with it.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from nanolocal.chat.routes import Build
from nanolocal.errors import UsageError
from nanolocal.library.found import Problem
from nanolocal.library.library import Library
from nanolocal.library.promises import Promise, card_of, files_at, promise_of
from nanolocal.library.records import Hashed, Stamp

_BLOCK = 2**20


class Verdict(StrEnum):
    """How a check ended; of several files the worst counts, in this order."""

    OK = "ok"
    FIRST = "first-time"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked: a build with all its places, or a refused file that its card or store knows.

    ``files`` come with what somebody says they should be; ``is_pulled`` where they can be repaired from the hub.
    """

    name: str
    place: Path
    files: Mapping[Path, Promise | None]
    is_pulled: bool = False
    build: Build | None = None

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(_size(path) for path in self.files)


@dataclass(frozen=True, slots=True)
class FileCheck:
    """One file: ``says`` goes on after its name and a colon.

    ``is_changed`` since it was read whole the last time, by its size or time of change.
    """

    path: Path
    verdict: Verdict
    says: str
    sha256: str = ""
    is_changed: bool = False


@dataclass(frozen=True, slots=True)
class BuildCheck:
    """What became of a subject."""

    subject: Subject
    files: tuple[FileCheck, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of its files."""
        return max((check.verdict for check in self.files), key=list(Verdict).index, default=Verdict.OK)

    @property
    def telling(self) -> FileCheck | None:
        """The first file that ended so."""
        return next((check for check in self.files if check.verdict is self.verdict), None)


def subjects(library: Library, names: Sequence[str] = ()) -> list[Subject]:
    """The builds of these names, or all; refused files too where a card or store knows them.

    Raises ``UsageError`` for a name that is neither.
    """
    everything = [_subject(library, build) for build in library.builds()]
    refused = [subject for problem in library.problems() if (subject := _refused(problem)) is not None]
    if not names:
        return [*everything, *refused]
    chosen: dict[Path, Subject] = {}
    for name in names:
        found = [each for each in everything if each.build is not None and each.build.answers_to(name)]
        found = found or [each for each in refused if name in (each.name, str(each.place), each.place.name)]
        if not found:
            library.get(name)
            raise UsageError(f"no build is called {name!r}", "nanolocal models list")
        chosen |= {each.place: each for each in found}
    return list(chosen.values())


class Verifier:
    """Checks subjects of one library; ``read`` hears how many more bytes were read. ``finish`` has to follow.

    ``known_better`` are then the builds that were known by their ends until now, each as it was and as it is.
    """

    def __init__(self, library: Library, read: Callable[[int], None], clock: Callable[[], float] = time.time) -> None:
        self._library = library
        self._records = library.records
        self._tell = read
        self._clock = clock
        self.known_better: list[tuple[Build, Build]] = []
        self._digests: dict[tuple[int, int, bool], tuple[str, str]] = {}
        self._read_whole: list[Path] = []
        self._checked: list[Build] = []
        self._wrong: dict[Path, str] = {}

    def check(self, subject: Subject) -> BuildCheck:
        """Read everything that belongs to ``subject``."""
        check = BuildCheck(subject, tuple(self._file(path, promise) for path, promise in subject.files.items()))
        self._read_whole += [subject.place, *subject.files]
        build = subject.build
        if build is not None:
            self._checked.append(build)
            wrong = next((each for each in check.files if each.verdict is Verdict.DAMAGED and each.sha256), None)
            if wrong is not None:
                self._wrong[build.path] = f"{wrong.path.name}: {wrong.says} (models verify, {_day(self._clock())})"
        return check

    def finish(self) -> list[Build]:
        """Keep what was learned, set damaged builds aside; returns those that were and are not any more."""
        library, health = self._library, self._library.health
        self._records.save()
        library.descriptions.forget(self._read_whole)
        library.forget()
        now = {build.path: build for build in library.builds()}
        for build in self._checked:
            if build.path in now and build.sha256.startswith("part:"):
                health.know_better(build, now[build.path])
                self.known_better.append((build, now[build.path]))
        for path in {build.path for build in self._checked} & now.keys():
            if path in self._wrong:
                health.condemn(now[path], self._wrong[path])
            else:
                health.acquit(now[path])
        library.mark()
        free = {build.path for build in library.builds() if not build.set_aside}
        return [build for build in self._checked if build.set_aside and build.path in free]

    def _file(self, path: Path, promise: Promise | None) -> FileCheck:
        before = self._records.hashed(path)
        try:
            found = path.stat()
            sha256, git = self._read(path, found, promise is not None and promise.is_git)
            after = path.stat()
        except OSError as error:
            words = "missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
            return FileCheck(path, Verdict.DAMAGED, words)
        stamp = found.st_size, found.st_mtime_ns
        is_changed = before is not None and before.stamp != stamp
        if (after.st_size, after.st_mtime_ns) != stamp:
            return FileCheck(path, Verdict.FIRST, "changed while it was read, check it again", is_changed=True)
        verdict, says = _judge(promise, before, stamp, git if promise and promise.is_git else sha256)
        self._library.descriptions.fingerprints.learn(path, sha256)
        if verdict is not Verdict.DAMAGED:
            self._records.put_hashed(path, Hashed(sha256, *stamp, round(self._clock(), 3)))
        return FileCheck(path, verdict, says, sha256, is_changed)

    def _read(self, path: Path, found: os.stat_result, is_git: bool) -> tuple[str, str]:
        """SHA-256 of a file, and its git object id if that is wanted; of one that has several names once."""
        key = found.st_dev, found.st_ino, is_git
        if key in self._digests:
            self._tell(found.st_size)
            return self._digests[key]
        sha256, git = hashlib.sha256(), hashlib.sha1(f"blob {found.st_size}\0".encode(), usedforsecurity=False)
        with path.open("rb", buffering=0) as file:
            _forget_cached(file.fileno())
            while block := file.read(_BLOCK):
                sha256.update(block)
                if is_git:
                    git.update(block)
                self._tell(len(block))
        self._digests[key] = sha256.hexdigest(), git.hexdigest()
        return self._digests[key]


def _judge(promise: Promise | None, before: Hashed | None, stamp: Stamp, digest: str) -> tuple[Verdict, str]:
    """The verdict, and why."""
    since = f" since {_day(before.at)}" if before is not None else ""
    is_same = before is not None and before.stamp == stamp
    if promise is not None:
        if digest == promise.digest:
            return Verdict.OK, f"as {promise.by} says"
        changes = f"; size and time are as they were{since}, so the disk may be failing" if is_same else ""
        changes = f"; it was changed{since}" if before is not None and not is_same else changes
        return Verdict.DAMAGED, f"not what {promise.by} says{changes}"
    if before is None:
        return Verdict.FIRST, "nobody says what it should be, so this first check is trusted from now on"
    if digest == before.sha256:
        return Verdict.OK, f"as on {_day(before.at)}"
    if is_same:
        return Verdict.DAMAGED, f"not as on {_day(before.at)}, though size and time are: the disk may be failing"
    return Verdict.FIRST, f"another file than on {_day(before.at)}, and nobody says what it should be"


def _subject(library: Library, build: Build) -> Subject:
    files: dict[Path, Promise | None] = {}
    cards = [card_of(place) for place in library.origin(build).places]
    for place, card in zip(library.origin(build).places, cards, strict=True):
        files |= {path: promise_of(path, card) for path in files_at(place, card)}
    if build.projector is not None:
        files[build.projector] = promise_of(build.projector, card_of(build.projector))
    return Subject(build.id, build.path, files, cards[0].is_pulled, build)


def _refused(problem: Problem) -> Subject | None:
    card = card_of(problem.path)
    files = {path: promise_of(path, card) for path in files_at(problem.path, card)}
    if not any(files.values()):
        return None
    return Subject(card.id or problem.path.name, problem.path, files, card.is_pulled)


def total_size(checked: Iterable[Subject]) -> int:
    """Bytes to read for all of them."""
    return sum(subject.size for subject in checked)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _forget_cached(descriptor: int) -> None:
    """Let the disk be read, and not what the system remembers of it."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(at))
