"""Rounding against what a layer computes."""

import itertools

import numpy as np
import pytest

from nanolocal.compress.native.library import decode, encode
from nanolocal.compress.weights.rounding import damped, loss, rounded

TYPES = ("Q2_K", "Q3_K", "IQ4_XS", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "Q4_0", "Q5_1", "IQ4_NL")
ROWS, COLUMNS = 48, 512


@pytest.fixture(scope="module")
def layer() -> tuple[np.ndarray, np.ndarray]:
    """Weights, and X^T X of inputs that depend on each other as activations do."""
    random = np.random.default_rng(1)
    mixed = random.standard_normal((64, COLUMNS)) * random.lognormal(0, 0.5, COLUMNS)
    inputs = random.standard_normal((2000, 64)) @ mixed + random.standard_normal((2000, COLUMNS)) * 2
    weights = random.standard_normal((ROWS, COLUMNS)) * 0.05
    return weights.astype(np.float32), (inputs.T @ inputs).astype(np.float32)


def lost(raw: bytes | np.ndarray, kind: str, weights: np.ndarray, hessian: np.ndarray) -> float:
    data = np.frombuffer(bytes(raw) if isinstance(raw, bytes) else raw.tobytes(), np.uint8).reshape(len(weights), -1)
    return loss(decode(data, kind, weights.shape[1]) - weights, hessian)


@pytest.mark.parametrize("kind", TYPES)
def test_a_layer_computes_half_as_wrongly(kind: str, layer: tuple[np.ndarray, np.ndarray]) -> None:
    weights, hessian = layer
    importance = np.diag(hessian).astype(np.float32)
    plain = lost(encode(weights, kind, importance), kind, weights, hessian)
    assert lost(rounded(weights, hessian, kind, importance), kind, weights, hessian) < 0.5 * plain


@pytest.mark.parametrize("kind", TYPES)
def test_no_sweep_makes_it_worse(kind: str, layer: tuple[np.ndarray, np.ndarray]) -> None:
    weights, hessian = layer
    losses = [lost(rounded(weights, hessian, kind, sweeps=n), kind, weights, damped(hessian)) for n in range(4)]
    assert all(after <= before * (1 + 1e-4) for before, after in itertools.pairwise(losses))
    assert losses[3] < losses[0]


def test_types_that_only_ggml_encodes_gain_between_their_blocks(layer: tuple[np.ndarray, np.ndarray]) -> None:
    weights, hessian = layer
    importance = np.diag(hessian).astype(np.float32)
    plain = lost(encode(weights, "IQ3_S", importance), "IQ3_S", weights, hessian)
    assert lost(rounded(weights, hessian, "IQ3_S", importance), "IQ3_S", weights, hessian) < plain


def test_inputs_that_never_came_do_no_harm(layer: tuple[np.ndarray, np.ndarray]) -> None:
    weights, hessian = layer
    silent = hessian.copy()
    silent[:100] = silent[:, :100] = 0
    data = np.frombuffer(rounded(weights, silent, "Q4_K"), np.uint8).reshape(ROWS, -1)
    read = decode(data, "Q4_K", COLUMNS)
    assert np.isfinite(read).all()
    assert np.abs(read - weights).max() < np.abs(weights).max()


def test_an_expert_without_tokens_is_encoded_as_ggml_does(layer: tuple[np.ndarray, np.ndarray]) -> None:
    weights, hessian = layer
    importance = np.ones(COLUMNS, np.float32)
    assert rounded(weights, hessian * 0, "Q4_K", importance) == encode(weights, "Q4_K", importance).tobytes()


def test_rows_of_zeros_stay_zeros(layer: tuple[np.ndarray, np.ndarray]) -> None:
    weights, hessian = layer
    emptied = weights.copy()
    emptied[3] = 0
    for kind in TYPES:
        data = np.frombuffer(rounded(emptied, hessian, kind), np.uint8).reshape(ROWS, -1)
        assert not decode(data, kind, COLUMNS)[3].any(), kind


def test_the_same_layer_is_rounded_to_the_same_bytes(layer: tuple[np.ndarray, np.ndarray]) -> None:
    weights, hessian = layer
    assert rounded(weights, hessian, "Q4_K") == rounded(weights, hessian, "Q4_K")
