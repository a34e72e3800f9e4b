"""Broken and hostile exports: one clear error or a line in the report, and everything else is still taken."""

import copy
import json
import os
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nanolocal.vault.transfer import container
from nanolocal.vault.transfer.importing import take
from nanolocal.vault.transfer.report import Report
from tests.fakes.homes import home
from tests.unit.vault.transfer import samples
from tests.unit.vault.transfer.samples import read

OWN = {
    "format": "nanolocal-chats",
    "version": 1,
    "chats": [
        {"source": "nanolocal:1", "title": "t", "system": None, "created_at": 1.0, "updated_at": 2.0, "messages": [
            {"id": "1", "parent_id": None, "role": "user", "text": "a", "created_at": 1.0,
             "attachments": [{"name": "f", "media_type": "text/plain", "data": "YQ=="}]},
            {"id": "2", "parent_id": "1", "role": "assistant", "text": "b", "created_at": 1.5, "usage": {"x": 1}}]}
    ],
}  # fmt: skip
DOCUMENTS = [
    [samples.chatgpt()], [samples.claude()], [samples.open_webui()], samples.lm_studio(), OWN,
    {"object": "thread", "assistants": [{}], "id": "x"},
    {"object": "thread.message", "thread_id": "1", "role": "user", "created_at": 5,
     "content": [{"type": "text", "text": {"value": "a"}}], "metadata": {"tool_calls": []}, "attachments": []},
]  # fmt: skip
ODD_NUMBERS = st.sampled_from([0, -1, 10**18, 10**400, -(10**400), 1e308, float("nan"), float("inf"), True, 1e11])
ODD_TEXTS = st.sampled_from(
    ["", "\ud800", "\0", "a" * 5000, "9" * 30, "\x1b[2J", "../..", "0001-01-01T00:00:00", "9999-12-31"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | ODD_NUMBERS | ODD_TEXTS | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "text", "role", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every part of a document."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in parts:
        yield from places(inner, (*path, key))


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    whole = copy.deepcopy(document)
    here = whole
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = value
    return whole


ALL_PLACES = [(number, path) for number, document in enumerate(DOCUMENTS) for path in places(document)]


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(ALL_PLACES), VALUES), min_size=1, max_size=1), st.booleans())
def test_any_value_in_place_of_any_part_is_read_or_reported(
    tmp_path: Path, changes: list[tuple[tuple[int, tuple[Any, ...]], Any]], zipped: bool
) -> None:
    ((number, path), value), *_ = changes
    file = tmp_path / "hostile"
    document = json.dumps(replaced(DOCUMENTS[number], path, value))
    file.write_bytes(samples.zipped(a_json=document.encode()) if zipped else document.encode())
    chats, told = read(file)
    for chat in chats:
        known: set[str | None] = {None}
        for message in chat.messages:
            assert message.parent_id in known
            known.add(message.id)
        assert 0 <= chat.created_at <= 1e11 and 0 <= chat.updated_at <= 1e11
    assert chats or told.problems or told.notes or number == 4


def test_odd_values_are_stored_too(tmp_path: Path) -> None:
    odd = ["\ud800\0\x1b", 10**400, {"id": "\ud800"}, float("nan"), ["\udfff"]]
    with home(tmp_path / "home") as here:
        taken = 0
        for count, (number, path) in enumerate(ALL_PLACES[::4]):
            document = replaced(DOCUMENTS[number], path, odd[count % len(odd)])
            (tmp_path / "odd").write_text(json.dumps(document))
            take(tmp_path / "odd", here.store, told := Report(""), lambda _: None)
            assert len(here.store.chats(9)) == told.taken
            for row in here.store.chats(9):
                assert here.store.path(row.id)
                here.store.delete_chat(row.id)
                taken += 1
        assert taken > len(ALL_PLACES) / 8
        assert here.vault.verify() == []


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"a": ' * 50_000, b"9" * 100_000, b"null", b"[]", b"{}", b"[[]]",
     b'"x"', b"PK\x03\x04 no zip", b"PK\x05\x06", b"SQLite format 3\0 no database", b"%PDF-1.7", os.urandom(3000)],
)  # fmt: skip
def test_what_is_no_export_gives_one_clear_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    chats, told = read(tmp_path / "x")
    assert (chats, len(told.problems)) == ([], 1)


def test_what_is_not_there_gives_one_clear_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none", tmp_path / "pipe"):
        (problem,) = read(path)[1].problems
        assert problem.message == f"no such file: {path}"
    assert read(tmp_path)[1].problems == []


def test_an_archive_that_unpacks_to_endless_data_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "MOST_UNPACKED_BYTES", 200_000)
    monkeypatch.setattr(container, "MOST_FILE_BYTES", 50_000)
    picture = {f"{samples.PICTURE_ID}.png": bytes(10_000_000)}
    (tmp_path / "picture.zip").write_bytes(samples.zipped(conversations_json=[samples.chatgpt()], **picture))
    chats, told = read(tmp_path / "picture.zip")
    assert (len(chats), chats[0].messages[0].attachments) == (1, ())
    assert "1 picture left out: too large or damaged" in told.notes.lines()
    many = {f"part{n}_json": [samples.claude(), " " * 90_000] for n in range(9)}
    (tmp_path / "many.zip").write_bytes(samples.zipped(**many))
    chats, told = read(tmp_path / "many.zip")
    assert 1 <= len(chats) < 9
    assert len(told.problems) == 9 - len(chats)
    assert "too large" in told.problems[0].message


def test_a_member_that_lies_about_its_size_is_stopped_too(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    data = bytearray(samples.zipped(conversations_json=[samples.claude()]))
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = (5).to_bytes(4, "little")
    path.write_bytes(data)
    chats, told = read(path)
    assert (chats, len(told.problems)) == ([], 1)


def test_members_with_names_of_other_places_are_never_written(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "x.zip").write_bytes(samples.zipped(**{"..__..__escape_json": [samples.claude()], "__tmp__x_json": 1}))
    chats, _ = read(inside / "x.zip")
    assert len(chats) == 1
    assert [path.name for path in tmp_path.rglob("*")] == ["inside", "x.zip"]


def test_an_encrypted_archive_is_reported(tmp_path: Path) -> None:
    data = bytearray(samples.zipped(conversations_json=[samples.claude()]))
    for head, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(head) + flags] |= 1
    (tmp_path / "x.zip").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.infolist()[0].flag_bits & 1
    assert "encrypted" in read(tmp_path / "x.zip")[1].problems[0].message


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_flipped_bytes_in_an_archive_or_a_database_are_read_or_reported(tmp_path: Path, data: st.DataObject) -> None:
    whole = tmp_path / "whole"
    if not whole.exists():
        samples.ollama(whole).close()
    archive = samples.zipped(conversations_json=[samples.chatgpt()])
    broken = bytearray(whole.read_bytes() if data.draw(st.booleans()) else archive)
    for _ in range(data.draw(st.integers(1, 30))):
        broken[data.draw(st.integers(16, len(broken) - 1))] ^= data.draw(st.integers(1, 255))
    (tmp_path / "broken").write_bytes(broken)
    chats, told = read(tmp_path / "broken")
    assert chats or told.problems or told.notes


def odd_cells(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE messages SET content = x'ff00', role = 5, created_at = 'never', model_name = 7")
    connection.execute("UPDATE attachments SET data = 'text', filename = 9")


def views(connection: sqlite3.Connection) -> None:
    connection.execute("DROP TABLE messages")
    connection.execute(
        "CREATE VIEW messages AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n)"
        " SELECT id, 'o-1' AS chat_id, 'user' AS role, 'x' AS content FROM n"
    )


@pytest.mark.parametrize("change", [odd_cells, views])
def test_odd_databases(tmp_path: Path, change: Callable[[sqlite3.Connection], None]) -> None:
    with closing(samples.ollama(tmp_path / "x")) as connection:
        change(connection)
    chats, told = read(tmp_path / "x")
    assert chats == []
    assert told.problems or told.notes


def test_a_database_is_left_as_it_was(tmp_path: Path) -> None:
    samples.ollama(tmp_path / "db.sqlite", "WAL").close()
    before = (tmp_path / "db.sqlite").read_bytes()
    assert len(read(tmp_path / "db.sqlite")[0]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["db.sqlite"]
    assert (tmp_path / "db.sqlite").read_bytes() == before
