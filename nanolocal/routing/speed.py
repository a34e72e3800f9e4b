"""How long an answer would take: measured speeds where there are any, else what the memory can deliver.

What was measured of one build also says how fast another of about its size is: none is thought faster only because it
has not answered yet. Else a token is written by reading every weight once, so memory bandwidth over the bytes of the
build is the most there is; prompts are read several tokens at a time, about five times as fast (measured with a 0.6 B
build on two cores).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nanolocal.chat.routes import Build, Speed
from nanolocal.routing.surroundings import Surroundings

_READ_AS_FAST = 5.0
_LOADED_PER_SECOND = 1e9
_ANSWER_TOKENS = {
    "chat": 200, "chat/short_fact": 60, "chat/smalltalk": 40, "chat/exam": 120, "chat/commonsense": 60,
    "chat/science": 120, "chat/expert": 300, "writing": 500, "writing/rewrite": 200, "summarize": 150, "code": 400,
    "math": 300, "math/arithmetic": 60, "translate": 120, "extract": 60, "data": 300, "roleplay": 200,
    "multilingual": 120, "image_gen": 200, "image_edit": 200,
}  # fmt: skip
"""How long answers to a task usually are; for pictures, what the work compares with."""
_USUAL_TOKENS = 200
_NOT_MEASURED = Speed()
_ABOUT = 4.0
"""At most so many times the size, or the same part of it, is about the size."""

Measured = Sequence[tuple[int, Speed]]
"""Bytes and speed of builds that have answered here."""


class Wait(NamedTuple):
    """Seconds to load a build, to read what is new of the prompt, and to write the answer."""

    load_s: float
    read_s: float
    write_s: float


def answer_tokens(task: str) -> int:
    """How long an answer to ``task`` usually is."""
    return _ANSWER_TOKENS.get(task, _ANSWER_TOKENS.get(task.partition("/")[0], _USUAL_TOKENS))


def measured(builds: Iterable[Build], around: Surroundings) -> Measured:
    """Those of ``builds`` whose speed is known."""
    known = ((build.size_bytes, around.speeds.get(build.sha256, _NOT_MEASURED)) for build in builds)
    return [(size, speed) for size, speed in known if size and speed.write_tok_s]


def wait_for(
    build: Build, around: Surroundings, others: Measured, new_tokens: int, all_tokens: int, answer: int
) -> Wait:
    """How long an ``answer`` of so many tokens takes; a resident build has read all but ``new_tokens`` before."""
    is_resident = build.id in around.resident
    known = around.speeds.get(build.sha256, _NOT_MEASURED)
    size = max(build.size_bytes, 1)
    alike = _of_size(size, others)
    write_speed = known.write_tok_s or alike.write_tok_s or around.bandwidth / size
    read_speed = known.read_tok_s or alike.read_tok_s or write_speed * _READ_AS_FAST
    load_s = 0.0 if is_resident else known.load_s or alike.load_s or size / _LOADED_PER_SECOND
    return Wait(load_s, (new_tokens if is_resident else all_tokens) / read_speed, answer / write_speed)


def _of_size(size: int, others: Measured) -> Speed:
    """How fast a build of ``size`` bytes is, by the one of ``others`` nearest in size, if that is about its size."""
    near = min(others, key=lambda one: max(size, one[0]) / min(size, one[0]), default=None)
    if near is None or not size / _ABOUT <= near[0] <= size * _ABOUT:
        return _NOT_MEASURED
    share, speed = near[0] / size, near[1]
    return Speed(speed.load_s / share, speed.read_tok_s * share, speed.write_tok_s * share)
