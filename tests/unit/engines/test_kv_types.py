"""What keys and values are kept as: the same answer from less memory."""

import asyncio
from pathlib import Path

import pytest

from nanolocal.engines import protocol
from nanolocal.engines.client import Child
from tests.fakes.blank_gguf import Shape, write_blank_gguf


async def until(child: Child, kind: type[protocol.Reply], job: int = protocol.LOADING) -> protocol.Reply:
    while not isinstance(reply := await child.receive(job), kind | protocol.Failed):
        pass
    return reply


async def answer(path: Path, kv: str) -> tuple[protocol.Reply, protocol.Reply]:
    child = await Child.start("text", 60.0)
    try:
        child.send(protocol.LoadText("blank", str(path), 8192, 1, kv))
        loaded = await until(child, protocol.Loaded)
        child.send(protocol.RunText(1, (("user", "hello"),), 8192, 4, 0.0, 1.0, 40, 0.0, 1.0, 1))
        return loaded, await until(child, protocol.Done, job=1)
    finally:
        await child.close()


@pytest.mark.parametrize(("kv", "share"), [("q8_0", 34 / 64), ("q4_0", 18 / 64)])
def test_a_smaller_type_takes_less(kv: str, share: float, tmp_path: Path) -> None:
    path = write_blank_gguf(tmp_path / "blank.gguf", Shape("llama", layers=4, kv_heads=4))
    (whole, _), (smaller, done) = asyncio.run(answer(path, "f16")), asyncio.run(answer(path, kv))
    assert isinstance(whole, protocol.Loaded) and isinstance(smaller, protocol.Loaded)
    cache = 4 * 4 * 64 * 2 * 2 * 8192
    assert whole.memory - smaller.memory == pytest.approx(cache * (1 - share), rel=0.1)
    assert isinstance(done, protocol.Done) and done.completion_tokens > 0


def test_an_unknown_type_is_refused(tmp_path: Path) -> None:
    path = write_blank_gguf(tmp_path / "blank.gguf", Shape("llama"))
    refused, _ = asyncio.run(answer(path, "q9_9"))
    assert isinstance(refused, protocol.Failed) and "q9_9" in refused.message
