"""Read a picture of coloured shapes back by program: its background, and every shape with its colour and centre."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from starter_scenes import COLOURS, PLACES, SHAPES, Scene, Thing, draw

Mask = NDArray[np.bool_]
NEAR = 60.0
APART = 0.15


@dataclass(frozen=True, slots=True)
class Found:
    """A shape that was read; the centre is in parts of the side, `shape` is "" for one that looks like none."""

    shape: str
    colour: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Marks:
    """What is right about a picture; None where the prompt asked for nothing of the kind."""

    background: bool
    number: bool | None
    colours: bool | None
    shapes: bool | None
    position: bool | None

    @property
    def everything(self) -> bool:
        """Whether nothing that was asked for is wrong."""
        return all(
            mark is not False for mark in (self.background, self.number, self.colours, self.shapes, self.position)
        )


def read_picture(picture: Image.Image) -> tuple[str, list[Found]]:
    """The background's colour name ("" when the border has none) and the shapes from left to right."""
    names = _colour_names(np.asarray(picture.convert("RGB")).astype(np.float64))
    border = np.concatenate([names[0], names[-1], names[:, 0], names[:, -1]])
    background = int(np.bincount(border + 1).argmax()) - 1
    found = []
    for number, colour in enumerate(COLOURS):
        if number == background:
            continue
        found += [_describe(part, colour) for part in _parts(names == number)]
    ordered = tuple(sorted(found, key=lambda thing: thing.x))
    return (list(COLOURS)[background] if background >= 0 else ""), list(ordered)


def _colour_names(pixels: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each pixel the number of the nearest colour, or -1 where none is near (edges, mixtures)."""
    palette = np.array(list(COLOURS.values()), dtype=np.float64)
    distance = np.linalg.norm(pixels[:, :, None, :] - palette, axis=3)
    return np.where(distance.min(axis=2) < NEAR, distance.argmin(axis=2), -1)


def _parts(mask: Mask) -> list[Mask]:
    """The connected parts of a mask that are more than an edge: pixels whose neighbours all belong too."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        padded = np.pad(labels, 1)
        around = np.max(
            [padded[1:-1, 1:-1], padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]], axis=0
        )
        spread = np.where(mask, around, 0)
        if np.array_equal(spread, labels):
            break
        labels = spread
    parts = [labels == label for label in np.unique(labels[labels > 0])]
    return [part for part in parts if part.sum() >= 16 and _core(part) >= 2]


def _core(part: Mask) -> int:
    padded = np.pad(part, 1)
    whole = part & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return int(whole.sum())


def _box(part: Mask) -> NDArray[np.float64]:
    """The part cut out by its bounding box and brought to 32 x 32."""
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    cut = part[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.asarray(Image.fromarray(cut.astype(np.uint8) * 255).resize((32, 32), Image.Resampling.BILINEAR)) / 255.0


@cache
def _templates() -> dict[str, NDArray[np.float64]]:
    boxes = {}
    for shape in SHAPES:
        scene = Scene("one", "white", (Thing(shape, "black", "", 0.5, 0.5, 0.2),))
        boxes[shape] = _box(np.asarray(draw(scene, 64).convert("L")) < 128)
    return boxes


def _describe(part: Mask, colour: str) -> Found:
    box = _box(part)
    overlaps = {shape: float(np.minimum(box, t).sum() / np.maximum(box, t).sum()) for shape, t in _templates().items()}
    best = max(overlaps, key=lambda shape: overlaps[shape])
    rows, columns = np.nonzero(part)
    side = part.shape[0]
    middle = (columns.min() + columns.max() + 1) / 2 / side, (rows.min() + rows.max() + 1) / 2 / side
    return Found(best if overlaps[best] > 0.65 else "", colour, *(float(value) for value in middle))


def mark(picture: Image.Image, scene: Scene) -> Marks:
    """Compare a picture of shapes with the scene that its prompt described."""
    background, found = read_picture(picture)
    colours = sorted(thing.colour for thing in found) == sorted(thing.colour for thing in scene.things)
    wanted = sorted((thing.colour, thing.shape) for thing in scene.things)
    shapes = sorted((thing.colour, thing.shape) for thing in found) == wanted
    asked = scene.layout in {"pair", "row"} or bool(scene.place)
    position = (len(found) == len(scene.things) and _position(found, scene)) if asked else None
    return Marks(background == scene.background, len(found) == len(scene.things), colours, shapes, position)


def _position(found: list[Found], scene: Scene) -> bool:
    """Whether the shapes, as many as there should be, stand where the prompt put them."""
    if scene.place:
        x, y = PLACES[scene.place]
        return abs(found[0].x - x) < APART and abs(found[0].y - y) < APART
    if scene.layout == "row":
        return [thing.colour for thing in found] == [thing.colour for thing in scene.things]
    one, two = found
    first, second = scene.things
    straight = (
        (one.colour == first.colour)
        + (one.shape == first.shape)
        + (two.colour == second.colour)
        + (two.shape == second.shape)
    )
    swapped = (
        (one.colour == second.colour)
        + (one.shape == second.shape)
        + (two.colour == first.colour)
        + (two.shape == first.shape)
    )
    if swapped > straight:
        one, two = two, one
    right, down = one.x - two.x, one.y - two.y
    if straight == swapped:  # two alike: only the direction can be wrong
        right, down = (
            -abs(right) if scene.relation != "right" else abs(right),
            abs(down) if scene.relation == "below" else -abs(down),
        )
    beside = abs(right) > APART and abs(down) < APART
    stacked = abs(down) > APART and abs(right) < APART
    return {
        "above": stacked and down < 0, "below": stacked and down > 0,
        "left": beside and right < 0, "right": beside and right > 0, "beside": beside,
    }[scene.relation]  # fmt: skip


def mark_land(picture: Image.Image, scene: Scene) -> Marks:
    """Compare a landscape with its drawing: the sky and ground by themselves, then what stands before them."""
    side = picture.width
    empty = Scene("land", "", (), sky=scene.sky, ground=scene.ground)
    seen, whole, bare = (
        np.asarray(p.convert("RGB")).astype(np.float64) for p in (picture, draw(scene, side), draw(empty, side))
    )
    alike = np.linalg.norm(seen - whole, axis=2) < NEAR
    before = np.linalg.norm(whole - bare, axis=2) > NEAR
    things = bool(alike[before].mean() > 0.7) if before.any() else None
    return Marks(bool(alike[~before].mean() > 0.93), None, None, things, None)
