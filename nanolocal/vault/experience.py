"""What this device has seen of its builds: how fast they are, what users made of their answers, how exams went.

Kept by the SHA-256 of the build's files, so that a changed file begins anew; in the vault, and in no export.
"""

import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from nanolocal.chat.messages import Answer
from nanolocal.chat.routes import Speed, Tally
from nanolocal.errors import UsageError
from nanolocal.vault.database import Database, Transaction

WEIGHTS = {
    "good": 1.0, "bad": -1.0, "regenerated": -0.5, "left": -1.0, "chosen": 0.5, "copied": 0.3, "won": 1.0, "lost": -1.0,
}  # fmt: skip
"""What each signal about an answer counts: as a try won, or a try lost.

``left`` and ``chosen`` are the answer that the user changed the build after and the first of the new one; ``won`` and
``lost`` are those of a blind comparison.
"""
_MOST_A_CHAT = 5.0
_RECKONED_EVERY_S = 86_400.0
"""What was seen fades so slowly that once a day is enough."""
_HALF_LIFE_S = 90 * 86_400.0
_USUAL_PRAISE = 0.6
"""The share of praise among all signals below which a user counts as one who mostly complains."""
_UNTIL_KNOWN = 20.0
"""Signals after which what is known of a user counts as much as what is usual."""
_NEWER = 0.3
"""How much the last answer counts in a speed."""


class Experience:
    """Reads and adds what was seen; ``clock`` gives seconds since 1970."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._tallied: tuple[tuple[object, ...], dict[tuple[str, str], Tally]] | None = None

    def speeds(self) -> dict[str, Speed]:
        """By SHA-256."""
        rows = self._database.execute("SELECT sha256, load_s, read_tok_s, write_tok_s, answers FROM speed")
        return {row[0]: Speed(*row[1:]) for row in rows}

    def tallies(self) -> dict[tuple[str, str], Tally]:
        """By SHA-256 and task, ``*`` being all of them: exams in full, signals by their age, five a chat at most."""
        version = (*self._database.execute(_VERSION)[0], int(self._clock() / _RECKONED_EVERY_S))
        if self._tallied is None or self._tallied[0] != version:
            exams = self._database.execute("SELECT sha256, task, wins, tries FROM exam")
            self._tallied = version, tallied(exams, self._database.execute(_SIGNALS), self._clock())
        return self._tallied[1]

    def learn(self, message_id: str, kind: str) -> None:
        """Take in a signal about an answer, once for each kind; raises ``UsageError`` for one that is not known."""
        if kind not in WEIGHTS:
            raise UsageError(f"{kind!r} is no signal", f"known: {', '.join(WEIGHTS)}")
        with self._database.transaction() as tx:
            note(tx, message_id, kind, self._clock())

    def keep_speed(self, sha256: str, measured: Speed) -> None:
        """Keep a speed that was measured on purpose, instead of what answers said; a phase that is 0 is left alone."""
        with self._database.transaction() as tx:
            before = _speed(tx, sha256)
            _store_speed(
                tx,
                sha256,
                Speed(
                    measured.load_s or before.load_s,
                    measured.read_tok_s or before.read_tok_s,
                    measured.write_tok_s or before.write_tok_s,
                    before.answers + measured.answers,
                ),
            )

    def keep_exam(self, sha256: str, task: str, wins: float, tries: float) -> None:
        """Keep how a build did in the exam of a task, instead of the last time."""
        row = (sha256, task, wins, tries, self._clock())
        with self._database.transaction() as tx:
            tx.execute("INSERT OR REPLACE INTO exam (sha256, task, wins, tries, taken_at) VALUES (?, ?, ?, ?, ?)", row)

    def forget(self) -> None:
        """Begin anew: what published scores and sizes say is all there is."""
        with self._database.transaction() as tx:
            for table in ("signal", "exam", "speed", "tuning", "guessing"):
                tx.execute(f"DELETE FROM {table}")  # noqa: S608 - own names


_VERSION = (
    "SELECT (SELECT count(*) || ' ' || max(seq) FROM signal), (SELECT count(*) || ' ' || max(taken_at) FROM exam)"
)
"""Changes with every row that comes or goes: a replaced one has a new number or time."""
_SIGNALS = """
    SELECT m.chat_id, s.sha256, s.task, s.weight, s.created_at
    FROM signal s JOIN message m ON m.id = s.message_id ORDER BY s.seq DESC"""


def tallied(
    exams: Iterable[Sequence[Any]], signals: Iterable[Sequence[Any]], now: float
) -> dict[tuple[str, str], Tally]:
    """The sums of ``exams`` (SHA-256, task, wins, tries) and ``signals`` (chat, SHA-256, task, weight, when).

    The newest signal comes first.
    """
    wins: dict[tuple[str, str], float] = defaultdict(float)
    tries: dict[tuple[str, str], float] = defaultdict(float)
    for sha256, task, won, tried in exams:
        for key in _keys(sha256, task):
            wins[key] += won
            tries[key] += tried
    sized = list(_sized(signals, now))
    praise, blame = _scales(sized)
    for sha256, task, size in sized:
        for key in _keys(sha256, task):
            tries[key] += praise * size if size > 0 else -blame * size
            wins[key] += max(praise * size, 0.0)
    return {key: Tally(wins[key], tries[key]) for key in tries}


def _sized(signals: Iterable[Sequence[Any]], now: float) -> Iterator[tuple[str, str, float]]:
    """SHA-256, task and what a signal counts now: by its age, and five a chat and build at most."""
    spent: dict[tuple[str, str], float] = defaultdict(float)
    for chat_id, sha256, task, weight, made in signals:
        size = min(abs(weight), _MOST_A_CHAT - spent[chat_id, sha256])
        spent[chat_id, sha256] += size
        yield sha256, task, math.copysign(size * 0.5 ** (max(now - made, 0.0) / _HALF_LIFE_S), weight)


def _scales(sized: Sequence[tuple[str, str, float]]) -> tuple[float, float]:
    """What praise and blame count, so that whoever says only what is wrong is not taken for badly served everywhere.

    Else the builds in use would lose against those that were never tried, which nobody has complained about.
    """
    praise = math.fsum(size for _, _, size in sized if size > 0)
    total = math.fsum(abs(size) for _, _, size in sized)
    share = (praise + _USUAL_PRAISE * _UNTIL_KNOWN) / (total + _UNTIL_KNOWN)
    if share >= _USUAL_PRAISE:
        return 1.0, 1.0
    return _USUAL_PRAISE / share, (1 - _USUAL_PRAISE) / (1 - share)


def note(tx: Transaction, message_id: str, kind: str | None, now: float, instead_of: Sequence[str] = ()) -> None:
    """Add a signal about an answer to an open transaction, ``instead_of`` those that it contradicts; no kind adds none.

    An answer from before builds were recorded by their hash teaches nothing, nor does one that no build gave.
    """
    for other in instead_of:
        tx.execute("DELETE FROM signal WHERE message_id = ? AND kind = ?", (message_id, other))
    if kind is None:
        return
    rows = tx.execute("SELECT route_json FROM message WHERE id = ? AND route_json IS NOT NULL", (message_id,))
    record = json.loads(rows[0][0]) if rows else {}
    if not record.get("sha256") or record.get("is_told"):
        return
    row = (message_id, record["sha256"], record.get("subtask") or record.get("task", ""), kind, WEIGHTS[kind], now)
    tx.execute(
        "INSERT OR REPLACE INTO signal (message_id, sha256, task, kind, weight, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        row,
    )


def note_speed(tx: Transaction, answer: Answer) -> None:
    """Let an answer move the speed of its build; a phase that did not happen moves nothing."""
    if answer.route.is_told:
        return
    sha256, timing = answer.route.build.sha256, answer.timing
    before = _speed(tx, sha256)
    moved = Speed(
        _moved(before.load_s, timing.load_s),
        _moved(before.read_tok_s, timing.prompt_tok_s),
        _moved(before.write_tok_s, timing.decode_tok_s),
        before.answers + 1,
    )
    _store_speed(tx, sha256, moved)


def _speed(tx: Transaction, sha256: str) -> Speed:
    rows = tx.execute("SELECT load_s, read_tok_s, write_tok_s, answers FROM speed WHERE sha256 = ?", (sha256,))
    return Speed(*rows[0]) if rows else Speed()


def _store_speed(tx: Transaction, sha256: str, speed: Speed) -> None:
    tx.execute(
        "INSERT OR REPLACE INTO speed (sha256, load_s, read_tok_s, write_tok_s, answers) VALUES (?, ?, ?, ?, ?)",
        (sha256, speed.load_s, speed.read_tok_s, speed.write_tok_s, speed.answers),
    )


def _moved(before: float, seen: float) -> float:
    if not math.isfinite(seen) or seen <= 0:
        return before
    return before + _NEWER * (seen - before) if before else seen


def _keys(sha256: str, task: str) -> set[tuple[str, str]]:
    """A sub-task speaks for its task and for everything too."""
    return {(sha256, task), (sha256, task.partition("/")[0]), (sha256, "*")}
