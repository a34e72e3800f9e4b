"""Another release of llama.cpp that moved something is refused before it computes nonsense."""

import ctypes
from pathlib import Path

import pytest

from nanolocal.compress.native import model as lab_model
from nanolocal.compress.native import tensor as tensors
from nanolocal.compress.native.library import check, ggml
from nanolocal.compress.native.model import LabModel
from nanolocal.compress.weights.encodings import NUMBERS
from nanolocal.engines.ggml import library
from nanolocal.errors import EngineFailed
from nanolocal.formats.tensors import BLOCKS
from tests.unit.compress.conftest import Bench


class Shorter(ctypes.Structure):
    _fields_ = tensors.Tensor._fields_[:-1]


def test_the_installed_release_is_the_one_that_the_lab_knows() -> None:
    check(ggml())


def test_tensors_of_another_layout_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "Tensor", Shorter)
    with pytest.raises(EngineFailed, match="another layout"):
        check(ggml())


def test_encodings_of_other_sizes_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BLOCKS, NUMBERS["Q4_K"], (256, 148))
    with pytest.raises(EngineFailed, match="144 bytes for 256 weights"):
        check(ggml())


def test_other_parameters_of_the_quantizer_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = library().llama_model_quantize_default_params()
    defaults.max_buf_size = 0
    monkeypatch.setattr(library(), "llama_model_quantize_default_params", lambda: defaults)
    with pytest.raises(EngineFailed, match="other parameters"):
        check(ggml())


def test_weights_that_are_not_seen_while_it_computes_are_noticed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab_model, "names_in", lambda path: frozenset({"other.weight"}))
    model = LabModel(Path(bench.source.path), 64, 1)
    with pytest.raises(EngineFailed, match="are not seen"):
        model.weights()
    model.close()
