"""The folder of a run: nothing that was found out is lost, and nothing half-written is believed."""

from pathlib import Path

import pytest

from nanolocal.compress import workspace
from nanolocal.errors import UsageError


def test_what_was_found_out_is_there_after_a_kill(tmp_path: Path) -> None:
    with workspace.opened(tmp_path, "a", "b:F16", "nanolocal compress b:F16") as space:
        space.path("one.bin").write_bytes(b"12345")
        space.remember("one", {"kld": 0.5}, ("one.bin",))
        space.remember("two", 7.0)
    journal = tmp_path / ".compressing/a/journal.jsonl"
    whole = journal.read_bytes()
    for length in range(len(whole) + 1):
        journal.write_bytes(whole[:length])
        with workspace.opened(tmp_path, "a", "b:F16", "nanolocal compress b:F16") as space:
            assert space.recall("one") in (None, {"kld": 0.5})
            assert space.recall("two") in (None, 7.0)
            assert space.answers == whole[:length].count(b"}\n") or length in (len(whole) - 1, whole.index(b"\n"))
            space.remember("three", 3)
        with workspace.opened(tmp_path, "a", "b:F16", "nanolocal compress b:F16") as space:
            assert space.recall("three") == 3


def test_an_answer_whose_file_changed_is_no_answer(tmp_path: Path) -> None:
    with workspace.opened(tmp_path, "a", "b", "c") as space:
        space.path("one.bin").write_bytes(b"12345")
        space.remember("one", 1, ("one.bin",))
        space.path("one.bin").write_bytes(b"1234")
        assert space.recall("one") is None
        space.path("one.bin").unlink()
        assert space.recall("one") is None


def test_two_processes_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with (
        workspace.opened(tmp_path, "a", "b", "c"),
        pytest.raises(UsageError, match="already"),
        workspace.opened(tmp_path, "a", "b", "c"),
    ):
        pass


def test_what_is_unfinished_is_told_and_can_be_discarded(tmp_path: Path) -> None:
    with workspace.opened(tmp_path, "a", "b:F16", "nanolocal compress b:F16 --target 3MB"):
        pass
    (job,) = workspace.unfinished(tmp_path)
    assert (job.build, job.command) == ("b:F16", "nanolocal compress b:F16 --target 3MB")
    workspace.discard(tmp_path, job.folder)
    assert workspace.unfinished(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_build_appears_at_once_and_takes_no_place_of_another(tmp_path: Path) -> None:
    for expected in ("x", "x-2"):
        with workspace.opened(tmp_path, "a", "b", "c") as space:
            room = space.path("room")
            room.mkdir()
            (room / "m.gguf").write_bytes(b"1")
            assert workspace.place(tmp_path, space, room, "x") == tmp_path / expected
    assert (tmp_path / "x-2/m.gguf").read_bytes() == b"1"
