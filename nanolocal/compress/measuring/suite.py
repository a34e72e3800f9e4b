"""A small task suite with checkable answers: which of a right and some wrong answers a build finds likeliest.

Nothing is written, so the marks are the same every time. A question is put with the build's own chat template.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nanolocal.chat.messages import Message, Role
from nanolocal.compress.work.tasks import Question, Sat, Sit, Tell
from nanolocal.errors import BuildFailed, NoBuildFits

_MOST_TOKENS = 512
"""Of a question with one of its answers; a longer one is left out."""


def sit(task: Sit, tell: Tell, threads: int) -> Sat:
    """Answer every question; raises what loading a build raises."""
    from nanolocal.compress.native.model import LabModel

    model = LabModel(Path(task.path), _MOST_TOKENS, threads, as_engine=True)
    try:
        marks = []
        for number, question in enumerate(task.questions):
            marks.append(_choose(model, question))
            tell((number + 1) / len(task.questions))
        return Sat(tuple(marks))
    finally:
        model.close()


def _choose(model: "object", question: Question) -> int:
    """The number of the likeliest answer, -1 where the question cannot be put."""
    from nanolocal.compress.native.model import LabModel

    assert isinstance(model, LabModel)
    before = _asked(model, question.ask)
    scores = []
    for option in question.options:
        tokens = model.model.tokenize(option, special=False)
        if before is None or not tokens or len(before) + len(tokens) > _MOST_TOKENS:
            return -1
        scores.append(_likelihood(model, before, tokens))
    return int(np.argmax(scores)) if scores and all(map(math.isfinite, scores)) else -1


def _asked(model: "object", text: str) -> list[int] | None:
    """The tokens of a prompt as the engine would read it; without a template that works, the text itself."""
    from nanolocal.compress.native.model import LabModel
    from nanolocal.engines.prompt import Prompter

    assert isinstance(model, LabModel)
    try:
        prompter = Prompter(model.model, model.path.name, lambda picture: ())
        tokens = prompter.prompt([Message(Role.USER, text)], _MOST_TOKENS, 1).tokens
    except NoBuildFits:
        return None
    except BuildFailed:
        return model.model.tokenize(f"{text}\n", special=False, is_whole=True)
    return [token for token in tokens if isinstance(token, int)]


def _likelihood(model: "object", before: Sequence[int], answer: Sequence[int]) -> float:
    """The mean log-probability of the tokens of ``answer`` after ``before``."""
    from nanolocal.compress.native.model import LabModel

    assert isinstance(model, LabModel)
    chunk = [*before, *answer]
    total = 0.0
    for position, scores in model.rows(chunk, len(before) - 1):
        count = min(len(scores), len(chunk) - 1 - position)
        rows = scores[:count].astype(np.float64)
        top = rows.max(axis=1, keepdims=True)
        logs = rows - top - np.log(np.exp(rows - top).sum(axis=1, keepdims=True))
        total += float(logs[np.arange(count), chunk[position + 1 : position + 1 + count]].sum())
    return total / len(answer)
