"""The chat screen: transcript, prompt box, status line. It wires them together and holds no rules."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import Markdown

from nanolocal.chat.choice import Choice
from nanolocal.chat.commands import COMMANDS, parse
from nanolocal.chat.ports import StoredMessage
from nanolocal.errors import NanolocalError
from nanolocal.safetext import safe_line
from nanolocal.tui import attach
from nanolocal.tui.actions import Actions
from nanolocal.tui.conversation import Conversation
from nanolocal.tui.lines import Status, build_name, error_text
from nanolocal.tui.ports import SessionPort
from nanolocal.tui.quoting import Quoter
from nanolocal.tui.runner import Asked, TurnRunner
from nanolocal.tui.settling import Settler
from nanolocal.tui.themes import other
from nanolocal.tui.turns import beside
from nanolocal.tui.widgets.composer import Composer, PromptBox
from nanolocal.tui.widgets.hint import HintLine
from nanolocal.tui.widgets.notice import Notice
from nanolocal.tui.widgets.pulling import PullLine
from nanolocal.tui.widgets.status import StatusLine
from nanolocal.tui.widgets.transcript import Transcript

_SOON_S = 0.05


def _command_bindings() -> list[BindingType]:
    return [
        Binding(command.key, f"command('{command.name}')", command.help, False, priority=True, id=command.name)
        for command in COMMANDS
        if command.key
    ]


class ChatScreen(Screen[None]):
    """Talks to one session. ``leave`` closes the app; ``clock`` counts seconds."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *_command_bindings(),
        Binding("escape", "stop", "Stop", False, priority=True, id="stop"),
        Binding("ctrl+c", "interrupt", "Copy or stop", False, priority=True, id="interrupt"),
        Binding("alt+left", "branch(-1)", "Version before", False, priority=True, id="branch.before"),
        Binding("alt+right", "branch(1)", "Version after", False, priority=True, id="branch.after"),
        Binding("pageup", "page(-1)", "Scroll up", False, priority=True, id="scroll.up"),
        Binding("pagedown", "page(1)", "Scroll down", False, priority=True, id="scroll.down"),
    ]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (90, "-wide")]  # noqa: RUF012 - not a ClassVar in Textual

    def __init__(
        self, session: SessionPort, leave: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self.session = session
        self.conversation = Conversation(choice=Choice(asks=session.settings.confirm_pick))
        self.runner = TurnRunner(session, self, Settler(self), clock)
        self.actions = Actions(self)
        self.quoter = Quoter(self)
        self.leave = leave
        self._names: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """Lay out the column."""
        yield Transcript(self._name_of)
        with Vertical(id="bottom"):
            yield Notice()
            yield PullLine()
            yield PullLine("making-smaller", "◆")
            yield HintLine()
            yield Composer()
            yield StatusLine()

    def on_mount(self) -> None:
        """Take up the box; fill the status line when the ledger has answered."""
        self.composer.box.focus()
        self.run_worker(self._look_up(), group="look-up")

    @property
    def transcript(self) -> Transcript:
        """The column of turns."""
        return self.query_one(Transcript)

    @property
    def composer(self) -> Composer:
        """The prompt box."""
        return self.query_one(Composer)

    @property
    def status_line(self) -> StatusLine:
        """The status line."""
        return self.query_one(StatusLine)

    def say(self, line: str) -> None:
        """Show a line for a moment."""
        self.query_one(HintLine).say(line)

    def tell(self, text: str, important: bool = False) -> None:
        """Show sentences until the user has seen them, in place of what was told before."""
        self.query_one(Notice).tell(text, important)

    def last_text(self) -> str:
        """The newest answer's text, also while it is being written."""
        answers = [view.answer.text for view in self.transcript.views if view.answer is not None]
        return next((text for text in reversed(answers) if text), "")

    def show_choice(self) -> None:
        """Say who answers next, or who chooses."""
        choice, old = self.conversation.choice, self.status_line.status
        name = self._name_of(choice.build_id) if choice.build_id else ""
        balance, most = old.balance_micro, old.most_micro
        self.status_line.status = Status(name, "", choice.word, balance_micro=balance, most_micro=most)
        self.quote()

    def show_balance(self, micro: int) -> None:
        """Show what can be spent after it was changed, and quote anew."""
        self.status_line.status = replace(self.status_line.status, balance_micro=micro)
        self.quote()

    @work(group="quote", exclusive=True, exit_on_error=False)
    async def quote(self) -> None:
        """Tell what the prompt in the box would cost, in a moment."""
        await self.quoter.quote(self.query_one(HintLine))

    def watch_pull(self) -> None:
        """Show how the download goes until it has ended, and what came of it until that was seen."""
        self.query_one("#pulling", PullLine).follow(self.session.pulls, self._pull_ended)

    def watch_lab(self) -> None:
        """Show how a build is made smaller until that has ended, and what came of it until that was seen."""
        self.query_one("#making-smaller", PullLine).follow(self.session.lab, self._pull_ended)

    def _pull_ended(self, news: str) -> None:
        self.tell(news)
        self.run_worker(self._look_up(), group="look-up")

    def switch_theme(self) -> None:
        """Dark to light, or back."""
        self.app.theme = other(self.app.theme)

    async def open_chat(self, chat_id: str | None, message_id: str | None = None) -> None:
        """Show a conversation, at a message if one is named; ``None`` begins a new one."""
        fresh = Conversation(chat_id, choice=self.conversation.choice.elsewhere(keeps_pin=chat_id is None))
        if chat_id is not None:
            fresh.path = await asyncio.to_thread(self._branch_with, chat_id, message_id)
        self.conversation, self.runner.route = fresh, None
        self.composer.show_editing(False)
        await self.transcript.show(fresh.turns, message_id)
        self.show_choice()
        self.composer.box.focus()

    async def send(self, text: str, wants_picture: bool = False) -> None:
        """Ask what was typed, with its files; raises ``UsageError`` where one cannot be read."""
        prompt = await asyncio.to_thread(attach.split, text)
        files = self.composer.attachments + prompt.attachments
        if not prompt.text.strip() and not files:
            return
        editing = self.conversation.editing
        request = self.conversation.next_request(prompt.text, files, wants_picture)
        self.composer.take(text)
        self.composer.show_editing(False)
        rivals, self.conversation.rivals = self.conversation.rivals, None
        if rivals is not None:
            self.actions.choosing.compare_on(request, rivals, prompt.text, files)
            return
        self.start(Asked(request, prompt.text, files, editing is not None, editing))

    def start(self, asked: Asked) -> None:
        """Run a turn."""
        self.runner.expect()
        self.run_worker(self._take(asked), group="turn", exclusive=True)

    async def _take(self, asked: Asked) -> None:
        await self.runner.run(asked, self.conversation)
        if self.is_attached:
            self.quote()

    def on_composer_edited(self) -> None:
        """The prompt is another now."""
        self.quote()

    async def on_composer_sent(self, event: Composer.Sent) -> None:
        """Run a command, or ask."""
        text = self.composer.left_of(event.text)
        command = parse(text)
        if self.runner.is_ending:
            self.set_timer(_SOON_S, partial(self.post_message, event))
        elif command is not None:
            self.composer.forget(text)
            self.composer.take(text, self.composer.attachments)
            await self._try(self.actions.run(*command), text)
            self.composer.put_back()
        elif self.runner.busy:
            self.say("An answer is being written; Esc stops it and keeps the text.")
        else:
            self.composer.forget(text)
            await self._try(self.send(text), text)

    def on_prompt_box_scrolled(self, event: PromptBox.Scrolled) -> None:
        """Home and End in an empty box move the transcript."""
        if event.to_end:
            self.transcript.anchor()
        else:
            self.transcript.action_scroll_home()

    def on_notice_dismissed(self) -> None:
        """What the vault had to tell is not told again."""
        self.run_worker(asyncio.to_thread(self.session.vault.dismiss_notices), group="notices", exit_on_error=False)

    def on_transcript_moved(self) -> None:
        """Say that newer text is out of view while an answer grows."""
        self.query_one(HintLine).show_newer(self.runner.busy and not self.transcript.follows)

    def on_markdown_link_clicked(self, event: Markdown.LinkClicked) -> None:
        """Links are shown, never opened."""
        event.stop()
        self.say(f"Not opened: {safe_line(event.href)}")

    async def action_command(self, name: str) -> None:
        """Run a command by its key or from the palette."""
        await self._try(self.actions.run(name, ""))

    def action_stop(self) -> None:
        """Close the list; else stop, then kill; else leave editing."""
        if self.composer.close_menu():
            return
        if self.runner.busy:
            self.runner.stop()
        elif self.conversation.editing is not None:
            self.conversation.editing = None
            self.composer.put("")
            self.composer.show_editing(False)
        elif not self.composer.put_back(over_command=True) and not self.query_one(Notice).dismiss():
            self.clear_selection()
            self.composer.box.focus()

    async def action_interrupt(self) -> None:
        """Copy the selection, else stop, else say how to quit."""
        selected = self.composer.box.selected_text or self.get_selected_text()
        if selected:
            await self.actions.copy_text(selected)
        elif self.runner.busy:
            self.runner.stop()
        else:
            self.say("Press Ctrl+Q to quit.")

    def action_page(self, direction: int) -> None:
        """Scroll the transcript, wherever the cursor is."""
        if direction < 0:
            self.transcript.action_page_up()
        else:
            self.transcript.action_page_down()

    async def action_branch(self, step: int) -> None:
        """Show the version before or after, at the newest turn that has several."""
        if self.runner.busy or self.conversation.chat_id is None:
            return
        versions = [turn.branching for turn in self.conversation.turns if turn.branching is not None]
        target = beside(versions[-1], step) if versions else None
        if target is None:
            return
        store, chat_id = self.session.store, self.conversation.chat_id
        tip = await asyncio.to_thread(store.newest_below, chat_id, target)
        self.conversation.goes_to(await asyncio.to_thread(store.path, chat_id, tip))
        await self.transcript.show(self.conversation.turns)

    async def _try(self, action: Awaitable[None], text: str = "") -> None:
        """Await a command or a prompt; a refusal is one calm line and puts the text back."""
        try:
            await action
        except NanolocalError as error:
            if text and not self.composer.box.text:
                self.composer.put(text, self.composer.attachments)
            await self.transcript.show_notice(error_text(error))

    def _branch_with(self, chat_id: str, message_id: str | None) -> tuple[StoredMessage, ...]:
        """The newest branch, or where it lacks the message, the newest one that has it."""
        store = self.session.store
        newest = tuple(store.path(chat_id))
        if not message_id or message_id in {stored.id for stored in newest}:
            return newest
        return tuple(store.path(chat_id, store.newest_below(chat_id, message_id)))

    async def _look_up(self) -> None:
        builds = await asyncio.to_thread(self.session.library.builds)
        self._names = {build.id: build_name(build) for build in builds}
        balance = await asyncio.to_thread(self.session.ledger.balance)
        if self.is_attached:
            self.status_line.status = replace(self.status_line.status, balance_micro=balance)

    def _name_of(self, build_id: str | None) -> str:
        return self._names.get(build_id or "", safe_line(build_id or "unknown build"))
