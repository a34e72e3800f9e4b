"""What a prompt asks for, by rules: openings, keywords and shapes of text. Ordered; the first that fits decides."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nanolocal.chat.routes import Task

_POLITE = r"^(?:please |can you |could you |would you |i want you to )*"
_PICTURE = r"(?:picture|image|photo|photograph|drawing|painting|illustration|sketch|portrait|logo|icon|poster)s?"
_NOT_DRAWN = r"(?:conclusions?|parallels?|comparisons?|line between|up\b|on\b|lots?\b)"
_NUMBERS = r"[-\d\s.,()+*/^x×÷=?]+"  # noqa: RUF001

_RULES: tuple[tuple[Task, float, tuple[str, ...]], ...] = (
    (
        Task.IMAGE_GEN,
        0.95,
        (
            _POLITE + rf"(?:draw|paint|sketch|illustrate)\b(?! (?:an? |the |some |your |my |any )*{_NOT_DRAWN})",
            r"\b(?:make|create|generate|render|show|give|design|produce)\b[\w ,]{0,30}"
            rf"\b{_PICTURE} (?:of|with|showing)\b",
            rf"^an? {_PICTURE} of\b",
        ),
    ),
    (Task.CODE, 0.9, (r"```", r"\b(?:def|class|SELECT|function|#include|public static)\b .*[({:;]", r"</\w+>")),
    (
        Task.CODE,
        0.85,
        (
            r"\b(?:python|javascript|typescript|java|sql|bash|html|css|regex)\b",
            r"\b(?:write|fix|debug|refactor|explain) .{0,40}\b(?:code|function|script|program|query|unit test)\b",
        ),
    ),
    (
        Task.TRANSLATE,
        0.9,
        (
            r"\btranslat(?:e|ion)\b",
            r"\b(?:say|write|put) .{0,80} in (?:german|french|spanish|italian|portuguese|chinese|japanese|english)\b",
        ),
    ),
    (Task.SUMMARIZE, 0.9, (r"\b(?:summari[sz]e|summary|tl;?dr|shorten|in (?:one|two|three|a few) sentences?)\b",)),
    (Task.MATH, 0.9, (rf"^(?:what is |what's |calculate |compute |solve )?(?=.*\d\s*[-+*/^=])[-\d(]{_NUMBERS}$",)),
    (
        Task.MATH,
        0.8,
        (r"\b(?:solve|equation|integral|derivative|percent(?:age)? of|how many .* (?:left|altogether|in total))\b",),
    ),
    (
        Task.EXTRACT,
        0.8,
        (r"\b(?:extract|list all|find all|pull out|which of the following)\b", r"\bfrom the (?:text|passage)\b"),
    ),
    (Task.DATA, 0.8, (r"\b(?:csv|spreadsheet|dataset|json)\b",)),
    (Task.ROLEPLAY, 0.85, (r"\b(?:pretend|role-?play|act as|stay in character)\b", r"^you are (?:an?|the) ")),
    (
        Task.WRITING,
        0.85,
        (
            r"\b(?:write|tell|compose|draft|continue)\b.{0,40}"
            r"\b(?:story|poem|letter|e-?mail|essay|song|tale|speech|fable|haiku|joke)\b",
            r"\b(?:rewrite|rephrase|proofread|fix the (?:typos?|spelling|grammar))\b",
            r"^once upon a time",
        ),
    ),
)
_LOOKED_AT = 4000
_OPENING = 200
"""A wish for a picture stands at the start; a pasted text may mention one anywhere."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A task, how sure the rules are (0 to 1), and the words that decided."""

    task: Task
    confidence: float
    evidence: str
    subtask: str = ""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    may_be_picture: bool = False


def guess_task(prompt: str, earlier: Sequence[str] = ()) -> Guess:
    """What ``prompt`` asks for; ``chat`` with low confidence when no rule fits."""
    text = prompt.strip()
    ends = text if len(text) <= _LOOKED_AT else text[: _LOOKED_AT // 2] + "\n" + text[-_LOOKED_AT // 2 :]
    for task, confidence, patterns in _RULES:
        looked_at = text[:_OPENING] if task is Task.IMAGE_GEN else ends
        for pattern in patterns:
            match = re.search(pattern, looked_at, re.IGNORECASE)
            if match:
                return Guess(task, confidence, " ".join(match.group(0).split())[:40], "", {task: confidence})
    return Guess(Task.CHAT, 0.5, "", "", {Task.CHAT: 0.5})
