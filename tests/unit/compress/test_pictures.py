"""Picture builds in 8 bits: really made, loaded by the image engine, and compared with the original."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from nanolocal.compress import pictures
from nanolocal.compress.pictures import Draw, Shrink
from nanolocal.compress.work import errands
from nanolocal.compress.work.errands import Pictures
from nanolocal.errors import Damaged, UsageError
from nanolocal.formats.pipeline_folder import check_folder
from nanolocal.library.library import Library
from nanolocal.paths import starter_models

STARTER = starter_models() / "nanolocal-starter-image"
SAMPLE = Draw("", "", ("a red circle", "a blue star on a yellow background"), 64, 64, 6, 2.0, 7, 1)


def run(folder: Path, out: Path, kind: str = "int8") -> tuple[Pictures, list[float]]:
    told: list[float] = []
    task = Shrink(str(folder), str(out), "starter-small", "Starter, smaller")
    return asyncio.run(errands.shrink(task, SAMPLE, kind, told.append)), told


@dataclass(frozen=True, slots=True)
class Made:
    folder: Path
    pictures: Pictures
    told: list[float]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    out = tmp_path_factory.mktemp("models") / "starter-small"
    return Made(out, *run(STARTER, out))


@pytest.mark.slow
def test_a_smaller_picture_build_draws_nearly_the_same(made: Made) -> None:
    found = made.pictures
    assert found.likeness.pictures == 2
    assert 0 < found.likeness.pixels < 0.05
    assert 0 < found.likeness.structure < 0.2
    assert min(found.before.step_s, found.after.step_s) > 0
    assert found.before.peak_bytes > found.before.program_bytes
    assert found.weights.after < 0.75 * found.weights.before
    assert made.told == sorted(made.told)
    assert [path.name for path in made.folder.parent.iterdir()] == ["starter-small"]


@pytest.mark.slow
def test_the_library_lists_it_with_its_figures(made: Made, tmp_path: Path) -> None:
    library = Library([made.folder.parent], tmp_path / "index.json")
    (build,) = library.builds()
    assert library.problems() == ()
    assert build.id == "starter-small:int8"
    assert build.size_bytes == made.pictures.weights.after
    card = json.loads((made.folder / "card.json").read_text())
    assert card["compress"]["likeness"]["pixels"] == made.pictures.likeness.pixels
    assert card["licence"] == "Apache-2.0"


@pytest.mark.slow
def test_weights_that_are_8_bits_already_are_refused(made: Made, tmp_path: Path) -> None:
    assert check_folder(made.folder).denoiser.is_int8
    with pytest.raises(UsageError, match="already"):
        run(made.folder, tmp_path / "out")


@pytest.mark.parametrize("kind", ["nf4", "gguf", "int3"])
def test_what_is_not_made_here_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=kind):
        run(STARTER, tmp_path / "out", kind)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_pipeline_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/model_index.json").write_text("{}")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").touch()
    with pytest.raises(Damaged):
        run(tmp_path / "broken", tmp_path / "out")
    with pytest.raises(UsageError, match="no pipeline"):
        run(tmp_path / "taken", tmp_path / "out")
    with pytest.raises(UsageError, match="already"):
        run(STARTER, tmp_path / "taken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "taken"]


def test_structural_similarity_falls_with_what_is_changed() -> None:
    random = np.random.default_rng(3)
    picture = np.add.outer(np.linspace(0, 0.5, 32), np.linspace(0, 0.5, 32))
    slightly = np.clip(picture + random.normal(0, 0.01, picture.shape), 0, 1)
    badly = np.clip(picture + random.normal(0, 0.2, picture.shape), 0, 1)
    assert pictures.ssim(picture, picture) == pytest.approx(1)
    assert 1 > pictures.ssim(picture, slightly) > pictures.ssim(picture, badly) > 0
    assert pictures.ssim(np.zeros((32, 32)), np.ones((32, 32))) < 0.01
