"""Probes on Dask workers: real schedulers and workers in processes of their own, over TLS, on this machine."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from nanolocal.compress.work import farm
from nanolocal.compress.work.cluster import Cluster, Public, Scheduler, check_address
from nanolocal.compress.work.tasks import Base, Capture, Chunks, Probe, Result, Source, Task, Tell, Tokenize, perform
from nanolocal.errors import UsageError
from nanolocal.paths import starter_models
from tests.fakes.dask_farm import Farm, two_workers

distributed = pytest.importorskip("distributed")

MODEL = starter_models() / "nanolocal-starter-text/nanolocal-starter-text-Q8_0.gguf"
TEXT = "The market opened early. Bread and apples were sold before noon, and nobody asked for the price of the rain. "


def no_telling(fraction: float) -> None:
    """For who does not want to know."""


@dataclass(slots=True)
class Here:
    """The runner beside the cluster; counts what is left to it."""

    done: int = 0

    async def run(self, task: Task, tell: Tell) -> Result:
        self.done += 1
        return await asyncio.to_thread(perform, task, tell, 1)

    def close(self) -> None:
        """Nothing runs on."""


@dataclass(frozen=True, slots=True)
class Material:
    chunks: Chunks
    probes: tuple[Probe, ...]
    public: Public


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NANOLOCAL_HOME", str(tmp_path))


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("work")
    source = Source(str(MODEL))
    chunks = perform(Tokenize(source, TEXT * 6, n_ctx=32, most=2), no_telling, 1)
    assert isinstance(chunks, Chunks)
    perform(Base(source, chunks, str(folder / "base")), no_telling, 1)
    probes = tuple(
        Probe(source, f"blk.{layer}.{part}.weight", "Q4_0", chunks, str(folder / "base"))
        for layer in (0, 1, 2)
        for part in ("ffn_down", "attn_q")
    )
    return Material(chunks, probes, Public(chunks=(chunks,)))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with two_workers(tmp_path_factory.mktemp("farm")) as farm:
        yield farm


async def ask(farm: Farm, material: Material, probes: tuple[Probe, ...], here: Here) -> list[Result]:
    cluster = Cluster(farm.scheduler, here, material.public)
    try:
        return list(await asyncio.gather(*(cluster.run(probe, no_telling) for probe in probes)))
    finally:
        await cluster.leave()


def test_workers_find_what_this_machine_finds(two: Farm, material: Material) -> None:
    here = Here()
    found = asyncio.run(ask(two, material, material.probes, here))
    assert found == [perform(probe, no_telling, 1) for probe in material.probes]
    assert all(isinstance(value, float) and value > 0 for value in found)
    assert here.done == 0


def test_a_file_is_sent_once(two: Farm, material: Material) -> None:
    asyncio.run(ask(two, material, material.probes[:2], Here()))
    before = two.files()
    assert sorted(path.suffix for path in before) == ["", ".gguf"]
    asyncio.run(ask(two, material, material.probes[2:4], Here()))
    assert two.files() == before


def test_a_file_that_changed_at_a_worker_is_sent_again(two: Farm, material: Material) -> None:
    (wanted,) = asyncio.run(ask(two, material, material.probes[:1], Here()))
    (model,) = two.cache.rglob("*.gguf")
    whole = model.read_bytes()
    model.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert asyncio.run(ask(two, material, material.probes[:1], Here())) == [wanted]
    assert model.read_bytes() == whole


def test_text_that_is_not_public_stays_here(two: Farm, material: Material, tmp_path: Path) -> None:
    asyncio.run(ask(two, material, material.probes[:1], Here()))
    before = two.files()
    private = Chunks(tuple(tuple(reversed(chunk)) for chunk in material.chunks.tokens))
    base = str(tmp_path / "base")
    perform(Base(Source(str(MODEL)), private, base), no_telling, 1)
    statistics = tmp_path / "statistics.npz"
    statistics.write_bytes(b"made from who knows what")
    probe = material.probes[0]
    for refused in (
        replace(probe, chunks=private, base=base),
        replace(probe, base=base),
        replace(probe, imatrix=str(statistics)),
    ):
        with pytest.raises(UsageError, match="may not leave this machine"):
            asyncio.run(ask(two, material, (refused,), Here()))
    assert two.files() == before


def test_what_is_made_of_public_text_may_leave(two: Farm, material: Material, tmp_path: Path) -> None:
    source = Source(str(MODEL))
    text = TEXT * 7

    async def from_the_beginning(public: Public) -> Result:
        cluster = Cluster(two.scheduler, Here(), public)
        try:
            chunks = await cluster.run(Tokenize(source, text, n_ctx=32, most=2), no_telling)
            assert isinstance(chunks, Chunks)
            base, statistics = str(tmp_path / "base"), str(tmp_path / "statistics.npz")
            await cluster.run(Base(source, chunks, base), no_telling)
            await cluster.run(Capture(source, chunks, statistics), no_telling)
            return await cluster.run(Probe(source, "blk.0.ffn_up.weight", "Q4_K", chunks, base, statistics), no_telling)
        finally:
            await cluster.leave()

    found = asyncio.run(from_the_beginning(Public((TEXT, text), folder=tmp_path)))
    assert isinstance(found, float)
    assert found > 0
    for less in (Public((TEXT,), folder=tmp_path), Public((text,))):
        with pytest.raises(UsageError, match="may not leave"):
            asyncio.run(from_the_beginning(less))


def test_what_is_no_probe_is_done_here(two: Farm, material: Material) -> None:
    here = Here()

    async def tokenize() -> Result:
        cluster = Cluster(two.scheduler, here, material.public)
        try:
            return await cluster.run(Tokenize(Source(str(MODEL)), TEXT * 6, n_ctx=32, most=2), no_telling)
        finally:
            await cluster.leave()

    assert asyncio.run(tokenize()) == material.chunks
    assert here.done == 1


def test_a_worker_with_another_nanolocal_is_not_used(
    two: Farm, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(farm, "own_code", lambda: "another")
    with pytest.raises(UsageError, match="another nanolocal"):
        asyncio.run(ask(two, material, material.probes[:1], Here()))


def test_a_worker_that_ends_is_replaced_and_nothing_is_lost(two: Farm, material: Material) -> None:
    async def with_an_end() -> list[Result]:
        cluster = Cluster(two.scheduler, Here(), material.public)
        try:
            running = [asyncio.create_task(cluster.run(probe, no_telling)) for probe in material.probes]
            await running[0]
            victim = two.cluster.workers[0].process.pid
            os.kill(victim, signal.SIGKILL)
            return list(await asyncio.gather(*running))
        finally:
            await cluster.leave()

    wanted = [perform(probe, no_telling, 1) for probe in material.probes]
    assert asyncio.run(with_an_end()) == wanted


@pytest.mark.parametrize("address", ["tcp://192.0.2.7:8786", "tcp://example.org:8786", "http://127.0.0.1:1", "x", ""])
def test_what_is_no_safe_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError):
        check_address(address)


@pytest.mark.parametrize("address", ["tls://192.0.2.7:8786", "tcp://127.0.0.1:8786", "tcp://[::1]:8786"])
def test_tls_and_this_machine_are_safe(address: str) -> None:
    assert check_address(address) == address.startswith("tls")


def test_without_dask_the_refusal_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError) as refused:
        asyncio.run(Cluster(Scheduler("tls://192.0.2.7:8786"), Here(), Public()).join())
    assert "nanolocal[cluster]" in refused.value.hint
