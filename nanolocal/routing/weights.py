"""The classifier's stored weights, and what they make of a prompt's features."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.routing.features import VERSION, Features
from nanolocal.routing.labels import LABELS
from nanolocal.routing.scoring import weighed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DATA = Path(__file__).parent / "data"
_SHOWN = 2
_TELLING = re.compile(
    r"(?:[wbhktps]\w?:.*(?:[^\W\d_]{4}|[^\x00-\u02ff])|r:(?!length|numbers|sentences|short|long|no verb))"
)
"""Features worth showing: words of some length, and shapes that say something."""


@dataclass(frozen=True, slots=True)
class Limits:
    """From the card: least confidence to trust a task, least chance to draw, and least chance to ask about drawing.

    ``caution`` is how much flatter than the likeliest chances those are that confidence is taken from, so that what is
    0.7 sure is right as often as ``scripts/train_router.py`` demands, whoever wrote the prompt.
    """

    sure: float
    picture: float
    maybe_picture: float
    caution: float


@dataclass(frozen=True, slots=True)
class Scored:
    """Chances by fine label, and each known feature's pull (rows) on each label (columns)."""

    probabilities: Mapping[str, float]
    names: tuple[str, ...]
    pulls: NDArray[np.float32]

    def evidence_for(self, label: str) -> str:
        """The words or shapes that pulled most towards ``label``."""
        if not self.names:
            return ""
        column = list(LABELS).index(label)
        pull = self.pulls[:, column] - self.pulls.mean(axis=1)
        shown: list[str] = []
        for at in pull.argsort(kind="stable")[::-1]:
            words = self.names[at].partition(":")[2]
            is_new = not any(words in other or other in words for other in shown)
            if pull[at] > 0 and is_new and _TELLING.match(self.names[at]):
                shown.append(words)
            if len(shown) == _SHOWN:
                break
        return ", ".join(shown)


@dataclass(frozen=True, slots=True)
class Weights:
    """Sorted feature keys, one row of eight-bit weights a key, one scale a label."""

    keys: NDArray[np.uint32]
    table: NDArray[np.int8]
    scales: NDArray[np.float32]
    temperature: float
    limits: Limits

    def score(self, features: Features) -> Scored:
        """Calibrated chances over the fine labels; features that training did not see count for nothing."""
        import numpy as np  # 60 ms on first use: not at import

        keys, values = weighed(features)
        wanted = np.array(keys, dtype=np.uint32)
        places = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        known = self.keys[places] == wanted
        pulls = self.table[places[known]] * self.scales * np.array(values, dtype=np.float32)[known, None]
        scores = (pulls.sum(axis=0, dtype=np.float64) / self.temperature).tolist()
        names = [*features.ngrams.values(), *features.marks.values()]
        return Scored(_shares(scores), tuple(names[at] for at in known.nonzero()[0]), pulls)


def _shares(scores: list[float]) -> dict[str, float]:
    highest = max(scores)
    grown = [math.exp(score - highest) for score in scores]
    total = sum(grown)
    return {label: value / total for label, value in zip(LABELS, grown, strict=True)}


@cache
def weights(folder: Path = DATA) -> Weights:
    """The weights and the card in ``folder``, read once; raises ``ValueError`` if they belong to other code."""
    import numpy as np  # 60 ms on first use: not at import

    card = json.loads((folder / "tasks.json").read_text(encoding="utf-8"))
    if card["features"] != VERSION or card["labels"] != list(LABELS):
        raise ValueError("the task weights belong to other features or labels: run scripts/train_router.py")
    with np.load(folder / "tasks.npz", allow_pickle=False) as stored:
        keys, table, scales = stored["keys"], stored["table"], stored["scales"]
    return Weights(keys, table, scales, float(card["temperature"]), Limits(**card["limits"]))
