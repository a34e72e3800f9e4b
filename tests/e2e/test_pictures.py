"""Pictures from drawing to file and back, with the starter build that draws and the real engine."""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from nanolocal import bootstrap
from nanolocal.chat.drawing import Drawing, PictureReceipt
from nanolocal.chat.events import Event, Finished, ImageStep
from nanolocal.chat.messages import Answer, Attachment, Stopped, TurnRequest, Usage, Wishes
from nanolocal.chat.redrawing import redrawing
from nanolocal.errors import NoBuildFits
from nanolocal.paths import Paths, starter_models
from nanolocal.vault.scan import leaks
from tests.e2e.conftest import Program
from tests.fakes.pipelines import write_pipelines

pytestmark = pytest.mark.slow


@contextmanager
def session(home: Path) -> Iterator[bootstrap.Session]:
    """An open session; what runs in it has to close it in its own event loop."""
    paths = Paths.choose(home)
    yield bootstrap.open_session(paths, None)


def play(opened: bootstrap.Session, *requests: TurnRequest, stop_at: int = 0) -> list[Answer]:
    """The answers to prompts that follow one another in one conversation; then the session is closed."""

    async def run() -> list[Answer]:
        answers: list[Answer] = []
        try:
            for request in requests:
                chat_id = answers[-1].chat_id if answers else None
                stop = asyncio.Event()
                follow = TurnRequest(request.prompt, request.attachments, request.wishes, chat_id)
                async with aclosing(opened.chat.turn(follow, stop)) as events:
                    async for event in events:
                        _stop_at(event, stop_at, stop)
                        if isinstance(event, Finished):
                            answers.append(event.answer)
        finally:
            await opened.close()
        return answers

    return asyncio.run(run())


def middle(data: bytes) -> tuple[int, ...]:
    """The colour in the middle of a picture."""
    with Image.open(BytesIO(data)) as picture:
        found = picture.convert("RGB").getpixel((picture.width // 2, picture.height // 2))
    assert isinstance(found, tuple)
    return found


def _stop_at(event: Event, step: int, stop: asyncio.Event) -> None:
    if isinstance(event, ImageStep) and event.step == step:
        stop.set()


def test_a_picture_is_drawn_saved_taken_back_and_drawn_again_byte_by_byte(program: Program, tmp_path: Path) -> None:
    plain, told = tmp_path / "plain.png", tmp_path / "told.png"
    prompt = "a red circle for nobody else"
    drawn = program("image", prompt, "--size", "64x64", "--steps", "2", "--seed", "7", "--out", str(plain), "--json")
    assert drawn.returncode == 0, drawn.stderr
    with Image.open(plain) as picture:
        assert picture.info == {}
    (stored,) = json.loads(program("pictures", "list", "circle", "--json").stdout)["pictures"]
    assert (stored["receipt"]["seed"], stored["receipt"]["prompt"], stored["made_here"]) == (7, prompt, True)
    shown = program("pictures", "show", stored["id"][:8]).stdout
    assert "seed         7" in shown
    saved = program("pictures", "save", stored["id"], "--out", str(told), "--with-metadata")
    assert saved.returncode == 0, saved.stderr
    assert program("pictures", "save", stored["id"], "--out", str(told)).returncode == 2
    verified = json.loads(program("pictures", "verify", stored["id"], "--json").stdout)
    assert (verified["same_bytes"], verified["differences"]) == (True, [])
    assert verified["sha256"] == hashlib.sha256(plain.read_bytes()).hexdigest()

    program.home = tmp_path / "other"
    taken = json.loads(program("pictures", "import", str(told), "--json").stdout)["pictures"]
    assert taken[0]["receipt"] == stored["receipt"]
    (imported,) = json.loads(program("pictures", "list", "--json").stdout)["pictures"]
    again = json.loads(program("pictures", "again", imported["id"], "--json").stdout)
    assert (again["differences"], again["receipt"]) == ([], stored["receipt"])
    newest, _ = json.loads(program("pictures", "list", "--json").stdout)["pictures"]
    assert program("pictures", "save", newest["id"], "--out", str(told), "--force").returncode == 0
    assert told.read_bytes() == plain.read_bytes()
    charge = program("credits", "show", again["message_id"]).stdout
    assert newest["id"] in charge
    assert "64x64" in charge
    assert program("pictures", "delete", newest["id"], "--yes").returncode == 0
    assert len(json.loads(program("pictures", "list", "--json").stdout)["pictures"]) == 1
    assert not leaks(program.home / "data", [prompt])


def test_a_picture_that_was_drawn_into_a_mask_is_drawn_again_byte_by_byte(program: Program, tmp_path: Path) -> None:
    mask, photo, out = tmp_path / "mask.png", tmp_path / "photo.png", tmp_path / "out.png"
    Image.new("RGB", (64, 64), "red").save(photo)
    shape = Image.new("L", (64, 64), 0)
    shape.paste(255, (16, 16, 48, 48))
    shape.save(mask)
    asked = ("--from", str(photo), "--mask", str(mask), "--size", "64x64", "--steps", "2", "--out", str(out), "--json")
    drawn = program("image", "a blue square", *asked)
    assert drawn.returncode == 0, drawn.stderr
    pictures = json.loads(program("pictures", "list", "--json").stdout)["pictures"]
    (made,) = [each for each in pictures if each["made_here"]]
    assert len(pictures) == 2
    assert made["receipt"]["mask"] == hashlib.sha256(mask.read_bytes()).hexdigest()
    verified = json.loads(program("pictures", "verify", made["id"], "--json").stdout)
    assert (verified["same_bytes"], verified["differences"]) == (True, [])


def test_a_picture_is_enlarged_by_a_build_that_does_so(program: Program, tmp_path: Path) -> None:
    photo, out = tmp_path / "photo.png", tmp_path / "out.png"
    Image.new("RGB", (48, 32), "red").save(photo)
    refused = program("image", "--upscale", str(photo), "--out", str(out))
    assert (refused.returncode, "no stored build can enlarge a picture" in refused.stderr) == (4, True)
    write_pipelines(Paths.choose(program.home).models, "upscale")
    drawn = program("image", "--upscale", str(photo), "--steps", "2", "--out", str(out), "--json")
    assert drawn.returncode == 0, drawn.stderr
    with Image.open(out) as picture:
        assert picture.size == (192, 128)


def test_a_stopped_picture_leaves_its_preview_and_again_draws_it_to_its_end(tmp_path: Path) -> None:
    wishes = Wishes(width=64, height=64, steps=40, seed=7, drawing=Drawing(keep_preview=True))
    with session(tmp_path / "home") as opened:
        (stopped,) = play(opened, TurnRequest("draw a red circle", wishes=wishes), stop_at=3)
    (preview,) = stopped.pictures
    told = PictureReceipt.from_json(preview.receipt)
    assert (stopped.stopped, told.stopped_at) == (Stopped.USER, stopped.usage.pixel_steps // 64**2)
    with session(tmp_path / "home") as opened:
        (stored,) = opened.gallery.pictures()
        assert stored.receipt == told
        again = redrawing(opened, stored, told, Wishes())
        (whole,) = play(opened, again.request)
    receipt = PictureReceipt.from_json(whole.pictures[0].receipt)
    assert (receipt.stopped_at, receipt.seed, receipt.steps, whole.stopped) == (0, 7, 40, Stopped.END)


def test_a_stopped_picture_leaves_nothing_and_charges_the_steps_that_were_done(tmp_path: Path) -> None:
    with session(tmp_path / "home") as opened:
        before = opened.ledger.balance()
        request = TurnRequest("draw a red circle", wishes=Wishes(width=64, height=64, steps=200, seed=7))
        (answer,) = play(opened, request, stop_at=5)
    assert (answer.stopped, answer.pictures, answer.text) == (Stopped.USER, (), "")
    steps, rest = divmod(answer.usage.pixel_steps, 64 * 64)
    assert 5 <= steps < 200
    assert rest == 0
    with session(tmp_path / "home") as later:
        assert later.gallery.pictures() == []
        card = later.ledger.price(answer.route.build)
        assert answer.cost_micro == card.cost(Usage(pixel_steps=answer.usage.pixel_steps, loads=answer.usage.loads))
        assert later.ledger.balance() == before - answer.cost_micro
        asyncio.run(later.close())


def test_make_it_blue_changes_the_picture_before_it(tmp_path: Path) -> None:
    with session(tmp_path / "home") as opened:
        wishes = Wishes(seed=1)
        requests = (
            TurnRequest("draw a big red circle on white", wishes=wishes),
            TurnRequest("make it blue", wishes=wishes),
        )
        drawn, changed = play(opened, *requests)
    assert (drawn.route.task, changed.route.task) == ("image_gen", "image_edit")
    with session(tmp_path / "home") as later:
        newest, oldest = later.gallery.pictures()
        assert newest.receipt is not None
        assert oldest.receipt is not None
        assert newest.receipt.source == hashlib.sha256(later.gallery.picture(oldest.id).data).hexdigest()
        assert (newest.receipt.strength, oldest.receipt.source) == (0.7, "")
        assert newest.receipt.prompt == "a big blue circle on white"
        red, blue = (middle(later.gallery.picture(each.id).data) for each in (oldest, newest))
        assert red[0] > red[2] + 60
        assert blue[2] > blue[0] + 60
        asyncio.run(later.close())


def test_without_a_build_that_sees_a_question_about_a_picture_says_what_to_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    for name in ("nanolocal-starter-text", "nanolocal-starter-image"):
        (tmp_path / "models" / name).symlink_to(starter_models() / name)
    monkeypatch.setattr("nanolocal.library.opening.starter_models", lambda: tmp_path / "models")
    photo = Attachment("a.png", "image/png", b"\x89PNG not really")
    for request in (TurnRequest("what is on it?", (photo,)), TurnRequest("describe the picture", (photo,))):
        with session(tmp_path / "home") as opened, pytest.raises(NoBuildFits, match="can look at pictures") as refused:
            play(opened, request)
        assert "--kind vision" in refused.value.hint
