#!/usr/bin/env python3
"""What the ledger costs: adding up usage over many entries, and a turn with the ledger beside one without.

    .venv/bin/python scripts/bench_ledger.py usage [--entries N] [--repeat N] [--directory DIR] [--json]
    .venv/bin/python scripts/bench_ledger.py turn [--turns N] [--directory DIR] [--json]

usage: a ledger of N signed and chained entries in an encrypted database, and the same tables in clear, written by the
same library without a key. Each statement runs on one and on the other in turn, beside a bare count(*) of the entries.
turn: pairs of turns, one with the ledger's part (price, hold, settle, balance) inside the two transactions that store
prompt and answer, one with these two transactions alone, each first in turn, each in a vault of its own with a key
file. What they take depends on the disk of DIR. Figures are medians; p95 is the nearest rank.
"""

import argparse
import json
import math
import random
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from sqlcipher3 import dbapi2

from nanolocal.bootstrap import open_vault, open_wallet
from nanolocal.chat.messages import Answer, Message, Role, Stopped, Timing, Usage
from nanolocal.chat.ports import Hold
from nanolocal.chat.routes import Build, Kind, Route
from nanolocal.ledger.audit import SUMS
from nanolocal.ledger.chain import ADJUST, GENESIS, WALLET, Entry, EntryKind, Link, chain_hash
from nanolocal.ledger.prices import Electricity, PriceCard, electricity_card
from nanolocal.ledger.replay import State
from nanolocal.ledger.schema import MIGRATIONS as LEDGER_MIGRATIONS
from nanolocal.ledger.signing import DeviceKey
from nanolocal.ledger.usage import statement, total, usage
from nanolocal.ledger.wallet import Wallet
from nanolocal.paths import Paths
from nanolocal.vault.conversations import Conversations
from nanolocal.vault.database import Database
from nanolocal.vault.keys import DatabaseKey
from nanolocal.vault.schema import MIGRATIONS as VAULT_MIGRATIONS
from nanolocal.vault.vault import Vault

BUILDS = 6
CHATS = 500
DAYS = 730
FIRST_DAY = date(2025, 1, 1)
MS_A_DAY = 86_400_000
HELD = 10_000
WARM_UP = 10
WRITING_KIB = 1_000_000
"""Page cache while writing; what is measured has SQLite's own."""
ROUTE = Route("chat", Build("bench:Q8_0", "Bench", Kind.TEXT, Path("bench.gguf"), "Q8_0", 800_000_000, "ab" * 32),
              4096, 0.9, 0.8, ("the best for chat that fits",), (), ())  # fmt: skip
USAGE = Usage(100, 20, 30, 0)
GROUPINGS = (("day",), ("day", "model"), ("month",), ("key", "chat"))
COUNT = "SELECT count(*) FROM entry"


@dataclass(frozen=True, slots=True)
class Row:
    """One case in milliseconds: ours and what it stands beside, and the ratio of the medians."""

    case: str
    ours: float
    ours_p95: float
    beside: float
    beside_p95: float
    ratio: float


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="What nanolocal's ledger costs.")
    parser.add_argument("part", choices=("usage", "turn"))
    parser.add_argument("--entries", type=int, default=100_000, metavar="N", help="of the ledger (default 100000)")
    parser.add_argument("--repeat", type=int, default=7, metavar="N", help="runs of each statement (default 7)")
    parser.add_argument("--turns", type=int, default=300, metavar="N", help="pairs of turns (default 300)")
    parser.add_argument("--directory", type=Path, metavar="DIR", help="where to work (default: for temporary files)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=args.directory) as directory:
        if args.part == "usage":
            rows = measure_usage(Path(directory), max(20, args.entries), max(1, args.repeat))
        else:
            rows = measure_turns(Path(directory), max(1, args.turns))
    print(json.dumps({"part": args.part, "rows": [asdict(row) for row in rows]}) if args.json else table(rows))
    return 0


def measure_usage(directory: Path, entries: int, repeat: int) -> list[Row]:
    """Every grouping, encrypted beside plain, and encrypted beside counting the entries."""
    database, plain = built(directory, entries)
    expected = database.execute("SELECT debits_posted FROM account WHERE id = 'wallet'")[0][0]
    sides: dict[str, Callable[[str], list[tuple[object, ...]]]] = {
        "ours": lambda sql: database.execute(sql, ("", "9") if "?" in sql else ()),
        "plain": lambda sql: plain.execute(sql, ("", "9") if "?" in sql else ()).fetchall(),
    }
    statements = {"count(*)": COUNT} | {f"usage by {','.join(groups)}": statement(groups) for groups in GROUPINGS}
    samples: dict[tuple[str, str], list[float]] = {(case, side): [] for case in statements for side in sides}
    for number in range(repeat):
        for case, sql in statements.items():
            given = {}
            for side in sorted(sides, reverse=number % 2 == 0):
                begun = time.perf_counter()
                given[side] = sides[side](sql)
                samples[case, side].append((time.perf_counter() - begun) * 1000)
            if given["ours"] != given["plain"]:
                raise SystemExit(f"{case}: the two databases do not say the same")
    for groups in GROUPINGS:
        if total(usage(database, groups), groups).cost_micro != expected:
            raise SystemExit(f"usage by {','.join(groups)} does not add up")
    database.close()
    plain.close()
    beside_plain = [
        row(f"{case}, beside in clear", samples[case, "ours"], samples[case, "plain"]) for case in statements
    ]
    counted = samples["count(*)", "ours"]
    return beside_plain + [
        row(f"{case}, beside count(*)", samples[case, "ours"], counted) for case in statements if case != "count(*)"
    ]


def built(directory: Path, entries: int) -> tuple[Database, dbapi2.Connection]:
    """The ledger, encrypted and in clear."""
    migrations = sorted((*VAULT_MIGRATIONS, *LEDGER_MIGRATIONS))
    database = Database.create(directory / "ours.db", DatabaseKey(bytes(range(32)), bytes(range(16))), migrations)
    begun = time.perf_counter()
    cache = database.execute("PRAGMA cache_size")[0][0]
    database.execute(f"PRAGMA cache_size = -{WRITING_KIB}")
    with database.transaction() as tx:
        for sql, values in rows_of(entries):
            tx.execute(sql, values)
    database.checkpoint()
    database.execute(f"PRAGMA cache_size = {cache}")
    clear = str(directory / "plain.db")
    database.execute("ATTACH DATABASE ? AS clear KEY ''", (clear,))
    database.execute("SELECT sqlcipher_export('clear')")
    database.execute("DETACH DATABASE clear")
    plain = dbapi2.connect(clear, isolation_level=None)
    plain.execute("PRAGMA journal_mode=WAL")
    print(f"{entries} entries written in {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    return database, plain


def rows_of(entries: int) -> Iterator[tuple[str, tuple[str | int | bytes, ...]]]:
    """Everything that is stored for so many entries: prices, entries, and the sums that follow from them."""
    device, state, prev = DeviceKey(bytes(32)), State(), GENESIS
    cards = [electricity_card(build, Electricity()) for build in builds()]
    for card in cards:
        yield "INSERT INTO price (id, body, recorded_at) VALUES (?, ?, ?)", (card.id, card.body(), 0)
    named = {WALLET, ADJUST, "grant:self", *(f"usage:{card.build_sha256}" for card in cards)}
    for account in sorted(named):
        yield "INSERT INTO account (id, no_overdraft) VALUES (?, ?)", (account, int(account == WALLET))
    for seq, entry in enumerate(entries_of(entries, device, cards), 1):
        body = replace(entry, seq=seq).body()
        hashed = chain_hash(prev, body)
        sig = device.sign(hashed)
        state.take(Link(replace(entry, seq=seq), body, prev, hashed, sig))
        yield "INSERT INTO entry (seq, body, prev, hash, sig) VALUES (?, ?, ?, ?, ?)", (seq, body, prev, hashed, sig)
        prev = hashed
    assignments = ", ".join(f"{name} = ?" for name in SUMS)
    for account, sums in state.sums.items():
        yield f"UPDATE account SET {assignments} WHERE id = ?", (*sums, account)  # noqa: S608 - own names
    for (subject, period), both in state.spent.items():
        yield "INSERT INTO spent VALUES (?, ?, ?, ?)", (subject, period, *both)
    for hold in state.holds:
        yield "INSERT INTO held (idem) VALUES (?)", (hold,)


def builds() -> list[Build]:
    """The builds that answered."""
    return [
        Build(
            f"bench-{n}:Q4_K_M", f"Bench {n}", Kind.TEXT, Path(f"{n}.gguf"), "Q4_K_M", 10**9 * (n + 1), f"{n:02x}" * 32
        )
        for n in range(BUILDS)
    ]


def entries_of(count: int, device: DeviceKey, cards: Sequence[PriceCard]) -> Iterator[Entry]:
    """So many entries over two years: a key, an allowance, then answers of all builds in many conversations."""
    first_ms = (FIRST_DAY - date(1970, 1, 1)).days * MS_A_DAY
    public = {"public_key": device.public.hex()}
    yield Entry("device", EntryKind.DEVICE, ADJUST, ADJUST, 0, first_ms, terms=public)
    yield Entry("grant:first", EntryKind.TRANSFER, "grant:self", WALLET, 10**15, first_ms, day=str(FIRST_DAY))
    for card in cards:
        yield Entry(
            f"price:{card.id}", EntryKind.PRICE, ADJUST, ADJUST, 0, first_ms, build_id=card.build_id, price_id=card.id
        )
    chance = random.Random(1)
    pairs = max(1, (count - 2 - len(cards)) // 2)
    for number in range(pairs):
        card, day = chance.choice(cards), number * DAYS // pairs
        hold = Entry(
            f"{chance.getrandbits(128):032x}",
            EntryKind.HOLD,
            WALLET,
            f"usage:{card.build_sha256}",
            HELD,
            first_ms + day * MS_A_DAY,
            build_id=card.build_id,
            price_id=card.id,
            chat_id=f"{chance.randrange(CHATS) * 7919:016x}",
            day=str(FIRST_DAY + timedelta(day)),
            key=chance.choice((None, None, "anna", "boris")),
        )
        yield hold
        prompt = chance.randrange(1, 4000)
        used = Usage(prompt, chance.randrange(prompt), chance.randrange(1, 800), 0, int(number % 50 == 0))
        cost = min(card.cost(used), HELD)
        yield replace(
            hold, idem=f"settle:{hold.idem}", kind=EntryKind.SETTLE, ref=hold.idem, held=HELD, usage=used, amount=cost
        )


class Turns:
    """A vault in which turns are stored, with the ledger's part or without."""

    def __init__(self, directory: Path, *, has_ledger: bool) -> None:
        self.vault: Vault = open_vault(Paths.choose(directory), None)
        self._wallet: Wallet = open_wallet(self.vault)
        self._wallet.top_up(10**12)
        self._store = Conversations(self.vault.database, self.vault.blobs)
        self._has_ledger = has_ledger
        with self._store.transaction() as tx:
            self._chat_id = self._store.start_chat(tx, "turns", None)
        self._parent_id: str | None = None

    def take(self, prompt: str, text: str) -> None:
        """Store a prompt and an answer, and meter them."""
        build, cost, hold = ROUTE.build, 0, Hold(secrets.token_hex(16), 0)
        most = self._wallet.price(build).cost(USAGE) if self._has_ledger else 0
        with self._store.transaction() as tx:
            if self._has_ledger:
                hold = self._wallet.hold(tx, build, most, chat_id=self._chat_id, key="bench")
            prompt_id = self._store.add_prompt(tx, self._chat_id, self._parent_id, Message(Role.USER, prompt))
        with self._store.transaction() as tx:
            if self._has_ledger:
                cost = self._wallet.settle(tx, hold, build, USAGE, self._chat_id)
            answer = Answer(text, (), ROUTE, USAGE, Timing(), Stopped.END, cost, 0, 1.5, self._chat_id, None)
            self._parent_id = self._store.add_answer(tx, self._chat_id, prompt_id, answer, hold)
        if self._has_ledger:
            self._wallet.balance()


def measure_turns(directory: Path, turns: int) -> list[Row]:
    """Pairs of turns with and without the ledger, and what it adds within a pair."""
    sides = {
        "with": Turns(directory / "with", has_ledger=True),
        "without": Turns(directory / "without", has_ledger=False),
    }
    clocks = {"time": time.perf_counter, "processor": time.process_time}
    samples: dict[tuple[str, str], list[float]] = {(name, clock): [] for name in sides for clock in clocks}
    for number in range(turns + WARM_UP):
        for name in sorted(sides, reverse=number % 2 == 0):
            begun = {clock: read() for clock, read in clocks.items()}
            sides[name].take("a prompt " * 10, "an answer " * 50)
            for clock, read in clocks.items():
                samples[name, clock].append((read() - begun[clock]) * 1000)
    for side in sides.values():
        side.vault.close()
    rows = []
    for clock in clocks:
        ours, beside = samples["with", clock][WARM_UP:], samples["without", clock][WARM_UP:]
        added = statistics.median(one - other for one, other in zip(ours, beside, strict=True))
        print(f"{clock}: the ledger adds {added:.2f} ms within a pair (median)", file=sys.stderr)
        rows.append(row(f"a turn, {clock}: with the ledger, without", ours, beside))
    return rows


def row(case: str, ours: Sequence[float], beside: Sequence[float]) -> Row:
    """What was measured of one case."""
    mine, other = statistics.median(ours), statistics.median(beside)
    return Row(
        case, round(mine, 3), round(p95(ours), 3), round(other, 3), round(p95(beside), 3), round(mine / other, 2)
    )


def p95(values: Sequence[float]) -> float:
    """The 95th percentile by nearest rank."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def table(rows: Sequence[Row]) -> str:
    """The figures as lines."""
    head = f"{'case (ms)':44} {'ours':>9} {'p95':>9} {'beside':>9} {'p95':>9} {'ratio':>7}"
    lines = [
        f"{each.case:44} {each.ours:9.2f} {each.ours_p95:9.2f} {each.beside:9.2f} {each.beside_p95:9.2f} "
        f"{each.ratio:7.2f}"
        for each in rows
    ]
    return "\n".join([head, *lines])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
