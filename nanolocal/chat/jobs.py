"""What an engine is asked to do: the prompt, the build's card and the user's wishes joined into one job."""

import json
import math
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from nanolocal.chat import media, remarks
from nanolocal.chat.canvas import MOST_PIXELS
from nanolocal.chat.changes import Described, described
from nanolocal.chat.decisions import was_look
from nanolocal.chat.drawing import CONTROL, MASK, SCHEDULERS, Drawing, PictureReceipt
from nanolocal.chat.helping import with_notes
from nanolocal.chat.messages import Attachment, Message, Role, Usage, Wishes
from nanolocal.chat.picturesize import pixels_of
from nanolocal.chat.ports import ImageJob, PriceCard, RouteRequest, StoredMessage, TextJob
from nanolocal.chat.routes import Build, Kind, Route
from nanolocal.errors import Damaged, OutOfCredit, UsageError
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
_MOST_ENLARGED = MOST_PIXELS * 0.9
"""Pixels that a larger picture is meant to have at the most, as its sides are rounded."""
_MAX_STEPS = 200
_MAX_GUIDANCE = 50
_MAX_WEIGHT = 5
MOST_PICTURES = 16
"""So many are drawn for one prompt at the most."""
_SCHEDULER = re.compile(r"[A-Z][A-Za-z0-9]{2,60}Scheduler")
_TEMPLATE_TOKENS = 16
"""Tokens that a chat template adds to one message, at the most."""
_TAKES_ORDERS = re.compile("Kontext|Edit|Pix2Pix")
"""Pipelines of diffusers that were trained to change a picture as they are told."""
_STRENGTH = 0.7
"""How much of a picture may change where the user does not say."""
_NEW = "new"
_DRAWN = "[a picture]"
"""What an answer that is a picture says to a build that is shown it with the next prompt."""
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
        task=route.task,
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


def image_job(prompt: str, build: Build, wishes: Wishes, source: Attachment | None = None) -> ImageJob:
    """Pictures for an image engine, with ``source`` changes of that one.

    Raises ``UsageError`` for what no pipeline can do: sizes and settings out of range, a mask without a picture.
    """
    defaults, asked = build.defaults, wishes.drawing
    width, height = _canvas(build, wishes, source)
    steps = int(defaults.get("steps", 20)) if wishes.steps is None else wishes.steps
    _in_range("--steps", steps, 1, _MAX_STEPS)
    guidance = defaults.get("guidance", 7.0) if asked.guidance is None else asked.guidance
    _in_range("--guidance", guidance, 0, _MAX_GUIDANCE)
    _in_range("--count", asked.count, 1, MOST_PICTURES)
    for name, weight in asked.adapters:
        _in_range(f"the weight of {safe_line(name)}", weight, -_MAX_WEIGHT, _MAX_WEIGHT)
    _check_files(asked, source)
    negative = (asked.negative or "").strip()
    if negative and guidance <= 1:
        raise UsageError(
            f"a negative prompt does nothing at a guidance of {guidance:g}",
            "leave --negative out, or give a --guidance above 1 if the build was not made for few steps",
        )
    if asked.upscales and not build.upscales:
        raise UsageError(f"{build.id} does not enlarge pictures", "leave --model out")
    words = _words_for(prompt.strip(), build, source)
    return ImageJob(
        prompt=words.prompt,
        width=width,
        height=height,
        steps=steps,
        guidance=guidance,
        seed=_seed(wishes.seed),
        negative=", ".join(filter(None, (negative, words.negative if guidance > 1 else ""))),
        scheduler=_scheduler(asked.scheduler),
        source=None if source is None else source.data,
        strength=0.0 if build.upscales else _strength(asked, source, steps),
        mask=asked.mask,
        control=asked.control,
        controlnet=asked.controlnet or "",
        adapters=asked.adapters,
        count=asked.count,
        cache=asked.cache,
    )


def ingredients(job: TextJob | ImageJob) -> tuple[Attachment, ...]:
    """The files that draw its pictures once more, and that no prompt keeps."""
    if isinstance(job, TextJob):
        return ()
    files = (("mask", MASK, job.mask), ("control", CONTROL, job.control))
    return tuple(Attachment(name, kind, data) for name, kind, data in files if data is not None)


def _words_for(prompt: str, build: Build, source: Attachment | None) -> Described:
    """What is to be drawn: with a picture that was drawn here the whole of it, unless the build takes orders."""
    if source is not None and build.upscales:
        return Described(prompt or _drawn_from(source))
    if source is not None and _TAKES_ORDERS.search(build.architecture):
        return Described(prompt)
    before = "" if source is None else _drawn_from(source)
    return described(before, prompt) if before else Described(_LEAD_IN.sub("", prompt))


def _drawn_from(picture: Attachment) -> str:
    """The words that it was drawn from, where that is known."""
    try:
        return PictureReceipt.from_json(picture.receipt).prompt if picture.receipt else ""
    except Damaged:
        return ""


def _canvas(build: Build, wishes: Wishes, source: Attachment | None) -> tuple[int, int]:
    """Width and height in pixels: as wished, else as the build draws, in the shape of a picture that is changed."""
    defaults = build.defaults
    multiple = int(defaults.get("multiple", 8))
    ranges = [
        (int(defaults.get(f"min_{name}", _MIN_SIDE)), int(defaults.get(f"max_{name}", _MAX_SIDE)))
        for name in ("width", "height")
    ]
    own = (int(defaults.get("width", 512)), int(defaults.get("height", 512)))
    shape = None if source is None else pixels_of(source.data)
    if shape is not None and wishes.width is None and wishes.height is None:
        area = shape[0] * shape[1]
        scale = math.sqrt(own[0] * own[1] / area)
        if build.upscales:
            scale = min(build.upscales, math.sqrt(_MOST_ENLARGED / area))
        own_width, own_height = (
            min(max(round(side * scale / multiple) * multiple, low), high)
            for side, (low, high) in zip(shape, ranges, strict=True)
        )
        return own_width, own_height
    width, height = (
        side if wish is None else wish for side, wish in zip(own, (wishes.width, wishes.height), strict=True)
    )
    for name, side, (low, high) in zip(("width", "height"), (width, height), ranges, strict=True):
        _in_range(name, side, low, high)
        if side % multiple:
            example = f"--size {own[0]}x{own[1]}"
            raise UsageError(
                f"the {name} of a picture is a multiple of {multiple} here, not {side}", f"such as {example}"
            )
    return width, height


def _check_files(asked: Drawing, source: Attachment | None) -> None:
    """What goes into a picture only goes together; raises ``UsageError``."""
    if source is None and asked.mask is not None:
        raise UsageError(
            "a mask says where a picture may change, and there is no picture", "--from PICTURE --mask FILE"
        )
    if source is None and asked.strength is not None:
        raise UsageError("a strength says how much of a picture may change, and there is none", "--from PICTURE")
    if asked.control is not None and not asked.controlnet:
        raise UsageError("nothing here follows a control picture", "--controlnet DIR names what does")
    if asked.controlnet and asked.control is None:
        raise UsageError("a ControlNet follows a picture, and there is none", "--control FILE")
    files = [None if source is None else source.data, asked.mask, asked.control]
    if sum(len(file) for file in files if file is not None) > media.MOST_BYTES:
        raise UsageError(
            f"the pictures have more than {media.MOST_BYTES // 2**20} MiB together", "give smaller ones, or JPEGs"
        )


def _strength(asked: Drawing, source: Attachment | None, steps: int) -> float:
    """How much of the picture changes; raises ``UsageError`` where that is nothing."""
    if source is None:
        return 0.0
    strength = asked.strength
    if strength is None:
        strength = 1.0 if asked.mask is not None else max(_STRENGTH, min(1.0, 1 / steps))
    _in_range("--strength", strength, 0.01, 1)
    if int(steps * strength) < 1:
        raise UsageError(
            f"a strength of {strength:g} leaves none of {steps} steps",
            f"--strength {min(1.0, 1.01 / steps):.2f} or more",
        )
    return strength


def _scheduler(name: str | None) -> str:
    """The class of diffusers that is meant, ``""`` for the build's own; raises ``UsageError``."""
    if not name:
        return ""
    found = SCHEDULERS.get(name.strip().lower(), name.strip())
    if not _SCHEDULER.fullmatch(found):
        raise UsageError(f"there is no scheduler {safe_line(name)[:40]!r}", f"those there are: {', '.join(SCHEDULERS)}")
    return found


def most_it_can_use(job: TextJob | ImageJob) -> Usage:
    """An upper bound of the usage, one load included.

    A token is at least a byte, pictures and sounds have a most of their own, and a context cannot overflow.
    """
    if isinstance(job, ImageJob):
        return Usage(pixel_steps=job.width * job.height * job.steps * job.count, loads=1)
    prompt = sum(len(message.text.encode("utf-8", "replace")) + _TEMPLATE_TOKENS for message in job.messages)
    prompt += media.most_tokens(item for message in job.messages for item in message.attachments)
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

    Pictures and sounds go along to a build that can look or listen, the newest first where that is too much; what was
    drawn comes with the prompt after it, as templates show pictures with prompts alone. Prompts that were never
    answered, drawn pictures where they cannot be looked at, and older files that are no text are left out: they are in
    the vault, but no text follows from them. Raises ``UsageError`` when the new prompt's files alone are too much.
    """
    messages = [Message(Role.SYSTEM, system)] if system else []
    seen = _seen(path, prompt, build)
    drawn: tuple[Attachment, ...] = ()
    for asked, answered in _exchanges(path, build):
        readable = tuple(item for item in asked.message.attachments if _is_text(item))
        text = with_notes(with_files(replace(asked.message, attachments=readable)), answered.sources)
        shown = drawn + seen.get(asked.id, ())
        messages += [replace(text, attachments=shown), Message(Role.ASSISTANT, answered.message.text or _DRAWN)]
        drawn = seen.get(answered.id, ())
    return (*messages, replace(with_files(prompt), attachments=drawn + seen[_NEW]))


def pictures_in(path: Sequence[StoredMessage]) -> int:
    """How many pictures of the conversation a build could look at once more."""
    return sum(len(media.pictures(stored.message)) for stored in path)


def request_for(prompt: Message, wishes: Wishes) -> RouteRequest:
    """What the router looks at for a prompt that begins a conversation."""
    sounds = sound_tokens_in((prompt,))
    return RouteRequest(with_files(prompt).text, prompt.attachments, 0, wishes, sound_tokens=sounds)


def sound_tokens_in(messages: Iterable[Message]) -> int:
    """The most tokens that their sounds may become, for a build that listens."""
    return media.most_tokens(item for message in messages for item in message.attachments if media.is_sound(item))


def newest_picture(path: Sequence[StoredMessage], prompt: Message) -> Attachment | None:
    """The picture that a change of "it" is meant for: the prompt's own last one, else the last one before it."""
    messages = (prompt, *(stored.message for stored in reversed(path)))
    whole = (item for message in messages for item in reversed(media.pictures(message)) if item.data)
    return next(whole, None)


def is_on_picture(path: Sequence[StoredMessage]) -> bool:
    """Whether the last answer is a picture, or tells of one."""
    last = _last_answer(path)
    if last is None:
        return False
    return was_look(path[last].route_json) or any(
        media.pictures(each.message) for each in path[max(0, last - 1) : last + 1]
    )


def is_on_sound(path: Sequence[StoredMessage]) -> bool:
    """Whether the last answer is to a prompt with a sound."""
    last = _last_answer(path)
    return last is not None and last > 0 and any(media.heard(item) for item in path[last - 1].message.attachments)


def _last_answer(path: Sequence[StoredMessage]) -> int | None:
    """Its place in the conversation."""
    return next((n for n in reversed(range(len(path))) if path[n].message.role is Role.ASSISTANT), None)


def _seen(path: Sequence[StoredMessage], prompt: Message, build: Build) -> dict[str, tuple[Attachment, ...]]:
    """The pictures and sounds that go along, by the id of their message; those of the new prompt as ``_NEW``."""
    for item in filter(media.is_sound, prompt.attachments):
        media.checked_sound(item)
    new = media.taken_in(prompt, build)
    room = media.MOST_BYTES - sum(len(item.data) for item in new)
    if room < 0:
        raise UsageError(
            f"the files have more than {media.MOST_BYTES // 2**20} MiB together", "attach fewer or smaller ones"
        )
    seen = {_NEW: new}
    for stored in reversed([stored for pair in _exchanges(path, build) for stored in pair]):
        whole = tuple(item for item in media.taken_in(stored.message, build) if item.data)
        room -= sum(len(item.data) for item in whole)
        if room < 0:
            break
        seen[stored.id] = whole
    return seen


def not_read(path: Sequence[StoredMessage], prompt: Message, build: Build) -> tuple[str, ...]:
    """What the user may count on and the job leaves out, in sentences.

    That is files of a picture's prompt, and of the conversation unanswered prompts, and pictures and sounds that the
    build does not take in; these are said once, with the first text that follows them.
    """
    if not is_text(build):
        source = newest_picture((), prompt)
        files = [safe_line(item.name) for item in prompt.attachments if item is not source]
        return (remarks.undrawn(files, and_picture=source is not None),) if files else ()
    read = max((n + 2 for n, pair in enumerate(pairwise(path)) if _is_exchange(*pair, build)), default=0)
    since = [stored.message for stored in path[read:]]
    asked = sum(message.role is Role.USER for message in since)
    drawn = sum(message.role is Role.ASSISTANT and bool(message.attachments) for message in since)
    last_read = path[max(0, read - 2) : read]
    seen = _seen(path, prompt, build)
    there = [item for message in (*(each.message for each in last_read), *since) for item in message.attachments]
    taken = [item for stored in last_read for item in seen.get(stored.id, ())]
    pictures, sounds = (
        sum(map(is_one, there)) - sum(map(is_one, taken)) for is_one in (media.is_picture, media.is_sound)
    )
    unanswered = max(0, asked - drawn)
    return (remarks.unread(pictures, sounds, unanswered),) if pictures or sounds or unanswered else ()


def with_files(message: Message) -> Message:
    """The message with its text files written out in front, so that a text engine can read them."""
    files = [item for item in message.attachments if not media.is_picture(item) and not media.is_sound(item)]
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


def _exchanges(path: Sequence[StoredMessage], build: Build) -> list[tuple[StoredMessage, StoredMessage]]:
    return [pair for pair in pairwise(path) if _is_exchange(*pair, build)]


def _is_exchange(asked: StoredMessage, answered: StoredMessage, build: Build) -> bool:
    """Whether the build can make something of the answer."""
    is_pair = asked.message.role is Role.USER and answered.message.role is Role.ASSISTANT
    shows = build.sees and any(item.data for item in media.pictures(answered.message))
    return is_pair and (bool(answered.message.text) or shows)


def _decoded(item: Attachment) -> str:
    try:
        return item.data.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise UsageError(f"{item.name} is not a text file", "attach text, a picture or a sound") from error


def _seed(wished: int | None) -> int:
    if wished is None:
        return secrets.randbelow(2**31)
    _in_range("--seed", wished, 0, 2**32 - 1)
    return wished


def _in_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError(f"{name} is between {low} and {high}, not {value}", "leave it out for the build's own value")
