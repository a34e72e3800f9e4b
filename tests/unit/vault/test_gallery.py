import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nanolocal.chat.drawing import PictureReceipt
from nanolocal.chat.messages import Attachment, Role
from nanolocal.chat.ports import Gallery
from nanolocal.errors import UsageError
from nanolocal.vault.gallery import Pictures
from nanolocal.vault.imported import ImportedChat, ImportedMessage
from nanolocal.vault.transfer import own
from nanolocal.vault.transfer.exporting import write_json
from nanolocal.vault.transfer.importing import take
from nanolocal.vault.transfer.report import Report
from tests.fakes.homes import Home, home
from tests.unit.vault.test_golden import records_alone

RECEIPT = PictureReceipt(
    "pine:f16", "ab" * 32, "a red circle", 64, 64, 20, 3.0, 2**40, "blurry", "DDIMScheduler",
    adapters=(("cd" * 32, 0.5),), dtype="float32", threads=2, versions=(("torch", "2.13.0"),),
)  # fmt: skip
DRAWN = Attachment("picture.png", "image/png", bytes(range(256)) * 300, RECEIPT.to_json())
PHOTO = Attachment("fox.jpg", "image/jpeg", b"\xff\xd8\xff a photo")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path / "home") as opened:
        yield opened


def gallery(here: Home) -> Pictures:
    pictures = Pictures(here.vault.database, here.vault.blobs)
    port: Gallery = pictures
    assert port is pictures
    return pictures


def test_a_receipt_comes_back_with_its_picture_wherever_that_goes(tmp_path: Path) -> None:
    with home(tmp_path / "home", None) as first:
        chat_id, _, _ = first.turn("draw a red circle", "", attachments=(PHOTO,), picture=DRAWN)
    with home(tmp_path / "home", None) as second:
        prompt, answer = second.store.path(chat_id)
        assert answer.message.attachments == (DRAWN,)
        assert prompt.message.attachments == (PHOTO,)
        assert [each.message.attachments for each in second.store.whole(chat_id).messages] == [(PHOTO,), (DRAWN,)]
        assert second.vault.verify() == []
        write_json(second.store, [chat_id], tmp_path / "chats.json", lambda _: None)
    with home(tmp_path / "other", None) as other:
        take(tmp_path / "chats.json", other.store, Report("chats.json"), lambda _: None)
        (found,) = [each for each in gallery(other).pictures() if each.receipt]
        assert (found.receipt, found.made_here, found.prompt) == (RECEIPT, False, "draw a red circle")
        assert gallery(other).picture(found.id) == DRAWN


def test_a_receipt_in_an_export_that_does_not_add_up_costs_the_receipt_alone(here: Home, tmp_path: Path) -> None:
    chat_id, _, _ = here.turn("one", "", picture=DRAWN)
    item = own.written(here.store.whole(chat_id))
    item["id"], item["source"] = "x", "nanolocal:x"
    messages = item["messages"]
    assert isinstance(messages, list)
    messages[1]["attachments"][0]["receipt"] = {"width": 12}
    file = tmp_path / "chats.json"
    file.write_text(json.dumps({"format": own.FORMAT, "version": own.VERSION, "chats": [item]}))
    take(file, here.store, Report("chats.json"), lambda _: None)
    assert [each.receipt for each in gallery(here).pictures()] == [None, RECEIPT]


def test_the_reader_in_the_documentation_prints_receipts(tmp_path: Path) -> None:
    with home(tmp_path / "home", None) as here:
        here.turn("draw a red circle", "", picture=DRAWN)
    _, answer = records_alone(tmp_path / "home", None)
    assert PictureReceipt.from_json(answer["files"][0]["receipt"]) == RECEIPT


def test_the_gallery_lists_drawn_and_attached_pictures_the_newest_first(here: Home) -> None:
    notes = Attachment("notes.txt", "text/plain", b"no picture")
    first, prompt, answer = here.turn("What is on this photo?", "A fox.", attachments=(PHOTO, notes))
    second, _, drawn = here.turn("draw a red circle", "", picture=DRAWN)
    newest, oldest = gallery(here).pictures()
    assert (newest.chat_id, newest.message_id, newest.prompt) == (second, drawn, "draw a red circle")
    hold = here.store.hold_of(drawn)
    assert hold is not None
    assert gallery(here).drawn_under(hold) == [newest]
    assert gallery(here).drawn_under("nothing") == []
    assert (newest.receipt, newest.made_here, newest.size) == (RECEIPT, True, len(DRAWN.data))
    assert (oldest.chat_id, oldest.message_id, oldest.prompt) == (first, prompt, "What is on this photo?")
    assert (oldest.receipt, oldest.made_here, oldest.build_id) == (None, False, "")
    assert gallery(here).stored(oldest.id) == oldest
    assert gallery(here).picture(oldest.id) == PHOTO
    assert list(gallery(here).matching(newest.id[:30])) == [newest.id]
    assert here.store.path(first)[-1].id == answer


def test_pictures_are_found_by_the_words_of_their_prompts(here: Home) -> None:
    for prompt in ("draw a red circle", "draw a blue house", "画一只红色的狐狸"):
        here.turn(prompt, "said of a circle", picture=DRAWN)

    def found(query: str) -> list[str]:
        return [each.prompt for each in gallery(here).pictures(query)]

    assert found("red circle") == ["draw a red circle"]
    assert found("DRAW") == ["draw a blue house", "draw a red circle"]
    assert found("draw hou") == ["draw a blue house"]
    assert found("狐狸") == ["画一只红色的狐狸"]
    assert found("said") == []
    assert found("model:nobody") == []
    assert found("model:tiny circle") == ["draw a red circle"]
    assert found('"%_') == []


def test_the_gallery_goes_on_where_it_ended_and_keeps_pictures_of_one_moment_together(here: Home) -> None:
    def chat(number: int, count: int) -> ImportedChat:
        messages = (ImportedMessage("0", None, Role.USER, f"prompt {number}", 5.0 + number, None, (PHOTO,) * count),)
        return ImportedChat(f"test:{number}", "t", 5.0, 6.0, None, messages)

    for number in range(5):
        here.store.import_chat(chat(number, 3))
    seen: list[str] = []
    sizes, before = [], None
    while page := gallery(here).pictures(limit=4, before=before):
        sizes.append(len(page))
        seen += [each.id for each in page]
        before = page[-1].created_at
    assert sizes == [6, 6, 3]
    assert len(seen) == len(set(seen)) == 15
    assert gallery(here).pictures(limit=0) == []


def test_a_deleted_picture_is_gone_for_good_and_its_message_says_so(tmp_path: Path) -> None:
    with home(tmp_path / "home") as here:
        chat_id, _, _ = here.turn("draw a red circle", "", picture=DRAWN)
        here.turn("another", "", picture=replace(DRAWN, data=b"other"))
        other, gone = gallery(here).pictures()
        gallery(here).delete_picture(gone.id)
        assert gallery(here).pictures() == [other]
        assert not (tmp_path / "home" / "blobs" / gone.id).exists()
        answer = here.store.path(chat_id)[-1]
        assert (answer.message.text, answer.message.attachments) == ("[picture.png was deleted]", ())
        assert here.vault.verify() == []
        for attempt in (gallery(here).picture, gallery(here).stored, gallery(here).delete_picture):
            with pytest.raises(UsageError, match="no picture"):
                attempt(gone.id)
    with home(tmp_path / "home") as later:
        assert len(later.vault.snapshots()) == 1
        assert later.vault.verify() == []
