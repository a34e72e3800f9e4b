"""The router: gates, order, stickiness, explanations."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.chat.drawing import Drawing
from nanolocal.chat.messages import Attachment, Wishes
from nanolocal.chat.ports import RouteRequest
from nanolocal.chat.routes import Build, Kind, Sense, Speed, Task
from nanolocal.errors import NoBuildFits, UsageError
from nanolocal.routing.router import Rules, TaskRouter
from nanolocal.routing.speed import measured, wait_for
from nanolocal.routing.surroundings import Surroundings
from nanolocal.routing.tasks import guess_task
from tests.fakes.sounds import tone

GIB = 2**30
SMALL = Build("small:Q8_0", "Small", Kind.TEXT, Path("s"), "Q8_0", 5_000_000, "a" * 64, 5_000_000, 1024)
BIG = Build("big:Q4_K_M", "Big", Kind.TEXT, Path("b"), "Q4_K_M", 2 * GIB, "b" * 64, 4_000_000_000, 32768)
PAINTER = Build("painter:f16", "Painter", Kind.IMAGE, Path("p"), "f16", 10_000_000, "c" * 64, 5_000_000)


def router(*builds: Build, budget: int = 8 * GIB, prefer: str = "balanced") -> TaskRouter:
    return TaskRouter(lambda: builds, lambda: Surroundings(budget), Rules(prefer))


def request(prompt: str, model: str | None = None, picture: bool = False) -> RouteRequest:
    return RouteRequest(prompt, (), 0, Wishes(model=model, picture=picture))


@pytest.mark.parametrize(
    ("prompt", "task"),
    [
        ("Tell me a short story about a fox.", Task.WRITING),
        ("Draw a red circle above a blue square", Task.IMAGE_GEN),
        ("please paint me a sunset", Task.IMAGE_GEN),
        ("Can you make a picture of two cats?", Task.IMAGE_GEN),
        ("draw a conclusion from these facts", Task.CHAT),
        ("How do I paint a fence?", Task.CHAT),
        ("12 * 7 + 3", Task.MATH),
        ("Translate 'good morning' to French", Task.TRANSLATE),
        ("Summarize this text: ...", Task.SUMMARIZE),
        ("Write a python function that sorts a list", Task.CODE),
        ("Pretend you are a pirate", Task.ROLEPLAY),
        ("hello", Task.CHAT),
    ],
)
def test_rules_recognise_the_task(prompt: str, task: Task) -> None:
    assert guess_task(prompt).task is task


def test_a_mention_of_pictures_deep_in_a_pasted_text_draws_nothing() -> None:
    pasted = "What do you think of this report?\n" + "The committee met again. " * 40 + "Make a picture of the house."
    assert guess_task(pasted).task is not Task.IMAGE_GEN


def test_the_better_build_answers_and_the_other_is_the_runner_up() -> None:
    route = router(SMALL, BIG, PAINTER).pick(request("hello there"))
    assert route.build is BIG
    assert [item.build_id for item in route.runners_up] == [SMALL.id]
    assert [(item.build_id, item.gate) for item in route.rejected] == [(PAINTER.id, "modality")]
    assert route.reasons


def test_what_one_build_was_measured_at_tells_of_another_of_about_its_size() -> None:
    half = replace(SMALL, id="small:Q4_K_M", size_bytes=SMALL.size_bytes // 2, sha256="d" * 64)
    speeds = {SMALL.sha256: Speed(load_s=0.5, read_tok_s=400.0, write_tok_s=100.0)}
    around = Surroundings(8 * GIB, speeds=speeds)
    others = measured((SMALL, half, BIG), around)
    wait, own, big = (wait_for(build, around, others, 100, 100, 100) for build in (half, SMALL, BIG))
    assert own == (0.5, 0.25, 1.0)
    assert wait == (0.25, 0.125, 0.5)
    assert big == wait_for(BIG, around, (), 100, 100, 100)


def test_what_does_not_fit_into_memory_is_rejected_with_the_numbers() -> None:
    route = router(SMALL, BIG, budget=GIB).pick(request("hello there"))
    assert route.build is SMALL
    assert route.rejected[0].gate == "memory"
    assert "GiB" in route.rejected[0].reason


def test_a_prompt_too_long_for_every_build_names_the_limit() -> None:
    with pytest.raises(NoBuildFits, match="reads at most 1,024"):
        router(SMALL, PAINTER).pick(request("word " * 400_000))


def test_a_long_prompt_goes_to_the_build_that_can_read_it() -> None:
    route = router(SMALL, BIG).pick(request("word " * 4_000))
    assert route.build is BIG
    assert route.rejected[0].gate == "context"


def test_a_picture_needs_a_build_that_draws() -> None:
    assert router(SMALL, PAINTER).pick(request("draw a cat")).build is PAINTER
    assert router(SMALL, PAINTER).pick(request("a cat", picture=True)).build is PAINTER
    with pytest.raises(NoBuildFits, match="draws pictures"):
        router(SMALL).pick(request("draw a cat"))


def test_an_attached_picture_goes_to_a_build_with_eyes_and_makes_the_context_longer() -> None:
    seeing = replace(SMALL, id="seeing:Q8_0", context_length=32768, projector=Path("mmproj"))
    asked = RouteRequest("What is on it?", (Attachment("a.png", "image/png", b"p"),), 0, Wishes())
    route = router(BIG, seeing, PAINTER).pick(asked)
    assert route.build is seeing
    assert {item.build_id: item.reason for item in route.rejected}[BIG.id] == "it cannot look at pictures"
    assert route.n_ctx == 8192
    assert router(seeing).pick(replace(asked, history_pictures=6)).n_ctx == 16384
    with pytest.raises(NoBuildFits, match="look at pictures"):
        router(BIG, replace(PAINTER, projector=Path("mmproj"))).pick(asked)


def test_an_attached_picture_is_refused_while_no_build_can_look_at_it() -> None:
    asked = RouteRequest("what is this?", (Attachment("a.png", "image/png", b""),), 0, Wishes())
    with pytest.raises(NoBuildFits, match="look at pictures"):
        router(SMALL, BIG).pick(asked)


def test_an_attached_sound_goes_to_a_build_with_ears_and_there_is_room_for_all_of_it() -> None:
    seeing = replace(BIG, id="seeing:Q8_0", projector=Path("mmproj"))
    hearing = replace(SMALL, id="hearing:Q8_0", context_length=32768, projector=Path("m"), senses=(Sense.HEARING,))
    asked = RouteRequest("What is said?", (tone(440),), 0, Wishes(), sound_tokens=816)
    route = router(BIG, seeing, hearing).pick(asked)
    assert route.build is hearing
    assert {item.build_id: item.reason for item in route.rejected} == {
        BIG.id: "it cannot listen to sounds",
        seeing.id: "it cannot listen to sounds",
    }
    assert route.n_ctx == 8192
    assert router(hearing).pick(replace(asked, sound_tokens=9_000)).n_ctx == 16384
    assert router(BIG, hearing).pick(request("hello there")).build is BIG


def test_after_an_answer_about_a_sound_a_build_with_ears_goes_on_where_there_is_one() -> None:
    hearing = replace(SMALL, id="hearing:Q8_0", projector=Path("m"), senses=(Sense.HEARING,))
    asked = replace(request("Translate 'good morning' to French"), on_sound=True)
    route = router(BIG, hearing, PAINTER).pick(asked)
    assert route.build is hearing
    assert {item.build_id: item.reason for item in route.rejected}[BIG.id] == "it cannot hear the sound"
    assert router(BIG, PAINTER).pick(asked).build is BIG
    assert router(BIG, hearing).pick(replace(asked, wishes=Wishes(model="big"))).build is BIG
    assert router(BIG, hearing, PAINTER).pick(replace(request("Draw a red circle"), on_sound=True)).build is PAINTER


@pytest.mark.parametrize("model", [None, "big"])
def test_an_attached_sound_is_refused_while_no_build_can_listen_to_it(model: str | None) -> None:
    seeing = replace(SMALL, projector=Path("mmproj"))
    asked = RouteRequest("what is said?", (tone(440),), 0, Wishes(model=model))
    with pytest.raises(NoBuildFits, match="no stored build can listen to sounds") as refused:
        router(seeing, BIG, PAINTER).pick(asked)
    assert "models catalogue --kind audio" in refused.value.hint
    both = replace(asked, attachments=(tone(440), Attachment("a.png", "image/png", b"p")))
    with pytest.raises(NoBuildFits, match="look at pictures and listen to sounds"):
        router(seeing, BIG).pick(both)


def test_a_picture_is_enlarged_by_a_build_that_does_so_and_by_that_alone() -> None:
    larger = replace(PAINTER, id="larger:f16", sha256="d" * 64, defaults={"upscales": 4})
    picture = (Attachment("a.png", "image/png", b""),)
    upscale = RouteRequest("", picture, 0, Wishes(picture=True, drawing=Drawing(upscales=True)))
    route = router(SMALL, PAINTER, larger).pick(upscale)
    assert (route.build, route.task) == (larger, Task.IMAGE_EDIT)
    edit = RouteRequest("make it blue", picture, 0, Wishes(picture=True))
    assert router(SMALL, PAINTER, larger).pick(edit).build is PAINTER
    assert router(SMALL, PAINTER, larger).pick(request("draw a boat", picture=True)).build is PAINTER
    named = replace(edit, wishes=Wishes(picture=True, model=larger.id))
    assert router(SMALL, PAINTER, larger).pick(named).build is larger
    with pytest.raises(NoBuildFits, match="enlarge"):
        router(SMALL, PAINTER).pick(upscale)


def test_a_named_build_wins_and_an_unknown_name_lists_the_known_ones() -> None:
    assert router(SMALL, BIG).pick(request("hello", model="small")).build is SMALL
    with pytest.raises(UsageError) as caught:
        router(SMALL, BIG).pick(request("hello", model="nobody"))
    assert SMALL.id in caught.value.hint


def test_a_conversation_stays_with_its_build_when_another_is_hardly_better() -> None:
    rival = replace(SMALL, id="rival:Q8_0", parameters=6_000_000)
    asked = RouteRequest("hello", (), 0, Wishes(), current_build_id=SMALL.id)
    assert router(SMALL, rival).pick(asked).build is SMALL


@given(
    st.lists(st.tuples(st.integers(1, 10**11), st.integers(10**5, 10**11), st.integers(256, 10**6)), max_size=6),
    st.integers(0, 10**11),
    st.text(min_size=1, max_size=200).filter(str.strip),
)
def test_every_pick_fits_and_the_same_input_gives_the_same_pick(
    sizes: list[tuple[int, int, int]], budget: int, prompt: str
) -> None:
    builds = [
        replace(SMALL, id=f"m{n}:Q4_0", size_bytes=size, parameters=weights, context_length=context)
        for n, (size, weights, context) in enumerate(sizes)
    ]
    chosen = router(*builds, budget=budget)
    asked = RouteRequest(prompt, (), 0, Wishes())
    try:
        route = chosen.pick(asked)
    except NoBuildFits:
        return
    assert route.build.size_bytes <= budget
    assert route == chosen.pick(asked)
    assert {route.build.id} | {item.build_id for item in route.rejected} <= {build.id for build in builds}


def test_the_preference_decides_between_good_and_quick() -> None:
    huge = replace(BIG, id="huge:Q4_K_M", size_bytes=6 * GIB, parameters=11_000_000_000)
    asked = RouteRequest("hello there", (), 0, Wishes(prefer="fast"))
    assert router(BIG, huge).pick(request("hello there")).build is huge
    assert router(BIG, huge).pick(asked).build is BIG
    assert router(BIG, huge, prefer="fast").pick(request("hello there")).build is BIG


CODER = replace(BIG, id="coder:Q8_0", sha256="d" * 64, quality={"code": 0.9, "*": 0.3})
TALKER = replace(BIG, id="talker:Q8_0", sha256="e" * 64, quality={"code": 0.2, "math": 0.2, "*": 0.8})
RECKONER = replace(BIG, id="reckoner:Q8_0", sha256="f" * 64, quality={"math": 0.9, "*": 0.3})
CODE, SUM = "Write a python function that sorts a list", "12 * 7 + 3"


@pytest.mark.parametrize(
    ("earlier", "prompt", "answers"),
    [
        ([("chat", TALKER)], CODE, CODER),
        ([("chat", TALKER)], SUM, TALKER),
        ([("chat", TALKER), ("math", TALKER)], SUM, RECKONER),
        ([("chat", TALKER), ("math", TALKER), ("math", TALKER)], SUM, RECKONER),
        ([("chat", TALKER), ("code", RECKONER)], CODE, RECKONER),
        ([("math", TALKER), ("math", TALKER), ("math", TALKER)], SUM, TALKER),
    ],
    ids=["code at once", "first turn", "second turn", "third turn", "changed already", "settled"],
)
def test_when_a_conversation_changes_its_build(earlier: list[tuple[str, Build]], prompt: str, answers: Build) -> None:
    asked = RouteRequest(
        prompt,
        (),
        0,
        Wishes(),
        current_build_id=earlier[-1][1].id,
        earlier_tasks=tuple(task for task, _ in earlier),
        earlier_builds=tuple(build.id for _, build in earlier),
    )
    assert router(TALKER, CODER, RECKONER).pick(asked).build is answers


def test_a_build_that_is_set_aside_is_rejected_by_the_health_gate_with_its_reason() -> None:
    broken = replace(BIG, set_aside="it failed 2 times in a row before its first word: it ended")
    route = router(SMALL, broken).pick(request("hello"))
    assert route.build is SMALL
    (rejected,) = route.rejected
    assert (rejected.build_id, rejected.gate, rejected.reason) == (broken.id, "health", broken.set_aside)


def test_one_that_is_set_aside_and_asked_for_by_name_says_how_to_release_it() -> None:
    broken = replace(BIG, set_aside="it failed")
    with pytest.raises(NoBuildFits, match="it failed") as refused:
        router(SMALL, broken).pick(request("hello", model=broken.id))
    assert refused.value.hint == f"nanolocal models release {broken.id}"


def test_a_build_that_is_asked_for_by_name_does_what_it_can_whatever_the_words_sound_like() -> None:
    assert router(SMALL, PAINTER).pick(request("Draw a red circle", model="small")).build is SMALL
    assert router(SMALL, PAINTER).pick(request("How are you?", model="painter")).build is PAINTER
