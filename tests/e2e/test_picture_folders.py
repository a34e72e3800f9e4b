"""Picture folders that must not be loaded, through the command line: one line, the right exit code, nothing touched."""

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Program
from tests.e2e.test_commands import one_error
from tests.fakes import stores
from tests.unit.formats.test_pipeline_folder import HOSTILE

SHOWN = (
    "video pipeline",
    "auto_map",
    "a file outside",
    "pickled .bin",
    "a missing shard",
    "wrong shapes",
    "a deep setting",
)


@pytest.mark.parametrize("name", SHOWN)
def test_a_hostile_folder_ends_a_picture_in_one_line(program: Program, tmp_path: Path, name: str) -> None:
    folder = stores.write_pipeline(tmp_path / "painter")
    spoil, why = HOSTILE[name]
    spoil(folder)
    before = stores.census(folder)
    out = tmp_path / "x.png"
    assert why in one_error(program("image", "a cat", "--model", str(folder), "--out", str(out)), 6)
    assert stores.census(folder) == before
    assert not out.exists()


def test_a_pickle_by_itself_says_how_to_convert_it(program: Program, tmp_path: Path) -> None:
    (tmp_path / "old.ckpt").write_bytes(b"\x80\x04K\x01.")
    result = program("image", "a cat", "--model", str(tmp_path / "old.ckpt"), "--out", str(tmp_path / "x.png"))
    assert "old.ckpt is pickled, and unpickling runs code" in one_error(result, 6)
    assert "safe_serialization" in result.stderr


def test_a_scan_lists_what_it_refuses_and_adopts_the_rest(program: Program, tmp_path: Path) -> None:
    stores.write_pipeline(tmp_path / "m" / "good")
    for name in SHOWN:
        HOSTILE[name][0](stores.write_pipeline(tmp_path / "m" / name.replace(" ", "-")))
    result = program("models", "scan", str(tmp_path / "m"), "--json")
    assert result.returncode == 0, result.stderr
    (store,) = json.loads(result.stdout)["stores"]
    assert [build["build"] for build in store["builds"]] == ["good:f16"]
    refused = {Path(item["path"]).name: item["reason"] for item in store["refused"]}
    for name in SHOWN:
        assert HOSTILE[name][1] in refused[name.replace(" ", "-")]


@pytest.mark.parametrize("size", ["7x7", "100000x100000", "64x100000"])
def test_sizes_that_nobody_can_draw_cost_nothing(program: Program, tmp_path: Path, size: str) -> None:
    out = tmp_path / "x.png"
    one_error(program("image", "a red circle", "--size", size, "--out", str(out)), 2)
    assert not out.exists()
