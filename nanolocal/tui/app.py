"""The terminal app: opens the session behind the first screens, then hands over to the chat screen."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.events import Event, InputEvent, Paste
from textual.filter import LineFilter
from textual.screen import Screen
from textual.worker import WorkerFailed

from nanolocal.chat.commands import COMMANDS
from nanolocal.errors import NanolocalError, VaultLocked, place_of
from nanolocal.safetext import safe_line
from nanolocal.tui import privatefiles, terminal
from nanolocal.tui.graphics import showing
from nanolocal.tui.graphics.painting import PaintingApp
from nanolocal.tui.pages import key_name
from nanolocal.tui.ports import MachinePort, SessionPort, VaultStatePort
from nanolocal.tui.safelines import SafeLines
from nanolocal.tui.screens.chat import ChatScreen
from nanolocal.tui.screens.gate import OpeningScreen, Unlock, UnlockScreen
from nanolocal.tui.screens.welcome import FIRST_PROMPT, RECOVERY_OFFER, MachineScreen, WelcomeScreen
from nanolocal.tui.themes import THEMES

if TYPE_CHECKING:
    from nanolocal.paths import Paths

LOCK = "lock"
_LOCKED = "NANOLOCAL_LOCKED"
_STOP_WAIT_S = 3.0
_DRAFT = "draft"
_READ_ONLY = "Nothing can be sent, only read: {}. What is there can be accepted by {}."


def _seconds_with_sleep() -> float:
    """Seconds that also count while the machine sleeps, where the system can."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


class NanolocalApp(PaintingApp):
    """Returns ``LOCK`` where it is to be started again, locked.

    ``opener`` opens the session (it may block), ``vault_state`` says what there is to open, ``survey`` looks at the
    machine. ``locked`` asks at the door even where a passphrase is known. After ``idle_s`` seconds of ``idle_clock``
    without a key or an answer it locks; 0, the default, never.
    """

    TITLE = "nanolocal"
    CSS_PATH = "styles.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", show=False, priority=True, id="app.quit")
    ]
    ENABLE_COMMAND_PALETTE = True

    def __init__(
        self,
        opener: Callable[[str | None], SessionPort],
        vault_state: Callable[[], VaultStatePort],
        survey: Callable[[], MachinePort],
        *,
        passphrase: str | None = None,
        locked: bool = False,
        theme: str = "dark",
        clock: Callable[[], float] = time.monotonic,
        driver_class: type[Driver] | None = None,
    ) -> None:
        super().__init__(driver_class=driver_class)
        self.fault = ""
        self._opener = opener
        self._vault_state = vault_state
        self._survey = survey
        self._passphrase = None if locked else passphrase
        self._locked = locked
        self._clock = clock
        self._session: SessionPort | None = None
        self._is_new = False
        self._leaving = False
        self.idle_s = 0.0
        self.idle_clock: Callable[[], float] = _seconds_with_sleep
        self._touched = 0.0
        self._safe_lines = SafeLines()
        self.paint_on(showing.Terminal())
        for each in THEMES.values():
            self.register_theme(each)
        self.theme = THEMES[theme].name

    def get_default_screen(self) -> Screen[None]:
        """The first paint."""
        return OpeningScreen()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """What every drawn line passes on its way to the terminal."""
        return [*super().get_line_filters(), self._safe_lines]

    def on_mount(self) -> None:
        """Begin once the first screen is drawn; ``nanolocal vault lock`` and a closed terminal lock by a signal."""
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, self.leave, LOCK)
            loop.add_signal_handler(signal.SIGTERM, self.leave, "")
        self.call_after_refresh(self.run_worker, self._begin(), group="open")

    async def on_event(self, event: Event) -> None:
        """Note that somebody is there."""
        if isinstance(event, InputEvent | Paste):
            self._touched = self.idle_clock()
        await super().on_event(event)

    def _lock_when_idle(self) -> None:
        if any(isinstance(screen, ChatScreen) and screen.runner.busy for screen in self.screen_stack):
            self._touched = self.idle_clock()
        elif self.idle_clock() - self._touched >= self.idle_s:
            self.leave(LOCK)

    async def _begin(self) -> None:
        try:
            state = (await asyncio.to_thread(self._vault_state)).name
        except NanolocalError as error:
            await self._tell(error)
            return
        self._is_new = state == "ABSENT"
        if self._is_new and self._passphrase is None:
            await self.push_screen(WelcomeScreen())
        elif (state == "PASSPHRASE" and self._passphrase is None) or self._locked:
            await self.push_screen(UnlockScreen("passphrase" if state == "PASSPHRASE" else ""))
        else:
            await self._open(self._passphrase)

    def on_unlock(self, event: Unlock) -> None:
        """Open with what was typed."""
        self.run_worker(self._open(event.passphrase), group="open", exclusive=True)

    async def _open(self, passphrase: str | None) -> None:
        try:
            session = await asyncio.to_thread(self._opener, passphrase)
        except NanolocalError as error:
            await self._tell(error)
            return
        self._session = session
        self._passphrase = None
        chat = ChatScreen(session, self.leave, self._clock)
        if not self._is_new:
            newest = await asyncio.to_thread(session.store.chats, 1)
            await self._go_to(chat)
            if newest:
                await chat.open_chat(newest[0].id)
            await self._take_up(session, chat)
            return
        machine = await asyncio.to_thread(self._survey)
        builds = await asyncio.to_thread(session.library.builds)
        await self._go_to(chat)
        chat.composer.suggest(FIRST_PROMPT)
        chat.tell(RECOVERY_OFFER)
        self._watch_idleness()
        await self.push_screen(MachineScreen(machine, builds, chat.composer.put))

    async def _take_up(self, session: SessionPort, chat: ChatScreen) -> None:
        """Put back what was being typed, and say what the vault has to say."""
        draft = await asyncio.to_thread(session.store.setting, _DRAFT)
        if draft:
            chat.composer.put(draft)
            await asyncio.to_thread(session.store.keep_setting, _DRAFT, None)
        notices = await asyncio.to_thread(lambda: session.vault.notices)
        problem = await asyncio.to_thread(lambda: session.ledger.problem)
        told = [*notices, *([] if problem is None else [_READ_ONLY.format(problem.message, problem.hint)])]
        if told:
            chat.tell(" ".join(safe_line(notice) for notice in told), important=True)
        self._watch_idleness()

    def _watch_idleness(self) -> None:
        self._touched = self.idle_clock()
        if self.idle_s:
            self.set_interval(min(self.idle_s, 5.0), self._lock_when_idle)

    async def _go_to(self, screen: Screen[None]) -> None:
        if isinstance(self.screen, OpeningScreen):
            await self.push_screen(screen)
        else:
            await self.switch_screen(screen)

    async def _tell(self, error: NanolocalError) -> None:
        """Say why the vault does not open; where its key file or keyring is lost, ask for the recovery code."""
        screen: Screen[Any] = self.screen
        asks_for_nothing = isinstance(screen, OpeningScreen) or (isinstance(screen, UnlockScreen) and not screen.secret)
        if isinstance(error, VaultLocked) and asks_for_nothing:
            screen = UnlockScreen("passphrase" if self._passphrase else "recovery code")
            await self._go_to(screen)
        if isinstance(screen, OpeningScreen | UnlockScreen | WelcomeScreen):
            screen.show_error(error)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette: the one table of commands, and nothing of Textual's own."""
        if not isinstance(screen, ChatScreen):
            return
        for command in COMMANDS:
            key = f"  ({key_name(command.key)})" if command.key else ""
            yield SystemCommand(command.name, f"{command.help}{key}", self._runs(screen, command.name))

    def _runs(self, screen: ChatScreen, name: str) -> Callable[[], None]:
        def run_it() -> None:
            self.call_later(screen.action_command, name)

        return run_it

    async def action_quit(self) -> None:
        """Leave."""
        self.leave("")

    def leave(self, how: str) -> None:
        """Keep what is being written, close the session, then exit; ``LOCK`` starts again at the door."""
        if not self._leaving:
            self._leaving = True
            self.run_worker(self._leave(how), group="leave")

    async def _leave(self, how: str) -> None:
        await self.close_session()
        self.exit(how)

    async def close_session(self) -> None:
        """Stop the turn that runs, end the engines and close the vault; nothing where none is open."""
        session, self._session = self._session, None
        if session is None:
            return
        for screen in self.screen_stack:
            if isinstance(screen, ChatScreen):
                await _finish_turn(screen)
                screen.actions.pictured.close()
                await _keep_draft(session, screen)
        await session.close()

    def _fatal_error(self) -> None:
        """Leave without Textual's report, whose local variables would show private text."""
        self._close_messages_no_wait()

    def _print_error_renderables(self) -> None:
        """Print nothing: ``run`` says one line."""
        self._exit_renderables.clear()

    def _handle_exception(self, error: Exception) -> None:
        """Note where it happened, without any value."""
        self.fault = self.fault or _place(error)
        super()._handle_exception(error)


async def _finish_turn(screen: ChatScreen) -> None:
    runner = screen.runner
    for _ in range(2):
        runner.stop()
        deadline = time.monotonic() + _STOP_WAIT_S
        while runner.busy and time.monotonic() < deadline:
            await asyncio.sleep(0.02)


async def _keep_draft(session: SessionPort, screen: ChatScreen) -> None:
    """What was typed and not sent is there again at the next start."""
    text = screen.composer.box.text if screen.is_mounted else ""
    if text.strip():
        with suppress(NanolocalError):
            await asyncio.to_thread(session.store.keep_setting, _DRAFT, text)


def _place(error: BaseException) -> str:
    return place_of(error.error if isinstance(error, WorkerFailed) else error)


def run(paths: "Paths", passphrase: str | None) -> int:
    """Run the terminal app and return the exit code. Raises ``UsageError`` where the settings cannot be read."""
    from nanolocal import settings

    if not terminal.is_ready():
        terminal.refuse()
        return 2
    chosen = settings.load(paths.settings)
    locked = os.environ.pop(_LOCKED, None) is not None
    colourless = os.environ.get("NO_COLOR")
    shows = showing.of_this_process(chosen.pictures, 0, 2)
    terminal.end_with_terminal()
    privatefiles.sweep()
    with terminal.own_terminal() as screen:
        app = NanolocalApp(
            lambda given: _open_session(paths, given),
            lambda: _vault_state(paths),
            _inspect,
            passphrase=passphrase,
            locked=locked,
            theme=chosen.theme,
            driver_class=terminal.driver_on(screen),
        )
        app.idle_s = chosen.idle_minutes * 60
        app.paint_on(shows)
        how = asyncio.run(_run_and_close(app))
    if colourless is not None:
        os.environ["NO_COLOR"] = colourless
    if app.fault:
        sys.stderr.write(f"nanolocal: error: the terminal app ended on a fault ({app.fault})\n")
        sys.stderr.write("hint: what was stored is safe; start it again, or use: nanolocal chat\n")
        return 1
    if how == LOCK and terminal.is_ready():
        start_again_locked()
    return 0


def start_again_locked() -> None:
    """Replace this process by a fresh one that asks at the door; nothing of the session stays in memory."""
    os.environ.pop("NANOLOCAL_PASSPHRASE", None)
    os.environ[_LOCKED] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the program itself


async def _run_and_close(app: NanolocalApp) -> str | None:
    try:
        return await app.run_async()
    finally:
        await app.close_session()


def _open_session(paths: "Paths", passphrase: str | None) -> SessionPort:
    from nanolocal import bootstrap

    return bootstrap.open_session(paths, passphrase)


def _vault_state(paths: "Paths") -> VaultStatePort:
    from nanolocal import bootstrap

    return bootstrap.vault_state(paths)


def _inspect() -> MachinePort:
    from nanolocal.device import machine

    return machine.inspect()
