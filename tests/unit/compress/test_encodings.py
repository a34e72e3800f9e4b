import numpy as np
import pytest

from nanolocal.compress.native.library import decode, encode, encoded_and_back, ggml
from nanolocal.compress.weights.encodings import NUMBERS, fitting, is_encodable, row_bytes, tensor_bytes
from nanolocal.errors import UsageError

RANDOM = np.random.default_rng(3)


def test_sizes_are_those_of_ggml() -> None:
    for name, number in NUMBERS.items():
        assert ggml().ggml_row_size(number, 1024) == row_bytes(name, 1024)


@pytest.mark.parametrize(("asked", "columns", "got"), [
    ("Q4_K", 256, "Q4_K"), ("Q4_K", 896, "Q5_0"), ("Q5_K", 128, "Q5_1"), ("Q6_K", 128, "Q8_0"), ("Q3_K", 128, "Q4_0"),
    ("IQ2_S", 128, "IQ4_NL"), ("Q4_K", 100, "F16"), ("Q8_0", 100, "F16"), ("F32", 7, "F32"),
])  # fmt: skip
def test_rows_that_fill_no_blocks_get_what_llama_cpp_gives_them(asked: str, columns: int, got: str) -> None:
    assert fitting(asked, columns) == got


def test_bytes_of_a_tensor_are_those_after_the_fallback() -> None:
    assert tensor_bytes("Q4_K", (896, 3)) == -(-896 // 32 * 22 * 3 // 32) * 32


@pytest.mark.parametrize("encoding", ["F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K", "Q4_K", "IQ4_XS", "Q3_K", "Q2_K"])
def test_weights_come_back_as_good_as_their_encoding_is(encoding: str) -> None:
    weights = RANDOM.standard_normal((3, 40, 512)).astype(np.float32)
    data = encode(weights, encoding, threads=2)
    assert data.shape == (3, 40, row_bytes(encoding, 512))
    error = np.sqrt(np.mean((decode(data, encoding, 512) - weights) ** 2))
    bits = 8 * row_bytes(encoding, 512) / 512
    assert error <= 2.0 ** (1.5 - min(bits, 10))
    assert (encode(weights, encoding) == data).all()


def test_importance_moves_the_error_to_where_it_does_not_matter() -> None:
    weights = RANDOM.standard_normal((64, 256)).astype(np.float32)
    importance = np.where(np.arange(256) % 2, 100, 1).astype(np.float32)
    plain = (encoded_and_back(weights, "Q3_K") - weights) ** 2
    weighed = (encoded_and_back(weights, "Q3_K", importance) - weights) ** 2
    assert (weighed * importance).sum() < 0.95 * (plain * importance).sum()


def test_each_matrix_of_a_stack_has_its_own_importance() -> None:
    weights = RANDOM.standard_normal((2, 8, 256)).astype(np.float32)
    importance = RANDOM.uniform(0.1, 9, (2, 256)).astype(np.float32)
    together = encode(weights, "Q4_K", importance, threads=2)
    assert all((together[index] == encode(weights[index], "Q4_K", importance[index])).all() for index in (0, 1))


def test_what_cannot_be_encoded_is_refused() -> None:
    weights = np.zeros((2, 256), np.float32)
    with pytest.raises(UsageError, match="needs an importance"):
        encode(weights, "IQ2_XXS")
    with pytest.raises(UsageError, match="do not fill"):
        encode(np.zeros((2, 100), np.float32), "Q4_K")
    with pytest.raises(UsageError, match="no encoding"):
        encode(weights, "Q4_K_M")
    with pytest.raises(UsageError, match="cannot weigh"):
        encode(weights, "Q4_K", np.ones((3, 256), np.float32))


def test_delicate_tensors_are_left_alone() -> None:
    assert is_encodable("blk.0.attn_q.weight", (64, 64))
    assert not is_encodable("blk.0.ffn_gate_inp.weight", (64, 8))
    assert not is_encodable("blk.0.attn_norm.weight", (64,))
    assert not is_encodable("blk.0.attn_q.bias", (64,))
