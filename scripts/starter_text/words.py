"""The word lists and tables of talk.txt and words.txt, and small helpers for sentences."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True, slots=True)
class WordList:
    """A category ("colour"), its singular and plural names, and its members."""

    singular: tuple[str, ...]
    plural: tuple[str, ...]
    items: tuple[str, ...]


def _lines(name: str) -> list[str]:
    text = (Path(__file__).parent / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("# ")]


@cache
def talk() -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """Question wordings and answer wordings of talk.txt, block by block."""
    lines = _lines("talk.txt")
    split = [tuple(part.strip() for part in line[2:].split(" | ")) for line in lines]
    return tuple(zip(split[::2], split[1::2], strict=True))


@cache
def word_lists() -> tuple[WordList, ...]:
    """The categories of words.txt."""
    found = []
    for line in _lines("words.txt"):
        if line.startswith(("#", "%")):
            continue
        names, items = line.split(": ")
        forms = names.split("|")
        found.append(WordList(tuple(forms[::2]), tuple(forms[1::2]), tuple(items.split(", "))))
    return tuple(found)


@cache
def bank(name: str) -> tuple[str, ...]:
    """A plain list of words.txt, such as "animals"."""
    line = next(line for line in _lines("words.txt") if line.startswith(f"%{name}: "))
    return tuple(line.partition(": ")[2].split(", "))


@cache
def word_pairs() -> dict[str, list[tuple[str, str]]]:
    """The pair tables of words.txt by name, such as "opposite"."""
    tables = {}
    for line in _lines("words.txt"):
        if line.startswith("#"):
            name, pairs = line[1:].split(": ")
            tables[name] = [(pair.split()[0], pair.split()[1]) for pair in pairs.split(", ")]
    return tables


def rough(rng: random.Random, question: str) -> str:
    """The question as a hurried person types it: sometimes lower case, sometimes without the end mark."""
    if rng.random() < 0.15:
        question = question.rstrip(".?!") or question
    if rng.random() < 0.15:
        question = question[0].lower() + question[1:]
    return question


def invented_name(rng: random.Random) -> str:
    """A name that no list holds, so that names are copied and not remembered."""
    starts = (
        "b",
        "br",
        "d",
        "f",
        "g",
        "h",
        "j",
        "k",
        "kl",
        "l",
        "m",
        "n",
        "p",
        "r",
        "s",
        "st",
        "t",
        "v",
        "z",
        "c",
        "w",
        "th",
        "gr",
        "sh",
        "tr",
    )
    name = "".join(rng.choice(starts) + rng.choice("aeiou") for _ in range(rng.choice((1, 2, 2)))) + rng.choice(
        "nrslmkx"
    )
    return (name + rng.choice(("", "a", "o", "i"))).title()


def join_and(items: list[str]) -> str:
    """Items as "a, b and c"."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
