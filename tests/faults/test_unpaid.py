"""What an answer costs when something breaks, with real engines and a real vault: nothing, or what was shown."""

import asyncio
import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from nanolocal.chat.events import CostSoFar, Event, Finished, Loading, Reading, TextDelta
from nanolocal.chat.messages import Answer, TurnRequest, Wishes
from nanolocal.chat.routes import Build
from nanolocal.chat.turn import Chat
from nanolocal.device.power import Meter
from nanolocal.engines.pool import EnginePool
from nanolocal.errors import EngineFailed, NoBuildFits
from tests.fakes.homes import Home, fork, home
from tests.fakes.small_models import write_ending
from tests.fakes.tiny_gguf import write_tiny_gguf
from tests.faults.counting import Counted, OneRoute, answers, came_out_otherwise, differences, recount, starter
from tests.unit.engines.helpers import build_of, children

CREDIT = 10**9
ASKED = TurnRequest("hi", wishes=Wishes(max_tokens=4000))


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path / "home", None) as made:
        made.wallet.top_up(CREDIT - made.wallet.balance())
        yield made


@pytest.fixture
def endless(tmp_path: Path) -> Build:
    """Writes letters until it is stopped."""
    return build_of(write_tiny_gguf(tmp_path / "endless.gguf", layers=2))


def play(
    here: Home, build: Build, request: TurnRequest, act: Callable[[Event, asyncio.Event], None] = lambda *_: None
) -> list[Event]:
    """All events of a turn; ``act`` sees each of them, and the stop."""

    async def run() -> list[Event]:
        pool, stop, seen = EnginePool(10**10, threads=1), asyncio.Event(), list[Event]()
        chat = Chat(OneRoute(build, 8192), here.store, here.wallet, pool, Meter.open(Path("/nowhere")))
        try:
            async with aclosing(chat.turn(request, stop)) as events:
                async for event in events:
                    seen.append(event)
                    act(event, stop)
        finally:
            await pool.close()
        return seen

    return asyncio.run(run())


def kill_the_engine(event: Event, kind: type[Event]) -> None:
    if isinstance(event, kind) and children():
        os.kill(children()[0].pid, signal.SIGKILL)


def newest(here: Home) -> dict[str, object]:
    """The newest entry of the ledger."""
    body = here.vault.database.execute("SELECT body FROM entry ORDER BY seq DESC LIMIT 1")[0][0]
    record: dict[str, object] = json.loads(body)
    return record


def assert_nothing_was_charged(here: Home) -> None:
    assert here.wallet.balance() == CREDIT
    assert newest(here)["kind"] == "void"
    assert here.vault.database.execute("SELECT count(*) FROM message WHERE role = 'assistant'") == [(0,)]
    assert here.wallet.verify((here.vault.anchor.seq, here.vault.anchor.head)).open_holds == 0


@pytest.mark.parametrize("what", ["cut off", "abort"])
def test_a_build_that_cannot_be_loaded_or_read_with_costs_nothing(here: Home, tmp_path: Path, what: str) -> None:
    """One whose weights are cut off though its header is whole, one that makes llama.cpp abort."""
    path = tmp_path / "broken.gguf"
    if what == "abort":
        write_ending(path)
    else:
        path.write_bytes(write_tiny_gguf(tmp_path / "whole.gguf").read_bytes()[:-4096])
    with pytest.raises(EngineFailed):
        play(here, build_of(path), ASKED)
    assert_nothing_was_charged(here)


def test_an_engine_that_is_killed_while_it_loads_costs_nothing(here: Home, endless: Build) -> None:
    with pytest.raises(EngineFailed):
        play(here, endless, ASKED, lambda event, _: kill_the_engine(event, Loading))
    assert_nothing_was_charged(here)


def test_an_engine_that_is_killed_before_its_first_token_costs_nothing(here: Home, endless: Build) -> None:
    long = TurnRequest("word " * 1000, wishes=Wishes(max_tokens=50))
    with pytest.raises(EngineFailed):
        play(here, endless, long, lambda event, _: kill_the_engine(event, Reading))
    assert_nothing_was_charged(here)


@pytest.mark.parametrize("moment", [Loading, Reading])
def test_a_stop_before_the_first_token_costs_nothing(here: Home, endless: Build, moment: type[Event]) -> None:
    long = TurnRequest("word " * 1000, wishes=Wishes(max_tokens=50))

    def act(event: Event, stop: asyncio.Event) -> None:
        if isinstance(event, moment):
            stop.set()

    events = play(here, endless, long, act)
    assert not [event for event in events if isinstance(event, TextDelta)]
    assert_nothing_was_charged(here)


def test_a_prompt_that_is_refused_costs_nothing(here: Home, endless: Build) -> None:
    with pytest.raises(NoBuildFits):
        play(here, endless, TurnRequest("word " * 4000, wishes=Wishes(max_tokens=50)))
    assert_nothing_was_charged(here)


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_what_was_shown_before_the_end_is_charged_and_no_more(here: Home, endless: Build, how: str) -> None:
    seen = list[TextDelta]()

    def act(event: Event, stop: asyncio.Event) -> None:
        if isinstance(event, TextDelta):
            seen.append(event)
            if len(seen) == 5 and how == "stopped":
                stop.set()
            elif len(seen) == 5:
                kill_the_engine(event, TextDelta)

    events = play(here, endless, ASKED, act)
    last = events[-1]
    assert isinstance(last, Finished)
    answer: Answer = last.answer
    shown = sum(event.tokens for event in seen)
    usage = newest(here)["usage"]
    assert isinstance(usage, dict)
    assert (usage["completion_tokens"], answer.usage.completion_tokens) == (shown, shown)
    assert answer.text == "".join(event.text for event in seen)
    assert CREDIT - here.wallet.balance() == answer.cost_micro == newest(here)["amount"]
    assert [event.cost_micro for event in events if isinstance(event, CostSoFar)][-1] == answer.cost_micro
    assert here.wallet.verify((here.vault.anchor.seq, here.vault.anchor.head)).open_holds == 0


def test_the_ledger_counts_the_tokens_that_another_process_counts(here: Home, tmp_path: Path) -> None:
    build = starter(tmp_path / "index")

    async def answer() -> list[Counted]:
        return [counted async for counted in answers(here, build, 16, random.Random(1))]

    done = asyncio.run(answer())
    child = fork(lambda report: recount(build.path, iter(done), report))
    again = [json.loads(line) for line in child.finish()]
    both = list(zip(done, again, strict=True))
    assert [what for job, line in both for what in differences(job, line)] == []
    assert sum(came_out_otherwise(job, line) for job, line in both) <= 2
