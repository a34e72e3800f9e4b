"""ggml's blocks taken apart and put together again."""

from dataclasses import replace

import numpy as np
import pytest

from nanolocal.compress.native.library import decode, encode
from nanolocal.compress.weights.kquants import Layout, layout_of, packed, unpacked, values

TYPES = (
    "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS", "IQ4_NL", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0",
)  # fmt: skip


def layout(kind: str) -> Layout:
    found = layout_of(kind)
    assert found is not None
    return found


@pytest.mark.parametrize("kind", TYPES)
def test_any_bytes_survive_a_round_trip(kind: str) -> None:
    raw = np.random.default_rng(1).integers(0, 256, (5, 512 // layout(kind).columns * layout(kind).bytes), np.uint8)
    assert np.array_equal(packed(layout(kind), unpacked(layout(kind), raw)), raw)


@pytest.mark.parametrize("kind", TYPES)
def test_values_are_those_that_llama_cpp_reads(kind: str) -> None:
    weights = np.random.default_rng(2).standard_normal((7, 768)).astype(np.float32)
    raw = encode(weights, kind)
    read = values(layout(kind), unpacked(layout(kind), raw))
    assert np.allclose(read, decode(raw, kind, 768), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", TYPES)
def test_a_changed_integer_changes_one_weight(kind: str) -> None:
    raw = encode(np.random.default_rng(3).standard_normal((2, 256)).astype(np.float32), kind)
    blocks = unpacked(layout(kind), raw)
    changed = blocks.q.copy()
    changed[1, 77] ^= 1
    again = decode(packed(layout(kind), replace(blocks, q=changed)), kind, 256)
    assert np.argwhere(again != decode(raw, kind, 256)).tolist() == [[1, 77]]


def test_other_types_are_not_taken_apart() -> None:
    assert layout_of("IQ2_XXS") is None
    assert layout_of("F16") is None
