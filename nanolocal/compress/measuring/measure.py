"""How far a build is from the original, token by token, and how sure that is.

The figures are those of llama-perplexity's ``--kl-divergence``. Two builds are compared on the same tokens, and as
tokens of one text are alike, whole chunks are drawn anew for the interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nanolocal.compress.work.tasks import Divergence
from nanolocal.errors import Damaged, UsageError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_FIELDS = ("kld", "nll", "nll_base", "agrees", "dp")
_NEGLIGIBLE = np.float32(-16)
"""llama-perplexity leaves out words that are less likely than e^-16 in the original."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What was measured of each scored token, [chunks, rows].

    Its KL divergence, -log p in the build and in the original, whether both found the same word most likely (0 or 1),
    and how much the probability of the token that came has changed.
    """

    kld: Doubles
    nll: Doubles
    nll_base: Doubles
    agrees: Doubles
    dp: Doubles

    def save(self, path: Path) -> None:
        """Write them as .npy, [5, chunks, rows], in this order."""
        with path.open("wb") as file:
            np.save(file, np.stack([getattr(self, name) for name in _FIELDS]))


def read_tokens(path: Path) -> Tokens:
    """What ``Tokens.save`` wrote; raises ``Damaged``."""
    try:
        with path.open("rb") as file:
            values = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise UsageError(f"there is no {path.name}", "measure the build first") from None
    except (ValueError, OSError, EOFError) as error:
        raise Damaged(f"{path.name} holds no measurement", "measure the build again") from error
    if values.ndim != 3 or len(values) != len(_FIELDS):
        raise Damaged(f"{path.name} holds no measurement", "measure the build again")
    return Tokens(*values)


def compared(base: Floats, scores: Floats, tokens: Sequence[int]) -> Doubles:
    """The five values of ``Tokens`` for rows in a row, [5, rows].

    ``base`` are log-probabilities of the original, ``scores`` of the build, [rows, vocabulary]; ``tokens`` came next.
    """
    largest = scores.max(axis=1, keepdims=True)
    logs = np.log(np.exp(scores - largest).sum(axis=1, dtype=np.float64, keepdims=True)) + largest
    weights = np.where(base > _NEGLIGIBLE, np.exp(base), np.float32(0))
    kld = (weights * (base - scores)).sum(axis=1, dtype=np.float64)
    kld += weights.sum(axis=1, dtype=np.float64) * logs[:, 0]
    came = np.arange(len(scores)), np.asarray(tokens)
    nll, nll_base = logs[:, 0] - scores[came], -base[came].astype(np.float64)
    agrees = (scores.argmax(axis=1) == base.argmax(axis=1)).astype(np.float64)
    return np.stack([kld, nll, nll_base, agrees, np.exp(-nll) - np.exp(-nll_base)])


def divergence_of(tokens: Tokens) -> Divergence:
    """The figures over all tokens."""
    kld = tokens.kld.reshape(-1)
    p99, p999 = np.quantile(kld, [0.99, 0.999])
    error = float(kld.std() / np.sqrt(kld.size - 1)) if kld.size > 1 else 0.0
    return Divergence(
        mean=float(kld.mean()),
        error=error,
        p99=float(p99),
        p999=float(p999),
        ppl_ratio=float(np.exp(tokens.nll.mean() - tokens.nll_base.mean())),
        top1=float(tokens.agrees.mean()),
        rms_dp=float(np.sqrt((tokens.dp**2).mean())),
        tokens=kld.size,
        ppl=float(np.exp(tokens.nll.mean())),
        ppl_base=float(np.exp(tokens.nll_base.mean())),
    )


def difference(one: Doubles, other: Doubles, seed: int = 0, draws: int = 4000) -> tuple[float, float, float]:
    """How much less ``one`` is than ``other``, [chunks, rows] each, token by token: the mean, and its 95 % interval.

    The mean is of ``one - other``; an interval that is all below zero says that ``one`` is better. Chunks are drawn
    with replacement ``draws`` times. Raises ``UsageError`` where the two are not of the same chunks.
    """
    if one.shape != other.shape:
        raise UsageError("the two measurements are of other texts", "measure both on the same text")
    by_chunk = (one - other).mean(axis=1)
    random = np.random.default_rng(seed)
    drawn = by_chunk[random.integers(0, len(by_chunk), (draws, len(by_chunk)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(by_chunk.mean()), float(low), float(high)
