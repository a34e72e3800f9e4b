"""Looking and listening: a projector beside its model, by llama.cpp's libmtmd. Runs in the child.

A file becomes tokens of text (what the model wants around it) and parts that are encoded and read one by one. A picture
is decoded by Pillow; a sound, once its header was read, by the miniaudio in libmtmd.
``llama_cpp.mtmd_cpp`` is imported when a projector is loaded and only then.
"""

import ctypes
import hashlib
import os
from pathlib import Path
from types import ModuleType

from nanolocal.chat.sounds import Sound, begins_like_sound, in_minutes, read_sound
from nanolocal.chat.usage import PICTURE_TOKENS
from nanolocal.engines.ggml import PICTURE_BATCH, Context, Model, backend, library
from nanolocal.engines.pictures import decode
from nanolocal.engines.stopflag import StopFlag
from nanolocal.engines.tokens import Percept, Token, size_of
from nanolocal.errors import BuildFailed, EngineFailed, NoBuildFits, UsageError
from nanolocal.formats.preflight import check_model
from nanolocal.formats.projectors import IN_ONE_STEP, IN_PIECES, MOST_AT_ONCE_S, type_of

_TEXT = 0
"""What ``mtmd_input_chunk_get_type`` says of tokens of text."""
_NODES_BETWEEN = 16
"""So many steps of the encoder's graph are done before the stop flag is looked at."""


class Senses:
    """A loaded projector for ``model``. Raises ``Damaged`` or ``BuildFailed`` for a file that does not do."""

    def __init__(self, path: Path, model: Model, threads: int, stop: StopFlag) -> None:
        if not path.is_file():
            raise BuildFailed(f"its projector {path.name} is missing", "pull the model again, or choose another build")
        checked = check_model(path)
        self._lib = lib = _library()
        self._stop = stop
        self._nodes = 0
        self._watch = library().ggml_backend_sched_eval_callback(self._may_go_on)
        parameters = lib.mtmd_context_params_default()
        parameters.use_gpu = library().llama_supports_gpu_offload()
        parameters.print_timings = False
        parameters.n_threads = threads
        parameters.cb_eval = self._watch
        metadata = checked.facts[0].metadata
        if type_of(metadata) in IN_ONE_STEP:
            parameters.image_max_tokens = PICTURE_BATCH
        log = backend()
        log.forget_errors()
        checked.confirm()
        self._pointer = lib.mtmd_init_from_file(os.fsencode(path), model.pointer, parameters)
        if not self._pointer:
            reason = log.last_error() or "no reason given"
            raise BuildFailed(f"llama.cpp cannot load its projector {path.name}: {reason}")
        self._path = path
        self._takes_pieces = type_of(metadata, "audio") in IN_PIECES
        self._known: dict[str, tuple[Token, ...]] = {}
        self._files: dict[str, bytes] = {}
        self._open: tuple[str, int] | None = None

    def tokens(self, data: bytes) -> tuple[Token, ...]:
        """What the file ``data`` becomes; ``read`` then knows it until ``forget``.

        Raises ``UsageError`` for one that cannot be decoded, ``NoBuildFits`` for one that becomes too much, and
        ``BuildFailed`` where the projector is not for that.
        """
        file = hashlib.sha256(data).hexdigest()
        self._files[file] = data
        if file not in self._known:
            self._known[file] = self._describe(file)
        return self._known[file]

    def read(self, percept: Percept, context: Context, sequence: int, position: int) -> bool:
        """Encode a part of a file and read it into ``sequence``; false when the stop flag ended it midway."""
        lib = self._lib
        chunk = lib.mtmd_input_chunks_get(self._chunks(percept.file), percept.part)
        after = ctypes.c_int32(position)
        result = lib.mtmd_helper_eval_chunk_single(
            self._pointer, context.pointer, chunk, position, sequence, PICTURE_BATCH, False, ctypes.byref(after)
        )
        if self._stop.is_set:
            return False
        if result or after.value != position + percept.positions:
            raise EngineFailed(f"llama.cpp cannot take in the file (mtmd: {result})")
        return True

    def forget(self) -> None:
        """Let go of files; what they became is kept, so that one which was read is not encoded again."""
        self._files.clear()
        if self._open is not None:
            self._lib.mtmd_input_chunks_free(self._open[1])
            self._open = None

    def _describe(self, file: str) -> tuple[Token, ...]:
        lib, chunks = self._lib, self._chunks(file)
        found: list[Token] = []
        for part in range(lib.mtmd_input_chunks_size(chunks)):
            chunk = lib.mtmd_input_chunks_get(chunks, part)
            tokens: int = lib.mtmd_input_chunk_get_n_tokens(chunk)
            if lib.mtmd_input_chunk_get_type(chunk) == _TEXT:
                count = ctypes.c_size_t()
                found += lib.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))[:tokens]
                continue
            if tokens > PICTURE_BATCH and lib.mtmd_decode_use_non_causal(self._pointer, chunk):
                raise BuildFailed(f"this model wants {tokens} tokens of a file read at once", "choose another build")
            found.append(Percept(file, part, tokens, lib.mtmd_input_chunk_get_n_pos(chunk)))
        sound = _sound_in(self._files[file])
        what, most = ("picture", PICTURE_TOKENS) if sound is None else ("sound", sound.most_tokens)
        if size_of(found) > most:
            raise NoBuildFits(
                f"the {what} becomes {size_of(found):,} tokens, at most {most:,} are read",
                "attach a smaller one, or choose another build",
            )
        return tuple(found)

    def _chunks(self, file: str) -> int:
        """The parts of a file with their pixels or frames, of one file at a time."""
        if self._open is None or self._open[0] != file:
            if self._open is not None:
                self._lib.mtmd_input_chunks_free(self._open[1])
            self._open = None
            self._open = (file, self._cut(file))
        return self._open[1]

    def _cut(self, file: str) -> int:
        lib, data = self._lib, self._files[file]
        sound = _sound_in(data)
        bitmap = self._picture(data) if sound is None else self._samples(sound)
        lib.mtmd_bitmap_set_id(bitmap, file.encode())
        chunks: int = lib.mtmd_input_chunks_init()
        part = lib.mtmd_input_part(None, bitmap)
        parts = (ctypes.POINTER(lib.mtmd_input_part) * 1)(ctypes.pointer(part))
        try:
            result = lib.mtmd_tokenize_from_parts(self._pointer, chunks, parts, 1, False)
        finally:
            lib.mtmd_bitmap_free(bitmap)
        if result:
            lib.mtmd_input_chunks_free(chunks)
            raise EngineFailed(f"llama.cpp cannot prepare the file: {backend().last_error() or result}")
        return chunks

    def _picture(self, data: bytes) -> int:
        """The decoded picture, in a bitmap of llama.cpp's that has to be freed."""
        if not self._lib.mtmd_support_vision(self._pointer):
            raise BuildFailed(f"its projector {self._path.name} is not for pictures", "choose another build")
        pixels = decode(data)
        buffer = (ctypes.c_uint8 * len(pixels.data)).from_buffer_copy(pixels.data)
        bitmap: int = self._lib.mtmd_bitmap_init(pixels.width, pixels.height, buffer)
        return bitmap

    def _samples(self, sound: Sound) -> int:
        """The same for a sound: mono, at the rate that the projector takes."""
        lib = self._lib
        if not lib.mtmd_support_audio(self._pointer):
            raise BuildFailed(f"its projector {self._path.name} is not for sounds", "choose another build")
        if not self._takes_pieces and sound.seconds > MOST_AT_ONCE_S:
            long, most = in_minutes(sound.seconds), in_minutes(MOST_AT_ONCE_S)
            why = f"the sound is {long} long, and this build listens to {most} at the most"
            raise NoBuildFits(why, "cut it into shorter ones, or choose another build")
        buffer = (ctypes.c_uint8 * len(sound.data)).from_buffer_copy(sound.data)
        bitmap: int | None = lib.mtmd_helper_bitmap_init_from_buf(self._pointer, buffer, len(sound.data), False)
        if bitmap is not None and lib.mtmd_bitmap_get_nx(bitmap) == 0:
            lib.mtmd_bitmap_free(bitmap)
            bitmap = None
        if bitmap is None:
            raise UsageError("the sound cannot be decoded", "it may be damaged; save it anew")
        return bitmap

    def _may_go_on(self, _: object, is_question: bool, __: object) -> bool:
        """Whether the encoding goes on. A step is first announced: true asks to be called again when it is done."""
        if is_question:
            self._nodes += 1
            return self._nodes % _NODES_BETWEEN == 0
        return not self._stop.is_set


def _library() -> ModuleType:
    """The bindings of libmtmd, which log to where llama.cpp does."""
    from llama_cpp import mtmd_cpp

    module: ModuleType = mtmd_cpp
    backend().take_log_of(module.mtmd_log_set)
    backend().take_log_of(module.mtmd_helper_log_set)
    return module


def _sound_in(data: bytes) -> Sound | None:
    """The sound of a file that is one; raises ``UsageError`` for one that is not understood."""
    return read_sound(data) if begins_like_sound(data) else None
