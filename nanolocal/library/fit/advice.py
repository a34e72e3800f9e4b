"""Which of several builds of a model suits this machine, with how much context, and why not the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from nanolocal.library.fit.pictures import picture_bytes
from nanolocal.library.fit.speed import READING, tokens_per_second
from nanolocal.library.retention import retained

LEAST_CONTEXT, USUAL_CONTEXT, MOST_CONTEXT = 2048, 8192, 32_768
"""Tokens: below the first nothing is worth loading, the second is enough for most, the third is the most we suggest."""
_WORTH = 0.94
"""The least of a model's quality that is given up for speed: three bits a weight."""


class Source(StrEnum):
    """Where a figure for memory is from, the surest first."""

    PROBED = "probed"
    COMPUTED = "computed"
    SIZE = "from size alone"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A build, stored or on offer. ``needs`` gives bytes of memory, ``reads`` bytes read for a token, by the context.

    ``trained`` is the longest context that the model knows, 0 if unknown. One that draws reads nothing for a token.
    ``moves`` is what is held in the memory of a graphics processor instead, and ``kept`` the share of the model's
    quality that was measured, 0 where nobody did.
    """

    label: str
    quantization: str
    size_bytes: int
    trained: int
    needs: Callable[[int], int]
    reads: Callable[[int], int]
    source: Source
    moves: Callable[[int], int] = lambda n_ctx: 0
    kept: float = 0.0

    @property
    def retains(self) -> float:
        """The share of the model's quality that it has: as measured, else as its quantization lets expect."""
        return self.kept or retained(self.quantization)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One build on this machine: bytes of memory at ``context`` tokens, the pace to expect, and why in words.

    The pace is that of a text of usual length, or of half the context that was asked for.
    """

    label: str
    size_bytes: int
    context: int
    needed: int
    tokens_per_s: float
    fits: bool
    is_best: bool
    says: str
    source: Source
    on_device: int = 0


def advise(
    candidates: Sequence[Candidate], budget: int, bandwidth: float, context: int | None = None
) -> tuple[Verdict, ...]:
    """Judge every candidate; at most one is best. With ``context`` all are judged at that many tokens."""
    judged = [(candidate, _judge(candidate, budget, bandwidth, context)) for candidate in candidates]
    best = _best([pair for pair in judged if pair[1].fits])
    praise = "best here" if len(judged) > 1 else "fits"
    return tuple(_explained(candidate, verdict, best, praise) for candidate, verdict in judged)


def largest_context(candidate: Candidate, budget: int) -> int:
    """The longest context of 2,048 tokens doubled that fits and that the model knows; the shortest if none does."""
    most = min(candidate.trained or USUAL_CONTEXT, MOST_CONTEXT)
    context = min(LEAST_CONTEXT, most)
    while context < most and candidate.needs(min(context * 2, most)) <= budget:
        context = min(context * 2, most)
    return context


def for_size(label: str, quantization: str, size_bytes: int, trained: int = 0, active_share: float = 1.0) -> Candidate:
    """A candidate of which only the size is known: a tenth on top, and for the context what most models keep.

    Keys and values of a token take 112 to 144 KiB in models of 0.6 to 8 billion weights and 320 KiB in one of 70
    (Qwen3, Llama 3). ``active_share`` is the part of the weights that one token uses.
    """
    per_token = 147_456 + size_bytes // 200_000
    return Candidate(
        label=label,
        quantization=quantization,
        size_bytes=size_bytes,
        trained=trained,
        needs=lambda n_ctx: size_bytes + size_bytes // 10 + per_token * n_ctx,
        reads=lambda n_ctx: int(size_bytes * active_share) + per_token * n_ctx // 2,
        source=Source.SIZE,
    )


def for_picture_size(label: str, quantization: str, size_bytes: int) -> Candidate:
    """A candidate that draws, of which only the size is known: 16 bits a weight in its files unless it is ``F32``."""
    needed = picture_bytes(size_bytes, 4 if quantization == "F32" else 2)
    return Candidate(
        label=label,
        quantization=quantization,
        size_bytes=size_bytes,
        trained=0,
        needs=lambda n_ctx: needed,
        reads=lambda n_ctx: 0,
        source=Source.SIZE,
    )


def _judge(candidate: Candidate, budget: int, bandwidth: float, context: int | None) -> Verdict:
    n_ctx = largest_context(candidate, budget) if context is None else context
    if not candidate.reads(n_ctx):
        n_ctx = 0
    needed = candidate.needs(n_ctx)
    return Verdict(
        label=candidate.label,
        size_bytes=candidate.size_bytes,
        context=n_ctx,
        needed=needed,
        tokens_per_s=tokens_per_second(candidate.reads(min(n_ctx, context or USUAL_CONTEXT)), bandwidth),
        fits=needed <= budget and not (candidate.trained and n_ctx > candidate.trained),
        is_best=False,
        says=_obstacle(candidate, needed, budget, n_ctx),
        source=candidate.source,
        on_device=candidate.moves(n_ctx),
    )


def _obstacle(candidate: Candidate, needed: int, budget: int, n_ctx: int) -> str:
    if candidate.trained and n_ctx > candidate.trained:
        return f"reads at most {candidate.trained:,} tokens"
    return f"too large by {(needed - budget) / 2**30:.1f} GiB" if needed > budget else ""


def _best(fitting: Sequence[tuple[Candidate, Verdict]]) -> tuple[Candidate, Verdict] | None:
    """The finest that is quick enough and has room to talk; if none is, the fastest that is still worth running."""
    roomy = [pair for pair in fitting if pair[1].context >= min(USUAL_CONTEXT, pair[0].trained or USUAL_CONTEXT)]
    quick = [pair for pair in roomy or fitting if pair[1].tokens_per_s >= READING]
    if quick:
        return max(quick, key=lambda pair: (pair[0].retains, -pair[1].size_bytes))
    worth = [pair for pair in fitting if pair[0].retains >= _WORTH]
    return max(worth or fitting, key=lambda pair: pair[1].tokens_per_s, default=None)


def _explained(candidate: Candidate, verdict: Verdict, best: tuple[Candidate, Verdict] | None, praise: str) -> Verdict:
    """The verdict with ``praise`` if it is the best, else with the reason why another is better."""
    if not verdict.fits or best is None:
        return verdict
    if candidate is best[0]:
        is_slow = 0 < verdict.tokens_per_s < READING
        return replace(verdict, is_best=True, says=f"{praise}{', slower than one reads' if is_slow else ''}")
    return replace(verdict, says=_drawback(candidate, verdict, best[0], best[1]))


def _drawback(candidate: Candidate, verdict: Verdict, best: Candidate, best_verdict: Verdict) -> str:
    if verdict.tokens_per_s < min(READING, best_verdict.tokens_per_s):
        return "slower than one reads"
    if verdict.context < best_verdict.context and verdict.context < USUAL_CONTEXT:
        return f"leaves room for {verdict.context:,} tokens only"
    kept, kept_best = candidate.retains, best.retains
    if kept < kept_best:
        return f"{kept:.1%} of the quality"
    return "larger and no better"
