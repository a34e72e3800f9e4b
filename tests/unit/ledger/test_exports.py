"""Every export says the same as the wallet, is accepted by the program it is for, and survives hostile names."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from beancount import loader
from beancount.core import data
from hypothesis import given, settings
from hypothesis import strategies as st

from nanolocal.chat.amounts import parse_credits
from nanolocal.cli import exports
from nanolocal.errors import UsageError
from nanolocal.ledger import book
from nanolocal.ledger.chain import WALLET, Entry, EntryKind, Link, changes
from nanolocal.ledger.exports import beancount, hledger, spreadsheet
from nanolocal.ledger.exports.names import HELD_NAME, WALLET_NAME
from nanolocal.ledger.exports.survey import Period, survey
from nanolocal.ledger.exports.writing import FORMATS, beginning, lines
from nanolocal.ledger.replay import State
from tests.fakes.ledgers import DAY, HOSTILE, Ledger, a_ledger, fill

SECOND = "2026-11-28"
ALWAYS = Period()
PERIODS = (ALWAYS, Period(since=SECOND), Period(until=SECOND), Period(SECOND, SECOND), Period("2030-01-01", None))


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with a_ledger(tmp_path_factory.mktemp("ledger")) as made:
        fill(made)
        yield made


def text(ledger: Ledger, kind: str, period: Period = ALWAYS) -> str:
    with ledger.database.snapshot() as source:
        return "".join(lines(source, kind, period))


def balances(ledger: Ledger, period: Period) -> dict[str, int]:
    """What the accounts must have at the end of the period, by their exported names."""
    start = beginning(ledger.database)
    sums = survey(book.links(ledger.database), period, start).balances()
    return {name: amount for name, amount in sums.items() if amount}


def micro(amount: str) -> int:
    return -parse_credits(amount[1:]) if amount.startswith("-") else parse_credits(amount)


def test_the_closing_balances_are_those_of_the_wallet(ledger: Ledger) -> None:
    sums = balances(ledger, Period())
    posted, held = ledger.database.execute(
        "SELECT credits_posted - debits_posted, debits_pending FROM account WHERE id = ?", (WALLET,)
    )[0]
    assert sums[WALLET_NAME] == ledger.wallet.balance()
    assert sums[HELD_NAME] == held == 523
    assert sums[WALLET_NAME] + sums[HELD_NAME] == posted
    assert sum(sums.values()) == 0


@pytest.mark.skipif(shutil.which("hledger") is None, reason="hledger is not installed")
@pytest.mark.parametrize("period", PERIODS, ids=str)
def test_hledger_accepts_the_journal_and_adds_it_up_alike(ledger: Ledger, period: Period) -> None:
    journal = text(ledger, "hledger", period)
    hledger_says(journal, "check", "-s")
    rows = list(csv.reader(io.StringIO(hledger_says(journal, "bal", "--flat", "-O", "csv", "-N"))))[1:]
    assert {row[0]: micro(row[1].removesuffix(" CREDIT")) for row in rows} == balances(ledger, period)
    assert len(hledger_says(journal, "print", "--pending").split("; hash:")) == 1 + (2 if period.until is None else 1)


@pytest.mark.parametrize("period", PERIODS, ids=str)
def test_beancount_accepts_the_file_and_adds_it_up_alike(ledger: Ledger, tmp_path: Path, period: Period) -> None:
    file = tmp_path / "x.beancount"
    file.write_text(text(ledger, "beancount", period), encoding="utf-8")
    entries, errors, _ = loader.load_file(str(file))
    assert errors == []
    moved = [entry for entry in entries if isinstance(entry, data.Transaction)]
    sums: Counter[str] = Counter()
    for posting in (posting for entry in moved for posting in entry.postings):
        assert posting.units is not None
        assert posting.units.number is not None
        sums[posting.account] += int(posting.units.number * 1_000_000)
    assert {account: amount for account, amount in sums.items() if amount} == balances(ledger, period)
    posted = [entry for entry in moved if "entry" in entry.meta]
    for entry in posted:
        stored = ledger.database.execute("SELECT hash FROM entry WHERE seq = ?", (int(entry.meta["entry"]),))
        assert stored == [(entry.meta["hash"],)]
    if period == ALWAYS:
        subprocess.run([Path(sys.executable).with_name("bean-check"), str(file)], check=True)


@pytest.mark.parametrize("period", PERIODS, ids=str)
def test_the_rows_of_the_csv_add_up_to_the_wallet(ledger: Ledger, period: Period) -> None:
    written = text(ledger, "csv", period)
    rows = list(csv.DictReader(io.StringIO(written, newline="")))
    expected = balances(ledger, period)
    held = sum(int(row["held_micro_credits"]) for row in rows)
    assert held == expected.get(HELD_NAME, 0)
    assert sum(int(row["micro_credits"]) for row in rows) - held == expected[WALLET_NAME]
    assert all(micro(row["credits"]) == int(row["micro_credits"]) for row in rows)
    assert written.count("\r\n") == written.count("\n") == len(rows) + 1


def test_no_cell_of_the_csv_becomes_a_formula(ledger: Ledger) -> None:
    rows = list(csv.DictReader(io.StringIO(text(ledger, "csv"), newline="")))
    numbers = {"credits", "micro_credits", "held_credits", "held_micro_credits"}
    cells = [cell for row in rows for name, cell in row.items() if name not in numbers]
    assert not [cell for cell in cells if cell[:1] in "=+-@\t\r" and cell]
    assert {row["note"] for row in rows} >= {'\'=cmd|" /C calc"!A0', "'@SUM(1) -1"}


def test_the_json_lines_fold_to_the_wallet(ledger: Ledger) -> None:
    records = [json.loads(line) for line in text(ledger, "jsonl").splitlines()]
    entries = [Entry.from_body(json.dumps(record["body"])) for record in records if "body" in record]
    wallet: Counter[str] = Counter()
    for entry in entries:
        posted, pending = changes(entry)
        wallet[entry.credit] += posted
        wallet[entry.debit] -= posted + (pending if entry.debit == WALLET else 0)
    assert wallet[WALLET] == ledger.wallet.balance()
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))


@pytest.mark.parametrize("kind", FORMATS)
def test_an_export_is_plain_text_without_anything_a_terminal_acts_on(ledger: Ledger, kind: str) -> None:
    written = text(ledger, kind)
    assert not [each for each in written if ord(each) < 0x20 and each not in "\r\n"]
    assert not set("\x7f\u202e\u2028\u200b\ufeff") & set(written)
    assert written.encode() == written.encode("utf-8", "strict")


@settings(max_examples=15, deadline=None)
@given(st.lists(st.text(max_size=30) | st.sampled_from(HOSTILE), min_size=1, max_size=25))
def test_any_text_is_only_text(texts: list[str]) -> None:
    entries = [
        Entry(
            f"x{n}",
            EntryKind.TRANSFER,
            f"issuer:{text}",
            WALLET,
            10 + n,
            n * DAY * 1000,
            n + 1,
            note=text,
            build_id=text,
        )
        for n, text in enumerate(texts)
    ]
    links = [Link(entry, entry.body(), "0" * 64, "f" * 64, None) for entry in entries]
    seen = survey(links, ALWAYS, State())
    assert len(seen.names) == len(set(texts)) + 1 == len(set(seen.names.values()))
    parsed, errors, _ = loader.load_string("".join(beancount.write(links, seen)))
    assert errors == []
    assert sum(isinstance(entry, data.Transaction) for entry in parsed) == len(texts)
    rows = list(csv.reader(io.StringIO("".join(spreadsheet.write(links, seen)), newline=""), strict=True))
    assert {len(row) for row in rows} == {len(spreadsheet.COLUMNS)}
    if shutil.which("hledger") is not None:
        journal = "".join(hledger.write(links, seen))
        printed = hledger_says(journal, "print")
        assert hledger_says(journal, "check", "-s") == ""
        assert len(re.findall(r"^\d{4}-\d\d-\d\d \*", printed, re.MULTILINE)) == len(texts) + 1


def hledger_says(journal: str, *arguments: str) -> str:
    command = ["hledger", "-f-", *arguments]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, input=journal, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_offers_every_format() -> None:
    assert exports.FORMATS == FORMATS


def test_accounts_that_look_alike_keep_names_of_their_own(tmp_path: Path) -> None:
    with a_ledger(tmp_path) as ledger:
        for name in ("a b", "a-b", "A--B", "a\nb"):
            ledger.receive(5, name)
        sums = balances(ledger, Period())
        assert sorted(sums.values()) == [-100_000, -5, -5, -5, -5, 100_020]
        assert "Income:Nanolocal:Issuer:A-b" in sums


def test_a_period_without_entries_has_no_json_lines(ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="no entry in this period"):
        text(ledger, "jsonl", Period("2030-01-01"))
