"""What is asked before a prompt runs: whether a picture was meant, and, for those who want it, who answers."""

import asyncio
from dataclasses import replace
from typing import Protocol

from textual.app import App

from nanolocal.chat.messages import TurnRequest
from nanolocal.chat.turn import Quote
from nanolocal.tui import lines
from nanolocal.tui.conversation import Conversation
from nanolocal.tui.ports import SessionPort
from nanolocal.tui.screens.question import Question

_DRAW, _WRITE, _RUN, _OTHER = "draw", "write", "run", "other"


class SettleStage(Protocol):
    """The chat screen, as questions are asked on it."""

    session: SessionPort
    conversation: Conversation

    @property
    def app(self) -> App[object]:
        """The running app."""
        ...


class Settler:
    """Asks one question at a time; runs in a worker."""

    def __init__(self, stage: SettleStage) -> None:
        self._stage = stage
        self._open: Question | None = None

    def leave(self) -> None:
        """Take the question back, as Esc would."""
        if self._open is not None and self._open.is_current:
            self._open.dismiss(None)

    async def settle(self, request: TurnRequest) -> TurnRequest | None:
        """What is to run in the end, ``None`` where the user goes back; what cannot be quoted runs into its refusal."""
        quote = await self._quote(request)
        if quote is None:
            return request
        if quote.route.may_be_picture and request.prompt is not None and not request.wishes.picture:
            choice = self._stage.conversation.choice
            wishes = replace(request.wishes, picture=True, model=choice.name(for_picture=True))
            drawing = replace(request, wishes=wishes)
            drawn = await self._quote(drawing)
            answer = _WRITE if drawn is None else await self._ask_whether(drawn, quote, request.prompt)
            if answer is None:
                return None
            if answer == _DRAW and drawn is not None:
                request, quote = drawing, drawn
        return await self._ask_who(request, quote) if self._stage.conversation.choice.asks else request

    async def _ask_whether(self, drawn: Quote, written: Quote, about: str) -> str | None:
        offers = [lines.offer_line("draw", drawn), lines.offer_line("answer", written)]
        keys, hint = {"d": _DRAW, "enter": _WRITE}, "d draws · Enter answers in words · Esc back"
        return await self._ask(Question(["Is it to be drawn, or answered in words?", *offers], keys, hint, about))

    async def _ask_who(self, request: TurnRequest, quote: Quote) -> TurnRequest | None:
        """Offer the pick, then with each Tab the next best, round and round."""
        offers = [(request, quote)]
        others = [other.build_id for other in quote.route.runners_up] or list(filter(None, [quote.route.instead]))
        place = 0
        while True:
            request, quote = offers[place]
            keys = {"enter": _RUN} | ({"tab": _OTHER} if len(offers) > 1 or others else {})
            hint = f"Enter runs{' · Tab other build' if _OTHER in keys.values() else ''} · Esc back"
            answer = await self._ask(Question([lines.pick_line(quote)], keys, hint, request.prompt or ""))
            if answer != _OTHER:
                return request if answer == _RUN else None
            place += 1
            while place == len(offers) and others:
                named = replace(request, wishes=replace(request.wishes, model=others.pop(0)))
                if (other := await self._quote(named)) is not None:
                    offers.append((named, other))
            place %= len(offers)

    async def _ask(self, question: Question) -> str | None:
        self._open = question
        try:
            return await self._stage.app.push_screen_wait(question)
        finally:
            self._open = None

    async def _quote(self, request: TurnRequest) -> Quote | None:
        """Nothing where it fails in whatever way: the turn meets that too, and tells it."""
        try:
            return await asyncio.to_thread(self._stage.session.chat.quote, request)
        except Exception:
            return None
