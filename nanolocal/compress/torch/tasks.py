"""What the lab asks a process with torch to do: values that travel as JSON, as those of ``compress.work.tasks`` do.

``performing`` does them.
"""

from dataclasses import dataclass, field
from pathlib import Path

from nanolocal.compress.torch.checkpoints import slots
from nanolocal.compress.torch.distill import Round, rounds_of
from nanolocal.compress.torch.loop import Plan, Trained
from nanolocal.compress.torch.shape import Shape
from nanolocal.compress.work.values import Chunks, Source
from nanolocal.errors import UsageError

Facts = dict[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to train: ``steps`` repeat a run to the byte, else ``seconds`` are used. ``rows`` are read each step.

    ``rate`` is that of AdamW (0: what suits the task), ``matrix_rate`` that of Muon for the matrices of layers (0:
    AdamW for them too).
    """

    steps: int = 0
    seconds: float = 0.0
    rows: int = 12
    rate: float = 0.0
    matrix_rate: float = 0.0
    seed: int = 0

    def plan(self, checkpoint: str = "", identity: str = "") -> Plan:
        """The same for the training loop."""
        if not self.steps and not self.seconds:
            raise UsageError("a training needs a number of steps or a time", "give one of both")
        return Plan(
            steps=self.steps or None,
            seconds=None if self.steps else self.seconds,
            rows=self.rows,
            rate=self.rate,
            matrix_rate=self.matrix_rate,
            seed=self.seed,
            checkpoint=Path(checkpoint) if checkpoint else None,
            identity=identity,
        )


@dataclass(frozen=True, slots=True)
class Prune:
    """Write ``source`` with so many ``layers``, ``hidden`` channels and heads left (0: as many as now), recovered.

    Pruned and recovered in so many ``rounds``, on ``text`` and measured on ``held_out``. ``encoding`` is that of the
    matrices, F32, F16 or BF16 (empty: as they were). ``checkpoint`` is where a run that was cut off goes on.
    """

    source: Source
    out: str
    text: Chunks
    held_out: Chunks
    budget: Budget
    layers: int = 0
    hidden: int = 0
    heads: int = 0
    kv_heads: int = 0
    rounds: int = 1
    encoding: str = ""
    checkpoint: str = ""
    metadata: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pruned:
    """Mean held-out KL in nats of each round, before and after recovering, and how it was trained."""

    rounds: tuple[Round, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class Distill:
    """Teach ``student``, of any size with the same vocabulary, to predict what ``source`` does; write it to ``out``."""

    source: Source
    student: Source
    out: str
    text: Chunks
    held_out: Chunks
    budget: Budget
    encoding: str = ""
    checkpoint: str = ""
    metadata: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Distilled:
    """As ``Pruned``, for one training."""

    round: Round
    bytes: int


@dataclass(frozen=True, slots=True)
class Train:
    """Make a model of ``shape`` with the vocabulary of ``source`` and teach it ``text``."""

    source: Source
    shape: Shape
    out: str
    text: Chunks
    budget: Budget
    encoding: str = ""
    checkpoint: str = ""
    metadata: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Taught:
    """How the training went; its loss is in nats a token."""

    trained: Trained
    bytes: int


@dataclass(frozen=True, slots=True)
class Compensate:
    """Write an adapter of ``rank`` that brings ``quantized`` closer to ``source``, measured on ``held_out``.

    By its error as ``text`` shows it (EoRA) or as it is (LQER), then trained on it if there is a ``budget`` for that.
    A pruned build, whose matrices are other ones, gets an adapter (LoRA) by training alone.
    """

    source: Source
    quantized: Source
    out: str
    rank: int
    text: Chunks
    held_out: Chunks
    budget: Budget = Budget()
    by_text: bool = True
    checkpoint: str = ""


@dataclass(frozen=True, slots=True)
class Compensated:
    """Bytes of the adapter's weights, and the mean held-out KL in nats without and with it."""

    bytes: int
    before: float
    after: float


Task = Prune | Distill | Train | Compensate
Result = Pruned | Distilled | Taught | Compensated


def checkpoint_files(path: Path) -> tuple[Path, ...]:
    """All files that a task with the checkpoint ``path`` writes to, which have to be there, empty or from before."""
    return (*slots(path), *slots(rounds_of(path)))
