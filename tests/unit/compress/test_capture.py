"""What is summed up of activations, checked by what must hold between tensors and against numpy."""

from pathlib import Path

import numpy as np
import pytest

from nanolocal.compress.measuring.capture import Collector, read_statistics
from nanolocal.compress.work.tasks import Capture, Captured, Source, perform
from nanolocal.errors import Damaged, UsageError
from tests.fakes.lab_gguf import EXPERTS, USED, write_lab_gguf
from tests.unit.compress.conftest import HESSIANS, Bench, say_nothing


@pytest.fixture(scope="module")
def experts(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> tuple[Captured, Path]:
    folder = tmp_path_factory.mktemp("experts")
    source = Source(str(write_lab_gguf(folder / "experts.gguf", experts=True)))
    out = folder / "statistics.npz"
    hessians = ("blk.0.ffn_gate_exps.weight", "blk.0.ffn_up_exps.weight")
    captured = perform(Capture(source, bench.chunks, str(out), hessians), say_nothing, 1)
    assert isinstance(captured, Captured)
    return captured, out


def test_every_matrix_is_seen_for_every_token(bench: Bench) -> None:
    statistics = read_statistics(Path(bench.statistics))
    tokens = len(bench.chunks.tokens) * bench.chunks.length
    assert statistics.tokens == tokens
    assert len(statistics.imatrix) == 2 * 7 + 1
    assert all(entry.counts.tolist() == [tokens] for entry in statistics.imatrix.values())


def test_hessians_are_sums_of_products(bench: Bench) -> None:
    statistics = read_statistics(Path(bench.statistics))
    assert set(statistics.hessians) == set(HESSIANS)
    for name in HESSIANS:
        hessian = statistics.hessian(name)
        assert hessian is not None
        assert np.allclose(hessian, hessian.T)
        assert np.allclose(np.diag(hessian), statistics.imatrix[name].in_sum2[0], rtol=1e-4)
        assert np.linalg.eigvalsh(hessian.astype(np.float64)).min() > -1e-3 * np.diag(hessian).mean()
    assert statistics.hessian("blk.0.attn_v.weight") is None


def test_tensors_with_the_same_input_share_a_hessian(bench: Bench) -> None:
    with np.load(bench.statistics) as file:
        assert sorted(name for name in file.files if name.startswith("hessian/")) == [
            "hessian/blk.0.attn_q.weight",
            "hessian/blk.1.ffn_down.weight",
        ]


def test_rows_that_are_looked_up_are_counted(bench: Bench) -> None:
    counts = read_statistics(Path(bench.statistics)).rows["token_embd.weight"]
    tokens = np.concatenate([np.array(chunk) for chunk in bench.chunks.tokens])
    assert (counts == np.bincount(tokens, minlength=len(counts))).all()


def test_experts_are_counted_one_by_one(experts: tuple[Captured, Path]) -> None:
    """Each token goes through as many experts as are used, with the input that the gate saw too."""
    statistics = read_statistics(experts[1])
    gate = statistics.imatrix["blk.0.ffn_gate_inp.weight"]
    for name in ("gate", "up"):
        entry = statistics.imatrix[f"blk.0.ffn_{name}_exps.weight"]
        assert entry.in_sum2.shape == (EXPERTS, 256)
        assert entry.counts.sum() == USED * statistics.tokens
        assert np.allclose(entry.in_sum2.sum(axis=0), USED * gate.in_sum2[0], rtol=1e-4)
    down = statistics.imatrix["blk.0.ffn_down_exps.weight"]
    assert (down.counts == statistics.imatrix["blk.0.ffn_up_exps.weight"].counts).all()
    hessian = statistics.hessian("blk.0.ffn_up_exps.weight")
    assert hessian is not None
    assert hessian.shape == (EXPERTS, 256, 256)
    diagonals = np.diagonal(hessian, axis1=1, axis2=2)
    assert np.allclose(diagonals, statistics.imatrix["blk.0.ffn_up_exps.weight"].in_sum2, rtol=1e-4)


def test_experts_that_nothing_went_through_are_missing(experts: tuple[Captured, Path]) -> None:
    statistics = read_statistics(experts[1])
    silent = {name for name, entry in statistics.imatrix.items() if not entry.counts.all()}
    assert set(experts[0].missing) == silent


def test_a_collector_says_what_it_has_not_seen() -> None:
    collector = Collector({"a.weight": (4, 2), "b.weight": (4, 2, 3), "c_norm.weight": (4,)})
    rows = np.ones((5, 4), np.float32)
    collector.routed("b.weight", rows[:, None], np.zeros((5, 1), np.int32), "b.weight")
    assert collector.missing() == ("a.weight", "b.weight")
    weights = collector.statistics(5).imatrix["b.weight"].weights()
    assert weights.tolist() == [[1.0] * 4] * 3
    collector.multiplied("a.weight", 2 * rows, "a.weight")
    assert collector.statistics(5).imatrix["a.weight"].weights().tolist() == [[4.0] * 4]
    assert collector.missing() == ("b.weight",)


def test_stacks_that_are_multiplied_whole_are_counted_once() -> None:
    collector = Collector({"k.weight": (4, 2, 3)}, frozenset({"k.weight"}))
    collector.multiplied_by_matrix("k.weight", np.arange(6 * 5 * 4, dtype=np.float32).reshape(6, 5, 4))
    entry = collector.statistics(5).imatrix["k.weight"]
    assert entry.counts.tolist() == [10]
    assert entry.weights().shape == (3, 4)


def test_numbers_that_are_none_are_refused() -> None:
    collector = Collector({"a.weight": (2, 2)})
    collector.multiplied("a.weight", np.full((1, 2), np.nan, np.float32), "a.weight")
    with pytest.raises(Damaged, match=r"no numbers at a\.weight"):
        collector.statistics(1)


def test_unknown_tensors_and_files_are_refused(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no tensor 'nothing'"):
        perform(Capture(bench.source, bench.chunks, str(tmp_path / "x.npz"), ("nothing",)), say_nothing, 1)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "y.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(Damaged, match="no statistics"):
        read_statistics(tmp_path / "y.npz")
    with pytest.raises(UsageError, match="there is no"):
        read_statistics(tmp_path / "z.npz")
