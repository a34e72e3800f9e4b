import asyncio
from pathlib import Path

import pytest

from nanolocal.chat.drawing import PictureReceipt
from nanolocal.chat.events import CostSoFar
from nanolocal.chat.messages import Attachment
from nanolocal.errors import Damaged, OutOfCredit
from nanolocal.ledger import issuers, issuing, redeeming
from nanolocal.tui.screens.credits import CreditsScreen
from nanolocal.tui.widgets.hint import HintLine
from tests.fakes.homes import home
from tests.fakes.session import FakeSession
from tests.tui.driving import Stand, drive

QUESTION = "tell me everything"


def short(budget: str = "", tokens: int = 120) -> OutOfCredit:
    hint = f"an answer of up to {tokens} tokens is still in it: --max-tokens {tokens}"
    return OutOfCredit("this costs too much", hint, 400, budget=budget, tokens=tokens)


def test_what_a_prompt_would_cost_is_told_once_nothing_is_typed_for_a_moment() -> None:
    session = FakeSession()

    async def body(stand: Stand) -> None:
        for key in "hello":
            await stand.pilot.press(key)
        await stand.sees("up to 0.0050 cr · Oak 1B Q4_K_M")
        assert [request.prompt for request in session.chat.quotes] == ["hello"]
        await stand.pilot.press(*["backspace"] * 5)
        await stand.misses("up to")

    drive(body, session)


def test_a_prompt_that_costs_more_than_the_balance_says_so_before_it_is_sent() -> None:
    session = FakeSession()
    session.chat.most = 97_101

    async def body(stand: Stand) -> None:
        await stand.type("hello")
        await stand.sees("up to 0.098 cr · more than the balance · Oak 1B Q4_K_M")

    drive(body, session)


def test_a_command_costs_nothing_and_a_picture_is_quoted_as_one() -> None:
    session = FakeSession()

    async def body(stand: Stand) -> None:
        await stand.type("/model oak")
        await stand.pilot.pause(0.5)
        assert session.chat.quotes == []
        stand.chat.composer.put("/image a red barn")
        await stand.sees("up to 0.0050 cr")
        assert (session.chat.quotes[-1].prompt, session.chat.quotes[-1].wishes.picture) == ("a red barn", True)

    drive(body, session)


def test_what_was_sent_is_not_quoted_any_more_and_what_is_typed_next_once_the_answer_is_paid() -> None:
    session = FakeSession()
    session.chat.script = ["word", asyncio.Event()]

    async def body(stand: Stand) -> None:
        await stand.type(QUESTION, "enter")
        await stand.sees("writing")
        await stand.type("and on")
        await stand.pilot.pause(0.5)
        assert stand.chat.query_one(HintLine).quote is None
        assert [request.prompt for request in session.chat.quotes] == [QUESTION]
        await stand.pilot.press("escape")
        await stand.sees("up to 0.0050 cr")
        assert session.chat.quotes[-1].parent_id == session.store.messages["c1"][-1].id

    drive(body, session)


def test_the_files_and_the_choice_of_who_answers_are_quoted_too() -> None:
    session = FakeSession()

    async def body(stand: Stand) -> None:
        stand.chat.composer.attach(Attachment("notes.txt", "text/plain", b"x"))
        await stand.until(lambda: session.chat.quotes)
        assert session.chat.quotes[-1].attachments[0].name == "notes.txt"
        stand.chat.conversation.choice.pinned = "oak:Q4_K_M"
        stand.chat.show_choice()
        await stand.until(lambda: session.chat.quotes[-1].wishes.model == "oak:Q4_K_M")

    drive(body, session)


def test_the_cost_so_far_stands_in_the_status_line() -> None:
    session = FakeSession()
    gates = [asyncio.Event(), asyncio.Event()]
    session.chat.script = ["word", CostSoFar(31), gates[0], " more", CostSoFar(47), gates[1]]

    async def body(stand: Stand) -> None:
        await stand.type("hi", "enter")
        await stand.sees("· 0.000031 cr · bal 0.092")
        gates[0].set()
        await stand.sees("· 0.000047 cr · bal 0.092")
        gates[1].set()

    drive(body, session)


@pytest.mark.parametrize("colour", ["", "1"])
def test_a_low_balance_is_said_in_words_and_stands_out(monkeypatch: pytest.MonkeyPatch, colour: str) -> None:
    if colour:
        monkeypatch.setenv("NO_COLOR", colour)
    session = FakeSession()
    session.ledger.micro = 4_200

    async def body(stand: Stand) -> None:
        await stand.sees("auto · low bal 0.0042")
        spans = stand.chat.status_line.render().spans
        assert [(span.start, span.style) for span in spans] == [(len("auto | "), "$warning")]

    drive(body, session)


def test_after_a_refusal_enter_sends_the_same_prompt_for_as_long_an_answer_as_can_be_paid() -> None:
    session = FakeSession()
    session.chat.script = [short()]

    async def body(stand: Stand) -> None:
        await stand.ask(QUESTION)
        await stand.sees("! This costs too much · Enter sends it for an answer of at most 120 tokens;")
        await stand.sees("/topup AMOUNT adds credit")
        assert "--max-tokens" not in stand.shown
        assert stand.chat.composer.box.text == QUESTION
        session.chat.script = ["Short."]
        await stand.pilot.press("enter")
        await stand.sees("Short.")
        await stand.ask("and on")

    drive(body, session)
    assert [request.wishes.max_tokens for request in session.chat.requests] == [None, 120, None]


def test_another_prompt_than_the_refused_one_is_not_cut_short() -> None:
    session = FakeSession()
    session.chat.script = [short(budget="day")]

    async def body(stand: Stand) -> None:
        await stand.ask(QUESTION)
        await stand.sees("/budget day AMOUNT allows more, off lifts it")
        await stand.ask(" and more")

    drive(body, session)
    assert [request.wishes.max_tokens for request in session.chat.requests] == [None, None]


def test_a_refused_picture_comes_back_as_the_command_that_draws_it() -> None:
    session = FakeSession()
    session.chat.script = [short(tokens=0)]

    async def body(stand: Stand) -> None:
        await stand.ask("/image a red barn")
        await stand.sees("! This costs too much · /topup AMOUNT adds credit")
        await stand.until(lambda: stand.chat.composer.box.text == "/image a red barn")
        session.chat.script = ["Drawn."]
        await stand.pilot.press("enter")
        await stand.sees("Drawn.")
        assert stand.chat.composer.box.text == ""

    drive(body, session)
    assert [request.wishes.picture for request in session.chat.requests] == [True, True]


def test_what_was_refused_outlives_the_topup_typed_in_its_place() -> None:
    session = FakeSession()
    session.chat.script = [short()]

    async def body(stand: Stand) -> None:
        box = stand.chat.composer.box
        await stand.type("/once oak", "enter")
        await stand.ask(QUESTION)
        await stand.sees("This costs too much")
        stand.chat.composer.put("/topup 0.05")
        await stand.pilot.press("enter")
        await stand.sees("Added 0.050000 credits.")
        await stand.sees("bal 0.14")
        await stand.misses("This costs too much")
        assert box.text == QUESTION
        session.chat.script = ["All of it."]
        await stand.pilot.press("enter")
        await stand.sees("All of it.")

    drive(body, session)
    assert [request.wishes.max_tokens for request in session.chat.requests] == [None, None]
    assert [request.wishes.model for request in session.chat.requests] == ["oak:Q4_K_M"] * 2


def test_what_was_typed_meanwhile_stays_below_what_comes_back() -> None:
    session = FakeSession()
    session.chat.script = [short()]

    async def body(stand: Stand) -> None:
        stand.chat.composer.put("typed meanwhile")
        asked = stand.chat.conversation.next_request(QUESTION, ())
        from nanolocal.tui.runner import Asked  # the screen itself cannot be that fast

        stand.chat.start(Asked(asked, QUESTION))
        await stand.sees("This costs too much · /topup")
        assert stand.chat.composer.box.text == f"{QUESTION}\ntyped meanwhile"

    drive(body, session)


def test_a_command_from_the_palette_gives_the_text_back_that_it_took_the_place_of() -> None:
    async def body(stand: Stand) -> None:
        box = stand.chat.composer.box
        await stand.type(QUESTION)
        await stand.chat.action_command("topup")
        await stand.until(lambda: box.text == "/topup ")
        await stand.pilot.press("escape")
        await stand.until(lambda: box.text == QUESTION)
        await stand.chat.action_command("topup")
        await stand.type("0.01", "enter")
        await stand.sees("Added 0.010000 credits.")
        await stand.until(lambda: box.text == QUESTION)
        await stand.chat.action_command("image")
        await stand.type("a red barn", "enter")
        await stand.until(lambda: stand.session.chat.requests and box.text == QUESTION)

    drive(body)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("/topup much", "! 'much' is not an amount of credits · write it as 0.10"),
        ("/topup -1", "! '-1' is not an amount of credits"),
        ("/budget day", "! How much may be spent is missing · /budget day 0.10, or off"),
        ("/budget day 1e3", "! '1e3' is not an amount of credits"),
    ],
)
def test_a_wrong_amount_changes_nothing_and_stays_in_the_box(typed: str, said: str) -> None:
    async def body(stand: Stand) -> None:
        await stand.type(typed, "enter")
        await stand.sees(said)
        assert stand.chat.composer.box.text == typed

    session = drive(body)
    assert (session.ledger.micro, session.ledger.limits) == (97_100, {})


def test_the_credits_of_a_real_wallet_are_shown_limited_and_receipted(tmp_path: Path) -> None:
    session = FakeSession()

    async def body(stand: Stand) -> None:
        await stand.type("/budget month 0.05", "enter")
        await stand.sees("The budget month is 0.050000 credits.")
        await stand.type("/budget weekly 0.05", "enter")
        await stand.sees("'weekly' is nothing that a budget can limit")
        stand.chat.composer.put("/credits")
        await stand.pilot.press("enter")
        await stand.sees("Balance 0.099")
        await stand.sees("Budget month 0.050000, 0.049")
        await stand.sees("settle · tiny:Q8_0 · 30 tokens")
        await stand.sees("0.10  transfer")
        await stand.pilot.press("enter")
        for line in ("charged", "electricity, estimated", "answer tokens 30 x", "signed by"):
            await stand.sees(line)
        await stand.pilot.press("escape")
        await stand.until(lambda: isinstance(stand.app.screen, CreditsScreen))
        await stand.pilot.press("escape")
        await stand.type("/receipt", "enter")
        await stand.sees("answer tokens 30 x")
        await stand.pilot.press("escape")
        await stand.type("/receipt 999", "enter")
        await stand.sees("! The ledger has no entry for '999'")
        stand.chat.composer.put(f"/redeem {code}")
        await stand.pilot.press("enter")
        await stand.sees("Added 0.025000 credits from Ms Huber.")
        await stand.sees("bal 0.12")
        stand.chat.composer.put(f"/redeem {code}")
        await stand.pilot.press("enter")
        await stand.sees("! This voucher was already redeemed here")
        stand.chat.composer.put("/budget month off")
        await stand.pilot.press("enter")
        await stand.sees("The budget month is lifted.")

    with home(tmp_path / "vault", None) as real:
        real.turn("hello", "an answer")
        session.store, session.ledger = real.store, real.wallet  # type: ignore[assignment]
        code = issuing.issue(real.wallet, "issuer", 25_000, 1, [redeeming.own_device(real.wallet)])[0].text()
        issuers.trust(real.wallet, issuing.issuer_keys(real.vault.database)[0].public_key, "Ms Huber")
        drive(body, session)
        assert real.wallet.budgets() == []


@pytest.mark.parametrize("size", [(60, 16), (80, 24)])
def test_credits_leave_room_for_the_entries_whatever_the_budgets(size: tuple[int, int]) -> None:
    session = FakeSession()
    session.ledger.limits = {f"key:{name}/day": 1_000 for name in "abcdefgh"} | {"chat": 50}

    async def body(stand: Stand) -> None:
        await stand.type("/credits", "enter")
        await stand.sees("Spent today 0.000420, this month 0.001260")
        await stand.sees("Budget chat 0.000050 for each")
        await stand.sees("0.10  grant")

    drive(body, session, size)


def test_the_receipt_of_a_picture_tells_what_it_was_drawn_with() -> None:
    session = FakeSession()
    receipt = PictureReceipt("tiny:f16", "ab" * 32, "a red circle", 64, 48, 20, 3.5, 4711, "fog", mask="cd" * 32)
    drawn = session.gallery.add("draw a red circle", b"", receipt)
    session.gallery.holds[drawn.id] = "7"

    async def body(stand: Stand) -> None:
        await stand.type("/receipt 7", "enter")
        for line in (
            f"picture       {drawn.id}",
            "steps         20, guidance 3.5",
            "seed          4711",
            "not           fog",
        ):
            await stand.sees(line)

    drive(body, session)


def test_without_an_answer_there_is_no_receipt() -> None:
    async def body(stand: Stand) -> None:
        await stand.type("/receipt", "enter")
        await stand.sees("! There is no answer here that was charged · /credits lists every charge.")

    drive(body)


def test_a_ledger_that_was_changed_is_read_only_and_every_conversation_can_be_read() -> None:
    session = FakeSession()
    session.store.add_turns("c1", [("a question", "an answer")])
    problem = Damaged("ledger entry 11 was changed", "nanolocal vault restore")
    session.ledger.problem = problem
    session.chat.script = [problem]

    async def body(stand: Stand) -> None:
        await stand.sees("an answer")
        await stand.sees("Nothing can be sent, only read: ledger entry 11 was changed.")
        await stand.type(QUESTION)
        await stand.pilot.pause(0.5)
        assert session.chat.quotes == []
        await stand.ask("")
        await stand.sees("! Ledger entry 11 was changed · nanolocal vault restore")
        assert stand.chat.composer.box.text == QUESTION
        stand.chat.composer.put("/credits")
        await stand.pilot.press("enter")
        await stand.sees("Read-only: ledger entry 11 was changed")

    drive(body, session)
