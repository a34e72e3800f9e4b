"""Draws scripts/screenshot.svg: the real terminal app with the starter builds, asked for a story and a picture."""

import asyncio
import re
import tempfile
from pathlib import Path

from textual.pilot import Pilot

from nanolocal import bootstrap
from nanolocal.device.machine import inspect
from nanolocal.paths import Paths
from nanolocal.tui.app import NanolocalApp
from nanolocal.tui.screens.chat import ChatScreen

_SIZE = (80, 54)
_PROMPTS = ("Tell me a short story about a fox.", "Draw a red circle above a blue square")
_PATIENCE_S = 180.0
_WEB_FONTS = re.compile(r"@font-face \{.*?\}", re.DOTALL)


async def _draw(paths: Paths) -> str:
    app = NanolocalApp(
        lambda given: bootstrap.open_session(paths, given),
        lambda: bootstrap.vault_state(paths),
        inspect,
        passphrase="only for the picture",  # noqa: S106 - the home is removed afterwards
    )
    async with app.run_test(size=_SIZE) as pilot:
        screen = await _chat_screen(pilot)
        for prompt in _PROMPTS:
            screen.composer.put(prompt)
            await screen.send(prompt)
            await pilot.pause()
            async with asyncio.timeout(_PATIENCE_S):
                while screen.runner.busy:
                    await asyncio.sleep(0.05)
        await pilot.pause()
        picture = app.export_screenshot(title="nanolocal")
        await app.close_session()
    return _WEB_FONTS.sub("", picture)


async def _chat_screen(pilot: Pilot[str]) -> ChatScreen:
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            await pilot.pause()
            if isinstance(pilot.app.screen, ChatScreen):
                return pilot.app.screen
            await pilot.press("enter")
            await asyncio.sleep(0.1)


def main() -> None:
    """Make the picture in a home of its own."""
    with tempfile.TemporaryDirectory() as home:
        picture = asyncio.run(_draw(Paths.choose(home)))
    Path(__file__).with_name("screenshot.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
