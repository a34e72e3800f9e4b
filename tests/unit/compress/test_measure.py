"""The file of the original's probabilities, and the figures that come of it."""

import struct
from pathlib import Path

import numpy as np
import pytest

from nanolocal.compress.measuring.logits import BaseFile, BaseWriter, file_bytes
from nanolocal.compress.measuring.measure import Tokens, compared, difference, divergence_of, read_tokens
from nanolocal.compress.native.model import LabModel
from nanolocal.compress.work.tasks import Chunks, Divergence, DryRun, Measure, Plan, Probe, Quantize, perform
from nanolocal.errors import Damaged, UsageError
from tests.unit.compress.conftest import Bench, say_nothing

RANDOM = np.random.default_rng(5)
CHUNKS = Chunks(((1, 2, 3, 4, 5, 6), (6, 5, 4, 3, 2, 1)))


def softmax(scores: np.ndarray) -> np.ndarray:
    wide = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    found: np.ndarray = wide / wide.sum(axis=1, keepdims=True)
    return found


@pytest.mark.parametrize("vocabulary", [6, 7])
def test_the_file_is_laid_out_as_llama_perplexity_has_it(vocabulary: int, tmp_path: Path) -> None:
    scores = (RANDOM.standard_normal((4, vocabulary)) * 3).astype(np.float32)
    scores[3] = 1  # all the same: no scale
    with BaseWriter(tmp_path / "b", CHUNKS, vocabulary) as writer:
        writer.write(scores[:3])
        writer.write(scores[3:])
    data = (tmp_path / "b").read_bytes()
    assert data[:20] == b"_logits_" + struct.pack("<3i", 6, vocabulary, 2)
    assert data[20:68] == struct.pack("<12i", *CHUNKS.tokens[0], *CHUNKS.tokens[1])
    width = 2 * ((vocabulary + 1) // 2) + 4
    assert len(data) == file_bytes(CHUNKS, vocabulary) == 68 + 4 * 2 * width
    rows = np.frombuffer(data[68:], "<u2").reshape(4, width)
    for row, expected in zip(rows, np.log(softmax(scores)), strict=True):
        scale, least = struct.unpack("<ff", row[:4].tobytes())
        assert np.allclose(scale * row[4 : 4 + vocabulary] + least, expected, atol=2e-4)


def test_probabilities_are_kept_down_to_sixteen_below_the_largest(tmp_path: Path) -> None:
    scores = np.array([[0, -10, -15.9, -40]] * 4, np.float32)
    with BaseWriter(tmp_path / "b", CHUNKS, 4) as writer:
        writer.write(scores)
    found = BaseFile.open(tmp_path / "b").log_probabilities(0)
    assert np.allclose(found[0], [0, -10, -15.9, -16], atol=1e-3)


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b"
    with pytest.raises(UsageError, match="there is no"):
        BaseFile.open(path)
    with BaseWriter(path, CHUNKS, 6) as writer:
        writer.write(np.zeros((4, 6), np.float32))
    whole = path.read_bytes()
    for broken in (b"", b"_logits_", whole[:-2], whole + b"x", b"_LOGITS_" + whole[8:], whole[:8] + b"\xff" * 12):
        path.write_bytes(broken)
        with pytest.raises(Damaged):
            BaseFile.open(path)


def test_too_large_a_file_is_not_begun(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="would take"):
        BaseWriter(tmp_path / "b", Chunks((tuple(range(8192)),)), 2**31)
    assert not (tmp_path / "b").exists()


def test_figures_of_each_token_are_those_of_the_textbook() -> None:
    base, scores = RANDOM.standard_normal((2, 9, 30)).astype(np.float32) * 2
    tokens = RANDOM.integers(0, 30, 9)
    p, q = softmax(base), softmax(scores)
    kld, nll, nll_base, agrees, dp = compared(np.log(p).astype(np.float32), scores, tokens.tolist())
    came = np.arange(9), tokens
    assert np.allclose(kld, (p * np.log(p / q)).sum(axis=1), atol=1e-5)
    assert np.allclose(nll, -np.log(q[came]), atol=1e-5)
    assert np.allclose(nll_base, -np.log(p[came]), atol=1e-5)
    assert np.allclose(dp, q[came] - p[came], atol=1e-6)
    assert (agrees == (p.argmax(axis=1) == q.argmax(axis=1))).all()


def test_figures_of_all_tokens(tmp_path: Path) -> None:
    kld = np.arange(1000, dtype=np.float64).reshape(10, 100) / 1000
    tokens = Tokens(
        kld, np.full_like(kld, 2), np.full_like(kld, 1.5), np.where(kld < 0.25, 1.0, 0.0), np.full_like(kld, -0.1)
    )
    tokens.save(tmp_path / "t.npy")
    found = divergence_of(read_tokens(tmp_path / "t.npy"))
    assert found.tokens == 1000
    assert found.mean == pytest.approx(0.4995)
    assert found.error == pytest.approx(kld.std() / 999**0.5)
    assert found.p99 == pytest.approx(0.98901)
    assert found.p999 == pytest.approx(0.998001)
    assert found.ppl_ratio == pytest.approx(np.exp(0.5))
    assert found.top1 == 0.25
    assert found.rms_dp == pytest.approx(0.1)


def test_a_difference_is_sure_only_where_chunks_agree() -> None:
    noise = RANDOM.standard_normal((16, 50))
    one = 1 + noise * 0.3
    mean, low, high = difference(one, one + 0.1)
    assert mean == pytest.approx(-0.1) == low == high
    by_chunk = RANDOM.standard_normal((16, 1))
    mean, low, high = difference(one + by_chunk, one)
    assert low < 0 < high
    assert low < mean < high
    assert difference(one + by_chunk, one) == (mean, low, high)
    with pytest.raises(UsageError, match="other texts"):
        difference(one, one[:3])


def test_a_build_does_not_differ_from_itself(bench: Bench, tmp_path: Path) -> None:
    found = perform(Measure(bench.source.path, bench.base, bench.chunks, str(tmp_path / "m.npy")), say_nothing, 1)
    assert isinstance(found, Divergence)
    assert abs(found.mean) < 1e-6
    assert found.top1 == 1
    assert found.ppl == pytest.approx(found.ppl_base, rel=1e-5)
    assert found.tokens == len(bench.chunks.tokens) * bench.chunks.rows
    assert found.file_bytes == Path(bench.source.path).stat().st_size
    assert min(found.read_per_s, found.write_per_s, found.peak_bytes) > 0


def test_the_divergence_of_a_real_file_is_what_its_scores_say(bench: Bench, tmp_path: Path) -> None:
    """Recomputed in double precision from the scores of both builds."""
    plan = perform(DryRun(bench.source, "Q4_K_M"), say_nothing, 1)
    assert isinstance(plan, Plan)
    out = tmp_path / "q.gguf"
    perform(Quantize(bench.source, str(out), plan.types), say_nothing, 1)
    found = perform(Measure(str(out), bench.base, bench.chunks, str(tmp_path / "m.npy")), say_nothing, 1)
    assert isinstance(found, Divergence)
    klds = []
    for path in (Path(bench.source.path), out):
        model = LabModel(path, bench.chunks.length, 1)
        first = bench.chunks.first
        klds.append(
            [np.concatenate([s.copy() for _, s in model.rows(chunk, first)])[:-1] for chunk in bench.chunks.tokens]
        )
        model.close()
    p, q = softmax(np.concatenate(klds[0])), softmax(np.concatenate(klds[1]))
    assert found.mean == pytest.approx((p * np.log(p / q)).sum(axis=1).mean(), rel=0.01)
    assert read_tokens(tmp_path / "m.npy").kld.mean() == pytest.approx(found.mean)


def test_probes_tell_which_encoding_costs_more(bench: Bench) -> None:
    costs = [
        perform(Probe(bench.source, "blk.0.attn_v.weight", kind, bench.chunks, bench.base, imatrix), say_nothing, 1)
        for kind, imatrix in (("Q8_0", None), ("Q4_K", None), ("Q2_K", bench.statistics), ("F32", None))
    ]
    finest, *coarser = (cost for cost in reversed(costs) if isinstance(cost, float))
    assert coarser == sorted(coarser, reverse=True)
    assert coarser[-1] > finest
    assert abs(finest) < 1e-6


def test_probes_of_several_tensors_add_up_to_more(bench: Bench) -> None:
    names = ("blk.0.attn_v.weight", "blk.1.attn_v.weight", "token_embd.weight")
    one = perform(Probe(bench.source, names[0], "Q3_K", bench.chunks, bench.base), say_nothing, 1)
    all_ = perform(Probe(bench.source, names[0], "Q3_K", bench.chunks, bench.base, also=names[1:]), say_nothing, 1)
    assert isinstance(one, float)
    assert isinstance(all_, float)
    assert all_ > 1.2 * one


def test_another_text_or_model_is_not_compared(bench: Bench, tmp_path: Path) -> None:
    others = Chunks(tuple(chunk[::-1] for chunk in bench.chunks.tokens))
    with pytest.raises(UsageError, match="another text"):
        perform(Measure(bench.source.path, bench.base, others, str(tmp_path / "m.npy")), say_nothing, 1)
    with BaseWriter(tmp_path / "b", bench.chunks, 8) as writer:
        writer.write(np.zeros((bench.chunks.rows * len(bench.chunks.tokens), 8), np.float32))
    with pytest.raises(UsageError, match="another vocabulary"):
        perform(Probe(bench.source, "output.weight", "Q8_0", bench.chunks, str(tmp_path / "b")), say_nothing, 1)
    (tmp_path / "m.npy").write_bytes(b"nothing")
    with pytest.raises(Damaged, match="no measurement"):
        read_tokens(tmp_path / "m.npy")
