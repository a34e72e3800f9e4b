"""Where a file goes when it is complete, and what lies beside it until then."""

import os

from nanolocal.errors import UsageError
from nanolocal.library.pull import journal
from nanolocal.library.pull.directory import Directory
from nanolocal.library.pull.meter import Meter
from nanolocal.library.pull.partfile import OpenFile, part_name
from nanolocal.library.pull.plan import Fetched, Stage, Wanted
from nanolocal.library.pull.sums import Sums
from nanolocal.safetext import safe_line


class Place:
    """The place of ``wanted``: the file ``name`` in ``directory``. ``part`` is what it is called until then."""

    def __init__(self, directory: Directory, name: str, wanted: Wanted, chunk_bytes: int) -> None:
        self.directory = directory
        self.part = part_name(name)
        self.chunk_bytes = chunk_bytes
        self._name = name
        self._wanted = wanted

    async def right_file(self, meter: Meter) -> Fetched | None:
        """The file that is wanted, if it is there already; raises ``UsageError`` where another has its name.

        Where nobody says what it is to be, nobody knows before it was fetched.
        """
        there = await self._there(meter) if self._wanted.sha256 else None
        if there is not None and there.sha256 != self._wanted.sha256:
            raise self._is_taken()
        return there

    async def settle(self, total: int, sums: Sums, meter: Meter) -> Fetched:
        """Give the part file its name; raises ``UsageError`` where another file has it."""
        fetched = self._fetched(total, sums)
        there = await self._there(meter)
        if there is None:
            self.directory.rename(self.part, self._name)  # from here on another process may have a part file
            journal.remove(self.directory, self.part)
        elif there == fetched:
            self.clear()
        else:
            raise self._is_taken()
        return fetched

    def clear(self) -> None:
        """Remove what lies beside the file."""
        self.directory.remove(self.part)
        journal.remove(self.directory, self.part)

    async def _there(self, meter: Meter) -> Fetched | None:
        try:
            descriptor = self.directory.open(self._name, os.O_RDONLY)
        except FileNotFoundError:
            return None
        read = 0

        def told(count: int) -> None:
            nonlocal read
            read += count
            meter.moved(count, read, Stage.CHECKING)

        try:
            file = OpenFile(self.directory.path / self._name, descriptor)
            if self._wanted.size not in (None, file.size):
                raise self._is_taken()
            sums = Sums(file, file.size, self.chunk_bytes)
            await sums.read(told)
            return self._fetched(file.size, sums)
        finally:
            os.close(descriptor)

    def _fetched(self, total: int, sums: Sums) -> Fetched:
        return Fetched(self._wanted.name, total, sums.whole, self.chunk_bytes, tuple(sums.chunks))

    def _is_taken(self) -> UsageError:
        path = self.directory.path / self._name
        return UsageError(
            safe_line(f"{path} is there already and is another file"), "move it away, and run the command again"
        )
