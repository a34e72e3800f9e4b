"""One conversation in plain lines: prompts, and those commands of the table that make sense without a screen."""

import argparse
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import most_credits
from nanolocal.chat.choice import Choice, meant
from nanolocal.chat.commands import COMMANDS, parse
from nanolocal.chat.contests import arrange, can_be_judged, named, signals
from nanolocal.chat.lessons import lessons
from nanolocal.chat.messages import Answer, Role, TurnRequest
from nanolocal.chat.ports import StoredMessage
from nanolocal.chat.routes import Task
from nanolocal.cli import compare, deciding, output, showing
from nanolocal.cli.ask import wishes_of
from nanolocal.cli.common import is_quiet
from nanolocal.cli.turns import receipt, take_turn, tell_remarks
from nanolocal.errors import UsageError

if TYPE_CHECKING:
    from nanolocal.bootstrap import Session

_ENDED = "quit"
_NO = ("n", "no")


class Talk:
    """Takes one line after the other."""

    def __init__(
        self, args: argparse.Namespace, session: "Session", ask: Callable[[str], str] = compare.ask_line
    ) -> None:
        self._session = session
        self._ask_line = ask
        self._tip: str | None = None
        self._rivals: list[str] | None = None
        self._is_quiet = is_quiet(args)
        self._shows: bool = args.show
        self._chat_id: str | None = args.chat
        self._wishes = wishes_of(args, session.library)
        model = self._wishes.model
        pinned = None if model in (None, "", "auto") else model
        self._choice = Choice(pinned=pinned, prefer=self._wishes.prefer, asks=session.settings.confirm_pick)
        self._table: dict[str, Callable[[str], Awaitable[None]]] = {
            "new": self._new,
            "model": self._model,
            "auto": self._auto,
            "once": self._once,
            "image": self._image,
            "compare": self._compare,
            "why": self._why,
            "regenerate": self._regenerate,
            "good": self._good,
            "bad": self._bad,
            "help": self._help,
        }

    async def take(self, line: str) -> bool:
        """Answer a prompt or do what a command says; false where it ends the talk. Raises what a turn raises."""
        command = parse(line)
        if command is None:
            await self._prompt(TurnRequest(line, (), self._wishes, self._chat_id, self._tip))
            return True
        name, words = command
        if name == _ENDED:
            return False
        if name not in self._table:
            raise UsageError(f"there is no command /{name} here", "/help lists those there are.")
        await self._table[name](words)
        return True

    async def _prompt(self, request: TurnRequest) -> None:
        """Answer a prompt, by two builds where a comparison waits for one."""
        names, self._rivals = self._rivals, None
        if names is None:
            await self._ask(request)
        else:
            await self._hold_contest(request, names)

    async def _ask(self, request: TurnRequest) -> None:
        before, choice = self._last(), self._choice
        name = choice.name(for_picture=request.wishes.picture)
        agreed = self._agreed(replace(request, wishes=replace(request.wishes, model=name, prefer=choice.prefer)))
        if agreed is None:
            output.note("nothing was asked")
            return
        output.piece("Assistant: ")
        try:
            progress = output.Progress(is_quiet=True)
            answer = await take_turn(self._session, agreed, progress, say=True, tell=_tell)
            if answer.picture is not None:
                output.piece(f"(a picture; nanolocal chats show {answer.chat_id} --pictures DIR)")
        finally:
            output.line()
        if self._shows:
            showing.show(answer.pictures, self._session.settings)
        choice.once = None
        self._chat_id, self._tip = answer.chat_id or self._chat_id, None
        self._tell(answer)
        is_again, is_switched = request.prompt is None, choice.is_switched
        for message_id, kind in lessons(before, answer, is_again=is_again, is_switched=is_switched).items():
            self._session.experience.learn(message_id, kind)
        choice.answered(answer.route.build)

    def _agreed(self, request: TurnRequest) -> TurnRequest | None:
        """The request as it is to run, once the user has seen who answers where that is wished; ``None`` for no."""
        while self._choice.asks:
            quote = self._session.chat.quote(request)
            reasons = quote.route.reasons
            why = f" ({reasons[0]})" if reasons else ""
            cost = f"at most {most_credits(quote.most_micro)} cr"
            who = "nanolocal itself" if quote.route.is_told else quote.route.build.id
            output.line(f"{who} answers{why}, {cost}{', ' * bool(quote.shortage)}{quote.shortage}")
            typed = self._ask_line("Enter runs it, another build's name lets that one answer, n does not: ")
            if not typed:
                break
            if typed.lower() in _NO:
                return None
            request = named(request, self._resolved(typed))
        return request

    async def _compare(self, words: str) -> None:
        names = [self._resolved(name) for name in words.split()]
        if len(names) not in (0, 2):
            raise UsageError("a comparison takes two builds, or none for the best two", "/compare BUILD BUILD")
        last = self._last()
        if last is None:
            self._rivals = names
            output.note("the next prompt is answered by two builds, unnamed")
            return
        wishes = replace(self._wishes, picture=last.task == Task.IMAGE_GEN)
        await self._hold_contest(TurnRequest(None, (), wishes, self._chat_id, last.parent_id), names)

    async def _hold_contest(self, request: TurnRequest, names: list[str]) -> None:
        """Let two builds answer unnamed, learn which did better, and go on from that."""
        contest = arrange(self._session.chat.quote, request, names)
        lack = "" if contest.can_be_paid else ", more than can be spent"
        output.line(
            f"Two builds answer in turn, both are charged: at most {most_credits(contest.most_micro)} cr{lack}."
        )
        if self._ask_line("Enter runs it, n does not: ").lower() in _NO:
            output.note("nothing was asked")
            return
        answers: list[Answer] = []
        try:
            await compare.play(self._session, contest, answers, output.Progress(is_quiet=True), is_blind=True)
        finally:
            self._chat_id = next((answer.chat_id for answer in answers if answer.chat_id), self._chat_id)
        better = compare.verdict(self._ask_line(compare.WHICH)) if can_be_judged(answers) else None
        for message_id, kind in signals(answers, better).items():
            self._session.experience.learn(message_id, kind)
        for letter, answer in zip("AB", answers, strict=False):
            output.note(f"{letter} was {receipt(answer)}")
        if answers:
            kept = answers[-1 if better is None else better]
            self._tip = kept.message_id
            self._choice.answered(kept.route.build)

    def _tell(self, answer: Answer) -> None:
        tell_remarks(answer, draws="/image PROMPT")
        if answer.problem:
            output.note(f"{answer.problem}; what it said is kept")
        if not self._is_quiet:
            output.note(receipt(answer))

    async def _new(self, words: str) -> None:
        self._chat_id = self._tip = self._rivals = None
        self._choice = self._choice.elsewhere(keeps_pin=True)
        output.note("a new conversation")

    async def _model(self, name: str) -> None:
        if name in ("", "auto"):
            await self._auto("")
            return
        self._choice.pin(self._resolved(name))
        output.note(f"{self._choice.pinned} answers this conversation; /auto lets nanolocal choose")

    async def _once(self, name: str) -> None:
        self._choice.name_once(self._resolved(name))
        output.note(f"{self._choice.once} answers the next prompt")

    async def _auto(self, word: str) -> None:
        output.note(self._choice.take(word))

    async def _image(self, prompt: str) -> None:
        if not prompt:
            raise UsageError("what the picture shows is missing", "/image a red circle")
        wishes = replace(self._wishes, picture=True)
        await self._prompt(TurnRequest(prompt, (), wishes, self._chat_id, self._tip))

    async def _why(self, words: str) -> None:
        record = self._answer().route_json
        if record is None:
            raise UsageError("how this answer was decided is not recorded", "Ask something first.")
        deciding.show(json.loads(record), self._session.reckon)

    async def _regenerate(self, words: str) -> None:
        answer = self._answer()
        wishes = replace(self._wishes, picture=answer.task == Task.IMAGE_GEN)
        await self._ask(TurnRequest(None, (), wishes, self._chat_id, answer.parent_id))

    async def _good(self, note: str) -> None:
        self._rate("good", note)

    async def _bad(self, note: str) -> None:
        self._rate("bad", note)

    def _rate(self, verdict: str, note: str) -> None:
        answer = self._answer()
        takes_back = answer.verdict == verdict and note in ("", answer.note)
        self._session.store.rate(answer.id, None if takes_back else verdict, note)
        output.note("taken back" if takes_back else f"rated {verdict}")

    async def _help(self, words: str) -> None:
        for command in COMMANDS:
            if command.name in self._table or command.name == _ENDED:
                output.line(f"{command.usage:<20} {command.help}")

    def _resolved(self, name: str) -> str:
        """The build that is meant, or a name with an ending that the router knows."""
        build_id = meant(name, self._session.library.builds())
        if build_id is None:
            self._session.check_model(name)
        return build_id or name

    def _last(self) -> StoredMessage | None:
        """The newest answer of the conversation."""
        path = self._session.store.path(self._chat_id, self._tip) if self._chat_id else ()
        return next((stored for stored in reversed(path) if stored.message.role is Role.ASSISTANT), None)

    def _answer(self) -> StoredMessage:
        answer = self._last()
        if answer is None:
            raise UsageError("there is no answer yet", "Ask something first.")
        return answer


def _tell(words: str) -> None:
    """Say something before the answer, whose line has begun."""
    output.line(f"({words})")
    output.piece("Assistant: ")
