"""Removing a build deletes what is nanolocal's own, forgets what was adopted, and touches nothing else."""

import os
from pathlib import Path

import pytest

from nanolocal.errors import UsageError
from nanolocal.library import removal
from nanolocal.library.adopted import Adopted, Entry
from nanolocal.library.library import Library
from tests.fakes import stores


class Home:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.models = root / "data" / "models"
        self.models.mkdir(parents=True)
        self.folders = [self.models]

    def library(self) -> Library:
        return Library(self.folders, self.root / "cache" / "builds.json", Adopted(self.root / "data" / "adopted.json"))

    def remove(self, name: str) -> removal.Removal:
        library = self.library()
        planned = removal.plan(library, name, self.models)
        removal.carry_out(planned, library, self.models)
        return planned

    def left(self) -> list[str]:
        return sorted(path.relative_to(self.models).as_posix() for path in self.models.rglob("*"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_a_file_of_our_own_is_deleted_with_its_empty_folder_and_card(home: Home) -> None:
    stores.write_gguf(home.models / "org" / "m" / "m-Q8_0.gguf")
    (home.models / "org" / "m" / "card.json").write_text("{}")
    stores.write_gguf(home.models / "other-Q8_0.gguf", "other")
    assert home.remove("m:Q8_0").size_bytes > 0
    assert home.left() == ["other-Q8_0.gguf"]


def test_all_parts_and_the_projector_go_unless_another_build_uses_it(home: Home) -> None:
    for n in (1, 2):
        stores.write_gguf(home.models / "eye" / f"eye-Q4_0-{n:05d}-of-00002.gguf", value=n)
    stores.write_gguf(home.models / "eye" / "eye-Q8_0.gguf", "bigger", value=3)
    stores.write_gguf(home.models / "eye" / "mmproj-F16.gguf", architecture="clip")
    home.remove("eye:Q4_0")
    assert home.left() == ["eye", "eye/eye-Q8_0.gguf", "eye/mmproj-F16.gguf"]
    home.remove("eye:Q8_0")
    assert home.left() == []


def test_a_pipeline_folder_goes_whole_and_a_link_in_it_leads_nowhere(home: Home, tmp_path: Path) -> None:
    outside = stores.write_safetensors(tmp_path / "outside" / "w.safetensors", ("conv_in.weight",), fill=9)
    before = stores.census(outside.parent)
    pipeline = stores.write_pipeline(home.models / "painter")
    library = home.library()
    planned = removal.plan(library, "painter", home.models)
    (pipeline / "vae" / "w.safetensors").symlink_to(outside)
    (pipeline / "more").symlink_to(outside.parent)
    removal.carry_out(planned, library, home.models)
    assert home.left() == []
    assert stores.census(outside.parent) == before


def test_a_link_in_our_folder_goes_and_the_file_it_leads_to_stays(home: Home, tmp_path: Path) -> None:
    file = stores.write_gguf(tmp_path / "theirs" / "m-Q8_0.gguf")
    folder = stores.write_pipeline(tmp_path / "theirs" / "painter")
    (home.models / "m-Q8_0.gguf").symlink_to(file)
    (home.models / "painter").symlink_to(folder)
    before = stores.census(tmp_path / "theirs")
    assert home.remove("m").size_bytes == 0
    assert home.remove("painter").size_bytes == 0
    assert home.left() == []
    assert stores.census(tmp_path / "theirs") == before


def test_a_file_behind_a_linked_folder_is_not_ours(home: Home, tmp_path: Path) -> None:
    stores.write_gguf(tmp_path / "theirs" / "m-Q8_0.gguf")
    (home.models / "linked").symlink_to(tmp_path / "theirs")
    before = stores.census(tmp_path)
    with pytest.raises(UsageError, match="not nanolocal's own"):
        home.remove("m")
    assert {
        path: facts
        for path, facts in stores.census(tmp_path).items()
        if "cache" not in path and not path.endswith("home")
    } == {path: facts for path, facts in before.items() if "cache" not in path and not path.endswith("home")}


def test_a_file_in_a_folder_of_the_settings_is_not_ours(home: Home, tmp_path: Path) -> None:
    file = stores.write_gguf(tmp_path / "theirs" / "m-Q8_0.gguf")
    home.folders.append(tmp_path / "theirs")
    with pytest.raises(UsageError, match="not nanolocal's own"):
        home.remove("m")
    assert file.exists()


def test_an_adopted_build_is_forgotten_and_its_file_stays(home: Home, tmp_path: Path) -> None:
    file = stores.write_gguf(tmp_path / "theirs" / "sha256-1")
    before = stores.census(tmp_path / "theirs")
    other = Entry(str(file.with_name("other")), "Jan", "/jan")
    entries = [Entry(str(file), "Ollama", "/o", name, "m") for name in ("m:1b", "m:latest")]
    Adopted(home.root / "data" / "adopted.json").keep([*entries, other])
    planned = home.remove("m:1b")
    assert (planned.own, set(planned.entries)) == ((), set(entries))
    assert Adopted(home.root / "data" / "adopted.json").entries() == (other,)
    assert stores.census(tmp_path / "theirs") == before


def test_our_copy_goes_and_the_adopted_one_is_used_from_then_on(home: Home, tmp_path: Path) -> None:
    own = stores.write_gguf(home.models / "m-Q8_0.gguf")
    theirs = tmp_path / "theirs" / "sha256-1"
    theirs.parent.mkdir()
    os.link(own, theirs)
    Adopted(home.root / "data" / "adopted.json").keep([Entry(str(theirs), "Ollama", "/o", "m:1b", "m")])
    planned = home.remove("m")
    assert (planned.own, planned.others) == ((own,), (theirs,))
    assert [build.path for build in home.library().builds()] == [theirs]


def test_a_name_that_means_two_builds_removes_neither(home: Home) -> None:
    for n, quantization in enumerate(("Q4_0", "Q8_0")):
        stores.write_gguf(home.models / f"m-{quantization}.gguf", value=n)
    with pytest.raises(UsageError, match="more than one build"):
        home.remove("m")
    with pytest.raises(UsageError, match="no build is called"):
        home.remove("nobody")
    assert len(home.left()) == 2


def test_a_file_that_moved_out_between_plan_and_deed_is_not_deleted(home: Home, tmp_path: Path) -> None:
    stores.write_gguf(home.models / "sub" / "m-Q8_0.gguf")
    library = home.library()
    planned = removal.plan(library, "m", home.models)
    (home.models / "sub").rename(tmp_path / "moved")
    (home.models / "sub").symlink_to(tmp_path / "moved")
    with pytest.raises(UsageError, match="any more"):
        removal.carry_out(planned, library, home.models)
    assert (tmp_path / "moved" / "m-Q8_0.gguf").exists()
