"""The fixed prompts that builds are judged by: never trained on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

ASKED = Path(__file__).resolve().parent.parent / "starter_prompts" / "asked.txt"


@dataclass(frozen=True, slots=True)
class Prompt:
    """The user's turns of one conversation, the kind of the prompt, and what must hold of the last answer."""

    kind: str
    turns: tuple[str, ...]
    checks: tuple[str, ...]


def _lines() -> list[str]:
    return ASKED.read_text(encoding="utf-8").splitlines()


@cache
def prompts() -> tuple[Prompt, ...]:
    """All prompts, in their order."""
    found, kind = [], ""
    for line in _lines():
        if line.startswith("# "):
            kind = line[2:]
        elif line and not line.startswith("@"):
            said, _, checks = line.rpartition(" => ")
            turns = tuple(turn.replace("\\n", "\n") for turn in said.split(" >> "))
            found.append(Prompt(kind, turns, tuple(checks.split("; "))))
    return tuple(found)


@cache
def things(name: str) -> frozenset[str]:
    """The things of a kind that a list may name, in lower case."""
    line = next(line for line in _lines() if line.startswith(f"@{name}: "))
    return frozenset(item.lower() for item in line.partition(": ")[2].split(", "))


@cache
def _asked() -> dict[str, tuple[tuple[str, ...], ...]]:
    """The prompts by their last turn."""
    table: dict[str, tuple[tuple[str, ...], ...]] = {}
    for prompt in prompts():
        turns = tuple(map(plain, prompt.turns))
        table[turns[-1]] = (*table.get(turns[-1], ()), turns)
    return table


def plain(text: str) -> str:
    """Text without what a hurried writer leaves out."""
    return " ".join(text.lower().split()).rstrip(".?! ")


def is_asked(document: str | list[tuple[str, str]]) -> bool:
    """Whether a conversation holds one of the prompts, all its turns in order and nothing between them."""
    if isinstance(document, str):
        return False
    questions = tuple(plain(question) for question, _ in document)
    return any(
        _ends_with(questions[: place + 1], turns)
        for place, last in enumerate(questions)
        for turns in _asked().get(last, ())
    )


def _ends_with(questions: tuple[str, ...], turns: tuple[str, ...]) -> bool:
    return questions[-len(turns) :] == turns
