"""How a picture is drawn: what can be asked for beside its prompt, and the receipt that draws it once more."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any

from nanolocal.errors import Damaged

Adapters = tuple[tuple[str, float], ...]

MASK, CONTROL = "application/x-nanolocal-mask", "application/x-nanolocal-control"
"""Media types of picture files that an answer keeps beside its pictures, as what they were drawn with; never shown."""

RUNGS = ("full", "tiled", "half", "int8", "offload", "sequential")
"""How memory is saved, each by more than the one before it.

``tiled`` decodes a large picture piece by piece, ``half`` also keeps weights in 16 bits and ``int8`` in 8. Where there
is a graphics card, ``offload`` keeps there only the part that works, and ``sequential`` only the layer.
"""
STEP_CACHES = ("first-block-0.05", "first-block-0.1", "pyramid-2", "faster-2")
"""Ways to leave out work that hardly changes from step to step; the number says how readily."""
SCHEDULERS: Mapping[str, str] = {
    "ddim": "DDIMScheduler", "ddpm": "DDPMScheduler", "deis": "DEISMultistepScheduler",
    "dpm++": "DPMSolverMultistepScheduler", "dpm++-single": "DPMSolverSinglestepScheduler",
    "euler": "EulerDiscreteScheduler", "euler-a": "EulerAncestralDiscreteScheduler",
    "flow-euler": "FlowMatchEulerDiscreteScheduler", "flow-heun": "FlowMatchHeunDiscreteScheduler",
    "heun": "HeunDiscreteScheduler", "ipndm": "IPNDMScheduler", "kdpm2": "KDPM2DiscreteScheduler",
    "kdpm2-a": "KDPM2AncestralDiscreteScheduler", "lcm": "LCMScheduler", "lms": "LMSDiscreteScheduler",
    "pndm": "PNDMScheduler", "tcd": "TCDScheduler", "unipc": "UniPCMultistepScheduler",
}  # fmt: skip
"""Schedulers by the names that people use; a build's own is one of these classes or another."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """What the user asked of a picture beside prompt, size, steps and seed; ``None`` leaves it to the build.

    ``strength`` (0 to 1) is how much of a picture that goes in may change. ``mask``, ``control`` are picture files:
    white is what may change, and what ``controlnet`` follows. ``adapters`` are LoRAs by name or file, with their
    weights; ``count`` is how many pictures, whose seeds follow one another. ``keep_preview`` is whether a stop leaves
    the preview of the one under way; ``None`` leaves that to the settings. ``upscales`` asks for a build that enlarges.
    ``cache`` is one of ``STEP_CACHES``, ``""`` for none; ``None`` for the one that was measured to pay, if any.
    """

    negative: str | None = None
    guidance: float | None = None
    scheduler: str | None = None
    strength: float | None = None
    mask: bytes | None = None
    control: bytes | None = None
    controlnet: str | None = None
    adapters: Adapters = ()
    count: int = 1
    keep_preview: bool | None = None
    cache: str | None = None
    upscales: bool = False


@dataclass(frozen=True, slots=True)
class PictureReceipt:
    """Everything that a picture came from; the same on the same machine gives the same bytes.

    ``source``, ``mask`` and ``control`` are the SHA-256 of the files that went in, ``""`` for none, and ``adapters``
    are SHA-256 with weight. ``rung`` is how the memory was saved (``full`` where it was not), ``versions`` are those of
    the libraries that drew. One that is only a preview was stopped after ``stopped_at`` of its steps.
    ``cache`` is what spared work of steps (``STEP_CACHES``).
    """

    build_id: str
    build_sha256: str
    prompt: str
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    negative: str = ""
    scheduler: str = ""
    strength: float = 0.0
    source: str = ""
    mask: str = ""
    control: str = ""
    controlnet: str = ""
    adapters: Adapters = ()
    rung: str = "full"
    dtype: str = ""
    threads: int = 0
    versions: tuple[tuple[str, str], ...] = ()
    stopped_at: int = 0
    cache: str = ""

    def to_json(self) -> str:
        """As the vault keeps it."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "PictureReceipt":
        """Read ``to_json``'s text; raises ``Damaged``."""
        try:
            values = json.loads(text)
            known = {each.name: values[each.name] for each in fields(cls) if each.name in values}
            return _checked(cls(**_tuples(known)))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise Damaged("the receipt of a picture cannot be read") from error


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A picture in the vault, its bytes aside; ``created_at`` in seconds since 1970, ``size`` in bytes.

    ``prompt`` is what it answers or what it came with. ``build_id`` is who drew it, ``""`` for a file of the user's.
    ``made_here`` tells what was drawn on this device from what was attached or imported.
    """

    id: str
    chat_id: str
    message_id: str
    prompt: str
    build_id: str
    created_at: float
    size: int
    receipt: PictureReceipt | None
    made_here: bool


def _checked(receipt: PictureReceipt) -> PictureReceipt:
    """The receipt, if its values are of the kinds they should be; it may come from a file. Raises ``TypeError``."""
    kinds = {str: (str,), int: (int,), float: (int, float)}
    plain = all(
        type(getattr(receipt, each.name)) in kinds[each.type]
        for each in fields(receipt)
        if isinstance(each.type, type) and each.type in kinds
    )
    weights = [weight for _, weight in receipt.adapters]
    numbers = [receipt.guidance, receipt.strength, *weights]
    if not plain or not all(type(weight) in kinds[float] for weight in weights) or not all(map(isfinite, numbers)):
        raise TypeError
    if not all(type(version) is str for _, version in receipt.versions):
        raise TypeError
    return receipt


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has lists where a receipt has pairs."""
    pairs = {name: tuple((str(one), other) for one, other in values.get(name, ())) for name in ("adapters", "versions")}
    return {**values, **pairs}
