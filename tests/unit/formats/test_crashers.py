"""Files that ended native parsers are refused, with the reason, before one could see them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nanolocal.errors import Damaged
from nanolocal.formats.preflight import check_model, check_weights
from nanolocal.formats.safetensors_header import read_header
from tests.fakes.small_models import write_all
from tests.fakes.stores import write_gguf
from tests.faults import mutants, safetensors_mutants
from tests.faults.crashers import CRASHERS, Crasher

_REFUSING = """
import json, sys
from pathlib import Path
from nanolocal.engines.ggml import Model
from nanolocal.errors import Damaged

native = []
def watch(event, args):
    if event == "ctypes.dlopen" or (event == "import" and args[0].partition(".")[0] in ("llama_cpp", "numpy")):
        native.append(f"{event} {args[0]}")
sys.addaudithook(watch)
refused = 0
for name in sys.argv[1:]:
    try:
        Model(Path(name), lambda fraction: None)
    except Damaged:
        refused += 1
print(json.dumps([refused, native]))
"""


@pytest.mark.parametrize("crasher", CRASHERS, ids=lambda crasher: crasher.name)
def test_what_ended_a_parser_is_refused_with_the_reason(tmp_path: Path, crasher: Crasher) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(crasher.content)
    with pytest.raises(Damaged) as refused:
        check_model(path)
    assert crasher.reason in refused.value.message


def test_the_engine_refuses_them_with_no_native_library_in_its_process(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.gguf" for number in range(len(CRASHERS))]
    for file, crasher in zip(files, CRASHERS, strict=True):
        file.write_bytes(crasher.content)
    command = [sys.executable, "-c", _REFUSING, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert json.loads(done.stdout) == [len(CRASHERS), []]


def test_what_they_are_changed_from_is_taken(tmp_path: Path) -> None:
    for path in write_all(tmp_path):
        assert check_model(path).facts


def test_mutants_raise_nothing_but_damaged(tmp_path: Path) -> None:
    taken = 0
    for mutant in mutants.Mutator(write_all(tmp_path / "bases"), 11).mutants(400):
        path = tmp_path / mutant.base.name
        path.write_bytes(mutant.content)
        try:
            taken += bool(check_model(path).files)
        except Damaged as refused:
            assert refused.message
    assert 0 < taken < 300


def test_safetensors_mutants_raise_nothing_but_damaged(tmp_path: Path) -> None:
    path, taken = tmp_path / "m.safetensors", 0
    for _, content in safetensors_mutants.Mutator(11).mutants(300):
        path.write_bytes(content)
        try:
            taken += bool(read_header(path).parameters)
        except Damaged as refused:
            assert refused.message
    assert 0 < taken < 100


def test_a_file_that_changes_after_it_was_checked_is_not_loaded(tmp_path: Path) -> None:
    first, second = (path for path in write_all(tmp_path) if path.name.startswith("split"))
    checked = check_model(first)
    checked.confirm()
    second.write_bytes(second.read_bytes() + b"\0")
    with pytest.raises(Damaged, match=r"split-00002-of-00002\.gguf changed"):
        checked.confirm()


def test_a_file_that_another_takes_the_place_of_is_not_loaded(tmp_path: Path) -> None:
    path = write_all(tmp_path)[0]
    checked = check_model(path)
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)
    with pytest.raises(Damaged, match="changed while it was being loaded"):
        checked.confirm()


def test_every_weight_of_a_pipeline_is_checked(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    good, bad = tmp_path / "a.safetensors", tmp_path / "unet" / "b.safetensors"
    good.write_bytes(safetensors_mutants.whole(safetensors_mutants.BASE))
    bad.write_bytes(good.read_bytes())
    checked = check_weights(tmp_path)
    bad.write_bytes(good.read_bytes()[:-1])
    with pytest.raises(Damaged, match="not as long as its header says"):
        check_weights(tmp_path)
    with pytest.raises(Damaged, match="changed"):
        checked.confirm()


def test_a_merged_file_is_no_part(tmp_path: Path) -> None:
    """gguf-split leaves ``split.count`` in it, as 0."""
    path = write_gguf(tmp_path / "merged.gguf", extra={"split.no": 0, "split.count": 0})
    assert check_model(path).files == (path,)
