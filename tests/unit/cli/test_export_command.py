"""``nanolocal compress export`` and ``--scheduler``: what is wrong is said before any work."""

from pathlib import Path

import pytest

from nanolocal.cli.main import main
from nanolocal.compress.export import tasks

TEXT, IMAGE = "nanolocal-starter-text", "nanolocal-starter-image"


def refusal(tmp_path: Path, capfd: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["--home", str(tmp_path / "home"), "compress", *words]) == 2
    told = capfd.readouterr()
    assert told.out == ""
    return told.err


@pytest.mark.parametrize(("words", "reason"), [
    (("export", TEXT), "compress export BUILD"),
    (("export", TEXT, "--to", "onnx"), "compress export BUILD"),
    (("export", TEXT, "--to", "coreml", "--out", "{new}"), "onnx, litert, executorch"),
    (("export", TEXT, "--to", "onnx", "--out", "{new}"), "pip install"),
    (("export", TEXT, "--to", "onnx", "--out", "{new}", "--calibrate", "chats"), "not compared on conversations"),
    (("export", IMAGE, "--to", "nf4", "--out", "{new}"), "NVIDIA"),
    (("export", IMAGE, "--to", "int8", "--out", "{here}"), "there already"),
    ((TEXT, "--scheduler", "tcp://192.0.2.7:8786"), "tls://"),
    ((TEXT, "--scheduler", "tls://192.0.2.7:8786", "--calibrate", "chats"), "conversations stay"),
])  # fmt: skip
def test_what_cannot_be_is_refused(
    words: tuple[str, ...],
    reason: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "find_spec", lambda name: None)
    (tmp_path / "file").touch()
    given = [word.format(new=tmp_path / "new", here=tmp_path) for word in words]
    assert reason in refusal(tmp_path, capfd, *given)
    assert not (tmp_path / "new").exists()
