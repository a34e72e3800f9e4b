"""A recorded decision: how it is written down, and how it is told. Every face shows the same words."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

from nanolocal.chat.routes import Route, in_words
from nanolocal.errors import Damaged

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Weighed:
    """A build as it was weighed: its score is ``quality - time - price - swap + stay``.

    ``known`` says where the quality comes from; the seconds are those to load, to read the prompt and to write.
    """

    build_id: str
    score: float
    quality: float
    known: str
    load_s: float
    read_s: float
    write_s: float
    time: float
    price: float
    swap: float
    stay: float


Reckon = Callable[[Mapping[str, object]], tuple[Weighed, ...]]
"""Decides once more from a stored case: every build of it, the best first. Raises ``Damaged`` for what is none."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an explanation: the name and the figure stand out, a detail belongs to the line above.

    Not yet safe to draw.
    """

    text: str = ""
    name: str = ""
    figure: str = ""
    is_detail: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Lines under a heading."""

    title: str
    lines: tuple[Line, ...]


def as_record(route: Route) -> dict[str, object]:
    """The decision as JSON: task, build, why, who else, and the case that gives the same pick when recomputed."""
    return {
        "task": route.task,
        "subtask": route.subtask,
        "build": route.build.id,
        "sha256": route.build.sha256,
        "model": route.build.name,
        "n_ctx": route.n_ctx,
        "confidence": route.confidence,
        "score": route.score,
        "reasons": list(route.reasons),
        "runners_up": [asdict(other) for other in route.runners_up],
        "rejected": [asdict(other) for other in route.rejected],
        "instead": route.instead,
        "looks": route.looks,
        **({"is_told": True} if route.is_told else {}),
        "case": dict(route.case),
    }


def was_pinned(stored: str | None) -> bool:
    """Whether the user had chosen the build of an answer with that record."""
    return _is_set(stored, "instead")


def was_look(stored: str | None) -> bool:
    """Whether an answer with that record told of a picture before its prompt."""
    return _is_set(stored, "looks")


def was_told(stored: str | None) -> bool:
    """Whether the program itself gave an answer with that record, and no build ran."""
    return _is_set(stored, "is_told")


def _is_set(stored: str | None, name: str) -> bool:
    try:
        record = json.loads(stored or "{}")
    except ValueError:
        return False
    return isinstance(record, dict) and bool(record.get(name))


def explained(record: Mapping[str, object], reckon: Reckon, verb: str = "answered") -> list[Section]:
    """Why that build answered, who came next and who could not. A record of an older version has no figures."""
    reasons = [Line(str(reason)) for reason in _listed(record.get("reasons"))]
    if record.get("instead"):
        reasons.append(Line(f"left to itself, nanolocal would have picked {record['instead']}"))
    sections = [Section(_headline(record, verb), tuple(reasons)), *_weighing(record, reckon)]
    rejected = tuple(
        Line(str(item.get("reason", "")), str(item.get("build_id", "?")), str(item.get("gate", "")))
        for item in _mappings(record.get("rejected"))
    )
    return [*sections, Section("Could not answer", rejected)] if rejected else sections


def _headline(record: Mapping[str, object], verb: str) -> str:
    if record.get("is_told"):
        return f"nanolocal itself {verb}"
    name = str(record.get("model") or record.get("build") or "?")
    confidence = record.get("confidence")
    sure = f", {confidence:.0%} sure" if isinstance(confidence, float | int) else ""
    return f"{name} {verb} as {in_words(str(record.get('subtask') or record.get('task', '')))}{sure}"


def _weighing(record: Mapping[str, object], reckon: Reckon) -> Iterable[Section]:
    """The best by their terms, worked out anew; where that cannot be done, the runners-up as they were stored."""
    case = record.get("case")
    if isinstance(case, Mapping) and case:
        try:
            ranking = reckon(case)
        except Damaged as problem:
            yield from _runners_up(record)
            yield Section("It cannot be worked out anew", (Line(problem.message),))
            return
        terms = (line for each in ranking[:_SHOWN] for line in _terms(each))
        yield Section("The best, term by term", (*terms, Line(_verdict(record, ranking))))
    else:
        yield from _runners_up(record)


def _runners_up(record: Mapping[str, object]) -> Iterable[Section]:
    rows = tuple(
        Line(str(item.get("reason", "")), str(item.get("build_id", "?")), _score(item.get("score")))
        for item in _mappings(record.get("runners_up"))
    )
    if rows:
        yield Section("Runners-up", rows)


def _terms(one: Weighed) -> Iterable[Line]:
    seconds = one.load_s + one.read_s + one.write_s
    yield Line(f"quality from {one.known}", one.build_id, _two_places(one.score))
    taken = f"time {one.time:.2f} - price {one.price:.2f} - loading {one.swap:.2f}"
    yield Line(f"quality {one.quality:.2f} - {taken} + staying {one.stay:.2f}", is_detail=True)
    parts = f"{one.load_s:.1f} to load, {one.read_s:.1f} to read, {one.write_s:.1f} to write"
    yield Line(f"{seconds:.1f} s: {parts}", is_detail=True)


def _verdict(record: Mapping[str, object], ranking: tuple[Weighed, ...]) -> str:
    if ranking and ranking[0].build_id == record.get("build"):
        return "worked out anew from this record: the same build"
    other = ranking[0].build_id if ranking else "no build"
    return f"worked out anew from this record: {other}, so it is not the decision that was made"


def _score(value: object) -> str:
    return _two_places(value) if isinstance(value, float | int) else ""


def _two_places(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"


def _listed(value: object) -> Iterable[object]:
    return value if isinstance(value, list | tuple) else ()


def _mappings(value: object) -> Iterable[Mapping[str, object]]:
    return (item for item in _listed(value) if isinstance(item, Mapping))
