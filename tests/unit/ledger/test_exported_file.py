"""A file of JSON lines proves itself: any change of it is refused, or is none."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest

from nanolocal.chat.messages import Usage
from nanolocal.errors import Damaged, NanolocalError, UsageError
from nanolocal.ledger import links, receipts
from nanolocal.ledger.chain import WALLET, Entry, EntryKind, chain_hash
from nanolocal.ledger.exports.reading import Audited, check
from nanolocal.ledger.exports.survey import Period
from nanolocal.ledger.exports.writing import lines
from nanolocal.ledger.receipts import receipt
from nanolocal.ledger.signing import DeviceKey, is_signed
from nanolocal.ledger.usage import total, usage
from tests.fakes.homes import DEVICE, home
from tests.fakes.ledgers import DAY, Ledger, a_ledger, fill
from tests.unit.vault.test_golden import copied

OTHER = DeviceKey(bytes(32))
ALWAYS = Period()


@pytest.fixture(autouse=True)
def _each_signature_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same signatures come thousands of times here, and each check takes long."""
    monkeypatch.setattr(links, "is_signed", lru_cache(is_signed))


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with a_ledger(tmp_path_factory.mktemp("ledger")) as made:
        fill(made)
        yield made


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with a_ledger(tmp_path_factory.mktemp("small")) as made:
        made.ask(Usage(30, 10, 5), chat_id="c")
        made.clock[0] += DAY
        made.hold(7)
        yield made


def exported(ledger: Ledger, period: Period = ALWAYS) -> bytes:
    return "".join(lines(ledger.database, "jsonl", period)).encode()


def checked(data: bytes, key: bytes | None = None) -> Audited:
    return check(data.splitlines(keepends=True), key)


def test_a_whole_ledger_is_right_under_its_key(ledger: Ledger) -> None:
    found = checked(exported(ledger), DEVICE.public)
    last, head = ledger.database.execute("SELECT seq, hash FROM entry ORDER BY seq DESC LIMIT 1")[0]
    assert (found.opening, found.last, found.head, found.signed) == (0, last, head, last)
    assert (found.available, found.open_holds, found.public) == (ledger.wallet.balance(), 2, DEVICE.public)


def test_a_part_is_right_and_says_what_it_takes_for_granted(ledger: Ledger) -> None:
    found = checked(exported(ledger, Period("2026-11-28", "2026-11-28")), DEVICE.public)
    assert 0 < found.opening < found.last
    assert found.open_holds == 1


def test_the_key_of_another_device_is_refused(small: Ledger) -> None:
    with pytest.raises(Damaged, match="the last, is not signed by the key"):
        checked(exported(small), OTHER.public)


@pytest.mark.parametrize("period", [Period(), Period("2026-11-28")], ids=["whole", "part"])
def test_any_changed_byte_is_refused(small: Ledger, period: Period) -> None:
    data = exported(small, period)
    for place in range(len(data)):
        bytes_put = (data[place] ^ 1, data[place] ^ 0x20, ord("0"), ord(" "))
        changed = data[:place] + bytes([bytes_put[place % 4]]) + data[place + 1 :]
        if changed == data:
            continue
        with pytest.raises(NanolocalError) as refused:
            checked(changed)
        assert refused.value.exit_code in (2, 6)


def test_a_file_that_is_cut_off_anywhere_is_refused(small: Ledger) -> None:
    data = exported(small)
    for end in range(0, len(data), 3):
        with pytest.raises((Damaged, UsageError)):
            checked(data[:end])
    with pytest.raises(Damaged, match="after the end"):
        checked(data + data.splitlines(keepends=True)[-1])


def test_lines_left_out_repeated_or_swapped_are_refused(small: Ledger) -> None:
    whole = exported(small).splitlines(keepends=True)
    for place in range(len(whole)):
        with pytest.raises(NanolocalError):
            check(whole[:place] + whole[place + 1 :])
        with pytest.raises(NanolocalError):
            check(whole[:place] + whole[place : place + 1] + whole[place:])
        if place + 1 < len(whole):
            with pytest.raises(NanolocalError):
                check([*whole[:place], whole[place + 1], whole[place], *whole[place + 2 :]])


def forged(small: Ledger, change: Callable[[Entry], Entry]) -> bytes:
    """The file with one entry changed and everything after it hashed and signed anew by the device itself."""
    records = [json.loads(line) for line in exported(small).splitlines()]
    prev = "0" * 64
    for record in records[1:-1]:
        if "body" in record:
            body = change(Entry.from_body(json.dumps(record["body"]))).body()
            hashed = chain_hash(prev, body)
            record.update(body=json.loads(body), prev=prev, hash=hashed, sig=DEVICE.sign(hashed).hex())
            prev = hashed
    records[0]["head"] = records[-1]["closing"]["head"] = prev
    return b"".join(json.dumps(one, sort_keys=True, separators=(",", ":")).encode() + b"\n" for one in records)


def test_a_forgery_without_a_change_is_the_file_itself(small: Ledger) -> None:
    assert forged(small, lambda entry: entry) == exported(small)


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        (EntryKind.SETTLE, {"amount": 3}, "its usage costs"),
        (EntryKind.SETTLE, {"usage": Usage(0, 0, 1_000_000)}, "its usage costs 100000"),
        (EntryKind.SETTLE, {"held": 501}, "does not fit its hold"),
        (EntryKind.SETTLE, {"ref": "nothing"}, "does not fit its hold"),
        (EntryKind.SETTLE, {"usage": None}, "without a usage"),
        (EntryKind.HOLD, {"amount": 200_000}, "more than the wallet has"),
        (EntryKind.TRANSFER, {"amount": 2**63 - 1}, "closing sums"),
        (EntryKind.TRANSFER, {"credit": "elsewhere"}, "more than the wallet has"),
        (EntryKind.TRANSFER, {"amount": 5}, "more than the wallet has"),
        (EntryKind.DEVICE, {"terms": {"public_key": "00"}}, "no device key"),
    ],
)
def test_what_the_device_itself_signed_must_still_add_up(
    small: Ledger, kind: EntryKind, changes: dict[str, object], says: str
) -> None:
    def change(entry: Entry) -> Entry:
        return replace(entry, **changes) if entry.kind is kind else entry  # type: ignore[arg-type]

    with pytest.raises(Damaged, match=says):
        checked(forged(small, change))


def test_a_voucher_counts_once(tmp_path: Path) -> None:
    with a_ledger(tmp_path) as ledger:
        ledger.receive(10, "one")
        ledger.receive(10, "two")
        twice = forged(
            ledger,
            lambda entry: replace(entry, idem="voucher:one") if entry.credit == WALLET and entry.seq > 2 else entry,
        )
        with pytest.raises(Damaged, match="repeats an earlier one"):
            checked(twice)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"[]\n",
        b"{}\n",
        b"\xff\n",
        b'{"format":"nanolocal-ledger"}\n',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":1e9}\n',
        b'{"a":NaN}\n',
        b'{"a":' + b"9" * 10_000 + b"}\n",
        b"x" * (2 << 20),
    ],
    ids=range(12),
)
def test_what_is_no_exported_ledger_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(UsageError, match="this is no exported ledger"):
        checked(data)


def test_an_accepted_ledger_is_followed_from_its_acceptance(tmp_path: Path) -> None:
    with a_ledger(tmp_path) as ledger:
        ledger.ask(Usage(30, 10, 5))
        ledger.hold(50)
        ledger.tamper()
        ledger.lose("it was changed")
        ledger.ask(Usage(30, 10, 5))
        found = checked(exported(ledger), DEVICE.public)
        assert found.opening > 0
        assert found.available == ledger.wallet.balance()


@pytest.mark.parametrize("name", ["v1-keyfile", "v3-keyfile"])
def test_a_ledger_from_before_there_was_a_device_key_is_right_too(name: str, tmp_path: Path) -> None:
    with home(copied(name, tmp_path / "vault"), None) as old:
        old.wallet.top_up(5)
        with old.vault.database.snapshot() as source:
            found = check([line.encode() for line in lines(source, "jsonl", ALWAYS)], old.wallet.device.public)
            spent = source.execute("SELECT debits_posted FROM account WHERE id = 'wallet'")[0][0]
            assert total(usage(source), ("day",)).cost_micro == spent > 0
            assert all(row.group[0].startswith("2026-") for row in usage(source))
            first = receipt(source, 1)
        assert 0 < found.signed < found.last
        assert found.available == old.wallet.balance()
        assert first.public_key is None
        receipts.check(first)
        with pytest.raises(Damaged):
            receipts.check(first, old.wallet.device.public)


def test_what_was_tampered_with_is_exported_as_it_is_and_does_not_pass(tmp_path: Path) -> None:
    with a_ledger(tmp_path) as ledger:
        ledger.ask(Usage(30, 10, 5))
        ledger.tamper()
        with pytest.raises(Damaged, match="does not continue the entry before it"):
            checked(exported(ledger))
