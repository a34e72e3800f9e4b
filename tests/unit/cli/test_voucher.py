import io
import json
from pathlib import Path

import pytest

from nanolocal.cli import sheet
from nanolocal.cli.main import main
from nanolocal.ledger.base32 import DEVICE, ISSUER
from nanolocal.ledger.vouchers import Voucher, VoucherKind, key_id, public_key_of, sign

SEED = bytes(range(32))
PUBLIC = public_key_of(SEED)
OWN = bytes(range(1, 9))
GIFT = sign(Voucher(VoucherKind.DEVICE, key_id(PUBLIC), bytes(16), 2_500_000, 7, 4_000_000_000, OWN), SEED)
CASH = sign(Voucher(VoucherKind.BEARER, key_id(PUBLIC), bytes(16), 1, 8, 1_000_000_000), SEED)
DEVICE_ID = DEVICE.write(OWN)
ISSUER_KEY = ISSUER.write(PUBLIC)


class Shell:
    """Commands in a home that is not there yet."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str, text: str = "") -> tuple[int, str, str]:
        self._monkeypatch.setattr("sys.stdin", io.StringIO(text))
        code = main(["--home", str(self.home), "credits", "voucher", *arguments])
        return (code, *self._capsys.readouterr())


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path / "home", monkeypatch, capsys)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("issue", "1"), "one of the arguments --for --bearer is required"),
        (("issue", "1", "--bearer", "--for", DEVICE_ID), "not allowed with argument"),
        (("issue", "NaN", "--bearer"), "'NaN' is not an amount of credits"),
        (("issue", "-1", "--bearer"), "'-1' is not an amount of credits"),
        (("issue", "1e3", "--for", DEVICE_ID), "'1e3' is not an amount of credits"),
        (("issue", "1", "--for", DEVICE_ID[:-1] + "7"), "a device id was mistyped"),
        (("issue", "1", "--for", ISSUER_KEY), "a device id begins with NLD-, not 'NLK-"),
        (("issue", "1", "--bearer", "--out", "x.pdf"), ".html or .txt, not as x.pdf"),
        (("issue", "1", "--bearer", "--out", "no/x.txt"), "there is no folder no"),
        (("trust", DEVICE_ID), "an issuer key begins with NLK-"),
        (("redeem",), "there is no voucher in standard input"),
        (("redeem", "--file", "no.txt"), "cannot read vouchers from no.txt: No such file"),
        (("redeem", "AEAA", "--file", "no.txt"), "a code or a file, not both"),
        (("inspect", "AEAA"), "has 176 characters, this one 4: 172 too few"),
        (("inspect", CASH.code(), "--issuer", ISSUER.write(bytes(32))), "not genuine"),
    ],
)
def test_bad_arguments_are_told_in_one_sentence_and_make_no_vault(
    shell: Shell, arguments: tuple[str, ...], says: str
) -> None:
    code, out, err = shell(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("nanolocal: error: ")
    assert says in err
    assert not shell.home.exists()


def test_text_that_is_none_and_text_without_end_are_refused(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"\xff\xfe\x00")
    assert "it is not text" in shell("redeem", "--file", str(tmp_path / "x.bin"))[2]
    (tmp_path / "y.txt").write_text("A" * 1_000_001)
    assert "more than 1,000,000 characters" in shell("redeem", "--file", str(tmp_path / "y.txt"))[2]
    assert "these are 2 vouchers" in shell("inspect", text=sheet.text([GIFT, CASH]))[2]


def test_a_voucher_is_checked_against_a_key_without_a_vault(shell: Shell) -> None:
    code, out, _ = shell("inspect", "--issuer", ISSUER_KEY, "--json", *CASH.text().split())
    told = json.loads(out)
    assert (code, told["genuine"], told["expired"], told["kind"], told["device"]) == (0, True, True, "bearer", None)
    _, out, _ = shell("inspect", "--issuer", ISSUER_KEY.lower(), text=sheet.text([GIFT]))
    assert out.splitlines()[:2] == ["credits   2.500000", f"for       {DEVICE_ID}"]
    assert not shell.home.exists()


def test_a_page_to_print_has_a_picture_and_the_letters_of_each_voucher() -> None:
    page = sheet.page([GIFT, CASH])
    assert page.count("<svg ") == 2
    for voucher in (GIFT, CASH):
        assert voucher.text() in page
    assert DEVICE_ID in page
    assert "for whoever has it" in page
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
