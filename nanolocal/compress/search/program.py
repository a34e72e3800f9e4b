"""Which type each tensor gets: an integer program over a table of losses, solved exactly by scipy's HiGHS."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nanolocal.compress.search.losses import Table
from nanolocal.errors import EngineFailed, UsageError

GAP = 1e-4
"""The plan loses at most this share more than the best one."""

_NODES = 50_000
"""Where the search ends: counted in nodes rather than seconds, so that the same table gives the same plan anywhere."""

USED_UP = 0.996
"""A little more than is promised, as headers are reckoned a little larger than they are."""
_INFEASIBLE = 2
_UNIT = 32
"""Tensors of a GGUF file begin at multiples of this many bytes."""


@dataclass(frozen=True, slots=True)
class _Choices:
    """One row a group of tensors that share their type; a loss of infinity is no choice."""

    loss: NDArray[np.float64]
    bytes: NDArray[np.int64]
    micros: NDArray[np.float64] | None


def choose(
    table: Table,
    max_bytes: int,
    max_micros: float | None = None,
    groups: Sequence[Sequence[str]] = (),
    *,
    min_bytes: int = 0,
) -> dict[str, str]:
    """The type of each tensor with the least loss that takes at most ``max_bytes`` (and ``max_micros`` a token).

    The tensors of a group get the same type. At least ``min_bytes`` are used where any plan does, for a table whose
    losses do not always fall with size. Raises ``UsageError`` when nothing fits.
    """
    rows = _grouped(table, groups)
    choices = _choices(table, rows)
    _check_smallest(choices, max_bytes, max_micros)
    picked = _solved(choices, max_bytes, max_micros, min_bytes)
    if picked is None and min_bytes:
        picked = _solved(choices, max_bytes, max_micros, 0)
    if picked is None:
        raise UsageError("no plan keeps both the size and the speed asked for", "allow a larger size, or less speed")
    return {table.tensors[i]: table.types[j] for row, j in zip(rows, picked, strict=True) for i in row}


def filled(table: Table, max_bytes: int, other_bytes: int, groups: Sequence[Sequence[str]] = ()) -> dict[str, str]:
    """The plan of least loss for a file of at most ``max_bytes``, of which ``other_bytes`` are not in the table.

    It uses 99.5 % of ``max_bytes`` or more wherever the tensors can, as bytes left over are quality left over.
    Raises ``UsageError`` when nothing fits.
    """
    room = max_bytes - other_bytes
    plan = choose(table, room, groups=groups)
    wanted = int(np.ceil(USED_UP * max_bytes)) - other_bytes
    if table.bytes_of(plan) >= wanted:
        return plan
    return choose(table, room, groups=groups, min_bytes=min(wanted, _most(table, groups)))


def smallest(table: Table, groups: Sequence[Sequence[str]] = ()) -> int:
    """The fewest bytes that the tensors can take."""
    return int(_bounds(_choices(table, _grouped(table, groups)).bytes, least=True).sum())


def _most(table: Table, groups: Sequence[Sequence[str]]) -> int:
    return int(_bounds(_choices(table, _grouped(table, groups)).bytes, least=False).sum())


def _bounds(values: NDArray[np.int64], *, least: bool) -> NDArray[np.int64]:
    """The smallest or largest of each row, leaving out what is no choice (negative)."""
    if least:
        smallest: NDArray[np.int64] = np.where(values < 0, np.iinfo(np.int64).max, values).min(axis=1)
        return smallest
    largest: NDArray[np.int64] = values.max(axis=1)
    return largest


def _grouped(table: Table, groups: Sequence[Sequence[str]]) -> list[list[int]]:
    index = {name: i for i, name in enumerate(table.tensors)}
    rows = [[index[name] for name in group if name in index] for group in groups]
    taken = [i for row in rows for i in row]
    if len(set(taken)) != len(taken):
        raise ValueError("a tensor is in two groups")
    return [row for row in rows if row] + [[i] for i in index.values() if i not in set(taken)]


def _choices(table: Table, rows: Sequence[Sequence[int]]) -> _Choices:
    """The table with its rows added up by group; bytes are -1 where there is no choice."""
    loss = np.stack([table.loss[list(row)].sum(axis=0) for row in rows])
    loss = np.where(np.isnan(loss), np.inf, loss)
    taken = np.stack([table.bytes[list(row)].sum(axis=0) for row in rows])
    micros = None if table.micros is None else np.stack([table.micros[list(row)].sum(axis=0) for row in rows])
    if not np.isfinite(loss).any(axis=1).all():
        raise ValueError("a tensor has no type to choose")
    return _Choices(loss, np.where(np.isfinite(loss), taken, -1), micros)


def _check_smallest(choices: _Choices, max_bytes: int, max_micros: float | None) -> None:
    least = int(_bounds(choices.bytes, least=True).sum())
    if least > max_bytes:
        raise UsageError(
            f"the smallest plan takes {least:,} bytes for its tensors, {max_bytes:,} are left for them",
            "allow a larger size, or prune the build first",
        )
    if max_micros is not None and choices.micros is not None:
        quickest = float(np.where(choices.bytes < 0, np.inf, choices.micros).min(axis=1).sum())
        if quickest > max_micros:
            raise UsageError(
                f"the quickest plan takes {quickest:,.0f} µs a token, {max_micros:,.0f} are allowed",
                "ask for less speed, or prune the build first",
            )


def _solved(choices: _Choices, max_bytes: int, max_micros: float | None, min_bytes: int) -> list[int] | None:
    """The column chosen in each row, ``None`` when no plan keeps the limits.

    The solver calls a plan good that breaks a limit by a hair; such a one is asked for again with less room.
    """
    room, floor = max_bytes, min_bytes
    for _ in range(8):
        picked = _solve(choices, room, max_micros, floor)
        if picked is None:
            return None
        used = int(choices.bytes[np.arange(len(picked)), picked].sum())
        if used <= max_bytes and used >= min_bytes:
            return picked
        room -= max(0, used - max_bytes)
        floor += max(0, min_bytes - used)
    return None


def _solve(choices: _Choices, max_bytes: int, max_micros: float | None, min_bytes: int) -> list[int] | None:
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    row, column = np.nonzero(choices.bytes >= 0)
    count = len(row)
    each = csr_array((np.ones(count), (row, np.arange(count))), shape=(len(choices.loss), count))
    limits = [
        LinearConstraint(each, 1, 1),
        LinearConstraint(choices.bytes[row, column][None, :] / _UNIT, min_bytes / _UNIT, max_bytes / _UNIT),
    ]
    if max_micros is not None and choices.micros is not None:
        limits.append(LinearConstraint(choices.micros[row, column][None, :], 0, max_micros))
    options = {"mip_rel_gap": GAP, "node_limit": _NODES}
    solved = milp(
        _scaled(choices.loss)[row, column], integrality=1, bounds=Bounds(0, 1), constraints=limits, options=options
    )
    if solved.x is None:
        if solved.status == _INFEASIBLE:
            return None
        raise EngineFailed(f"the integer program found no plan: {solved.message}")
    order = np.lexsort((-solved.x, row))
    first = np.searchsorted(row[order], np.arange(len(choices.loss)))
    return [int(j) for j in column[order[first]]]


def _scaled(loss: NDArray[np.float64]) -> NDArray[np.float64]:
    """Losses of about 1 to 1,000 where they matter: the solver's tolerances are absolute."""
    known = np.where(np.isfinite(loss), loss, np.nan)
    typical = float(np.nanmedian(np.abs(known)))
    largest = float(np.nanmax(np.abs(known)))
    unit = max(typical, largest * 1e-6)
    return loss / unit if unit > 0 else loss
