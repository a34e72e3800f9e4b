"""A ledger from its entries alone, one after the other: what they add up to, and whether each may follow."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from nanolocal.errors import Damaged
from nanolocal.ledger import budgets
from nanolocal.ledger.chain import GENESIS, WALLET, Entry, EntryKind, Link, changes
from nanolocal.ledger.links import HINT, check_charge, check_link, device_of
from nanolocal.ledger.money import LARGEST
from nanolocal.ledger.prices import PriceCard


@dataclass(slots=True)
class State:
    """A ledger after its entry number ``seq``: the chain's head, the key in force, every sum and every open hold.

    ``sums`` has for each account, in micro-credits, what is posted and then what is pending: debits, credits. ``spent``
    has what is posted and pending for each subject and period that budgets know.
    ``transfers`` are the keys of the transfers seen: each, a voucher too, counts once.
    """

    seq: int = 0
    head: str = GENESIS
    public: bytes | None = None
    sums: dict[str, list[int]] = field(default_factory=dict)
    spent: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    holds: dict[str, int] = field(default_factory=dict)
    transfers: set[str] = field(default_factory=set)

    @property
    def available(self) -> int:
        """Micro-credits that can be spent: the wallet's posted credits less everything spent or held."""
        debits, credits, held, _ = self.sums.get(WALLET, (0, 0, 0, 0))
        return credits - debits - held

    def copy(self) -> "State":
        """The same, unmoved by what the original takes in later."""
        sums = {account: list(parts) for account, parts in self.sums.items()}
        spent = {row: list(parts) for row, parts in self.spent.items()}
        return replace(self, sums=sums, spent=spent, holds=dict(self.holds), transfers=set(self.transfers))

    def step(self, link: Link) -> None:
        """Go on by one entry without adding it up."""
        self.seq, self.head = link.entry.seq, link.hash
        self.public = device_of(link.entry) or self.public

    def add(self, entry: Entry) -> None:
        """Add an entry to the sums."""
        posted, pending = changes(entry)
        for side, account in enumerate((entry.debit, entry.credit)):
            sums = self.sums.setdefault(account, [0, 0, 0, 0])
            sums[side] += posted
            sums[2 + side] += pending
        for subject, period, *both in budgets.counted(entry):
            spent = self.spent.setdefault((subject, period), [0, 0])
            spent[:] = spent[0] + both[0], spent[1] + both[1]

    def take(self, link: Link) -> None:
        """Go on by one entry, unchecked."""
        entry = link.entry
        self.step(link)
        self.add(entry)
        if entry.kind is EntryKind.HOLD:
            self.holds[entry.idem] = entry.amount
        elif entry.kind is EntryKind.TRANSFER:
            self.transfers.add(entry.idem)
        elif entry.kind in {EntryKind.SETTLE, EntryKind.VOID}:
            self.holds.pop(entry.ref or "", None)


def follow(state: State, link: Link) -> None:
    """Raise ``Damaged``, with the entry's number, unless the next entry continues ``state`` and is whole and signed."""
    entry = link.entry
    if entry.seq != state.seq + 1:
        raise Damaged(f"ledger entry {state.seq + 1} is missing: entry {entry.seq} comes next", HINT)
    if link.prev != state.head:
        raise Damaged(f"ledger entry {entry.seq} does not continue the entry before it", HINT)
    check_link(link, device_of(entry) or state.public)


def advance(state: State, link: Link, card: Callable[[str], PriceCard | None]) -> None:
    """Check the next entry against ``state`` and take it in; raises ``Damaged`` with the entry's number.

    ``card`` finds a price card by its id.
    """
    follow(state, link)
    entry = link.entry
    if entry.idem in (state.holds if entry.kind is EntryKind.HOLD else state.transfers):
        raise Damaged(f"ledger entry {entry.seq} repeats an earlier one", HINT)
    if entry.kind in {EntryKind.SETTLE, EntryKind.VOID} and state.holds.get(entry.ref or "") != entry.held:
        raise Damaged(f"ledger entry {entry.seq} does not fit its hold", HINT)
    check_charge(entry, card(entry.price_id) if entry.price_id else None)
    state.take(link)
    if state.available < 0:
        raise Damaged(f"ledger entry {entry.seq} takes more than the wallet has", HINT)
    if any(not 0 <= each <= LARGEST for account in (entry.debit, entry.credit) for each in state.sums[account]):
        raise Damaged(f"ledger entry {entry.seq} leads to a sum that cannot be", HINT)
