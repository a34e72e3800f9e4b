"""A small part of scripts/stress_pull.py: whatever happens, the file is right and nothing else is touched."""

import random
from pathlib import Path

import pytest

from tests.hub import trials
from tests.hub.disks import small_disk
from tests.hub.faults import Kind
from tests.hub.trials import Figures

SEED = 20


@pytest.fixture
def chance() -> random.Random:
    return random.Random(SEED)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_disconnects_cost_nothing_that_arrived(tmp_path: Path, chance: random.Random) -> None:
    figures = Figures()
    trials.random_faults(tmp_path / "room", chance, figures, {Kind.DISCONNECT: 30})
    assert figures.violations == []
    assert len(figures.again[Kind.DISCONNECT]) == 30


def test_any_faults_in_any_order_cost_a_chunk_at_most(tmp_path: Path, chance: random.Random) -> None:
    figures = Figures()
    trials.random_faults(tmp_path / "room", chance, figures, dict.fromkeys(trials.MIXED, 1))
    assert figures.violations == []
    assert set(figures.again) >= set(trials.MIXED)


@pytest.mark.parametrize("sends_digest", [False, True])
def test_flipped_bits_are_found_and_mended(tmp_path: Path, chance: random.Random, sends_digest: bool) -> None:
    figures = Figures()
    trials.flipped(tmp_path / "room", chance, figures, 2, sends_digest=sends_digest)
    assert figures.violations == []
    assert figures.again if sends_digest else figures.unbounded


def test_a_bit_that_flips_below_tls_is_a_broken_connection(tmp_path: Path, chance: random.Random) -> None:
    figures = Figures()
    trials.flipped_below_tls(tmp_path / "room", chance, figures, 3)
    assert figures.violations == []
    assert set(figures.again) == {Kind.FLIP_BELOW}


def test_bits_that_flip_on_the_disk_cost_their_chunks(tmp_path: Path, chance: random.Random) -> None:
    figures = Figures()
    trials.flipped_on_the_disk(tmp_path / "room", chance, figures, 4)
    assert figures.violations == []
    assert len(figures.again) == 2


def test_a_content_exchanged_on_the_way_is_never_mixed(tmp_path: Path, chance: random.Random) -> None:
    figures = Figures()
    trials.changed(tmp_path / "room", chance, figures, 4)
    assert figures.violations == []


def test_killed_processes_cost_a_chunk_at_most(tmp_path: Path, chance: random.Random) -> None:
    figures = Figures()
    trials.killed(tmp_path / "room", chance, figures, 3, chunks=16)
    assert figures.violations == []
    assert len(figures.again["kill -9"]) == 3


def test_no_link_leads_a_byte_outside(tmp_path: Path, chance: random.Random) -> None:
    figures = Figures()
    trials.strange_files(tmp_path / "room", chance, figures)
    assert figures.violations == []
    assert figures.refused.total() == len(trials.STRANGE)


def test_no_name_leads_a_byte_outside(tmp_path: Path, chance: random.Random) -> None:
    figures = Figures()
    trials.names(tmp_path / "room", chance, figures)
    assert figures.violations == []


def test_a_limit_on_the_size_of_files_keeps_what_arrived(tmp_path: Path, chance: random.Random) -> None:
    figures = Figures()
    trials.limited_file(tmp_path / "room", chance, figures)
    assert figures.violations == []


def test_a_full_disk_keeps_what_arrived(tmp_path: Path, chance: random.Random) -> None:
    figures = Figures()
    with small_disk(tmp_path / "disk") as disk:
        if disk is None:
            pytest.skip("mounting a small disk needs Linux and root")
        trials.full_disk(disk, chance, figures)
    assert figures.violations == []
