"""Exports: made in a child, run, and compared; refusals come before any work."""

import asyncio
import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nanolocal.compress.export import tasks
from nanolocal.compress.export.tasks import Export, Exported
from nanolocal.compress.measuring.logits import log_probabilities
from nanolocal.compress.native.model import LabModel
from nanolocal.compress.work import errands
from nanolocal.compress.work.tasks import Chunks, Source
from nanolocal.errors import Damaged, UsageError
from nanolocal.paths import starter_models
from tests.fakes.small_models import write_all

MODEL = starter_models() / "nanolocal-starter-text/nanolocal-starter-text-Q8_0.gguf"
LENGTH = 24


def chunks(vocabulary: int, count: int = 3) -> Chunks:
    random = np.random.default_rng(7)
    return Chunks(tuple(tuple(map(int, random.integers(0, vocabulary, LENGTH))) for _ in range(count)))


def task(path: Path, target: str, out: Path, vocabulary: int = 100) -> Export:
    return Export(Source(str(path), "0" * 64), target, str(out), chunks(vocabulary), "a test", "Apache-2.0")


def run(given: Export) -> tuple[Exported, list[float]]:
    told: list[float] = []
    return asyncio.run(errands.export(given, told.append)), told


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {path.stem: path for path in write_all(tmp_path_factory.mktemp("small"))}


@pytest.fixture(scope="module")
def onnx_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Exported, list[float]]:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    out = tmp_path_factory.mktemp("exports") / "out"
    return out, *run(task(MODEL, "onnx", out, 4096))


def scores_of(file: Path, tokens: list[list[int]]) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"tokens": np.array(tokens, np.int64)})[0]


@pytest.mark.slow
def test_onnx_files_are_compared_before_they_are_handed_over(onnx_folder: tuple[Path, Exported, list[float]]) -> None:
    folder, made, told = onnx_folder
    files = {file.kind: file for file in made.files}
    assert list(files) == ["fp32", "int8", "int4"]
    assert files["fp32"].difference <= 1e-4
    assert files["fp32"].kld < 1e-6 < files["int8"].kld < files["int4"].kld
    assert files["int8"].bytes <= 0.3 * files["fp32"].bytes
    assert files["int4"].bytes < files["int8"].bytes
    assert all(file.bytes == (folder / file.name).stat().st_size for file in made.files)
    assert made.length == 0
    assert told == sorted(told)
    assert told[-1] == 1


@pytest.mark.slow
def test_an_exported_graph_takes_texts_of_any_length_and_agrees_with_llama_cpp(
    onnx_folder: tuple[Path, Exported, list[float]],
) -> None:
    folder, _, _ = onnx_folder
    for count in (5, 1, 40):
        text = [int(token) for token in np.random.default_rng(count).integers(0, 4096, count)]
        model = LabModel(MODEL, 64, 1)
        try:
            wanted = np.concatenate([rows.copy() for _, rows in model.rows(text, 0)])
        finally:
            model.close()
        found = scores_of(folder / "model.onnx", [text, text[::-1]])
        # llama.cpp rounds what it multiplies these weights with to 8 bits.
        one, other = log_probabilities(wanted), log_probabilities(found[0])
        assert float((np.exp(one) * (one - other)).sum(1).mean()) < 0.003


@pytest.mark.slow
def test_card_and_vocabulary_lie_beside_the_graphs(onnx_folder: tuple[Path, Exported, list[float]]) -> None:
    folder, made, _ = onnx_folder
    card = json.loads((folder / "card.json").read_text())
    assert [file["kld"] for file in card["files"]] == [file.kld for file in made.files]
    assert card["source_sha256"] == "0" * 64
    vocabulary = json.loads((folder / "vocabulary.json").read_text())
    assert len(vocabulary["tokenizer.ggml.tokens"]) == 4096
    assert all(file.name in (folder / "README.md").read_text() for file in made.files)
    assert [path.name for path in folder.parent.iterdir()] == ["out"]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["litert", "executorch"])
def test_other_runtimes_compute_the_same(target: str, tmp_path: Path) -> None:
    for package in tasks.TARGETS[target].packages:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    made, _ = run(task(MODEL, target, tmp_path / "out", 4096))
    whole, eight = made.files
    assert (whole.kind, eight.kind) == ("fp32", "int8")
    assert whole.difference <= 1e-4
    assert eight.bytes <= 0.3 * whole.bytes
    assert eight.kld < 0.01


def test_an_unknown_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mobile"):
        run(task(MODEL, "mobile", tmp_path / "out"))


@pytest.mark.parametrize("target", tasks.TARGETS)
def test_a_missing_package_is_named_and_how_to_get_it(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as refused:
        run(task(MODEL, target, tmp_path / "out"))
    assert tasks.TARGETS[target].packages[0] in refused.value.message
    assert refused.value.hint.startswith("pip install")
    assert target in refused.value.hint


def test_what_cannot_be_exported_is_refused_before_any_work(
    small: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "find_spec", lambda name: object())
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(MODEL.read_bytes()[:100_000])
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    good = task(MODEL, "onnx", tmp_path / "out")
    with pytest.raises(Damaged):
        run(replace(good, source=Source(str(cut))))
    with pytest.raises(UsageError, match="bert"):
        run(replace(good, source=Source(str(small["bert-wpm"]))))
    with pytest.raises(UsageError, match="there already"):
        run(replace(good, out=str(tmp_path / "full")))
    with pytest.raises(UsageError, match="no folder"):
        run(replace(good, out=str(tmp_path / "not/there")))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.gguf", "full"]


@pytest.mark.slow
def test_a_failed_export_leaves_nothing(
    small: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "find_spec", lambda name: object())
    given = task(small["experts-bpe"], "onnx", tmp_path / "out")
    with pytest.raises(UsageError):
        run(given)
    assert list(tmp_path.iterdir()) == []
