"""``nanolocal compress export BUILD --to onnx --out DIR``: a build for another runtime, or a smaller picture build."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import sized
from nanolocal.chat.routes import Kind
from nanolocal.cli import output
from nanolocal.cli.common import is_quiet, paths_of, wants_json
from nanolocal.errors import UsageError
from nanolocal.settings import load as load_settings

if TYPE_CHECKING:
    from nanolocal.compress.export.tasks import Exported
    from nanolocal.compress.work.errands import Pictures

_USAGE = "nanolocal compress export BUILD --to onnx|litert|executorch|int8 --out DIR"
_HEADER = ("FILE", "SIZE", "OF 32 BITS", "KL", "TOP-1")


def run(args: argparse.Namespace, names: Sequence[str]) -> int:
    """Export, and show what was measured; raises ``UsageError`` where something is not named."""
    import asyncio

    from nanolocal.compress import exports
    from nanolocal.compress.measuring import calibration
    from nanolocal.library import opening

    if len(names) != 1 or not args.to or not args.out:
        raise UsageError("one build, what it is exported to and a folder are named", _USAGE)
    paths = paths_of(args)
    library = opening.open_library(paths, load_settings(paths.settings))
    build, out = library.get(names[0]), Path(args.out).expanduser()
    progress = output.Progress(is_quiet(args))

    def tell(share: float) -> None:
        progress.show(f"exporting {build.id}: {share:.0%}")

    try:
        if build.kind is Kind.IMAGE:
            drawn = asyncio.run(exports.shrink_pictures(build, out, tell, args.to))
        else:
            text = calibration.from_files(_files(args)) if args.calibrate else calibration.built_in()
            made = asyncio.run(exports.export_build(build, args.to, out, text, tell))
    finally:
        progress.clear()
    if build.kind is Kind.IMAGE:
        _show_pictures(args, out, drawn)
    else:
        _show(args, out, made)
    return 0


def _files(args: argparse.Namespace) -> list[Path]:
    """What exports are compared on: files alone, as scores of conversations would go onto a card."""
    if "chats" in args.calibrate:
        raise UsageError("an export is not compared on conversations", "leave out --calibrate, or give files")
    return [Path(name).expanduser() for name in args.calibrate]


def _show(args: argparse.Namespace, out: Path, made: "Exported") -> None:
    if wants_json(args):
        output.as_json({"path": str(out), **asdict(made)})
        return
    whole = made.files[0].bytes
    rows = [
        (
            file.name,
            sized(file.bytes),
            f"{file.bytes / whole:.2f}",
            f"{file.kld:.2g} ± {file.error:.1g}",
            f"{file.top1:.1%}",
        )
        for file in made.files
    ]
    output.table(rows, _HEADER)
    output.line(f"{out} holds them, with the vocabulary and a card; compared on {made.tokens} tokens")


def _show_pictures(args: argparse.Namespace, out: Path, made: "Pictures") -> None:
    if wants_json(args):
        output.as_json({"path": str(out), **asdict(made)})
        return
    before, after = made.before, made.after
    output.fact("size", f"{sized(made.weights.before)} -> {sized(made.weights.after)}")
    output.fact("memory", f"{sized(before.peak_bytes)} -> {sized(after.peak_bytes)} at the most")
    output.fact("step", f"{before.step_s:.2f} s -> {after.step_s:.2f} s")
    like = made.likeness
    output.fact("pictures", f"{like.pixels:.3f} apart in pixels, {like.structure:.3f} in structure, with the same seed")
    output.line(f"{out} holds it; nanolocal models scan {out} adds it where it is not in the library's own folder")
