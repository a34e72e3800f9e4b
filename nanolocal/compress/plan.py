"""What will be done, known before anything is: the size to reach and why, what fits here, how deep to search, how long.

Everything that can be refused is refused here, with the reason and the nearest that is possible.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nanolocal.chat.amounts import sized
from nanolocal.compress.search.stock import Stock
from nanolocal.compress.targets import BitsPerWeight, Bytes, Memory, Size, Wish
from nanolocal.compress.weights.encodings import NAMES, is_encodable
from nanolocal.compress.weights.sizes import (
    Cost,
    cost_of,
    is_quantized,
    retyped,
    source_kind,
    usual_context,
    weights_bytes,
)
from nanolocal.errors import NoBuildFits, UsageError
from nanolocal.library.fit.layout import Layout
from nanolocal.library.fit.speed import READING, tokens_per_second

USUAL = "Q4_K_M"
"""The stock recipe whose size is aimed at where nobody says otherwise and this device holds it well."""
USUAL_SECONDS = 15 * 60.0
METADATA_BYTES = 4096
"""Kept free for what is written into the header besides the recipe."""
_RECIPE_BYTES = 48
"""Of the recipe in the header, for each tensor."""
_FLOPS = 12e9
"""Of one core, at 16 and 32 bits; the first measurements of a run put the rest right."""
_ENCODED, _ROUNDED = 4e6, 8e4
"""Weights that one core encodes, and rounds with a Hessian, in a second."""
_CHUNK, PROBE_CHUNK = 512, 256
HELD_OUT_CHUNKS, CALIBRATION_CHUNKS, PROBED_CHUNKS = 40, 128, 8
"""Chunks of text that files are measured on, that statistics are taken from, and that probes are measured on."""
_FEWEST_CHUNKS = 8
_MOST_WEIGHED = 2**24
"""Weights of all tensors that stand for the others where errors are reckoned: large ones are sampled."""
_PROBES = {"quadratic": 2, "probed": 5}
_HESSIANS_SHARE = 3
"""Of the memory that may be used, Hessians take one part of so many."""
_INPUT = {"attn_q": "attn", "attn_k": "attn", "attn_v": "attn", "ffn_gate": "ffn", "ffn_up": "ffn"}
"""Matrices that are multiplied with the same activations."""
_RESERVE = 256 * 2**20


class Tier(StrEnum):
    """How deep the search goes; each holds those before it."""

    STOCK = "stock"
    WEIGHTED = "weighted error"
    QUADRATIC = "quadratic form"
    PROBED = "measured tensor by tensor"


DEPTHS = tuple(Tier)
"""From the quickest to the deepest."""


@dataclass(frozen=True, slots=True)
class Device:
    """The machine: bytes of memory and disk that may be used, bytes of memory read a second, and cores."""

    memory: int
    disk: int
    bandwidth: float
    cores: int


@dataclass(frozen=True, slots=True)
class Rung:
    """What a stock recipe would take here; ``speed`` is the most tokens a second that memory allows."""

    label: str
    size_bytes: int
    memory: int
    speed: float
    fits: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of the file to make, ``most`` bytes at the most, and what making it takes.

    ``bare`` are the bytes of its header at the most, ``least`` those of the smallest file there is. ``is_free`` says
    that the size follows from ``max_kld`` alone, so that the smallest is looked for. ``memory`` limits what the file
    takes when it runs with ``context`` tokens, ``weights`` what its tensors take. ``needs_memory`` and ``needs_disk``
    are bytes while it is made; ``seconds`` are estimates, as are ``pass_seconds`` for a chunk of text and
    ``probing_seconds``. ``rounds`` says whether tensors are rounded with Hessians, which take ``hessian_bytes``.
    """

    source_bytes: int
    source_kind: str
    parameters: int
    most: int
    bare: int
    least: int
    why: str
    is_free: bool
    context: int
    memory: int | None
    weights: int | None
    rungs: tuple[Rung, ...]
    tier: Tier
    rounds: bool
    chunks: int
    held_out: int
    chunk_tokens: int
    hessian_bytes: int
    needs_memory: int
    needs_disk: int
    pass_seconds: float
    probing_seconds: Mapping[Tier, float]
    seconds: float
    requantizes: bool

    @property
    def bits(self) -> float:
        """Bits a weight of a file of ``most`` bytes, its header among them."""
        return 8 * self.most / max(self.parameters, 1)


def make(layout: Layout, ladder: Sequence[Stock], wish: Wish, device: Device, *, requantize: bool = False) -> Plan:
    """The plan for the model of ``layout``, with ``ladder`` from the finest stock recipe to the coarsest.

    Raises ``UsageError`` for what cannot be, ``NoBuildFits`` for what cannot be here; both name the nearest that can.
    """
    _check_source(layout, ladder, requantize=requantize)
    context = usual_context(layout)
    header = header_bytes(layout)
    rungs = tuple(_rung(stock, layout, header, context, device) for stock in ladder)
    bottom = cost_of(retyped(layout, ladder[-1].types, header), context)
    most, why, memory = _aim(layout, wish, rungs, bottom, device, context)
    needs_memory = _needs_memory(layout)
    effort = _effort(layout, len(ladder[0].types), wish.seconds or USUAL_SECONDS, device)
    needs_disk = _needs_disk(layout, most, effort)
    _check_room(needs_memory, needs_disk, device)
    return Plan(
        source_bytes=layout.size_bytes,
        source_kind=source_kind(layout),
        parameters=_parameters(layout),
        most=most,
        bare=header,
        least=rungs[-1].size_bytes,
        why=why,
        is_free=wish.size is None and wish.max_kld is not None,
        context=context,
        memory=memory,
        weights=int(wish.size.most * _parameters(layout) / 8) if isinstance(wish.size, BitsPerWeight) else None,
        rungs=rungs,
        tier=effort.tier,
        rounds=effort.rounds,
        chunks=effort.chunks,
        held_out=effort.held_out,
        chunk_tokens=chunk_tokens(layout),
        needs_memory=needs_memory,
        needs_disk=needs_disk,
        hessian_bytes=effort.hessian_bytes,
        pass_seconds=effort.pass_seconds,
        probing_seconds=effort.probing_seconds,
        seconds=effort.seconds,
        requantizes=is_quantized(layout),
    )


def header_bytes(layout: Layout) -> int:
    """Bytes before the tensors of a file that the lab makes: what the source says, and the recipe."""
    return header_of_source(layout) + METADATA_BYTES + _RECIPE_BYTES * len(layout.tensors)


def header_of_source(layout: Layout) -> int:
    """Bytes before the tensors of a file that holds what all parts of the source do."""
    return sum(span.data_start for span in layout.spans)


def chunk_tokens(layout: Layout) -> int:
    """Tokens of a chunk: as llama-perplexity has them, or all that the model knows."""
    return min(_CHUNK, layout.number("context_length") or _CHUNK)


def _check_source(layout: Layout, ladder: Sequence[Stock], *, requantize: bool) -> None:
    if not ladder or not ladder[0].types:
        raise UsageError("this model has no matrix that could be quantized", "nanolocal models list shows the others")
    if is_quantized(layout) and not requantize:
        raise UsageError(
            f"this build is already quantized ({source_kind(layout)}), so that its own loss would be added",
            "take the F16 or BF16 build of the model, or add --requantize: the extra loss is measured",
        )


def _rung(stock: Stock, layout: Layout, header: int, context: int, device: Device) -> Rung:
    cost = cost_of(retyped(layout, stock.types, header), context)
    speed = tokens_per_second(cost.read, device.bandwidth)
    return Rung(stock.label, cost.size_bytes, cost.memory, speed, cost.memory <= device.memory)


def _aim(
    layout: Layout, wish: Wish, rungs: Sequence[Rung], bottom: Cost, device: Device, context: int
) -> tuple[int, str, int | None]:
    """The most bytes of the file, why, and the memory that it may take where that is what is limited."""
    most, why, memory = _by_size(layout, wish.size, rungs, bottom) if wish.size else _by_device(wish, rungs, bottom)
    if wish.min_speed is not None:
        fast, says = _by_speed(wish.min_speed, bottom, device)
        if fast < most:
            most, why = fast, says
    useful = max(rungs[0].size_bytes, retyped(layout, _halves(layout), header_bytes(layout)).size_bytes)
    if most > useful:
        most, why = useful, f"{why}, more than its weights take as 16-bit floats"
    return most, why, memory


def asked_for(size: Size) -> str:
    """Why a file is of the size that was asked for."""
    return f"asked for: {size}"


def _halves(layout: Layout) -> dict[str, str]:
    """The matrices of 32-bit floats, as 16-bit ones: finer than that nothing is worth its bytes."""
    return {
        tensor.name: "F16"
        for tensor in layout.tensors
        if NAMES.get(tensor.kind) == "F32" and is_encodable(tensor.name, tensor.shape)
    }


def _by_size(layout: Layout, size: Size, rungs: Sequence[Rung], bottom: Cost) -> tuple[int, str, int | None]:
    least, source = rungs[-1].size_bytes, layout.size_bytes
    match size:
        case Bytes(most):
            memory = None
        case BitsPerWeight(bits):
            most, memory = int(bits * _parameters(layout) / 8) + rungs[-1].size_bytes - _weights(rungs, layout), None
        case Memory(limit):
            most, memory = limit - (bottom.memory - bottom.size_bytes), limit
    if most < least:
        raise UsageError(
            f"{size} cannot be reached: {_smallest(size, layout, rungs, bottom)} is the least for this model",
            "a larger target, or --prune to take layers out too",
        )
    if most >= source:
        raise UsageError(
            f"the build has {sized(source)} already, and {size} is no less",
            f"--target {max(least, min(source // 2, rungs[0].size_bytes))} would halve it",
        )
    return most, asked_for(size), memory


def _weights(rungs: Sequence[Rung], layout: Layout) -> int:
    """Bytes of tensors in the smallest file."""
    return rungs[-1].size_bytes - header_bytes(layout)


def _smallest(size: Size, layout: Layout, rungs: Sequence[Rung], bottom: Cost) -> str:
    match size:
        case Bytes():
            return f"{rungs[-1].size_bytes:,} bytes"
        case BitsPerWeight():
            return f"bpw={8 * _weights(rungs, layout) / _parameters(layout) + 0.005:.2f}"
        case Memory():
            return f"ram={math.ceil(bottom.memory / 1e6):,}MB".replace(",", "")


def _by_device(wish: Wish, rungs: Sequence[Rung], bottom: Cost) -> tuple[int, str, int | None]:
    """Without a size: the usual recipe's, or the next below that this device holds well; all of them for a loss."""
    fitting = [rung for rung in rungs if rung.fits]
    if not fitting:
        raise NoBuildFits(
            f"even {rungs[-1].label} takes {sized(rungs[-1].memory)} of memory here, more than is free",
            "close other programs, or --target SIZE to make it for another machine",
        )
    if wish.max_kld is not None:
        return fitting[0].size_bytes, f"the smallest with a KL divergence of at most {wish.max_kld:g}", None
    if wish.min_speed is not None:
        return fitting[0].size_bytes, "the best that fits here and is quick enough", None
    usual = next((index for index, rung in enumerate(rungs) if rung.label == USUAL), 0)
    wanted = [rung for rung in rungs[usual:] if rung.fits]
    quick = [rung for rung in wanted if rung.speed >= READING]
    chosen = (quick or wanted[-1:] or fitting[-1:])[0]
    why = f"the size of {chosen.label}, which this device holds well"
    if chosen.label != USUAL:
        why = f"the size of {chosen.label}, the most that this device holds {'well' if quick else 'at all'}"
    return chosen.size_bytes, why, None


def _by_speed(speed: float, bottom: Cost, device: Device) -> tuple[int, str]:
    """The most bytes of a file whose weights are read often enough; raises ``NoBuildFits`` where none is."""
    most = tokens_per_second(bottom.read, device.bandwidth)
    if speed > most:
        raise NoBuildFits(
            f"{speed:g} tokens a second cannot be reached: with the smallest types memory allows {most:.1f} here",
            f"--min-speed {math.floor(most * 10) / 10:g} or less, or --prune to take layers out too",
        )
    spare = int(device.bandwidth / speed) - bottom.read
    return bottom.size_bytes + spare, f"the most that can be read {speed:g} times a second here"


def _needs_memory(layout: Layout) -> int:
    """Bytes held while the source is measured: its weights unmapped as 16-bit floats, a chunk's context and results."""
    tokens = chunk_tokens(layout)
    floats = 2 * _parameters(layout) if is_quantized(layout) else weights_bytes(layout)
    running = cost_of(layout, tokens).memory - weights_bytes(layout)
    return floats + running + 8 * layout.vocabulary * tokens


def _needs_disk(layout: Layout, most: int, effort: "Effort") -> int:
    """Bytes of the files on their way: three candidates, the floats of a quantized source, what it says, statistics."""
    logits = 2 * layout.vocabulary * (effort.held_out + PROBED_CHUNKS) * chunk_tokens(layout) // 2
    floats = 2 * _parameters(layout) if is_quantized(layout) else 0
    return 3 * most + floats + logits + sum(hessians_of(layout, effort.hessian_bytes).values())


def hessians_of(layout: Layout, most: int) -> dict[str, int]:
    """The matrices whose inputs get a Hessian, with the bytes it takes: the narrowest first, until ``most`` are used.

    Matrices of one layer and kind share their input, and so their Hessian.
    """
    found: dict[str, int] = {}
    shared: set[tuple[str, str]] = set()
    left = most
    for tensor in sorted(layout.tensors, key=lambda tensor: tensor.shape[0]):
        if not is_encodable(tensor.name, tensor.shape) or len(tensor.shape) > 2:
            continue
        layer, kind = tensor.name.rpartition(".")[0].rpartition(".")[0], _INPUT.get(tensor.name.split(".")[-2], "")
        is_known = bool(kind) and (layer, kind) in shared
        size = 0 if is_known else 4 * tensor.shape[0] ** 2
        if size <= left:
            left -= size
            found[tensor.name] = size
            shared.add((layer, kind))
    return found


def _check_room(memory: int, disk: int, device: Device) -> None:
    if memory > device.memory:
        raise NoBuildFits(
            f"measuring the source takes {sized(memory)} of memory, and {sized(device.memory)} are free",
            "close other programs, or compress it on a larger machine and copy the file",
        )
    if disk + _RESERVE > device.disk:
        raise UsageError(
            f"{sized(disk)} of disk are needed, and {sized(device.disk)} are free",
            f"free some space, {sized(_RESERVE)} more than that",
        )


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done: the search, chunks of text, whether tensors are rounded, and what it takes in seconds."""

    tier: Tier
    chunks: int
    held_out: int
    rounds: bool
    hessian_bytes: int
    pass_seconds: float
    probing_seconds: Mapping[Tier, float]
    seconds: float


def _effort(layout: Layout, matrices: int, seconds: float, device: Device) -> Effort:
    """The most that is done in ``seconds``: less text first, then a search less deep."""
    per_pass = 2.0 * _parameters(layout) * chunk_tokens(layout) / (_FLOPS * max(device.cores, 1))
    efforts = [
        _effort_of(layout, matrices, device, per_pass, tier, share, rounds)
        for tier in reversed(DEPTHS)
        for rounds in (True, False)
        for share in (1.0, 0.5, 0.25, 0.0)
        if not (rounds and tier is Tier.STOCK)
    ]
    return next((effort for effort in efforts if effort.seconds <= seconds), efforts[-1])


def _effort_of(
    layout: Layout, matrices: int, device: Device, per_pass: float, tier: Tier, share: float, rounds: bool
) -> Effort:
    chunks, held_out = (max(_FEWEST_CHUNKS, int(share * most)) for most in (CALIBRATION_CHUNKS, HELD_OUT_CHUNKS))
    depth = DEPTHS.index(tier)
    parameters, cores = _parameters(layout), max(device.cores, 1)
    probe = PROBED_CHUNKS * per_pass * PROBE_CHUNK / _CHUNK + 0.2
    probing = {
        Tier.QUADRATIC: _PROBES["quadratic"] * matrices * probe,
        Tier.PROBED: _PROBES["probed"] * matrices * probe,
    }
    measured = held_out * per_pass + parameters / (_ENCODED * cores) + 2
    seconds = 2 * held_out * per_pass + 3 * chunks * per_pass + (3 + depth) * measured + 5
    seconds += 7 * min(parameters, _MOST_WEIGHED) / (_ENCODED * cores) if depth else 0
    seconds += sum(each for kind, each in probing.items() if DEPTHS.index(kind) <= depth)
    seconds += _rounding(parameters) / cores if rounds else 0
    most = device.memory // _HESSIANS_SHARE if depth and (rounds or depth > 1) else 0
    hessians = sum(hessians_of(layout, most).values())  # what they take, so that a recipe tells no free memory
    return Effort(tier, chunks, held_out, rounds, hessians, per_pass, probing, seconds)


def _rounding(parameters: int) -> float:
    """Seconds of one core: one type of a sample, and all of some files."""
    return (min(parameters, _MOST_WEIGHED) + 3 * parameters) / _ROUNDED


def steps_of(plan: Plan) -> dict[str, float]:
    """The steps of a run with estimated seconds, in order; only their ratios count once it has begun."""
    measured = plan.held_out * plan.pass_seconds + plan.parameters / _ENCODED + 1
    steps = {
        "text": 1.0,
        "floats": 1.0,
        "prune": 0.0,
        "base": measured,
        "capture": 3 * plan.chunks * plan.pass_seconds + 1,
    }
    depth, rounding = DEPTHS.index(plan.tier), plan.parameters / _ROUNDED
    if depth:
        steps["errors"] = 7 * min(plan.parameters, _MOST_WEIGHED) / _ENCODED + 1
    if plan.rounds:
        steps["rounded errors"] = _rounding(plan.parameters) - 3 * rounding
    steps |= {str(tier): seconds for tier, seconds in plan.probing_seconds.items() if DEPTHS.index(tier) <= depth}
    steps |= {f"try {n + 1}": measured for n in range(3 + depth)}
    if plan.rounds:
        steps |= {f"rounding {n + 1}": measured + rounding for n in range(1 + min(depth, 2))}
    return steps | {"report": 3 * measured, "install": 1.0}


def _parameters(layout: Layout) -> int:
    return sum(math.prod(tensor.shape) for tensor in layout.tensors)
