"""Short children's stories and poems from a plot grammar, each with the prompt that asks for it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starter_text.words import bank, invented_name

Turns = list[tuple[str, str]]

OPENINGS = (
    "Once upon a time there was {A} named {N}.",
    "Once upon a time, {A} called {N} lived {H}.",
    "There once was {A} whose name was {N}.",
    "A long time ago, {A} named {N} lived {H}.",
    "{N} was {A} who lived {H}.",
    "Far away, {H}, lived {A} called {N}.",
)
SECONDS = ("{N} loved to {B}.", "Every day {he} liked to {B}.", "{He} was known for {his} big heart.", "", "")
PROMPTS = (
    "Tell me a short story about {a}.", "Tell me a story about {a}.", "Write a short story about {a}.",
    "Write a story about {a}.", "Can you tell me a story about {a}?", "Please tell me a short story about {a}.",
    "A short story about {a}, please.", "I would like a story about {a}.", "Make up a story about {a}.",
    "story about {a}", "Tell me a bedtime story about {a}.", "Tell a story about {a}.",
    "Could you write a little story about {a}?", "Give me a short story about {a}.", "short story about {a}",
    "Tell me about {a} in a story.", "Write me a story about {a}.", "Tell me a tale about {a}.",
    "Tell my child a story about {a}.", "Write a children's story about {a}.", "I want to hear a story about {a}.",
)  # fmt: skip
OPEN_PROMPTS = (
    "Tell me a story.", "Tell me a short story.", "Write a story.", "Can you tell me a story?", "A story, please.",
    "I want a bedtime story.", "Make up a story.", "Do you know a story?", "Write a short story.",
    "Tell me another story.",
)  # fmt: skip
COUPLETS = (
    ("O little {S}, so bright and free,", "you rest beneath the apple tree."),
    ("The {S} is awake when the day is new,", "and the sky above is wide and blue."),
    ("A {S} by the river, a {S} by the sea,", "come a bit closer and sing with me."),
    ("The wind is soft, the night is deep,", "and now the {S} is going to sleep."),
    ("I saw a {S} in the morning light,", "and all of the world was warm and bright."),
    ("The rain may fall, the wind may blow,", "the {S} is happy, high or low."),
    ("The stars are out, the moon is near,", "and the {S} has nothing left to fear."),
    ("When winter comes with ice and snow,", "the {S} knows well which way to go."),
    ("The {S} has a friend, and the friend is true,", "and that is the best for me and you."),
    ("So here is my song for the {S} today,", "a song to take along the way."),
    ("Oh, tell me, {S}, where have you been?", "In fields of gold and woods of green."),
    ("The world is big, the {S} is small,", "but a kind heart is the best of all."),
)


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot: its kind of hero ("walk" or "still"), the clause a prompt may name, a title, a theme, and beats."""

    kind: str
    who: str
    title: str
    theme: str
    beats: tuple[tuple[str, ...], ...]


@cache
def plots() -> tuple[Plot, ...]:
    """All plots of plots.txt; an empty beat is a paragraph break."""
    found: list[Plot] = []
    for line in (Path(__file__).parent / "plots.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("@"):
            kind, who, title, theme = (part.strip() for part in line[1:].split("|"))
            found.append(Plot(kind, who, title, theme, ()))
        elif line and not line.startswith("#"):
            beat = () if line == "--" else tuple(line.split(" / "))
            last = found[-1]
            found[-1] = Plot(last.kind, last.who, last.title, last.theme, (*last.beats, beat))
    return tuple(found)


def article(noun: str) -> str:
    """The noun with "a" or "an" before it."""
    if noun == "moon":
        return "the moon"
    return f"{'an' if noun[0] in 'aeiou' and not noun.startswith('uni') else 'a'} {noun}"


@dataclass(frozen=True, slots=True)
class Cast:
    """The words that fill one story's gaps."""

    subject: str
    name: str
    friend: str
    friend_name: str
    thing: str
    words: dict[str, str]


def cast(rng: random.Random, subject: str, name: str = "", friend: str = "", thing: str = "") -> Cast:
    """A random cast around `subject`; empty arguments are drawn."""
    female = {"girl", "queen", "princess", "witch", "old woman", "little girl", "grandmother", "mermaid", "fairy"}
    male = {
        "boy",
        "king",
        "prince",
        "old man",
        "little boy",
        "grandfather",
        "fisherman",
        "postman",
        "snowman",
        "knight",
    }
    girl = name in bank("girls") or (
        name not in bank("boys") and (subject in female or (subject not in male and rng.random() < 0.5))
    )
    name = name or (invented_name(rng) if rng.random() < 0.15 else rng.choice(bank("girls") if girl else bank("boys")))
    friend = friend or rng.choice([animal for animal in bank("animals") if animal != subject])
    friend_name = rng.choice([other for other in bank("girls") + bank("boys") if other != name])
    thing = thing or rng.choice(bank("objects"))
    adjective = "" if subject.startswith(("little", "old")) else rng.choice(bank("adjectives")) + " "
    he, his, him = ("she", "her", "her") if girl else ("he", "his", "him")
    words = {"N": name, "S": subject, "A": article(adjective + subject), "F": friend, "aF": article(friend)}
    words |= {
        "G": friend_name,
        "O": thing,
        "aO": article("old " + thing),
        "E": rng.choice(bank("foods")),
        "P": rng.choice(bank("places")),
    }
    words |= {"H": rng.choice(bank("homes")), "B": rng.choice(bank("hobbies")), "he": he, "his": his, "him": him}
    words |= {"He": he.title(), "His": his.title(), "himself": "herself" if girl else "himself"}
    return Cast(subject, name, friend, friend_name, thing, words)


def tell(rng: random.Random, plot: Plot, who: Cast) -> str:
    """The story of one plot with one cast."""
    parts = [rng.choice(OPENINGS), rng.choice(SECONDS)]
    parts += [rng.choice(beat) if beat else "\n\n" for beat in plot.beats]
    text = " ".join(part for part in parts if part).replace(" \n\n ", "\n\n")
    return text.format_map(who.words)


def tell_briefly(rng: random.Random, plot: Plot, who: Cast) -> str:
    """Three sentences: the opening, the trouble, the end."""
    trouble = next(beat for beat in plot.beats if beat)
    parts = (rng.choice(OPENINGS), rng.choice(trouble).split(". ")[0].rstrip(".") + ".", rng.choice(plot.beats[-1]))
    return " ".join(parts).format_map(who.words)


def title_of(plot: Plot, who: Cast) -> str:
    """The plot's title in title case."""
    title = plot.title.format_map({**who.words, "S": who.subject.title(), "O": who.thing.title()})
    return title[0].upper() + title[1:]


def ask_for(rng: random.Random, plot: Plot, who: Cast) -> str:
    """A prompt that this story answers: by subject, name, friend, plot clause or theme."""
    named = article(who.subject)
    form = rng.random()
    if form < 0.14:
        named += f" {rng.choice(('named', 'called'))} {who.name}"
    elif form < 0.24:
        named += " " + plot.who.format_map(who.words)
    elif form < 0.32:
        named += f" and {article(who.friend)}"
    elif form < 0.37 and plot.theme not in {"bedtime", "birthday", "adventure", "humility"}:
        named = rng.choice((plot.theme, f"{plot.theme} and {named}"))
    elif form < 0.42 and "{O}" in plot.who:
        named = article(("lost " if "lost" in plot.who else "magic ") + who.thing)
    return rng.choice(PROMPTS[:4] if rng.random() < 0.45 else PROMPTS).format(a=named)


def story_chat(rng: random.Random, subject: str = "") -> Turns:
    """A conversation whose first answer is a story, sometimes with a question, a title or thanks after it."""
    subject = subject or rng.choice(rng.choices((bank("animals"), bank("people"), bank("still")), (60, 28, 12))[0])
    kind = "still" if subject in bank("still") else "walk"
    plot = rng.choice([one for one in plots() if one.kind == kind])
    who = cast(rng, subject)
    form = rng.random()
    if form < 0.06:
        turns = [(rng.choice(OPEN_PROMPTS), tell(rng, plot, who))]
    elif form < 0.14:
        prompt = rng.choice(("Write a story about {a} with a title.", "Tell me a story about {a}. Give it a title."))
        turns = [(prompt.format(a=article(subject)), f"{title_of(plot, who)}\n\n{tell(rng, plot, who)}")]
    elif form < 0.22:
        prompt = rng.choice((
            "Tell me a very short story about {a}.", "Write a story about {a} in three sentences.",
            "A tiny story about {a}, please.", "Tell me a story about {a} in a few sentences.",
        ))  # fmt: skip
        turns = [(prompt.format(a=article(subject)), tell_briefly(rng, plot, who))]
    else:
        turns = [(ask_for(rng, plot, who), tell(rng, plot, who))]
    if rng.random() < 0.2:
        turns.append(follow_up(rng, plot, who))
    return turns


def follow_up(rng: random.Random, plot: Plot, who: Cast) -> tuple[str, str]:
    """A turn that comes after a story."""
    other = rng.choice([animal for animal in bank("animals") if animal != who.subject])
    return rng.choice((
        (f"What is the {who.subject}'s name?", f"The {who.subject}'s name is {who.name}."),
        (f"What was the name of the {who.subject}?", f"The name of the {who.subject} was {who.name}."),
        ("Give the story a title.", title_of(plot, who)),
        ("What is a good title for it?", f'A good title is "{title_of(plot, who)}".'),
        (rng.choice(("Thank you!", "Nice story.", "I like it.", "That was lovely.")),
         rng.choice(("I am glad you liked it!", "Thank you! Shall I tell you another one?", "You are welcome!"))),
        (f"Now one about {article(other)}.", tell(rng, rng.choice(plots()[:17]), cast(rng, other))),
    ))  # fmt: skip


def poem_chat(rng: random.Random) -> Turns:
    """A prompt for a poem and a rhyming answer of four to eight lines."""
    subject = rng.choice(rng.choice((bank("animals"), bank("still"), bank("people"))))
    lines = [line for pair in rng.sample(COUPLETS, rng.choice((2, 2, 3, 4))) for line in pair]
    prompt = rng.choice((
        "Write a poem about {a}.", "Write a short poem about {a}.", "A poem about {a}, please.",
        "Can you write a poem about {a}?",
        "Tell me a poem about {a}.", "Write me a little rhyme about {a}.", "poem about {a}",
    ))  # fmt: skip
    asked = article(subject) if rng.random() < 0.7 else f"the {subject}"
    return [(prompt.format(a=asked), "\n".join(line[0].upper() + line[1:] for line in lines).format(S=subject))]
