"""Prices and savings as a user types them, with the starter builds that ship."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Program

pytestmark = pytest.mark.slow

TEXT, IMAGE = "nanolocal-starter-text:Q8_0", "nanolocal-starter-image:f16"


def told(program: Program, *args: str) -> dict[str, Any]:
    result = program("credits", *args, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def settings(home: Path, text: str) -> None:
    (home / "config").mkdir(exist_ok=True)
    (home / "config/settings.toml").write_text(text)


def test_every_build_has_a_price_with_its_source(program: Program) -> None:
    prices = {price["build"]: price for price in told(program, "prices")["prices"]}
    assert set(prices) >= {TEXT, IMAGE}
    assert prices[TEXT]["micro"]["completion"] > 0 == prices[TEXT]["micro"]["picture"]
    assert prices[IMAGE]["micro"]["picture"] > 0 == prices[IMAGE]["micro"]["completion"]
    assert {price["source"] for price in prices.values()} == {"electricity, estimated"}
    shown = program("credits", "prices").stdout.splitlines()
    assert shown[0].split() == ["BUILD", "PROMPT", "CACHED", "ANSWER", "PICTURE", "LOAD", "SOURCE"]


def test_a_price_is_set_and_its_history_kept(program: Program) -> None:
    own = told(program, "prices", TEXT, "--completion", "0.5", "--load", "0.000007")
    assert (own["micro"]["completion"], own["micro"]["load"], own["source"]) == (500_000, 7, "owner")
    like = told(program, "prices", TEXT, "--like", "gpt-4o-mini")
    assert like["micro"]["prompt"] == 150_000
    assert "https://openai.com/" in like["evidence"]
    back = told(program, "prices", TEXT, "--electricity")
    assert [change["price_id"] for change in back["history"]] == [
        back["price_id"], like["price_id"], own["price_id"],
    ]  # fmt: skip
    assert told(program, "prices", TEXT) == back
    assert back["price_id"][:8] in program("credits", "prices", TEXT).stdout
    assert told(program, "verify")["verified"] is True


def test_a_price_is_measured_free_of_charge(program: Program) -> None:
    before = told(program, "balance")["balance_micro"]
    measured = told(program, "prices", TEXT, "--measure")
    assert measured["source"] in ("electricity, from measured speed", "electricity, measured")
    assert min(measured["micro"][part] for part in ("prompt", "completion", "load")) > 0
    assert "answer tokens/s" in measured["evidence"]
    assert told(program, "balance")["balance_micro"] == before
    assert json.loads(program("chats", "list", "--json").stdout)["chats"] == []


def test_the_estimate_follows_the_settings(program: Program) -> None:
    first = told(program, "prices", TEXT)
    settings(program.home, "tariff = 0.60\nwatts = 30\n")
    second = told(program, "prices", TEXT)
    assert second["micro"]["completion"] in (2 * first["micro"]["completion"], 2 * first["micro"]["completion"] - 1)
    assert "600000 micro-credits/kWh" in second["evidence"]
    settings(program.home, "tariff = nan\n")
    refused = program("credits", "prices")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "tariff cannot be nan" in refused.stderr


def test_the_public_list_needs_no_vault(program: Program) -> None:
    listed = told(program, "prices", "--list")
    assert {price["name"] for price in listed["prices"]} >= {"gpt-4o-mini", "flux.1-dev"}
    assert listed["subscription"]["month"] == 20_000_000
    assert "2024-10-01" in program("credits", "prices", "--list").stdout
    assert not program.home.exists()


def test_savings_compare_what_was_used(program: Program) -> None:
    assert "no answer was charged" in program("credits", "savings").stdout
    answer = json.loads(program("ask", "Hello", "--json", "--max-tokens", "20").stdout)
    saved = told(program, "savings", "--like", "gpt-4o-mini", "--since", "2020-01-01")
    usage = answer["usage"]
    assert usage["loads"] == 1
    exact = usage["prompt_tokens"] * 150_000 + usage["completion_tokens"] * 600_000
    assert (saved["answers"], saved["charged_micro"]) == (1, answer["cost_micro"])
    assert saved["elsewhere"][0]["cost_micro"] == -(-exact // 10**6)
    assert (saved["subscription"]["months"], saved["subscription"]["cost_micro"]) == (1, 20_000_000)
    shown = program("credits", "savings").stdout
    assert shown.startswith("1 answer was charged")
    assert "Quality is not compared" in shown
    assert told(program, "savings", "--since", "9999-01-01")["answers"] == 0
