"""What deleting a build would change, by the real router."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from nanolocal.chat.routes import Build, Kind, Task
from nanolocal.routing.deletion import PROBES, Change, Deletions
from nanolocal.routing.router import TaskRouter
from nanolocal.routing.surroundings import Surroundings
from nanolocal.routing.tasks import guess_task

GIB = 2**30


def build(name: str, quality: dict[str, float], kind: Kind = Kind.TEXT) -> Build:
    return Build(f"{name}:Q8_0", name, kind, Path(name), "Q8_0", 10**7, name * 8, 10**7, 4096, quality=quality)


CODER = build("coder", {"code": 0.9, "math": 0.9})
WRITER = build("writer", {"*": 0.5})
SPARE = build("spare", {"*": 0.1})
PAINTER = build("painter", {"image_gen": 0.5}, Kind.IMAGE)


def deletions(*builds: Build) -> Deletions:
    def router_over(left: Sequence[Build]) -> TaskRouter:
        return TaskRouter(lambda: left, lambda: Surroundings(8 * GIB))

    return Deletions(builds, router_over)


@pytest.mark.parametrize("task", PROBES)
def test_each_probe_is_recognised_as_its_task(task: Task) -> None:
    assert guess_task(PROBES[task]).task is task


def test_every_task_that_the_router_tells_apart_has_a_probe() -> None:
    assert set(Task) - set(PROBES) == {Task.IMAGE_EDIT}


def test_tasks_go_to_the_next_best() -> None:
    found = deletions(CODER, WRITER, SPARE, PAINTER)
    assert found.without({CODER.id}) == (Change(("code", "math"), WRITER.id),)
    (others,) = found.without({WRITER.id})
    assert others.after == SPARE.id
    assert set(others.tasks) == {*PROBES} - {"code", "math", "image_gen"}


def test_what_is_never_picked_changes_nothing() -> None:
    assert deletions(CODER, WRITER, SPARE, PAINTER).without({SPARE.id}) == ()


def test_the_last_of_its_kind_leaves_nobody() -> None:
    assert deletions(WRITER, PAINTER).without({PAINTER.id}) == (Change(("image_gen",), None),)


def test_several_at_once() -> None:
    changes = deletions(CODER, WRITER, SPARE).without({CODER.id, WRITER.id})
    assert {change.after for change in changes} == {SPARE.id}


def test_no_builds_at_all() -> None:
    assert deletions().without({"x"}) == ()
