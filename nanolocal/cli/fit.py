"""``nanolocal models fit``: what a model takes here and how fast it will be, before it is fetched or loaded."""

import argparse
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_bytes
from nanolocal.cli import insecure, output
from nanolocal.cli.common import Subparsers, is_quiet, paths_of, wants_json
from nanolocal.errors import NoBuildFits

if TYPE_CHECKING:
    from nanolocal.library.fit.advice import Verdict

_HEADER = ("BUILD", "SIZE", "MEMORY", "CONTEXT", "TOK/S", "VERDICT")
_KV = ("f16", "q8_0", "q4_0")
_MOST_TOKENS, _MOST_LAYERS = 2**24, 513


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = parts.add_parser("fit", parents=[common], help="what fits here, with how much context, and how fast")
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="a stored build, a model of the catalogue, OWNER/REPOSITORY[:QUANT], or a URL",
    )
    parser.add_argument("--context", type=_tokens, metavar="N", help="at N tokens, not at the most that fit")
    parser.add_argument("--kv", choices=_KV, default="f16", help="as if keys and values were kept so (default f16)")
    parser.add_argument(
        "--gpu-layers", type=_layers, default=0, metavar="N", help="as if the last N layers were on a GPU (NAME only)"
    )
    insecure.add(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Judge the builds; raises ``NoBuildFits`` at the end when none of them fits."""
    from nanolocal.cli.weighing import Question, candidates
    from nanolocal.device import bandwidth, machine
    from nanolocal.library.fit.advice import advise
    from nanolocal.settings import load as load_settings

    paths = paths_of(args)
    settings = load_settings(paths.settings)
    budget = machine.inspect().memory_budget(settings.memory_mb)
    speed = bandwidth.memory_bandwidth(paths.bandwidth)
    asked = Question(args, paths, settings, budget)
    groups = groupby(
        candidates(asked), key=lambda candidate: candidate.label.partition(":")[0] if not args.name else ""
    )
    verdicts = [verdict for _, group in groups for verdict in advise(list(group), budget, speed, args.context)]
    if wants_json(args):
        rows = [{**asdict(verdict), "tokens_per_s": round(verdict.tokens_per_s, 2)} for verdict in verdicts]
        facts = {"memory_budget": budget, "bandwidth": int(speed), "kv": args.kv}
        output.as_json(facts | asked.told | {"builds": rows, "notes": asked.notes})
    else:
        output.table([_row(verdict) for verdict in verdicts], _HEADER)
        if not is_quiet(args):
            output.note(f"{format_bytes(budget)} may be used, and memory is read at {speed / 1e9:.1f} GB a second")
            moved = [f"{v.label}: {format_bytes(v.on_device)} more on the GPU" for v in verdicts if v.on_device]
            for note in [_sources(verdicts), *moved, *asked.notes]:
                output.note(note)
    if not any(verdict.fits for verdict in verdicts):
        raise NoBuildFits(f"nothing fits as asked into {format_bytes(budget)}", "try a smaller model or --context N")
    return 0


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
