"""``nanolocal credits voucher`` by the real program: the home of an issuer and that of a device."""

import json
import secrets
import time
from pathlib import Path

import pytest

from nanolocal.cli import qr
from nanolocal.ledger.base32 import DEVICE, ISSUER
from nanolocal.ledger.vouchers import Voucher, VoucherKind, key_id, parse, public_key_of, sign
from tests.e2e.conftest import Program
from tests.e2e.terminal import Terminal
from tests.e2e.test_commands import one_error

SEED = bytes(range(32))


@pytest.mark.slow
def test_vouchers_go_from_an_issuer_to_a_device(program: Program, tmp_path: Path) -> None:
    issuer = ("--home", str(tmp_path / "issuer"), "credits", "voucher")
    own = ("credits", "voucher")
    device = program(*own, "device").stdout.strip()
    assert device.startswith("NLD-")
    page, text = tmp_path / "sheet.html", tmp_path / "vouchers.txt"
    made = program(*issuer, "issue", "2.5", "--for", device.lower(), "--count", "2", "--out", str(page), "--json")
    assert made.returncode == 0, made.stderr
    issued = json.loads(made.stdout)
    assert [(one["amount_micro"], one["serial"], one["device"]) for one in issued["vouchers"]] == [
        (2_500_000, 1, device),
        (2_500_000, 2, device),
    ]
    assert page.read_text().count("<svg ") == 2
    assert page.stat().st_mode & 0o777 == 0o600
    one_error(program(*issuer, "issue", "1", "--bearer", "--out", str(page)), 2)
    bearer = program(*issuer, "issue", "1", "--bearer", "--qr")
    assert "once on each device" in bearer.stderr
    assert bearer.stdout.splitlines()[-1] == "\u2580" * 45
    assert "3 handed out, 6.000000 credits" in program(*issuer, "list").stdout
    assert program(*issuer, "list", "--codes", "--out", str(text)).returncode == 0

    code = issued["vouchers"][0]["code"]
    assert "is not trusted here" in one_error(program(*own, "redeem", code), 2)
    assert program(*own, "trust", issued["issuer_key"], "--name", "Ms Smith").returncode == 0
    shown = program(*own, "inspect", text=code)
    assert "Ms Smith" in shown.stdout
    assert "not here" in shown.stdout
    taken = program(*own, "redeem", *(code[at : at + 4].lower() for at in range(0, 176, 4)))
    assert taken.stdout == "2.500000 credits from Ms Smith, serial 1; the balance is 2.600000\n"
    rest = program(*own, "redeem", "--file", str(text), "--json")
    assert rest.returncode == 2
    told = json.loads(rest.stdout)
    assert [one["serial"] for one in told["redeemed"]] == [2, 3]
    assert told["balance_micro"] == 6_100_000
    assert "voucher 1: this voucher was already redeemed here on " in told["refused"][0]["message"]
    assert json.loads(program(*own, "inspect", code, "--json").stdout)["redeemed_at"] > 0
    assert json.loads(program(*own, "issuers", "--json").stdout)["issuers"][0]["redeemed_micro"] == 6_000_000
    assert program(*own, "distrust", "Ms Smith").returncode == 0


def test_a_voucher_that_is_not_good_is_refused_with_its_reason(program: Program) -> None:
    own = ("credits", "voucher")
    device = DEVICE.read(program(*own, "device").stdout)
    key = ISSUER.write(public_key_of(SEED))
    trusted = program(*own, "trust", key, "--name", "\x1b]0;school\x07")
    assert (trusted.returncode, trusted.stderr) == (0, "")
    assert "\x1b" not in trusted.stdout

    def code(serial: int, not_after: int, device: bytes) -> str:
        issuer = key_id(public_key_of(SEED))
        voucher_id = secrets.token_bytes(16)
        return sign(Voucher(VoucherKind.DEVICE, issuer, voucher_id, 5, serial, not_after, device), SEED).code()

    later = int(time.time()) + 3600
    good = code(1, later, device)
    flipped = good[:60] + ("B" if good[60] != "B" else "C") + good[61:]
    for bad, says in (
        (flipped, "not genuine"),
        (good[:-1], "has 176 characters, this one 175"),
        (code(2, later - 7200, device), "was good until"),
        (code(3, later, bytes(range(8))), "made for the device NLD-"),
    ):
        assert says in one_error(program(*own, "redeem", "--json", text=bad), 2)
    assert "not genuine" in one_error(program(*own, "inspect", flipped, "--issuer", key), 2)
    assert json.loads(program("credits", "balance", "--json").stdout)["balance_micro"] == 100_000


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_qr_code_fits_on_the_screen_below_its_letters(tmp_path: Path, no_color: str) -> None:
    terminal = Terminal(tmp_path, "credits", "voucher", "issue", "1", "--bearer", "--qr", NO_COLOR=no_color)
    try:
        assert terminal.wait_for_end() == 0
        told = terminal.raw.decode().replace("\r", "")
        code = parse(told[told.index("\nAEA") + 1 :].partition("\n\n")[0]).code()
        blocks = qr.half_blocks(qr.modules(code))
        assert terminal.text().split("\n") == [*blocks, ""]
        assert told.count("\x1b[38;5;231;48;5;16m") == (0 if no_color else len(blocks))
        assert ("\x1b" in told) == (not no_color)
    finally:
        terminal.close()
