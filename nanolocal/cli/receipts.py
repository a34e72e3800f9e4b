"""``nanolocal credits show``, ``nanolocal receipt verify``, and checking an exported ledger."""

import argparse
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from nanolocal.chat.amounts import format_credits
from nanolocal.cli import output
from nanolocal.cli.common import Subparsers, open_vault, wants_json
from nanolocal.cli.exports import counted
from nanolocal.errors import UsageError
from nanolocal.safetext import safe_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nanolocal.chat.drawing import StoredPicture
    from nanolocal.ledger.receipts import Receipt

_LABEL, _COLUMNS = 13, 80
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
    from nanolocal.vault.gallery import Pictures

    with open_vault(args) as vault:
        held = Conversations(vault.database, vault.blobs).hold_of(args.id)
        with vault.database.snapshot() as source:
            shown = receipts.receipt(source, receipts.find(source, held or args.id))
        paid = Pictures(vault.database, vault.blobs).drawn_under(shown.link.entry.ref or "")
    if wants_json(args):
        output.as_json(shown.record())
    else:
        _tell(shown)
        _tell_pictures(paid)
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
    _tell(receipt)
    for line in ("", "Proved:", *map(_point, shown), "", "Not proved:", *map(_point, open_points)):
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


def _tell(receipt: "Receipt") -> None:
    from nanolocal.ledger.receipts import described

    for name, value in described(receipt):
        output.line(_line(name, value))


def _tell_pictures(pictures: "Sequence[StoredPicture]") -> None:
    """What was drawn for it."""
    from nanolocal.chat.picturefacts import settings

    for picture in pictures:
        output.line(_line("picture", picture.id))
        for name, value in settings(picture.receipt) if picture.receipt else ():
            output.line(_line(f"  {name}", value))


def _point(sentence: str) -> str:
    return textwrap.fill(sentence, _COLUMNS, initial_indent="- ", subsequent_indent="  ", break_long_words=False)


def _line(name: str, value: str) -> str:
    """A name and its value in 80 columns, on as many lines as it takes."""
    start = f"{name[:_LABEL]:<{_LABEL}}  "
    return textwrap.fill(safe_line(value), _COLUMNS, initial_indent=start, subsequent_indent=" " * len(start))
