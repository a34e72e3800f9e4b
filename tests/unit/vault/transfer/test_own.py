"""What goes out as JSON comes back whole; Markdown is readable and stays in its folder."""

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nanolocal.chat.messages import Attachment, Role, Stopped
from nanolocal.errors import UsageError
from nanolocal.vault.imported import ImportedChat, ImportedMessage, WholeChat
from nanolocal.vault.transfer import png
from nanolocal.vault.transfer.exporting import write_json, write_markdown
from nanolocal.vault.transfer.importing import take
from nanolocal.vault.transfer.report import Report
from tests.fakes.homes import Home, home
from tests.unit.vault.transfer.samples import PNG

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
TIMES = st.floats(0, 1e11)
FILES = st.builds(
    Attachment, TEXT.filter(bool), st.sampled_from(["image/png", "text/plain", "x/y"]), st.binary(max_size=50)
)
NOTHING = st.none()
LABELS = NOTHING | TEXT.filter(bool)


def quiet(_: str) -> None:
    """No progress."""


@st.composite
def chats(draw: Any) -> ImportedChat:
    messages: list[ImportedMessage] = []
    for number in range(draw(st.integers(0, 8))):
        parent = draw(NOTHING | st.sampled_from([each.id for each in messages])) if messages else None
        files = tuple(draw(st.lists(FILES, max_size=2)))
        author, task = draw(LABELS), draw(LABELS)
        stopped = draw(NOTHING | st.sampled_from([each.value for each in Stopped]))
        role = draw(st.sampled_from(list(Role)))
        messages.append(
            ImportedMessage(str(number), parent, role, draw(TEXT), draw(TIMES), author, files, task, stopped)
        )
    source = f"made:{draw(st.integers(0))}"
    return ImportedChat(source, draw(TEXT), draw(TIMES), draw(TIMES), draw(NOTHING | TEXT), tuple(messages))


def shape(chat: WholeChat) -> object:
    """Everything but the ids, which are new: parents as places in the row."""
    places = {message.id: place for place, message in enumerate(chat.messages)}
    rows = [
        (each.message, each.created_at, each.build_id, each.task, each.stopped, places.get(each.parent_id or ""))
        for each in chat.messages
    ]
    return (chat.source, chat.title, chat.system, chat.created_at, chat.updated_at, rows)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(chats(), max_size=3, unique_by=lambda chat: chat.source))
def test_json_comes_back_with_nothing_lost(tmp_path_factory: pytest.TempPathFactory, many: list[ImportedChat]) -> None:
    folder = tmp_path_factory.mktemp("own")
    with home(folder / "from") as first, home(folder / "to") as second:
        ids = [chat_id for chat in many if (chat_id := first.store.import_chat(chat))]
        write_json(first.store, ids, folder / "out.json", quiet)
        told = Report("")
        take(folder / "out.json", second.store, told, quiet)
        assert (told.taken, told.already_here, told.problems, told.notes.lines()) == (len(many), 0, [], [])
        before = [shape(first.store.whole(chat_id)) for chat_id in ids]
        after = {row.id: shape(second.store.whole(row.id)) for row in second.store.chats(99)}
        assert sorted(before, key=repr) == sorted(after.values(), key=repr)
        take(folder / "out.json", second.store, again := Report(""), quiet)
        take(folder / "out.json", first.store, back := Report(""), quiet)
        assert (again.taken, again.already_here, back.taken, back.already_here) == (0, len(many), 0, len(many))
        assert second.vault.verify() == []


def test_what_an_answer_cost_goes_out_and_stays_out_of_another_ledger(tmp_path: Path) -> None:
    with home(tmp_path / "from") as first, home(tmp_path / "to") as second:
        chat_id, prompt, _ = first.turn("asked", "answered", picture=Attachment("p.png", "image/png", PNG), system="s")
        first.answer(chat_id, prompt, "again")
        write_json(first.store, [chat_id], tmp_path / "x", quiet)
        (chat,) = json.loads((tmp_path / "x").read_text())["chats"]
        answer = chat["messages"][1]
        assert (answer["build"], answer["task"], answer["stopped"], answer["cost_micro"]) == (
            "tiny:Q8_0",
            "chat",
            "end",
            5,
        )
        assert (answer["usage"]["prompt_tokens"], answer["route"]["reasons"]) == (100, ["only one"])
        before = second.wallet.verify()
        take(tmp_path / "x", second.store, told := Report(""), quiet)
        stored = second.store.path(second.store.chats(1)[0].id)
        assert [each.message.text for each in stored] == ["asked", "again"]
        assert (stored[1].build_id, stored[1].cost_micro, stored[1].task, stored[1].stopped) == (
            "tiny:Q8_0",
            0,
            "chat",
            "end",
        )
        assert second.wallet.verify() == before
        assert told.notes.lines() == [
            "2 usage and cost records left out: the ledger counts what this vault spent",
        ]


def test_an_export_of_a_later_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text('{"format": "nanolocal-chats", "version": 2, "chats": []}')
    with home(tmp_path / "home") as here:
        take(tmp_path / "x", here.store, told := Report(""), quiet)
    assert [problem.message for problem in told.problems] == ["this export has version 2, nanolocal reads 1"]


NAMES = [
    "../../escape.png",
    "/etc/passwd",
    "CON",
    "..",
    "a\nb\x1b[2J",
    "x" * 300 + ".png",
    "日本語" * 80,
    ".hidden",
    "a/b\\c",
]


def test_markdown_is_readable_and_every_file_stays_in_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with home(tmp_path / "home") as here:
        chat_id = ""
        for name in NAMES:
            files = (Attachment(name, "text/plain", name.encode()),)
            picture = Attachment(name, "image/png", PNG)
            chat_id, prompt, _ = here.turn("asked \x1b[31m", "one", None, files, picture, title=name, system="be brief")
            here.answer(chat_id, prompt, "the newest")
        told = write_markdown(here.store, [row.id for row in here.store.chats(99)], out, quiet)
    everything = [path for path in tmp_path.rglob("*") if tmp_path / "home" not in path.parents]
    assert all(out in path.parents or path in (out, out.parent, tmp_path / "home") for path in everything)
    assert sorted(told.files) == sorted(str(path) for path in everything if path.is_file())
    assert all(
        path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600) for path in everything if out in path.parents
    )
    assert out.stat().st_mode & 0o777 == 0o700
    assert (told.chats, told.messages, told.attachments) == (len(NAMES), 2 * len(NAMES), len(NAMES))
    for path in out.glob("*.md"):
        text = path.read_text()
        assert text.startswith("# ")
        assert "be brief" in text and "the newest" in text and "\x1b" not in text
        assert "newest of 2 branches" in text and "version 2 of 2" in text
        assert "(tiny:Q8_0, " in text
        links = [line.rpartition("](")[2][:-1] for line in text.splitlines() if "](" in line]
        assert len(links) == 1
        assert all((out / unquote(link)).is_file() for link in links)


def test_pictures_leave_for_markdown_without_any_trace(tmp_path: Path) -> None:
    camera = Image.Exif()
    camera[0x010F] = "SECRETCAMERA"
    photo = BytesIO()
    Image.new("RGB", (8, 6), "red").save(photo, "JPEG", exif=camera)
    told = png.with_texts(PNG, {"parameters": "SECRETPROMPT"})
    with home(tmp_path / "home") as here:
        photos = (Attachment("fox.jpg", "image/jpeg", photo.getvalue()), Attachment("b.png", "image/png", b"\x89PNG?"))
        chat_id, _, _ = here.turn("asked", "", attachments=photos, picture=Attachment("p.png", "image/png", told))
        done = write_markdown(here.store, [chat_id], tmp_path / "out", quiet)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not any(b"SECRET" in path.read_bytes() for path in files)
    (fox,) = [path for path in files if path.name.endswith("fox.png")]
    with Image.open(fox) as picture:
        assert (picture.format, picture.size, dict(picture.getexif())) == ("PNG", (8, 6), {})
    (text,) = [path.read_text() for path in files if path.suffix == ".md"]
    assert "b.png (damaged in the vault)" in text
    assert (done.attachments, done.damaged) == (3, 1)


def to_json(here: Home, place: Path, force: bool) -> None:
    write_json(here.store, [row.id for row in here.store.chats(9)], place, quiet, force=force)


def to_markdown(here: Home, place: Path, force: bool) -> None:
    write_markdown(here.store, [row.id for row in here.store.chats(9)], place, quiet, force=force)


@pytest.mark.parametrize("write", [to_json, to_markdown])
def test_files_are_not_overwritten_unless_forced(tmp_path: Path, write: Callable[[Home, Path, bool], None]) -> None:
    with home(tmp_path / "home") as here:
        here.turn("asked", "answered", attachments=(Attachment("f", "text/plain", b"words"),))
        write(here, tmp_path / "out", False)
        (path, *_) = [path for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")] if path.is_file()]
        path.write_bytes(b"mine")
        with pytest.raises(UsageError, match="exists"):
            write(here, tmp_path / "out", False)
        assert path.read_bytes() == b"mine"
        write(here, tmp_path / "out", True)
        assert path.read_bytes() != b"mine"
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_failed_export_leaves_nothing_and_no_link_is_followed(tmp_path: Path) -> None:
    with home(tmp_path / "home") as here:
        chat_id, _, _ = here.turn("asked", "answered", attachments=(Attachment("f", "text/plain", b"words"),))
        with pytest.raises(UsageError):
            write_json(here.store, [chat_id, "nobody"], tmp_path / "x.json", quiet)
        with pytest.raises(UsageError):
            write_json(here.store, [chat_id], tmp_path / "none" / "x.json", quiet)
        write_markdown(here.store, [chat_id], tmp_path / "out", quiet)
        (beside,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
        for file in beside.iterdir():
            file.unlink()
        beside.rmdir()
        beside.symlink_to(tmp_path / "home")
        with pytest.raises(UsageError, match="link"):
            write_markdown(here.store, [chat_id], tmp_path / "out", quiet, force=True)
    assert {path.name for path in tmp_path.iterdir()} == {"home", "out"}


def test_a_damaged_attachment_is_counted_and_the_rest_goes_out(tmp_path: Path) -> None:
    with home(tmp_path / "home") as here, home(tmp_path / "to") as there:
        chat_id, _, _ = here.turn("asked", "answered", attachments=(Attachment("f", "text/plain", b"words"),))
        (blob,) = (tmp_path / "home" / "blobs").iterdir()
        blob.unlink()
        assert write_json(here.store, [chat_id], tmp_path / "x.json", quiet).damaged == 1
        told = write_markdown(here.store, [chat_id], tmp_path / "out", quiet)
        assert (told.damaged, len(told.files)) == (1, 1)
        take(tmp_path / "x.json", there.store, report := Report(""), quiet)
        assert (report.taken, report.attachments) == (1, 0)
        assert "1 attachment left out: its data is missing or damaged" in report.notes.lines()
