"""Builds that fail twice in a row are set aside, by what they are, until they change or are released."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from nanolocal.chat.routes import Build, Kind
from nanolocal.library.health import Health, stamp_of
from nanolocal.library.library import Library
from nanolocal.library.records import Records
from tests.fakes.stores import write_gguf


@pytest.fixture
def build(tmp_path: Path) -> Build:
    path = write_gguf(tmp_path / "m.gguf")
    return Build("m:Q8_0", "M", Kind.TEXT, path, "Q8_0", path.stat().st_size, "ab" * 32)


def health(tmp_path: Path) -> Health:
    return Health(Records(tmp_path / "builds.json"), clock=lambda: 1000.0)


def test_the_second_failure_in_a_row_sets_aside_and_outlives_the_process(tmp_path: Path, build: Build) -> None:
    assert not health(tmp_path).failed(build, "its engine ended")
    assert health(tmp_path).why_not(build) == ""
    assert health(tmp_path).failed(build, "its engine\nended \x1b[31magain")
    why = health(tmp_path).why_not(build)
    assert why == "it failed 2 times in a row before its first word: its engine ended ␛[31magain"
    assert health(tmp_path).why_not(replace(build, sha256="cd" * 32)) == ""


def test_an_answer_between_them_starts_the_count_anew(tmp_path: Path, build: Build) -> None:
    for _ in range(3):
        assert not health(tmp_path).failed(build, "it ended")
        health(tmp_path).worked(build)
    assert health(tmp_path).why_not(build) == ""


def test_one_that_is_released_has_two_more_tries(tmp_path: Path, build: Build) -> None:
    kept = health(tmp_path)
    assert not kept.release(build)
    kept.failed(build, "one")
    kept.failed(build, "two")
    assert kept.release(build)
    assert kept.why_not(build) == ""
    assert not kept.failed(build, "three")
    assert kept.failed(build, "four")


def test_one_known_by_its_ends_alone_is_free_when_its_file_changes(tmp_path: Path, build: Build) -> None:
    build = replace(build, sha256="part:" + "ab" * 32)
    kept = health(tmp_path)
    kept.failed(build, "one")
    kept.failed(build, "two")
    assert kept.why_not(build)
    os.utime(build.path, (1, 1))
    assert kept.why_not(build) == ""
    assert not kept.failed(build, "of the new file")


def test_what_is_known_goes_along_when_a_file_has_been_read_whole(tmp_path: Path, build: Build) -> None:
    by_its_ends = replace(build, sha256="part:" + "ab" * 32)
    kept = health(tmp_path)
    kept.failed(by_its_ends, "one")
    kept.failed(by_its_ends, "two")
    kept.know_better(by_its_ends, build)
    assert kept.why_not(build) == kept.why_not(replace(build)) != ""
    assert kept.why_not(by_its_ends) == ""


def test_the_library_says_which_builds_are_set_aside(tmp_path: Path) -> None:
    write_gguf(tmp_path / "models" / "a-Q8_0.gguf", "a")
    write_gguf(tmp_path / "models" / "b-Q8_0.gguf", "b", value=2)
    library = Library([tmp_path / "models"], tmp_path / "index.json")
    first, _ = library.builds()
    library.health.failed(first, "one")
    library.health.failed(first, "two")
    library.mark()
    assert [bool(build.set_aside) for build in library.builds()] == [True, False]
    again = Library([tmp_path / "models"], tmp_path / "index.json")
    assert [bool(build.set_aside) for build in again.builds()] == [True, False]
    copied = again.adopt(first.path)
    assert copied.set_aside


def test_the_stamp_of_a_folder_changes_with_any_of_its_weights(tmp_path: Path) -> None:
    weights = tmp_path / "p" / "unet" / "w.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"1")
    before = stamp_of(tmp_path / "p")
    weights.write_bytes(b"22")
    assert before is not None and stamp_of(tmp_path / "p") != before
    assert stamp_of(tmp_path / "absent.gguf") is None
