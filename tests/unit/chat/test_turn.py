"""One turn over the real vault and the real ledger; only the engine plays a script."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from nanolocal import bootstrap
from nanolocal.chat import turn
from nanolocal.chat.drawing import CONTROL, MASK, Drawing, PictureReceipt
from nanolocal.chat.events import (
    ContextDropped,
    CostSoFar,
    EngineDone,
    EngineEvent,
    Event,
    Finished,
    Held,
    ImageStep,
    Loading,
    MadeDo,
    NotRead,
    PictureDrawn,
    Reading,
    ReasoningDelta,
    RouteChosen,
    TextDelta,
    TokenChosen,
    ToolCalled,
)
from nanolocal.chat.messages import (
    Answer,
    Attachment,
    Message,
    Role,
    Stopped,
    Timing,
    TokenOdds,
    ToolCall,
    TurnRequest,
    Usage,
    Wishes,
)
from nanolocal.chat.ports import ImageJob, TextJob
from nanolocal.chat.routes import Build, Kind, Sense
from nanolocal.chat.turn import Chat
from nanolocal.device.power import Meter
from nanolocal.errors import Damaged, EngineFailed, NoBuildFits, OutOfCredit, UsageError
from nanolocal.ledger.budgets import Scope
from nanolocal.ledger.wallet import Wallet
from nanolocal.paths import Paths
from nanolocal.routing.router import TaskRouter
from nanolocal.routing.surroundings import Surroundings
from nanolocal.vault.conversations import Conversations
from nanolocal.vault.gallery import Pictures
from nanolocal.vault.vault import Vault
from tests.fakes.engines import Script, ScriptedEngines, says
from tests.fakes.homes import fork, reserve
from tests.fakes.sounds import tone

TEXT = Build("talker:Q8_0", "Talker", Kind.TEXT, Path("t"), "Q8_0", 5_000_000_000, "a" * 64, 5_000_000, 1024)
IMAGE = Build("painter:f16", "Painter", Kind.IMAGE, Path("p"), "f16", 10**7, "b" * 64, 10**6, defaults={"width": 64})
NO_METER = Meter.open(Path("/nowhere"))
PICTURE = Attachment("picture.png", "image/png", b"\x89PNG not really")


@dataclass(slots=True)
class World:
    vault: Vault
    store: Conversations
    ledger: Wallet

    def chat(self, *scripts: Script, builds: tuple[Build, ...] = (TEXT, IMAGE)) -> tuple[Chat, ScriptedEngines]:
        engines = ScriptedEngines(*scripts)
        router = TaskRouter(lambda: builds, lambda: Surroundings(2**35))
        return Chat(router, self.store, self.ledger, engines, NO_METER), engines


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    paths = Paths.choose(tmp_path)
    paths.data.mkdir(parents=True, mode=0o700)
    vault = bootstrap.open_vault(paths, None)
    yield World(vault, Conversations(vault.database, vault.blobs), bootstrap.open_wallet(vault))
    vault.close()


def play(chat: Chat, request: TurnRequest, stop_after: int | None = None) -> list[Event]:
    """All events of a turn; ``stop`` is set after so many text deltas."""

    async def run() -> list[Event]:
        stop, seen = asyncio.Event(), list[Event]()
        async with aclosing(chat.turn(request, stop)) as events:
            async for event in events:
                seen.append(event)
                if stop_after == sum(isinstance(item, TextDelta) for item in seen):
                    stop.set()
        return seen

    return asyncio.run(run())


def answer_of(events: list[Event]) -> Answer:
    last = events[-1]
    assert isinstance(last, Finished)
    return last.answer


def test_a_turn_routes_holds_stores_streams_and_settles(world: World) -> None:
    before = world.ledger.balance()
    chat, _ = world.chat(says("Once ", "upon ", "a time."))
    events = play(chat, TurnRequest("Tell me a story"))
    assert [type(event) for event in events[:3]] == [RouteChosen, Held, Reading]
    answer = answer_of(events)
    assert (answer.text, answer.stopped, answer.usage) == ("Once upon a time.", Stopped.END, Usage(10, 0, 3))
    assert answer.cost_micro > 0
    assert (answer.energy_j > 0, answer.energy_source) == (True, "estimated from processor time")
    assert world.ledger.balance() == before - answer.cost_micro == answer.balance_micro
    assert answer.chat_id is not None
    stored = world.store.path(answer.chat_id)
    assert [(item.message.role, item.message.text) for item in stored] == [
        (Role.USER, "Tell me a story"),
        (Role.ASSISTANT, "Once upon a time."),
    ]
    assert stored[1].id == answer.message_id
    assert stored[1].cost_micro == answer.cost_micro


def test_the_prompt_is_on_disk_before_the_engine_runs(world: World) -> None:
    chat, _ = world.chat([EngineFailed("it broke")])
    with pytest.raises(EngineFailed, match="it broke"):
        play(chat, TurnRequest("remember me"))
    (row,) = world.store.chats(10)
    assert [item.message.text for item in world.store.path(row.id)] == ["remember me"]


def test_a_failure_before_the_first_token_costs_nothing(world: World) -> None:
    before = world.ledger.balance()
    chat, _ = world.chat([Reading(5, 5), EngineFailed("it broke")])
    with pytest.raises(EngineFailed):
        play(chat, TurnRequest("hello"))
    assert world.ledger.balance() == before


OTHERS = tuple(replace(TEXT, id=f"other{n}:Q8_0", sha256=str(n) * 64, size_bytes=2 * 10**9) for n in range(3))
BROKEN = [EngineFailed("the engine broke")]


def test_a_build_that_cannot_be_loaded_gives_way_to_the_next_and_costs_nothing(world: World) -> None:
    before = world.ledger.balance()
    chat, engines = world.chat(BROKEN, says("here"), builds=(TEXT, *OTHERS))
    events = play(chat, TurnRequest("hello"))
    first, second = (event.route for event in events if isinstance(event, RouteChosen))
    answer = answer_of(events)
    assert (first.build.id, second.build.id) == ("other0:Q8_0", "other1:Q8_0")
    assert [(gone.build_id, gone.gate, gone.reason) for gone in second.rejected] == [
        ("other0:Q8_0", "load", "the engine broke")
    ]
    assert answer.route.build.id == "other1:Q8_0"
    assert "other0:Q8_0 could not answer" in answer.remarks[0]
    assert answer.balance_micro == before - answer.cost_micro == world.ledger.balance()
    assert answer.chat_id is not None
    assert [item.message.text for item in world.store.path(answer.chat_id)] == ["hello", "here"]
    assert len(engines.jobs) == 2


def test_after_three_failures_nothing_more_is_tried(world: World) -> None:
    before = world.ledger.balance()
    chat, engines = world.chat(BROKEN, BROKEN, BROKEN, says("never"), builds=(TEXT, *OTHERS))
    with pytest.raises(EngineFailed, match="broke"):
        play(chat, TurnRequest("hello"))
    assert (len(engines.jobs), world.ledger.balance()) == (3, before)
    assert len(world.store.chats(10)) == 1


def test_a_build_that_was_asked_for_gives_way_to_nobody(world: World) -> None:
    chat, engines = world.chat(BROKEN, says("never"), builds=(TEXT, *OTHERS))
    with pytest.raises(EngineFailed):
        play(chat, TurnRequest("hello", wishes=Wishes(model=TEXT.id)))
    assert len(engines.jobs) == 1


def test_a_build_that_was_chosen_for_one_prompt_answers_no_further_ones(world: World) -> None:
    worse = replace(OTHERS[0], parameters=2_000_000)
    chat, _ = world.chat(says("one"), says("two"), says("three"), builds=(replace(TEXT, parameters=10**9), worse))
    first = answer_of(play(chat, TurnRequest("hello")))
    once = answer_of(play(chat, TurnRequest("and now?", wishes=Wishes(model=worse.id), chat_id=first.chat_id)))
    third = answer_of(play(chat, TurnRequest("and then?", chat_id=first.chat_id)))
    assert [answer.route.build.id for answer in (first, once, third)] == [TEXT.id, worse.id, TEXT.id]


def test_what_an_engine_makes_do_with_is_said(world: World) -> None:
    chat, _ = world.chat([Loading(TEXT.id, 1.0), MadeDo("It reads less."), Loading(TEXT.id, 1.0), *says("fine")])
    events = play(chat, TurnRequest("hello"))
    assert MadeDo("It reads less.") in events
    answer = answer_of(events)
    assert (answer.remarks, answer.usage.loads) == (("It reads less.",), 1)


def test_an_engine_that_dies_later_leaves_the_partial_answer_and_its_price(world: World) -> None:
    before = world.ledger.balance()
    chat, _ = world.chat([Reading(5, 5), TextDelta("half ", 1), TextDelta("an", 1), EngineFailed("killed (SIGKILL)")])
    answer = answer_of(play(chat, TurnRequest("hello")))
    assert (answer.text, answer.stopped, answer.usage) == ("half an", Stopped.CRASH, Usage(5, 0, 2))
    assert "SIGKILL" in (answer.problem or "")
    assert answer.chat_id is not None
    assert world.store.path(answer.chat_id)[-1].stopped == "crash"
    assert world.ledger.balance() == before - answer.cost_micro < before


def test_reasoning_is_counted_and_charged_but_neither_kept_nor_sent_again(world: World) -> None:
    before = world.ledger.balance()
    usage = EngineDone(Usage(5, 0, 3), Timing(), Stopped.END)
    thought: Script = [Reading(5, 5), ReasoningDelta("hm", 2), TextDelta("yes", 1), usage]
    chat, engines = world.chat(thought, says("again"))
    events = play(chat, TurnRequest("hello"))
    answer = answer_of(events)
    assert (answer.text, answer.reasoning, answer.usage.completion_tokens) == ("yes", "hm", 3)
    assert ReasoningDelta("hm", 2) in events
    assert world.ledger.balance() == before - answer.cost_micro < before
    assert answer.chat_id is not None
    play(chat, TurnRequest("and?", chat_id=answer.chat_id))
    job = engines.jobs[-1]
    assert isinstance(job, TextJob)
    assert [message.text for message in job.messages] == ["hello", "yes", "and?"]


@pytest.mark.parametrize("stopped", [Stopped.LENGTH, Stopped.END])
def test_reasoning_alone_is_paid_for_and_said(world: World, stopped: Stopped) -> None:
    chat, _ = world.chat([Reading(5, 5), ReasoningDelta("hm", 2), EngineDone(Usage(5, 0, 2), Timing(), stopped)])
    answer = answer_of(play(chat, TurnRequest("hello")))
    assert (answer.text, answer.cost_micro > 0) == ("", True)
    assert any("still thinking" in remark for remark in answer.remarks) is (stopped is Stopped.LENGTH)


def test_a_tool_call_alone_is_an_answer_that_is_paid_for(world: World) -> None:
    call, odds = ToolCall("look", '{"at": 3}'), TokenOdds("a", -0.5)
    done = EngineDone(Usage(5, 0, 9), Timing(), Stopped.END)
    chat, _ = world.chat([Reading(5, 5), TokenChosen(odds), ToolCalled(call), TextDelta("", 9), done])
    answer = answer_of(play(chat, TurnRequest("hello")))
    assert (answer.tool_calls, answer.token_odds, answer.cost_micro > 0) == ((call,), (odds,), True)


def test_stop_keeps_the_partial_answer(world: World) -> None:
    chat, _ = world.chat(says("one ", "two ", "three"))
    answer = answer_of(play(chat, TurnRequest("count"), stop_after=2))
    assert (answer.text, answer.stopped, answer.usage.completion_tokens) == ("one two ", Stopped.USER, 2)


def test_stop_before_the_first_token_is_free(world: World) -> None:
    before = world.ledger.balance()
    chat, _ = world.chat(says("never"))
    answer = answer_of(play(chat, TurnRequest("count"), stop_after=0))
    assert (answer.text, answer.cost_micro, answer.message_id) == ("", 0, None)
    assert world.ledger.balance() == before


def test_a_face_that_goes_away_keeps_and_pays_for_what_it_saw(world: World) -> None:
    before = world.ledger.balance()
    chat, engines = world.chat(says("one ", "two ", "three"))

    async def leave() -> None:
        async with aclosing(chat.turn(TurnRequest("count"), asyncio.Event())) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    return

    asyncio.run(leave())
    (row,) = world.store.chats(10)
    assert world.store.path(row.id)[-1].message.text == "one "
    assert world.ledger.balance() < before
    assert engines.was_closed_early


def test_history_goes_along_and_the_next_turn_follows(world: World) -> None:
    chat, engines = world.chat(says("Hello Ada."), says("Ada."))
    first = answer_of(play(chat, TurnRequest("I am Ada", wishes=Wishes(system="Be brief."))))
    play(chat, TurnRequest("Who am I?", chat_id=first.chat_id))
    job = engines.jobs[1]
    assert isinstance(job, TextJob)
    assert [(message.role, message.text) for message in job.messages] == [
        (Role.SYSTEM, "Be brief."),
        (Role.USER, "I am Ada"),
        (Role.ASSISTANT, "Hello Ada."),
        (Role.USER, "Who am I?"),
    ]


def test_regenerating_and_editing_make_branches(world: World) -> None:
    chat, engines = world.chat(says("one"), says("two"), says("three"))
    first = answer_of(play(chat, TurnRequest("count")))
    assert first.chat_id is not None
    prompt_id = world.store.path(first.chat_id)[0].id
    again = answer_of(play(chat, TurnRequest(None, chat_id=first.chat_id, parent_id=prompt_id)))
    assert len(world.store.path(first.chat_id, again.message_id)[-1].siblings) == 2
    edited = answer_of(play(chat, TurnRequest("count up", chat_id=first.chat_id, parent_id="")))
    path = world.store.path(first.chat_id, edited.message_id)
    assert [item.message.text for item in path] == ["count up", "three"]
    assert len(path[0].siblings) == 2
    assert isinstance(engines.jobs[1], TextJob)
    assert [message.text for message in engines.jobs[1].messages] == ["count"]


def test_a_prompt_that_was_never_answered_is_left_out_of_the_history(world: World) -> None:
    chat, engines = world.chat([EngineFailed("broken")], says("fine"))
    with pytest.raises(EngineFailed):
        play(chat, TurnRequest("first"))
    (row,) = world.store.chats(10)
    play(chat, TurnRequest("second", chat_id=row.id))
    assert isinstance(engines.jobs[1], TextJob)
    assert [message.text for message in engines.jobs[1].messages] == ["second"]


def test_text_files_are_read_out_in_front_of_the_prompt(world: World) -> None:
    chat, engines = world.chat(says("ok"))
    play(chat, TurnRequest("What does it say?", (Attachment("n.txt", "text/plain", b"seven swans"),)))
    assert isinstance(engines.jobs[0], TextJob)
    assert engines.jobs[0].messages[-1].text == "[n.txt]\nseven swans\n\nWhat does it say?"


def test_a_picture_is_drawn_stored_and_charged_by_steps(world: World) -> None:
    done = EngineDone(Usage(pixel_steps=64 * 64 * 12), Timing(), Stopped.END, (PICTURE,))
    chat, engines = world.chat([done])
    answer = answer_of(play(chat, TurnRequest("Draw me a red circle", wishes=Wishes(height=64, steps=12, seed=7))))
    assert engines.jobs[0] == ImageJob("a red circle", 64, 64, 12, 7.0, 7)
    assert answer.picture == PICTURE
    assert answer.cost_micro > 0
    assert answer.chat_id is not None
    assert world.store.path(answer.chat_id)[-1].message.attachments == (PICTURE,)


def test_nothing_is_stored_when_the_user_says_so_but_the_charge_is(world: World) -> None:
    before = world.ledger.balance()
    chat, _ = world.chat(says("secret"))
    answer = answer_of(play(chat, TurnRequest("hush", wishes=Wishes(store=False))))
    assert (answer.chat_id, answer.message_id, world.store.chats(10)) == (None, None, [])
    assert world.ledger.balance() == before - answer.cost_micro < before


def test_without_credit_nothing_runs_and_nothing_is_stored(world: World) -> None:
    chat, engines = world.chat()
    reserve(world.vault.database, world.ledger, world.ledger.balance(), build=TEXT)
    with pytest.raises(OutOfCredit):
        play(chat, TurnRequest("hello"))
    assert (engines.jobs, world.store.chats(10)) == ([], [])


def test_a_price_limit_refuses_before_anything_runs(world: World) -> None:
    chat, engines = world.chat()
    with pytest.raises(OutOfCredit, match="--max-credits"):
        play(chat, TurnRequest("hello", wishes=Wishes(max_credits_micro=0)))
    assert engines.jobs == []


def test_when_credit_is_short_the_refusal_offers_the_tokens_it_still_buys(world: World) -> None:
    chat, _ = world.chat(says("yes"))
    world.ledger.set_budget(Scope.parse("day"), 300)
    request = TurnRequest("hello", wishes=Wishes(max_tokens=1000))
    with pytest.raises(OutOfCredit) as refused:
        play(chat, request)
    offered = int(refused.value.hint.partition("--max-tokens ")[2].partition(";")[0])
    assert 0 < offered < 1000
    for tokens, fits in ((offered + 1, False), (offered, True)):
        quote = chat.quote(replace(request, wishes=Wishes(max_tokens=tokens)))
        assert (quote.most_micro <= 300) is fits
    assert answer_of(play(chat, replace(request, wishes=Wishes(max_tokens=offered)))).text == "yes"


def test_a_quote_is_what_the_turn_then_holds_and_changes_nothing(world: World) -> None:
    chat, engines = world.chat(says("yes"))
    request = TurnRequest("hello", wishes=Wishes(max_tokens=50))
    before, quote = world.ledger.verify(), chat.quote(request)
    assert chat.quote(request) == quote
    assert (world.ledger.verify(), engines.jobs, world.store.chats(10)) == (before, [], [])
    held = next(event for event in play(chat, request) if isinstance(event, Held))
    assert (held.max_cost_micro, quote.route.build) == (quote.most_micro, TEXT)


def test_the_cost_rises_while_the_answer_streams_and_ends_at_the_charge(world: World) -> None:
    chat, _ = world.chat(says(*["word "] * 40))
    events = play(chat, TurnRequest("hello"))
    told = [event.cost_micro for event in events if isinstance(event, CostSoFar)]
    assert told == sorted(set(told))
    assert told[-1] == answer_of(events).cost_micro
    assert len(told) > 2


def test_the_cost_of_a_picture_rises_with_its_steps(world: World) -> None:
    done = EngineDone(Usage(pixel_steps=64 * 64 * 12), Timing(), Stopped.END, (PICTURE,))
    chat, _ = world.chat([*(ImageStep(step, 12, None, 64 * 64 * step) for step in range(1, 13)), done])
    events = play(chat, TurnRequest("draw a circle", wishes=Wishes(picture=True, width=64, height=64, steps=12)))
    told = [event.cost_micro for event in events if isinstance(event, CostSoFar)]
    assert told == sorted(set(told)) and told
    assert told[-1] == answer_of(events).cost_micro


def test_a_picture_that_is_drawn_smaller_costs_less_from_its_first_step(world: World) -> None:
    done = EngineDone(Usage(pixel_steps=32 * 32 * 2), Timing(), Stopped.END, (PICTURE,))
    steps = [ImageStep(step, 2, None, 32 * 32 * step) for step in (1, 2)]
    chat, _ = world.chat([*steps, done])
    wishes = Wishes(picture=True, width=4096, height=4096, steps=2)
    events = play(chat, TurnRequest("draw a circle", wishes=wishes))
    told = [event.cost_micro for event in events if isinstance(event, CostSoFar)]
    assert max(told) == answer_of(events).cost_micro


def test_an_engine_that_dies_leaves_the_pictures_it_had_finished(world: World) -> None:
    """Two of three are kept and charged, the steps of the third are not."""
    before = world.ledger.balance()
    script: list[EngineEvent | Exception] = []
    for number in (1, 2):
        script += [ImageStep(4 * number, 12, None, 64 * 64 * 4 * number)]
        script += [PictureDrawn(replace(PICTURE, data=bytes([number])), 64 * 64 * 4 * number)]
    script += [ImageStep(9, 12, None, 64 * 64 * 9), EngineFailed("the engine of painter ended by signal SIGKILL")]
    chat, _ = world.chat(script)
    wishes = Wishes(picture=True, width=64, height=64, steps=4, drawing=Drawing(count=3))
    answer = answer_of(play(chat, TurnRequest("draw a circle", wishes=wishes)))
    assert (answer.stopped, answer.usage.pixel_steps) == (Stopped.CRASH, 64 * 64 * 8)
    assert answer.problem is not None and "SIGKILL" in answer.problem
    assert answer.chat_id is not None
    kept = world.store.path(answer.chat_id)[-1].message.attachments
    assert [item.data for item in kept] == [item.data for item in answer.pictures] == [b"\1", b"\2"]
    assert before - world.ledger.balance() == answer.cost_micro > 0


@pytest.mark.parametrize(
    ("settled", "wished", "keeps"),
    [(False, None, False), (True, None, True), (True, False, False), (False, True, True)],
)
def test_whether_a_stop_leaves_the_preview_is_as_wished_else_as_set(
    world: World, settled: bool, wished: bool | None, keeps: bool
) -> None:
    done = EngineDone(Usage(pixel_steps=64 * 64), Timing(), Stopped.USER, (PICTURE,))
    chat, engines = world.chat([ImageStep(1, 9, None, 64 * 64), PictureDrawn(PICTURE, 64 * 64, True), done])
    chat = Chat(chat._router, world.store, world.ledger, engines, NO_METER, keeps_previews=settled)
    request = TurnRequest("draw a circle", wishes=Wishes(picture=True, drawing=Drawing(keep_preview=wished)))
    answer = answer_of(play(chat, request))
    job = engines.jobs[-1]
    assert isinstance(job, ImageJob)
    assert job.keep_preview == keeps
    assert answer.remarks[-1] == "It was stopped before it was done; this is its preview."


def test_mask_and_control_picture_are_kept_with_the_answer_and_draw_it_once_more(world: World) -> None:
    done = EngineDone(Usage(pixel_steps=64 * 64), Timing(), Stopped.END, (PICTURE,))
    chat, _ = world.chat([ImageStep(1, 9, None, 64 * 64), done])
    drawing = Drawing(mask=b"where", control=b"along", controlnet="lines")
    request = TurnRequest("make it red", (PICTURE,), Wishes(picture=True, model=IMAGE.id, drawing=drawing))
    answer = answer_of(play(chat, request))
    gallery = Pictures(world.vault.database, world.vault.blobs)
    drawn = next(each for each in gallery.pictures() if each.made_here)
    assert [(item.media_type, item.data) for item in gallery.ingredients(drawn.id)] == [
        (MASK, b"where"),
        (CONTROL, b"along"),
    ]
    assert len(gallery.pictures()) == 2
    assert [item.data for item in answer.pictures] == [PICTURE.data]
    gallery.delete_picture(drawn.id)
    assert answer.chat_id is not None
    assert world.store.path(answer.chat_id)[-1].message.attachments == ()
    assert world.vault.verify() == []


def test_a_quote_says_when_balance_or_budget_do_not_cover_it(world: World) -> None:
    chat, _ = world.chat()
    asked = TurnRequest("hello", wishes=Wishes(max_tokens=1000, key="anna"))
    quote = chat.quote(asked)
    assert (quote.room_micro, quote.shortage) == (quote.balance_micro, "")
    world.ledger.set_budget("key:anna", quote.most_micro - 1)
    assert chat.quote(asked).shortage == "more than a budget leaves"
    assert chat.quote(replace(asked, wishes=Wishes(max_tokens=1000))).shortage == ""
    world.ledger.set_budget("key:anna", None)
    reserve(world.vault.database, world.ledger, quote.balance_micro - quote.most_micro + 1)
    assert chat.quote(asked).shortage == "more than the balance"


def test_a_budget_for_each_conversation_counts_the_first_answer_too(world: World) -> None:
    chat, _ = world.chat(says("yes"), says("again"))
    asked = TurnRequest("hello", wishes=Wishes(max_tokens=10))
    world.ledger.set_budget(Scope.parse("chat"), chat.quote(asked).most_micro)
    first = answer_of(play(chat, asked))
    with pytest.raises(OutOfCredit, match="each chat"):
        play(chat, replace(asked, chat_id=first.chat_id))
    assert answer_of(play(chat, asked)).text == "again"


def test_a_ledger_that_was_changed_refuses_prompts_and_stores_nothing(world: World) -> None:
    with world.vault.database.transaction() as tx:
        tx.execute("UPDATE account SET credits_posted = credits_posted + 1 WHERE id = 'wallet'")
    with pytest.raises(Damaged, match="balance of wallet"):
        world.ledger.verify()
    chat, engines = world.chat(says("no"))
    with pytest.raises(Damaged, match="balance of wallet"):
        play(chat, TurnRequest("hello"))
    assert (engines.jobs, world.store.chats(10)) == ([], [])


def test_a_prompt_that_the_engine_finds_too_long_costs_nothing(world: World) -> None:
    before = world.ledger.balance()
    chat, _ = world.chat([NoBuildFits("too long")])
    with pytest.raises(NoBuildFits):
        play(chat, TurnRequest("hello"))
    assert world.ledger.balance() == before


def test_what_was_dropped_from_the_context_is_reported(world: World) -> None:
    chat, _ = world.chat([ContextDropped(2, 300), *says("fine")])
    events = play(chat, TurnRequest("hello"))
    assert ContextDropped(2, 300) in events
    answer = answer_of(events)
    assert answer.dropped_tokens == 300
    assert answer.remarks == (
        "The oldest 2 messages (300 tokens) did not fit and were left out; they stay in the conversation.",
    )


def test_a_picture_before_a_text_is_not_read_and_that_is_said_once(world: World) -> None:
    done = EngineDone(Usage(pixel_steps=64), Timing(), Stopped.END, (PICTURE,))
    chat, _ = world.chat([done], says("a circle"), says("yes"))
    drawn = answer_of(play(chat, TurnRequest("Draw me a red circle", wishes=Wishes(height=64, steps=12))))
    events = play(chat, TurnRequest("Is it late?", chat_id=drawn.chat_id))
    said = "1 picture before this prompt was not read: only answered text is."
    assert NotRead(said) in events
    assert answer_of(events).remarks == (said,)
    assert answer_of(play(chat, TurnRequest("Sure?", chat_id=drawn.chat_id))).remarks == ()


def test_a_prompt_that_was_never_answered_is_said_to_be_left_out(world: World) -> None:
    chat, _ = world.chat([EngineFailed("broken")], says("fine"))
    with pytest.raises(EngineFailed):
        play(chat, TurnRequest("first"))
    (row,) = world.store.chats(10)
    (remark,) = answer_of(play(chat, TurnRequest("second", chat_id=row.id))).remarks
    assert remark.startswith("1 prompt without an answer before this prompt was not read")


def test_files_of_a_picture_prompt_are_said_to_be_unread(world: World) -> None:
    chat, _ = world.chat([EngineDone(Usage(pixel_steps=64), Timing(), Stopped.END, (PICTURE,))])
    files = (Attachment("notes.txt", "text/plain", b"a cat"),)
    answer = answer_of(play(chat, TurnRequest("this", files, Wishes(picture=True, height=64, steps=12))))
    assert answer.remarks == ("notes.txt was not read: a picture is drawn from the typed words alone.",)


def test_a_prompt_whose_file_is_damaged_is_not_answered_again(world: World) -> None:
    chat, engines = world.chat(says("ok"))
    first = answer_of(play(chat, TurnRequest("Read it", (Attachment("n.txt", "text/plain", b"seven swans"),))))
    (blob,) = (path for path in (world.vault.directory / "blobs").rglob("*") if path.is_file())
    blob.write_bytes(blob.read_bytes()[:-1])
    assert first.chat_id is not None
    prompt_id = world.store.path(first.chat_id)[0].id
    with pytest.raises(Damaged, match=r"n\.txt of this prompt can no longer be read"):
        play(chat, TurnRequest(None, chat_id=first.chat_id, parent_id=prompt_id))
    assert len(engines.jobs) == 1


def _system_prompts(engines: ScriptedEngines) -> list[list[str]]:
    jobs = [job for job in engines.jobs if isinstance(job, TextJob)]
    return [[message.text for message in job.messages if message.role is Role.SYSTEM] for job in jobs]


def test_every_new_conversation_begins_with_the_instructions_of_its_day(world: World) -> None:
    chat, engines = world.chat(*[says("ok")] * 4)
    world.store.keep_setting("instructions", "Be brief.")
    first = answer_of(play(chat, TurnRequest("hello")))
    world.store.keep_setting("instructions", "Rhyme.")
    play(chat, TurnRequest("and on", chat_id=first.chat_id))
    play(chat, TurnRequest("hello", wishes=Wishes(store=False)))
    world.store.keep_setting("instructions", None)
    play(chat, TurnRequest("hello"))
    assert _system_prompts(engines) == [["Be brief."], ["Be brief."], ["Rhyme."], []]


def test_a_system_prompt_given_with_a_prompt_wins_over_the_instructions(world: World) -> None:
    chat, engines = world.chat(says("ok"), says("ok"))
    world.store.keep_setting("instructions", "Be brief.")
    play(chat, TurnRequest("hello", wishes=Wishes(system="Be long.")))
    play(chat, TurnRequest("hello", wishes=Wishes(system="")))
    assert _system_prompts(engines) == [["Be long."], []]


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (TurnRequest("  \n"), "empty"),
        (TurnRequest("hi", wishes=Wishes(max_tokens=0)), "max-tokens"),
        (TurnRequest("hi", wishes=Wishes(temperature=-1.0)), "temperature"),
        (TurnRequest("draw a cat", wishes=Wishes(width=63)), "multiple of 8"),
        (TurnRequest("draw a cat", wishes=Wishes(width=8)), "between 32 and"),
        (TurnRequest("hi", chat_id="f" * 32), "no conversation"),
        (TurnRequest(None), "no prompt"),
        (TurnRequest("hi", (Attachment("x.bin", "application/octet-stream", b"\xff\xfe\x00"),)), "not a text file"),
    ],
)
def test_bad_input_is_one_clear_error_and_costs_nothing(world: World, request_: TurnRequest, named: str) -> None:
    before = world.ledger.balance()
    chat, engines = world.chat()
    with pytest.raises(UsageError, match=named):
        play(chat, request_)
    assert (engines.jobs, world.store.chats(10), world.ledger.balance()) == ([], [], before)


def test_every_turn_leaves_a_ledger_that_verifies(world: World) -> None:
    chat, _ = world.chat(says("a"), [EngineFailed("x")], says("b", "c"))
    first = answer_of(play(chat, TurnRequest("one")))
    with pytest.raises(EngineFailed):
        play(chat, replace(TurnRequest("two"), chat_id=first.chat_id))
    play(chat, TurnRequest("three", chat_id=first.chat_id))
    world.ledger.verify()


def killed_after(words: int, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of its own takes a turn and is killed when so many words have come."""
    monkeypatch.setattr(turn, "_DRAFT_EVERY_S", 0.0)

    def work(report: Callable[[str], None]) -> None:
        vault = bootstrap.open_vault(Paths.choose(home), None)
        here = World(vault, Conversations(vault.database, vault.blobs), bootstrap.open_wallet(vault))
        chat, _ = here.chat(says(*(f"word{number} " for number in range(words + 1))))

        async def run() -> None:
            seen = 0
            async for event in chat.turn(TurnRequest("Tell me a story"), asyncio.Event()):
                seen += isinstance(event, TextDelta)
                if seen > words:
                    report("enough")
                    await asyncio.Event().wait()

        asyncio.run(run())

    child = fork(work)
    assert next(child.lines) == "enough"
    child.kill()


def test_what_a_killed_program_had_said_is_kept_and_charged(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.ledger.balance()
    killed_after(3, tmp_path, monkeypatch)
    for _ in range(2):
        ledger = bootstrap.open_wallet(world.vault)
        (chat,) = world.store.chats(9)
        prompt, answer = world.store.path(chat.id)
        assert (prompt.message.text, answer.message.text) == ("Tell me a story", "word0 word1 word2 ")
        assert (answer.stopped, answer.usage) == ("crash", Usage(10, 0, 3))
        assert before - ledger.balance() == answer.cost_micro > 0
        assert ledger.verify(anchor_of(world)).open_holds == 0
    assert world.store.search("word1")
    assert world.vault.verify() == []


def test_a_program_killed_before_its_first_word_is_charged_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.ledger.balance()
    killed_after(0, tmp_path, monkeypatch)
    ledger = bootstrap.open_wallet(world.vault)
    (chat,) = world.store.chats(9)
    assert [stored.message.text for stored in world.store.path(chat.id)] == ["Tell me a story"]
    assert (ledger.balance(), ledger.verify(anchor_of(world)).open_holds) == (before, 0)


def test_a_draft_goes_with_its_conversation(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = world.ledger.balance()
    killed_after(2, tmp_path, monkeypatch)
    world.store.delete_chat(world.store.chats(9)[0].id)
    ledger = bootstrap.open_wallet(world.vault)
    assert (ledger.balance(), ledger.verify(anchor_of(world)).open_holds) == (before, 0)
    assert world.vault.database.execute("SELECT * FROM draft") == []


def anchor_of(world: World) -> tuple[int, str]:
    return world.vault.anchor.seq, world.vault.anchor.head


def with_load_price(world: World, load: int) -> None:
    world.ledger.set_price(replace(world.ledger.estimate(TEXT), prompt=0, completion=10**6, load=load, source="owner"))


def test_an_answer_pays_for_the_load_that_it_needed(world: World) -> None:
    with_load_price(world, 500)
    loading = [Loading(TEXT.id, 0.0), Loading(TEXT.id, 0.4), Loading(TEXT.id, 1.0)]
    chat, _ = world.chat([*loading, *says("one ", "two")], says("three"))
    answers = [answer_of(play(chat, TurnRequest(prompt, wishes=Wishes(max_tokens=10)))) for prompt in ("a", "b")]
    assert [(answer.usage.loads, answer.cost_micro) for answer in answers] == [(1, 502), (0, 1)]


def test_a_possible_load_is_in_the_hold(world: World) -> None:
    with_load_price(world, 500)
    chat, _ = world.chat(says("one"))
    held = next(
        event for event in play(chat, TurnRequest("a", wishes=Wishes(max_tokens=10))) if isinstance(event, Held)
    )
    assert held.max_cost_micro == 510


def test_a_load_that_fails_or_brings_no_token_costs_nothing(world: World) -> None:
    with_load_price(world, 500)
    before = world.ledger.balance()
    chat, _ = world.chat(
        [Loading(TEXT.id, 0.5), EngineFailed("out of memory")],
        [Loading(TEXT.id, 1.0), Reading(3, 3), EngineFailed("killed (SIGKILL)")],
    )
    for _ in range(2):
        with pytest.raises(EngineFailed):
            play(chat, TurnRequest("a", wishes=Wishes(max_tokens=10)))
    assert world.ledger.balance() == before


SEEING = replace(TEXT, id="seer:Q8_0", projector=Path("mmproj"), context_length=32768)
HEARING = replace(SEEING, id="listener:Q8_0", senses=(Sense.SIGHT, Sense.HEARING))


def test_a_build_with_eyes_gets_the_pictures_of_the_whole_conversation(world: World) -> None:
    chat, engines = world.chat(says("a circle"), says("red"), builds=(SEEING,))
    first = answer_of(play(chat, TurnRequest("What is on it?", (PICTURE,))))
    second = answer_of(play(chat, TurnRequest("Which colour?", chat_id=first.chat_id)))
    assert first.remarks == second.remarks == ()
    job = engines.jobs[-1]
    assert isinstance(job, TextJob)
    assert [(message.text, [item.data for item in message.attachments]) for message in job.messages] == [
        ("What is on it?", [PICTURE.data]),
        ("a circle", []),
        ("Which colour?", []),
    ]


def test_a_drawn_picture_is_shown_to_a_build_with_eyes_and_changed_by_one_that_draws(world: World) -> None:
    done = EngineDone(Usage(pixel_steps=64), Timing(), Stopped.END, (PICTURE,))
    other = replace(PICTURE, data=b"\x89PNG another")
    changed = EngineDone(Usage(pixel_steps=64), Timing(), Stopped.END, (other,))
    script = ([done], says("three"), [changed], says("blue"))
    chat, engines = world.chat(*script, builds=(TEXT, SEEING, IMAGE))
    small = Wishes(height=64, steps=12)
    drawn = answer_of(play(chat, TurnRequest("Draw three red circles", wishes=small)))
    seen = answer_of(play(chat, TurnRequest("how many circles?", chat_id=drawn.chat_id)))
    assert (seen.route.build, seen.route.looks, seen.remarks) == (SEEING, True, ())
    edited = answer_of(play(chat, TurnRequest("make them blue", wishes=small, chat_id=drawn.chat_id)))
    assert (edited.route.build, edited.route.task) == (IMAGE, "image_edit")
    job = engines.jobs[-1]
    assert isinstance(job, ImageJob)
    assert (job.source, job.strength) == (PICTURE.data, 0.7)
    last = answer_of(play(chat, TurnRequest("which colour are they now?", chat_id=drawn.chat_id)))
    assert (last.route.build, last.remarks) == (SEEING, ())
    job = engines.jobs[-1]
    assert isinstance(job, TextJob)
    assert [(message.text, [item.data for item in message.attachments]) for message in job.messages] == [
        ("Draw three red circles", []),
        ("[a picture]", []),
        ("how many circles?", [PICTURE.data]),
        ("three", []),
        ("make them blue", []),
        ("[a picture]", []),
        ("which colour are they now?", [other.data]),
    ]


def test_a_change_is_drawn_from_the_words_of_the_picture_before_it(world: World) -> None:
    receipt = PictureReceipt(IMAGE.id, IMAGE.sha256, "a red circle with a tree", 64, 64, 12, 3.0, 1)
    done = EngineDone(Usage(pixel_steps=64), Timing(), Stopped.END, (replace(PICTURE, receipt=receipt.to_json()),))
    orders = replace(IMAGE, architecture="FluxKontextPipeline")
    small = Wishes(height=64, steps=12, drawing=Drawing(negative="blurry"))
    for build, wish, expected in (
        (IMAGE, "remove the tree", ("a red circle", "blurry, tree")),
        (IMAGE, "make it blue", ("a blue circle with a tree", "blurry")),
        (orders, "make it blue", ("make it blue", "blurry")),
    ):
        chat, engines = world.chat([done], [done], builds=(build,))
        drawn = answer_of(play(chat, TurnRequest("draw a red circle with a tree", wishes=small)))
        play(chat, TurnRequest(wish, wishes=small, chat_id=drawn.chat_id))
        job = engines.jobs[-1]
        assert isinstance(job, ImageJob)
        assert (job.prompt, job.negative) == expected


def test_a_question_about_a_picture_that_nobody_can_see_costs_nothing(world: World) -> None:
    done = EngineDone(Usage(pixel_steps=64), Timing(), Stopped.END, (PICTURE,))
    chat, _ = world.chat([done])
    drawn = answer_of(play(chat, TurnRequest("Draw a red circle", wishes=Wishes(height=64, steps=12))))
    before = world.ledger.balance()
    with pytest.raises(NoBuildFits, match="no stored build can look at pictures"):
        play(chat, TurnRequest("what is in the picture?", chat_id=drawn.chat_id))
    assert world.ledger.balance() == before


def test_the_hold_covers_the_most_that_a_picture_can_become(world: World) -> None:
    chat, _ = world.chat(builds=(SEEING,))
    with_picture = chat.quote(TurnRequest("What is on it?", (PICTURE,)))
    without = chat.quote(TurnRequest("What is on it?"))
    card = world.ledger.shown_price(SEEING)
    difference = card.cost(Usage(prompt_tokens=4096))
    assert with_picture.most_micro - without.most_micro == pytest.approx(difference, abs=1)


def test_a_picture_that_a_blind_build_goes_on_after_is_said_to_be_unread(world: World) -> None:
    chat, _ = world.chat(says("a circle"), builds=(SEEING,))
    first = answer_of(play(chat, TurnRequest("What is on it?", (PICTURE,))))
    blind, engines = world.chat(says("red"), says("ok"))
    said = "1 picture before this prompt was not read: only answered text is."
    assert answer_of(play(blind, TurnRequest("Sure?", chat_id=first.chat_id))).remarks == (said,)
    job = engines.jobs[-1]
    assert isinstance(job, TextJob)
    assert not any(message.attachments for message in job.messages)


def test_a_sound_goes_along_is_held_for_and_comes_back_in_later_turns(world: World) -> None:
    clip = tone(440, 31)
    chat, engines = world.chat(says("a tone"), says("still"), builds=(HEARING,))
    quotes = [chat.quote(TurnRequest("What is said?", files)) for files in ((clip,), ())]
    difference = world.ledger.shown_price(HEARING).cost(Usage(prompt_tokens=1568))
    assert quotes[0].most_micro - quotes[1].most_micro == pytest.approx(difference, abs=1)
    first = answer_of(play(chat, TurnRequest("What is said?", (clip,))))
    play(chat, TurnRequest("And now?", chat_id=first.chat_id))
    code = "Write a python function that sorts a list of numbers"
    after, _ = world.chat(says("yes"), builds=(replace(TEXT, id="wise:Q8_0", parameters=10**11), HEARING))
    assert (
        answer_of(play(after, TurnRequest(code, chat_id=first.chat_id, parent_id=first.message_id))).route.build.id
        == HEARING.id
    )
    for job in engines.jobs:
        assert isinstance(job, TextJob)
        heard = next(message for message in job.messages if message.role is Role.USER)
        assert (heard.text, heard.attachments) == ("What is said?", (clip,))


def test_a_sound_that_a_deaf_build_goes_on_after_is_said_to_be_unread(world: World) -> None:
    chat, _ = world.chat(says("a tone"), builds=(HEARING,))
    first = answer_of(play(chat, TurnRequest("What is said?", (tone(440), PICTURE))))
    deaf, engines = world.chat(says("ok"), builds=(SEEING,))
    second = answer_of(play(deaf, TurnRequest("Sure?", chat_id=first.chat_id)))
    assert second.remarks == ("1 sound before this prompt was not read: only answered text is.",)
    job = engines.jobs[-1]
    assert isinstance(job, TextJob)
    assert [item for message in job.messages for item in message.attachments] == [PICTURE]


def test_a_sound_that_nobody_understands_stays_out_of_later_turns_and_is_refused_in_new_ones(world: World) -> None:
    odd = Attachment("note.ogg", "audio/ogg", b"OggS and so on")
    chat, engines = world.chat(says("ok"), builds=(HEARING,))
    with pytest.raises(UsageError, match=r"note\.ogg: the sound is no WAV, MP3 or FLAC"):
        play(chat, TurnRequest("What is said?", (odd,)))
    with world.store.transaction() as tx:
        chat_id = world.store.start_chat(tx, "imported", None)
        world.store.add_prompt(tx, chat_id, None, Message(Role.USER, "listen", (odd,)))
    answer = answer_of(play(chat, TurnRequest("Hello", chat_id=chat_id)))
    said = "1 sound and 1 prompt without an answer before this prompt were not read: only answered text is."
    assert answer.remarks == (said,)
    job = engines.jobs[-1]
    assert isinstance(job, TextJob)
    assert not any(message.attachments for message in job.messages)


def test_pictures_beyond_what_one_frame_takes_are_refused_and_older_ones_left_out(world: World) -> None:
    large = Attachment("large.png", "image/png", b"x" * (6 * 2**20))
    chat, engines = world.chat(says("one"), says("two"), builds=(SEEING,))
    with pytest.raises(UsageError, match="more than 11 MiB together"):
        play(chat, TurnRequest("both", (large, large)))
    assert world.ledger.balance() == 100_000
    first = answer_of(play(chat, TurnRequest("this", (large,))))
    second = answer_of(play(chat, TurnRequest("and this", (large,), chat_id=first.chat_id)))
    assert second.remarks == ("1 picture before this prompt was not read: only answered text is.",)
    job = engines.jobs[-1]
    assert isinstance(job, TextJob)
    assert [len(message.attachments) for message in job.messages] == [0, 0, 1]
