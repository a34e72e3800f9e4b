"""The voucher codes that a command was given: as arguments, in a file, or on standard input."""

import argparse
import sys
from itertools import takewhile
from pathlib import Path
from typing import TextIO

from nanolocal.cli import output
from nanolocal.errors import UsageError

_MOST = 1_000_000


def given_codes(args: argparse.Namespace) -> list[str]:
    """The codes of the command line, of a file or of standard input: at least one, none of them checked."""
    file: Path | None = getattr(args, "file", None)
    if args.code and file is not None:
        raise UsageError("give a code or a file, not both", "nanolocal credits voucher redeem --file FILE")
    if args.code:
        return [" ".join(args.code)]
    if file is None and sys.stdin.isatty():
        output.note("type or paste the code, then an empty line")
        return ["".join(takewhile(str.strip, sys.stdin))]
    where = "standard input" if file is None else str(file)
    try:
        if file is None:
            text = _read(sys.stdin, where)
        else:
            with file.open(encoding="utf-8-sig") as opened:
                text = _read(opened, where)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"cannot read vouchers from {where}: {why}", "give another file") from error
    codes = _paragraphs(text)
    if not codes:
        raise UsageError(f"there is no voucher in {where}", "nanolocal credits voucher redeem CODE")
    return codes


def _read(source: TextIO, where: str) -> str:
    text = source.read(_MOST + 1)
    if len(text) > _MOST:
        raise UsageError(f"{where} has more than {_MOST:,} characters", "redeem it in parts")
    return text


def _paragraphs(text: str) -> list[str]:
    """What stands between empty lines, without comments."""
    found: list[list[str]] = [[]]
    for line in text.splitlines():
        if not line.strip():
            found.append([])
        elif not line.lstrip().startswith("#"):
            found[-1].append(line)
    return ["\n".join(lines) for lines in found if lines]
