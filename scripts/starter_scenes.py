"""Coloured shapes and small landscapes, drawn with Pillow, and the many ways to ask for each of them.

A `Scene` is what is on a picture; `draw` paints it, `caption` words it, `sample_scene` invents one. All lengths are
parts of the picture's side, so that one scene can be drawn at any size.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image, ImageDraw

Rgb = tuple[int, int, int]
Point = tuple[float, float]

COLOURS: dict[str, Rgb] = {
    "red": (220, 30, 40),
    "green": (30, 150, 60),
    "blue": (30, 80, 220),
    "yellow": (250, 215, 40),
    "orange": (250, 130, 20),
    "purple": (130, 40, 170),
    "pink": (255, 150, 190),
    "black": (20, 20, 20),
    "white": (255, 255, 255),
    "grey": (150, 150, 150),
}
SHAPES = {
    "circle": ("circle", "circle", "ball", "disc"),
    "square": ("square", "square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "heart": ("heart",),
    "ring": ("ring",),
}
SIZES = {"small": ("small", "little", "tiny"), "": ("",), "big": ("big", "large", "huge")}
SCALE = {"small": 0.72, "": 1.0, "big": 1.2}
JITTER = 0.008
RELATIONS = {
    "above": ("above", "over", "on top of"),
    "below": ("below", "under", "beneath"),
    "left": ("left of", "to the left of", "on the left of"),
    "right": ("right of", "to the right of", "on the right of"),
    "beside": ("next to", "beside", "and"),
}
PLACES: dict[str, Point] = {
    "at the top": (0.5, 0.24),
    "at the bottom": (0.5, 0.76),
    "on the left": (0.24, 0.5),
    "on the right": (0.76, 0.5),
    "in the middle": (0.5, 0.5),
    "in the top left corner": (0.24, 0.24),
    "in the top right corner": (0.76, 0.24),
    "in the bottom left corner": (0.24, 0.76),
    "in the bottom right corner": (0.76, 0.76),
}
SKIES: dict[str, Rgb] = {"day": (150, 205, 245), "night": (25, 30, 80), "sunset": (245, 150, 95)}
GROUNDS: dict[str, Rgb] = {
    "grass": (90, 175, 70),
    "hill": (70, 150, 60),
    "sea": (20, 95, 170),
    "sand": (235, 205, 140),
    "snow": (240, 245, 250),
}
SKY_WORDS = {
    "day": ("by day", "during the day", "under a blue sky"),
    "night": ("at night", "in the dark"),
    "sunset": ("at sunset", "in the evening"),
}
GROUND_WORDS = {
    "grass": ("on the grass", "on green grass", "in a meadow"),
    "hill": ("on a hill", "on a green hill"),
    "sea": ("on the sea", "at sea", "on the water"),
    "sand": ("on the beach", "on the sand", "in the desert"),
    "snow": ("in the snow", "in winter"),
}
GROUND_NOUNS = {"grass": "a meadow", "hill": "a green hill", "sea": "the sea", "sand": "a beach", "snow": "snow"}
LIGHT_WORDS = {
    "sun": ("with a sun", "under the sun", "and the sun"),
    "moon": ("with a moon", "under the moon", "and the moon"),
}
THREE = (0.165, 0.5, 0.835)
LAYOUTS = (18, 46, 14, 7, 15)
OPENINGS = (
    "draw ", "a picture of ", "please draw ", "an image of ", "show me ", "paint ", "can you draw ",
    "make a picture of ", "generate an image of ", "create a picture of ", "i want a picture of ", "a drawing of ",
    "a photo of ",
)  # fmt: skip
ENDINGS = (".", "!", " please", ", please.")


@dataclass(frozen=True, slots=True)
class Thing:
    """One object: shape name (or house, tree, boat), colour name, size word, centre and radius."""

    shape: str
    colour: str
    size: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Scene:
    """A whole picture. `layout` is one, pair, count, row or land; `relation` joins a pair; `place` belongs to one.

    A land has `sky`, `ground` and `light` ("" for none) in place of a background colour.
    """

    layout: str
    background: str
    things: tuple[Thing, ...]
    relation: str = ""
    place: str = ""
    sky: str = ""
    ground: str = ""
    light: str = ""


def outline(shape: str) -> list[Point]:
    """Corners of a shape in the square from -1 to 1, y downwards; a ring's is its outer edge."""
    if shape == "square":
        return [(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)]
    if shape == "triangle":
        return [(0.0, -0.95), (1.0, 0.8), (-1.0, 0.8)]
    if shape == "star":
        spokes = [(1.1 if k % 2 == 0 else 0.45, math.pi * k / 5 - math.pi / 2) for k in range(10)]
        return [(r * math.cos(a), r * math.sin(a) + 0.08) for r, a in spokes]
    turns = [2 * math.pi * k / 48 for k in range(48)]
    if shape == "heart":
        return [(math.sin(a) ** 3, -_heart_height(a) / 16.0 - 0.1) for a in turns]
    return [(math.cos(a), math.sin(a)) for a in turns]


def _heart_height(a: float) -> float:
    return 13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)


def draw(scene: Scene, side: int) -> Image.Image:
    """The scene as an RGB picture of `side` x `side` pixels with smooth edges."""
    fine = side * 4
    picture = Image.new("RGB", (fine, fine), SKIES[scene.sky] if scene.sky else COLOURS[scene.background])
    pen = ImageDraw.Draw(picture)
    if scene.sky:
        _draw_land(pen, scene, fine)
    for thing in scene.things:
        _draw_thing(pen, thing, COLOURS.get(scene.background, (0, 0, 0)), fine)
    return picture.resize((side, side), Image.Resampling.BOX)


def _polygon(pen: ImageDraw.ImageDraw, corners: list[Point], thing: Thing, fine: int, fill: Rgb) -> None:
    pen.polygon(
        [((thing.x + x * thing.radius) * fine, (thing.y + y * thing.radius) * fine) for x, y in corners], fill=fill
    )


def _draw_thing(pen: ImageDraw.ImageDraw, thing: Thing, background: Rgb, fine: int) -> None:
    fill = COLOURS[thing.colour]
    if thing.shape == "house":
        _polygon(pen, [(-0.8, -0.1), (0.8, -0.1), (0.8, 1), (-0.8, 1)], thing, fine, fill)
        _polygon(pen, [(-1.05, -0.1), (0, -1), (1.05, -0.1)], thing, fine, (120, 60, 40))
        _polygon(pen, [(-0.2, 0.35), (0.2, 0.35), (0.2, 1), (-0.2, 1)], thing, fine, (90, 50, 30))
    elif thing.shape == "tree":
        _polygon(pen, [(-0.15, 0.2), (0.15, 0.2), (0.15, 1), (-0.15, 1)], thing, fine, (110, 70, 40))
        _polygon(pen, [(x * 0.75, y * 0.75 - 0.25) for x, y in outline("circle")], thing, fine, (20, 110, 45))
    elif thing.shape == "boat":
        _polygon(pen, [(-1, 0.4), (1, 0.4), (0.6, 1), (-0.6, 1)], thing, fine, (110, 60, 35))
        _polygon(pen, [(-0.05, -1), (0.8, 0.25), (-0.05, 0.25)], thing, fine, fill)
    else:
        _polygon(pen, outline(thing.shape), thing, fine, fill)
        if thing.shape == "ring":
            _polygon(pen, [(x * 0.55, y * 0.55) for x, y in outline("ring")], thing, fine, background)


def _draw_land(pen: ImageDraw.ImageDraw, scene: Scene, fine: int) -> None:
    ground = GROUNDS[scene.ground]
    if scene.ground == "hill":
        pen.ellipse((-0.3 * fine, 0.6 * fine, 1.3 * fine, 1.8 * fine), fill=ground)
    else:
        pen.rectangle((0, 0.68 * fine, fine, fine), fill=ground)
    if scene.light == "sun":
        pen.ellipse((0.72 * fine, 0.08 * fine, 0.92 * fine, 0.28 * fine), fill=COLOURS["yellow"])
    elif scene.light == "moon":
        pen.ellipse((0.1 * fine, 0.08 * fine, 0.3 * fine, 0.28 * fine), fill=(245, 240, 210))
        pen.ellipse((0.16 * fine, 0.05 * fine, 0.36 * fine, 0.25 * fine), fill=SKIES[scene.sky])


def sample_scene(rng: random.Random, shares: Sequence[int] = LAYOUTS) -> Scene:
    """A random scene: half of them pairs, the rest single things, counts, rows of three and landscapes."""
    layout = rng.choices(("one", "pair", "count", "row", "land"), shares)[0]
    if layout == "land":
        return _sample_land(rng)
    place = relation = ""
    if layout == "one":
        place = "" if rng.random() < 0.6 else rng.choice(list(PLACES))
        things = [_thing(rng, *PLACES.get(place, (0.5, 0.5)), 0.18 if place else 0.24)]
    elif layout == "count":
        spots = (0.27, 0.73) if rng.random() < 0.6 else THREE
        first = _thing(rng, 0.5, 0.5, 0.18 if len(spots) == 2 else 0.13)
        things = [replace(first, x=x) for x in spots]
    elif layout == "row":
        things = [_thing(rng, x, 0.5, 0.13) for x in THREE]
    else:
        relation = rng.choice(list(RELATIONS))
        things = [_thing(rng, *spot, 0.18) for spot in _pair_spots(relation)]
    free = [colour for colour in COLOURS if all(thing.colour != colour for thing in things)]
    background = plain_background(things) if rng.random() < 0.6 else rng.choice(free)
    return Scene(layout, background, tuple(things), relation, place)


def sample_crowd(rng: random.Random) -> Scene:
    """Nine things of any kind before one colour: many edges in one picture, for an autoencoder to learn from."""
    background = rng.choice(list(COLOURS))
    things = [_thing(rng, x, y, 0.13) for x in THREE for y in THREE]
    free = [colour for colour in COLOURS if colour != background]
    things = [replace(thing, colour=rng.choice(free)) for thing in things]
    moved = [replace(t, x=t.x + rng.uniform(-0.02, 0.02), y=t.y + rng.uniform(-0.02, 0.02)) for t in things]
    return Scene("crowd", background, tuple(moved))


def signature(scene: Scene) -> str:
    """All that a prompt can say of a scene, as one line: two scenes that differ only in jitter share it."""
    things = [f"{thing.size} {thing.colour} {thing.shape}" for thing in scene.things]
    facts = (scene.layout, scene.background, scene.relation, scene.place, scene.sky, scene.ground, scene.light)
    return "|".join((*facts, *things))


def held_out(scene: Scene) -> bool:
    """Whether no training may show or word this scene: one in ten, by a hash of its signature."""
    return hashlib.sha256(signature(scene).encode()).digest()[0] < 26


def training_scene(rng: random.Random, shares: Sequence[int] = LAYOUTS) -> Scene:
    """A random scene that is not held out."""
    while True:
        scene = sample_scene(rng, shares)
        if not held_out(scene):
            return scene


def plain_background(things: Sequence[Thing]) -> str:
    """The background that is meant when a prompt names none: white, or the first that differs from the things."""
    used = {thing.colour for thing in things}
    return next(colour for colour in ("white", "grey", "black", "blue") if colour not in used)


def _pair_spots(relation: str) -> tuple[Point, Point]:
    """Where the first and the second thing of a pair stand; beside means in reading order."""
    low, high = 0.26, 0.74
    if relation in {"above", "below"}:
        upper, lower = (0.5, low), (0.5, high)
        return (upper, lower) if relation == "above" else (lower, upper)
    left, right = (low, 0.5), (high, 0.5)
    return (right, left) if relation == "right" else (left, right)


def _thing(rng: random.Random, x: float, y: float, radius: float) -> Thing:
    size = rng.choices(tuple(SIZES), (2, 6, 2))[0]
    jitter = rng.uniform(-JITTER, JITTER), rng.uniform(-JITTER, JITTER)
    scaled = radius * SCALE[size] * rng.uniform(0.98, 1.02)
    return Thing(rng.choice(list(SHAPES)), rng.choice(list(COLOURS)), size, x + jitter[0], y + jitter[1], scaled)


def _sample_land(rng: random.Random) -> Scene:
    ground = rng.choice(list(GROUNDS))
    sky = rng.choices(tuple(SKIES), (6, 3, 2))[0]
    light = rng.choice(("", "moon" if sky == "night" else "sun"))
    names = (
        rng.choice(((), ("boat",))) if ground == "sea" else rng.choice(((), ("house",), ("tree",), ("house", "tree")))
    )
    spots = (0.5,) if len(names) == 1 else (0.32, 0.72)
    things = []
    for name, x in zip(names, spots, strict=False):
        colour = "green" if name == "tree" else rng.choice(("red", "white", "yellow", "blue", "pink"))
        things.append(Thing(name, colour, "", x, 0.58, 0.19))
    return Scene("land", "", tuple(things), sky=sky, ground=ground, light=light)


def caption(scene: Scene, rng: random.Random) -> str:
    """One of the ways to ask for this scene, in lower case."""
    text = _land_words(scene, rng) if scene.layout == "land" else _shape_words(scene, rng)
    opening = rng.choice(OPENINGS) if rng.random() < 0.5 else ""
    return opening + text + (rng.choice(ENDINGS) if rng.random() < 0.3 else "")


def name(thing: Thing, rng: random.Random, number: str = "a") -> str:
    """A thing in words, as "a small red circle" or, with a number word, "two small red circles"."""
    noun = rng.choice(SHAPES[thing.shape])
    size = rng.choice(SIZES[thing.size])
    if number != "a":
        noun += "es" if noun.endswith("x") else "s"
    words = " ".join(word for word in (size, thing.colour, noun) if word)
    return f"{'an' if number == 'a' and words[0] in 'aeiou' else number} {words}"


def _shape_words(scene: Scene, rng: random.Random) -> str:
    first = scene.things[0]
    if scene.layout == "one":
        text = f"{_one_words(first, rng)} {scene.place}".strip()
    elif scene.layout == "count":
        words = ("two", "2") if len(scene.things) == 2 else ("three", "3")
        text = name(first, rng, rng.choice(words))
    elif scene.layout == "row":
        parts = [name(thing, rng) for thing in scene.things]
        text = f"{parts[0]}, {parts[1]} and {parts[2]}"
    else:
        text = f"{name(first, rng)} {rng.choice(RELATIONS[scene.relation])} {name(scene.things[1], rng)}"
    if scene.background == plain_background(scene.things) and rng.random() < 0.75:
        return text
    colour = scene.background
    article = "an" if colour[0] in "aeiou" else "a"
    return text + rng.choice(
        (f" on {article} {colour} background", f" on {colour}", f" with {article} {colour} background")
    )


def _one_words(thing: Thing, rng: random.Random) -> str:
    """A single thing; now and then without its article, its colour or, as an unknown word, its shape."""
    words = name(thing, rng)
    chance = rng.random()
    if chance < 0.12:
        word = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 8)))
        return rng.choice((f"a {thing.colour} {word}", f"a {word}"))
    if chance < 0.18:
        return "a " + rng.choice(SHAPES[thing.shape])
    if chance < 0.28:
        return words.split(" ", 1)[1]
    return rng.choice(("one", "1")) + " " + words.split(" ", 1)[1] if chance < 0.34 else words


def _land_words(scene: Scene, rng: random.Random) -> str:
    """A landscape; grass, day and a red house are what is meant when nothing is said about them."""
    names = [_land_name(thing, rng) for thing in scene.things]
    sky = "" if scene.sky == "day" and rng.random() < 0.7 else rng.choice(SKY_WORDS[scene.sky])
    light = rng.choice(LIGHT_WORDS[scene.light]) if scene.light else ""
    if not names:
        noun = GROUND_NOUNS[scene.ground]
        if scene.light and scene.ground == "grass" and rng.random() < 0.5:
            return " ".join(part for part in (rng.choice(("the ", "a ")) + scene.light, sky) if part)
        return " ".join(part for part in (noun, light, sky) if part)
    ground = "" if scene.ground == "grass" and rng.random() < 0.5 else rng.choice(GROUND_WORDS[scene.ground])
    if scene.things[0].shape == "boat" and rng.random() < 0.4:
        ground = ""
    return " ".join(part for part in (" and ".join(names), ground, sky, light) if part)


def _land_name(thing: Thing, rng: random.Random) -> str:
    usual = {"house": "red", "tree": "green", "boat": "white"}[thing.shape]
    if thing.shape == "tree" or (thing.colour == usual and rng.random() < 0.7):
        return f"a {thing.shape}"
    return f"a {thing.colour} {thing.shape}"
