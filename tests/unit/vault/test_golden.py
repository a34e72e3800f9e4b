"""Vaults of every format ever released open, whole, and without nanolocal too.

Each was made by the code of its time: two conversations, a branch, a file of 108,000 bytes, a picture, a deleted chat;
since version 3 also an answer that the end of the program cut off, since version 4 a signed ledger with budgets, an
owner's price, and one of two vouchers redeemed.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nanolocal.errors import UsageError, VaultLocked
from nanolocal.ledger.redeeming import redeem
from nanolocal.vault import docs
from tests.fakes.homes import BUILD, PASSPHRASE, fork, home, open_vault, rooms

GOLDEN = Path(__file__).parents[2] / "data" / "vaults"
CODE_2 = "6BKE-C8FX-57NK-07Z7-MDSE-RYK0-HZHT-6RMG-KXPR-Y7V8-CD8M-Y852-0A20-A99D"
CODE_3 = "J59R-2ACX-CDVS-6R8E-KRJ6-5T0C-MFK5-DRS9-EC48-R122-E9HC-VJHG-TNA0-536Y"
CODE_4 = "KEY1-ZW34-FMBG-0V6D-WJ2F-M0BZ-S8B9-CMWF-R1GH-FQCM-Y7B2-YYRH-HMEG-XVMK"
VOUCHER_4 = (
    "AEAZ3YTBGBV6PII2GKAMCYDF6CVQSZYAYGKAAAAAAAAAAYNIAAAAAAT52TSYS7BTM3F2WCETCUHPAHPRLQLCO54H"
    "IMG6YBSF2USYTGLYUJFDL6X6EKNJGUIEI77JY2HCZK64QDQZG4O2576G2LM3VY6STMUCOJCN6IBGNYQ2YJBHEZYH"
)
NOTES = ("golden notes äöü 漢字\n" * 4000).encode()
OPENERS = [
    ("v1-keyfile", None),
    ("v1-passphrase", PASSPHRASE),
    ("v2-keyfile", None),
    ("v2-passphrase", PASSPHRASE),
    ("v2-passphrase", CODE_2),
    ("v3-keyfile", None),
    ("v3-passphrase", PASSPHRASE),
    ("v3-passphrase", CODE_3),
    ("v4-keyfile", None),
    ("v4-passphrase", PASSPHRASE),
    ("v4-passphrase", CODE_4),
]
TEXTS = [
    ("golden title", "user", "golden prompt one"),
    ("golden title", "assistant", "golden answer one"),
    ("golden title", "user", "golden prompt two"),
    ("golden title", "assistant", "golden answer two"),
    ("golden title", "assistant", "golden branch"),
    ("another title", "user", "second chat"),
    ("another title", "assistant", "its answer"),
]
READER = Path(docs.__file__).parent / "decrypt_vault.py"


def copied(name: str, target: Path) -> Path:
    """A golden vault with the modes that git does not keep."""
    shutil.copytree(GOLDEN / name, target)
    for path in (target, *target.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return target


def records_alone(vault: Path, secret: str | None, *files: Path) -> list[dict[str, Any]]:
    """What the independent reader prints."""
    command = [sys.executable, "-I", str(READER), str(vault), *map(str, files)]
    done = subprocess.run(command, input=f"{secret or ''}\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def read_alone(vault: Path, secret: str | None, *files: Path) -> list[tuple[str, str, str]]:
    """Titles, roles and texts of that."""
    records = records_alone(vault, secret, *files)
    return [(record["title"], record["role"], record["text"]) for record in records]


@pytest.mark.parametrize(("name", "secret"), OPENERS)
def test_a_golden_vault_opens_whole_and_stays_usable(tmp_path: Path, name: str, secret: str | None) -> None:
    directory = copied(name, tmp_path / "home")
    for turns in range(2):
        with home(directory, secret) as here:
            assert here.vault.notices == []
            assert here.vault.verify() == []
            here.wallet.verify((here.vault.anchor.seq, here.vault.anchor.head))
            golden = next(chat for chat in here.store.chats(9) if chat.title == "golden title")
            assert here.store.system_prompt(golden.id) == "golden system"
            branch = here.store.path(golden.id)
            assert [stored.message.text for stored in branch] == ["golden prompt one", "golden branch"]
            assert branch[0].message.attachments[0].data == NOTES
            (deepest,) = {hit.message_id for hit in here.store.search("golden answer two")}
            picture = here.store.path(golden.id, deepest)[-1].message.attachments[0]
            assert picture.data.startswith(b"\x89PNG")
            assert here.store.search("deleted") == []
            assert len(here.store.chats(9)) == 2 + turns
            assert len(here.store.search("golden draft")) == name.startswith(("v3", "v4"))
            here.turn("written today", "and kept")


def test_a_golden_ledger_keeps_its_word(tmp_path: Path) -> None:
    """Allowance, grant and voucher less five answers and the one that was cut off, each at the price of its day."""
    with home(copied("v4-passphrase", tmp_path / "home"), PASSPHRASE) as here:
        assert here.wallet.balance() == 100_000 + 50_000 + 25_000 - 5 * 5 - 8
        assert [(str(budget.scope), budget.limit_micro) for budget, _ in here.wallet.budgets()] == [
            ("day", 90_000),
            ("key:anna/month", 7),
        ]
        assert here.wallet.price(BUILD).evidence == "golden price"
        assert redeem(here.wallet, VOUCHER_4).voucher.amount == 25_000
        with pytest.raises(UsageError, match="already redeemed"):
            redeem(here.wallet, VOUCHER_4)


@pytest.mark.parametrize(("name", "secret"), OPENERS)
def test_the_reader_in_the_documentation_needs_no_nanolocal(tmp_path: Path, name: str, secret: str | None) -> None:
    assert len(READER.read_text(encoding="utf-8").splitlines()) < 100
    files = tmp_path / "files"
    files.mkdir()
    assert read_alone(copied(name, tmp_path / "home"), secret, files) == TEXTS
    assert NOTES in {path.read_bytes() for path in files.iterdir()}


def test_the_reader_sees_what_is_still_in_the_log(tmp_path: Path) -> None:
    directory = tmp_path / "home"

    def work(report: object) -> None:
        here = rooms(open_vault(directory, None))
        here.turn("only in the log", "also there")
        assert callable(report)
        report("stored")
        here.turn("never reported", "x")

    child = fork(work)
    assert next(child.lines) == "stored"
    child.kill()
    assert (directory / "vault.db-wal").stat().st_size > 0
    assert read_alone(directory, None)[:2] == [
        ("a title", "user", "only in the log"),
        ("a title", "assistant", "also there"),
    ]


def test_a_vault_of_the_future_is_refused_and_left_alone(tmp_path: Path) -> None:
    directory = copied("v2-keyfile", tmp_path / "home")
    with home(directory, None) as here:
        here.vault.database.execute("PRAGMA user_version=99")
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    with pytest.raises(VaultLocked, match="newer"):
        open_vault(directory, None)
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before
