"""Gates first, then the best expected quality less what it costs in time, credit and changes of build.

A decision is made from a ``Case``, which is stored with the answer: whoever has the record can make it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from nanolocal.chat.routes import Build, Kind, Rejected, Route, RunnerUp, Sense, Task
from nanolocal.chat.usage import Usage
from nanolocal.errors import NoBuildFits, UsageError
from nanolocal.routing import case, embedding, explain, preferences
from nanolocal.routing.case import Candidate, Case, Terms
from nanolocal.routing.gates import Demand, context_for, demand_of, gate_of, pictures_of, unpayable
from nanolocal.routing.preferences import Asked
from nanolocal.routing.quality import EVERYTHING, expected_quality
from nanolocal.routing.speed import Measured, answer_tokens, measured, wait_for
from nanolocal.routing.surroundings import Surroundings
from nanolocal.routing.trust import Trust

if TYPE_CHECKING:
    from nanolocal.chat.ports import RouteRequest
    from nanolocal.routing.tasks import Guess

IMAGE_TASKS = (Task.IMAGE_GEN, Task.IMAGE_EDIT)
SURE = 0.3
"""Below this confidence the task is left open, and the best all-round build answers."""
_QUITE_SURE, _AT_ONCE = 0.7, 0.9
_LEAST_SHARE = 0.02
_SHOWN_RUNNERS_UP = 3
_STORED_CANDIDATES = 20
_BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Rules:
    """What the user decided once for all: a preference, and patterns of builds and licences that never answer."""

    prefer: str = "balanced"
    deny: tuple[str, ...] = ()
    deny_licences: tuple[str, ...] = ()


class TaskRouter:
    """Picks among ``builds()`` as things are now in ``around()``; the same input gives the same pick."""

    def __init__(
        self, builds: Callable[[], Sequence[Build]], around: Callable[[], Surroundings], rules: Rules | None = None
    ) -> None:
        self._builds = builds
        self._around = around
        self._rules = rules or Rules()
        self._trust = Trust()

    def pick(self, request: RouteRequest) -> Route:
        """Decide which build answers; raises ``NoBuildFits``, or ``UsageError`` for an unknown name."""
        heard = cache(lambda: _heard(request))  # 15 ms on first use, and as much again for the weights
        return self._pick(request, self._builds(), self._around(), heard)

    def _pick(
        self, request: RouteRequest, builds: Sequence[Build], around: Surroundings, heard: Callable[[], Guess]
    ) -> Route:
        asked = _asked(request.wishes.model, builds)
        candidates = builds if asked.model is None else _named(builds, asked.model)
        guess = _guess(request, () if asked.model is None else candidates, heard)
        kind = Kind.IMAGE if guess.task in IMAGE_TASKS else Kind.TEXT
        is_change = guess.task is Task.IMAGE_EDIT and request.history_pictures > 0
        must_see = guess.looks and not guess.may_be_blind
        demand = demand_of(request, kind, around.memory_budget, of_earlier=is_change or must_see)
        prefer = asked.prefer or request.wishes.prefer or self._rules.prefer
        trust = self._trust.tries(builds, around.tallies)
        turn = _Turn(request, guess, around, prefer, asked.model is not None, trust)
        rejected = [gone for build in candidates if (gone := self._gate(build, turn, demand, asked)) is not None]
        out = {item.build_id for item in rejected}
        fitting = [build for build in candidates if build.id not in out]
        if not fitting:
            raise explain.no_build(guess, kind, rejected, demand)
        wanted = (
            ("look at the picture", guess.looks, Sense.SIGHT),
            ("hear the sound", request.on_sound, Sense.HEARING),
        )
        for what, is_wanted, sense in wanted:
            lacking = _without(fitting, sense, f"it cannot {what}") if is_wanted else {}
            fitting = [build for build in fitting if build.id not in lacking]
            rejected += lacking.values()
        too_dear = unpayable(fitting, around)
        payable = [build for build in fitting if build.id not in too_dear]
        route = self._decide(turn, payable, [*rejected, *too_dear.values()])
        if not turn.is_pinned:
            return route
        free = replace(request, wishes=replace(request.wishes, model=None))
        try:
            return replace(route, instead=self._pick(free, builds, around, heard).build.id)
        except NoBuildFits:
            return route

    def embeds(self, name: str | None) -> Build:
        """The build that makes vectors of texts: the one of that name, or the best; see ``embedding.choose``."""
        builds = self._builds()
        allowed = builds if name is not None else [build for build in builds if self._denied(build) is None]
        return embedding.choose(allowed, self._around().memory_budget, name)

    def check(self, name: str) -> None:
        """Raise ``UsageError`` where ``name`` is no build's, not even with an ending, nor stands for the best one."""
        builds = self._builds()
        asked = _asked(name, builds)
        if asked.model is not None:
            _named(builds, asked.model)

    def _gate(self, build: Build, turn: _Turn, demand: Demand, asked: Asked) -> Rejected | None:
        """The user's own rules, which a build that is asked for by name overrides, then the hard limits."""
        if asked.model is None and (denied := self._denied(build)) is not None:
            return denied
        if build.id in turn.request.not_again:
            return Rejected(build.id, "load", turn.request.not_again[build.id])
        gone = gate_of(build, demand, context_for(build, turn.request))
        if gone is None and asked.thinking and "reasoning" not in build.purposes:
            return Rejected(build.id, "thinking", "it is not known to reason before it answers")
        return gone

    def _denied(self, build: Build) -> Rejected | None:
        for pattern in self._rules.deny:
            if any(fnmatchcase(name.lower(), pattern.lower()) for name in (build.id, build.name, *build.aliases)):
                return Rejected(build.id, "denied", f"your settings deny {pattern}")
        for pattern in self._rules.deny_licences:
            if fnmatchcase(build.licence.lower(), pattern.lower()):
                return Rejected(build.id, "licence", f"your settings deny the licence {build.licence or '(unknown)'}")
        return None

    def _decide(self, turn: _Turn, fitting: Sequence[Build], rejected: Sequence[Rejected]) -> Route:
        decided = turn.case(fitting)
        ranking = decided.ranking()
        by_id = {build.id: build for build in fitting}
        best, build = ranking[0], by_id[ranking[0].build_id]
        return Route(
            task=turn.guess.task,
            build=build,
            n_ctx=context_for(build, turn.request),
            confidence=turn.guess.confidence,
            score=round(best.score, 4),
            reasons=explain.reasons(decided, ranking, turn.guess, turn.prefer, turn.is_pinned),
            runners_up=tuple(_runner_up(decided, terms, best) for terms in ranking[1 : 1 + _SHOWN_RUNNERS_UP]),
            rejected=tuple(rejected),
            subtask=turn.guess.subtask,
            case=case.to_record(_cut(decided, ranking)),
            may_be_picture=turn.guess.may_be_picture,
            is_pinned=turn.is_pinned,
            looks=turn.guess.looks and build.sees,
        )


@dataclass(frozen=True, slots=True)
class _Turn:
    """What one decision is about; ``prior`` is the number of tries that an expectation counts as here."""

    request: RouteRequest
    guess: Guess
    around: Surroundings
    prefer: str
    is_pinned: bool
    prior: float

    @property
    def holds(self) -> bool:
        """Whether the build of this conversation goes on answering: one turn of another task moves nothing.

        A second turn of that task does, and at once what is certain to be code, and whatever its build cannot do; but
        no task changes the build twice, so there are never more changes of build than of task.
        """
        before = [task.partition("/")[0] for task in self.request.earlier_tasks]
        if self.request.current_build_id is None or not before:
            return False
        task, sure = str(self.guess.task), self.guess.confidence
        lasted = next((n for n, other in enumerate(reversed(before)) if other != task), None)
        if lasted is None:
            return True
        builds = self.request.earlier_builds
        if lasted and len(set(builds[-lasted - 1 :])) > 1:
            return True
        if lasted:
            return sure < _QUITE_SURE
        return task != Task.CODE or sure < _AT_ONCE

    def case(self, builds: Sequence[Build]) -> Case:
        """Everything that counts, for each build."""
        tasks = shares(self.guess)
        weights = preferences.weights(self.prefer, self.guess.task, holds=self.holds)
        new = len(self.request.prompt) // _BYTES_PER_TOKEN + 1
        everything = new + self.request.history_bytes // _BYTES_PER_TOKEN
        work = _Work(
            tasks, new, Usage(everything, completion_tokens=answer_tokens(self.guess.subtask or self.guess.task))
        )
        others = measured(builds, self.around)
        return case.made_of(tasks, weights, [self._candidate(build, work, others) for build in builds])

    def _candidate(self, build: Build, work: _Work, others: Measured) -> Candidate:
        around, usage = self.around, work.usage
        expected = {
            task: expected_quality(build, task, around.tallies.get((build.sha256, task)), self.prior)
            for task in work.tasks
        }
        is_current = build.id == self.request.current_build_id
        new = work.new_tokens if is_current else usage.prompt_tokens
        wait = wait_for(build, around, others, new, usage.prompt_tokens, usage.completion_tokens)
        cost = around.cost(build, usage) if around.cost is not None else 0
        return Candidate(
            build_id=build.id,
            quality={task: found.value for task, found in expected.items()},
            known=expected[work.likeliest].known,
            load_s=wait.load_s,
            read_s=wait.read_s,
            write_s=wait.write_s,
            price=cost / max(around.balance, 1) if cost else 0.0,
            is_resident=build.id in around.resident,
            is_current=is_current,
        )


class _Work(NamedTuple):
    """What an answer is expected to take, whoever gives it; ``new_tokens`` are those of the prompt alone."""

    tasks: Mapping[str, float]
    new_tokens: int
    usage: Usage

    @property
    def likeliest(self) -> str:
        """The task that counts most."""
        return max(self.tasks, key=self.tasks.__getitem__)


def shares(guess: Guess) -> dict[str, float]:
    """How much each task counts: as likely as it is, with a rest for everything; all of it when nobody knows."""
    if guess.confidence < SURE:
        return {EVERYTHING: 1.0}
    likely = {task: p for task, p in guess.probabilities.items() if p >= _LEAST_SHARE}
    return likely | {EVERYTHING: max(1.0 - sum(likely.values()), 0.0)}


def _guess(request: RouteRequest, named: Sequence[Build], heard: Callable[[], Guess]) -> Guess:
    """What is asked for; builds that were asked for by name do what they can, whatever the words sound like."""
    from nanolocal.routing.tasks import Guess

    draws = {build.kind is Kind.IMAGE for build in named}
    guess = heard()
    if request.wishes.picture or draws == {True}:
        is_change = pictures_of(request) > 0 or (guess.task is Task.IMAGE_EDIT and request.history_pictures > 0)
        task = Task.IMAGE_EDIT if is_change else Task.IMAGE_GEN
        return Guess(task, 1.0, "asked for", probabilities={task: 1.0})
    if draws == {False} and guess.task in IMAGE_TASKS:
        return Guess(Task.CHAT, 1.0 - guess.confidence, guess.evidence)
    return replace(guess, may_be_blind=True) if named else guess


def _heard(request: RouteRequest) -> Guess:
    """What the classifier makes of the prompt, and beside a picture the rules for that."""
    from nanolocal.routing import sight
    from nanolocal.routing.tasks import guess_task

    near = sight.Near.NOWHERE
    if pictures_of(request):
        near = sight.Near.ATTACHED
    elif request.on_picture:
        near = sight.Near.TOPIC
    elif request.history_pictures:
        near = sight.Near.EARLIER
    if near is sight.Near.NOWHERE:
        return guess_task(request.prompt, request.earlier)
    return sight.guessed(request.prompt, near, request.earlier)


def _without(fitting: Sequence[Build], sense: Sense, why: str) -> dict[str, Rejected]:
    """Those that cannot take in what the prompt is about, by id; none where that would leave nobody."""
    lacking = {build.id: Rejected(build.id, "modality", why) for build in fitting if not build.has(sense)}
    return lacking if len(lacking) < len(fitting) else {}


def _asked(name: str | None, builds: Sequence[Build]) -> Asked:
    """What the name means; one that a build really has is that build, whatever its ending says elsewhere."""
    if name and any(build.answers_to(name) for build in builds):
        return Asked(name)
    return preferences.asked(name)


def _named(builds: Sequence[Build], wanted: str) -> Sequence[Build]:
    named = [build for build in builds if build.answers_to(wanted)]
    if not named:
        known = ", ".join(build.id for build in builds) or "none"
        raise UsageError(f"no build is called {wanted!r}", f"stored here: {known}")
    return named


def _runner_up(decided: Case, terms: Terms, best: Terms) -> RunnerUp:
    return RunnerUp(terms.build_id, round(terms.score, 4), explain.terms(decided, terms, best))


def _cut(decided: Case, ranking: Sequence[Terms]) -> Case:
    """The case with those that came out on top, which is all that its pick depends on."""
    kept = {terms.build_id for terms in ranking[:_STORED_CANDIDATES]}
    return Case(decided.tasks, decided.weights, tuple(each for each in decided.candidates if each.build_id in kept))
