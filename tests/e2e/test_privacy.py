"""The searcher must find what lies open, or its silence means nothing."""

import base64
import zlib
from pathlib import Path

import pytest

from tests.e2e.privacy import traces

WORD = "heliotropewalrus"


@pytest.mark.parametrize(
    "content",
    [
        f"..{WORD}..".encode(),
        f"..{WORD}..".encode("utf-16-le"),
        f"..{WORD}..".encode("utf-16-be"),
        f"..{WORD}..".encode().hex().encode(),
        base64.b64encode(f"{WORD} and more".encode()),
        base64.b64encode(f".{WORD} and more".encode()),
        base64.b64encode(f"..{WORD} and more".encode()),
        b"junk" + zlib.compress(f"some text with {WORD} in it".encode()) + b"junk",
    ],
)
def test_it_finds_the_word_in_every_form(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(content)
    assert traces(tmp_path, [WORD])


def test_it_finds_nothing_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 64)
    assert traces(tmp_path, [WORD]) == []
