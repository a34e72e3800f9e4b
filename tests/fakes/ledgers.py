"""A real ledger in a real encrypted database, with everything that can be in one, and names that mean harm."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from nanolocal.chat.messages import Usage
from nanolocal.chat.ports import Hold
from nanolocal.chat.routes import Build
from nanolocal.ledger import acceptance, book
from nanolocal.ledger.chain import WALLET, Entry, EntryKind
from nanolocal.ledger.wallet import Wallet
from nanolocal.vault.database import Database
from nanolocal.vault.keys import DatabaseKey
from tests.fakes.homes import BUILD, DEVICE, MIGRATIONS, reserve

DATABASE_KEY = DatabaseKey(bytes(range(32)), bytes(range(16)))
NOON = 1_795_780_800  # 2026-11-27 12:00 UTC, in seconds
DAY = 86_400
HOSTILE = (
    '=cmd|" /C calc"!A0',
    '"; DROP TABLE entry; --\\',
    "a  b\n2026-01-01 * theft\n    Assets:Nanolocal:Wallet  -9 CREDIT",
    "date:2020-99-99, [2020/99/99] ; x:y",
    "\u202eright\u200b to left \x1b[31m \udcff \x00 \u2028 \r\n +1",
    "@SUM(1)\t-1",
    "\uff5b中文\uff5d名前\uff1a値段\u3000\u3000 | *! ( = ) ~",
    "-" * 90,
)


@dataclass
class Ledger:
    """A wallet with its database and a clock to turn. ``anchor`` is the newest head that was anchored."""

    database: Database
    wallet: Wallet
    clock: list[float]
    anchor: tuple[int, str] = (0, "0" * 64)

    def keep(self, seq: int, head: str) -> None:
        if seq > self.anchor[0]:
            self.anchor = (seq, head)

    def hold(self, amount: int, build: Build = BUILD, chat_id: str | None = None, key: str | None = None) -> Hold:
        return reserve(self.database, self.wallet, amount, chat_id=chat_id, build=build, key=key)

    def ask(
        self, usage: Usage, build: Build = BUILD, amount: int = 500, chat_id: str | None = None, key: str | None = None
    ) -> int:
        """An answer that used so much; returns what it cost."""
        held = self.hold(amount, build, chat_id, key)
        with self.database.transaction() as tx:
            return self.wallet.settle(tx, held, build, usage, chat_id)

    def receive(self, amount: int, name: str, note: str | None = None) -> None:
        """Credit from elsewhere, as a voucher gives it."""
        moved = Entry(
            f"voucher:{name}",
            EntryKind.TRANSFER,
            f"issuer:{name}",
            WALLET,
            amount,
            int(self.clock[0] * 1000),
            note=note,
        )
        with self.database.transaction() as tx:
            self.wallet.post_final(tx, moved)

    def tamper(self) -> None:
        """Somebody with the key to the database changes an entry."""
        self.database.execute("DROP TRIGGER entry_is_final")
        self.database.execute("UPDATE entry SET prev = hash WHERE kind = 'price'")

    def lose(self, why: str) -> None:
        """The owner goes on without what may have come later."""
        with self.database.transaction() as tx:
            acceptance.note(tx, why, *book.head(tx), is_accepted=True)
            acceptance.record(tx, self.wallet.device, int(self.clock[0] * 1000))


@contextmanager
def a_ledger(directory: Path) -> Iterator[Ledger]:
    """A new one, with its first allowance of 100,000 micro-credits."""
    database = Database.create(directory / "ledger.db", DATABASE_KEY, MIGRATIONS)
    clock = [float(NOON)]
    kept: list[tuple[int, str]] = []
    wallet = Wallet.open(database, DEVICE, (0, "0" * 64), lambda *head: kept.append(head), clock=lambda: clock[0])
    try:
        yield Ledger(database, wallet, clock)
    finally:
        database.close()


def fill(ledger: Ledger) -> None:
    """Three days with grants, vouchers, answers, refusals, open holds, a loss, and hostile names everywhere."""
    for place, note in enumerate(HOSTILE):
        text = note.replace("\udcff", "?")  # no column takes half a character; a note has no column
        build = replace(BUILD, id=text, sha256=f"{place:02x}" * 32)
        ledger.wallet.top_up(1000 + place, note=note)
        ledger.receive(77 + place, text, note=note)
        ledger.ask(Usage(100 + place, 20, 30, 0, 1), build, 50_000, chat_id=f"chat {place % 2}", key=f"@{place}")
        ledger.wallet.void(ledger.hold(300, build, key=f"-{place}"))
    ledger.clock[0] += DAY
    ledger.lose('the disk; it "failed"\nbadly')
    ledger.ask(Usage(1_000_000, 0, 1_000_000), amount=10, chat_id="chat 1")
    ledger.hold(400, replace(BUILD, id=HOSTILE[1], sha256="01" * 32), key="anna")
    ledger.clock[0] += DAY
    ledger.ask(Usage(pixel_steps=40_000_000, loads=2), chat_id="chat 2", key="anna", amount=20_000)
    ledger.ask(Usage(), amount=20)
    ledger.hold(123, key="boris")
