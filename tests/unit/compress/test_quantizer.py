"""Builds written anew, compared with what llama.cpp does by itself."""

import ctypes
import os
from collections import Counter
from pathlib import Path

import gguf
import numpy as np
import pytest

from nanolocal.compress.measuring.capture import read_statistics
from nanolocal.compress.measuring.imatrix import Entry, read_imatrix
from nanolocal.compress.native.library import encode
from nanolocal.compress.native.quantizer import RECIPES, dry_run, quantize, tensors_of
from nanolocal.compress.native.weights import Weights
from nanolocal.compress.weights.encodings import NAMES, fitting, is_encodable, tensor_bytes
from nanolocal.compress.work.tasks import Quantize, Quantized, Round, Source, perform
from nanolocal.engines.ggml import library
from nanolocal.errors import Damaged, UsageError
from tests.fakes.lab_gguf import write_lab_gguf
from tests.unit.compress.conftest import HESSIANS, Bench, say_nothing

KINDS = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "IQ4_XS", "F16", "F32")


def encodings(path: Path) -> dict[str, str]:
    return {name: NAMES[tensor.kind] for name, tensor in tensors_of(path).items()}


def by_llama(path: Path, out: Path, recipe: str) -> Path:
    """The file that llama.cpp's own recipe makes."""
    lib = library()
    parameters = lib.llama_model_quantize_default_params()
    parameters.ftype = RECIPES[recipe]
    assert lib.llama_model_quantize(os.fsencode(path), os.fsencode(out), ctypes.byref(parameters)) == 0
    return out


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Layers enough for a recipe to treat some of them otherwise."""
    return write_lab_gguf(tmp_path_factory.mktemp("deep") / "deep.gguf", layers=8)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows that fill no blocks of 256."""
    return write_lab_gguf(tmp_path_factory.mktemp("narrow") / "narrow.gguf", width=128)


@pytest.mark.parametrize("recipe", ["Q4_K_M", "Q3_K_M", "Q5_K_M", "Q2_K", "IQ4_XS", "Q8_0", "F16"])
def test_a_recipe_named_tensor_by_tensor_is_the_recipe(recipe: str, deep: Path, tmp_path: Path) -> None:
    stock = by_llama(deep, tmp_path / "stock.gguf", recipe)
    plan = dry_run(deep, recipe)
    assert plan == encodings(stock)
    quantize(deep, tmp_path / "ours.gguf", plan, None, say_nothing)
    ours, theirs = Weights(tmp_path / "ours.gguf"), Weights(stock)
    assert all(ours.encoded(name).tobytes() == theirs.encoded(name).tobytes() for name in theirs)


def test_a_recipe_on_narrow_rows_falls_back_where_it_was_foreseen(narrow: Path, tmp_path: Path) -> None:
    types = {name: "Q4_K" for name, tensor in tensors_of(narrow).items() if is_encodable(name, tensor.shape)}
    quantize(narrow, tmp_path / "q.gguf", types, None, say_nothing)
    found = encodings(tmp_path / "q.gguf")
    assert {found[name] for name in types} == {fitting("Q4_K", 128)} == {"Q5_0"}
    assert dry_run(narrow, "Q4_K_M") == encodings(by_llama(narrow, tmp_path / "s.gguf", "Q4_K_M"))


def test_every_tensor_gets_the_encoding_that_it_is_given(deep: Path, tmp_path: Path) -> None:
    """As many encodings as there are, in no order: none is shifted, none is changed."""
    random = np.random.default_rng(2)
    types = {
        name: str(random.choice(KINDS)) for name, tensor in tensors_of(deep).items() if is_encodable(name, tensor.shape)
    }
    steps: list[float] = []
    quantize(deep, tmp_path / "q.gguf", types, None, steps.append, threads=2)
    found = encodings(tmp_path / "q.gguf")
    assert {name: found[name] for name in types} == types
    assert {found[name] for name in found.keys() - types.keys()} == {"F32"}
    assert steps == sorted(steps)
    assert len(steps) == len(found)
    tensors = tensors_of(tmp_path / "q.gguf")
    assert all(
        -(-each.size_bytes // 32) * 32 == tensor_bytes(found[name], each.shape) for name, each in tensors.items()
    )


def test_what_is_not_named_stays_as_it_is(deep: Path, tmp_path: Path) -> None:
    quantize(deep, tmp_path / "q.gguf", {"blk.3.attn_q.weight": "Q4_K"}, None, say_nothing)
    before, after = Weights(deep), Weights(tmp_path / "q.gguf")
    changed = {name for name in before if before.encoding(name) != after.encoding(name)}
    assert changed == {"blk.3.attn_q.weight"}
    assert all(before.encoded(name).tobytes() == after.encoded(name).tobytes() for name in set(before) - changed)


def test_the_importance_is_used_as_ggml_uses_it(bench: Bench, tmp_path: Path) -> None:
    path, imatrix = Path(bench.source.path), read_imatrix(Path(bench.statistics))
    name = "blk.1.ffn_down.weight"
    written = quantize(path, tmp_path / "q.gguf", {name: "Q3_K"}, imatrix, say_nothing)
    expected = encode(Weights(path).read(name), "Q3_K", imatrix[name].weights()[0])
    assert Weights(tmp_path / "q.gguf").encoded(name).tobytes() == expected.tobytes()
    assert written.missing == ()


def test_tensors_without_an_importance_are_said(bench: Bench, tmp_path: Path) -> None:
    path, imatrix = Path(bench.source.path), dict(read_imatrix(Path(bench.statistics)))
    types = dict.fromkeys(("blk.0.attn_q.weight", "blk.0.attn_k.weight", "token_embd.weight"), "Q4_K")
    del imatrix["blk.0.attn_k.weight"]
    written = quantize(path, tmp_path / "q.gguf", types, imatrix, say_nothing)
    assert written.missing == ("blk.0.attn_k.weight", "token_embd.weight")
    types["blk.0.attn_k.weight"] = "IQ2_XS"
    with pytest.raises(UsageError, match="without an importance"):
        quantize(path, tmp_path / "q.gguf", types, imatrix, say_nothing)
    imatrix["blk.0.attn_q.weight"] = Entry(np.ones((1, 9), np.float32), np.ones(1, np.float32))
    with pytest.raises(UsageError, match="another model"):
        quantize(path, tmp_path / "q.gguf", {"blk.0.attn_q.weight": "Q4_K"}, imatrix, say_nothing)


def test_experts_are_encoded_each_with_its_own_importance(tmp_path: Path) -> None:
    path = write_lab_gguf(tmp_path / "e.gguf", experts=True)
    name = "blk.0.ffn_up_exps.weight"
    sums = np.random.default_rng(1).uniform(0.1, 5, (4, 256)).astype(np.float32)
    imatrix = {name: Entry(sums, np.array([3, 0, 1, 2], np.float32))}
    quantize(path, tmp_path / "q.gguf", {name: "Q3_K"}, imatrix, say_nothing)
    expected = encode(Weights(path).read(name), "Q3_K", imatrix[name].weights())
    assert Weights(tmp_path / "q.gguf").encoded(name).tobytes() == expected.tobytes()


def test_layers_that_are_left_out_are_the_ones_that_were_named(deep: Path, tmp_path: Path) -> None:
    types = {f"blk.{layer}.attn_q.weight": kind for layer, kind in ((1, "Q4_K"), (4, "Q5_K"), (7, "Q6_K"))}
    imatrix = {name: Entry(np.full((1, 256), 2, np.float32), np.ones(1, np.float32)) for name in types}
    quantize(deep, tmp_path / "q.gguf", types, imatrix, say_nothing, prune_layers=(6, 2, 3, 3))
    before, after = Weights(deep), Weights(tmp_path / "q.gguf")
    renumbered = dict(enumerate((0, 1, 4, 5, 7)))
    assert len(list(after)) == len(list(before)) - 3 * 9
    for new, old in renumbered.items():
        kept = [name for name in after if name.startswith(f"blk.{new}.") and "attn_q" not in name]
        assert len(kept) == 8
        for name in kept:
            assert after.encoded(name).tobytes() == before.encoded(name.replace(f".{new}.", f".{old}.")).tobytes()
    assert [after.encoding(f"blk.{n}.attn_q.weight") for n in range(5)] == ["F32", "Q4_K", "Q5_K", "F32", "Q6_K"]
    reader = gguf.GGUFReader(tmp_path / "q.gguf")
    assert reader.fields["llama.block_count"].contents() == 5


@pytest.mark.parametrize("layers", [(8,), (-1,), tuple(range(8))])
def test_layers_that_there_are_not_cannot_be_left_out(layers: tuple[int, ...], deep: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be left out"):
        quantize(deep, tmp_path / "q.gguf", {}, None, say_nothing, prune_layers=layers)


def test_a_split_build_becomes_one_file(tmp_path: Path) -> None:
    whole = write_lab_gguf(tmp_path / "whole.gguf")
    split = write_lab_gguf(tmp_path / "split.gguf", parts=2)
    assert tensors_of(whole).keys() == tensors_of(split).keys()
    types = dry_run(split, "Q4_K_M")
    assert types == dry_run(whole, "Q4_K_M")
    for path, out in ((whole, "one"), (split, "other")):
        quantize(path, tmp_path / out, types, None, say_nothing)
    one, other = Weights(tmp_path / "one"), Weights(tmp_path / "other")
    assert all(one.encoded(name).tobytes() == other.encoded(name).tobytes() for name in one)
    assert "split.count" not in gguf.GGUFReader(tmp_path / "other").fields


def test_what_cannot_be_asked_is_refused_before_anything_is_written(deep: Path, tmp_path: Path) -> None:
    for types, reason in (
        ({"blk.9.attn_q.weight": "Q4_K"}, "no tensor"),
        ({"blk.0.attn_q.weight": "Q4_K_M"}, "no encoding"),
        ({"blk.0.attn_norm.weight": "Q8_0"}, "leaves"),
    ):
        with pytest.raises(UsageError, match=reason):
            perform(Quantize(Source(str(deep)), str(tmp_path / "q.gguf"), types), say_nothing, 1)
    with pytest.raises(UsageError, match="no recipe"):
        dry_run(deep, "Q4_0_4_4")
    assert list(tmp_path.iterdir()) == []


def test_encodings_that_the_lab_does_not_know_are_not_made_into_others(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "unknown")
    data = np.zeros((4, 256 // 64 * 36), np.uint8)
    writer.add_tensor("blk.0.ffn_up.weight", data, raw_dtype=gguf.GGMLQuantizationType.NVFP4)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UsageError, match="does not know"):
        quantize(tmp_path / "x.gguf", tmp_path / "q.gguf", {}, None, say_nothing)


def test_a_cut_off_source_is_damaged(deep: Path, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(deep.read_bytes()[:-100])
    with pytest.raises(Damaged):
        quantize(tmp_path / "x.gguf", tmp_path / "q.gguf", {}, None, say_nothing)


def test_metadata_is_written_and_replaced(deep: Path, tmp_path: Path) -> None:
    long = "ä" * 5000
    first: dict[str, str | int | float | bool] = {
        "nanolocal.compress.recipe": long,
        "nanolocal.compress.seed": 7,
        "nanolocal.compress.kld": 0.25,
    }
    perform(Quantize(Source(str(deep)), str(tmp_path / "a.gguf"), {}, metadata=first), say_nothing, 1)
    again: dict[str, str | int | float | bool] = {
        "nanolocal.compress.recipe": "new",
        "general.name": "smaller",
        "x.yes": True,
        "x.large": 2**40,
    }
    done = perform(
        Quantize(Source(str(tmp_path / "a.gguf")), str(tmp_path / "b.gguf"), {}, metadata=again), say_nothing
    )
    assert done == Quantized((tmp_path / "b.gguf").stat().st_size)
    fields = gguf.GGUFReader(tmp_path / "a.gguf").fields
    assert fields["nanolocal.compress.recipe"].contents() == long
    found = {key: field.contents() for key, field in gguf.GGUFReader(tmp_path / "b.gguf").fields.items()}
    expected = {**first, **again}
    assert {key: found[key] for key in expected} == expected
    before, after = Weights(deep), Weights(tmp_path / "b.gguf")
    assert all(before.encoded(name).tobytes() == after.encoded(name).tobytes() for name in before)
    assert Counter(path.suffix for path in tmp_path.iterdir()) == {".gguf": 2}


def test_rounding_changes_what_it_has_a_hessian_for(bench: Bench, tmp_path: Path) -> None:
    types = dict.fromkeys((*HESSIANS, "blk.0.ffn_up.weight"), "Q4_K")
    plain, rounded = tmp_path / "plain.gguf", tmp_path / "rounded.gguf"
    perform(Quantize(bench.source, str(plain), types, bench.statistics), say_nothing, 1)
    perform(Round(bench.source, str(rounded), types, bench.statistics, {"x.y": 1}), say_nothing, 1)
    one, other, original = Weights(plain), Weights(rounded), Weights(Path(bench.source.path))
    changed = {name for name in one if one.encoded(name).tobytes() != other.encoded(name).tobytes()}
    assert changed == set(HESSIANS)
    for name in HESSIANS:
        hessian = read_statistics(Path(bench.statistics)).hessian(name)
        assert hessian is not None
        errors = [each.read(name) - original.read(name) for each in (other, one)]
        losses = [float(((error @ hessian) * error).sum()) for error in errors]
        assert losses[0] < losses[1]
