"""``nanolocal compress`` as real processes: from own conversations, pruned, on workers, and a question before."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFReader

from nanolocal import bootstrap
from nanolocal.chat.messages import Message, Role
from nanolocal.paths import Paths
from tests.e2e.conftest import Program
from tests.e2e.terminal import Terminal
from tests.fakes.dask_farm import two_workers
from tests.fakes.tiny_gguf import write_tiny_gguf

SECRET = "quartz lantern under the seventh stair"


def models_of(home: Path) -> Path:
    folder = home / "data/models"
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    (home / "data").chmod(0o700)
    return folder


def tiny(home: Path, layers: int = 1) -> str:
    folder = models_of(home) / "tiny"
    folder.mkdir(exist_ok=True)
    write_tiny_gguf(folder / "tiny-F32.gguf", n_ctx=64, layers=layers)
    return "tiny:F32"


def report_of(program: Program, *args: str) -> dict[str, Any]:
    done = program("compress", *args, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert program("models", "show", told["build"], "--json").returncode == 0
    report: dict[str, Any] = told["report"]
    return report


def test_own_conversations_leave_nothing_but_sums(program: Program) -> None:
    build = tiny(program.home)
    session = bootstrap.open_session(Paths.choose(program.home), None)
    for n in range(8):
        with session.store.transaction() as tx:
            chat = session.store.start_chat(tx, f"chat {n}", None)
            session.store.add_prompt(tx, chat, None, Message(Role.USER, f"Look {SECRET} number {n}. " * 4))
    session.vault.close()
    refused = program("compress", build, "--calibrate", "chats", "--scheduler", "tcp://127.0.0.1:1")
    assert refused.returncode == 2
    assert "conversations stay on this machine" in refused.stderr
    report = report_of(program, build, "--calibrate", "chats", "--time", "1s")
    assert report["calibration"]["what"] == "8 own conversations"
    assert "sha256" not in report["calibration"]
    assert "sums of activations" in report["calibration"]["kept"]
    for path in program.home.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_what_was_pruned_loads_and_its_card_tells(program: Program) -> None:
    build = tiny(program.home, layers=2)
    done = program("compress", build, "--prune", "layers=1,ffn=40%", "--time", "2s", "--label", "Q4_CUT")
    assert done.returncode == 0, done.stderr
    assert "1 layers and 192 channels left, taught by the original" in " ".join(done.stdout.split())
    shown = json.loads(program("models", "show", "tiny:Q4_CUT", "--json").stdout)
    pruned, steps = shown["compressed"]["pruned"], shown["compressed"]["recipe"]["steps"]
    assert pruned["kld"] <= pruned["kld_before"]
    assert [step["step"] for step in steps] == ["prune", "recover", "quantize"]
    answered = program("ask", "Hello", "--model", "tiny:Q4_CUT", "--max-tokens", "4", "--no-store")
    assert answered.returncode == 0, answered.stderr


def test_a_build_that_is_quantized_already_is_asked_about_first(program: Program) -> None:
    terminal = Terminal(program.home, "compress", "nanolocal-starter-text")
    try:
        terminal.wait_for("Take it, and measure the extra loss? [y/N]")
        terminal.type("n\r")
        terminal.wait_for("already quantized")
        assert terminal.wait_for_end() == 2
    finally:
        terminal.close()
    assert not (program.home / "data/models/.compressing").exists()


def test_too_little_memory_to_learn_is_refused_with_the_figures_before_any_work(program: Program) -> None:
    build = tiny(program.home, layers=2)
    (program.home / "config").mkdir()
    (program.home / "config/settings.toml").write_text("memory_mb = 300\n")
    done = program("compress", build, "--prune", "layers=1")
    assert done.returncode == 4
    assert "pruning it, and teaching what is left, takes" in done.stderr
    assert "315 MB are free" in done.stderr
    assert not (program.home / "data/models/.compressing").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_workers_elsewhere_make_the_same_build(program: Program, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    build = tiny(program.home)
    text = tmp_path / "market.txt"
    text.write_text("\n\n".join(f"On day {n} the market sold {3 * n} apples and all of its bread." for n in range(400)))
    wanted = ("compress", build, "--target", "bpw=5", "--time", "10m", "--calibrate", str(text), "--json")
    alone = program(*wanted, "--label", "Q5_HERE")
    assert alone.returncode == 0, alone.stderr
    shutil.rmtree(program.home / "cache")
    folder = tmp_path / "farm"
    folder.mkdir()
    with two_workers(folder) as farm:
        at = farm.scheduler
        files = ("--tls-ca", str(at.ca), "--tls-cert", str(at.certificate), "--tls-key", str(at.key))
        there = program(*wanted, "--label", "Q5_THERE", "--scheduler", at.address, *files)
        assert there.returncode == 0, there.stderr
        assert f"2 worker(s) at {at.address} get the build" in there.stderr
        assert any(path.suffix == ".gguf" for path in farm.files())
    one, other = (json.loads(done.stdout) for done in (alone, there))
    tensors = [
        [(tensor.name, tensor.tensor_type, tensor.data.tobytes()) for tensor in GGUFReader(path).tensors]
        for path in sorted((program.home / "data/models").rglob("*Q5_*.gguf"))
    ]
    assert len(tensors) == 2
    assert tensors[0] == tensors[1]
    differ = {name for name, value in one["report"]["accuracy"].items() if other["report"]["accuracy"][name] != value}
    assert differ <= {"read_per_s", "write_per_s", "peak_bytes"}
