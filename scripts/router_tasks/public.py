"""Public text: whole labelled prompts, and pieces that fill the slots of the seeds. See the card for the licences."""

from __future__ import annotations

import gzip
import json
import lzma
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router_tasks.rows import Row, labels_by_row

LABELS_OF = Path(__file__).parent / "prompts"
_TALK = ("chat/short_fact", "chat/explain", "chat/advice", "chat/ideas")
DOLLY: dict[str, tuple[str, ...]] = {
    "open_qa": _TALK,
    "general_qa": _TALK,
    "brainstorming": _TALK,
    "creative_writing": ("writing/story", "writing/essay", "writing/letter", "writing/poem"),
    "summarization": ("summarize",),
    "closed_qa": ("extract/passage",),
    "information_extraction": ("extract/fields", "extract/passage"),
    "classification": ("extract/classify",),
}
"""Dolly's categories as our labels; where several are named, training finds the best of them."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Values by slot: passages, sentences, questions and the like."""

    by_slot: Mapping[str, Sequence[str]]


def read(data: Path, name: str) -> list[dict[str, Any]]:
    """The records of ``data/text/NAME.jsonl.xz``."""
    with lzma.open(data / "text" / f"{name}.jsonl.xz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def dolly(data: Path, rng: random.Random) -> list[Row]:
    """Dolly's prompts, with their context before, behind or around."""
    with gzip.open(data / "tasks" / "dolly_dev.jsonl.gz", "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    return [Row(_joined(each, rng), DOLLY[each["category"]], f"dolly {each['category']}") for each in records]


def _joined(record: Mapping[str, str], rng: random.Random) -> str:
    ask, context = record["instruction"].strip(), record["context"].strip()
    if not context:
        return ask
    forms = ("{ask}\n\n{context}", "{context}\n\n{ask}", "{ask} {context}", "{ask}\n{context}")
    return rng.choice(forms).format(ask=ask, context=context)


def first_turns(data: Path, name: str) -> list[str]:
    """What the user says first in each conversation."""
    return [record["messages"][0]["content"] for record in read(data, name)]


def labelled_by_hand(data: Path, name: str, labels: str) -> list[Row]:
    """First turns with the labels that lie beside the seeds."""
    turns = first_turns(data, name)
    rows = labels_by_row(LABELS_OF / f"{labels}.txt")
    return [Row(turns[number], right, labels.removeprefix("labels_")) for number, right in sorted(rows.items())]


def word_problems(data: Path, rng: random.Random, count: int) -> list[Row]:
    """Word problems of GSM8K's training part."""
    return [Row(text, ("math/word_problem",), "gsm8k") for text in rng.sample(first_turns(data, "chat_gsm8k"), count)]


def fairy_tales(data: Path, rng: random.Random, count: int) -> list[Row]:
    """Questions over a section of a fairy tale."""
    turns = rng.sample(first_turns(data, "chat_fairytaleqa"), count)
    return [Row(text, ("extract/passage",), "fairytaleqa") for text in turns]


def texts_of(data: Path, rng: random.Random) -> Texts:
    """Pieces for the slots."""
    articles = [str(record["text"]).split("\n\n") for record in read(data, "wiki_featured_leads")]
    paragraphs = [part for article in articles for part in article[1:] if 150 < len(part) < 900]
    trivia = [record for record in read(data, "qa_opentrivia") if record["q"].endswith("?") and len(record["q"]) < 120]
    lectures = [str(record["text"]) for record in read(data, "edu_openstax")]
    tales = [record["text"].split("\n\n", 1)[-1] for record in read(data, "stories_kids_ccby")]
    slots = {
        "passage": rng.sample(paragraphs, 1500),
        "long": ["\n\n".join(article[1:])[:1600] for article in rng.sample(articles, 600)],
        "sentence": _sentences(data, rng),
        "story": [tale[: rng.randint(150, 700)] for tale in rng.sample(tales, 300)],
        "dialogue": list(_dialogues(data, rng)),
        "question": [record["q"] for record in rng.sample(trivia, 1500)],
        "exam": list(_trivia_exams(trivia, rng)),
        "wikiask": list(_questions_over(articles, rng)),
        "sorting": list(_sortings(rng)),
        "science": list(_cloze(lectures, rng)),
        "smalltalk": list(_smalltalk(data, rng)),
        "tldr": list(_commands(data, rng)),
        "animal": ["cat", "dog", "frog", "owl", "horse"],
        "animal2": ["cat", "frog", "snail", "goose", "camel"],
    }
    return Texts({name: sorted(values) for name, values in slots.items()})


def _questions_over(articles: Sequence[Sequence[str]], rng: random.Random) -> Iterator[str]:
    """An article's opening with a question about its subject."""
    forms = (
        "What is {title}?", "Who is {title}", "Where is {title} located?", "When was {title} founded?", "Who was {title}?",
        "what is {title} known for", "Why is {title} important?", "In which year did {title} begin?", "Tell me who made {title}.",
        "How many people took part in {title}?", "Based on this paragraph about {title}, what happened first?", "Which award did {title} win?",
        "Given a reference text about {title}, tell me when it ended.", "What does {title} mean?", "Does {title} have a successor?",
    )  # fmt: skip
    for article in rng.sample(list(articles), 500):
        ask = rng.choice(forms).format(title=article[0])
        text = "\n\n".join(article[1:])[: rng.choice((300, 700, 1500))]
        yield rng.choice(("{ask}\n\n{text}", "{text}\n\n{ask}", "{ask} {text}", "{ask}\n{text}")).format(ask=ask, text=text)


def _sortings(rng: random.Random) -> Iterator[str]:
    """Which of these belong to a category, in many forms."""
    lines = [line for line in (LABELS_OF / "categories.txt").read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    groups = [(*names.split(" | "), members.split(", ")) for names, members in (line.split(": ", 1) for line in lines)]
    forms = (
        "Which of these are {many}: {list}", "Which of the following are {many}? {list}", "Identify the {one} from the list: {list}",
        "Classify each of the following as {one} or {other}: {list}", "Tell me whether these are {many} or {others}: {list}",
        "Which is a {one}? {pair}", "Find the {one} in this list: {list}", "Of the following, which are {many} and which are {others}? {list}",
        "{list}\n\nWhich of these are {many}?", "Which one of these is not a {one}: {list}", "Sort into {many} and {others}.\n\n{list}",
        "Which of these is a {one}: {list}", "Separate the {many} from the {others}: {list}", "{one} or {other}: {list}",
        "Categorize each as {one}, {other} or neither. {list}", "Are these {many}? {list}", "which of these things are {many}: {list}",
        "Group the following into {many} and {others}: {list}", "Identify which item is {one} or {other}: {pair}",
        "Given this list, pick all {many}: {list}", "Is {single} a {one} or a {other}?", "Select the {many} only.\n\n{list}",
        "Please tell me which of the following are considered {many}. {list}", "Which of these {many} is the largest: {mine}?",
    )  # fmt: skip
    for _ in range(700):
        (one, many, mine), (other, others, theirs) = rng.sample(groups, 2)
        listed = rng.sample(mine, rng.randint(1, 4)) + rng.sample(theirs, rng.randint(1, 3))
        rng.shuffle(listed)
        yield rng.choice(forms).format(
            one=one, many=many, other=other, others=others, list=rng.choice((", ", "\n", ", ", " / ")).join(listed),
            pair=f"{rng.choice(mine)} or {rng.choice(theirs)}", single=rng.choice(listed), mine=", ".join(mine[:4]),
        )  # fmt: skip


def _sentences(data: Path, rng: random.Random) -> list[str]:
    pairs = read(data, "rewrite_onestop")
    return [record["hard"] for record in rng.sample(pairs, 1000) if len(record["hard"]) < 260]


def _dialogues(data: Path, rng: random.Random) -> Iterator[str]:
    for record in rng.sample(read(data, "dialog_sgd"), 300):
        one, two = rng.choice((("A", "B"), ("Speaker 1", "Speaker 2"), ("Tom", "Ann"), ("Customer", "Agent")))
        turns = record["turns"][: rng.randint(4, 9)]
        yield "\n".join(f"{(one, two)[at % 2]}: {turn}" for at, turn in enumerate(turns))


def _smalltalk(data: Path, rng: random.Random) -> Iterator[str]:
    openings = [record["turns"][0] for record in read(data, "dialog_selfdialogue")]
    yield from (turn for turn in rng.sample(openings, 300) if 8 < len(turn) < 160)
    kept = {"emotion.yml", "greetings.yml", "conversations.yml", "humor.yml", "botprofile.yml", "gossip.yml"}
    yield from (record["turns"][0] for record in read(data, "dialog_chatterbot") if record["cat"] in kept)


def _commands(data: Path, rng: random.Random) -> Iterator[str]:
    for record in rng.sample(read(data, "help_tldr"), 400):
        for found in re.findall(r"^- ([A-Z][^:`]{10,70}):$", record["text"], re.MULTILINE)[:1]:
            yield found[0].lower() + found[1:]


def _trivia_exams(trivia: Sequence[Mapping[str, str]], rng: random.Random) -> Iterator[str]:
    for record in rng.sample(list(trivia), 500):
        others = [each["a"] for each in rng.sample(list(trivia), 40) if each["cat"] == record["cat"]]
        options = list(dict.fromkeys((record["a"], *others)))[:4]
        if len(options) > 2:
            yield with_options(record["q"], options, rng)


def _cloze(lectures: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Exam questions made of definitions in textbooks: which term is meant."""
    defined = re.compile(r"(?:^|\. )(?:An? |The )?([A-Z]?[a-z]{4,16}(?: [a-z]{4,14})?) (is|are) ((?:an?|the) [^.\n]{30,140})\.")
    found = [match for text in lectures for match in defined.findall(text)]
    for term, verb, meaning in rng.sample(found, 500):
        options = list(dict.fromkeys((term, *(other[0] for other in rng.sample(found, 6)))))[:4]
        form = rng.choice(
            ("Which of the following {verb} {meaning}?", "What {verb} {meaning}?", "____ {verb} {meaning}.")
        )
        yield with_options(form.format(verb=verb, meaning=meaning), options, rng)


def with_options(question: str, options: list[str], rng: random.Random) -> str:
    """The question with its options in one of the forms that exams use."""
    rng.shuffle(options)
    letters = rng.choice(("ABCDE", "ABCDE", "abcde", "12345"))
    mark = rng.choice(("{}. ", "({}) ", "{}) ", "{}: "))
    between = rng.choice(("\n", "\n", " ", "\n\n"))
    listed = between.join(mark.format(letter) + option for letter, option in zip(letters, options, strict=False))
    opening = rng.choice(("", "", "", "Question: ", "Q: ", "Choose the correct answer. ", "Answer with the letter.\n"))
    before = rng.choice(("\n", "\n", " ", "\nOptions:\n", "\n\nChoices:\n"))
    ending = rng.choice(("", "", "\nAnswer:", "\nThe answer is"))
    return f"{opening}{question}{before}{listed}{ending}"
