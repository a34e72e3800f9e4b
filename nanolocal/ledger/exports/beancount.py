"""The ledger as a file that ``bean-check`` accepts (https://beancount.github.io/docs/beancount_language_syntax.html)."""

import datetime
from collections.abc import Iterable, Iterator

from nanolocal.chat.amounts import format_credits
from nanolocal.ledger.chain import Link
from nanolocal.ledger.exports.movements import CURRENCY, Movement, Remark, movements
from nanolocal.ledger.exports.survey import Survey


def write(links: Iterable[Link], survey: Survey) -> Iterator[str]:
    """The file's lines, each with its end. Balances hold in the morning, so they stand on the day after the last."""
    yield 'option "title" "nanolocal ledger"\n'
    yield f'option "operating_currency" "{CURRENCY}"\n\n'
    for name in survey.balances():
        yield f"1970-01-01 open {name} {CURRENCY}\n"
    for movement in movements(links, survey):
        yield "\n"
        yield from [f"; {movement.text}\n"] if isinstance(movement, Remark) else _transaction(movement)
    yield "\n"
    morning = datetime.date.fromisoformat(survey.last_day) + datetime.timedelta(1)
    for name, amount in survey.balances().items():
        yield f"{morning} balance {name}  {format_credits(amount)} ~ 0.000000 {CURRENCY}\n"


def _transaction(movement: Movement) -> Iterator[str]:
    flag = "!" if movement.is_pending else "*"
    yield f"{movement.day} {flag} {_quoted(movement.what)} {_quoted(movement.detail)}\n"
    for name, value in movement.tags:
        yield f"  {name}: {value if isinstance(value, int) else _quoted(value)}\n"
    for account, amount in movement.postings:
        yield f"  {account}  {format_credits(amount)} {CURRENCY}\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
