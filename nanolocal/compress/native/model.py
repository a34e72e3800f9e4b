"""A model as the lab runs it: chunk by chunk, watched while it computes, its weights replaced and put back.

Chunks are read as llama-perplexity does it: the memory is empty before each, and its second half is predicted.
"""

import ctypes
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from nanolocal.chat.tuning import Tuning
from nanolocal.compress.native import tensor as tensors
from nanolocal.compress.native.library import Bytes, Floats, decode, encode, encoded_and_back, ggml
from nanolocal.compress.native.tensor import Tensor
from nanolocal.compress.weights.encodings import FLOATS, NAMES
from nanolocal.engines.ggml import Model, library, uses_flash_attention
from nanolocal.engines.launch import threads_for_text
from nanolocal.errors import BuildFailed, EngineFailed, OutOfMemory, UsageError
from nanolocal.formats.preflight import check_model

STEP = 512
"""Tokens given to llama.cpp at a time: more take memory for all their scores."""
_WIDE_VOCABULARY, _NARROW_STEP = 2**16, 128
_SURVEYED = 32
_SLAB_BYTES = 2**25
"""Weights that are replaced at a time, as 32-bit floats: a whole matrix of embeddings would take gigabytes."""
_NO_MEMORY = -2


class Observer(Protocol):
    """Sees every node of the graph."""

    def wants(self, node: Tensor) -> bool:
        """Whether ``take`` is to be called once this node is computed; asked for each node before that."""

    def take(self, node: Tensor) -> None:
        """Look at a node that has been computed, and at what it was computed from."""


class LabModel:
    """The build at ``path``, with a context of ``n_ctx`` tokens; with at most ``threads``, fewer for a tiny one.

    ``as_engine`` loads it as the text engine does: mapped, and in whatever form is fastest here; then nothing can be
    watched or replaced. One that only ``maps`` its file takes less memory, and can be watched. Raises what
    ``engines.ggml.Model`` raises, and ``OutOfMemory``.
    """

    def __init__(self, path: Path, n_ctx: int, threads: int, *, as_engine: bool = False, maps: bool = False) -> None:
        ggml()
        self.path = path
        self.n_ctx = n_ctx
        self._lib = library()
        self.model = Model(path, lambda fraction: None, Tuning(maps=as_engine or maps), repacks=as_engine)
        self.size_bytes = int(self._lib.llama_model_size(self.model.pointer))
        self._observer: Observer | None = None
        self._failure: BaseException | None = None
        self._addresses: dict[str, set[int]] = {}
        self.seconds = 0.0
        self._callback = self._lib.ggml_backend_sched_eval_callback(self._on_node)
        self._open(threads, watched=not as_engine)

    def _open(self, threads: int, *, watched: bool) -> None:
        parameters = self._lib.llama_context_default_params()
        parameters.n_ctx = self.n_ctx
        is_wide = self.model.vocabulary_size > _WIDE_VOCABULARY
        parameters.n_batch = parameters.n_ubatch = self.step = min(_NARROW_STEP if is_wide else STEP, self.n_ctx)
        self.threads = threads_for_text(self.size_bytes, threads)
        parameters.n_threads = parameters.n_threads_batch = self.threads
        parameters.no_perf = True
        parameters.op_offload = False
        if not uses_flash_attention("f16"):  # and without it the scores do not depend on the step, to the last bit
            parameters.flash_attn_type = self._lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        if watched:
            parameters.cb_eval = self._callback
        self.context = self._lib.llama_init_from_model(self.model.pointer, parameters)
        if not self.context:
            self.model.close()
            raise OutOfMemory(f"there is no memory for a context of {self.n_ctx} tokens", "choose fewer tokens a chunk")
        self._memory = self._lib.llama_get_memory(self.context)
        self._batch = self._lib.llama_batch_init(self.step, 0, 1)

    def close(self) -> None:
        """Give the memory back."""
        self._lib.llama_batch_free(self._batch)
        self._lib.llama_free(self.context)
        self.model.close()

    def adapt(self, path: Path) -> None:
        """Compute with the LoRA at ``path`` (GGUF) too; raises ``Damaged``, or ``BuildFailed`` for that of another.

        It is freed with the model.
        """
        check_model(path)
        adapter = self._lib.llama_adapter_lora_init(self.model.pointer, os.fsencode(path))
        if not adapter:
            raise BuildFailed(f"{path.name} does not go with {self.path.name}", "choose the adapter of this build")
        self._lib.llama_set_adapters_lora(self.context, (type(adapter) * 1)(adapter), 1, (ctypes.c_float * 1)(1.0))

    def rows(self, chunk: Sequence[int], first: int) -> Iterator[tuple[int, Floats]]:
        """Read ``chunk`` and yield the scores of its tokens from ``first`` on, some at a time.

        Each time that is the position of the first one, and [n, vocabulary], which last until the next are asked for.
        """
        self.forget()
        for start in range(0, len(chunk), self.step):
            piece = chunk[start : start + self.step]
            wanted = min(max(first - start, 0), len(piece))
            self.decode(piece, start, wanted)
            if count := len(piece) - wanted:
                pointer = self._lib.llama_get_logits(self.context)
                scores = np.ctypeslib.as_array(pointer, (count, self.model.vocabulary_size))
                yield start + wanted, scores

    def forget(self) -> None:
        """Empty the memory."""
        if self._memory:
            self._lib.llama_memory_clear(self._memory, True)

    def decode(self, tokens: Sequence[int], position: int, first: int) -> None:
        """Read at most ``step`` tokens, which stand at ``position``; those from ``first`` on are predicted from."""
        batch = self._batch
        for index, token in enumerate(tokens):
            batch.token[index] = token
            batch.pos[index] = position + index
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = 0
            batch.logits[index] = index >= first
        batch.n_tokens = len(tokens)
        began = time.monotonic()
        code = self._lib.llama_decode(self.context, batch)
        self._lib.llama_synchronize(self.context)
        self.seconds += time.monotonic() - began
        if (failure := self._failure) is not None:
            self._failure = None
            raise failure
        if code:
            error = OutOfMemory if code == _NO_MEMORY else EngineFailed
            raise error(f"llama.cpp cannot read a chunk of {self.n_ctx} tokens (llama_decode: {code})")

    @contextmanager
    def watched_by(self, observer: Observer) -> Iterator[None]:
        """Let ``observer`` see what is computed."""
        self._observer = observer
        try:
            yield
        finally:
            self._observer = None

    def _on_node(self, address: int, asks: bool, _: object) -> bool:
        observer = self._observer
        if observer is None or self._failure is not None:
            return False
        try:
            node = tensors.at(address)
            if asks:
                return observer.wants(node)
            observer.take(node)
        except BaseException as failure:  # it would end in the C library; decode raises it
            self._failure = failure
            return False
        return True

    def weights(self) -> dict[str, set[int]]:
        """Where the weights lie that the graph uses, by name; one that it uses twice may lie in two places.

        Raises ``EngineFailed`` when none is recognized: the names are not those of the file.
        """
        if not self._addresses:
            surveyor = _Surveyor(names_in(self.path))
            with self.watched_by(surveyor):
                self.forget()
                count = min(_SURVEYED, self.step)
                token = max(self.model.bos, 0)
                self.decode([token] * count, 0, count - 1)
            if "token_embd.weight" not in surveyor.found:
                raise EngineFailed(
                    f"the weights of {self.path.name} are not seen while it computes", "install llama-cpp-python 0.3.36"
                )
            self._addresses = surveyor.found
        return self._addresses

    @contextmanager
    def replaced(self, name: str, encoding: str, importance: Floats | None = None, threads: int = 1) -> Iterator[None]:
        """Compute with the weights of ``name`` as they would be in ``encoding``.

        Afterwards they are the old ones, bit by bit. They stay in the encoding of the file, which should be F32, F16 or
        BF16: another one adds its own error. Raises ``UsageError`` where the graph has no such weights.
        """
        places = [tensors.at(address) for address in self.weights().get(name, ())]
        if not places:
            raise UsageError(f"{self.path.name} computes with no weights of the name {name!r}", "see its tensors")
        old = np.empty(tensors.size_bytes(places[0]), np.uint8)
        tensors.read(places[0], 0, old)
        try:
            for offset, data in _slabs(places[0], old, encoding, importance, threads):
                for place in places:
                    tensors.write(place, offset, data)
            yield
        finally:
            for place in places:
                tensors.write(place, 0, old)


class _Surveyor:
    """Notes where weights lie."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self.found: dict[str, set[int]] = {}

    def wants(self, node: Tensor) -> bool:
        for address in filter(None, node.src):
            name = tensors.name_of(tensors.at(address))
            if name in self._names:
                self.found.setdefault(name, set()).add(address)
        return False

    def take(self, node: Tensor) -> None:
        return None


def names_in(path: Path) -> frozenset[str]:
    """The names of all tensors of a build, in all its parts."""
    facts = check_model(path, with_layout=True).facts
    return frozenset(found.name for part in facts for found in part.layout)


def _slabs(
    weight: Tensor, old: Bytes, encoding: str, importance: Floats | None, threads: int
) -> Iterator[tuple[int, Bytes]]:
    """The new bytes of ``weight``, some rows at a time, each with its offset."""
    held = NAMES[weight.type]
    _, matrices, rows, columns = tensors.shape_of(weight)
    matrices *= tensors.shape_of(weight)[0]
    data = old.reshape(matrices, rows, -1)
    spread = None if importance is None else np.broadcast_to(importance.reshape(-1, columns), (matrices, columns))
    step = max(1, _SLAB_BYTES // (4 * columns))
    for matrix in range(matrices):
        for first in range(0, rows, step):
            piece = data[matrix, first : first + step]
            weights = decode(piece, held, columns)
            new = encoded_and_back(weights, encoding, None if spread is None else spread[matrix], threads)
            offset = (matrix * rows + first) * data.shape[2]
            yield offset, encode(new, held, None if held in FLOATS or spread is None else spread[matrix], threads)
