"""What was measured of a smaller build is what the router and the fit go by, instead of the name of its type."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nanolocal.chat.routes import Build, Kind
from nanolocal.library.cards import report_beside
from nanolocal.library.fit.advice import advise
from nanolocal.library.fit.candidates import from_build
from nanolocal.library.library import Library
from nanolocal.library.retention import SMALL, retained_at
from nanolocal.routing.quality import expected_quality
from tests.fakes.tiny_gguf import write_tiny_gguf

BUILD = Build("m:Q4_LAB", "m", Kind.TEXT, Path("m.gguf"), "Q4_LAB", 5 * 10**9, "0", parameters=8 * 10**9)


def test_the_measured_types_keep_what_was_published() -> None:
    for kld, label in ((0.0014, "Q8_0"), (0.0108, "Q5_K_M"), (0.0282, "Q4_K_M"), (0.0844, "Q3_K_M"), (0.331, "Q2_K")):
        assert retained_at(kld) == pytest.approx(SMALL[label])


def test_more_loss_never_keeps_more() -> None:
    shares = [retained_at(n / 1000) for n in range(4000)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1.0
    assert 0.05 <= shares[-1] < SMALL["Q2_K"]
    for wrong in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="no KL"):
            retained_at(wrong)


def test_the_router_expects_what_was_measured() -> None:
    guessed = expected_quality(BUILD, "*")
    measured = expected_quality(replace(BUILD, retained=0.999), "*")
    assert measured.value > guessed.value
    assert "measured" in measured.known
    assert "measured" not in guessed.known


def test_the_fit_prefers_what_was_measured_to_be_better() -> None:
    stock = replace(BUILD, id="m:Q4_K_M", quantization="Q4_K_M")
    for share, best in ((0.999, "m:Q4_LAB"), (0.9, "m:Q4_K_M")):
        verdicts = advise([from_build(replace(BUILD, retained=share)), from_build(stock)], 64 * 10**9, 1e12)
        assert [verdict.label for verdict in verdicts if verdict.is_best] == [best]


def test_the_library_reads_it_from_the_card_of_that_file_alone(tmp_path: Path) -> None:
    (tmp_path / "models/m").mkdir(parents=True)
    path = write_tiny_gguf(tmp_path / "models/m/m-Q4_LAB.gguf")
    report = {"file": path.name, "retained": {"share": 0.97, "method": "measured"}}
    (path.parent / "card.json").write_text(json.dumps({"compressed": report}))
    for _ in range(2):
        (build,) = Library([tmp_path / "models"], tmp_path / "index.json").builds()
        assert build.retained == 0.97
    assert report_beside(path) == report
    other = write_tiny_gguf(tmp_path / "models/m/n-Q8_0.gguf", seed=2)
    assert report_beside(other) == {}
    assert {b.retained for b in Library([tmp_path / "models"], tmp_path / "other.json").builds()} == {0.97, 0.0}
