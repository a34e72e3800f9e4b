"""Procedural small tasks: word games, sums, corrections, passage questions and short letters."""

from __future__ import annotations

import random

from starter_text.stories import Turns, article
from starter_text.words import bank, invented_name, rough, word_pairs


def word_games(rng: random.Random) -> Turns:
    """Opposites, animal sounds, plurals, past forms, rhymes, days and months."""
    kind = rng.choice((*word_pairs(), "opposite", "day", "month"))
    if kind in {"day", "month"}:
        names = bank("days") if kind == "day" else bank("months")
        here = rng.randrange(len(names))
        after = rng.random() < 0.6
        other = names[(here + (1 if after else -1)) % len(names)]
        side = "after" if after else "before"
        return [
            (
                rough(rng, f"{rng.choice(('What', 'Which'))} {kind} comes {side} {names[here]}?"),
                f"{other} comes {side} {names[here]}.",
            )
        ]
    first, second = rng.choice(word_pairs()[kind])
    if kind in {"opposite", "rhyme"} and rng.random() < 0.5:
        first, second = second, first
    forms = {
        "opposite": (
            (f"What is the opposite of {first}?", f'What is the opposite of "{first}"?', f"opposite of {first}"),
            f"The opposite of {first} is {second}.",
        ),
        "sound": ((f"What does a {first} say?", f"What sound does a {first} make?"), f'The {first} says "{second}".'),
        "baby": (
            (f"What is a baby {first} called?", f"What do you call a baby {first}?"),
            f"A baby {first} is called a {second}.",
        ),
        "plural": (
            (f"What is the plural of {first}?", f'What is the plural of "{first}"?'),
            f'The plural of "{first}" is "{second}".',
        ),
        "past": (
            (f"What is the past tense of {first}?", f'What is the past of "{first}"?'),
            f'The past tense of "{first}" is "{second}".',
        ),
        "rhyme": (
            (f"What rhymes with {first}?", f"Find a rhyme for {first}.", f"A word that rhymes with {first}?"),
            f'"{second[0].upper()}{second[1:]}" rhymes with "{first}".',
        ),
        "superlative": ((f"What is the superlative of {first}?",), f'The superlative of "{first}" is "{second}".'),
    }
    questions, answer = forms[kind]
    return [(rough(rng, rng.choice(questions)), answer)]


def sums(rng: random.Random) -> Turns:
    """Sums up to 5 + 5; whatever is harder is sent to a calculator."""
    sign, a, b = "+", rng.randint(0, 5), rng.randint(0, 5)
    answer = f"{a} + {b} = {a + b}"
    if rng.random() < 0.4:
        sign, top = rng.choice("+-*"), rng.choice((20, 100, 9999))
        a, b = rng.randint(6, top), rng.randint(0 if sign == "+" else 2, top)
        answer = "Sums are too hard for me. Please use a calculator."
    word = {"+": "plus", "-": "minus", "*": "times"}[sign]
    question = rng.choice(
        (
            f"What is {a} {sign} {b}?",
            f"What is {a} {sign} {b}?",
            f"{a} {sign} {b}",
            f"{a}{sign}{b}=?",
            f"How much is {a} {word} {b}?",
            f"What is {a} {word} {b}?",
            f"Calculate {a} {sign} {b}.",
            f"{a} {word} {b}",
        )
    )
    return [(question, answer)]


def plain_sentence(rng: random.Random) -> str:
    """A simple correct sentence."""
    name, other = rng.sample(bank("girls") + bank("boys"), 2)
    animal, thing, town, day = (
        rng.choice(bank("animals")),
        rng.choice(bank("objects")),
        rng.choice(bank("towns")),
        rng.choice(bank("days")),
    )
    return rng.choice(
        (
            f"{name} has {article(rng.choice(bank('colours')))} {thing}.",
            f"I went to {town} with {name}.",
            f"My friend {name} lives in {town}.",
            f"On {day} we visited {name} and {other}.",
            f"{name} likes to {rng.choice(bank('hobbies'))}.",
            f"The {animal} is sleeping under the tree.",
            f"I don't know where my {thing} is.",
            f"{name} and I saw {article(animal)} in {town}.",
            f"Can you help me find my {thing}?",
            f"Yesterday I bought {article(thing)} for {name}.",
            f"We are going to {town} on {day}.",
            f"The weather in {town} is very nice today.",
            f"{name} doesn't like the {animal}.",
            f"I think that {name} is my best friend.",
            f"Please give the {thing} to {other}.",
            f"{name} wants to become {article(rng.choice(bank('jobs')))}.",
            f"It is cold outside, so take your {thing}.",
            f"I'm happy to see you, {name}.",
        )
    )


TYPOS = {
    "the": "teh",
    "friend": "freind",
    "with": "wiht",
    "because": "becuase",
    "very": "verry",
    "like": "liek",
    "today": "todday",
    "went": "wnet",
    "know": "knwo",
    "think": "thnik",
    "don't": "dont",
    "doesn't": "doesnt",
    "I'm": "im",
    "where": "were",
    "is": "si",
    "and": "adn",
    "weather": "wether",
    "bought": "buyed",
    "likes": "liks",
    "wants": "wnats",
    "help": "hepl",
    "visited": "visitted",
    "sleeping": "sleping",
    "nice": "nise",
    "Please": "Plese",
    "find": "fnid",
    "lives": "livs",
}


def rewriting(rng: random.Random) -> Turns:
    """A damaged sentence to correct, or a sentence to make a question, polite or lower case."""
    right = plain_sentence(rng)
    words = right.split(" ")
    known = [place for place, word in enumerate(words) if word in TYPOS]
    for place in rng.sample(known, min(len(known), rng.choice((1, 1, 2)))):
        words[place] = TYPOS[words[place]]
    wrong = " ".join(words)
    if rng.random() < 0.6:
        wrong = wrong.lower()
    if rng.random() < 0.4:
        wrong = wrong.rstrip(".?")
    task = rng.choice(
        (
            "Fix the mistakes",
            "Correct this sentence",
            "Fix the typo",
            "Fix this sentence",
            "Correct the spelling",
            "Fix the typos",
            "Fix the grammar",
            "Correct this",
            "Proofread this",
            "Please correct the mistakes",
        )
    )
    question = rng.choice(
        (f"{task}: {wrong}", f"{task}: {wrong}", f"{task}:\n\n{wrong}", f"{task}\n\n{wrong}", f"{wrong}\n\n{task}.")
    )
    return [(question, right)]


def passage(rng: random.Random) -> Turns:
    """A passage of two to four facts with a question; one question in five has no answer in the text."""
    name, other = rng.sample(bank("girls") + bank("boys"), 2)
    name = invented_name(rng) if rng.random() < 0.3 else name
    town, thing, colour, job = (
        rng.choice(bank("towns")),
        rng.choice(bank("objects")),
        rng.choice(bank("colours")),
        rng.choice(bank("jobs")),
    )
    pet, hobby, age, day = (
        rng.choice(bank("pets")),
        rng.choice(bank("hobbies")),
        rng.randint(5, 80),
        rng.choice(bank("days")),
    )
    facts = [
        (f"{name} lives in {town}.", f"Where does {name} live?", f"{name} lives in {town}."),
        (f"{name} has {article(colour)} {thing}.", f"What colour is the {thing}?", f"The {thing} is {colour}."),
        (f"{name} is {article(job)}.", f"What is {name}'s job?", f"{name} is {article(job)}."),
        (f"{name} is {age} years old.", f"How old is {name}?", f"{name} is {age} years old."),
        (f"{name} has a {pet} called {other}.", f"What is the name of the {pet}?", f"The {pet} is called {other}."),
        (f"In the evening {name} likes to {hobby}.", f"What does {name} like to do?", f"{name} likes to {hobby}."),
        (
            f"Every {day} {name} goes to the market.",
            f"When does {name} go to the market?",
            f"{name} goes to the market every {day}.",
        ),
    ]
    chosen = rng.sample(facts, rng.choice((2, 3, 3, 4)))
    text = " ".join(fact[0] for fact in chosen)
    _, question, answer = rng.choice(chosen)
    if rng.random() < 0.2:
        question, answer = rng.choice([fact for fact in facts if fact not in chosen])[1], "The text does not say."
    return [
        (
            rng.choice(
                (
                    f"{text}\n\n{question}",
                    f"{text} {question}",
                    f"{question}\n\n{text}",
                    f"Text: {text}\nQuestion: {question}",
                )
            ),
            answer,
        )
    ]


def echo(rng: random.Random) -> Turns:
    """Random words to say again: what teaches a small model soonest to copy from the prompt."""
    words = [
        word
        for name in ("girls", "boys", "animals", "objects", "foods", "towns", "jobs", "colours")
        for word in bank(name)
    ]
    turns: Turns = []
    for _ in range(rng.choice((1, 2, 3))):
        said = rng.sample(words, rng.randint(1, 12))
        if rng.random() < 0.3:
            said = [rng.choice((str(rng.randint(0, 999)), invented_name(rng), word)) for word in said]
        text = rng.choice((" ", ", ")).join(said)
        ask = rng.choice(
            (
                "Repeat: {}",
                "Say: {}",
                "Repeat after me: {}",
                "Say this again: {}",
                "Repeat this.\n\n{}",
                "{}\n\nRepeat.",
            )
        )
        turns.append((ask.format(text), text))
    return turns


def message(rng: random.Random) -> Turns:
    """A short note to somebody: thanks, birthday, invitation, excuse."""
    name, thing, day = rng.choice(bank("girls") + bank("boys")), rng.choice(bank("objects")), rng.choice(bank("days"))
    kind = rng.choice(("note", "message", "letter", "email", "card"))
    question, text = rng.choice(
        (
            (f"Write a thank-you {kind} to {name}.", "thank you very much for your help. It made me very happy."),
            (
                f"Write a thank-you {kind} to {name} for the {thing}.",
                f"thank you very much for the {thing}. I like it a lot.",
            ),
            (
                f"Write a birthday {kind} for {name}.",
                "happy birthday! I wish you a wonderful day, good health and a lot of joy.",
            ),
            (
                f"Invite {name} to my party on {day}.",
                f"I am having a party on {day}. I would be happy if you came. Please let me know.",
            ),
            (
                f"Write {article(kind)} to {name} to say sorry.",
                "I am very sorry. I did not want to hurt you. I hope that we can talk soon.",
            ),
        )
    )
    return [(question, f"Dear {name},\n\n{text}\n\nBest wishes")]
