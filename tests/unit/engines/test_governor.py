"""Who stays in memory, and with how little a build makes do: decisions over numbers."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.chat.context import prompt_room
from nanolocal.chat.messages import Attachment, Message, Role
from nanolocal.chat.ports import ImageJob, TextJob
from nanolocal.chat.routes import Build, Footprint, Kind
from nanolocal.chat.tuning import USUAL, Tuning
from nanolocal.engines import governor
from nanolocal.engines.attempts import Attempts, least_context, prompt_tokens, setup_for
from nanolocal.engines.failures import failed
from nanolocal.engines.governor import Governor, Resident, Setup
from nanolocal.errors import BuildFailed, OutOfMemory

FOOTPRINT = Footprint(file=500, mapped=400, used=300, held=100, loading=50, per_token=64)
BUILD = Build("b:Q4", "B", Kind.TEXT, Path("b.gguf"), "Q4", 1000, "sha", kv_bytes_per_token=64, footprint=FOOTPRINT)

residents = st.lists(
    st.builds(
        Resident,
        build_id=st.sampled_from([f"{name}:{number}" for name in ("pin", "loose") for number in range(4)]),
        memory=st.integers(1, 100),
        load_s=st.floats(0.0, 30.0),
        is_busy=st.booleans(),
    ),
    unique_by=lambda each: each.build_id,
    max_size=8,
)
uses = st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["", "one", "two"])), max_size=20)


def governed(budget: int, used: list[tuple[int, str]]) -> Governor:
    found = Governor(budget, ("PIN:*",))
    for number, chat in used:
        found.used(f"{'pin' if number < 4 else 'loose'}:{number % 4}", chat)
    return found


def held(found: list[Resident]) -> int:
    return sum(resident.memory for resident in found)


@given(residents, st.integers(1, 400), st.integers(1, 400), uses)
def test_whoever_leaves_the_rest_fits_and_no_one_leaves_in_vain(
    all_of_them: list[Resident], expected: int, budget: int, used: list[tuple[int, str]]
) -> None:
    leaving = governed(budget, used).leaving(all_of_them, expected)
    if leaving is None:
        return
    staying = [resident for resident in all_of_them if resident not in leaving]
    assert not staying or held(staying) + expected <= budget
    for resident in leaving:
        assert held([*staying, resident]) + expected > budget


@given(residents, st.integers(1, 400), st.integers(1, 400), uses)
def test_no_busy_one_leaves_and_a_pinned_one_only_for_what_does_not_fit_beside_it(
    all_of_them: list[Resident], expected: int, budget: int, used: list[tuple[int, str]]
) -> None:
    leaving = governed(budget, used).leaving(all_of_them, expected) or []
    assert not any(resident.is_busy for resident in leaving)
    pinned = [resident for resident in all_of_them if resident.build_id.startswith("pin")]
    if held(pinned) + expected <= budget:
        assert not any(resident in pinned for resident in leaving)


@given(residents, st.integers(1, 400), st.integers(1, 400), uses)
def test_it_waits_only_for_busy_ones(
    all_of_them: list[Resident], expected: int, budget: int, used: list[tuple[int, str]]
) -> None:
    if governed(budget, used).leaving(all_of_them, expected) is None:
        busy = [resident for resident in all_of_them if resident.is_busy]
        pinned = [resident for resident in all_of_them if resident.build_id.startswith("pin")]
        spared = [*busy, *(each for each in pinned if not each.is_busy and held(pinned) + expected <= budget)]
        assert busy
        assert held(spared) + expected > budget


def test_what_is_larger_than_the_budget_is_let_in_alone() -> None:
    found, small = Governor(100), Resident("a", 10, 1.0)
    assert found.leaving([], 500) == []
    assert found.leaving([small], 500) == [small]
    assert found.leaving([replace(small, is_busy=True)], 500) is None


def test_the_one_that_is_quick_to_bring_back_leaves_first() -> None:
    slow, quick = Resident("slow", 50, 9.0), Resident("quick", 50, 1.0)
    found = Governor(120)
    for build_id in ("quick", "slow", "quick", "slow", "quick"):
        found.used(build_id)
    assert found.leaving([slow, quick], 50) == [quick]


def test_the_one_that_is_returned_to_often_stays_though_another_was_asked_last() -> None:
    often, once = Resident("often", 50, 2.0), Resident("once", 50, 2.0)
    found = Governor(120)
    for build_id in ("often", "third", "often", "once"):
        found.used(build_id)
    assert found.leaving([often, once], 50) == [once]
    for _ in range(8):
        found.used("once")
        found.used("third")
    assert found.leaving([often, once], 50) == [often]


def test_a_long_talk_with_one_does_not_make_another_seem_forgotten() -> None:
    slow, quick = Resident("painter", 50, 4.0), Resident("coder", 50, 0.5)
    found = Governor(120)
    for build_id in ("painter", "coder", *["talker"] * 100, "coder", *["talker"] * 100):
        found.used(build_id)
    assert found.leaving([slow, quick], 50) == [quick]


def test_the_one_that_talks_in_the_current_conversation_stays() -> None:
    here, elsewhere = Resident("here", 50, 2.0), Resident("elsewhere", 50, 2.0)
    found = Governor(120)
    found.used("elsewhere", "old")
    found.used("here", "new")
    found.used("elsewhere", "old")
    found.used("painter")
    assert found.leaving([here, elsewhere], 50) == [here]
    found.used("here", "new")
    assert found.leaving([here, elsewhere], 50) == [elsewhere]


def test_chances_are_shares() -> None:
    found = Governor(1)
    assert found.chance("a") == 0.0
    found.used("a", "chat")
    found.used("b")
    assert found.chance("a") > found.chance("b") > found.chance("c") == 0.0
    assert found.chance("a") + found.chance("b") <= 1.0


def test_less_and_less_will_have_to_do_and_the_prompt_is_held_to_the_end() -> None:
    steps, setup = [], Setup(16_384)
    while (smaller := setup.smaller(at_least=3000)) is not None:
        steps.append(setup := smaller)
    assert steps == [
        Setup(16_384, "q8_0"), Setup(8192), Setup(8192, "q8_0"), Setup(4096), Setup(4096, "q8_0"),
    ]  # fmt: skip
    sizes = [governor.peak(BUILD, setup) for setup in steps]
    assert sizes == sorted(sizes, reverse=True)
    assert Setup(0).smaller(0) is None
    assert Setup(2048, "q8_0").smaller(0) is None


def test_layers_leave_a_graphics_card_when_nothing_else_helps() -> None:
    job = TextJob((Message(Role.USER, "hi"),), 4096, 100)
    attempts = Attempts(job, None, Tuning(gpu_layers=33))
    short, seen = OutOfMemory("no memory"), []
    while attempts.falls_back(short, others_left=False):
        seen.append(attempts.setup)
    assert [(setup.n_ctx, setup.kv, setup.tuning.gpu_layers) for setup in seen[:5]] == [
        (4096, "q8_0", 33), (2048, "f16", 33), (2048, "q8_0", 33), (4096, "f16", 16), (4096, "q8_0", 16),
    ]  # fmt: skip
    assert (seen[-1].n_ctx, seen[-1].tuning.gpu_layers) == (2048, 0)
    assert "0 layers on the graphics card" in attempts.remark
    known = setup_for(job, seen[3], Tuning(gpu_layers=33))
    assert known == seen[3]


def test_a_draft_leaves_first() -> None:
    job = TextJob((Message(Role.USER, "hi"),), 4096, 100)
    attempts = Attempts(job, None, USUAL, BUILD)
    assert governor.peak(BUILD, attempts.setup) == 2 * governor.peak(BUILD, Setup(4096))
    assert attempts.falls_back(OutOfMemory("no memory"), others_left=False)
    assert attempts.setup == Setup(4096) and "without a smaller build" in attempts.remark
    assert Attempts(job, attempts.setup, USUAL, BUILD).setup == Setup(4096)


def test_without_a_graphics_card_no_layers_leave_it() -> None:
    assert Setup(2048, "q8_0").with_fewer_layers(4096) is None
    assert Setup(2048, "q8_0", tuning=Tuning(gpu_layers=0)).with_fewer_layers(4096) is None


def test_what_a_tuning_takes_more_is_counted() -> None:
    more = Setup(4096, tuning=Tuning(more_bytes=1000))
    assert governor.peak(BUILD, more) == governor.peak(BUILD, Setup(4096)) + 1000
    assert governor.needed(BUILD, more) == governor.needed(BUILD, Setup(4096)) + 1000


@given(st.integers(0, 200_000), st.integers(1, 10_000))
def test_the_least_context_leaves_nothing_out(tokens: int, max_tokens: int) -> None:
    job = TextJob((Message(Role.USER, "hi"),), 8192, max_tokens)
    least = least_context(job, tokens)
    assert prompt_room(least, max_tokens) >= tokens
    assert least == governor.LEAST_CONTEXT or prompt_room(least // 2, max_tokens) < tokens


def test_what_is_known_to_work_is_used_as_long_as_it_holds_the_prompt() -> None:
    known = Setup(4096, "q8_0")
    short = TextJob((Message(Role.USER, "hi"),), 8192, 100)
    long = replace(short, messages=(Message(Role.USER, "x" * 20_000),))
    seeing = replace(short, messages=(Message(Role.USER, "", (Attachment("a", "image/png", b""),) * 3),))
    assert setup_for(short, None) == Setup(8192)
    assert setup_for(short, known) == known
    assert setup_for(replace(short, n_ctx=2048), known) == Setup(2048, "q8_0")
    assert setup_for(long, known) == Setup(8192, "q8_0")
    assert setup_for(seeing, known) == Setup(8192, "q8_0")
    assert setup_for(ImageJob("a dog", 64, 64, 1, 1.0), known) == Setup(0)
    assert prompt_tokens(short) < prompt_tokens(long)


def test_memory_is_reckoned_with_what_keys_and_values_take() -> None:
    assert governor.peak(BUILD, Setup(256)) == FOOTPRINT.peak(256)
    saved = int(64 * 256 * 30 / 64)
    assert governor.peak(BUILD, Setup(256, "q8_0")) == FOOTPRINT.peak(256) - saved
    assert governor.needed(BUILD, Setup(256, "q8_0")) == FOOTPRINT.needed(256) - saved
    unknown = replace(BUILD, footprint=None)
    assert governor.needed(unknown, Setup(256)) == 0
    assert governor.peak(unknown, Setup(256)) > unknown.size_bytes


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (MemoryError(), "OutOfMemory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), "OutOfMemory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "OutOfMemory"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "EngineFailed"),
        (BuildFailed("no"), "BuildFailed"),
    ],
)
def test_a_lack_of_memory_is_told_from_other_failures(error: Exception, name: str) -> None:
    assert failed(1, error).error == name
