"""The real terminal app on a hostile session: ``python -m tests.faults.hostile_app --home DIR SCENE THEME``."""

import asyncio
import sys

from textual.app import App

from nanolocal.tui import terminal
from nanolocal.tui.app import NanolocalApp
from nanolocal.tui.screens.chat import ChatScreen
from tests.fakes.session import FakeSession, FakeVaultState
from tests.faults import hostile

STATES = {"gate": FakeVaultState.PASSPHRASE, "welcome": FakeVaultState.ABSENT}


async def _broken(*_: object) -> None:
    raise LookupError(hostile.ALL)


def main(scene: str, theme: str) -> int:
    session = hostile.hostile_session()
    refusals = [hostile.locked()] if scene in STATES else []
    if scene == "failing":
        session.chat.script[1:] = [hostile.failed()]
    if scene == "leaky":  # without the last gate, as any other Textual app
        NanolocalApp.get_line_filters = App.get_line_filters  # type: ignore[method-assign]
    if scene == "fault":
        ChatScreen.send = _broken  # type: ignore[assignment, method-assign]

    def opener(_: str | None) -> FakeSession:
        if refusals:
            raise refusals.pop()
        return session

    def state() -> FakeVaultState:
        if scene == "broken":
            raise hostile.locked()
        return STATES.get(scene, FakeVaultState.KEYFILE)

    with terminal.own_terminal() as screen:
        driver = terminal.driver_on(screen)
        app = NanolocalApp(opener, state, hostile.hostile_machine, theme=theme, driver_class=driver)
        asyncio.run(app.run_async())
    sys.stderr.write(app.fault)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[3:]))
