"""A recipe: the steps from one build to a smaller one, which make the same file again, byte by byte.

It is kept as JSON in the build's metadata: ``version``, ``seed``, hashes and the list of ``steps``.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

from nanolocal.compress.weights.encodings import number_of
from nanolocal.errors import UsageError

VERSION = 1
MAX_BYTES = 2**22


@dataclass(frozen=True, slots=True)
class PruneStep:
    """So many ``layers``, ``hidden`` channels and heads are left (0: as many as there are), in so many ``rounds``."""

    layers: int = 0
    hidden: int = 0
    heads: int = 0
    kv_heads: int = 0
    rounds: int = 1


@dataclass(frozen=True, slots=True)
class RecoverStep:
    """The original teaches the smaller one for so many training ``steps`` of ``rows`` rows of text.

    A ``rate`` of 0 is the one that suits the damage.
    """

    steps: int
    rows: int = 12
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class QuantizeStep:
    """Tensors get these ``types``; ``rounded`` with their Hessians, or plain, by ``importance`` or without."""

    types: dict[str, str]
    name: str = ""
    rounded: bool = False
    importance: bool = True


Step = PruneStep | RecoverStep | QuantizeStep

_STEPS: dict[str, type[Step]] = {"prune": PruneStep, "recover": RecoverStep, "quantize": QuantizeStep}
_NAMES = {kind: name for name, kind in _STEPS.items()}


@dataclass(frozen=True, slots=True)
class Recipe:
    """``steps`` in their order, applied to the build whose file has ``source_sha256``.

    ``calibration`` says which text the statistics are of: its ``sha256`` where it is public, ``chunks`` and
    ``chunk_tokens``.
    """

    steps: tuple[Step, ...]
    seed: int = 0
    source_sha256: str = ""
    calibration: dict[str, str | int] = field(default_factory=dict)

    def to_json(self) -> str:
        """Always the same text for the same recipe."""
        told = {
            "version": VERSION,
            "seed": self.seed,
            "source_sha256": self.source_sha256,
            "calibration": self.calibration,
            "steps": [{"step": _NAMES[type(step)], **asdict(step)} for step in self.steps],
        }
        return json.dumps(told, sort_keys=True, separators=(",", ":"))


def recipe_from_json(text: str) -> Recipe:
    """The recipe that ``Recipe.to_json`` made ``text`` of; raises ``UsageError`` for anything else."""
    try:
        if len(text) > MAX_BYTES:
            raise ValueError("it is too long")
        told = json.loads(text)
        if told["version"] != VERSION:
            raise UsageError(f"the recipe is of version {told['version']}, not {VERSION}", "update nanolocal")
        return Recipe(
            tuple(_step(each) for each in told["steps"]),
            _whole(told["seed"]),
            _word(told["source_sha256"]),
            {_word(key): value for key, value in told["calibration"].items() if isinstance(value, str | int)},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"this is no recipe ({type(error).__name__})", "give one that the lab has written") from error


def _step(told: Mapping[str, object]) -> Step:
    kind = _STEPS[_word(told["step"])]
    known = {each.name: each.type for each in fields(kind)}
    values = {name: value for name, value in told.items() if name != "step"}
    for name, value in values.items():
        _check(name, value, known[name])
    return kind(**values)  # type: ignore[arg-type]  # checked above


def _check(name: str, value: object, kind: object) -> None:
    if name == "types":
        if not isinstance(value, dict) or not value:
            raise TypeError(name)
        for tensor, encoding in value.items():
            number_of(_word(encoding))
            _word(tensor)
        return
    allowed = (float, int) if kind is float else (kind,)
    if type(value) not in allowed or (isinstance(value, int | float) and value < 0):
        raise TypeError(name)


def _whole(value: object) -> int:
    if type(value) is not int:
        raise TypeError("a whole number")
    return value


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a word")
    return value
