"""``models verify``, ``release``, ``disk`` and ``doctor`` as a user types them, on real files."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nanolocal.cli.main import main
from nanolocal.library.library import Library
from nanolocal.library.records import Records
from tests.fakes import stores
from tests.fakes.large import write_large_gguf

STARTERS = {
    "nanolocal-starter-image:f16",
    "nanolocal-starter-text:Q8_0",
    "nanolocal-starter-text:Q4_MIX",
    "nanolocal-starter-vision:Q8_0",
}
COLUMNS = 80


class Typed:
    """Runs a command in this process and returns what it printed."""

    def __init__(self, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self.models = home / "data" / "models"
        self.err = ""
        self._capfd = capfd

    def __call__(self, *args: str, code: int = 0) -> str:
        assert main(["--home", str(self.home), *args]) == code
        told = self._capfd.readouterr()
        self.err = told.err
        return told.out

    def json(self, *args: str, code: int = 0) -> dict[str, Any]:
        table: dict[str, Any] = json.loads(self(*args, "--json", code=code))
        return table

    def library(self) -> Library:
        return Library(
            [self.models], self.home / "cache" / "builds.json", None, Records(self.home / "data/builds.json")
        )

    def break_twice(self, build_id: str) -> None:
        library = self.library()
        for words in ("its engine ended by signal SIGABRT", "its engine ended by signal SIGSEGV"):
            library.health.failed(library.get(build_id), words)


@pytest.fixture
def typed(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Typed]:
    monkeypatch.delenv("NANOLOCAL_PASSPHRASE", raising=False)
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        yield Typed(tmp_path / "home", capfd)


def write_build(
    typed: Typed, name: str = "m", *, carded: bool = False, quality: float = 0.5, value: float = 1.0
) -> Path:
    path = stores.write_gguf(typed.models / name / f"{name}-Q8_0.gguf", name, value=value)
    card: dict[str, object] = {"quality": {"*": quality}}
    if carded:
        card["files"] = [{"path": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}]
    (path.parent / "card.json").write_text(json.dumps(card))
    return path


def narrow(text: str) -> bool:
    return all(len(line) <= COLUMNS for line in text.splitlines())


def test_verify_says_of_every_build_how_it_is(typed: Typed) -> None:
    write_build(typed)
    told = typed("models", "verify")
    assert "ok     nanolocal-starter-text:Q8_0" in told
    assert "new    m:Q8_0" in told
    assert f"{len(STARTERS)} ok, 1 for the first time, 0 damaged" in told
    assert narrow(told)
    assert f"{len(STARTERS) + 1} ok, 0 for the first time, 0 damaged" in typed("models", "verify")
    assert "1 ok, 0 for the first time" in typed("models", "verify", "m")


def test_verify_as_json_names_every_file(typed: Typed) -> None:
    path = write_build(typed)
    report = typed.json("models", "verify", "m")
    (build,) = report["builds"]
    assert (build["build"], build["verdict"], build["bytes"]) == ("m:Q8_0", "first-time", path.stat().st_size)
    (file,) = build["files"]
    assert file["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (file["path"], file["changed"]) == (str(path), False)


def test_a_damaged_build_ends_with_6_and_is_not_used(typed: Typed) -> None:
    path = write_build(typed, carded=True)
    assert typed("models", "verify", "m").startswith("  ok ")
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x07")
    told = typed("models", "verify", code=6)
    assert "WRONG  m" in told
    assert "1 damaged" in told
    assert typed.err.startswith(
        "nanolocal: error: m-Q8_0.gguf is damaged, and not used any more\nhint: get the file again"
    )
    report = typed.json("models", "verify", code=6)
    assert "damaged" in [build["verdict"] for build in report["builds"]]
    assert "m:Q8_0" not in typed("models", "list")
    assert "refused: m-Q8_0.gguf is not the file that its card describes" in typed.err


def test_a_damaged_build_that_was_pulled_can_be_repaired(typed: Typed) -> None:
    path = write_build(typed, carded=True)
    card = json.loads((path.parent / "card.json").read_text()) | {"id": "m", "pulled": {"repo": "a/b"}}
    (path.parent / "card.json").write_text(json.dumps(card))
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    typed("models", "verify", code=6)
    assert "hint: nanolocal models repair m" in typed.err


def test_a_build_that_is_set_aside_is_told_everywhere_and_can_be_released(typed: Typed) -> None:
    write_build(typed, quality=0.99)
    typed.break_twice("m:Q8_0")
    typed("models", "list")
    why = "it failed 2 times in a row before its first word: its engine ended by signal SIGSEGV"
    assert f"m:Q8_0 is set aside: {why}" in typed.err
    assert f"set_aside {why}" in " ".join(typed("models", "show", "m").split())
    assert "nanolocal models release m:Q8_0" in typed.err
    assert "set aside" in typed("doctor")
    assert typed.json("doctor")["set_aside"] == {"m:Q8_0": why}
    assert f"m:Q8_0  health  {why}" in typed("route", "hello")
    typed("route", "hello", "--model", "m", code=4)
    assert "hint: nanolocal models release m:Q8_0" in typed.err
    assert typed("models", "release", "m") == "m:Q8_0 is used again\n"
    assert typed("route", "hello").startswith("m:Q8_0\n")
    assert typed("models", "release", "m") == "m:Q8_0 was not set aside\n"
    typed("models", "release", "nothing", code=2)


def test_a_released_build_is_taken_as_it_is(typed: Typed) -> None:
    path = write_build(typed)
    typed("models", "verify", "m")
    before = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    typed("models", "verify", "m", code=6)
    assert "nanolocal models release m:Q8_0" in typed.err
    assert typed("models", "release", "m") == "m:Q8_0 is used again\n"
    assert "1 for the first time" in typed("models", "verify", "m")
    assert "1 ok" in typed("models", "verify", "m")


def test_verify_says_when_a_build_is_used_again(typed: Typed) -> None:
    path = write_build(typed)
    typed.break_twice("m:Q8_0")
    before = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    told = typed("models", "verify", "m")
    assert "m:Q8_0 was set aside and is used again: its file is another one now" in told


def test_ctrl_c_ends_a_verify_with_130_and_keeps_what_was_found(typed: Typed) -> None:
    write_build(typed, "a")
    write_large_gguf(typed.models / "z" / "z-F32.gguf", 200 * 2**30)
    command = [sys.executable, "-m", "nanolocal", "--home", str(typed.home), "models", "verify", "a", "z"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watched = psutil.Process(child.pid)
    while watched.io_counters().read_chars < 100 * 2**20:
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=120)
    assert (child.returncode, err) == (130, "")
    assert "new    a:Q8_0" in out
    assert "1 ok" in typed("models", "verify", "a")


def test_disk_says_what_deleting_a_build_would_change(typed: Typed) -> None:
    write_build(typed, "good", quality=0.9)
    old = write_build(typed, "idle", quality=0.2, value=2.0)
    (typed.models / ".pulling" / "x" / "files").mkdir(parents=True)
    (typed.models / ".pulling" / "x" / "files" / "y.gguf").write_bytes(b"1" * 10_000)
    (typed.models / "good" / ".z.gguf.part").write_bytes(b"1")
    told = typed("models", "disk")
    assert "good:Q8_0: all text: goes to idle:Q8_0" in told
    assert "idle:Q8_0: nothing changes, it is never picked" in told
    assert "2 unfinished downloads" in told
    assert "not known" in told
    assert narrow(told)
    typed("ask", "hello", "--model", "nanolocal-starter-text:Q8_0", "--max-tokens", "2")
    rows = {row["build"]: row for row in typed.json("models", "disk")["builds"]}
    assert rows["nanolocal-starter-text:Q8_0"]["answers"] == 1
    assert rows["nanolocal-starter-text:Q8_0"]["owner"] == "the program"
    assert not any(row["suggested"] for row in rows.values())
    os.utime(old, (1, 1))
    rows = {row["build"]: row for row in typed.json("models", "disk")["builds"]}
    assert [name for name, row in rows.items() if row["suggested"]] == ["idle:Q8_0"]
    assert "nanolocal models remove idle:Q8_0" in typed("models", "disk")


def test_disk_on_a_machine_with_nothing_of_its_own(typed: Typed) -> None:
    told = typed("models", "disk")
    assert "If one of nanolocal's own is deleted" not in told
    assert "are nanolocal's own" in told
    assert not (typed.home / "data").exists()


def test_doctor_fits_a_terminal_and_names_what_there_is(typed: Typed) -> None:
    told = typed("doctor")
    for title in ("Machine", "Models", "Private", "Program", "Missing"):
        assert f"\n{title}\n" in told
    assert "llama.cpp" in told
    assert not (typed.home / "data").exists()
    report = typed.json("doctor")
    assert report["missing"] == []
    assert report["llama_cpp"] is not None
    assert set(report["machine"]) >= {"system", "processor", "cores", "memory", "memory_free", "accelerators"}


def test_damaged_records_are_said_and_set_aside(typed: Typed) -> None:
    write_build(typed)
    (typed.home / "data" / "builds.json").write_text("{")
    typed("models", "list")
    assert "what was known of builds is lost" in typed.err
    assert (typed.home / "data" / "builds.json.damaged").exists()
    typed("models", "list")
    assert "lost" not in typed.err


def test_where_nothing_can_be_written_everything_is_told_all_the_same(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    typed.home = tmp_path / "file" / "home"
    assert f"{len(STARTERS)} ok, 0 for the first time, 0 damaged" in typed("models", "verify")
    assert "cannot be kept" in typed.err
    assert "nanolocal-starter-text:Q8_0" in typed("models", "disk")
    assert "free for models" in typed("doctor")


def test_what_the_catalogue_knows_of_a_stored_build_is_shown(typed: Typed) -> None:
    folder = stores.write_pipeline(typed.models / "sdxl-turbo")
    shown = typed("models", "show", "sdxl-turbo")
    assert "licence         sai-nc-community" in shown
    assert "licence_limit   not for commercial use" in shown
    assert "licence_url     https://" in shown
    assert "maker           Stability AI" in shown
    assert "sai-nc-community" in typed("models", "list")
    assert typed.json("models", "show", "sdxl-turbo")["path"] == str(folder)


def test_names_that_are_not_text_and_hostile_ones_are_harmless(typed: Typed) -> None:
    typed.models.mkdir(parents=True)
    odd = Path(os.fsdecode(os.fsencode(typed.models) + b"/caf\xe9\x1b[2J-Q8_0.gguf"))
    stores.write_gguf(typed.models / "m.gguf", "M\x1b[31m").rename(odd)
    for command in (("models", "verify"), ("models", "disk"), ("doctor",), ("models", "list")):
        assert "\x1b" not in typed(*command) + typed.err
        typed.json(*command)


def test_a_price_that_was_set_stays_in_force_when_a_large_build_was_read(typed: Typed) -> None:
    write_large_gguf(typed.models / "big-F32.gguf", 257 * 2**20)
    typed("credits", "prices", "big", "--prompt", "5", "--completion", "7")
    before = typed.json("credits", "prices", "big")
    assert typed.json("models", "show", "big")["sha256"].startswith("part:")
    assert "1 for the first time" in typed("models", "verify", "big")
    assert not typed.json("models", "show", "big")["sha256"].startswith("part:")
    after = typed.json("credits", "prices", "big")
    assert (after["micro"], after["source"]) == (before["micro"], before["source"])
    assert (after["micro"]["prompt"], after["micro"]["completion"]) != (0, 0)


def test_disk_says_that_a_copy_elsewhere_would_be_used(typed: Typed, tmp_path: Path) -> None:
    path = write_build(typed, "good", quality=0.9)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "copy-Q8_0.gguf").write_bytes(path.read_bytes())
    typed("models", "scan", str(tmp_path / "mine"))
    told = typed("models", "disk")
    assert "good:Q8_0: nothing changes, it lies elsewhere too" in told
    assert "nanolocal, folder" in told
