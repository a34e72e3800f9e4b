"""A run of the lab beside everything else: in a thread with an event loop of its own, watched from outside."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from threading import Thread
from typing import TYPE_CHECKING

from nanolocal.chat.compressing import Offer, Outlook
from nanolocal.chat.routes import Build
from nanolocal.errors import NanolocalError, UsageError, place_of

if TYPE_CHECKING:
    from nanolocal.compress.asking import Ask, Made, Prepared
    from nanolocal.compress.gate import Measured
    from nanolocal.compress.lab import Lab
    from nanolocal.compress.plot import Point
    from nanolocal.compress.progress import Progress
    from nanolocal.compress.work.tasks import Question

_JOIN_SECONDS = 10


class Background:
    """One run at a time. ``lab`` makes the lab for each, ``questions`` its suite, ``builds`` are those there are."""

    def __init__(
        self,
        lab: "Callable[[], Lab]",
        questions: "Callable[[], tuple[Question, ...]]",
        builds: Callable[[], Sequence[Build]],
    ) -> None:
        self._lab = lab
        self._questions = questions
        self._builds = builds
        self._thread: Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Made] | None = None
        self._line = ""
        self._news = ""
        self._points: tuple[Point, ...] = ()
        self._report: tuple[tuple[str, str], ...] = ()

    @property
    def is_running(self) -> bool:
        """Whether a build is being made smaller."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def line(self) -> str:
        """How it goes, in at most 78 columns; not yet safe to draw."""
        return self._line if self.is_running else ""

    @property
    def report(self) -> Sequence[tuple[str, str]]:
        """The card of what was made last, as names and sentences; not yet safe to draw."""
        return self._report

    def news(self) -> str:
        """How the last run ended, told once; not yet safe to draw."""
        told, self._news = ("", self._news) if self.is_running else (self._news, "")
        return told

    def builds(self) -> list[Build]:
        """Those that can be made smaller. May block on the disk."""
        from nanolocal.compress.lab import check

        return [build for build in self._builds() if _is_possible(check, build)]

    def outlook(self, build_id: str) -> Outlook:
        """What it would mean for a build; blocks for some seconds. Raises what ``Lab.prepare`` raises."""
        from nanolocal.chat.amounts import sized
        from nanolocal.compress.progress import duration

        plan = asyncio.run(self._lab().prepare(self._ask(build_id, None, agreed=True))).plan
        offers = tuple(
            Offer(rung.label, rung.size_bytes, rung.memory, rung.speed, rung.fits, rung.size_bytes == plan.most)
            for rung in plan.rungs
            if rung.size_bytes < plan.source_bytes
        )
        facts = (
            ("aim", f"{sized(plan.most)}, {plan.bits:.2f} bits a weight: {plan.why}"),
            ("search", f"{plan.tier}; about {duration(plan.seconds)} here"),
            ("takes", f"{sized(plan.needs_memory)} of memory and {sized(plan.needs_disk)} of disk"),
        )
        warning = f"it is quantized already ({plan.source_kind}), and loses more than an F16 build would"
        return Outlook(build_id, offers, facts, warning if plan.requantizes else "")

    def start(self, build_id: str, most: int | None = None, *, agreed: bool = False) -> None:
        """Begin, or go on with, a file of at most ``most`` bytes; ``None`` lets this device decide.

        A build that is quantized already is taken only where somebody ``agreed`` to the warning in its outlook.
        Raises ``UsageError`` while another is on its way.
        """
        if self.is_running:
            raise UsageError(
                "a build is being made smaller already", "/compress stop ends that and keeps what it knows"
            )
        ask = self._ask(build_id, most, agreed=agreed)
        self._line, self._news, self._points, self._report = f"looking at {build_id}", "", (), ()
        self._loop = loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._work, args=(loop, ask), name="lab", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it and keep what was found out; raises ``UsageError`` where nothing runs."""
        if not self.is_running:
            raise UsageError("nothing is being made smaller", "/compress begins")
        self._cancel()

    def close(self) -> None:
        """End what runs, and wait for it."""
        if self.is_running and self._thread is not None:
            self._cancel()
            self._thread.join(_JOIN_SECONDS)

    def picture(self, columns: int, rows: int) -> list[str]:
        """Size against quality of all files that were measured, as text; empty before there is one."""
        from nanolocal.compress.plot import picture

        return picture(self._points, columns, rows)

    def _ask(self, build_id: str, most: int | None, *, agreed: bool) -> "Ask":
        from nanolocal.compress.asking import Ask
        from nanolocal.compress.targets import Bytes, Wish

        build = next((build for build in self._builds() if build.id == build_id), None)
        if build is None:
            raise UsageError(f"no build is called {build_id!r}", "/compress lists them")
        ask = Ask(build, requantize=agreed, questions=self._questions(), command="/compress")
        return ask if most is None else replace(ask, wish=Wish(size=Bytes(most)))

    def _cancel(self) -> None:
        def cancel() -> None:
            if self._task is not None:
                self._task.cancel()

        with suppress(RuntimeError):  # it has just ended
            if self._loop is not None:
                self._loop.call_soon_threadsafe(cancel)

    def _work(self, loop: asyncio.AbstractEventLoop, ask: "Ask") -> None:
        try:
            self._task = loop.create_task(self._make(ask))
            self._news = self._ending(loop.run_until_complete(self._task))
        except asyncio.CancelledError:
            self._news = "Stopped; /compress goes on where it was."
        except NanolocalError as error:
            self._news = " · ".join(filter(None, (f"{error.message[:1].upper()}{error.message[1:]}", error.hint)))
        except Exception as error:
            self._news = f"A fault ended it ({place_of(error)}); /compress goes on where it was."
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    async def _make(self, ask: "Ask") -> "Made":
        lab = self._lab()
        prepared: Prepared = await lab.prepare(ask)
        return await lab.make(prepared, self._hear, self._take)

    def _hear(self, now: "Progress") -> None:
        self._line = now.line

    def _take(self, measured: "Measured") -> None:
        from nanolocal.compress.plot import Point

        point = Point(measured.name, measured.size_bytes, measured.kld, measured.is_stock)
        self._points = (*self._points, point)

    def _ending(self, made: "Made") -> str:
        from nanolocal.compress.report import lines

        self._points, self._report = made.points, tuple(lines(made.report))
        return f"{made.path.stem} is in the library and may answer from now on; /compress shows its card."


def _is_possible(check: Callable[[Build], None], build: Build) -> bool:
    try:
        check(build)
    except UsageError:
        return False
    return True
