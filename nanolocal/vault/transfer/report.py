"""What an import took and what it did not, so that nothing is dropped in silence."""

from collections import Counter
from dataclasses import dataclass, field

from nanolocal.errors import NanolocalError


class Notes(Counter[tuple[str, str]]):
    """How often something was left out or mended, by what it is (in the singular) and what became of it."""

    def add(self, what: str, fate: str) -> None:
        """Count one more."""
        self[(what, fate)] += 1

    def lines(self) -> list[str]:
        """One line each, such as ``12 tool calls left out: nanolocal has none``."""
        return [
            f"{count:,} {what if count == 1 else what + 's'} {fate}" for (what, fate), count in sorted(self.items())
        ]


TOOL_CALL = ("tool call", "left out: nanolocal has none")
TOOL_RESULT = ("tool result", "left out: nanolocal has no tools")
THOUGHT = ("thought", "left out: reasoning is no part of an answer")
HIDDEN = ("hidden message", "left out: its program does not show it either")
NO_PICTURE = ("picture", "left out: not in the export")
NO_FILE = ("file", "left out: not in the export")
RECORDING = ("recording", "left out: nanolocal has no sound")
EMPTY = ("empty conversation", "left out: it holds no message")
NO_CHAT = ("part", "left out: no conversation")


@dataclass(slots=True)
class Report:
    """What became of one file or folder. ``problems`` are the parts of it that could not be read."""

    path: str
    formats: list[str] = field(default_factory=list)
    taken: int = 0
    already_here: int = 0
    messages: int = 0
    attachments: int = 0
    notes: Notes = field(default_factory=Notes)
    problems: list[NanolocalError] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """The report as one JSON object."""
        notes = [{"what": what, "count": count, "fate": fate} for (what, fate), count in sorted(self.notes.items())]
        return {
            "path": self.path,
            "formats": self.formats,
            "taken": self.taken,
            "already_here": self.already_here,
            "messages": self.messages,
            "attachments": self.attachments,
            "notes": notes,
            "problems": [problem.message for problem in self.problems],
        }
