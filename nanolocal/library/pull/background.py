"""A pull beside everything else: in a thread with an event loop of its own, watched and steered from outside."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nanolocal.errors import NanolocalError, UsageError, place_of
from nanolocal.library.pull.plan import Progress
from nanolocal.library.pull.references import Reference, parse
from nanolocal.library.pull.telling import line_of

if TYPE_CHECKING:
    from nanolocal.library.pull.control import Control
    from nanolocal.library.pull.pulling import Done, Source
    from nanolocal.library.pull.running import Prepared

_JOIN_SECONDS = 10


class Background:
    """One pull at a time. ``source`` says where from and where to; it is asked in the thread, once for each pull."""

    def __init__(self, endpoint: Callable[[], str], source: Callable[[], "Source"]) -> None:
        self._endpoint = endpoint
        self._source = source
        self._thread: Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Done] | None = None
        self._control: Control | None = None
        self._line = ""
        self._news = ""

    @property
    def is_running(self) -> bool:
        """Whether a pull is on its way."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def line(self) -> str:
        """How it goes, in at most 78 columns; not yet safe to draw."""
        return self._line if self.is_running else ""

    def news(self) -> str:
        """How the last pull ended, told once; not yet safe to draw."""
        told, self._news = ("", self._news) if self.is_running else (self._news, "")
        return told

    def start(self, text: str, *, agreed: bool = False) -> None:
        """Begin, or go on with, the pull of what ``text`` names; ``agreed`` to its licence where that has conditions.

        Raises ``UsageError`` where it names nothing, or while another is on its way. May block on the disk.
        """
        from nanolocal.library.pull.control import Control

        if self.is_running:
            raise UsageError("a model is being fetched already", "/pull stop ends that and keeps what has arrived")
        reference = parse(text, urlsplit(self._endpoint()).netloc)
        self._line, self._news, self._control = f"asking about {reference.typed}", "", Control()
        self._loop = loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._work, args=(loop, reference, agreed), name="pull", daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Take nothing more from the network until ``resume``; raises ``UsageError`` where nothing runs."""
        self._steer(self._running().pause)

    def resume(self) -> None:
        """Go on; raises ``UsageError`` where nothing runs."""
        self._steer(self._running().resume)

    def stop(self) -> None:
        """End it and keep what has arrived; raises ``UsageError`` where nothing runs."""
        self._running()
        self._steer(self._cancel)

    def close(self) -> None:
        """End what runs, and wait for it."""
        if self.is_running and self._thread is not None:
            self._steer(self._cancel)
            self._thread.join(_JOIN_SECONDS)

    def _running(self) -> "Control":
        if not self.is_running or self._control is None:
            raise UsageError("nothing is being fetched", "/pull NAME fetches a model")
        return self._control

    def _steer(self, act: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # it has just ended
            if self._loop is not None:
                self._loop.call_soon_threadsafe(act)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _work(self, loop: asyncio.AbstractEventLoop, reference: Reference, agreed: bool) -> None:
        try:
            self._task = loop.create_task(self._pull(reference, agreed))
            self._news = _ending(loop.run_until_complete(self._task))
        except asyncio.CancelledError:
            self._news = f"Stopped; /pull {reference.typed} goes on where it was."
        except NanolocalError as error:
            self._news = " · ".join(filter(None, (f"{error.message[:1].upper()}{error.message[1:]}", error.hint)))
        except Exception as error:
            self._news = f"A fault ended the download ({place_of(error)}); /pull {reference.typed} goes on."
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    async def _pull(self, reference: Reference, agreed: bool) -> "Done":
        from nanolocal.library.pull.pulling import pull

        assert self._control is not None

        def agree(prepared: "Prepared", free: int) -> bool:
            if prepared.needs_consent and not agreed:
                says = f"its licence has conditions: {prepared.plan.terms.shown}"
                raise UsageError(says, f"/pull {reference.typed} agree")
            return True

        return await pull(self._source(), reference, "", self._control, agree, self._hear, self._say)

    def _hear(self, now: Progress) -> None:
        self._line = line_of(now)

    def _say(self, text: str) -> None:
        self._line = text


def _ending(done: "Done") -> str:
    if done.build is None:
        return f"{done.prepared.plan.files[0].name} is here: a part of a model, none itself."
    if done.is_copy:
        return f"{done.build.id} is here already; nothing was fetched."
    return f"{done.build.id} is in the library and may answer from now on; Ctrl+T chooses it."
