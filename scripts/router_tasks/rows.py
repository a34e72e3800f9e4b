"""One labelled prompt, and the labels it may have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nanolocal.routing.labels import LABELS

PROMPTS = Path(__file__).parent / "prompts"
HEADING = re.compile(r"# (?P<label>[a-z_]+(?:/[a-z_]+)?) (?P<language>[a-z]{2})$")


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt, the fine labels that are right for it, and the name of the source it comes from."""

    text: str
    labels: tuple[str, ...]
    source: str
    language: str = "en"

    def __post_init__(self) -> None:
        unknown = [label for label in self.labels if label not in LABELS]
        if unknown or not self.labels:
            raise ValueError(f"{self.source}: no such label {unknown} for {self.text[:60]!r}")


def seeds_in(path: Path) -> Iterator[Row]:
    r"""Read a file of seeds: headings ``# label language``, then a prompt a line with ``\n`` for a new line."""
    label = language = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        heading = HEADING.match(line)
        if heading:
            label, language = heading["label"], heading["language"]
        elif line.strip():
            yield Row(unescaped(line), (label,), path.stem, language)


def unescaped(line: str) -> str:
    r"""Turn ``\n`` and ``\t`` into what they stand for, and a doubled backslash into one."""
    return re.sub(r"\\([nt\\])", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), line)


def lines_of(name: str) -> list[str]:
    """The lines of a file beside the seeds, without comments."""
    lines = (PROMPTS / name).read_text(encoding="utf-8").splitlines()
    return [unescaped(line) for line in lines if not line.startswith("#")]


def labels_by_row(path: Path) -> dict[int, tuple[str, ...]]:
    """Read labels given by hand: the row's number, then its labels parted by ``|``."""
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return {int(number): tuple(labels.split("|")) for number, labels in lines}
