"""What happens during a turn, as faces see it. Engines yield the first group, the turn adds the second."""

from dataclasses import dataclass

from nanolocal.chat.messages import Answer, Attachment, Source, Stopped, Timing, TokenOdds, ToolCall, Usage
from nanolocal.chat.routes import Route


@dataclass(frozen=True, slots=True)
class Loading:
    """The build is being brought into memory; ``fraction`` runs from 0 to 1."""

    build_id: str
    fraction: float


@dataclass(frozen=True, slots=True)
class Reading:
    """``done`` of ``total`` prompt tokens are read; ``cached`` of them were still in memory."""

    done: int
    total: int
    cached: int = 0


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer, already safe for a terminal, and how many tokens it took."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """The next piece of what the model thinks before it answers, safe for a terminal, and how many tokens it took."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """The model wants a tool used."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class TokenChosen:
    """How likely the next token was, of a job that asks for it."""

    token: TokenOdds


@dataclass(frozen=True, slots=True)
class ImageStep:
    """Denoising step ``step`` of ``total`` is done; ``preview`` is a small PNG or ``None``.

    All steps so far come to ``pixel_steps``, which is less than was meant where the picture is drawn smaller.
    """

    step: int
    total: int
    preview: bytes | None = None
    pixel_steps: int = 0


@dataclass(frozen=True, slots=True)
class PictureDrawn:
    """A picture of the answer is there; ``pixel_steps`` were drawn up to its end.

    With ``is_preview`` it is what there was of it when it was stopped.
    """

    picture: Attachment
    pixel_steps: int
    is_preview: bool = False


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors of the next ``count`` texts, 32-bit little-endian floats one after the other, and the tokens they took.

    ``cut`` texts among them were too long and only begun.
    """

    vectors: bytes
    count: int
    tokens: int
    cut: int = 0


@dataclass(frozen=True, slots=True)
class ContextDropped:
    """The oldest ``messages`` (``tokens`` tokens) of the conversation do not fit and were left out of this answer.

    For a picture ``messages`` is 0 and the tokens are those at the end of its prompt.
    """

    messages: int
    tokens: int


@dataclass(frozen=True, slots=True)
class MadeDo:
    """Something cannot be done as asked, mostly for lack of memory; ``what`` is done instead says a sentence."""

    what: str


@dataclass(frozen=True, slots=True)
class FirstUse:
    """The build is about to answer for the first time on this device; ``licence`` is a sentence about its licence."""

    build_id: str
    licence: str


@dataclass(frozen=True, slots=True)
class EngineDone:
    """The engine's own account of the answer it gave.

    Where it guessed what follows, it wrote ``guess_gain`` times as fast, by its own clock; 0 where it did not.
    """

    usage: Usage
    timing: Timing
    stopped: Stopped
    pictures: tuple[Attachment, ...] = ()
    guess_gain: float = 0.0


EngineEvent = (
    FirstUse | MadeDo | Loading | Reading | TextDelta | ReasoningDelta | ToolCalled | TokenChosen | ImageStep
    | PictureDrawn | Embedded | ContextDropped | EngineDone
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RouteChosen:
    """Which build answers, and why."""

    route: Route


@dataclass(frozen=True, slots=True)
class Held:
    """The most this answer can cost is reserved; ``chat_id`` and ``prompt_id`` are ``None`` when nothing is stored."""

    max_cost_micro: int
    balance_micro: int
    chat_id: str | None
    prompt_id: str | None


@dataclass(frozen=True, slots=True)
class CostSoFar:
    """What the answer would be charged if it ended now, in micro-credits."""

    cost_micro: int


@dataclass(frozen=True, slots=True)
class NotRead:
    """Something that the user may count on does not reach the engine; ``what`` says so in a sentence."""

    what: str


@dataclass(frozen=True, slots=True)
class SourceFound:
    """Something that the program itself knows goes into the answer: see ``Source.note`` for how."""

    source: Source


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is stored and paid for."""

    answer: Answer


Event = (
    RouteChosen | Held | CostSoFar | NotRead | FirstUse | MadeDo | Loading | Reading | TextDelta | ReasoningDelta
    | ToolCalled | TokenChosen | ImageStep | PictureDrawn | ContextDropped | SourceFound | Finished
)  # fmt: skip
