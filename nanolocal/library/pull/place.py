"""Where a file goes when it is complete, and what lies beside it until then."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

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
        with self._opened() as there:
            if there is None or not self._wanted.sha256:
                return None
            found = await self._read(there, meter)
        if found.sha256 != self._wanted.sha256:
            raise self._is_taken()
        return found

    async def settle(self, total: int, sums: Sums, meter: Meter) -> Fetched:
        """Give the part file its name; raises ``UsageError`` where another file has it."""
        fetched = self._fetched(total, sums)
        with self._opened() as there:
            if there is not None and await self._read(there, meter) != fetched:
                raise self._is_taken()
        if there is not None:
            self.clear()
        else:
            self.directory.rename(self.part, self._name)  # from here on another process may have a part file
            journal.remove(self.directory, self.part)
        return fetched

    def clear(self) -> None:
        """Remove what lies beside the file."""
        self.directory.remove(self.part)
        journal.remove(self.directory, self.part)

    @contextmanager
    def _opened(self) -> Iterator[OpenFile | None]:
        """The file that has the name; raises ``UsageError`` for one of another size, or what is no file."""
        try:
            descriptor = self.directory.open(self._name, os.O_RDONLY)
        except FileNotFoundError:
            yield None
            return
        try:
            file = OpenFile(self.directory.path / self._name, descriptor)
            if self._wanted.size not in (None, file.size):
                raise self._is_taken()
            yield file
        finally:
            os.close(descriptor)

    async def _read(self, file: OpenFile, meter: Meter) -> Fetched:
        read = 0

        def told(count: int) -> None:
            nonlocal read
            read += count
            meter.moved(count, read, Stage.CHECKING)

        sums = Sums(file, file.size, self.chunk_bytes)
        await sums.read(told)
        return self._fetched(file.size, sums)

    def _fetched(self, total: int, sums: Sums) -> Fetched:
        return Fetched(self._wanted.name, total, sums.whole, self.chunk_bytes, tuple(sums.chunks))

    def _is_taken(self) -> UsageError:
        path = self.directory.path / self._name
        return UsageError(
            safe_line(f"{path} is there already and is another file"), "move it away, and run the command again"
        )
