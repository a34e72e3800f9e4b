"""Progress with the time left, and the picture of size against quality."""

import pytest

from nanolocal.compress.plot import Point, picture
from nanolocal.compress.progress import Course, Progress, duration


def test_time_left_follows_the_pace_of_the_steps_before() -> None:
    now = [0.0]
    told: list[Progress] = []
    course = Course({"read": 10.0, "search": 30.0, "write": 10.0}, told.append, lambda: now[0])
    course.begin("read")
    assert told[-1].seconds_left is None
    now[0] = 20.0
    course.begin("search")
    assert [told[-1].done, told[-1].seconds_left] == pytest.approx([0.2, 80.0])
    now[0] = 50.0
    course.tell(0.5)
    assert [told[-1].done, told[-1].seconds_left] == pytest.approx([0.5, 50.0])
    assert told[-1].line == " 50 % · search, 50 s left"


def test_steps_that_were_done_before_say_nothing_of_the_pace() -> None:
    now = [0.0]
    told: list[Progress] = []
    course = Course({"read": 10.0, "search": 30.0}, told.append, lambda: now[0])
    course.begin("read")
    course.skip()
    now[0] = 0.1
    course.begin("search")
    now[0] = 30.1
    course.tell(0.5)
    assert told[-1].seconds_left == pytest.approx(30.0, rel=0.02)


def test_done_never_falls() -> None:
    told: list[Progress] = []
    course = Course({"a": 3, "b": 5, "c": 1}, told.append)
    for step in ("a", "b", "c"):
        course.begin(step)
        for n in range(5):
            course.tell(n / 4)
    shares = [each.done for each in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_durations() -> None:
    assert [duration(seconds) for seconds in (3, 89, 600, 7200)] == ["3 s", "89 s", "10 min", "2.0 h"]


POINTS = [
    Point("Q4_K_M", 3_100_000, 8e-4, is_stock=True),
    Point("Q3_K_M", 2_500_000, 4e-3, is_stock=True),
    Point("A", 3_090_000, 5e-4),
    Point("C + D", 3_099_000, 2.4e-4, is_kept=True),
]


@pytest.mark.parametrize(("columns", "rows"), [(80, 20), (60, 12), (40, 8)])
def test_the_picture_keeps_to_its_frame_and_shows_what_was_kept(columns: int, rows: int) -> None:
    lines = picture(POINTS, columns, rows)
    assert len(lines) <= rows
    assert all(len(line) <= columns for line in lines)
    plotted = lines[: rows - 3]
    places = {mark: [n for n, line in enumerate(plotted) if mark in line] for mark in "◆○"}
    assert len(places["◆"]) == 1
    assert min(places["○"]) < places["◆"][0], "better is further down"


def test_one_file_is_enough_and_none_or_no_room_is_no_picture() -> None:
    assert any("◆" in line for line in picture(POINTS[3:], 60, 10))
    assert picture([], 60, 10) == []
    assert picture(POINTS, 12, 10) == []
    assert picture([Point("x", 1, float("nan"))], 60, 10) == []
