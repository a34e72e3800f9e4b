"""The ledger as a journal that ``hledger check -s`` accepts (https://hledger.org/hledger.html#journal)."""

from collections.abc import Iterable, Iterator

from nanolocal.chat.amounts import format_credits
from nanolocal.ledger.chain import Link
from nanolocal.ledger.exports.movements import CURRENCY, Movement, Remark, movements
from nanolocal.ledger.exports.survey import Survey

# In a transaction's comment "name:" begins a tag ("date:" would even be read), "," ends one and "[...]" is a date.
_COMMENT = str.maketrans({":": ".", ",": " ", ";": ".", "[": "(", "]": ")"})
# In a description ";" begins a comment and "|" ends the payee.
_DESCRIPTION = str.maketrans({";": ",", "|": "/"})


def write(links: Iterable[Link], survey: Survey) -> Iterator[str]:
    """The journal's lines, each with its end. The balance assertions come last."""
    yield "; nanolocal ledger, in credits; amounts are exact\n\n"
    yield f"commodity 1000.000000 {CURRENCY}\n\n"
    for name in survey.balances():
        yield f"account {name}\n"
    for movement in movements(links, survey):
        yield "\n"
        if isinstance(movement, Remark):
            yield f"; {movement.text}\n"
        else:
            yield from _transaction(movement)
    yield f"\n{survey.last_day} * balances\n"
    for name, amount in survey.balances().items():
        yield _posting(name, 0) + f" = {format_credits(amount)} {CURRENCY}\n"


def _transaction(movement: Movement) -> Iterator[str]:
    detail = f": {movement.detail.translate(_DESCRIPTION)}" if movement.detail else ""
    yield f"{movement.day} {'!' if movement.is_pending else '*'} {movement.what}{detail}\n"
    for name, value in movement.tags:
        text = " ".join(str(value).translate(_COMMENT).split())
        yield f"    ; {name}: {text}\n"
    for account, amount in movement.postings:
        yield _posting(account, amount) + "\n"


def _posting(account: str, amount: int) -> str:
    return f"    {account}  {format_credits(amount)} {CURRENCY}"
