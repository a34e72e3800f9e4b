"""A decision as pure data: what is known of each build that could answer, and the rule that picks one of them.

The same function decides and, given the stored record, decides again; so that a record can be checked. What is made
for every build of every decision is a named tuple: made in a quarter of the time that a frozen dataclass takes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nanolocal.errors import Damaged

VERSION = 1
_DIGITS = 4
_ALIKE = 0.01
_AS_QUICK = 1.25
"""Builds of one model are alike where their scores differ by no more than the first, and their seconds by no more than
this factor: by so much a measured speed varies."""


class Weights(NamedTuple):
    """What the score gives for each thing, quality being 0 to 1: waiting for ever costs ``time``, ``patience_s`` half.

    ``price`` is for the whole balance, ``swap`` for each build that has to be loaded, ``stay`` goes to the one that
    is answering in this conversation.
    """

    time: float
    price: float
    swap: float
    stay: float
    patience_s: float


class Candidate(NamedTuple):
    """A build that could answer: its expected quality by task, seconds until the answer is whole, share of the balance.

    ``known`` says where the quality comes from.
    """

    build_id: str
    quality: Mapping[str, float]
    known: str = ""
    load_s: float = 0.0
    read_s: float = 0.0
    write_s: float = 0.0
    price: float = 0.0
    is_resident: bool = False
    is_current: bool = False

    @property
    def seconds(self) -> float:
        """Until the answer is whole."""
        return self.load_s + self.read_s + self.write_s


class Terms(NamedTuple):
    """The score of a build and what it is made of; all but ``quality`` and ``stay`` take away."""

    build_id: str
    quality: float
    time: float
    price: float
    swap: float
    stay: float

    @property
    def score(self) -> float:
        """What decides."""
        return self.quality - self.time - self.price - self.swap + self.stay


class Case(NamedTuple):
    """How likely each task is, what counts how much, and who could answer. Numbers are rounded as they are stored."""

    tasks: Mapping[str, float]
    weights: Weights
    candidates: tuple[Candidate, ...]

    def ranking(self) -> list[Terms]:
        """All of them, the best first; equal ones by id.

        Of builds of one model that score about the same, the finest is first: a measured speed that comes out a little
        otherwise each time must not change who answers.
        """
        terms = [self._terms(candidate) for candidate in self.candidates]
        ranked = sorted(terms, key=lambda each: (-round(each.score, _DIGITS + 2), each.build_id))
        finest = max(self._alike(ranked), key=lambda each: each.quality)
        return [finest, *(each for each in ranked if each is not finest)]

    def _alike(self, ranked: Sequence[Terms]) -> list[Terms]:
        """The first of ``ranked``, and the builds of its model that are as good as it but for what a speed varies."""
        seconds = {candidate.build_id: candidate.seconds for candidate in self.candidates}
        first = ranked[0]
        return [
            each
            for each in ranked
            if are_siblings(each, first)
            and each.score >= first.score - _ALIKE
            and seconds[each.build_id] <= _AS_QUICK * seconds[first.build_id]
        ]

    def _terms(self, candidate: Candidate) -> Terms:
        weights = self.weights
        return Terms(
            build_id=candidate.build_id,
            quality=sum(share * candidate.quality[task] for task, share in self.tasks.items()),
            time=weights.time * candidate.seconds / (candidate.seconds + weights.patience_s),
            price=weights.price * min(1.0, candidate.price),
            swap=0.0 if candidate.is_resident else weights.swap,
            stay=weights.stay if candidate.is_current else 0.0,
        )


def are_siblings(one: Terms, other: Terms) -> bool:
    """Whether they are builds of one model, by the part of their names that says which."""
    return one.build_id.partition(":")[0] == other.build_id.partition(":")[0]


def made_of(tasks: Mapping[str, float], weights: Weights, candidates: Sequence[Candidate]) -> Case:
    """A case of numbers that survive being stored."""
    return Case(_rounded(tasks), weights, tuple(_storable(candidate) for candidate in candidates))


def to_record(case: Case) -> dict[str, object]:
    """The case as JSON."""
    return {
        "version": VERSION,
        "tasks": dict(case.tasks),
        "weights": case.weights._asdict(),
        "candidates": [candidate._asdict() for candidate in case.candidates],
    }


def from_record(record: Mapping[str, Any]) -> Case:
    """The case that was stored; raises ``Damaged`` for what is none."""
    if record.get("version") != VERSION:
        raise Damaged("this decision was stored by another version", "it can be read, not recomputed")
    try:
        candidates = tuple(Candidate(**candidate) for candidate in record["candidates"])
        return Case(dict(record["tasks"]), Weights(**record["weights"]), candidates)
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged("this decision's record does not add up", "nanolocal vault verify") from error


def _storable(candidate: Candidate) -> Candidate:
    return candidate._replace(
        quality=_rounded(candidate.quality),
        load_s=round(candidate.load_s, _DIGITS),
        read_s=round(candidate.read_s, _DIGITS),
        write_s=round(candidate.write_s, _DIGITS),
        price=round(candidate.price, _DIGITS),
    )


def _rounded(shares: Mapping[str, float]) -> dict[str, float]:
    return {task: round(value, _DIGITS) for task, value in shares.items()}
