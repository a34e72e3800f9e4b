"""What drawing takes in memory, by the size of the picture and by how memory is saved: numbers and sums alone.

The library works them out from the files of a build; the governor asks before it loads one. The pictures of one job are
drawn one after the other, so that many take no more than one.
"""

from dataclasses import dataclass

Ladder = tuple[tuple[str, int], ...]
"""Ways to save memory, each with the bytes that it takes."""

LEAST_SIDE, MOST_SIDE, SIDE_STEP = 64, 4096, 64
"""Sides of pictures that are offered in place of ones that do not fit."""
MOST_PIXELS = 3 * 2**20
"""Pixels that a picture has at the most."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of drawing, reading the prompt, denoising or decoding: bytes that are alive in it beside the weights.

    ``each`` is what every pixel of the picture takes, ``once`` what a pixel of the piece takes that is worked at: all
    of it, or at most so many pixels as ``most`` says where that is not 0.
    """

    fixed: int
    each: int = 0
    once: int = 0
    most: int = 0

    def needed(self, pixels: int) -> int:
        """Bytes for a picture of so many pixels."""
        piece = min(pixels, self.most) if self.most else pixels
        return self.fixed + self.each * pixels + self.once * piece


@dataclass(frozen=True, slots=True)
class Way:
    """A way to save memory, called as in ``chat.drawing``, and the bytes that it takes.

    ``loading`` is what is held while files are read, with at most ``mapped`` of their pages beside it, which the system
    may take back; ``held`` stays, and the largest of ``stages`` comes on top.
    """

    rung: str
    held: int
    loading: int
    mapped: int
    stages: tuple[Stage, ...]

    def needed(self, width: int, height: int) -> int:
        """What has to be free to draw a picture of that size, in pixels."""
        return max(self.loading, self.drawing(width, height))

    def peak(self, width: int, height: int) -> int:
        """The most that its process shows."""
        return max(self.loading + self.mapped, self.drawing(width, height))

    def drawing(self, width: int, height: int) -> int:
        """What it holds at most from the first step to the finished picture."""
        return self.held + max((stage.needed(width * height) for stage in self.stages), default=0)


@dataclass(frozen=True, slots=True)
class Choice:
    """The way to draw within a budget, and what it takes; where none fits, the one that takes least.

    Then ``largest`` is the largest picture of about the same proportions that fits in any way, where one does.
    """

    way: Way
    needed: int
    fits: bool
    largest: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Canvas:
    """A build that draws: the size that it draws by itself, in pixels, and the ways to do so, the plainest first.

    ``on_card`` are those of a graphics card, in bytes of its memory.
    """

    width: int
    height: int
    ways: tuple[Way, ...]
    on_card: tuple[Way, ...] = ()

    def ladder(self, width: int, height: int) -> Ladder:
        """All ways, with what they take for a picture of that size."""
        return tuple((way.rung, way.needed(width, height)) for way in self.ways)

    def choose(self, width: int, height: int, budget: int) -> Choice:
        """The first way that stays within ``budget`` bytes of memory."""
        return _chosen(self.ways, width, height, budget)

    def choose_on_card(self, width: int, height: int, budget: int) -> Choice:
        """The same for ``budget`` bytes of a graphics card."""
        return _chosen(self.on_card, width, height, budget)


def _chosen(ways: tuple[Way, ...], width: int, height: int, budget: int) -> Choice:
    needs = [(way.needed(width, height), way) for way in ways]
    for needed, way in needs:
        if needed <= budget:
            return Choice(way, needed, fits=True)
    needed, way = min(needs, key=lambda pair: pair[0])
    return Choice(way, needed, fits=False, largest=_largest(ways, width, height, budget))


def _largest(ways: tuple[Way, ...], width: int, height: int, budget: int) -> tuple[int, int] | None:
    """The largest picture of about these proportions that fits, with sides that every family takes."""
    longest = max(width, height)
    for longer in range(min(longest, MOST_SIDE) // SIDE_STEP * SIDE_STEP, 0, -SIDE_STEP):
        sides = (
            width * longer // longest // SIDE_STEP * SIDE_STEP,
            height * longer // longest // SIDE_STEP * SIDE_STEP,
        )
        if min(sides) < LEAST_SIDE:
            return None
        if any(way.needed(*sides) <= budget for way in ways):
            return sides
    return None
