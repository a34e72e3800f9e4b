"""Procedural conversations: small talk, identity and limits, names to remember, lists, and the tasks in a mix."""

from __future__ import annotations

import random
from collections.abc import Callable

from starter_text.stories import Turns, article, poem_chat, story_chat
from starter_text.tasks import message, passage, rewriting, sums, word_games
from starter_text.words import NUMBERS, bank, invented_name, join_and, rough, talk, word_lists

COMMON_TALK = (
    0,
    1,
    4,
    12,
    13,
    20,
    22,
    23,
    25,
    26,
    27,
)  # blocks of talk.txt: hello, thanks, bye, jokes, who are you ...


def small_talk(rng: random.Random) -> Turns:
    """One to three turns of small talk, identity or limits."""
    turns = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        weights = [5 if place in COMMON_TALK else 1 for place in range(len(talk()))]
        questions, answers = rng.choices(talk(), weights)[0]
        turns.append((rough(rng, rng.choice(questions)), rng.choice(answers)))
    return turns


def greeting(rng: random.Random) -> Turns:
    """A chat in which the user gives a name (and more) and asks for it later."""
    name, friend = rng.sample(bank("girls") + bank("boys"), 2)
    name = invented_name(rng) if rng.random() < 0.6 else name
    opening = rng.choice(
        (
            "My name is {n}.",
            "Hi, I am {n}.",
            "Hello, my name is {n}.",
            "I'm {n}.",
            "Hello! I am {n}.",
            "Hi, my name is {n}!",
            "Hey, {n} here.",
            "Call me {n}.",
        )
    )
    answer = rng.choice(
        ("Hello {n}! How can I help you?", "Nice to meet you, {n}! What can I do for you?", "Hi {n}! How are you?")
    )
    turns = [(opening.format(n=name), answer.format(n=name))]
    job, town, pet, hobby = (
        rng.choice(bank("jobs")),
        rng.choice(bank("towns")),
        rng.choice(bank("pets")),
        rng.choice(bank("hobbies")),
    )
    facts = [
        (
            f"I live in {town}.",
            f"How nice! {town} must be an interesting place.",
            "Where do I live?",
            f"You live in {town}.",
        ),
        (
            f"I am {article(job)}.",
            f"Being {article(job)} is important work.",
            "What is my job?",
            f"You are {article(job)}.",
        ),
        (f"I like to {hobby}.", "That sounds lovely.", "What do I like?", f"You like to {hobby}."),
        (
            f"I have a {pet} called {friend}.",
            f"{friend} is a lovely name for a {pet}.",
            f"What is my {pet} called?",
            f"Your {pet} is called {friend}.",
        ),
    ]
    ask_name = (rng.choice(("What is my name?", "Do you know my name?", "Who am I?")), f"Your name is {name}.")
    fact = rng.choice(facts)
    form = rng.random()
    if form < 0.35:
        turns.append(ask_name)
    elif form < 0.75:
        turns += [fact[:2], *((fact[2:], ask_name) if rng.random() < 0.5 else (ask_name, fact[2:]))]
    else:
        turns += [*small_talk(rng)[:1], ask_name]
    if rng.random() < 0.3:
        last = rng.choice(
            (("Thank you!", "You are welcome, {n}!"), ("Bye!", "Goodbye, {n}!"), ("Thanks, bye!", "Goodbye, {n}!"))
        )
        turns.append((last[0], last[1].format(n=name)))
    return turns


def naming(rng: random.Random) -> Turns:
    """Ask for "three colours" in many wordings, also with the parts in two paragraphs as a pipe joins them."""
    weights = [
        4.0 if index < 2 else 1.5 if one.singular[0] in {"fruit", "vegetable", "country", "bird"} else 1.0
        for index, one in enumerate(word_lists())
    ]
    group = rng.choices(word_lists(), weights)[0]
    top = min(len(group.items), 10)
    count = min(top, rng.choice((1, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8, 10)))
    number = NUMBERS[count] if rng.random() < 0.7 else str(count)
    noun = rng.choice(group.singular if count == 1 else group.plural)
    what = f"{number} {noun}"
    verb = rng.choice(("Name", "Name", "Name", "List", "Tell me", "Give me", "Write down", "Say"))
    them = rng.choice(
        (
            "Name them",
            "Name these",
            "List them",
            "Name",
            "Tell me",
            "Name them, please",
            "Name the following",
            "Give me",
        )
    )
    question = rng.choice(
        (
            f"{verb} {what}.",
            f"{verb} {what}.",
            f"{verb} {what}",
            f"Can you name {what}?",
            f"Please name {what}.",
            f"What are {what}?",
            f"{them}\n\n{what}",
            f"{them}:\n\n{what}",
            f"{what}\n\n{them}",
            f"{what}\n\n{them}.",
            f"{them}\n{what}",
            f"{what}\n{them}",
            f"{them}.\n\n{what[0].upper()}{what[1:]}.",
            f"{what}, please",
            f"I need {what}.",
            what,
            f"{verb} {number} different {noun}.",
        )
    )
    items = sorted(rng.sample(group.items, count), key=group.items.index)  # in one order, so that none comes twice
    items[0] = items[0][0].upper() + items[0][1:]
    if "list" in question.lower():
        answer = "\n".join(f"{place}. {item[0].upper()}{item[1:]}" for place, item in enumerate(items, 1))
    else:
        answer = join_and(items) + "."
    turns = [(rough(rng, question), answer)]
    left = [item for item in group.items if item not in items]
    if left and count > 1 and rng.random() < 0.15:
        more = rng.choice(left)
        turns.append(
            (rng.choice(("One more, please.", "And another one?", "Another one?")), more[0].upper() + more[1:] + ".")
        )
    return turns


MAKERS: tuple[tuple[Callable[[random.Random], Turns], float], ...] = (
    (small_talk, 20),
    (greeting, 9),
    (naming, 36),
    (word_games, 20),
    (sums, 33),
    (rewriting, 10),
    (passage, 9),
    (message, 3),
    (poem_chat, 4),
    (story_chat, 3),
)


def mixed_chat(rng: random.Random) -> Turns:
    """One conversation of a random kind, sometimes two kinds in turn."""
    makers, weights = zip(*MAKERS, strict=True)
    return [turn for maker in rng.choices(makers, weights, k=rng.choice((1, 1, 1, 1, 2))) for turn in maker(rng)]
