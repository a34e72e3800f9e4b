"""Pieces of public text that fill the slots of the seeds: passages, dialogues, exam questions, things to sort."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from router_tasks.public import read
from router_tasks.rows import lines_of


@dataclass(frozen=True, slots=True)
class Texts:
    """Values by slot: passages, sentences, questions and the like."""

    by_slot: Mapping[str, Sequence[str]]


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
        "wikiask": list(_asked_over(articles, rng, "forms_questions.txt")),
        "sorting": list(_sortings(rng)),
        "science": list(_cloze(lectures, rng)),
        "smalltalk": list(_smalltalk(data, rng)),
        "tldr": list(_commands(data, rng)),
        "animal": ["cat", "dog", "frog", "owl", "horse"],
        "animal2": ["cat", "frog", "snail", "goose", "camel"],
        "wikitell": list(_asked_over(articles, rng, "forms_accounts.txt")),
    }
    return Texts({name: sorted(values) for name, values in slots.items()})


def _asked_over(articles: Sequence[Sequence[str]], rng: random.Random, name: str) -> Iterator[str]:
    """An article's opening with a question about its subject, in the forms of the file ``name``."""
    forms = lines_of(name)
    for article in rng.sample(list(articles), 500):
        ask = rng.choice(forms).format(title=article[0])
        text = "\n\n".join(article[1:])[: rng.choice((300, 700, 1500))]
        yield rng.choice(("{ask}\n\n{text}", "{text}\n\n{ask}", "{ask} {text}", "{ask}\n{text}")).format(
            ask=ask, text=text
        )


def _sortings(rng: random.Random) -> Iterator[str]:
    """Which of these belong to a category, in many forms."""
    lines = (line.split(": ", 1) for line in lines_of("categories.txt"))
    groups = [(*names.split(" | "), members.split(", ")) for names, members in lines]
    forms = lines_of("forms_sorting.txt")
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
    defined = re.compile(
        r"(?:^|\. )(?:An? |The )?([A-Z]?[a-z]{4,16}(?: [a-z]{4,14})?) (is|are) ((?:an?|the) [^.\n]{30,140})\."
    )
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
