"""The values of a conversation: messages, usage, answers. Pure data; ids belong to the vault."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from nanolocal.chat.drawing import Drawing
from nanolocal.chat.routes import Route
from nanolocal.chat.usage import Usage

__all__ = [
    "Answer",
    "Attachment",
    "Measured",
    "Message",
    "Role",
    "Source",
    "Stopped",
    "Timing",
    "TurnRequest",
    "Usage",
    "Wishes",
]


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class Stopped(StrEnum):
    """Why an answer ended."""

    END = "end"
    LENGTH = "length"
    USER = "user"
    CRASH = "crash"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that came with a prompt, or a picture of an answer: then with its ``PictureReceipt`` as JSON."""

    name: str
    media_type: str
    data: bytes
    receipt: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as an engine sees it."""

    role: Role
    text: str
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds and tokens per second of one answer; zero where a phase did not happen."""

    load_s: float = 0.0
    ttft_s: float = 0.0
    prompt_tok_s: float = 0.0
    decode_tok_s: float = 0.0
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """Energy in joules, and in words how it is known; ``is_measured`` is false where any part is an estimate."""

    joules: float
    source: str
    is_measured: bool


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What a model wants of a tool; ``arguments`` is a JSON object."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Source:
    """What the program itself knows for certain: worked out, or looked up in the local reference.

    ``licence`` and ``origin`` say under which terms and from where it is; both are ``""`` for what was worked out.
    ``note`` is what was added to the prompt, word by word; ``""`` where the source itself is the answer.
    """

    title: str
    text: str
    licence: str = ""
    origin: str = ""
    note: str = ""

    @property
    def told(self) -> str:
        """One line: what was worked out, or the text and where that is from."""
        terms = ", ".join(filter(None, (self.origin, self.licence)))
        return f"{self.text} [{terms}]" if terms else f"{self.title}: {self.text}"

    @property
    def credit(self) -> str:
        """Where it is from, without its text."""
        return ", ".join(filter(None, (self.title, self.origin, self.licence)))


@dataclass(frozen=True, slots=True)
class TokenOdds:
    """A chosen token with the logarithm of its probability, and the likeliest ones in its place."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished (or interrupted) answer with its price. ``problem`` says what interrupted it, if anything.

    ``reasoning`` is what the model thought first. It is counted, charged and shown, but neither kept nor sent again.

    ``remarks`` are sentences on what it did not take into account. ``energy_source`` says how ``energy_j`` is known.
    ``licence`` is what ``FirstUse`` said, where this was the build's first answer. ``guess_gain`` is as in
    ``EngineDone``. ``ingredients`` are files that ``pictures`` were drawn with, beside those of the prompt. ``sources``
    are what the program itself knew of it, and tools that the model called gave.
    """

    text: str
    pictures: tuple[Attachment, ...]
    route: Route
    usage: Usage
    timing: Timing
    stopped: Stopped
    cost_micro: int
    balance_micro: int
    energy_j: float
    chat_id: str | None
    message_id: str | None
    dropped_tokens: int = 0
    problem: str | None = None
    remarks: tuple[str, ...] = ()
    energy_source: str = ""
    licence: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    token_odds: tuple[TokenOdds, ...] = ()
    guess_gain: float = 0.0
    ingredients: tuple[Attachment, ...] = ()
    sources: tuple[Source, ...] = ()

    @property
    def picture(self) -> Attachment | None:
        """The first picture, where there is one."""
        return next(iter(self.pictures), None)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user asked for beside the prompt; ``None`` leaves the choice to the build's defaults.

    ``key`` is the name of an API key or a person, under which the ledger counts what it costs. ``sampling`` has
    settings of ``TextJob`` by their names. ``schema`` is a JSON schema that the answer has to follow, ``grammar`` is
    GBNF, ``tools`` a JSON list as OpenAI's API takes it. ``helpers`` lets the program answer what it knows for certain,
    and ``own_tools`` offers the model the same functions as tools, whose results it gets.
    """

    model: str | None = None
    prefer: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    system: str | None = None
    max_credits_micro: int | None = None
    store: bool = True
    picture: bool = False
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    drawing: Drawing = field(default_factory=Drawing)
    key: str | None = None
    sampling: Mapping[str, float] = field(default_factory=dict)
    logit_bias: tuple[tuple[int, float], ...] = ()
    stop: tuple[str, ...] = ()
    schema: str | None = None
    grammar: str | None = None
    tools: str | None = None
    logprobs: int | None = None
    helpers: bool = True
    own_tools: bool = False


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """One turn. ``prompt`` is ``None`` to answer the stored message ``parent_id`` once more (regenerate).

    ``chat_id`` is ``None`` to start a conversation. ``parent_id`` is the message that the prompt follows;
    ``None`` means the newest one, ``""`` the start of the conversation (editing the first prompt makes a branch).
    """

    prompt: str | None
    attachments: tuple[Attachment, ...] = ()
    wishes: Wishes = Wishes()
    chat_id: str | None = None
    parent_id: str | None = None
