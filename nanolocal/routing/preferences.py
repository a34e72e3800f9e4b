"""What counts how much, by preference; and the names under which people ask for one.

``auto:fast``, ``auto:cheap`` and their like are NanoGPT's suffixes (docs.nano-gpt.com, model suffixes). A tier says
what answers may cost, so here it is the preference that comes closest. What this program has no use for is refused
rather than swallowed.
"""

from typing import NamedTuple

from nanolocal.errors import UsageError
from nanolocal.routing.case import Weights

AUTO = frozenset({"", "auto", "auto-model"})
_TIME = {"quality": 0.05, "balanced": 0.15, "fast": 0.40, "cheap": 0.15}
_PRICE = {"quality": 0.02, "balanced": 0.10, "fast": 0.10, "cheap": 0.60}
_SWAP = 0.02
_STAY = 0.05
_HOLD = 1.0
"""Keeps a conversation where it is, whatever another build promises."""
_PATIENCE_S = {"code": 40.0, "math": 40.0, "writing": 40.0, "image_gen": 60.0, "image_edit": 60.0}
_USUAL_PATIENCE_S = 20.0

_PREFERENCE = {
    "quality": "quality", "balanced": "balanced", "fast": "fast", "cheap": "cheap", "speed": "fast", "latency": "fast",
    "throughput": "fast", "price": "cheap", "floor": "cheap", "basic": "cheap", "standard": "balanced",
    "premium": "quality",
}  # fmt: skip
_THINKING = "thinking"
_ALREADY = {
    "caching": "prompts are always cached here",
    "reasoning-exclude": "what a model thinks is never part of its answer here",
}
_NOT_HERE = {
    "online": "nothing here goes online",
    "tools": "models call no tools here yet",
    "memory": "no memory beyond the conversation is kept yet",
    "redaction": "nothing leaves this machine, so nothing has to be struck out",
}


class Asked(NamedTuple):
    """What a name asks for: a build or model (``None``: whichever is best), a preference, one that reasons."""

    model: str | None
    prefer: str | None = None
    thinking: bool = False


def weights(prefer: str, task: str, *, holds: bool) -> Weights:
    """What counts how much for an answer to ``task``; ``holds`` keeps the build of this conversation."""
    patience = _PATIENCE_S.get(task.partition("/")[0], _USUAL_PATIENCE_S)
    return Weights(_TIME[prefer], _PRICE[prefer], _SWAP, _HOLD if holds else _STAY, patience)


def asked(name: str | None) -> Asked:
    """Take a name apart; raises ``UsageError`` for suffixes that contradict each other or mean nothing here."""
    parts = (name or "").strip().split(":")
    suffixes: list[str] = []
    while len(parts) > 1 and _is_suffix(parts[-1]):
        suffixes.insert(0, parts.pop().lower())
    stem = ":".join(parts)
    for tier in ("basic", "standard", "premium"):
        if stem.lower() in (f"auto-model-{tier}", f"auto-{tier}"):
            stem = "auto"
            suffixes.insert(0, tier)
    for suffix in suffixes:
        reason = _NOT_HERE.get(suffix.partition("-")[0] if suffix.startswith("memory-") else suffix)
        if reason:
            raise UsageError(f":{suffix} cannot be had: {reason}", f"leave :{suffix} out")
    wanted = {_PREFERENCE[suffix] for suffix in suffixes if suffix in _PREFERENCE}
    if len(wanted) > 1:
        clash = ", ".join(f":{suffix}" for suffix in suffixes if suffix in _PREFERENCE)
        raise UsageError(f"{clash} contradict each other", "leave all but one out")
    return Asked(None if stem.lower() in AUTO else stem, next(iter(wanted), None), _THINKING in suffixes)


def _is_suffix(part: str) -> bool:
    plain = part.lower()
    known = plain in _PREFERENCE or plain in _NOT_HERE or plain in _ALREADY or plain == _THINKING
    return known or (plain.startswith("memory-") and plain[7:].isdigit())
