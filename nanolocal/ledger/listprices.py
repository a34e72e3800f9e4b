"""Public list prices with their date and address, as ``data/list_prices.toml`` states them; a credit is a US dollar."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from importlib import resources
from typing import cast

from nanolocal.chat.amounts import MICRO
from nanolocal.chat.messages import Usage
from nanolocal.chat.routes import Build, Kind
from nanolocal.errors import UsageError
from nanolocal.ledger.prices import PriceCard

SOURCE = "public list price"
_HINT = "nanolocal credits prices --list"
_MAKES = {Kind.TEXT: "text", Kind.IMAGE: "pictures"}


@dataclass(frozen=True, slots=True)
class ListPrice:
    """What a provider asked on ``date``: micro-credits per million tokens or pixel-steps.

    ``basis`` says in words what the provider's own price is for.
    """

    name: str
    provider: str
    kind: Kind
    prompt: int
    cached: int
    completion: int
    pixel_steps: int
    basis: str
    url: str
    date: date

    def cost(self, usage: Usage) -> int:
        """Micro-credits that so much would have cost, rounded up once."""
        exact = (
            max(0, usage.prompt_tokens - usage.cached_tokens) * self.prompt
            + usage.cached_tokens * self.cached
            + usage.completion_tokens * self.completion
            + usage.pixel_steps * self.pixel_steps
        )
        return -(-exact // MICRO)


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a provider asks a month, in micro-credits."""

    name: str
    provider: str
    month: int
    url: str
    date: date


@dataclass(frozen=True, slots=True)
class ListPrices:
    """The whole list, in the file's order."""

    prices: tuple[ListPrice, ...]
    subscription: Subscription

    def get(self, name: str) -> ListPrice:
        """The price of that name; raises ``UsageError``."""
        found = next((price for price in self.prices if price.name == name), None)
        if found is None:
            raise UsageError(f"no list price is called {name[:80]!r}", _HINT)
        return found


def load() -> ListPrices:
    """Read the list that ships."""
    text = resources.files("nanolocal.ledger").joinpath("data/list_prices.toml").read_text("utf-8")
    table: Mapping[str, list[_Entry]] = tomllib.loads(text, parse_float=Decimal)
    (month,) = table["subscription"]
    subscription = Subscription(*_where(month)[:2], _micro(month["month"]), *_where(month)[2:])
    return ListPrices((*map(_text, table["text"]), *map(_picture, table["picture"])), subscription)


def like(build: Build, price: ListPrice) -> PriceCard:
    """The card of a build that is to cost what ``price`` says; raises ``UsageError`` when it makes something else."""
    if price.kind is not build.kind:
        message = f"{price.name} is a price for {_MAKES[price.kind]}, and {build.id} makes {_MAKES[build.kind]}"
        raise UsageError(message, _HINT)
    return PriceCard(
        build_id=build.id,
        build_sha256=build.sha256,
        prompt=price.prompt,
        cached=price.cached,
        completion=price.completion,
        pixel_steps=price.pixel_steps,
        load=0,
        minimum=0,
        source=SOURCE,
        evidence=f"{price.name} of {price.provider}, {price.basis}, on {price.date.isoformat()}: {price.url}",
    )


_Entry = Mapping[str, str | int | Decimal | date]


def _text(entry: _Entry) -> ListPrice:
    name, provider, url, day = _where(entry)
    prompt, completion = _micro(entry["prompt"]), _micro(entry["completion"])
    cached = _micro(entry.get("cached", entry["prompt"]))
    return ListPrice(name, provider, Kind.TEXT, prompt, cached, completion, 0, "per million tokens", url, day)


def _picture(entry: _Entry) -> ListPrice:
    """A price for a picture of one size, spread over its pixels and steps and rounded up."""
    name, provider, url, day = _where(entry)
    width, height, steps = (int(cast("int", entry[key])) for key in ("width", "height", "steps"))
    per_million = -(-_micro(entry["picture"]) * MICRO // (width * height * steps))
    basis = f"a picture of {width}x{height} in the usual {steps} steps"
    return ListPrice(name, provider, Kind.IMAGE, 0, 0, 0, per_million, basis, url, day)


def _where(entry: _Entry) -> tuple[str, str, str, date]:
    return str(entry["name"]), str(entry["provider"]), str(entry["url"]), cast("date", entry["date"])


def _micro(dollars: str | int | Decimal | date) -> int:
    """Dollars as micro-credits, exactly; a price of more than six places is a mistake in the file."""
    scaled = Decimal(cast("int | Decimal", dollars)) * MICRO
    if scaled != int(scaled):
        raise ValueError(f"{dollars} has more than six places")
    return int(scaled)
