"""A recipe travels as JSON, and nothing else passes for one."""

import json

import pytest

from nanolocal.compress.recipe import PruneStep, QuantizeStep, Recipe, RecoverStep, recipe_from_json
from nanolocal.errors import UsageError

RECIPE = Recipe(
    (
        PruneStep(layers=5, hidden=512, rounds=2),
        RecoverStep(steps=300, rate=4e-4),
        QuantizeStep({"token_embd.weight": "Q6_K", "blk.0.ffn_up.weight": "IQ4_XS"}, "C + rounding", rounded=True),
    ),
    seed=7,
    source_sha256="ab" * 32,
    calibration={"sha256": "cd" * 32, "chunks": 128, "chunk_tokens": 512},
)


def test_a_recipe_comes_back_the_same() -> None:
    assert recipe_from_json(RECIPE.to_json()) == RECIPE
    assert recipe_from_json(RECIPE.to_json()).to_json() == RECIPE.to_json()


def test_the_order_of_tensors_does_not_matter() -> None:
    turned = Recipe((QuantizeStep({"b": "Q4_K", "a": "Q5_K"}),))
    assert turned.to_json() == Recipe((QuantizeStep({"a": "Q5_K", "b": "Q4_K"}),)).to_json()


@pytest.mark.parametrize("change", [
    {"version": 2}, {"steps": [{"step": "melt"}]}, {"steps": [{"step": "quantize", "types": {}}]}, {"seed": "7"},
    {"steps": [{"step": "quantize", "types": {"a": "Q4_Z"}}]}, {"steps": [{"step": "prune", "layers": -1}]},
    {"steps": [{"step": "recover", "steps": True}]}, {"steps": [{"step": "prune", "teeth": 3}]}, {"source_sha256": 5},
    {"steps": 3}, {"calibration": []},
])  # fmt: skip
def test_another_thing_is_refused(change: dict[str, object]) -> None:
    told = json.loads(RECIPE.to_json()) | change
    with pytest.raises(UsageError):
        recipe_from_json(json.dumps(told))


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", "[" * 5000, '"recipe"', '{"version": 1}'])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no recipe"):
        recipe_from_json(text)
