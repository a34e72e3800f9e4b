"""How builds run fastest on this device, as it was measured: with which settings, and whether guessing ahead pays.

Kept by the SHA-256 of the build's files; settings by the device and the release of llama.cpp's library too, as what was
measured with others says nothing here.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, fields

from nanolocal.chat.messages import Answer
from nanolocal.chat.tuning import LEAST_GAIN, Tuned, Tuning
from nanolocal.vault.database import Database, Transaction

_ENOUGH = 3
"""Answers after which it is known what guessing gains."""
_STALE_S = 14 * 86_400.0
"""What gained too little so long ago is tried again."""
_NEWER = 0.3
"""How much the last answer counts in a gain."""


class Tunings:
    """Reads and keeps what was measured on ``device`` with ``library``; ``clock`` gives seconds since 1970."""

    def __init__(self, database: Database, device: str, library: str, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._here = (device, library)
        self._clock = clock

    def of(self, sha256: str) -> Tuned | None:
        """What was found for a build; ``None`` where it was not measured here, or what is stored makes no sense."""
        rows = self._database.execute(
            "SELECT settings_json, gain, tried_at FROM tuning WHERE sha256 = ? AND device = ? AND library = ?",
            (sha256, *self._here),
        )
        for settings, gain, tried_at in rows:
            tuning = _read(settings)
            return None if tuning is None else Tuned(tuning, gain, tried_at)
        return None

    def keep(self, sha256: str, tuning: Tuning, gain: float) -> None:
        """Keep what was found, instead of the last time."""
        row = (sha256, *self._here, json.dumps(asdict(tuning)), gain, self._clock())
        with self._database.transaction() as tx:
            tx.execute(
                "INSERT OR REPLACE INTO tuning (sha256, device, library, settings_json, gain, tried_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )

    def forget(self, sha256: str) -> bool:
        """Run a build as usual again; whether anything was known."""
        is_known = self.of(sha256) is not None
        with self._database.transaction() as tx:
            key = (sha256, *self._here)
            tx.execute("DELETE FROM tuning WHERE sha256 = ? AND device = ? AND library = ?", key)
            tx.execute("DELETE FROM guessing WHERE sha256 = ?", (sha256,))
        return is_known

    def may_guess(self, sha256: str, task: str) -> bool:
        """Whether guessing ahead may pay in an answer of that task: not known, or it did, or that was long ago."""
        rows = self._database.execute(
            "SELECT gain, answers, seen_at FROM guessing WHERE sha256 = ? AND task = ?", (sha256, task)
        )
        return all(
            gain >= LEAST_GAIN or answers < _ENOUGH or self._clock() - seen_at > _STALE_S
            for gain, answers, seen_at in rows
        )

    def gains(self, sha256: str) -> dict[str, float]:
        """What guessing gains, by task."""
        return dict(self._database.execute("SELECT task, gain FROM guessing WHERE sha256 = ? ORDER BY task", (sha256,)))


def note_guessing(tx: Transaction, answer: Answer, now: float) -> None:
    """Let an answer that was guessed at move what guessing gains its build at its task."""
    if answer.guess_gain <= 0:
        return
    key = (answer.route.build.sha256, answer.route.task)
    rows = tx.execute("SELECT gain, answers FROM guessing WHERE sha256 = ? AND task = ?", key)
    before, answers = rows[0] if rows else (answer.guess_gain, 0)
    row = (*key, before + _NEWER * (answer.guess_gain - before), answers + 1, now)
    tx.execute("INSERT OR REPLACE INTO guessing (sha256, task, gain, answers, seen_at) VALUES (?, ?, ?, ?, ?)", row)


_FIELDS = {each.name for each in fields(Tuning)}


def _read(settings: str) -> Tuning | None:
    """Settings as they were stored; an older or newer program may have had others."""
    try:
        values = json.loads(settings)
        tuning = Tuning(**{name: value for name, value in values.items() if name in _FIELDS})
    except (ValueError, TypeError, AttributeError):
        return None
    usual = Tuning()
    is_typed = all(type(getattr(tuning, each.name)) is type(getattr(usual, each.name)) for each in fields(Tuning))
    if not is_typed or tuning.flash not in ("", "on", "off") or tuning.gpu_layers < -1:
        return None
    return tuning if min(tuning.threads, tuning.batch, tuning.more_bytes) >= 0 else None
