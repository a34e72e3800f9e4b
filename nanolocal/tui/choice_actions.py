"""The commands about who answers."""

import asyncio
import json
from collections.abc import Mapping, Sequence

from nanolocal.chat.choice import meant
from nanolocal.chat.contests import arrange
from nanolocal.chat.decisions import as_record
from nanolocal.chat.messages import Attachment, TurnRequest
from nanolocal.errors import NanolocalError, UsageError
from nanolocal.tui import pages
from nanolocal.tui.comparing import Outcome, announcement
from nanolocal.tui.learning import learn
from nanolocal.tui.lines import error_text
from nanolocal.tui.screens.compare import CompareScreen
from nanolocal.tui.screens.models import ModelsScreen
from nanolocal.tui.screens.overlay import Page
from nanolocal.tui.screens.question import Question
from nanolocal.tui.stage import ChatStage

_NO_PAIR = UsageError("a comparison takes two builds, or none for the best two", "/compare BUILD BUILD")


class ChoiceActions:
    """Acting on one chat screen."""

    def __init__(self, stage: ChatStage) -> None:
        self._stage = stage

    async def model(self, name: str) -> None:
        """Pin who answers this conversation; without a name, show the choice."""
        if name:
            await self._pin(name)
            return
        library, choice = self._stage.session.library, self._stage.conversation.choice
        builds = await asyncio.to_thread(library.builds)
        problems = await asyncio.to_thread(library.problems)
        engines = self._stage.session.engines.status()
        self._stage.app.push_screen(ModelsScreen(builds, problems, engines, choice.pinned), self._chosen)

    async def _chosen(self, name: str | None) -> None:
        if name is not None:
            await self._pin(name or "auto")

    async def _pin(self, name: str) -> None:
        if name == "auto":
            await self.auto("")
            return
        self._stage.conversation.choice.pin(await self._resolved(name))
        self._changed()

    async def auto(self, word: str) -> None:
        """Let nanolocal choose, and say to whose liking."""
        self._stage.say(self._stage.conversation.choice.take(word))
        self._changed()

    async def once(self, name: str) -> None:
        """Name who answers the next prompt."""
        self._stage.conversation.choice.name_once(await self._resolved(name))
        self._changed()

    def _changed(self) -> None:
        self._stage.conversation.offer = None
        self._stage.show_choice()

    async def why(self, args: str) -> None:
        """Explain who is answering, or who answered last."""
        last, runner = self._stage.conversation.last, self._stage.runner
        stored = last.answer.route_json if last and last.answer else None
        live = runner.running_route or (None if stored else runner.route)
        record = as_record(live) if live else _record(stored) if stored else None
        page = await asyncio.to_thread(pages.why_page, record, self._stage.session.reckon)
        self._stage.app.push_screen(Page("Why this answer", page))

    async def compare(self, args: str) -> None:
        """Let two builds answer the last prompt, or where there is none, the next one."""
        names = [await self._resolved(name) for name in args.split()]
        if len(names) not in (0, 2):
            raise _NO_PAIR
        conversation = self._stage.conversation
        request = conversation.again_request()
        if request is None:
            conversation.rivals = tuple(names)
            self._stage.say("The next prompt is answered by two builds, unnamed.")
        else:
            self.compare_on(request, names)

    def compare_on(
        self, request: TurnRequest, names: Sequence[str], text: str = "", files: tuple[Attachment, ...] = ()
    ) -> None:
        """Begin a comparison on ``request``; ``text`` and ``files`` go back into the box where nothing comes of it."""
        self._stage.app.run_worker(self._compare(request, names, text, files), group="compare", exclusive=True)

    async def _compare(
        self, request: TurnRequest, names: Sequence[str], text: str, files: tuple[Attachment, ...]
    ) -> None:
        outcome: Outcome | None = None
        try:
            contest = await asyncio.to_thread(arrange, self._stage.session.chat.quote, request, names)
            about = request.prompt or ""
            asked = Question(announcement(contest), {"enter": "run"}, "Enter runs · Esc back", about)
            if await self._stage.app.push_screen_wait(asked) is not None:
                outcome = await self._stage.app.push_screen_wait(CompareScreen(contest, self._stage.runner))
                await self._take_over(outcome)
        except NanolocalError as error:
            await self._stage.transcript.show_notice(error_text(error))
        if request.prompt is not None and (outcome is None or outcome.chat_id is None):
            self._stage.composer.put(text, files)

    async def _take_over(self, outcome: Outcome | None) -> None:
        """Go on with the better answer, and learn which that was."""
        if outcome is None or outcome.chat_id is None or outcome.build is None:
            return
        session, conversation = self._stage.session, self._stage.conversation
        await learn(session.experience, outcome.signals)
        conversation.chat_id = outcome.chat_id
        conversation.choice.answered(outcome.build)
        conversation.goes_to(await asyncio.to_thread(session.store.path, outcome.chat_id, outcome.tip_id))
        await self._stage.transcript.show(conversation.turns)
        self._stage.show_balance(await asyncio.to_thread(session.ledger.balance))

    async def _resolved(self, typed: str) -> str:
        """The name of the one build that is meant, or one with an ending that the router knows."""
        builds = await asyncio.to_thread(self._stage.session.library.builds)
        if (build_id := meant(typed, builds)) is not None:
            return build_id
        if ":" not in typed:
            raise UsageError(f"there is no build {typed}", "Ctrl+T lists them.")
        await asyncio.to_thread(self._stage.session.check_model, typed)
        return typed


def _record(route_json: str) -> Mapping[str, object] | None:
    try:
        stored = json.loads(route_json)
    except ValueError:
        return None
    return stored if isinstance(stored, dict) else None
