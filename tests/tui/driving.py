"""Helpers that drive the terminal app with a session made of fakes."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from contextlib import suppress

from PIL import Image
from textual.pilot import Pilot

from nanolocal.tui.app import NanolocalApp
from nanolocal.tui.screens.chat import ChatScreen
from tests.fakes.session import FakeMachine, FakeSession, FakeVaultState

Body = Callable[["Stand"], Awaitable[None]]


class _NotLaidOutError(AssertionError):
    """The screen was put up a moment ago and has no lines yet."""


class Stand:
    """A running app with what a test looks at."""

    def __init__(self, app: NanolocalApp, pilot: Pilot[str], session: FakeSession) -> None:
        self.app = app
        self.pilot = pilot
        self.session = session

    @property
    def chat(self) -> ChatScreen:
        screen = next(each for each in self.app.screen_stack if isinstance(each, ChatScreen))
        assert isinstance(screen, ChatScreen)
        return screen

    @property
    def shown(self) -> str:
        """Every line on the screen as text."""
        width, height = self.app.size
        lines = self.app.screen._compositor.render_strips()
        if len(lines) != height or not width:
            raise _NotLaidOutError
        return "\n".join(strip.text.rstrip() for strip in lines)

    async def type(self, text: str, *keys: str) -> None:
        self.chat.composer.box.insert(text)
        await self.pilot.press(*keys)

    async def ask(self, text: str) -> None:
        """Send a prompt and wait for the end of its turn."""
        asked = len(self.session.chat.requests)
        await self.type(text, "enter")
        await self.until(lambda: len(self.session.chat.requests) > asked and not self.chat.runner.busy)

    async def sees(self, text: str) -> None:
        await self.until(lambda: text in self.shown, lambda: f"{text!r} is not in\n{self.shown}")

    async def misses(self, text: str) -> None:
        await self.until(lambda: text not in self.shown, lambda: f"{text!r} is in\n{self.shown}")

    async def until(self, is_so: Callable[[], object], why: Callable[[], str] = lambda: "never became so") -> None:
        """Wait until ``is_so``; a test that waits in vain fails after half a minute."""
        for _ in range(1500):
            await self.pilot.pause()
            with suppress(_NotLaidOutError):
                if is_so():
                    return
            await asyncio.sleep(0.02)
        raise AssertionError(why())


def make_app(session: FakeSession, state: FakeVaultState = FakeVaultState.KEYFILE, theme: str = "dark") -> NanolocalApp:
    return NanolocalApp(lambda _: session, lambda: state, FakeMachine, theme=theme, clock=lambda: 0.0)


def drive(body: Body, session: FakeSession | None = None, size: tuple[int, int] = (80, 24)) -> FakeSession:
    """Run ``body`` on the chat screen of an open session, and return the session."""
    fakes = session or FakeSession()

    async def run() -> None:
        app = make_app(fakes)
        async with app.run_test(size=size) as pilot:
            stand = Stand(app, pilot, fakes)
            await stand.until(lambda: isinstance(app.screen, ChatScreen) and app.screen.is_mounted)
            await body(stand)
            await _end_work(app, pilot)

    asyncio.run(run())
    return fakes


def drive_app(app: NanolocalApp, body: Body, session: FakeSession, size: tuple[int, int] = (80, 24)) -> None:
    """Run ``body`` on whatever the app shows first."""

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await body(Stand(app, pilot, session))
            await _end_work(app, pilot)

    asyncio.run(run())


async def _end_work(app: NanolocalApp, pilot: Pilot[str]) -> None:
    """End what still runs, as leaving the app does, before the widgets go that it shows itself in."""
    while unfinished := [worker for worker in app.workers if not worker.is_finished]:
        for worker in unfinished:
            if worker.group != "leave":
                worker.cancel()
        await pilot.pause()


def picture(width: int = 24, height: int = 16, colour: tuple[int, ...] = (200, 40, 40)) -> bytes:
    """A PNG in one colour."""
    file = io.BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


def colour_card(size: int) -> Image.Image:
    """Colour bars over a ramp, with a black frame and a white diagonal."""
    card = Image.new("RGB", (size, size))
    for y in range(size):
        for x in range(size):
            bar = 7 - x * 8 // size
            ramp = x * 255 // (size - 1)
            colour = (
                ((bar & 2) * 127, (bar & 4) * 63, (bar & 1) * 255) if y < size // 2 else (ramp, y % 256, 255 - ramp)
            )
            is_frame = min(x, y, size - 1 - x, size - 1 - y) == 0
            card.putpixel((x, y), (0, 0, 0) if is_frame else (255, 255, 255) if x == y else colour)
    return card
