"""What happens when a child, a file or the parent breaks."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from nanolocal.chat.events import EngineEvent, TextDelta
from nanolocal.chat.routes import Build
from nanolocal.engines import protocol
from nanolocal.engines.client import Child, ChildDied
from nanolocal.engines.launch import child_environment, usable_cores
from nanolocal.engines.pool import EnginePool
from nanolocal.errors import EngineFailed
from tests.fakes.small_models import write_ending
from tests.fakes.tiny_gguf import write_tiny_gguf
from tests.unit.engines.helpers import Heard, asking, build_of, children, listen, with_pool

ENDLESS = {"n_ctx": 8192, "max_tokens": 7000}
ROOT = Path(__file__).parents[3]


def when_writing(signal_number: signal.Signals, heard: Heard) -> Callable[[EngineEvent], None]:
    """Send ``signal_number`` to the child at the first piece of text."""

    def act(event: EngineEvent) -> None:
        if isinstance(event, TextDelta) and len(heard.of(TextDelta)) == 0:
            heard.events.append(event)
            os.kill(children()[0].pid, signal_number)

    return act


def test_a_killed_child_is_named_and_the_next_run_starts_another(endless: Build) -> None:
    async def kill_and_go_on(pool: EnginePool) -> tuple[EngineFailed, Heard, Heard]:
        seen = Heard()
        with pytest.raises(EngineFailed) as failed:
            await listen(pool, endless, asking("hi", **ENDLESS), on_event=when_writing(signal.SIGKILL, seen))
        assert pool.resident() == ()
        return failed.value, seen, await listen(pool, endless, asking("hi"))

    error, seen, after = with_pool(kill_and_go_on)
    assert error.message.startswith("the engine of endless:f32 ended by signal SIGKILL")
    assert error.hint
    assert seen.of(TextDelta)[0].tokens == 1
    assert after.done.usage.completion_tokens == 40
    assert after.done.timing.load_s > 0


def test_an_abort_shows_its_signal(endless: Build) -> None:
    with pytest.raises(EngineFailed, match="SIGABRT"):
        with_pool(
            lambda pool: listen(pool, endless, asking("hi", **ENDLESS), on_event=when_writing(signal.SIGABRT, Heard()))
        )


def test_a_child_that_died_while_idle_is_replaced_without_a_word(endless: Build) -> None:
    async def kill_idle(pool: EnginePool) -> Heard:
        await listen(pool, endless, asking("hi"))
        os.kill(children()[0].pid, signal.SIGKILL)
        return await listen(pool, endless, asking("hi"))

    assert with_pool(kill_idle).done.usage.completion_tokens == 40


def test_a_child_that_stands_still_is_killed(endless: Build) -> None:
    with pytest.raises(EngineFailed, match="stopped answering for 2 seconds"):
        with_pool(
            lambda pool: listen(pool, endless, asking("hi", **ENDLESS), on_event=when_writing(signal.SIGSTOP, Heard())),
            stall_s=2.0,
        )
    assert children() == []


def test_stop_ends_a_child_that_does_not_listen(endless: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nanolocal.engines.seat._GRACE_S", 0.2)
    stop = asyncio.Event()

    async def freeze(pool: EnginePool) -> Heard:
        act = when_writing(signal.SIGSTOP, Heard())

        def freeze_and_stop(event: EngineEvent) -> None:
            act(event)
            if isinstance(event, TextDelta):
                stop.set()

        return await listen(pool, endless, asking("hi", **ENDLESS), stop, freeze_and_stop)

    heard = with_pool(freeze)
    assert heard.done.stopped == "user"
    assert heard.done.usage.completion_tokens == heard.tokens >= 1
    assert heard.done.usage.prompt_tokens > 0
    assert children() == []


def test_a_build_killed_by_hand_ends_its_job(endless: Build) -> None:
    async def kill(pool: EnginePool) -> None:
        await listen(pool, endless, asking("hi", **ENDLESS), on_event=lambda event: pool.kill(endless.id))

    with pytest.raises(EngineFailed, match="was unloaded"):
        with_pool(kill)


def test_closing_the_pool_ends_a_job_at_any_moment(endless: Build) -> None:
    async def close_at(pool: EnginePool, moment: int) -> None:
        task = asyncio.create_task(listen(pool, endless, asking("hi", **ENDLESS)))
        for _ in range(moment):
            await asyncio.sleep(0.001)
        await pool.close()
        with pytest.raises(EngineFailed, match="was unloaded"):
            await task

    for moment in (1, 3, 30):
        with_pool(partial(close_at, moment=moment))
        assert children() == []


def test_a_closed_pool_takes_no_job(endless: Build) -> None:
    async def close_first(pool: EnginePool) -> None:
        await pool.close()
        await listen(pool, endless, asking("hi"))

    with pytest.raises(EngineFailed, match="closed"):
        with_pool(close_first)


def broken(tmp_path: Path, name: str) -> Path:
    whole = write_tiny_gguf(tmp_path / "whole.gguf").read_bytes()
    path = tmp_path / f"{name}.gguf"
    match name:
        case "folder":
            path.mkdir()
        case "truncated":
            path.write_bytes(whole[: len(whole) // 2])
        case "torn_header":
            path.write_bytes(whole[:200])
        case "garbage":
            path.write_bytes(os.urandom(4096))
        case "empty":
            path.write_bytes(b"")
        case "lying":
            path.write_bytes(whole[:4] + b"\xff" * 64 + whole[68:])
    return path


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("folder", "folder.gguf is a folder"),
        ("missing", "missing.gguf is missing"),
        ("truncated", "truncated.gguf is not a usable GGUF file: it is shorter than its tensors need"),
        ("torn_header", "torn_header.gguf is not a usable GGUF file: it ends in its header"),
        ("garbage", "garbage.gguf is not a usable GGUF file: it does not begin with GGUF"),
        ("empty", "empty.gguf is not a usable GGUF file: it is empty"),
        ("lying", "lying.gguf is not a usable GGUF file: version 4294967295 is not 2 or 3"),
    ],
)
def test_a_bad_file_fails_with_one_clear_line(tmp_path: Path, name: str, why: str) -> None:
    build = Build(f"{name}:x", name, build_of(Path(__file__)).kind, broken(tmp_path, name), "x", 1, "x")
    with pytest.raises(EngineFailed, match=why) as failed:
        with_pool(lambda pool: listen(pool, build, asking("hi")))
    assert f"{name}:x" in failed.value.message
    assert "\n" not in failed.value.message
    assert failed.value.hint


def test_a_file_that_makes_llama_cpp_abort_kills_only_the_child(tmp_path: Path, endless: Build) -> None:
    path = write_ending(tmp_path / "abort.gguf")

    async def go_on(pool: EnginePool) -> Heard:
        with pytest.raises(EngineFailed, match="abort:f32 ended by signal SIGABRT"):
            await listen(pool, build_of(path), asking("hi"))
        return await listen(pool, endless, asking("hi"))

    assert with_pool(go_on).done.usage.completion_tokens == 40


async def talk_to(program: str) -> str:
    """What ``ChildDied`` says when a child runs ``program``."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdin=pipe, stdout=pipe, stderr=pipe)
    child = Child(process, 30.0)
    try:
        while True:
            await child.receive()
    except ChildDied as death:
        return str(death)
    finally:
        await child.close()


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("print('hello, this is a library')", "sent garbage: a frame that claims"),
        ("import os; os.write(1, b'\\0\\0\\0\\x02{]')", "sent garbage"),
        ("import os; os.write(1, b'\\xff' * 100)", "sent garbage: a frame that claims 4294967295 bytes"),
        ("import os; os.write(1, bytes(3))", "ended with exit code 0"),
        ("import sys; sys.exit('x\\nGGML_ASSERT(a > b) failed\\nbye')", "exit code 1: GGML_ASSERT(a > b) failed"),
        ("import os, sys; sys.stderr.write('only\\x1b[2J'); os.abort()", "SIGABRT: only\u241b[2J"),
        ("import sys; sys.stderr.write('x' * 10**6 + '\\nerror: y')", "exit code 0: error: y"),
    ],
)
def test_a_child_that_talks_nonsense_is_ended(program: str, words: str) -> None:
    assert words in asyncio.run(talk_to(program))


def host(kind: str, sent: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-I", "-m", "nanolocal.engines.host", *kind.split()]
    return subprocess.run(command, input=sent, capture_output=True, check=False, timeout=30)


@pytest.mark.parametrize("sent", [b"\xff\xff\xff\xff", b"\0\0\0\x02{}", protocol.encode(protocol.Beat(1.0)), b"\0\0"])
def test_a_host_that_hears_nonsense_says_so_and_ends(sent: bytes) -> None:
    ended = host("text", sent)
    assert ended.returncode == 2
    assert b"the parent sent" in ended.stderr


def test_a_host_ends_with_its_input_and_says_nothing_else() -> None:
    ended = host("text", b"")
    assert ended.returncode == 0
    assert ended.stderr == b""
    frame = protocol.decode(ended.stdout[4:])
    assert isinstance(frame, protocol.Hello)
    assert [name for name, _ in frame.versions] == ["nanolocal", "llama-cpp-python"]


def test_a_host_needs_a_known_kind() -> None:
    assert host("video", b"").returncode == 2
    assert host("", b"").returncode == 2


ORPHAN = """
import asyncio, sys
from functools import partial
from pathlib import Path
from nanolocal.chat.events import TextDelta
from nanolocal.engines.pool import EnginePool
from tests.unit.engines.helpers import asking, build_of, children

LONG = {"n_ctx": 8192, "max_tokens": 8000}

async def main():
    pool = EnginePool(10**10)
    async for event in pool.run(build_of(Path(sys.argv[1])), asking("hi", **LONG), asyncio.Event()):
        if isinstance(event, TextDelta):
            print(children()[0].pid, flush=True)
            await asyncio.sleep(60)

asyncio.run(main())
"""


def test_a_dead_parent_leaves_no_orphan(endless: Build) -> None:
    command = [sys.executable, "-c", ORPHAN, str(endless.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
        parent.wait()
        deadline = time.monotonic() + 2
        while is_alive(child) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not is_alive(child)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_child_is_polite_and_closed(endless: Build) -> None:
    async def look(pool: EnginePool) -> tuple[int, str, str]:
        await listen(pool, endless, asking("hi"))
        child = children()[0]
        limits = Path(f"/proc/{child.pid}/limits").read_text(encoding="ascii")
        core = next(line for line in limits.splitlines() if line.startswith("Max core"))
        return int(child.nice()), core.split()[4], Path(f"/proc/{child.pid}/fd/1").readlink().name

    if sys.platform != "linux":
        pytest.skip("needs /proc")
    niceness, core_limit, stdout = with_pool(look)
    assert niceness == min(os.nice(0) + 5, 19)
    assert core_limit == "0"
    assert stdout.startswith("pipe:")


def test_the_environment_is_a_list_of_known_names() -> None:
    seen = child_environment({"PATH": "/bin", "NANOLOCAL_PASSPHRASE": "secret", "AWS_KEY": "k", "HF_TOKEN": "t"})
    assert seen["PATH"] == "/bin"
    assert not {"NANOLOCAL_PASSPHRASE", "AWS_KEY", "HF_TOKEN"} & seen.keys()
    assert (seen["HF_HUB_OFFLINE"], seen["GOMP_SPINCOUNT"], seen["GGML_NO_BACKTRACE"]) == ("1", "10000", "1")


@pytest.mark.parametrize(
    ("quota", "most"), [("100000 100000", 1), ("max 100000", 10**6), ("50000 100000", 1), ("x", 10**6)]
)
def test_cores_respect_the_quota_of_the_control_group(tmp_path: Path, quota: str, most: int) -> None:
    (tmp_path / "cpu.max").write_text(quota, encoding="ascii")
    assert 1 <= usable_cores(tmp_path) <= most


def test_the_parent_loads_no_engine_library() -> None:
    program = (
        "import sys\n"
        "from nanolocal.engines import diffusion, host, llama, pool\n"
        "heavy = {'llama_cpp', 'torch', 'diffusers', 'transformers', 'numpy', 'jinja2', 'PIL'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
