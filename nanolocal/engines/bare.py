"""llama.cpp in the barest loop: the reference for the speed of the engine, and for what it writes.

``python -I -m nanolocal.engines.bare`` reads one ``Question`` (JSON) from standard input. It loads the file, says so
with an empty line, reads the prompt, writes, goes on from a part of it as a second turn does, and writes one ``Found``.
Nothing here is shared with the engine: one sequence, whole batches, llama.cpp's own defaults for the rest.
"""

import ctypes
import heapq
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from types import ModuleType

from nanolocal.engines.ggml import uses_flash_attention
from nanolocal.errors import EngineFailed
from nanolocal.hardening import end_with_parent, harden_process

_TRIED_READING, _TRIED_WRITING = 64, 6
"""Tokens that each number of threads is tried with."""


@dataclass(frozen=True, slots=True)
class Question:
    """What to measure. ``tokens``, or else ``text``, are the prompt, repeated or cut to ``read`` tokens unless 0.

    ``threads`` are the numbers to try: the quickest is taken. A ``temperature`` above 0 samples as the application
    does by default. Where ``added`` is not 0, a second turn goes on from the first ``kept`` tokens with so many more.
    ``ends`` stops at the end of an answer, ``gaps`` notes how far the best prediction was from the second.
    """

    path: str
    n_ctx: int
    threads: Sequence[int]
    text: str = ""
    tokens: Sequence[int] = ()
    read: int = 0
    write: int = 64
    kept: int = 0
    added: int = 0
    temperature: float = 0.0
    batch: int = 256
    ends: bool = False
    gaps: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured: times in seconds, speeds in tokens a second, ``memory`` the most bytes at any time.

    ``prompt`` is the number of tokens that were read and ``text`` what they stand for; ``written`` are tokens, each
    with its text (hexadecimal) in ``pieces``.
    """

    prompt: int
    text: str
    reading_threads: int
    writing_threads: int
    first_s: float
    read_tok_s: float
    write_tok_s: float
    second_s: float
    memory: int
    written: list[int] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)


class _Loop:
    """A model, a context of one text, and a chain of samplers."""

    def __init__(self, lib: ModuleType, question: Question) -> None:
        self._lib = lib
        model_parameters = lib.llama_model_default_params()
        model_parameters.n_gpu_layers = 99 if lib.llama_supports_gpu_offload() else 0
        self._model = lib.llama_model_load_from_file(os.fsencode(question.path), model_parameters)
        parameters = lib.llama_context_default_params()
        parameters.n_ctx = question.n_ctx
        parameters.n_batch = parameters.n_ubatch = self._batch = question.batch
        parameters.n_threads = parameters.n_threads_batch = max(question.threads)
        parameters.no_perf = True
        if not uses_flash_attention("f16"):
            parameters.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._context = lib.llama_init_from_model(self._model, parameters) if self._model else None
        if not self._context:
            raise EngineFailed(f"llama.cpp cannot load {question.path}", "try nanolocal models verify")
        self._memory = lib.llama_get_memory(self._context)
        self._vocabulary = lib.llama_model_get_vocab(self._model)
        self._size: int = lib.llama_vocab_n_tokens(self._vocabulary)
        self._chain = _chain(lib, question.temperature)

    def tokenize(self, text: str) -> list[int]:
        data = text.encode()
        room = len(data) + 8
        tokens = (ctypes.c_int32 * room)()
        return tokens[: self._lib.llama_tokenize(self._vocabulary, data, len(data), tokens, room, True, True)]

    def text(self, tokens: Sequence[int]) -> str:
        return b"".join(map(self.piece, tokens)).decode("utf-8", "replace")

    def piece(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(512)
        length = self._lib.llama_token_to_piece(self._vocabulary, token, buffer, len(buffer), 0, False)
        return buffer.raw[: max(length, 0)]

    def ends(self, token: int) -> bool:
        return bool(self._lib.llama_vocab_is_eog(self._vocabulary, token))

    def set_threads(self, writing: int, reading: int) -> None:
        self._lib.llama_set_n_threads(self._context, writing, reading)

    def keep(self, count: int) -> int:
        """Forget all but ``count`` tokens, or everything where the model cannot; returns how many are left."""
        if count and self._lib.llama_memory_seq_rm(self._memory, 0, count, -1):
            return count
        self._lib.llama_memory_clear(self._memory, True)
        return 0

    def read(self, tokens: Sequence[int]) -> None:
        for start in range(0, len(tokens), self._batch):
            piece = tokens[start : start + self._batch]
            array = (ctypes.c_int32 * len(piece))(*piece)
            if self._lib.llama_decode(self._context, self._lib.llama_batch_get_one(array, len(piece))):
                raise EngineFailed("llama.cpp cannot read on", "try a smaller --prompt-tokens")

    def choose(self) -> int:
        return int(self._lib.llama_sampler_sample(self._chain, self._context, -1))

    def gap(self) -> float:
        """How far the best prediction is from the second."""
        logits = self._lib.llama_get_logits_ith(self._context, -1)
        best, second = heapq.nlargest(2, logits[: self._size])
        return float(best - second)


def measure(lib: ModuleType, question: Question, ready: Iterator[None]) -> Found:
    """Do it all; ``ready`` is taken one of when everything is loaded and warm."""
    loop = _Loop(lib, question)
    prompt = _of_length(list(question.tokens) or loop.tokenize(question.text), question.read)
    reading, writing = _quickest(loop, prompt, question.threads)
    loop.set_threads(writing, reading)
    next(ready)
    began = time.monotonic()
    loop.read(prompt)
    read_at = time.monotonic()
    written, gaps, first_at, last_at = _write(loop, question)
    second_s = _second(loop, prompt, question) if question.added else 0.0
    return Found(
        prompt=len(prompt),
        text=loop.text(prompt),
        reading_threads=reading,
        writing_threads=writing,
        first_s=first_at - began,
        read_tok_s=len(prompt) / (read_at - began),
        write_tok_s=(len(written) - 1) / (last_at - first_at) if len(written) > 1 else 0.0,
        second_s=second_s,
        memory=most_memory(),
        written=written,
        pieces=[loop.piece(token).hex() for token in written],
        gaps=gaps,
    )


def _write(loop: _Loop, question: Question) -> tuple[list[int], list[float], float, float]:
    """The tokens, the gap before each, and when the first and the last were there."""
    written: list[int] = []
    gaps: list[float] = []
    first_at = last_at = 0.0
    while len(written) < question.write:
        if written:
            loop.read(written[-1:])
        if question.gaps:
            gaps.append(loop.gap())
        token = loop.choose()
        last_at = time.monotonic()
        first_at = first_at or last_at
        if question.ends and loop.ends(token):
            break
        written.append(token)
    return written, gaps, first_at, last_at


def _second(loop: _Loop, prompt: Sequence[int], question: Question) -> float:
    """Seconds to the first token of a turn that goes on from the beginning of the first one."""
    turn = _of_length(prompt, question.kept + question.added)
    began = time.monotonic()
    loop.read(turn[loop.keep(question.kept) :])
    loop.choose()
    return time.monotonic() - began


def _quickest(loop: _Loop, prompt: Sequence[int], candidates: Sequence[int]) -> tuple[int, int]:
    """How many threads read and write quickest."""
    sample = _of_length(prompt, _TRIED_READING)
    reading, writing = {}, {}
    for threads in (candidates[0], *candidates):  # the first one twice: it finds the weights not yet in memory
        loop.set_threads(threads, threads)
        loop.keep(0)
        began = time.monotonic()
        loop.read(sample)
        reading[threads] = time.monotonic() - began
        began = time.monotonic()
        for token in sample[:_TRIED_WRITING]:
            loop.read([token])
            loop.choose()
        writing[threads] = time.monotonic() - began
    loop.keep(0)
    return min(reading, key=reading.__getitem__), min(writing, key=writing.__getitem__)


def _of_length(tokens: Sequence[int], count: int) -> list[int]:
    """``tokens`` repeated or cut to ``count``; as they are for 0."""
    if not count:
        return list(tokens)
    return (list(tokens) * -(-count // len(tokens)))[:count]


def _chain(lib: ModuleType, temperature: float) -> object:
    """Greedy, or what the application does where a build has no settings of its own."""
    parameters = lib.llama_sampler_chain_default_params()
    parameters.no_perf = True
    chain = lib.llama_sampler_chain_init(parameters)
    samplers = [lib.llama_sampler_init_greedy()]
    if temperature > 0:
        samplers = [
            lib.llama_sampler_init_top_k(40),
            lib.llama_sampler_init_top_p(0.95, 1),
            lib.llama_sampler_init_min_p(0.05, 1),
            lib.llama_sampler_init_temp(temperature),
            lib.llama_sampler_init_dist(1),
        ]
    for sampler in samplers:
        lib.llama_sampler_chain_add(chain, sampler)
    return chain


def most_memory(*, of_children: bool = False) -> int:
    """The most bytes that this process, or its largest ended child, ever held; 0 where the system does not say."""
    if sys.platform == "win32":
        return 0
    import resource

    most = resource.getrusage(resource.RUSAGE_CHILDREN if of_children else resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def main() -> int:
    """Answer one question."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no answer
    end_with_parent()
    harden_process()
    question = Question(**json.load(sys.stdin))
    from llama_cpp import llama_cpp as lib

    lib.llama_backend_init()

    def ready() -> Iterator[None]:
        answers.write("\n")
        answers.flush()
        yield

    try:
        answer = asdict(measure(lib, question, ready()))
    except EngineFailed as problem:
        answer = {"failed": problem.message}
    answers.write(json.dumps(answer) + "\n")
    answers.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
