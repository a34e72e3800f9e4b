"""Tables of losses from a real model, and the files that they lead to."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from nanolocal.compress.search import losses
from nanolocal.compress.search.choosing import Limits
from nanolocal.compress.search.losses import Errors, Evidence, Probing, Table
from nanolocal.compress.search.stock import stock
from nanolocal.compress.weights.encodings import FLOATS
from nanolocal.compress.weights.sizes import retyped
from nanolocal.compress.work.tasks import (
    Base,
    Capture,
    Chunks,
    DryRun,
    Quantize,
    Quantized,
    Result,
    Round,
    Source,
    Task,
    Tell,
    perform,
)
from nanolocal.formats.gguf import Tensor, read_facts
from nanolocal.library.fit.layout import read_layout
from tests.fakes.lab_gguf import write_lab_gguf
from tests.unit.compress.conftest import Bench, say_nothing


class Here:
    """Does tasks in this process, and counts them."""

    def __init__(self) -> None:
        self.done: list[Task] = []

    async def run(self, task: Task, tell: Tell) -> Result:
        self.done.append(task)
        return perform(task, tell, 1)

    def close(self) -> None:
        """Nothing runs."""


@pytest.fixture(scope="module")
def evidence(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """A build with an output of its own, and all its Hessians."""
    folder = tmp_path_factory.mktemp("losses")
    tensors = tensors_of(bench.source)
    statistics = str(folder / "statistics.npz")
    perform(Capture(bench.source, bench.chunks, statistics, tuple(name for name in tensors if "norm" not in name)),
            say_nothing, 1)  # fmt: skip
    return Evidence(bench.source, tensors, statistics)


@pytest.fixture(scope="module")
def plain(evidence: Evidence) -> Errors:
    return asyncio.run(losses.errors(Here(), evidence, say_nothing))


def tensors_of(source: Source) -> dict[str, Tensor]:
    return {tensor.name: tensor for tensor in read_facts(Path(source.path), with_layout=True).layout}


def probing(bench: Bench) -> Probing:
    few = Chunks(bench.chunks.tokens[:2])
    base = str(bench.folder / "few.bin")
    perform(Base(bench.source, few, base), say_nothing, 1)
    return Probing(few, base)


def test_finer_types_lose_less(evidence: Evidence, plain: Errors) -> None:
    table = losses.by_importance(evidence, plain)
    order = [table.types.index(kind) for kind in ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "F32")]
    assert (np.diff(table.loss[:, order], axis=1) < 0).all()
    assert (table.loss[:, table.types.index("F32")] == 0).all()
    assert (np.diff(table.bytes[:, order], axis=1) > 0).all()
    assert table.types[-2:] == ("F16", "F32")
    assert "token_embd.weight" in table.tensors
    assert not any("norm" in name for name in table.tensors)


def test_rounding_makes_matrices_compute_less_wrongly(evidence: Evidence, plain: Errors) -> None:
    rounded = asyncio.run(losses.rounded_errors(Here(), evidence, say_nothing))
    table = losses.by_importance(evidence, plain)
    after = losses.when_rounded(table, plain, rounded)
    known = [name != "token_embd.weight" for name in table.tensors]
    encoded = [kind not in FLOATS for kind in table.types]
    assert (after.loss[known][:, encoded] < table.loss[known][:, encoded]).all()
    assert after.is_rounded


def test_probes_say_what_an_error_costs(bench: Bench, evidence: Evidence, plain: Errors) -> None:
    few, here = some(evidence), Here()
    table = asyncio.run(
        losses.by_probes(here, few, {name: plain[name] for name in few.tensors}, probing(bench), say_nothing)
    )
    assert len(here.done) == 2 * len(table.tensors)
    coarse, fine = (table.types.index(kind) for kind in ("Q2_K", "Q6_K"))
    assert (table.loss[:, coarse] > 4 * table.loss[:, fine]).all()
    assert (table.loss[:, fine] > 0).all()


def test_two_probes_and_all_of_them_agree(bench: Bench, evidence: Evidence, plain: Errors) -> None:
    few, here, probed = some(evidence), Here(), probing(bench)
    two = asyncio.run(losses.by_probes(here, few, {name: plain[name] for name in few.tensors}, probed, say_nothing))
    each = asyncio.run(losses.by_divergence(here, few, probed, say_nothing))
    assert each.tensors == two.tensors
    assert each.types == two.types
    assert np.array_equal(each.bytes, two.bytes)
    quantized = [kind not in FLOATS for kind in each.types]
    ratios = two.loss[:, quantized] / each.loss[:, quantized]
    assert ((ratios > 0.2) & (ratios < 5)).all()


def some(evidence: Evidence) -> Evidence:
    """A few tensors of it, of each role."""
    names = ("token_embd.weight", "output.weight", "blk.0.attn_q.weight", "blk.1.ffn_down.weight")
    return Evidence(evidence.source, {name: evidence.tensors[name] for name in names}, evidence.statistics)


def test_rows_that_fill_no_large_blocks_get_types_with_small_ones(tmp_path: Path) -> None:
    source = Source(str(write_lab_gguf(tmp_path / "odd.gguf", width=96)))
    evidence = Evidence(source, tensors_of(source), "")
    assert {kind for types in evidence.choices().values() for kind in types} == {*losses.ODD_TYPES, "F16", "F32"}


def test_a_plan_makes_a_file_of_exactly_the_bytes_foretold(
    bench: Bench, evidence: Evidence, plain: Errors, tmp_path: Path
) -> None:
    table = losses.by_importance(evidence, plain)
    recipe = asyncio.run(stock(Here(), bench.source, "Q4_K_M", say_nothing))
    first = tmp_path / "stock.gguf"
    made = perform(Quantize(bench.source, str(first), dict(recipe.types)), say_nothing, 1)
    assert isinstance(made, Quantized)
    header, layout = read_facts(first).data_start, read_layout(Path(bench.source.path))
    types = Limits(made.bytes, header, 0).best(layout, table)
    out = tmp_path / "rounded.gguf"
    perform(Round(bench.source, str(out), types, evidence.statistics), say_nothing, 1)
    assert out.stat().st_size == retyped(layout, types, header).size_bytes
    assert 0.995 * made.bytes <= out.stat().st_size <= made.bytes


def test_stock_is_what_llama_cpp_says(bench: Bench) -> None:
    recipe = asyncio.run(stock(Here(), bench.source, "Q4_K_M", say_nothing))
    told = perform(DryRun(bench.source, "Q4_K_M"), say_nothing, 1)
    assert recipe.types == getattr(told, "types", None)


def test_a_table_knows_what_a_plan_costs() -> None:
    table = Table(("a", "b"), ("Q4_K", "Q8_0"), np.array([[3.0, 1.0], [5.0, 2.0]]), np.array([[4, 8], [40, 80]]), "A")
    assert table.bytes_of({"a": "Q8_0", "b": "Q4_K"}) == 48
    assert table.loss_of({"a": "Q8_0", "b": "Q4_K"}) == 6.0
