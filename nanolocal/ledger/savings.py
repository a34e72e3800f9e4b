"""What the same use would have cost elsewhere. A memo: nothing here is ever charged or posted."""

from dataclasses import dataclass
from datetime import date

from nanolocal.chat.messages import Usage
from nanolocal.chat.routes import Kind
from nanolocal.ledger.listprices import ListPrice, ListPrices
from nanolocal.ledger.sql import Source

COMPARED = ("gpt-4o-mini", "gpt-5-mini", "claude-sonnet-4", "flux.1-schnell", "flux.1-dev")
"""Which list prices are shown unless the user names others: text from cheap to dear, then pictures."""

_DAY = "coalesce(day, date(ts / 1000, 'unixepoch', 'localtime'))"


@dataclass(frozen=True, slots=True)
class Used:
    """What was settled: answers, their usage added up, what they were charged, and the calendar months they fell in."""

    answers: int
    usage: Usage
    charged_micro: int
    months: int
    first_day: str | None
    last_day: str | None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What the part of the use that ``price`` is for would have cost there."""

    price: ListPrice
    micro: int


def used(source: Source, since: date | None = None) -> Used:
    """Add up every settled answer, from the day ``since`` on."""
    rows = source.execute(
        f"""SELECT count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(min(cached_tokens, prompt_tokens)), 0),
            coalesce(sum(completion_tokens), 0), coalesce(sum(pixel_steps), 0), coalesce(sum(loads), 0),
            coalesce(sum(amount), 0), count(DISTINCT substr({_DAY}, 1, 7)), min({_DAY}), max({_DAY})
            FROM entry WHERE kind = 'settle' AND {_DAY} >= ?""",  # noqa: S608 - the column is ours
        ("" if since is None else since.isoformat(),),
    )
    answers, *quantities, charged, months, first, last = rows[0]
    return Used(answers, Usage(*quantities), charged, months, first, last)


def elsewhere(used: Used, prices: list[ListPrice]) -> list[Elsewhere]:
    """Text at the prices of text and pictures at those of pictures; what was not used is left out."""
    usage = used.usage
    text = Usage(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)
    parts = {Kind.TEXT: text, Kind.IMAGE: Usage(pixel_steps=usage.pixel_steps)}
    return [Elsewhere(price, price.cost(parts[price.kind])) for price in prices if parts[price.kind] != Usage()]


def subscription_micro(used: Used, prices: ListPrices) -> int:
    """What a subscription would have cost in the months with at least one answer."""
    return used.months * prices.subscription.month
