"""The bare loop that the engine is held against, and the turns that it is compared with, in real processes."""

import asyncio
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from nanolocal.chat.messages import Measured
from nanolocal.chat.routes import Build
from nanolocal.engines import bare, pooled, sidebyside
from nanolocal.engines.sidebyside import Plan, ask_bare, ask_pooled
from nanolocal.errors import EngineFailed
from tests.fakes.blank_gguf import Shape, write_blank_gguf
from tests.fakes.filled_gguf import FIRST_WORD, chain, words
from tests.unit.engines.helpers import ANSWER, Heard, asking, build_of, listen, with_pool

CHATML = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


class Counting:
    """A meter that is sure of 3 joules."""

    def start(self) -> "Counting":
        return self

    def so_far(self, cpu_seconds: float) -> Measured:
        return Measured(3.0, "measured: by hand", True)


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Writes the words of its vocabulary in their order."""
    path = tmp_path_factory.mktemp("builds") / "counter.gguf"
    shape = Shape("qwen3", width=256, layers=2, vocabulary=1000, trained=2048)
    return build_of(chain(write_blank_gguf(path, shape, "Q4_K_M", splitting="llama-bpe")))


def asked(build: Build, text: str, **more: object) -> bare.Found:
    question = bare.Question(str(build.path), 1024, (1,), CHATML.format(text), write=12)
    return asyncio.run(ask_bare(replace(question, **more), None))[0]  # type: ignore[arg-type]


def engines_answer(build: Build) -> Heard:
    return with_pool(lambda pool: listen(pool, build, asking("hello", max_tokens=12)))


def test_the_bare_loop_writes_what_the_engine_writes(answering: Build, counter: Build) -> None:
    for build in (answering, counter):
        found = asked(build, "hello", ends=True)
        heard = engines_answer(build)
        assert bytes.fromhex("".join(found.pieces)).decode() == heard.text
        assert found.prompt == heard.done.usage.prompt_tokens
    assert heard.text == "".join(words(0, 12))


def test_the_bare_loop_measures_everything(counter: Build) -> None:
    found = asked(counter, "hello", read=300, kept=250, added=20, temperature=0.7, gaps=True)
    assert (found.prompt, len(found.written), len(found.gaps)) == (300, 12, 12)
    assert min(found.first_s, found.second_s, found.read_tok_s, found.write_tok_s, *found.gaps) > 0
    assert found.memory > counter.size_bytes
    assert asked(counter, "hello").written == list(range(FIRST_WORD, FIRST_WORD + 12))


def test_an_answer_that_ends_is_as_long_as_it_is(answering: Build) -> None:
    assert bytes.fromhex("".join(asked(answering, "hello", ends=True).pieces)).decode() == ANSWER
    assert len(asked(answering, "hello").written) == 12


def test_turns_through_the_pool_go_on_after_a_swap_and_in_another_process(counter: Build, tmp_path: Path) -> None:
    question = pooled.Question(
        id=counter.id, path=str(counter.path), sha256=counter.sha256, memory=10**10, folder=str(tmp_path), n_ctx=1024,
        asked=("".join(words(100, 400)), "and?", "then?"), swaps=1, write=8, temperature=0.0, tuning={"batch": 64},
    )  # fmt: skip
    found, energy = asyncio.run(ask_pooled(question, Counting()))
    assert energy == (3.0, "measured: by hand")
    cold, next_turn, swapped = found.turns
    assert cold.load_s == next_turn.load_s == 0 < min(found.load_s, swapped.load_s)
    assert next_turn.cached > cold.prompt and swapped.prompt > next_turn.prompt
    assert [turn.written for turn in found.turns] == [8, 8, 8]
    assert len(found.said) == 6 and found.said[1] == "".join(words(0, 8))
    again, _ = asyncio.run(ask_pooled(replace(question, asked=("so?",), said=found.said, kept=found.kept), None))
    assert again.turns[0].prompt > swapped.prompt
    if found.kept is not None:
        assert [file.name for file in tmp_path.iterdir()] == [Path(str((again.kept or found.kept)["path"])).name]


def test_both_are_compared_in_turn(counter: Build, tmp_path: Path) -> None:
    told: list[str] = []
    plan = Plan(counter, tmp_path, 10**10, rounds=2, prompt_tokens=100, answer_tokens=8)
    found = asyncio.run(sidebyside.compare(plan, Counting(), told.append))
    assert told == [
        f"{counter.id}: {what}" for what in ("a first round that does not count", "round 1 of 2", "round 2 of 2")
    ]
    assert [figure.unit for figure in found.figures] == ["tok/s", "tok/s", "s", "s", "s", "s", "bytes", "J"]
    assert all(len(figure.ratios) == 2 and min(figure.ratios) > 0 for figure in found.figures)
    assert found.figures[-1].ratios == (1.0, 1.0) and found.energy == "measured: by hand"
    assert list(tmp_path.iterdir()) == []


def test_without_a_meter_there_are_no_joules(counter: Build, tmp_path: Path) -> None:
    class Guessing(Counting):
        def so_far(self, cpu_seconds: float) -> Measured:
            return Measured(3.0, "estimated", False)

    plan = Plan(counter, tmp_path, 10**10, rounds=1, prompt_tokens=70, answer_tokens=2)
    found = asyncio.run(sidebyside.compare(plan, Guessing(), lambda text: None))
    assert "J" not in [figure.unit for figure in found.figures]


def test_a_file_that_does_not_load_is_one_clear_error(counter: Build, tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(counter.path.read_bytes()[:5000])
    with pytest.raises(EngineFailed, match=r"cannot load .*bad\.gguf"):
        asked(build_of(bad), "hello")
    question = pooled.Question("bad", str(bad), "sha", 10**10, str(tmp_path), 512, ("hello",))
    with pytest.raises(EngineFailed, match="bad"):
        asyncio.run(ask_pooled(question, None))


def test_given_up_it_leaves_no_process_behind(counter: Build) -> None:
    async def give_up() -> None:
        question = bare.Question(str(counter.path), 131_072, (1,), "hello", read=100_000)
        measuring = asyncio.create_task(ask_bare(question, None))
        while not any(child.status() != psutil.STATUS_ZOMBIE for child in psutil.Process().children()):
            await asyncio.sleep(0.01)
        measuring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await measuring

    before = set(psutil.Process().children())
    asyncio.run(give_up())
    assert set(psutil.Process().children()) <= before


def test_a_process_that_dies_is_reported(counter: Build) -> None:
    async def killed() -> None:
        before = set(psutil.Process().children())
        measuring = asyncio.create_task(
            ask_bare(bare.Question(str(counter.path), 131_072, (1,), "a", read=90_000), None)
        )
        while not (children := set(psutil.Process().children()) - before):
            await asyncio.sleep(0.01)
        children.pop().send_signal(signal.SIGKILL)
        await measuring

    with pytest.raises(EngineFailed, match="ended with exit code -9"):
        asyncio.run(killed())
