"""Which build draws a picture again, with which wishes, and what is told of the differences."""

from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import cast

import pytest

from nanolocal.chat.drawing import PictureReceipt, StoredPicture
from nanolocal.chat.messages import Attachment, Wishes
from nanolocal.chat.redrawing import Studio, differences, like, redrawing
from nanolocal.chat.routes import Build, Kind
from nanolocal.errors import UsageError
from nanolocal.library.found import Part, Role

PINE = Build("pine:f16", "Pine", Kind.IMAGE, Path("p"), "f16", 1, "ab" * 32, defaults={"max_width": 128.0})
OAK = Build("oak:f16", "Oak XL", Kind.IMAGE, Path("o"), "f16", 1, "cd" * 32, aliases=("v1-5-pruned",))
TEXT = Build("pine:Q8_0", "Pine", Kind.TEXT, Path("t"), "Q8_0", 1, "ef" * 32)
RECEIPT = PictureReceipt(
    "pine:f16", "ab" * 32, "a red circle", 64, 48, 20, 3.5, 9, "blurry", "DDIMScheduler", threads=2,
    versions=(("torch", "2.13.0"),),
)  # fmt: skip
STORED = StoredPicture("p1", "c1", "m1", "draw a red circle", "pine:f16", 5.0, 100, RECEIPT, made_here=True)


@dataclass
class Shelf:
    kept: tuple[Build, ...] = (TEXT, OAK, PINE)
    loras: tuple[Part, ...] = (Part(Path("l"), Role.ADAPTER, "winter", "a LoRA adapter", "", 1, "12" * 32),)

    def builds(self) -> tuple[Build, ...]:
        return self.kept

    def adapters(self) -> tuple[Part, ...]:
        return self.loras


@dataclass
class Pile:
    files: dict[str, bytes] = field(default_factory=dict)
    kept: list[bytes] = field(default_factory=list)

    def ingredients(self, name: str) -> list[Attachment]:
        return [Attachment("file", "x/y", data) for data in self.kept]

    def pictures(self, query: str = "", limit: int = 60) -> list[StoredPicture]:
        return [replace(STORED, id=name) for name in self.files]

    def picture(self, name: str) -> Attachment:
        return Attachment(name, "image/png", self.files[name])


@dataclass
class Opened:
    library: Shelf = field(default_factory=Shelf)
    gallery: Pile = field(default_factory=Pile)


def opened(*builds: Build, files: dict[str, bytes] | None = None, kept: list[bytes] | None = None) -> Studio:
    return cast("Studio", Opened(Shelf(builds) if builds else Shelf(), Pile(files or {}, kept or [])))


def test_a_receipt_of_this_library_is_wished_as_it_was() -> None:
    wishes, notes = like(opened(), RECEIPT, Wishes())
    assert (wishes.model, wishes.picture, wishes.seed, wishes.steps) == ("pine:f16", True, 9, 20)
    assert (wishes.width, wishes.height, notes) == (64, 48, ())
    drawing = wishes.drawing
    assert (drawing.negative, drawing.guidance, drawing.scheduler) == ("blurry", 3.5, "DDIMScheduler")


def test_what_the_user_wishes_goes_before_the_receipt() -> None:
    wishes, _ = like(opened(), RECEIPT, Wishes(model="oak:f16", seed=3, steps=4, width=32, store=False))
    assert (wishes.model, wishes.seed, wishes.steps, wishes.width, wishes.store) == ("oak:f16", 3, 4, 32, False)


@pytest.mark.parametrize(
    ("build_id", "sha256", "expected"),
    [
        ("somewhere else", "cdcdcdcdcd", "oak:f16"),
        ("v1-5-pruned", "0123456789", "oak:f16"),
        ("OAK XL", "", "oak:f16"),
        ("pine", "", "pine:f16"),
        ("unheard of", "", None),
        ("", "cdcd", None),
    ],
)
def test_a_foreign_receipt_finds_the_build_by_hash_or_name(build_id: str, sha256: str, expected: str | None) -> None:
    foreign = replace(RECEIPT, build_id=build_id, build_sha256=sha256)
    wishes, notes = like(opened(), foreign, Wishes())
    assert wishes.model == expected
    assert bool(notes) == (expected is None)


def test_a_size_that_the_build_does_not_draw_is_left_to_it() -> None:
    foreign = replace(RECEIPT, build_sha256="", width=512, height=768)
    assert like(opened(), foreign, Wishes())[0].width is None
    assert like(opened(), replace(foreign, build_id="Oak XL"), Wishes())[0].width == 512


def test_loras_are_found_by_their_hash_and_missing_ones_are_told() -> None:
    own = replace(RECEIPT, adapters=(("12" * 32, 0.5),))
    assert like(opened(), own, Wishes())[0].drawing.adapters == (("winter", 0.5),)
    with pytest.raises(UsageError, match="no longer stored"):
        like(opened(), replace(RECEIPT, adapters=(("34" * 32, 0.5),)), Wishes())
    foreign = replace(RECEIPT, build_sha256="", adapters=(("glass", 0.5), ("121212121212", 0.7)))
    wishes, notes = like(opened(), foreign, Wishes())
    assert wishes.drawing.adapters == (("winter", 0.7),)
    assert notes == ("the LoRA glass is not stored here and left out",)


def test_the_picture_that_went_in_goes_in_again() -> None:
    receipt = replace(RECEIPT, source=sha256(b"before").hexdigest(), strength=0.7)
    session = opened(files={"other": b"x", "one": b"before"})
    how = redrawing(session, STORED, receipt, Wishes())
    assert [item.data for item in how.request.attachments] == [b"before"]
    assert (how.request.prompt, how.request.chat_id, how.request.wishes.drawing.strength) == ("a red circle", None, 0.7)
    with pytest.raises(UsageError, match="no longer in the vault"):
        redrawing(opened(files={"other": b"x"}), STORED, receipt, Wishes())
    with pytest.raises(UsageError, match="the mask that this picture was drawn with is not in the vault"):
        redrawing(session, STORED, replace(receipt, mask="ab"), Wishes())


def test_mask_and_control_picture_go_in_again() -> None:
    source, mask, control = (sha256(data).hexdigest() for data in (b"before", b"where", b"along"))
    receipt = replace(RECEIPT, source=source, strength=1.0, mask=mask, control=control, controlnet="lines")
    session = opened(files={"one": b"before"}, kept=[b"where", b"along"])
    drawing = redrawing(session, STORED, receipt, Wishes(seed=4)).request.wishes.drawing
    assert (drawing.mask, drawing.control, drawing.controlnet) == (b"where", b"along", "lines")
    assert drawing.strength == 1.0


def test_the_preview_of_a_stopped_picture_becomes_whole() -> None:
    stopped = replace(RECEIPT, stopped_at=7)
    how = redrawing(opened(), STORED, stopped, Wishes())
    assert (how.request.wishes.seed, how.request.wishes.steps) == (9, 20)
    assert differences(stopped, RECEIPT) == ["it was stopped after step 7; now it is whole"]


def test_differences_say_what_was_and_what_is() -> None:
    assert differences(RECEIPT, RECEIPT) == []
    now = replace(RECEIPT, build_sha256="cd" * 32, threads=4, rung="half", versions=(("torch", "2.14.0"),))
    assert differences(RECEIPT, now) == [
        "the build: pine:f16 (ababababab) then, pine:f16 (cdcdcdcdcd) now",
        "torch: 2.13.0 then, 2.14.0 now",
        "threads: 2 then, 4 now",
        "how memory was saved: full then, half now",
    ]
