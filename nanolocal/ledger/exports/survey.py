"""What a writer must know before its first line: opening and closing sums, open holds, names of the accounts."""

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nanolocal.ledger.chain import WALLET, Entry, EntryKind, Link, changes
from nanolocal.ledger.exports.names import HELD_NAME, WALLET_NAME, Names
from nanolocal.ledger.replay import State

_FIRST = datetime.date(1970, 1, 1)
_LAST = datetime.date(9999, 12, 30)
_MS_A_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Period:
    """Calendar days, ``2026-11-27``, both included; ``None`` leaves that side open."""

    since: str | None = None
    until: str | None = None

    def is_after(self, day: str) -> bool:
        """Whether it begins after that day."""
        return self.since is not None and day < self.since

    def is_before(self, day: str) -> bool:
        """Whether it is over by that day."""
        return self.until is not None and day > self.until

    def __contains__(self, day: str) -> bool:
        return not self.is_after(day) and not self.is_before(day)


@dataclass(frozen=True, slots=True)
class Survey:
    """A whole ledger as seen from the end of a period. Sums are micro-credits by ledger account, credits positive.

    ``held_before`` was held when the period began. ``open_holds`` were open when it ended. ``first_day`` and
    ``last_day`` are those of the entries in it.
    """

    period: Period
    names: Mapping[str, str]
    opening: Mapping[str, int]
    closing: Mapping[str, int]
    held_before: int
    open_holds: tuple[Link, ...]
    first_day: str
    last_day: str

    @property
    def held(self) -> int:
        """Micro-credits held at the end."""
        return sum(link.entry.amount for link in self.open_holds)

    def balances(self) -> dict[str, int]:
        """The closing sums by exported account name: the wallet is what can be spent, what is held stands apart."""
        sums = {self.names[account]: amount for account, amount in self.closing.items()}
        sums[WALLET_NAME] = sums.get(WALLET_NAME, 0) - self.held
        sums[HELD_NAME] = self.held
        return dict(sorted(sums.items()))


def day_of(entry: Entry) -> str:
    """The calendar day an entry belongs to: its own, or for one without the UTC day of its clock."""
    try:
        day = datetime.date.fromisoformat(entry.day or "")
    except ValueError:
        day = _FIRST + datetime.timedelta(min(max(0, entry.ts) // _MS_A_DAY, (_LAST - _FIRST).days))
    return min(max(day, _FIRST), _LAST).isoformat()


def survey(links: Iterable[Link], period: Period, start: State) -> Survey:
    """Read all entries of a ledger once, from where it starts."""
    names = Names()
    opening = Counter({account: parts[1] - parts[0] for account, parts in start.sums.items() if parts[1] != parts[0]})
    closing = opening.copy()
    given = {account: names.of(account) for account in opening}
    held: dict[str, Link] = {}
    held_before = 0
    days: list[str] = []
    for link in links:
        entry, day = link.entry, day_of(link.entry)
        if period.is_before(day):
            continue
        is_early = period.is_after(day)
        posted, pending = changes(entry)
        _keep_hold(held, link)
        held_before += pending if is_early and entry.debit == WALLET else 0
        if posted or entry.kind in {EntryKind.TRANSFER, EntryKind.SETTLE}:
            for account, amount in ((entry.debit, -posted), (entry.credit, posted)):
                given[account] = names.of(account, entry.build_id)
                closing[account] += amount
                opening[account] += amount if is_early else 0
        if not is_early:
            days = [min(*days, day), max(*days, day)] if days else [day, day]
    first, last = days or [period.since or _FIRST.isoformat()] * 2
    return Survey(period, given, opening, closing, held_before, tuple(held.values()), first, last)


def _keep_hold(held: dict[str, Link], link: Link) -> None:
    if link.entry.kind is EntryKind.HOLD:
        held[link.entry.idem] = link
    elif link.entry.kind in {EntryKind.SETTLE, EntryKind.VOID}:
        held.pop(link.entry.ref or "", None)
