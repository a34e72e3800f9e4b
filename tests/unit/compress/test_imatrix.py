from pathlib import Path

import gguf
import numpy as np
import pytest

from nanolocal.compress.measuring.imatrix import Entry, as_llama_imatrix, importance_for, read_imatrix, write_gguf
from nanolocal.errors import Damaged, NanolocalError, UsageError
from tests.unit.compress.conftest import Bench

ENTRY = Entry(np.array([[2, 4], [0, 0]], np.float32), np.array([2, 0], np.float32))


def test_a_file_of_the_lab_becomes_one_of_llama_imatrix_and_comes_back(bench: Bench, tmp_path: Path) -> None:
    captured = read_imatrix(Path(bench.statistics))
    write_gguf(captured, tmp_path / "i.gguf", chunks=8, n_ctx=128, datasets=["text"])
    found = read_imatrix(tmp_path / "i.gguf")
    assert set(found) == set(captured)
    for name, entry in captured.items():
        assert (found[name].in_sum2 == entry.in_sum2).all()
        assert (found[name].counts == entry.counts).all()


def test_the_file_has_what_llama_quantize_looks_for(tmp_path: Path) -> None:
    write_gguf({"blk.0.x.weight": ENTRY}, tmp_path / "i.gguf", chunks=3, n_ctx=512, datasets=["a"])
    reader = gguf.GGUFReader(tmp_path / "i.gguf")
    assert reader.fields["general.type"].contents() == "imatrix"
    assert reader.fields["imatrix.datasets"].contents() == ["a"]
    assert reader.fields["imatrix.chunk_count"].contents() == 3
    assert reader.fields["imatrix.chunk_size"].contents() == 512
    shapes = {tensor.name: tensor.shape.tolist() for tensor in reader.tensors}
    assert shapes == {"blk.0.x.weight.in_sum2": [2, 2], "blk.0.x.weight.counts": [1, 2]}


def test_experts_that_nothing_went_through_weigh_one() -> None:
    assert ENTRY.weights().tolist() == [[1.0, 2.0], [1.0, 1.0]]


def test_an_importance_of_another_model_is_refused() -> None:
    assert importance_for({"x": ENTRY}, "y", (2, 5, 2)) is None
    assert importance_for({"x": ENTRY}, "x", (2, 5, 2)) is not None
    with pytest.raises(UsageError, match="another model"):
        importance_for({"x": ENTRY}, "x", (2, 5))


def test_llama_imatrix_leaves_out_embeddings_and_output(bench: Bench) -> None:
    kept = as_llama_imatrix(read_imatrix(Path(bench.statistics)))
    assert len(kept) == 14
    assert "output.weight" not in kept


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no file of that kind at all, whatever its name may say"])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "i.gguf"
    path.write_bytes(content)
    with pytest.raises(Damaged):
        read_imatrix(path)


def test_a_model_is_no_importance_matrix(bench: Bench) -> None:
    with pytest.raises(UsageError, match="no importance matrix"):
        read_imatrix(Path(bench.source.path))


def test_a_damaged_one_never_ends_otherwise_than_with_an_error_of_ours(tmp_path: Path) -> None:
    write_gguf({"blk.0.x.weight": ENTRY}, tmp_path / "i.gguf", chunks=3, n_ctx=512)
    whole = (tmp_path / "i.gguf").read_bytes()
    random = np.random.default_rng(1)
    for place in random.integers(0, len(whole), 300):
        broken = bytearray(whole)
        broken[place] ^= int(random.integers(1, 256))
        (tmp_path / "b.gguf").write_bytes(broken)
        try:
            read_imatrix(tmp_path / "b.gguf")
        except NanolocalError:
            continue
