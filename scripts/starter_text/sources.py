"""Where training documents come from: the generators, and the text files of the data folder where there is one."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from starter_text.chat import mixed_chat
from starter_text.facts import Document, capitals, dolly, elements, meanings, read, unknown, what_is
from starter_text.stories import Turns, story_chat
from starter_text.tasks import echo


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of documents: how many are wanted, and its share of the rows in the first and second phase."""

    name: str
    limit: int
    first: float
    second: float


SOURCES = (
    Source("made_stories", 24_000, 28, 36),
    Source("made_chats", 60_000, 24, 40),
    Source("made_echoes", 20_000, 0, 4),
    Source("capitals", 8_000, 5, 7),
    Source("elements", 2_000, 1, 1),
    Source("meanings", 12_000, 5, 2),
    Source("what_is", 12_000, 8, 2),
    Source("unknown", 8_000, 0, 8),
    Source("kids", 6_000, 17, 1),
    Source("wiki", 12_000, 9, 0),
    Source("dolly", 3_000, 3, 0),
)


def prose(data: Path, rng: random.Random, names: tuple[str, ...], longest: int) -> list[Document]:
    """Plain text of some files, each document cut at a paragraph's end before `longest` characters."""
    documents: list[Document] = []
    for name in names:
        for record in read(data, name):
            text = str(record["text"])
            pieces = [""]
            for paragraph in text.split("\n\n"):
                if len(pieces[-1]) + len(paragraph) > longest:
                    pieces.append("")
                pieces[-1] += ("\n\n" if pieces[-1] else "") + paragraph
            documents += pieces[:1] if name.startswith("wiki") else [piece for piece in pieces if len(piece) > 200]
    rng.shuffle(documents)
    return documents


def made(maker: partial[Turns], count: int) -> list[Document]:
    """`count` documents of a generator."""
    return [maker() for _ in range(count)]


def generated(seed: int, count: int) -> dict[str, list[Document]]:
    """`count` stories and as many chats of the generators."""
    rng = random.Random(seed)
    return {"made_stories": made(partial(story_chat, rng), count), "made_chats": made(partial(mixed_chat, rng), count)}


def collect(data: Path, seed: int, scale: float) -> dict[str, list[Document]]:
    """The documents of each source, `scale` times its limit at most; sources without data are left out."""
    kids = ("stories_kids_ccby", "stories_tinystories_sample", "stories_fairytaleqa", "stories_tinyfabulist")
    found: dict[str, list[Document]] = {}
    for source in SOURCES:
        rng = random.Random(f"{seed} {source.name}")
        limit = max(50, int(source.limit * scale))
        makers: dict[str, Callable[[], Sequence[Document]]] = {
            "made_stories": partial(made, partial(story_chat, rng), limit),
            "made_chats": partial(made, partial(mixed_chat, rng), limit),
            "made_echoes": partial(made, partial(echo, rng), limit),
            "capitals": partial(capitals, data, rng),
            "elements": partial(elements, data, rng),
            "meanings": partial(meanings, data, rng),
            "what_is": partial(what_is, data, rng),
            "kids": partial(prose, data, rng, kids, 1600),
            "wiki": partial(prose, data, rng, ("wiki_simple",), 900),
            "unknown": partial(unknown, data, rng),
            "dolly": partial(dolly, data, rng),
        }
        documents = list(makers[source.name]())
        rng.shuffle(documents)
        if documents:
            found[source.name] = documents[:limit]
    return found
