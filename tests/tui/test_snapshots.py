import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from nanolocal.chat.drawing import PictureReceipt
from nanolocal.chat.messages import Attachment, Wishes
from nanolocal.chat.ports import RouteRequest
from nanolocal.routing.router import TaskRouter
from nanolocal.routing.surroundings import Surroundings
from tests.fakes.session import IMAGE_BUILD, ROUTE, TEXT_BUILD, FakeSession, FakeVaultState
from tests.tui.driving import Body, Stand, make_app, picture

Compare = Callable[..., bool]
SMALL, USUAL, LARGE = (60, 16), (80, 24), (120, 40)
SIZES = {"elm": 1_000_000_000, "fir": 3_000_000_000, "yew": 2_000_000_000}
ANSWER = """In three steps:

1. Read the file **once**.
2. Keep what was seen in a `set`.

```python
def first_repeat(items: list[str]) -> str | None:
    seen: set[str] = set()
    return next((item for item in items if item in seen or seen.add(item)), None)
```

| step | cost |
|---|---|
| look up | O(1) |

> It needs memory for every distinct item.
"""


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def _session() -> FakeSession:
    session = FakeSession()
    session.store.add_turns("c1", [("How do I find the first repeat?", ANSWER)], title="First repeat")
    session.store.add_turns("c2", [("Weather in Oslo in May?", "Cool, and often wet.")], title="Oslo in May")
    return session


async def _nothing(stand: Stand) -> None:
    await stand.sees("Weather in Oslo")
    await stand.pilot.press("ctrl+n")
    await stand.sees("It is answered on this device")


async def _conversation(stand: Stand) -> None:
    await stand.chat.open_chat("c1")
    await stand.sees("It needs memory")


async def _streaming(stand: Stand) -> None:
    await _nothing(stand)
    stand.session.chat.script = ["Once upon a time there was a **fox", asyncio.Event()]
    await stand.type("Tell me a story", "enter")
    await stand.sees("there was a **fox")


async def _menu(stand: Stand) -> None:
    await _nothing(stand)
    await stand.pilot.press("slash")
    await stand.sees("start a conversation")


async def _chats(stand: Stand) -> None:
    await _nothing(stand)
    await stand.pilot.press("ctrl+o")
    await stand.sees("Oslo in May")


async def _search(stand: Stand) -> None:
    await stand.pilot.press("ctrl+o", *"oslo")
    await stand.sees("Weather in Oslo")
    await stand.misses("First repeat")


async def _models(stand: Stand) -> None:
    await stand.pilot.press("ctrl+t")
    await stand.sees("812 MB")


async def _why(stand: Stand) -> None:
    stand.session.chat.script = ["Hello."]
    await stand.ask("hi")
    await stand.type("/why", "enter")
    await stand.sees("Could not answer")


async def _why_weighed(stand: Stand) -> None:
    builds = [replace(TEXT_BUILD, id=f"{name}:Q4_K_M", sha256=name, parameters=size) for name, size in SIZES.items()]
    router = TaskRouter(lambda: [*builds, IMAGE_BUILD], lambda: Surroundings(8 * 2**30))
    stand.session.chat.route = router.pick(RouteRequest("Write a python function", (), 0, Wishes()))
    await _why(stand)


async def _pick(stand: Stand) -> None:
    await stand.type("/auto ask", "enter")
    await stand.sees("Who answers is shown")
    await stand.type("Weather in Bergen?", "enter")
    await stand.sees("Enter runs")


async def _draw_or_write(stand: Stand) -> None:
    stand.session.chat.route = replace(ROUTE, may_be_picture=True)
    stand.session.chat.routes["picture"] = replace(ROUTE, build=IMAGE_BUILD)
    await stand.type("A foggy harbour, oil on canvas", "enter")
    await stand.sees("d draws")


async def _compare(stand: Stand) -> None:
    rival = replace(ROUTE, build=replace(TEXT_BUILD, id="oak:Q8_0", quantization="Q8_0"))
    stand.session.chat.routes["oak:Q8_0"] = rival
    stand.session.chat.script = ["Mild, and **wetter** than Oslo."]
    await stand.type("/compare", "enter")
    await stand.sees("in random order")
    await stand.pilot.press("enter")
    await stand.sees("a: A is better")


async def _picture(stand: Stand) -> None:
    await _nothing(stand)
    stand.session.chat.script = [Attachment("p.png", "image/png", picture(24, 12))]
    await stand.ask("/image a red barn")
    await stand.sees("0.00042 cr")


def _hang(stand: Stand) -> None:
    for number, words in enumerate(("a red barn in the snow", "fog over a harbour, oil on canvas", "two boats")):
        receipt = PictureReceipt(IMAGE_BUILD.id, "1" * 64, words, 64, 48, 12, 3.5, 7 + number)
        size = (64, 48) if number % 2 else (48, 64)
        stand.session.gallery.add(words, picture(*size, (200 - 60 * number, 60 * number, 90)), receipt)


async def _gallery(stand: Stand) -> None:
    _hang(stand)
    await stand.pilot.press("f3")
    await stand.sees("1 of 3")
    await stand.until(lambda: len(stand.session.gallery.read) == 3)
    await stand.pilot.press("right")
    await stand.sees("2 of 3")


async def _no_pictures(stand: Stand) -> None:
    await stand.pilot.press("f3")
    await stand.sees("No pictures yet.")


async def _viewer(stand: Stand) -> None:
    await _gallery(stand)
    await stand.pilot.press("enter")
    await stand.sees("64 x 48")


async def _several_pictures(stand: Stand) -> None:
    await _nothing(stand)
    stand.session.chat.script = [Attachment("p.png", "image/png", picture(24, 12, (n * 80, 90, 9))) for n in range(4)]
    await stand.ask("/image four red barns")
    await stand.sees("0.00042 cr")


async def _welcome(stand: Stand) -> None:
    await stand.sees("Esc skips")


async def _machine(stand: Stand) -> None:
    await stand.sees("Esc skips")
    await stand.pilot.press("escape")
    await stand.sees("Enter starts")


async def _unlock(stand: Stand) -> None:
    await stand.sees("Enter unlocks")


def _freeze(body: Body, stand_of: Callable[[Pilot[str]], Stand]) -> Callable[[Pilot[str]], Awaitable[None]]:
    async def run(pilot: Pilot[str]) -> None:
        stand = stand_of(pilot)
        await stand.until(lambda: "opening the vault" not in stand.shown)
        await body(stand)
        for screen in stand.app.screen_stack:
            for box in [*screen.query(TextArea), *screen.query(Input)]:
                box.cursor_blink = False
        await pilot.pause(0.2)

    return run


@pytest.mark.parametrize(
    ("body", "size", "theme", "state"),
    [
        pytest.param(_nothing, USUAL, "light", "keyfile", id="empty-80-light"),
        pytest.param(_conversation, SMALL, "dark", "keyfile", id="conversation-60-dark"),
        pytest.param(_conversation, USUAL, "light", "keyfile", id="conversation-80-light"),
        pytest.param(_conversation, LARGE, "dark", "keyfile", id="conversation-120-dark"),
        pytest.param(_streaming, USUAL, "dark", "keyfile", id="streaming-80-dark"),
        pytest.param(_menu, SMALL, "light", "keyfile", id="menu-60-light"),
        pytest.param(_chats, LARGE, "light", "keyfile", id="chats-120-light"),
        pytest.param(_search, SMALL, "dark", "keyfile", id="search-60-dark"),
        pytest.param(_models, USUAL, "dark", "keyfile", id="models-80-dark"),
        pytest.param(_why, USUAL, "light", "keyfile", id="why-80-light"),
        pytest.param(_why_weighed, USUAL, "dark", "keyfile", id="why-weighed-80-dark"),
        pytest.param(_why_weighed, USUAL, "light", "keyfile", id="why-weighed-80-light"),
        pytest.param(_pick, USUAL, "dark", "keyfile", id="pick-80-dark"),
        pytest.param(_pick, SMALL, "light", "keyfile", id="pick-60-light"),
        pytest.param(_draw_or_write, USUAL, "light", "keyfile", id="draw-80-light"),
        pytest.param(_draw_or_write, USUAL, "dark", "keyfile", id="draw-80-dark"),
        pytest.param(_compare, USUAL, "dark", "keyfile", id="compare-80-dark"),
        pytest.param(_compare, LARGE, "light", "keyfile", id="compare-120-light"),
        pytest.param(_compare, USUAL, "light", "keyfile", id="compare-80-light"),
        pytest.param(_picture, SMALL, "dark", "keyfile", id="picture-60-dark"),
        pytest.param(_several_pictures, USUAL, "light", "keyfile", id="pictures-80-light"),
        pytest.param(_gallery, SMALL, "light", "keyfile", id="gallery-60-light"),
        pytest.param(_gallery, USUAL, "dark", "keyfile", id="gallery-80-dark"),
        pytest.param(_gallery, USUAL, "light", "keyfile", id="gallery-80-light"),
        pytest.param(_gallery, LARGE, "dark", "keyfile", id="gallery-120-dark"),
        pytest.param(_no_pictures, SMALL, "dark", "keyfile", id="no-pictures-60-dark"),
        pytest.param(_viewer, SMALL, "dark", "keyfile", id="viewer-60-dark"),
        pytest.param(_viewer, USUAL, "light", "keyfile", id="viewer-80-light"),
        pytest.param(_viewer, LARGE, "dark", "keyfile", id="viewer-120-dark"),
        pytest.param(_welcome, SMALL, "dark", "absent", id="welcome-60-dark"),
        pytest.param(_machine, SMALL, "light", "absent", id="machine-60-light"),
        pytest.param(_unlock, USUAL, "dark", "passphrase", id="unlock-80-dark"),
    ],
)
def test_screen(snap_compare: Compare, body: Body, size: tuple[int, int], theme: str, state: str) -> None:
    session = _session()
    app = make_app(session, FakeVaultState(state), theme)
    assert snap_compare(app, terminal_size=size, run_before=_freeze(body, lambda pilot: Stand(app, pilot, session)))


@pytest.mark.parametrize("body", [_picture, _gallery, _viewer], ids=["picture", "gallery", "viewer"])
def test_screen_without_colour(snap_compare: Compare, body: Body, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    session = _session()
    app = make_app(session)
    assert app.no_color
    run_before = _freeze(body, lambda pilot: Stand(app, pilot, session))
    assert snap_compare(app, terminal_size=SMALL, run_before=run_before)
