"""How wishes become a text job, and which are refused before anything is loaded or paid."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nanolocal.chat.jobs import text_job
from nanolocal.chat.messages import Message, Role, Wishes
from nanolocal.chat.ports import TextJob
from nanolocal.chat.routes import Build, Kind, Route
from nanolocal.errors import UsageError

BUILD = Build("oak:Q4", "Oak", Kind.TEXT, Path("o"), "Q4", 1, "a" * 64, defaults={"top_k": 20, "typical_p": 0.9})
ROUTE = Route("chat", BUILD, 1024, 0.9, 0.5, ("why",), (), ())
TOOLS = json.dumps([{"type": "function", "function": {"name": "look", "parameters": {}}}])


def job(wishes: Wishes) -> TextJob:
    return text_job((Message(Role.USER, "hi"),), ROUTE, wishes)


def test_a_wish_goes_before_the_builds_own_value_and_that_before_the_default() -> None:
    plain = job(Wishes())
    assert (plain.top_k, plain.typical_p, plain.top_p, plain.temperature) == (20, 0.9, 0.95, 0.7)
    wished = job(Wishes(temperature=0.0, sampling={"top_k": 5, "mirostat": 1, "dry_multiplier": 0.8}))
    assert (wished.top_k, wished.temperature, wished.mirostat, wished.dry_multiplier) == (5, 0.0, True, 0.8)
    assert isinstance(wished.top_k, int)


def test_what_shapes_the_answer_reaches_the_engine() -> None:
    wishes = Wishes(stop=("\n\n", "END"), logprobs=3, logit_bias=((5, -1.5),), tools=TOOLS, seed=4)
    made = job(wishes)
    assert (made.stop, made.logprobs, made.logit_bias, made.tools, made.seed) == (
        ("\n\n", "END"), 3, ((5, -1.5),), TOOLS, 4,
    )  # fmt: skip
    assert job(Wishes(grammar='root ::= "a"')).grammar == 'root ::= "a"'
    assert "root ::=" in job(Wishes(schema='{"type": "integer"}')).grammar
    assert not replace(made, stop=()).grammar


@pytest.mark.parametrize(
    ("wishes", "why"),
    [
        (Wishes(sampling={"top_p": 1.5}), "--top-p is between"),
        (Wishes(sampling={"top_k": -1}), "--top-k is between"),
        (Wishes(sampling={"min_p": float("nan")}), "--min-p is between"),
        (Wishes(sampling={"colour": 1.0}), "no setting 'colour'"),
        (Wishes(temperature=-0.1), "--temperature is between"),
        (Wishes(stop=("",)), "none of them empty"),
        (Wishes(stop=("x",) * 17), "up to 16"),
        (Wishes(logprobs=21), "--logprobs is between"),
        (Wishes(schema="{"), "is not JSON"),
        (Wishes(schema="{}", grammar="root ::= x"), "not both"),
        (Wishes(schema="{}", tools=TOOLS), "follows no schema"),
        (Wishes(tools="{"), "not a JSON list"),
        (Wishes(tools="[]"), "not a JSON list"),
        (Wishes(tools='[{"function": {"name": 3}}]'), "not a JSON list"),
        (Wishes(tools="[" * 100_000), "not a JSON list"),
        (Wishes(tools="3"), "not a JSON list"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(wishes: Wishes, why: str) -> None:
    with pytest.raises(UsageError) as refused:
        job(wishes)
    assert why in refused.value.message
