"""A receipt proves its entry and its charge with the public key alone; any change of it is refused, or is none."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from nanolocal.chat.messages import Usage
from nanolocal.errors import Damaged, NanolocalError, UsageError
from nanolocal.ledger.chain import EntryKind
from nanolocal.ledger.receipts import LARGEST_FILE, Receipt, check, find, proved, read, receipt, reckoning
from nanolocal.ledger.signing import DeviceKey
from tests.fakes.homes import DEVICE
from tests.fakes.ledgers import Ledger, a_ledger, fill

OTHER = DeviceKey(bytes(32))


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with a_ledger(tmp_path_factory.mktemp("ledger")) as made:
        fill(made)
        yield made


def numbers(ledger: Ledger, kind: EntryKind) -> list[int]:
    return [
        row[0] for row in ledger.database.execute("SELECT seq FROM entry WHERE kind = ? ORDER BY seq", (kind.value,))
    ]


def of(ledger: Ledger, seq: int) -> Receipt:
    return receipt(ledger.database, seq)


def written(one: Receipt) -> bytes:
    return json.dumps(one.record()).encode()


def test_every_entry_has_a_receipt_that_can_be_read_and_checked(ledger: Ledger) -> None:
    last = ledger.database.execute("SELECT max(seq) FROM entry")[0][0]
    for seq in range(1, last + 1):
        one = of(ledger, seq)
        again = read(written(one))
        assert again == one
        check(again, DEVICE.public)


def test_a_charge_is_found_by_its_number_and_by_its_hold(ledger: Ledger) -> None:
    seq = numbers(ledger, EntryKind.SETTLE)[-1]
    ref = of(ledger, seq).link.entry.ref or ""
    assert (
        find(ledger.database, str(seq)) == find(ledger.database, ref) == find(ledger.database, f"settle:{ref}") == seq
    )
    for unknown in ("", "0", "999999", "9" * 30, "nothing", "\u0663", "'; --", "\udcff"):
        with pytest.raises(UsageError, match="no entry for"):
            find(ledger.database, unknown)


def test_the_reckoning_adds_up_to_the_charge(ledger: Ledger) -> None:
    for seq in numbers(ledger, EntryKind.SETTLE):
        one = of(ledger, seq)
        entry = one.link.entry
        assert one.card is not None
        assert entry.usage is not None
        exact = sum(item.millionths for item in reckoning(one.card, entry.usage))
        assert min(max(-(-exact // 1_000_000), one.card.minimum if exact else 0), entry.held) == entry.amount


def test_any_changed_byte_is_refused_or_means_the_same(ledger: Ledger) -> None:
    one = of(ledger, numbers(ledger, EntryKind.SETTLE)[-2])
    data = written(one)
    for place in range(len(data)):
        for byte in {data[place] ^ 1, data[place] ^ 0x20, data[place] ^ 0x80, ord("0"), ord(" ")} - {data[place]}:
            changed = data[:place] + bytes([byte]) + data[place + 1 :]
            try:
                again = read(changed)
                check(again)
            except NanolocalError as refused:
                assert refused.exit_code in (2, 6)
            else:
                assert again == one


def test_a_receipt_of_another_device_is_refused(ledger: Ledger) -> None:
    one = of(ledger, 3)
    with pytest.raises(Damaged, match="entry 3 is not signed by the key"):
        check(one, OTHER.public)
    resigned = replace(one, public_key=OTHER.public, link=replace(one.link, sig=OTHER.sign(one.link.hash)))
    check(resigned)
    with pytest.raises(Damaged):
        check(resigned, DEVICE.public)
    with pytest.raises(Damaged, match="not signed by this device key"):
        check(replace(one, public_key=OTHER.public))
    with pytest.raises(Damaged, match="no key for it"):
        check(replace(one, public_key=None))


def test_a_cheaper_or_missing_price_card_is_refused(ledger: Ledger) -> None:
    one = of(ledger, numbers(ledger, EntryKind.SETTLE)[0])
    assert one.card is not None
    for card in (replace(one.card, completion=1), None):
        with pytest.raises(Damaged, match="another price card"):
            check(replace(one, card=card))


def test_what_is_proved_depends_on_the_key(ledger: Ledger) -> None:
    one = of(ledger, numbers(ledger, EntryKind.SETTLE)[0])
    (_, open_points), (shown, fewer) = proved(one, None), proved(one, DEVICE.public)
    assert any("--key" in point for point in open_points)
    assert not any("--key" in point for point in fewer)
    assert any("device whose key was given" in point for point in shown)


def test_a_receipt_has_nothing_but_these_facts(ledger: Ledger) -> None:
    record = of(ledger, numbers(ledger, EntryKind.SETTLE)[0]).record()
    assert set(record) == {"format", "version", "body", "prev", "hash", "sig", "price", "public_key"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"{}",
        b"[1]",
        b"\xfe",
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b" " * (LARGEST_FILE + 1),
        b'{"format":"nanolocal-receipt","format":"nanolocal-receipt"}',
    ],
    ids=range(9),
)
def test_what_is_no_receipt_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(UsageError, match="this is no receipt"):
        read(data)


@pytest.mark.parametrize(
    ("name", "value"),
    [("version", True), ("version", 2), ("format", "x"), ("sig", "00"), ("public_key", 5), ("price", []), ("body", {})],
)
def test_a_receipt_of_another_shape_is_none(ledger: Ledger, name: str, value: object) -> None:
    with pytest.raises(UsageError, match="this is no receipt"):
        read(json.dumps(of(ledger, 3).record() | {name: value}).encode())


@pytest.mark.parametrize(
    ("name", "value"),
    [("amount", 1.0), ("amount", True), ("amount", "1"), ("amount", -1), ("amount", 2**63), ("usage", 3), ("note", 5)],
)
def test_an_entry_of_another_shape_is_none(ledger: Ledger, name: str, value: object) -> None:
    record = of(ledger, numbers(ledger, EntryKind.SETTLE)[0]).record()
    body = record["body"]
    assert isinstance(body, dict)
    with pytest.raises(UsageError, match="this is no receipt"):
        read(json.dumps(record | {"body": body | {name: value}}).encode())


@pytest.mark.parametrize(("name", "value"), [("evidence", 5), ("source", None), ("completion", -1), ("load", 0.5)])
def test_a_price_card_of_another_shape_is_none(ledger: Ledger, name: str, value: object) -> None:
    record = of(ledger, numbers(ledger, EntryKind.SETTLE)[0]).record()
    price = record["price"]
    assert isinstance(price, dict)
    with pytest.raises(UsageError, match="this is no receipt"):
        read(json.dumps(record | {"price": price | {name: value}}).encode())


def test_an_empty_answer_costs_nothing(ledger: Ledger) -> None:
    one = of(ledger, numbers(ledger, EntryKind.SETTLE)[-1])
    assert (one.link.entry.usage, one.link.entry.amount) == (Usage(), 0)
    assert one.card is not None
    assert reckoning(one.card, Usage()) == []
