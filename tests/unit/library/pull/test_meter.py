import pytest

from nanolocal.library.pull.meter import Meter, Speed
from nanolocal.library.pull.plan import Progress, Stage


def test_a_steady_speed_is_shown_as_it_is() -> None:
    speed = Speed()
    for tenth in range(100):
        speed.add(1000 if tenth else 0, tenth / 5)
    assert speed.per_second == pytest.approx(5000)


def test_a_new_speed_is_followed_within_seconds() -> None:
    speed = Speed()
    for second in range(60):
        speed.add(1000 if second < 30 else 9000, second)
    assert 8900 < speed.per_second <= 9000


def test_nothing_is_told_twice_in_a_tenth_of_a_second_but_the_end_is() -> None:
    heard: list[Progress] = []
    meter = Meter(heard.append, "m.gguf", 1000)
    for done in range(1, 1001):
        meter.moved(1, done)
    assert len(heard) < 100
    assert heard[-1].done == 1000


def test_why_it_waits_is_told_with_what_is_there() -> None:
    heard: list[Progress] = []
    meter = Meter(heard.append, "m.gguf", 1000)
    meter.moved(10, 10)
    meter.waits(Stage.WAITING, "the hub asks to wait")
    assert heard[-1] == Progress(Stage.WAITING, "m.gguf", 10, 1000, says="the hub asks to wait")


def test_without_a_size_nobody_knows_how_long_it_takes() -> None:
    heard: list[Progress] = []
    meter = Meter(heard.append, "m.gguf", None)
    meter.moved(10, 10)
    assert (heard[-1].total, heard[-1].seconds_left) == (None, None)
