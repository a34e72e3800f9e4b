"""A model from a hub to an answer, and from one machine to another, with the real program; killed in the middle too."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanolocal.paths import starter_models
from tests.e2e.conftest import Program
from tests.e2e.terminal import Terminal
from tests.fakes import stores
from tests.fakes.tiny_pipeline import write_tiny_pipeline
from tests.hub.server import Hub

pytestmark = pytest.mark.slow


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub().running() as running:
        yield running


def half_there(models: Path) -> Path:
    """Where the first megabytes of a file have arrived."""
    for _ in range(3000):
        found = [path for path in models.rglob("*.gguf") if path.stat().st_size > 2**20]
        if found:
            return found[0].relative_to(models)
        time.sleep(0.02)
    raise AssertionError("nothing arrives")


def serve_starter(hub: Hub) -> bytes:
    """The real starter build, a byte longer so that it is none of those that are here."""
    (file,) = (starter_models() / "nanolocal-starter-text").glob("*.gguf")
    content = file.read_bytes() + b"\0"
    hub.repo("makers/storyteller-GGUF").add("storyteller-Q8_0.gguf", content)
    hub.repo("makers/storyteller-GGUF").card = {"license": "apache-2.0"}
    return content


def answer(program: Program, build: str) -> str:
    told = program("ask", "--model", build, "--temperature", "0", "--max-tokens", "8", "--json", "Hello")
    assert told.returncode == 0, told.stderr
    said = json.loads(told.stdout)
    assert said["build"] == build
    text: str = said["text"]
    return text


def test_a_model_is_pulled_listed_and_answers_and_so_it_does_elsewhere(
    program: Program, hub: Hub, tmp_path: Path
) -> None:
    content = serve_starter(hub)
    pulled = program("models", "pull", "makers/storyteller-GGUF", HF_ENDPOINT=hub.endpoint)
    assert pulled.returncode == 0, pulled.stderr
    assert "storyteller:Q8_0 is in the library" in pulled.stdout
    listed = json.loads(program("models", "list", "--json").stdout)["builds"]
    assert "storyteller:Q8_0" in [build["build"] for build in listed]
    here = answer(program, "storyteller:Q8_0")
    assert here

    bundle = tmp_path / "storyteller.bundle"
    assert program("models", "bundle", "export", "storyteller", str(bundle)).returncode == 0
    program.home = tmp_path / "elsewhere"
    taken = program("models", "bundle", "import", str(bundle))
    assert taken.returncode == 0, taken.stderr
    assert answer(program, "storyteller:Q8_0") == here
    (file,) = (program.home / "data" / "models").rglob("*.gguf")
    assert file.read_bytes() == content


def test_a_pipeline_in_half_precision_is_pulled_and_draws(program: Program, hub: Hub, tmp_path: Path) -> None:
    folder = write_tiny_pipeline(tmp_path / "painter")
    unet = folder / "unet" / "diffusion_pytorch_model.safetensors"
    unet.rename(unet.with_name("diffusion_pytorch_model.fp16.safetensors"))
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            hub.repo("makers/painter").add(name, path.read_bytes(), is_lfs=path.suffix == ".safetensors")
    pulled = program("models", "pull", "makers/painter", "--json", HF_ENDPOINT=hub.endpoint)
    assert pulled.returncode == 0, pulled.stderr
    picture = tmp_path / "p.png"
    drawn = program(
        "image", "--model", "painter:f16", "--steps", "1", "--size", "64x64", "--out", str(picture), "a circle"
    )
    assert drawn.returncode == 0, drawn.stderr
    assert picture.stat().st_size > 0


def test_ctrl_c_keeps_what_has_arrived_and_says_how_to_go_on(program: Program, hub: Hub) -> None:
    content = serve_starter(hub)
    pull = ("models", "pull", "makers/storyteller-GGUF", "--rate")
    terminal = Terminal(program.home, *pull, "250kB/s", HF_ENDPOINT=hub.endpoint)
    try:
        shown = terminal.wait_for(" left")
        assert "storyteller-Q8_0.gguf: " in shown
        assert "% of 5 MB, " in shown
        terminal.type("\x03")
        shown = terminal.wait_for("goes on")
        assert terminal.wait_for_end() == 130
        assert "what has arrived is kept" in shown
    finally:
        terminal.close()
    listed = program("models", "list")
    assert "storyteller-Q8_0.gguf: " in listed.stderr
    assert "goes on" in listed.stderr
    before = hub.served("storyteller-Q8_0.gguf")
    assert before < len(content) + 2**20
    done = json.loads(program(*pull, "1GB/s", "--json", HF_ENDPOINT=hub.endpoint).stdout)
    assert done["builds"][0]["build"] == "storyteller:Q8_0"
    assert hub.served("storyteller-Q8_0.gguf") - before < len(content)


def test_an_import_that_is_killed_leaves_nothing_and_the_next_one_is_whole(program: Program, tmp_path: Path) -> None:
    own = program.home / "data" / "models" / "big"
    file = stores.write_gguf(own / "big-Q8_0.gguf", tensors=20_000)
    program.home.joinpath("data").chmod(0o700)
    bundle = tmp_path / "big.bundle"
    assert program("models", "bundle", "export", "big:Q8_0", str(bundle)).returncode == 0
    content = bundle.read_bytes()
    program.home = tmp_path / "elsewhere"
    models = program.home / "data" / "models"

    command = [sys.executable, "-m", "nanolocal", "--home", str(program.home), "models", "bundle", "import", "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        process.stdin.write(content[: len(content) // 2])
        process.stdin.flush()
        assert half_there(models).parts[0] == ".importing"
        process.send_signal(signal.SIGKILL)
    listed = json.loads(program("models", "list", "--json").stdout)
    assert [build for build in listed["builds"] if not build["tiny"]] == []
    assert listed["refused"] == []

    assert program("models", "bundle", "import", str(bundle)).returncode == 0
    assert [path.read_bytes() for path in models.rglob("*.gguf")] == [file.read_bytes()]
    assert not (models / ".importing").exists()
