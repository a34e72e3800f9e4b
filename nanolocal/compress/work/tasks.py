"""What the lab asks a process to do, and what comes back: plain values that travel as JSON.

``perform`` does a task where it is called. Big arrays travel as files in the run's work folder; what a task writes
appears under its name at once and whole, by ``finish``.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Union, get_args, get_origin, get_type_hints

from nanolocal.compress.torch.tasks import (
    Compensate,
    Compensated,
    Distill,
    Distilled,
    Prune,
    Pruned,
    Taught,
    Train,
    checkpoint_files,
)
from nanolocal.compress.torch.tasks import Result as TorchResult
from nanolocal.compress.torch.tasks import Task as TorchTask
from nanolocal.compress.work.values import Chunks as Chunks
from nanolocal.compress.work.values import Source as Source
from nanolocal.errors import UsageError

Tell = Callable[[float], None]
"""Takes how much is done, 0..1."""


@dataclass(frozen=True, slots=True)
class Tokenize:
    """``text`` as the model sees it, in at most ``most`` chunks of ``n_ctx`` tokens (0: all), as llama-perplexity cuts.

    ``is_marked`` text names control tokens, as a chat template does.
    """

    source: Source
    text: str
    n_ctx: int = 512
    most: int = 0
    is_marked: bool = False


@dataclass(frozen=True, slots=True)
class Base:
    """Write the probabilities of the original to ``out``, in llama-perplexity's format (``logits``)."""

    source: Source
    chunks: Chunks
    out: str


@dataclass(frozen=True, slots=True)
class BaseDone:
    """How many predictions were written, and the mean of -log p of the tokens that came."""

    rows: int
    nll: float


@dataclass(frozen=True, slots=True)
class Capture:
    """Sum up the activations that each tensor is multiplied with into ``out`` (``capture.Statistics``).

    ``hessians`` are the tensors to keep X^T X for, 4 * columns^2 bytes each, or ``experts`` times as much.
    """

    source: Source
    chunks: Chunks
    out: str
    hessians: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Captured:
    """Tensors that were seen, tokens that were read; ``missing`` matrices were not, or only some of their experts."""

    tensors: int
    tokens: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """The mean KL divergence from ``base`` with one tensor as it would be in ``type``; the result is a float.

    ``imatrix`` is a file of ``Capture`` or an imatrix GGUF. ``also`` are tensors to be changed at the same time.
    """

    source: Source
    tensor: str
    type: str
    chunks: Chunks
    base: str
    imatrix: str | None = None
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Quantize:
    """Write ``source`` to ``out`` with the tensors of ``types`` (by their names in ``source``) in these encodings.

    What is not named stays as it is. ``prune_layers`` are left out, the later ones take their numbers. ``metadata``
    goes into the header; ``general.file_type`` follows the encoding of most weights.
    """

    source: Source
    out: str
    types: dict[str, str]
    imatrix: str | None = None
    prune_layers: tuple[int, ...] = ()
    metadata: dict[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Quantized:
    """The size of the file; ``missing`` tensors were encoded without an importance, as ``imatrix`` has none."""

    bytes: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Round:
    """As ``Quantize``; the tensors that ``statistics`` has a Hessian for are rounded with it (``rounding``)."""

    source: Source
    out: str
    types: dict[str, str]
    statistics: str
    metadata: dict[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Err:
    """What ``tensor`` loses in each of ``types`` by the ``statistics`` of its inputs, rounded with them or plain.

    Of a large tensor some rows stand for all.
    """

    source: Source
    tensor: str
    types: tuple[str, ...]
    statistics: str
    is_rounded: bool = False


@dataclass(frozen=True, slots=True)
class Erred:
    """For each type, what the tensor computes wrongly: the mean square for a token, and as a share of all it computes.

    The first is tr(E H E^T), by the Hessian where there is one; the second is by the importance of the columns alone.
    """

    squares: tuple[float, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DryRun:
    """What llama.cpp's recipe ``name``, as ``Q4_K_M``, would do; the result is a ``Plan``."""

    source: Source
    name: str
    imatrix: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The encoding that each tensor gets, those too that stay as they are."""

    types: dict[str, str]


@dataclass(frozen=True, slots=True)
class Measure:
    """Compare the build at ``path`` with ``base`` (a file of ``Base``); per-token values go to ``out`` (``measure``).

    ``adapter`` is a GGUF LoRA to use with it.
    """

    path: str
    base: str
    chunks: Chunks
    out: str
    adapter: str | None = None


@dataclass(frozen=True, slots=True)
class Divergence:
    """How far a build is from the original on held-out text, as llama-perplexity measures it.

    KL divergence per token in nats: ``mean`` with its standard ``error``, and its 99 and 99.9 % quantiles. ``top1`` is
    the share of tokens where both find the same most likely, ``rms_dp`` the root mean square of the change of the
    probability of the token that came. ``read_per_s`` and ``write_per_s`` are tokens a second, the median of several
    steps; ``peak_bytes`` the most that the measuring process held.
    """

    mean: float
    error: float
    p99: float
    p999: float
    ppl_ratio: float
    top1: float
    rms_dp: float
    tokens: int
    ppl: float = 0.0
    ppl_base: float = 0.0
    read_per_s: float = 0.0
    write_per_s: float = 0.0
    threads: int = 0
    file_bytes: int = 0
    peak_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """A question of a task, and answers to it; the first one is right."""

    task: str
    ask: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sit:
    """Put questions to the build at ``path`` (``suite``)."""

    path: str
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Sat:
    """The number of the answer that was chosen to each question, -1 where it could not be put."""

    chosen: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Write:
    """Read ``prompt`` with the build at ``path`` and write so many tokens; ``tell`` is called where that begins."""

    path: str
    prompt: tuple[int, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Wrote:
    """What that took: processor time of all threads, and seconds."""

    cpu_seconds: float
    seconds: float


Task = Tokenize | Base | Capture | Probe | Quantize | Round | Err | DryRun | Measure | Sit | Write | TorchTask
Result = Chunks | BaseDone | Captured | float | Quantized | Erred | Plan | Divergence | Sat | Wrote | TorchResult

_KINDS = {
    kind.__name__: kind
    for kind in (
        *(Tokenize, Base, Capture, Probe, Quantize, Round, Err, DryRun, Measure, Sit, Write),
        *(Chunks, BaseDone, Captured, Quantized, Erred, Plan, Divergence, Sat, Wrote),
        *(Prune, Pruned, Distill, Distilled, Train, Taught, Compensate, Compensated),
    )
}


def perform(task: Task, tell: Tell, threads: int = 0) -> Result:
    """Do ``task`` in this process, with so many threads, all usable cores for 0.

    Raises what its steps raise; llama.cpp may end the process over a file that it does not expect: see ``workers``.
    """
    prepare(task)
    try:
        result = work(task, tell, threads)
        finish(task)
    finally:
        clear(task)
    return result


def work(task: Task, tell: Tell, threads: int = 0) -> Result:
    """Do ``task``; its files are written to ``draft_of`` their names and stay there."""
    from nanolocal.compress.work.doing import Keeper
    from nanolocal.engines.launch import usable_cores

    keeper = Keeper()
    try:
        return keeper.do(task, tell, threads or usable_cores())
    finally:
        keeper.close()


def source_of(task: Task) -> Path:
    """The build that a task reads."""
    return Path(task.path if isinstance(task, Measure | Sit | Write) else task.source.path)


def reads(task: Task) -> list[Path]:
    """The files that a task reads besides the build."""
    names = [getattr(task, name, None) for name in ("base", "imatrix", "statistics", "adapter")]
    builds = [getattr(task, name, None) for name in ("student", "quantized")]
    return [Path(name) for name in (*names, *(build.path for build in builds if build)) if name]


def writes(task: Task) -> Path | None:
    """The file that a task makes."""
    out: str | None = getattr(task, "out", None)
    return Path(out) if out else None


def draft_of(out: Path) -> Path:
    """Where a file is written before it gets its name."""
    return out.with_name(out.name + ".part")


def checkpoints_of(task: Task) -> tuple[Path, ...]:
    """The files from which a task goes on where it was cut off; none for most."""
    return checkpoint_files(Path(task.checkpoint)) if isinstance(task, TorchTask) and task.checkpoint else ()


def raw_of(out: Path) -> Path:
    """Where the weights are written before the metadata is added."""
    return out.with_name(out.name + ".raw")


def prepare(task: Task) -> None:
    """Make the files that the task will write to, empty: an isolated child can only write to what is there."""
    if (out := writes(task)) is None:
        return
    try:
        for place in _scratch(task, out):
            place.open("wb").close()
        for place in checkpoints_of(task):
            place.touch()
    except OSError as error:
        raise UsageError(f"cannot write to {out.parent}: {error.strerror}", "choose another folder") from error


def finish(task: Task) -> None:
    """Give what was written its name, once it is on the disk."""
    if (out := writes(task)) is None:
        return
    with draft_of(out).open("rb+") as file:
        os.fsync(file.fileno())
    draft_of(out).replace(out)
    for place in checkpoints_of(task):
        place.unlink(missing_ok=True)


def clear(task: Task) -> None:
    """Remove what a task left half-written; checkpoints stay until it is done."""
    if (out := writes(task)) is not None:
        for place in _scratch(task, out):
            place.unlink(missing_ok=True)


def _scratch(task: Task, out: Path) -> tuple[Path, ...]:
    return (draft_of(out), raw_of(out)) if isinstance(task, Quantize | Round) else (draft_of(out),)


def to_json(value: Task | Result) -> dict[str, object]:
    """``value`` as a JSON object that says what it is."""
    if isinstance(value, float):
        return {"kind": "float", "value": value}
    return {"kind": type(value).__name__, **asdict(value)}


def task_from_json(data: Mapping[str, object]) -> Task:
    """The task that ``to_json`` made this of; raises ``UsageError`` for anything else."""
    made = _from_json(data)
    if not isinstance(made, Task):
        raise UsageError(f"the compression lab has no task {type(made).__name__}", "")
    return made


def result_from_json(data: Mapping[str, object]) -> Result:
    """The result that ``to_json`` made this of; raises ``UsageError`` for anything else."""
    made = _from_json(data)
    if not isinstance(made, Result):
        raise UsageError(f"{type(made).__name__} is no result of the compression lab", "")
    return made


def _from_json(data: Mapping[str, object]) -> object:
    kind, values = data.get("kind"), {name: value for name, value in data.items() if name != "kind"}
    try:
        if kind == "float":
            return float(str(values["value"]))
        return _made(_KINDS[str(kind)], values)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UsageError(f"the compression lab does not know {str(kind)[:40]!r} of this kind", "") from error


def _made(kind: object, data: object) -> object:
    """A value of type ``kind`` out of what JSON left of it; raises ``TypeError`` where that does not fit."""
    arguments = get_args(kind)
    match get_origin(kind) or kind:
        case origin if origin in (Union, UnionType):
            return _made(next((each for each in arguments if _fits(each, data)), None), data)
        case origin if origin is tuple and isinstance(data, list | tuple):
            return tuple(_made(arguments[0], each) for each in data)
        case origin if origin is dict and isinstance(data, Mapping):
            return {str(name): _made(arguments[1], value) for name, value in data.items()}
        case type() as plain if is_dataclass(plain) and isinstance(data, Mapping):
            hints = get_type_hints(plain)
            return plain(**{name: _made(hints[name], value) for name, value in data.items()})
        case origin if origin is float and isinstance(data, int | float):
            return float(data)
        case origin if _fits(origin, data):
            return data
    raise TypeError(f"no {kind}")


def _fits(kind: object, data: object) -> bool:
    return isinstance(kind, type) and type(data) is kind
