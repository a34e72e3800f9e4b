"""Trials of the transfer against the hub: each counts its faults and what they cost, and finds what went wrong."""

import asyncio
import hashlib
import os
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from nanolocal.errors import NanolocalError, TransferFailed, UsageError
from nanolocal.library.pull.control import Control
from nanolocal.library.pull.links import Links
from nanolocal.library.pull.partfile import part_name
from nanolocal.library.pull.plan import Fetched, Progress, Stage, Tell, Wanted
from nanolocal.library.pull.repair import repair
from nanolocal.library.pull.transfer import fetch
from tests.hub.answers import NUMBER
from tests.hub.certificate import trusted, write_certificate
from tests.hub.client import PATIENT, Job
from tests.hub.faults import Asked, Fault, Kind, Seeded
from tests.hub.reckoning import NOTHING, blames
from tests.hub.server import Hub
from tests.hub.stored import HOSTILE_NAMES, Stored

TOKEN = "hf_secret"
NAME = "model.gguf"
CHUNK = 2**20
ROOT = Path(__file__).parents[2]

FLIPS = (Kind.FLIP, Kind.FLIP_BELOW)
MIXED = tuple(kind for kind in Kind if kind not in (Kind.DISCONNECT, Kind.DOWNGRADE, *FLIPS))
"""The kinds of faults that come in any order; the others have trials of their own."""
_MOST_RUNS = 60


@dataclass
class Figures:
    """What the trials came to.

    ``again`` are the bytes that each fault made the client read again, a chunk at the most; ``unbounded`` those that
    were sent again for a file where nobody can keep that.
    """

    files: int = 0
    content: int = 0
    served: int = 0
    runs: int = 0
    again: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    unbounded: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    unread: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    refused: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def check(self, is_right: bool, what: str) -> None:
        if not is_right:
            self.violations.append(what)


@dataclass
class Trial:
    """One hub with one file, a folder to fetch into, and a folder around it in which nothing may change."""

    hub: Hub
    room: Path
    chance: random.Random
    figures: Figures
    connections: int = 4
    is_pinned: bool = True
    wanted_name: str = NAME
    chunk: int = CHUNK
    kills: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.room.mkdir(parents=True)
        (self.room / "outside").write_bytes(b"not to be touched")
        self.hub.accounts[TOKEN] = set()

    @property
    def folder(self) -> Path:
        return self.room / "models"

    @property
    def path(self) -> Path:
        return self.folder / self.wanted_name

    @property
    def part(self) -> Path:
        return self.folder / part_name(self.wanted_name)

    @property
    def file(self) -> Stored:
        return self.hub.repo().files[NAME]

    def wanted(self) -> Wanted:
        size, sha256 = (len(self.file.content), self.file.sha256) if self.is_pinned else (None, "")
        return Wanted(self.hub.url(NAME), self.wanted_name, size, sha256)

    async def fetch(
        self, tell: Tell = lambda progress: None, wanted: Wanted | None = None, *, reserve: int = 0
    ) -> Fetched:
        self.figures.runs += 1
        async with Links(self.hub.endpoint, TOKEN, patience=PATIENT) as links:
            with self._weighed(links):
                return await fetch(
                    links,
                    wanted or self.wanted(),
                    self.folder,
                    Control(connections=self.connections),
                    tell,
                    chunk_bytes=self.chunk,
                    patience=PATIENT,
                    reserve=reserve,
                )

    @contextmanager
    def _weighed(self, links: Links) -> Iterator[None]:
        """Note of each request how many bytes of the answer's body were read."""
        answers: list[httpx.Response] = []

        async def hear(answer: httpx.Response) -> None:
            answers.append(answer)

        links._client.event_hooks = {"response": [hear]}
        try:
            yield
        finally:
            for answer in answers:
                self.hub.asked[int(answer.headers[NUMBER])].delivered = answer.num_bytes_downloaded

    async def repair(self, fetched: Fetched) -> int:
        async with Links(self.hub.endpoint, TOKEN, patience=PATIENT) as links:
            control = Control(connections=self.connections)
            wanted, tell = self.wanted(), lambda progress: None
            return await repair(links, wanted, self.path, fetched, control, tell, patience=PATIENT, reserve=0)

    async def fetch_again_and_again(self) -> Fetched:
        """As a user would: the same command again, as the hint says."""
        for _ in range(_MOST_RUNS):
            try:
                return await self.fetch()
            except TransferFailed as error:
                self.figures.refused[type(error).__name__] += 1
        raise TransferFailed(f"not there after {_MOST_RUNS} runs")

    def job(self, largest: int = 0) -> Job:
        wanted, where = self.wanted(), str(self.folder)
        names = (self.hub.endpoint, TOKEN, wanted.url, wanted.name, wanted.size, wanted.sha256, where)
        return Job(*names, self.connections, self.chunk, largest)

    def finish(self, fetched: Fetched, *, counts_as: str = "", times: int = 1) -> None:
        """Look at what is there now. No fault may have cost more than a chunk.

        Where the faults were not the hub's, all that was sent again ``counts_as`` one that came so many ``times``; 0
        where nobody can keep that bound.
        """
        figures, content, where = self.figures, self.file.content, self.room.name
        figures.files += 1
        figures.content += len(content)
        figures.served += self.hub.served(NAME)
        figures.check(self.path.is_file() and self.path.read_bytes() == content, f"{where}: the file is not right")
        starts = range(0, len(content), self.chunk)
        chunks = tuple(hashlib.sha256(content[n : n + self.chunk]).digest() for n in starts)
        figures.check((fetched.sha256, fetched.chunks) == (self.file.sha256, chunks), f"{where}: hashes")
        figures.check(sorted(self.folder.iterdir()) == [self.path], f"{where}: leftovers in the folder")
        self.look_outside()
        if counts_as:
            self._count(counts_as, times)
            return
        found = blames(self.hub.asked, NAME, self.kills)
        for blame in found:
            figures.again[blame.what].append(blame.again)
            figures.unread[blame.what].append(blame.unread)
            most = 0 if blame.what == NOTHING else self.chunk
            figures.check(blame.again <= most, f"{where}: {blame.what} cost {blame.again:,} bytes")
        bound = len(content) + len(found) * self.chunk
        figures.check(self.hub.served(NAME) <= bound, f"{where}: {self.hub.served(NAME):,} bytes were sent")

    def _count(self, what: str, times: int) -> None:
        again = self.hub.served(NAME) - len(self.file.content)
        if not times:
            self.figures.unbounded[what].append(again)
            return
        self.figures.again[what] += [again // times] * times
        self.figures.check(again <= times * self.chunk, f"{self.room.name}: {times} {what} cost {again:,} bytes")

    def is_refused(
        self,
        kind: type[NanolocalError],
        what: str,
        tell: Tell = lambda progress: None,
        wanted: Wanted | None = None,
        *,
        reserve: int = 0,
    ) -> None:
        """Fetching must end with this error, which has a hint."""
        try:
            asyncio.run(self.fetch(tell, wanted, reserve=reserve))
        except kind as error:
            self.figures.refused[what] += 1
            self.figures.check(bool(error.message and error.hint), f"{what}: {error.message!r}, {error.hint!r}")
        else:
            self.figures.violations.append(f"{self.room.name}: {what}: not refused")

    def look_outside(self) -> None:
        """Nothing beside the folder changed, and nobody but the hub has seen the token."""
        where = self.room.name
        around = {entry.name for entry in self.room.iterdir()}
        self.figures.check(around <= {"outside", "models", "target"}, f"{where}: strange files: {around}")
        self.figures.check((self.room / "outside").read_bytes() == b"not to be touched", f"{where}: written outside")
        for host in ("cdn", "elsewhere"):
            seen = self.hub.authorizations(host)
            self.figures.check(seen <= {""}, f"{where}: the token was sent to {host}")


@contextmanager
def trial(
    room: Path,
    chance: random.Random,
    figures: Figures,
    size: int,
    *,
    is_lfs: bool = True,
    sends_digest: bool = False,
    connections: int = 4,
    is_pinned: bool = True,
    wanted_name: str = NAME,
    chunk: int = CHUNK,
    certificate: Path | None = None,
) -> Iterator[Trial]:
    hub = Hub(sends_digest=sends_digest, certificate=certificate)
    hub.repo().add(NAME, chance.randbytes(size), is_lfs=is_lfs)
    with hub.running():
        yield Trial(hub, room, chance, figures, connections, is_pinned, wanted_name, chunk)


def random_faults(room: Path, chance: random.Random, figures: Figures, counts: Mapping[Kind, int]) -> None:
    """Files of 4 to 10 MiB, until every fault was met: any connections, pinned or not, large file or small."""
    left, number = Counter(dict(counts)), 0
    while left.total():
        number += 1
        is_lfs = chance.random() < 0.8
        with trial(
            room / f"random{number}",
            chance,
            figures,
            chance.randrange(4 * CHUNK, 10 * CHUNK),
            is_lfs=is_lfs,
            is_pinned=not is_lfs or chance.random() < 0.7,  # otherwise a changed mark means: begin anew
            connections=chance.randrange(1, 7),
        ) as one:
            share = Seeded(chance, _some(chance, left, 40), 0.6, CHUNK)
            one.hub.plan = share
            one.finish(asyncio.run(one.fetch_again_and_again()))
        left -= share.met
        _remove(one)


def _some(chance: random.Random, left: Counter[Kind], most: int) -> dict[Kind, int]:
    kinds = sorted(left)
    return Counter(chance.sample(kinds, min(most, left.total()), counts=[left[kind] for kind in kinds]))


def _remove(one: Trial) -> None:
    one.path.unlink(missing_ok=True)


def killed(room: Path, chance: random.Random, figures: Figures, kills: int, chunks: int = 48) -> None:
    """Real processes, killed with -9 somewhere on their way through so many MiB, until ``kills`` of them were.

    All that was sent to a killed one counts, also what the kernel had taken for it and it had not read. That does not
    depend on the size of a chunk, and for four connections is up to 2 MiB: so a chunk has 4 MiB here (16 in use).
    """
    number = 0
    while kills > 0:
        number += 1
        with trial(
            room / f"killed{number}",
            chance,
            figures,
            chunks * CHUNK,
            connections=chance.randrange(1, 5),
            chunk=4 * CHUNK,
        ) as one:
            while kills > len(one.kills) and _kill(one):
                one.kills.append(len(one.hub.asked))
            kills -= len(one.kills)
            one.finish(asyncio.run(one.fetch()))
        _remove(one)


def _kill(one: Trial) -> bool:
    """Start a process and kill it after some words; whether it was killed before it had finished."""
    words = one.chance.randrange(1, 6)
    command = [sys.executable, "-m", "tests.hub.client", one.job().argument()]
    one.figures.runs += 1
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            words -= 1
            if line.startswith("complete"):
                return False
            if line.startswith("failed"):
                one.figures.violations.append(f"{one.room.name}: {line}")
                return False
            if words <= 0:
                child.kill()
                break
        child.stdout.read()
    return True


def flipped(room: Path, chance: random.Random, figures: Figures, files: int, *, sends_digest: bool) -> None:
    """Files of 8 chunks over plain http with one to three flipped bits in each."""
    for number in range(files):
        with trial(room / f"flipped{number}", chance, figures, 8 * CHUNK, sends_digest=sends_digest) as one:
            fetched, flips = _fetch_flipped(one, Kind.FLIP)
            counts_as = "" if sends_digest or not flips else f"{flips} flipped, plain http without a digest"
            one.finish(fetched, counts_as=counts_as, times=0)
        _remove(one)


def flipped_below_tls(room: Path, chance: random.Random, figures: Figures, files: int) -> None:
    """The same over TLS, as real hubs speak: a bit flips in what is encrypted."""
    certificate = room / "hub.pem"
    room.mkdir(parents=True)
    write_certificate(certificate)
    with trusted(certificate):
        for number in range(files):
            with trial(room / f"tls{number}", chance, figures, 8 * CHUNK, certificate=certificate) as one:
                one.finish(_fetch_flipped(one, Kind.FLIP_BELOW)[0])
                spoilt = [asked for asked in one.hub.asked if asked.fault is Kind.FLIP_BELOW]
                is_broken = all(asked.read < asked.length for asked in spoilt)
                figures.check(is_broken, f"{one.room.name}: a flipped bit broke no connection")
            _remove(one)


def _fetch_flipped(one: Trial, kind: Kind) -> tuple[Fetched, int]:
    """With how many flipped bits it was fetched."""
    one.hub.plan = _Bodies(Seeded(one.chance, {kind: one.chance.randrange(1, 4)}, 0.3, CHUNK))
    fetched = asyncio.run(one.fetch())
    return fetched, sum(asked.fault is kind for asked in one.hub.asked)


def flipped_on_the_disk(room: Path, chance: random.Random, figures: Figures, files: int) -> None:
    """Files of 8 chunks, of which one to three change on the disk by a bit: before the last check, or later."""
    for number in range(files):
        with trial(room / f"disk{number}", chance, figures, 8 * CHUNK) as one:
            chunks = chance.sample(range(8), chance.randrange(1, 4))
            bits = [(index * CHUNK + chance.randrange(CHUNK)) * 8 + chance.randrange(8) for index in chunks]
            if number % 2:
                fetched, what = asyncio.run(one.fetch(_when_all_is_there(one, bits))), "before the check"
            else:
                fetched, what = asyncio.run(one.fetch()), "repaired later"
                _flip(one.path, bits)
                asyncio.run(one.repair(fetched))
            one.finish(fetched, counts_as=f"flipped bit on the disk, {what}", times=len(bits))
            figures.check(one.hub.served(NAME) > len(one.file.content), f"{one.room.name}: nothing was mended")
        _remove(one)


def _when_all_is_there(one: Trial, bits: Sequence[int]) -> Tell:
    left = [bits]

    def tell(progress: Progress) -> None:
        if left and progress.stage is Stage.FETCHING and progress.done == progress.total:
            _flip(one.part, left.pop())

    return tell


def _flip(path: Path, bits: Sequence[int]) -> None:
    with path.open("r+b") as file:
        for bit in bits:
            (byte,) = os.pread(file.fileno(), 1, bit // 8)
            os.pwrite(file.fileno(), bytes([byte ^ 1 << bit % 8]), bit // 8)


class _Bodies:
    """Faults in contents only, not on the way to them."""

    def __init__(self, plan: Callable[[Asked], Fault | None]) -> None:
        self._plan = plan

    def __call__(self, asked: Asked) -> Fault | None:
        return self._plan(asked) if asked.host == "cdn" else None


def changed(room: Path, chance: random.Random, figures: Figures, files: int) -> None:
    """The content is exchanged half-way: a file that was chosen is refused, any other is the new one."""
    for number in range(files):
        is_pinned = number % 2 == 0
        where, is_lfs, connections = room / f"changed{number}", chance.random() < 0.5, chance.randrange(1, 5)
        with trial(
            where, chance, figures, 6 * CHUNK, is_lfs=is_lfs, is_pinned=is_pinned, connections=connections
        ) as one:
            new = chance.randbytes(chance.choice((5, 6)) * CHUNK)
            chosen, told = one.wanted(), 0

            def exchange(progress: Progress, one: Trial = one, new: bytes = new) -> None:
                nonlocal told
                told += 1
                if told == 1:
                    with one.hub.lock:
                        one.file.content = new

            if not is_pinned:
                one.finish(asyncio.run(one.fetch(exchange)), counts_as="content exchanged, begun anew", times=0)
            else:
                one.is_refused(TransferFailed, "content exchanged", exchange, chosen)
                figures.check(not one.path.exists(), f"{one.room.name}: a changed file was taken")
        _remove(one)


def strange_files(room: Path, chance: random.Random, figures: Figures) -> None:
    """Links and other things where the part file, its journal, the file or its folder are to be."""
    for number, (name, lay) in enumerate(STRANGE.items()):
        with trial(room / f"strange{number}", chance, figures, CHUNK + 1, wanted_name=f"sub/{NAME}") as one:
            target = one.room / "target"
            target.mkdir()
            (target / "victim").write_bytes(b"precious")
            lay(one, target)
            try:
                asyncio.run(one.fetch())
            except UsageError:
                figures.refused[f"{name}: refused"] += 1
            else:
                figures.refused[f"{name}: harmless"] += 1
                figures.check(one.path.read_bytes() == one.file.content, f"{name}: the file is not right")
            left = {entry.name: entry.read_bytes() for entry in target.iterdir()}
            figures.check(left == {"victim": b"precious"}, f"{name}: written through a link: {sorted(left)}")
            one.look_outside()


def _link(place: Callable[[Trial], Path], target: str) -> Callable[[Trial, Path], None]:
    def lay(one: Trial, room: Path) -> None:
        place(one).parent.mkdir(parents=True, exist_ok=True)
        place(one).symlink_to(room / target)

    return lay


def _second_name(one: Trial, room: Path) -> None:
    one.folder.joinpath("sub").mkdir(parents=True)
    _part(one).hardlink_to(room / "victim")


def _fifo(one: Trial, room: Path) -> None:
    one.folder.joinpath("sub").mkdir(parents=True)
    os.mkfifo(_part(one))


def _folder(one: Trial, room: Path) -> None:
    _part(one).mkdir(parents=True)


def _part(one: Trial) -> Path:
    return one.path.with_name(part_name(NAME))


def _journal(suffix: str = "") -> Callable[[Trial], Path]:
    return lambda one: _part(one).with_name(f"{_part(one).name}.journal{suffix}")


STRANGE: dict[str, Callable[[Trial, Path], None]] = {
    "part file is a link": _link(_part, "victim"),
    "part file is a dangling link": _link(_part, "new"),
    "part file has a second name": _second_name,
    "part file is a pipe": _fifo,
    "part file is a folder": _folder,
    "journal is a link": _link(_journal(), "victim"),
    "new journal is a link": _link(_journal(".new"), "victim"),
    "file is a link": _link(lambda one: one.path, "victim"),
    "folder is a link": _link(lambda one: one.path.parent, ""),
}


def names(room: Path, chance: random.Random, figures: Figures) -> None:
    """Every hostile name: refused, or inside the folder."""
    with trial(room / "names", chance, figures, 1000) as one:
        one.folder.mkdir()
        for name in HOSTILE_NAMES:
            one.wanted_name = name
            try:
                asyncio.run(one.fetch())
            except (UsageError, TransferFailed):
                figures.refused["hostile name: refused"] += 1
            else:
                figures.refused["hostile name: inside the folder"] += 1
            one.look_outside()


def full_disk(disk: Path, chance: random.Random, figures: Figures) -> None:
    """On ``disk``, of some 12 MiB: too little from the beginning, then filled by somebody else half-way."""
    with trial(disk / "full", chance, figures, 8 * CHUNK) as one:
        ballast = one.folder / "ballast"

        def fill(progress: Progress) -> None:
            if not ballast.exists():
                with suppress(OSError):
                    ballast.write_bytes(b"\1" * (12 * CHUNK))

        one.is_refused(UsageError, "disk too small", reserve=64 * CHUNK)
        one.is_refused(UsageError, "disk filled on the way", fill)
        figures.check(one.part.stat().st_size > 0, "disk full: nothing was kept")
        ballast.unlink()
        one.finish(asyncio.run(one.fetch()), counts_as="disk full")


def limited_file(room: Path, chance: random.Random, figures: Figures) -> None:
    """A real limit on the size of a file, as some file systems have, in a process of its own."""
    with trial(room / "limited", chance, figures, 8 * CHUNK) as one:
        command = [sys.executable, "-m", "tests.hub.client", one.job(largest=5 * CHUNK).argument()]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
        figures.check(said[-1].startswith("failed UsageError no room"), f"limited file: {said[-1]}")
        figures.refused["file larger than allowed"] += 1
        one.finish(asyncio.run(one.fetch()), counts_as="file larger than allowed")
