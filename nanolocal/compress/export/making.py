"""Exports one build: every kind of file that its target has, each run and compared with torch, and a card."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from nanolocal.compress.export.cards import write_card, write_vocabulary
from nanolocal.compress.export.tasks import TARGETS, Export, Exported, ExportedFile
from nanolocal.compress.measuring.logits import log_probabilities
from nanolocal.errors import EngineFailed, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch.nn import Module

    from nanolocal.compress.torch.model import Model

CLOSE = 1e-4
"""How far scores of 32 bits may be from torch's: so much, or so much of the largest score where that is above 1."""
_DONE = 0.7
"""The share of the work that is done when the files are there and none was compared."""

Scores = Callable[["NDArray[np.int64]"], "NDArray[np.float32]"]
"""Runs an exported file: tokens (1, time) to scores (1, time, vocabulary)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an exporter is given: the model, as a module too, the number of its tokens, and the length of examples."""

    model: Model
    module: Module
    vocabulary: int
    length: int


class Exporter(Protocol):
    """A module for one target. It writes its files in the order in which it yields them, by kind and name."""

    FIXED: bool
    """Whether the files take texts of one length alone."""

    def write(self, asked: Asked, folder: Path) -> Iterator[tuple[str, str]]:
        """Write a file at a time."""

    def open(self, file: Path) -> Scores:
        """Load one of them as its users will."""


def make(task: Export, tell: Callable[[float], None]) -> Exported:
    """See ``tasks.perform_export``."""
    from nanolocal.compress.torch.files import read
    from nanolocal.compress.torch.model import module

    began = time.monotonic()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    source, folder = Path(task.source.path), Path(task.out)
    if not task.chunks.tokens:
        raise UsageError("an export is compared on a text, and there is none", "give one with --text FILE")
    exporter: Exporter = import_module(TARGETS[task.target].module)
    model = read(source)
    tell(0.05)
    asked = Asked(model, module(model), model.shape.vocabulary, len(task.chunks.tokens[0]))
    files, made = [], []
    for kind, name in exporter.write(asked, folder):
        made.append((kind, name))
        tell(0.05 + (_DONE - 0.05) * len(made) / 3)
    reference = _reference(asked.module)
    for number, (kind, name) in enumerate(made, 1):
        files.append(_compared(kind, folder / name, exporter.open(folder / name), reference, task.chunks.tokens))
        tell(_DONE + (1 - _DONE) * number / len(made))
    packages = tuple((name, version(name.replace("_", "-"))) for name in ("torch", *TARGETS[task.target].packages))
    exported = Exported(
        task.target,
        tuple(files),
        sum(len(tokens) - len(tokens) // 2 for tokens in task.chunks.tokens),
        asked.length if exporter.FIXED else 0,
        packages,
        time.monotonic() - began,
    )
    write_vocabulary(source, folder)
    write_card(task, exported, folder)
    return exported


def _reference(module: Module) -> Scores:
    import torch

    def run(tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        with torch.inference_mode():
            scores: NDArray[np.float32] = module(torch.from_numpy(tokens)).numpy()
        return scores

    return run


def _compared(kind: str, file: Path, run: Scores, reference: Scores, chunks: Sequence[Sequence[int]]) -> ExportedFile:
    """How the file does on the second half of each chunk; raises ``EngineFailed`` where 32 bits are not the same."""
    difference, largest = 0.0, 1.0
    klds, agreeing = [], []
    for chunk in chunks:
        tokens = np.array([chunk], np.int64)
        wanted, found = reference(tokens)[0], run(tokens)[0]
        if wanted.shape != found.shape or not np.isfinite(found).all():
            raise EngineFailed(f"the exported {file.name} gives no scores", "this build cannot be exported")
        difference = max(difference, float(np.abs(wanted - found).max()))
        largest = max(largest, float(np.abs(wanted).max()))
        half = len(chunk) // 2
        klds.append(_divergence(wanted[half:], found[half:]))
        agreeing.append(wanted[half:].argmax(-1) == found[half:].argmax(-1))
    if kind == "fp32" and difference > CLOSE * largest:
        raise EngineFailed(
            f"the exported {file.name} computes other scores than the build: {difference:.2g} off",
            "this build cannot be exported",
        )
    kld = np.concatenate(klds)
    size = sum(each.stat().st_size for each in file.parent.glob(f"{file.name}*"))
    error = float(kld.std(ddof=1)) / sqrt(len(kld)) if len(kld) > 1 else 0.0
    top1 = float(np.concatenate(agreeing).mean())
    return ExportedFile(file.name, kind, size, difference, float(kld.mean()), error, top1)


def _divergence(wanted: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float64]:
    """KL divergence (tokens,) of scores (tokens, vocabulary)."""
    one, other = log_probabilities(wanted), log_probabilities(found)
    result: NDArray[np.float64] = (np.exp(one) * (one - other)).sum(-1)
    return result
