"""``models fit``: what fits here, from stored builds, the catalogue or a URL."""

import json
from pathlib import Path

import pytest

from nanolocal.cli.main import main
from tests.fakes.blank_gguf import Shape, write_blank_gguf
from tests.fakes.range_server import serving


class Fit:
    def __init__(self, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.models = home / "data" / "models"
        self._home = home
        self._capfd = capfd
        self.err = ""

    def __call__(self, *args: str, code: int = 0) -> str:
        assert main(["--home", str(self._home), "models", "fit", *args]) == code
        told = self._capfd.readouterr()
        self.err = told.err
        return told.out

    def json(self, *args: str, code: int = 0) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = json.loads(self(*args, "--json", code=code))["builds"]
        return rows


@pytest.fixture
def fit(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Fit:
    home = tmp_path / "home"
    (home / "cache").mkdir(parents=True)
    machine = {"bytes_per_second": 0.0}
    (home / "cache" / "bandwidth.json").write_text(json.dumps(machine), encoding="utf-8")
    return Fit(home, capfd)


def test_stored_builds_are_computed_and_a_named_one_is_probed(fit: Fit) -> None:
    write_blank_gguf(fit.models / "blank-Q8_0.gguf", Shape("llama"), "Q8_0")
    write_blank_gguf(fit.models / "blank-Q4_K_M.gguf", Shape("llama"), "Q4_K_M")
    everything = {str(row["label"]): row for row in fit.json()}
    assert {"blank:Q8_0", "blank:Q4_K_M", "nanolocal-starter-text:Q8_0"} <= everything.keys()
    assert everything["blank:Q8_0"]["source"] == "computed"
    named = fit.json("blank", "--context", "4096")
    assert [(row["source"], row["context"]) for row in named] == [("probed", 4096)] * 2
    assert [row["label"] for row in named if row["is_best"]] == ["blank:Q8_0"]
    half = {str(row["label"]): row for row in fit.json("blank", "--context", "4096", "--kv", "q8_0")}
    assert all(int(str(half[str(row["label"])]["needed"])) < int(str(row["needed"])) for row in named)


def test_a_table_fits_into_eighty_columns(fit: Fit) -> None:
    write_blank_gguf(fit.models / "blank-Q8_0.gguf", Shape("llama"), "Q8_0")
    lines = fit("blank").splitlines()
    assert lines[0].split() == ["BUILD", "SIZE", "MEMORY", "CONTEXT", "TOK/S", "VERDICT"]
    assert lines[1].startswith("blank:Q8_0") and lines[1].endswith("fits")
    assert max(map(len, lines)) <= 80
    assert "memory is probed" in fit.err


def test_what_llama_cpp_does_not_take_is_computed_with_the_reason(fit: Fit) -> None:
    path = write_blank_gguf(fit.models / "blank-Q8_0.gguf", Shape("llama"), "Q8_0")
    path.write_bytes(path.read_bytes().replace(b"ffn_norm", b"ffn_nose"))
    assert [row["source"] for row in fit.json("blank")] == ["computed"]
    fit("blank")
    assert "llama.cpp does not take blank-Q8_0.gguf" in fit.err and "ffn_norm" in fit.err
    path.write_bytes(path.read_bytes().replace(b"llama", b"lambs"))
    fit("blank", code=2)
    assert "blank:Q8_0 needs" in fit.err


def test_a_catalogue_model_is_judged_by_its_size(fit: Fit) -> None:
    rows = fit.json("qwen3-0.6b", "--context", "2048")
    assert {str(row["source"]) for row in rows} == {"from size alone"}
    assert any(row["size_bytes"] == 639_446_688 for row in rows)


def test_a_url_takes_its_header_alone(fit: Fit, tmp_path: Path) -> None:
    path = write_blank_gguf(tmp_path / "far.gguf", Shape("llama", 8192, 80, 64, 8, 128, 28_672, 32_000), "Q8_0")
    with serving(path) as served:
        fit(served.url, code=4)
        assert "nothing fits as asked" in fit.err and "hint:" in fit.err
    assert served.sent < path.stat().st_size // 1000


def test_a_split_model_at_a_url_is_read_in_all_its_parts(fit: Fit, tmp_path: Path) -> None:
    path = write_blank_gguf(tmp_path / "far-Q8_0.gguf", Shape("llama"), "Q8_0", parts=2)
    whole = write_blank_gguf(fit.models / "near-Q8_0.gguf", Shape("llama"), "Q8_0")
    with serving(tmp_path) as served:
        rows = fit.json(f"{served.url.rpartition('/')[0]}/{path.name}", "--context", "2048")
    assert [(row["source"], row["fits"]) for row in rows] == [("probed", True)]
    near = fit.json("near", "--context", "2048")[0]
    assert abs(int(str(rows[0]["needed"])) - int(str(near["needed"]))) < 2 * 2**20
    assert abs(int(str(rows[0]["size_bytes"])) - whole.stat().st_size) < 4096


def test_layers_on_a_gpu_leave_room_here(fit: Fit) -> None:
    write_blank_gguf(fit.models / "blank-Q8_0.gguf", Shape("llama", width=1024, heads=16), "Q8_0")
    here = fit.json("blank", "--context", "2048")[0]
    there = fit.json("blank", "--context", "2048", "--gpu-layers", "99")[0]
    moved = int(str(there["on_device"]))
    assert moved > 0 == here["on_device"]
    assert int(str(here["needed"])) - int(str(there["needed"])) == moved
    fit("blank", "--gpu-layers", "99")
    assert "more on the GPU" in fit.err


def test_a_name_that_is_nothing_is_an_error(fit: Fit) -> None:
    fit("no-such-model", code=2)
    assert "no model or repository is called 'no-such-model'" in fit.err
    for context in ("0", "-1", "many", str(2**30)):
        fit("blank", "--context", context, code=2)
        assert "no number of tokens" in fit.err
