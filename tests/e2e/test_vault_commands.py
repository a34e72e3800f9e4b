"""``nanolocal vault``: what a person does to the vault itself, by the real program."""

import json
import secrets
from dataclasses import replace
from pathlib import Path

from nanolocal.vault.promptcache import PromptCacheStore
from tests.e2e.conftest import Program
from tests.fakes.homes import open_vault


def code_of(program: Program, **env: str) -> str:
    shown = program("vault", "recovery", "--json", **env)
    assert shown.returncode == 0, shown.stderr
    code: str = json.loads(shown.stdout)["recovery_code"]
    return code


def test_the_recovery_code_opens_a_vault_whose_key_file_is_lost(program: Program) -> None:
    assert program("ask", "hello").returncode == 0
    code = code_of(program)
    (program.home / "data" / "vault" / "vault.key").unlink()
    locked = program("chats", "list")
    assert (locked.returncode, len(locked.stderr.splitlines())) == (3, 2)
    opened = program("chats", "list", NANOLOCAL_PASSPHRASE=code.lower())
    assert opened.returncode == 0, opened.stderr
    assert "hello" in opened.stdout


def test_a_damaged_database_is_repaired_once_and_said_so(program: Program) -> None:
    assert program("ask", "hello").returncode == 0
    path = program.home / "data" / "vault" / "vault.db"
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)
    repaired = program("chats", "list")
    assert repaired.returncode == 0
    assert "hello" in repaired.stdout
    assert "was restored as it was on" in repaired.stderr
    again = program("vault", "verify", "--quick")
    assert (again.returncode, again.stderr) == (0, "")
    assert "Everything is whole" in again.stdout


def test_an_older_database_is_reported_and_restore_goes_on(program: Program) -> None:
    assert program("ask", "hello").returncode == 0
    path: Path = program.home / "data" / "vault" / "vault.db"
    old = path.read_bytes()
    assert program("ask", "later").returncode == 0
    path.write_bytes(old)
    refused = program("chats", "list")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (6, 2)
    assert "nanolocal vault restore" in refused.stderr
    assert path.read_bytes() == old
    accepted = program("vault", "restore")
    assert accepted.returncode == 0, accepted.stderr
    assert "You went on although" in accepted.stderr
    assert program("ask", "life goes on").returncode == 0


def test_rekey_shred_and_erase(program: Program) -> None:
    assert json.loads(program("ask", "hello", "--json").stdout)["text"]
    old = code_of(program)
    rekeyed = program("vault", "rekey", "--json")
    assert json.loads(rekeyed.stdout)["recovery_code"] != old
    (chat,) = json.loads(program("chats", "list", "--json").stdout)["chats"]
    salt = (program.home / "data" / "vault" / "vault.db").read_bytes()[:16]
    assert program("chats", "delete", chat["id"]).returncode == 2
    assert program("chats", "delete", chat["id"], "--shred", "--yes").returncode == 0
    assert (program.home / "data" / "vault" / "vault.db").read_bytes()[:16] != salt
    assert json.loads(program("vault", "verify", "--quick", "--json").stdout)["messages"] == 0
    assert program("vault", "erase").returncode == 2
    assert program("vault", "erase", "--yes").returncode == 0
    assert list((program.home / "data" / "vault").iterdir()) == []
    assert json.loads(program("vault", "status", "--json").stdout)["state"] == "absent"


def test_an_unknown_snapshot_is_named(program: Program) -> None:
    unknown = program("vault", "restore", "--snapshot", "none.db")
    assert (unknown.returncode, len(unknown.stderr.splitlines())) == (2, 2)


def test_what_models_have_read_is_shown_and_cleared(program: Program) -> None:
    chat_id = json.loads(program("ask", "hello", "--json").stdout)["chat_id"]
    vault = open_vault(program.home / "data" / "vault", None)
    cache = PromptCacheStore(vault.database)
    snapshot = cache.reserve(1000)
    assert snapshot is not None
    snapshot.path.write_bytes(secrets.token_bytes(1000))
    cache.keep(replace(snapshot, tokens=10), "ab" * 32, chat_id)
    vault.close()
    assert json.loads(program("vault", "status", "--json").stdout)["cache_bytes"] == 1000
    assert "1,000 bytes of these hold what models have read" in program("vault", "status").stdout
    shown = json.loads(program("vault", "cache", "--json").stdout)
    assert (shown["bytes"], shown["cleared_bytes"]) == (1000, None)
    assert "1,000 bytes hold what models have read" in program("vault", "cache").stdout
    assert program("vault", "cache", "--clear").stdout.startswith("cleared 1,000 bytes")
    assert not snapshot.path.exists()
    again = json.loads(program("vault", "cache", "--clear", "--json").stdout)
    assert (again["bytes"], again["cleared_bytes"]) == (0, 0)
    assert "hello" in program("chats", "list").stdout
    assert "Everything is whole" in program("vault", "verify", "--quick").stdout


def test_a_budget_of_nothing_clears_them_when_the_program_starts(program: Program) -> None:
    chat_id = json.loads(program("ask", "hello", "--json").stdout)["chat_id"]
    vault = open_vault(program.home / "data" / "vault", None)
    cache = PromptCacheStore(vault.database)
    snapshot = cache.reserve(1000)
    assert snapshot is not None
    cache.keep(snapshot, "ab" * 32, chat_id)
    vault.close()
    assert program("chats", "list").returncode == 0
    assert snapshot.path.exists()
    settings = program.home / "config" / "settings.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("cache_mb = 0\n")
    assert json.loads(program("vault", "cache", "--json").stdout)["budget_bytes"] == 0
    assert program("chats", "list").returncode == 0
    assert not snapshot.path.exists()
