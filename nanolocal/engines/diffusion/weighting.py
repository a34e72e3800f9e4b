r"""Words of a prompt that count more or less than others: ``a (red:1.3) boat``.

Only a word or words in parentheses with a number behind a colon are weighted; other parentheses are text, and
``\(`` is one that never begins a weight.
"""

import re
from dataclasses import dataclass

MOST = 3.0
"""What a weight is at the most; above 2, pictures begin to fall apart."""
_WEIGHTED = re.compile(r"(?<!\\)\(([^():\\]+):\s*(\d{1,2}(?:\.\d{1,4})?|\.\d{1,4})\s*\)")
_ESCAPED = re.compile(r"\\([()])")


@dataclass(frozen=True, slots=True)
class Span:
    """Characters ``start`` to ``end`` of a prompt, which count ``weight`` times."""

    start: int
    end: int
    weight: float


def parse(prompt: str) -> tuple[str, tuple[Span, ...]]:
    """The prompt as it is read, without the marks, and which parts of it are weighted."""
    clean = ""
    spans = []
    at = 0
    for found in _WEIGHTED.finditer(prompt):
        if not any(map(str.isalpha, found[1])):  # such as the time of day
            continue
        clean += _ESCAPED.sub(r"\1", prompt[at : found.start()])
        words = found[1].strip()
        spans.append(Span(len(clean), len(clean) + len(words), min(float(found[2]), MOST)))
        clean += words
        at = found.end()
    return clean + _ESCAPED.sub(r"\1", prompt[at:]), tuple(spans)
