"""A model that is watched, changed and put back."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nanolocal.compress.native import tensor as tensors
from nanolocal.compress.native.library import encoded_and_back
from nanolocal.compress.native.model import LabModel
from nanolocal.compress.native.tensor import Tensor
from nanolocal.compress.native.weights import Weights
from nanolocal.errors import UsageError
from tests.fakes.lab_gguf import write_lab_gguf

CHUNK = tuple(range(40, 104))


@pytest.fixture(scope="module", params=["dense", "tied", "experts"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabModel]:
    path = tmp_path_factory.mktemp("model") / f"{request.param}.gguf"
    write_lab_gguf(path, tied=request.param == "tied", experts=request.param == "experts", halves=True)
    made = LabModel(path, len(CHUNK), 1)
    yield made
    made.close()


def scores(model: LabModel) -> np.ndarray:
    return np.concatenate([rows.copy() for _, rows in model.rows(CHUNK, len(CHUNK) // 2)])


def held(model: LabModel) -> dict[str, bytes]:
    """The bytes of all weights in memory."""
    found = {}
    for name, places in model.weights().items():
        for place in places:
            weight = tensors.at(place)
            data = np.empty(tensors.size_bytes(weight), np.uint8)
            tensors.read(weight, 0, data)
            found[f"{name} {place}"] = data.tobytes()
    return found


def test_all_weights_are_found_as_they_are_in_the_file(model: LabModel) -> None:
    weights = Weights(model.path)
    assert set(model.weights()) == set(weights)
    for key, data in held(model).items():
        assert data == weights.encoded(key.partition(" ")[0]).tobytes()


@pytest.mark.parametrize("name", ["token_embd.weight", "blk.0.attn_v.weight", "blk.1.ffn_down"])
def test_weights_are_replaced_and_put_back_bit_by_bit(model: LabModel, name: str) -> None:
    name = next(each for each in model.weights() if each.startswith(name))
    before, bytes_before = scores(model), held(model)
    with model.replaced(name, "Q2_K", threads=2):
        expected = encoded_and_back(Weights(model.path).read(name), "Q2_K").astype(np.float16)
        for place in model.weights()[name]:
            data = np.empty(expected.nbytes, np.uint8)
            tensors.read(tensors.at(place), 0, data)
            assert data.tobytes() == expected.tobytes()
        changed = scores(model)
    assert np.abs(changed - before).max() > 1e-3
    assert held(model) == bytes_before
    assert (scores(model) == before).all()


def test_weights_are_put_back_after_an_error_too(model: LabModel) -> None:
    bytes_before = held(model)
    with pytest.raises(ZeroDivisionError), model.replaced("blk.0.attn_q.weight", "Q3_K"):
        _ = 1 // 0
    assert held(model) == bytes_before


def test_a_name_that_is_not_there_is_refused(model: LabModel) -> None:
    with pytest.raises(UsageError, match="no weights"), model.replaced("blk.9.attn_q.weight", "Q3_K"):
        pass


def test_an_error_of_an_observer_reaches_the_caller(model: LabModel) -> None:
    class Broken:
        def wants(self, node: Tensor) -> bool:
            raise ValueError(tensors.name_of(node))

        def take(self, node: Tensor) -> None:
            raise AssertionError

    with pytest.raises(ValueError, match=r"."), model.watched_by(Broken()):
        scores(model)
    assert np.isfinite(scores(model)).all()


def test_pieces_of_a_long_chunk_are_one_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_lab_gguf(tmp_path / "x.gguf")
    whole = LabModel(path, len(CHUNK), 1)
    expected = scores(whole)
    whole.close()
    monkeypatch.setattr("nanolocal.compress.native.model.STEP", 24)
    pieces = LabModel(path, len(CHUNK), 1)
    found = [(position, rows.copy()) for position, rows in pieces.rows(CHUNK, 32)]
    pieces.close()
    assert [position for position, _ in found] == [32, 48]
    assert np.allclose(np.concatenate([rows for _, rows in found]), expected, atol=1e-5)
