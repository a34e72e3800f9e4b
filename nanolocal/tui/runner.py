"""Runs one turn at a time for the chat screen: start, stop, kill, and what is left on the screen afterwards."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from nanolocal.chat.lessons import lessons
from nanolocal.chat.messages import Answer, Attachment, TurnRequest
from nanolocal.chat.ports import StoredMessage
from nanolocal.chat.routes import Route
from nanolocal.errors import NanolocalError, OutOfCredit
from nanolocal.tui.conversation import Conversation, Offer
from nanolocal.tui.learning import learn
from nanolocal.tui.lines import Status, error_text
from nanolocal.tui.ports import SessionPort
from nanolocal.tui.presenter import Presenter
from nanolocal.tui.settling import Settler
from nanolocal.tui.turns import Turn
from nanolocal.tui.widgets.answer import AnswerView
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
    """One turn at a time. ``settler`` asks before it runs; ``clock`` counts seconds."""

    def __init__(self, session: SessionPort, stage: Stage, settler: Settler, clock: Callable[[], float]) -> None:
        self.route: Route | None = None
        self._settler = settler
        self._session = session
        self._stage = stage
        self._clock = clock
        self._stop: asyncio.Event | None = None
        self._presenter: Presenter | None = None
        self._is_named = True

    @property
    def busy(self) -> bool:
        """Whether a turn is running."""
        return self._stop is not None

    @property
    def is_ending(self) -> bool:
        """Whether the answer is stored, and only its last lines are still being drawn."""
        return self._presenter is not None and self._presenter.progress.finished

    @property
    def prompt_id(self) -> str | None:
        """The prompt that is being answered, once it is stored."""
        return self._presenter.progress.prompt_id if self._presenter else None

    @property
    def running_route(self) -> Route | None:
        """Who is answering, where the screen says it."""
        return self._presenter.progress.route if self._presenter and self._is_named else None

    def stop(self) -> None:
        """End the answer and keep what was written; asked a second time, end its engine."""
        if self._stop is None:
            return
        is_first, presenter = not self._stop.is_set(), self._presenter
        self._stop.set()
        self._settler.leave()
        if presenter is None:
            return
        if is_first:
            presenter.show_stopping()
        elif (route := presenter.progress.route) is not None:
            self._session.engines.kill(route.build.id)

    def expect(self) -> None:
        """A turn is about to run: from now on another one has to wait."""
        self._stop = self._stop or asyncio.Event()

    @contextmanager
    def running(self) -> Iterator[asyncio.Event]:
        """The block in which turns are played; they end when the event is set."""
        self._stop = stop = self._stop or asyncio.Event()
        try:
            yield stop
        finally:
            self._stop = self._presenter = None

    async def play(self, view: AnswerView, request: TurnRequest, stop: asyncio.Event, status: Status) -> Answer | None:
        """Take one turn on ``view``; what it raises passes through."""
        self._is_named = view.is_named
        show_status = self._show_status if view.is_named else _show_nobody
        self._presenter = Presenter(view, status, show_status, self._clock)
        return await self._presenter.show(self._session.chat.turn(request, stop))

    async def run(self, asked: Asked, conversation: Conversation) -> None:
        """Take the turn from the prompt to the receipt."""
        before, choice = conversation.last, conversation.choice
        with self.running() as stop:
            settled = await self._settler.settle(asked.request)
            if settled is None:
                self._put_back(asked, conversation)
                return
            named = settled.wishes.model
            word = choice.word if named in (None, asked.request.wishes.model) else "once"
            asked = replace(asked, request=settled)
            if asked.replaces:
                await self._stage.transcript.drop_last()
            view = await self._stage.transcript.add_live(asked.text, asked.attachments)
            if view.answer is None:
                return
            old = self._status
            status = Status(chosen=word, balance_micro=old.balance_micro, most_micro=old.most_micro)
            once, choice.once = choice.once, None
            conversation.editing = conversation.offer = None
            try:
                answer = await self.play(view.answer, asked.request, stop, status)
            except NanolocalError as error:
                await self._fail(error, asked, conversation, once)
            except Exception as error:
                await self._fail(unexpected(error), asked, conversation, once)
            else:
                await self._keep(answer, asked, before, conversation)

    async def _keep(self, answer: Answer | None, asked: Asked, before: Turn | None, conversation: Conversation) -> None:
        """Read back what was stored, and learn from what it says about the answer before."""
        if answer is None or self._presenter is None or not self._stage.is_attached:
            return
        self.route = answer.route
        tip = answer.message_id or self._presenter.progress.prompt_id
        await self._read_back(answer.chat_id, tip, conversation)
        choice, old = conversation.choice, before.answer if before else None
        is_again = asked.request.prompt is None
        signals = lessons(old, answer, is_again=is_again, is_switched=choice.is_switched)
        choice.answered(answer.route.build)
        await learn(self._session.experience, signals)

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
        conversation.choice.once = once
        is_back = asked.request.prompt is not None and not self._stage.composer.box.text
        await transcript.show_notice(error_text(error, has_prompt=is_back))
        self._put_back(asked, conversation)
        if is_back and isinstance(error, OutOfCredit) and error.tokens:
            conversation.offer = Offer(asked.text, asked.attachments, error.tokens)

    def _put_back(self, asked: Asked, conversation: Conversation) -> None:
        """Fill the box with what was asked, above what was typed meanwhile; it outlives a command in its place."""
        if asked.request.prompt is None:
            return
        composer = self._stage.composer
        typed = composer.box.text
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


def unexpected(error: Exception) -> NanolocalError:
    """A fault of the program itself, without its text: that may be private."""
    return NanolocalError(f"an unexpected fault ended the answer ({type(error).__name__})", "Try again.")


def _show_nobody(status: Status) -> None:
    """The status line would name who answers."""
