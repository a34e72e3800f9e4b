"""The index of adopted builds: remembered, private, and never a reason to fail."""

import json
import os
import stat
from pathlib import Path

import pytest

from nanolocal.errors import UsageError
from nanolocal.library.adopted import Adopted, Entry
from nanolocal.library.library import Library
from tests.fakes import stores


def entry(path: Path, **facts: str) -> Entry:
    return Entry(
        str(path), facts.get("store", "Ollama"), str(path.parent), **{k: v for k, v in facts.items() if k != "store"}
    )


def library(home: Path, *folders: Path) -> Library:
    return Library(folders, home / "cache" / "builds.json", Adopted(home / "data" / "adopted.json"))


def adopt(home: Path, *entries: Entry) -> None:
    Adopted(home / "data" / "adopted.json").keep(entries)


def test_adopted_builds_are_listed_with_the_names_of_their_store(tmp_path: Path) -> None:
    blob = stores.write_gguf(tmp_path / "store" / "sha256-abc")
    eye = stores.write_gguf(tmp_path / "store" / "sha256-def", architecture="clip")
    adopt(tmp_path, entry(blob, known_as="qwen3:4b", model="qwen3:4b", projector=str(eye)))
    found = library(tmp_path)
    (build,) = found.builds()
    assert (build.id, build.name, build.path, build.projector) == ("qwen3-4b:Q8_0", "qwen3:4b (Ollama)", blob, eye)
    for name in ("qwen3-4b:Q8_0", "qwen3-4b", "qwen3:4b"):
        assert found.get(name) == build


def test_the_index_is_for_the_owner_alone_and_replaced_whole(tmp_path: Path) -> None:
    adopt(tmp_path, entry(tmp_path / "a"))
    adopt(tmp_path, entry(tmp_path / "b"), entry(tmp_path / "b"))
    path = tmp_path / "data" / "adopted.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [item.name for item in path.parent.iterdir()] == ["adopted.json"]
    assert len(Adopted(path).entries()) == 1


def test_a_file_that_is_gone_is_left_out_with_a_note(tmp_path: Path) -> None:
    stays, goes = (stores.write_gguf(tmp_path / "store" / name, name) for name in ("a.gguf", "b.gguf"))
    adopt(tmp_path, entry(stays), entry(goes, known_as="gone:1b"))
    assert len(library(tmp_path).builds()) == 2
    goes.unlink()
    found = library(tmp_path)
    assert [build.path for build in found.builds()] == [stays]
    assert found.notes() == [f"gone:1b (Ollama) is gone from {goes}, so it is left out"]


def test_a_whole_store_in_an_own_folder_keeps_its_names(tmp_path: Path) -> None:
    stores.write_ollama(tmp_path / "own" / "o", "registry.ollama.ai/library/a/1b", stores.write_gguf(tmp_path / "a"))
    assert library(tmp_path, tmp_path / "own").get("a:1b").id == "a-1b:Q8_0"


def test_a_disk_that_was_unplugged_is_one_note(tmp_path: Path) -> None:
    adopt(tmp_path, *(entry(tmp_path / "disk" / f"{n}.gguf", store="folder") for n in range(40)))
    assert library(tmp_path).notes() == [f"40 models are gone from {tmp_path / 'disk'} (folder), so they are left out"]


def test_a_file_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    path = stores.write_gguf(tmp_path / "store" / "a.gguf", "before")
    adopt(tmp_path, entry(path))
    before = library(tmp_path).builds()[0].sha256
    stores.write_gguf(path, "after!")
    assert library(tmp_path).builds()[0].sha256 != before
    path.write_bytes(b"GGUF")
    found = library(tmp_path)
    assert (found.builds(), len(found.problems())) == ((), 1)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "[" * 100_000, '{"version":9,"entries":[]}', '{"version":1,"entries":5}', "\x00", "\xff"],
)
def test_a_damaged_index_counts_as_empty_with_a_note(tmp_path: Path, content: str) -> None:
    path = tmp_path / "data" / "adopted.json"
    path.parent.mkdir()
    path.write_bytes(content.encode("latin-1"))
    own = stores.write_gguf(tmp_path / "models" / "own.gguf")
    found = library(tmp_path, own.parent)
    assert [build.path for build in found.builds()] == [own]
    assert "is damaged" in found.notes()[0]
    adopt(tmp_path, entry(own))
    assert library(tmp_path, own.parent).notes() == []


def test_entries_that_say_nothing_are_dropped_and_the_rest_is_kept(tmp_path: Path) -> None:
    good = stores.write_gguf(tmp_path / "store" / "good.gguf")
    known = {"path": str(good), "store": "Jan", "root": "/"}
    rows = [5, {}, {"path": 1}, known | {"path": "a\0b"}, known | {"more": "1"}, known]
    path = tmp_path / "data" / "adopted.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"version": 1, "entries": rows}))
    found = library(tmp_path)
    assert [build.path for build in found.builds()] == [good]
    assert "5 of its 6 entries" in found.notes()[0]


def test_an_index_that_cannot_be_written_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(UsageError, match="cannot write"):
        adopt(tmp_path, entry(tmp_path / "a"))


def test_a_build_that_is_also_in_an_own_folder_is_one(tmp_path: Path) -> None:
    own = stores.write_gguf(tmp_path / "models" / "m-Q8_0.gguf")
    blob = tmp_path / "store" / "sha256-1"
    blob.parent.mkdir()
    blob.write_bytes(own.read_bytes())
    adopt(tmp_path, entry(blob, known_as="m:1b"), entry(own, store="folder"))
    found = library(tmp_path, own.parent)
    (build,) = found.builds()
    assert (build.path, found.origin(build).places) == (own, (own, blob))
    assert found.get("m:1b") == build


@pytest.mark.parametrize("content", ["", "[" * 100_000, "5", '{"version":1,"rows":{"x":5}}', '{"version":1,"rows":[]}'])
def test_a_damaged_cache_of_descriptions_is_made_again(tmp_path: Path, content: str) -> None:
    own = stores.write_gguf(tmp_path / "models" / "m.gguf")
    before = library(tmp_path, own.parent).builds()
    cache = tmp_path / "cache" / "descriptions.json"
    cache.write_text(content)
    assert library(tmp_path, own.parent).builds() == before
    assert json.loads(cache.read_text())["rows"]


def test_rows_of_other_types_are_read_from_the_file_instead(tmp_path: Path) -> None:
    own = stores.write_gguf(tmp_path / "models" / "m.gguf")
    before = library(tmp_path, own.parent).builds()
    cache = tmp_path / "cache" / "descriptions.json"
    table = json.loads(cache.read_text())
    wrongs: list[dict[str, object]] = [{"build": []}, {"build": "x"}, {"kind": "nonsense"}, {"kind": None}]
    for wrong in wrongs:
        row = next(iter(table["rows"].values()))
        cache.write_text(json.dumps(table | {"rows": dict.fromkeys(table["rows"], row | wrong)}))
        assert library(tmp_path, own.parent).builds() == before


def test_a_remembered_build_is_not_opened_again(tmp_path: Path) -> None:
    own = stores.write_gguf(tmp_path / "models" / "m.gguf")
    before = library(tmp_path, own.parent).builds()
    stat_before = own.stat()
    content = own.read_bytes()
    own.write_bytes(b"X" * len(content))
    os.utime(own, ns=(stat_before.st_atime_ns, stat_before.st_mtime_ns))
    assert library(tmp_path, own.parent).builds() == before
