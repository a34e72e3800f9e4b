"""The integer program: the best plan under bytes and time, exactly, and all of the room used."""

from itertools import product

import numpy as np
import pytest

from nanolocal.compress.search.losses import TYPES, Table
from nanolocal.compress.search.program import GAP, choose, filled, smallest
from nanolocal.errors import UsageError

BITS = np.array([2.625, 3.4375, 4.25, 4.5, 5.5, 6.5625, 8.5])
HEADER = 100_000


def table(tensors: int, seed: int, *, random_losses: bool = False) -> Table:
    """Losses of tensors of many sizes, which differ a thousandfold in how sensitive they are."""
    random = np.random.default_rng(seed)
    weights = random.integers(1, 40, tensors) * 256 * 64
    sizes = (weights[:, None] * BITS / 8).astype(np.int64)
    loss = random.lognormal(0, 2, tensors)[:, None] * 4.0 ** -BITS[None, :]
    if random_losses:
        loss = random.lognormal(0, 2, loss.shape)
    names = tuple(f"blk.{number}.weight" for number in range(tensors))
    return Table(names, TYPES, loss, sizes, "test", micros=sizes / 1000)


def best_by_trying(found: Table, max_bytes: int, max_micros: float = np.inf) -> float:
    """The least loss of all plans there are."""
    rows = np.arange(len(found.tensors))
    plans = (np.array(plan) for plan in product(range(len(found.types)), repeat=len(found.tensors)))
    assert found.micros is not None
    return min(
        float(found.loss[rows, plan].sum())
        for plan in plans
        if found.bytes[rows, plan].sum() <= max_bytes and found.micros[rows, plan].sum() <= max_micros
    )


@pytest.mark.parametrize("seed", range(3))
def test_no_plan_is_better(seed: int) -> None:
    found = table(5, seed)
    room = int(found.bytes[:, 3].sum())
    plan = choose(found, room)
    assert found.bytes_of(plan) <= room
    assert found.loss_of(plan) <= best_by_trying(found, room) * (1 + 2 * GAP)


def test_a_limit_of_time_is_kept_too() -> None:
    found = table(5, 1)
    assert found.micros is not None
    room, time = int(found.bytes[:, -1].sum()), float(found.micros[:, 3].sum())
    plan = choose(found, room, time)
    used = sum(found.micros[i, found.types.index(plan[name])] for i, name in enumerate(found.tensors))
    assert used <= time
    assert found.loss_of(plan) <= best_by_trying(found, room, time) * (1 + 2 * GAP)


def test_tensors_of_a_group_get_one_type() -> None:
    found = table(12, 2)
    groups = [found.tensors[:3], found.tensors[3:6]]
    plan = choose(found, int(found.bytes[:, 3].sum()), groups=groups)
    assert [len({plan[name] for name in group}) for group in groups] == [1, 1]
    assert len(plan) == 12


def test_a_type_that_a_tensor_cannot_have_is_not_chosen() -> None:
    found = table(6, 3)
    found.loss[:, :4] = np.inf
    found.loss[0] = np.inf
    found.loss[0, 2] = 5.0
    plan = choose(found, int(found.bytes.max(axis=1).sum()))
    assert plan[found.tensors[0]] == TYPES[2]
    assert set(plan.values()) <= {*TYPES[4:], TYPES[2]}


@pytest.mark.parametrize("random_losses", [False, True])
def test_two_hundred_sizes_are_used_up_and_never_exceeded(random_losses: bool) -> None:
    found = table(14, 4, random_losses=random_losses)
    random = np.random.default_rng(5)
    least, most = smallest(found) + HEADER, int(found.bytes.max(axis=1).sum()) + HEADER
    for target in map(int, random.integers(int(least / 0.995) + 1, most, 100)):
        size = found.bytes_of(filled(found, target, HEADER)) + HEADER
        assert 0.995 * target <= size <= target


def test_what_is_too_small_is_refused_with_the_smallest_size() -> None:
    found = table(24, 6)
    with pytest.raises(UsageError, match=f"{smallest(found):,} bytes"):
        choose(found, smallest(found) - 1)
    assert found.bytes_of(choose(found, smallest(found))) == smallest(found)


def test_what_is_too_fast_is_refused() -> None:
    found = table(6, 7)
    with pytest.raises(UsageError, match="µs a token"):
        choose(found, int(found.bytes.max(axis=1).sum()), 1.0)


def test_the_same_table_gives_the_same_plan() -> None:
    found = table(40, 8)
    assert choose(found, 20_000_000) == choose(found, 20_000_000)
