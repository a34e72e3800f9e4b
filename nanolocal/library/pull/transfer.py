"""Fetching one file: what is missing of it, over several connections, then checked, and only then in its place."""

import os
from contextlib import suppress
from pathlib import Path

from nanolocal.errors import TransferFailed
from nanolocal.library.pull import journal as journals
from nanolocal.library.pull.arrived import Arrived
from nanolocal.library.pull.checking import Checking, NotAsPromised
from nanolocal.library.pull.connections import Connections
from nanolocal.library.pull.control import Control
from nanolocal.library.pull.directory import below
from nanolocal.library.pull.faults import Patience
from nanolocal.library.pull.links import Links
from nanolocal.library.pull.meter import Meter
from nanolocal.library.pull.partfile import RESERVE, OpenFile, disk_errors, locked, part_name
from nanolocal.library.pull.place import Place
from nanolocal.library.pull.plan import Fetched, Stage, Tell, Wanted
from nanolocal.library.pull.source import Changed, Source
from nanolocal.library.pull.steps import Steps

CHUNK_BYTES = 16 * 2**20
_STARTS = 4


async def fetch(
    links: Links,
    wanted: Wanted,
    folder: Path,
    control: Control,
    tell: Tell,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    patience: Patience | None = None,
    reserve: int = RESERVE,
) -> Fetched:
    """Have ``wanted`` complete and checked at ``folder / wanted.name``, going on where an earlier try ended.

    Raises ``TransferFailed``, and ``UsageError`` for a full disk, a name that is taken, or something strange in the
    way; what arrived is kept. ``reserve`` bytes of the disk stay free.
    """
    flags = os.O_RDWR | os.O_CREAT
    with (
        below(folder, wanted.name) as (directory, name),
        disk_errors(directory.path),
        locked(directory, part_name(name), flags, reserve) as file,
    ):
        place, source = Place(directory, name, wanted, chunk_bytes), Source(links, wanted, patience or Patience())
        meter = Meter(tell, wanted.name, wanted.size)
        async with control.stoppable():
            if there := await place.right_file(meter):
                place.clear()
                return there
            return await _Transfer(wanted, file, place, source, Steps(control, meter, wanted.name)).run()


class _Transfer:
    """One file on its way into its part file."""

    def __init__(self, wanted: Wanted, file: OpenFile, place: Place, source: Source, steps: Steps) -> None:
        self._wanted = wanted
        self._file = file
        self._place = place
        self._source = source
        self._steps = steps
        self._arrived = Arrived(file, place.chunk_bytes, wanted.size)

    async def run(self) -> Fetched:
        try:
            await self._resume()
            for _ in range(_STARTS):
                with suppress(Changed):
                    return await self._finish()
                self._begin_anew()
            raise TransferFailed(f"{self._wanted.name} keeps changing on its server", "try again later")
        except NotAsPromised as error:
            self._begin_anew()
            says = f"{self._wanted.name} does not have the SHA-256 that was promised, so it was removed"
            hint = "run the command again; if that is no help, it is damaged on the hub: use another one"
            raise TransferFailed(says, hint) from error
        finally:
            with suppress(OSError):  # a full disk, of which somebody has been told
                self._arrived.note_all()
            self._arrived.close()

    async def _resume(self) -> None:
        """Take over what an earlier try left, as far as it is of this file and was kept whole."""
        noted = journals.read(self._place.directory, self._place.part)
        if noted.header is None or not noted.header.fits(self._wanted, self._place.chunk_bytes):
            self._begin_anew()
            return
        self._source.recall(noted.header)
        self._arrived.total = self._steps.meter.total = noted.header.size
        await self._arrived.believe(
            noted, lambda count: self._steps.meter.moved(count, self._arrived.done, Stage.CHECKING)
        )

    def _begin_anew(self) -> None:
        self._arrived.forget()
        self._source.forget()
        journals.remove(self._place.directory, self._place.part)

    async def _finish(self) -> Fetched:
        arrived = self._arrived
        await Connections(self._source, arrived, self._steps, self._begin).run()
        assert arrived.total is not None
        self._file.resize(arrived.total)
        arrived.sync()
        sums = await Checking(self._source, arrived, self._steps).run()
        return await self._place.settle(arrived.total, sums, self._steps.meter)

    def _begin(self) -> None:
        """Make room and a journal for what the server says it has."""
        arrived = self._arrived
        arrived.total = self._steps.meter.total = self._source.total
        self._file.check_room(arrived.remaining)
        if arrived.total is not None:
            self._file.resize(arrived.total)
        header = self._source.header(arrived.chunk_bytes)
        arrived.journal = journals.Journal(self._place.directory, self._place.part, header, arrived.known())
