"""A recorded decision in words, with the real router and the real recomputation."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nanolocal.chat.decisions import as_record, explained
from nanolocal.chat.messages import Wishes
from nanolocal.chat.ports import RouteRequest
from nanolocal.chat.routes import Build, Kind
from nanolocal.errors import Damaged
from nanolocal.routing.explain import weighed
from nanolocal.routing.router import TaskRouter
from nanolocal.routing.surroundings import Surroundings

SMALL = Build("small:Q8_0", "Small", Kind.TEXT, Path("s"), "Q8_0", 10**9, "a" * 64, 10**9, 8192)
BIG = replace(SMALL, id="big:Q8_0", name="Big", parameters=8 * 10**9, size_bytes=8 * 10**9, sha256="b" * 64)
PAINTER = Build("painter:f16", "Painter", Kind.IMAGE, Path("p"), "f16", 10**7, "c" * 64)


def record(model: str | None = None, prefer: str = "balanced") -> dict[str, Any]:
    """As it is stored, and read back."""
    builds = [SMALL, BIG, PAINTER]
    router = TaskRouter(lambda: builds, lambda: Surroundings(64 * 2**30))
    route = router.pick(RouteRequest("Write a python function", (), 0, Wishes(model, prefer)))
    stored: dict[str, Any] = json.loads(json.dumps(as_record(route)))
    return stored


def words(stored: Mapping[str, Any]) -> str:
    sections = explained(stored, weighed)
    return "\n".join(
        [
            *(section.title for section in sections),
            *(f"{line.name} {line.figure} {line.text}" for section in sections for line in section.lines),
        ]
    )


@pytest.mark.parametrize("prefer", ["quality", "balanced", "fast", "cheap"])
def test_the_terms_add_up_to_the_score_and_the_best_is_the_one_that_answered(prefer: str) -> None:
    stored = record(prefer=prefer)
    ranking = weighed(stored["case"])
    assert ranking[0].build_id == stored["build"]
    for one in ranking:
        assert one.score == pytest.approx(one.quality - one.time - one.price - one.swap + one.stay)
    assert "worked out anew from this record: the same build" in words(stored)


def test_every_build_that_could_not_answer_stands_with_its_gate() -> None:
    assert "painter:f16 modality it makes pictures" in words(record())


def test_a_named_build_is_told_with_the_one_it_was_named_instead_of() -> None:
    assert record(prefer="quality")["build"] == "big:Q8_0"
    assert "left to itself, nanolocal would have picked big:Q8_0" in words(record("small:Q8_0", "quality"))
    assert "left to itself" not in words(record())


def test_a_record_that_was_changed_says_so() -> None:
    stored = record()
    other = "small:Q8_0" if stored["build"] == "big:Q8_0" else "big:Q8_0"
    assert "so it is not the decision that was made" in words(stored | {"build": other})


@pytest.mark.parametrize(
    "broken",
    [{"version": 99}, {"candidates": [{"build_id": "x", "quality": {}}]}, {"weights": {}}, {"tasks": ["code"]}],
)
def test_a_case_that_does_not_add_up_leaves_the_stored_words(broken: dict[str, Any]) -> None:
    stored = record()
    stored["case"] |= broken
    with pytest.raises(Damaged):
        weighed(stored["case"])
    assert "It cannot be worked out anew" in words(stored)
    assert "Runners-up" in words(stored)


def test_a_record_of_an_older_version_has_its_runners_up() -> None:
    old = record()
    for key in ("case", "subtask", "instead", "sha256"):
        del old[key]
    told = words(old)
    assert "Runners-up" in told and "worked out anew" not in told
    assert explained({}, weighed)[0].title == "? answered as "
