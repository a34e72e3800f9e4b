from pathlib import Path

import pytest

from nanolocal.chat import media
from nanolocal.errors import UsageError
from nanolocal.tui import attach
from nanolocal.tui.lines import token
from tests.fakes.sounds import flac, mp3, wav
from tests.tui.driving import picture


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "two words.md").write_text("# hi")
    (tmp_path / "cat.png").write_bytes(picture())
    (tmp_path / "code.py").write_text("x = 1")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "deep.txt").write_text("deep")


def test_words_that_are_files_are_attached() -> None:
    prompt = attach.split('compare @notes.txt with @"two words.md" and @sub/deep.txt')
    assert prompt.text == "compare notes.txt with two words.md and deep.txt"
    assert [item.data for item in prompt.attachments] == [b"hello", b"# hi", b"deep"]


@pytest.mark.parametrize("text", ["mail me@example.org", "@someone said", "@property above a method", "a @ b"])
def test_other_at_signs_stay_text(text: str) -> None:
    assert attach.split(text) == attach.Prompt(text, ())


def test_media_types_come_from_the_name() -> None:
    kinds = {name: attach.read(Path(name)).media_type for name in ("notes.txt", "cat.png", "code.py")}
    assert kinds == {"notes.txt": "text/plain", "cat.png": "image/png", "code.py": "text/x-python"}


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("big.txt", b"x" * (attach.MOST_TEXT_BYTES + 1), "too large"),
        ("data.bin", b"\xff\xfe\x00\x01", "neither text"),
        ("nul.txt", b"a\x00b", "binary"),
    ],
)
def test_what_cannot_go_along_is_refused(name: str, data: bytes, why: str) -> None:
    Path(name).write_bytes(data)
    with pytest.raises(UsageError, match=why):
        attach.read(Path(name))


def test_a_sound_is_attached_with_its_length_and_refused_with_the_reason() -> None:
    for name, data in (("clip.wav", wav(seconds=7)), ("clip.FLAC", flac()), ("clip.mp3", mp3())):
        Path(name).write_bytes(data)
    told = attach.split("what is said in @clip.wav")
    assert (told.text, told.attachments[0].media_type) == ("what is said in clip.wav", "audio/wav")
    assert token(told.attachments[0]) == "[clip.wav 0:07]"
    assert [attach.read(Path(name)).media_type for name in ("clip.FLAC", "clip.mp3")] == ["audio/flac", "audio/mpeg"]
    Path("odd.wav").write_bytes(b"OggS" * 100)
    with pytest.raises(UsageError, match=r"odd\.wav: the sound is no WAV, MP3 or FLAC"):
        attach.read(Path("odd.wav"))
    Path("big.wav").write_bytes(bytes(media.MOST_BYTES + 1))
    with pytest.raises(UsageError, match="too large"):
        attach.read(Path("big.wav"))


def test_a_missing_path_and_a_folder_are_refused() -> None:
    for name in ("@./none.txt", "@sub/"):
        with pytest.raises(UsageError, match="no such file"):
            attach.split(name)


def test_paths_are_completed() -> None:
    assert attach.complete("no") == ["notes.txt"]
    assert attach.complete("s") == ["sub/"]
    assert attach.complete("sub/") == ["sub/deep.txt"]
    assert attach.complete("nowhere/x") == []
