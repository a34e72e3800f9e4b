"""How what the program knows for certain reaches an answer: as a note to the model, or instead of a tiny one."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nanolocal.chat.messages import Message, Role, Source, ToolCall, Wishes
from nanolocal.chat.ports import Helpers, TextJob
from nanolocal.chat.routes import Kind, Route
from nanolocal.errors import Damaged

MOST_ROUNDS = 3
"""So often a model goes on with what its tool calls gave, at the most."""


@dataclass(frozen=True, slots=True)
class Help:
    """What was found for a prompt; ``problem`` says why nothing could be looked up."""

    source: Source | None = None
    problem: str = ""


NO_HELP = Help()


def found(helpers: Helpers | None, prompt: Message, wishes: Wishes, earlier: Sequence[str]) -> Help:
    """What answers the whole prompt for certain, where help is wished at all; ``earlier`` are the messages before."""
    if helpers is None or not wishes.helpers or wishes.picture or prompt.attachments:
        return NO_HELP
    try:
        return Help(helpers.answer(prompt.text, "\n".join(earlier)))
    except Damaged as damaged:
        return Help(problem=f"Nothing was looked up: {damaged.message}.")


def decided(route: Route, help_: Help, wishes: Wishes) -> tuple[Route, Source | None]:
    """The route with how the source is used among its reasons, and the source with its note to the model.

    A tiny build would only get it wrong: there the source is the answer, and the build does not run, unless the answer
    is to have a form that only a model can give it.
    """
    source = help_.source
    if source is None or route.build.kind is not Kind.TEXT:
        return route, None
    has_form = wishes.schema or wishes.grammar or wishes.tools or wishes.own_tools or wishes.logprobs is not None
    if route.build.tiny and not has_form:
        reason = f"{_how(source)}, so the tiny model is not asked"
        return replace(route, reasons=(*route.reasons, reason), is_told=True), source
    reason = f"{_how(source)}, and the model is told"
    return replace(route, reasons=(*route.reasons, reason)), replace(source, note=_note(source))


def with_notes(message: Message, sources: Sequence[Source]) -> Message:
    """A prompt with what the model is told of it."""
    notes = [source.note for source in sources if source.note]
    return replace(message, text="\n\n".join((message.text, *notes))) if notes else message


def shown(source: Source) -> str:
    """The line that every face shows below an answer: all of it where the model was told, else where it is from."""
    return f"Source: {source.told if source.note else source.credit}"


def continued(job: TextJob, said: str, calls: Sequence[ToolCall], results: Sequence[Source]) -> TextJob:
    """The job that goes on after tool calls: what the model said and called, and what that gave."""
    called = "\n".join(json.dumps({"name": call.name, "arguments": call.arguments}) for call in calls)
    told = "\n".join(result.note for result in results)
    more = (Message(Role.ASSISTANT, f"{said}\n{called}".strip()), Message(Role.USER, told))
    return replace(job, messages=(*job.messages, *more))


def results_of(helpers: Helpers, calls: Sequence[ToolCall]) -> list[Source]:
    """What each call gives, in order; a sentence on what is wrong where a call gives nothing."""
    results = []
    for call in calls:
        given = helpers.call(call.name, call.arguments) or Source(call.name, f"There is no tool {call.name}.")
        results.append(replace(given, note=f"[Result of {call.name}: {given.text}]"))
    return results


def sources_json(sources: Sequence[Source]) -> str | None:
    """Sources as they are stored; ``None`` for none."""
    return json.dumps([as_record(source) for source in sources], ensure_ascii=False) if sources else None


def read_sources(stored: str | None) -> tuple[Source, ...]:
    """Sources that were stored; none from what does not add up."""
    try:
        records = json.loads(stored) if stored else []
    except ValueError:
        records = []
    return from_records(records)


def from_records(records: object) -> tuple[Source, ...]:
    """Sources from JSON values: only those that are whole."""
    found_ = []
    for record in records if isinstance(records, list) else []:
        values = [record.get(name, "") for name in _FIELDS] if isinstance(record, dict) else []
        if values and all(isinstance(value, str) for value in values) and values[0] and values[1]:
            found_.append(Source(*values))
    return tuple(found_)


_FIELDS = ("title", "text", "licence", "origin", "note")


def as_record(source: Source) -> dict[str, str]:
    """A source as JSON: ``note`` is what was added to the prompt, ``""`` where the source is the answer itself."""
    return {name: getattr(source, name) for name in _FIELDS}


def _how(source: Source) -> str:
    return f"{source.title} was looked up" if source.licence else "nanolocal itself worked it out"


def _note(source: Source) -> str:
    known = "from a reference" if source.licence else "worked out exactly"
    text = source.text if source.text.endswith((".", "!", "?")) else f"{source.text}."
    return f"[Known for certain, {known}: {text} Use this for the answer.]"
