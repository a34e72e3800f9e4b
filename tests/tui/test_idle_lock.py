"""The app locks itself when nobody is there, and nothing that was typed is lost."""

from nanolocal.tui.app import LOCK, NanolocalApp
from tests.fakes.session import FakeMachine, FakeSession, FakeVault, FakeVaultState
from tests.tui.driving import Stand, drive_app

MINUTE = 60.0


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def app_with(session: FakeSession, clock: Clock, idle_s: float) -> NanolocalApp:
    state = FakeVaultState.KEYFILE
    app = NanolocalApp(lambda _: session, lambda: state, FakeMachine)
    app.idle_s, app.idle_clock = idle_s, clock
    return app


def test_after_fifteen_minutes_without_a_key_it_locks_and_keeps_the_draft() -> None:
    session, clock = FakeSession(), Clock()
    session.store.add_turns("c1", [("Where were we?", "In Oslo.")])
    app = app_with(session, clock, 15 * MINUTE)

    async def body(stand: Stand) -> None:
        await stand.sees("In Oslo.")
        await stand.type("half a thought")
        clock.now += 14 * MINUTE
        app._lock_when_idle()
        assert app.return_value is None
        await stand.pilot.press("x")
        clock.now += 14 * MINUTE
        app._lock_when_idle()
        assert not session.closed
        clock.now += 2 * MINUTE
        app._lock_when_idle()
        await stand.until(lambda: session.closed)

    drive_app(app, body, session)
    assert app.return_value == LOCK
    assert session.store.setting("draft") == "half a thoughtx"

    async def again(stand: Stand) -> None:
        await stand.sees("half a thoughtx")
        await stand.until(lambda: session.store.setting("draft") is None)
        await stand.pilot.press("ctrl+a", "ctrl+k", *["backspace"] * 20)

    drive_app(app_with(session, clock, 0), again, session)


def test_what_the_vault_has_to_say_is_said_once() -> None:
    session = FakeSession()
    session.vault = vault = FakeVault()
    vault.notices = [
        "The database was damaged and was restored as it was on 24 November 2026, 18:31; 12 later changes could not "
        "be saved. The damaged file was kept."
    ]

    async def body(stand: Stand) -> None:
        for part in ("18:31; 12 later changes could not be saved. The damaged file was kept.", "Esc hides this"):
            await stand.sees(part)
        await stand.type("/nonsense", "enter")
        await stand.sees("There is no command")
        await stand.sees("The damaged file was kept.")
        assert vault.notices
        await stand.pilot.press("escape")
        await stand.misses("The damaged file was kept.")
        await stand.until(lambda: not vault.notices)
        await stand.pilot.press("ctrl+a", "ctrl+k")

    drive_app(app_with(session, Clock(), 0), body, session)
