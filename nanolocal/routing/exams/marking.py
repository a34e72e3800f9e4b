"""Whether an answer is right, by checks that anybody can repeat. Nothing that a model wrote is ever run.

An item names its checks; an answer is right when it is not empty and every one of them holds. A phrase is looked for
as whole words, ``bake*`` as a beginning, ``a|b`` as one of them.
"""

import ast
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "’": "'", "‘": "'", "«": '"', "»": '"'})  # noqa: RUF001
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?![\w])")
_FENCE = re.compile(r"```[\w+-]*\n?(.*?)```", re.DOTALL)
_OPTION = re.compile(
    r"^\W*([A-D])(?:[).:*]|\s*$)|(?i:\b(?:answer|option|choice|correct)\b)[^A-Z\n]{0,12}\b([A-D])\b", re.MULTILINE
)
_MOST_PATTERN, _MOST_REPEATS, _MOST_LITERAL = 60, 6, 200


def is_right(answer: str, checks: Mapping[str, Any]) -> bool:
    """Whether ``answer`` passes every one of ``checks``, by their names in ``CHECKS``."""
    text = unicodedata.normalize("NFC", answer).translate(_QUOTES).strip()
    return bool(text) and all(CHECKS[name](text, wanted) for name, wanted in checks.items())


def _number(text: str, wanted: float) -> bool:
    """The last number of the answer: what comes before it is the way there."""
    found = _NUMBER.findall(text)
    return bool(found) and abs(float(found[-1].replace(",", "")) - wanted) < 1e-6


def _any(text: str, phrases: Sequence[str]) -> bool:
    return any(_has(text, phrase) for phrase in phrases)


def _all(text: str, phrases: Sequence[str]) -> bool:
    return all(_any(text, phrase.split("|")) for phrase in phrases)


def _none(text: str, phrases: Sequence[str]) -> bool:
    return not _any(text, phrases)


def _has(text: str, phrase: str) -> bool:
    """Scripts without spaces have no whole words."""
    begins = phrase.endswith("*")
    wanted, folded = phrase.removesuffix("*").casefold(), text.casefold()
    if not all(character < "\u0250" for character in wanted):
        return wanted in folded
    return re.search(rf"(?<!\w){re.escape(wanted)}" + ("" if begins else r"(?!\w)"), folded) is not None


def _option(text: str, letter: str) -> bool:
    chosen = [first or second for first, second in _OPTION.findall(text)]
    return bool(chosen) and set(chosen) == {letter}


def _regex(text: str, pattern: str) -> bool:
    return re.search(pattern, text, re.IGNORECASE) is not None


def _line(text: str, wanted: str) -> bool:
    return _lines_any(text, [wanted])


def _lines_any(text: str, wanted: Sequence[str]) -> bool:
    """The last line of the code, in any spacing and either kind of quotation marks."""
    return _squeezed(_code(text).splitlines()[-1:]) in {_squeezed([each]) for each in wanted}


def _squeezed(lines: Sequence[str]) -> str:
    return re.sub(r"\s+", "", "".join(lines)).replace('"', "'").strip("`").casefold()


def _literal(text: str, wanted: str) -> bool:
    """A Python value that equals another, whichever way it is written; read as data."""
    try:
        return bool(ast.literal_eval(_code(text)[:_MOST_LITERAL]) == ast.literal_eval(wanted))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False


def _accepts(text: str, examples: Sequence[str]) -> bool:
    return (pattern := _pattern(text)) is not None and all(pattern.fullmatch(each) for each in examples)


def _rejects(text: str, examples: Sequence[str]) -> bool:
    return (pattern := _pattern(text)) is not None and not any(pattern.fullmatch(each) for each in examples)


def _pattern(text: str) -> re.Pattern[str] | None:
    """A regular expression that a model wrote; none that could take long, which takes repeats of groups or many."""
    written = _code(text).strip().strip("`/")
    is_heavy = len(written) > _MOST_PATTERN or len(re.findall(r"[*+?{]", written)) > _MOST_REPEATS
    if is_heavy or re.search(r"\)[*+?{]|\\\d\D*$|\(\?", written.replace(r"\)", "").replace(r"\d", "")):
        return None
    try:
        return re.compile(written)
    except (re.error, OverflowError, RecursionError):
        return None


def _code(text: str) -> str:
    """What stands between code fences, where there are any."""
    fenced = _FENCE.search(text)
    return (fenced.group(1) if fenced else text).strip().strip("`").strip()


def _sentences(text: str, count: int) -> bool:
    ends = re.findall(r"[.!?]+[\"')\]]*(?=\s|$)", text)
    return len(ends) + (not re.search(r"[.!?][\"')\]]*$", text)) == count


def _lines(text: str, count: int) -> bool:
    return len([line for line in text.splitlines() if line.strip()]) == count


def _lines_least(text: str, count: int) -> bool:
    return len([line for line in text.splitlines() if line.strip()]) >= count


def _json(text: str, keys: Sequence[str]) -> bool:
    try:
        value = json.loads(_code(text))
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and set(keys) <= set(value)


def _case(text: str, case: str) -> bool:
    return text == (text.upper() if case == "upper" else text.lower())


def _starts(text: str, word: str) -> bool:
    return re.match(rf"\W*{re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def _ends(text: str, word: str) -> bool:
    """The last words; punctuation after them does not count, unless it is punctuation that is asked for."""
    last = text if not word[-1].isalnum() else re.sub(r"\W+$", "", text)
    return last.casefold().endswith(word.casefold())


CHECKS: Mapping[str, Callable[[str, Any], bool]] = {
    "number": _number,
    "any": _any,
    "all": _all,
    "none": _none,
    "option": _option,
    "regex": _regex,
    "line": _line,
    "lines_any": _lines_any,
    "literal": _literal,
    "accepts": _accepts,
    "rejects": _rejects,
    "sentences": _sentences,
    "lines": _lines,
    "lines_least": _lines_least,
    "most_words": lambda text, count: len(text.split()) <= count,
    "least_words": lambda text, count: len(text.split()) >= count,
    "without": lambda text, character: character not in text.casefold(),
    "starts": _starts,
    "ends": _ends,
    "case": _case,
    "json": _json,
}
"""By name: whether a text, stripped and with straight quotation marks, has what is wanted."""
