"""Sensitivities that are wrong on purpose: whatever they propose, what is kept is never worse than stock."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from nanolocal.compress.gate import Measured, decide
from nanolocal.compress.measuring.measure import difference, read_tokens
from nanolocal.compress.search import losses
from nanolocal.compress.search.bench import Proposal
from nanolocal.compress.search.choosing import Limits, topped
from nanolocal.compress.search.losses import Evidence, Table
from nanolocal.compress.search.stock import stock
from nanolocal.compress.search.tabling import Depth
from nanolocal.compress.search.topping import bits_of
from nanolocal.compress.work.tasks import Divergence, Measure, Quantize, perform
from nanolocal.formats.gguf import read_facts
from nanolocal.library.fit.layout import Layout, read_layout
from tests.unit.compress.conftest import Bench, say_nothing
from tests.unit.compress.test_losses import Here, tensors_of


@dataclass(frozen=True, slots=True)
class Trial:
    """A build, its stock file and an honest table."""

    bench: Bench
    evidence: Evidence
    table: Table
    types: dict[str, str]
    stock: Measured
    header: int

    @property
    def layout(self) -> Layout:
        return read_layout(Path(self.bench.source.path))


@pytest.fixture(scope="module")
def trial(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    folder = tmp_path_factory.mktemp("wrong")
    evidence = Evidence(bench.source, tensors_of(bench.source), bench.statistics)
    table = losses.by_importance(evidence, asyncio.run(losses.errors(Here(), evidence, say_nothing)))
    recipe = asyncio.run(stock(Here(), bench.source, "Q4_K_M", say_nothing, bench.statistics))
    types = {name: kind for name, kind in recipe.types.items() if name in table.tensors}
    first = measured(bench, folder / "stock.gguf", types, is_stock=True)
    return Trial(bench, evidence, table, types, first, read_facts(Path(first.path)).data_start)


def measured(
    bench: Bench, path: Path, types: dict[str, str], *, is_stock: bool = False, is_topped: bool = False
) -> Measured:
    perform(Quantize(bench.source, str(path), types, bench.statistics), say_nothing, 1)
    found = perform(Measure(str(path), bench.base, bench.chunks, f"{path}.npy"), say_nothing, 1)
    assert isinstance(found, Divergence)
    scores = f"{path}.npy"
    return Measured(path.stem, str(path), found.file_bytes, found.mean, found.error, scores, is_stock, is_topped)


def paired(one: Measured, other: Measured) -> tuple[float, float, float]:
    return difference(read_tokens(Path(one.scores)).kld, read_tokens(Path(other.scores)).kld)


def wrong(table: Table, how: str) -> Table:
    """``table`` with losses that say nothing, the opposite, or nonsense."""
    random = np.random.default_rng(3)
    known = np.isfinite(table.loss) & (table.loss > 0)
    loss = table.loss.copy()
    match how:
        case "shuffled tensors":
            loss = loss[random.permutation(len(loss))]
        case "turned round":
            loss[known] = 1 / table.loss[known]
        case "wild":
            loss[known] *= random.lognormal(0, 6, int(known.sum()))
        case "all alike":
            loss[known] = 1.0
    return replace(table, loss=loss)


WRONG = ("shuffled tensors", "turned round", "wild", "all alike")


@pytest.mark.parametrize("how", WRONG)
def test_wrong_sensitivities_never_beat_stock_by_being_worse(how: str, trial: Trial, tmp_path: Path) -> None:
    most = trial.stock.size_bytes
    types = Limits(most, trial.header, 0).best(trial.layout, wrong(trial.table, how))
    proposed = measured(trial.bench, tmp_path / "proposed.gguf", types)
    kept = decide([trial.stock, proposed], most, paired).winner
    assert 0.995 * most <= proposed.size_bytes <= most
    assert kept.kld <= trial.stock.kld
    assert kept.is_stock or paired(kept, trial.stock)[2] < 0


@pytest.mark.parametrize(("how", "share"), [*zip(WRONG, (1.03, 1.1, 1.35, 1.8), strict=True), ("wild", 2.2)])
def test_a_stock_file_with_its_room_used_is_kept_whatever_the_table_says(
    how: str, share: float, trial: Trial, tmp_path: Path
) -> None:
    most = int(share * trial.stock.size_bytes)
    limits, stock_file = Limits(most, trial.header, 0), Proposal("stock", trial.types, is_stock=True)
    wrongly = Depth((wrong(trial.table, how), replace(trial.table, loss=trial.table.loss[::-1].copy())))
    found = [trial.stock]
    for number, each in enumerate(topped(limits, trial.layout, stock_file, wrongly)):
        assert all(bits_of(each.types[name]) >= bits_of(kind) for name, kind in trial.types.items())
        found.append(measured(trial.bench, tmp_path / f"{number}.gguf", dict(each.types), is_topped=each.is_topped))
        if found[-1].kld <= trial.stock.kld:
            break
    kept = decide(found, most, paired).winner
    assert kept.kld <= trial.stock.kld
    assert 0.995 * most <= kept.size_bytes <= most
