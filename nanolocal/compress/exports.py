"""What faces call: a build for another runtime, and a smaller picture build, each with what it is measured on."""

import tempfile
from dataclasses import replace
from pathlib import Path

from nanolocal.chat.routes import Build, Kind
from nanolocal.compress.export.tasks import Export, Exported
from nanolocal.compress.measuring.calibration import Text
from nanolocal.compress.pictures import Draw, Shrink
from nanolocal.compress.work import errands
from nanolocal.compress.work.errands import Pictures
from nanolocal.compress.work.tasks import Chunks, Source, Tell, Tokenize
from nanolocal.compress.work.workers import Workers
from nanolocal.errors import UsageError

_LENGTH, _PIECES = 128, 8
"""Tokens of a piece that an export is compared on, and how many pieces."""
_SAMPLES = (
    "a red circle", "a blue star on a yellow background", "a house on a hill beside a lake",
    "a boat on the sea under a yellow sun",
)  # fmt: skip
_SEED = 7
_SIZE, _STEPS, _GUIDANCE = 512, 20, 7.0
"""Where a build does not say how it draws."""


async def export_build(build: Build, target: str, out: Path, text: Text, tell: Tell) -> Exported:
    """Export ``build`` for ``target`` into the new folder ``out``, compared on the held-out part of ``text``.

    Raises ``UsageError`` and ``Damaged`` before any work, ``EngineFailed`` where it computes something else.
    """
    if build.kind is not Kind.TEXT:
        raise UsageError(f"{build.id} writes no text and cannot be exported", "choose a text build")
    source = Source(str(build.path), build.sha256 if len(build.sha256) == 64 else "")
    task = Export(source, target, str(out.absolute()), Chunks(()), build.name, build.licence)
    errands.check(task)
    length = min(_LENGTH, build.context_length or _LENGTH)
    with tempfile.TemporaryDirectory(prefix="nanolocal-") as folder:
        runner = Workers(Path(folder))
        try:
            chunks = await runner.run(Tokenize(source, text.held_out_text(), n_ctx=length, most=_PIECES))
        finally:
            runner.close()
    assert isinstance(chunks, Chunks)
    return await errands.export(replace(task, chunks=chunks), tell)


async def shrink_pictures(build: Build, out: Path, tell: Tell, kind: str = "int8") -> Pictures:
    """Write ``build`` with weights of ``kind`` into the new folder ``out``, which a library then lists.

    Both draw some pictures as the build does by itself, with one seed. Raises as ``errands.shrink`` does.
    """
    if build.kind is not Kind.IMAGE:
        raise UsageError(f"{build.id} draws no pictures", "choose a picture build")
    model = build.id.partition(":")[0]
    usual = build.defaults
    sample = Draw(
        folder="",
        out="",
        prompts=_SAMPLES,
        width=int(usual.get("width", _SIZE)),
        height=int(usual.get("height", _SIZE)),
        steps=int(usual.get("steps", _STEPS)),
        guidance=float(usual.get("guidance", _GUIDANCE)),
        seed=_SEED,
        threads=0,
    )
    task = Shrink(str(build.path), str(out.absolute()), model, build.name)
    return await errands.shrink(task, sample, kind, tell)
