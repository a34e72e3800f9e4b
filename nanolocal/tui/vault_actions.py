"""The commands that keep something in the vault or change what opens it."""

import asyncio

from nanolocal.chat.ports import INSTRUCTIONS
from nanolocal.errors import NanolocalError, UsageError
from nanolocal.tui.lines import error_text
from nanolocal.tui.screens.instructions import InstructionsScreen
from nanolocal.tui.screens.passphrase import PassphraseScreen
from nanolocal.tui.screens.recovery import RecoveryScreen
from nanolocal.tui.stage import ChatStage

_CLEAR = "clear"
_UNCHECKED = (
    "The new recovery code is in force, though you did not check it. Without the paper, make another: /recovery."
)


class VaultActions:
    """Acting on one chat screen."""

    def __init__(self, stage: ChatStage) -> None:
        self._stage = stage

    async def good(self, note: str) -> None:
        """The last answer was good."""
        await self._rate("good", note)

    async def bad(self, note: str) -> None:
        """The last answer was bad."""
        await self._rate("bad", note)

    async def _rate(self, verdict: str, note: str) -> None:
        conversation, store = self._stage.conversation, self._stage.session.store
        answer = conversation.last.answer if conversation.last else None
        if answer is None or conversation.chat_id is None:
            raise UsageError("there is no answer to rate", "Ask something first.")
        takes_back = answer.verdict == verdict and note in ("", answer.note)
        await asyncio.to_thread(store.rate, answer.id, None if takes_back else verdict, note)
        conversation.goes_to(await asyncio.to_thread(store.path, conversation.chat_id, conversation.path[-1].id))
        self._stage.transcript.keep(conversation.turns)
        self._stage.say("Taken back." if takes_back else f"Rated {verdict}; /{verdict} again takes it back.")

    async def instructions(self, text: str) -> None:
        """Show, set or remove what new conversations begin with."""
        if text:
            await self._keep_instructions("" if text.lower() == _CLEAR else text)
            return
        present = await asyncio.to_thread(self._stage.session.store.setting, INSTRUCTIONS)
        self._stage.app.push_screen(InstructionsScreen(present or ""), self._after_instructions)

    async def _after_instructions(self, text: str | None) -> None:
        if text is None:
            return
        try:
            await self._keep_instructions(text)
        except NanolocalError as error:
            self._stage.say(error_text(error))

    async def _keep_instructions(self, text: str) -> None:
        await asyncio.to_thread(self._stage.session.store.keep_setting, INSTRUCTIONS, text or None)
        self._stage.say("Every new conversation begins with them." if text else "New conversations begin with none.")

    async def recovery(self, args: str) -> None:
        """Make a recovery code."""
        vault = self._stage.session.vault
        slots = await asyncio.to_thread(lambda: vault.slots)
        self._stage.app.push_screen(RecoveryScreen(vault, "recovery" in slots), self._after_recovery)

    def _after_recovery(self, is_checked: bool | None) -> None:
        if is_checked is not None:
            self._stage.tell("" if is_checked else _UNCHECKED, important=True)

    async def passphrase(self, args: str) -> None:
        """Set, change or remove the passphrase."""
        vault = self._stage.session.vault
        slots = await asyncio.to_thread(lambda: vault.slots)
        self._stage.app.push_screen(PassphraseScreen(vault, slots), lambda line: self._stage.say(line or ""))
