"""The exams that ship, one file a task: what is asked, how an answer is checked, and one right and some wrong ones."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from nanolocal.errors import Damaged
from nanolocal.routing.exams.marking import CHECKS

_OWN = {"ask", "right", "wrong"}


@dataclass(frozen=True, slots=True)
class Item:
    """A question, the checks that an answer has to pass, an answer that does and some that do not."""

    ask: str
    checks: Mapping[str, Any]
    right: str
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exam:
    """The items of one task; answers have at most ``max_tokens`` tokens."""

    task: str
    max_tokens: int
    items: tuple[Item, ...]


def load() -> list[Exam]:
    """All exams, by task; raises ``Damaged`` naming the file at fault."""
    folder = resources.files("nanolocal.routing.exams")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)
    return [read(file.name, file.read_text("utf-8")) for file in files]


def read(name: str, text: str) -> Exam:
    """The exam in a file; checks beside its items hold for each of them. Raises ``Damaged``."""
    try:
        found = tomllib.loads(text)
        how = found.pop("how")
        task, max_tokens, items = found.pop("task"), found.pop("max_tokens"), found.pop("items")
        return Exam(task, max_tokens, tuple(_item(entry, how, found) for entry in items))
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"the exam {name} is not whole: {error}", "install nanolocal again") from error


def _item(entry: Mapping[str, Any], how: str, common: Mapping[str, Any]) -> Item:
    checks = dict(common) | {key: wanted for key, wanted in entry.items() if key not in _OWN}
    if "none" in common and "none" in entry:
        checks["none"] = [*common["none"], *entry["none"]]
    unknown = set(checks) - set(CHECKS)
    if unknown:
        raise KeyError(f"no check is called {min(unknown)}")
    return Item(f"{entry['ask']}\n{how}".strip(), checks, entry["right"], tuple(entry["wrong"]))
