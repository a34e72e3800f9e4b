"""``nanolocal models bench --quality``: builds sit exams, and the router learns what they can do here."""

import argparse
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nanolocal.cli import output
from nanolocal.cli.common import wants_json
from nanolocal.errors import EngineFailed, NoBuildFits, UsageError

if TYPE_CHECKING:
    import asyncio

    from nanolocal.bootstrap import Session
    from nanolocal.chat.routes import Build, Route
    from nanolocal.routing.exams.paper import Exam

USUAL_ITEMS = 20
_HEADER = ("TASK", "RIGHT", "OF", "EXPECTED BEFORE", "NOW")


@dataclass(frozen=True, slots=True)
class _Result:
    """How a build did at a task, and what was and is expected of it there (0 to 1)."""

    build_id: str
    task: str
    right: int
    tries: int
    before: float
    after: float


def of_tasks(tasks: Sequence[str] | None) -> "list[Exam]":
    """The exams of some tasks, coarse or fine, or all of them; raises ``UsageError`` for a task that has none."""
    from nanolocal.routing.exams import paper

    exams = paper.load()
    known = ", ".join(exam.task for exam in exams)
    for task in tasks or ():
        if not any(_is_of(exam.task, task) for exam in exams):
            raise UsageError(f"there is no exam of {task!r}", f"there are: {known}")
    return [exam for exam in exams if tasks is None or any(_is_of(exam.task, task) for task in tasks)]


def _is_of(task: str, wanted: str) -> bool:
    return wanted in (task, task.partition("/")[0])


def chosen(args: argparse.Namespace, session: "Session", *, only_text: bool) -> "list[Build]":
    """The named builds, else all that the router would let run here."""
    from nanolocal.chat.jobs import is_text

    named = [session.library.get(name) for name in args.build]
    for build in named:
        if only_text and not is_text(build):
            raise UsageError(f"{build.id} writes no text, and this is about text", "name another build")
    if named:
        return named
    fitting = [build for build in session.library.builds() if not only_text or is_text(build)]
    return [build for build in fitting if route_of(session, build) is not None]


def route_of(session: "Session", build: "Build") -> "Route | None":
    """What the router decides where it has to take ``build``; nothing where that does not fit this machine."""
    from nanolocal.chat.jobs import is_text
    from nanolocal.chat.messages import Wishes
    from nanolocal.chat.ports import RouteRequest

    try:
        return session.router.pick(RouteRequest("hello", (), 0, Wishes(model=build.id, picture=not is_text(build))))
    except NoBuildFits:
        return None


async def sit_all(
    args: argparse.Namespace, session: "Session", builds: "Sequence[Build]", progress: output.Progress
) -> int:
    """Every exam of ``args.exams`` for each of ``builds``; Ctrl+C ends it and keeps what is finished."""
    import asyncio

    from nanolocal.cli.turns import ended_by_signals

    if not builds:
        raise NoBuildFits("no stored build writes text here", "nanolocal models list")
    stop, end = asyncio.Event(), asyncio.Event()
    sitting = _Sitting(args.exams, args.items or USUAL_ITEMS, len(builds), session, progress)
    results = list[_Result]()
    try:
        with ended_by_signals(stop, end):
            for build in builds:
                results += await sitting.all_of(build, stop)
    finally:
        await session.engines.close()
        progress.clear()
    if wants_json(args):
        output.as_json({"exams": [_result_as_json(result) for result in results], "stopped": stop.is_set()})
    else:
        _show(results, len(builds) > 1)
    if stop.is_set():
        output.note("stopped; finished exams are kept, the one under way is not")
    return 130 if stop.is_set() else 0


class _Sitting:
    """Exams under way: shows how far they are, and keeps each one when it is finished."""

    def __init__(
        self, exams: "Sequence[Exam]", items: int, builds: int, session: "Session", progress: output.Progress
    ) -> None:
        self._exams = exams
        self._items = items
        self._session = session
        self._progress = progress
        self._total = builds * sum(min(items, len(exam.items)) for exam in exams)
        self._done = 0
        self._began = time.monotonic()

    async def all_of(self, build: "Build", stop: "asyncio.Event") -> list[_Result]:
        """Every exam for one build, until ``stop``."""
        route = route_of(self._session, build)
        if route is None:
            raise NoBuildFits(f"{build.id} does not fit this machine", f"nanolocal route --model {build.id} hello")
        results = list[_Result]()
        for exam in self._exams:
            if stop.is_set():
                break
            try:
                result = await self._one(route, exam, stop)
            except EngineFailed as error:
                output.note(f"{build.id}: {error.message}")
                break
            if result is not None:
                results.append(result)
        return results

    async def _one(self, route: "Route", exam: "Exam", stop: "asyncio.Event") -> _Result | None:
        from nanolocal.routing.exams.sitting import sit

        build, items = route.build, exam.items[: self._items]
        before = self._expected(build, exam)
        marks = list[bool]()
        async with aclosing(sit(self._session.engines, route, exam, items, stop)) as answers:
            self._show(build, exam, marks)
            async for is_right in answers:
                marks.append(is_right)
                self._done += 1
                self._show(build, exam, marks)
        if len(marks) < len(items):
            return None
        self._session.experience.keep_exam(build.sha256, exam.task, sum(marks), len(marks))
        return _Result(build.id, exam.task, sum(marks), len(marks), before, self._expected(build, exam))

    def _expected(self, build: "Build", exam: "Exam") -> float:
        """What the router expects of ``build`` at the exam's task now."""
        from nanolocal.routing.quality import expected_quality
        from nanolocal.routing.trust import prior_tries

        tallies = self._session.experience.tallies()
        prior = prior_tries(self._session.library.builds(), tallies)
        return expected_quality(build, exam.task, tallies.get((build.sha256, exam.task)), prior).value

    def _show(self, build: "Build", exam: "Exam", marks: Sequence[bool]) -> None:
        left = ""
        if self._done:
            seconds = (time.monotonic() - self._began) / self._done * (self._total - self._done)
            left = f", {_duration(seconds)} left"
        done = f"question {self._done} of {self._total}{left}"
        self._progress.show(f"{build.id}: {exam.task} {sum(marks)} of {len(marks)} right; {done}")


def _show(results: Sequence[_Result], is_several: bool) -> None:
    rows = [
        (result.task, f"{result.right}", f"{result.tries}", f"{result.before:.2f}", f"{result.after:.2f}")
        for result in results
    ]
    if not rows:
        return
    if is_several:
        output.table([(result.build_id, *row) for result, row in zip(results, rows, strict=True)], ("BUILD", *_HEADER))
    else:
        output.line(results[0].build_id)
        output.table(rows, _HEADER)
    output.line()
    output.line("Expected quality is 0 to 1; the router picks by it. Repeating an exam replaces its result.")


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _result_as_json(result: _Result) -> dict[str, object]:
    return {
        "build": result.build_id,
        "task": result.task,
        "right": result.right,
        "tries": result.tries,
        "expected_before": round(result.before, 4),
        "expected_now": round(result.after, 4),
    }
