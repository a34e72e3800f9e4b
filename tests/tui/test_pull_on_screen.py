"""``/pull``: a model is fetched while the conversation goes on."""

from functools import partial

from tests.fakes.session import FakeSession
from tests.tui.driving import Stand, drive


def test_a_pull_is_one_line_that_goes_when_it_has_ended() -> None:
    async def body(stand: Stand) -> None:
        pulls = stand.session.pulls
        await stand.type("/pull qwen3:4b", "enter")
        await stand.sees("↓ asking about qwen3:4b")
        pulls.line = "q.gguf: 43 % of 2.5 GB, 12 MB/s, 2 min left"
        await stand.sees("↓ q.gguf: 43 % of 2.5 GB, 12 MB/s, 2 min left")
        pulls.end("qwen3-4b:Q4_K_M is in the library.")
        await stand.sees("qwen3-4b:Q4_K_M is in the library.")
        await stand.misses("↓")
        assert pulls.asked == [("qwen3:4b", False)]
        await stand.pilot.press("escape")
        await stand.misses("is in the library")

    drive(body)


def test_the_conversation_goes_on_meanwhile() -> None:
    async def body(stand: Stand) -> None:
        stand.session.chat.script = ["Blue."]
        await stand.type("/pull qwen3:4b", "enter")
        await stand.ask("Which colour?")
        await stand.sees("Blue.")
        await stand.sees("↓ asking about qwen3:4b")

    drive(body)


def steered(stand: Stand, word: str) -> bool:
    return stand.session.pulls.steered[-1:] == [word]


def test_a_pull_can_be_paused_go_on_and_be_stopped() -> None:
    async def body(stand: Stand) -> None:
        await stand.type("/pull qwen3:4b", "enter")
        for word in ("pause", "resume", "stop"):
            await stand.type(f"/pull {word}", "enter")
            await stand.until(partial(steered, stand, word))
        await stand.sees("Stopped.")

    drive(body)


def test_a_licence_with_conditions_is_agreed_to_in_so_many_words() -> None:
    async def body(stand: Stand) -> None:
        await stand.type("/pull gemma-3-4b-it agree", "enter")
        await stand.until(lambda: stand.session.pulls.asked == [("gemma-3-4b-it", True)])

    drive(body)


def test_without_a_name_it_asks_for_one() -> None:
    async def body(stand: Stand) -> None:
        await stand.type("/pull", "enter")
        await stand.until(lambda: stand.chat.composer.box.text == "/pull ")
        await stand.sees("OWNER/REPOSITORY")
        assert stand.session.pulls.asked == []

    drive(body)


def test_a_refusal_is_a_line_and_the_command_is_back() -> None:
    session = FakeSession()
    session.pulls.is_running = True

    async def body(stand: Stand) -> None:
        await stand.type("/pull other", "enter")
        await stand.sees("! A model is being fetched already")
        assert stand.chat.composer.box.text == "/pull other"

    drive(body, session)


def test_what_a_hub_calls_things_is_harmless_on_the_screen() -> None:
    async def body(stand: Stand) -> None:
        await stand.type("/pull owner/name", "enter")
        stand.session.pulls.line = "\x1b[2Jx\u202e.gguf: 1 %"
        await stand.sees("␛[2Jx\ufffd.gguf")
        stand.session.pulls.end("\x1b]0;title\x07")
        await stand.sees("␛]0;title␇")

    drive(body)
