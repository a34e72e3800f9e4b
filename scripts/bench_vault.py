#!/usr/bin/env python3
"""What encryption costs: nanolocal's vault next to plain SQLite with the same tables, doing the same work.

    .venv/bin/python scripts/bench_vault.py [--messages N] [--repeat N] [--directory DIR] [--json]

Both sides are filled with the same conversations, then every case runs on one side and on the other, N times, each
first in turn. A vault with a key file is used, so no figure contains Argon2. Both use WAL and synchronous=FULL: what
storing takes depends on the disk of DIR. Memory is what a fresh process grows by. p95 is the nearest rank.
"""

import argparse
import json
import math
import multiprocessing
import random
import secrets
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import psutil

from nanolocal.bootstrap import open_vault, open_wallet
from nanolocal.chat.messages import Answer, Message, Role, Stopped, Timing, Usage
from nanolocal.chat.routes import Build, Kind, Rejected, Route, RunnerUp
from nanolocal.ledger.wallet import Wallet
from nanolocal.paths import Paths
from nanolocal.vault.conversations import Conversations
from nanolocal.vault.imported import ImportedChat, ImportedMessage
from nanolocal.vault.records import route_record
from nanolocal.vault.vault import Vault

PER_CHAT = 100
HITS = 20
LISTED = 20
HOLD_MICRO = 50
WORDS_IN_MESSAGE = 80
"""About 570 bytes."""
PERIODS = {"rare": 10_000, "middle": 100, "common": 2}
"""One message in so many contains a word of this kind; each kind has four words."""
LETTERS = "abcd"
MEMORY_RUNS = 3
MB = 1e6

BUILD = Build("bench:Q8_0", "Bench", Kind.TEXT, Path("bench.gguf"), "Q8_0", 800_000_000, "ab" * 32)
ROUTE = Route(
    "chat",
    BUILD,
    4096,
    0.9,
    0.8,
    ("the best for chat that fits", "already loaded"),
    (RunnerUp("other:Q4_K_M", 0.5, "slower"),),
    (Rejected("large:Q4_K_M", "memory", "needs 9.1 GB"),),
)
USAGE = Usage(100, 20, 30, 0)
TIMING = Timing(0.1, 0.2, 300.0, 25.5, 1.0)

_PLAIN_TABLES = """
    CREATE TABLE chat (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, title TEXT NOT NULL, system TEXT,
        created_at REAL NOT NULL, updated_at REAL NOT NULL
    ) STRICT;
    CREATE INDEX chat_by_update ON chat (updated_at);
    CREATE TABLE message (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, chat_id TEXT NOT NULL REFERENCES chat (id),
        parent_id TEXT, role TEXT NOT NULL, text TEXT NOT NULL, created_at REAL NOT NULL, build_id TEXT,
        cost_micro INTEGER NOT NULL DEFAULT 0, route_json TEXT
    ) STRICT;
    CREATE INDEX message_by_parent ON message (chat_id, parent_id);
    CREATE TABLE entry (
        seq INTEGER PRIMARY KEY, idem TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, amount INTEGER NOT NULL, ref TEXT,
        at REAL NOT NULL
    ) STRICT;
    CREATE VIRTUAL TABLE message_index USING fts5(
        text, content='message', content_rowid='seq', tokenize="unicode61 remove_diacritics 2"
    );
    CREATE TRIGGER message_indexed AFTER INSERT ON message BEGIN
        INSERT INTO message_index (rowid, text) VALUES (new.seq, new.text);
    END"""
_PLAIN_NEWEST = """
    SELECT title, id, (SELECT count(*) FROM message WHERE chat_id = chat.id)
    FROM chat ORDER BY updated_at DESC LIMIT ?"""
_PLAIN_SEARCH = """
    SELECT m.chat_id, m.id, c.title, snippet(message_index, 0, '', '', '…', 16), m.created_at
    FROM message_index JOIN message m ON m.seq = message_index.rowid JOIN chat c ON c.id = m.chat_id
    WHERE message_index MATCH ? ORDER BY rank LIMIT ?"""
_PLAIN_PATH = """
    WITH RECURSIVE path (id, parent_id) AS (
        SELECT * FROM (SELECT id, parent_id FROM message WHERE chat_id = ?1 ORDER BY seq DESC LIMIT 1)
        UNION ALL
        SELECT m.id, m.parent_id FROM message m JOIN path p ON m.id = p.parent_id
    )
    SELECT m.id, m.role, m.text, m.created_at, m.build_id, m.cost_micro, m.route_json
    FROM path JOIN message m ON m.id = path.id ORDER BY m.seq"""


class Side(Protocol):
    """One of the two, open. What it returns must be equal on both."""

    def take(self, chat: ImportedChat) -> None:
        """Store a whole conversation."""
        ...

    def turn(self, prompt: str, answer: str) -> None:
        """Hold, store the prompt, settle and store the answer; all turns follow each other in one conversation."""
        ...

    def newest(self, limit: int) -> dict[str, str]:
        """Title and id of the conversations, the last used first."""
        ...

    def search(self, word: str) -> int:
        """The number of hits."""
        ...

    def read(self, chat_id: str) -> int:
        """The number of characters in a conversation."""
        ...

    def close(self) -> None:
        """Close the database."""
        ...


class InVault:
    """nanolocal's vault and ledger, as bootstrap opens them."""

    def __init__(self, directory: Path) -> None:
        self._vault: Vault = open_vault(Paths.choose(directory), None)
        self._wallet: Wallet = open_wallet(self._vault)
        self._store = Conversations(self._vault.database, self._vault.blobs)
        self._chat: tuple[str, str] | None = None

    def take(self, chat: ImportedChat) -> None:
        """See ``Side``."""
        self._store.import_chat(chat)

    def turn(self, prompt: str, answer: str) -> None:
        """See ``Side``."""
        with self._store.transaction() as tx:
            chat_id, parent_id = self._chat or (self._store.start_chat(tx, "turns", None), None)
            hold = self._wallet.hold(tx, BUILD, HOLD_MICRO, chat_id=chat_id)
            prompt_id = self._store.add_prompt(tx, chat_id, parent_id, Message(Role.USER, prompt))
        with self._store.transaction() as tx:
            cost = self._wallet.settle(tx, hold, BUILD, USAGE, chat_id)
            given = Answer(answer, (), ROUTE, USAGE, TIMING, Stopped.END, cost, 0, 1.5, chat_id, None)
            self._chat = chat_id, self._store.add_answer(tx, chat_id, prompt_id, given, hold)

    def newest(self, limit: int) -> dict[str, str]:
        """See ``Side``."""
        return {row.title: row.id for row in self._store.chats(limit)}

    def search(self, word: str) -> int:
        """See ``Side``."""
        return len(self._store.search(word, HITS))

    def read(self, chat_id: str) -> int:
        """See ``Side``."""
        return sum(len(stored.message.text) for stored in self._store.path(chat_id))

    def close(self) -> None:
        """See ``Side``."""
        self._vault.close()


class InPlainSqlite:
    """The same in clear, with the ``sqlite3`` of Python's standard library."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        path = directory / "plain.db"
        is_new = not path.exists()
        self._connection = sqlite3.connect(path, isolation_level=None)
        for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            self._connection.execute(f"PRAGMA {setting}")
        if is_new:
            self._connection.executescript(_PLAIN_TABLES)
        self._rows("SELECT idem, kind, amount FROM entry ORDER BY seq DESC LIMIT 1")
        self._chat: tuple[str, str] | None = None

    def take(self, chat: ImportedChat) -> None:
        """See ``Side``."""
        self._rows("BEGIN IMMEDIATE")
        chat_id = self._start(chat.title, chat.created_at, chat.updated_at)
        ids: dict[str | None, str | None] = {None: None}
        for message in chat.messages:
            parent_id = ids[message.parent_id]
            ids[message.id] = self._add(chat_id, parent_id, message.role, message.text, message.created_at)
        self._rows("COMMIT")

    def turn(self, prompt: str, answer: str) -> None:
        """See ``Side``."""
        now, hold = time.time(), secrets.token_hex(16)
        self._rows("BEGIN IMMEDIATE")
        self._post(hold, "hold", None, now)
        self._rows("COMMIT")
        self._rows("BEGIN IMMEDIATE")
        chat_id, parent_id = self._chat or (self._start("turns", now, now), None)
        prompt_id = self._add(chat_id, parent_id, Role.USER, prompt, now)
        self._rows("COMMIT")
        self._rows("BEGIN IMMEDIATE")
        self._post(f"settle:{hold}", "settle", hold, now)
        self._chat = chat_id, self._add(chat_id, prompt_id, Role.ASSISTANT, answer, now, route_record(ROUTE))
        self._rows("UPDATE chat SET updated_at = ? WHERE id = ?", now, chat_id)
        self._rows("COMMIT")

    def newest(self, limit: int) -> dict[str, str]:
        """See ``Side``."""
        return {str(row[0]): str(row[1]) for row in self._rows(_PLAIN_NEWEST, limit)}

    def search(self, word: str) -> int:
        """See ``Side``."""
        return len(self._rows(_PLAIN_SEARCH, f'"{word}"*', HITS))

    def read(self, chat_id: str) -> int:
        """See ``Side``."""
        return sum(len(str(row[2])) for row in self._rows(_PLAIN_PATH, chat_id))

    def close(self) -> None:
        """See ``Side``."""
        self._connection.close()

    def _rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        return self._connection.execute(sql, values).fetchall()

    def _start(self, title: str, created_at: float, updated_at: float) -> str:
        chat_id = secrets.token_hex(8)
        self._rows(
            "INSERT INTO chat (id, title, created_at, updated_at) VALUES (?, ?, ?, ?)",
            chat_id,
            title,
            created_at,
            updated_at,
        )
        return chat_id

    def _add(
        self, chat_id: str, parent_id: str | None, role: Role, text: str, at: float, route_json: str | None = None
    ) -> str:
        message_id = secrets.token_hex(8)
        self._rows(
            """INSERT INTO message (id, chat_id, parent_id, role, text, created_at, build_id, route_json)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
            *(message_id, chat_id, parent_id, role.value, text, at, BUILD.id, route_json),
        )
        return message_id

    def _post(self, idem: str, kind: str, ref: str | None, at: float) -> None:
        self._rows(
            "INSERT INTO entry (idem, kind, amount, ref, at) VALUES (?, ?, ?, ?, ?)", idem, kind, HOLD_MICRO, ref, at
        )


SIDES: dict[str, Callable[[Path], Side]] = {"vault": InVault, "plain": InPlainSqlite}


@dataclass(frozen=True, slots=True)
class Row:
    """One case: median and 95th percentile of both sides in ``unit``, and the ratio of the medians."""

    case: str
    unit: str
    vault: float
    vault_p95: float
    plain: float
    plain_p95: float
    ratio: float


class Pairs:
    """The samples of every case and side, taken in pairs."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, str], dict[str, list[float]]] = {}
        self._taken = 0

    def timed(self, case: str, work: Callable[[str], object]) -> None:
        """Time ``work`` of each side, which must give the same on both."""
        given: dict[str, object] = {}
        self._taken += 1
        for name in sorted(SIDES, reverse=self._taken % 2 == 0):
            begun = time.perf_counter()
            given[name] = work(name)
            self.add(case, "ms", name, (time.perf_counter() - begun) * 1000)
        if given["vault"] != given["plain"]:
            raise SystemExit(f"{case}: the two sides did not do the same: {given}")

    def add(self, case: str, unit: str, name: str, value: float) -> None:
        """One sample of one side."""
        self._samples.setdefault((case, unit), {side: [] for side in SIDES})[name].append(value)

    def rows(self) -> list[Row]:
        """What was measured."""
        return [_row(case, unit, taken["vault"], taken["plain"]) for (case, unit), taken in self._samples.items()]


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="nanolocal's vault next to plain SQLite, in one run.")
    parser.add_argument("--messages", type=int, default=100_000, metavar="N", help="stored messages (default 100000)")
    parser.add_argument("--repeat", type=int, default=30, metavar="N", help="pairs of each case (default 30)")
    parser.add_argument(
        "--directory", type=Path, metavar="DIR", help="where to put both (default: for temporary files)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args(arguments)
    messages = max(PER_CHAT, args.messages)
    with tempfile.TemporaryDirectory(dir=args.directory) as directory:
        rows = measure(Path(directory), messages, max(1, args.repeat))
    print(json.dumps({"messages": messages, "rows": [asdict(row) for row in rows]}) if args.json else table(rows))
    return 0


def measure(directory: Path, messages: int, repeat: int) -> list[Row]:
    """Fill both sides and take all samples."""
    pairs = Pairs()
    places = {name: directory / name for name in SIDES}
    sides = opened(places)
    for chat in conversations(messages):
        store(pairs, sides, chat)
    close(sides)
    for _ in range(repeat):
        pairs.timed(f"open, list {LISTED} conversations", lambda name: sides.update(opened({name: places[name]})))
        close(sides)
    sides = opened(places)
    chats = {name: list(side.newest(messages // PER_CHAT).values()) for name, side in sides.items()}
    for number in range(repeat):
        use(pairs, sides, chats, number)
    close(sides)
    for _ in range(MEMORY_RUNS):
        for name, place in places.items():
            pairs.add("memory to open and search", "MB", name, in_fresh_process(name, place) / MB)
    for name, place in places.items():
        databases = [path for path in place.rglob("*.db") if path.parent.name != "snapshots"]
        pairs.add("size of the database", "MB", name, total_size(databases) / MB)
        pairs.add("size of all files", "MB", name, total_size(place.rglob("*")) / MB)
    return pairs.rows()


def opened(places: Mapping[str, Path]) -> dict[str, Side]:
    """The sides at these places, with their newest conversations on show."""
    sides = {name: SIDES[name](place) for name, place in places.items()}
    for side in sides.values():
        side.newest(LISTED)
    return sides


def close(sides: Mapping[str, Side]) -> None:
    """Close all."""
    for side in sides.values():
        side.close()


def store(pairs: Pairs, sides: Mapping[str, Side], chat: ImportedChat) -> None:
    """Store one conversation."""
    pairs.timed(f"store a conversation of {PER_CHAT}", lambda name: sides[name].take(chat))


def use(pairs: Pairs, sides: Mapping[str, Side], chats: Mapping[str, Sequence[str]], number: int) -> None:
    """What a user does, for the time ``number``: search, read one of the ``chats``, ask."""
    for kind in PERIODS:
        search(pairs, sides, kind, kind + LETTERS[number % len(LETTERS)])
    chosen = number * 7919 % len(chats["vault"])
    pairs.timed(f"read a conversation of {PER_CHAT}", lambda name: sides[name].read(chats[name][chosen]))
    pairs.timed("append a turn", lambda name: sides[name].turn("a prompt " * 10, "an answer " * 50))


def search(pairs: Pairs, sides: Mapping[str, Side], kind: str, word: str) -> None:
    """Search for a ``word`` of this kind."""
    pairs.timed(f"search a {kind} word", lambda name: sides[name].search(word))


def conversations(messages: int) -> Iterator[ImportedChat]:
    """The same conversations for both sides and in every run; as in a language, few words are frequent."""
    chance = random.Random(1)
    vocabulary = ["".join(chance.choices("aeinorstlu", k=chance.randint(2, 9))) + "z" for _ in range(20_000)]
    frequencies = list(accumulate(1 / rank for rank in range(1, len(vocabulary) + 1)))
    for first in range(0, messages - PER_CHAT + 1, PER_CHAT):
        told = tuple(
            ImportedMessage(
                id=str(number),
                parent_id=None if number == first else str(number - 1),
                role=Role.ASSISTANT if number % 2 else Role.USER,
                text=" ".join(
                    chance.choices(vocabulary, cum_weights=frequencies, k=WORDS_IN_MESSAGE) + planted(number)
                ),
                created_at=1e9 + number,
                author=BUILD.id,
            )
            for number in range(first, first + PER_CHAT)
        )
        yield ImportedChat(f"bench:{first}", f"conversation {first}", 1e9 + first, told[-1].created_at, None, told)


def planted(number: int) -> list[str]:
    """The words to search for that message ``number`` contains."""
    return [
        kind + letter
        for kind, period in PERIODS.items()
        for place, letter in enumerate(LETTERS)
        if number % period == place % period
    ]


def in_fresh_process(name: str, place: Path) -> int:
    """Bytes of memory that one side takes, in a process that has done nothing else."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(memory, name, place).result()


def memory(name: str, place: Path) -> int:
    """Bytes that this process grows by when it opens one side and searches."""
    process = psutil.Process()
    before = process.memory_info().rss
    side = SIDES[name](place)
    side.newest(LISTED)
    for kind in PERIODS:
        for letter in LETTERS:
            side.search(kind + letter)
    grown: int = process.memory_info().rss - before
    side.close()
    return grown


def total_size(paths: Iterable[Path]) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in paths if path.is_file())


def _row(case: str, unit: str, vault: list[float], plain: list[float]) -> Row:
    ratio = statistics.median(vault) / statistics.median(plain)
    return Row(case, unit, *_typical_and_slow(vault), *_typical_and_slow(plain), ratio)


def _typical_and_slow(samples: list[float]) -> tuple[float, float]:
    return statistics.median(samples), sorted(samples)[math.ceil(0.95 * len(samples)) - 1]


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    lines = [f"{'':32}{'vault p50':>12}{'p95':>10}{'plain p50':>12}{'p95':>10}{'x plain':>10}"]
    for row in rows:
        figures = f"{row.vault:12.2f}{row.vault_p95:10.2f}{row.plain:12.2f}{row.plain_p95:10.2f}{row.ratio:10.2f}"
        lines.append(f"{f'{row.case}, {row.unit}':32}{figures}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
