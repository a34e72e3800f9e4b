"""How many bytes of a file the hub sent more than once, and which fault is to blame."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tests.hub.faults import Asked

_NONE = "ended with another connection"


@dataclass(frozen=True, slots=True)
class Blame:
    """A fault, and what was fetched again because of it."""

    what: str
    again: int


def blames(asked: Iterable[Asked], file: str, size: int, chunk_bytes: int, kills: Iterable[int] = ()) -> list[Blame]:
    """Each fault that met ``file``, in order. ``kills`` are numbers of requests before which a client was killed.

    What is fetched again counts for the last fault in its chunk, or the last kill. Where there was neither, another
    connection had met one that ended them all.
    """
    faults, again, had = [_NONE], [0], bytearray(size)
    causes: dict[int, int] = {}
    killed = sorted(kills)
    for number, request in enumerate(asked):
        while killed and killed[0] <= number:
            del killed[0]
            faults.append("kill -9")
            again.append(0)
            causes = dict.fromkeys(range(-(-size // chunk_bytes)), len(faults) - 1)
        if request.file != file:
            continue
        found = re.match(r"bytes=(\d+)", request.range)
        chunk = int(found[1]) // chunk_bytes if found else 0
        if request.fault is not None:
            faults.append(request.fault)
            again.append(0)
        is_elsewhere = request.start // chunk_bytes != chunk  # the whole file in place of a part: to blame itself
        cause = len(faults) - 1 if is_elsewhere and request.fault else causes.get(chunk, 0)
        stop = request.start + request.served
        again[cause] += had.count(1, request.start, stop)
        had[request.start : stop] = b"\1" * request.served
        if request.fault is not None:
            causes[chunk] = len(faults) - 1
    rest = [Blame("kill -9", 0) for _ in killed]
    return [Blame(what, cost) for what, cost in zip(faults, again, strict=True)][0 if again[0] else 1 :] + rest
