"""``models``: what a scan finds, shows, adopts and forgets; bad input changes nothing."""

import json
import os
import signal
from pathlib import Path

import pytest

from nanolocal.cli.main import main
from nanolocal.library.discover import scan as scanning
from nanolocal.library.library import Library
from tests.fakes import stores


class Models:
    def __init__(self, root: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.home = root / "nanolocal"
        self._capfd = capfd

    def __call__(self, *args: str, code: int = 0) -> str:
        assert main(["--home", str(self.home), "models", *args]) == code
        told = self._capfd.readouterr()
        self.err = told.err
        return told.out

    def json(self, *args: str) -> dict[str, list[dict[str, object]]]:
        table: dict[str, list[dict[str, object]]] = json.loads(self(*args, "--json"))
        return table

    def listed(self) -> list[str]:
        return [str(build["name"]) for build in self.json("list")["builds"] if not build["tiny"]]


@pytest.fixture
def models(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Models:
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    for name in ("OLLAMA_MODELS", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "LLAMA_CACHE", "JAN_DATA_FOLDER",
                 "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "user").mkdir()
    return Models(tmp_path, capfd)


def write_ollama(models: Models, name: str = "qwen3/4b") -> Path:
    place = models.root / "user" / ".ollama" / "models"
    weights = stores.write_gguf(models.root / "weights", name)
    stores.write_ollama(place, f"registry.ollama.ai/library/{name}", weights)
    return place


def test_a_scan_says_what_it_found_and_copies_nothing(models: Models) -> None:
    place = write_ollama(models)
    stores.ollama_manifest(place, "registry.ollama.ai/library/cloudy/1b", {})
    stores.write_gguf(models.root / "user" / ".lmstudio" / "models" / "a" / "b" / "same.gguf", "qwen3/4b")
    before = stores.census(models.root / "user")
    told = models("scan")
    assert "Ollama: " in told
    assert "qwen3:4b (Ollama)" in told
    assert "refused: cloudy:1b has no weights on this machine" in told
    assert "1 model, 1 refused, 1 in more than one place" in told
    assert "used where they are, 0 bytes copied" in told
    assert stores.census(models.root / "user") == before
    assert models.listed() == ["qwen3:4b (Ollama)"]
    assert "qwen3:4b (Ollama)" in models("list")
    (shown,) = [b for b in models.json("list")["builds"] if not b["tiny"]]
    assert len(shown["places"]) == 2  # type: ignore[arg-type]
    assert "LM Studio" in models("show", "qwen3:4b")


def test_a_scan_of_a_machine_without_any_store(models: Models) -> None:
    assert models("scan").startswith("nothing was found")
    assert models.json("scan")["stores"] == []


def test_a_dry_run_adopts_nothing(models: Models) -> None:
    write_ollama(models)
    assert "nothing was adopted" in models("scan", "--dry-run")
    assert not models.json("scan", "--dry-run")["adopted"]
    assert models.listed() == []
    assert not (models.home / "data").exists()


def test_a_scan_replaces_what_was_known_of_the_same_store_and_keeps_the_rest(models: Models) -> None:
    place = write_ollama(models)
    folder = models.root / "mine"
    stores.write_gguf(folder / "m-Q8_0.gguf", "m", value=5)
    models("scan")
    models("scan", str(folder))
    assert models.listed() == ["m-Q8_0.gguf (folder)", "qwen3:4b (Ollama)"]
    (place / "manifests" / "registry.ollama.ai" / "library" / "qwen3" / "4b").unlink()
    stores.write_gguf(folder / "n-Q8_0.gguf", "n", value=6)
    models("scan")
    assert models.listed() == ["m-Q8_0.gguf (folder)", "n-Q8_0.gguf (folder)"]


def test_what_lies_in_nanolocals_own_folder_is_not_adopted(models: Models) -> None:
    own = models.home / "data" / "models"
    stores.write_gguf(own / "m-Q8_0.gguf", "m")
    assert "m-Q8_0.gguf (folder)" in models("scan", str(own))
    assert json.loads((models.home / "data" / "adopted.json").read_text())["entries"] == []
    assert models.listed() == ["m"]


def test_forgetting_a_store_or_a_place_touches_no_file(models: Models) -> None:
    write_ollama(models)
    folder = models.root / "mine"
    for n, name in enumerate(("a", "b")):
        stores.write_gguf(folder / name / f"{name}.gguf", name, value=n)
    models("scan")
    models("scan", str(folder))
    before = stores.census(models.root / "user", folder)
    assert "forgot a/a.gguf (folder)" not in models("scan", "--forget", "ollama")
    assert models.listed() == ["a.gguf (folder)", "b.gguf (folder)"]
    assert "forgot a.gguf (folder)\nno file was touched" in models("scan", "--forget", str(folder / "a"))
    assert models.listed() == ["b.gguf (folder)"]
    models("scan", "--forget", "nothing of the sort", code=2)
    assert "adopted from: folder" in models.err
    assert models.json("scan", "--forget", "folder", "--dry-run") == {
        "forgot": [str(folder / "b" / "b.gguf")],
        "forgotten": False,
    }
    assert models.listed() == ["b.gguf (folder)"]
    assert stores.census(models.root / "user", folder) == before


def test_a_file_that_vanished_is_left_out_with_a_note(models: Models) -> None:
    place = write_ollama(models)
    models("scan")
    for blob in (place / "blobs").iterdir():
        blob.unlink()
    models("list")
    assert "qwen3:4b (Ollama) is gone from" in models.err
    assert models.json("list")["notes"]


def test_removing_an_adopted_build_only_forgets_it(models: Models) -> None:
    place = write_ollama(models)
    models("scan")
    before = stores.census(place)
    told = models("remove", "qwen3:4b")
    assert told.startswith("forgot qwen3:4b (Ollama); no file was touched")
    assert "would find it again" in models.err
    assert stores.census(place) == before
    assert models.listed() == []


def test_removing_an_own_build_asks_first(models: Models) -> None:
    own = stores.write_gguf(models.home / "data" / "models" / "m-Q8_0.gguf", "m")
    models("remove", "m", code=2)
    assert "add --yes" in models.err
    assert own.exists()
    size = own.stat().st_size
    told = models.json("remove", "m", "--yes")
    assert told == {"build": "m:Q8_0", "deleted": [str(own)], "bytes": size, "untouched": []}
    assert not own.exists()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (("scan", "/no/such/folder"), "there is no folder"),
        (("scan", "~nobody-of-that-name/x"), "there is no folder"),
        (("scan", "--forget", "Ollama"), "nothing was adopted from"),
        (("remove", "nobody"), "no build is called"),
        (("remove", "nanolocal-starter-text:Q8_0", "--yes"), "not nanolocal's own"),
        (("remove",), "required"),
        (("show", "nobody"), "no build is called"),
    ],
)
def test_bad_input_is_one_error_and_changes_nothing(models: Models, wrong: tuple[str, ...], named: str) -> None:
    assert models(*wrong, code=2) == ""
    assert models.err.count("nanolocal: error: ") == 1
    assert named in models.err
    assert not (models.home / "data" / "adopted.json").exists()


def test_ctrl_c_leaves_the_index_as_it_was(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ollama(models)
    models("scan")
    index = models.home / "data" / "adopted.json"
    before = index.read_bytes()
    folder = models.root / "many"
    for n in range(20):
        stores.write_gguf(folder / f"{n}.gguf", str(n), value=n)
    joined = scanning._described
    seen: list[str] = []

    def interrupted(*args: object) -> object:
        seen.append("one")
        if len(seen) == 10:
            os.kill(os.getpid(), signal.SIGINT)
        return joined(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(scanning, "_described", interrupted)
    models("scan", str(folder), code=130)
    assert index.read_bytes() == before
    assert [path.name for path in index.parent.iterdir()] == ["adopted.json"]
    assert models.listed() == ["qwen3:4b (Ollama)"]


def test_hostile_names_reach_the_terminal_harmless(models: Models) -> None:
    folder = models.root / "mine"
    stores.write_gguf(folder / "a\x1b[2J\x07\u202eb.gguf", "na\x1b[31mme")
    (folder / "c\x1b[2J.ckpt").write_bytes(b"\x80\x04.")
    for told in (models("scan", str(folder)), models("list")):
        assert "\x1b" not in told and "\u202e" not in told
    assert "\x1b" not in models.err


def test_the_list_says_when_there_is_nothing_yet(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Library, "builds", lambda self: ())
    models("list")
    assert "nanolocal models scan" in models.err
