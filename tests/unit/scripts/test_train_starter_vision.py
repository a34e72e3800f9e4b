import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import gguf
import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "train_starter_vision.py"
BUILD = "nanolocal-starter-vision"
FILES = (f"{BUILD}-Q8_0.gguf", f"mmproj-{BUILD}-F16.gguf")
SEEN = """
import io, json, random, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import numpy as np
import torch
from nanolocal.engines.ggml import Model
from nanolocal.engines.senses import Senses
from nanolocal.engines.stopflag import StopFlag
from starter_scenes import draw
from starter_vision.export import SIGHT_FILE, load
from starter_vision.model import EYES
from starter_vision.pictures import pixels, scenes

work = Path(sys.argv[2])
mine = load(work, EYES["smoke"]).model().sight
model = Model(work / "nanolocal-starter-vision-F16.gguf", lambda fraction: None)
senses = Senses(work / "out" / SIGHT_FILE, model, 1, StopFlag())
mtmd, scene, off = senses._lib, next(scenes(random.Random(3), held_out=True)), []
for side in (64, 128, 200):
    picture, file = draw(scene, side), io.BytesIO()
    picture.save(file, "PNG")
    (token,) = senses.tokens(file.getvalue())
    chunk = mtmd.mtmd_input_chunks_get(senses._chunks(token.file), token.part)
    assert mtmd.mtmd_encode_chunk(senses._pointer, chunk) == 0
    with torch.no_grad():
        expected = mine(torch.from_numpy(pixels(picture, 64))[None])[0].numpy()
    seen = np.ctypeslib.as_array(mtmd.mtmd_get_output_embd(senses._pointer), shape=expected.shape)
    off.append(float(np.abs(seen - expected).max() / np.abs(expected).max()))
print(json.dumps(off))
"""


def run(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280, check=False
    )


def positions(file: Path) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """How the eyes of a build tell the patches apart."""
    (found,) = (tensor.data for tensor in gguf.GGUFReader(file).tensors if tensor.name == "v.position_embd.weight")
    return np.asarray(found, dtype=np.float32)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a smoke run, with the build in `out`."""
    work = tmp_path_factory.mktemp("vision")
    done = run(SCRIPT, "--smoke", "--work", work, "--out", work / "out")
    assert done.returncode == 0, done.stderr
    return work


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "red.png"
    Image.new("RGB", (90, 90), "red").save(path)
    return path


@pytest.mark.slow
def test_llama_cpp_sees_what_the_trained_eyes_see(smoke: Path) -> None:
    compared = run("-c", SEEN, SCRIPT.parent, smoke)
    assert compared.returncode == 0, compared.stderr
    assert all(off < 0.01 for off in json.loads(compared.stdout))


@pytest.mark.slow
def test_the_build_answers_about_a_picture_through_the_program(smoke: Path, picture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "home/data/models/smoke"
    shutil.copytree(smoke / "out", folder)
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"id": "smoke"}))
    asked = ("ask", "What is in this picture?", "--attach", picture, "--model", "smoke", "--json")
    done = run("-m", "nanolocal", "--home", tmp_path / "home", *asked)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["build"], bool(answer["text"])) == ("smoke:Q8_0", True)
    assert answer["usage"]["prompt_tokens"] > 64


@pytest.mark.slow
def test_an_earlier_build_is_trained_further(smoke: Path, tmp_path: Path) -> None:
    done = run(SCRIPT, "--smoke", "--seed", "2", "--from", smoke / "out", "--work", tmp_path)
    assert done.returncode == 0, done.stderr
    begun_with = json.loads((tmp_path / "parent.json").read_text())["sha256"]
    assert begun_with == sha256((smoke / "out" / FILES[0]).read_bytes()).hexdigest()
    before, after = (positions(folder / FILES[1]) for folder in (smoke / "out", tmp_path / "out"))
    assert 0 < np.abs(after - before).max() < 0.1 < np.abs(before).max()


@pytest.mark.slow
def test_export_is_the_same_each_time_and_its_card_fits(smoke: Path) -> None:
    out = smoke / "out"
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    again = run(SCRIPT, "--smoke", "--export-only", "--work", smoke, "--out", out)
    assert again.returncode == 0, again.stderr
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    card = json.loads(before["card.json"])
    assert {file["path"]: file["sha256"] for file in card["files"]} == {
        name: sha256(before[name]).hexdigest() for name in FILES
    }
    assert before["curves.png"].startswith(b"\x89PNG")


def test_a_checkpoint_is_not_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "eyes.pt").write_bytes(b"hours of work")
    refused = run(SCRIPT, "--work", tmp_path, "--out", tmp_path / "out", "--minutes", "0.01")
    assert (refused.returncode, "holds a checkpoint" in refused.stderr) == (2, True)
    refused = run(SCRIPT, "--export-only", "--work", tmp_path, "--out", tmp_path / "out")
    assert (refused.returncode, "no checkpoint" in refused.stderr) == (2, True)
    assert (tmp_path / "eyes.pt").read_bytes() == b"hours of work"


def test_a_picture_is_for_the_vision_starter_and_plain_text_is_not(picture: Path, tmp_path: Path) -> None:
    home = ("-m", "nanolocal", "--home", tmp_path / "home")
    looked = run(*home, "route", "What is in this picture?", "--attach", picture, "--json")
    talked = run(*home, "route", "Hello, how are you?", "--json")
    builds = [json.loads(done.stdout)["build"] for done in (looked, talked)]
    assert builds == [f"{BUILD}:Q8_0", "nanolocal-starter-text:Q8_0"]


def test_each_question_has_one_right_answer_and_scenes_that_look_alike_are_held_out_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from starter_scenes import sample_scene
    from starter_vision.pictures import is_held_out, shaken
    from starter_vision.questions import ask

    rng = random.Random(5)
    held, kinds = [], set()
    for _ in range(1500):
        scene = sample_scene(rng)
        held.append(is_held_out(scene))
        assert is_held_out(shaken(scene, rng)) == held[-1]
        if scene.layout == "pair" and scene.relation != "beside":
            turned = {"above": "below", "below": "above", "left": "right", "right": "left"}[scene.relation]
            mirrored = replace(scene, things=scene.things[::-1], relation=turned)
            assert is_held_out(mirrored) == held[-1]
        asked = ask(scene, rng)
        kinds.add(asked.kind)
        assert asked.is_right(asked.answer.lower().rstrip("."))
        assert not asked.is_right("")
        assert not asked.is_right(f"{asked.answer} It is blue.")
    assert 0.05 < sum(held) / len(held) < 0.15
    assert len(kinds) == 12
