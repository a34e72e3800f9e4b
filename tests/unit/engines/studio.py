"""One image engine child for many builds: importing torch takes longer than all that is drawn in a test."""

import asyncio
import io
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path

import psutil
from PIL import Image

from nanolocal.chat.ports import ImageJob
from nanolocal.engines import protocol
from nanolocal.engines.client import Child
from nanolocal.engines.protocol import Done, Drawn, Failed, Loaded, LoadImage, Reply, RunImage, Step

STALL_S = 120.0


@dataclass(slots=True)
class Drawing:
    """All replies to a job."""

    replies: list[Reply] = field(default_factory=list)

    @property
    def pictures(self) -> list[bytes]:
        return [reply.picture for reply in self.replies if isinstance(reply, Drawn)]

    @property
    def steps(self) -> list[tuple[int, int]]:
        return [(reply.step, reply.total) for reply in self.replies if isinstance(reply, Step)]

    @property
    def previews(self) -> list[Image.Image]:
        found = [reply.preview for reply in self.replies if isinstance(reply, Step) and reply.preview]
        return [Image.open(io.BytesIO(preview), formats=["PNG"]) for preview in found]

    @property
    def remarks(self) -> list[str]:
        return [reply.what for reply in self.replies if isinstance(reply, protocol.Remark)]

    @property
    def drawn(self) -> Drawn:
        return next(reply for reply in self.replies if isinstance(reply, Drawn))

    @property
    def done(self) -> Done:
        last = self.replies[-1]
        assert isinstance(last, Done), last
        return last

    @property
    def failure(self) -> Failed:
        last = self.replies[-1]
        assert isinstance(last, Failed), last
        return last


class Studio:
    """Loads a build where it is not the one that is loaded, and draws. The child is not isolated, so that it can."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._child: Child | None = None
        self._loaded: LoadImage | None = None
        self._job = 0

    def draw(
        self,
        path: Path,
        job: ImageJob,
        *,
        base: Path | None = None,
        rung: str = "full",
        on_reply: Callable[[Reply, Child, int], None] = lambda reply, child, job: None,
    ) -> Drawing:
        """Every reply to ``job``; a load that fails is the only one."""
        load = LoadImage(path.name, str(path), 1, "" if base is None else str(base), rung)
        return self._runner.run(self._draw(load, job, on_reply))

    def has_loaded(self, package: str) -> bool:
        """Whether compiled code of that package is in the child's memory."""
        assert self._child is not None
        return any(f"/{package}/" in each.path for each in psutil.Process(self._child.pid).memory_maps())

    def close(self) -> None:
        if self._child is not None:
            self._runner.run(self._child.close())
        self._runner.close()

    async def _draw(self, load: LoadImage, job: ImageJob, on_reply: Callable[[Reply, Child, int], None]) -> Drawing:
        if self._child is None:
            self._child = await Child.start("image", STALL_S)
        if self._loaded != load:
            self._loaded = None
            self._child.send(load)
            while not isinstance(reply := await self._child.receive(), Loaded):
                if isinstance(reply, Failed):
                    return Drawing([reply])
            self._loaded = load
        self._job += 1
        known = {each.name: getattr(job, each.name) for each in fields(job)}
        self._child.send(RunImage(self._job, **known | {"cache": job.cache or ""}))
        drawing = Drawing()
        while not drawing.replies or not isinstance(drawing.replies[-1], Done | Failed):
            drawing.replies.append(await self._child.receive(self._job))
            on_reply(drawing.replies[-1], self._child, self._job)
        return drawing


def picture(
    colour: str = "red", size: tuple[int, int] = (100, 80), white: tuple[int, int, int, int] = (20, 20, 50, 60)
) -> bytes:
    """A PNG of one colour with a white rectangle in it."""
    image = Image.new("RGB", size, colour)
    image.paste("white", white)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
