"""The memory of a projector: in the build's footprint, and near what looking really takes."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from nanolocal.library.fit.candidates import Terms, from_build, probed_build
from nanolocal.library.fit.layout import read_layout
from nanolocal.library.fit.looking import looking_of
from nanolocal.library.library import Library
from tests.fakes.tiny_gguf import write_tiny_gguf
from tests.fakes.tiny_projector import write_tiny_projector

LOOK = """
import json, sys
from pathlib import Path
from nanolocal.engines.eyes import Eyes
from nanolocal.engines.ggml import Context, Model, Part
from nanolocal.engines.pace import Pace
from nanolocal.engines.stopflag import StopFlag
from nanolocal.engines.tokens import Glance

def held(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

stop = StopFlag()
model = Model(Path(sys.argv[1]), lambda fraction: None)
context = Context(model, 1024, Pace(1), stop.buffer)
context.decode([Part(0, [1] * 200, 0)])
before = held("VmRSS")
eyes = Eyes(Path(sys.argv[2]), model, 1, stop)
for token in eyes.tokens(sys.stdin.buffer.read()):
    if isinstance(token, Glance):
        assert eyes.read(token, context, 0, 200)
print(json.dumps(held("VmHWM") - before))
"""


def folder_of(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "see"
    folder.mkdir(parents=True)
    write_tiny_gguf(folder / "looker-F32.gguf")
    return folder


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
        looking = looking_of(read_layout(projector))
        assert build.footprint.needed(4096) == alone.footprint.needed(4096) + looking
        assert build.footprint.peak(4096) == alone.footprint.peak(4096) + looking


def test_what_llama_cpp_says_of_the_model_leaves_the_projector_in(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (alone,) = library(tmp_path).builds()
    projector = write_tiny_projector(folder / "mmproj-looker-F32.gguf")
    (build,) = library(tmp_path).builds()
    terms = Terms(1024, "f16", 0, tmp_path / "probes.json")
    (blind, _), (seeing, problem) = (probed_build(from_build(each), each, terms) for each in (alone, build))
    assert problem == ""
    assert seeing.needs(1024) == blind.needs(1024) + looking_of(read_layout(projector))


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
    command = [sys.executable, "-c", LOOK, str(model), str(projector)]
    done = subprocess.run(command, input=picture.getvalue(), capture_output=True, check=True)
    measured = json.loads(done.stdout)
    estimate = looking_of(read_layout(projector))
    assert 0.8 * measured <= estimate <= measured + 30_000_000
