import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from nanolocal.library.pull import journal
from nanolocal.library.pull.directory import below
from nanolocal.library.pull.journal import Header, Journal
from nanolocal.library.pull.plan import Wanted

HEADER = Header("https://hub/m.gguf", '"etag"', 100, "ab" * 32, 16)
DIGEST = hashlib.sha256(b"").digest()


def test_what_was_noted_is_read(tmp_path: Path) -> None:
    with below(tmp_path, "m.gguf") as (directory, name):
        written = Journal(directory, name, HEADER, [(0, 16, DIGEST)])
        written.note(3, 5, DIGEST)
        written.note(3, 9, DIGEST)
        written.close()
        noted = journal.read(directory, name)
    assert noted.header == HEADER
    assert noted.chunks == {0: {16: DIGEST}, 3: {5: DIGEST, 9: DIGEST}}


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    content = b"nanolocal-part " + json.dumps(asdict(HEADER)).encode()
    line = b"\n1 5 " + DIGEST.hex().encode()
    assert journal.parse(content + line + line.replace(b"1 5", b"2 6")[:-9]).chunks == {1: {5: DIGEST}}


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(content: bytes) -> None:
    assert journal.parse(content).header is None or content.startswith(b"nanolocal-part ")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=3), st.binary())
def test_a_forged_header_or_line_is_left_out(value: object, rest: bytes) -> None:
    for field in ("url", "validator", "size", "sha256", "chunk_bytes"):
        forged = json.dumps({**asdict(HEADER), field: value}).encode()
        noted = journal.parse(b"nanolocal-part " + forged + b"\n" + rest)
        assert noted.header is None or type(getattr(noted.header, field)) in (str, int, type(None))
        assert all(
            length <= (noted.header or HEADER).chunk_bytes for there in noted.chunks.values() for length in there
        )


def test_no_journal_and_a_link_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"nanolocal-part " + json.dumps(asdict(HEADER)).encode())
    (tmp_path / "b.journal").symlink_to(tmp_path / "target")
    with below(tmp_path, "a") as (directory, _):
        assert journal.read(directory, "a").header is None
        assert journal.read(directory, "b").header is None


def test_what_arrived_belongs_to_the_same_sha256_or_the_same_version_at_the_same_address() -> None:
    same = Wanted("https://mirror/m.gguf", "m.gguf", 100, "ab" * 32)
    assert HEADER.fits(same, 16)
    assert not HEADER.fits(same, 32)
    assert not HEADER.fits(replace(same, sha256="cd" * 32), 16)
    assert not HEADER.fits(replace(same, size=99), 16)
    unnamed = Wanted("https://user:secret@hub/m.gguf?signature=secret", "m.gguf")
    assert HEADER.fits(unnamed, 16)
    assert not HEADER.fits(replace(unnamed, url="https://hub/other.gguf"), 16)
    assert not replace(HEADER, validator="", sha256="").fits(unnamed, 16)


def test_no_secret_of_an_address_is_written() -> None:
    assert journal.bare("https://user:secret@hub:8443/a/m.gguf?token=secret#x") == "https://hub:8443/a/m.gguf"
