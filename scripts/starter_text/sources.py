"""Where training documents come from: the generators, and the text files of the data folder where there is one."""

from __future__ import annotations

import lzma
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from starter_text.chat import mixed_chat
from starter_text.facts import Document, capitals, dolly, elements, list_of, meanings, passages, read, unknown, what_is
from starter_text.practice import practised
from starter_text.prompts import is_asked
from starter_text.stories import Turns, story_chat
from starter_text.tasks import echo

Phase = Literal["first", "second", "further", "full first", "full second"]
PHASES: dict[str, tuple[Phase, ...]] = {
    "smoke": ("first", "second"), "small": ("first", "second"), "full": ("full first", "full second"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of documents: how many are wanted, and its share of the tokens in each phase, in per cent."""

    name: str
    limit: int
    first: float
    second: float
    further: float
    full_first: float
    full_second: float

    def share(self, phase: Phase) -> float:
        """Its share of the tokens in a phase."""
        share: float = getattr(self, phase.replace(" ", "_"))
        return share


SOURCES = (
    Source("made_stories", 24_000, 28, 36, 9, 14, 14),
    Source("made_chats", 60_000, 24, 40, 19, 8, 16),
    Source("made_echoes", 20_000, 0, 4, 2, 1, 2),
    Source("practice", 90_000, 0, 0, 44, 6, 30),
    Source("capitals", 8_000, 5, 7, 3, 1, 2),
    Source("elements", 2_000, 1, 1, 1, 0.5, 0.5),
    Source("meanings", 12_000, 5, 2, 1, 2, 2),
    Source("what_is", 12_000, 8, 2, 2, 4, 3),
    Source("unknown", 8_000, 0, 8, 3, 0, 3),
    Source("passages", 2_500, 0, 0, 3, 2, 4),
    Source("kids", 6_000, 17, 1, 7, 14, 6),
    Source("wiki", 12_000, 9, 0, 4, 26, 8),
    Source("dolly", 3_000, 3, 0, 2, 4, 5),
    Source("books", 12_000, 0, 0, 0, 10, 2),
    Source("hard", 4_000, 0, 0, 0, 5, 1),
    Source("talks", 4_000, 0, 0, 0, 3, 0),
)
KIDS = ("stories_kids_ccby", "stories_tinystories_sample", "stories_fairytaleqa", "stories_tinyfabulist")
HARD, TALKS, BOOKS = (
    ("wiki_featured_leads", "edu_openstax"),
    ("dialog_selfdialogue", "dialog_topicalchat"),
    "stories_gutenberg",
)
FILES = (
    *KIDS, *HARD, *TALKS, BOOKS, "wiki_simple", "chat_dolly", "chat_fairytaleqa", "dict_wordnet", "facts_factbook",
    "facts_elements",
)  # fmt: skip


def pack(data: Path, target: Path) -> int:
    """Copy what a full run reads into a folder that is small enough to travel, half of the books; returns its bytes."""
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        source, copy = data / f"{name}.jsonl.xz", target / f"{name}.jsonl.xz"
        if name != BOOKS:
            shutil.copyfile(source, copy)
            continue
        with lzma.open(source, "rt", encoding="utf-8") as lines, lzma.open(copy, "wt", encoding="utf-8") as kept:
            kept.writelines(line for number, line in enumerate(lines) if number % 2 == 0)
    return sum((target / f"{name}.jsonl.xz").stat().st_size for name in FILES)


def talks(data: Path, rng: random.Random) -> list[Document]:
    """Conversations of people, a line for each turn; not in the form of a chat, as the model is no person."""
    documents: list[Document] = []
    for name in TALKS:
        documents += ["\n".join(map(str, list_of(record, "turns")))[:2000] for record in read(data, name)]
    rng.shuffle(documents)
    return documents


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


def collect(data: Path, seed: int, scale: float, phases: tuple[Phase, ...]) -> dict[str, list[Document]]:
    """The documents of each source that these phases read, `scale` times its limit at most.

    Sources without data are left out, and so is each conversation that holds one of the fixed prompts.
    """
    found: dict[str, list[Document]] = {}
    for source in (one for one in SOURCES if any(one.share(phase) for phase in phases)):
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
            "kids": partial(prose, data, rng, KIDS, 1600),
            "wiki": partial(prose, data, rng, ("wiki_simple",), 900),
            "practice": partial(practised, data, rng, limit),
            "passages": partial(passages, data, rng),
            "unknown": partial(unknown, data, rng),
            "dolly": partial(dolly, data, rng),
            "books": partial(prose, data, rng, (BOOKS,), 1600),
            "hard": partial(prose, data, rng, HARD, 1600),
            "talks": partial(talks, data, rng),
        }
        documents = [document for document in makers[source.name]() if not is_asked(document)]
        rng.shuffle(documents)
        if documents:
            found[source.name] = documents[:limit]
    return found
