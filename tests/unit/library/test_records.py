"""What is remembered of builds outlives the process, other writers, and damage to its file."""

import json
import os
import stat
from pathlib import Path

import pytest

from nanolocal.library.records import Hashed, Record, Records

FAILED = Record(failures=((1.0, "it ended"), (2.0, "it ended again")), stamp=(3, 4))
HASHED = Hashed("ab" * 32, 10, 20, 30.0)


def test_what_is_saved_is_read_again_by_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "data" / "builds.json"
    records = Records(path)
    records.put("a", FAILED)
    records.put("b", Record(damaged="not what it was", licence_shown=7.0))
    records.put_hashed(tmp_path / "m.gguf", HASHED)
    assert records.save()
    again = Records(path)
    assert (again.of("a"), again.of("b").damaged, again.of("b").licence_shown) == (FAILED, "not what it was", 7.0)
    assert again.hashed(tmp_path / "m.gguf") == HASHED
    assert again.of("c") == Record()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_writers_keep_what_the_other_wrote(tmp_path: Path) -> None:
    one, other = Records(tmp_path / "r"), Records(tmp_path / "r")
    assert one.of("a") == other.of("a") == Record()
    one.put("a", FAILED)
    one.put_hashed(tmp_path / "a", HASHED)
    other.put("b", FAILED)
    other.put_hashed(tmp_path / "b", HASHED)
    assert one.save() and other.save()
    kept = Records(tmp_path / "r")
    assert kept.of("a") == kept.of("b") == FAILED
    assert kept.hashed(tmp_path / "a") == kept.hashed(tmp_path / "b") == HASHED


def test_what_says_nothing_any_more_takes_no_room(tmp_path: Path) -> None:
    records = Records(tmp_path / "r")
    records.put("a", FAILED)
    records.put_hashed(tmp_path / "a", HASHED)
    records.save()
    records.put("a", Record())
    records.put_hashed(tmp_path / "a", None)
    assert records.hashed(tmp_path / "a") is None
    records.save()
    assert json.loads((tmp_path / "r").read_text()) == {"version": 1, "builds": {}, "files": {}}


def test_a_name_that_is_not_text_is_kept_as_it_is(tmp_path: Path) -> None:
    path = Path(os.fsdecode(b"/models/caf\xe9.gguf"))
    records = Records(tmp_path / "r")
    records.put_hashed(path, HASHED)
    assert records.save()
    assert Records(tmp_path / "r").hashed(path) == HASHED


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe\x00", b"[" * 100_000, b'{"version":9,"builds":{},"files":{}}', b'{"version":1}',
     b'{"version":1,"builds":[],"files":{}}'],
)  # fmt: skip
def test_a_damaged_file_is_set_aside_and_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "builds.json"
    path.write_bytes(content)
    records = Records(path)
    assert records.of("a") == Record()
    assert "is lost" in records.note and str(path.with_name("builds.json.damaged")) in records.note
    assert path.with_name("builds.json.damaged").read_bytes() == content
    records.put("a", FAILED)
    assert records.save()
    assert Records(path).of("a") == FAILED


def test_rows_that_make_no_sense_say_nothing(tmp_path: Path) -> None:
    rows = {
        "a": 5,
        "b": {"failures": [[1], "x", [1, 2], [1, "so"]], "damaged": 4, "stamp": ["1", 2], "licence_shown": "x"},
        "c": {"stamp": [1, 2, 3], "damaged": "x" * 10_000},
    }
    files = {"/a": 1, "/b": ["h", 1, 2], "/c": ["h", 1, 2, 3], "/d": ["h", "1", 2, 3]}
    (tmp_path / "r").write_text(json.dumps({"version": 1, "builds": rows, "files": files}))
    records = Records(tmp_path / "r")
    assert records.of("a") == Record()
    assert records.of("b") == Record(failures=((1.0, "so"),))
    assert len(records.of("c").damaged) == 400
    assert [name for name in files if records.hashed(Path(name))] == ["/c"]
    assert records.note == ""


def test_where_nothing_can_be_written_it_is_remembered_until_the_end_and_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    records = Records(tmp_path / "file" / "builds.json")
    records.put("a", FAILED)
    assert not records.save()
    assert records.of("a") == FAILED
    assert "cannot be kept" in records.note
