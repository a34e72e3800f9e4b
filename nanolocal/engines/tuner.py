"""A child that looks for the settings a build runs fastest with: ``python -I -m nanolocal.engines.tuner``.

It reads one ``Question`` (JSON) from standard input, and writes a line for each setting that it tried and one with what
it found. The engine's own model and context are measured, with nothing chosen and nothing said.
"""

import json
import math
import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nanolocal.chat.tuning import USUAL, Tuning
from nanolocal.engines.ggml import Context, Model, Part, library
from nanolocal.engines.isolation import files_of, isolate
from nanolocal.engines.pace import Pace
from nanolocal.engines.search import Tried, search
from nanolocal.engines.stopflag import StopFlag
from nanolocal.errors import EngineFailed, NanolocalError
from nanolocal.hardening import end_with_parent, harden_process

_READ, _WRITE = 256, 64
"""Tokens of the turn whose time counts."""
_WORDS = "Every town has a place where people meet without an appointment, and nobody can say who chose it. "


@dataclass(frozen=True, slots=True)
class Question:
    """The file, the threads it computes with as usual, and those that could be others; tokens that are measured.

    A turn is repeated until it took ``least_s`` seconds.
    """

    path: str
    threads: int
    others: tuple[int, ...]
    read: int = 192
    write: int = 12
    n_ctx: int = 1024
    least_s: float = 0.1


class _Bench:
    """A model and the contexts over it that were asked for last, both made anew when others are needed."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._stop = StopFlag()
        self._model: Model | None = None
        self._loaded = USUAL
        self._contexts: dict[Tuning, Context] = {}
        self._tokens: list[int] = []
        self._repeats = 0

    def race(self, one: Tuning, other: Tuning) -> Iterator[float]:
        """How many times as fast ``other`` is, round by round, each time another one of them first."""
        pair = (one, other)
        for tuning in [tuning for tuning in self._contexts if tuning not in pair]:
            self._contexts.pop(tuning).close()
        while True:
            for first, second in (pair, pair[::-1]):
                seconds = {first: self.seconds(first), second: self.seconds(second)}
                yield seconds[one] / seconds[other]

    def seconds(self, tuning: Tuning) -> float:
        """The time of a turn, the mean of some where it is short."""
        context = self._context(tuning)
        return statistics.fmean(self._turn(context) for _ in range(self._repeats))

    def _turn(self, context: Context) -> float:
        read_s = self._read(context)
        began = time.monotonic()
        for index, token in enumerate(self._tokens[: self._question.write]):
            context.decode([Part(0, [token], self._question.read + index)])
        write_s = time.monotonic() - began
        return read_s * _READ / self._question.read + write_s * _WRITE / self._question.write

    def memory(self, tuning: Tuning) -> int:
        """Bytes that the process holds with one context alone, after a turn."""
        import psutil

        self._close_contexts()
        self.seconds(tuning)
        return int(psutil.Process().memory_info().rss)

    def _read(self, context: Context) -> float:
        context.keep(0, 0)
        began = time.monotonic()
        for start in range(0, self._question.read, context.batch):
            piece = self._tokens[start : min(start + context.batch, self._question.read)]
            context.decode([Part(0, piece, start)])
        return time.monotonic() - began

    def _context(self, tuning: Tuning) -> Context:
        model = self._model_for(tuning)
        if tuning not in self._contexts:
            question = self._question
            pace = Pace(tuning.threads or question.threads)
            context = Context(model, question.n_ctx, pace, self._stop.buffer, tuning=tuning)
            self._contexts[tuning] = context
            began = time.monotonic()
            self._turn(context)
            if not self._repeats:
                self._repeats = max(1, math.ceil(question.least_s / (time.monotonic() - began)))
        return self._contexts[tuning]

    def _model_for(self, tuning: Tuning) -> Model:
        """The model as ``tuning`` wants it loaded: there is memory for one."""
        wanted = Tuning(maps=tuning.maps, gpu_layers=tuning.gpu_layers)
        if self._model is None or wanted != self._loaded:
            self._close_contexts()
            if self._model is not None:
                self._model.close()
            self._model, self._loaded = Model(Path(self._question.path), lambda fraction: None, wanted), wanted
            need = self._question.read + self._question.write
            words = self._model.tokenize(_WORDS, special=False) or [0]
            self._tokens = (words * (need // len(words) + 1))[:need]
        return self._model

    def _close_contexts(self) -> None:
        for context in self._contexts.values():
            context.close()
        self._contexts.clear()


def candidates(question: Question, *, has_gpu: bool) -> list[list[Tuning]]:
    """What is tried, by what it changes.

    Flash attention stays off on processors, where it computes a short step to other last bits than a long one.
    """
    groups = [
        [Tuning(threads=threads) for threads in question.others],
        [Tuning(batch=batch) for batch in (128, 512)],
        [Tuning(maps=False)],
    ]
    return [*groups, [Tuning(flash="off")], [Tuning(gpu_layers=0)]] if has_gpu else groups


def main() -> int:
    """Answer one question."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no answer
    end_with_parent()
    harden_process()
    question = Question(**json.load(sys.stdin))
    library()  # later Python could not store what it compiles
    isolate("llama_cpp", files_of(Path(question.path)))

    def say(answer: dict[str, object]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    def tell(tried: Tried) -> None:
        say({"tried": asdict(tried)})

    try:
        bench = _Bench(question)
        has_gpu = bool(library().llama_supports_gpu_offload())
        found, gain = search(candidates(question, has_gpu=has_gpu), bench.race, tell)
        more = max(bench.memory(found) - bench.memory(USUAL), 0) if found != USUAL else 0
        say({"found": asdict(replace(found, more_bytes=more)), "gain": gain})
    except NanolocalError as problem:
        say({"failed": problem.message})
    except Exception as problem:  # whatever a library raises, the parent gets one clear line
        say({"failed": str(EngineFailed(f"{type(problem).__name__}: {problem}"))})
    return 0


if __name__ == "__main__":
    sys.exit(main())
