"""``nanolocal models fit``: what a model takes here and how fast it will be, before it is fetched or loaded."""

import argparse
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_bytes
from nanolocal.chat.routes import Build, Kind
from nanolocal.cli import output
from nanolocal.cli.common import Subparsers, is_quiet, paths_of, wants_json
from nanolocal.errors import NoBuildFits, UsageError
from nanolocal.paths import Paths

if TYPE_CHECKING:
    from nanolocal.library.fit.advice import Candidate, Verdict

_HEADER = ("BUILD", "SIZE", "MEMORY", "CONTEXT", "TOK/S", "VERDICT")
_KV = ("f16", "q8_0", "q4_0")
_MOST_TOKENS = 2**24


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = parts.add_parser("fit", parents=[common], help="what fits here, with how much context, and how fast")
    parser.add_argument("name", nargs="?", metavar="NAME", help="a stored build or model, a catalogue model, or a URL")
    parser.add_argument("--context", type=_tokens, metavar="N", help="at N tokens, not at the most that fit")
    parser.add_argument("--kv", choices=_KV, default="f16", help="how keys and values are kept (default f16)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Judge the builds; raises ``NoBuildFits`` at the end when none of them fits."""
    from nanolocal.device import bandwidth, machine
    from nanolocal.library.fit.advice import advise
    from nanolocal.settings import load as load_settings

    paths = paths_of(args)
    budget = machine.inspect().memory_budget(load_settings(paths.settings).memory_mb)
    speed = bandwidth.memory_bandwidth(paths.cache / "bandwidth.json")
    notes: list[str] = []
    candidates = _candidates(args, paths, budget, notes)
    groups = groupby(candidates, key=lambda candidate: candidate.label.partition(":")[0] if not args.name else "")
    verdicts = [verdict for _, group in groups for verdict in advise(list(group), budget, speed, args.context)]
    if wants_json(args):
        rows = [{**asdict(verdict), "tokens_per_s": round(verdict.tokens_per_s, 2)} for verdict in verdicts]
        output.as_json(
            {"memory_budget": budget, "bandwidth": int(speed), "kv": args.kv, "builds": rows, "notes": notes}
        )
    else:
        output.table([_row(verdict) for verdict in verdicts], _HEADER)
        if not is_quiet(args):
            output.note(f"{format_bytes(budget)} may be used, and memory is read at {speed / 1e9:.1f} GB a second")
            for note in [_sources(verdicts), *notes]:
                output.note(note)
    if not any(verdict.fits for verdict in verdicts):
        raise NoBuildFits(f"nothing fits into {format_bytes(budget)}", "try a smaller model, --context N or --kv q8_0")
    return 0


def _candidates(args: argparse.Namespace, paths: Paths, budget: int, notes: list[str]) -> "list[Candidate]":
    """Everything that ``NAME`` stands for; raises ``UsageError`` when that is nothing."""
    from nanolocal.library.fit.candidates import from_build

    if args.name and args.name.startswith(("http://", "https://")):
        return [_remote(args, paths, budget, notes)]
    builds = _stored(args, paths)
    if not args.name:
        return [from_build(build, args.kv) for build in builds]
    return _asked(args, paths, builds, budget, notes) if builds else _offers(args.name)


def _stored(args: argparse.Namespace, paths: Paths) -> list[Build]:
    """The stored text builds of that name, all of them without one."""
    from nanolocal.library import opening
    from nanolocal.settings import load as load_settings

    builds = opening.open_library(paths, load_settings(paths.settings)).builds()
    named = [build for build in builds if not args.name or build.answers_to(args.name)]
    return [build for build in named if build.kind is not Kind.EMBEDDING]


def _asked(
    args: argparse.Namespace, paths: Paths, builds: list[Build], budget: int, notes: list[str]
) -> "list[Candidate]":
    """Stored builds as llama.cpp itself accounts for them; where it does not, the reason is noted."""
    from nanolocal.library.fit.advice import largest_context
    from nanolocal.library.fit.candidates import from_build, probed_build

    candidates = []
    for build in builds:
        candidate = from_build(build, args.kv)
        n_ctx = args.context or largest_context(candidate, budget)
        if build.footprint is not None and build.kind is Kind.TEXT:
            candidate, problem = probed_build(candidate, build, n_ctx, args.kv, paths.cache / "probes.json")
            notes.extend([f"{problem}, so the memory of {build.id} is computed"] if problem else [])
        candidates.append(candidate)
    return candidates


def _offers(name: str) -> "list[Candidate]":
    """What the catalogue offers; raises ``UsageError`` for a model it does not know or knows no sizes of."""
    from nanolocal.library.catalogue import shelf
    from nanolocal.library.fit.candidates import from_offers

    model = shelf.load().get(name)
    if model is None:
        raise UsageError(f"nothing is called {name!r}", "nanolocal models list, or nanolocal models catalogue")
    offers = list(from_offers(model))
    if not offers:
        raise UsageError(f"the catalogue knows no sizes of {model.id}", "give the URL of a .gguf file")
    return offers


def _remote(args: argparse.Namespace, paths: Paths, budget: int, notes: list[str]) -> "Candidate":
    """The model behind a URL, of which only the header is fetched."""
    from nanolocal.library.fit.advice import largest_context
    from nanolocal.library.fit.candidates import from_layout, probed_header
    from nanolocal.library.fit.remote import read_remote
    from nanolocal.library.naming import QUANTIZATION
    from nanolocal.library.pull.ranges import open_remote

    name = args.name.partition("?")[0].rpartition("/")[2] or args.name
    with open_remote(args.name) as file:
        remote = read_remote(file.read_range, file.size, name)
    notes.append(f"fetched {format_bytes(remote.fetched)} of {format_bytes(file.size)}")
    quantization = QUANTIZATION.search(name)
    candidate = from_layout(name, quantization.group(1) if quantization else "", remote.layout, args.kv)
    n_ctx = args.context or largest_context(candidate, budget)
    candidate, problem = probed_header(candidate, remote, n_ctx, args.kv, paths.cache / "probes.json")
    notes.extend([f"{problem}, so the memory is computed"] if problem else [])
    return candidate


def _row(verdict: "Verdict") -> tuple[str, ...]:
    pace = f"{verdict.tokens_per_s:.1f}" if verdict.tokens_per_s else "-"
    says = verdict.says or ("fits" if verdict.fits else "does not fit")
    context = str(verdict.context) if verdict.context else "-"
    return (verdict.label, format_bytes(verdict.size_bytes), format_bytes(verdict.needed), context, pace, says)


def _sources(verdicts: "list[Verdict]") -> str:
    named = ", ".join(dict.fromkeys(str(verdict.source) for verdict in verdicts))
    return f"memory is {named or 'unknown'}; speed is the most that this memory allows"


def _tokens(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_TOKENS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of tokens from 1 to {_MOST_TOKENS:,}")
    return int(text)
