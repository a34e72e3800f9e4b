"""What an engine is asked to do: the prompt, the build's card and the user's wishes joined into one job."""

import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from nanolocal.chat import remarks
from nanolocal.chat.messages import Attachment, Message, Role, Usage, Wishes
from nanolocal.chat.ports import ImageJob, PriceCard, StoredMessage, TextJob
from nanolocal.chat.routes import Build, Kind, Route
from nanolocal.chat.usage import PICTURE_TOKENS
from nanolocal.errors import OutOfCredit, UsageError
from nanolocal.safetext import safe_line

_SAMPLING = {"max_tokens": 1024, "temperature": 0.7, "top_p": 0.95, "top_k": 40, "min_p": 0.05, "repeat_penalty": 1.0}
_RANGES = {
    "temperature": (0.0, 5.0), "top_p": (0.0, 1.0), "top_k": (0, 1_000_000), "min_p": (0.0, 1.0),
    "typical_p": (0.0, 1.0), "repeat_penalty": (0.1, 10.0), "frequency_penalty": (-2.0, 2.0),
    "presence_penalty": (-2.0, 2.0), "dry_multiplier": (0.0, 10.0), "dry_base": (1.0, 4.0),
    "dry_allowed_length": (1, 1000), "xtc_probability": (0.0, 1.0), "xtc_threshold": (0.0, 1.0), "mirostat": (0, 1),
    "mirostat_tau": (0.0, 20.0), "mirostat_eta": (0.0, 1.0),
}  # fmt: skip
"""The settings of ``TextJob`` that say how a token is chosen, from which value to which."""
_WHOLE: dict[str, Callable[[float], int]] = {"top_k": int, "dry_allowed_length": int, "mirostat": bool}
_MOST_STOPS, _MOST_LOGPROBS = 16, 20
_MIN_SIDE, _MAX_SIDE = 32, 4096
_MAX_STEPS = 200
MOST_PICTURE_BYTES = 11 * 2**20
"""The files of all pictures that go to an engine at once, which takes 16 MiB of text and base64 in one go."""
_TEMPLATE_TOKENS = 16
"""Tokens that a chat template adds to one message, at the most."""
_NEW = "new"
_LEAD_IN = re.compile(
    r"^(?:please |can you |could you |would you |i want you to )*"
    r"(?:draw|paint|sketch|illustrate|make|create|generate|render|show)(?: me| us)?\s+",
    re.IGNORECASE,
)


def text_job(history: Sequence[Message], route: Route, wishes: Wishes) -> TextJob:
    """A conversation for a text engine; raises ``UsageError`` for a setting out of range."""
    settings = _SAMPLING | dict(route.build.defaults)
    max_tokens = int(settings["max_tokens"]) if wishes.max_tokens is None else wishes.max_tokens
    _in_range("--max-tokens", max_tokens, 1, 1_000_000)
    return TextJob(
        messages=tuple(history),
        n_ctx=route.n_ctx,
        max_tokens=min(max_tokens, route.n_ctx),
        seed=_seed(wishes.seed),
        logit_bias=wishes.logit_bias,
        grammar=_grammar(wishes),
        stop=_stops(wishes.stop),
        tools=_tools(wishes.tools),
        logprobs=_logprobs(wishes.logprobs),
        **_sampling(settings, wishes),
    )


def _sampling(settings: Mapping[str, float], wishes: Wishes) -> dict[str, Any]:
    """How tokens are chosen: as wished, else as the build is used to; raises ``UsageError`` for a wrong wish."""
    wished = dict(wishes.sampling)
    if wishes.temperature is not None:
        wished["temperature"] = wishes.temperature
    for name, value in wished.items():
        if name not in _RANGES:
            raise UsageError(f"there is no setting {name[:40]!r}", f"those there are: {', '.join(_RANGES)}")
        _in_range(f"--{name.replace('_', '-')}", value, *_RANGES[name])
    chosen = {name: value for name, value in settings.items() if name in _RANGES} | wished
    return {name: _WHOLE.get(name, float)(value) for name, value in chosen.items()}


def _grammar(wishes: Wishes) -> str:
    if wishes.schema is None:
        return wishes.grammar or ""
    if wishes.grammar:
        raise UsageError("an answer follows a schema or a grammar, not both", "leave one of them out")
    if wishes.tools:
        raise UsageError("an answer that may call tools follows no schema", "leave the tools or the schema out")
    from nanolocal.chat.schemas import grammar_of  # seldom needed, and long to import

    return grammar_of(wishes.schema)


def _stops(words: tuple[str, ...]) -> tuple[str, ...]:
    if not all(words) or len(words) > _MOST_STOPS:
        raise UsageError(f"an answer is stopped by up to {_MOST_STOPS} texts, none of them empty", "--stop TEXT")
    return words


def _tools(tools: str | None) -> str:
    """The tools on offer; raises ``UsageError`` for anything but OpenAI's form."""
    if not tools:
        return ""
    try:
        offered = json.loads(tools)
        names = [tool["function"]["name"] for tool in offered]
    except (ValueError, TypeError, KeyError, RecursionError):
        names = []
    if not names or not all(isinstance(name, str) and name for name in names):
        form = '[{"type": "function", "function": {"name": "NAME", "parameters": {"type": "object", ...}}}]'
        raise UsageError("the tools are not a JSON list of functions", form)
    return tools


def _logprobs(count: int | None) -> int | None:
    if count is not None:
        _in_range("--logprobs", count, 0, _MOST_LOGPROBS)
    return count


def image_job(prompt: str, build: Build, wishes: Wishes) -> ImageJob:
    """A picture for an image engine; raises ``UsageError`` for a size or a number of steps out of range."""
    defaults = build.defaults
    width = wishes.width or int(defaults.get("width", 512))
    height = wishes.height or int(defaults.get("height", 512))
    steps = wishes.steps or int(defaults.get("steps", 20))
    for name, side in (("width", width), ("height", height)):
        _in_range(name, side, _MIN_SIDE, int(defaults.get(f"max_{name}", _MAX_SIDE)))
        if side % 8:
            raise UsageError(f"the {name} of a picture is a multiple of 8, not {side}", "for example --size 64x64")
    _in_range("--steps", steps, 1, _MAX_STEPS)
    return ImageJob(
        prompt=_LEAD_IN.sub("", prompt.strip()),
        width=width,
        height=height,
        steps=steps,
        guidance=defaults.get("guidance", 7.0),
        seed=_seed(wishes.seed),
    )


def most_it_can_use(job: TextJob | ImageJob) -> Usage:
    """An upper bound of the usage, one load included.

    A token is at least a byte, a picture at most ``PICTURE_TOKENS``, and a context cannot overflow.
    """
    if isinstance(job, ImageJob):
        return Usage(pixel_steps=job.width * job.height * job.steps, loads=1)
    prompt = sum(len(message.text.encode("utf-8", "replace")) + _TEMPLATE_TOKENS for message in job.messages)
    prompt += PICTURE_TOKENS * sum(len(message.attachments) for message in job.messages)
    return Usage(prompt_tokens=min(prompt, job.n_ctx), completion_tokens=job.max_tokens, loads=1)


def with_offer(refused: OutOfCredit, card: PriceCard, job: TextJob | ImageJob) -> OutOfCredit:
    """The same refusal, which also says how long an answer the credit still buys."""
    tokens = _affordable_tokens(card, job, refused.room_micro) if isinstance(job, TextJob) else 0
    if not tokens:
        return refused
    offer = f"an answer of up to {tokens} tokens is still in it: --max-tokens {tokens}"
    hint = "; or ".join(filter(None, (offer, refused.hint)))
    return OutOfCredit(refused.message, hint, refused.room_micro, budget=refused.budget, tokens=tokens)


def _affordable_tokens(card: PriceCard, job: TextJob, room_micro: int) -> int:
    """The most answer tokens that ``room_micro`` covers beside the prompt."""
    prompt = most_it_can_use(job)
    low, high = 0, job.max_tokens
    while low < high:
        middle = (low + high + 1) // 2
        if card.cost(replace(prompt, completion_tokens=middle)) <= room_micro:
            low = middle
        else:
            high = middle - 1
    return low


def conversation(
    path: Sequence[StoredMessage], system: str | None, prompt: Message, build: Build
) -> tuple[Message, ...]:
    """What a text engine reads: the system prompt, every answered prompt with its answer, and the new prompt.

    The pictures of prompts go along to a build that can look at them, the newest first where that is too much. Prompts
    that were never answered, drawn pictures, and older files that are no text are left out: they are in the vault, but
    no text follows from them. Raises ``UsageError`` when the new prompt's pictures alone are too much.
    """
    messages = [Message(Role.SYSTEM, system)] if system else []
    seen = _seen(path, prompt, build)
    for asked, answered in pairwise(path):
        if _is_exchange(asked, answered):
            readable = tuple(item for item in asked.message.attachments if _is_text(item))
            text = with_files(replace(asked.message, attachments=readable))
            messages += [replace(text, attachments=seen.get(asked.id, ())), replace(answered.message, attachments=())]
    return (*messages, replace(with_files(prompt), attachments=seen[_NEW]))


def pictures_in(path: Sequence[StoredMessage]) -> int:
    """How many pictures of answered prompts a build could look at once more."""
    return sum(len(_pictures(asked.message)) for asked, answered in pairwise(path) if _is_exchange(asked, answered))


def _seen(path: Sequence[StoredMessage], prompt: Message, build: Build) -> dict[str, tuple[Attachment, ...]]:
    """The pictures that go along, by the id of their message; those of the new prompt as ``_NEW``."""
    if not build.sees:
        return {_NEW: ()}
    room = MOST_PICTURE_BYTES - sum(len(item.data) for item in _pictures(prompt))
    if room < 0:
        raise UsageError(
            f"the pictures have more than {MOST_PICTURE_BYTES // 2**20} MiB together", "attach fewer or smaller ones"
        )
    seen = {_NEW: _pictures(prompt)}
    for asked, answered in reversed(list(pairwise(path))):
        if not _is_exchange(asked, answered):
            continue
        whole = tuple(item for item in _pictures(asked.message) if item.data)
        room -= sum(len(item.data) for item in whole)
        if room < 0:
            break
        seen[asked.id] = whole
    return seen


def not_read(path: Sequence[StoredMessage], prompt: Message, build: Build) -> tuple[str, ...]:
    """What the user may count on and the job leaves out, in sentences.

    That is files of a picture's prompt, and of the conversation unanswered prompts and pictures that the build does not
    look at; these are said once, with the first text that follows them.
    """
    if not is_text(build):
        files = [safe_line(item.name) for item in prompt.attachments]
        return (remarks.undrawn(files),) if files else ()
    read = max((n + 2 for n, pair in enumerate(pairwise(path)) if _is_exchange(*pair)), default=0)
    since = [stored.message for stored in path[read:]]
    asked = sum(message.role is Role.USER for message in since)
    drawn = sum(message.role is Role.ASSISTANT and bool(message.attachments) for message in since)
    last_read = path[max(0, read - 2) : read]
    seen = _seen(path, prompt, build)
    pictures = sum(len(_pictures(message)) for message in (*(stored.message for stored in last_read), *since))
    pictures -= sum(len(seen.get(stored.id, ())) for stored in last_read)
    unanswered = max(0, asked - drawn)
    return (remarks.unseen(pictures, unanswered),) if pictures or unanswered else ()


def with_files(message: Message) -> Message:
    """The message with its text files written out in front, so that a text engine can read them."""
    files = [item for item in message.attachments if not _is_picture(item)]
    text = "".join(f"[{item.name}]\n{_decoded(item)}\n\n" for item in files) + message.text
    return Message(message.role, text)


def is_text(build: Build) -> bool:
    """Whether a build writes text."""
    return build.kind is Kind.TEXT


def _is_text(item: Attachment) -> bool:
    try:
        _decoded(item)
    except UsageError:
        return False
    return True


def _pictures(message: Message) -> tuple[Attachment, ...]:
    return tuple(item for item in message.attachments if _is_picture(item))


def _is_picture(item: Attachment) -> bool:
    return item.media_type.startswith("image/")


def _is_exchange(asked: StoredMessage, answered: StoredMessage) -> bool:
    is_pair = asked.message.role is Role.USER and answered.message.role is Role.ASSISTANT
    return is_pair and bool(answered.message.text)


def _decoded(item: Attachment) -> str:
    try:
        return item.data.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise UsageError(f"{item.name} is not a text file", "attach text or a picture") from error


def _seed(wished: int | None) -> int:
    if wished is None:
        return secrets.randbelow(2**31)
    _in_range("--seed", wished, 0, 2**32 - 1)
    return wished


def _in_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError(f"{name} is between {low} and {high}, not {value}", "leave it out for the build's own value")
