"""Builds that fail to load: after two failures in a row one is set aside, by its hash, until it changes.

What counts is ``BuildFailed`` before the first token: not a stop, not too little memory, not too long a prompt.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from nanolocal.chat.routes import Build
from nanolocal.errors import Damaged
from nanolocal.formats.splits import parts_of
from nanolocal.library.records import Record, Records, Stamp
from nanolocal.safetext import safe_line

MOST_FAILURES = 2
_MOST_WORDS = 300


class Health:
    """What ``records`` say about builds. ``clock`` is seconds since 1970."""

    def __init__(self, records: Records, clock: Callable[[], float] = time.time) -> None:
        self._records = records
        self._clock = clock

    def why_not(self, build: Build) -> str:
        """Why ``build`` is set aside; empty when it is not."""
        record = self._record(build)
        if record.damaged:
            return record.damaged
        if len(record.failures) < MOST_FAILURES:
            return ""
        return f"it failed {len(record.failures)} times in a row before its first word: {record.failures[-1][1]}"

    def failed(self, build: Build, words: str) -> bool:
        """Remember a failure, in the engine's words; true when the build is set aside for it."""
        before = self._record(build)
        failures = (*before.failures, (round(self._clock(), 3), safe_line(words)[:_MOST_WORDS]))
        record = replace(before, failures=failures[-MOST_FAILURES:], stamp=stamp_of(build.path))
        self._put(build, record)
        return len(failures) >= MOST_FAILURES

    def worked(self, build: Build) -> None:
        """It answers: earlier failures count no more."""
        self.release(build)

    def condemn(self, build: Build, words: str) -> None:
        """Set a build aside whose file is damaged."""
        self._put(build, replace(self._record(build), damaged=safe_line(words)[:_MOST_WORDS]))

    def know_better(self, before: Build, after: Build) -> None:
        """The build known by its ends until now has been read whole: what is remembered of it goes along."""
        record = self._record(before)
        if record != Record():
            self._records.put(before.sha256, Record())
            self._put(after, record)

    def acquit(self, build: Build) -> None:
        """Its file is right: damage that was found before counts no more."""
        record = self._record(build)
        if record.damaged:
            self._put(build, replace(record, damaged=""))

    def release(self, build: Build) -> bool:
        """Forget failures and damage; false when there were none."""
        record = self._record(build)
        if not record.failures and not record.damaged:
            return False
        self._put(build, replace(record, failures=(), damaged="", stamp=None))
        return True

    def _record(self, build: Build) -> Record:
        """Of a build known by its ends alone, only while its file stays as it was: its middle may be another one."""
        record = self._records.of(build.sha256)
        if record.stamp is None or not build.sha256.startswith("part:") or stamp_of(build.path) == record.stamp:
            return record
        return Record(licence_shown=record.licence_shown)

    def _put(self, build: Build, record: Record) -> None:
        self._records.put(build.sha256, record)
        self._records.save()


def stamp_of(path: Path) -> Stamp | None:
    """Size and newest time of change of all weights at ``path``; ``None`` where they are not all there."""
    try:
        found = [file.stat() for file in weights_of(path)]
    except (OSError, Damaged):
        return None
    return sum(each.st_size for each in found), max((each.st_mtime_ns for each in found), default=0)


def weights_of(path: Path) -> list[Path]:
    """The files that the hash of the build at ``path`` is made of; raises ``Damaged`` when one is missing."""
    return sorted(path.rglob("*.safetensors")) if path.is_dir() else parts_of(path)
