"""A real build in a real child sits an exam."""

import asyncio
from pathlib import Path

import pytest

from nanolocal.chat.messages import Wishes
from nanolocal.chat.ports import RouteRequest
from nanolocal.chat.routes import Build, Kind, Route
from nanolocal.engines.pool import EnginePool
from nanolocal.routing.exams.paper import Exam, Item
from nanolocal.routing.exams.sitting import sit
from nanolocal.routing.router import TaskRouter
from nanolocal.routing.surroundings import Surroundings
from tests.fakes.tiny_gguf import write_tiny_gguf

ITEMS = tuple(Item(f"Question {n}?", {"any": [phrase]}, "", ()) for n, phrase in enumerate(("blue", "red", "blue")))
EXAM = Exam("chat/short_fact", 40, ITEMS)


@pytest.fixture
def route(tmp_path: Path) -> Route:
    path = write_tiny_gguf(tmp_path / "says-blue.gguf", answer="blue")
    build = Build("b:f32", "b", Kind.TEXT, path, "f32", path.stat().st_size, "a" * 64, context_length=2048)
    router = TaskRouter(lambda: (build,), lambda: Surroundings(2**34))
    return router.pick(RouteRequest("hello", (), 0, Wishes(model=build.id)))


def marks(route: Route, stop_after: int | None = None) -> list[bool]:
    async def run() -> list[bool]:
        engines, stop, found = EnginePool(2**34, threads=1), asyncio.Event(), list[bool]()
        try:
            async for is_right in sit(engines, route, EXAM, EXAM.items, stop):
                found.append(is_right)
                if len(found) == stop_after:
                    stop.set()
        finally:
            await engines.close()
        return found

    return asyncio.run(run())


def test_every_answer_is_marked(route: Route) -> None:
    assert marks(route) == [True, False, True]


def test_a_stop_ends_the_exam(route: Route) -> None:
    assert marks(route, stop_after=1) == [True]
