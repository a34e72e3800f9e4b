"""The task of exporting a build: what travels to the child that does it, and what comes back."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from nanolocal.compress.work.tasks import Chunks, Source
from nanolocal.errors import UsageError


@dataclass(frozen=True, slots=True)
class Target:
    """A runtime: the ``module`` that exports for it, the packages which that needs, and how to ``install`` them."""

    spoken: str
    module: str
    packages: tuple[str, ...]
    install: str


TARGETS = {
    "onnx": Target(
        "ONNX Runtime",
        "nanolocal.compress.export.onnx",
        ("onnx", "onnxscript", "onnxruntime"),
        "pip install 'nanolocal[onnx]'",
    ),
    "litert": Target(
        "LiteRT",
        "nanolocal.compress.export.litert",
        ("litert_torch", "ai_edge_litert", "ai_edge_quantizer"),
        "pip install --no-deps -r scripts/litert.txt",
    ),
    "executorch": Target(
        "ExecuTorch",
        "nanolocal.compress.export.executorch",
        ("executorch", "torchao"),
        "pip install 'nanolocal[executorch]'",
    ),
}


@dataclass(frozen=True, slots=True)
class Export:
    """Export the build ``source`` for ``target`` into the empty folder ``out``, and compare on ``chunks``.

    ``name`` and ``licence`` of the build go onto the card.
    """

    source: Source
    target: str
    out: str
    chunks: Chunks
    name: str
    licence: str = ""


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """One model file: its bytes, and how far its scores are from those of the build, computed in 32 bits by torch.

    ``difference`` is the largest one of any score, ``kld`` the mean KL divergence of a token in nats, ``error`` its
    standard error, ``top1`` the share of tokens on whose most likely successor both agree.
    """

    name: str
    kind: str
    bytes: int
    difference: float
    kld: float
    error: float
    top1: float


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written. ``tokens`` were compared, ``length`` is the fixed length of a text, 0 where any will do."""

    target: str
    files: tuple[ExportedFile, ...]
    tokens: int
    length: int
    packages: tuple[tuple[str, str], ...]
    seconds: float


def check_target(name: str) -> Target:
    """The target of that name; raises ``UsageError`` for an unknown one, and for one whose packages are missing."""
    target = TARGETS.get(name)
    if target is None:
        raise UsageError(f"nothing is exported to {name[:40]!r}", f"choose one of {', '.join(TARGETS)}")
    missing = [package for package in target.packages if find_spec(package) is None]
    if missing:
        raise UsageError(
            f"an export to {target.spoken} needs {', '.join(missing)}, which is not installed",
            target.install,
        )
    return target


def perform_export(task: Export, tell: Callable[[float], None]) -> Exported:
    """Do it, in a process that may use torch; ``tell`` gets 0..1.

    Raises ``UsageError`` for what cannot be exported and ``EngineFailed`` where the result computes something else.
    """
    check_target(task.target)
    exported: Exported = import_module("nanolocal.compress.export.making").make(task, tell)
    return exported
