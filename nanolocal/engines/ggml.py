"""llama.cpp through the low-level bindings: a model and a context over it, each freed by ``close``.

Only child processes use this: llama.cpp ends the process on a file that it does not expect. ``llama_cpp`` takes a
quarter of a second to import and is imported where it is needed.
"""

import ctypes
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from nanolocal.chat.routes import cells_for
from nanolocal.chat.tuning import USUAL, Tuning
from nanolocal.engines.pace import Pace
from nanolocal.engines.protocol import SEQUENCES
from nanolocal.errors import BuildFailed, EngineFailed, OutOfMemory
from nanolocal.formats.architectures import missing_for
from nanolocal.formats.preflight import Checked, check_model

BATCH = 128
"""Tokens read in one step: more are not read faster on a processor, and take memory for all their scores."""

PICTURE_BATCH = 256
"""The same where pictures are read, as some models want a whole one in one step."""

ROWS = 16
"""Tokens of one step that may be predicted from."""

KV_TYPES = {"f16": 1, "q8_0": 8, "q4_0": 2}
"""What keys and values can be kept as, with the numbers of ``ggml_type``; anything but f16 needs flash attention."""

_WARN, _ERROR, _CONTINUED = 3, 4, 5
_ALL_LAYERS = 99
_NO_MAPPING = 0
_NO_MEMORY = -2
"""What ``llama_decode`` returns where a step finds none."""


def library() -> ModuleType:
    """The low-level bindings."""
    from llama_cpp import llama_cpp

    module: ModuleType = llama_cpp
    return module


@cache
def backend() -> "Backend":
    """The one of this process, made on first use: llama.cpp has a single log and calls its receiver until the end."""
    return Backend()


class Backend:
    """llama.cpp in this process. Its warnings go to file descriptor 2; the last errors are kept for messages."""

    def __init__(self) -> None:
        lib = library()
        self._errors: deque[str] = deque(maxlen=8)
        self._level = 0
        self._listener: Callable[[str], None] | None = None
        self._log = lib.llama_log_callback(self._take_log)
        lib.llama_log_set(self._log, None)
        lib.llama_backend_init()

    def take_log_of(self, set_log: Callable[[object, object], None]) -> None:
        """Take the log of a library beside llama.cpp too, by its own function for that."""
        set_log(self._log, None)

    def last_error(self) -> str:
        """The first of the last errors, without the name of the function that reported it; ``""`` if there is none."""
        return self._errors[0].partition(": ")[2] if self._errors else ""

    def forget_errors(self) -> None:
        """Begin a new account of errors."""
        self._errors.clear()

    @contextmanager
    def heard_by(self, listener: Callable[[str], None]) -> Iterator[None]:
        """Give ``listener`` every piece of the log, however unimportant, alone; a line may come in several."""
        self._listener = listener
        try:
            yield
        finally:
            self._listener = None

    def _take_log(self, level: int, text: bytes, _: object) -> None:
        if self._listener is not None:
            self._listener(text.decode("utf-8", "replace"))
        if level != _CONTINUED:
            self._level = level
        if self._level < _WARN:
            return
        if self._listener is None:
            os.write(2, text)
        if level == _ERROR:
            self._errors.append(text.decode("utf-8", "replace").strip())


class Model:
    """A loaded GGUF file. ``on_progress`` gets 0..1.

    Without ``repacks`` the weights stay in memory as they are in the file, whatever is faster here.

    Raises ``Damaged`` for a file that does not add up, before llama.cpp is even in memory, ``BuildFailed`` for one that
    llama.cpp does not load, ``EngineFailed`` when it is gone and ``OutOfMemory`` when there is none for it.
    """

    def __init__(
        self, path: Path, on_progress: Callable[[float], None], tuning: Tuning = USUAL, *, repacks: bool = True
    ) -> None:
        checked = _check(path)
        self._lib = lib = library()

        def report(fraction: float, _: object) -> bool:
            on_progress(fraction)
            return True

        parameters = lib.llama_model_default_params()
        progress = lib.llama_progress_callback(report)
        parameters.progress_callback = progress
        layers = _ALL_LAYERS if tuning.gpu_layers < 0 else tuning.gpu_layers
        parameters.n_gpu_layers = layers if lib.llama_supports_gpu_offload() else 0
        if not tuning.maps:
            parameters.load_mode = _NO_MAPPING
        parameters.use_extra_bufts = repacks
        log = backend()
        log.forget_errors()
        checked.confirm()
        self.pointer = lib.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self.pointer:
            reason = log.last_error() or "no reason given"
            error = OutOfMemory if "alloc" in reason else BuildFailed
            raise error(f"llama.cpp cannot load {path.name}: {reason}")
        self._vocabulary = lib.llama_model_get_vocab(self.pointer)
        self.vocabulary_size: int = lib.llama_vocab_n_tokens(self._vocabulary)
        self.trained_context: int = lib.llama_model_n_ctx_train(self.pointer)
        if not self.vocabulary_size or not lib.llama_model_has_decoder(self.pointer):
            self.close()
            raise BuildFailed(f"{path.name} writes no text", "choose a build of a language model")

    def close(self) -> None:
        """Give the memory back."""
        self._lib.llama_model_free(self.pointer)

    def chat_template(self) -> str | None:
        """The template in the file's metadata."""
        template: bytes | None = self._lib.llama_model_chat_template(self.pointer, None)
        return None if template is None else template.decode("utf-8", "replace")

    def tokenize(self, text: str, *, special: bool, is_whole: bool = False) -> list[int]:
        """The tokens of ``text``; the names of control tokens in it count as such only if ``special``.

        A ``is_whole`` text gets the tokens that the vocabulary puts around one.
        """
        data = text.encode("utf-8", "replace")
        size = len(data) + 2
        tokens = (ctypes.c_int32 * size)()
        count = self._lib.llama_tokenize(self._vocabulary, data, len(data), tokens, size, is_whole, special)
        if count < 0:
            tokens = (ctypes.c_int32 * -count)()
            count = self._lib.llama_tokenize(self._vocabulary, data, len(data), tokens, -count, is_whole, special)
        return tokens[: max(count, 0)]

    def piece(self, token: int) -> bytes:
        """The bytes that ``token`` writes; none for a control token."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = self._lib.llama_token_to_piece(self._vocabulary, token, buffer, size, 0, False)
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    def fact(self, key: str) -> str:
        """The value of ``key`` in the file's metadata as text, ``""`` where there is none."""
        buffer = ctypes.create_string_buffer(256)
        found = self._lib.llama_model_meta_val_str(self.pointer, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if found >= 0 else ""

    def token_text(self, token: int) -> str:
        """The name of ``token`` in the vocabulary, ``""`` when there is no such token."""
        if not 0 <= token < self.vocabulary_size:
            return ""
        name: bytes = self._lib.llama_vocab_get_text(self._vocabulary, token)
        return name.decode("utf-8", "replace")

    def is_control(self, token: int) -> bool:
        """Whether ``token`` steers the model rather than being text."""
        steering = self._lib.LLAMA_TOKEN_ATTR_CONTROL | self._lib.LLAMA_TOKEN_ATTR_UNKNOWN
        return bool(self._lib.llama_vocab_get_attr(self._vocabulary, token) & steering)

    def ends(self, token: int) -> bool:
        """Whether ``token`` ends an answer."""
        return bool(self._lib.llama_vocab_is_eog(self._vocabulary, token))

    @property
    def bos(self) -> int:
        """The token that begins a text, -1 if there is none."""
        return int(self._lib.llama_vocab_bos(self._vocabulary))

    @property
    def eos(self) -> int:
        """The token that ends a text, -1 if there is none."""
        return int(self._lib.llama_vocab_eos(self._vocabulary))

    @property
    def wants_bos(self) -> bool:
        """Whether every text begins with ``bos``."""
        return bool(self._lib.llama_vocab_get_add_bos(self._vocabulary)) and self.bos >= 0


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens of one sequence to read in a step, from ``position`` on; its last ``rows`` tokens are predicted from."""

    sequence: int
    tokens: Sequence[int]
    position: int
    rows: int = 1


class Context:
    """What a model has read: up to ``sequences`` texts in one memory of ``size`` tokens, which may share beginnings.

    ``pace`` tells how many threads compute each step; ``stop`` is a ``StopFlag``'s buffer.
    """

    def __init__(
        self,
        model: Model,
        size: int,
        pace: Pace,
        stop: ctypes.Array[ctypes.c_char],
        kv: str = "f16",
        tuning: Tuning = USUAL,
    ) -> None:
        self._lib = lib = library()
        self.size = size
        self._pace = pace
        self._stop = stop
        parameters = context_parameters(model.pointer, size, kv, tuning)
        self.batch: int = parameters.n_batch
        self.sequences: int = parameters.n_seq_max
        parameters.n_threads = parameters.n_threads_batch = self._threads = pace.threads
        parameters.no_perf = True
        parameters.abort_callback = when_not_empty(lib)
        parameters.abort_callback_data = ctypes.addressof(stop)
        self.pointer = lib.llama_init_from_model(model.pointer, parameters)
        if not self.pointer:
            raise OutOfMemory(f"there is no memory for a context of {size} tokens", "choose a smaller build")
        self._memory = lib.llama_get_memory(self.pointer)
        if not self._memory:
            self.close()
            raise BuildFailed("this model keeps no memory of what it reads, so it cannot chat", "choose another build")
        self._batch = lib.llama_batch_init(self.batch, 0, 1)

    def close(self) -> None:
        """Give the memory back."""
        if self._memory:
            self._lib.llama_batch_free(self._batch)
        self._lib.llama_free(self.pointer)

    def decode(self, parts: Sequence[Part]) -> bool:
        """Read at most ``batch`` tokens with at most ``ROWS`` rows; false when the stop flag ended it midway.

        A prediction is found at the index of its token among all of the step. Raises ``EngineFailed`` when llama.cpp
        cannot, ``OutOfMemory`` for want of that; what the context then holds of these sequences is not known.
        """
        batch = self._batch
        index = 0
        for part in parts:
            first_row = len(part.tokens) - part.rows
            for offset, token in enumerate(part.tokens):
                batch.token[index] = token
                batch.pos[index] = part.position + offset
                batch.n_seq_id[index] = 1
                batch.seq_id[index][0] = part.sequence
                batch.logits[index] = offset >= first_row
                index += 1
        batch.n_tokens = index
        began = time.monotonic()
        self._compute_with(self._pace.before(began))
        result = self._lib.llama_decode(self.pointer, batch)
        if result not in (0, 2):
            error = OutOfMemory if result == _NO_MEMORY else EngineFailed
            raise error(f"llama.cpp cannot read on after {parts[0].position} tokens (llama_decode: {result})")
        if result == 0:
            self._pace.after(index, time.monotonic() - began)
        return bool(result == 0)

    def _compute_with(self, threads: int) -> None:
        if threads != self._threads:
            self._lib.llama_set_n_threads(self.pointer, threads, threads)
            self._threads = threads

    def keep(self, sequence: int, count: int) -> bool:
        """Forget all but the first ``count`` positions; when the model cannot do that, forget all and return false."""
        if self._lib.llama_memory_seq_rm(self._memory, sequence, count, -1):
            return True
        self._lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        return False

    def share(self, source: int, target: int, count: int) -> None:
        """The first ``count`` positions of ``source`` become the beginning of the empty ``target`` too, at no cost."""
        self._lib.llama_memory_seq_cp(self._memory, source, target, 0, count)

    def state_size(self, sequence: int) -> int:
        """Bytes that ``state`` would take."""
        return int(self._lib.llama_state_seq_get_size(self.pointer, sequence))

    def state(self, sequence: int) -> ctypes.Array[ctypes.c_uint8]:
        """All that is known of a sequence; raises ``MemoryError`` where there is no room for it."""
        buffer = (ctypes.c_uint8 * self.state_size(sequence))()
        self._lib.llama_state_seq_get_data(self.pointer, buffer, len(buffer), sequence)
        return buffer

    def restore(self, sequence: int, state: ctypes.Array[ctypes.c_uint8]) -> bool:
        """Make ``state`` what is known of the empty ``sequence``; false where llama.cpp refuses."""
        if self._lib.llama_state_seq_set_data(self.pointer, state, len(state), sequence):
            return True
        self._lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        return False


def context_parameters(model: int, size: int, kv: str, tuning: Tuning = USUAL) -> ctypes.Structure:
    """What a context for ``size`` tokens is made with: all that decides how much memory it takes.

    ``model`` is llama.cpp's pointer. Few tokens of a batch are ever predicted from, so there is room for the logits of
    those, not of all. Where a state sums up what was read, its end cannot be forgotten: there is one text.
    """
    lib = library()
    sums_up = lib.llama_model_is_recurrent(model) or lib.llama_model_is_hybrid(model)
    parameters: ctypes.Structure = lib.llama_context_default_params()
    parameters.n_ctx = cells_for(size)
    parameters.n_batch = parameters.n_ubatch = tuning.batch or BATCH
    parameters.n_seq_max = 1 if sums_up else SEQUENCES
    parameters.kv_unified = True
    parameters.n_outputs_max = ROWS
    parameters.type_k = parameters.type_v = KV_TYPES[kv]
    if not uses_flash_attention(kv, tuning.flash):
        parameters.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return parameters


def uses_flash_attention(kv: str, tuned: str = "") -> bool:
    """Whether attention is computed without ever holding all its scores: as it was ``tuned``, where that is possible.

    On processors llama.cpp is slower with it: at 2,048 tokens of context by half for a token and by a fifth for a step
    of a prompt, at 6,144 by more than twice. It also computes a short step to other last bits than a long one. So there
    it is used only where it is needed, for keys and values of less than 16 bits.
    """
    return kv != "f16" or (tuned == "on" if tuned else bool(library().llama_supports_gpu_offload()))


def _check(path: Path) -> Checked:
    """All parts of the model, checked; one that this llama.cpp cannot read is refused in words better than its own."""
    if not path.is_file():
        raise EngineFailed(f"{path.name} is {'a folder' if path.is_dir() else 'missing'}, not a GGUF file")
    checked = check_model(path)
    missing = missing_for(checked.facts[0].metadata)
    if missing:
        raise BuildFailed(f"{path.name} needs {missing}", "choose another build")
    return checked


def when_not_empty(lib: ModuleType) -> object:
    """An abort callback that is true when its data, a C string, is not empty.

    llama.cpp asks after every node of its graph, hundreds of times a token. The C library's ``strlen`` answers without
    the interpreter, whose lock a Python function would take each time.
    """
    c_library = ctypes.cdll.msvcrt if sys.platform == "win32" else ctypes.CDLL(None)
    return ctypes.cast(c_library.strlen, lib.ggml_abort_callback)
