"""What the hub does wrong, and when: a plan that is asked once for each request for a file."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """A way to misbehave."""

    DISCONNECT = "disconnect"
    RESET = "reset"
    WRONG_RANGE = "wrong Content-Range"
    WHOLE = "200 for a part"
    UNSATISFIABLE = "416"
    BUSY = "429"
    UNAVAILABLE = "503"
    FORBIDDEN = "403 of an old link"
    ELSEWHERE = "redirect elsewhere"
    LOOP = "redirect loop"
    DOWNGRADE = "redirect to http"
    DRIP = "slow drip"
    FLIP = "flipped bit in plain http"
    FLIP_BELOW = "flipped bit below TLS"
    TOO_LONG = "too long"
    TOO_SHORT = "too short"
    NEW_ETAG = "changed ETag"


ON_THE_WAY = frozenset({Kind.BUSY, Kind.UNAVAILABLE, Kind.ELSEWHERE, Kind.LOOP})
"""Those that can meet a request that is only led on; the others need a content to spoil."""


@dataclass(frozen=True, slots=True)
class Fault:
    """``after`` so many bytes of the answer, where that means anything. ``says`` is a Retry-After."""

    kind: Kind
    after: int = 0
    says: str = ""


@dataclass
class Asked:
    """A request, and what came of it: ``served`` bytes of the file from ``start`` on.

    One that ``leads_on`` is answered by a redirect if nothing goes wrong. ``delivered`` of the bytes were read by the
    client, where it says so.
    """

    host: str
    method: str
    path: str
    authorization: str
    range: str
    start: int = 0
    status: int = 0
    served: int = 0
    fault: Kind | None = None
    file: str = ""
    leads_on: bool = False
    agent: str = ""
    cookie: str = ""
    encoding: str = ""
    delivered: int | None = None

    @property
    def length(self) -> int:
        """Bytes that were asked for, where the request is for a part."""
        first, _, last = self.range.removeprefix("bytes=").partition("-")
        return int(last) + 1 - int(first)

    @property
    def read(self) -> int:
        """Bytes of the file that the client read; all of them where nobody knows."""
        return self.served if self.delivered is None else min(self.delivered, self.served)


Plan = Callable[[Asked], Fault | None]


def no_faults(asked: Asked) -> Fault | None:
    """A hub that works."""
    return None


class Once:
    """The given faults, one a request, then none."""

    def __init__(self, *faults: Fault) -> None:
        self.left = list(faults)

    def __call__(self, asked: Asked) -> Fault | None:
        return self.left.pop(0) if self.left else None


class Seeded:
    """Faults at random, of each kind as many as ``wanted`` says; ``share`` of the requests meet one."""

    def __init__(self, chance: random.Random, wanted: Mapping[Kind, int], share: float, most_bytes: int) -> None:
        self.met: Counter[Kind] = Counter()
        self._chance = chance
        self._left = Counter(dict(wanted))
        self._share = share
        self._most_bytes = most_bytes

    def __call__(self, asked: Asked) -> Fault | None:
        kinds = [kind for kind in Kind if self._left[kind] and (kind in ON_THE_WAY or not asked.leads_on)]
        if not kinds or self._chance.random() >= self._share:
            return None
        (kind,) = self._chance.sample(kinds, 1, counts=[self._left[kind] for kind in kinds])
        self._left[kind] -= 1
        self.met[kind] += 1
        says = self._chance.choice(("0", "1", "Thu, 01 Jan 1970 00:00:00 GMT", "", "soon"))
        return Fault(kind, self._chance.randrange(self._most_bytes), says)
