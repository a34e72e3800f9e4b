"""``nanolocal models catalogue``: the models that exist, whether they are stored here or not."""

import argparse
import re
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_bytes
from nanolocal.cli import output
from nanolocal.cli.common import Subparsers, wants_json

if TYPE_CHECKING:
    from nanolocal.chat.routes import Build
    from nanolocal.library.catalogue.entries import Model

_KINDS = ("text", "code", "reasoning", "vision", "audio", "embedding", "image")
_SHORT = {"reasoning": "reason", "embedding": "embed"}
_HEADER = ("MODEL", "SIZE", "FOR", "CTX", "LICENCE")
_COLUMNS, _GAPS = 80, 8
_SAYS_LITTLE = re.compile(r" (?:Community|Model|Open|License|Licence|Agreement|Terms of Use|AI)\b")


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = parts.add_parser("catalogue", parents=[common], help="models that exist, stored here or not")
    parser.add_argument("words", nargs="*", metavar="WORD", help="only models in which every word occurs")
    parser.add_argument("--kind", choices=_KINDS, metavar="KIND", help=f"only models for that: {', '.join(_KINDS)}")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List the models that the words and the kind leave."""
    from nanolocal.library.catalogue import shelf
    from nanolocal.library.catalogue.entries import Purpose

    found = shelf.load().search(args.words, Purpose(args.kind) if args.kind else None)
    if wants_json(args):
        output.as_json({"models": [as_json(model) for model in found]})
        return 0
    if not found:
        output.note("the catalogue has no such model")
        return 0
    rows = [(model.id, model.size_class or "-", _for(model), _context(model.context), model.licence) for model in found]
    taken = sum(max(len(row[n]) for row in (*rows, _HEADER)) for n in range(len(_HEADER) - 1)) + _GAPS
    output.table([(*row[:-1], _cut(row[-1], _COLUMNS - taken)) for row in rows], _HEADER)
    return 0


def show(name: str, as_object: bool) -> bool:
    """Show what the catalogue knows about ``name``; false when it knows no such model."""
    from nanolocal.library.catalogue import shelf

    model = shelf.load().get(name)
    if model is None:
        return False
    if as_object:
        output.as_json(as_json(model) | {"stored": False})
        return True
    for key, value in _facts(model):
        output.line(f"{key:15} {value}")
    output.note(f"{model.id} is not stored here: these are the catalogue's facts")
    return True


def as_json(model: "Model") -> dict[str, object]:
    """A model's facts; what is not known is left out."""
    return {key: value for key, value in asdict(model).items() if value not in (None, ())} | {
        "url": f"https://huggingface.co/{model.origin}",
        "builds": [_known(asdict(build)) for build in model.builds],
        "scores": [_known(asdict(score)) for score in model.scores],
    }


def facts_of(build: "Build") -> dict[str, object]:
    """What the catalogue adds to the facts of a stored build; nothing where it does not know it."""
    from nanolocal.library.catalogue import shelf, stored

    model = stored.model_of(build, shelf.load())
    limit = stored.limit_of(build.licence) if build.licence else ""
    facts: dict[str, object] = {"licence_limit": limit} if limit else {}
    if model is None:
        return facts
    scores = [f"{score.name} {score.score:g} ({score.date})" for score in model.scores]
    known = {"model": model.id, "maker": model.maker, "licence_url": model.licence_url, "published_scores": scores}
    return facts | known


def _facts(model: "Model") -> Iterator[tuple[str, str]]:
    named = {
        "model": model.id,
        "name": model.name,
        "maker": model.maker,
        "from": f"https://huggingface.co/{model.origin}",
        "released": model.released,
        "for": ", ".join(model.purposes),
        "takes": ", ".join(model.inputs),
        "makes": ", ".join(model.outputs),
        "parameters": f"{model.parameters:,}" if model.parameters else None,
        "active": f"{model.active:,}" if model.active else None,
        "context_length": f"{model.context:,}" if model.context else None,
        "architecture": model.architecture,
        "template": model.template,
        "licence": f"{model.licence}, {model.licence_url}",
        "notes": model.notes,
        "ollama": ", ".join(model.ollama) or None,
    }
    yield from ((key, value) for key, value in named.items() if value)
    for build in model.builds:
        size = format_bytes(build.size_bytes) if build.size_bytes else None
        yield "build", "  ".join(part for part in (build.repo, build.file, size) if part)
        if build.mmproj:
            yield "", f"to see: {build.mmproj}"
    for (date, source), scores in groupby(model.scores, key=lambda score: (score.date, score.source)):
        yield "scores", ", ".join(f"{s.name} {s.score:g}{f' ({s.scale})' if s.scale else ''}" for s in scores)
        yield "", f"{date}, {source}"


def _known(facts: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in facts.items() if value is not None}


def _for(model: "Model") -> str:
    """What it is for, two things at most; that a language model writes goes without saying beside more."""
    return " ".join([_SHORT.get(purpose, purpose) for purpose in model.purposes if purpose != "text"][-2:]) or "text"


def _context(tokens: int | None) -> str:
    if not tokens:
        return "-"
    unit = 1000 if tokens % 1000 == 0 else 1024
    thousands = tokens // unit
    return f"{thousands // unit}M" if thousands >= unit else f"{thousands}k" if thousands else str(tokens)


def _cut(text: str, width: int) -> str:
    """A licence in ``width`` columns, first without the words that most licences have in their names."""
    shorter = text if len(text) <= width else _SAYS_LITTLE.sub("", text)
    return shorter if len(shorter) <= width else f"{shorter[: max(1, width - 1)].rstrip()}…"
