"""The embedding engine: one model that turns texts into vectors, several texts in a step. Runs in the child.

A model that sees all of a text at once (BERT and its kin) reads each in one piece, and llama.cpp pools what it makes of
the tokens as the file says. Any other reads as it would to write, and what it makes of the tokens is pooled here.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat.messages import Stopped
from nanolocal.engines.failures import failed
from nanolocal.engines.ggml import BATCH, Model, library, when_not_empty
from nanolocal.engines.pace import Pace
from nanolocal.engines.protocol import Done, Embedded, LoadEmbedding, Progress, Read, Reply, Run, RunEmbedding
from nanolocal.engines.stopflag import StopFlag
from nanolocal.errors import BuildFailed, EngineFailed, OutOfMemory, UsageError

if TYPE_CHECKING:  # imported where it is needed, as in sampling.py
    import numpy as np
    import numpy.typing as npt

_LEAST_PLACES = 512
_TEXTS = 32
"""The most texts of one step."""
_NONE, _MEAN, _CLS, _LAST, _RANK = range(5)
"""``llama_pooling_type``."""
_NO_MEMORY = -2
_FLASH_OFF, _SCORES_BYTES = 0, 64 * 2**20
"""Attention scores of so many bytes are kept as they are: flash attention rounds keys and values to 16 bits first."""


@dataclass(slots=True)
class _Text:
    """The tokens of a text that are read, and how many were left out at its end."""

    tokens: list[int]
    cut: int = 0


@dataclass(slots=True, eq=False)
class _Task:
    """A job under way: ``texts`` are still to be read, ``read`` tokens of ``total`` were."""

    job: RunEmbedding
    texts: list[_Text]
    total: int
    began: float
    cpu_s: float
    read: int = 0


class EmbeddingEngine:
    """A loaded GGUF file. ``emit`` takes what happens; raises ``EngineFailed`` when it cannot be loaded."""

    def __init__(self, request: LoadEmbedding, emit: Callable[[Reply], None], stop: StopFlag) -> None:
        self._emit = emit
        self._stop = stop
        self._build = request.build
        self._model = Model(Path(request.path), lambda fraction: emit(Progress(fraction)))
        self._reader = _Reader(self._model, request.build, Pace(request.threads), stop.buffer)
        self._task: _Task | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a job is under way."""
        return self._task is not None

    def take(self, job: Run) -> None:
        """Begin a job; raises ``UsageError`` for a text that is too long or makes no tokens."""
        if not isinstance(job, RunEmbedding) or self.is_busy:
            raise EngineFailed("an embedding engine makes vectors, for one job at a time")
        most = min(job.n_ctx, self._model.trained_context or job.n_ctx)
        texts = [self._text(number, text, most, job) for number, text in enumerate(job.texts)]
        self._reader.make_room(max((len(text.tokens) for text in texts), default=0), most)
        total = sum(len(text.tokens) for text in texts)
        self._task = _Task(job, texts, total, time.monotonic(), time.process_time())

    def step(self) -> None:
        """Read as many texts as go into one step."""
        task = self._task
        if task is None:
            return
        number = task.job.job
        if self._stop.stops(number) or not task.texts:
            self._finish(task, Stopped.USER if task.texts else Stopped.END)
            return
        try:
            count = self._reader.fitting(task.texts)
            texts, task.texts = task.texts[:count], task.texts[count:]
            vectors = self._reader.vectors([text.tokens for text in texts])
            data = b"" if vectors is None else _as_bytes(vectors, normalises=task.job.normalises)
        except Exception as error:  # whatever a library raises, the job gets one clear line
            self._end(task)
            self._emit(failed(number, error))
            return
        if vectors is None:
            task.texts = [*texts, *task.texts]
            return
        lengths = tuple(len(text.tokens) for text in texts)
        task.read += sum(lengths)
        self._emit(Embedded(number, data, lengths, tuple(text.cut for text in texts)))
        self._emit(Read(number, task.read, task.total, 0))

    def leave(self) -> None:
        """Nothing is kept."""

    def _text(self, number: int, text: str, most: int, job: RunEmbedding) -> _Text:
        tokens = self._model.tokenize(text, special=False, is_whole=True)
        if not tokens:
            raise UsageError(f"text {job.first + number} has nothing in it that {self._build} reads", "leave it out")
        over = len(tokens) - most
        if over <= 0:
            return _Text(tokens)
        if not job.truncates:
            raise UsageError(
                f"text {job.first + number} has {len(tokens):,} tokens, {self._build} reads at most {most:,}",
                "split it, or read its beginning alone with --truncate",
            )
        ends = tokens[-1:] if self._model.is_control(tokens[-1]) else []
        return _Text([*tokens[: most - len(ends)], *ends], over)

    def _finish(self, task: _Task, stopped: Stopped) -> None:
        self._end(task)
        seconds = time.monotonic() - task.began
        self._emit(
            Done(
                job=task.job.job,
                stopped=stopped,
                memory=0,
                prompt_tokens=task.read,
                prompt_tok_s=task.read / seconds if seconds > 0 else 0.0,
                cpu_s=time.process_time() - task.cpu_s,
            )
        )

    def _end(self, task: _Task) -> None:
        self._task = None
        self._stop.end(task.job.job)


class _Reader:
    """A context that gives vectors, made anew where a longer text asks for it."""

    def __init__(self, model: Model, build: str, pace: Pace, stop: ctypes.Array[ctypes.c_char]) -> None:
        self._lib = lib = library()
        self._model = model
        self._pace = pace
        self._stop = stop
        architecture = model.fact("general.architecture")
        self._pooling = int(model.fact(f"{architecture}.pooling_type") or _MEAN) or _MEAN
        if self._pooling == _RANK:
            raise BuildFailed(f"{build} ranks texts and makes no vectors", "choose another build")
        if lib.llama_model_has_encoder(model.pointer):
            raise BuildFailed(f"{build} makes no vectors of a whole text", "choose another build")
        self._width = int(lib.llama_model_n_embd_out(model.pointer))
        sums_up = lib.llama_model_is_recurrent(model.pointer) or lib.llama_model_is_hybrid(model.pointer)
        self._most_texts = 1 if sums_up else _TEXTS
        self._is_causal = model.fact(f"{architecture}.attention.causal") != "false"
        self._places = 0
        self._pointer: object = None
        self._batch: ctypes.Structure | None = None
        self.make_room(0, _LEAST_PLACES)

    def make_room(self, longest: int, most: int) -> None:
        """Take texts of ``longest`` tokens, of at most ``most`` that the model reads; raises ``OutOfMemory``."""
        places = min(_LEAST_PLACES, most)
        while places < longest:
            places *= 2
        if places > self._places:
            self._open(min(places, max(most, longest)))

    def fitting(self, texts: Sequence[_Text]) -> int:
        """How many of ``texts`` go into the next step, at least one."""
        places = 0
        for count, text in enumerate(texts[: self._most_texts]):
            places += len(text.tokens)
            if places > self._places:
                return max(count, 1)
        return min(len(texts), self._most_texts)

    def vectors(self, texts: Sequence[Sequence[int]]) -> npt.NDArray[np.float32] | None:
        """One row for each text, ``(texts, width)``; ``None`` when the stop flag ended it.

        Raises ``EngineFailed`` where llama.cpp cannot, ``OutOfMemory`` for want of that.
        """
        if self._memory:
            self._lib.llama_memory_clear(self._memory, False)
        placed = [
            (token, position, sequence, self._is_pooled(position, len(tokens)))
            for sequence, tokens in enumerate(texts)
            for position, token in enumerate(tokens)
        ]
        pool = _Pool(len(texts), self._width)
        for start in range(0, len(placed), self._step):
            step = placed[start : start + self._step]
            if not self._decode(step):
                return None
            if self._is_causal:
                for index, (_, _, sequence, is_pooled) in enumerate(step):
                    if is_pooled:
                        pool.add(sequence, self._lib.llama_get_embeddings_ith(self._pointer, index))
        if not self._is_causal:
            for sequence in range(len(texts)):
                pool.add(sequence, self._lib.llama_get_embeddings_seq(self._pointer, sequence))
        return pool.means()

    def _is_pooled(self, position: int, length: int) -> bool:
        """Whether the vector of a text is made of what comes out at ``position``."""
        if not self._is_causal or self._pooling == _MEAN:
            return True
        return position == (0 if self._pooling == _CLS else length - 1)

    def _decode(self, step: Sequence[tuple[int, int, int, bool]]) -> bool:
        batch = self._batch
        assert batch is not None
        for index, (token, position, sequence, is_pooled) in enumerate(step):
            batch.token[index] = token
            batch.pos[index] = position
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = sequence
            batch.logits[index] = is_pooled
        batch.n_tokens = len(step)
        began = time.monotonic()
        threads = self._pace.before(began)
        self._lib.llama_set_n_threads(self._pointer, threads, threads)
        result = self._lib.llama_decode(self._pointer, batch)
        if result not in (0, 2):
            error = OutOfMemory if result == _NO_MEMORY else EngineFailed
            raise error(f"llama.cpp cannot read the text (llama_decode: {result})", "choose another build")
        if result == 0:
            self._pace.after(len(step), time.monotonic() - began)
        return bool(result == 0)

    def _open(self, places: int) -> None:
        self._close()
        self._make(places)
        if (
            self._is_causal and not self._memory
        ):  # it keeps nothing of what it reads, so it can see all of a text at once only
            self._is_causal = False
            self._close()
            self._make(places)

    def _make(self, places: int) -> None:
        """A context of so many places; only a model that reads on can read a text in several steps."""
        lib = self._lib
        self._step = min(BATCH, places) if self._is_causal else places
        parameters = lib.llama_context_default_params()
        parameters.n_ctx = places
        parameters.n_batch = parameters.n_ubatch = self._step
        parameters.n_seq_max = self._most_texts
        parameters.kv_unified = True
        parameters.embeddings = True
        scores = 4 * int(lib.llama_model_n_head(self._model.pointer)) * self._step * places
        if scores <= _SCORES_BYTES:
            parameters.flash_attn_type = _FLASH_OFF
        parameters.pooling_type = _NONE if self._is_causal else self._pooling
        parameters.n_threads = parameters.n_threads_batch = self._pace.threads
        parameters.no_perf = True
        parameters.abort_callback = when_not_empty(lib)
        parameters.abort_callback_data = ctypes.addressof(self._stop)
        self._pointer = lib.llama_init_from_model(self._model.pointer, parameters)
        if not self._pointer:
            raise OutOfMemory(f"there is no memory for texts of {places} tokens", "choose a smaller build")
        self._memory = lib.llama_get_memory(self._pointer)
        self._batch = lib.llama_batch_init(self._step, 0, 1)
        self._places = places

    def _close(self) -> None:
        if self._batch is not None:
            self._lib.llama_batch_free(self._batch)
            self._lib.llama_free(self._pointer)
        self._pointer, self._batch, self._places = None, None, 0


class _Pool:
    """Sums of vectors, one for each text."""

    def __init__(self, count: int, width: int) -> None:
        import numpy as np

        self._np = np
        self._width = width
        self._sums = np.zeros((count, width), np.float64)
        self._counts = [0] * count

    def add(self, text: int, pointer: object) -> None:
        """Add the vector that llama.cpp keeps at ``pointer``; raises ``EngineFailed`` where it has none."""
        if not pointer:
            raise EngineFailed("llama.cpp made no vector of the text", "choose another build")
        self._sums[text] += self._np.ctypeslib.as_array(pointer, (self._width,))
        self._counts[text] += 1

    def means(self) -> npt.NDArray[np.float32]:
        """The mean of each text's vectors."""
        counts = self._np.array(self._counts)[:, None]
        means: npt.NDArray[np.float32] = (self._sums / counts).astype(self._np.float32)
        return means


def _as_bytes(vectors: npt.NDArray[np.float32], *, normalises: bool) -> bytes:
    """Rows as little-endian floats, each of length 1 if ``normalises``; raises ``EngineFailed`` for no numbers."""
    import numpy as np

    if not np.isfinite(vectors).all():
        raise EngineFailed("the model makes vectors that are no numbers", "choose another build")
    if normalises:
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        vectors = (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
    return vectors.astype("<f4").tobytes()
