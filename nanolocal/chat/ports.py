"""What a turn needs from the other rooms, and what engines need from the vault: small protocols."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from nanolocal.chat.drawing import Adapters, StoredPicture
from nanolocal.chat.events import EngineEvent
from nanolocal.chat.messages import Answer, Attachment, Measured, Message, Source, Usage, Wishes
from nanolocal.chat.routes import Build, Route
from nanolocal.chat.tuning import Tuning

if TYPE_CHECKING:  # takes longer to import than all of this
    import asyncio

INSTRUCTIONS = "instructions"
"""The private setting that every new conversation begins with as its system prompt."""


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """What the router may look at.

    ``history_bytes`` counts the earlier messages that go along, in UTF-8 bytes, ``history_pictures`` their pictures;
    ``sound_tokens`` are the most that the sounds may become, the prompt's and theirs.
    ``earlier`` are the last things the user said before, ``earlier_tasks`` what the last answers were taken for and
    ``earlier_builds`` who gave them, the newest last; ``not_again`` are builds that were tried for this answer and
    could not be loaded, with the reason. ``on_picture`` says that the last answer is a picture or is about one,
    ``on_sound`` that it is about a sound.
    """

    prompt: str
    attachments: tuple[Attachment, ...]
    history_bytes: int
    wishes: Wishes
    current_build_id: str | None = None
    earlier: tuple[str, ...] = ()
    earlier_tasks: tuple[str, ...] = ()
    earlier_builds: tuple[str, ...] = ()
    not_again: Mapping[str, str] = field(default_factory=dict)
    history_pictures: int = 0
    sound_tokens: int = 0
    on_picture: bool = False
    on_sound: bool = False


@dataclass(frozen=True, slots=True)
class TextJob:
    """A conversation to continue with at most ``max_tokens`` tokens; ``None`` for the seed draws one.

    What was read of conversation ``chat_id`` may be kept, encrypted, until it goes on; ``""`` is never kept.
    The answer ends before the first of the texts in ``stop``. ``grammar`` is GBNF. ``tools`` are those on offer, as the
    JSON list that OpenAI's API takes. ``logprobs`` asks for so many of the likeliest tokens beside each chosen one.
    ``logit_bias`` adds to the logits of tokens, by their numbers. ``task`` is what it is for. ``guesses`` says
    whether it may be guessed what follows, ``drafts`` whether by another build too: that changes the speed alone. What
    the other settings do is told by ``engines.sampling.Sampling``; as they stand here, they do nothing.
    """

    messages: tuple[Message, ...]
    n_ctx: int
    max_tokens: int
    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    seed: int | None = None
    chat_id: str = ""
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
    logit_bias: tuple[tuple[int, float], ...] = ()
    grammar: str = ""
    stop: tuple[str, ...] = ()
    tools: str = ""
    logprobs: int | None = None
    task: str = ""
    guesses: bool = True
    drafts: bool = True


@dataclass(frozen=True, slots=True)
class ImageJob:
    """Pictures to draw; width and height in pixels, seeds from ``seed`` on. Files are PNG, JPEG, WebP or GIF.

    With ``source`` it is that picture with as much changed as ``strength`` says, with a ``mask`` only where that is
    white. ``controlnet`` is the folder of a ControlNet and ``control`` what it follows; ``adapters`` are LoRAs, by name
    or file, with their weights. ``scheduler`` is a class of diffusers, ``""`` for the pipeline's own. Where
    ``keep_preview`` says so, a stop leaves the preview of the picture that is under way. ``cache``
    is one of ``chat.drawing.STEP_CACHES``, ``""`` for none and ``None`` for the one that was measured to pay.
    """

    prompt: str
    width: int
    height: int
    steps: int
    guidance: float
    seed: int | None = None
    negative: str = ""
    scheduler: str = ""
    strength: float = 0.0
    source: bytes | None = None
    mask: bytes | None = None
    control: bytes | None = None
    controlnet: str = ""
    adapters: Adapters = ()
    count: int = 1
    keep_preview: bool = False
    cache: str | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingJob:
    """Texts to make vectors of, each of at most ``n_ctx`` tokens; ``first`` is the number that errors give the first.

    A longer one is an error, or is cut where ``truncates``. Vectors have length 1 where ``normalises``.
    """

    texts: tuple[str, ...]
    n_ctx: int
    first: int = 1
    truncates: bool = False
    normalises: bool = True


Job: TypeAlias = TextJob | ImageJob | EmbeddingJob


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message with its place in the tree; ``siblings`` are the ids that share its parent, itself included.

    ``damaged`` names attachments whose stored files can no longer be read; they come without data. ``verdict`` is what
    the user thinks of an answer: ``good``, ``bad`` or nothing, with a ``note``.
    """

    id: str
    parent_id: str | None
    message: Message
    created_at: float
    siblings: tuple[str, ...]
    build_id: str | None = None
    task: str | None = None
    stopped: str | None = None
    cost_micro: int = 0
    usage: Usage = field(default_factory=Usage)
    route_json: str | None = None
    decode_tok_s: float = 0.0
    dropped_tokens: int = 0
    damaged: tuple[str, ...] = ()
    verdict: str | None = None
    note: str = ""
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Hold:
    """An open reservation in the ledger."""

    id: str
    amount_micro: int


class PriceCard(Protocol):
    """An immutable price of one build."""

    @property
    def id(self) -> str:
        """SHA-256 of the card's content."""
        ...

    def cost(self, usage: Usage) -> int:
        """Micro-credits that this usage costs, rounded up."""
        ...


class Transaction(Protocol):
    """An open write transaction; opaque to the turn."""


class Router(Protocol):
    """Chooses the build."""

    def pick(self, request: RouteRequest) -> Route:
        """Return the decision, or raise ``NoBuildFits``."""
        ...


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """A build in memory: its bytes, whether it is loading, answering, idle or leaving, and for how long it is idle."""

    build_id: str
    memory: int
    state: str
    is_pinned: bool
    idle_s: float


class Engines(Protocol):
    """Runs builds."""

    def run(self, build: Build, job: Job, stop: "asyncio.Event") -> AsyncGenerator[EngineEvent]:
        """Load the build if needed and stream; the last event is ``EngineDone``. Setting ``stop`` ends it early.

        Raises ``EngineFailed`` when the engine cannot load or dies, ``NoBuildFits`` when the prompt is too long.
        """
        ...


class Helpers(Protocol):
    """What the program knows for certain: sums, dates, units, counts, and a local reference."""

    def answer(self, prompt: str, earlier: str = "") -> Source | None:
        """What answers the whole prompt, ``None`` where that is not certain; ``earlier`` is what was said before.

        Raises ``Damaged`` where the reference cannot be read.
        """
        ...

    @property
    def offered(self) -> str:
        """The same functions as tools for models, in OpenAI's form."""
        ...

    def call(self, name: str, arguments: str) -> Source | None:
        """What a tool gives, or a sentence on why it gives nothing; ``None`` where there is no such tool."""
        ...


class Store(Protocol):
    """Keeps conversations as trees."""

    def transaction(self, *, is_urgent: bool = False) -> AbstractContextManager[Transaction]:
        """Begin a write transaction; it commits at the end of the block and rolls back on an exception.

        Somebody waits for one that ``is_urgent``: what can follow its commit follows on another thread.
        """
        ...

    def start_chat(self, tx: Transaction, title: str, system: str | None) -> str:
        """Make a conversation and return its id."""
        ...

    def add_prompt(self, tx: Transaction, chat_id: str, parent_id: str | None, message: Message) -> str:
        """Store what the user said after ``parent_id`` and return the message's id."""
        ...

    def add_answer(self, tx: Transaction, chat_id: str, parent_id: str, answer: Answer, hold: Hold) -> str:
        """Store an answer with its usage, cost and route record, and return the message's id."""
        ...

    def keep_draft(self, prompt_id: str, answer: Answer, hold: Hold) -> None:
        """Keep what there is of an answer until ``add_answer`` replaces it.

        If this process dies before, the next one stores it and charges what was delivered.
        """
        ...

    def path(self, chat_id: str, tip_id: str | None = None) -> Sequence[StoredMessage]:
        """The messages from the first to ``tip_id``, or to the newest leaf; raises ``UsageError`` for an unknown id."""
        ...

    def system_prompt(self, chat_id: str | None) -> str | None:
        """The conversation's system prompt, for ``None`` that of a new one; raises ``UsageError`` for an unknown id."""
        ...


class Gallery(Protocol):
    """The pictures of all conversations, drawn and attached. Unknown ids raise ``UsageError``."""

    def pictures(self, query: str = "", limit: int = 60, before: float | None = None) -> Sequence[StoredPicture]:
        """The newest first, of prompts with these words where there are any.

        With ``before`` only those from before that moment. Pictures of one moment stay together, so that there may be
        more than ``limit``.
        """
        ...

    def picture(self, id: str) -> Attachment:
        """One picture with its bytes and its receipt; raises ``Damaged`` where it can no longer be read."""
        ...

    def ingredients(self, id: str) -> Sequence[Attachment]:
        """The mask and the control picture that it was drawn with, as far as they can be read."""
        ...

    def drawn_under(self, hold_id: str) -> Sequence[StoredPicture]:
        """The pictures that a hold in the ledger was charged for, in the order they were drawn."""
        ...

    def delete_picture(self, id: str) -> None:
        """Remove it for good, and with the last one of an answer what they were drawn with; its message says so."""
        ...


class Ledger(Protocol):
    """Holds, settles and voids charges."""

    def balance(self) -> int:
        """Micro-credits that can be spent now: posted minus everything held."""
        ...

    def price(self, build: Build) -> PriceCard:
        """The card in force for a build; made and recorded on first use."""
        ...

    def shown_price(self, build: Build) -> PriceCard:
        """The card that the next hold would be made for, without recording it."""
        ...

    def room(self, build: Build, *, chat_id: str | None = None, key: str | None = None) -> int:
        """Micro-credits that balance and budgets leave for an answer of ``build``.

        A ``chat_id`` that is none yet stands for a new conversation.
        """
        ...

    def hold(
        self, tx: Transaction, build: Build, amount_micro: int, *, chat_id: str | None = None, key: str | None = None
    ) -> Hold:
        """Reserve an amount; raises ``OutOfCredit`` where balance or budgets do not allow it.

        Budgets may limit the conversation, the build, and the name ``key`` that it is counted under.
        """
        ...

    def settle(self, tx: Transaction, hold: Hold, build: Build, usage: Usage, chat_id: str | None) -> int:
        """Charge what the usage costs, never more than the hold, and release the rest; returns the micro-credits."""
        ...

    def void(self, hold: Hold) -> None:
        """Release a hold in a transaction of its own; nothing is charged."""
        ...


class Metering(Protocol):
    """A measurement of energy under way."""

    def so_far(self, cpu_seconds: float) -> Measured:
        """What was used since it began; where nothing can be read, an estimate for so many seconds of one core."""
        ...


class Meter(Protocol):
    """Measures the energy that this machine uses."""

    def start(self) -> Metering:
        """Begin a measurement."""
        ...


@dataclass(frozen=True, slots=True)
class PromptSnapshot:
    """A conversation's state on disk, sealed with ``key`` (32 bytes).

    ``tokens`` were read, the file has ``size`` bytes.
    """

    path: Path
    key: bytes = field(repr=False)
    tokens: int
    size: int


class PromptCache(Protocol):
    """Snapshots of what engines have read, one per build and conversation at most."""

    def folder(self) -> Path | None:
        """Where all of them lie, made if need be: an engine may look nowhere else. ``None`` where none can be."""
        ...

    def find(self, sha256: str, chat_id: str) -> PromptSnapshot | None:
        """The one that is kept, if there is one."""
        ...

    def reserve(self, size: int) -> PromptSnapshot | None:
        """A new file's place and key with room for ``size`` bytes.

        ``None`` where budget or disk have none even after others left.
        """
        ...

    def keep(self, snapshot: PromptSnapshot, sha256: str, chat_id: str) -> None:
        """It is written, ``tokens`` and ``size`` as written: it replaces the one before it."""
        ...

    def drop(self, snapshot: PromptSnapshot) -> None:
        """It could not be written, or not be read: forget it, key first."""
        ...


class Tunings(Protocol):
    """How builds run fastest on this machine."""

    def of(self, build: Build, n_ctx: int) -> Tuning:
        """What was measured, and what fits on a graphics card with so much context; may take a moment."""
        ...

    def may_guess(self, sha256: str, task: str) -> bool:
        """Whether it may pay to guess what follows in an answer of ``task``."""
        ...

    def step_cache(self, build: Build) -> str:
        """The step cache that was measured to pay for ``build``; ``""`` for none."""
        ...

    def draft(self, build: Build) -> Build | None:
        """The build that writes ahead of ``build``, where that was measured to pay."""
        ...
