"""The parts of the formula that can be checked by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from nanolocal.formats.gguf import Tensor
from nanolocal.library.fit.caches import caches_of
from nanolocal.library.fit.formula import footprint_of, weights_of
from nanolocal.library.fit.layout import Layout, read_layout
from nanolocal.library.fit.repacking import Q4_K, Q8_0, is_copied, rows_for
from nanolocal.library.fit.speed import tokens_per_second, weights_read
from tests.fakes.blank_gguf import Shape, write_blank_gguf
from tests.fakes.shapes import SHAPES


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
    assert caches.size_bytes(8192) == 7 * per_layer * 8192
    assert caches.size_bytes(8192, full_window=False) == per_layer * 8192 + 6 * per_layer * 768


def test_the_pattern_in_a_file_wins_over_the_usual_one(tmp_path: Path) -> None:
    more = {"attention.sliding_window": 512, "attention.sliding_window_pattern": [1, 0, 0, 1]}
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


def test_all_parts_of_a_split_file_count(tmp_path: Path) -> None:
    whole = layout_of(tmp_path, Shape("llama"))
    first, second = whole.spans[0], replace(whole.spans[0], tensors=whole.tensors[:3])
    assert Layout(whole.facts, (first, second)).size_bytes == 2 * whole.size_bytes
    assert len(Layout(whole.facts, (first, second)).tensors) == len(whole.tensors) + 3
