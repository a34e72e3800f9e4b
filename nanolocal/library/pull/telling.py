"""How a whole pull goes, and that in one line."""

from collections.abc import Sequence

from nanolocal.chat.amounts import format_bytes
from nanolocal.library.pull.plan import Fetched, Progress, Stage, Tell, Wanted

_WIDEST_NAME = 34
_WORDS = {
    Stage.CHECKING: "checking", Stage.REPAIRING: "repairing", Stage.PAUSED: "paused", Stage.WAITING: "waiting",
}  # fmt: skip


class Overall:
    """Adds up the progress of the files of one build and passes it on to ``tell``, as one."""

    def __init__(self, files: Sequence[Wanted], present: Sequence[Wanted], tell: Tell) -> None:
        sizes = [file.size for file in files]
        self._total = None if None in sizes else sum(size for size in sizes if size is not None)
        self._before = sum(file.size or 0 for file in present)
        self._is_one = len(files) == 1
        self._tell = tell

    def tell(self, now: Progress) -> None:
        """One file has come so far."""
        done = self._before + now.done
        total = now.total if self._is_one else self._total
        left = now.seconds_left
        if total is not None and now.per_second > 0:
            left = max(total - done, 0) / now.per_second
        self._tell(Progress(now.stage, now.name, done, total, now.per_second, left, now.says))

    def add(self, fetched: Fetched) -> None:
        """One file is there."""
        self._before += fetched.size


def line_of(now: Progress) -> str:
    """Name, share, speed and time left in at most 78 columns: ``q.gguf: 43 % of 2.5 GB, 12 MB/s, 2 min left``."""
    parts = [_share(now)]
    if now.stage in _WORDS:
        parts = [_WORDS[now.stage], *parts]
    elif now.per_second > 0:
        parts.append(f"{format_bytes(round(now.per_second))}/s")
    if now.says:
        parts.append(now.says)
    elif now.seconds_left is not None and now.stage is Stage.FETCHING:
        parts.append(f"{format_duration(now.seconds_left)} left")
    return f"{_short(now.name)}: {', '.join(parts)}"


def format_duration(seconds: float) -> str:
    """``40 s``, ``3 min``, ``2 h 10 min``."""
    whole = max(round(seconds), 0)
    if whole < 100:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 100 else f"{hours // 24} days"


def percent(done: int, total: int) -> int:
    """Whole per cent, rounded down, so that 100 means all."""
    return done * 100 // total if total else 100


def _share(now: Progress) -> str:
    if now.total is None:
        return format_bytes(now.done)
    return f"{percent(now.done, now.total)} % of {format_bytes(now.total)}"


def _short(name: str) -> str:
    """The end of a path, its middle left out where it is long: both ends tell builds apart."""
    last = name.rpartition("/")[2]
    if len(last) <= _WIDEST_NAME:
        return last
    half = (_WIDEST_NAME - 1) // 2
    return f"{last[:half]}…{last[-half:]}"
