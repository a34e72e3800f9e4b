"""From a picture's receipt to the wishes that draw it again, and what is not as it was when it was drawn."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from nanolocal.chat.drawing import Adapters, Drawing, PictureReceipt, StoredPicture
from nanolocal.chat.messages import Attachment, TurnRequest, Wishes
from nanolocal.chat.ports import Gallery
from nanolocal.chat.routes import Build, Kind
from nanolocal.errors import UsageError
from nanolocal.safetext import safe_line

_LEAST_HASH = 10
"""Digits of a SHA-256 that programs show for a file's."""
_SEARCHED = 500


class AdapterPart(Protocol):
    """A LoRA on this device."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def sha256(self) -> str:
        """Of its file."""
        ...


class Drawers(Protocol):
    """What draws."""

    def builds(self) -> tuple[Build, ...]:
        """Every usable build."""
        ...

    def adapters(self) -> Sequence[AdapterPart]:
        """Every usable LoRA."""
        ...


class Studio(Protocol):
    """The part of a session that drawing again needs."""

    @property
    def library(self) -> Drawers:
        """What draws."""
        ...

    @property
    def gallery(self) -> Gallery:
        """What was drawn."""
        ...


@dataclass(frozen=True, slots=True)
class Redrawing:
    """A turn that draws a picture again, and in sentences what is known to be different this time."""

    request: TurnRequest
    notes: tuple[str, ...] = ()


def redrawing(session: Studio, picture: StoredPicture, receipt: PictureReceipt, wishes: Wishes) -> Redrawing:
    """How to draw ``picture`` again; ``wishes`` say what is to be otherwise (a seed, a build) and whether it is kept.

    It is a conversation of its own, as earlier ones would have a say in it. Raises ``UsageError`` where something that
    went in is no longer here.
    """
    if receipt.mask or receipt.control:
        wishes = replace(wishes, drawing=_with_files(session, picture, receipt, wishes.drawing))
    filled, notes = like(session, receipt, wishes)
    sources = (_source(session, picture, receipt.source),) if receipt.source else ()
    return Redrawing(TurnRequest(receipt.prompt, sources, filled), notes)


def _with_files(session: Studio, picture: StoredPicture, receipt: PictureReceipt, asked: Drawing) -> Drawing:
    """What is asked, with the mask and the control picture that it was drawn with; raises ``UsageError``."""
    kept = {hashlib.sha256(file.data).hexdigest(): file.data for file in session.gallery.ingredients(picture.id)}
    for name, sha256 in (("mask", receipt.mask), ("control picture", receipt.control)):
        if sha256 and sha256 not in kept:
            raise UsageError(f"the {name} that this picture was drawn with is not in the vault", "draw it anew")
    controlnet = asked.controlnet or receipt.controlnet or None
    return replace(asked, mask=kept.get(receipt.mask), control=kept.get(receipt.control), controlnet=controlnet)


def like(session: Studio, receipt: PictureReceipt, wishes: Wishes) -> tuple[Wishes, tuple[str, ...]]:
    """``wishes`` filled with what the receipt tells, for the build that it names or the one most like it."""
    notes: list[str] = []
    build = _build(session.library.builds(), receipt)
    wanted = wishes.model if wishes.model not in (None, "auto") else None if build is None else build.id
    if wanted is None:
        notes.append(f"{safe_line(receipt.build_id) or 'the model'} is not stored here: the best build that draws does")
    is_same = build is not None and build.id == wanted and build.sha256 == receipt.build_sha256
    width, height = (receipt.width, receipt.height) if is_same or _fits(build, receipt) else (0, 0)
    adapters, missing = _adapters(session, receipt)
    if missing and is_same:
        raise UsageError(f"the LoRA {safe_line(missing[0][:16])} is no longer stored", "nanolocal models scan")
    notes += [f"the LoRA {safe_line(name[:40])} is not stored here and left out" for name in missing]
    asked = wishes.drawing
    drawing = replace(
        asked,
        negative=receipt.negative * (receipt.guidance > 1) if asked.negative is None else asked.negative,
        guidance=receipt.guidance or None if asked.guidance is None else asked.guidance,
        scheduler=receipt.scheduler or None if asked.scheduler is None else asked.scheduler,
        strength=receipt.strength if receipt.source and asked.strength is None else asked.strength,
        adapters=asked.adapters or adapters,
        cache=receipt.cache if asked.cache is None else asked.cache,
    )
    filled = replace(
        wishes,
        model=wanted,
        picture=True,
        seed=receipt.seed if wishes.seed is None else wishes.seed,
        width=wishes.width or width or None,
        height=wishes.height or height or None,
        steps=wishes.steps or receipt.steps or None,
        drawing=drawing,
    )
    return filled, tuple(notes)


def differences(then: PictureReceipt, now: PictureReceipt) -> list[str]:
    """What of build, libraries and machine is not as it was, in words; nothing where the bytes have to be the same."""
    return list(_differences(then, now))


def _differences(then: PictureReceipt, now: PictureReceipt) -> Iterator[str]:
    if then.stopped_at:
        yield f"it was stopped after step {then.stopped_at}; now it is whole"
    if then.build_sha256 != now.build_sha256:
        yield f"the build: {_short(then)} then, {_short(now)} now"
    before, after = dict(then.versions), dict(now.versions)
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield f"{name}: {before.get(name, 'unknown')} then, {after.get(name, 'unknown')} now"
    rows = (
        ("threads", then.threads, now.threads),
        ("how memory was saved", then.rung, now.rung),
        ("the kind of numbers", then.dtype, now.dtype),
        ("the sampler", then.scheduler, now.scheduler),
        ("the prompt", then.prompt, now.prompt),
        ("the size", f"{then.width}x{then.height}", f"{now.width}x{now.height}"),
        ("the steps", then.steps, now.steps),
        ("the guidance", then.guidance, now.guidance),
        ("the step cache", then.cache or "none", now.cache or "none"),
        ("the strength", then.strength, now.strength),
        ("the LoRAs", len(then.adapters), len(now.adapters)),
        ("the seed", then.seed, now.seed),
    )
    yield from (f"{name}: {old} then, {new} now" for name, old, new in rows if old != new)


def _short(receipt: PictureReceipt) -> str:
    return f"{receipt.build_id} ({receipt.build_sha256[:_LEAST_HASH] or 'no hash'})"


def _build(builds: Sequence[Build], receipt: PictureReceipt) -> Build | None:
    """The stored build that drew it: by its hash, or the start of that, else by its name."""
    drawing = [build for build in builds if build.kind is Kind.IMAGE and not build.needs]
    known = receipt.build_sha256.lower()
    if len(known) >= _LEAST_HASH:
        for build in drawing:
            if build.sha256.startswith(known):
                return build
    wanted = receipt.build_id.casefold()
    names = ((build, {build.id, build.name, build.id.partition(":")[0], *build.aliases}) for build in drawing)
    return next((build for build, own in names if wanted in {name.casefold() for name in own}), None)


def _fits(build: Build | None, receipt: PictureReceipt) -> bool:
    """Whether a build, perhaps another one, draws that size."""
    if build is None:
        return False
    known = build.defaults
    multiple = int(known.get("multiple", 8))
    sides = (("width", receipt.width), ("height", receipt.height))
    return all(
        side % multiple == 0 and known.get(f"min_{name}", 0) <= side <= known.get(f"max_{name}", side)
        for name, side in sides
    )


def _adapters(session: Studio, receipt: PictureReceipt) -> tuple[Adapters, list[str]]:
    """The stored LoRAs of the receipt by name, and those that are not stored."""
    found: list[tuple[str, float]] = []
    missing = []
    for key, weight in receipt.adapters:
        parts = session.library.adapters()
        part = next((part for part in parts if part.sha256.startswith(key.lower()) or part.name == key), None)
        if part is None:
            missing.append(key)
        else:
            found.append((part.name, weight))
    return tuple(found), missing


def _source(session: Studio, picture: StoredPicture, sha256: str) -> Attachment:
    """The picture that went in: of the same conversation, or of any."""
    everything = session.gallery.pictures(limit=_SEARCHED)
    for each in sorted(everything, key=lambda other: other.chat_id != picture.chat_id):
        file = session.gallery.picture(each.id)
        if hashlib.sha256(file.data).hexdigest() == sha256:
            return Attachment("source.png", file.media_type, file.data)
    raise UsageError("the picture that this one was made from is no longer in the vault", "nanolocal pictures list")
