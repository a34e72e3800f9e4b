"""Pruning: the parts that matter least go, and what is left is a build that llama.cpp runs."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from nanolocal.compress.torch.divergence import measured
from nanolocal.compress.torch.files import read, write
from nanolocal.compress.torch.model import Model
from nanolocal.compress.torch.prune import Goal, fewer_heads, leave_one_out, narrower, prune, without_layers
from nanolocal.compress.torch.shape import FAMILIES
from nanolocal.errors import UsageError
from tests.fakes.llama_logits import llama_logits
from tests.fakes.small_torch import VOCABULARY, lively, small_shape, some_tokens, written

TOKENS = some_tokens(6, 48)


def scores(model: Model) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(torch.from_numpy(TOKENS.astype(np.int64)))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pruned_build_runs_in_llama_cpp_as_in_torch(family: str, tmp_path: Path) -> None:
    path = written(lively(small_shape(family)), tmp_path / "model.gguf")
    heads = 0 if family == "qwen2" else 1
    smaller = prune(read(path), Goal(layers=2, hidden=64, kv_heads=heads), TOKENS)

    write(smaller, tmp_path / "smaller.gguf", path)

    again = read(tmp_path / "smaller.gguf")
    assert again.shape == smaller.shape
    assert (again.shape.layers, again.shape.hidden, again.shape.kv_heads) == (2, 64, heads or 2)
    expected = llama_logits(tmp_path / "smaller.gguf", TOKENS[:2])
    assert np.abs(scores(again)[:2].numpy() - expected).max() < 1e-3


def test_windows_stay_with_their_layers(tmp_path: Path) -> None:
    path = written(lively(small_shape("gemma3", layers=4)), tmp_path / "model.gguf")

    smaller = without_layers(read(path), {0, 3})
    write(smaller, tmp_path / "smaller.gguf", path)

    assert smaller.shape.windowed == (False, True)
    found = llama_logits(tmp_path / "smaller.gguf", TOKENS[:1])
    assert np.abs(scores(smaller)[:1].numpy() - found).max() < 1e-3


@pytest.mark.parametrize(("family", "layers"), [("gemma2", 46), ("gemma3", 62)])
def test_the_largest_gemmas_keep_their_scale(family: str, layers: int, tmp_path: Path) -> None:
    """llama.cpp knows them by their number of layers, and scales attention otherwise with one layer less."""
    shape = small_shape(family, layers=layers, window=0, width=32, hidden=32)
    model = lively(shape)
    for name in (name for name in model.weights if name.endswith(("attn_output.weight", "ffn_down.weight"))):
        model.weights[name].mul_(0.1)
    for part in ("attn_output", "ffn_down"):
        model.weights[f"blk.5.{part}.weight"].zero_()
    path = written(model, tmp_path / "model.gguf")

    write(without_layers(read(path), {5}), tmp_path / "smaller.gguf", path)

    before, after = (llama_logits(tmp_path / name, TOKENS[:1]) for name in ("model.gguf", "smaller.gguf"))
    assert np.abs(after - before).max() < 1e-3


def test_the_layer_that_does_nothing_goes_first() -> None:
    model = lively(small_shape())
    for part in ("attn_output", "ffn_down"):
        model.weights[f"blk.1.{part}.weight"].zero_()

    damage = leave_one_out(model, TOKENS)

    assert damage[1] == pytest.approx(0.0, abs=1e-6)
    assert min(damage[0], damage[2]) > 1e-3
    assert torch.allclose(scores(prune(model, Goal(layers=2), TOKENS)), scores(model), atol=1e-5)


def test_damage_is_what_leaving_out_does() -> None:
    model = lively(small_shape("qwen3"))

    damage = leave_one_out(model, TOKENS)

    left = [without_layers(model, {layer}) for layer in range(3)]
    whole = [float(divergence_of(model, smaller)) for smaller in left]
    assert damage == pytest.approx(whole, rel=1e-4)


def divergence_of(model: Model, smaller: Model) -> torch.Tensor:
    wanted, found = scores(model).log_softmax(-1), scores(smaller).log_softmax(-1)
    return (wanted.exp() * (wanted - found)).sum(-1).mean()


def test_channels_that_do_nothing_go_first() -> None:
    model = lively(small_shape())
    for layer in range(3):
        model.weights[f"blk.{layer}.ffn_down.weight"][:, layer : layer + 32].zero_()

    smaller = narrower(model, 64, TOKENS)

    assert torch.allclose(scores(smaller), scores(model), atol=1e-4)


def test_heads_that_do_nothing_go_first() -> None:
    model = lively(small_shape(heads=6, kv_heads=3))
    for layer in range(3):
        dead = slice(2 * (layer % 3) * 24, 2 * (layer % 3) * 24 + 48)
        model.weights[f"blk.{layer}.attn_output.weight"][:, dead].zero_()

    smaller = fewer_heads(model, 4, 2, TOKENS)

    assert (smaller.shape.heads, smaller.shape.kv_heads, smaller.shape.head_size) == (4, 2, 24)
    assert torch.allclose(scores(smaller), scores(model), atol=1e-4)


def test_heads_may_be_fewer_for_the_same_keys(tmp_path: Path) -> None:
    path = written(lively(small_shape("qwen3")), tmp_path / "model.gguf")

    smaller = fewer_heads(read(path), 2, 2, TOKENS)
    write(smaller, tmp_path / "smaller.gguf", path)

    assert np.abs(scores(smaller)[:1].numpy() - llama_logits(tmp_path / "smaller.gguf", TOKENS[:1])).max() < 1e-3


def repeating(model: Model) -> Model:
    """The second half of the channels and heads computes what the first does, and is used otherwise, and less."""
    for name, weight in model.weights.items():
        if name.endswith(("ffn_gate.weight", "ffn_up.weight", "attn_q.weight", "attn_k.weight", "attn_v.weight")):
            half = len(weight) // 2
            weight[half:] = weight[:half]
        if name.endswith(("ffn_down.weight", "attn_output.weight")):
            weight[:, weight.shape[1] // 2 :] *= 0.3
    return model


@pytest.mark.parametrize("goal", [Goal(hidden=48), Goal(kv_heads=1)])
def test_refitting_undoes_damage(goal: Goal) -> None:
    model = repeating(lively(small_shape()))
    text, other = some_tokens(40, 48), some_tokens(6, 48, seed=9)

    models = [prune(model, goal, text, refits=refits) for refits in (False, True)]

    plain, refitted = (float(measured(model, smaller, other).mean()) for smaller in models)
    assert refitted < 0.1 * plain


def test_refitting_on_hardly_any_text_does_no_harm() -> None:
    model, other = lively(small_shape()), some_tokens(6, 48, seed=9)

    models = [narrower(model, 48, TOKENS[:2, :12], refits=refits) for refits in (False, True)]

    plain, refitted = (float(measured(model, smaller, other).mean()) for smaller in models)
    assert refitted < 1.1 * plain


def test_pruning_leaves_the_original_alone() -> None:
    model = lively(small_shape())
    before = {name: weight.clone() for name, weight in model.weights.items()}

    smaller = prune(model, Goal(layers=2, hidden=64, kv_heads=1), TOKENS)
    for weight in smaller.weights.values():
        weight.zero_()

    assert all(torch.equal(model.weights[name], weight) for name, weight in before.items())


@pytest.mark.parametrize(
    ("goal", "family"),
    [
        (Goal(layers=4), "llama"),
        (Goal(hidden=97), "llama"),
        (Goal(heads=3, kv_heads=2), "llama"),
        (Goal(heads=4, kv_heads=1), "llama"),
        (Goal(layers=-1), "llama"),
        (Goal(kv_heads=1), "qwen2"),
    ],
)
def test_what_cannot_be_reached_is_refused(goal: Goal, family: str) -> None:
    with pytest.raises(UsageError):
        prune(lively(small_shape(family)), goal, TOKENS)


def test_steps_towards_a_goal_end_there() -> None:
    shape = dataclasses.replace(small_shape(), layers=12, hidden=768)
    goal = Goal(layers=9, hidden=512, kv_heads=1)

    way = [goal.towards(shape, share) for share in (1 / 3, 2 / 3, 1)]

    assert [(step.layers, step.hidden, step.kv_heads) for step in way] == [(11, 704, 2), (10, 608, 2), (9, 512, 1)]
    assert all(step.heads == 2 * step.kv_heads for step in way)


def test_measuring_takes_long_texts_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model, other = lively(small_shape()), lively(small_shape(), 2)
    whole = measured(model, other, TOKENS)

    monkeypatch.setattr("nanolocal.compress.torch.divergence.SCORES", VOCABULARY * 60)

    assert whole.shape == (6, 24)
    assert np.allclose(measured(model, other, TOKENS), whole, atol=1e-6)


def test_without_text_nothing_is_measured() -> None:
    model = lively(small_shape())
    with pytest.raises(UsageError, match="no text"):
        measured(model, model, np.zeros((0, 8), np.int32))
