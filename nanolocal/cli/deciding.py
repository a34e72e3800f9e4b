"""A decision as lines."""

from collections.abc import Mapping

from nanolocal.chat.decisions import Reckon, explained
from nanolocal.cli import output


def show(record: Mapping[str, object], reckon: Reckon, verb: str = "answered") -> None:
    """Every line of the explanation, below its headings."""
    for number, section in enumerate(explained(record, reckon, verb)):
        output.line(f"\n{section.title}" if number else section.title)
        for line in section.lines:
            indent = "    " if line.is_detail else "  "
            output.line(indent + "  ".join(part for part in (line.name, line.figure, line.text) if part))
