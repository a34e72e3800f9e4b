import asyncio
import os
import signal
from collections.abc import Callable

import pytest
from textual.widgets import Input

from nanolocal.errors import Damaged, VaultLocked
from nanolocal.tui.app import LOCK, NanolocalApp
from nanolocal.tui.screens.chat import ChatScreen
from nanolocal.tui.screens.gate import UnlockScreen
from nanolocal.tui.screens.welcome import FIRST_PROMPT, RECOVERY_OFFER, MachineScreen, WelcomeScreen
from tests.fakes.session import FakeMachine, FakeSession, FakeVaultState
from tests.tui.driving import Stand, drive_app, make_app


class Door:
    """An opener that takes one passphrase and remembers what it was given."""

    def __init__(self, session: FakeSession, passphrase: str | None) -> None:
        self.session = session
        self.passphrase = passphrase
        self.tried: list[str | None] = []

    def __call__(self, given: str | None) -> FakeSession:
        self.tried.append(given)
        if given != self.passphrase:
            raise VaultLocked("this is not the passphrase", "try again")
        return self.session


def _app(door: Callable[[str | None], FakeSession], state: FakeVaultState, **more: object) -> NanolocalApp:
    return NanolocalApp(door, lambda: state, FakeMachine, **more)  # type: ignore[arg-type]


def test_a_wrong_passphrase_is_one_calm_line_and_another_try() -> None:
    session = FakeSession()
    door = Door(session, "right")

    async def body(stand: Stand) -> None:
        await stand.sees("nanolocal is locked")
        await stand.pilot.press(*"wrong", "enter")
        await stand.sees("! This is not the passphrase · try again")
        assert "wrong" not in stand.shown
        await stand.until(lambda: not stand.app.screen.query_one(Input).disabled)
        await stand.pilot.press(*"right", "enter")
        await stand.until(lambda: isinstance(stand.app.screen, ChatScreen))

    drive_app(_app(door, FakeVaultState.PASSPHRASE), body, session, (60, 16))
    assert door.tried == ["wrong", "right"]


def test_a_start_shows_the_conversation_that_was_left() -> None:
    session = FakeSession()
    session.store.add_turns("c1", [("Where were we?", "In Oslo, in May.")])

    async def body(stand: Stand) -> None:
        await stand.sees("In Oslo, in May.")
        await stand.pilot.press("ctrl+n")
        await stand.misses("In Oslo, in May.")

    drive_app(make_app(session), body, session)


def test_the_first_run_makes_the_vault_with_a_passphrase_given_twice() -> None:
    session = FakeSession()
    door = Door(session, "secret")

    async def body(stand: Stand) -> None:
        await stand.until(lambda: isinstance(stand.app.screen, WelcomeScreen))
        await stand.sees("Enter goes on · Esc skips, with a key file")
        await stand.pilot.press(*"secret", "enter", *"other", "enter")
        await stand.sees("The two are not the same. Try again.")
        await stand.pilot.press(*"secret", "enter")
        await stand.until(lambda: isinstance(stand.app.screen, MachineScreen))
        for text in ("Test Processor · 4 cores · 8.0 GB", "2 builds found", "Oak 1B", "0.10 credit", "Enter starts"):
            await stand.sees(text)
        await stand.pilot.press("enter")
        await stand.sees(FIRST_PROMPT)
        await stand.sees(RECOVERY_OFFER)
        assert stand.chat.composer.box.text == FIRST_PROMPT
        await stand.pilot.press("escape")
        await stand.misses("/recovery")
        await stand.pilot.press("enter")
        await stand.until(lambda: session.chat.requests)

    drive_app(_app(door, FakeVaultState.ABSENT), body, session, (60, 16))
    assert door.tried == ["secret"]
    assert session.chat.requests[0].prompt == FIRST_PROMPT


@pytest.mark.parametrize("first", [["enter"], []])
def test_what_is_typed_replaces_the_first_prompt(first: list[str]) -> None:
    session = FakeSession()

    async def body(stand: Stand) -> None:
        await stand.until(lambda: isinstance(stand.app.screen, WelcomeScreen))
        await stand.pilot.press("escape")
        await stand.until(lambda: isinstance(stand.app.screen, MachineScreen))
        await stand.pilot.press(*first)
        await stand.until(lambda: stand.chat.composer.box.text == FIRST_PROMPT)
        await stand.pilot.press(*"hi you")
        await stand.until(lambda: stand.chat.composer.box.text == "hi you")

    drive_app(_app(Door(session, None), FakeVaultState.ABSENT), body, session, (60, 16))


def test_the_first_run_can_be_skipped_with_a_key_file() -> None:
    session = FakeSession()
    door = Door(session, None)

    async def body(stand: Stand) -> None:
        await stand.sees("not against someone who can")
        await stand.pilot.press("escape")
        await stand.until(lambda: isinstance(stand.app.screen, MachineScreen))
        await stand.pilot.press("escape")
        await stand.until(lambda: isinstance(stand.app.screen, ChatScreen))

    drive_app(_app(door, FakeVaultState.ABSENT), body, session, (60, 16))
    assert door.tried == [None]


@pytest.mark.parametrize("locked", [False, True])
def test_where_the_key_file_is_lost_the_recovery_code_is_asked_for(locked: bool) -> None:
    session = FakeSession()
    door = Door(session, "CODE")

    async def body(stand: Stand) -> None:
        if locked:
            await stand.sees("Enter opens it")
            await stand.pilot.press("enter")
        await stand.sees("! This is not the passphrase")
        await stand.sees("recovery code")
        await stand.pilot.press(*"CODE", "enter")
        await stand.until(lambda: isinstance(stand.app.screen, ChatScreen))

    drive_app(_app(door, FakeVaultState.KEYFILE, locked=locked), body, session)
    assert door.tried == [None, "CODE"]


def test_a_vault_that_cannot_be_opened_says_why() -> None:
    def broken(given: str | None) -> FakeSession:
        raise Damaged("the vault's header was changed", "restore a backup: nanolocal vault restore")

    async def body(stand: Stand) -> None:
        await stand.sees("! The vault's header was changed · restore a backup: nanolocal vault")
        await stand.sees("Ctrl+Q quits.")

    drive_app(_app(broken, FakeVaultState.KEYFILE), body, FakeSession(), (100, 24))


def test_the_session_opens_after_the_first_paint() -> None:
    session = FakeSession()
    asked = asyncio.Event()

    def open_when_asked(given: str | None) -> FakeSession:
        while not asked.is_set():
            pass
        return session

    async def body(stand: Stand) -> None:
        await stand.sees("opening the vault")
        asked.set()
        await stand.until(lambda: isinstance(stand.app.screen, ChatScreen))

    drive_app(_app(open_when_asked, FakeVaultState.KEYFILE), body, session)


def test_a_locked_start_asks_even_where_the_passphrase_is_known() -> None:
    session = FakeSession()

    async def body(stand: Stand) -> None:
        await stand.until(lambda: isinstance(stand.app.screen, UnlockScreen))
        await stand.sees("This vault opens with its key file.")
        await stand.pilot.press("enter")
        await stand.until(lambda: isinstance(stand.app.screen, ChatScreen))

    drive_app(_app(Door(session, None), FakeVaultState.KEYFILE, passphrase="known", locked=True), body, session)


@pytest.mark.parametrize(("key", "how"), [("ctrl+l", LOCK), ("ctrl+q", "")])
def test_lock_and_quit_keep_the_answer_and_close_the_session(key: str, how: str) -> None:
    session = FakeSession()
    session.chat.script = ["half an answer", asyncio.Event()]
    app = make_app(session)

    async def body(stand: Stand) -> None:
        await stand.until(lambda: isinstance(app.screen, ChatScreen))
        await stand.type("go", "enter")
        await stand.sees("half an answer")
        await stand.pilot.press(key)
        for _ in range(200):
            if session.closed:
                break
            await asyncio.sleep(0.02)

    drive_app(app, body, session)
    assert (session.closed, app.return_value) == (1, how)
    assert [stored.message.text for stored in session.store.messages["c1"]] == ["go", "half an answer"]
    assert session.engines.killed == []


def test_a_hang_up_closes_the_session() -> None:
    session = FakeSession()
    app = make_app(session)

    async def body(stand: Stand) -> None:
        await stand.until(lambda: isinstance(app.screen, ChatScreen))
        os.kill(os.getpid(), signal.SIGHUP)
        for _ in range(200):
            if session.closed:
                break
            await asyncio.sleep(0.02)

    drive_app(app, body, session)
    assert (session.closed, app.return_value) == (1, LOCK)


def test_a_fault_of_the_app_leaves_one_line_without_values(capsys: pytest.CaptureFixture[str]) -> None:
    session = FakeSession()
    app = make_app(session)

    def break_down() -> None:
        secret = "private text"
        raise LookupError(secret)

    async def run() -> None:
        async with app.run_test() as pilot:
            await pilot.pause()
            app.call_later(break_down)
            await pilot.pause()

    with pytest.raises(LookupError):
        asyncio.run(run())
    assert app.return_code == 1
    assert app.fault.startswith("LookupError in test_gates.py, line ")
    output = capsys.readouterr()
    assert "private text" not in output.out + output.err + app.fault
