"""The public list prices: what the file must be like, and what follows from it."""

import re
import tomllib
from dataclasses import replace
from datetime import date
from decimal import Decimal
from importlib import resources

import pytest

from nanolocal.chat.messages import Usage
from nanolocal.chat.routes import Kind
from nanolocal.errors import UsageError
from nanolocal.ledger import listprices
from nanolocal.ledger.listprices import like
from tests.fakes.homes import BUILD

LIST = listprices.load()
COMMON = {"name", "provider", "url", "date"}
KEYS = {
    "text": (COMMON | {"prompt", "completion"}, {"cached"}),
    "picture": (COMMON | {"picture", "width", "height", "steps"}, set[str]()),
    "subscription": (COMMON | {"month"}, set[str]()),
}


def entries() -> list[tuple[str, dict[str, object]]]:
    text = resources.files("nanolocal.ledger").joinpath("data/list_prices.toml").read_text("utf-8")
    table = tomllib.loads(text, parse_float=Decimal)
    assert set(table) == set(KEYS)
    return [(kind, entry) for kind, listed in table.items() for entry in listed]


def test_every_entry_is_complete_dated_and_has_an_address() -> None:
    for kind, entry in entries():
        required, optional = KEYS[kind]
        assert required <= set(entry) <= required | optional, entry
        day = entry["date"]
        assert type(day) is date
        assert date(2022, 11, 30) <= day <= date.today()
        assert re.fullmatch(r"https://[a-z0-9.-]+/[\w./-]*", str(entry["url"]))
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", str(entry["name"]))


def test_every_amount_is_positive_and_exact() -> None:
    for _, entry in entries():
        amounts = [value for value in entry.values() if isinstance(value, int | Decimal)]
        assert amounts
        for value in amounts:
            assert value > 0
            assert Decimal(value) * 10**6 % 1 == 0


def test_no_name_stands_twice() -> None:
    names = [str(entry["name"]) for _, entry in entries()]
    assert len(names) == len(set(names)) >= 15


def test_what_is_cached_never_costs_more_and_an_answer_never_less() -> None:
    for price in LIST.prices:
        assert price.cached <= price.prompt <= price.completion or price.kind is Kind.IMAGE


def test_a_build_can_cost_what_the_list_says() -> None:
    card = like(BUILD, LIST.get("gpt-4o-mini"))
    assert (card.prompt, card.cached, card.completion, card.load, card.minimum) == (150_000, 75_000, 600_000, 0, 0)
    assert card.source == "public list price"
    assert "2024-10-01" in card.evidence
    assert "https://openai.com/" in card.evidence
    usage = Usage(1_000_001, 1, 10)
    assert card.cost(usage) == LIST.get("gpt-4o-mini").cost(usage) == 150_007


def test_a_picture_costs_by_its_pixels_and_steps() -> None:
    card = like(replace(BUILD, kind=Kind.IMAGE), LIST.get("flux.1-dev"))
    assert card.pixel_steps == 893  # 25,000 over 28 million, rounded up
    assert "28 steps" in card.evidence
    assert 25_000 <= card.cost(Usage(pixel_steps=28_000_000)) <= 25_004


def test_tokens_without_a_price_for_cached_ones_count_as_prompt() -> None:
    price = LIST.get("mistral-medium-3")
    assert price.cached == price.prompt


def test_an_unknown_name_or_one_of_the_other_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="no list price is called 'gpt-9'"):
        LIST.get("gpt-9")
    with pytest.raises(UsageError, match="a price for pictures"):
        like(BUILD, LIST.get("flux.1-dev"))
