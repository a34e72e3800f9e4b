"""Shapes of a prompt that single words do not show: options, code, formulas, tables, lengths, languages.

Spacing and case may differ between two ways of writing the same prompt, so no shape hangs on them alone.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache

# A pattern that begins with plain characters is looked for several times as fast: what has to stand before them is
# therefore asked afterwards, in a lookbehind.
_SHAPES: tuple[tuple[str, str], ...] = (
    ("options", r"(?:^|\s|\()a\s?[.):][\s\S]{1,300}?(?:\s|\()b\s?[.):][\s\S]{1,300}?(?:\s|\()c\s?[.):]"),
    ("two options", r"[a1](?<![^\s(].)\s?[.):][\s\S]{1,200}?(?:\s|\()(?:b|2)\s?[.):]"
                    r"(?![\s\S]*(?:\s|\()(?:c|3)\s?[.):])"),
    ("numbered", r"1(?<![^\s(]1)\s?[.):][\s\S]{1,300}?(?:\s|\()2\s?[.):][\s\S]{1,300}?(?:\s|\()3\s?[.):]"),
    ("choices word", r"\b(?:options|choices|answer choices)\s*:"),
    ("answer slot", r"a(?<=\ba)nswer\s*:\s*$|答案\s*[:：]\s*$|答え\s*[:：]\s*$"),  # noqa: RUF001
    ("colon end", r"[:：]\s*$"),  # noqa: RUF001
    ("fence", r"```"),
    ("inline code", r"`[^`\n]+`"),
    ("statement", r";\s*(?:\n|$|\})|\{\s*(?:\n|$)|\)\s*\{|=>|s(?<=\bs)elf\.|->\s*\w+\s*[:{]|\((?<=\w\()\w*\)\s*[;:{]"),
    ("keyword", r"(?:^|\n)\s*(?:def|class|import|from|function|public|private|static|const|let|var|fn|func|package|"
                r"using|#include|impl|struct) \S"),
    ("stub", r"(?:def|fn|func|function|int|void|public)\s[^\n]{0,120}[:{]\s*\n?\s*"
             r"(?:\"\"\"|'''|//|/\*|#|\}|todo|pass\b|\.\.\.)"),
    ("docstring", r'"""|>>>|/\*\*'),
    ("trace", r"traceback|exception|error:|segfault|segmentation fault|undefined|errno|stack trace|"
              r"error\b(?<=[a-z]error)"),
    ("sql", r"s(?<=\bs)elect\b[\s\S]{1,200}\bfrom\b|c(?<=\bc)reate table\b|i(?<=\bi)nsert into\b"),
    ("tag", r"</?[a-z][a-z0-9]*(?:\s[^>]*)?>"),
    ("latex", r"\\[a-z]{2,}|\$[^$\n]+\$"),
    ("power", r"\^(?:(?<=[a-z0-9)]\^)|(?<=[a-z0-9)]\s\^))\s?[\d({a-z]|s(?<=\bs)qrt\b|[√∫∑π≤≥²³]"),
    ("equation", r"[a-z0-9)]\s?=\s?-?[\d(a-z]"),
    ("sum", r"\d\s*[-+*/×÷·x]\s*\(?\d"),
    ("only a sum", r"^[\s\d.,()+*/^x×÷=?%!-]+$"),
    ("percent", r"\d\s?%"),
    ("money", r"[$€£¥]\s?\d|\d\s?(?:dollars|euros?|cents|€|£|元|円|reais)"),
    ("how many", r"how (?:many|much|long|far|old|fast)\b|wie ?viele?\b|combien|cuánt[oa]s?|quant[oaie]s?\b|"
                 r"多少|几[个本只元]|いくつ|何[個人本枚冊円]|いくら"),
    ("blank", r"__|\.{4}"),
    ("json", r"[\[{]\s*\"[^\"\n]+\"\s*:"),
    ("commas in rows", r"(?:^|\n)[^\n,;|\t]{1,30}[,;|\t][^\n]{1,80}\n[^\n,;|\t]{1,30}[,;|\t]"),
    ("pipes", r"\|[^|\n]+\|[^|\n]+\|"),
    ("series", r"\d[\d.]*\s*[,;]\s*(?:\d[\d.]*\s*[,;]\s*){2}\d"),
    ("pairs", r"\b[a-z]{3,12}[ :=]{1,3}\$?\d[\d.,]*[,;] ?[a-z]{3,12}[ :=]{1,3}\$?\d"),
    ("quoted", r"[\"“«„「][^\"”»“」]{12,}[\"”»“」]"),
    ("speakers", r"(?:^|\n)\s*[a-z]\w{1,14}\s?: [^\n]+\n\s*[a-z]\w{1,14}\s?: "),
    ("deed", r"\*(?<!\S\*)[a-z][^*\n]{3,60}\*"),
    ("wish to draw", r"^(?:please |just |now |quickly )*(?:draw|paint|sketch|illustrate|doodle|render|depict)\b"
                     r"(?! (?:an? |the |some |your |my |any )*"
                     r"(?:conclusions?|parallels?|comparisons?|inferences?|lines? between|up\b|on\b|lots?\b|table|uml|"
                     r"(?:vivid )?pictures? (?:in|with) words))"),
    ("picture of", r"\b(?:pictures?|images?|photos?|drawings?|paintings?|illustrations?|sketch|portraits?|posters?|"
                   r"banners?|art|artwork|logos?) (?:of|with|showing|where|in which|for|about)\b"),
    ("drawing flags", r"[-\d](?:(?<=-)-(?:ar|v|s|style|q|niji|no)\b|(?<=\b\d)\d*(?:k|mm)\b)"),
    ("colon then text", r"^[^\n:]{3,90}:\s*\S[\s\S]{15,}"),
    ("question word", r"^(?:what|who|when|where|why|how|which|is|are|do|does|did|can|should|was|were)\b"),
    ("dash list", r"(?:^|\n)\s*[-•*] [^\n]+\n\s*[-•*] "),
    ("truth values", r"(?:true(?<=\btrue)|false(?<=\bfalse))\b[\s()]*(?:and|or)\b[\s()]*"
                     r"(?:not\b[\s()]*)*(?:true|false)\b"),
    ("date in digits", r"[m\d](?:(?<=\bm)m/dd|(?<=\b\d)\d?/\d{1,2}/\d{2,4}\b)"),
    ("patient", r"[\dp](?:(?<=\b\d)\d*[- ](?:year|month|week|day)s?[- ]old\b|(?<=\bp)resents? with\b)"),
    ("named parts", r"(?:^|\s)(?:passage|context|article|text|paragraph|premise|hypothesis|sentence|review|claim|"
                    r"evidence|title|table|dialogue|conversation)\s?\d?\s?:"),
    ("two named parts", r"(?:^|\s)(?:passage|context|article|text|title|table|premise|input)\s?:[\s\S]+\s"
                        r"(?:question|q|hypothesis|answer|output)\s?:"),
    ("rows of numbers", r"(?:^|\n)(?:[^\n]*[,;|\t]\s*-?\$?\d[^\n]*+\n){2}"),
    ("thing first", r"^(?:an?|the|two|three|four|five|several|some|ein|eine|une?|una?|um|uma|un) [^?!:;]{3,160}$"),
    ("short order", r"^(?:make|change|turn|replace|swap|remove|erase|add|put|give|take|get|move|place|fill|crop|let|"
                    r"flip|zoom|open|keep|lose|what if) [^\n\"“:]{3,90}$"),
    ("kana", r"[\u3040-\u30ff]"),
    ("han", r"[\u4e00-\u9fff]"),
)  # fmt: skip

_LIMITS = re.compile(
    r"at least|at most|exactly|no more than|fewer than|less than \d+ w|more than \d+ w|don't use|without (?:using|any)|"
    r"do not (?:use|include|say|mention)|must (?:be|contain|include|start|end|have)|"
    r"should (?:be|contain|include|have)|all (?:caps|capital|lower)|lowercase|uppercase|placeholders?|the letter|"
    r"the words? \"|keywords?|paragraphs?|bullet points?|double (?:quotation|angular)|end (?:your|the|with)|start with|"
    r"in \d+ words|\d+ (?:words|sentences)|entire response|whole reply|commas?|markdown|title wrapped"
)
_VERBS = re.compile(
    r"\b(?:is|are|was|were|am|do|does|did|has|have|had|can|could|should|would|will|what|who|how|why|when|where|which|"
    r"write|explain|tell|give|list|find|make|create|draw|i|my|you|your|it|that|this)\b"
)
_FINITE = re.compile(
    r"\b(?:is|are|was|were|am|be|do|does|did|has|have|had|can|could|should|would|will|may|might|must|what|who|whose|how|"
    r"why|when|where|which|if|because|write|explain|tell|give|list|find|need|want|help|say|says|said|i|i'm|my|we|our|"
    r"you|your|it's|don't|please|thanks|vs|translate|summari[sz]e|rewrite|fix|compare|define|describe|name|sort)\b"
)
_PLACED = re.compile(
    r"\b(?:on|in|under|over|beside|behind|near|with|of|at|above|below|inside|next to|in front of|made of|wearing|"
    r"holding|playing|sitting|standing|riding|eating|auf|unter|neben|mit|sur|dans|sous|avec|sobre|con|com|em|su|sotto) "
)
_BREAK = re.compile(r"\s(?:(?<=\n)\n*|(?<=[.!?]\s)\s*)")
_AMOUNT = re.compile(r"\d+|\b(?:half|twice|third|quarter|double|dozen|times|two|three|four|five|six|each|every)\b")
_COUNTS = re.compile(
    r"\bhow (?:many|much|long|far|old|fast)\b|\btotal\b|\bwhat (?:was|is|did) .{0,30}(?:price|cost|pay|sum)\b"
)
_ASKS = re.compile(
    r"(?:question|q|frage|pregunta|domanda|pergunta)\s?:|"
    r"(?:who|what|when|where|why|how|which|according|is|are|do|does|did|can|was|were|in which|in what)\b"
)


def shapes_of(text: str) -> Iterator[str]:
    """The names of the shapes that ``text`` has."""
    lower = text.lower()
    yield from (name for name, pattern in _compiled() if pattern.search(lower))
    yield f"length {min(len(lower).bit_length(), 11) // 2}"
    yield from _counted("numbers", len(re.findall(r"[0-9]+", lower)), 5)
    yield from _counted("limits", len(_LIMITS.findall(lower)), 4)
    yield from _fragments(lower)
    yield from _caption(lower)
    yield from _questions(lower)


def sentences(text: str) -> list[str]:
    """The lines and sentences of ``text``, without the space around them; Chinese ends them without a space."""
    for end in "。！？":  # noqa: RUF001
        text = text.replace(end, f"{end}\n")
    return [piece for part in _BREAK.split(text) if (piece := part.strip())]


def _counted(name: str, count: int, most: int) -> Iterator[str]:
    """One shape for each step up to the count, so that more is like less, and nothing for none."""
    yield from (f"{name} {step}" for step in range(1, min(count, most) + 1))


def _fragments(lower: str) -> Iterator[str]:
    """Short pieces between commas and no verb: how people describe a picture."""
    parts = [part for part in re.split(r"[,、，]", lower) if part.strip()]  # noqa: RUF001
    if len(lower) > 600 or _VERBS.search(lower) or "?" in lower:
        return
    yield "no verb"
    if len(parts) > 2 and len(lower) / len(parts) < 40:
        yield "fragments"


def _caption(lower: str) -> Iterator[str]:
    """One short phrase without a finite verb, and where things stand in it: what is under a picture."""
    if len(lower) > 200 or "\n" in lower or _FINITE.search(lower) or re.search(r"[?:=]|\d\s*[-+*/]\s*\d", lower):
        return
    yield "phrase"
    if _PLACED.search(lower):
        yield "phrase with a place"


def _questions(lower: str) -> Iterator[str]:
    """Where the question stands in a prompt of several sentences, and whether a long text lies beside it."""
    pieces = sentences(lower)
    if len(pieces) < 2:
        return
    asks = [bool(_ASKS.match(piece)) for piece in (pieces[0], pieces[-1])]
    size = "long" if len(lower) > 300 else "short"
    yield from (
        f"{size} text, {place} asks" for place, is_asking in zip(("first", "last"), asks, strict=True) if is_asking
    )
    yield f"sentences {min(len(pieces).bit_length(), 5)}"
    if asks[-1] or lower.rstrip().endswith("?"):
        yield from _questioned(pieces)


def _questioned(pieces: Sequence[str]) -> Iterator[str]:
    """Whether a last question is about numbers that stand before it, or about words that do."""
    before, question = " ".join(pieces[:-1]), pieces[-1]
    numbers = len(_AMOUNT.findall(before))
    counts = _COUNTS.search(question) is not None
    yield from _counted("asked how many after" if counts else "asked after", numbers, 4)
    known = set(re.findall(r"[^\W\d_]{4,}", before))
    asked = re.findall(r"[^\W\d_]{4,}", question)
    if asked:
        yield f"words known {sum(word in known for word in asked) * 3 // len(asked)}"


@cache
def _compiled() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((name, re.compile(pattern)) for name, pattern in _SHAPES)
