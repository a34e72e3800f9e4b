"""The texts about credits: what there is and what was spent, one entry, one receipt. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content

from nanolocal.chat.amounts import format_credits, short_credits
from nanolocal.safetext import safe_line
from nanolocal.tui.lines import day, tokens
from nanolocal.tui.ports import BudgetRow, EntryRow

METER = "A meter on this device, not money: it counts what answers cost."


@dataclass(frozen=True, slots=True)
class Account:
    """What the credits screen tells; ``today`` and ``month`` are spent or held, ``problem`` is why it is read-only."""

    balance: int
    today: int
    month: int
    budgets: Sequence[tuple[BudgetRow, int | None]]
    entries: Sequence[EntryRow]
    problem: str = ""


def summary(account: Account) -> Content:
    """Balance, what was spent, and each budget with what is left of it."""
    lines = [Content.styled(f"Balance {format_credits(account.balance)} credits", "bold $primary")]
    if account.problem:
        lines.append(Content.styled(f"Read-only: {safe_line(account.problem)}", "$warning"))
    lines.append(Content(f"Spent today {format_credits(account.today)}, this month {format_credits(account.month)}"))
    lines += [_budget(budget, spent) for budget, spent in account.budgets]
    return Content("\n").join([*lines, Content.styled(METER, "$quiet")])


def _budget(budget: BudgetRow, spent: int | None) -> Content:
    limit = format_credits(budget.limit_micro)
    head = f"Budget {safe_line(str(budget.scope))} {limit}"
    if spent is None:
        return Content.assemble(head, (" for each", "$quiet"))
    left = max(0, budget.limit_micro - spent)
    return Content.assemble(f"{head}, ", (f"{format_credits(left)} left", "" if left else "$warning"))


def entry_line(entry: EntryRow) -> Content:
    """One line of the ledger: number, time, amount, what for."""
    usage = entry.usage
    spent = tokens(usage.completion_tokens) if usage and usage.completion_tokens else ""
    parts = (entry.kind, entry.build_id or "", spent, entry.note or "")
    what = " · ".join(safe_line(part) for part in parts if part)
    head = f"{entry.seq:>5}  {day(entry.ts)}  "
    return Content.assemble((head, "$quiet"), f"{short_credits(entry.amount_micro):>9}  ", what)


def receipt_page(rows: Sequence[tuple[str, str]]) -> Content:
    """Names and values, one below the other."""
    return Content("\n").join(
        Content.assemble((f"{safe_line(name):<13} ", "$quiet"), safe_line(value)) for name, value in rows
    )
