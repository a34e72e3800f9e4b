"""What the task classifier sees of a prompt: hashed words, pairs, openings, endings, and the shapes of its text.

Only the ends of a long prompt are looked at, since that is where people say what they want; case, spacing, greetings
and the last punctuation mark are dropped, so that they cannot change the pick.
"""

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from nanolocal.routing.lexicon import kinds_of
from nanolocal.routing.shapes import sentences, shapes_of

VERSION = 2
"""Weights belong to one version of the features."""

_FIRST = 1000
_LAST = 700
_HEAD_WORDS = 24
_TAIL_WORDS = 16
_PIECE_WORDS = 4

_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]|[^\W\d_{_CJK}]+(?:['’][^\W\d_]+)?|\d+|[^\w\s.,!?;:'’\"“”„«»。，！？、；：¿¡…]|_+")  # noqa: RUF001
_SPACES = re.compile(r" {2,}")
_POLITE = re.compile(
    r"^(?:(?:hi|hello|hey|hello there|hi there|good (?:morning|evening|afternoon)|hallo|bonjour|hola|ciao|olá|oi|"
    r"dear assistant|quick (?:one|question)|i need (?:your )?help(?: with this)?[.:]|"
    r"(?:can|could) you (?:please )?help(?: me)?(?: (?:out|with (?:this|something)))?\?|"
    r"ok|okay|so|well|um|please|pls|plz|kindly|bitte|por favor|s'il (?:te|vous) pla[iî]t|per favore|请|帮我|"
    r"(?:can|could|would|will) (?:you|u) (?:please |kindly |maybe )?(?=\w{2,} )|i(?:'d| would) like you to|"
    r"i (?:want|need) you to|could i ask you to|kannst du (?:mir )?|könntest du (?:mir )?|peux-tu|pouvez-vous|puedes|"
    r"podrías|você pode|pode|puoi|potresti)(?:[\s,.!:?。，！]+|(?<=[请我 ])))+"  # noqa: RUF001
)
_THANKS = re.compile(
    r"[\s,.!\-]+(?:thanks?(?: you)?(?: (?:so|very) much| a lot| in advance)?|thx|ty|please|pls|cheers|danke|bitte|"
    r"merci|gracias|por favor|obrigad[oa]|grazie|per favore|谢谢|ありがとう(?:ございます)?|[:;]-?[)d])[\s.!]*$"
)


class Features(NamedTuple):
    """Hash keys by kind: ``ngrams`` share one unit of weight however long the prompt, ``marks`` count one each."""

    ngrams: dict[int, str]
    marks: dict[int, str]


def features_of(prompt: str) -> Features:
    """The features of ``prompt``, each key with the words it stands for; empty for a blank prompt."""
    text = trimmed(prompt)
    words = words_of(text)
    ngrams = _keyed(_ngrams(words))
    marks = _keyed(_openings(text, words))
    marks.update(_keyed(f"x:{kind}" for kind in kinds_of(text, words)))
    marks.update(_keyed(f"r:{shape}" for shape in shapes_of(ends_of(prompt))))
    return Features(ngrams, marks)


def ends_of(prompt: str) -> str:
    """The prompt itself, or the first and the last part of a long one; without spaces that nobody sees."""
    longest = 2 * (_FIRST + _LAST)
    shorter = prompt if len(prompt) <= longest else f"{prompt[: longest // 2]}\n{prompt[-longest // 2 :]}"
    text = _SPACES.sub(" ", shorter.replace("\0", " ")).strip()
    return text if len(text) <= _FIRST + _LAST else f"{text[:_FIRST]}\n{text[-_LAST:]}"


def trimmed(prompt: str) -> str:
    """Lower case, without greeting and thanks, unless there is nothing else."""
    text = ends_of(prompt).lower()
    bare = _THANKS.sub("", _POLITE.sub("", text))
    return bare if len(bare) > 3 else text


def words_of(text: str) -> list[str]:
    """Words, numbers by their length, and symbols; Chinese and Japanese by the character."""
    return [f"#{min(len(word), 4)}" if word.isdecimal() else word for word in _WORD.findall(text)]


def _ngrams(words: Sequence[str]) -> Iterator[str]:
    head, tail = words[:_HEAD_WORDS], words[max(_HEAD_WORDS, len(words) - _TAIL_WORDS) :]
    yield from (f"w:{word}" for word in dict.fromkeys(words))
    yield from (f"h:{word}" for word in head)
    yield from (f"t:{word}" for word in tail or head[-_TAIL_WORDS:])
    for part in (head, tail):
        yield from (f"b:{one} {two}" for one, two in pairwise(part))
        yield from (f"k:{one} {two}" for one, two in zip(part[:12], part[2:12], strict=False))
    yield from _characters(head)


def _characters(words: Sequence[str]) -> Iterator[str]:
    """Runs of four characters of the first words, for typing errors and endings."""
    for word in words[:16]:
        if len(word) > 4:
            edged = f"<{word}>"
            yield from (f"c:{edged[at : at + 4]}" for at in range(len(edged) - 3))


def _openings(text: str, words: Sequence[str]) -> Iterator[str]:
    yield from (f"p{n}:{' '.join(words[:n])}" for n in range(1, _PIECE_WORDS + 1) if len(words) >= n)
    yield from (f"s{n}:{' '.join(words[-n:])}" for n in range(1, _PIECE_WORDS) if len(words) >= n)
    pieces = sentences(text)
    if len(pieces) > 1:
        last = words_of(pieces[-1])[:_PIECE_WORDS]
        yield from (f"l{n}:{' '.join(last[:n])}" for n in range(1, len(last) + 1))


def _keyed(names: Iterable[str]) -> dict[int, str]:
    return {zlib.crc32(name.encode("utf-8", "replace")): name for name in names}
