"""What one run of the lab is asked for, and what it gives back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nanolocal.chat.routes import Build
from nanolocal.compress.measuring.calibration import Text
from nanolocal.compress.plan import Plan
from nanolocal.compress.plot import Point
from nanolocal.compress.recipe import PruneStep, Recipe, RecoverStep
from nanolocal.compress.search.stock import Stock
from nanolocal.compress.targets import Wish
from nanolocal.compress.work.tasks import Question
from nanolocal.library.fit.layout import Layout


@dataclass(frozen=True, slots=True)
class Cut:
    """How much of a model is taken out before it is quantized: so many ``layers``, a share of its ``channels``.

    What is left learns from the original for about so many ``seconds``.
    """

    layers: int = 0
    channels: float = 0.0
    seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Ask:
    """A run: the build and what is wished of the smaller one.

    ``text`` is calibrated on instead of the built-in one; it names control tokens if it ``is_marked``. ``recipe`` is
    made again as it is. ``questions`` are the suite, ``weights`` what each task counts there. ``command`` goes on with
    the run once it was ended.
    """

    build: Build
    wish: Wish = field(default_factory=Wish)
    requantize: bool = False
    text: Text | None = None
    is_marked: bool = False
    recipe: Recipe | None = None
    questions: Sequence[Question] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    prune: Cut | None = None
    seed: int = 0
    label: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A build that was looked at, and what will be done with it; ``pruning`` says how it is pruned first."""

    ask: Ask
    plan: Plan
    layout: Layout
    ladder: tuple[Stock, ...]
    pruning: tuple[PruneStep, RecoverStep] | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """The file in the library, its report card, and every file that was measured on the way to it."""

    path: Path
    report: Mapping[str, object]
    points: tuple[Point, ...]
