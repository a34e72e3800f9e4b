"""Looking at pictures: a projector beside its model, by llama.cpp's libmtmd. Runs in the child.

A picture becomes tokens of text (what the model wants around it) and parts that are encoded and read one by one.
``llama_cpp.mtmd_cpp`` is imported when a projector is loaded and only then.
"""

import ctypes
import hashlib
import os
from pathlib import Path
from types import ModuleType

from nanolocal.chat.usage import PICTURE_TOKENS
from nanolocal.engines.ggml import BATCH, Context, Model, backend, library
from nanolocal.engines.pictures import decode
from nanolocal.engines.stopflag import StopFlag
from nanolocal.engines.tokens import Glance, Token, size_of
from nanolocal.errors import BuildFailed, EngineFailed, NoBuildFits
from nanolocal.formats.preflight import check_model
from nanolocal.formats.projectors import IN_ONE_STEP, type_of

_TEXT = 0
"""What ``mtmd_input_chunk_get_type`` says of tokens of text."""
_NODES_BETWEEN = 16
"""So many steps of the encoder's graph are done before the stop flag is looked at."""


class Eyes:
    """A loaded projector for ``model``. Raises ``Damaged`` or ``BuildFailed`` for a file that does not do."""

    def __init__(self, path: Path, model: Model, threads: int, stop: StopFlag) -> None:
        if not path.is_file():
            raise BuildFailed(f"its projector {path.name} is missing", "pull the model again, or choose another build")
        checked = check_model(path)
        self._lib = lib = _vision_library()
        self._stop = stop
        self._nodes = 0
        self._watch = library().ggml_backend_sched_eval_callback(self._may_go_on)
        parameters = lib.mtmd_context_params_default()
        parameters.use_gpu = library().llama_supports_gpu_offload()
        parameters.print_timings = False
        parameters.n_threads = threads
        parameters.cb_eval = self._watch
        if type_of(checked.facts[0].metadata) in IN_ONE_STEP:
            parameters.image_max_tokens = BATCH
        log = backend()
        log.forget_errors()
        checked.confirm()
        self._pointer = lib.mtmd_init_from_file(os.fsencode(path), model.pointer, parameters)
        if not self._pointer:
            reason = log.last_error() or "no reason given"
            raise BuildFailed(f"llama.cpp cannot load its projector {path.name}: {reason}")
        if not lib.mtmd_support_vision(self._pointer):
            lib.mtmd_free(self._pointer)
            raise BuildFailed(f"its projector {path.name} is not for pictures")
        self._known: dict[str, tuple[Token, ...]] = {}
        self._files: dict[str, bytes] = {}
        self._open: tuple[str, int] | None = None

    def tokens(self, data: bytes) -> tuple[Token, ...]:
        """What the picture file ``data`` becomes; ``read`` then knows it until ``forget``.

        Raises ``UsageError`` for one that cannot be decoded, ``NoBuildFits`` for one that becomes too much.
        """
        picture = hashlib.sha256(data).hexdigest()
        self._files[picture] = data
        if picture not in self._known:
            self._known[picture] = self._describe(picture)
        return self._known[picture]

    def read(self, glance: Glance, context: Context, sequence: int, position: int) -> bool:
        """Encode a part of a picture and read it into ``sequence``; false when the stop flag ended it midway."""
        lib = self._lib
        chunk = lib.mtmd_input_chunks_get(self._chunks(glance.picture), glance.part)
        after = ctypes.c_int32(position)
        result = lib.mtmd_helper_eval_chunk_single(
            self._pointer, context.pointer, chunk, position, sequence, BATCH, False, ctypes.byref(after)
        )
        if self._stop.is_set:
            return False
        if result or after.value != position + glance.positions:
            raise EngineFailed(f"llama.cpp cannot look at the picture (mtmd: {result})")
        return True

    def forget(self) -> None:
        """Let go of pictures; what they became is kept, so that one which was read is not encoded again."""
        self._files.clear()
        if self._open is not None:
            self._lib.mtmd_input_chunks_free(self._open[1])
            self._open = None

    def _describe(self, picture: str) -> tuple[Token, ...]:
        lib, chunks = self._lib, self._chunks(picture)
        found: list[Token] = []
        for part in range(lib.mtmd_input_chunks_size(chunks)):
            chunk = lib.mtmd_input_chunks_get(chunks, part)
            tokens: int = lib.mtmd_input_chunk_get_n_tokens(chunk)
            if lib.mtmd_input_chunk_get_type(chunk) == _TEXT:
                count = ctypes.c_size_t()
                found += lib.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))[:tokens]
                continue
            if tokens > BATCH and lib.mtmd_decode_use_non_causal(self._pointer, chunk):
                raise BuildFailed(f"this model wants {tokens} tokens of a picture read at once", "choose another build")
            found.append(Glance(picture, part, tokens, lib.mtmd_input_chunk_get_n_pos(chunk)))
        if size_of(found) > PICTURE_TOKENS:
            raise NoBuildFits(
                f"the picture becomes {size_of(found):,} tokens, at most {PICTURE_TOKENS:,} are read",
                "attach a smaller one, or choose another build",
            )
        return tuple(found)

    def _chunks(self, picture: str) -> int:
        """The parts of a picture with their pixels, of one picture at a time."""
        if self._open is None or self._open[0] != picture:
            if self._open is not None:
                self._lib.mtmd_input_chunks_free(self._open[1])
            self._open = None
            self._open = (picture, self._cut(picture))
        return self._open[1]

    def _cut(self, picture: str) -> int:
        lib = self._lib
        pixels = decode(self._files[picture])
        buffer = (ctypes.c_uint8 * len(pixels.data)).from_buffer_copy(pixels.data)
        bitmap = lib.mtmd_bitmap_init(pixels.width, pixels.height, buffer)
        lib.mtmd_bitmap_set_id(bitmap, picture.encode())
        chunks: int = lib.mtmd_input_chunks_init()
        part = lib.mtmd_input_part(None, bitmap)
        parts = (ctypes.POINTER(lib.mtmd_input_part) * 1)(ctypes.pointer(part))
        try:
            result = lib.mtmd_tokenize_from_parts(self._pointer, chunks, parts, 1, False)
        finally:
            lib.mtmd_bitmap_free(bitmap)
        if result:
            lib.mtmd_input_chunks_free(chunks)
            raise EngineFailed(f"llama.cpp cannot prepare the picture: {backend().last_error() or result}")
        return chunks

    def _may_go_on(self, _: object, is_question: bool, __: object) -> bool:
        """Whether the encoding goes on. A step is first announced: true asks to be called again when it is done."""
        if is_question:
            self._nodes += 1
            return self._nodes % _NODES_BETWEEN == 0
        return not self._stop.is_set


def _vision_library() -> ModuleType:
    """The bindings of libmtmd, which log to where llama.cpp does."""
    from llama_cpp import mtmd_cpp

    module: ModuleType = mtmd_cpp
    backend().take_log_of(module.mtmd_log_set)
    backend().take_log_of(module.mtmd_helper_log_set)
    return module
