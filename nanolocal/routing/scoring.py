"""How features are weighed. One place for training and for use, so that both see the same numbers."""

from nanolocal.routing.features import Features

_NGRAMS = 2.0
MARK = 0.4
"""What a mark counts."""


def weighed(features: Features) -> tuple[list[int], list[float]]:
    """Keys and values: n-grams share a fixed length whatever their number, marks count alike."""
    share = _NGRAMS / max(1, len(features.ngrams)) ** 0.5
    keys = [*features.ngrams, *features.marks]
    return keys, [share] * len(features.ngrams) + [MARK] * len(features.marks)
