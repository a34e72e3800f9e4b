"""Budgets: the most that may be spent by a conversation, with a model, under a key, or at all, a day, a month, or ever.

What counts is everything posted and everything held, added up per subject and period in the table ``spent`` by the same
transaction that posts an entry. The budgets themselves are entries of the chain, so that it is on the record which were
in force when.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from nanolocal.chat.amounts import format_credits
from nanolocal.errors import OutOfCredit, UsageError
from nanolocal.ledger.chain import Entry, EntryKind, changes
from nanolocal.ledger.sql import SINCE_ACCEPTED, Source, SqlTransaction

_SCOPE = re.compile(r"(?:(day|month)|(chat|model|key)(?::((?!/).+?))?(?:/(day|month))?)", re.DOTALL)
_HINT = "write it as day, month, chat, chat:ID, model:BUILD or key:NAME; the last four also with /day or /month"
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Scope:
    """What a budget limits: ``kind`` is all, chat, model or key; without a name each one of that kind."""

    kind: str
    name: str | None = None
    period: str = ""

    @staticmethod
    def parse(text: str) -> "Scope":
        """Read ``day``, ``chat``, ``model:tiny:Q8_0/month`` or ``key:anna/day``; raises ``UsageError``."""
        match = _SCOPE.fullmatch(text) if len(text) <= _LONGEST else None
        if match is None:
            raise UsageError(f"{text[:60]!r} is nothing that a budget can limit", _HINT)
        whole, kind, name, period = match.groups()
        return Scope("all", None, whole) if whole else Scope(kind, name, period or "")

    def __str__(self) -> str:
        if self.kind == "all":
            return self.period
        return self.kind + (f":{self.name}" if self.name else "") + (f"/{self.period}" if self.period else "")

    def row(self, entry: Entry) -> tuple[str, str] | None:
        """Subject and period of ``spent`` under which ``entry`` counts here; ``None`` where it does not."""
        subject = next((text for kind, text in _subjects(entry) if kind == self.kind), None)
        if subject is None or (self.name is not None and subject != f"{self.kind}:{self.name}"):
            return None
        return subject, _period(entry.day or "", self.period)


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit in force, in micro-credits."""

    scope: Scope
    limit_micro: int

    def words(self) -> str:
        """``the budget of 0.050000 credits a day``, with whom it is for."""
        each = "each " if self.scope.name is None else ""
        whose = "" if self.scope.kind == "all" else f" for {each}{self.scope.kind} {self.scope.name or ''}".rstrip()
        return f"the budget of {format_credits(self.limit_micro)} credits{whose}" + (
            f" a {self.scope.period}" if self.scope.period else ""
        )


def in_force(source: Source) -> list[Budget]:
    """The newest word on each scope, without those that were lifted.

    What is no budget comes from a ledger that was changed, and accepted like that.
    """
    rows = source.execute(
        f"""SELECT ref, body ->> '$.terms.limit' FROM entry
            WHERE kind = 'budget' AND seq > {SINCE_ACCEPTED} ORDER BY seq"""  # noqa: S608 - own words
    )
    newest = {scope: limit for scope, limit in rows if isinstance(scope, str)}
    budgets = []
    for scope, limit in sorted(newest.items()):
        with contextlib.suppress(UsageError):
            if type(limit) is int:
                budgets.append(Budget(Scope.parse(scope), limit))
    return budgets


def check(tx: SqlTransaction, hold: Entry) -> None:
    """Raise ``OutOfCredit`` where a hold, with all that is posted and pending, would pass a budget."""
    for budget, room in rooms(tx, hold):
        if hold.amount > room:
            raise OutOfCredit(
                f"this answer can cost up to {format_credits(hold.amount)} credits; "
                f"{budget.words()} has {format_credits(room)} left",
                f"change it: nanolocal credits budget {budget.scope} CREDITS",
                room,
                budget=str(budget.scope),
            )


def rooms(source: Source, hold: Entry) -> Iterator[tuple[Budget, int]]:
    """Each budget that a hold counts under, with the micro-credits that are left of it."""
    for budget in in_force(source):
        row = budget.scope.row(hold)
        if row is not None:
            yield budget, max(0, budget.limit_micro - spent(source, *row))


def spent_now(source: Source, scope: Scope, day: str) -> int | None:
    """What is posted and pending under ``scope`` today; ``None`` where each of its kind has a sum of its own."""
    if scope.kind != "all" and scope.name is None:
        return None
    subject = "all" if scope.kind == "all" else f"{scope.kind}:{scope.name}"
    return spent(source, subject, _period(day, scope.period))


def spent(source: Source, subject: str, period: str) -> int:
    """Micro-credits posted and pending of a row of ``spent``."""
    rows = source.execute("SELECT posted + pending FROM spent WHERE subject = ? AND period = ?", (subject, period))
    return int(rows[0][0]) if rows else 0


def counted(entry: Entry) -> Iterator[tuple[str, str, int, int]]:
    """Subject, period, and what ``entry`` adds there to what is posted and to what is pending."""
    posted, pending = changes(entry)
    if entry.kind not in _COUNTED or not entry.day or not (posted or pending):
        return
    for _, subject in _subjects(entry):
        for period in ("", "month", "day"):
            yield subject, _period(entry.day, period), posted, pending


def count(tx: SqlTransaction, entry: Entry) -> None:
    """Add an entry that is being posted to the sums of its subjects and periods."""
    for subject, period, posted, pending in counted(entry):
        # Not an upsert with the new values: a release is negative, and the row's checks would see it first.
        tx.execute("INSERT OR IGNORE INTO spent (subject, period) VALUES (?, ?)", (subject, period))
        tx.execute(
            "UPDATE spent SET posted = posted + ?, pending = pending + ? WHERE subject = ? AND period = ?",
            (posted, pending, subject, period),
        )


_COUNTED = (EntryKind.HOLD, EntryKind.SETTLE, EntryKind.VOID)


def _subjects(entry: Entry) -> Iterator[tuple[str, str]]:
    yield "all", "all"
    for kind, name in (("chat", entry.chat_id), ("model", entry.build_id), ("key", entry.key)):
        if name is not None:
            yield kind, f"{kind}:{name}"


def _period(day: str, period: str) -> str:
    return {"day": day, "month": day[:7]}.get(period, "")
