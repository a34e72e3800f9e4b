"""``nanolocal models fit``: what a model takes here and how fast it will be, before it is fetched or loaded."""

import argparse
from contextlib import ExitStack
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
    from nanolocal.library.fit.candidates import Terms

_HEADER = ("BUILD", "SIZE", "MEMORY", "CONTEXT", "TOK/S", "VERDICT")
_KV = ("f16", "q8_0", "q4_0")
_MOST_TOKENS, _MOST_LAYERS = 2**24, 513


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = parts.add_parser("fit", parents=[common], help="what fits here, with how much context, and how fast")
    parser.add_argument("name", nargs="?", metavar="NAME", help="a stored build or model, a catalogue model, or a URL")
    parser.add_argument("--context", type=_tokens, metavar="N", help="at N tokens, not at the most that fit")
    parser.add_argument("--kv", choices=_KV, default="f16", help="as if keys and values were kept so (default f16)")
    parser.add_argument(
        "--gpu-layers", type=_layers, default=0, metavar="N", help="as if the last N layers were on a GPU (NAME only)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Judge the builds; raises ``NoBuildFits`` at the end when none of them fits."""
    from nanolocal.device import bandwidth, machine
    from nanolocal.library.fit.advice import advise
    from nanolocal.settings import load as load_settings

    paths = paths_of(args)
    budget = machine.inspect().memory_budget(load_settings(paths.settings).memory_mb)
    speed = bandwidth.memory_bandwidth(paths.bandwidth)
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
            moved = [f"{v.label}: {format_bytes(v.on_device)} more on the GPU" for v in verdicts if v.on_device]
            for note in [_sources(verdicts), *moved, *notes]:
                output.note(note)
    if not any(verdict.fits for verdict in verdicts):
        raise NoBuildFits(f"nothing fits as asked into {format_bytes(budget)}", "try a smaller model or --context N")
    return 0


def _candidates(args: argparse.Namespace, paths: Paths, budget: int, notes: list[str]) -> "list[Candidate]":
    """Everything that ``NAME`` stands for; raises ``UsageError`` when that is nothing, or nothing is stored."""
    from nanolocal.library.fit.candidates import from_build

    if args.name and args.name.startswith(("http://", "https://")):
        return [_remote(args, paths, budget, notes)]
    builds = _stored(args, paths)
    if not args.name and not builds:
        raise UsageError("no build is stored here", "nanolocal models scan, or nanolocal models fit MODEL")
    if not args.name:
        return [from_build(build, args.kv) for build in builds]
    return _asked(args, paths, builds, budget, notes) if builds else _offers(args.name)


def _stored(args: argparse.Namespace, paths: Paths) -> list[Build]:
    """The stored builds of that name that run here, all without a name; raises ``UsageError`` if none of it does."""
    from nanolocal.library import opening
    from nanolocal.settings import load as load_settings

    builds = opening.open_library(paths, load_settings(paths.settings)).builds()
    named = [build for build in builds if not args.name or build.answers_to(args.name)]
    runnable = [build for build in named if build.kind is not Kind.EMBEDDING and not build.needs]
    if args.name and named and not runnable:
        raise UsageError(f"{named[0].id} {_lacks(named[0])}", "nanolocal models fit shows what runs here")
    return runnable


def _lacks(build: Build) -> str:
    return f"needs {build.needs}" if build.needs else "makes embeddings, which nothing here uses"


def _asked(
    args: argparse.Namespace, paths: Paths, builds: list[Build], budget: int, notes: list[str]
) -> "list[Candidate]":
    """Stored builds as llama.cpp itself accounts for them; where it does not, the reason is noted."""
    from nanolocal.library.fit.candidates import from_build, probed_build

    candidates = []
    for build in builds:
        candidate = from_build(build, args.kv)
        if build.footprint is not None and build.kind is Kind.TEXT:
            candidate, problem = probed_build(candidate, build, _terms(args, paths, candidate, budget))
            notes.extend([f"{problem}, so the memory of {build.id} is computed"] if problem else [])
        candidates.append(candidate)
    return candidates


def _terms(args: argparse.Namespace, paths: Paths, candidate: "Candidate", budget: int) -> "Terms":
    from nanolocal.library.fit.advice import largest_context
    from nanolocal.library.fit.candidates import Terms

    n_ctx = args.context or largest_context(candidate, budget)
    return Terms(n_ctx, args.kv, args.gpu_layers, paths.cache / "probes.json")


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
    from nanolocal.library.fit.candidates import from_layout, probed_headers
    from nanolocal.library.fit.remote import part_urls, read_remote
    from nanolocal.library.naming import QUANTIZATION
    from nanolocal.library.pull.ranges import open_remote

    urls = part_urls(args.name)
    name = next(iter(urls))
    with ExitStack() as stack:
        files = {part: stack.enter_context(open_remote(url)) for part, url in urls.items()}
        remote = read_remote((part, file.size, file.read_range) for part, file in files.items())
    notes.append(f"fetched {format_bytes(remote.fetched)} of {format_bytes(remote.layout.size_bytes)}")
    quantization = QUANTIZATION.search(name)
    candidate = from_layout(name, quantization.group(1) if quantization else "", remote.layout, args.kv)
    candidate, problem = probed_headers(candidate, remote, _terms(args, paths, candidate, budget))
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


def _layers(text: str) -> int:
    if not text.isdecimal() or int(text) > _MOST_LAYERS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of layers from 0 to {_MOST_LAYERS}")
    return int(text)


def _tokens(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_TOKENS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of tokens from 1 to {_MOST_TOKENS:,}")
    return int(text)
