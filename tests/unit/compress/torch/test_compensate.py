"""Adapters: a quantized build with one is closer to its original, in torch and in llama.cpp."""

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from nanolocal.compress.adapters import Pair, adapter_bytes, low_rank, write_adapter
from nanolocal.compress.torch.compensate import compensation, fresh_pairs, recover, with_pairs
from nanolocal.compress.torch.divergence import divergences, measured
from nanolocal.compress.torch.files import read, write
from nanolocal.compress.torch.loop import Plan
from nanolocal.compress.torch.model import Model
from nanolocal.compress.torch.train import fresh, learn
from nanolocal.errors import UsageError
from tests.fakes.llama_logits import llama_logits
from tests.fakes.small_torch import small_shape, some_tokens, words

TEXT, OTHER = some_tokens(48, 32), some_tokens(8, 32, seed=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained build, and the same with the weights of its layers in four bits (rounded as llama.cpp's Q4_0)."""
    folder = tmp_path_factory.mktemp("builds")
    model = fresh(small_shape("qwen3", head_size=32))
    learn(model, TEXT, Plan(steps=60, rows=8, rate=5e-3, matrix_rate=0.02))
    write(model, folder / "original.gguf", words(folder))
    for name in model.matrices():
        blocks = gguf.quants.quantize(model.weights[name].numpy(), gguf.GGMLQuantizationType.Q4_0)
        model.weights[name] = torch.from_numpy(gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType.Q4_0))
    write(model, folder / "four.gguf", words(folder))
    return folder


@pytest.fixture
def original(folder: Path) -> Model:
    return read(folder / "original.gguf")


@pytest.fixture
def four(folder: Path) -> Model:
    return read(folder / "four.gguf")


def distance(original: Model, other: Model) -> float:
    return float(measured(original, other, OTHER).mean())


def test_a_pair_of_full_rank_is_the_whole_error() -> None:
    random = np.random.default_rng(0)
    error = random.standard_normal((12, 8)).astype(np.float32)
    inputs = random.standard_normal((40, 8))

    for gram in (None, inputs.T @ inputs):
        pair = low_rank(error, 8, gram)
        assert np.allclose(pair.second @ pair.first, error, atol=1e-4)


def test_errors_on_the_inputs_count() -> None:
    """With few directions in the inputs, those are what a pair of low rank is about."""
    random = np.random.default_rng(0)
    error = random.standard_normal((32, 24)).astype(np.float32)
    inputs = random.standard_normal((200, 4)) @ random.standard_normal((4, 24)) * 3 + random.standard_normal((200, 24))

    def left(pair: Pair) -> float:
        return float(np.linalg.norm(inputs @ (error - pair.second @ pair.first).T))

    assert left(low_rank(error, 4, inputs.T @ inputs)) < 0.7 * left(low_rank(error, 4))


def test_a_matrix_that_gets_nothing_has_a_pair_all_the_same() -> None:
    pair = low_rank(np.ones((4, 4), np.float32), 1, np.zeros((4, 4)))
    assert np.isfinite(pair.first).all()
    assert np.isfinite(pair.second).all()


@pytest.mark.parametrize("rank", [0, 9])
def test_a_rank_that_there_is_not_is_refused(rank: int) -> None:
    with pytest.raises(UsageError, match="rank"):
        low_rank(np.ones((12, 8), np.float32), rank)


def test_compensation_brings_a_build_closer_and_more_so_on_its_text(original: Model, four: Model) -> None:
    plain, lqer, eora = (
        distance(original, with_pairs(four, pairs))
        for pairs in ({}, compensation(original, four, 8), compensation(original, four, 8, TEXT))
    )
    assert eora < lqer < plain


def test_llama_cpp_computes_with_the_adapter(original: Model, four: Model, folder: Path, tmp_path: Path) -> None:
    pairs = compensation(original, four, 8, TEXT)
    write_adapter(pairs, tmp_path / "adapter.gguf", "qwen3")

    adapted = llama_logits(folder / "four.gguf", OTHER, tmp_path / "adapter.gguf")

    rows = torch.from_numpy(OTHER.astype(np.int64))
    with torch.no_grad():
        expected = with_pairs(four, pairs).logits(rows)
    assert np.abs(adapted - expected.numpy()).max() < 1e-3
    wanted = torch.from_numpy(llama_logits(folder / "original.gguf", OTHER))
    without = torch.from_numpy(llama_logits(folder / "four.gguf", OTHER))
    assert divergences(wanted, torch.from_numpy(adapted)).mean() < 0.7 * divergences(wanted, without).mean()


def test_training_brings_it_closer_still(original: Model, four: Model) -> None:
    pairs = compensation(original, four, 4, TEXT)
    before = {name: pair.first.copy() for name, pair in pairs.items()}
    weights = {name: weight.clone() for name, weight in four.weights.items()}

    trained, report = recover(original, four, pairs, TEXT, Plan(steps=40, rows=8, rate=1e-3))

    assert report.is_whole
    assert distance(original, with_pairs(four, trained)) < 0.8 * distance(original, with_pairs(four, pairs))
    assert all(np.array_equal(before[name], pair.first) for name, pair in pairs.items())
    assert all(torch.equal(four.weights[name], weight) for name, weight in weights.items())


def test_training_may_begin_with_nothing(original: Model, four: Model) -> None:
    pairs = fresh_pairs(four, 4)
    assert distance(original, with_pairs(four, pairs)) == distance(original, four)

    trained, _ = recover(original, four, pairs, TEXT, Plan(steps=40, rows=8, rate=3e-3))

    assert distance(original, with_pairs(four, trained)) < 0.8 * distance(original, four)


def test_the_size_of_an_adapter_is_known(original: Model, four: Model, tmp_path: Path) -> None:
    pairs = compensation(original, four, 2)
    write_adapter(pairs, tmp_path / "adapter.gguf", "qwen3")
    written = gguf.GGUFReader(tmp_path / "adapter.gguf").tensors
    assert adapter_bytes(pairs) == sum(int(tensor.n_bytes) for tensor in written)


def test_builds_that_do_not_belong_together_are_refused(original: Model) -> None:
    with pytest.raises(UsageError, match="one model"):
        compensation(original, fresh(small_shape("qwen3", layers=2, head_size=32)), 4)
    with pytest.raises(UsageError, match="do not differ"):
        compensation(original, original.copy(), 4)


def test_embeddings_get_no_adapter(tmp_path: Path) -> None:
    pair = Pair(np.zeros((1, 4), np.float32), np.zeros((4, 1), np.float32))
    for pairs in ({}, {"token_embd.weight": pair}):
        with pytest.raises(UsageError):
            write_adapter(pairs, tmp_path / "adapter.gguf", "llama")
