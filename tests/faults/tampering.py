"""Ways to change a ledger from outside, each on a copy of a small vault, and whether anybody notices.

Whoever does this has the database's key, but not the device's: the entries can be rewritten, and not signed.
"""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlcipher3 import dbapi2

from nanolocal.chat.messages import Usage
from nanolocal.chat.ports import Hold
from nanolocal.errors import Damaged, NanolocalError
from nanolocal.ledger import issuers, issuing, redeeming
from nanolocal.ledger.budgets import Scope
from nanolocal.ledger.chain import chain_hash
from nanolocal.ledger.losses import LedgerLosses
from nanolocal.ledger.prices import Electricity, electricity_card
from nanolocal.ledger.schema import GUARDS
from nanolocal.ledger.signing import DeviceKey
from nanolocal.vault import repair
from nanolocal.vault.keys import DatabaseKey
from nanolocal.vault.layout import read_header
from nanolocal.vault.unlock import unlock, unsealed_keys
from tests.fakes.homes import BUILD, MIGRATIONS, Home, home, open_vault, reserve, rooms
from tests.faults.scenario import back_up, bring_back
from tests.unit.ledger.handing import PUBLIC, voucher

Row = tuple[int, str, str, str, bytes | None]  # number, body, hash before, hash, signature
Change = Callable[[dbapi2.Connection], None]

FILES = ("vault.db", "vault.hdr")
_ACCEPT = "INSERT INTO finding VALUES (1, 'never mind', '0:00', 1)"


@dataclass(frozen=True, slots=True)
class Attack:
    """What is done to a copy of the vault; ``name`` says it in words."""

    name: str
    do: Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Ledger:
    """A vault with entries of all kinds, its rows, its key, and earlier states of its files, the oldest first."""

    directory: Path
    key: DatabaseKey
    rows: list[Row]
    states: list[dict[str, bytes]]


# the ledger that is attacked


def small_ledger(room: Path, rounds: int = 3) -> Ledger:
    """Some ten entries and ten a round; the vault was once restored from a backup. Its newest hold is open."""
    with home(room / "before", None) as here:
        code = here.vault.make_recovery_code()
        here.turn("a prompt", "an answer")
        back_up(here.vault, room / "backup")
    directory, states = room / "home", list[dict[str, bytes]]()
    bring_back(directory, code, room / "backup")

    def step(act: Callable[[Home], object]) -> None:
        with home(directory, None) as here:
            act(here)
        states.append({name: (directory / name).read_bytes() for name in FILES})

    step(lambda here: issuers.trust(here.wallet, PUBLIC, "a teacher"))
    for number in range(rounds):
        card = replace(electricity_card(BUILD, Electricity()), source="list", minimum=number)
        code = voucher("good bearer", number, 500, bytes(8), 0).code()
        step(lambda here: here.wallet.top_up(700))
        step(lambda here, card=card: here.wallet.set_price(card))  # type: ignore[misc]
        step(lambda here, n=number: here.wallet.set_budget(Scope.parse("key:anna/day"), 5000 + n))  # type: ignore[misc]
        step(lambda here, code=code: redeeming.redeem(here.wallet, code))  # type: ignore[misc]
        step(lambda here: issuing.issue(here.wallet, "my class", 5_000, 30, [bytes(range(8))]))
        step(lambda here: here.turn("asked", "answered"))
        step(_use)
    step(lambda here: here.hold(40))
    header = read_header(directory)
    key = unsealed_keys(header, unlock(directory, header, None)).database
    with home(directory, None) as here:
        rows = here.vault.database.execute("SELECT seq, body, prev, hash, sig FROM entry ORDER BY seq")
    assert states[-1]["vault.hdr"] == (directory / "vault.hdr").read_bytes()
    return Ledger(directory, key, [(row[0], row[1], row[2], row[3], row[4]) for row in rows], states)


def _use(here: Home) -> None:
    hold = reserve(here.vault.database, here.wallet, 90, key="anna")
    with here.store.transaction() as tx:
        here.wallet.settle(tx, hold, BUILD, Usage(400, 0, 200, 0, 1), None)
    here.wallet.void(here.hold(50))


# attacks


def attacks(ledger: Ledger) -> Iterator[Attack]:
    """All of them."""
    yield from _edits(ledger)
    yield from _orders(ledger)
    yield from _signatures(ledger)
    yield from _tables(ledger)
    yield from _older_files(ledger)


def _edits(ledger: Ledger) -> Iterator[Attack]:
    """Each member of each body, as it is; with its hash made to fit; with all later hashes made to fit."""
    for at, row in enumerate(ledger.rows):
        for name, body in _changed_bodies(row[1]):
            edited = [*ledger.rows]
            edited[at] = (row[0], body, *row[2:])
            yield _rewrite(ledger, f"entry {row[0]}: {name} edited", edited)
            edited = [*edited]
            edited[at] = (row[0], body, row[2], chain_hash(row[2], body), row[4])
            yield _rewrite(ledger, f"entry {row[0]}: {name} edited, its hash too", edited)
            yield _rewrite(ledger, f"entry {row[0]}: {name} edited, all later hashes too", _chained(edited, at))


def _changed_bodies(body: str) -> Iterator[tuple[str, str]]:
    record = json.loads(body)
    for name in record:
        yield name, _canonical(record | {name: _other(record[name])})
        if isinstance(record[name], dict):
            for inner in record[name]:
                changed = record[name] | {inner: _other(record[name][inner])}
                yield f"{name}.{inner}", _canonical(record | {name: changed})
        yield f"{name} (left out)", _canonical({key: value for key, value in record.items() if key != name})
    yield "something new", _canonical(record | {"new": 1})


def _other(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return value[:-1] + ("0" if value[-1:] != "0" else "1")
        case None:
            return 1
        case _:
            return None


def _canonical(record: dict[str, Any]) -> str:
    return json.dumps(record, sort_keys=True, separators=(",", ":"))


def _orders(ledger: Ledger) -> Iterator[Attack]:
    """Deleted, duplicated, swapped, inserted, cut off: as it is, and with numbers and hashes made to fit."""
    rows = ledger.rows
    forged = json.loads(rows[1][1]) | {"kind": "transfer", "debit": "grant:self", "credit": "wallet", "amount": 10**6}
    for at, row in enumerate(rows):
        changes = {
            "deleted": [*rows[:at], *rows[at + 1 :]],
            "duplicated": [*rows[: at + 1], row, *rows[at + 1 :]],
            "duplicated at the end": [*rows, row],
            "swapped with the next": [*rows[:at], *rows[at : at + 2][::-1], *rows[at + 2 :]],
            "cut off here": rows[: at + 1],
        }
        body = _canonical(forged | {"idem": f"forged {at}", "seq": at + 1})
        changes["a forged grant put before"] = [*rows[:at], (0, body, *row[2:]), *rows[at:]]
        for name, changed in changes.items():
            if changed == rows:
                continue
            if name != "cut off here":
                yield _rewrite(ledger, f"entry {row[0]}: {name}", _numbered(changed))
            made = _chained(_numbered(changed, in_bodies=True), at)
            yield _rewrite(ledger, f"entry {row[0]}: {name}, all hashes and sums too", made, sums=True)


def _signatures(ledger: Ledger) -> Iterator[Attack]:
    for at, row in enumerate(ledger.rows):
        sig = row[4] or b""
        following = ledger.rows[(at + 1) % len(ledger.rows)][4]
        for name, other in (("changed", bytes([sig[0] ^ 1]) + sig[1:]), ("removed", None), ("of another", following)):
            edited = [*ledger.rows]
            edited[at] = (*row[:4], other)
            yield _rewrite(ledger, f"entry {row[0]}: signature {name}", edited)


def _tables(ledger: Ledger) -> Iterator[Attack]:
    """Every number and every row of what follows from the entries, the guards, and the prices."""
    with contextlib.closing(_connect(ledger.directory / "vault.db", ledger.key)) as connection:
        for table in ("account", "spent", "held", "price"):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            for row in list(connection.execute(f"SELECT {', '.join(columns)} FROM {table}")):
                key = f"{columns[0]} = ?" + (" AND period = ?" if table == "spent" else "")
                named = row[: 2 if table == "spent" else 1]
                yield _sql(ledger, f"{table} {named}: removed", f"DELETE FROM {table} WHERE {key}", *named)
                for column, value in zip(columns, row, strict=True):
                    if (table, column) in (("price", "seq"), ("price", "recorded_at")):
                        continue  # not what a price says
                    update = f"UPDATE {table} SET {column} = ? WHERE {key}"
                    others = _changed_bodies(value) if column == "body" else [("other", _other(value))]
                    for what, other in others:
                        yield _sql(ledger, f"{table} {named}: {column} {what}", update, other, *named)
    yield _sql(ledger, "account: one more", "INSERT INTO account VALUES ('mine', 0, 5, 0, 0, 0)")
    yield _sql(ledger, "spent: one more", "INSERT INTO spent VALUES ('key:anna', '2031', 0, 0)")
    yield _sql(ledger, "held: one more", "INSERT INTO held SELECT idem FROM entry WHERE kind = 'hold' LIMIT 1")
    for name in GUARDS:
        yield Attack(f"guard {name}: removed", _editing(ledger, _nothing, restores=tuple(GUARDS.keys() - {name})))
    yield _sql(ledger, "finding: accepted by a stranger", _ACCEPT)
    for at, row in enumerate(ledger.rows):
        edited = [*ledger.rows]
        edited[at] = (row[0], _canonical(json.loads(row[1]) | {"amount": 10**6}), *row[2:])
        yield _rewrite(ledger, f"entry {row[0]}: amount edited, and accepted by a stranger", edited, _ACCEPT)
        rest = ledger.rows[: at + 1]
        yield _rewrite(ledger, f"entry {row[0]}: cut off here, and accepted by a stranger", rest, _ACCEPT, sums=True)
    yield _rewrite(ledger, "all entries: signed by another device", _signed_by_another(ledger.rows))


def _older_files(ledger: Ledger) -> Iterator[Attack]:
    """Database and header from an earlier state, one or both, but not both from the same: that is a whole old home."""
    count = len(ledger.states)
    for database in range(count):
        for header in range(count):
            if database == header:
                continue
            files = ledger.states[database]["vault.db"], ledger.states[header]["vault.hdr"]
            yield Attack(f"database of state {database + 1}, header of {header + 1} of {count}", _putting(*files))


def _putting(database: bytes, header: bytes) -> Callable[[Path], None]:
    def put(directory: Path) -> None:
        (directory / "vault.db").write_bytes(database)
        (directory / "vault.hdr").write_bytes(header)

    return put


def _signed_by_another(rows: list[Row]) -> list[Row]:
    """The whole ledger, with a million more, under a key of one's own."""
    own = DeviceKey(bytes(32))
    richer = list[Row]()
    for number, body, *_ in rows:
        record = json.loads(body)
        if record["kind"] == "device":
            record["terms"]["public_key"] = own.public.hex()
        richer.append((number, _canonical(record), "", "", None))
    return [(*row[:4], own.sign(row[3])) for row in _chained(richer, 0)]


def _rewrite(ledger: Ledger, name: str, rows: list[Row], then: str = "", *, sums: bool = False) -> Attack:
    def change(connection: dbapi2.Connection) -> None:
        connection.execute("DELETE FROM entry")
        try:
            _fill(connection, rows)
        except dbapi2.IntegrityError:  # the table itself keeps such rows out: without its rules, then
            (sql,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'entry'").fetchone()
            connection.execute("DROP TABLE entry")
            connection.execute(_without_rules(sql))
            _fill(connection, rows)
        if sums:
            _fit_sums(connection, rows)
        if then:
            connection.execute(then)

    return Attack(name, _editing(ledger, change))


def _fill(connection: dbapi2.Connection, rows: list[Row]) -> None:
    for row in rows:
        connection.execute("INSERT INTO entry (seq, body, prev, hash, sig) VALUES (?, ?, ?, ?, ?)", row)


def _without_rules(sql: str) -> str:
    for rule in ("NOT NULL", "UNIQUE", "REFERENCES account (id)", "REFERENCES price (id)", " STRICT"):
        sql = sql.replace(rule, "")
    return sql


def _fit_sums(connection: dbapi2.Connection, rows: list[Row]) -> None:
    """What follows from the entries, made to fit them."""
    from tests.unit.ledger.folding import Fold

    fold = Fold(is_strict=False)
    for row in rows:
        fold.add(row)
    for table in ("account", "spent", "held"):
        connection.execute(f"DELETE FROM {table}")
    for name, sums in fold.accounts.items():
        connection.execute("INSERT INTO account VALUES (?, ?, ?, ?, ?, ?)", (name, *sums, int(name == "wallet")))
    for where, both in fold.spent.items():
        connection.execute("INSERT INTO spent VALUES (?, ?, ?, ?)", (*where, *both))
    for idem in fold.holds:
        connection.execute("INSERT INTO held VALUES (?)", (idem,))


def _numbered(rows: list[Row], *, in_bodies: bool = False) -> list[Row]:
    numbered = list[Row]()
    for number, (_, body, *rest) in enumerate(rows, 1):
        fitting = _canonical(json.loads(body) | {"seq": number}) if in_bodies else body
        numbered.append((number, fitting, rest[0], rest[1], rest[2]))  # type: ignore[arg-type]
    return numbered


def _chained(rows: list[Row], start: int) -> list[Row]:
    """The same with every hash from ``start`` on made to fit."""
    chained = rows[:start]
    for number, body, _, _, sig in rows[start:]:
        prev = chained[-1][3] if chained else "0" * 64
        chained.append((number, body, prev, chain_hash(prev, body), sig))
    return chained


def _sql(ledger: Ledger, name: str, statement: str, *parameters: object) -> Attack:
    return Attack(name, _editing(ledger, lambda connection: connection.execute(statement, parameters)))


def _nothing(connection: dbapi2.Connection) -> None:
    pass


def _editing(
    ledger: Ledger, change: Callable[[dbapi2.Connection], object], restores: tuple[str, ...] = tuple(GUARDS)
) -> Callable[[Path], None]:
    """Change the database with its guards taken away meanwhile; ``restores`` names those that come back."""

    def edit(directory: Path) -> None:
        with contextlib.closing(_connect(directory / "vault.db", ledger.key)) as connection:
            for name in GUARDS:
                connection.execute(f"DROP TRIGGER {name}")
            connection.execute("PRAGMA ignore_check_constraints=ON")
            change(connection)
            for name in restores:
                connection.execute(GUARDS[name])

    return edit


def _connect(path: Path, key: DatabaseKey) -> dbapi2.Connection:
    connection = dbapi2.connect(str(path), isolation_level=None)
    connection.set_key(b"x'" + key.key.hex().encode() + key.salt.hex().encode() + b"'")
    return connection


# what becomes of them


def outcome(ledger: Ledger, attack: Attack, room: Path) -> tuple[str, list[str]]:
    """Who noticed (``vault``, ``wallet`` or ``verify``; ``SILENT``), and what was wrong with how it went on.

    ``impossible``: the tables do not take such a thing at all.
    """
    directory = room / "home"
    shutil.copytree(ledger.directory, directory)
    try:
        try:
            attack.do(directory)
        except dbapi2.Error:
            return "impossible", []
        noticed, wrong = _noticed(directory)
        if noticed != "SILENT":
            wrong += _accepted(directory)
        return noticed, wrong
    finally:
        shutil.rmtree(directory)


def _noticed(directory: Path) -> tuple[str, list[str]]:
    try:
        vault = open_vault(directory, None)
    except Damaged:
        return "vault", []
    try:
        here = rooms(vault)
        noticed = "wallet"
        if here.wallet.problem is None:
            noticed = "verify"
            try:
                here.wallet.verify((vault.anchor.seq, vault.anchor.head))
            except Damaged:
                return noticed, _spendable(here)
            return "SILENT", []
        return noticed, _spendable(here)
    except Damaged:
        return "vault", []
    except (NanolocalError, dbapi2.Error, ValueError, TypeError, KeyError) as error:
        return "wallet", [f"opening: {type(error).__name__}: {error}"]
    finally:
        vault.close()


def _spendable(here: Home) -> list[str]:
    """What can still be written though it was noticed."""
    head = here.vault.database.execute("SELECT count(*), max(hash) FROM entry")
    wrong = []
    for what, attempt in (
        ("top up", lambda: here.wallet.top_up(5)),
        ("hold", lambda: here.hold(1)),
        ("budget", lambda: here.wallet.set_budget(Scope.parse("day"), 7)),
        ("recover", here.wallet.recover),
    ):
        try:
            if attempt() != 0:
                wrong.append(f"{what} was possible")
        except Damaged:
            continue
    with contextlib.suppress(Damaged):
        here.wallet.void(Hold("unknown", 1))
    if here.vault.database.execute("SELECT count(*), max(hash) FROM entry") != head:
        wrong.append("something was written")
    return wrong


def _accepted(directory: Path) -> list[str]:
    """What is wrong after the owner accepted what was found."""
    try:
        here = rooms(repair.restore(directory, None, MIGRATIONS, LedgerLosses()))
    except (NanolocalError, dbapi2.Error, ValueError, TypeError, KeyError) as error:
        return [f"cannot be accepted: {type(error).__name__}: {error}"]
    try:
        if here.wallet.problem is not None:
            return [f"accepted, and still: {here.wallet.problem.message}"]
        newest = here.vault.database.execute("SELECT body FROM entry WHERE kind = 'restore' ORDER BY seq DESC LIMIT 1")
        wrong = [] if newest and json.loads(newest[0][0]).get("note") else ["the record does not say so"]
        anchor = here.vault.anchor
        here.wallet.verify((anchor.seq, anchor.head))
        here.wallet.top_up(5000)
        here.turn("life", "goes on")
        here.wallet.verify()
        return wrong
    except (NanolocalError, dbapi2.Error, ValueError, TypeError, KeyError) as error:
        return [f"after it was accepted: {type(error).__name__}: {error}"]
    finally:
        here.vault.close()
