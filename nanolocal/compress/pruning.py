"""The first steps of a recipe: layers and channels are taken out, and what is left learns from the original."""

import math
from pathlib import Path

from nanolocal.chat.amounts import sized
from nanolocal.compress.asking import Cut
from nanolocal.compress.measuring.calibration import Text
from nanolocal.compress.plan import Device
from nanolocal.compress.progress import Course
from nanolocal.compress.recipe import PruneStep, Recipe, RecoverStep
from nanolocal.compress.torch.divergence import SCORES
from nanolocal.compress.torch.prune import grams_bytes
from nanolocal.compress.torch.shape import FAMILIES
from nanolocal.compress.torch.tasks import Budget, Prune, Pruned
from nanolocal.compress.work.remembered import Remembered
from nanolocal.compress.work.tasks import Chunks, Source, Tokenize
from nanolocal.errors import NoBuildFits, UsageError
from nanolocal.library.fit.layout import Layout

_TOKENS, _ROWS, _TEXT_ROWS, _HELD_OUT_ROWS = 128, 12, 1024, 32
_FLOPS = 12e9
_FEWEST_STEPS = 10
_BLOCK, _LEAST_BLOCK = 256, 32
_LIBRARIES = 500 * 10**6
"""What torch takes before it computes anything."""
_LEARNING = 5
"""Floats for each weight that learns: itself, what it was before, its slope, and two means that AdamW keeps."""
_HOW = "write it as layers=1, or ffn=33%, or both with a comma"


def parse_cut(text: str) -> Cut:
    """``layers=1,ffn=33%``; raises ``UsageError`` for anything else."""
    cut = {"layers": 0.0, "ffn": 0.0}
    for part in text.split(","):
        name, _, amount = part.strip().partition("=")
        try:
            value = float(amount.rstrip("%")) / (100 if amount.endswith("%") else 1)
        except ValueError:
            value = 0.0
        is_right = value == int(value) if name == "layers" and value < 1000 else 0 < value < 1
        if name not in cut or value <= 0 or not is_right:
            raise UsageError(f"{text[:40]!r} does not say what to take out", _HOW)
        cut[name] = value
    return Cut(int(cut["layers"]), cut["ffn"])


def steps_for(
    cut: Cut | None, recipe: Recipe | None, layout: Layout, device: Device
) -> tuple[PruneStep, RecoverStep] | None:
    """How a model is pruned and recovers: as its recipe says, else as asked for; nothing where nothing is taken out.

    Raises ``UsageError`` for what cannot be taken out of this model, ``NoBuildFits`` where it cannot learn here.
    """
    steps = _recipe_steps(recipe) or _asked_steps(cut, layout, device)
    if steps is not None and (needed := training_bytes(layout, steps[0])) > device.memory:
        raise NoBuildFits(
            f"pruning it, and teaching what is left, takes {sized(needed)} of memory; {sized(device.memory)} are free",
            "leave out --prune, or do it on a larger machine and copy the file",
        )
    return steps


def training_bytes(layout: Layout, prune: PruneStep) -> int:
    """Memory while ``prune`` is done and what is left learns, all in 32-bit floats, about as torch takes it."""
    sizes = {tensor.name: math.prod(tensor.shape) for tensor in layout.tensors}
    layers, hidden = max(layout.number("block_count"), 1), max(layout.number("feed_forward_length"), 1)
    whole = sum(sizes.values())
    in_layers = sum(size for name, size in sizes.items() if name.startswith("blk."))
    fed = sum(size for name, size in sizes.items() if ".ffn_" in name) * (1 - (prune.hidden or hidden) / hidden)
    left = whole - in_layers + (in_layers - fed) * (prune.layers or layers) / layers
    tokens, width, heads = _ROWS * _TOKENS, layout.number("embedding_length"), layout.number("attention.head_count")
    computed = layers * tokens * (16 * width + 6 * hidden + 5 * heads * _TOKENS)
    scores = 6 * min(tokens * layout.vocabulary, SCORES)
    learning = 4 * int(whole + _LEARNING * left + computed + scores)
    choosing = 8 * whole + grams_bytes(max(hidden, width), layers)
    return _LIBRARIES + max(learning, choosing) + 8 * max(sizes.values())


def _recipe_steps(recipe: Recipe | None) -> tuple[PruneStep, RecoverStep] | None:
    known = [step for step in recipe.steps if not hasattr(step, "types")] if recipe is not None else []
    match known:
        case [PruneStep() as prune, RecoverStep() as recover]:
            return prune, recover
    return None


def _asked_steps(cut: Cut | None, layout: Layout, device: Device) -> tuple[PruneStep, RecoverStep] | None:
    if cut is None:
        return None
    architecture, layers = layout.architecture, layout.number("block_count")
    channels = layout.number("feed_forward_length")
    if architecture not in FAMILIES:
        raise UsageError(
            f"models of the kind {architecture[:30]!r} cannot be pruned", f"of {', '.join(FAMILIES)} they can"
        )
    if cut.layers >= layers:
        raise UsageError(
            f"the model has {layers} layers, {cut.layers} cannot go", f"--prune layers={max(layers - 1, 1)}"
        )
    block = _BLOCK if channels % _BLOCK == 0 and channels * (1 - cut.channels) >= _BLOCK else _LEAST_BLOCK
    hidden = max(int(channels * (1 - cut.channels)) // block * block, block) if cut.channels else 0
    parameters = sum(math.prod(tensor.shape) for tensor in layout.tensors)
    step_seconds = 8 * parameters * _ROWS * _TOKENS / (_FLOPS * max(device.cores, 1))
    steps = max(_FEWEST_STEPS, int(cut.seconds / max(step_seconds, 0.01)))
    return PruneStep(layers - cut.layers if cut.layers else 0, hidden), RecoverStep(min(steps, 2000), _ROWS)


async def pruned(
    source: Source,
    steps: tuple[PruneStep, RecoverStep],
    text: Text,
    seed: int,
    out: Path,
    runner: Remembered,
    course: Course,
) -> tuple[Source, Pruned]:
    """What is left of ``source``, in the file ``out``, and how it went; a cut-off training goes on where it was."""
    prune, recover = steps
    course.begin("prune", "taking parts out, and letting the rest learn")

    async def rows(words: str, most: int) -> Chunks:
        found = await runner.run(Tokenize(source, words, _TOKENS, most), lambda share: None)
        assert isinstance(found, Chunks)
        return found

    task = Prune(
        source=source,
        out=str(out),
        text=await rows(text.calibration_text(), _TEXT_ROWS),
        held_out=await rows(text.held_out_text(), _HELD_OUT_ROWS),
        budget=Budget(steps=recover.steps, rows=recover.rows, rate=recover.rate, seed=seed),
        layers=prune.layers,
        hidden=prune.hidden,
        heads=prune.heads,
        kv_heads=prune.kv_heads,
        rounds=prune.rounds,
        encoding="F16",
        checkpoint=str(out.with_suffix(".checkpoint")),
    )
    done = await runner.run(task, course.tell)
    assert isinstance(done, Pruned)
    return Source(str(out), source.sha256), done
