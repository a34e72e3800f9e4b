"""What each tensor would lose in each type: the tables that the integer program chooses from.

Three depths. A: the share of each weight's square that encoding takes, by the importance of its column; one pass over
text. B: tr(E H E^T), what the layer computes wrongly, times what a wrong square there costs in nats, which one or two
probes tell (the HIGGS linearity theorem, arXiv 2411.17525). C: every type of every tensor probed.
"""

import asyncio
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nanolocal.compress.weights.encodings import FLOATS, NAMES, block_of, is_encodable, tensor_bytes
from nanolocal.compress.work.tasks import Chunks, Err, Erred, Probe, Source, Tell
from nanolocal.formats.gguf import Tensor

if TYPE_CHECKING:
    from nanolocal.compress.work.workers import Runner

TYPES = ("Q2_K", "Q3_K", "IQ4_XS", "Q4_K", "Q5_K", "Q6_K", "Q8_0")
ODD_TYPES = ("Q4_0", "IQ4_NL", "Q5_0", "Q5_1", "Q8_0")
"""For rows that do not fill blocks of 256 weights."""

ROUNDED = ("Q4_K", "Q4_0")
"""What rounding gains is about the same share for each type of a tensor: one tells it for all."""

PROBED = ("Q3_K", "Q2_K")
ODD_PROBED = ("Q4_0", "Q5_0")
_SUPER = 256

_OUTPUT_COST, _LOOKING_COST = 30.0, 0.2
"""How much more a wrong share of the output matrix costs than one of most others, and of those that only say where to
look; as probes found them on small models. Probes take their place in the other tables."""


@dataclass(frozen=True, slots=True)
class Table:
    """The loss of ``tensors[i]`` in ``types[j]`` as ``loss[i, j]``, and its ``bytes[i, j]`` padded as in a file.

    A loss of infinity marks a type that the tensor cannot have. ``micros[i, j]`` is the time that the tensor takes
    in one token, where speeds are known. The unit of ``loss`` is the method's own; only its ratios count.
    ``is_rounded`` says that the losses are those of tensors that are rounded with their Hessians.
    """

    tensors: tuple[str, ...]
    types: tuple[str, ...]
    loss: NDArray[np.float64]
    bytes: NDArray[np.int64]
    method: str
    seed: int = 0
    micros: NDArray[np.float64] | None = None
    is_rounded: bool = False

    def bytes_of(self, chosen: Mapping[str, str]) -> int:
        """What the tensors of a plan take together."""
        return sum(int(self.bytes[i, self.types.index(chosen[name])]) for i, name in enumerate(self.tensors))

    def loss_of(self, chosen: Mapping[str, str]) -> float:
        """What the tensors of a plan lose together."""
        return float(sum(self.loss[i, self.types.index(chosen[name])] for i, name in enumerate(self.tensors)))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What tables are made of: a build whose weights are floats, and statistics of its activations."""

    source: Source
    tensors: Mapping[str, Tensor]
    statistics: str

    def choices(self) -> dict[str, tuple[str, ...]]:
        """The types that each tensor can have; those that the quantizer leaves alone are not there."""
        return {name: types_for(tensor) for name, tensor in self.tensors.items() if is_encodable(name, tensor.shape)}


@dataclass(frozen=True, slots=True)
class Probing:
    """What probes are compared with: text, and the probabilities of the original on it (a file of ``Base``)."""

    chunks: Chunks
    base: str


Errors = Mapping[str, Mapping[str, Erred]]
"""tensor -> type -> what is computed wrongly, an ``Erred`` of that type alone."""


def types_for(tensor: Tensor) -> tuple[str, ...]:
    """Those that fill the rows of ``tensor``, finest last; of floats none that are finer than what it is held in."""
    columns = tensor.shape[0]
    known = TYPES if columns % _SUPER == 0 else ODD_TYPES
    held = NAMES.get(tensor.kind, "")
    fitting = tuple(kind for kind in known if columns % block_of(kind) == 0)
    floats = {"F32": ("F16", "F32"), "F16": ("F16",), "BF16": ("BF16",)}
    return (*fitting, *floats.get(held, ()))


async def errors(runner: "Runner", evidence: Evidence, tell: Tell) -> Errors:
    """For each tensor and type, what is computed wrongly."""
    return await _errors(runner, evidence, evidence.choices(), tell, is_rounded=False)


async def rounded_errors(runner: "Runner", evidence: Evidence, tell: Tell) -> Errors:
    """The same for tensors that are rounded with their Hessians, in one type each."""
    choices = {name: tuple(kind for kind in types if kind in ROUNDED)[:1] for name, types in evidence.choices().items()}
    return await _errors(runner, evidence, choices, tell, is_rounded=True)


async def _errors(
    runner: "Runner", evidence: Evidence, choices: Mapping[str, tuple[str, ...]], tell: Tell, *, is_rounded: bool
) -> Errors:
    found: dict[str, dict[str, Erred]] = {}
    for number, (name, types) in enumerate(choices.items()):
        tell(number / len(choices))
        encoded = tuple(kind for kind in types if kind not in FLOATS)
        erred = await runner.run(Err(evidence.source, name, encoded, evidence.statistics, is_rounded), _silent)
        assert isinstance(erred, Erred)
        found[name] = {
            kind: Erred((square,), (share,))
            for kind, square, share in zip(encoded, erred.squares, erred.shares, strict=True)
        }
        found[name] |= {kind: Erred((0.0,), (0.0,)) for kind in types if kind in FLOATS}
    return found


def by_importance(evidence: Evidence, erred: Errors, seed: int = 0) -> Table:
    """Table A."""
    shares = {
        name: {kind: usual_cost(name, erred) * each.shares[0] for kind, each in row.items()}
        for name, row in erred.items()
    }
    return _table(evidence, shares, "A", seed)


def usual_cost(tensor: str, tensors: Container[str]) -> float:
    """What a wrong share of ``tensor`` costs, by its role: of most tensors 1."""
    if tensor == "output.weight" or (tensor == "token_embd.weight" and "output.weight" not in tensors):
        return _OUTPUT_COST
    return _LOOKING_COST if ".attn_q." in tensor or ".attn_k." in tensor else 1.0


async def by_probes(
    runner: "Runner", evidence: Evidence, erred: Errors, probing: Probing, tell: Tell,
    seed: int = 0,
) -> Table:  # fmt: skip
    """Table B: two probes a tensor."""
    nats: dict[str, dict[str, float]] = {}
    probed = {name: [kind for kind in (*PROBED, *ODD_PROBED) if kind in row][:2] for name, row in erred.items()}
    measured = await _probes(runner, evidence, probing, probed, tell)
    for name, row in erred.items():
        squares = [row[kind].squares[0] for kind in probed[name]]
        cost = max(sum(measured[name].values()), 0.0) / sum(squares) if sum(squares) > 0 else 0.0
        nats[name] = {kind: cost * each.squares[0] for kind, each in row.items()}
    return _table(evidence, nats, "B", seed)


async def by_divergence(runner: "Runner", evidence: Evidence, probing: Probing, tell: Tell, seed: int = 0) -> Table:
    """Table C: a probe for each tensor and type."""
    choices = evidence.choices()
    wanted = {name: [kind for kind in types if kind not in FLOATS] for name, types in choices.items()}
    measured = await _probes(runner, evidence, probing, wanted, tell)
    nats: dict[str, dict[str, float]] = {}
    for name, types in choices.items():
        row = {kind: max(value, 0.0) for kind, value in measured[name].items()}
        nats[name] = row | {kind: 0.0 for kind in types if kind in FLOATS}
    return _table(evidence, nats, "C", seed)


def when_rounded(table: Table, plain: Errors, rounded: Errors) -> Table:
    """``table`` for tensors that are rounded: losses fall as much as what the tensor computes wrongly does."""
    loss = table.loss.copy()
    for i, name in enumerate(table.tensors):
        before = sum(plain[name][kind].squares[0] for kind in rounded[name])
        if before > 0:
            loss[i] *= sum(each.squares[0] for each in rounded[name].values()) / before
    return replace(table, loss=loss, method=f"{table.method} + rounding", is_rounded=True)


async def _probes(
    runner: "Runner", evidence: Evidence, probing: Probing, wanted: Mapping[str, Sequence[str]], tell: Tell
) -> dict[str, dict[str, float]]:
    """What each tensor loses in each of its types; all are asked for at once, and ``runner`` does as many as it can."""
    pairs = [(name, kind) for name, kinds in wanted.items() for kind in kinds]
    done = 0

    async def one(name: str, kind: str) -> float:
        nonlocal done
        nats = await _probe(runner, evidence, probing, name, kind)
        done += 1
        tell(done / len(pairs))
        return nats

    running = [asyncio.create_task(one(name, kind)) for name, kind in pairs]
    try:
        found = dict(zip(pairs, await asyncio.gather(*running), strict=True))
    except BaseException:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        raise
    return {name: {kind: found[name, kind] for kind in kinds} for name, kinds in wanted.items()}


async def _probe(runner: "Runner", evidence: Evidence, probing: Probing, name: str, kind: str) -> float:
    probe = Probe(evidence.source, name, kind, probing.chunks, probing.base, evidence.statistics)
    measured = await runner.run(probe, _silent)
    assert isinstance(measured, float)
    return measured


def _table(evidence: Evidence, losses: Mapping[str, Mapping[str, float]], method: str, seed: int) -> Table:
    tensors = tuple(losses)
    types = tuple(dict.fromkeys(kind for row in losses.values() for kind in row))
    loss = np.array([[losses[name].get(kind, np.inf) for kind in types] for name in tensors])
    shapes = {name: evidence.tensors[name].shape for name in tensors}
    sizes = np.array(
        [[tensor_bytes(kind, shapes[name]) if kind in losses[name] else 0 for kind in types] for name in tensors]
    )
    return Table(tensors, types, loss, sizes.astype(np.int64), method, seed)


def _silent(_: float) -> None:
    """A probe is a step of its own."""
