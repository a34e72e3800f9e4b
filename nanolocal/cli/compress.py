"""``nanolocal compress``: a smaller build and its report card; two builds side by side; a build for other engines."""

import argparse
import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat.routes import Kind
from nanolocal.cli import output
from nanolocal.cli.common import Subparsers, agreed, given_passphrase, is_quiet, open_session, paths_of, wants_json
from nanolocal.errors import Damaged, UsageError
from nanolocal.settings import load as load_settings

if TYPE_CHECKING:
    from nanolocal.chat.routes import Build, Tally
    from nanolocal.compress.asking import Ask, Made, Prepared
    from nanolocal.compress.gate import Measured
    from nanolocal.compress.lab import Lab
    from nanolocal.compress.measuring.calibration import Text
    from nanolocal.compress.plan import Plan, Rung
    from nanolocal.compress.progress import Progress
    from nanolocal.compress.recipe import Recipe
    from nanolocal.compress.work.cluster import Scheduler
    from nanolocal.library.library import Library

CHATS = "chats"
_PARTS = ("compare", "list", "discard", "export")
_HEADER = ("RECIPE", "SIZE", "MEMORY", "TOK/S", "")
_PLOT_ROWS = 14
_RECIPES = "take the card.json beside a build that the lab made"
_EXAMPLES = """examples:
  nanolocal compress BUILD                      what this device holds well
  nanolocal compress BUILD --target 2.4GB       or bpw=4.5, or ram=6GB
  nanolocal compress BUILD --max-kld 0.02       the smallest that loses no more
  nanolocal compress BUILD --plan               only say what would be done
  nanolocal compress compare A B                two builds side by side
  nanolocal compress export BUILD --to onnx --out DIR   for ONNX Runtime; or litert, executorch; int8 for pictures
  nanolocal compress BUILD --scheduler tls://host:8786  probe on the Dask workers there too
  nanolocal compress list                       runs that were begun; discard BUILD removes theirs
"""


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "compress",
        parents=[common],
        help="a smaller build and its report card",
        description="Make a smaller build of one that is stored, measured against it, and never worse than the stock "
        "recipe of its size. Ctrl+C ends it; the same command goes on.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "words", nargs="+", metavar="BUILD", help="a stored build, or compare A B, export BUILD, list, discard BUILD"
    )
    parser.add_argument("--target", metavar="SIZE", help="2.4GB, bpw=4.5 or ram=6GB")
    parser.add_argument("--max-kld", metavar="NATS", help="lose at most so much: mean KL divergence a token")
    parser.add_argument("--min-speed", metavar="TOK/S", help="write at least so many tokens a second here")
    parser.add_argument("--time", metavar="TIME", help="take about so long at the most: 90s, 10m, 2h")
    parser.add_argument("--plan", action="store_true", help="only say what would be done")
    parser.add_argument("--requantize", action="store_true", help="take a build that is quantized already")
    parser.add_argument(
        "--calibrate",
        action="append",
        default=[],
        metavar="FILE|chats",
        help="learn from this text, or from your own conversations, of which nothing is kept",
    )
    parser.add_argument(
        "--prune", metavar="PARTS", help="take parts out first: layers=1, ffn=33%% or both with a comma"
    )
    parser.add_argument("--recipe", metavar="FILE", help="make again what a recipe or a report card tells")
    parser.add_argument("--label", default="", metavar="Q4_MINE", help="name the new build's quantization")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="for all that is drawn by chance (default 0)")
    parser.add_argument("--to", metavar="TARGET", help="export to onnx, litert or executorch; a picture build to int8")
    parser.add_argument("--out", metavar="DIR", help="the new folder of an export")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler whose workers probe: tls://host:8786")
    for name, what in (("ca", "authority"), ("cert", "certificate"), ("key", "key")):
        parser.add_argument(f"--tls-{name}", metavar="FILE", help=f"its {what}, else what Dask is set to")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do what is asked for first."""
    part, *names = args.words
    if part not in _PARTS:
        if names:
            raise UsageError(f"one build at a time: {' '.join(names)[:60]!r} is too much", "nanolocal compress --help")
        return _compress(args, part)
    if part == "compare":
        from nanolocal.cli.labcompare import run as compare

        return compare(args, names)
    if part == "export":
        from nanolocal.cli.labexport import run as export

        return export(args, names)
    if part == "list":
        return _list(args)
    return _discard(args, names)


def _compress(args: argparse.Namespace, name: str) -> int:
    import asyncio

    from nanolocal import bootstrap
    from nanolocal.compress.lab import check

    paths = paths_of(args)
    settings = load_settings(paths.settings)
    library = bootstrap.open_library(paths, settings)
    build = _build(library, name)
    if build.kind is Kind.IMAGE:
        from nanolocal.cli.labexport import run as export

        args.to, args.out = args.to or "int8", args.out or str(_free_folder(paths.models, build))
        return export(args, [name])
    check(build)
    scheduler = _scheduler(args)
    ask = _ask(args, build)
    lab = bootstrap.open_lab(paths, settings, library, scheduler, ask.text)
    progress = output.Progress(is_quiet(args))
    try:
        progress.show(f"looking at {build.id}")
        prepared = asyncio.run(lab.prepare(ask))
    finally:
        progress.clear()
    if args.plan or not wants_json(args):
        _show_plan(args, prepared)
    if args.plan:
        return 0
    made = asyncio.run(_make(lab, prepared, progress))
    if made is None:
        output.note(f"ended; what was found out is kept, and this goes on: {ask.command}")
        return 130
    _show_made(args, made, library)
    return 0


def _build(library: "Library", name: str) -> "Build":
    """The build of that name; raises ``Damaged`` with the reason where a file of that name was refused."""
    from nanolocal.library.naming import slug

    try:
        return library.get(name)
    except UsageError:
        wanted = slug(name.replace(":", "-"))
        for problem in library.problems():
            if slug(problem.path.stem).startswith(wanted):
                raise Damaged(problem.reason, problem.hint or "get the file again") from None
        raise


def _free_folder(models: Path, build: "Build") -> Path:
    """Where a smaller picture build is to lie."""
    from nanolocal.library.naming import slug
    from nanolocal.paths import make_private

    name = f"{slug(build.id.partition(':')[0])}-int8"
    folders = (make_private(models) / (name if n == 1 else f"{name}-{n}") for n in range(1, 100))
    return next(folder for folder in folders if not folder.exists())


async def _make(lab: "Lab", prepared: "Prepared", progress: output.Progress) -> "Made | None":
    """What was made; nothing where a signal asked for an end."""
    import asyncio

    from nanolocal.cli.turns import ended_by_signals

    stop = asyncio.Event()
    shown = _Shown(progress)
    with ended_by_signals(stop, asyncio.Event()):
        work = asyncio.create_task(lab.make(prepared, shown.take, shown.hear))
        ending = asyncio.create_task(stop.wait())
        ending.add_done_callback(lambda _: work.cancel())
        try:
            return await work
        except asyncio.CancelledError:
            return None
        finally:
            ending.cancel()
            progress.clear()


class _Shown:
    """Progress as one line, and nothing twice."""

    def __init__(self, progress: output.Progress) -> None:
        self._progress = progress
        self._line = ""

    def take(self, now: "Progress") -> None:
        """How far it is."""
        if now.line != self._line:
            self._line = now.line
            self._progress.show(now.line)

    def hear(self, measured: "Measured") -> None:
        """A file was measured."""
        from nanolocal.chat.amounts import sized

        size = sized(measured.size_bytes)
        self._progress.say(f"  {measured.name}: {size}, KL {measured.kld:.3g} ± {measured.error:.1g}")


def _ask(args: argparse.Namespace, build: "Build") -> "Ask":
    """What is asked for; raises ``UsageError`` for a value that makes no sense."""
    from nanolocal import bootstrap
    from nanolocal.compress.asking import Ask
    from nanolocal.compress.pruning import parse_cut
    from nanolocal.compress.targets import Wish, parse_kld, parse_size, parse_speed, parse_time

    cut = parse_cut(args.prune) if args.prune is not None else None
    wish = Wish(
        size=parse_size(args.target) if args.target is not None else None,
        max_kld=parse_kld(args.max_kld) if args.max_kld is not None else None,
        min_speed=parse_speed(args.min_speed) if args.min_speed is not None else None,
        seconds=parse_time(args.time) if args.time is not None else None,
    )
    if cut is not None and wish.seconds is not None:
        cut = replace(cut, seconds=min(cut.seconds, wish.seconds / 2))
    text, weights, is_marked = _text(args, build)
    return Ask(
        build,
        wish,
        requantize=_requantizes(args, build),
        text=text,
        is_marked=is_marked,
        recipe=_recipe(args.recipe),
        questions=bootstrap.lab_questions(),
        weights=weights,
        prune=cut,
        seed=args.seed,
        label=args.label,
        command=_command(args),
    )


def _scheduler(args: argparse.Namespace) -> "Scheduler | None":
    """The Dask scheduler that was named; one that does not answer, or has no worker to use, is refused at once."""
    if args.scheduler is None:
        if args.tls_ca or args.tls_cert or args.tls_key:
            raise UsageError("certificates are for a cluster, and none is named", "add --scheduler tls://host:8786")
        return None
    import asyncio

    from nanolocal.compress.work.cluster import Scheduler, workers_of

    if CHATS in args.calibrate:
        raise UsageError("conversations stay on this machine, and so does what was learned from them",
                         "leave out --scheduler, or --calibrate chats")  # fmt: skip
    files = [Path(name).expanduser() if name else None for name in (args.tls_ca, args.tls_cert, args.tls_key)]
    scheduler = Scheduler(args.scheduler, *files)
    found = asyncio.run(workers_of(scheduler))
    if not is_quiet(args):
        output.note(f"{len(found)} worker(s) at {args.scheduler} get the build and the text that is measured with")
    return scheduler


def _requantizes(args: argparse.Namespace, build: "Build") -> bool:
    """Whether a build that is quantized already may be taken: as asked for, or agreed to on the terminal."""
    from nanolocal.compress.weights.sizes import is_quantized, source_kind
    from nanolocal.library.fit.layout import read_layout

    if args.requantize or args.plan or wants_json(args) or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return bool(args.requantize)
    layout = read_layout(build.path)
    if not is_quantized(layout):
        return False
    output.note(f"{build.id} is quantized already ({source_kind(layout)}): the result loses more than of an F16 build")
    return agreed(argparse.Namespace(yes=False), "Take it, and measure the extra loss?")


def _text(args: argparse.Namespace, build: "Build") -> "tuple[Text | None, Mapping[str, float], bool]":
    """The text to learn from, the weights of tasks where the vault was opened for it, and whether it is marked."""
    from nanolocal import bootstrap
    from nanolocal.compress.measuring import calibration

    if CHATS not in args.calibrate:
        paths = [Path(name).expanduser() for name in args.calibrate]
        return calibration.from_files(paths) if paths else None, bootstrap.lab_weights(_peeked(args)), False
    if set(args.calibrate) != {CHATS}:
        raise UsageError("conversations and files are not mixed: one is private, the other is not", "choose one")
    import asyncio

    session = open_session(args)
    try:
        return bootstrap.lab_chats(session, build), bootstrap.lab_weights(session.experience.tallies()), True
    finally:
        asyncio.run(session.close(keeps=False))


def _peeked(args: argparse.Namespace) -> "Mapping[tuple[str, str], Tally]":
    """What this device has seen of tasks, where the vault opens without asking anybody."""
    from nanolocal import bootstrap
    from nanolocal.vault.experience import Experience

    vault = bootstrap.peek(paths_of(args), given_passphrase(args))
    if vault is None:
        return {}
    try:
        return Experience(vault.database).tallies()
    finally:
        vault.close()


def _recipe(name: str | None) -> "Recipe | None":
    """The recipe in a file, or in the report card there; raises ``UsageError``."""
    from nanolocal.compress.recipe import recipe_from_json
    from nanolocal.library.cards import REPORT
    from nanolocal.library.jsonfiles import read_object

    if name is None:
        return None
    try:
        table = read_object(Path(name).expanduser())
    except (Damaged, OSError) as error:
        raise UsageError(f"{name} holds no recipe", _RECIPES) from error
    report = table.get(REPORT, table)
    found = report.get("recipe", report) if isinstance(report, dict) else None
    if not isinstance(found, dict) or "steps" not in found:
        raise UsageError(f"{name} holds no recipe", _RECIPES)
    return recipe_from_json(json.dumps(found))


def _command(args: argparse.Namespace) -> str:
    """The command that goes on with this run."""
    words = ["nanolocal", "compress", *args.words]
    for option in (
        "target",
        "max_kld",
        "min_speed",
        "time",
        "recipe",
        "prune",
        "label",
        "scheduler",
        "tls_ca",
        "tls_cert",
        "tls_key",
    ):
        value = getattr(args, option)
        words += [f"--{option.replace('_', '-')}", value] if value else []
    words += [word for each in args.calibrate for word in ("--calibrate", each)]
    words += ["--requantize"] if args.requantize else []
    words += ["--seed", str(args.seed)] if args.seed else []
    words += ["--home", str(args.home)] if getattr(args, "home", None) else []
    return shlex.join(words)


def _show_plan(args: argparse.Namespace, prepared: "Prepared") -> None:
    from nanolocal.chat.amounts import sized
    from nanolocal.compress.progress import duration

    plan = prepared.plan
    if wants_json(args):
        output.as_json({"build": prepared.ask.build.id, **asdict(plan)})
        return
    if is_quiet(args) and not args.plan:
        return
    rows = [
        (rung.label, sized(rung.size_bytes), sized(rung.memory), f"{rung.speed:,.1f}", _remark(rung, plan))
        for rung in plan.rungs
    ]
    output.line(f"{prepared.ask.build.id}: {sized(plan.source_bytes)} of {plan.source_kind}")
    output.table(rows, _HEADER)
    output.line()
    output.fact("aim", f"at most {sized(plan.most)}, {plan.bits:.2f} bits a weight: {plan.why}")
    output.fact("search", f"{plan.tier}; about {duration(plan.seconds)} here")
    output.fact("takes", f"{sized(plan.needs_memory)} of memory and {sized(plan.needs_disk)} of disk")
    if prepared.pruning is not None:
        prune, recover = prepared.pruning
        left = [f"{prune.layers} layers"] * bool(prune.layers) + [f"{prune.hidden} channels"] * bool(prune.hidden)
        output.fact("first", f"{' and '.join(left)} are left, and learn from the original in {recover.steps} steps")
    if plan.requantizes:
        output.fact("source", f"quantized already ({plan.source_kind}): what is measured comes on top of its own loss")


def _remark(rung: "Rung", plan: "Plan") -> str:
    if not rung.fits:
        return "does not fit"
    return "the size aimed at" if rung.size_bytes == plan.most else ""


def _show_made(args: argparse.Namespace, made: "Made", library: "Library") -> None:
    from nanolocal.compress import plot, report

    build = next((each for each in library.builds() if each.path == made.path), None)
    name = build.id if build is not None else made.path.stem
    if wants_json(args):
        output.as_json({"build": name, "path": str(made.path), "report": dict(made.report)})
        return
    output.line()
    output.line(f"{name} is in the library")
    for label, text in report.lines(made.report):
        output.fact(label, text)
    drawn = plot.picture(made.points, 78, _PLOT_ROWS)
    if drawn and not is_quiet(args):
        output.line()
        for each in drawn:
            output.line(each)


def _list(args: argparse.Namespace) -> int:
    """Runs that were begun and not finished."""
    from nanolocal.compress import workspace

    jobs = workspace.unfinished(paths_of(args).models)
    if wants_json(args):
        output.as_json({"unfinished": [{"build": job.build, "command": job.command} for job in jobs]})
        return 0
    if not jobs:
        output.line("no run was left unfinished")
    for job in jobs:
        output.line(f"{job.build}: {job.command}")
    return 0


def _discard(args: argparse.Namespace, names: list[str]) -> int:
    """Remove what runs about some builds have left; raises ``UsageError`` where there is nothing."""
    from nanolocal.compress import workspace

    models = paths_of(args).models
    jobs = [job for job in workspace.unfinished(models) if job.build in names or job.build.partition(":")[0] in names]
    if not jobs:
        raise UsageError("no unfinished run is about that build", "nanolocal compress list")
    for job in jobs:
        workspace.discard(models, job.folder)
        output.line(f"discarded: {job.command}")
    return 0
