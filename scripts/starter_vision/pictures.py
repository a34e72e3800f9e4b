"""Drawn scenes as tensors, and what is on each of their patches: what the eyes learn first."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from starter_scenes import COLOURS, GROUNDS, PLACES, SHAPES, SKIES, Scene, Thing, draw, sample_scene
from torch import Tensor

from starter_vision.model import MEAN, STD, EyeShape

HELD_OUT = 10
"""One scene in so many is never trained on."""
KINDS = ("", *SHAPES, "house", "tree", "boat")
PAINTS = ("", *COLOURS)
LAYOUTS = ("one", "pair", "count", "row", "land")
LEARNED = (10, 54, 9, 18, 9)
"""How often each layout is trained on: more often those with several things that must not be mixed up."""
MOST_THINGS, WORDS = 3, 37
TABLES: dict[str, tuple[str, ...]] = {
    "layout": LAYOUTS,
    "background": PAINTS,
    "place": ("", *PLACES),
    "sky": ("", *SKIES),
    "ground": ("", *GROUNDS),
    "light": ("", "sun", "moon"),
}
"""What is asked of a whole picture, and the answers."""


def signature(scene: Scene) -> str:
    """What is to be seen on a scene in words, without exact sizes and places: the same for all that look alike."""
    things = [f"{thing.shape} {thing.colour}" for thing in in_order(scene)]
    way = "above" if stands_above(scene) else ""
    return "|".join(
        (scene.layout, scene.background, *things, way, place_of(scene), scene.sky, scene.ground, scene.light)
    )


def place_of(scene: Scene) -> str:
    """Where a single thing is; "" in the middle."""
    return "" if scene.place == "in the middle" else scene.place


def is_held_out(scene: Scene) -> bool:
    """Whether no picture of this scene may be trained on."""
    return int.from_bytes(hashlib.sha256(signature(scene).encode()).digest()[:4], "big") % HELD_OUT == 0


def scenes(rng: random.Random, held_out: bool) -> Iterator[Scene]:
    """Scenes without end, of those that are held out or of the others."""
    while True:
        scene = sample_scene(rng) if held_out else sample_scene(rng, LEARNED)
        if is_held_out(scene) == held_out:
            yield scene


def in_order(scene: Scene) -> list[Thing]:
    """The things from left to right, those above each other from top to bottom."""
    return sorted(scene.things, key=lambda thing: thing.y if stands_above(scene) else thing.x)


def stands_above(scene: Scene) -> bool:
    """Whether the first two things are above each other, not beside."""
    if len(scene.things) < 2:
        return False
    first, second = scene.things[:2]
    return abs(first.y - second.y) > abs(first.x - second.x)


def shaken(scene: Scene, rng: random.Random) -> Scene:
    """The scene with everything moved and sized a little otherwise."""
    right, down = rng.uniform(-0.03, 0.03), rng.uniform(-0.03, 0.03)
    scale = rng.uniform(0.88, 1.2)
    most = 0.165 if len(scene.things) == MOST_THINGS else 0.32
    moved = []
    for thing in scene.things:
        radius = max(thing.radius, min(most, thing.radius * scale)) if scale > 1 else thing.radius * scale
        moved.append(replace(thing, x=thing.x + right, y=thing.y + down, radius=radius))
    return replace(scene, things=tuple(moved))


def pixels(picture: Image.Image, side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The picture as libmtmd prepares a square one: (3, side, side), normalised."""
    if picture.size != (side, side):
        picture = picture.resize((side, side), Image.Resampling.BICUBIC)
    return ((np.asarray(picture, dtype=np.float32) / 255 - MEAN) / STD).astype(np.float32).transpose(2, 0, 1)


def photographed(scene: Scene, side: int, rng: random.Random) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A scene drawn at one of several sizes, a little noisy, in pixels."""
    seen = pixels(draw(scene, rng.choice((side, side, side, 96, 128))), side)
    if rng.random() < 0.5:
        noise = np.random.default_rng(rng.getrandbits(32))
        seen = seen * rng.uniform(0.95, 1.0) + rng.uniform(-0.03, 0.03)
        seen += noise.standard_normal(seen.shape, dtype=np.float32) * rng.uniform(0, 0.06)
    return seen.astype(np.float32)


def patch_labels(scene: Scene, shape: EyeShape) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """The kind and the paint of the thing around the middle of each patch: (patches, 2)."""
    across = shape.side // shape.patch
    middles = (np.arange(across) + 0.5) / across
    labels = np.zeros((across, across, 2), dtype=np.int64)
    nearest = np.full((across, across), np.inf)
    for thing in scene.things:
        x, y = middles[None] - thing.x, middles[:, None] - thing.y
        far = x**2 + y**2
        covered = (np.maximum(abs(x), abs(y)) < thing.radius + 0.03) & (far < nearest)
        labels[covered] = KINDS.index(thing.shape), PAINTS.index(thing.colour)
        nearest[covered] = far[covered]
    return labels.reshape(-1, 2)


def whole_labels(scene: Scene) -> list[int]:
    """The answers of `TABLES`, the number of things, then kind and paint of each thing in order."""
    seen = replace(scene, place=place_of(scene))
    answers = [words.index(getattr(seen, name)) for name, words in TABLES.items()]
    answers.append(len(scene.things))
    for thing in in_order(scene):
        answers += [KINDS.index(thing.shape), PAINTS.index(thing.colour)]
    return answers + [0] * (2 * (MOST_THINGS - len(scene.things)))


def words_of(scene: Scene) -> list[tuple[str, str]]:
    """The scene in `WORDS` pairs of words: colour and shape of each thing, what is told of the whole, a look-up table.

    It is "no" where there is nothing to say. The names are words of the questions, by which the text model finds its
    way. The table has one place for each shape, with its colour, and for each colour, with its shape; "two" stands
    for different ones.
    """
    things = in_order(scene)
    pairs = [(thing.colour, thing.shape) for thing in things] + [("no", "no")] * (MOST_THINGS - len(things))
    way = "above" if stands_above(scene) else "left" if len(things) > 1 and scene.layout != "land" else "no"
    pairs += [("background", scene.background or "no"), ("many", ("no", "one", "two", "three")[len(things)])]
    place = place_of(scene) if scene.layout == "one" else ""
    across = next((word for word in ("left", "right") if word in place), "middle")
    down = next((word for word in ("top", "bottom") if word in place), "middle")
    down, across = (down, across) if scene.layout == "one" else ("no", "no")
    ground = {"": "no", "grass": "meadow", "sand": "beach"}.get(scene.ground, scene.ground)
    rest = [("time", scene.sky or "no"), ("landscape", ground), ("sky", scene.light or "no"), ("way", way)]
    where = [("where", down), (down, across), (across, "where")]
    table = [(shape, _one_of({t.colour for t in things if t.shape == shape})) for shape in SHAPES]
    table += [(colour, _one_of({t.shape for t in things if t.colour == colour})) for colour in COLOURS]
    return [*_twice(pairs), *where, *_twice(rest), *table]


def _one_of(words: set[str]) -> str:
    return "two" if len(words) > 1 else next(iter(words), "no")


def _twice(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [pair for first, second in pairs for pair in ((first, second), (second, first))]


def drawn(chosen: Sequence[Scene], shape: EyeShape, rng: random.Random) -> Tensor:
    """Pictures of scenes (batch, 3, side, side)."""
    return torch.from_numpy(np.stack([photographed(scene, shape.side, rng) for scene in chosen]))
