"""How many bytes of a file a client was given more than once, and which fault is to blame.

Counted is what the client *read*. What the hub wrote before a client that wants no more could close the connection lies
in buffers of the kernel, where no client can keep it from coming; ``unread`` tells it apart. Of a client that was
killed nobody knows how much it read: all that was sent to it counts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.hub.faults import Asked

KILL = "kill -9"
NOTHING = "no fault at all"


@dataclass(frozen=True, slots=True)
class Blame:
    """A fault, what was read again because of it, and what was sent in its answer and never read."""

    what: str
    again: int
    unread: int = 0


@dataclass(slots=True)
class _Cause:
    """A fault that met the request ``number``, or a kill before it."""

    number: int
    what: str
    again: int = 0
    unread: int = 0


def blames(asked: Sequence[Asked], file: str, kills: Iterable[int] = ()) -> list[Blame]:
    """Each fault that met ``file``, and each kill; ``kills`` are numbers of requests before which a client was killed.

    Of all answers that brought a byte, one was kept: the last without a fault, else the last. Any other was read for
    nothing, which is the fault of that answer; if it had none, of the last kill or fault before the byte came again.
    """
    answers = {number: one for number, one in enumerate(asked) if one.file == file}
    own = {n: _Cause(n, one.fault, unread=one.served - one.read) for n, one in answers.items() if one.fault is not None}
    causes = sorted([*own.values(), *(_Cause(number, KILL) for number in kills)], key=lambda cause: cause.number)
    nothing = _Cause(-1, NOTHING)
    ends = sorted({end for one in answers.values() for end in (one.start, one.start + one.read)})
    for start, stop in pairwise(ends):
        brought = [number for number, one in answers.items() if one.start <= start and stop <= one.start + one.read]
        kept = max((number for number in brought if number not in own), default=max(brought, default=None))
        for number in brought:
            if number != kept:
                following = min((later for later in brought if later > number), default=len(asked))
                cause = own.get(number) or _last_before(causes, following) or nothing
                cause.again += stop - start
    found = [*causes, nothing] if nothing.again else causes
    return [Blame(cause.what, cause.again, cause.unread) for cause in found]


def _last_before(causes: Sequence[_Cause], number: int) -> _Cause | None:
    return next((cause for cause in reversed(causes) if cause.number <= number), None)
