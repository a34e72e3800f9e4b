"""``/compress``: a build is made smaller while the conversation goes on."""

from dataclasses import replace

import pytest

from nanolocal.compress.plot import Point, picture
from nanolocal.errors import NoBuildFits
from tests.fakes.session import FakeSession
from tests.tui.driving import Stand, drive

POINTS = [Point("Q4_K_M", 3_340_000, 0.0127, is_stock=True), Point("rounded", 3_330_000, 0.0046, is_kept=True)]


@pytest.mark.parametrize("size", [(80, 24), (60, 16)])
def test_from_the_build_to_the_card(size: tuple[int, int]) -> None:
    async def body(stand: Stand) -> None:
        lab = stand.session.lab
        await stand.type("/compress", "enter")
        await stand.sees("Small")
        await stand.pilot.press("enter")
        await stand.sees("3.34 MB, 5.36 bits a weight")
        await stand.sees("advised")
        await stand.pilot.press("enter")
        await stand.until(lambda: lab.asked == [("small:F16", 3_340_000)])
        assert not lab.agreed
        lab.line = " 12 % · measuring Q4_K_M, 4 min left"
        lab.lines = picture(POINTS, size[0] - 6, 10)
        await stand.sees("12 % · measuring Q4_K_M, 4 min left")
        await stand.sees("◆")
        await stand.pilot.press("escape")
        await stand.sees("◆ 12 % · measuring")
        lab.report = [("loss", "KL 0.0046 nats a token")]
        lab.end("small-Q5_LAB is in the library.")
        await stand.sees("small-Q5_LAB is in the library.")
        await stand.type("/compress", "enter")
        await stand.sees("It has ended.")
        await stand.sees("KL 0.0046 nats a token")

    drive(body, size=size)


def test_another_size_can_be_chosen_and_the_run_stopped() -> None:
    async def body(stand: Stand) -> None:
        lab = stand.session.lab
        await stand.type("/compress small:F16", "enter")
        await stand.sees("Q6_K")
        await stand.pilot.press("up", "enter")
        await stand.until(lambda: lab.asked == [("small:F16", 4_230_000)])
        await stand.pilot.press("s")
        await stand.sees("It has ended.")
        assert not lab.is_running

    drive(body)


def test_a_build_that_is_quantized_already_is_taken_only_after_a_question_of_its_own() -> None:
    session = FakeSession()
    lab = session.lab
    lab.outlooks = replace(
        lab.outlooks, warning="it is quantized already (Q8_0), and loses more than an F16 build would"
    )

    async def body(stand: Stand) -> None:
        await stand.type("/compress small:Q8_0", "enter")
        await stand.sees("advised")
        await stand.pilot.press("enter")
        await stand.sees("Make it smaller all the same?")
        await stand.sees("It is quantized already (Q8_0)")
        await stand.pilot.press("n")
        await stand.sees("advised")
        assert lab.asked == []
        await stand.pilot.press("enter")
        await stand.sees("Make it smaller all the same?")
        await stand.pilot.press("y")
        await stand.until(lambda: lab.asked == [("small:Q8_0", 3_340_000)])
        assert lab.agreed

    drive(body, session)


def test_a_refusal_is_told_and_nothing_begins() -> None:
    session = FakeSession()
    session.lab.problem = NoBuildFits("even Q2_K takes 9 GB of memory here", "close other programs")

    async def body(stand: Stand) -> None:
        await stand.type("/compress large:F16", "enter")
        await stand.sees("Even Q2_K takes 9 GB of memory here")
        await stand.pilot.press("enter", "escape")
        await stand.misses("Even Q2_K")
        assert session.lab.asked == []

    drive(body, session)
