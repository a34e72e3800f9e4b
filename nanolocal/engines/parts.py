"""What a model writes, taken apart while it comes: reasoning, answer, tool calls.

How a model marks them is known from the words of its own chat template, which shows it earlier answers in the same way;
the end of the prompt tells whether the template has already begun the reasoning.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Protocol, TypeAlias

from nanolocal.engines.calls import Call, Tools, calls_in
from nanolocal.engines.stopping import begun, first_of


class Part(StrEnum):
    """What a piece of text belongs to."""

    ANSWER = "answer"
    REASONING = "reasoning"


@dataclass(frozen=True, slots=True)
class Said:
    """The next piece of a part."""

    text: str
    part: Part = Part.ANSWER


Heard: TypeAlias = Said | Call

_THOUGHTS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel>thought", "<channel|>"),
    ("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),
)
"""What reasoning stands between. The first that a template names is its own."""

_WRAPPERS = (
    ("<response></response>", ("<response>", "</response>")),
    ("<|START_RESPONSE|>", ("<|START_RESPONSE|>", "<|END_RESPONSE|>")),
    ("<|START_TEXT|>", ("<|START_TEXT|>", "<|END_TEXT|>")),
    ("[END FINAL RESPONSE]", ("[END FINAL RESPONSE]",)),
)
"""Words around an answer that are no part of it, for templates that say the first."""

_CALLS = (
    ("<tool_call>", "</tool_call>"),
    ("<seed:tool_call>", "</seed:tool_call>"),
    ("<minimax:tool_call>", "</minimax:tool_call>"),
    ("<TOOLCALL>", "</TOOLCALL>"),
    ("<tool_calls>", "</tool_calls>"),
    ("<|tool_call_start|>", "<|tool_call_end|>"),
    ("<|tool_call>", "<tool_call|>"),
    ("<|tools_prefix|>", "<|tools_suffix|>"),
    ("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
    ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
    ("<|START_ACTION|>", "<|END_ACTION|>"),
    ("<function=", "</function>"),
    ("[TOOL_CALLS]", ""),
    ("<|tool_call|>", ""),
    ("<|python_tag|>", ""),
    ("<|function_call|>", ""),
    (" functools", ""),
)
"""What tool calls stand between; those without an end go on to the end of the answer."""

_INNER = (
    "[ARGS]", "[CALL_ID]", '<|"|>', "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>",
    "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>",
)  # fmt: skip
"""Control tokens inside tool calls."""

_HARMONY = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>")
_BARE = ('{"name": function name', '"name": <function-name>')
"""Words of templates whose tool calls are the whole answer, as JSON without a mark."""


class Splitter(Protocol):
    """Takes a text apart."""

    @property
    def markers(self) -> frozenset[str]:
        """Control tokens that have to come as their names, for they say where a part ends."""
        ...

    @property
    def is_answering(self) -> bool:
        """Whether what comes next belongs to the answer, as far as can be told."""
        ...

    def take(self, text: str) -> list[Heard]:
        """What may go out now that ``text`` has come."""
        ...

    def rest(self) -> list[Heard]:
        """What was held back, now that nothing follows."""
        ...


def splitter(template: str, prompt_end: str, tools: Tools) -> Splitter:
    """The splitter for a model with this chat template, whose prompt ended so."""
    if all(marker in template for marker in _HARMONY[:3]):
        return _Headed(_HARMONY, "<|message|>", ("<|start|>", "<|end|>", "<|call|>", "<|return|>"), _harmony, tools)
    if prompt_end.endswith(">>>") and ">>>all" in template:
        return _Headed((), "\n", (">>>",) if tools else (), partial(_functionary, tools), tools)
    return _Tagged(template, prompt_end, tools)


class _Tagged:
    """Reasoning, then the answer, with tool calls in it, each between two markers."""

    def __init__(self, template: str, prompt_end: str, tools: Tools) -> None:
        named = [pair for pair in _THOUGHTS if any(marker in template for marker in pair)]
        self._open, self._close = named[0] if named else ("", "")
        self._wrappers = tuple(word for sign, words in _WRAPPERS if sign in template for word in words)
        self._calls = {start: end for start, end in _CALLS if tools and start in template}
        self._is_bare = bool(tools) and self._calls.keys() <= {"<|python_tag|>"} and any(w in template for w in _BARE)
        self._tools = tools
        self._text = ""
        self._block = ""
        self._trims = False
        is_open = bool(self._open) and prompt_end.rstrip().endswith(self._open)
        closed = bool(self._close) and prompt_end.rstrip().endswith(self._close)
        self._state: Callable[[], list[Heard] | None] = self._think if is_open else self._begin
        if closed or not (self._open or self._is_bare):
            self._state = self._answer
        self._trims = is_open

    @property
    def markers(self) -> frozenset[str]:
        """As ``Splitter``."""
        calls = (*self._calls, *self._calls.values(), *_INNER) if self._calls else ()
        return frozenset((self._open, self._open.removesuffix("thought"), self._close, *self._wrappers, *calls)) - {""}

    @property
    def is_answering(self) -> bool:
        """As ``Splitter``."""
        return self._state != self._think

    def take(self, text: str) -> list[Heard]:
        """As ``Splitter``."""
        self._text += text
        heard: list[Heard] = []
        while (more := self._state()) is not None:
            heard += more
        return heard + self._flow()

    def rest(self) -> list[Heard]:
        """As ``Splitter``."""
        text, self._text = self._text, ""
        if self._state == self._call:
            return list(calls_in(self._block + text, self._tools)) or [Said(self._block + text)]
        if self._state == self._bare:
            return self._bare_calls(text)
        said, part = self._trimmed(text), Part.ANSWER
        if self._state == self._think:
            said, part = said.rstrip(), Part.REASONING
        return [Said(said, part)] if said else []

    # Each state does one step, or returns None where it has to wait for more text.

    def _begin(self) -> list[Heard] | None:
        """Nothing but white space has come."""
        text = self._text.lstrip()
        if self._open and text.startswith(self._open):
            self._text = text.removeprefix(self._open)
            self._state, self._trims = self._think, True
        elif self._is_bare and text.startswith("{"):
            self._state = self._bare
        elif text and not self._open.startswith(text):
            self._state = self._answer
        else:
            return None
        return []

    def _think(self) -> list[Heard] | None:
        place = self._text.find(self._close)
        if place < 0:
            return None
        said, self._text = self._trimmed(self._text[:place]).rstrip(), self._text[place + len(self._close) :]
        self._state, self._trims = self._answer, True
        return [Said(said, Part.REASONING)] if said else []

    def _answer(self) -> list[Heard] | None:
        place, marker = first_of(self._text, (*self._calls, *self._wrappers))
        if not marker:
            return None
        said, self._text = self._trimmed(self._text[:place]), self._text[place + len(marker) :]
        if marker in self._calls:
            said = said.rstrip()
            self._block, self._state = marker, self._call
        else:
            self._trims = True
        return [Said(said)] if said else []

    def _call(self) -> list[Heard] | None:
        end = self._calls[self._block]
        place = self._text.find(end) if end else -1
        if place < 0:
            return None
        whole = self._block + self._text[: place + len(end)]
        self._text = self._text[place + len(end) :]
        self._state, self._trims = self._answer, True
        return list(calls_in(whole, self._tools)) or [Said(whole)]

    def _bare(self) -> list[Heard] | None:
        return None

    def _bare_calls(self, text: str) -> list[Heard]:
        calls = calls_in(text, self._tools)
        return list(calls) if calls and all(call.name in self._tools.names for call in calls) else [Said(text)]

    def _flow(self) -> list[Heard]:
        """What can go out of a part that has not ended."""
        if self._state not in (self._think, self._answer):
            return []
        part = Part.REASONING if self._state == self._think else Part.ANSWER
        words = (self._close,) if part is Part.REASONING else (*self._calls, *self._wrappers)
        said = self._text[: len(self._text) - begun(self._text, words)]
        if part is Part.REASONING or self._calls:  # white space before a marker belongs to it
            said = said.rstrip()
        self._text = self._text[len(said) :]
        said = self._trimmed(said)
        return [Said(said, part)] if said else []

    def _trimmed(self, text: str) -> str:
        """``text`` without the white space at the beginning of a part."""
        if self._trims:
            text = text.lstrip()
            self._trims = not text
        return text


class _Headed:
    """Messages with a header each, which says whom they are for: gpt-oss (Harmony), Functionary 3.2.

    ``read`` tells from a header its part and the tool it is for, or ``None`` while it may go on, as it is no header.
    """

    def __init__(
        self,
        markers: Sequence[str],
        header_end: str,
        ends: Sequence[str],
        read: Callable[[str], tuple[Part, str] | None],
        tools: Tools,
    ) -> None:
        self.markers = frozenset((*markers, *ends) if markers else ())
        self._header_end = header_end
        self._ends = ends
        self._read = read
        self._tools = tools
        self._text = ""
        self._is_header = True
        self._part, self._tool = Part.REASONING, ""

    @property
    def is_answering(self) -> bool:
        """As ``Splitter``."""
        return not self._is_header and self._part is Part.ANSWER and not self._tool

    def take(self, text: str) -> list[Heard]:
        """As ``Splitter``."""
        self._text += text
        heard: list[Heard] = []
        while self._step(heard):
            pass
        return heard

    def rest(self) -> list[Heard]:
        """As ``Splitter``."""
        text, self._text = self._text, ""
        if not self._is_header:
            return self._whole(text)
        return [Said(text)] if text and "<|" not in text else []

    def _step(self, heard: list[Heard]) -> bool:
        """Take a header or a message off the text; false when it has to go on first."""
        if self._is_header:
            header, is_whole, text = self._text.partition(self._header_end)
            read = self._read(header)
            if read is None:  # no header: the model has begun to speak
                self._part, self._tool, self._is_header = Part.ANSWER, "", False
            elif is_whole:
                (self._part, self._tool), self._text, self._is_header = read, text, False
            return not self._is_header
        place, end = first_of(self._text, self._ends)
        if end:
            heard += self._whole(self._text[:place])
            self._text, self._is_header = self._text[place + len(end) :], True
            return True
        if not self._tool:
            place = len(self._text) - begun(self._text, self._ends)
            said, self._text = self._text[:place], self._text[place:]
            heard += [Said(said, self._part)] if said else []
        return False

    def _whole(self, text: str) -> list[Heard]:
        """The last of a message."""
        if not self._tool:
            return [Said(text, self._part)] if text else []
        call = f"<function={self._tool}>{text}</function>"
        return list(calls_in(call, self._tools)) or [Said(text)]


_HEADER_WORDS = ("<|", "to=", "assistant")


def _harmony(header: str) -> tuple[Part, str] | None:
    """``assistant to=functions.NAME<|channel|>commentary json``: the channel, and whom it is for."""
    text = header.lstrip()
    if not any(text.startswith(word) or word.startswith(text) for word in _HEADER_WORDS):
        return None
    tool = re.search(r"to=(?:functions\.)?([\w.\-]+)", header)
    channel = re.search(r"<\|channel\|>\s*(\w+)", header)
    return (Part.REASONING if channel and channel[1] == "analysis" else Part.ANSWER), tool[1] if tool else ""


def _functionary(tools: Tools, header: str) -> tuple[Part, str] | None:
    """``all``, or the name of a tool; while it is being written, the beginning of one."""
    names = ("all", *tools.names)
    if not any(name.startswith(header) for name in names):
        return None
    return Part.ANSWER, "" if header == "all" else header
