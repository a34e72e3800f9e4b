"""Pulling one file from the hub of a test."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from nanolocal.library.pull.control import Control
from nanolocal.library.pull.links import Links
from nanolocal.library.pull.plan import Fetched, Progress, Stage, Tell, Wanted
from nanolocal.library.pull.repair import repair
from nanolocal.library.pull.transfer import fetch
from tests.hub.client import PATIENT
from tests.hub.server import Hub
from tests.hub.stored import Stored

CHUNK = 256 * 2**10
CONTENT_BYTES = 10 * CHUNK + 77
TOKEN = "hf_secret"


@dataclass
class Pulling:
    hub: Hub
    folder: Path
    file: Stored
    token: str = ""
    heard: list[Progress] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.folder / self.file.path

    @property
    def part(self) -> Path:
        return self.folder / f".{self.file.path}.part"

    @property
    def journal(self) -> Path:
        return self.folder / f".{self.file.path}.part.journal"

    @property
    def again(self) -> int:
        """Bytes that were sent more than once."""
        return self.hub.served(self.file.path) - len(self.file.content)

    def pinned(self) -> Wanted:
        return Wanted(self.hub.url(self.file.path), self.file.path, len(self.file.content), self.file.sha256)

    def plain(self) -> Wanted:
        """The file at an address of which no hub says anything."""
        return Wanted(f"{self.hub.endpoint}/files/{self.file.path}", self.file.path)

    def run(self, wanted: Wanted | None = None, control: Control | None = None, tell: Tell | None = None) -> Fetched:
        return asyncio.run(self.fetch(wanted, control, tell))

    async def fetch(
        self, wanted: Wanted | None = None, control: Control | None = None, tell: Tell | None = None, reserve: int = 0
    ) -> Fetched:
        async with self.links() as links:
            return await fetch(
                links,
                wanted or self.pinned(),
                self.folder,
                control or Control(),
                tell or self.heard.append,
                chunk_bytes=CHUNK,
                patience=PATIENT,
                reserve=reserve,
            )

    def repair(self, fetched: Fetched) -> int:
        async def run() -> int:
            async with self.links() as links:
                return await repair(
                    links,
                    self.pinned(),
                    self.path,
                    fetched,
                    Control(),
                    self.heard.append,
                    patience=PATIENT,
                    reserve=0,
                )

        return asyncio.run(run())

    def links(self) -> Links:
        return Links(self.hub.endpoint, self.token, patience=PATIENT)

    def is_right(self) -> bool:
        return self.path.read_bytes() == self.file.content and list(self.folder.iterdir()) == [self.path]

    def stages(self) -> set[Stage]:
        return {progress.stage for progress in self.heard}
