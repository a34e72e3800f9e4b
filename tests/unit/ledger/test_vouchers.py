from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.errors import UsageError
from nanolocal.ledger import base32
from nanolocal.ledger.money import LARGEST
from nanolocal.ledger.vouchers import (
    LETTERS,
    NO_DEVICE,
    Voucher,
    VoucherKind,
    check,
    key_id,
    parse,
    public_key_of,
    sign,
)

SEED = bytes(range(32))
PUBLIC = public_key_of(SEED)
DEVICE = bytes(range(100, 108))
GIFT = sign(Voucher(VoucherKind.DEVICE, key_id(PUBLIC), bytes(range(16)), 5_000_000, 7, 1_900_000_000, DEVICE), SEED)
CASH = sign(replace(GIFT, kind=VoucherKind.BEARER, device=NO_DEVICE), SEED)

some_vouchers = st.builds(
    Voucher,
    kind=st.just(VoucherKind.DEVICE),
    issuer=st.just(key_id(PUBLIC)),
    id=st.binary(min_size=16, max_size=16),
    amount=st.integers(1, LARGEST),
    serial=st.integers(0, 2**32 - 1),
    not_after=st.integers(0, 2**32 - 1),
    device=st.binary(min_size=8, max_size=8).filter(lambda device: device != NO_DEVICE),
)


def unsigned(**wrong: object) -> str:
    """A code with a field that no issuer would sign."""
    return replace(GIFT, **wrong).code()  # type: ignore[arg-type]


def patched(place: int, value: int) -> str:
    data = bytearray(GIFT.payload() + GIFT.signature)
    data[place] = value
    return base32.encode(bytes(data))


@given(some_vouchers)
def test_a_voucher_comes_back_from_its_code_and_its_text(voucher: Voucher) -> None:
    signed = sign(voucher, SEED)
    assert parse(signed.code()) == parse(signed.text()) == signed
    check(signed, PUBLIC)


def test_a_code_is_176_upper_case_letters_and_digits() -> None:
    assert len(GIFT.code()) == LETTERS == 176
    assert GIFT.code().isalnum() and GIFT.code().isupper()
    assert GIFT.code().startswith("AEA")
    assert [len(line) for line in GIFT.text().splitlines()] == [54] * 4


def test_every_flipped_bit_is_refused() -> None:
    data = GIFT.payload() + GIFT.signature
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UsageError):
            check(parse(base32.encode(bytes(flipped))), PUBLIC)


def test_the_same_voucher_signed_again_has_the_same_code() -> None:
    assert sign(replace(GIFT, signature=b""), SEED) == GIFT


@pytest.mark.parametrize(
    "typed",
    [
        GIFT.code().lower(),
        GIFT.text().replace(" ", "-").replace("\n", "\r\n"),
        f"  {GIFT.text().replace(' ', chr(0x2013))}\n\n",
        GIFT.code().replace("O", "0").replace("L", "1"),
    ],
)
def test_a_code_is_read_as_people_type_it(typed: str) -> None:
    assert parse(typed) == GIFT


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("", "there is no voucher code"),
        (" -\n", "there is no voucher code"),
        (GIFT.code()[:-1], "176 characters, this one 175: 1 too few"),
        (GIFT.code() * 2, "176 characters, this one 352: 176 too many"),
        (f"{GIFT.code()[:20]}8{GIFT.code()[21:]}", "not '8' (character 21)"),
        (f"{GIFT.code()[:20]}ß{GIFT.code()[21:]}", "not 'ß' (character 21)"),
        (patched(0, 2), "has version 2"),
        (patched(1, 9), "unknown kind 9"),
        (unsigned(amount=0), "for 0 micro-credits"),
        (unsigned(amount=2**63), "for 9223372036854775808 micro-credits"),
        (unsigned(device=NO_DEVICE), "contradicts itself"),
        (unsigned(kind=VoucherKind.BEARER), "contradicts itself"),
    ],
)
def test_what_is_no_voucher_is_refused_in_one_sentence(code: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(code)
    assert says in refused.value.message
    assert refused.value.hint


def test_another_issuer_did_not_sign_it() -> None:
    other = public_key_of(bytes(32))
    for voucher in (GIFT, replace(GIFT, issuer=key_id(other))):
        with pytest.raises(UsageError, match="not genuine"):
            check(voucher, other)


def test_names_of_devices_and_issuers_are_read_as_people_type_them() -> None:
    device, issuer = base32.DEVICE.write(DEVICE), base32.ISSUER.write(PUBLIC)
    assert device.startswith("NLD-") and len(device) == 23
    assert issuer.startswith("NLK-") and len(issuer) == 73
    for typed in (device, device.lower(), f" {device.replace('-', ' ')}\n"):
        assert base32.DEVICE.read(typed) == DEVICE
    assert base32.ISSUER.read(issuer.lower().replace("o", "0").replace("-", "")) == PUBLIC


def test_a_slip_in_a_name_is_noticed() -> None:
    name = base32.DEVICE.write(DEVICE)
    for place in range(4, len(name)):
        if name[place] == "-":
            continue
        slip = "A" if name[place] != "A" else "B"
        with pytest.raises(UsageError, match="mistyped"):
            base32.DEVICE.read(name[:place] + slip + name[place + 1 :])


@pytest.mark.parametrize("typed", ["", "hello", base32.ISSUER.write(PUBLIC), base32.DEVICE.write(DEVICE)[:-1], "NLD-"])
def test_what_names_no_device_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="a device id"):
        base32.DEVICE.read(typed)
