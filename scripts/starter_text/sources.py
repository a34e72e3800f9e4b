"""Where training documents come from: the generators, and the text files of the data folder where there is one."""

from __future__ import annotations

import json
import lzma
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from starter_text.chat import mixed_chat
from starter_text.stories import Turns, article, story_chat
from starter_text.tasks import echo
from starter_text.words import bank, rough

Document = str | Turns
UNWANTED = re.compile(
    r"throat|kill|murder|sex|rape|blood|genital|intercourse|suicid|prostitut|slave|nazi|drug", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of documents: how many are wanted, and its share of the rows in the first and second phase."""

    name: str
    limit: int
    first: float
    second: float


SOURCES = (
    Source("made_stories", 24_000, 28, 36),
    Source("made_chats", 60_000, 24, 44),
    Source("made_echoes", 20_000, 0, 9),
    Source("capitals", 8_000, 5, 7),
    Source("elements", 2_000, 1, 1),
    Source("meanings", 12_000, 5, 3),
    Source("what_is", 12_000, 8, 3),
    Source("kids", 6_000, 17, 3),
    Source("wiki", 12_000, 9, 1),
    Source("dolly", 3_000, 3, 2),
)


def read(data: Path, name: str) -> Iterator[dict[str, object]]:
    """The records of NAME.jsonl.xz, none if the file is not there."""
    path = data / f"{name}.jsonl.xz"
    if not path.exists():
        return
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def list_of(record: dict[str, object], field: str) -> list[object]:
    """A list field of a record."""
    value = record[field]
    assert isinstance(value, list)
    return value


def first_sentences(text: str, longest: int = 240) -> str:
    """The first one or two sentences of a paragraph, at most `longest` characters; empty if the first is longer."""
    sentences = re.split(r"(?<=[.!?]) (?=[A-Z])", text.strip())
    if len(sentences[0]) > longest:
        return ""
    pair = " ".join(sentences[:2])
    return pair if len(pair) <= longest else sentences[0]


def countries(data: Path) -> list[tuple[str, str, str]]:
    """Each country of the factbook with its capital and its continent (empty where it is not one of five)."""
    regions = {
        "africa": "Africa", "europe": "Europe", "south-america": "South America", "north-america": "North America",
        "east-n-southeast-asia": "Asia", "south-asia": "Asia", "middle-east": "Asia", "central-asia": "Asia",
    }  # fmt: skip
    named = r'"conventional short form": {"text": "(?:the )?([A-Z][A-Za-z \-\']+)"'
    found: list[tuple[str, str, str]] = []
    for record in read(data, "facts_factbook"):
        fields = record["data"]
        assert isinstance(fields, dict)
        country = re.search(named, json.dumps(fields.get("Government/Country name")))
        government = json.dumps(fields.get("Government/Capital"), ensure_ascii=False)
        capital = re.search(r'"name": {"text": "([^"(;,<]+)', government)
        if country is None or capital is None or capital[1].startswith("no "):
            continue
        takes_the = re.match(r"United|Netherlands|Philippines|Bahamas|Gambia|Czech R|Maldives", country[1])
        region = regions.get(str(record["file"]).split("/")[0], "")
        found.append((("the " if takes_the else "") + country[1], capital[1].strip(), region))
    return found


def capitals(data: Path, rng: random.Random) -> list[Document]:
    """Capital and continent questions from the factbook, in many wordings; well-known countries come more often."""
    places = countries(data)
    known = [place for place in places if place[0] in bank("known_countries")]
    documents: list[Document] = []
    for country, capital, continent in [*places * 20, *known * 40]:
        other = rng.choice(places)
        ask = rng.choice(
            (
                "What is the capital of {}?",
                "What is the capital city of {}?",
                "capital of {}",
                "Name the capital of {}.",
                "Which city is the capital of {}?",
                "What's the capital of {}?",
                "Tell me the capital of {}.",
            )
        )
        turns = [(rough(rng, ask.format(country)), f"The capital of {country} is {capital}.")]
        form = rng.random()
        if form < 0.15:
            turns.append((f"And {other[0]}?", f"The capital of {other[0]} is {other[1]}."))
        elif form < 0.3 and continent:
            turns = [
                (
                    rng.choice(("Where is {}?", "On which continent is {}?", "In which continent is {}?")).format(
                        country
                    ),
                    f"{country} is in {continent}.",
                )
            ]
        elif form < 0.42:
            turns = [
                (
                    rng.choice((f"{capital} is the capital of which country?", f"Where is {capital}?")),
                    f"{capital} is the capital of {country}.",
                )
            ]
        documents.append(turns)
    return documents


def elements(data: Path, rng: random.Random) -> list[Document]:
    """Symbols, numbers and states of the chemical elements."""
    documents: list[Document] = []
    for record in list(read(data, "facts_elements")) * 10:
        name, symbol, number = str(record["name"]), record["symbol"], record["number"]
        phase = str(record["phase"]).lower()
        documents.append(
            [
                rng.choice(
                    (
                        (f"What is the symbol of {name.lower()}?", f"The symbol of {name.lower()} is {symbol}."),
                        (
                            f"What is the chemical symbol for {name.lower()}?",
                            f"The symbol of {name.lower()} is {symbol}.",
                        ),
                        (f"Which element has the symbol {symbol}?", f"{symbol} is the symbol of {name.lower()}."),
                        (
                            f"What is the atomic number of {name.lower()}?",
                            f"The atomic number of {name.lower()} is {number}.",
                        ),
                        (f"Is {name.lower()} a gas?", f"At room temperature {name.lower()} is a {phase}."),
                        (
                            f"What is {name.lower()}?",
                            f"{name} is a chemical element. Its symbol is {symbol} and its atomic number is {number}.",
                        ),
                    )
                )
            ]
        )
    return documents


def meanings(data: Path, rng: random.Random) -> list[Document]:
    """Questions for the meaning of each common word, in its most used sense."""
    best: dict[str, dict[str, object]] = {}
    for record in read(data, "dict_wordnet"):
        words, frequency = record["words"], record["freq"]
        assert isinstance(words, list) and isinstance(frequency, int)
        meaning = str(record["def"])
        if (
            frequency < 3
            or len(meaning) > 90
            or UNWANTED.search(json.dumps(record))
            or not re.fullmatch(r"[a-z]{3,}", words[0])
        ):
            continue
        if words[0] not in best or frequency > int(str(best[words[0]]["freq"])):
            best[words[0]] = record
    common = sorted(best, key=lambda word: -int(str(best[word]["freq"])))[:3000]
    documents: list[Document] = []
    for word in [*common, *common[:1500], *common[:800], *common[:800]]:
        record = best[word]
        kind = str(record["pos"])
        ask = rng.choice(
            (
                'What does "{}" mean?',
                "What does {} mean?",
                'What is the meaning of "{}"?',
                "Define {}.",
                "Explain the word {}.",
                "What does the word {} mean?",
                'Define "{}".',
                "meaning of {}",
            )
        )
        answer = f'"{word[0].upper()}{word[1:]}" is {article(kind)}. It means: {record["def"]}.'
        examples = record["ex"]
        if isinstance(examples, list) and examples and word in str(examples[0]) and rng.random() < 0.5:
            answer += f' For example: "{examples[0]}".'
        documents.append([(rough(rng, ask.format(word)), answer)])
    return documents


def what_is(data: Path, rng: random.Random) -> list[Document]:
    """Questions for a Simple Wikipedia topic, answered by its first sentences; common words come first."""
    common = {
        str(word)
        for record in read(data, "dict_wordnet")
        if int(str(record["freq"])) >= 2
        for word in list_of(record, "words")
    }
    topics: list[tuple[bool, int, str, str]] = []
    for record in read(data, "wiki_simple"):
        text = str(record["text"])
        title, _, body = text.partition("\n\n")
        answer = first_sentences(body.partition("\n\n")[0], 200)
        bare = re.sub(r"^(A|An|The) ", "", answer)
        if (
            not re.fullmatch(r"[A-Z]\w+( \w+)?", title)
            or "(" in answer[:60]
            or len(answer) < 30
            or UNWANTED.search(answer)
        ):
            continue
        if bare.lower().startswith(title.lower()):
            topics.append((title.lower() in common, len(text), title, answer))
    documents: list[Document] = []
    for is_word, _, title, answer in sorted(topics, reverse=True)[:3500]:
        name = title.lower() if is_word else title
        name = article(name) if answer.startswith(("A ", "An ")) else name
        for _ in range(3 if is_word else 1):
            ask = rng.choice(("What is {}?", "What is {}?", "Tell me about {}.", "Explain {}.", "What's {}?"))
            documents.append([(rough(rng, ask.format(name)), answer)])
    return documents


def dolly(data: Path, rng: random.Random) -> list[Document]:
    """Short human-written questions and answers."""
    documents: list[Document] = []
    for record in read(data, "chat_dolly"):
        messages = record["messages"]
        assert isinstance(messages, list)
        question, answer = (str(message["content"]) for message in messages[:2])
        if len(question) < 120 and len(answer) < 260:
            documents.append([(question, answer)])
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


def collect(data: Path, seed: int, scale: float) -> dict[str, list[Document]]:
    """The documents of each source, `scale` times its limit at most; sources without data are left out."""
    kids = ("stories_kids_ccby", "stories_tinystories_sample", "stories_fairytaleqa", "stories_tinyfabulist")
    found: dict[str, list[Document]] = {}
    for source in SOURCES:
        rng = random.Random(f"{seed} {source.name}")
        limit = max(50, int(source.limit * scale))
        makers = {
            "made_stories": partial(made, partial(story_chat, rng), limit),
            "made_chats": partial(made, partial(mixed_chat, rng), limit),
            "made_echoes": partial(made, partial(echo, rng), limit),
            "capitals": partial(capitals, data, rng),
            "elements": partial(elements, data, rng),
            "meanings": partial(meanings, data, rng),
            "what_is": partial(what_is, data, rng),
            "kids": partial(prose, data, rng, kids, 1600),
            "wiki": partial(prose, data, rng, ("wiki_simple",), 900),
            "dolly": partial(dolly, data, rng),
        }
        documents = makers[source.name]()
        rng.shuffle(documents)
        if documents:
            found[source.name] = documents[:limit]
    return found
