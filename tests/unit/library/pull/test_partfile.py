import os
from pathlib import Path

import pytest

from nanolocal.errors import UsageError
from nanolocal.library.pull.directory import below
from nanolocal.library.pull.partfile import disk_errors, locked, part_name

FLAGS = os.O_CREAT | os.O_RDWR


def test_a_second_one_is_told_that_it_is_in_use(tmp_path: Path) -> None:
    with below(tmp_path, "m.gguf") as (directory, name), locked(directory, name, FLAGS) as file:
        file.write(0, b"mine", 0)
        with pytest.raises(UsageError, match="in use by another nanolocal"), locked(directory, name, FLAGS):
            pass
    assert (tmp_path / "m.gguf").read_bytes() == b"mine"


def test_an_empty_one_is_removed(tmp_path: Path) -> None:
    with below(tmp_path, "m.gguf") as (directory, name), locked(directory, name, FLAGS):
        assert (tmp_path / name).exists()
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_not_removed_for_being_empty(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").touch()
    with below(tmp_path, "m.gguf") as (directory, name), locked(directory, name, os.O_RDWR):
        pass
    assert (tmp_path / "m.gguf").exists()


def test_more_than_the_disk_has_is_refused_with_what_is_needed(tmp_path: Path) -> None:
    with below(tmp_path, "m.gguf") as (directory, name), locked(directory, name, FLAGS) as file:
        file.check_room(0)
        with pytest.raises(UsageError, match="not enough room") as caught:
            file.check_room(2**60)
    assert "1.1 GB for everything else" in caught.value.message
    assert caught.value.hint.startswith("free ")


def test_room_is_looked_for_again_while_it_is_written(tmp_path: Path) -> None:
    with below(tmp_path, "m.gguf") as (directory, name), locked(directory, name, FLAGS) as file:
        mebibyte = bytes(2**20)
        for _ in range(255):
            file.write(0, mebibyte, 2**60)
        with pytest.raises(UsageError, match="not enough room"):
            file.write(0, mebibyte, 2**60)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_device_is_an_error_with_a_next_step() -> None:
    with (
        pytest.raises(UsageError, match="no room left in /dev") as caught,
        disk_errors(Path("/dev")),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")
    assert "same command again" in caught.value.hint


def test_part_names_are_hidden_and_never_too_long() -> None:
    assert part_name("m.gguf") == ".m.gguf.part"
    assert len(part_name("m" * 255)) < 200
    assert part_name("m" * 255) != part_name("n" * 255)
