"""The parts of the formula that can be checked by hand."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.chat.routes import Build, Kind, cells_for
from nanolocal.formats.gguf import GGUFFacts, Tensor
from nanolocal.library.fit.caches import caches_of
from nanolocal.library.fit.formula import footprint_of, weights_of
from nanolocal.library.fit.layout import Layout, Span, read_layout
from nanolocal.library.fit.offload import layers_that_fit, on_device
from nanolocal.library.fit.repacking import Q4_K, Q8_0, is_copied, rows_for
from nanolocal.library.fit.speed import tokens_per_second, weights_read
from nanolocal.library.library import Library
from nanolocal.routing.gates import memory_needed
from tests.fakes.blank_gguf import Shape, Value, write_blank_gguf
from tests.fakes.shapes import SHAPES

_KEYS = (
    "attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.key_length_mla",
    "attention.kv_lora_rank", "attention.sliding_window", "attention.sliding_window_pattern", "embedding_length",
    "expert_count", "expert_feed_forward_length", "expert_used_count", "feed_forward_length", "full_attention_interval",
    "kda.head_dim", "nextn_predict_layers", "shortconv.l_cache", "ssm.conv_kernel", "ssm.group_count", "ssm.inner_size",
    "ssm.state_size", "wkv.head_size", "attention.shared_kv_layers",
)  # fmt: skip
_NAMES = ("llama", "gemma3", "gemma4", "lfm2", "qwen35", "nemotron_h", "rwkv7", "falcon-h1", "grok", "unheard-of")


def layout_of(tmp_path: Path, shape: Shape, quantization: str = "Q8_0") -> Layout:
    return read_layout(write_blank_gguf(tmp_path / "model.gguf", shape, quantization))


def test_full_attention_keeps_every_key_and_value(tmp_path: Path) -> None:
    caches = caches_of(layout_of(tmp_path, Shape("llama", layers=3, kv_heads=2, head=64)))
    assert (caches.keys, caches.values) == (3 * 2 * 64, 3 * 2 * 64)
    assert caches.size_bytes(1000) == 1024 * 2 * 3 * 2 * 64 * 2
    assert caches.size_bytes(1000, "q8_0") == caches.size_bytes(1000) * 34 // 64
    assert caches.size_bytes(1000, "q4_0") == caches.size_bytes(1000) * 18 // 64


def test_a_window_caps_what_its_layers_keep_only_if_nothing_is_to_be_rewound(tmp_path: Path) -> None:
    caches = caches_of(layout_of(tmp_path, SHAPES["window, all but every sixth"]))
    per_layer = 2 * 2 * 64 * 2
    assert caches.window == 512
    assert caches.size_bytes(3072) == 7 * per_layer * 3072
    assert caches.size_bytes(3072, full_window=False) == per_layer * 3072 + 6 * per_layer * 768


@pytest.mark.parametrize(("n_ctx", "cells"), [(1, 256), (2000, 2304), (2049, 2304), (3072, 3072), (8192, 8448)])
def test_no_row_of_cells_is_a_multiple_of_4_kib(n_ctx: int, cells: int) -> None:
    assert cells_for(n_ctx) == cells


def test_the_pattern_in_a_file_wins_over_the_usual_one(tmp_path: Path) -> None:
    more: dict[str, Value] = {"attention.sliding_window": 512, "attention.sliding_window_pattern": [1, 0, 0, 1]}
    caches = caches_of(layout_of(tmp_path, Shape("gemma2", layers=4, is_tied=True, more=more)))
    assert (caches.keys, caches.window_keys) == (2 * 128, 2 * 128)


def test_latent_attention_keeps_one_key_and_no_value(tmp_path: Path) -> None:
    caches = caches_of(layout_of(tmp_path, SHAPES["latent"]))
    assert (caches.keys, caches.values) == (2 * 320, 0)


def test_recurrent_layers_take_the_same_whatever_the_context(tmp_path: Path) -> None:
    caches = caches_of(layout_of(tmp_path, SHAPES["state"]))
    assert caches.size_bytes(2**20) == caches.size_bytes(256) == 2 * 4 * (3 * (512 + 2 * 64) + 64 * 512)


def test_layers_without_key_heads_keep_nothing_of_each_token(tmp_path: Path) -> None:
    caches = caches_of(layout_of(tmp_path, SHAPES["convolution or attention"]))
    assert (caches.keys, caches.state_bytes) == (2 * 2 * 64, 2 * 4 * 256 * 2)


@pytest.mark.parametrize(
    ("machine", "flags", "kind", "rows", "expected"),
    [
        ("x86_64", {"avx2"}, Q4_K, 64, True),
        ("x86_64", {"avx2"}, Q4_K, 63, False),
        ("x86_64", {"avx2"}, Q8_0, 64, False),
        ("x86_64", {"sse4_2"}, Q4_K, 64, False),
        ("x86_64", {"avx2", "amx_int8"}, Q8_0, 64, True),
        ("aarch64", {"asimddp"}, Q8_0, 64, True),
        ("aarch64", {"fp"}, Q8_0, 64, False),
        ("riscv64", {"avx2"}, Q4_K, 64, False),
    ],
)
def test_weights_are_copied_where_the_processor_likes_another_order(
    machine: str, flags: set[str], kind: int, rows: int, expected: bool
) -> None:
    matrix = Tensor("blk.0.ffn_up.weight", kind, (256, rows), 0, 1000)
    assert is_copied(matrix, rows_for(machine, flags)) is expected


def test_rows_that_are_looked_up_and_lists_are_never_copied() -> None:
    rows = rows_for("x86_64", {"avx2"})
    assert not is_copied(Tensor("token_embd.weight", Q4_K, (256, 64), 0, 1), rows)
    assert not is_copied(Tensor("blk.0.attn_k_b.weight", Q4_K, (256, 64, 4), 0, 1), rows)
    assert is_copied(Tensor("blk.0.ffn_up_exps.weight", Q4_K, (256, 64, 4), 0, 1), rows)


def test_copies_come_on_top_of_the_file_but_its_pages_can_be_taken_back(tmp_path: Path) -> None:
    layout = layout_of(tmp_path, Shape("llama", width=512), "Q4_K_M")
    plain, copying = footprint_of(layout, rows={}), footprint_of(layout, rows={Q4_K: 8})
    copied = weights_of(layout, {Q4_K: 8}).copied
    assert copied == sum(tensor.size_bytes for tensor in layout.tensors if tensor.kind == Q4_K) > 0
    assert copying.peak(4096) > plain.peak(4096)
    assert copying.needed(4096) == plain.needed(4096)


def test_a_shared_embedding_is_copied_for_predicting(tmp_path: Path) -> None:
    layout = layout_of(tmp_path, Shape("llama", vocabulary=1024, is_tied=True))
    embedding = next(tensor for tensor in layout.tensors if tensor.name == "token_embd.weight")
    with_it = weights_of(layout, {Q8_0: 8}).copied
    others = sum(t.size_bytes for t in layout.tensors if t.kind == Q8_0 and t is not embedding)
    assert with_it == others + embedding.size_bytes


def test_a_token_reads_the_experts_it_uses_and_one_row_of_the_embedding(tmp_path: Path) -> None:
    layout = layout_of(tmp_path, SHAPES["experts"])
    experts = sum(tensor.size_bytes for tensor in layout.tensors if "_exps." in tensor.name)
    embedding = next(tensor.size_bytes for tensor in layout.tensors if tensor.name == "token_embd.weight")
    whole = sum(tensor.size_bytes for tensor in layout.tensors)
    assert weights_read(layout) == whole - embedding - experts * 6 // 8
    assert tokens_per_second(weights_read(layout), 10.0 * weights_read(layout)) == 10.0


def test_layers_move_to_a_device_from_the_end_and_the_embedding_stays(tmp_path: Path) -> None:
    layout = layout_of(tmp_path, Shape("llama", layers=4))
    sizes = {tensor.name: tensor.size_bytes for tensor in layout.tensors}
    output = sizes["output.weight"] + sizes["output_norm.weight"]
    layer = sum(size for name, size in sizes.items() if name.startswith("blk.3."))
    cache = caches_of(layout).size_bytes(4096) // 4
    moved = [on_device(layout, layers, 4096) for layers in (0, 1, 2, 5, 99)]
    assert moved == [0, output, output + layer + cache, output + 4 * (layer + cache), output + 4 * (layer + cache)]
    scratch = 512 * 2**20
    sizes_free: tuple[list[int], ...] = (
        [],
        [0],
        [scratch],
        [scratch + moved[1]],
        [scratch + moved[2]],
        [scratch + layer, scratch + moved[3]],
    )
    assert [layers_that_fit(layout, free, 4096) for free in sizes_free] == [0, 0, 0, 1, 2, 5]


@given(st.dictionaries(st.sampled_from(_KEYS), st.integers(-(2**63), 2**64 - 1)), st.sampled_from(_NAMES))
def test_no_header_breaks_the_arithmetic(numbers: dict[str, int], name: str) -> None:
    metadata = {f"{name}.{key}": value for key, value in numbers.items()} | {f"{name}.block_count": 40}
    facts = GGUFFacts({"general.architecture": name, **metadata}, {"tokenizer.ggml.tokens": 2**24}, 0, 0)
    footprint = footprint_of(Layout(facts, (Span(100, 50, ()),)))
    assert min(footprint.needed(8192), footprint.peak(8192), footprint.per_token, footprint.read) >= 0


def test_a_build_remembers_what_it_takes(tmp_path: Path) -> None:
    folder, index = tmp_path / "models", tmp_path / "cache" / "builds.json"
    write_blank_gguf(folder / "blank-Q4_K_M.gguf", Shape("llama"), "Q4_K_M")
    first = Library([folder], index).builds()[0].footprint
    assert first == footprint_of(read_layout(folder / "blank-Q4_K_M.gguf"))
    table = json.loads(index.with_name("descriptions.json").read_text(encoding="utf-8"))
    for row in table["rows"].values():
        row["footprint"][3] += 1000
    index.with_name("descriptions.json").write_text(json.dumps(table), encoding="utf-8")
    kept = Library([folder], index).builds()[0].footprint
    assert first is not None and kept == replace(first, held=first.held + 1000)


def test_the_router_counts_with_it(tmp_path: Path) -> None:
    layout = layout_of(tmp_path, Shape("llama", layers=4, kv_heads=4, head=128))
    build = Build("blank:Q8_0", "blank", Kind.TEXT, tmp_path / "model.gguf", "Q8_0", layout.size_bytes, "sha")
    known = replace(build, footprint=footprint_of(layout))
    assert memory_needed(known, 32_768) == footprint_of(layout).needed(32_768)
    assert memory_needed(known, 32_768) - memory_needed(known, 8192) > 24_576 * 4 * 4 * 128 * 2 * 2
    assert memory_needed(build, 8192) == int(layout.size_bytes * 1.15) + 64 * 2**20
