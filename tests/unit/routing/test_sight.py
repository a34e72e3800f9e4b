"""What is asked of a picture that is near: looks, changes, new pictures, and text that has nothing to do with it."""

import json
from pathlib import Path

import pytest

from nanolocal.chat.messages import Attachment, Wishes
from nanolocal.chat.ports import RouteRequest
from nanolocal.chat.routes import Build, Kind, Task
from nanolocal.errors import NoBuildFits
from nanolocal.routing.labels import LABELS, PICTURE_TASKS
from nanolocal.routing.router import TaskRouter
from nanolocal.routing.sight import Near, guessed
from nanolocal.routing.surroundings import Surroundings
from nanolocal.routing.tasks import Guess

DATA = Path(__file__).parents[2] / "data"
NEAR = {"drawn": Near.TOPIC, "looked": Near.TOPIC, "with": Near.ATTACHED, "text": Near.EARLIER}


def records(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


FOLLOW_UPS = [json.loads(line) for line in (DATA / "picture_followups.jsonl").read_text(encoding="utf-8").splitlines()]


def wanted(guess: Guess, near: Near) -> str:
    if guess.task in PICTURE_TASKS:
        return "edit" if guess.task is Task.IMAGE_EDIT else "new"
    return "look" if guess.looks or near is Near.ATTACHED else "text"


def share_right(rows: list[dict[str, str]]) -> float:
    right = [wanted(guessed(r["prompt"], NEAR[r["state"]], r["earlier"]), NEAR[r["state"]]) == r["want"] for r in rows]
    return sum(right) / len(right)


@pytest.mark.parametrize(("name", "least"), [("first", 0.97), ("second", 0.95), ("third", 0.9), ("fourth", 0.85)])
def test_follow_ups_to_a_picture_are_understood(name: str, least: float) -> None:
    """The fourth set was written last, and no rule was changed for it."""
    rows = [row for row in FOLLOW_UPS if row["set"] == name]
    assert len(rows) >= 36
    assert share_right(rows) >= least


@pytest.mark.parametrize("language", ["de", "fr", "es", "it", "pt", "zh", "ja"])
def test_follow_ups_in_other_languages_are_understood(language: str) -> None:
    assert share_right([row for row in FOLLOW_UPS if row["language"] == language]) >= 0.8


@pytest.mark.parametrize("name", ["router_heldout.jsonl", "router_clean.jsonl"])
def test_text_right_after_a_picture_stays_text(name: str) -> None:
    texts = [row for row in records(name) if LABELS[row["label"].partition("|")[0]] not in PICTURE_TASKS]
    guesses = [guessed(row["text"], Near.TOPIC, ["A small house with a tree"]) for row in texts]
    assert sum(guess.task in PICTURE_TASKS for guess in guesses) <= 0.005 * len(texts)
    assert sum(guess.looks for guess in guesses) <= 0.02 * len(texts)
    assert sum(guess.looks and not guess.may_be_blind for guess in guesses) <= 0.002 * len(texts)


TALKER = Build("talker:Q8_0", "Talker", Kind.TEXT, Path("t"), "Q8_0", 5_000_000, "a" * 64, quality={"*": 0.9})
SEER = Build(
    "seer:Q8_0", "Seer", Kind.TEXT, Path("s"), "Q8_0", 5_000_000, "b" * 64, quality={"*": 0.3}, projector=Path("m")
)
PAINTER = Build("painter:f16", "Painter", Kind.IMAGE, Path("p"), "f16", 10_000_000, "c" * 64)
WORDS_ALONE = Build("sana:f16", "Sana", Kind.IMAGE, Path("s"), "f16", 10_000_000, "d" * 64, architecture="SanaPipeline")
PHOTO = Attachment("a.png", "image/png", b"p")


def after_picture(prompt: str, model: str | None = None, *, then: str = "") -> RouteRequest:
    """After "draw a fox", and after another prompt ``then`` that was about something else."""
    earlier = ("draw a fox", then) if then else ("draw a fox",)
    wishes = Wishes(model=model)
    return RouteRequest(prompt, (), 0, wishes, earlier=earlier, history_pictures=1, on_picture=not then)


def router(*builds: Build) -> TaskRouter:
    return TaskRouter(lambda: builds, lambda: Surroundings(2**33))


def test_a_question_about_a_drawn_picture_goes_to_the_build_that_sees() -> None:
    route = router(TALKER, SEER, PAINTER).pick(after_picture("what is in it?"))
    assert (route.build, route.looks) == (SEER, True)
    assert "about the picture before it" in route.reasons[0]
    assert {item.build_id: item.reason for item in route.rejected}[TALKER.id] == "it cannot look at pictures"
    plain = router(TALKER, SEER, PAINTER).pick(after_picture("Who invented the telephone?"))
    assert (plain.build, plain.looks) == (TALKER, False)


def test_without_eyes_a_sure_question_is_refused_and_a_likely_one_answered_blind() -> None:
    with pytest.raises(NoBuildFits, match="look at pictures") as refused:
        router(TALKER, PAINTER).pick(after_picture("describe the picture"))
    assert "--kind vision" in refused.value.hint
    route = router(TALKER, PAINTER).pick(after_picture("is it late?"))
    assert (route.build, route.looks) == (TALKER, False)
    assert router(TALKER, SEER).pick(after_picture("is it late?")).build is SEER
    assert router(TALKER, SEER).pick(after_picture("describe the picture", "talker")).build is TALKER


def test_a_change_goes_to_a_build_that_can_change_pictures() -> None:
    route = router(TALKER, SEER, WORDS_ALONE, PAINTER).pick(after_picture("make it blue"))
    assert (route.task, route.build) == (Task.IMAGE_EDIT, PAINTER)
    assert {item.build_id: item.reason for item in route.rejected}[WORDS_ALONE.id] == "it draws from words alone"
    with pytest.raises(NoBuildFits, match="no stored build can change a picture") as refused:
        router(TALKER, WORDS_ALONE).pick(after_picture("make it blue"))
    assert "--kind image" in refused.value.hint
    assert router(TALKER, WORDS_ALONE).pick(after_picture("draw a green triangle")).build is WORDS_ALONE


def test_a_picture_that_comes_with_the_prompt_is_changed_or_looked_at() -> None:
    asked = RouteRequest("turn this into a cartoon", (PHOTO,), 0, Wishes())
    route = router(TALKER, SEER, PAINTER).pick(asked)
    assert (route.task, route.build) == (Task.IMAGE_EDIT, PAINTER)
    look = RouteRequest("what plant is this?", (PHOTO,), 0, Wishes())
    assert router(TALKER, SEER, PAINTER).pick(look).build is SEER
    wished = RouteRequest("a fox", (PHOTO,), 0, Wishes(picture=True))
    assert router(PAINTER).pick(wished).task is Task.IMAGE_EDIT


def test_a_build_that_draws_asked_for_by_name_changes_the_picture_where_the_words_say_so() -> None:
    assert router(TALKER, PAINTER).pick(after_picture("make it blue", "painter")).task is Task.IMAGE_EDIT
    assert router(TALKER, PAINTER).pick(after_picture("a blue house", "painter")).task is Task.IMAGE_GEN


def test_once_the_talk_is_about_something_else_only_named_pictures_are_meant() -> None:
    builds = router(TALKER, SEER, PAINTER)
    assert builds.pick(after_picture("make it shorter", then="Write a poem about the sea")).build is TALKER
    assert builds.pick(after_picture("what is in the picture?", then="Write a poem about the sea")).looks
    assert (
        builds.pick(after_picture("change the picture to night", then="Write a poem about the sea")).task
        is Task.IMAGE_EDIT
    )


@pytest.mark.parametrize("prompt", ["", " ", "\0", "?" * 10_000, "it " * 5_000, "the picture " * 3_000, "\ud800 it?"])
def test_hostile_text_beside_a_picture_gets_a_guess(prompt: str) -> None:
    for near in Near:
        assert isinstance(guessed(prompt, near, ["draw a fox"]), Guess)
