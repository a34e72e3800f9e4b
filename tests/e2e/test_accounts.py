"""Usage, exports and receipts as a user types them, and as somebody without the vault checks them."""

import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.e2e.conftest import Program
from tests.e2e.test_commands import one_error

pytestmark = pytest.mark.slow


@pytest.fixture
def answered(program: Program) -> dict[str, object]:
    """What `ask --json` says of an answer in a new home."""
    done = program("ask", "Tell me a short story about a fox.", "--json", "--max-tokens", "60")
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_a_receipt_is_shown_and_checked_by_who_has_no_vault(
    program: Program, answered: dict[str, object], tmp_path: Path
) -> None:
    message_id = str(answered["message_id"])
    shown = program("credits", "show", message_id)
    assert shown.returncode == 0
    for words in ("answer tokens", "rounded up", "charged        0.0000", "electricity, estimated", "signed by"):
        assert words in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
    receipt = json.loads(program("credits", "show", message_id, "--json").stdout)
    assert receipt["body"]["amount"] == answered["cost_micro"]
    shutil.rmtree(program.home)
    file, key = tmp_path / "receipt.json", receipt["public_key"]
    file.write_text(json.dumps(receipt, indent=2))
    checked = program("receipt", "verify", str(file), "--key", key)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "signed by the device whose key was given" in checked.stdout
    piped = program("receipt", "verify", "-", "--json", text=file.read_text())
    assert json.loads(piped.stdout)["verified"] is True
    one_error(program("receipt", "verify", str(file), "--key", "00" * 32), 6)
    one_error(program("receipt", "verify", str(file), "--key", "no key"), 2)
    receipt["body"]["amount"] += 1
    file.write_text(json.dumps(receipt))
    assert f"entry {receipt['body']['seq']} was changed" in one_error(program("receipt", "verify", str(file)), 6)
    file.write_text("a letter")
    one_error(program("receipt", "verify", str(file)), 2)
    one_error(program("receipt", "verify", str(tmp_path / "nothing")), 2)
    assert not program.home.exists()


def test_an_export_is_written_whole_for_its_owner_alone_and_never_over_a_file(
    program: Program, answered: dict[str, object], tmp_path: Path
) -> None:
    file = tmp_path / "out" / "ledger.jsonl"
    one_error(program("credits", "export", "--format", "jsonl", "--out", str(file)), 2)
    file.parent.mkdir()
    written = program("credits", "export", "--format", "jsonl", "--out", str(file))
    assert (written.returncode, written.stdout) == (0, "")
    assert "is not encrypted" in written.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()
    assert "exists" in one_error(program("credits", "export", "--format", "csv", "--out", str(file)), 2)
    assert (file.read_bytes(), list(file.parent.iterdir())) == (before, [file])
    piped = program("credits", "export", "--format", "jsonl", "--quiet")
    assert (piped.stdout.encode(), piped.stderr) == (before, "")
    replaced = program("credits", "export", "--format", "csv", "--out", str(file), "--overwrite", "--json", "--quiet")
    assert json.loads(replaced.stdout) == {"format": "csv", "path": str(file)}
    assert file.read_bytes().startswith(b"entry,day,time,")
    one_error(program("credits", "export", "--format", "csv", "--since", "tomorrow"), 2)
    one_error(program("credits", "export", "--format", "csv", "--since", "2026-02-01", "--until", "2026-01-01"), 2)
    one_error(program("credits", "export", "--format", "csv", "--json"), 2)
    file.write_bytes(before)
    shutil.rmtree(program.home)
    checked = json.loads(program("credits", "verify", "--file", str(file), "--json").stdout)
    assert (checked["verified"], checked["balance_micro"]) == (True, answered["balance_micro"])
    assert program("credits", "verify", "--file", str(file), "--key", checked["public_key"]).returncode == 0
    file.write_bytes(before.replace(b'"kind":"settle"', b'"kind":"void"'))
    assert "was changed" in one_error(program("credits", "verify", "--file", str(file)), 6)
    one_error(program("credits", "verify", "--file", str(file), "--key", "1"), 2)
    one_error(program("credits", "verify", "--key", "00" * 32), 2)
    assert not program.home.exists()


@pytest.mark.skipif(shutil.which("hledger") is None, reason="hledger is not installed")
def test_hledger_reads_what_is_piped_to_it(program: Program, answered: dict[str, object]) -> None:
    journal = program("credits", "export", "--format", "hledger").stdout
    done = subprocess.run(["hledger", "-f-", "check", "-s"], input=journal, text=True, check=False)
    assert done.returncode == 0


def test_usage_is_told_as_a_table_as_json_as_bars_and_as_a_picture(
    program: Program, answered: dict[str, object], tmp_path: Path
) -> None:
    cost, tokens = answered["cost_micro"], answered["usage"]
    assert isinstance(tokens, dict)
    told = json.loads(program("credits", "usage", "--by", "month,model", "--json").stdout)
    assert told["by"] == ["month", "model"]
    row = told["rows"][0]
    assert (row["model"], row["requests"], row["cost_micro"]) == (answered["build"], 1, cost)
    assert row["completion_tokens"] == tokens["completion_tokens"]
    assert told["total"] == {name: row[name] for name in told["total"]}
    table = program("credits", "usage", "--by", "day,model,chat,key").stdout.splitlines()
    assert table[-1].startswith("TOTAL")
    assert max(map(len, table)) <= 80
    picture = tmp_path / "usage.svg"
    drawn = program("credits", "usage", "--plot", "--svg", str(picture), NO_COLOR="1", TERM="dumb")
    assert "█" in drawn.stdout
    assert "\x1b" not in drawn.stdout
    assert ET.parse(picture).getroot().tag.endswith("svg")
    assert picture.stat().st_mode & 0o777 == 0o600
    one_error(program("credits", "usage", "--svg", str(picture)), 2)
    one_error(program("credits", "usage", "--by", "colour"), 2)
    nothing = program("credits", "usage", "--until", "2020-01-01", "--plot")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "nothing was spent" in nothing.stderr
