"""``nanolocal bench``: the speed of a build here, next to bare llama.cpp on the same file."""

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_bytes
from nanolocal.chat.tuning import USUAL, in_words
from nanolocal.cli import output, tuning
from nanolocal.cli.common import Subparsers, is_quiet, paths_of, wants_json
from nanolocal.errors import UsageError
from nanolocal.paths import Paths
from nanolocal.settings import Settings

if TYPE_CHECKING:
    from nanolocal.bootstrap import Comparison, Figure, Plan
    from nanolocal.chat.routes import Build

_ROUNDS, _ANSWER, _PROMPT = 4, 64, 512
_FEWEST_READ = 64
_HEADER = ("", "OURS", "BARE", "RATIO", "FROM", "TO")
_BAR, _EIGHTHS = 40, " ▏▎▍▌▋▊▉"
_FIRST_WORD = "first word, "


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "bench",
        parents=[common],
        help="speed here, next to bare llama.cpp on the same file",
        description="Read and write with a build and with a bare loop over llama.cpp, in turn, on the same file. "
        "Nothing is stored or charged.",
    )
    parser.add_argument("build", nargs="?", metavar="BUILD", help="instead of the best text build stored")
    parser.add_argument(
        "--rounds", type=_count(1, 100), default=_ROUNDS, metavar="N", help=f"of both, in turn (default {_ROUNDS})"
    )
    parser.add_argument(
        "--tokens",
        type=_count(2, 4096),
        default=_ANSWER,
        metavar="N",
        help=f"to write in each answer (default {_ANSWER})",
    )
    parser.add_argument(
        "--prompt-tokens", type=_count(_FEWEST_READ, 2**20), metavar="N", help=f"to read first (default {_PROMPT})"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and show; Ctrl+C ends it, and nothing is left of it."""
    import asyncio

    plan = _plan(args)
    progress = output.Progress(is_quiet(args))
    try:
        found = asyncio.run(_measure(plan, progress.show))
    finally:
        progress.clear()
    if wants_json(args):
        output.as_json(_as_json(found))
        return 0
    output.table([_row(figure) for figure in found.figures], _HEADER)
    output.line()
    for each in _plot(found):
        output.line(each)
    if not is_quiet(args):
        for remark in _remarks(found, args.rounds):
            output.note(remark)
        if plan.tuning != USUAL:
            output.note(f"ours was tuned: {in_words(plan.tuning)}")
    return 0


async def _measure(plan: "Plan", show: Callable[[str], None]) -> "Comparison":
    """The figures; raises ``KeyboardInterrupt`` at a signal that asks for an end."""
    import asyncio

    from nanolocal import bootstrap
    from nanolocal.cli.turns import ended_by_signals

    stop = asyncio.Event()
    with ended_by_signals(stop, asyncio.Event()):
        work = asyncio.create_task(bootstrap.beside_llama_cpp(plan, show))
        ending = asyncio.create_task(stop.wait())
        ending.add_done_callback(lambda _: work.cancel())
        try:
            return await work
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            ending.cancel()


def _plan(args: argparse.Namespace) -> "Plan":
    """What to measure; raises ``UsageError`` for a build that cannot do it, ``NoBuildFits`` where there is none."""
    from nanolocal.bootstrap import bench_plan
    from nanolocal.device import machine
    from nanolocal.settings import load as load_settings

    paths = paths_of(args)
    settings = load_settings(paths.settings)
    build = _build(args.build, paths, settings)
    memory = machine.inspect().memory_budget(settings.memory_mb)
    prompt_tokens, tuned = args.prompt_tokens or _PROMPT, tuning.tuning_of(args, build)
    plan = bench_plan(build, paths.cache, memory, args.rounds, prompt_tokens, args.tokens, tuned)
    over = plan.n_ctx - (build.context_length or plan.n_ctx)
    if over <= 0:
        return plan
    if args.prompt_tokens or plan.prompt_tokens - over < _FEWEST_READ:
        most = f"{build.id} has a context of {build.context_length} tokens, and all turns together need {plan.n_ctx}"
        raise UsageError(most, "fewer with --prompt-tokens and --tokens")
    return replace(plan, prompt_tokens=plan.prompt_tokens - over)


def _build(name: str | None, paths: Paths, settings: Settings) -> "Build":
    """The one of that name, else the text build of which most is expected."""
    from nanolocal.bootstrap import open_library, open_router
    from nanolocal.chat.jobs import is_text
    from nanolocal.chat.messages import Wishes
    from nanolocal.chat.ports import RouteRequest
    from nanolocal.device import machine

    library = open_library(paths, settings)
    if name is not None and not is_text(named := library.get(name)):
        raise UsageError(f"{named.id} writes no text", "nanolocal models bench measures any build")
    router = open_router(library, settings, machine.inspect())
    return router.pick(RouteRequest("hello", (), 0, Wishes(model=name, prefer="quality"))).build


def _row(figure: "Figure") -> tuple[str, ...]:
    ratios = figure.ratios
    told = [f"{100 * ratio:.0f} %" for ratio in (statistics.median(ratios), min(ratios), max(ratios))] if ratios else []
    return (figure.name, _amount(figure.ours, figure.unit), _amount(figure.bare, figure.unit), *told)


def _amount(values: Sequence[float], unit: str) -> str:
    """The median in words."""
    value = statistics.median(values)
    if unit == "bytes":
        return format_bytes(round(value))
    if unit == "s":
        return f"{value:,.3f} s"
    return f"{value:,.{0 if value >= 1000 else 1}f} {unit}"


def _plot(found: "Comparison") -> Iterator[str]:
    """Bars for the seconds to the first word."""
    bars: list[tuple[str, float]] = []
    for figure in found.figures:
        if figure.name.startswith(_FIRST_WORD):
            what = figure.name.removeprefix(_FIRST_WORD)
            if "after" not in what:
                bars.append((f"{what}, bare", statistics.median(figure.bare)))
            bars.append((what, statistics.median(figure.ours)))
    most = max((seconds for _, seconds in bars), default=0.0) or 1.0
    yield "Seconds to the first word:"
    for what, seconds in bars:
        yield f"  {what:16} {bar(seconds / most):{_BAR}} {seconds:.3f}"


def bar(share: float) -> str:
    """A share of the whole width, 0 to 1, in eighths of a column."""
    eighths = round(share * _BAR * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def _remarks(found: "Comparison", rounds: int) -> Iterator[str]:
    reading, writing = found.threads
    of = "one round" if rounds == 1 else f"medians of {rounds} rounds"
    amount = f"{found.prompt_tokens} tokens read, {found.answer_tokens} written"
    yield f"{found.build_id}: {amount}, {of}; ratio: ours by bare"
    yield f"bare: the same llama.cpp, with the threads that were quickest ({reading} to read, {writing} to write)"
    kept = f"{found.kept_tokens} tokens were kept" if found.kept_tokens else "none of it was kept"
    yield f"after a swap or restart, next to reading it all again: {kept}"
    if found.energy:
        yield f"energy {found.energy}"


def _as_json(found: "Comparison") -> dict[str, object]:
    return {
        "build": found.build_id,
        "prompt_tokens": found.prompt_tokens,
        "answer_tokens": found.answer_tokens,
        "kept_tokens": found.kept_tokens,
        "bare_threads": {"reading": found.threads[0], "writing": found.threads[1]},
        "energy_source": found.energy or None,
        "figures": [
            {
                "name": figure.name,
                "unit": figure.unit,
                "ours": statistics.median(figure.ours),
                "bare": statistics.median(figure.bare),
                "ratio": statistics.median(figure.ratios) if figure.ratios else None,
                "rounds": {"ours": figure.ours, "bare": figure.bare, "ratio": figure.ratios},
            }
            for figure in found.figures
        ],
    }


def _count(least: int, most: int) -> Callable[[str], int]:
    """Reads a whole number from ``least`` to ``most``."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least} to {most:,}")
        return int(text)

    return read
