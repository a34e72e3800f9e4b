"""Turns in which the program itself knows the answer, over the real vault, ledger and helpers."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nanolocal import bootstrap
from nanolocal.chat import helping
from nanolocal.chat.decisions import was_told
from nanolocal.chat.events import EngineDone, Event, Finished, SourceFound, TextDelta, ToolCalled
from nanolocal.chat.messages import (
    Answer,
    Attachment,
    Role,
    Source,
    Stopped,
    Timing,
    ToolCall,
    TurnRequest,
    Usage,
    Wishes,
)
from nanolocal.chat.ports import TextJob
from nanolocal.chat.routes import Build, Kind
from nanolocal.chat.turn import Chat
from nanolocal.device.power import Meter
from nanolocal.errors import EngineFailed, OutOfCredit
from nanolocal.helpers.keys import key_of
from nanolocal.helpers.pack import Record, write_pack
from nanolocal.helpers.toolbox import Toolbox
from nanolocal.ledger.wallet import Wallet
from nanolocal.paths import Paths
from nanolocal.routing.router import TaskRouter
from nanolocal.routing.surroundings import Surroundings
from nanolocal.vault.conversations import Conversations
from nanolocal.vault.transfer import markdown, own
from nanolocal.vault.transfer.exporting import write_json
from nanolocal.vault.transfer.reading import chats_in
from nanolocal.vault.transfer.report import Report
from nanolocal.vault.vault import Vault
from tests.fakes.engines import Script, ScriptedEngines, says

LARGE = Build("talker:Q8_0", "Talker", Kind.TEXT, Path("t"), "Q8_0", 5_000_000_000, "a" * 64, 5_000_000, 4096)
TINY = replace(LARGE, id="tiny:Q8_0", sha256="b" * 64, tiny=True)
MOON = "The Moon is Earth's largest natural satellite."
NOW = datetime(2026, 11, 28, 10, 30, tzinfo=UTC)


@dataclass(slots=True)
class World:
    vault: Vault
    store: Conversations
    ledger: Wallet
    reference: Path

    def chat(self, build: Build, *scripts: Script) -> tuple[Chat, ScriptedEngines]:
        engines = ScriptedEngines(*scripts)
        router = TaskRouter(lambda: (build,), lambda: Surroundings(2**35))
        helpers = Toolbox(self.reference, lambda: NOW)
        return Chat(router, self.store, self.ledger, engines, Meter.open(Path("/nowhere")), helpers=helpers), engines


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    reference = tmp_path / "small.nlref"
    write_pack(reference, [Record(key_of("t", "Moon"), "Moon", MOON)])
    paths = Paths.choose(tmp_path)
    paths.data.mkdir(parents=True, mode=0o700)
    vault = bootstrap.open_vault(paths, None)
    store = Conversations(vault.database, vault.blobs)
    yield World(vault, store, bootstrap.open_wallet(vault), reference)
    vault.close()


def play(chat: Chat, request: TurnRequest) -> list[Event]:
    async def run() -> list[Event]:
        async with aclosing(chat.turn(request, asyncio.Event())) as events:
            return [event async for event in events]

    return asyncio.run(run())


def answer_of(events: list[Event]) -> Answer:
    last = events[-1]
    assert isinstance(last, Finished)
    return last.answer


def read_by(engines: ScriptedEngines, number: int = -1) -> list[str]:
    job = engines.jobs[number]
    assert isinstance(job, TextJob)
    return [message.text for message in job.messages]


def test_a_tiny_model_is_not_asked_for_what_the_program_knows(world: World) -> None:
    before = world.ledger.balance()
    chat, engines = world.chat(TINY)
    events = play(chat, TurnRequest("What is 17 * 23?"))
    answer = answer_of(events)
    assert (answer.text, answer.stopped, answer.usage, answer.cost_micro) == ("17 × 23 = 391", Stopped.END, Usage(), 0)
    assert answer.sources == (Source("Calculator", "17 × 23 = 391"),)
    assert [type(event) for event in events[2:]] == [SourceFound, TextDelta, Finished]
    assert answer.route.is_told
    assert answer.route.reasons[-1] == "nanolocal itself worked it out, so the tiny model is not asked"
    assert (engines.jobs, world.ledger.balance()) == ([], before)
    assert answer.chat_id is not None
    stored = world.store.path(answer.chat_id)[-1]
    assert (stored.message.text, stored.sources, was_told(stored.route_json)) == (answer.text, answer.sources, True)


def test_what_nothing_was_read_for_is_not_remarked_on(world: World) -> None:
    chat, _ = world.chat(TINY, [EngineFailed("broken")])
    with pytest.raises(EngineFailed):
        play(chat, TurnRequest("Tell me a story."))
    (row,) = world.store.chats(10)
    assert answer_of(play(chat, TurnRequest("What is 17 * 23?", chat_id=row.id))).remarks == ()


def test_another_model_is_told_and_says_it_in_its_own_words(world: World) -> None:
    chat, engines = world.chat(LARGE, says("It is our moon."), says("You are welcome."))
    answer = answer_of(play(chat, TurnRequest("What is the Moon?")))
    assert answer.text == "It is our moon."
    (source,) = answer.sources
    assert (source.title, source.text, source.licence) == ("Moon", MOON, "CC BY-SA 3.0")
    assert read_by(engines) == [f"What is the Moon?\n\n{source.note}"]
    assert MOON in source.note
    assert helping.shown(source).startswith(f"Source: {MOON} [Simple English Wikipedia, https://")
    assert "Moon was looked up, and the model is told" in answer.route.reasons
    assert answer.chat_id is not None
    assert world.store.path(answer.chat_id)[0].message.text == "What is the Moon?"
    play(chat, TurnRequest("Thank you!", chat_id=answer.chat_id))
    assert read_by(engines)[0] == f"What is the Moon?\n\n{source.note}"


def test_an_answer_without_a_model_goes_along_with_the_next_prompt(world: World) -> None:
    chat, engines = world.chat(TINY, says("Gladly."))
    first = answer_of(play(chat, TurnRequest("2 + 2")))
    play(chat, TurnRequest("Tell me a story about it", chat_id=first.chat_id))
    assert read_by(engines) == ["2 + 2", "2 + 2 = 4", "Tell me a story about it"]


def test_a_build_that_did_not_run_is_not_the_one_of_the_conversation(world: World) -> None:
    chat, _ = world.chat(TINY)
    first = answer_of(play(chat, TurnRequest("2 + 2")))
    second = answer_of(play(chat, TurnRequest("3 + 3", chat_id=first.chat_id)))
    assert not any("already answering" in reason for reason in second.route.reasons)


@pytest.mark.parametrize(
    "request_",
    [
        TurnRequest("What is 2 + 2?", wishes=Wishes(helpers=False)),
        TurnRequest("What is 2 + 2?", (Attachment("notes.txt", "text/plain", b"two"),)),
        TurnRequest("Write a poem about 2 + 2"),
    ],
    ids=["switched off", "with a file", "no question"],
)
def test_else_the_model_answers_alone(world: World, request_: TurnRequest) -> None:
    chat, engines = world.chat(TINY, says("Five."))
    answer = answer_of(play(chat, request_))
    assert (answer.text, answer.sources, answer.route.is_told) == ("Five.", (), False)
    assert read_by(engines)[-1].endswith(request_.prompt or "")


def test_an_answer_of_a_form_needs_the_tiny_model(world: World) -> None:
    chat, engines = world.chat(TINY, says('{"sum": 4}'))
    answer = answer_of(play(chat, TurnRequest("What is 2 + 2?", wishes=Wishes(schema='{"type": "object"}'))))
    assert answer.text == '{"sum": 4}'
    assert "2 + 2 = 4" in read_by(engines)[-1]


def test_without_credit_the_program_still_answers(world: World) -> None:
    with world.store.transaction() as tx:
        world.ledger.hold(tx, LARGE, world.ledger.balance())
    chat, _ = world.chat(TINY)
    assert chat.quote(TurnRequest("2 + 2")).most_micro == 0
    assert answer_of(play(chat, TurnRequest("2 + 2"))).text == "2 + 2 = 4"
    with pytest.raises(OutOfCredit):
        play(chat, TurnRequest("Tell me a story"))


def test_a_broken_reference_is_said_and_the_model_answers(world: World) -> None:
    world.reference.write_bytes(b"nothing of the kind")
    chat, _ = world.chat(TINY, says("A moon."))
    answer = answer_of(play(chat, TurnRequest("What is the Moon?")))
    assert answer.text == "A moon."
    assert answer.remarks == ("Nothing was looked up: the reference small.nlref cannot be used: it is no reference.",)


def test_nobody_learns_from_an_answer_that_no_build_gave(world: World) -> None:
    chat, _ = world.chat(TINY)
    answer = answer_of(play(chat, TurnRequest("2 + 2")))
    assert answer.message_id is not None
    world.store.rate(answer.message_id, "good")
    database = world.vault.database
    assert database.execute("SELECT count(*) FROM signal") == [(0,)]
    assert database.execute("SELECT count(*) FROM speed") == [(0,)]


def calls(name: str, arguments: str, *, said: str = "") -> Script:
    return [
        TextDelta(said, 1),
        ToolCalled(ToolCall(name, arguments)),
        EngineDone(Usage(20, 0, 5), Timing(cpu_s=0.1), Stopped.END),
    ]


def test_a_model_that_calls_a_tool_of_ours_gets_its_result_and_goes_on(world: World) -> None:
    chat, engines = world.chat(LARGE, calls("calculator", '{"expression": "17 * 23"}'), says("391", " apples."))
    wishes = Wishes(own_tools=True)
    events = play(chat, TurnRequest("I have 17 boxes of 23 apples each. How many?", wishes=wishes))
    answer = answer_of(events)
    assert (answer.text, answer.usage) == ("391 apples.", Usage(30, 0, 7))
    assert answer.sources == (Source("Calculator", "17 × 23 = 391", note="[Result of calculator: 17 × 23 = 391]"),)
    assert [event.source for event in events if isinstance(event, SourceFound)] == list(answer.sources)
    first, second = engines.jobs
    assert isinstance(first, TextJob)
    assert isinstance(second, TextJob)
    offered = [tool["function"]["name"] for tool in json.loads(first.tools)]
    assert offered == ["calculator", "convert_units", "calendar", "look_up"]
    assert [message.role for message in second.messages] == [Role.USER, Role.ASSISTANT, Role.USER]
    assert second.messages[-1].text == answer.sources[0].note


def test_rounds_of_tool_calls_end(world: World) -> None:
    endless = [calls("look_up", '{"name": "nothing"}') for _ in range(9)]
    chat, engines = world.chat(LARGE, *endless)
    answer = answer_of(play(chat, TurnRequest("Go on", wishes=Wishes(own_tools=True))))
    assert len(engines.jobs) == helping.MOST_ROUNDS + 1
    assert len(answer.sources) == helping.MOST_ROUNDS
    assert answer.usage == Usage(80, 0, 20)


def test_tools_of_the_caller_stay_the_callers(world: World) -> None:
    tools = '[{"type": "function", "function": {"name": "calculator", "parameters": {"type": "object"}}}]'
    chat, engines = world.chat(LARGE, calls("calculator", '{"expression": "1 + 1"}'))
    answer = answer_of(play(chat, TurnRequest("Go on", wishes=Wishes(tools=tools))))
    assert (len(engines.jobs), answer.sources) == (1, ())
    assert answer.tool_calls == (ToolCall("calculator", '{"expression": "1 + 1"}'),)


def test_sources_leave_and_come_back(world: World, tmp_path: Path) -> None:
    chat, _ = world.chat(LARGE, says("It is our moon."))
    answer = answer_of(play(chat, TurnRequest("What is the Moon?")))
    assert answer.chat_id is not None
    whole = world.store.whole(answer.chat_id)
    assert f"*Source: {MOON} [Simple English Wikipedia" in markdown.rendered(whole, "files")
    write_json(world.store, [answer.chat_id], tmp_path / "out.json", lambda _: None)
    (chat_,) = chats_in(tmp_path / "out.json", Report(str(tmp_path / "out.json")))
    assert chat_.messages[-1].sources == answer.sources
    chat_id = world.store.import_chat(replace(chat_, source="elsewhere:1"))
    assert chat_id is not None
    assert world.store.path(chat_id)[-1].sources == answer.sources
    assert own.written(world.store.whole(chat_id))["messages"][-1]["sources"][0]["title"] == "Moon"  # type: ignore[index]


@pytest.mark.parametrize("stored", ["", "{", "null", "[]", "[1]", '[{"title": 1, "text": "x"}]', '[{"title": "x"}]'])
def test_what_is_no_source_is_none(stored: str) -> None:
    assert helping.read_sources(stored) == ()
