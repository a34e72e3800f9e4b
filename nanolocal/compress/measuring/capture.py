"""The activations that each tensor is multiplied with, summed up over calibration text: importance and Hessians.

Of a matrix, the sum of x^2 by column and how many x there were, as llama-imatrix counts (for experts, one row each);
of one that rows are taken from, how often each was. X^T X for those tensors that it is asked for.
"""

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nanolocal.compress.measuring.imatrix import Entry, Imatrix
from nanolocal.compress.weights.encodings import is_encodable
from nanolocal.errors import Damaged, UsageError

Floats = NDArray[np.float32]

_PLACES = "places.json"


@dataclass(frozen=True, slots=True)
class Statistics:
    """What was captured. ``rows`` counts how often each row of a tensor was taken, [rows]."""

    imatrix: Imatrix
    rows: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    hessians: Mapping[str, Floats] = field(default_factory=dict)
    tokens: int = 0

    def hessian(self, tensor: str) -> Floats | None:
        """X^T X, [columns, columns], or [experts, columns, columns]; None where it was not asked for."""
        return self.hessians.get(tensor)


def write_statistics(statistics: Statistics, path: Path) -> None:
    """Write the .npz file; tensors that share their input share their Hessian."""
    arrays: dict[str, NDArray[np.generic]] = {"tokens": np.array(statistics.tokens)}
    for name, entry in statistics.imatrix.items():
        arrays[f"in_sum2/{name}"], arrays[f"counts/{name}"] = entry.in_sum2, entry.counts
    for name, counts in statistics.rows.items():
        arrays[f"rows/{name}"] = counts
    kept: dict[int, str] = {}
    places = {name: kept.setdefault(id(hessian), name) for name, hessian in statistics.hessians.items()}
    for name in dict.fromkeys(places.values()):
        arrays[f"hessian/{name}"] = statistics.hessians[name]
    arrays[_PLACES] = np.frombuffer(json.dumps(places, sort_keys=True).encode(), np.uint8)
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub takes the names for its own options


def read_statistics(path: Path, tensors: frozenset[str] | None = None) -> Statistics:
    """Read what ``write_statistics`` wrote, all of it or what concerns ``tensors``; raises ``Damaged``."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return _read(file, tensors)
    except FileNotFoundError:
        raise UsageError(f"there is no {path.name}", "calibrate first") from None
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise Damaged(f"{path.name} holds no statistics of activations", "calibrate again") from error


def _read(file: "np.lib.npyio.NpzFile", tensors: frozenset[str] | None) -> Statistics:
    places: dict[str, str] = json.loads(file[_PLACES].tobytes())
    imatrix: dict[str, Entry] = {}
    rows: dict[str, NDArray[np.int64]] = {}
    loaded: dict[str, Floats] = {}
    hessians: dict[str, Floats] = {}
    for key in file.files:
        kind, _, name = key.partition("/")
        if tensors is not None and name not in tensors:
            continue
        if kind == "in_sum2":
            imatrix[name] = Entry(file[key], file[f"counts/{name}"])
        elif kind == "rows":
            rows[name] = file[key]
    for name, place in places.items():
        if tensors is None or name in tensors:
            if place not in loaded:
                loaded[place] = file[f"hessian/{place}"]
            hessians[name] = loaded[place]
    return Statistics(imatrix, rows, hessians, int(file["tokens"]))


class Collector:
    """Watches a model and sums up; ``shapes`` are the tensors of the build, columns first, as in its header."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], hessians: frozenset[str] = frozenset()) -> None:
        if unknown := sorted(hessians - set(shapes)):
            raise UsageError(f"the build has no tensor {unknown[0]!r}", "see its tensors")
        self._shapes = shapes
        self._asked = hessians
        self._sums: dict[str, NDArray[np.float64]] = {}
        self._counts: dict[str, NDArray[np.int64]] = {}
        self.rows: dict[str, NDArray[np.int64]] = {}
        self.hessians: dict[str, Floats] = {}
        self._owners: dict[str, str] = {}

    def knows(self, tensor: str) -> bool:
        """Whether this is a matrix of the build."""
        return len(self._shapes.get(tensor, ())) > 1

    def multiplied(self, tensor: str, activations: Floats, owner: str) -> None:
        """``tensor`` was multiplied with ``activations`` [n, columns]; ``owner`` is the first tensor that was."""
        self._add(tensor, 0, activations)
        self._square(tensor, 0, activations, owner)

    def multiplied_by_matrix(self, tensor: str, activations: Floats) -> None:
        """Each matrix of a stack was multiplied with its own ``activations`` [matrices, n, columns]."""
        matrices = math.prod(self._shapes[tensor][2:])
        for index, rows in enumerate(activations):
            self._add(tensor, index % matrices, rows, shared_count=True)
            self._square(tensor, index % matrices, rows, tensor)

    def routed(self, tensor: str, activations: Floats, experts: NDArray[np.int32], owner: str) -> None:
        """Each of ``activations`` [tokens, 1 or used, columns] went through ``experts`` [tokens, used] of a stack."""
        used = experts.shape[1]
        spread = np.broadcast_to(activations, (activations.shape[0], used, activations.shape[2]))
        for expert in np.unique(experts):
            rows = spread[experts == expert]
            self._add(tensor, int(expert), rows)
            self._square(tensor, int(expert), rows, owner)

    def taken(self, tensor: str, rows: NDArray[np.int32]) -> None:
        """These rows of ``tensor`` were looked up."""
        count = self._shapes[tensor][1]
        counts = self.rows.setdefault(tensor, np.zeros(count, np.int64))
        counts += np.bincount(rows.reshape(-1), minlength=count)

    def statistics(self, tokens: int) -> Statistics:
        """All that was summed up; raises ``Damaged`` where the model computes what is no number."""
        entries: dict[str, Entry] = {}
        for name, sums in self._sums.items():
            if not np.isfinite(sums).all():
                raise Damaged(f"the model computes no numbers at {name}", "get the build again")
            entries[name] = Entry(sums.astype(np.float32), self._counts[name].astype(np.float32))
        for follower, owner in self._owners.items():
            self.hessians[follower] = self.hessians[owner]
        return Statistics(entries, self.rows, self.hessians, tokens)

    def missing(self) -> tuple[str, ...]:
        """Matrices that were never multiplied, and stacks some of whose experts were not."""
        matrices = {name for name, shape in self._shapes.items() if is_encodable(name, shape)}
        seen = {name for name, counts in self._counts.items() if counts.all()} | set(self.rows)
        return tuple(sorted(matrices - seen))

    def _add(self, tensor: str, matrix: int, rows: Floats, *, shared_count: bool = False) -> None:
        shape = self._shapes[tensor]
        if tensor not in self._sums:
            matrices = math.prod(shape[2:])
            self._sums[tensor] = np.zeros((matrices, shape[0]))
            self._counts[tensor] = np.zeros(1 if shared_count else matrices, np.int64)
        self._sums[tensor][matrix] += np.square(rows).sum(axis=0, dtype=np.float64)
        self._counts[tensor][0 if shared_count else matrix] += 0 if shared_count and matrix else len(rows)

    def _square(self, tensor: str, matrix: int, rows: Floats, owner: str) -> None:
        if tensor not in self._asked:
            return
        if owner != tensor and owner in self._asked:
            self._owners[tensor] = owner
            return
        columns, *_ = shape = self._shapes[tensor]
        if tensor not in self.hessians:
            outer = shape[2:] if math.prod(shape[2:]) > 1 else ()
            self.hessians[tensor] = np.zeros((*outer, columns, columns), np.float32)
        stack = self.hessians[tensor].reshape(-1, columns, columns)
        stack[matrix] += rows.T @ rows
