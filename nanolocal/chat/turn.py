"""One turn, the path that every face uses: route, hold, store, run, commit.

Send, regenerate, edit, retry and compare are this path with other arguments. Whatever happens in the middle (a stop, a
dead engine, a closed face) ends in one of two ways: before the first token the hold is voided and nothing is charged;
after it, what was delivered is stored and charged in one transaction. If the whole program dies, the next start does so
with the draft of the answer that is kept every few seconds.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import astuple, dataclass, field, replace

from nanolocal.chat import helping, jobs, ports, remarks
from nanolocal.chat.amounts import format_credits
from nanolocal.chat.decisions import was_pinned, was_told
from nanolocal.chat.events import (
    ContextDropped,
    CostSoFar,
    Embedded,
    EngineDone,
    EngineEvent,
    Event,
    Finished,
    FirstUse,
    Held,
    ImageStep,
    Loading,
    MadeDo,
    NotRead,
    PictureDrawn,
    Reading,
    ReasoningDelta,
    RouteChosen,
    SourceFound,
    TextDelta,
    TokenChosen,
    ToolCalled,
)
from nanolocal.chat.messages import (
    Answer,
    Attachment,
    Message,
    Role,
    Source,
    Stopped,
    Timing,
    TokenOdds,
    ToolCall,
    TurnRequest,
    Usage,
    Wishes,
)
from nanolocal.chat.ports import (
    Engines,
    Helpers,
    Hold,
    ImageJob,
    Ledger,
    PriceCard,
    Router,
    RouteRequest,
    Store,
    StoredMessage,
    TextJob,
)
from nanolocal.chat.routes import Route, Task
from nanolocal.chat.tried import Tried
from nanolocal.errors import Damaged, EngineFailed, OutOfCredit, UsageError
from nanolocal.safetext import safe_line

_TITLE_LENGTH = 60
_DRAFT_EVERY_S = 2.0
_LOOKED_BACK = 3
_NEW_CHAT = "new"
_CUT_OFF = "nanolocal ended while it was answering"
_NOTHING = Usage()


@dataclass(slots=True)
class _Delivery:
    """What the engine has delivered so far, and since when its energy is measured."""

    energy: ports.Metering
    pieces: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    tool_calls: list[ToolCall] = field(default_factory=list)
    token_odds: list[TokenOdds] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    timing: Timing = field(default_factory=Timing)
    pictures: tuple[Attachment, ...] = ()
    stopped: Stopped = Stopped.USER
    dropped_tokens: int = 0
    remarks: list[str] = field(default_factory=list)
    problem: str | None = None
    licence: str = ""
    guess_gain: float = 0.0
    sources: list[Source] = field(default_factory=list)
    earlier: Usage = field(default_factory=Usage)

    @property
    def is_empty(self) -> bool:
        said = any(self.pieces) or any(self.reasoning) or bool(self.tool_calls)
        return not said and not self.pictures and not self.usage.pixel_steps

    @property
    def used(self) -> Usage:
        """What this and earlier rounds of tool calls used."""
        if self.earlier == _NOTHING:
            return self.usage
        return Usage(*(sum(each) for each in zip(astuple(self.earlier), astuple(self.usage), strict=True)))

    def begin_round(self) -> None:
        """The model goes on after tool calls: what it used so far stays counted."""
        self.earlier, self.usage = self.used, Usage()

    def take(self, event: EngineEvent) -> None:
        match event:
            case FirstUse(_, licence):
                self.licence = licence
            case MadeDo(what):
                self.remarks.append(what)
            case Loading(_, fraction) if fraction >= 1.0:
                self.usage = replace(self.usage, loads=1)
            case Reading(_, total, cached):
                self.usage = replace(self.usage, prompt_tokens=total, cached_tokens=cached)
            case TextDelta(text, tokens):
                self.pieces.append(text)
                self._count(tokens)
            case ReasoningDelta(text, tokens):
                self.reasoning.append(text)
                self._count(tokens)
            case PictureDrawn(picture, pixel_steps, is_preview):
                self.pictures += (picture,)
                self.usage = replace(self.usage, pixel_steps=pixel_steps)
                self.remarks += [remarks.PREVIEW_KEPT] * is_preview
            case ToolCalled(call):
                self.tool_calls.append(call)
            case TokenChosen(token):
                self.token_odds.append(token)
            case ContextDropped(messages, tokens):
                self.dropped_tokens = tokens
                self.remarks.append(remarks.left_out(tokens, messages) if messages else remarks.cut_off(tokens))
            case EngineDone(usage, timing, stopped, pictures):
                self.guess_gain = event.guess_gain
                self.usage = replace(usage, loads=self.usage.loads)
                self.timing, self.stopped, self.pictures = timing, stopped, pictures
                self._tell_of_end()

    def _tell_of_end(self) -> None:
        if any(self.reasoning) and not any(self.pieces) and self.stopped is Stopped.LENGTH:
            self.remarks.append(remarks.ONLY_THOUGHT)

    def _count(self, tokens: int) -> None:
        self.usage = replace(self.usage, completion_tokens=self.usage.completion_tokens + tokens)


@dataclass(frozen=True, slots=True)
class _Plan:
    """A turn that may begin: everything decided, the price reserved, the prompt stored."""

    route: Route
    job: TextJob | ImageJob
    card: PriceCard
    hold: Hold
    chat_id: str | None
    prompt_id: str | None
    not_read: tuple[str, ...]
    source: Source | None = None
    calls_ours: bool = False

    def cost_so_far(self, usage: Usage) -> int:
        """What that usage is charged."""
        return min(self.card.cost(usage), self.hold.amount_micro)


@dataclass(frozen=True, slots=True)
class Quote:
    """What a prompt would cost at the most, in micro-credits, which build would answer it, and what can be spent.

    ``room_micro`` is what the balance and every budget leave for it.
    """

    route: Route
    most_micro: int
    balance_micro: int
    room_micro: int

    @property
    def shortage(self) -> str:
        """Why it would be refused, if it would."""
        if self.most_micro <= self.room_micro:
            return ""
        return "more than the balance" if self.most_micro > self.balance_micro else "more than a budget leaves"


class Chat:
    """Takes turns. ``meter`` tells the energy that an answer took, ``helpers`` answer what needs no model.

    With ``keeps_previews`` a picture that is stopped leaves its preview, unless the wishes say otherwise.
    """

    def __init__(
        self,
        router: Router,
        store: Store,
        ledger: Ledger,
        engines: Engines,
        meter: ports.Meter,
        *,
        helpers: Helpers | None = None,
        keeps_previews: bool = False,
    ) -> None:
        self._router = router
        self._store = store
        self._ledger = ledger
        self._engines = engines
        self._meter = meter
        self._helpers = helpers
        self._keeps_previews = keeps_previews

    async def turn(self, request: TurnRequest, stop: asyncio.Event) -> AsyncGenerator[Event]:
        """Answer one prompt as a stream of events that ends with ``Finished``.

        Setting ``stop`` ends the answer early and keeps what was delivered. Raises ``UsageError``, ``NoBuildFits``,
        ``OutOfCredit`` or ``EngineFailed``; then nothing was charged. A build that nobody asked for by name and that
        cannot be loaded gives way to the next one, twice at the most: each ``RouteChosen`` begins anew.
        """
        path, prompt, found = await asyncio.to_thread(self._understand, request)
        tried = Tried()
        plan: _Plan | None = None
        while True:
            route, energy = await asyncio.to_thread(self._decide, request, path, prompt, tried)
            route, source = helping.decided(route, found, request.wishes)
            yield RouteChosen(route)
            # Not in a thread, here and below: a cancelled task would leave the thread to reserve or charge on its own.
            plan = self._begin(request, path, prompt, route, plan, source)
            delivery = _Delivery(energy, remarks=[*tried.remarks(), *filter(None, (found.problem,)), *plan.not_read])
            answer: Answer | None = None
            try:
                yield Held(plan.hold.amount_micro, self._ledger.balance(), plan.chat_id, plan.prompt_id)
                for what in plan.not_read:
                    yield NotRead(what)
                if source is not None:
                    delivery.sources.append(source)
                    yield SourceFound(source)
                async with aclosing(self._played(plan, delivery, stop)) as events:
                    async for event in events:
                        yield event
                answer = self._finish(plan, delivery)
            except EngineFailed as error:
                if stop.is_set() or not tried.may_go_on(route, error):
                    raise
            finally:
                if answer is None:
                    self._finish(plan, delivery)
            if answer is not None:
                yield Finished(answer)
                return

    def quote(self, request: TurnRequest) -> Quote:
        """What a turn would reserve, without taking it. Raises ``UsageError`` or ``NoBuildFits``; may block."""
        path, prompt = self._read(request)
        route = self._route(request, path, prompt, Tried())
        route, source = helping.decided(route, self._find(request, path, prompt), request.wishes)
        job, _ = self._job(request, path, prompt, route, source)
        card = self._ledger.shown_price(route.build)
        chat_id = request.chat_id or _NEW_CHAT if request.wishes.store else None
        room = self._ledger.room(route.build, chat_id=chat_id, key=request.wishes.key)
        return Quote(route, _most(card, job, route, request.wishes), self._ledger.balance(), room)

    def _understand(self, request: TurnRequest) -> tuple[tuple[StoredMessage, ...], Message, helping.Help]:
        """The messages before the prompt, the prompt, and what the program itself knows of it."""
        path, prompt = self._read(request)
        return path, prompt, self._find(request, path, prompt)

    def _decide(
        self, request: TurnRequest, path: tuple[StoredMessage, ...], prompt: Message, tried: Tried
    ) -> tuple[Route, ports.Metering]:
        """Who answers; from then on energy is measured."""
        return self._route(request, path, prompt, tried), self._meter.start()

    def _find(self, request: TurnRequest, path: tuple[StoredMessage, ...], prompt: Message) -> helping.Help:
        """What the program itself knows of the prompt."""
        return helping.found(self._helpers, prompt, request.wishes, [stored.message.text for stored in path])

    def _read(self, request: TurnRequest) -> tuple[tuple[StoredMessage, ...], Message]:
        """The messages before the prompt, and the prompt; a regenerated prompt is the last message of its path."""
        if request.prompt is None:
            if request.chat_id is None or request.parent_id is None:
                raise UsageError("there is no prompt to answer again", "send one first")
            path = tuple(self._store.path(request.chat_id, request.parent_id))
            if path[-1].damaged:
                names = safe_line(", ".join(path[-1].damaged))
                raise Damaged(f"{names} of this prompt can no longer be read", "send the prompt anew, with the file")
            return path[:-1], path[-1].message
        prompt = Message(Role.USER, request.prompt.strip(), request.attachments)
        if not prompt.text and not prompt.attachments:
            raise UsageError("the prompt is empty", "type something to ask")
        if request.chat_id is None or request.parent_id == "":
            return (), prompt
        return tuple(self._store.path(request.chat_id, request.parent_id)), prompt

    def _route(self, request: TurnRequest, path: tuple[StoredMessage, ...], prompt: Message, tried: Tried) -> Route:
        """Decide who answers; once something has failed, who else can, or why the first one could not."""
        answers = [stored for stored in path if stored.build_id]
        said = [stored.message.text for stored in path if stored.message.role is Role.USER]
        asked = RouteRequest(
            prompt=jobs.with_files(prompt).text,
            attachments=prompt.attachments,
            history_bytes=sum(len(stored.message.text.encode("utf-8", "replace")) for stored in path),
            wishes=request.wishes,
            current_build_id=_current([stored for stored in answers if not was_told(stored.route_json)]),
            earlier=tuple(said[-_LOOKED_BACK:]),
            earlier_tasks=tuple(stored.task or "" for stored in answers[-_LOOKED_BACK:]),
            earlier_builds=tuple(stored.build_id or "" for stored in answers[-_LOOKED_BACK:]),
            not_again=tried.builds,
            history_pictures=jobs.pictures_in(path),
            sound_tokens=jobs.sound_tokens_in((*(stored.message for stored in path), prompt)),
            on_picture=jobs.is_on_picture(path),
            on_sound=jobs.is_on_sound(path),
        )
        return tried.route(lambda: self._router.pick(asked))

    def _job(
        self,
        request: TurnRequest,
        path: tuple[StoredMessage, ...],
        prompt: Message,
        route: Route,
        given: Source | None = None,
    ) -> tuple[TextJob | ImageJob, str | None]:
        """What the engine is asked to do, and the system prompt."""
        system = request.wishes.system
        if system is None:
            system = self._store.system_prompt(request.chat_id)
        if jobs.is_text(route.build):
            asked = jobs.conversation(path, system, prompt, route.build)
            if given is not None:
                asked = (*asked[:-1], helping.with_notes(asked[-1], (given,)))
            wishes = request.wishes
            if wishes.own_tools and self._helpers is not None:
                wishes = replace(wishes, tools=self._helpers.offered)
            return jobs.text_job(asked, route, wishes), system
        source = jobs.newest_picture(path, prompt) if route.task == Task.IMAGE_EDIT else None
        job = jobs.image_job(prompt.text, route.build, request.wishes, source)
        keeps = request.wishes.drawing.keep_preview
        return replace(job, keep_preview=self._keeps_previews if keeps is None else keeps), system

    def _begin(
        self,
        request: TurnRequest,
        path: tuple[StoredMessage, ...],
        prompt: Message,
        route: Route,
        before: _Plan | None,
        given: Source | None,
    ) -> _Plan:
        """Reserve the most that the answer can cost and put the prompt on disk, in one transaction.

        After a plan that failed ``before``, the prompt is there already.
        """
        job, system = self._job(request, path, prompt, route, given)
        card, chat_id, prompt_id = self._ledger.price(route.build), request.chat_id, request.parent_id
        if before is not None:
            chat_id, prompt_id = before.chat_id, before.prompt_id
        most, limit = _most(card, job, route, request.wishes), request.wishes.max_credits_micro
        try:
            if limit is not None and most > limit:
                most_words, allowed = format_credits(most), format_credits(limit)
                raise OutOfCredit(
                    f"the answer can cost up to {most_words} credits and --max-credits allows {allowed}",
                    "allow more with --max-credits",
                    limit,
                )
            with self._store.transaction(is_urgent=True) as tx:
                if not request.wishes.store:
                    chat_id = prompt_id = None
                elif chat_id is None and before is None:
                    chat_id = self._store.start_chat(tx, _title(prompt), system)
                hold = self._ledger.hold(tx, route.build, most, chat_id=chat_id, key=request.wishes.key)
                if chat_id is not None and request.prompt is not None and before is None:
                    prompt_id = self._store.add_prompt(tx, chat_id, path[-1].id if path else None, prompt)
        except OutOfCredit as refused:
            raise jobs.with_offer(refused, card, job) from refused
        if isinstance(job, TextJob) and chat_id is not None:
            job = replace(job, chat_id=chat_id)
        return _Plan(
            route,
            job,
            card,
            hold,
            chat_id,
            prompt_id,
            () if route.is_told else jobs.not_read(path, prompt, route.build),
            given,
            request.wishes.own_tools,
        )

    async def _played(self, plan: _Plan, delivery: _Delivery, stop: asyncio.Event) -> AsyncGenerator[Event]:
        """The engine's events, round by round where the model calls our tools; or the source, where that answers."""
        if plan.route.is_told and plan.source is not None:
            told = TextDelta(plan.source.text, 0)
            delivery.take(told)
            delivery.stopped = Stopped.END
            yield told
            return
        for number in range(helping.MOST_ROUNDS + 1):
            called, said = len(delivery.tool_calls), len(delivery.pieces)
            async with aclosing(self._run(plan, delivery, stop)) as events:
                async for event in events:
                    yield event
            calls = delivery.tool_calls[called:]
            goes_on = plan.calls_ours and calls and number < helping.MOST_ROUNDS and delivery.stopped is Stopped.END
            if not goes_on or self._helpers is None or stop.is_set() or not isinstance(plan.job, TextJob):
                return
            results = await asyncio.to_thread(helping.results_of, self._helpers, calls)
            for result in results:
                delivery.sources.append(result)
                yield SourceFound(result)
            plan = replace(plan, job=helping.continued(plan.job, "".join(delivery.pieces[said:]), calls, results))
            delivery.begin_round()

    async def _run(self, plan: _Plan, delivery: _Delivery, stop: asyncio.Event) -> AsyncGenerator[Event]:
        """Stream the engine's events; an engine that dies after its first token ends the stream, not the turn."""
        began = drafted = time.monotonic()
        cost = 0
        try:
            async with aclosing(self._engines.run(plan.route.build, plan.job, stop)) as events:
                async for event in events:
                    delivery.take(event)
                    if isinstance(event, EngineDone | Embedded):
                        continue
                    yield event
                    if (now := plan.cost_so_far(_used(delivery.used, event))) != cost:
                        cost = now
                        yield CostSoFar(cost)
                    if isinstance(event, TextDelta | ReasoningDelta) and time.monotonic() - drafted >= _DRAFT_EVERY_S:
                        self._keep_draft(plan, delivery)
                        drafted = time.monotonic()
        except EngineFailed as error:
            if delivery.is_empty:
                raise
            delivery.stopped, delivery.problem = Stopped.CRASH, error.message
            delivery.timing = Timing(cpu_s=time.monotonic() - began)

    def _keep_draft(self, plan: _Plan, delivery: _Delivery) -> None:
        """A full disk is no reason to end an answer that the user is reading; the commit will tell."""
        if plan.prompt_id is None:
            return
        answer = replace(self._answer(plan, delivery, cost=0), stopped=Stopped.CRASH, problem=_CUT_OFF)
        with suppress(UsageError):
            self._store.keep_draft(plan.prompt_id, answer, plan.hold)

    def _finish(self, plan: _Plan, delivery: _Delivery) -> Answer:
        """Keep and charge what was delivered; when that is nothing, release the hold."""
        if delivery.is_empty:
            self._ledger.void(plan.hold)
            answer, message_id = self._answer(plan, delivery, cost=0), None
        else:
            answer, message_id = self._commit(plan, delivery)
        return replace(answer, balance_micro=self._ledger.balance(), message_id=message_id)

    def _commit(self, plan: _Plan, delivery: _Delivery) -> tuple[Answer, str | None]:
        """Settle and store in one transaction; without a conversation, settle alone."""
        with self._store.transaction() as tx:
            cost = self._ledger.settle(tx, plan.hold, plan.route.build, delivery.used, plan.chat_id)
            answer = self._answer(plan, delivery, cost)
            if plan.chat_id is None or plan.prompt_id is None:
                return answer, None
            return answer, self._store.add_answer(tx, plan.chat_id, plan.prompt_id, answer, plan.hold)

    def _answer(self, plan: _Plan, delivery: _Delivery, cost: int) -> Answer:
        energy = delivery.energy.so_far(delivery.timing.cpu_s)
        return Answer(
            text="".join(delivery.pieces),
            pictures=delivery.pictures,
            route=plan.route,
            usage=delivery.used,
            timing=delivery.timing,
            stopped=delivery.stopped,
            cost_micro=cost,
            balance_micro=0,
            energy_j=round(energy.joules, 3),
            energy_source=energy.source,
            chat_id=plan.chat_id,
            message_id=None,
            dropped_tokens=delivery.dropped_tokens,
            problem=delivery.problem,
            remarks=tuple(delivery.remarks),
            reasoning="".join(delivery.reasoning),
            tool_calls=tuple(delivery.tool_calls),
            token_odds=tuple(delivery.token_odds),
            licence=delivery.licence,
            guess_gain=delivery.guess_gain,
            ingredients=jobs.ingredients(plan.job) if delivery.pictures else (),
            sources=tuple(delivery.sources),
        )


def _current(answers: Sequence[StoredMessage]) -> str | None:
    """The build of a conversation: that of the last answer which nobody chose a build for, if there is one."""
    left_to_us = (answer.build_id for answer in reversed(answers) if not was_pinned(answer.route_json))
    return next(left_to_us, answers[-1].build_id if answers else None)


def _used(usage: Usage, event: EngineEvent) -> Usage:
    """What is used by now: a picture's steps are counted one by one, though only the engine's account charges them."""
    return replace(usage, pixel_steps=event.pixel_steps) if isinstance(event, ImageStep) else usage


def _most(card: PriceCard, job: TextJob | ImageJob, route: Route, wishes: Wishes) -> int:
    """The most that an answer can cost, in micro-credits, all rounds together; nothing where no build runs."""
    if route.is_told:
        return 0
    rounds = helping.MOST_ROUNDS + 1 if wishes.own_tools else 1
    return card.cost(Usage(*(rounds * each for each in astuple(jobs.most_it_can_use(job)))))


def _title(prompt: Message) -> str:
    """How the conversation that begins with ``prompt`` is called."""
    return safe_line(prompt.text)[:_TITLE_LENGTH] or safe_line(prompt.attachments[0].name)[:_TITLE_LENGTH]
