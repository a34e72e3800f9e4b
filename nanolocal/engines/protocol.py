"""What parent and engine child say to each other: frames of JSON behind a four-byte big-endian length.

The parent sends ``LoadText``, ``LoadImage`` or ``LoadEmbedding`` once, then jobs: one ``RunImage`` or ``RunEmbedding``
at a time, or several ``RunText`` that are answered together. ``Cancel`` may come at any moment. The child answers with
``Hello``, then ``Progress`` and ``Loaded`` for a load, and for each job its events up to ``Done`` or ``Failed``.
``Beat`` comes every second, whatever else happens.

Before a text engine forgets a conversation it asks with ``Leaving`` where that may be kept, takes ``Keep`` for an
answer and, if it wrote the file, says ``Kept``. ``Leave`` makes it do so with all of them, and end with ``Left``.
"""

import base64
import binascii
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO, TypeVar, get_type_hints

F = TypeVar("F")
S = TypeVar("S")

VERSION = 6
LOADING = 0
"""The job number of what belongs to a load; jobs have higher ones."""
MAX_FRAME_BYTES = 16 * 2**20
HEADER_BYTES = 4
SEQUENCES = 4
"""Conversations that a text engine holds, and answers together; one where the model cannot forget the end of a text."""

Pairs = tuple[tuple[str, str], ...]
Files = tuple[tuple[int, bytes], ...]
Biases = tuple[tuple[int, float], ...]
Ranks = tuple[tuple[str, float], ...]
Texts = tuple[str, ...]
Whole = tuple[int, ...]


class ProtocolError(Exception):
    """The other side sent something that is not a frame."""


@dataclass(frozen=True, slots=True)
class LoadText:
    """Load a GGUF file; ``build`` is the build's id, for messages, and ``kv`` what keys and values are kept as.

    ``projector`` is the path of the file that lets it look and listen, ``""`` where there is none. ``snapshots`` is
    the folder where every ``Keep`` will have its file, ``""`` where nothing is kept. ``draft`` is the path
    of a build that writes ahead. The others are those of ``chat.tuning.Tuning``.
    """

    build: str
    path: str
    n_ctx: int
    threads: int
    kv: str = "f16"
    projector: str = ""
    snapshots: str = ""
    batch: int = 0
    flash: str = ""
    maps: bool = True
    gpu_layers: int = -1
    draft: str = ""


@dataclass(frozen=True, slots=True)
class LoadImage:
    """Load a diffusers folder or a checkpoint, with as little memory as ``rung`` (``chat.drawing.RUNGS``) says.

    ``base`` is a folder that has what a checkpoint lacks, ``""`` where there is none. ``places`` are the files and
    folders that its jobs may read besides.
    """

    build: str
    path: str
    threads: int
    base: str = ""
    rung: str = "full"
    places: Texts = ()


@dataclass(frozen=True, slots=True)
class LoadEmbedding:
    """Load a GGUF file to make vectors of texts, each of at most ``n_ctx`` tokens."""

    build: str
    path: str
    n_ctx: int
    threads: int


@dataclass(frozen=True, slots=True)
class RunText:
    """Continue ``messages`` (role, text); each of ``files`` is a picture or a sound after the index of its message.

    ``chat`` names the conversation, ``""`` for one that is not kept; ``snapshot`` is the file that it was last kept in,
    sealed with ``snapshot_key``. What is not said of the other fields is with ``chat.ports.TextJob``.
    """

    job: int
    messages: Pairs
    n_ctx: int
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repeat_penalty: float
    seed: int | None
    files: Files = ()
    typical_p: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    mirostat: bool = False
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    logit_bias: Biases = ()
    grammar: str = ""
    stop: Texts = ()
    tools: str = ""
    logprobs: int | None = None
    chat: str = ""
    snapshot: str = ""
    snapshot_key: bytes = b""
    guesses: bool = True
    drafts: bool = True


@dataclass(frozen=True, slots=True)
class RunImage:
    """Draw ``count`` pictures; the fields are those of ``chat.ports.ImageJob``."""

    job: int
    prompt: str
    negative: str
    width: int
    height: int
    steps: int
    guidance: float
    seed: int | None
    scheduler: str = ""
    strength: float = 0.0
    source: bytes | None = None
    mask: bytes | None = None
    control: bytes | None = None
    controlnet: str = ""
    adapters: Ranks = ()
    count: int = 1
    keep_preview: bool = False
    cache: str = ""


@dataclass(frozen=True, slots=True)
class RunEmbedding:
    """Make a vector of each text; the fields are those of ``chat.ports.EmbeddingJob``."""

    job: int
    texts: Texts
    n_ctx: int
    first: int
    truncates: bool
    normalises: bool


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop ``job`` as soon as possible; without effect when it is over."""

    job: int


@dataclass(frozen=True, slots=True)
class Keep:
    """The answer to ``Leaving``: write ``chat`` to the file ``path``, sealed with ``key``; for ``""`` let go of it."""

    chat: str
    path: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Leave:
    """Keep what is worth it, and end."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first frame of a child."""

    protocol: int
    pid: int
    versions: Pairs


@dataclass(frozen=True, slots=True)
class Beat:
    """The child lives and has used ``cpu_s`` CPU seconds so far."""

    cpu_s: float


@dataclass(frozen=True, slots=True)
class Progress:
    """``fraction`` of the load is done."""

    fraction: float


@dataclass(frozen=True, slots=True)
class Loaded:
    """The build is ready; the child holds ``memory`` bytes."""

    memory: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """The oldest messages were left out; for a picture (0 messages) the end of its prompt."""

    job: int
    messages: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Remark:
    """Something is not done as it was asked for; ``what`` says so in a sentence."""

    job: int
    what: str


@dataclass(frozen=True, slots=True)
class Read:
    """Prompt tokens in memory, of so many, and how many of them were there before."""

    job: int
    done: int
    total: int
    cached: int


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of text, made of ``tokens`` tokens; ``part`` is ``answer`` or ``reasoning``."""

    job: int
    text: str
    tokens: int
    part: str = "answer"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants the tool ``name``; ``arguments`` is a JSON object."""

    job: int
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Odds:
    """The next token, the logarithm of its probability, and the likeliest ones in its place."""

    job: int
    text: str
    logprob: float
    top: Ranks


@dataclass(frozen=True, slots=True)
class Step:
    """A denoising step is done; ``preview`` is a small PNG."""

    job: int
    step: int
    total: int
    preview: bytes | None


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture is ready, a PNG; what it was drawn with are fields of ``chat.drawing.PictureReceipt``.

    One that was stopped after ``stopped_at`` of its steps is only a preview; 0 for a whole one.
    """

    job: int
    picture: bytes
    seed: int
    scheduler: str
    rung: str
    dtype: str
    threads: int
    adapters: Ranks
    versions: Pairs
    stopped_at: int = 0


@dataclass(frozen=True, slots=True)
class Embedded:
    """The vectors of the next texts as 32-bit little-endian floats, one after the other.

    ``tokens`` is how many of each text were read, ``cut`` how many of each were left out at its end.
    """

    job: int
    vectors: bytes
    tokens: Whole
    cut: Whole


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a job. ``stopped`` is a value of ``chat.messages.Stopped``; times in seconds, speeds per second."""

    job: int
    stopped: str
    memory: int
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    pixel_steps: int = 0
    ttft_s: float = 0.0
    prompt_tok_s: float = 0.0
    decode_tok_s: float = 0.0
    cpu_s: float = 0.0
    guess_gain: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """A job, or the load, failed with the error class ``error`` of ``nanolocal.errors``; the child lives on."""

    job: int
    error: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Leaving:
    """Conversation ``chat`` is about to be forgotten; kept, its ``tokens`` tokens would be a file of ``size`` bytes."""

    chat: str
    tokens: int
    size: int


@dataclass(frozen=True, slots=True)
class Kept:
    """The conversation was written to the file that ``Keep`` named; ``size`` is 0 where that failed."""

    chat: str
    tokens: int
    size: int


@dataclass(frozen=True, slots=True)
class Left:
    """Nothing more follows."""


Load = LoadText | LoadImage | LoadEmbedding
Run = RunText | RunImage | RunEmbedding
Request = Load | Run | Cancel | Keep | Leave
JobReply = Dropped | Remark | Read | Delta | ToolCall | Odds | Step | Drawn | Embedded | Done | Failed
Reply = Hello | Beat | Progress | Loaded | JobReply | Leaving | Kept | Left
Frame = Request | Reply

_FRAMES: dict[str, type[Frame]] = {
    frame.__name__: frame
    for frame in (
        LoadText, LoadImage, LoadEmbedding, RunText, RunImage, RunEmbedding, Cancel, Keep, Leave, Hello, Beat, Progress,
        Loaded, Dropped, Remark, Read, Delta, ToolCall, Odds, Step, Drawn, Embedded, Done, Failed, Leaving, Kept, Left,
    )
}  # fmt: skip


def encode(frame: Frame) -> bytes:
    """``frame`` as bytes, length first; raises ``ProtocolError`` when it is too long."""
    values = {name: getattr(frame, name) for name in _types_of(type(frame).__name__)}
    payload = _encoder().encode({"frame": type(frame).__name__, **values})
    data = payload.encode("utf-8", errors="replace")
    if len(data) > MAX_FRAME_BYTES:
        raise ProtocolError(f"a {type(frame).__name__} frame of {len(data)} bytes")
    return struct.pack(">I", len(data)) + data


def payload_length(header: bytes) -> int:
    """The payload's length in bytes, from the four bytes before it; raises ``ProtocolError`` when it is too long."""
    length: int = struct.unpack(">I", header)[0]
    if not 0 < length <= MAX_FRAME_BYTES:
        raise ProtocolError(f"a frame that claims {length} bytes")
    return length


def decode(payload: bytes) -> Frame:
    """The frame in ``payload``; raises ``ProtocolError`` for anything else."""
    try:
        values = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"{payload[:40]!r} is not JSON") from error
    if not isinstance(values, dict):
        raise ProtocolError(f"{payload[:40]!r} is not an object")
    name = values.pop("frame", None)
    frame = _FRAMES.get(name) if isinstance(name, str) else None
    if frame is None:
        raise ProtocolError(f"unknown frame {str(name)[:40]!r}")
    readers = _readers_of(frame.__name__)
    if values.keys() != readers.keys():
        raise ProtocolError(f"a {name} frame with {sorted(values.keys() ^ readers.keys())} missing or unknown")
    try:
        make: Callable[..., Frame] = frame
        return make(**{key: readers[key](value) for key, value in values.items()})
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"a {name} frame with a wrong value: {error}") from error


def read_frame(stream: BinaryIO) -> Frame | None:
    """The next frame of a blocking stream, ``None`` at its end; raises ``ProtocolError`` for garbage."""
    header = stream.read(HEADER_BYTES)
    if not header:
        return None
    if len(header) < HEADER_BYTES:
        raise ProtocolError("the stream ends inside a header")
    length = payload_length(header)
    payload = stream.read(length)
    if len(payload) < length:
        raise ProtocolError("the stream ends inside a frame")
    return decode(payload)


@cache
def _types_of(name: str) -> dict[str, Any]:
    """The fields of a frame with their types; they are looked up for every token, and slow to work out."""
    return get_type_hints(_FRAMES[name])


@cache
def _readers_of(name: str) -> dict[str, Callable[[object], object]]:
    """What reads each field of a frame; a union of types is slow to look up."""
    return {field: _READERS[hint] for field, hint in _types_of(name).items()}


@cache
def _encoder() -> json.JSONEncoder:
    return json.JSONEncoder(ensure_ascii=False, default=_to_base64)


def _to_base64(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"{type(value).__name__} cannot travel in a frame")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a text")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("expected a whole number")
    return value


def _number(value: object) -> float:
    return value if isinstance(value, float) else float(_whole(value))


def _whole_or_none(value: object) -> int | None:
    return None if value is None else _whole(value)


def _bytes_or_none(value: object) -> bytes | None:
    return None if value is None else _bytes(value)


def _bytes(value: object) -> bytes:
    try:
        return base64.b64decode(_text(value), validate=True)
    except binascii.Error as error:
        raise ValueError("expected base64") from error


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("expected true or false")
    return value


def _texts(value: object) -> Texts:
    if not isinstance(value, list):
        raise TypeError("expected texts")
    return tuple(_text(each) for each in value)


def _wholes(value: object) -> Whole:
    if not isinstance(value, list):
        raise TypeError("expected whole numbers")
    return tuple(_whole(each) for each in value)


def _pairs_of(
    first: Callable[[object], F], second: Callable[[object], S]
) -> Callable[[object], tuple[tuple[F, S], ...]]:
    """A reader of pairs."""

    def read(value: object) -> tuple[tuple[F, S], ...]:
        if not isinstance(value, list) or any(not isinstance(pair, list) or len(pair) != 2 for pair in value):
            raise TypeError("expected pairs")
        return tuple((first(one), second(other)) for one, other in value)

    return read


_READERS: dict[object, Callable[[object], object]] = {
    str: _text,
    int: _whole,
    float: _number,
    int | None: _whole_or_none,
    bytes: _bytes,
    bytes | None: _bytes_or_none,
    bool: _flag,
    Texts: _texts,
    Whole: _wholes,
    Pairs: _pairs_of(_text, _text),
    Files: _pairs_of(_whole, _bytes),
    Biases: _pairs_of(_whole, _number),
    Ranks: _pairs_of(_text, _number),
}
