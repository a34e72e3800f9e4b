"""The files that are measured are builds, both ways of having them are measured, and a fit that fetches a header."""

import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import bench_library  # noqa: E402

from nanolocal.formats.gguf import read_facts  # noqa: E402


def test_the_measured_files_are_whole(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(bench_library.small_gguf(7))
    facts = read_facts(tmp_path / "m.gguf")
    assert (facts.metadata["general.name"], facts.parameters) == ("Model 7", 256)


@pytest.mark.parametrize("adopted", [False, True])
def test_listing_is_measured_next_to_a_bare_python(tmp_path: Path, adopted: bool) -> None:
    report = bench_library.measure(tmp_path, 3, 1, adopted)
    assert report["builds"] == 3
    assert report["models list, s"] > 0


def test_what_a_fit_fetches_is_counted_by_the_hub(tmp_path: Path) -> None:
    report = bench_library.fetched_by_fit(tmp_path)
    assert report["model on a hub, bytes"] > 40 * 10**9
    assert 0 < report["fetched by fit, %"] < 0.5
