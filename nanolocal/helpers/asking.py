"""What is asked, without the words around it: ``Could you tell me what 2 + 2 is, please?`` asks for ``2 + 2``."""

import re
from dataclasses import dataclass

_BEFORE = re.compile(
    r"(?:(?:hi|hello|hey|ok|okay|so|and|quick question|please)[,:!.]?\s+"
    r"|(?:can|could|would|will) you (?:please )?(?:tell me|calculate|compute|work out|find|give me|say"
    r"|explain to me)\s+(?:please\s+)?"
    r"|(?:please )?(?:tell me|let me know|say)[,:]?\s+(?=what|how|who|where|when|which)"
    r"|do you know\s+(?=what|how|who|where|when|which)"
    r"|i (?:want|need|would like) to know\s+)+",
    re.IGNORECASE,
)
_INDIRECT = re.compile(r"(what|who|where) (.+) (is|are|was|were)", re.IGNORECASE)
_AFTER = re.compile(r"(?:[\s,]+(?:please|thanks|thank you|for me))?[\s?.]*$", re.IGNORECASE)
_LONGEST = 240


@dataclass(frozen=True, slots=True)
class Asked:
    """``text`` as typed, and ``core``, one line without courtesies and the mark at its end.

    ``is_polite`` says that words such as ``can you calculate`` were taken away, so that something is asked for.
    """

    text: str
    core: str
    is_polite: bool


def read(prompt: str) -> Asked | None:
    """The question of a prompt; ``None`` for one that is too long or has several lines to be one of these."""
    text = " ".join(prompt.split())
    if not text or len(text) > _LONGEST or "\n" in prompt.strip():
        return None
    text = text.replace("\u2019", "'").replace("\u201c", '"').replace("\u201d", '"')
    core = _BEFORE.sub("", text, count=1) if _BEFORE.match(text) else text
    turned = _INDIRECT.fullmatch(_AFTER.sub("", core)) if core != text else None
    if turned is not None:
        core = f"{turned[1]} {turned[3]} {turned[2]}"
    is_polite = bool(
        re.match(r"(?:.*\b)?(?:calculate|compute|work out)\b", text[: len(text) - len(core)], re.IGNORECASE)
    )
    return Asked(text, _AFTER.sub("", core), is_polite)
