"""Whether an answer is what a prompt asks for, by program: one small rule for each check in asked.txt."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from starter_text.prompts import Prompt, things

HONEST = re.compile(
    r"\b(can ?not|can't|not able|unable|do not know|don't know|not know|nobody can|not sure|too (small|hard|big)"
    r"|no live|no internet|no private|no clock|larger model|do not have|have no|will not help|look it up)\b",
    re.IGNORECASE,
)
COMMON = frozenset(
    re.split(
        " ",
        "a am an and are at be but can do does for from good had has have he hello her hi how i in is it like me my no "
        "not of on one or please she so that the then there they thank thanks this to too very was we what with yes "
        "you your yours",
    )
)
Rule = Callable[[str, str], bool]


def words(text: str) -> list[str]:
    """The words of a text in lower case."""
    return re.findall(r"[\w']+", text.lower())


def sentences(text: str) -> list[str]:
    """Its sentences; a line without a full stop is one too."""
    return [part for part in re.split(r"(?<=[.!?])[\"')]*\s+|\n+", text.strip()) if words(part)]


def between(count: int, wanted: str) -> bool:
    """Whether a count is in a range such as "1-6"."""
    least, _, most = wanted.partition("-")
    return int(least) <= count <= int(most)


def bare(text: str) -> str:
    """The text without quotation marks around it and without its end mark."""
    return text.strip().strip("\"'").rstrip(".!").strip("\"'").strip()


def occurs(text: str, wanted: str) -> bool:
    """Whether a word, or more than one, is said in any case, also in the plural; with "*" at its end, a beginning."""
    end = "" if wanted.endswith("*") else r"s?(?!\w)"
    return re.search(r"(?<!\w)" + re.escape(wanted.removesuffix("*")) + end, text, re.IGNORECASE) is not None


def options(wanted: str) -> list[str]:
    """The texts that " / " parts."""
    return wanted.split(" / ")


def is_english(text: str) -> bool:
    """Whether letters are plain and common English words are among the words, or it is a word or two."""
    said = words(text)
    return text.isascii() and (len(said) <= 2 or any(word in COMMON for word in said))


def is_steady(text: str) -> bool:
    """Whether no sentence of four words or more comes twice and no six words in a row come three times."""
    said = [tuple(words(sentence)) for sentence in sentences(text)]
    long = [sentence for sentence in said if len(sentence) >= 4]
    every = words(text)
    rows = Counter(tuple(every[place : place + 6]) for place in range(len(every) - 5))
    return len(set(long)) == len(long) and max(rows.values(), default=0) < 3


def items(text: str) -> list[str]:
    """What a list names, in lower case: lines, or parts between commas and "and"."""
    body = text.strip().rstrip(".")
    lines = [line for line in body.splitlines() if line.strip()]
    parts = lines if len(lines) > 1 else re.split(r",\s*(?:and\s+)?|\s+and\s+|;\s*", body.partition(":")[2] or body)
    found = [re.sub(r"^\s*(?:\d+[.)]|[-*])\s*", "", part).strip(" .!") for part in parts]
    return [re.sub(r"^(a|an|some) ", "", part.lower()) for part in found if part]


def singulars(item: str) -> set[str]:
    """What one of them may be called, where the item is a plural."""
    return {item, item.removesuffix("s"), item.removesuffix("es"), re.sub("ies$", "y", item)}


def is_list(text: str, wanted: str) -> bool:
    """Whether it names so many different things, and of the wanted kind ("4 fruit"), in one or many."""
    count, _, kind = wanted.partition(" ")
    found = items(text)
    known = things(kind) if kind else frozenset()
    right = not kind or all(not known.isdisjoint(singulars(item)) for item in found)
    return len(set(found)) == len(found) == int(count) and right and all(len(item.split()) <= 4 for item in found)


RULES: dict[str, Rule] = {
    "says": lambda text, wanted: any(occurs(text, one) for one in options(wanted)),
    "all": lambda text, wanted: all(occurs(text, one) for one in options(wanted)),
    "lacks": lambda text, wanted: not any(occurs(text, one) for one in options(wanted)),
    "has": lambda text, wanted: any(one in text for one in options(wanted)),
    "is": lambda text, wanted: bare(text).lower() in [one.lower() for one in options(wanted)],
    "exact": lambda text, wanted: bare(text) in options(wanted),
    "starts": lambda text, wanted: any(text.strip().lower().startswith(one.lower()) for one in options(wanted)),
    "ends": lambda text, wanted: any(
        text.strip().strip("\"'").lower().endswith(one.lower()) for one in options(wanted)
    ),
    "count": lambda text, wanted: words(text).count(wanted.split(" ")[1]) == int(wanted.split(" ")[0]),
    "matches": lambda text, wanted: re.search(wanted, text) is not None,
    "words": lambda text, wanted: between(len(words(text)), wanted),
    "sentences": lambda text, wanted: between(len(sentences(text)), wanted),
    "lines": lambda text, wanted: between(len([line for line in text.splitlines() if line.strip()]), wanted),
    "items": is_list,
    "english": lambda text, _: is_english(text),
    "steady": lambda text, _: is_steady(text),
    "honest": lambda text, _: HONEST.search(text) is not None,
}


def holds(check: str, text: str) -> bool:
    """Whether one check holds; " or " parts checks of which one is enough."""
    for one in check.split(" or "):
        name, _, wanted = one.partition(" ")
        if RULES[name](text, wanted):
            return True
    return False


def failed(prompt: Prompt, text: str, ended: bool) -> list[str]:
    """What does not hold of an answer: it has to end by itself, to be more than nothing, and to pass each check."""
    problems = [check for check in prompt.checks if not holds(check, text)]
    if not ended:
        problems.append("ends by itself")
    return problems if text.strip() else ["says something"]
