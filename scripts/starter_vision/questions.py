"""Questions about a drawn scene in many wordings, with the one short answer to each, and what counts as right."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from starter_scenes import COLOURS, SHAPES, Scene, Thing

from starter_vision.pictures import in_order, place_of, stands_above

NUMBERS = ("no", "one", "two", "three")
TIMES = {"day": "by day", "night": "at night", "sunset": "at sunset"}
_WHERE = {
    "grass": "on a meadow",
    "hill": "on a green hill",
    "sea": "on the sea",
    "sand": "on a beach",
    "snow": "in the snow",
}
_LAND = {"grass": "a meadow", "hill": "a green hill", "sea": "the sea", "sand": "a beach", "snow": "a snow field"}
_LAND_THINGS = ("house", "tree", "boat", "sun", "moon")
_OTHERS = (
    "dog", "cat", "car", "bird", "flower", "person", "cow", "apple", "cloud", "fish", "ship", "chair", "book", "face",
    "horse", "bicycle", "letter", "lamp", "rainbow", "mountain",
)  # fmt: skip
"""What is on no picture."""
_PICTURE = ("picture", "picture", "picture", "image", "drawing")
_TELLING = re.compile(
    r"\b(?:yes|no|none|nothing|one|two|three|day|night|sunset|sun|moon|meadow|hill|sea|beach|snow|house|tree|boat|above|"
    r"left|right|top|bottom|middle|landscape|row|" + "|".join((*COLOURS, *SHAPES)) + r")s?\b"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a scene, of a kind, and its answer."""

    kind: str
    question: str
    answer: str

    def is_right(self, said: str) -> bool:
        """Whether `said` tells the same as the answer: the same telling words in the same order."""
        return telling(said) == telling(self.answer)


def telling(text: str) -> tuple[str, ...]:
    """The words of an answer that say something, in order and in the singular."""
    words = (found.group().removesuffix("s") for found in _TELLING.finditer(text.lower()))
    return tuple(word for word in words if word != "row")


def a(noun: str) -> str:
    """The noun with its article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def sentence(text: str) -> str:
    """The text with a capital and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def named(thing: Thing) -> str:
    """A thing as "red circle", "tree" or "boat with a white sail"."""
    if thing.shape == "tree":
        return "tree"
    return f"boat with a {thing.colour} sail" if thing.shape == "boat" else f"{thing.colour} {thing.shape}"


def listed(parts: list[str]) -> str:
    """The parts as "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def described(scene: Scene) -> str:
    """The whole scene in one sentence."""
    things = in_order(scene)
    parts = [a(named(thing)) for thing in things]
    if scene.layout == "land":
        light = f" with the {scene.light}" if scene.light else ""
        where = f"{listed(parts)} {_WHERE[scene.ground]}" if parts else _LAND[scene.ground]
        return sentence(f"{where} {TIMES[scene.sky]}{light}")
    if scene.layout == "count":
        text = f"{NUMBERS[len(things)]} {named(things[0])}s"
    elif scene.layout == "row":
        text = listed(parts)
    elif scene.layout == "pair":
        text = f"{parts[0]} {'above' if stands_above(scene) else 'to the left of'} {parts[1]}"
    else:
        text = parts[0]
    return sentence(f"{text} on {a(scene.background)} background")


def _noun(rng: random.Random, shape: str) -> str:
    """One of the words for a shape."""
    return rng.choice(SHAPES[shape]) if shape in SHAPES and rng.random() < 0.35 else shape


def _plural(noun: str) -> str:
    return f"{noun}es" if noun.endswith("x") else f"{noun}s"


def describe(scene: Scene, rng: random.Random) -> Asked:
    """What is in the picture."""
    picture = rng.choice(_PICTURE)
    question = rng.choice((
        f"What is in this {picture}?", f"What is in the {picture}?", f"What's in this {picture}?",
        f"Describe the {picture}.", f"Describe this {picture}.", f"What do you see in this {picture}?",
        "What do you see?",
        f"What does the {picture} show?", f"What can you see in the {picture}?", f"Tell me what is in the {picture}.",
        f"What is shown in this {picture}?", f"Please describe this {picture}.", "What is this?",
        f"What is on the {picture}?", f"Caption this {picture}.", "",
    ))  # fmt: skip
    return Asked("describe", question, described(scene))


def colour(scene: Scene, rng: random.Random) -> Asked | None:
    """Which colour something is; now and then something that is not there."""
    word = rng.choice(("colour", "colour", "color"))
    shapes = {thing.shape for thing in scene.things if thing.shape not in {"tree", "boat"}}
    certain = [s for s in sorted(shapes) if len({t.colour for t in scene.things if t.shape == s}) == 1]
    missing = [shape for shape in SHAPES if shape not in shapes]
    is_absent = rng.random() < 0.12 and scene.layout != "land"
    if not certain and not is_absent:
        return None
    shape = rng.choice(missing if is_absent else certain)
    alike = [thing for thing in scene.things if thing.shape == shape]
    many, noun = len(alike) > 1, _noun(rng, shape)
    what, verb = (_plural(noun), "are") if many else (noun, "is")
    question = rng.choice((
        f"Which {word} {verb} the {what}?", f"What {word} {verb} the {what}?", f"What is the {word} of the {what}?",
        f"Tell me the {word} of the {what}.",
        f"What {word} does the {noun} have?" if not many else f"What {word} are the {what}?",
        f"In which {word} {verb} the {what} drawn?",
    ))  # fmt: skip
    if is_absent:
        return Asked("colour", question, f"There is no {shape}.")
    return Asked("colour", question, sentence(f"the {shape + 's' if many else shape} {verb} {alike[0].colour}"))


def count(scene: Scene, rng: random.Random) -> Asked | None:
    """How many there are, of all things, of a shape or of a colour."""
    form = rng.random()
    if scene.layout == "land":
        return None
    if form < 0.35:
        number = len(scene.things)
        what, said = rng.choice(("things", "shapes", "objects", "things")), "shape"
    elif form < 0.8:
        here = sorted({thing.shape for thing in scene.things})
        shape = rng.choice(here if rng.random() < 0.75 else list(SHAPES))
        number = sum(thing.shape == shape for thing in scene.things)
        what, said = _plural(_noun(rng, shape)), shape
    else:
        paint = rng.choice([thing.colour for thing in scene.things] if rng.random() < 0.75 else list(COLOURS))
        number = sum(thing.colour == paint for thing in scene.things)
        what, said = f"{paint} {rng.choice(('things', 'shapes'))}", f"{paint} shape"
    question = rng.choice((
        f"How many {what} are there?", f"How many {what} are in the picture?", f"How many {what} do you see?",
        f"How many {what} can you see in this picture?", f"Count the {what}.",
        f"How many {what} are there in this image?",
    ))  # fmt: skip
    return Asked(
        "count", question, f"There {'is' if number == 1 else 'are'} {NUMBERS[number]} {said}{'s' * (number != 1)}."
    )


def shape_of(scene: Scene, rng: random.Random) -> Asked | None:
    """What shape something of a colour is."""
    if scene.layout == "land":
        return None
    certain = [c for c in sorted({t.colour for t in scene.things})
               if len({t.shape for t in scene.things if t.colour == c}) == 1]  # fmt: skip
    if not certain:
        return None
    paint = rng.choice(certain)
    alike = [thing for thing in scene.things if thing.colour == paint]
    many = len(alike) > 1
    question = rng.choice((
        f"What shape is {paint}?", f"Which shape is {paint}?", f"What is {paint}?", f"What is the {paint} thing?",
        f"What shape is the {paint} thing?", f"What {paint} shape is in the picture?", f"Which thing is {paint}?",
    ))  # fmt: skip
    said = f"the {alike[0].shape}s are" if many else f"the {alike[0].shape} is"
    return Asked("shape", question, sentence(f"{said} {paint}"))


def whether(scene: Scene, rng: random.Random) -> Asked:
    """Whether something is there."""
    yes = rng.random() < 0.5 and bool(scene.things or scene.light)
    in_colour = rng.random() < 0.5
    if yes and scene.light and (not scene.things or rng.random() < 0.4):
        what, answer = scene.light, f"Yes, the {scene.light} is in the sky."
    elif yes:
        thing = rng.choice(scene.things)
        what = _asked_for(thing, in_colour, rng)
        number = sum(t.shape == thing.shape and (not in_colour or t.colour == thing.colour) for t in scene.things)
        said = f"yes, there is {a(named(thing))}" if number == 1 else "yes"
        answer = sentence(said) if number == 1 else f"Yes, there are {NUMBERS[number]}."
    else:
        what = _not_there(scene, in_colour, rng)
        answer = f"No, there is no {what}."
        if what.split()[-1] in SHAPES and rng.random() < 0.3:
            what = " ".join((*what.split()[:-1], _noun(rng, what.split()[-1])))
    question = rng.choice((
        f"Is there {a(what)}?", f"Is there {a(what)} in the picture?", f"Do you see {a(what)}?",
        f"Can you see {a(what)}?",
        f"Does the picture show {a(what)}?", f"Is {a(what)} in this picture?", f"Is there {a(what)} in this image?",
    ))  # fmt: skip
    return Asked("whether", question, answer)


def _asked_for(thing: Thing, in_colour: bool, rng: random.Random) -> str:
    if thing.shape in {"tree", "boat"}:
        return thing.shape
    noun = _noun(rng, thing.shape)
    return f"{thing.colour} {noun}" if in_colour else noun


def _not_there(scene: Scene, in_colour: bool, rng: random.Random) -> str:
    """Something that is missing; with a colour often one that nearly is there."""
    here = {(thing.colour, thing.shape) for thing in scene.things}
    names = _LAND_THINGS if scene.layout == "land" else tuple(SHAPES)
    shapes = {shape for _, shape in here}
    missing = [name for name in names if name not in shapes and name != scene.light]
    if rng.random() < 0.15:
        return rng.choice(_OTHERS)
    if not in_colour or scene.layout == "land":
        return rng.choice(missing)
    near = [f"{c} {s}" for c in COLOURS for s in SHAPES
            if (c, s) not in here and (s in shapes or any(c == other for other, _ in here))]  # fmt: skip
    return rng.choice(near)


def relation(scene: Scene, rng: random.Random) -> Asked | None:
    """What is above, below or beside something, and how two things stand."""
    things = in_order(scene)
    if scene.layout not in {"pair", "row"}:
        return None
    first = rng.randrange(len(things) - 1)
    before, after = things[first], things[first + 1]
    words: tuple[tuple[str, ...], tuple[str, ...]]
    if stands_above(scene):
        words = (("above", "over"), ("below", "under", "beneath"))
    else:
        words = (("to the left of", "left of", "on the left of"), ("to the right of", "right of", "on the right of"))
    is_after = rng.random() < 0.5
    asked_of, wanted = (before, after) if is_after else (after, before)
    if sum(t.shape == asked_of.shape for t in things) == 1:
        name = _noun(rng, asked_of.shape) if rng.random() < 0.6 else named(asked_of)
    elif sum(named(t) == named(asked_of) for t in things) == 1:
        name = named(asked_of)
    else:
        return None
    where = rng.choice(words[is_after])
    if scene.layout == "row" and not _is_only_neighbour(first, is_after, len(things)):
        side = "right" if is_after else "left"
        where = rng.choice((f"directly to the {side} of", f"just {side} of", f"directly {side} of"))
    question = rng.choice((
        f"What is {where} the {name}?", f"What is {where} the {name}?", f"Which shape is {where} the {name}?",
        f"What do you see {where} the {name}?", f"What stands {where} the {name}?",
    ))  # fmt: skip
    return Asked("relation", question, sentence(a(named(wanted))))


def _is_only_neighbour(first: int, is_after: bool, number: int) -> bool:
    """Whether nothing else is on that side."""
    return first + 2 == number if is_after else first == 0


def place(scene: Scene, rng: random.Random) -> Asked | None:
    """Where something is, or what is somewhere."""
    if scene.layout == "one":
        thing, where = scene.things[0], place_of(scene) or "in the middle"
        name = rng.choice((thing.shape, _noun(rng, thing.shape), named(thing)))
        question = rng.choice((
            f"Where is the {name}?", f"Where is the {name} in the picture?",
            f"In which part of the picture is the {name}?",
            f"Where in the picture is the {name}?", f"Where do you see the {name}?",
        ))  # fmt: skip
        return Asked("place", question, f"It is {where}.")
    if scene.layout in {"pair", "row"}:
        things = in_order(scene)
        spots = ("at the top", "at the bottom") if stands_above(scene) else ("on the left", "on the right")
        at = rng.choice((0, -1)) if len(things) == 2 else rng.choice((0, 1, -1))
        where = "in the middle" if at == 1 and len(things) == 3 else spots[at]
        question = rng.choice((f"What is {where}?", f"What is {where} of the picture?", f"Which shape is {where}?"))
        return Asked("place", question, sentence(a(named(things[at]))))
    return None


def background(scene: Scene, rng: random.Random) -> Asked | None:
    """Which colour the background is."""
    if scene.layout == "land":
        return None
    word = rng.choice(("colour", "colour", "color"))
    question = rng.choice((
        f"What {word} is the background?", f"Which {word} is the background?", f"What is the {word} of the background?",
        f"What {word} does the background have?", f"What is the background {word}?", "What is the background like?",
    ))  # fmt: skip
    return Asked("background", question, f"The background is {scene.background}.")


def time_of_day(scene: Scene, rng: random.Random) -> Asked | None:
    """Day, night or sunset."""
    if scene.layout != "land":
        return None
    question = rng.choice((
        "Is it day or night?", "What time of day is it?", "Is it day or night in the picture?",
        "What time of day is it in this picture?", "Is it day, night or sunset?",
        "Which time of day does the picture show?",
    ))  # fmt: skip
    return Asked("time", question, f"It is {scene.sky}.")


def ground(scene: Scene, rng: random.Random) -> Asked | None:
    """The kind of landscape."""
    if scene.layout != "land":
        return None
    question = rng.choice((
        "What kind of landscape is this?", "What landscape is this?", "Where is this?", "What place is this?",
        "What kind of landscape does the picture show?", "What landscape do you see?",
        "Which landscape is in the picture?",
    ))  # fmt: skip
    return Asked("ground", question, f"It is {_LAND[scene.ground]}.")


def standing(scene: Scene, rng: random.Random) -> Asked | None:
    """What stands in a landscape, or what is in its sky."""
    if scene.layout != "land":
        return None
    if rng.random() < 0.4:
        question = rng.choice((
            "What is in the sky?", "What do you see in the sky?", "Is there something in the sky?",
            "What is up in the sky?",
        ))  # fmt: skip
        return Asked("sky", question, f"The {scene.light}." if scene.light else "Nothing.")
    where = "What swims there?" if scene.ground == "sea" else "What stands in the landscape?"
    question = rng.choice((
        "What stands there?", "What stands there?", where, "What is there in this landscape?", "What things are there?",
        "What stands in this picture?",
    ))  # fmt: skip
    parts = [a(named(thing)) for thing in in_order(scene)]
    return Asked("standing", question, sentence(listed(parts)) if parts else "Nothing.")


MAKERS: tuple[tuple[Callable[[Scene, random.Random], Asked | None], float], ...] = (
    (describe, 1.5), (colour, 2), (count, 2), (shape_of, 2), (whether, 2.5), (relation, 2), (place, 2), (background, 1),
    (time_of_day, 2), (ground, 2), (standing, 3),
)  # fmt: skip
LEARNED = (0.8, 5, 2.5, 5, 7, 1.5, 1.5, 0.4, 0.6, 0.6, 1.2)
"""How often each is trained on: more often what has to find the one thing with this colour or shape."""


def ask(scene: Scene, rng: random.Random, weights: Sequence[float] = ()) -> Asked:
    """One question about the scene, written as a person types it; `weights` in place of those in `MAKERS`."""
    makers, usual = zip(*MAKERS, strict=True)
    weights = weights or usual
    while True:
        asked = rng.choices(makers, weights)[0](scene, rng)
        if asked is not None:
            return Asked(asked.kind, typed(asked.question, rng), asked.answer)


def several(scene: Scene, number: int, rng: random.Random) -> Iterator[Asked]:
    """So many questions about the scene to learn from, no two with the same words."""
    seen: set[str] = set()
    for _ in range(4 * number):
        asked = ask(scene, rng, LEARNED)
        if len(seen) < number and asked.question not in seen:
            seen.add(asked.question)
            yield asked


def typed(question: str, rng: random.Random) -> str:
    """The question as typed by one who is in a hurry: now and then in lower case, or without its mark."""
    if rng.random() < 0.15:
        question = question[:1].lower() + question[1:]
    return question.rstrip("?.") if rng.random() < 0.1 else question
