"""The options that say how an answer is chosen, word by word, and which form it has."""

import argparse
from pathlib import Path
from typing import Any

from nanolocal.errors import UsageError

_MOST_BYTES = 2**20
_OWN = "own"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument("--top-p", type=float, metavar="P", help="choose among words that make up this probability")
    parser.add_argument("--top-k", type=int, metavar="N", help="choose among the N likeliest words; 0 for all")
    parser.add_argument("--min-p", type=float, metavar="P", help="drop words below this part of the likeliest one's")
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="end before this text; repeatable")
    parser.add_argument("--json-schema", metavar="FILE|JSON", help="the answer is JSON that this schema allows")
    parser.add_argument("--grammar", metavar="FILE", help="the answer follows this grammar (GBNF)")
    parser.add_argument(
        "--tools",
        metavar="FILE|JSON",
        help="functions that the model may ask for, as OpenAI's API; "
        "own: nanolocal's calculator, calendar, units and reference, whose results it gets",
    )
    parser.add_argument("--logprobs", type=int, metavar="N", help="with --json: each token's odds and N others'")


def wished(args: argparse.Namespace) -> dict[str, Any]:
    """Their values, as ``Wishes`` names them; none for a command without them."""
    if not hasattr(args, "json_schema"):
        return {}
    if args.logprobs is not None and not getattr(args, "json", False):
        raise UsageError("--logprobs is part of the JSON that --json prints", "add --json")
    settings = {"top_p": args.top_p, "top_k": args.top_k, "min_p": args.min_p}
    return {
        "sampling": {name: value for name, value in settings.items() if value is not None},
        "stop": tuple(args.stop),
        "schema": _text_or_file(args.json_schema),
        "grammar": None if args.grammar is None else _read(Path(args.grammar)),
        "tools": None if args.tools == _OWN else _text_or_file(args.tools),
        "own_tools": args.tools == _OWN,
        "logprobs": args.logprobs,
    }


def _text_or_file(given: str | None) -> str | None:
    if given is None or given.lstrip()[:1] in ("{", "["):
        return given
    return _read(Path(given))


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{path.name} is larger than 1 MiB", "give a smaller file")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "give another file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.name} is not text", "give another file") from error
