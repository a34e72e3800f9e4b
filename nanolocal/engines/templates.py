"""Chat templates: a build's own Jinja template, rendered in a sandbox, and cut where message texts stand.

A template's own words may name control tokens (``<|im_start|>``), a message's text may not. So each text is a
placeholder while the template runs, and the result is a list of pieces that know where they came from.
"""

from __future__ import annotations

import json
import re
import secrets
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import FrameType
from typing import TYPE_CHECKING

from nanolocal.chat.messages import Message, Role

if TYPE_CHECKING:
    from jinja2 import Environment
    from jinja2.nodes import Node
    from jinja2.parser import Parser

MAX_TEMPLATE_BYTES = 64 * 2**10
MAX_SECONDS = 2.0
_MAX_REPEATED = 2**16

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{{ '<|im_start|>assistant\n' }}"
)


class TemplateFailed(Exception):
    """The template is hostile, broken, or does not accept these messages."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a prompt: the template's own words (``message`` is ``None``), or the text of that message.

    Where a ``file`` stands, a picture or a sound, there is no text.
    """

    text: str
    message: int | None
    file: bytes | None = None


class Template:
    """A compiled chat template; ``None`` as its source means ChatML. Raises ``TemplateFailed`` for a bad source."""

    def __init__(self, source: str | None, words: Mapping[str, str]) -> None:
        from jinja2 import TemplateError

        self._words: dict[str, object] = {"tools": None, "documents": None, **words}
        self.source = CHATML if source is None else source
        if len(self.source.encode("utf-8", "replace")) > MAX_TEMPLATE_BYTES:
            raise TemplateFailed(f"its chat template is longer than {MAX_TEMPLATE_BYTES // 1024} KiB")
        try:
            self._template = _environment().from_string(self.source)
        except (TemplateError, RecursionError) as error:
            raise TemplateFailed(f"its chat template is broken: {error}") from error

    def render(self, messages: Sequence[Message], tools: Sequence[object] = ()) -> list[Piece]:
        """The prompt for ``messages``, ready for the answer, with ``tools`` on offer; raises ``TemplateFailed``."""
        marks = [f"\ue000{secrets.token_hex(6)}.{index}\ue001" for index in range(len(messages))]
        words = self._words | ({"tools": list(tools)} if tools else {})
        talk = [{"role": str(m.role), "content": mark} for m, mark in zip(messages, marks, strict=True)]
        try:
            with _time_limit():
                prompt = self._template.render(messages=talk, add_generation_prompt=True, **words)
        except Exception as error:  # a template is foreign code: it can raise anything
            raise TemplateFailed(f"its chat template failed: {error or type(error).__name__}") from error
        pieces = _cut(prompt, marks, [self._contents(index, message) for index, message in enumerate(messages)])
        lost = set(range(len(messages))) - {piece.message for piece in pieces}
        if lost:
            raise TemplateFailed(f"its chat template leaves out the {messages[min(lost)].role} message")
        return pieces

    def _contents(self, index: int, message: Message) -> list[Piece]:
        """A message's files, then its text."""
        files = [Piece("", index, item.data) for item in message.attachments]
        return [*files, Piece(self._content(message), index)]

    def _content(self, message: Message) -> str:
        """A message's text; earlier reasoning goes where the template would cut it, had it seen the text."""
        if message.role is Role.ASSISTANT and "</think>" in self.source:
            return message.text.rpartition("</think>")[2].lstrip("\n")
        return message.text


def tidy(messages: Sequence[Message]) -> list[Message]:
    """Join neighbours of one role, as most templates insist that roles alternate; their files come first."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role is message.role:
            before = joined.pop()
            files = before.attachments + message.attachments
            message = Message(message.role, f"{before.text}\n\n{message.text}", files)
        joined.append(message)
    return joined


def without_system(messages: Sequence[Message]) -> list[Message]:
    """The system prompt as the beginning of the first user message, for templates that know no system role."""
    system = [message.text for message in messages if message.role is Role.SYSTEM]
    rest = [message for message in messages if message.role is not Role.SYSTEM]
    return tidy([Message(Role.USER, "\n\n".join(system)), *rest]) if system else rest


def _cut(prompt: str, marks: Sequence[str], contents: Sequence[list[Piece]]) -> list[Piece]:
    indexes = {mark: index for index, mark in enumerate(marks)}
    pieces: list[Piece] = []
    for part in re.split(f"({'|'.join(map(re.escape, marks))})", prompt):
        index = indexes.get(part)
        if part:
            pieces += [Piece(part, None)] if index is None else contents[index]
    return pieces


def _environment() -> Environment:
    """The environment that models' templates expect (that of transformers), and no costly arithmetic."""
    from jinja2 import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"*", "**"})

        def call_binop(self, context: object, operator: str, left: object, right: object) -> object:
            if operator == "**":
                raise TemplateError("it computes powers")
            if _repeated_length(left, right) > _MAX_REPEATED:
                raise TemplateError("it repeats a text too often")
            return left * right  # type: ignore[operator]

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Parser) -> list[Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation])
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda layout: datetime.now().astimezone().strftime(layout)
    return environment


def _refuse(message: str) -> None:
    from jinja2 import TemplateError

    raise TemplateError(message)


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    if isinstance(value, Iterator):  # what the filters map and select give
        value = list(value)
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _repeated_length(left: object, right: object) -> int:
    lengths = [len(value) for value in (left, right) if isinstance(value, str | list | tuple)]
    counts = [value for value in (left, right) if isinstance(value, int)]
    return lengths[0] * counts[0] if lengths and counts else 0


@contextmanager
def _time_limit() -> Iterator[None]:
    """Raise ``TimeoutError`` in the main thread after ``MAX_SECONDS`` CPU seconds, where the system can."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def give_up(_: int, __: FrameType | None) -> None:
        raise TimeoutError(f"it takes longer than {MAX_SECONDS:.0f} seconds")

    before = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, MAX_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
