"""What the prompt in the box would cost, told before it is sent."""

import asyncio
from typing import Protocol

from nanolocal.chat.commands import parse
from nanolocal.chat.messages import Attachment
from nanolocal.chat.turn import Quote
from nanolocal.errors import NanolocalError
from nanolocal.tui import attach
from nanolocal.tui.conversation import Conversation
from nanolocal.tui.ports import SessionPort
from nanolocal.tui.runner import TurnRunner
from nanolocal.tui.widgets.composer import Composer
from nanolocal.tui.widgets.hint import HintLine

_PAUSE_S = 0.3


class QuoteStage(Protocol):
    """The chat screen, as it is quoted on."""

    session: SessionPort
    conversation: Conversation
    runner: TurnRunner

    @property
    def composer(self) -> Composer:
        """The prompt box."""
        ...


class Quoter:
    """Asks for a quote once nothing was typed for a moment; whatever is typed meanwhile cancels it."""

    def __init__(self, stage: QuoteStage) -> None:
        self._stage = stage

    async def quote(self, hint: HintLine) -> None:
        """Show on ``hint`` what the prompt would cost, or nothing where there is none or it cannot be told.

        Nothing either while an answer is written: what is reserved for that would be missing from the balance.
        """
        composer = self._stage.composer
        text, files = composer.box.text, composer.attachments
        command = parse(text)
        wants_picture = command is not None and command[0] == "image" and bool(command[1])
        is_prompt = bool(text.strip() or files) and (command is None or wants_picture)
        if not is_prompt or composer.menu.display or self._stage.runner.busy:
            hint.quote = None
            return
        await asyncio.sleep(_PAUSE_S)
        prompt = command[1] if command is not None else text
        hint.quote = await asyncio.to_thread(self._ask, prompt, files, wants_picture)

    def _ask(self, text: str, files: tuple[Attachment, ...], wants_picture: bool) -> Quote | None:
        session = self._stage.session
        try:
            if session.ledger.problem is not None:
                return None
            prompt = attach.split(text)
            request = self._stage.conversation.next_request(prompt.text, files + prompt.attachments, wants_picture)
            return session.chat.quote(request)
        except NanolocalError:
            return None
