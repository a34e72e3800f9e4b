"""Budgets, names and a ledger that was changed, as a user of the command line meets them."""

import json
import re
import subprocess
from typing import Any

import pytest

from tests.e2e.conftest import Program
from tests.fakes.homes import open_vault

pytestmark = pytest.mark.slow

ASK = ("ask", "Hello!", "--max-tokens")
LONG = "6000"


def given(program: Program, *args: str) -> dict[str, Any]:
    """What a command that succeeded said as JSON."""
    result = program(*args, "--json")
    assert result.returncode == 0, result.stderr
    said: dict[str, Any] = json.loads(result.stdout)
    return said


def refused(program: Program, code: int, *args: str) -> "subprocess.CompletedProcess[str]":
    """A command that failed with ``code`` and one error line."""
    result = program(*args)
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    assert result.stderr.count("error:") == 1
    return result


def entries(program: Program) -> int:
    number: int = given(program, "credits", "verify")["entries"]
    return number


def test_a_budget_refuses_with_an_offer_that_works_and_is_lifted(program: Program, slow_build: str) -> None:
    assert given(program, "credits", "budget") == {"budgets": []}
    assert program("credits", "budget").stdout == "no budget\n"
    limit = {"scope": "day", "limit_micro": 10, "spent_micro": 0, "left_micro": 10}
    assert given(program, "credits", "budget", "day", "0.00001") == {"budgets": [limit]}
    quote = given(program, "route", "Hello!", "--max-tokens", LONG)["quote_micro"]
    assert quote > 10
    assert "that is more than a budget leaves" in program("route", "Hello!", "--max-tokens", LONG).stdout
    result = refused(program, 5, *ASK, LONG)
    assert "the budget of 0.000010 credits a day has 0.000010 left" in result.stderr
    assert "nanolocal credits budget day CREDITS" in result.stderr
    offered = int(re.findall(r"--max-tokens (\d+)", result.stderr)[0])
    assert refused(program, 5, *ASK, str(2 * offered + 1)).stderr
    answer = given(program, *ASK, str(offered))
    assert answer["build"] == slow_build
    assert 0 < answer["cost_micro"] <= 10
    row = given(program, "credits", "budget", "day")["budgets"][0]
    assert (row["spent_micro"], row["left_micro"]) == (answer["cost_micro"], 10 - answer["cost_micro"])
    assert "day     0.000010" in program("credits", "budget").stdout
    refused(program, 5, *ASK, LONG)
    assert program("credits", "budget", "day", "off").stdout == "no budget for day\n"
    assert given(program, *ASK, "20")["text"]


def test_what_somebody_spends_is_counted_under_a_name_with_a_budget(program: Program) -> None:
    program("credits", "budget", "key:anna/month", "0")
    refused(program, 5, "ask", "Hello!", "--key", "anna")
    refused(program, 5, "image", "a red circle", "--key", "anna", "--out", str(program.home / "x.png"))
    assert not (program.home / "x.png").exists()
    assert given(program, "ask", "Hello!", "--key", "bob", "--max-tokens", "5")["text"]
    assert given(program, "ask", "Hello!", "--max-tokens", "5")["text"]
    each = given(program, "credits", "budget", "chat", "0.01")["budgets"]
    assert each == [{"scope": "chat", "limit_micro": 10_000, "spent_micro": None, "left_micro": None}]
    refused(program, 2, "ask", "Hello!", "--key", "")


@pytest.mark.parametrize(
    "args",
    [
        ("week", "0.1"),
        ("day:monday", "0.1"),
        ("key:", "0.1"),
        ("day", "-1"),
        ("day", "nan"),
        ("day", "1e3"),
        ("day", "9223372036854775808"),
        ("day", ""),
    ],
)
def test_a_scope_or_amount_that_is_none_writes_nothing(program: Program, args: tuple[str, str]) -> None:
    refused(program, 2, "credits", "budget", *args)
    assert not (program.home / "data" / "vault").exists()


def test_a_quote_is_left_out_where_the_vault_would_ask_or_is_not_there(program: Program) -> None:
    assert "quote_micro" not in given(program, "route", "Hello!")
    assert not (program.home / "data" / "vault").exists()
    assert program("credits", "balance", NANOLOCAL_PASSPHRASE="quagga").returncode == 0
    assert "quote_micro" not in given(program, "route", "Hello!")
    opened = program("route", "Hello!", "--json", NANOLOCAL_PASSPHRASE="quagga")
    assert json.loads(opened.stdout)["quote_micro"] > 0
    wrong = program("route", "Hello!", "--json", NANOLOCAL_PASSPHRASE="zebra")
    assert (wrong.returncode, wrong.stderr) == (0, "")
    assert "quote_micro" not in json.loads(wrong.stdout)


def tamper(program: Program) -> None:
    """Raise a charge, as somebody with the key and patience could."""
    vault = open_vault(program.home / "data" / "vault", None)
    try:
        with vault.database.transaction() as tx:
            tx.execute("DROP TRIGGER entry_is_final")
            tx.execute("UPDATE entry SET body = replace(body, '\"amount\":', '\"amount\":1') WHERE kind = 'settle'")
    finally:
        vault.close()


def test_a_ledger_that_was_changed_can_only_be_read_until_the_owner_accepts_it(program: Program) -> None:
    given(program, "ask", "Hello!", "--max-tokens", "5")
    balance = program("credits", "balance").stdout
    tamper(program)
    assert refused(program, 6, "credits", "verify").stderr.endswith("hint: nanolocal vault restore\n")
    why = "nanolocal: the ledger is read-only: ledger entry "
    for part in (["balance"], ["history"], ["budget"]):
        result = program("credits", *part)
        assert result.returncode == 0
        assert result.stderr.startswith(why) and result.stderr.count("\n") == 1
    assert program("credits", "balance").stdout == balance
    for args in (["ask", "Hello!"], ["credits", "topup", "1"], ["credits", "budget", "day", "1"]):
        refused(program, 6, *args)
    chats = given(program, "chats", "list")["chats"]
    assert len(chats) == 1
    assert given(program, "chats", "show", chats[0]["id"])["messages"]
    assert given(program, "doctor")["ledger"].startswith("read-only: ledger entry ")
    assert program("vault", "verify", "--quick").returncode == 6
    restored = program("vault", "restore", "--yes")
    assert restored.returncode == 0, restored.stderr
    number = entries(program)
    shown = given(program, "credits", "history")["entries"][0]
    assert (shown["kind"], shown["seq"]) == ("restore", number - 1)  # the price in force is declared anew after it
    assert re.match(r"You went on although ledger entry \d+ was changed", shown["note"])
    assert given(program, "doctor")["ledger"] == "can be spent from"
    assert given(program, "ask", "Hello!", "--max-tokens", "5")["cost_micro"] > 0
    assert entries(program) > number
