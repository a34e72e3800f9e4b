"""The memory of a projector: in the build's footprint, and near what looking really takes."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from nanolocal.chat.routes import Sense
from nanolocal.chat.sounds import MOST_SECONDS
from nanolocal.library.fit.candidates import Terms, from_build, probed_build
from nanolocal.library.fit.layout import read_layout
from nanolocal.library.fit.looking import looking_of
from nanolocal.library.library import Library
from tests.fakes.sounds import wav
from tests.fakes.tiny_gguf import write_tiny_gguf
from tests.fakes.tiny_projector import write_tiny_projector

LOOK = """
import json, sys
from pathlib import Path
from nanolocal.engines.senses import Senses
from nanolocal.chat.tuning import Tuning
from nanolocal.engines.ggml import PICTURE_BATCH, Context, Model, Part
from nanolocal.engines.pace import Pace
from nanolocal.engines.stopflag import StopFlag
from nanolocal.engines.tokens import Percept

def held(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

stop = StopFlag()
model = Model(Path(sys.argv[1]), lambda fraction: None)
context = Context(model, 16384, Pace(1), stop.buffer, tuning=Tuning(batch=PICTURE_BATCH))
context.decode([Part(0, [1] * 200, 0)])
before = held("VmRSS")
senses = Senses(Path(sys.argv[2]), model, 1, stop)
position = 200
for token in senses.tokens(sys.stdin.buffer.read()):
    if isinstance(token, Percept):
        assert senses.read(token, context, 0, position)
        position += token.positions
print(json.dumps(held("VmHWM") - before))
"""


def folder_of(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "see"
    folder.mkdir(parents=True)
    write_tiny_gguf(folder / "looker-F32.gguf")
    return folder


def taken(model: Path, projector: Path, file: bytes) -> int:
    """The bytes that a process takes to look at a file, or to listen to it."""
    command = [sys.executable, "-c", LOOK, str(model), str(projector)]
    done = subprocess.run(command, input=file, capture_output=True, check=True)
    return int(json.loads(done.stdout))


def library(tmp_path: Path) -> Library:
    return Library((tmp_path / "models",), tmp_path / "index.json")


def test_a_projector_is_counted_in_what_the_build_needs(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (alone,) = library(tmp_path).builds()
    projector = write_tiny_projector(folder / "mmproj-looker-F32.gguf")
    for _ in range(2):  # read from the files, then from the descriptions that were kept
        (build,) = library(tmp_path).builds()
        assert (build.projector, build.sees, alone.sees) == (projector, True, False)
        assert build.footprint is not None
        assert alone.footprint is not None
        more = looking_of(read_layout(projector)) + 3072 * alone.footprint.wider
        assert alone.footprint.wider > 0
        assert build.footprint.needed(3072) == alone.footprint.needed(3072) + more
        assert build.footprint.peak(3072) == alone.footprint.peak(3072) + more


def test_what_llama_cpp_says_of_the_model_leaves_the_projector_in(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (alone,) = library(tmp_path).builds()
    projector = write_tiny_projector(folder / "mmproj-looker-F32.gguf")
    (build,) = library(tmp_path).builds()
    terms = Terms(1024, "f16", 0, tmp_path / "probes.json")
    (blind, _), (seeing, problem) = (probed_build(from_build(each), each, terms) for each in (alone, build))
    assert problem == ""
    assert seeing.needs(1024) == blind.needs(1024) + looking_of(read_layout(projector))


def test_what_a_build_takes_in_follows_from_its_projector(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    ears = write_tiny_projector(folder / "mmproj-looker-audio-F32.gguf", kind="", ears="ultravox")
    for kind, senses in (("", (Sense.HEARING,)), ("mlp", (Sense.SIGHT, Sense.HEARING))):
        if kind:
            write_tiny_projector(folder / "mmproj-looker-F32.gguf", kind=kind, ears="qwen2a")
        for _ in range(2):  # read from the files, then from the descriptions that were kept
            (build,) = library(tmp_path).builds()
            assert (build.senses, build.sees, build.hears) == (senses, bool(kind), True)
    assert build.projector != ears


def test_a_projector_that_only_speaks_gives_nothing(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    write_tiny_projector(folder / "mmproj-looker-F32.gguf", kind="", ears="pockettts_spkenc")
    (build,) = (found := library(tmp_path)).builds()
    assert not build.sees
    assert not build.hears
    assert "neither sees nor hears" in found.problems()[0].reason


@pytest.mark.parametrize("what", ["garbage", "hostile numbers", "no projector"])
def test_a_projector_that_does_not_add_up_is_none(tmp_path: Path, what: str) -> None:
    folder = folder_of(tmp_path)
    projector = folder / "mmproj-looker-F32.gguf"
    if what == "garbage":
        projector.write_bytes(b"GGUF nonsense")
    elif what == "hostile numbers":
        write_tiny_projector(projector, numbers={"block_count": 2**31})
    (build,) = library(tmp_path).builds()
    assert not build.sees


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_estimate_is_near_what_looking_takes(tmp_path: Path) -> None:
    model = write_tiny_gguf(tmp_path / "m.gguf")
    projector = write_tiny_projector(tmp_path / "p.gguf", side=336, patch=14, width=512, inner=2048, blocks=2, heads=8)
    picture = io.BytesIO()
    Image.new("RGB", (1000, 800), "red").save(picture, "PNG")
    measured = taken(model, projector, picture.getvalue())
    estimate = looking_of(read_layout(projector))
    assert 0.8 * measured <= estimate <= measured + 30_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("width", [64, 768])
def test_the_estimate_is_near_what_listening_takes(tmp_path: Path, width: int) -> None:
    model = write_tiny_gguf(tmp_path / "m.gguf")
    inner, heads = 4 * width, width // 64
    projector = write_tiny_projector(
        tmp_path / "p.gguf", kind="", ears="qwen2a", mels=128, width=width, inner=inner, heads=heads, blocks=1
    )
    measured = taken(model, projector, wav(440, MOST_SECONDS, rate=8_000))
    estimate = looking_of(read_layout(projector))
    assert 0.8 * measured <= estimate <= measured + 60_000_000
