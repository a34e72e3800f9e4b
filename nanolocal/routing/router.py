"""Gates first, then the best expected quality less the time it costs."""

from collections.abc import Callable, Sequence

from nanolocal.chat.ports import RouteRequest
from nanolocal.chat.routes import Build, Kind, Rejected, Route, RunnerUp, Task
from nanolocal.errors import NoBuildFits, UsageError
from nanolocal.routing.gates import Demand, context_for, demand_of, gate_of
from nanolocal.routing.quality import expected_quality
from nanolocal.routing.tasks import Guess, guess_task

_PATIENCE = {"quality": 0.05, "balanced": 0.15, "fast": 0.40, "cheap": 0.40}
"""How much of the score a slow answer can cost, per preference."""
_REFERENCE_SECONDS = 20.0
"""An answer that takes this long costs half of that."""
_ANSWER_TOKENS = 200
_BYTES_PER_SECOND = 20e9
"""Memory bandwidth that a plain laptop reaches; decoding reads every weight once per token."""
_STAY_BONUS = 0.05
"""Changing builds inside a conversation has to be worth a load and reading everything again."""
_SHOWN_RUNNERS_UP = 3

_WORDS = {Task.IMAGE_GEN: "a picture", Task.IMAGE_EDIT: "changing a picture"}
IMAGE_TASKS = (Task.IMAGE_GEN, Task.IMAGE_EDIT)


class RuleRouter:
    """Picks among ``builds()`` under ``memory_budget`` bytes; the same input gives the same pick.

    ``prefer`` is what the user weighs most where a request does not say.
    """

    def __init__(self, builds: Callable[[], Sequence[Build]], memory_budget: int, prefer: str = "balanced") -> None:
        self._builds = builds
        self._memory_budget = memory_budget
        self._prefer = prefer

    def pick(self, request: RouteRequest) -> Route:
        """Decide which build answers; raises ``NoBuildFits``, or ``UsageError`` for an unknown name."""
        guess = self._guess(request)
        kind = Kind.IMAGE if guess.task in IMAGE_TASKS else Kind.TEXT
        demand = demand_of(request, kind, self._memory_budget)
        candidates = self._wanted(request)
        rejected = [r for build in candidates if (r := gate_of(build, demand, context_for(build, request)))]
        out = {item.build_id for item in rejected}
        fitting = [build for build in candidates if build.id not in out]
        if not fitting:
            raise _no_build(guess, kind, rejected, demand)
        return self._decide(request, guess, fitting, rejected)

    def _guess(self, request: RouteRequest) -> Guess:
        if request.wishes.picture:
            return Guess(Task.IMAGE_GEN, 1.0, "asked for")
        return guess_task(request.prompt)

    def _wanted(self, request: RouteRequest) -> Sequence[Build]:
        builds = self._builds()
        wanted = request.wishes.model
        if wanted is None or wanted in ("", "auto"):
            return builds
        named = [build for build in builds if build.answers_to(wanted)]
        if not named:
            known = ", ".join(build.id for build in builds) or "none"
            raise UsageError(f"no build is called {wanted!r}", f"stored here: {known}")
        return named

    def _decide(
        self, request: RouteRequest, guess: Guess, fitting: Sequence[Build], rejected: Sequence[Rejected]
    ) -> Route:
        scored = sorted(((self._score(build, request, guess), build) for build in fitting), key=_by_score)
        score, build = scored[0]
        return Route(
            task=guess.task,
            build=build,
            n_ctx=context_for(build, request),
            confidence=guess.confidence,
            score=round(score, 4),
            reasons=_reasons(build, request, guess, len(fitting), self._preference(request)),
            runners_up=tuple(
                RunnerUp(other.id, round(points, 4), f"{points:.2f} against {score:.2f}")
                for points, other in scored[1 : 1 + _SHOWN_RUNNERS_UP]
            ),
            rejected=tuple(rejected),
        )

    def _score(self, build: Build, request: RouteRequest, guess: Guess) -> float:
        quality, _ = expected_quality(build, guess.task)
        seconds = _ANSWER_TOKENS * build.size_bytes / _BYTES_PER_SECOND
        patience = _PATIENCE[self._preference(request)]
        stay = _STAY_BONUS if build.id == request.current_build_id else 0.0
        return quality - patience * seconds / (seconds + _REFERENCE_SECONDS) + stay

    def _preference(self, request: RouteRequest) -> str:
        return request.wishes.prefer or self._prefer


def _by_score(item: tuple[float, Build]) -> tuple[float, str]:
    return -item[0], item[1].id


def _reasons(build: Build, request: RouteRequest, guess: Guess, fitting: int, prefer: str) -> tuple[str, ...]:
    quality, is_guessed = expected_quality(build, guess.task)
    reasons = [
        _what_was_asked(guess),
        f"expected quality {quality:.2f}, " + ("guessed from its size" if is_guessed else "from its card"),
    ]
    if request.wishes.model not in (None, "", "auto"):
        reasons.insert(0, "you asked for this build")
    elif fitting == 1:
        reasons.append("the only stored build that can")
    else:
        reasons.append(f"best of {fitting} that fit, preferring {prefer}")
    if build.id == request.current_build_id:
        reasons.append("already answering in this conversation")
    return tuple(reasons)


def _what_was_asked(guess: Guess) -> str:
    if not guess.evidence:
        return f"no special task seen, so {guess.task}"
    return f"{_WORDS.get(guess.task, guess.task)}: {guess.evidence!r}, {guess.confidence:.0%} sure"


def _no_build(guess: Guess, kind: Kind, rejected: Sequence[Rejected], demand: Demand) -> NoBuildFits:
    near = [item for item in rejected if item.gate != "modality"]
    if near:
        hint = f"nanolocal models release {near[0].build_id}" if near[0].gate == "health" else "nanolocal models list"
        return NoBuildFits(f"no stored build fits: {near[0].build_id}: {near[0].reason}", hint)
    if demand.has_picture:
        return NoBuildFits("no stored build can look at pictures", "add a vision model to the models folder")
    noun = "draws pictures" if kind is Kind.IMAGE else "writes text"
    return NoBuildFits(f"no stored build {noun} ({_what_was_asked(guess)})", "nanolocal models list")
