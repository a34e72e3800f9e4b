import os
from pathlib import Path

import pytest

from nanolocal.errors import UsageError
from nanolocal.library.pull.directory import below

WRITE = os.O_CREAT | os.O_RDWR


def test_folders_are_made_on_the_way(tmp_path: Path) -> None:
    with below(tmp_path / "models", "a/b/m.gguf") as (directory, name):
        os.close(directory.open(name, WRITE))
    made = tmp_path / "models/a/b/m.gguf"
    assert made.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["../m", "a/../../m", "/m", "", ".", "a//m", "a\\m", "C:m", "m\n", "a/./m"])
def test_a_name_that_leads_anywhere_else_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError), below(tmp_path / "models", name):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_a_link_on_the_way_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "models/a").symlink_to(tmp_path / target)
    with pytest.raises(UsageError, match="cannot write"), below(tmp_path / "models", "a/b/m.gguf"):
        pass
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "large disk").mkdir()
    (tmp_path / "models").symlink_to(tmp_path / "large disk")
    with below(tmp_path / "models", "m.gguf") as (directory, name):
        os.close(directory.open(name, WRITE))
    assert (tmp_path / "large disk/m.gguf").exists()


def test_a_directory_exchanged_for_a_link_is_still_the_one_that_was_opened(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    with below(tmp_path, "a/m.gguf") as (directory, name):
        (tmp_path / "a").rename(tmp_path / "moved")
        (tmp_path / "a").symlink_to(tmp_path / "elsewhere")
        os.close(directory.open(name, WRITE))
        directory.rename(name, "n.gguf")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert [path.name for path in (tmp_path / "moved").iterdir()] == ["n.gguf"]
