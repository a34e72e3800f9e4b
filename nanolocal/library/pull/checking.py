"""The last word on a file: read once more from the disk, and mended where it is not what was promised."""

import hashlib
from collections.abc import Iterator

from nanolocal.errors import TransferFailed
from nanolocal.library.pull.arrived import Arrived
from nanolocal.library.pull.plan import Stage
from nanolocal.library.pull.source import Source, WholeFilesOnly
from nanolocal.library.pull.steps import Steps
from nanolocal.library.pull.sums import Sums

_ROUNDS = 2
_VOTES = 5


class NotAsPromised(Exception):
    """What came does not have the SHA-256 that was promised, and fetching it again chunk by chunk is no help."""


class Checking:
    """Checks and mends what has arrived."""

    def __init__(self, source: Source, arrived: Arrived, steps: Steps) -> None:
        assert arrived.total is not None
        self._source = source
        self._arrived = arrived
        self._steps = steps
        self._sums = Sums(arrived.file, arrived.total, arrived.chunk_bytes)
        self._read = 0

    async def run(self) -> Sums:
        """The hashes of a file that is right.

        Raises ``NotAsPromised``, and ``TransferFailed`` where the disk does not keep what is written to it.
        """
        self._arrived.file.drop_cache()
        await self._sum()
        await self._match_disk()
        promised = self._source.sha256
        if promised and self._sums.whole != promised:
            await self._match_promise(promised)
        return self._sums

    async def _sum(self, first: int = 0) -> None:
        self._read = self._arrived.start(first)
        await self._sums.read(self._was_read, first)

    def _was_read(self, count: int) -> None:
        self._read += count
        self._steps.meter.moved(count, self._read, Stage.CHECKING)

    def _was_fetched(self, count: int) -> None:
        self._steps.meter.moved(count, self._arrived.done, Stage.REPAIRING)

    async def _match_disk(self) -> None:
        """Fetch those chunks again that the disk does not give back as they came."""
        for _ in range(_ROUNDS):
            wrong = [n for n, digest in enumerate(self._sums.chunks) if digest != self._arrived.digest(n)]
            if not wrong:
                return
            for index in wrong:
                await self._replace(index, await self._fetch(index))
            self._arrived.file.drop_cache()
            await self._sum(wrong[0])
        raise TransferFailed(
            f"the disk under {self._arrived.file.path.parent} does not give back what is written to it",
            "check the disk, or choose another one",
        )

    async def _match_promise(self, promised: str) -> None:
        """Some byte was damaged on the way, nobody knows which: fetch chunk after chunk until the whole is right."""
        for _ in range(_ROUNDS):
            has_changed = False
            for index in self._suspects():
                if await self._is_damaged(index):
                    has_changed = True
                    await self._sum(index)
                    if self._sums.whole == promised:
                        return
            if not has_changed:
                break
        raise NotAsPromised

    def _suspects(self) -> Iterator[int]:
        """Every chunk, those first that were interrupted."""
        return iter(sorted(range(self._arrived.count), key=lambda index: -self._arrived.faults(index)))

    async def _is_damaged(self, index: int) -> bool:
        """Whether the chunk comes otherwise than it did, which is settled by the first two answers that agree."""
        kept = self._arrived.digest(index)
        seen = {kept}
        for _ in range(_VOTES):
            data = await self._fetch(index)
            digest = hashlib.sha256(data).digest()
            if digest == kept:
                return False
            if digest in seen:
                await self._replace(index, data)
                return True
            seen.add(digest)
        raise TransferFailed("bytes are damaged on the way again and again", "check the network, or use another one")

    async def _fetch(self, index: int) -> bytes:
        start, stop = self._arrived.start(index), self._arrived.stop(index)
        try:
            return await self._steps.hold(self._source, start, stop, self._was_fetched)
        except WholeFilesOnly as error:
            raise NotAsPromised from error

    async def _replace(self, index: int, data: bytes) -> None:
        self._arrived.put(index, data)
        self._arrived.sync()
