"""How each task of ``tasks`` is done. Only a process that may end over a bad file calls this: see ``workers``."""

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import singledispatch
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nanolocal.compress.measuring.capture import Collector, read_statistics, write_statistics
from nanolocal.compress.measuring.imatrix import Imatrix, importance_for, read_imatrix
from nanolocal.compress.measuring.logits import BaseFile, BaseWriter, log_probabilities
from nanolocal.compress.measuring.measure import Tokens, compared, divergence_of
from nanolocal.compress.native.erring import erred
from nanolocal.compress.native.model import LabModel
from nanolocal.compress.native.quantizer import dry_run, quantize, tensors_of
from nanolocal.compress.native.rounder import round_in_place
from nanolocal.compress.native.watching import Watcher
from nanolocal.compress.torch.performing import perform as train
from nanolocal.compress.torch.tasks import Task as TorchTask
from nanolocal.compress.weights.encodings import fitting
from nanolocal.compress.weights.header import with_metadata
from nanolocal.compress.work.tasks import (
    Base,
    BaseDone,
    Capture,
    Captured,
    Chunks,
    Divergence,
    DryRun,
    Err,
    Erred,
    Measure,
    Plan,
    Probe,
    Quantize,
    Quantized,
    Result,
    Round,
    Sat,
    Sit,
    Task,
    Tell,
    Tokenize,
    Write,
    Wrote,
    draft_of,
    raw_of,
)
from nanolocal.engines.ggml import Model
from nanolocal.errors import UsageError
from nanolocal.formats.splits import parts_of

_ROWS_BYTES = 2**26
"""Scores that are looked at together."""
_WRITTEN = 24
"""Tokens that are written one by one to see how fast that is."""


@singledispatch
def do(task: Task, tell: Tell, threads: int) -> Result:
    """Do ``task`` with so many threads; what it writes is at ``draft_of`` its name."""
    raise UsageError(f"the compression lab has no task {type(task).__name__}", "")


@do.register
def _(task: Tokenize, tell: Tell, threads: int) -> Chunks:
    model = Model(Path(task.source.path), lambda fraction: None)
    try:
        tokens = model.tokenize(task.text, special=task.is_marked, is_whole=True)
        begin = (model.bos,) if model.wants_bos else ()
    finally:
        model.close()
    return cut(tokens, task.n_ctx, begin, task.most)


def cut(tokens: list[int], n_ctx: int, begin: tuple[int, ...], most: int = 0) -> Chunks:
    """Whole chunks of ``n_ctx`` tokens; ``begin`` takes the place of the first of each, as llama-perplexity does."""
    count = len(tokens) // n_ctx
    starts = range(0, min(count, most or count) * n_ctx, n_ctx)
    return Chunks(tuple((*begin, *tokens[start + len(begin) : start + n_ctx]) for start in starts))


@do.register
def _(task: Base, tell: Tell, threads: int) -> BaseDone:
    model = LabModel(Path(task.source.path), task.chunks.length, threads, as_engine=True)
    nll, rows = 0.0, 0
    try:
        with BaseWriter(draft_of(Path(task.out)), task.chunks, model.model.vocabulary_size) as writer:
            for number, chunk in enumerate(task.chunks.tokens):
                for position, scores in _scored(model, chunk, task.chunks.first):
                    writer.write(scores)
                    came = chunk[position + 1 : position + 1 + len(scores)]
                    nll += float(_nll(scores, came).sum())
                    rows += len(scores)
                tell((number + 1) / len(task.chunks.tokens))
    finally:
        model.close()
    return BaseDone(rows, nll / rows)


@do.register
def _(task: Capture, tell: Tell, threads: int) -> Captured:
    path = Path(task.source.path)
    shapes = {name: tensor.shape for name, tensor in tensors_of(path).items()}
    collector = Collector(shapes, frozenset(task.hessians))
    model = LabModel(path, task.chunks.length, threads, maps=True)
    try:
        with model.watched_by(Watcher(collector)):
            for number, chunk in enumerate(task.chunks.tokens):
                for _ in model.rows(chunk, 0):
                    pass
                tell((number + 1) / len(task.chunks.tokens))
    finally:
        model.close()
    tokens = task.chunks.length * len(task.chunks.tokens)
    write_statistics(collector.statistics(tokens), draft_of(Path(task.out)))
    return Captured(len(shapes) - len(collector.missing()), tokens, collector.missing())


class Keeper:
    """Does tasks, and keeps what probes load from one to the next."""

    def __init__(self) -> None:
        self._model: LabModel | None = None

    def do(self, task: Task, tell: Tell, threads: int) -> Result:
        """Do ``task`` with so many threads; what it writes is at ``draft_of`` its name."""
        if isinstance(task, Probe):
            return probe(self._loaded(task, threads), task, tell, threads)
        self.close()
        if isinstance(task, TorchTask):
            return train(task, draft_of(Path(task.out)), tell, threads)
        return do(task, tell, threads)

    def close(self) -> None:
        """Give the memory back."""
        if self._model is not None:
            self._model.close()
            self._model = None

    def _loaded(self, task: Probe, threads: int) -> LabModel:
        wanted = Path(task.source.path), task.chunks.length
        if self._model is None or (self._model.path, self._model.n_ctx) != wanted:
            self.close()
            self._model = LabModel(*wanted, threads)
        return self._model


def probe(model: LabModel, task: Probe, tell: Tell, threads: int) -> float:
    """Do a ``Probe`` with its model, which is afterwards what it was before."""
    base = _base_for(task.base, task.chunks, model.model.vocabulary_size)
    tensors, imatrix = tensors_of(model.path), _imatrix(task.imatrix) or {}
    total = 0.0
    with ExitStack() as replacements:
        for name in (task.tensor, *task.also):
            if name not in tensors:
                raise UsageError(f"the build has no tensor {name!r}", "see its tensors")
            encoding = fitting(task.type, tensors[name].shape[0])
            importance = importance_for(imatrix, name, tensors[name].shape)
            replacements.enter_context(model.replaced(name, encoding, importance, threads))
        for number, chunk in enumerate(task.chunks.tokens):
            total += float(_compare(model, base, number, chunk)[0].sum())
            tell((number + 1) / len(task.chunks.tokens))
    return total / (len(task.chunks.tokens) * task.chunks.rows)


@do.register
def _(task: DryRun, tell: Tell, threads: int) -> Plan:
    return Plan(dry_run(Path(task.source.path), task.name, _imatrix(task.imatrix)))


@do.register
def _(task: Err, tell: Tell, threads: int) -> Erred:
    kept = read_statistics(Path(task.statistics), frozenset({task.tensor}))
    return erred(Path(task.source.path), task.tensor, task.types, kept, tell, is_rounded=task.is_rounded)


@do.register
def _(task: Quantize, tell: Tell, threads: int) -> Quantized:
    out = Path(task.out)
    target = raw_of(out) if task.metadata else draft_of(out)
    written = quantize(
        Path(task.source.path),
        target,
        task.types,
        _imatrix(task.imatrix),
        tell,
        prune_layers=task.prune_layers,
        threads=threads,
    )
    return _finished(out, task.metadata, written.missing)


@do.register
def _(task: Round, tell: Tell, threads: int) -> Quantized:
    out = Path(task.out)
    target = raw_of(out) if task.metadata else draft_of(out)
    imatrix = read_statistics(Path(task.statistics), frozenset(task.types)).imatrix
    path = Path(task.source.path)
    written = quantize(path, target, task.types, imatrix, lambda done: tell(0.1 * done), threads=threads)
    round_in_place(path, target, task.types, Path(task.statistics), lambda done: tell(0.1 + 0.9 * done))
    return _finished(out, task.metadata, written.missing)


def _finished(out: Path, metadata: dict[str, str | int | float | bool], missing: tuple[str, ...]) -> Quantized:
    if metadata:
        with_metadata(raw_of(out), draft_of(out), metadata)
    return Quantized(draft_of(out).stat().st_size, missing)


@do.register
def _(task: Measure, tell: Tell, threads: int) -> Divergence:
    path = Path(task.path)
    model = LabModel(path, task.chunks.length, threads, as_engine=True)
    try:
        if task.adapter:
            model.adapt(Path(task.adapter))
        base = _base_for(task.base, task.chunks, model.model.vocabulary_size)
        values, speeds = [], []
        for number, chunk in enumerate(task.chunks.tokens):
            model.seconds = 0.0
            values.append(_compare(model, base, number, chunk))
            speeds.append(len(chunk) / model.seconds)
            tell((number + 1) / len(task.chunks.tokens))
        write_per_s = _writing_speed(model, task.chunks)
    finally:
        model.close()
    tokens = Tokens(*np.stack(values, axis=1))
    tokens.save(draft_of(Path(task.out)))
    return replace(
        divergence_of(tokens),
        read_per_s=statistics.median(speeds),
        write_per_s=write_per_s,
        threads=model.threads,
        file_bytes=sum(part.stat().st_size for part in parts_of(path)),
        peak_bytes=_peak_bytes(),
    )


@do.register
def _(task: Sit, tell: Tell, threads: int) -> Sat:
    from nanolocal.compress.measuring.suite import sit

    return sit(task, tell, threads)


@do.register
def _(task: Write, tell: Tell, threads: int) -> Wrote:
    count = len(task.prompt) + task.count
    model = LabModel(Path(task.path), count, threads, as_engine=True)
    try:
        for start in range(0, len(task.prompt), model.step):
            model.decode(task.prompt[start : start + model.step], start, model.step)
        tell(0.0)
        began, used = time.monotonic(), time.process_time()
        for number in range(task.count):
            model.decode((task.prompt[number % len(task.prompt)],), len(task.prompt) + number, 0)
        return Wrote(time.process_time() - used, time.monotonic() - began)
    finally:
        model.close()


def _writing_speed(model: LabModel, chunks: Chunks) -> float:
    """Tokens a second, one after the other, behind half a chunk."""
    chunk, first = chunks.tokens[0], min(chunks.first, model.step)
    model.forget()
    model.decode(chunk[:first], 0, first)
    seconds = []
    for position in range(first, min(first + _WRITTEN, len(chunk))):
        model.seconds = 0.0
        model.decode(chunk[position : position + 1], position, 0)
        seconds.append(model.seconds)
    return 1 / statistics.median(seconds)


def _base_for(path: str, chunks: Chunks, vocabulary: int) -> BaseFile:
    base = BaseFile.open(Path(path))
    if base.vocabulary != vocabulary:
        raise UsageError("the build has another vocabulary than the original", "compare builds of one model")
    if base.chunks != chunks:
        raise UsageError("the original was measured on another text", "measure the original again")
    return base


def _imatrix(name: str | None) -> Imatrix | None:
    return read_imatrix(Path(name)) if name else None


def _compare(model: LabModel, base: BaseFile, number: int, chunk: tuple[int, ...]) -> NDArray[np.float64]:
    """The values of ``measure.compared`` for all scored tokens of a chunk, [5, rows]."""
    first = base.chunks.first
    parts = [
        compared(
            base.log_probabilities(number, position - first, len(scores)),
            scores,
            chunk[position + 1 : position + 1 + len(scores)],
        )
        for position, scores in _scored(model, chunk, first)
    ]
    return np.concatenate(parts, axis=1)


def _scored(model: LabModel, chunk: tuple[int, ...], first: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The scores that something is known to follow, not too many at a time: position, [n, vocabulary]."""
    step = max(1, _ROWS_BYTES // (8 * model.model.vocabulary_size))
    for position, scores in model.rows(chunk, first):
        count = min(len(scores), len(chunk) - 1 - position)
        for start in range(0, count, step):
            yield position + start, scores[start : min(start + step, count)]


def _nll(scores: NDArray[np.float32], tokens: tuple[int, ...]) -> NDArray[np.float64]:
    values: NDArray[np.float64] = -log_probabilities(scores)[np.arange(len(scores)), list(tokens)]
    return values


def _peak_bytes() -> int:
    import psutil

    try:
        import resource
    except ImportError:
        return int(psutil.Process().memory_info().rss)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
