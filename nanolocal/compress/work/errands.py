"""Exports and picture builds, made in processes of their own: torch and what exporters bring never enter this one.

``export`` and ``shrink`` start ``python -I -m nanolocal.compress.work.errands``, which reads one task (JSON) from
standard input and writes a line for each step of its progress and one for how it ended. It is not isolated as engines
are: exporters write files of their own and start programs; what they read are the numbers of a build whose headers
were checked.
"""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nanolocal import errors
from nanolocal.compress import pictures
from nanolocal.compress.export.tasks import Export, Exported, ExportedFile, check_target, perform_export
from nanolocal.compress.pictures import Draw, Likeness, Shrink, Shrunk, Sketches
from nanolocal.compress.work.tasks import Chunks, Source, Tell
from nanolocal.engines.failures import first_line, is_of_memory
from nanolocal.engines.launch import child_environment, usable_cores
from nanolocal.errors import EngineFailed, NanolocalError, OutOfMemory, UsageError
from nanolocal.formats.preflight import check_model
from nanolocal.hardening import end_with_parent, harden_process

_LINE_BYTES = 2**24
_FLOAT, _ALL_FILES = 4, 1.6
"""Bytes of a weight, and those of all files of an export in units of the largest."""


def check(task: Export) -> None:
    """What can be known before any work.

    Raises ``UsageError`` for an unknown target or one whose packages are missing, a place that is taken, an
    architecture that is not exported or a disk without room, and ``Damaged`` for a file that does not add up.
    """
    check_target(task.target)
    out = Path(task.out)
    _check_place(out)
    facts = check_model(Path(task.source.path)).facts
    from nanolocal.compress.torch.shape import FAMILIES

    architecture = facts[0].metadata.get("general.architecture")
    if architecture not in FAMILIES:
        raise UsageError(f"{architecture} builds cannot be exported", f"choose one of {', '.join(FAMILIES)}")
    need = int(sum(each.parameters for each in facts) * _FLOAT * _ALL_FILES)
    if (free := shutil.disk_usage(out.parent).free) < need:
        raise UsageError(
            f"the export takes about {need / 10**9:.1f} GB, and {free / 10**9:.1f} GB are free",
            "choose another disk with --out",
        )


async def export(task: Export, tell: Tell) -> Exported:
    """Export into ``task.out``, a folder that appears when it is whole; cancelled, nothing is left.

    Raises what ``check`` does, and ``EngineFailed`` where the export fails or computes something else than the build.
    """
    check(task)
    out = Path(task.out)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        exported = _exported(await _in_child(replace(task, out=str(draft)), tell))
        draft.chmod(0o755)
        draft.replace(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return exported


@dataclass(frozen=True, slots=True)
class Pictures:
    """What came of making a picture build smaller, and how it draws beside the original."""

    weights: Shrunk
    before: Sketches
    after: Sketches
    likeness: Likeness


async def shrink(task: Shrink, sample: Draw, kind: str, tell: Tell) -> Pictures:
    """Make the picture build smaller into ``task.out``, a folder that appears when it is whole and was drawn with.

    ``sample`` says what both draw; its folders are chosen here. Raises ``UsageError`` for a ``kind`` that is not made
    here, a source that is none and a place that is taken, ``Damaged``, and ``EngineFailed`` where one cannot draw.
    """
    pictures.check_kind(kind)
    pictures.check_source(Path(task.folder))
    out = Path(task.out)
    _check_place(out)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        new, drawn = draft / out.name, [draft / "before", draft / "after"]
        for folder in (new, *drawn):
            folder.mkdir()
        weights = Shrunk(**await _in_child(replace(task, out=str(new)), lambda share: tell(share / 3)))
        threads = sample.threads or usable_cores()
        asked = replace(sample, folder=task.folder, out=str(drawn[0]), threads=threads)
        before = Sketches(**await _in_child(asked, lambda share: tell((1 + share) / 3)))
        asked = replace(asked, folder=str(new), out=str(drawn[1]))
        after = Sketches(**await _in_child(asked, lambda share: tell((2 + share) / 3)))
        made = Pictures(weights, before, after, pictures.likeness(*drawn))
        pictures.add_to_card(new, pictures.measured(before, after, made.likeness, weights, sample))
        new.replace(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return made


def _check_place(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already", "choose another folder with --out")
    if not out.parent.is_dir():
        raise UsageError(f"there is no folder {out.parent}", "make it, or choose another one with --out")


async def _in_child(task: Export | Shrink | Draw, tell: Tell) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-X", "utf8", "-W", "ignore", "-m", "nanolocal.compress.work.errands"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=child_environment(os.environ),
        limit=_LINE_BYTES,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps({"kind": type(task).__name__} | asdict(task)).encode())
        process.stdin.close()
        while line := await process.stdout.readline():
            said = json.loads(line)
            if "share" in said:
                tell(float(said["share"]))
            elif "failed" in said:
                raise _error(said)
            else:
                done: dict[str, Any] = said["done"]
                return done
        code = await process.wait()
        raise EngineFailed(
            f"the process that made it ended with exit code {code}", "free some memory, or choose a smaller build"
        )
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _error(said: Mapping[str, str]) -> NanolocalError:
    kind = getattr(errors, said["kind"], EngineFailed)
    return kind(said["failed"], said["hint"]) if issubclass(kind, NanolocalError) else EngineFailed(said["failed"])


def _exported(data: dict[str, Any]) -> Exported:
    files = tuple(ExportedFile(**file) for file in data.pop("files"))
    packages = tuple((name, version) for name, version in data.pop("packages"))
    return Exported(**data, files=files, packages=packages)


def _perform(data: dict[str, Any], tell: Tell) -> Exported | Shrunk | Sketches:
    match data.pop("kind"):
        case "Shrink":
            return pictures.perform_shrink(Shrink(**data), tell)
        case "Draw":
            return pictures.perform_draw(Draw(**data | {"prompts": tuple(data["prompts"])}), tell)
        case _:
            return perform_export(_export(data), tell)


def _export(data: dict[str, Any]) -> Export:
    source = Source(**data.pop("source"))
    chunks = Chunks(tuple(map(tuple, data.pop("chunks")["tokens"])))
    return Export(**data, source=source, chunks=chunks)


def main() -> int:
    """Do one errand."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no answer
    end_with_parent()
    harden_process()

    def say(answer: dict[str, object]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    try:
        say({"done": asdict(_perform(json.load(sys.stdin), lambda share: say({"share": share})))})
    except NanolocalError as problem:
        say(_said(problem))
    except Exception as problem:  # whatever a library raises, the parent gets one clear line
        if is_of_memory(problem):
            say(_said(OutOfMemory("there is not enough memory for this", "choose a smaller build")))
        else:
            say(_said(EngineFailed(f"{type(problem).__name__}: {first_line(problem)[:300]}")))
    return 0


def _said(problem: NanolocalError) -> dict[str, object]:
    return {"failed": problem.message, "hint": problem.hint, "kind": type(problem).__name__}


if __name__ == "__main__":
    sys.exit(main())
