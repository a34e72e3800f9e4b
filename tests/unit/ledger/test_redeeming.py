"""Issuing and redeeming with real databases: an issuer's and a holder's."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from nanolocal.errors import Damaged, UsageError
from nanolocal.ledger import base32, book, issuers, issuing, redeeming
from nanolocal.ledger.chain import EntryKind
from nanolocal.ledger.money import LARGEST
from nanolocal.ledger.signing import DeviceKey
from nanolocal.ledger.vouchers import NO_DEVICE, Voucher, VoucherKind, key_id, parse, public_key_of, sign
from nanolocal.ledger.wallet import ALLOWANCE_MICRO, Wallet
from nanolocal.vault.database import Database
from nanolocal.vault.keys import DatabaseKey
from tests.fakes.homes import MIGRATIONS, fork

KEY = DatabaseKey(bytes(range(32)), bytes(range(16)))
NOW = 1_800_000_000
SEED = bytes(range(32, 64))
PUBLIC = public_key_of(SEED)


@dataclass
class Place:
    """A wallet on a device of its own, with a clock that the test sets (seconds since 1970)."""

    path: Path
    seed: bytes
    now: float = NOW
    anchor: tuple[int, str] = (0, "0" * 64)
    database: Database = field(init=False)
    wallet: Wallet = field(init=False)

    def __post_init__(self) -> None:
        self.database = Database.create(self.path, KEY, MIGRATIONS)
        self.wallet = self.opened(self.database)

    def opened(self, database: Database) -> Wallet:
        return Wallet.open(database, DeviceKey(self.seed), self.anchor, self.keep, clock=lambda: self.now)

    def keep(self, seq: int, head: str) -> None:
        self.anchor = (seq, head)

    @property
    def device(self) -> bytes:
        return redeeming.own_device(self.wallet)

    def issue(self, amount: int, *devices: bytes, days: int = 90, count: int = 1, key: str = "issuer") -> list[Voucher]:
        return issuing.issue(self.wallet, key, amount, days, devices, count)

    def trust_issuer(self, issuer: "Place", name: str | None = None) -> None:
        (key,) = issuing.issuer_keys(issuer.database)
        issuers.trust(self.wallet, key.public_key, name)

    def refuses(self, work: Callable[[], object], says: str, error: type[UsageError | Damaged] = UsageError) -> None:
        """The work is refused in one sentence that says so, and nothing is written."""
        before = book.head(self.database), self.wallet.balance()
        with pytest.raises(error) as refused:
            work()
        assert says in refused.value.message
        assert refused.value.hint
        assert (book.head(self.database), self.wallet.balance()) == before


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "issuer.db", bytes(32))
    yield made
    made.database.close()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "holder.db", bytes([1] * 32))
    yield made
    made.database.close()


def a_voucher(device: bytes, amount: int = 5, serial: int = 1, not_after: int = NOW + 60, seed: bytes = SEED) -> str:
    """A code signed by an issuer whose wallet is elsewhere."""
    kind = VoucherKind.BEARER if device == NO_DEVICE else VoucherKind.DEVICE
    issuer = key_id(public_key_of(seed))
    return sign(Voucher(kind, issuer, secrets.token_bytes(16), amount, serial, not_after, device), seed).code()


# the holder


def test_a_voucher_is_added_to_the_balance_and_is_on_the_record(issuer: Place, holder: Place) -> None:
    (voucher,) = issuer.issue(5_000_000, holder.device)
    holder.trust_issuer(issuer, "Ms Smith")
    redeemed = redeeming.redeem(holder.wallet, voucher.text())
    assert redeemed.voucher == voucher
    assert redeemed.balance == holder.wallet.balance() == ALLOWANCE_MICRO + 5_000_000
    entry = redeeming.redemption(holder.database, voucher)
    assert entry is not None
    kid = voucher.issuer.hex()
    assert (entry.kind, entry.debit, entry.credit) == (EntryKind.TRANSFER, f"issuer:{kid}", "wallet")
    assert entry.terms == {"voucher_id": voucher.id.hex(), "issuer": kid, "serial": 1, "kind": "device"}
    assert holder.wallet.history(1)[0].note == "voucher 1 of Ms Smith"
    assert [(one.name, one.redeemed_micro) for one in issuers.issuers(holder.database)] == [("Ms Smith", 5_000_000)]
    holder.wallet.verify(holder.anchor)
    assert holder.anchor[0] == entry.seq


def test_a_voucher_is_redeemed_once(issuer: Place, holder: Place) -> None:
    (voucher,) = issuer.issue(7, holder.device)
    holder.trust_issuer(issuer)
    redeeming.redeem(holder.wallet, voucher.code())
    holder.now += 365 * 86_400
    holder.refuses(
        lambda: redeeming.redeem(holder.wallet, voucher.text().lower()), "was already redeemed here on 2027-01-"
    )


def test_one_of_two_processes_redeems_a_voucher(issuer: Place, holder: Place) -> None:
    (voucher,) = issuer.issue(7, holder.device)
    holder.trust_issuer(issuer)

    def redeem_too(report: Callable[[str], None]) -> None:
        database = Database.open(holder.path, KEY, MIGRATIONS)
        wallet = holder.opened(database)
        report("ready")
        try:
            redeeming.redeem(wallet, voucher.code())
            report("redeemed")
        except UsageError as error:
            report(error.message.partition(" here on ")[0])
        database.close()

    children = [fork(redeem_too) for _ in range(3)]
    told = sorted(line for child in children for line in child.finish() if line != "ready")
    assert told == ["redeemed", *["this voucher was already redeemed"] * 2]
    assert holder.wallet.balance() == ALLOWANCE_MICRO + 7
    holder.wallet.verify()


def test_a_voucher_of_an_unknown_issuer_is_refused_until_it_is_trusted(holder: Place) -> None:
    code = a_voucher(holder.device)
    holder.refuses(lambda: redeeming.redeem(holder.wallet, code), f"{key_id(PUBLIC).hex()}, is not trusted here")
    issuers.trust(holder.wallet, PUBLIC)
    redeeming.redeem(holder.wallet, code)


def test_an_issuer_is_trusted_no_more_and_again(holder: Place) -> None:
    issuers.trust(holder.wallet, PUBLIC, "school")
    redeeming.redeem(holder.wallet, a_voucher(holder.device))
    issuers.distrust(holder.wallet, "school")
    code = a_voucher(holder.device, serial=2)
    holder.refuses(lambda: redeeming.redeem(holder.wallet, code), "school, is no longer trusted here")
    assert issuers.trust(holder.wallet, PUBLIC).name == "school"
    redeeming.redeem(holder.wallet, code)
    assert holder.wallet.balance() == ALLOWANCE_MICRO + 10


def test_saying_again_whom_one_trusts_writes_nothing(holder: Place) -> None:
    issuers.trust(holder.wallet, PUBLIC, "school")
    before = book.head(holder.database)
    issuers.trust(holder.wallet, PUBLIC, "school")
    issuers.trust(holder.wallet, PUBLIC)
    assert book.head(holder.database) == before
    issuers.trust(holder.wallet, PUBLIC, "the school")
    for which in ("the school", key_id(PUBLIC).hex(), base32.ISSUER.write(PUBLIC).lower()):
        assert not issuers.distrust(holder.wallet, which).trusted
    assert [one.name for one in issuers.issuers(holder.database)] == ["the school"]


def test_an_issuer_that_nobody_knows_cannot_be_distrusted(holder: Place) -> None:
    holder.refuses(lambda: issuers.distrust(holder.wallet, "nobody"), "no issuer is called 'nobody'")
    for seed in (SEED, bytes(32)):
        issuers.trust(holder.wallet, public_key_of(seed), "twins")
    holder.refuses(lambda: issuers.distrust(holder.wallet, "twins"), "more than one issuer is called 'twins'")


def test_a_key_that_only_has_the_number_of_a_known_issuer_is_not_trusted(holder: Place) -> None:
    kid = key_id(PUBLIC).hex()
    other = public_key_of(bytes(32)).hex()
    with holder.wallet.writing() as tx:
        holder.wallet.declare(tx, EntryKind.ISSUER, kid, {"public_key": other, "name": "school", "trusted": True})
    holder.refuses(lambda: issuers.trust(holder.wallet, PUBLIC), f"another issuer with the number {kid} is known here")
    holder.refuses(lambda: redeeming.redeem(holder.wallet, a_voucher(holder.device)), "not genuine")


def test_no_flipped_bit_of_a_voucher_writes_anything(holder: Place) -> None:
    issuers.trust(holder.wallet, PUBLIC)
    voucher = parse(a_voucher(holder.device))
    data = voucher.payload() + voucher.signature
    before = book.head(holder.database), holder.wallet.balance()
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UsageError, match="voucher"):
            redeeming.redeem(holder.wallet, base32.encode(bytes(flipped)))
    assert (book.head(holder.database), holder.wallet.balance()) == before
    assert redeeming.redeem(holder.wallet, voucher.code()).balance == before[1] + 5


def test_a_voucher_of_another_device_is_refused(issuer: Place, holder: Place) -> None:
    (voucher,) = issuer.issue(7, issuer.device)
    holder.trust_issuer(issuer)
    own = base32.DEVICE.write(issuer.device)
    holder.refuses(lambda: redeeming.redeem(holder.wallet, voucher.code()), f"made for the device {own}")
    issuer.trust_issuer(issuer)
    assert redeeming.redeem(issuer.wallet, voucher.code()).balance == ALLOWANCE_MICRO + 7


def test_a_voucher_is_good_to_its_last_second(holder: Place) -> None:
    issuers.trust(holder.wallet, PUBLIC)
    early, late = (a_voucher(holder.device, serial=serial, not_after=NOW) for serial in (1, 2))
    holder.now = NOW + 0.999
    redeeming.redeem(holder.wallet, early)
    holder.now = NOW + 1
    holder.refuses(lambda: redeeming.redeem(holder.wallet, late), "this voucher was good until 2027-01-")


def test_a_clock_that_was_never_set_redeems_and_issues_nothing(holder: Place) -> None:
    issuers.trust(holder.wallet, PUBLIC)
    code = a_voucher(holder.device)
    holder.now = 60
    holder.refuses(lambda: redeeming.redeem(holder.wallet, code), "clock says 1970-01-01")
    holder.refuses(lambda: holder.issue(5), "clock says 1970-01-01")


def test_a_bearer_voucher_is_redeemed_once_on_each_device(issuer: Place, holder: Place) -> None:
    (voucher,) = issuer.issue(9)
    for place in (issuer, holder):
        place.trust_issuer(issuer)
        redeeming.redeem(place.wallet, voucher.code())
        place.refuses(lambda own=place: redeeming.redeem(own.wallet, voucher.code()), "was already redeemed here")  # type: ignore[misc]
        assert place.wallet.balance() == ALLOWANCE_MICRO + 9


def test_two_vouchers_with_one_serial_number_are_not_both_redeemed(holder: Place) -> None:
    issuers.trust(holder.wallet, PUBLIC)
    redeeming.redeem(holder.wallet, a_voucher(holder.device, serial=3))
    again = a_voucher(holder.device, serial=3)
    holder.refuses(
        lambda: redeeming.redeem(holder.wallet, again), "with the serial number 3 was redeemed here on 2027-01-"
    )
    issuers.trust(holder.wallet, public_key_of(bytes(32)))
    redeeming.redeem(holder.wallet, a_voucher(holder.device, serial=3, seed=bytes(32)))


def test_sql_itself_refuses_a_serial_number_twice(holder: Place) -> None:
    issuers.trust(holder.wallet, PUBLIC)
    redeemed = redeeming.redeem(holder.wallet, a_voucher(holder.device, serial=3))
    entry = redeeming.redemption(holder.database, redeemed.voucher)
    assert entry is not None
    with pytest.raises(Exception, match="UNIQUE"), holder.database.transaction() as tx:
        book.post(tx, replace(entry, idem="voucher:another"), holder.wallet.device)


def test_a_sum_that_the_wallet_cannot_hold_is_refused(holder: Place) -> None:
    issuers.trust(holder.wallet, PUBLIC)
    code = a_voucher(holder.device, LARGEST)
    holder.refuses(lambda: redeeming.redeem(holder.wallet, code), "the ledger cannot hold such a sum")
    redeeming.redeem(holder.wallet, a_voucher(holder.device, LARGEST - ALLOWANCE_MICRO))
    holder.wallet.verify()


def test_a_ledger_that_was_changed_takes_no_voucher_and_issues_none(holder: Place) -> None:
    issuers.trust(holder.wallet, PUBLIC)
    with holder.database.transaction() as tx:
        tx.execute("DROP TRIGGER entry_is_final")
        tx.execute("UPDATE entry SET body = replace(body, '100000', '900000') WHERE kind = 'transfer'")
    with pytest.raises(Damaged):
        holder.wallet.verify()
    for work in (
        lambda: redeeming.redeem(holder.wallet, a_voucher(holder.device)),
        lambda: holder.issue(5),
        lambda: issuers.trust(holder.wallet, public_key_of(bytes(32))),
        lambda: issuers.distrust(holder.wallet, key_id(PUBLIC).hex()),
    ):
        holder.refuses(work, "ledger", Damaged)


# the issuer


def test_what_is_handed_out_is_numbered_listed_and_added_up(issuer: Place, holder: Place) -> None:
    devices = (issuer.device, holder.device)
    made = [*issuer.issue(10, *devices, count=2), *issuer.issue(3)]
    assert [voucher.serial for voucher in made] == [1, 2, 3, 4, 5]
    assert [voucher.device for voucher in made] == [devices[0]] * 2 + [devices[1]] * 2 + [NO_DEVICE]
    assert len({voucher.id for voucher in made}) == 5
    assert {voucher.not_after for voucher in made} == {NOW + 90 * 86_400}
    listed = issuing.issued(issuer.database)
    assert [one.voucher for one in listed] == made
    assert {(one.ts, one.key_name) for one in listed} == {(NOW, "issuer")}
    kid = made[0].issuer.hex()
    sums = "SELECT credits_posted FROM account WHERE id = ?"
    assert issuer.database.execute(sums, (f"issued:{kid}",)) == [(43,)]
    assert issuer.wallet.balance() == ALLOWANCE_MICRO
    issuer.wallet.verify(issuer.anchor)


def test_what_is_handed_out_is_not_in_the_history_of_the_wallet(issuer: Place) -> None:
    issuer.issue(10)
    assert [row.amount_micro for row in issuer.wallet.history(9)] == [ALLOWANCE_MICRO]
    assert 0 in [row.amount_micro for row in issuer.wallet.history(9, with_holds=True)]


def test_another_key_begins_its_own_numbers(issuer: Place) -> None:
    (first,), (second,), (third,) = (issuer.issue(1, key=name) for name in ("2026", " 2027 ", "2026"))
    assert (first.issuer, first.serial, third.serial) == (third.issuer, 1, 2)
    assert second.issuer != first.issuer
    assert second.serial == 1
    assert [key.name for key in issuing.issuer_keys(issuer.database)] == ["2026", "2027"]


def test_nobody_trusts_a_key_because_it_is_its_own(issuer: Place) -> None:
    (voucher,) = issuer.issue(1, issuer.device)
    issuer.refuses(lambda: redeeming.redeem(issuer.wallet, voucher.code()), "is not trusted here")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"amount": 0}, "of 0 credits"),
        ({"amount": -1}, "the amount must be a whole number"),
        ({"amount": 1.0}, "the amount must be a whole number"),
        ({"amount": 2**63}, "the amount must be a whole number"),
        ({"days": 0}, "1 to 3650 days, not 0"),
        ({"days": 3651}, "1 to 3650 days, not 3651"),
        ({"count": 0}, "1 to 1000 vouchers"),
        ({"count": 1001}, "1 to 1000 vouchers"),
        ({"count": 10**12}, "not 1000000000000"),
        ({"key": " "}, "has 1 to 60 printable characters"),
        ({"key": "\udc80"}, "has 1 to 60 printable characters"),
    ],
)
def test_what_cannot_be_issued_is_refused(issuer: Place, wrong: dict[str, object], says: str) -> None:
    with_defaults: dict[str, object] = {"amount": 5, "days": 90, "count": 1, "key": "issuer"} | wrong
    with pytest.raises(UsageError) as refused:
        issuer.issue(**with_defaults)  # type: ignore[arg-type]
    assert says in refused.value.message
    assert issuing.issuer_keys(issuer.database) == []


def test_a_sum_too_large_to_hand_out_issues_none_of_it(issuer: Place) -> None:
    issuer.refuses(lambda: issuer.issue(LARGEST, count=2), "the ledger cannot hold such a sum")
    assert issuing.issued(issuer.database) == []
