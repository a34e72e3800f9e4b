"""``nanolocal credits show``, ``nanolocal receipt verify``, and checking an exported ledger."""

import argparse
import sys
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from nanolocal.chat.amounts import MICRO, format_credits
from nanolocal.cli import output
from nanolocal.cli.common import Subparsers, open_vault, wants_json
from nanolocal.cli.exports import counted
from nanolocal.errors import UsageError
from nanolocal.safetext import safe_line

if TYPE_CHECKING:
    from nanolocal.ledger.receipts import Receipt

_LABEL, _COLUMNS = 13, 80
_LATEST_MS = 253_402_200_000_000  # 9999-12-30: a later day has no name in every time zone
_AMOUNT_NAMES = {"settle": "charged", "void": "charged", "hold": "held", "transfer": "moved"}


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare ``nanolocal receipt``."""
    parser = commands.add_parser("receipt", parents=[common], help="check a receipt; needs no vault and no passphrase")
    parts = parser.add_subparsers(metavar="PART", required=True)
    verify = parts.add_parser("verify", parents=[common], help="whether a receipt is right, and what that proves")
    verify.add_argument("file", metavar="FILE", help="what `credits show ID --json` gave; - for standard input")
    add_key(verify)
    verify.set_defaults(run=run_receipt)


def add_show(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the part of ``nanolocal credits``."""
    show = parts.add_parser("show", parents=[common], help="the receipt of an entry; --json can be checked by others")
    show.add_argument("id", metavar="ID", help="an entry's number, a message_id of `ask --json`, or a hold's id")
    show.set_defaults(run=run_show)


def add_key(parser: argparse.ArgumentParser) -> None:
    """Declare ``--key``."""
    parser.add_argument("--key", metavar="PUBLICKEY", help="the device's public key, got from its owner: 64 hex digits")


def run_show(args: argparse.Namespace) -> int:
    """Print a receipt."""
    from nanolocal.ledger import receipts
    from nanolocal.vault.conversations import Conversations

    with open_vault(args) as vault:
        held = Conversations(vault.database, vault.blobs).hold_of(args.id)
        with vault.database.snapshot() as source:
            shown = receipts.receipt(source, receipts.find(source, held or args.id))
    if wants_json(args):
        output.as_json(shown.record())
    else:
        for line in described(shown):
            output.line(line)
    return 0


def run_receipt(args: argparse.Namespace) -> int:
    """Check a receipt; raises ``Damaged`` for a wrong one, ``UsageError`` for what is none."""
    from nanolocal.ledger import receipts

    pinned = key_of(args)
    with _opened(args.file) as file:
        receipt = receipts.read(file.read(receipts.LARGEST_FILE + 1))
    receipts.check(receipt, pinned)
    shown, open_points = receipts.proved(receipt, pinned)
    entry = receipt.link.entry
    if wants_json(args):
        key = receipt.public_key and receipt.public_key.hex()
        facts = {"entry": entry.seq, "kind": entry.kind.value, "amount_micro": entry.amount, "public_key": key}
        output.as_json({"verified": True, **facts, "proved": shown, "not_proved": open_points})
        return 0
    listed = ("", "Proved:", *map(_point, shown), "", "Not proved:", *map(_point, open_points))
    for line in (*described(receipt), *listed):
        output.line(line)
    return 0


def run_file(args: argparse.Namespace) -> int:
    """Check an exported ledger; raises ``Damaged`` at the first wrong line."""
    from nanolocal.ledger.exports.reading import LONGEST_LINE, check

    pinned = key_of(args)
    with _opened(args.file) as file:
        found = check(counted(iter(lambda: file.readline(LONGEST_LINE + 1), b""), args), pinned)
    count = found.last - found.opening
    key = found.public and found.public.hex()
    if wants_json(args):
        facts = {"entries": count, "first": found.opening + 1, "last": found.last, "head": found.head}
        sums = {"signed": found.signed, "open_holds": found.open_holds, "balance_micro": found.available}
        output.as_json({"verified": True, **facts, **sums, "public_key": key})
        return 0
    output.line(f"{count} entries, {found.opening + 1} to {found.last}: chain, signatures, charges and sums are right")
    if found.signed < count:
        output.line(f"{count - found.signed} of them are older than the device's key and not signed by themselves")
    if found.opening:
        output.line(f"what was before entry {found.opening + 1} is taken from the file as it says")
    output.line(f"balance {format_credits(found.available)} credits, {found.open_holds} open holds")
    output.line(f"head    {found.head}")
    output.line(f"key     {key or 'none'}")
    if pinned is None and key:
        output.line("whose key that is, this does not prove: get it from the owner and add --key PUBLICKEY")
    return 0


def key_of(args: argparse.Namespace) -> bytes | None:
    """The key of ``--key``; raises ``UsageError``."""
    if args.key is None:
        return None
    try:
        key = bytes.fromhex(args.key)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise UsageError("--key takes a public key of 64 hexadecimal digits", "nanolocal credits show 1 --json")
    return key


@contextmanager
def _opened(name: str) -> "Iterator[BinaryIO]":
    """A file to check, or standard input."""
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        with Path(name).open("rb") as file:
            yield file
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}", "name a file, or - for standard input") from error


def described(receipt: "Receipt") -> Iterable[str]:
    """A receipt in lines of a name and a value."""
    entry = receipt.link.entry
    when = datetime.fromtimestamp(min(entry.ts, _LATEST_MS) // 1000).astimezone()
    yield _line("entry", f"{entry.seq}, {entry.kind.value}")
    yield _line("when", when.strftime("%Y-%m-%d %H:%M:%S %z"))
    names = (("model", entry.build_id), ("chat", entry.chat_id), ("key", entry.key), ("note", entry.note))
    yield from (_line(name, value) for name, value in names if value)
    if receipt.card is not None:
        yield _line("price card", f"{receipt.card.id[:16]}, {receipt.card.source}")
        yield _line("", receipt.card.evidence)
    yield from _reckoned(receipt)
    if entry.held:
        yield _line("held", f"{format_credits(entry.held)} credits")
    if entry.kind.value in _AMOUNT_NAMES or entry.amount:
        yield _line(_AMOUNT_NAMES.get(entry.kind.value, "moved"), f"{format_credits(entry.amount)} credits")
    if entry.kind.value == "transfer":
        yield _line("", f"from {entry.debit} to {entry.credit}")
    yield from (_line(name, str(value)) for name, value in (entry.terms or {}).items())
    yield _line("hash", receipt.link.hash)
    yield _line("signed by", receipt.public_key.hex() if receipt.public_key else "nobody: older than the device's key")


def _reckoned(receipt: "Receipt") -> Iterator[str]:
    """Each quantity times its price, then what rounding, the card's minimum and the hold make of the sum."""
    from nanolocal.ledger.receipts import reckoning

    card, usage = receipt.card, receipt.link.entry.usage
    if card is None or usage is None:
        return
    items = reckoning(card, usage)
    for item in items:
        per = " a million" if item.per == MICRO else ""
        product = f"{item.quantity} x {item.price}{per}"
        yield _sum(item.what, product, f"{_micro(item.millionths)} micro-credits")
    exact, cost = sum(item.millionths for item in items), card.cost(usage)
    yield _sum("sum", "", f"{_micro(exact)} micro-credits")
    rounded = -(-exact // MICRO)
    yield _sum("rounded up", "", f"{rounded}")
    if cost > rounded:
        yield _sum("at least", "", f"{cost}")
    if cost > receipt.link.entry.amount:
        yield _sum("at most held", "", f"{receipt.link.entry.amount}")


def _sum(name: str, product: str, value: str) -> str:
    """One line of the reckoning; the points of all values stand below each other."""
    whole = value.partition(".")[0]
    return f"{name:<{_LABEL}}  {product:<26} = {' ' * (10 - len(whole))}{value}"


def _micro(millionths: int) -> str:
    whole, rest = divmod(millionths, MICRO)
    return f"{whole}.{rest:06d}"


def _point(sentence: str) -> str:
    return textwrap.fill(sentence, _COLUMNS, initial_indent="- ", subsequent_indent="  ", break_long_words=False)


def _line(name: str, value: str) -> str:
    """A name and its value in 80 columns, on as many lines as it takes."""
    start = f"{name[:_LABEL]:<{_LABEL}}  "
    return textwrap.fill(safe_line(value), _COLUMNS, initial_indent=start, subsequent_indent=" " * len(start))
