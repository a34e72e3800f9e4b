"""Runs one turn at a time for the chat screen: start, stop, kill, and what is left on the screen afterwards."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from nanolocal.chat.messages import Answer, Attachment, TurnRequest
from nanolocal.chat.ports import StoredMessage
from nanolocal.chat.routes import Route
from nanolocal.errors import NanolocalError, OutOfCredit
from nanolocal.tui.conversation import Conversation, Offer
from nanolocal.tui.lines import Status, error_text
from nanolocal.tui.ports import SessionPort
from nanolocal.tui.presenter import Presenter
from nanolocal.tui.widgets.composer import Composer
from nanolocal.tui.widgets.status import StatusLine
from nanolocal.tui.widgets.transcript import Transcript


class Stage(Protocol):
    """The widgets a turn is drawn on."""

    @property
    def is_attached(self) -> bool:
        """Whether there still is a screen."""
        ...

    @property
    def transcript(self) -> Transcript:
        """The column of turns."""
        ...

    @property
    def composer(self) -> Composer:
        """The prompt box."""
        ...

    @property
    def status_line(self) -> StatusLine:
        """The status line."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with what the user typed, so that it can be put back; ``replaces`` takes the newest turn's place."""

    request: TurnRequest
    text: str
    attachments: tuple[Attachment, ...] = ()
    replaces: bool = False
    editing: StoredMessage | None = None


class TurnRunner:
    """One turn at a time. ``clock`` counts seconds."""

    def __init__(self, session: SessionPort, stage: Stage, clock: Callable[[], float]) -> None:
        self.route: Route | None = None
        self._session = session
        self._stage = stage
        self._clock = clock
        self._stop: asyncio.Event | None = None
        self._presenter: Presenter | None = None

    @property
    def busy(self) -> bool:
        """Whether a turn is running."""
        return self._stop is not None

    @property
    def is_ending(self) -> bool:
        """Whether the answer is stored, and only its last lines are still being drawn."""
        return self._presenter is not None and self._presenter.progress.finished

    def stop(self) -> None:
        """End the answer and keep what was written; asked a second time, end its engine."""
        if self._stop is None or self._presenter is None:
            return
        if not self._stop.is_set():
            self._stop.set()
            self._presenter.show_stopping()
            return
        route = self._presenter.progress.route
        if route is not None:
            self._session.engines.kill(route.build.id)

    async def run(self, asked: Asked, conversation: Conversation) -> None:
        """Take the turn from the prompt to the receipt."""
        self._stop = stop = asyncio.Event()
        try:
            if asked.replaces:
                await self._stage.transcript.drop_last()
            view = await self._stage.transcript.add_live(asked.text, asked.attachments)
            if view.answer is None:
                return
            old = self._status
            status = Status(chosen=conversation.chosen, balance_micro=old.balance_micro, most_micro=old.most_micro)
            self._presenter = presenter = Presenter(view.answer, status, self._show_status, self._clock)
            once, conversation.once = conversation.once, None
            conversation.editing = conversation.offer = None
            try:
                answer = await presenter.show(self._session.chat.turn(asked.request, stop))
            except NanolocalError as error:
                await self._fail(error, asked, conversation, once)
            except Exception as error:
                await self._fail(_unexpected(error), asked, conversation, once)
            else:
                await self._keep(answer, conversation)
        finally:
            self._stop = self._presenter = None

    async def _keep(self, answer: Answer | None, conversation: Conversation) -> None:
        if answer is None or self._presenter is None or not self._stage.is_attached:
            return
        self.route = answer.route
        tip = answer.message_id or self._presenter.progress.prompt_id
        await self._read_back(answer.chat_id, tip, conversation)

    async def _fail(self, error: NanolocalError, asked: Asked, conversation: Conversation, once: str | None) -> None:
        """Show the error: under the stored prompt, or with the text back in the box when nothing was stored."""
        if not self._stage.is_attached:
            return
        progress = self._presenter.progress if self._presenter else None
        transcript = self._stage.transcript
        if progress is not None and progress.prompt_id is not None:
            await transcript.views[-1].show_error(f"{error_text(error)} · Ctrl+R tries again")
            await self._read_back(progress.chat_id, progress.prompt_id, conversation)
            return
        await transcript.drop_live()
        if asked.replaces:
            await transcript.show(conversation.turns)
        conversation.once = once
        typed = self._stage.composer.box.text
        is_back = asked.request.prompt is not None and not typed
        await transcript.show_notice(error_text(error, has_prompt=is_back))
        if asked.request.prompt is not None:
            self._put_back(asked, conversation, typed)
        if is_back and isinstance(error, OutOfCredit) and error.tokens:
            conversation.offer = Offer(asked.text, asked.attachments, error.tokens)

    def _put_back(self, asked: Asked, conversation: Conversation, typed: str) -> None:
        """Fill the box with what was asked, above what was typed meanwhile; it outlives a command in its place."""
        composer = self._stage.composer
        text = f"/image {asked.text}" if asked.request.wishes.picture else asked.text
        conversation.editing = asked.editing
        composer.put("\n".join(filter(None, (text, typed))), asked.attachments)
        composer.show_editing(asked.editing is not None)
        composer.set_aside()

    async def _read_back(self, chat_id: str | None, tip: str | None, conversation: Conversation) -> None:
        if chat_id is None:
            return
        conversation.chat_id = chat_id
        conversation.goes_to(await asyncio.to_thread(self._session.store.path, chat_id, tip))
        self._stage.transcript.keep(conversation.turns)

    @property
    def _status(self) -> Status:
        return self._stage.status_line.status

    def _show_status(self, status: Status) -> None:
        self._stage.status_line.status = status


def _unexpected(error: Exception) -> NanolocalError:
    return NanolocalError(f"an unexpected fault ended the answer ({type(error).__name__})", "Try again.")
