"""What the search rests on: text as tokens, what the source says of it, and what its layers compute on it."""

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from nanolocal.compress import repeating
from nanolocal.compress.asking import Ask, Prepared
from nanolocal.compress.installing import hash_of
from nanolocal.compress.measuring import calibration
from nanolocal.compress.plan import DEPTHS, PROBE_CHUNK, PROBED_CHUNKS, Tier, hessians_of
from nanolocal.compress.progress import Course
from nanolocal.compress.pruning import pruned
from nanolocal.compress.recipe import QuantizeStep, Recipe
from nanolocal.compress.search.bench import Proposal
from nanolocal.compress.search.losses import Probing
from nanolocal.compress.search.tabling import Depth
from nanolocal.compress.torch.tasks import Pruned
from nanolocal.compress.weights.encodings import FLOATS, NAMES, is_encodable
from nanolocal.compress.work.remembered import Remembered
from nanolocal.compress.work.tasks import Base, Capture, Chunks, Quantize, Result, Source, Task, Tokenize
from nanolocal.compress.work.workers import Runner
from nanolocal.compress.workspace import Workspace
from nanolocal.errors import UsageError
from nanolocal.formats.splits import parts_of
from nanolocal.library.fit.layout import Layout

_FEWEST = 2
"""Chunks that statistics can rest on."""
_NOTHING_KEPT = "nothing but sums of activations, in memory, until the end of the run"


Replan: TypeAlias = Callable[[Prepared, Source, Runner], Awaitable[Prepared]]


@dataclass(slots=True)
class Material:
    """All that proposals are made of, and the plan as it is for what is left of a pruned model.

    ``original`` is the build with floats for weights, ``source`` what is quantized; both bear the hash of the build.
    ``pruned`` tells how pruning went, where the two differ by that.

    ``statistics`` lies in ``private``, a folder in memory, where the text was private. ``calibration_facts`` and
    ``held_out_facts`` are for the card.
    """

    prepared: Prepared
    original: Source
    source: Source
    held_out: Chunks
    base: str
    statistics: str
    probing: Probing | None
    calibration_facts: dict[str, str | int]
    held_out_facts: dict[str, str | int]
    pruned: Pruned | None = None
    depth: Depth = field(default_factory=Depth)
    private: Path | None = None

    def recipe(self, proposal: Proposal, seed: int) -> Recipe:
        """What makes the file of ``proposal`` again."""
        importance = proposal.has_importance or proposal.is_rounded
        step = QuantizeStep(dict(proposal.types), proposal.name, proposal.is_rounded, importance)
        return Recipe((*(self.prepared.pruning or ()), step), seed, self.source.sha256, self.calibration_facts)

    def close(self) -> None:
        """Forget what was private."""
        if self.private is not None:
            shutil.rmtree(self.private, ignore_errors=True)


async def gather(
    prepared: Prepared,
    space: Workspace,
    runner: Remembered,
    children: Callable[[Path], Runner],
    replan: Replan,
    course: Course,
) -> Material:
    """Tokenize, ask the source, and watch it compute; raises ``UsageError`` where there is too little text.

    ``children`` gives runners of their own, for what is private, and ``replan`` the plan for what is left by pruning.
    """
    ask = prepared.ask
    build = await asyncio.to_thread(_source, ask, space)
    text = ask.text or calibration.built_in()
    repeating.check(ask, build.sha256, text.sha256 if text.is_public else "")
    texts = await _texts(prepared, build, text, runner, children, course)
    original = source = await _floats(build, prepared.layout, space, runner, course)
    course.begin("base", "asking the source")
    base, probe_base = str(space.path("held.logits")), str(space.path("probe.logits"))
    await runner.run(Base(original, texts.held_out, base), course.tell)
    course.skip(if_so=runner.was_known)
    learned = None
    if prepared.pruning is not None:
        shown = text if text.is_public else calibration.built_in()
        out = space.path("pruned.gguf")
        source, learned = await pruned(original, prepared.pruning, shown, ask.seed, out, runner, course)
        prepared = await replan(prepared, source, runner)
    plan, layout = prepared.plan, prepared.layout
    probing = None
    if DEPTHS.index(plan.tier) >= DEPTHS.index(Tier.QUADRATIC):
        await runner.run(Base(source, texts.probed, probe_base), lambda share: None)
        probing = Probing(texts.probed, probe_base)
    private = _private_folder() if ask.text is not None and not ask.text.is_public else None
    statistics = str((private or space.folder) / "statistics.npz")
    course.begin("capture", "watching the source compute")
    hessians = tuple(hessians_of(layout, plan.hessian_bytes))
    capture = Capture(source, texts.calibration, statistics, hessians)
    material = Material(
        prepared, original, source, texts.held_out, base, statistics, probing, texts.told, texts.held, learned
    )
    if private is None:
        await runner.run(capture, course.tell)
        course.skip(if_so=runner.was_known)
        return material
    material.private = private
    try:
        await _unseen(capture, private, children, course)
    except BaseException:
        material.close()
        raise
    return material


async def _unseen(task: Task, folder: Path, children: Callable[[Path], Runner], course: Course) -> Result:
    """The result of a task about private text, of which nothing is kept, by children that write to ``folder`` alone."""
    runner = children(folder)
    try:
        return await runner.run(task, course.tell)
    finally:
        runner.close()


async def _floats(build: Source, layout: Layout, space: Workspace, runner: Remembered, course: Course) -> Source:
    """The build with 16-bit floats for weights that were quantized: what is replaced there adds no error of its own."""
    course.begin("floats", "reading the source")
    types = {
        tensor.name: "F16"
        for tensor in layout.tensors
        if is_encodable(tensor.name, tensor.shape) and NAMES.get(tensor.kind) not in FLOATS
    }
    if not types:
        return build
    out = space.path("floats.gguf")
    await runner.run(Quantize(build, str(out), types), course.tell)
    return Source(str(out), build.sha256)


def _source(ask: Ask, space: Workspace) -> Source:
    """The build with the hash of its whole file, which is reckoned once."""
    parts = parts_of(ask.build.path)
    stamp = [[part.stat().st_size, part.stat().st_mtime_ns] for part in parts]
    key = f"hash {stamp}"
    known = space.recall(key)
    if not isinstance(known, str):
        hashes = [hash_of(part) for part in parts]
        known = hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()
        space.remember(key, known)
    return Source(os.fspath(ask.build.path), known)


@dataclass(frozen=True, slots=True)
class _Texts:
    calibration: Chunks
    held_out: Chunks
    probed: Chunks
    told: dict[str, str | int]
    held: dict[str, str | int]


async def _texts(
    prepared: Prepared,
    source: Source,
    text: calibration.Text,
    runner: Remembered,
    children: Callable[[Path], Runner],
    course: Course,
) -> _Texts:
    """Chunks to calibrate on, to measure and to probe with, and what the card says of the first two.

    What the source says of the others is written to files, so that they are never of a private text.
    """
    course.begin("text", "reading text")
    ask, plan = prepared.ask, prepared.plan
    shown = text if text.is_public else calibration.built_in()
    length = plan.chunk_tokens

    async def tokens(words: str, n_ctx: int, most: int, *, is_of: calibration.Text) -> Chunks:
        task = Tokenize(source, words, n_ctx, most, ask.is_marked and is_of is ask.text)
        if is_of.is_public:
            found = await runner.run(task, course.tell)
        else:
            found = await _unseen(task, Path(source.path).parent, children, course)
        assert isinstance(found, Chunks)
        return found

    chunks = await tokens(text.calibration_text(), length, plan.chunks, is_of=text)
    held_out = await tokens(shown.held_out_text(), length, plan.held_out, is_of=shown)
    probed = await tokens(shown.calibration_text(), min(length, PROBE_CHUNK), PROBED_CHUNKS, is_of=shown)
    if min(len(chunks.tokens), len(held_out.tokens)) < _FEWEST:
        raise UsageError(
            f"{text.name} is less than {_FEWEST} pieces of {length} tokens, too little to learn anything from",
            "give more text with --calibrate, or leave it out",
        )
    told: dict[str, str | int] = {"what": text.name, "chunks": len(chunks.tokens), "chunk_tokens": length}
    told["hessian_bytes"] = plan.hessian_bytes
    told |= {"sha256": text.sha256} if text.is_public else {"kept": _NOTHING_KEPT}
    held: dict[str, str | int] = {"what": shown.name, "sha256": shown.sha256, "chunks": len(held_out.tokens)}
    return _Texts(chunks, held_out, probed, told, held)


def _private_folder() -> Path:
    """A folder in memory; raises ``UsageError`` where this system has none."""
    shared = Path("/dev/shm")  # noqa: S108 (memory, and the folder made there is private)
    if not shared.is_dir():
        raise UsageError("this system has no place in memory for private statistics", "calibrate without `chats`")
    return Path(tempfile.mkdtemp(prefix="nanolocal-", dir=shared))
