"""The sums of a ledger, added up from the stored text of its entries by code that is not the ledger's.

Each entry is checked against what came before it; an assertion names the invariant that does not hold.
"""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.unit.ledger.model import LARGEST, Rates, Reserved, window

Record = dict[str, Any]  # an entry's canonical JSON: its kinds differ

_NO_RATES = Rates(0, 0, 0, 0, 0, 0)
_NUMBERS = ("seq", "amount", "ts", "held")


def strictly(body: str) -> Record:
    """The JSON of an entry; a number that is none of ours is refused."""
    record: Record = json.loads(body, parse_float=_refuse, parse_constant=_refuse)
    return record


def _refuse(text: str) -> int:
    raise AssertionError(f"I14: {text} in an entry")


def is_whole(value: object) -> bool:
    return type(value) is int and 0 <= value <= LARGEST


@dataclass
class Fold:
    """What follows from the entries so far."""

    is_strict: bool = True
    head: str = "0" * 64
    count: int = 0
    key: bytes = b""
    accounts: dict[str, list[int]] = field(default_factory=dict)
    spent: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    holds: dict[str, Record] = field(default_factory=dict)
    resolved: dict[str, Record] = field(default_factory=dict)
    settles: list[Record] = field(default_factory=list)
    grants: dict[str, int] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)
    idems: set[str] = field(default_factory=set)
    vouchers: set[object] = field(default_factory=set)
    budgets: dict[str, int] = field(default_factory=dict)
    counted: dict[str, Reserved] = field(default_factory=dict)
    caps: dict[tuple[str, str], int] = field(default_factory=dict)
    windows: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, row: tuple[int, str, str, str, bytes | None]) -> None:
        """One more row of the table: number, body, hash before, hash, signature."""
        seq, body, prev, stored_hash, sig = row
        record = strictly(body)
        if not self.is_strict:
            self._post(record)
            return
        self._i6(seq, body, prev, stored_hash, sig, record)
        for name in _NUMBERS:
            assert is_whole(record[name]), f"I14: {name} of entry {seq} is {record[name]!r}"
        for name, value in (record["usage"] or {}).items():
            assert is_whole(value), f"I14: {name} of entry {seq} is {value!r}"
        assert record["idem"] not in self.idems, f"I7: the idem of entry {seq} was used before"
        self.idems.add(record["idem"])
        self.kinds.append(record["kind"])
        self._post(record)
        self._i9(record)
        self._i10(record)

    def _i6(self, seq: int, body: str, prev: str, stored_hash: str, sig: bytes | None, record: Record) -> None:
        assert (seq, record["seq"], prev) == (self.count + 1, seq, self.head), f"I6: entry {seq} has a gap before it"
        expected = hashlib.sha256(b"nl-ledger-v1\0" + bytes.fromhex(prev) + body.encode()).hexdigest()
        assert stored_hash == expected, f"I6: the hash of entry {seq}"
        if record["kind"] == "device":
            self.key = bytes.fromhex(record["terms"]["public_key"])
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(
                sig or b"", b"nl-entry-v1\0" + bytes.fromhex(stored_hash)
            )
        except InvalidSignature as error:
            raise AssertionError(f"I6: the signature of entry {seq}") from error
        self.count, self.head = seq, stored_hash

    def _post(self, record: Record) -> None:
        kind, amount = record["kind"], record["amount"]
        posted, pending = (amount, 0) if kind in ("transfer", "restore", "settle") else (0, 0)
        if kind == "hold":
            self.holds[record["idem"]] = record
            pending = amount
        if kind in ("settle", "void"):
            hold = self.holds.pop(record["ref"], None)
            if hold is None and not self.is_strict:
                return
            assert hold is not None, f"I3: entry {record['seq']} resolves a hold that is not open"
            assert not self.is_strict or amount <= hold["amount"], (
                f"I4: entry {record['seq']} charges more than was held"
            )
            assert kind == "settle" or amount == 0, f"I4: the void {record['seq']} charges"
            pending = -hold["amount"]
            self.resolved[record["ref"]] = record
        if kind == "settle":
            self.settles.append(record)
        if kind == "transfer" and record["credit"] == "wallet":
            self.grants[record["idem"]] = amount
        for account, side in ((record["debit"], 0), (record["credit"], 1)):
            sums = self.accounts.setdefault(account, [0, 0, 0, 0])
            sums[side] += posted
            sums[side + 2] += pending
        wallet = self.accounts.get("wallet", [0, 0, 0, 0])
        assert not self.is_strict or wallet[0] + wallet[2] <= wallet[1], (
            f"I2: the wallet is overdrawn at entry {record['seq']}"
        )
        if kind in ("hold", "settle", "void") and record.get("day") and (posted or pending):
            self._spend(record, posted, pending)

    def _spend(self, record: Record, posted: int, pending: int) -> None:
        names = (("chat", record["chat_id"]), ("model", record["build_id"]), ("key", record.get("key")))
        subjects = ["all", *(f"{kind}:{name}" for kind, name in names if name is not None)]
        for subject in subjects:
            for period in ("", record["day"][:7], record["day"]):
                sums = self.spent.setdefault((subject, period), [0, 0])
                sums[0] += posted
                sums[1] += pending

    def _i9(self, record: Record) -> None:
        terms = record.get("terms") or {}
        if record["kind"] != "transfer" or record["credit"] != "wallet" or "voucher_id" not in terms:
            return
        for mark in (terms["voucher_id"], (terms["issuer"], terms["kind"], terms["serial"])):
            assert mark not in self.vouchers, f"I9: entry {record['seq']} redeems a voucher again"
            self.vouchers.add(mark)

    def _i10(self, record: Record) -> None:
        """No entry lifts what is posted and pending above a budget; one set lower than that lets it only fall."""
        kind = record["kind"]
        if kind == "budget":
            self._set_budget(record["ref"], record["terms"]["limit"])
        if kind not in ("hold", "settle", "void"):
            return
        if kind == "hold":
            changed = self.counted[record["idem"]] = Reserved(
                record["amount"], record["build_id"], record["chat_id"], record.get("key"), record["day"], _NO_RATES
            )
        else:
            changed = self.counted[record["ref"]]
        before = changed.pending + changed.posted
        changed.pending, changed.posted = (record["amount"], 0) if kind == "hold" else (0, record["amount"])
        more = changed.pending + changed.posted - before
        for scope, sums in self.windows.items():
            under = window(scope, changed)
            if under is None:
                continue
            sums[under] = spent = sums.get(under, 0) + more
            limit = self.budgets.get(scope)
            if limit is not None:
                cap = self.caps.get((scope, under), limit)
                assert spent <= cap, f"I10: entry {record['seq']} brings {scope} {under} to {spent} of {limit}"
                self.caps[scope, under] = max(limit, spent)

    def _set_budget(self, scope: str, limit: int | None) -> None:
        sums = self.windows[scope] = {}
        for hold in self.counted.values():
            if (under := window(scope, hold)) is not None:
                sums[under] = sums.get(under, 0) + hold.pending + hold.posted
        self.budgets.pop(scope, None)
        self.caps = {where: cap for where, cap in self.caps.items() if where[0] != scope}
        if limit is not None:
            self.budgets[scope] = limit
            self.caps |= {(scope, under): max(limit, spent) for under, spent in sums.items()}
