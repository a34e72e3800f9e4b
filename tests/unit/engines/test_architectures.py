"""Which architectures there are, compared with the llama.cpp that is installed, and what is said about others."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nanolocal.chat.routes import Build
from nanolocal.errors import EngineFailed
from nanolocal.formats.architectures import ARCHITECTURES, OLLAMA
from nanolocal.library.describe import describe
from nanolocal.library.fingerprints import Fingerprints
from tests.fakes.stores import write_gguf
from tests.faults.crashers import gguf, string
from tests.unit.engines.helpers import asking, build_of, listen, with_pool

OTHERS = ("gptj", "gptoss", "qwen25vl", "mllama", "nonesuch")
_ASKING = """
import json, sys
from llama_cpp import llama_cpp

heard = []
@llama_cpp.llama_log_callback
def listen(level, text, data):
    heard.append(text.decode("utf-8", "replace"))
llama_cpp.llama_log_set(listen, None)
unknown = []
for name in sys.argv[2:]:
    heard.clear()
    path = f"{sys.argv[1]}/{name}.gguf"
    llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
    if any("unknown model architecture" in line or "unsupported model architecture" in line for line in heard):
        unknown.append(name)
print(json.dumps(unknown))
"""


def test_the_table_is_that_of_the_installed_llama_cpp(tmp_path: Path) -> None:
    names = [*sorted(ARCHITECTURES), *OTHERS]
    for name in names:
        (tmp_path / f"{name}.gguf").write_bytes(gguf(string("general.architecture", name.encode())))
    command = [sys.executable, "-c", _ASKING, str(tmp_path), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == list(OTHERS)


@pytest.mark.parametrize(
    ("architecture", "extra", "needs"),
    [
        ("llama", {}, ""),
        ("gptoss", {}, OLLAMA),
        ("qwen25vl", {}, OLLAMA),
        ("gemma3", {}, ""),
        ("gemma3", {"gemma3.vision.block_count": 27}, OLLAMA),
        ("llama9", {}, "a newer llama.cpp (it does not know 'llama9')"),
    ],
)
def test_a_build_that_llama_cpp_cannot_read_says_what_it_needs(
    tmp_path: Path, architecture: str, extra: dict[str, int], needs: str
) -> None:
    path = write_gguf(tmp_path / "m.gguf", architecture=architecture, extra=extra)
    build = describe(path, Fingerprints(tmp_path / "index.json"))
    assert isinstance(build, Build)
    assert build.needs == needs


def test_the_child_says_so_too(tmp_path: Path) -> None:
    build = build_of(write_gguf(tmp_path / "m.gguf", architecture="gptoss"))
    with pytest.raises(EngineFailed, match=r"m\.gguf needs Ollama's own engine"):
        with_pool(lambda pool: listen(pool, build, asking("hi")))
