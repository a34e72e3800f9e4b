"""Engines give up everything but their build: tried by real children, on the kernel that runs the tests."""

import asyncio
import ctypes
import errno
import json
import platform
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from nanolocal.chat.ports import ImageJob, PromptCache, PromptSnapshot, TextJob
from nanolocal.chat.routes import Build
from nanolocal.engines import isolation, protocol, seccomp
from nanolocal.engines.client import Child
from nanolocal.engines.pool import EnginePool
from nanolocal.errors import EngineFailed
from nanolocal.vault.promptcache import PromptCacheStore
from tests.fakes import intruder, stores
from tests.fakes.blank_gguf import Shape, write_blank_gguf
from tests.fakes.homes import home
from tests.fakes.tiny_projector import write_tiny_projector
from tests.unit.engines.helpers import Heard, asking, build_of, children, listen, with_pool
from tests.unit.engines.test_eyes import looking, picture

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux isolates")

DRAWING = ImageJob("a red boat", 64, 64, 2, 4.0, seed=7)
HARMLESS = {
    "read the build", "import a module", "read its own memory map", "write a snapshot again", "signal itself",
    "limit itself", "start a thread",
}  # fmt: skip


def kernels_landlock() -> int:
    """The ABI of this kernel, 0 for none."""
    abi: int = ctypes.CDLL(None).syscall(444, None, 0, 1)
    return max(abi, 0)


needs_landlock = pytest.mark.skipif(not kernels_landlock(), reason="this kernel has no Landlock")


# What a child that is taken over can do.


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Somebody's home with a vault, a build and snapshots in it, and sockets that answer."""
    home = tmp_path_factory.mktemp("home")
    for name in ("vault.db", "model.gguf", "prompts/one", "prompts/one.old"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_bytes(b"something")
    (home / "link").symlink_to(home / "vault.db")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind(str(home / "socket"))
        local.listen()
        yield {
            "folder": str(home),
            "secret": str(home / "vault.db"),
            "link": str(home / "link"),
            "own": str(home / "model.gguf"),
            "snapshot": str(home / "prompts" / "one"),
            "port": server.getsockname()[1],
            "socket": str(home / "socket"),
        }


def found_by_intruder(places: dict[str, Any], load: protocol.Frame | None, *calls: int) -> dict[str, str]:
    frame = "" if load is None else protocol.encode(load)[protocol.HEADER_BYTES :].decode()
    ended = subprocess.run(
        [sys.executable, "-I", intruder.__file__],
        input=json.dumps({**places, "load": frame, "calls": calls}).encode(),
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    found: dict[str, str] = json.loads(ended.stdout)
    return found


def load_of(places: dict[str, Any]) -> protocol.LoadText:
    snapshots = str(Path(places["snapshot"]).parent)
    return protocol.LoadText("it", places["own"], 512, 1, snapshots=snapshots)


@needs_landlock
def test_a_child_that_is_taken_over_finds_nothing_and_nobody(places: dict[str, Any]) -> None:
    found = found_by_intruder(places, load_of(places))
    assert {name for name, became in found.items() if became == "allowed"} == HARMLESS
    # Where nothing can be written, ENOENT is what ``tempfile`` says.
    assert {became for name, became in found.items() if name not in HARMLESS} == {"EACCES", "EPERM", "ENOENT"}


def test_a_free_child_could_do_all_of_it(places: dict[str, Any]) -> None:
    """Else the attempts would prove nothing."""
    free = found_by_intruder(places, None)
    assert {name: became for name, became in free.items() if became != "allowed"} == {}


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="no filter for this machine")
def test_every_call_that_is_given_up_is_refused_by_the_kernel(places: dict[str, Any]) -> None:
    column = ("x86_64", "aarch64").index(platform.machine())
    given_up = [number for pair in seccomp._GIVEN_UP if (number := pair[column]) is not None]
    younger = [435, 470, 500, 4000]
    found = found_by_intruder(places, load_of(places), *given_up, *younger)
    assert {found[str(number)] for number in given_up} == {"EPERM"}
    assert {found[str(number)] for number in younger} == {"ENOSYS"}


def test_a_link_in_a_pipeline_opens_a_file_and_no_folder(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "pipeline", tmp_path / "elsewhere"
    (folder / "unet").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "weights").write_bytes(b"x")
    (folder / "unet" / "weights").symlink_to(elsewhere / "weights")
    (folder / "vae").symlink_to(elsewhere)
    (folder / "gone").symlink_to(elsewhere / "gone")
    assert isolation.files_below(folder) == [folder, folder / "unet" / "weights"]


# The engines themselves, under these rules.


def test_every_thread_of_an_engine_is_bound(answering: Build, painter: Build) -> None:
    async def look(pool: EnginePool, build: Build, job: TextJob | ImageJob) -> set[tuple[str, str]]:
        await listen(pool, build, job)
        (child,) = children()
        threads = Path(f"/proc/{child.pid}/task").glob("*/status")
        states = [dict(line.split(":\t", 1) for line in status.read_text().splitlines()) for status in threads]
        assert len(states) >= 3
        return {(state["NoNewPrivs"], state["Seccomp"]) for state in states}

    assert with_pool(lambda pool: look(pool, answering, asking("hi"))) == {("1", "2")}
    assert with_pool(lambda pool: look(pool, painter, DRAWING)) == {("1", "2")}


def test_an_engine_holds_its_entry_in_proc_open(answering: Build) -> None:
    """Or the kernel, short of memory, forgets it and with it the rule that lets the engine read it."""

    async def look(pool: EnginePool) -> tuple[set[str], str]:
        await listen(pool, answering, asking("hi"))
        entry = Path(f"/proc/{children()[0].pid}")
        return {str(link.readlink()) for link in (entry / "fd").iterdir()}, str(entry)

    held, entry = with_pool(look)
    assert entry in held


@needs_landlock
def test_an_engine_takes_one_build_and_cannot_read_another(answering: Build, endless: Build, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(endless.path.read_bytes())

    async def load(*paths: Path) -> list[protocol.Reply]:
        child = await Child.start("text", 60.0)
        try:
            replies: list[protocol.Reply] = []
            for path in paths:
                child.send(protocol.LoadText("it", str(path), 512, 1))
                while isinstance(reply := await child.receive(), protocol.Progress | protocol.Hello):
                    pass
                replies.append(reply)
            return replies
        finally:
            await child.close()

    first, again, second = asyncio.run(load(answering.path, answering.path, other))
    assert isinstance(first, protocol.Loaded) and isinstance(again, protocol.Loaded)
    assert isinstance(second, protocol.Failed) and "Permission denied" in second.message


def test_a_split_build_answers_through_links_too(tmp_path: Path) -> None:
    first = write_blank_gguf(tmp_path / "blank.gguf", Shape("llama"), parts=3)
    (tmp_path / "blobs").mkdir()
    (tmp_path / "linked").mkdir()
    for number, part in enumerate(sorted(first.parent.glob("blank-*-of-*.gguf"))):
        blob = part.rename(tmp_path / "blobs" / f"{number:064x}")
        (tmp_path / "linked" / part.name).symlink_to(blob)
    (tmp_path / "store").symlink_to(tmp_path / "linked")
    build = build_of(tmp_path / "store" / first.name)
    assert with_pool(lambda pool: listen(pool, build, asking("hi", max_tokens=5))).tokens == 5


def test_a_projector_is_found_through_a_link_after_the_load(endless: Build, tmp_path: Path) -> None:
    blob = write_tiny_projector(tmp_path / "mmproj-mlp.gguf").rename(tmp_path / "blob")
    (tmp_path / "mmproj-linked.gguf").symlink_to(blob)
    build = replace(endless, projector=tmp_path / "mmproj-linked.gguf")
    assert with_pool(lambda pool: listen(pool, build, looking(picture("red")))).tokens > 0


def test_a_pipeline_in_another_programs_store_draws(painter: Build, tmp_path: Path) -> None:
    snapshot = stores.write_hf_folder(tmp_path / "hub", "org/painter", painter.path)
    assert (snapshot / "model_index.json").is_symlink()
    linked = replace(painter, path=snapshot)
    assert with_pool(lambda pool: listen(pool, linked, DRAWING)).done.pictures


class Misled(PromptCacheStore):
    """Names a place outside its folder, and looks what is there in the end."""

    found: bytes | None = None

    def reserve(self, size: int) -> PromptSnapshot | None:
        place = super().reserve(size)
        assert place is not None
        (outside := place.path.parent.with_name("outside")).touch(0o600)
        return replace(place, path=outside)

    def drop(self, snapshot: PromptSnapshot) -> None:
        self.found = snapshot.path.read_bytes()
        super().drop(snapshot)


def long_turn(build: Build, cache: PromptCache, chat_id: str) -> Heard:
    """In a pool, and so in a child, of its own."""
    job = replace(asking("a" * 600, max_tokens=8), chat_id=chat_id)

    async def run() -> Heard:
        pool = EnginePool(10**10, threads=1, cache=cache)
        try:
            return await listen(pool, build, job)
        finally:
            await pool.close()

    return asyncio.run(run())


def test_a_snapshot_is_written_by_one_child_and_read_by_the_next(endless: Build, tmp_path: Path) -> None:
    with home(tmp_path / "home") as here:
        cache = PromptCacheStore(here.vault.database, 1000)
        chat_id, _, _ = here.turn("hello", "yes?")
        before, after = (long_turn(endless, cache, chat_id) for _ in range(2))
    assert before.done.usage.cached_tokens == 0 < after.done.usage.cached_tokens
    assert after.text == before.text


@needs_landlock
def test_a_snapshot_goes_nowhere_else(endless: Build, tmp_path: Path) -> None:
    with home(tmp_path / "home") as here:
        cache = Misled(here.vault.database, 1000)
        chat_id, _, _ = here.turn("hello", "yes?")
        assert long_turn(endless, cache, chat_id).tokens == 8
        assert cache.found == b""
        assert cache.find(endless.sha256, chat_id) is None


def test_a_build_that_is_gone_is_still_named(tmp_path: Path) -> None:
    gone = replace(build_of(tmp_path), id="gone:f32", path=tmp_path / "gone.gguf")
    with pytest.raises(EngineFailed, match=r"gone\.gguf is missing"):
        with_pool(lambda pool: listen(pool, gone, asking("hi")))


# What is in force is asked, not guessed.


def test_a_child_tells_what_is_in_force() -> None:
    told = isolation.ask()
    assert told.landlock == kernels_landlock()
    assert told.has_filter == (platform.machine() in ("x86_64", "aarch64"))
    assert bool(told.problems) == (not told.landlock or not told.has_filter)


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(isolation.SWITCH, "off")
    assert isolation.ask() == isolation.Isolation(problems=("switched off by NANOLOCAL_ISOLATION",))


OLD_KERNEL = """
import ctypes, errno, os, sys
from nanolocal.engines import seccomp, syscalls
from nanolocal.engines.seccomp import _instruction, _for, _LOAD, _NUMBER_AT, _FIRST_ARGUMENT_AT, _IF_EQUAL, _RETURN
prctl = [157, 167][os.uname().machine == "aarch64"]
program = [
    _instruction(_LOAD, _NUMBER_AT),
    *_for(444, [_instruction(_RETURN, seccomp._FAIL | errno.ENOSYS)]),
    *_for(prctl, [
        _instruction(_LOAD, _FIRST_ARGUMENT_AT), *_for(22, [_instruction(_RETURN, seccomp._FAIL | errno.EINVAL)])
    ]),
    _instruction(_RETURN, seccomp._ALLOW),
]
seccomp._program = lambda *_: program
seccomp.restrict()
os.execv(sys.executable, [sys.executable, "-I", "-m", *sys.argv[1:]])
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="no filter for this machine")
def test_an_old_kernel_is_named_and_engines_run_on_it(answering: Build) -> None:
    command = [sys.executable, "-I", "-c", OLD_KERNEL]
    told = subprocess.run([*command, "nanolocal.engines.isolation"], capture_output=True, check=True).stdout
    problems = ["Landlock: this kernel has none", "seccomp: this kernel has none"]
    assert json.loads(told) == {"landlock": 0, "has_filter": False, "problems": problems}
    with subprocess.Popen(
        [*command, "nanolocal.engines.host", "text"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(protocol.encode(protocol.LoadText("it", str(answering.path), 512, 1)))
        child.stdin.write(protocol.encode(protocol.Leave()))
        child.stdin.flush()
        heard = [type(reply) for reply in iter(partial(protocol.read_frame, cast("BinaryIO", child.stdout)), None)]
    assert protocol.Loaded in heard
    assert heard[-1] is protocol.Left


# The filter, also of the machine that the tests do not run on.


def verdict(program: list[bytes], machine: int, number: int, first: int = 0) -> int:
    """What the filter says, as the kernel would run it."""
    data = struct.pack("=IIQQ", number, machine, 0, first)
    at, held = 0, 0
    while True:
        code, if_true, if_false, value = struct.unpack("=HBBI", program[at])
        at += 1
        match code:
            case 0x20:
                held = struct.unpack_from("=I", data, value)[0]
            case 0x06:
                return int(value)
            case 0x15 | 0x35 | 0x45:
                holds = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}[code]
                at += if_true if holds else if_false


ALLOWED, REFUSED, UNKNOWN, KILLED = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS, 0x80000000
THREAD, FORK, OWN = 0x3D0F00, 0x1200011, 77


@pytest.mark.parametrize(
    ("name", "number", "first", "expected"),
    [
        ("x86_64", 0, 0, ALLOWED),  # read
        ("x86_64", 257, 0, ALLOWED),  # openat
        ("x86_64", 202, 0, ALLOWED),  # futex
        ("x86_64", 41, 2, REFUSED),  # socket
        ("x86_64", 59, 0, REFUSED),  # execve
        ("x86_64", 56, THREAD, ALLOWED),  # clone
        ("x86_64", 56, FORK, REFUSED),
        ("x86_64", 435, 0, UNKNOWN),  # clone3
        ("x86_64", 62, OWN, ALLOWED),  # kill
        ("x86_64", 62, 0, ALLOWED),
        ("x86_64", 62, OWN + 1, REFUSED),
        ("x86_64", 62, 2**64 - 1, REFUSED),
        ("x86_64", 0x40000000 + 41, 2, UNKNOWN),  # socket by its x32 number
        ("aarch64", 63, 0, ALLOWED),  # read
        ("aarch64", 56, FORK, ALLOWED),  # openat
        ("aarch64", 59, 0, ALLOWED),  # pipe2
        ("aarch64", 98, 0, ALLOWED),  # futex
        ("aarch64", 198, 2, REFUSED),  # socket
        ("aarch64", 221, 0, REFUSED),  # execve
        ("aarch64", 220, THREAD, ALLOWED),  # clone
        ("aarch64", 220, FORK, REFUSED),
        ("aarch64", 435, 0, UNKNOWN),  # clone3
        ("aarch64", 129, OWN, ALLOWED),  # kill
        ("aarch64", 129, OWN + 1, REFUSED),
        ("aarch64", 470, 0, UNKNOWN),
    ],
)
def test_the_filter_of_each_machine(name: str, number: int, first: int, expected: int) -> None:
    column, machine = seccomp._MACHINES[name]
    program = seccomp._program(column, machine, OWN)
    assert verdict(program, machine, number, first) == expected
    assert verdict(program, machine ^ 1, number, first) == KILLED
