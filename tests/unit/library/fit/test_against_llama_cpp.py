"""The formula next to what llama.cpp itself reports for the same file."""

import re
from pathlib import Path

import pytest

from nanolocal.chat.routes import cells_for
from nanolocal.engines.ggml import Model, backend
from nanolocal.errors import EngineFailed
from nanolocal.library.fit.caches import caches_of
from nanolocal.library.fit.compute import compute_of
from nanolocal.library.fit.formula import BATCH, ROWS, footprint_of, weights_of
from nanolocal.library.fit.layout import read_layout
from nanolocal.library.fit.probe import Probed, probe, stand_in
from nanolocal.library.fit.remote import Header
from nanolocal.library.fit.repacking import rows_here
from tests.fakes.blank_gguf import write_blank_gguf
from tests.fakes.shapes import SHAPES

_PRINTED = 2**20 / 100
"""llama.cpp prints sizes in MiB with two places."""


@pytest.mark.parametrize("kind", SHAPES)
def test_caches_are_exact_and_scratch_memory_is_close(kind: str, tmp_path: Path) -> None:
    path = write_blank_gguf(tmp_path / "model.gguf", SHAPES[kind])
    layout = read_layout(path)
    caches = caches_of(layout)
    for n_ctx, kv in ((2000, "f16"), (8192, "f16"), (8192, "q8_0")):
        compute = compute_of(layout, caches, BATCH, ROWS, flash=kv != "f16")
        said = probe(path, layout, n_ctx, kv)
        growing = caches.size_bytes(n_ctx, kv) - caches.state_bytes
        assert abs(said.cache - growing) <= 2 * _PRINTED
        computed = compute.fixed + compute.per_cell * cells_for(n_ctx)
        assert -0.25 * 2**20 <= computed - said.compute <= 1.5 * 2**20
        # the state of recurrent layers is the one buffer that is really made, so it is in the process already
        assert said.on_devices == 0


@pytest.mark.parametrize("kind", ["full attention", "window, all but every sixth", "state", "latent"])
def test_the_whole_is_within_three_per_cent(kind: str, tmp_path: Path) -> None:
    path = write_blank_gguf(tmp_path / "model.gguf", SHAPES[kind], "Q4_K_M")
    layout = read_layout(path)
    said, computed = probe(path, layout, 4096), footprint_of(layout)
    assert computed.needed(4096) == pytest.approx(said.needed(layout, 4096), rel=0.03)
    assert computed.peak(4096) == pytest.approx(said.peak(layout, 4096), rel=0.03)


@pytest.mark.parametrize("quantization", ["F16", "Q8_0", "Q4_0", "Q4_K_M"])
def test_as_many_weights_are_copied_as_llama_cpp_says(quantization: str, tmp_path: Path) -> None:
    path = write_blank_gguf(tmp_path / "model.gguf", SHAPES["full attention"], quantization)
    said: list[str] = []
    with backend().heard_by(said.append):
        Model(path, lambda _: None).close()
    sizes = re.findall(r"(?:CPU_REPACK|AMX) model buffer size = +([0-9.]+) MiB", "".join(said))
    copied = weights_of(read_layout(path), rows_here()).copied
    assert sum(map(float, sizes)) * 2**20 == pytest.approx(copied, abs=2 * _PRINTED)


def test_a_header_alone_says_the_same(tmp_path: Path) -> None:
    path = write_blank_gguf(tmp_path / "model.gguf", SHAPES["full attention"])
    layout = read_layout(path)
    with path.open("rb") as file:
        header = Header(path.name, file.read(layout.spans[0].data_start), layout.size_bytes)
    with stand_in([header]) as empty:
        mode, kept = empty.stat().st_mode, empty
        said = probe(empty, layout, 4096)
    assert mode & 0o077 == 0 and not kept.exists()
    whole = probe(path, layout, 4096)
    assert (said.cache, said.compute, said.output) == (whole.cache, whole.compute, whole.output)


def test_a_split_model_takes_what_the_whole_one_takes(tmp_path: Path) -> None:
    whole = write_blank_gguf(tmp_path / "whole.gguf", SHAPES["full attention"], "Q4_K_M")
    first = write_blank_gguf(tmp_path / "split.gguf", SHAPES["full attention"], "Q4_K_M", parts=3)
    one, three = read_layout(whole), read_layout(first)
    assert len(three.spans) == 3
    assert sorted(tensor.name for tensor in three.tensors) == sorted(tensor.name for tensor in one.tensors)
    assert footprint_of(three).needed(4096) == pytest.approx(footprint_of(one).needed(4096), rel=0.001)
    said = probe(first, three, 4096)
    assert (said.cache, said.compute) == (probe(whole, one, 4096).cache, probe(whole, one, 4096).compute)


def test_an_answer_is_kept_until_the_file_changes(tmp_path: Path) -> None:
    path, cache = tmp_path / "model.gguf", tmp_path / "probes.json"
    layout = read_layout(write_blank_gguf(path, SHAPES["full attention"]))
    first = probe(path, layout, 2048, cache=cache)
    kept = cache.read_text(encoding="utf-8")
    invented = Probed(1, 2, 3, 4, 5, 6, 7)
    cache.write_text(kept.replace(f'"cache":{first.cache}', '"cache":77'), encoding="utf-8")
    assert probe(path, layout, 2048, cache=cache).cache == 77
    cache.write_text('{"x": [' * 5, encoding="utf-8")
    again = probe(path, layout, 2048, cache=cache)
    assert again.cache == first.cache != invented.cache
    other = read_layout(write_blank_gguf(path, SHAPES["normed heads"]))
    assert probe(path, other, 2048, cache=cache).cache != first.cache


def test_what_llama_cpp_does_not_take_is_named(tmp_path: Path) -> None:
    path = write_blank_gguf(tmp_path / "model.gguf", SHAPES["full attention"])
    content = path.read_bytes().replace(b"llama", b"lambda"[:5])
    path.write_bytes(content)
    with pytest.raises(EngineFailed, match="unknown model architecture"):
        probe(path, read_layout(path), 2048)
