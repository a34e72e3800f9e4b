"""Knowing a model on a server from its header alone."""

import struct
from pathlib import Path

import pytest

from nanolocal.errors import Damaged, TransferFailed, UsageError
from nanolocal.library.fit.blocks import FIRST_BLOCK, LARGEST_BLOCK, MAX_FETCHED, BlockFile
from nanolocal.library.fit.formula import footprint_of
from nanolocal.library.fit.layout import read_layout
from nanolocal.library.fit.remote import Remote, read_remote
from nanolocal.library.pull.ranges import open_remote
from tests.fakes.blank_gguf import Shape, write_blank_gguf
from tests.fakes.range_server import serving

LLAMA_70B = Shape("llama", 8192, 80, 64, 8, 128, 28_672, 128_256)


def read(url: str, token: str = "") -> Remote:
    with open_remote(url, token) as file:
        return read_remote([("model.gguf", file.size, file.read_range)])


def test_the_header_of_a_40_gb_model_takes_less_than_half_a_per_cent_of_it(tmp_path: Path) -> None:
    path = write_blank_gguf(tmp_path / "large.gguf", LLAMA_70B, "Q4_K_M")
    size = path.stat().st_size
    assert size > 40 * 10**9 > path.stat().st_blocks * 512 * 100
    with serving(path) as served:
        remote = read(served.url)
    assert served.sent < size * 0.005
    assert remote.fetched <= remote.layout.spans[0].data_start + LARGEST_BLOCK
    assert remote.layout == read_layout(path)
    # 80 layers x 8 heads x 128 numbers x 2 bytes x keys and values, as in Llama 3's own card: 320 KiB a token
    growth = footprint_of(remote.layout).needed(16_384) - footprint_of(remote.layout).needed(8192)
    # and for a step of 128 tokens a mask of 4 bytes, and for each of 64 heads a score, of 4 bytes and once more of 2
    assert growth == pytest.approx(8192 * (320 + 32.5 + 16) * 1024, rel=0.01)


def test_a_small_file_is_fetched_once(tmp_path: Path) -> None:
    path = write_blank_gguf(tmp_path / "small.gguf", Shape("llama", width=64, heads=1, kv_heads=1, feed_forward=64))
    with serving(path) as served:
        remote = read(served.url)
    assert served.sent == 1 + remote.fetched == 1 + min(FIRST_BLOCK, path.stat().st_size)


def test_a_token_stays_with_the_host_it_is_for(tmp_path: Path) -> None:
    path = write_blank_gguf(tmp_path / "small.gguf", Shape("llama"))
    with serving(path) as store, serving(path, redirect_to=store.url) as hub:
        read(hub.url, "secret")
    assert {token for _, token in hub.tokens} == {"Bearer secret"}
    assert {token for _, token in store.tokens} == {""}


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("whole", "whole files only"),
        ("elsewhere", "instead of"),
        ("growing", "changed on the server"),
        ("changing", "changed on the server"),
        ("short", "stopped after|cannot be read"),
        ("nonsense", "which bytes"),
        ("forbidden", r"refused access \(403\)"),
        ("circle", "without end"),
    ],
)
def test_a_server_that_does_it_wrong_is_told_on(fault: str, says: str, tmp_path: Path) -> None:
    path = write_blank_gguf(tmp_path / "small.gguf", Shape("llama", vocabulary=20_000))
    with serving(path, fault=fault) as served, pytest.raises(TransferFailed, match=says):
        read(served.url)


def test_a_redirect_out_of_the_web_is_refused(tmp_path: Path) -> None:
    path = write_blank_gguf(tmp_path / "small.gguf", Shape("llama"))
    with serving(path, redirect_to=path.as_uri()) as served, pytest.raises(TransferFailed, match="no web address"):
        read(served.url)
    with pytest.raises(UsageError, match="no web address"):
        read(path.as_uri())


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(TransferFailed, match=r"127\.0\.0\.1 cannot be read"):
        read("http://127.0.0.1:9/model.gguf")


@pytest.mark.parametrize(
    "header",
    [
        b"GGUF" + struct.pack("<IQQ", 3, 2**40, 1),
        b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", 2**60) + b"key",
        b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 1) + b"k" + struct.pack("<IIQ", 9, 4, 2**62),
        b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 1) + b"k" + struct.pack("<IIQ", 9, 9, 4),
        b"not a model",
    ],
)
def test_a_hostile_header_costs_one_block(header: bytes) -> None:
    size, asked = 40 * 10**9, []

    def read_range(start: int, end: int) -> bytes:
        asked.append(end - start)
        return (header + bytes(end - start))[start:end] if not start else bytes(end - start)

    with pytest.raises(Damaged):
        read_remote([("hostile.gguf", size, read_range)])
    assert asked == [FIRST_BLOCK]


def test_a_header_without_end_is_given_up() -> None:
    fetched = []

    def read_range(start: int, end: int) -> bytes:
        fetched.append(end - start)
        return bytes(end - start)

    blocks = BlockFile(read_range, 40 * 10**9)
    assert blocks.read(10) == bytes(10)
    blocks.seek(MAX_FETCHED)
    with pytest.raises(Damaged, match="more than 128 MiB"):
        blocks.read(1)
    assert fetched == [FIRST_BLOCK]
