"""Settings that were measured are those that a build is loaded with, and they do not change what it writes."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import psutil
import pytest

from nanolocal.chat.routes import Build
from nanolocal.chat.tuning import USUAL, Tuning
from nanolocal.engines.pool import EnginePool
from nanolocal.engines.search import Race, Tried, search
from nanolocal.engines.tune import question_for, tune
from nanolocal.engines.tuner import Question, candidates
from nanolocal.errors import EngineFailed
from tests.fakes.blank_gguf import Shape, write_blank_gguf
from tests.fakes.filled_gguf import chain, words
from tests.unit.engines.helpers import Heard, asking, build_of, listen, with_pool


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Writes the words of its vocabulary in their order."""
    path = tmp_path_factory.mktemp("builds") / "counter.gguf"
    shape = Shape("qwen3", width=256, layers=2, vocabulary=1000, trained=2048)
    return build_of(chain(write_blank_gguf(path, shape, "Q4_K_M", splitting="llama-bpe")))


class Known:
    """Knows one tuning for every build, and notes who asked."""

    def __init__(self, tuning: Tuning, small: Build | None = None) -> None:
        self.tuning = tuning
        self.small = small
        self.asked: list[tuple[str, int]] = []

    def of(self, build: Build, n_ctx: int) -> Tuning:
        self.asked.append((build.id, n_ctx))
        return self.tuning

    def step_cache(self, build: Build) -> str:
        return ""

    def may_guess(self, sha256: str, task: str) -> bool:
        return task != "code"

    def draft(self, build: Build) -> Build | None:
        return self.small


@pytest.mark.parametrize(
    "tuning", [Tuning(), Tuning(2, 64, "off", maps=False), Tuning(1, 512, "on", gpu_layers=0), Tuning(batch=32)]
)
def test_a_tuned_build_writes_the_same(counter: Build, tuning: Tuning) -> None:
    known = Known(tuning)

    async def answer(pool: EnginePool) -> str:
        long = await listen(pool, counter, asking("".join(words(100, 300)), n_ctx=1024, max_tokens=12))
        assert long.done.usage.prompt_tokens > 300
        return long.text

    assert with_pool(answer, tunings=known) == "".join(words(0, 12))
    assert known.asked == [(counter.id, 1024)]


def test_guesses_are_made_where_they_may_pay_and_their_gain_is_told(counter: Build) -> None:
    told = "".join(words(0, 160))

    async def gains(pool: EnginePool) -> tuple[Heard, Heard]:
        job = asking(told, n_ctx=1024, max_tokens=150)
        guessed = await listen(pool, counter, replace(job, task="chat"))
        return guessed, await listen(pool, counter, replace(job, task="code"))

    guessed, plain = with_pool(gains, tunings=Known(USUAL))
    assert guessed.text == plain.text == "".join(words(0, 150))
    assert plain.done.guess_gain == 0.0 < guessed.done.guess_gain


def races(speed: Callable[[Tuning], float], noise: float = 0.0, seed: int = 1) -> Race:
    """A machine on which ``speed`` tells how fast a tuning is, but for so much noise in each round."""
    random = Random(seed)

    def race(one: Tuning, other: Tuning) -> Iterator[float]:
        while True:
            yield speed(other) / speed(one) * random.lognormvariate(0.0, noise)

    return race


GROUPS = candidates(Question("x", 4, (1, 2)), has_gpu=False)


def test_each_setting_is_tried_and_the_faster_ones_are_taken() -> None:
    def speed(tuning: Tuning) -> float:
        return 1.0 + 0.2 * (tuning.threads == 2) + 0.1 * (not tuning.maps) + 0.01 * (tuning.batch == 512)

    told: list[Tried] = []
    found, gain = search(GROUPS, races(speed), told.append)
    assert found == Tuning(threads=2, maps=False)
    assert gain == pytest.approx(1.3)
    assert [(tried.what, tried.is_taken) for tried in told] == [
        ("1 thread", False), ("2 threads", True), ("128 tokens a step", False), ("512 tokens a step", False),
        ("weights in memory of its own", True),
    ]  # fmt: skip


def test_on_a_graphics_card_more_is_tried() -> None:
    more = candidates(Question("x", 4, ()), has_gpu=True)[-2:]
    assert more == [[Tuning(flash="off")], [Tuning(gpu_layers=0)]]


def test_what_is_given_up_costs_few_rounds() -> None:
    rounds = 0

    def race(one: Tuning, other: Tuning) -> Iterator[float]:
        nonlocal rounds
        while True:
            rounds += 1
            yield 0.9

    assert search(GROUPS, race, lambda tried: None) == (USUAL, 1.0)
    assert rounds == 3 * sum(map(len, GROUPS))


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_noise_is_no_gain(noise: float) -> None:
    found = [search(GROUPS, races(lambda tuning: 1.0, noise, seed), lambda tried: None)[0] for seed in range(100)]
    assert sum(tuning != USUAL for tuning in found) <= 5


def test_a_gain_is_found_in_noise() -> None:
    def speed(tuning: Tuning) -> float:
        return 1.0 + 0.15 * (tuning.threads == 2)

    found = [search(GROUPS, races(speed, 0.03, seed), lambda tried: None)[0] for seed in range(20)]
    assert sum(tuning.threads == 2 for tuning in found) >= 18


def test_a_build_is_tuned_in_a_child(counter: Build) -> None:
    told: list[Tried] = []
    question = Question(str(counter.path), 1, (2,), read=64, write=2, least_s=0.0)
    found, gain = asyncio.run(tune(question, told.append))
    assert [tried.what for tried in told][:2] == ["2 threads", "128 tokens a step"] and len(told) == 4
    assert all(tried.ratio > 0 for tried in told)
    assert (found == USUAL) == (gain == 1.0)
    assert found.gpu_layers == -1 and found.more_bytes >= 0


def test_a_file_that_does_not_load_is_one_clear_error(tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF")
    with pytest.raises(EngineFailed, match=r"bad\.gguf"):
        asyncio.run(tune(Question(str(bad), 1, ()), lambda tried: None))


def test_given_up_it_leaves_no_process_behind(counter: Build) -> None:
    async def give_up() -> None:
        first = asyncio.Event()
        tuning = asyncio.create_task(tune(question_for(counter), lambda tried: first.set()))
        await first.wait()
        tuning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await tuning

    before = set(psutil.Process().children())
    asyncio.run(give_up())
    assert set(psutil.Process().children()) <= before
