import asyncio

import pytest

from nanolocal.errors import TransferFailed
from nanolocal.library.pull.control import Control, Rate


def test_a_rate_is_kept_over_any_pieces() -> None:
    rate, now = Rate(1000), 100.0
    for _ in range(50):
        now += rate.delay(100, now)
    assert now - 100.0 == pytest.approx(5.0 - 0.25)


def test_what_was_not_used_is_saved_for_a_quarter_of_a_second_only() -> None:
    rate = Rate(1000)
    rate.delay(100, 0.0)
    assert rate.delay(250, 60.0) == 0
    assert rate.delay(100, 60.0) == pytest.approx(0.1)


def test_no_rate_is_no_wait() -> None:
    assert Rate().delay(10**12, 0.0) == 0


def test_a_stop_ends_whatever_waits() -> None:
    control = Control()

    async def run() -> None:
        asyncio.get_running_loop().call_soon(control.stop)
        async with control.stoppable():
            await asyncio.Event().wait()

    with pytest.raises(TransferFailed, match="stopped") as caught:
        asyncio.run(run())
    assert "same command again" in caught.value.hint


def test_what_was_stopped_before_does_not_begin() -> None:
    async def run() -> None:
        control = Control()
        control.stop()
        control.stop()
        async with control.stoppable():
            await asyncio.Event().wait()

    with pytest.raises(TransferFailed, match="stopped"):
        asyncio.run(run())


def test_a_cancelled_block_is_cancelled_and_not_stopped() -> None:
    async def block() -> None:
        async with Control().stoppable():
            await asyncio.Event().wait()

    async def run() -> None:
        task = asyncio.ensure_future(block())
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())


def test_a_pause_holds_until_it_is_resumed() -> None:
    async def run() -> bool:
        control = Control()
        control.pause()
        waiting = asyncio.ensure_future(control.may_go())
        await asyncio.sleep(0)
        was_done = waiting.done()
        control.resume()
        await waiting
        return was_done

    assert not asyncio.run(run())
