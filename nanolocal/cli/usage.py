"""``nanolocal credits usage``: what was used and what it cost, as a table, a chart, or both."""

import argparse
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_credits
from nanolocal.cli import exports, output
from nanolocal.cli.common import Subparsers, is_quiet, open_vault, wants_json
from nanolocal.safetext import safe_line

if TYPE_CHECKING:
    from nanolocal.ledger.usage import UsageRow

_COLUMNS = 80
_NARROWEST = 8
_NUMBERS = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "pixel_steps", "loads", "cost_micro")
_HEADS = ("ASKED", "PROMPT", "CACHED", "ANSWER", "PIXEL-STEPS", "LOADS", "CREDITS")


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the part of ``nanolocal credits``."""
    usage = parts.add_parser("usage", parents=[common], help="tokens and credits by day, model, conversation or key")
    usage.add_argument(
        "--by", default="day", metavar="WHAT", help="day, week or month; model, chat, key; as day,model (default: day)"
    )
    usage.add_argument("--since", metavar="DATE", help="from this day on, as 2026-11-27")
    usage.add_argument("--until", metavar="DATE", help="up to and with this day")
    usage.add_argument("--plot", action="store_true", help="bars in the terminal instead of the table")
    usage.add_argument("--svg", type=Path, metavar="FILE", help="the bars as a picture in a new file, unencrypted")
    usage.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    usage.set_defaults(run=run_usage)


def run_usage(args: argparse.Namespace) -> int:
    """Add up what was charged."""
    from nanolocal import bootstrap
    from nanolocal.ledger.usage import parse_groups, usage

    groups, period = parse_groups(args.by), exports.period_of(args)
    with open_vault(args) as vault:
        problem = bootstrap.open_wallet(vault).problem
        with vault.database.snapshot() as source:
            rows = usage(source, groups, period.since, period.until)
            days = usage(source, ("day",), period.since, period.until) if args.plot or args.svg else []
    if problem is not None:
        output.note(f"the ledger fails its check: {problem.message}")
    if args.plot or args.svg:
        _draw(args, {row.group[0]: row.cost_micro for row in days}, period.since, period.until)
    if wants_json(args):
        _tell_json(groups, rows, period.since, period.until)
    elif not args.plot:
        _tell_table(groups, rows)
    return 0


def _draw(args: argparse.Namespace, costs: dict[str, int], since: str | None, until: str | None) -> None:
    from nanolocal.ledger import chart

    drawn = chart.chart(costs, since, until)
    if drawn is None:
        output.note("nothing was spent in this time, so there is nothing to draw")
        return
    if args.svg is not None:
        exports.write_private(args.svg, [chart.svg(drawn)], overwrite=args.overwrite)
        if not is_quiet(args):
            output.note(f"what is in {args.svg} is not encrypted")
    if args.plot and not wants_json(args):
        for line in chart.terminal(drawn):
            output.line(line)


def _tell_json(groups: Sequence[str], rows: "Sequence[UsageRow]", since: str | None, until: str | None) -> None:
    from nanolocal.ledger.usage import total

    def numbers(row: "UsageRow") -> dict[str, object]:
        return {name: getattr(row, name) for name in _NUMBERS} | {"cost": format_credits(row.cost_micro)}

    shown = [dict(zip(groups, row.group, strict=True)) | numbers(row) for row in rows]
    whole = numbers(total(rows, groups))
    output.as_json({"by": list(groups), "since": since, "until": until, "rows": shown, "total": whole})


def _tell_table(groups: Sequence[str], rows: "Sequence[UsageRow]") -> None:
    from nanolocal.ledger.usage import total

    summed = total(rows, groups)
    kept = [n for n, number in enumerate(summed.numbers) if number or _HEADS[n] in {"ASKED", "CREDITS"}]
    labels = [[safe_line(cell) or "-" for cell in row.group] for row in rows]
    labels = [[group.upper() for group in groups], *labels, ["TOTAL", *[""] * (len(groups) - 1)]]
    numbers = [[_HEADS[n] for n in kept], *[[_cell(row, n) for n in kept] for row in (*rows, summed)]]
    for line in table(labels, numbers):
        output.line(line)


def _cell(row: "UsageRow", place: int) -> str:
    number = row.numbers[place]
    return format_credits(number) if _HEADS[place] == "CREDITS" else str(number)


def table(labels: Sequence[Sequence[str]], numbers: Sequence[Sequence[str]]) -> list[str]:
    """Lines of labels, cut as needed, and numbers, never cut, in 80 columns.

    Where the numbers leave too little room, each row takes a second line.
    """
    wide = [max(len(row[n]) for row in numbers) for n in range(len(numbers[0]))]
    ends = ["  ".join(cell.rjust(width) for cell, width in zip(row, wide, strict=True)) for row in numbers]
    room = _COLUMNS - len(ends[0]) - 2
    wanted = [max(_width(row[n]) for row in labels) for n in range(len(labels[0]))]
    is_stacked = room < sum(min(each, _NARROWEST) + 2 for each in wanted) - 2
    given = _shared(wanted, (_COLUMNS if is_stacked else room) - 2 * (len(wanted) - 1))
    starts = ["  ".join(_fit(cell, width) for cell, width in zip(row, given, strict=True)) for row in labels]
    if is_stacked:
        return [line for start, end in zip(starts, ends, strict=True) for line in (start.rstrip(), f"    {end}")]
    return [f"{start}  {end}" for start, end in zip(starts, ends, strict=True)]


def _shared(wanted: Sequence[int], room: int) -> list[int]:
    """Widths that fit into ``room``: the widest columns give way first."""
    given = list(wanted)
    while sum(given) > room:
        given[given.index(max(given))] -= 1
    return given


def _fit(text: str, width: int) -> str:
    """``text`` cut or padded to so many columns."""
    if _width(text) > width:
        while _width(text) > width - 1:
            text = text[:-1]
        text += "…"
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    """Columns on a terminal: East Asian characters take two, marks on top of others none."""
    return sum(0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in "WF") for each in text)
