"""``nanolocal models bench``: how fast builds are here, with ``--quality`` how good, and with ``--tune`` how faster."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_bytes
from nanolocal.chat.routes import Kind
from nanolocal.cli import exams, output, tuning
from nanolocal.cli.common import Subparsers, is_quiet, wants_json, with_session
from nanolocal.errors import NanolocalError, NoBuildFits, UsageError

if TYPE_CHECKING:
    from nanolocal.bootstrap import Session
    from nanolocal.chat.routes import Build, Speed
    from nanolocal.chat.trial import Trial

_SPEEDS = ("BUILD", "LOAD", "READS", "WRITES", "DRAWS", "MEMORY")


def add(parts: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = parts.add_parser("bench", parents=[common], help="how fast builds are here, or how good; free of charge")
    parser.add_argument("build", nargs="*", metavar="BUILD", help="instead of all that fit")
    parser.add_argument("--quality", action="store_true", help="let them sit short exams, from which the router learns")
    parser.add_argument(
        "--tune",
        action="store_true",
        help="look for faster settings, and keep those that are; of a named build that draws, for a step cache",
    )
    parser.add_argument("--usual", action="store_true", help="forget what --tune found")
    parser.add_argument("--task", action="append", metavar="T", help="only exams of that task, such as math")
    parser.add_argument(
        "--items", type=int, metavar="N", help=f"questions of each exam (default {exams.USUAL_ITEMS}); fewer say less"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure; raises ``UsageError`` before anything runs."""
    if not args.quality and (args.task or args.items is not None):
        raise UsageError("--task and --items go with --quality", "nanolocal models bench --quality")
    if args.quality + args.tune + args.usual > 1:
        raise UsageError("--quality, --tune and --usual are three things to do", "leave all but one out")
    if args.items is not None and args.items < 1:
        raise UsageError(f"an exam has at least one question, not {args.items}", "--items 20")
    args.exams = exams.of_tasks(args.task) if args.quality else []
    return with_session(_bench)(args)


def _bench(args: argparse.Namespace, session: "Session") -> int:
    import asyncio

    is_tuning = args.tune or args.usual
    builds = exams.chosen(args, session, only_text=args.quality or (is_tuning and not args.build))
    for build in builds if is_tuning else ():
        if build.kind is Kind.EMBEDDING:
            raise UsageError(f"{build.id} neither writes nor draws", "name another build")
    if args.usual:
        return tuning.forget(args, session, builds)
    progress = output.Progress(is_quiet(args))
    work = exams.sit_all if args.quality else tuning.tune_all if args.tune else _speeds
    try:
        return asyncio.run(work(args, session, builds, progress))
    finally:
        progress.clear()


async def _speeds(
    args: argparse.Namespace, session: "Session", builds: "Sequence[Build]", progress: output.Progress
) -> int:
    from nanolocal.chat import trial

    found = list[tuple["Build", "Trial", int]]()
    try:
        for build in builds:
            progress.show(f"measuring {build.id}: it is loaded and answers once")
            try:
                tried = await trial.run(session.router, session.engines, session.meter, build)
            except NanolocalError as error:
                if args.build:
                    raise
                output.note(f"{build.id}: {error.message}")
                continue
            found.append((build, tried, session.engines.memory(build.id)))
            session.experience.keep_speed(build.sha256, _speed_of(tried))
    finally:
        await session.engines.close()
    progress.clear()
    if wants_json(args):
        output.as_json({"builds": [_as_json(*each) for each in found]})
    elif found:
        output.table([_row(*each) for each in found], _SPEEDS)
        output.line()
        output.line("Load in seconds, tokens a second, seconds for a million pixel-steps, memory once loaded.")
        if not is_quiet(args) and not any(session.tunings.of(build.sha256) for build, _, _ in found):
            output.note("nanolocal models bench --tune looks for faster settings")
    return 0 if found else NoBuildFits.exit_code


def _speed_of(tried: "Trial") -> "Speed":
    from nanolocal.chat.routes import Speed

    return Speed(tried.load_ns / 1e9, _a_second(tried.prompt_ns), _a_second(tried.completion_ns), 1)


def _a_second(nanoseconds: int) -> float:
    return 1e9 / nanoseconds if nanoseconds else 0.0


def _row(build: "Build", tried: "Trial", memory: int) -> tuple[str, ...]:
    reads, writes = _a_second(tried.prompt_ns), _a_second(tried.completion_ns)
    return (
        build.id,
        f"{tried.load_ns / 1e9:.2f}",
        f"{reads:.0f}" if reads else "-",
        f"{writes:.1f}" if writes else "-",
        f"{tried.picture_ns / 1e9:.2f}" if tried.picture_ns else "-",
        format_bytes(memory) if memory else "-",
    )


def _as_json(build: "Build", tried: "Trial", memory: int) -> dict[str, object]:
    return {
        "build": build.id,
        "load_s": round(tried.load_ns / 1e9, 4),
        "prompt_tok_s": round(_a_second(tried.prompt_ns), 2),
        "decode_tok_s": round(_a_second(tried.completion_ns), 2),
        "s_per_million_pixel_steps": round(tried.picture_ns / 1e9, 4),
        "memory_bytes": memory,
        "with": tried.what,
    }
