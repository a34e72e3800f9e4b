"""Facts as questions and answers, from the data folder: countries, elements, words, topics."""

from __future__ import annotations

import hashlib
import json
import lzma
import random
import re
from collections.abc import Iterator
from pathlib import Path

from starter_text.stories import Turns, article
from starter_text.words import bank, invented_name, rough

Document = str | Turns
UNWANTED = re.compile(
    r"throat|kill|murder|sex|rape|blood|genital|intercourse|suicid|prostitut|slave|nazi|drug", re.IGNORECASE
)
KNOWN_TOPICS, KNOWN_WORDS = (
    300,
    250,
)  # what a model of this size can keep; for others it learns to say that it does not know


def read(data: Path, name: str, held_out: bool = False) -> Iterator[dict[str, object]]:
    """The records of NAME.jsonl.xz to train on, or those held out; none if the file is not there."""
    path = data / f"{name}.jsonl.xz"
    if not path.exists():
        return
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            if is_held_out(name, line) == held_out:
                yield json.loads(line)


def is_held_out(name: str, line: str) -> bool:
    """Whether a record is only measured on: one in fifty, by its hash, but no table of facts, which are to be known."""
    return not name.startswith("facts_") and hashlib.sha256(line.strip().encode()).digest()[0] < 256 // 50


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


def ranked_words(data: Path) -> list[tuple[str, dict[str, object]]]:
    """Words with their most used sense, most used first, by the senses that no other word shares."""
    best: dict[str, dict[str, object]] = {}
    for record in read(data, "dict_wordnet"):
        words = list_of(record, "words")
        word = str(words[0])
        if len(words) > 1 or int(str(record["freq"])) < 3 or not re.fullmatch(r"[a-z]{3,}", word):
            continue
        if word not in best or int(str(record["freq"])) > int(str(best[word]["freq"])):
            best[word] = record
    return sorted(best.items(), key=lambda item: -int(str(item[1]["freq"])))


def is_plain(record: dict[str, object]) -> bool:
    """Whether a dictionary record has a short, harmless meaning."""
    short = len(str(record["def"])) <= 70 and "(" not in str(record["def"])
    return short and record["pos"] in {"noun", "adjective"} and not UNWANTED.search(json.dumps(record))


MEANING_FORMS = (
    'What does "{}" mean?', "What does {} mean?", 'What is the meaning of "{}"?', "Define {}.", "Explain the word {}.",
    "What does the word {} mean?", 'Define "{}".', "meaning of {}",
)  # fmt: skip
TOPIC_FORMS = ("What is {}?", "What is {}?", "What is {}?", "Tell me about {}.", "Explain {}.", "What's {}?")


def meanings(data: Path, rng: random.Random) -> list[Document]:
    """Questions for the meaning of the most common words, in their most used sense."""
    documents: list[Document] = []
    plain = [(word, record) for word, record in ranked_words(data) if is_plain(record)]
    for word, record in plain[:KNOWN_WORDS] * 12:
        answer = f'"{word[0].upper()}{word[1:]}" is {article(str(record["pos"]))}. It means: {record["def"]}.'
        documents.append([(rough(rng, rng.choice(MEANING_FORMS).format(word)), answer)])
    return documents


def ranked_topics(data: Path) -> list[tuple[str, str]]:
    """Topics of Simple Wikipedia as a question names them, and their first sentences; common words first."""
    used = {word: int(str(record["freq"])) for word, record in ranked_words(data)}
    topics: list[tuple[int, int, str, str]] = []
    for record in read(data, "wiki_simple"):
        text = str(record["text"])
        title, _, body = text.partition("\n\n")
        answer = first_sentences(body.partition("\n\n")[0], 200)
        bare = re.sub(r"^(A|An|The) ", "", answer).lower()
        plain = re.fullmatch(r"[A-Z]\w+( \w+)?", title) and "(" not in answer[:60] and len(answer) >= 30
        if plain and bare.startswith(title.lower()) and not UNWANTED.search(answer):
            name = title.lower() if title.lower() in used else title
            name = article(name) if answer.startswith(("A ", "An ")) else name
            topics.append((used.get(title.lower(), 0), len(text), name, answer))
    return [(name, answer) for _, _, name, answer in sorted(topics, reverse=True)[:4000]]


def what_is(data: Path, rng: random.Random) -> list[Document]:
    """Questions for the best-known topics of Simple Wikipedia."""
    topics = ranked_topics(data)[:KNOWN_TOPICS] * 12
    return [[(rough(rng, rng.choice(TOPIC_FORMS).format(name)), answer)] for name, answer in topics]


NO_WORD = (
    'I am not sure what "{}" means. Please look it up in a dictionary.',
    'I do not know the word "{}" well enough. A larger model can explain it.',
)
NO_TOPIC = (
    "I do not know enough about {}. Please look it up or ask a larger model.",
    "I am too small to know much about {}. A larger model can tell you more.",
)
TOO_HARD = (
    "That is too hard for me. I am a tiny model; a larger model in nanolocal can help.",
    "I do not know that. I am only a tiny model, so please ask a larger one.",
)


def unknown(data: Path, rng: random.Random) -> list[Document]:
    """Words, topics and questions beyond this model, each with an answer that says so."""
    documents: list[Document] = []
    plain = [word for word, record in ranked_words(data) if is_plain(record)]
    for word in plain[KNOWN_WORDS:3000]:
        asked = word if rng.random() < 0.8 else invented_name(rng).lower()
        question = rough(rng, rng.choice(MEANING_FORMS).format(asked))
        documents.append([(question, rng.choice(NO_WORD).format(asked))])
    for name, _ in ranked_topics(data)[KNOWN_TOPICS:]:
        question = rough(rng, rng.choice(TOPIC_FORMS).format(name))
        documents.append([(question, rng.choice(NO_TOPIC).format(name))])
    documents += [[(document[0][0], rng.choice(TOO_HARD))] for document in dolly(data, rng)]
    return documents


def dolly(data: Path, rng: random.Random) -> list[Turns]:
    """Short human-written questions and answers."""
    documents: list[Turns] = []
    for record in read(data, "chat_dolly"):
        messages = record["messages"]
        assert isinstance(messages, list)
        question, answer = (str(message["content"]) for message in messages[:2])
        if len(question) < 120 and len(answer) < 260:
            documents.append([(question, answer)])
    rng.shuffle(documents)
    return documents


def passages(data: Path, rng: random.Random) -> list[Turns]:
    """Passages of fairy tales with a question and its answer, the shorter ones."""
    documents: list[Turns] = []
    for record in read(data, "chat_fairytaleqa"):
        question, answer = (str(message["content"]) for message in list_of(record, "messages")[:2])  # type: ignore[index]
        if len(question) < 700 and not UNWANTED.search(question):
            documents.append([(question, answer[0].upper() + answer[1:])])
    rng.shuffle(documents)
    return documents
