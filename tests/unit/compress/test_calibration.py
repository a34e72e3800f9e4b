"""Text to calibrate and measure with, and how it is cut."""

import json
import lzma
from importlib.resources import files
from pathlib import Path

import pytest

from nanolocal.compress.measuring import calibration
from nanolocal.compress.measuring.calibration import built_in, from_files, joined, split
from nanolocal.compress.work.doing import cut
from nanolocal.compress.work.tasks import Chunks, Source, Tokenize, perform
from nanolocal.engines.ggml import Model
from nanolocal.errors import UsageError
from tests.fakes.lab_gguf import write_lab_gguf
from tests.unit.compress.conftest import say_nothing

KINDS = {"encyclopedia", "stories", "textbook", "chat", "maths", "commands", "code"}


def packed() -> list[dict[str, object]]:
    data = files("nanolocal.compress.measuring").joinpath("data/calibration.jsonl.xz").read_bytes()
    assert len(data) <= 250_000
    return [json.loads(line) for line in lzma.decompress(data).splitlines()]


def test_the_built_in_text_is_mixed_and_split_by_document() -> None:
    text = built_in()
    assert not set(text.calibration) & set(text.held_out)
    assert len(text.calibration) + len(text.held_out) == len(packed())
    kind_of = {document["text"]: document["kind"] for document in packed()}
    for part in (text.calibration, text.held_out):
        assert {kind_of[document] for document in part[: len(part) // 5]} == KINDS
    assert built_in().sha256 == text.sha256 != built_in(["chat"]).sha256


def test_every_document_names_a_source_that_the_licences_tell_of() -> None:
    told = files("nanolocal.compress.measuring").joinpath("data/SOURCES.md").read_text("utf-8")
    assert f"holds {len(packed())} short documents" in told
    for document in packed():
        assert f"| {document['kind']} |" in told
        assert document["source"]


def test_kinds_can_be_chosen() -> None:
    assert len(built_in(["maths", "code"]).calibration) < len(built_in().calibration)
    with pytest.raises(UsageError, match="no built-in text of kind 'poems'"):
        built_in(["poems"])


def test_a_single_file_is_split_between_paragraphs(tmp_path: Path) -> None:
    paragraphs = [f"Paragraph {number}. " + "Words and words. " * 40 for number in range(60)]
    path = tmp_path / "mine.txt"
    path.write_text("\n\n".join(paragraphs))
    text = from_files([path])
    assert text.name == "mine.txt"
    together = joined([*text.calibration, *text.held_out])
    assert all(together.count(paragraph.strip()) == 1 for paragraph in paragraphs)
    assert 0.25 < len(text.held_out) / (len(text.calibration) + len(text.held_out)) < 0.4


def test_of_many_files_each_is_a_document(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.txt" for number in range(9)]
    for path in paths:
        path.write_text(f"Text {path.name}")
    text = from_files(paths)
    assert (len(text.calibration), len(text.held_out)) == (6, 3)


def test_what_is_no_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "short.txt").write_text("Too short.")
    (tmp_path / "odd.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "large.txt").write_text("x" * 100)
    monkeypatch.setattr(calibration, "MAX_FILE_BYTES", 50)
    for name, reason in (("short", "too little"), ("odd", "no text"), ("large", "larger"), ("none", "cannot be read")):
        with pytest.raises(UsageError, match=reason):
            from_files([tmp_path / f"{name}.txt"])


def test_text_that_is_private_says_so() -> None:
    text = split([f"Chat {number}" for number in range(9)], name="own chats", is_public=False)
    assert not text.is_public


def test_chunks_are_cut_as_llama_perplexity_cuts_them() -> None:
    """Each whole one begins with the token that texts begin with, in the place of what was there."""
    tokens = list(range(100, 123))
    assert cut(tokens, 10, (1,)).tokens == ((1, *range(101, 110)), (1, *range(111, 120)))
    assert cut(tokens, 10, ()).tokens == (tuple(range(100, 110)), tuple(range(110, 120)))
    assert cut(tokens, 10, (), 1).tokens == (tuple(range(100, 110)),)
    assert cut(tokens, 30, ()).tokens == ()
    with pytest.raises(UsageError, match="too little text"):
        _ = cut(tokens, 30, ()).length


@pytest.mark.parametrize("bos", [True, False])
def test_tokens_are_those_of_the_model(bos: bool, tmp_path: Path) -> None:
    path = write_lab_gguf(tmp_path / "m.gguf", bos=bos)
    text = built_in().held_out_text()[:600] + "<|im_start|>"
    model = Model(path, lambda done: None)
    plain, marked = (model.tokenize(text, special=special, is_whole=True) for special in (False, True))
    begin = model.bos
    model.close()
    made = [perform(Tokenize(Source(str(path)), text, 64, is_marked=marks), say_nothing) for marks in (False, True)]
    for chunks, tokens in zip(made, (plain, marked), strict=True):
        assert isinstance(chunks, Chunks)
        assert len(chunks.tokens) == len(tokens) // 64
        for number, chunk in enumerate(chunks.tokens):
            assert list(chunk[1:]) == tokens[64 * number + 1 : 64 * number + 64]
            assert chunk[0] == (begin if bos else tokens[64 * number])
