"""Builds found in folders: described, refused with a reason, never opened by a native parser."""

import json
import os
from pathlib import Path

import gguf
import numpy as np
import pytest

from nanolocal.chat.routes import Kind
from nanolocal.errors import UsageError
from nanolocal.library.library import Library
from tests.fakes.stores import write_pipeline


def write_gguf(path: Path, name: str = "Tiny") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_block_count(2)
    writer.add_context_length(256)
    writer.add_embedding_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_file_type(7)
    writer.add_tensor("token_embd.weight", np.ones((4, 64), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def library(*folders: Path, index: Path | None = None) -> Library:
    return Library(folders, index or folders[0] / "index.json")


def test_a_text_build_is_described_from_its_header(tmp_path: Path) -> None:
    write_gguf(tmp_path / "deep" / "My-Model-Q8_0.gguf")
    (build,) = library(tmp_path).builds()
    assert (build.id, build.name, build.kind) == ("my-model:Q8_0", "Tiny", Kind.TEXT)
    assert (build.parameters, build.context_length) == (256, 256)
    assert build.kv_bytes_per_token == 2 * 2 * (16 + 16) * 2
    assert len(build.sha256) == 64


def test_a_pipeline_folder_is_one_build(tmp_path: Path) -> None:
    write_pipeline(tmp_path / "painter")
    (build,) = library(tmp_path).builds()
    assert (build.id, build.kind, build.parameters) == ("painter:f16", Kind.IMAGE, 4)


def test_the_card_names_the_build_and_guards_its_hash(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m" / "x.gguf")
    card = {"id": "named", "name": "Named", "tiny": True, "defaults": {"temperature": 0.5}, "licence": "MIT"}
    (path.parent / "card.json").write_text(json.dumps(card))
    (build,) = library(tmp_path).builds()
    assert (build.id, build.name, build.tiny, build.defaults) == ("named:Q8_0", "Named", True, {"temperature": 0.5})
    (path.parent / "card.json").write_text(json.dumps(card | {"files": [{"path": "x.gguf", "sha256": "0" * 64}]}))
    changed = library(tmp_path)
    assert changed.builds() == ()
    assert "not the file that its card describes" in changed.problems()[0].reason


def test_broken_files_are_refused_one_by_one(tmp_path: Path) -> None:
    whole = write_gguf(tmp_path / "whole.gguf")
    (tmp_path / "cut.gguf").write_bytes(whole.read_bytes()[:-100])
    (tmp_path / "folder.gguf").mkdir()
    unet = write_pipeline(tmp_path / "pickled") / "unet"
    (unet / "diffusion_pytorch_model.safetensors").rename(unet / "diffusion_pytorch_model.bin")
    found = library(tmp_path)
    assert [build.path.name for build in found.builds()] == ["whole.gguf"]
    reasons = {problem.path.parent.name + "/" + problem.path.name: problem.reason for problem in found.problems()}
    assert len(reasons) == 2
    assert any("shorter than its tensors need" in reason for reason in reasons.values())
    assert any("no safetensors" in reason for reason in reasons.values())


def test_a_safetensors_file_that_lies_about_its_length_is_refused(tmp_path: Path) -> None:
    folder = write_pipeline(tmp_path / "painter")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    for content in (weights.read_bytes()[:-4], b"\xff" * 16, b"", weights.read_bytes() + b"more"):
        weights.write_bytes(content)
        found = library(tmp_path)
        assert found.builds() == ()
        assert found.problems()


def test_two_files_of_one_name_get_two_ids(tmp_path: Path) -> None:
    write_gguf(tmp_path / "a" / "same-Q4_0.gguf", name="One")
    write_gguf(tmp_path / "b" / "same-Q4_0.gguf", name="Other")
    assert [build.id for build in library(tmp_path).builds()] == ["same:Q4_0", "same:Q4_0#2"]


def test_the_same_file_in_two_folders_is_listed_once(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a" / "m.gguf")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "m.gguf").symlink_to(path)
    assert len(library(tmp_path / "a", tmp_path / "b").builds()) == 1


def test_two_copies_of_a_file_are_one_build_with_two_places(tmp_path: Path) -> None:
    first = write_gguf(tmp_path / "a" / "m.gguf")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "copy.gguf").write_bytes(first.read_bytes())
    found = library(tmp_path)
    (build,) = found.builds()
    assert found.origin(build).places == (first, tmp_path / "b" / "copy.gguf")


def test_parts_of_a_split_build_are_one_build_and_a_missing_part_refuses_it(tmp_path: Path) -> None:
    first = write_gguf(tmp_path / "big-00001-of-00002.gguf")
    assert "lacks 1 of its 2 parts" in library(tmp_path).problems()[0].reason
    second = write_gguf(tmp_path / "big-00002-of-00002.gguf")
    (build,) = library(tmp_path).builds()
    assert build.size_bytes == first.stat().st_size + second.stat().st_size


def test_what_was_hashed_once_is_remembered_and_a_change_is_noticed(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf")
    index = tmp_path / "cache" / "builds.json"
    (before,) = library(tmp_path, index=index).builds()
    assert before.sha256 in index.read_text()
    write_gguf(path, name="Other")
    (after,) = library(tmp_path, index=index).builds()
    assert after.sha256 != before.sha256


def test_an_unknown_name_says_what_is_stored(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m-Q8_0.gguf")
    assert library(tmp_path).get("m").id == "m:Q8_0"
    with pytest.raises(UsageError) as caught:
        library(tmp_path).get("nobody")
    assert "m:Q8_0" in caught.value.hint


def test_a_file_whose_name_is_no_text_is_adopted_under_one_that_can_be_stored(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.gguf"))
    write_gguf(tmp_path / "plain.gguf").rename(path)
    library = Library([], tmp_path / "index.json")
    assert library.adopt(path).id.endswith("caf\ufffd.gguf")
