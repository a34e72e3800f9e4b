"""Models in torch: what they compute is what llama.cpp computes, and their files come back as they were."""

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from nanolocal.compress.torch.files import read, write
from nanolocal.compress.torch.model import FACTORS, Model, module
from nanolocal.compress.torch.shape import FAMILIES, parameters_of
from nanolocal.errors import Damaged, UsageError
from tests.fakes.llama_logits import llama_logits
from tests.fakes.small_torch import lively, small_shape, some_tokens, words, written
from tests.fakes.tiny_gguf import write_tiny_gguf

CLOSE = 1e-3


def scores(model: Model, tokens: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = model.logits(torch.from_numpy(tokens.astype(np.int64))).numpy()
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_scores_are_those_of_llama_cpp(family: str, scale: float, tmp_path: Path) -> None:
    shape = small_shape(family, rope_scale=scale)
    path = written(lively(shape, has_own_output=family in ("llama", "qwen3", "gemma3")), tmp_path / "model.gguf")
    tokens = some_tokens(2, 48)

    model = read(path)

    assert model.shape == shape
    expected = llama_logits(path, tokens)
    assert expected.std() > 0.1
    assert np.abs(scores(model, tokens) - expected).max() < CLOSE


def test_factors_of_positions_count(tmp_path: Path) -> None:
    model = lively(small_shape())
    plain = written(model, tmp_path / "plain.gguf")
    model.weights[FACTORS] = torch.linspace(1.0, 8.0, model.shape.head_size // 2)
    path, tokens = written(model, tmp_path / "model.gguf"), some_tokens(1, 48)

    expected = llama_logits(path, tokens)

    assert np.abs(scores(read(path), tokens) - expected).max() < CLOSE
    assert np.abs(llama_logits(plain, tokens) - expected).max() > CLOSE
    assert FACTORS not in dict(read(path).parameters())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
def test_a_file_comes_back_to_the_byte(family: str, kind: str, tmp_path: Path) -> None:
    path = written(lively(small_shape(family)), tmp_path / "model.gguf", kind)

    write(read(path), tmp_path / "again.gguf", path)

    assert (tmp_path / "again.gguf").read_bytes() == path.read_bytes()


def test_eight_bits_are_kept_exactly(tmp_path: Path) -> None:
    model = lively(small_shape())
    name = "blk.0.ffn_up.weight"
    blocks = gguf.quants.quantize(model.weights[name].numpy(), gguf.GGMLQuantizationType.Q8_0)
    path = with_tensor(written(model, tmp_path / "model.gguf"), tmp_path / "mixed.gguf", name, blocks)

    once = read(path)
    write(once, tmp_path / "again.gguf", path)

    assert once.kinds[name] == "Q8_0"
    assert torch.equal(read(tmp_path / "again.gguf").weights[name], once.weights[name])


def with_tensor(source: Path, target: Path, name: str, blocks: np.ndarray) -> Path:
    """The file with one tensor as Q8_0."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "llama")
    for key, field in reader.fields.items():
        if not key.startswith(("GGUF.", "general.architecture")):
            writer.add_key_value(key, field.contents(), field.types[0], field.types[-1])
    for tensor in reader.tensors:
        is_it = tensor.name == name
        kind = gguf.GGMLQuantizationType.Q8_0 if is_it else tensor.tensor_type
        writer.add_tensor(tensor.name, blocks if is_it else tensor.data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def test_a_build_in_parts_is_read_whole(tmp_path: Path) -> None:
    model = lively(small_shape())
    path = written(model, tmp_path / "model.gguf")
    parts = split_in_two(path, tmp_path)

    found = read(parts)

    assert all(torch.equal(found.weights[name], weight) for name, weight in model.weights.items())
    write(found, tmp_path / "whole.gguf", parts)
    assert np.array_equal(
        llama_logits(tmp_path / "whole.gguf", some_tokens(1, 8)), llama_logits(path, some_tokens(1, 8))
    )


def split_in_two(path: Path, folder: Path) -> Path:
    reader = gguf.GGUFReader(path)
    half = len(reader.tensors) // 2
    for number, tensors in enumerate((reader.tensors[:half], reader.tensors[half:])):
        writer = gguf.GGUFWriter(folder / f"split-{number + 1:05}-of-00002.gguf", "llama")
        for key, field in reader.fields.items():
            if not number and not key.startswith(("GGUF.", "general.architecture")):
                writer.add_key_value(key, field.contents(), field.types[0], field.types[-1])
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        writer.add_int32("split.tensors.count", len(reader.tensors))
        for tensor in tensors:
            writer.add_tensor(tensor.name, tensor.data)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return folder / "split-00001-of-00002.gguf"


def test_the_module_for_exporters_computes_the_same() -> None:
    model = lively(small_shape("qwen3"))
    tokens = some_tokens(2, 16)

    assert np.array_equal(module(model)(torch.from_numpy(tokens.astype(np.int64))).numpy(), scores(model, tokens))


def test_parameters_are_counted() -> None:
    model = lively(small_shape())
    assert parameters_of(model.shape) == sum(weight.numel() for weight in model.weights.values() if weight.dim() == 2)


def test_facts_are_added_and_the_type_of_the_file_follows(tmp_path: Path) -> None:
    write(
        lively(small_shape()), tmp_path / "a.gguf", words(tmp_path), kind="BF16", facts={"nanolocal.compress.seed": 7}
    )

    fields = gguf.GGUFReader(tmp_path / "a.gguf").fields

    assert fields["nanolocal.compress.seed"].contents() == 7
    assert fields["general.file_type"].contents() == gguf.LlamaFileType.MOSTLY_BF16


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = written(lively(small_shape()), tmp_path / "model.gguf")
    before = path.read_bytes()
    broken = lively(small_shape(), 2)
    broken.weights["blk.0.ffn_up.weight"] = torch.zeros(1, 1).to_sparse()

    with pytest.raises(TypeError):
        write(broken, path, words(tmp_path))

    assert path.read_bytes() == before
    assert {found.name for found in tmp_path.iterdir()} == {"model.gguf", "words.gguf"}


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "other.gguf", architecture="qwen2vl")
    with pytest.raises(UsageError, match="qwen2vl"):
        read(path)


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("llama.expert_count", 4, "experts"),
        ("llama.rope.scaling.type", "yarn", "scaled by yarn"),
        ("llama.attention.head_count", [4, 2, 4], "not one number"),
    ],
)
def test_variants_that_are_not_computed_are_refused(
    key: str, value: int | str | list[int], what: str, tmp_path: Path
) -> None:
    write(lively(small_shape()), tmp_path / "model.gguf", words(tmp_path), facts={key: value})
    with pytest.raises((UsageError, Damaged), match=what):
        read(tmp_path / "model.gguf")


def test_a_missing_tensor_is_damage_and_a_strange_one_is_refused(tmp_path: Path) -> None:
    model = lively(small_shape())
    model.weights["blk.0.strange.weight"] = torch.zeros(4, 4)
    with pytest.raises(UsageError, match="strange"):
        read(written(model, tmp_path / "strange.gguf"))
    del model.weights["blk.0.strange.weight"], model.weights["blk.1.ffn_up.weight"]
    with pytest.raises(Damaged, match="ffn_up"):
        read(written(model, tmp_path / "missing.gguf"))


def test_a_broken_file_is_damaged(tmp_path: Path) -> None:
    path = written(lively(small_shape()), tmp_path / "model.gguf")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(Damaged):
        read(path)


def test_an_unknown_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Q4_K"):
        write(lively(small_shape()), tmp_path / "a.gguf", words(tmp_path), kind="Q4_K")
