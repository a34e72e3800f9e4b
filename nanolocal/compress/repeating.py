"""A recipe made again: the plan and the one proposal that give the same file, byte by byte."""

from dataclasses import replace

from nanolocal.compress.asking import Ask
from nanolocal.compress.plan import Plan, Tier
from nanolocal.compress.recipe import QuantizeStep, Recipe
from nanolocal.compress.search.bench import Proposal
from nanolocal.compress.weights.sizes import retyped
from nanolocal.errors import UsageError
from nanolocal.library.fit.layout import Layout

_OTHER = "take the build that the recipe was made for; its card tells the SHA-256"


def planned(plan: Plan, layout: Layout, recipe: Recipe) -> Plan:
    """``plan`` with the text and the size of ``recipe``; raises ``UsageError`` where it is for another model."""
    step = step_of(recipe)
    held = {tensor.name for tensor in layout.tensors}
    if unknown := sorted(set(step.types) - held):
        raise UsageError(f"the recipe is for another model: there is no {unknown[0]!r} in this one", _OTHER)
    size = retyped(layout, step.types, plan.bare).size_bytes
    told = recipe.calibration
    return replace(
        plan,
        tier=Tier.STOCK,
        rounds=False,
        most=size,
        is_free=False,
        memory=None,
        why=f"made again: {step.name}",
        chunks=_whole(told.get("chunks"), plan.chunks),
        chunk_tokens=_whole(told.get("chunk_tokens"), plan.chunk_tokens),
        hessian_bytes=_whole(told.get("hessian_bytes"), plan.hessian_bytes),
    )


def check(ask: Ask, sha256: str, text_sha256: str) -> None:
    """Raise ``UsageError`` where what a recipe was made of is not what is here: the build, or the text."""
    recipe = ask.recipe
    if recipe is None:
        return
    if recipe.source_sha256 != sha256:
        raise UsageError("the recipe is for another build", _OTHER)
    if recipe.calibration.get("sha256", "") != text_sha256:
        raise UsageError(
            f"the recipe learned from other text ({recipe.calibration.get('what', 'unknown')})",
            "give the same files with --calibrate",
        )


def proposal_of(recipe: Recipe) -> Proposal:
    """The file of a recipe."""
    step = step_of(recipe)
    return Proposal(step.name, step.types, is_rounded=step.rounded, has_importance=step.importance)


def step_of(recipe: Recipe) -> QuantizeStep:
    """Its last step; raises ``UsageError`` for one that does not end with that."""
    step = recipe.steps[-1] if recipe.steps else None
    if not isinstance(step, QuantizeStep):
        raise UsageError("the recipe does not say how to quantize", "give one that the lab has written")
    return step


def _whole(value: object, usual: int) -> int:
    return value if isinstance(value, int) and value > 0 else usual
