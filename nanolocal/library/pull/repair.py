"""Mending a file that was damaged on the disk: only its damaged chunks are fetched."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

from nanolocal.errors import TransferFailed, UsageError
from nanolocal.library.pull.control import Control
from nanolocal.library.pull.directory import below
from nanolocal.library.pull.faults import Patience
from nanolocal.library.pull.links import Links
from nanolocal.library.pull.meter import Meter
from nanolocal.library.pull.partfile import RESERVE, OpenFile, disk_errors, locked
from nanolocal.library.pull.plan import Fetched, Stage, Tell, Wanted
from nanolocal.library.pull.source import Source
from nanolocal.library.pull.steps import Steps
from nanolocal.library.pull.sums import Sums
from nanolocal.library.pull.threads import in_thread
from nanolocal.safetext import safe_line

_TRIES = 3


async def repair(
    links: Links,
    wanted: Wanted,
    path: Path,
    fetched: Fetched,
    control: Control,
    tell: Tell,
    *,
    patience: Patience | None = None,
    reserve: int = RESERVE,
) -> int:
    """Make the file at ``path`` what was ``fetched`` again, and return how many of its chunks were exchanged.

    A chunk is written in its place once it has its hash, so that whatever interrupts this leaves each chunk right or to
    be repaired. Raises ``TransferFailed`` where ``wanted`` no longer gives these bytes, and ``UsageError``.
    """
    source = Source(links, replace(wanted, size=fetched.size, sha256=fetched.sha256), patience or Patience())
    steps = Steps(control, Meter(tell, fetched.name, fetched.size), fetched.name)
    with below(path.parent, path.name) as (directory, name), disk_errors(path.parent):
        try:
            with locked(directory, name, os.O_RDWR, reserve) as file:
                async with control.stoppable():
                    return await _Repair(file, fetched, source, steps).run()
        except FileNotFoundError as error:
            raise UsageError(safe_line(f"there is no file {path}"), "pull it again") from error


class _Repair:
    """One file that is being mended."""

    def __init__(self, file: OpenFile, fetched: Fetched, source: Source, steps: Steps) -> None:
        self._file = file
        self._fetched = fetched
        self._source = source
        self._steps = steps
        self._done = 0

    async def run(self) -> int:
        fetched, file = self._fetched, self._file
        file.check_room(max(0, fetched.size - file.size))
        file.resize(fetched.size)
        sums = Sums(file, fetched.size, fetched.chunk_bytes)
        await sums.read(self._was_read)
        wrong = [n for n, digest in enumerate(sums.chunks) if digest != fetched.chunks[n]]
        self._done = fetched.size - sum(stop - start for start, stop in (_ends(fetched, n) for n in wrong))
        for index in wrong:
            await self._mend(index)
        if wrong:
            self._done = _ends(fetched, wrong[0])[0]
            file.drop_cache()
            await sums.read(self._was_read, wrong[0])
        if sums.whole != fetched.sha256:
            raise TransferFailed(safe_line(f"{file.path} could not be repaired"), "check the disk, or pull it again")
        return len(wrong)

    async def _mend(self, index: int) -> None:
        start, stop = _ends(self._fetched, index)
        for _ in range(_TRIES):
            data = await self._steps.hold(self._source, start, stop, self._was_fetched)
            if hashlib.sha256(data).digest() == self._fetched.chunks[index]:
                self._file.write(start, data, 0)
                await in_thread(self._file.sync)
                return
        raise TransferFailed(
            safe_line(f"the server of {self._fetched.name} no longer has the same bytes"), "remove it and pull it again"
        )

    def _was_read(self, count: int) -> None:
        self._done += count
        self._steps.meter.moved(count, self._done, Stage.CHECKING)

    def _was_fetched(self, count: int) -> None:
        self._done += count
        self._steps.meter.moved(count, self._done, Stage.REPAIRING)


def _ends(fetched: Fetched, index: int) -> tuple[int, int]:
    start = index * fetched.chunk_bytes
    return start, min(fetched.size, start + fetched.chunk_bytes)
