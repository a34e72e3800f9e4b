"""``nanolocal route --batch``: JSON lines in, one JSON line out for each, at once."""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat.jobs import request_for
from nanolocal.chat.messages import Message, Role, Wishes
from nanolocal.chat.ports import RouteRequest
from nanolocal.chat.routes import Route
from nanolocal.cli import output
from nanolocal.cli.ask import read_attachment
from nanolocal.errors import NanolocalError, NoBuildFits, UsageError

if TYPE_CHECKING:
    from nanolocal.routing.tables import Row
    from nanolocal.routing.tasks import Guess

_MAX_LINE = 16 * 2**20

Pick = Callable[[RouteRequest], Route]


def run(args: argparse.Namespace, pick: Pick) -> int:
    """Answer every line of standard input; the first one that cannot be answered decides the exit code.

    Such a line gets an ``error``, and where no build fits its task all the same and no ``pick``.
    """
    from nanolocal.routing.tasks import guess_task

    code = 0
    for line in _lines():
        item: Mapping[str, object] = {}
        try:
            item = _object(line)
            answer = _from_table(item) if "candidates" in item else _from_library(item, args, pick)
        except NoBuildFits as problem:
            code = code or problem.exit_code
            answer = {**_task_of(guess_task(_text(item, "text"))), "pick": None, "why": [], "error": problem.message}
        except NanolocalError as problem:
            code = code or problem.exit_code
            answer = {"error": problem.message, "hint": problem.hint}
        output.as_json({"id": item.get("id"), **answer})
    return code


def _task_of(seen: "Guess | Route") -> dict[str, object]:
    return {"task": seen.task, "subtask": seen.subtask, "confidence": round(seen.confidence, 4)}


def _from_table(item: Mapping[str, object]) -> dict[str, object]:
    from nanolocal.routing.tables import choose
    from nanolocal.routing.tasks import guess_task

    rows = list(_rows(item["candidates"]))
    if not rows or len({row.id for row in rows}) < len(rows):
        raise UsageError("candidates is an empty list, or two have one id", "give each candidate an id of its own")
    guess = guess_task(_text(item, "prompt"))
    choice = choose(guess, rows)
    return {"pick": choice.id, **_task_of(guess), "why": list(choice.why)}


def _rows(listed: object) -> "Iterator[Row]":
    from nanolocal.routing.tables import Row

    if not isinstance(listed, list):
        raise UsageError("candidates is no list", 'write "candidates": [{"id": ..., "quality": {...}}]')
    for entry in listed:
        quality = entry.get("quality") if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str) or not isinstance(quality, dict):
            raise UsageError("a candidate has no id or no quality", 'write {"id": "a", "quality": {"*": 0.5}}')
        yield Row(
            entry["id"], _number(entry.get("params_b", 0)), {key: _number(value) for key, value in quality.items()}
        )


def _from_library(item: Mapping[str, object], args: argparse.Namespace, pick: Pick) -> dict[str, object]:
    named = item.get("attachments", [])
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise UsageError("attachments is no list of file names", 'write "attachments": ["a.png"]')
    files = tuple(read_attachment(Path(name)) for name in named)
    message = Message(Role.USER, _text(item, "text"), files)
    route = pick(request_for(message, Wishes(model=args.model, prefer=args.prefer)))
    return {**_task_of(route), "pick": route.build.id, "why": list(route.reasons)}


def _lines() -> Iterator[bytes]:
    while line := sys.stdin.buffer.readline(_MAX_LINE):
        if line.strip():
            yield line


def _object(line: bytes) -> Mapping[str, object]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError("this line is not JSON", 'write one object a line: {"id": "1", "text": "..."}') from error
    if not isinstance(value, dict):
        raise UsageError("this line is no object", 'write {"id": "1", "text": "..."}')
    return value


def _text(item: Mapping[str, object], key: str) -> str:
    value = item.get(key)
    if not isinstance(value, str):
        raise UsageError(f"{key} is missing or no text", f'write "{key}": "..."')
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError("a size or a quality is no number", 'write "quality": {"code": 0.7}')
    return float(value)
