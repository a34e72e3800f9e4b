"""A pull beside everything else: watched, paused, stopped and taken up again from another thread."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nanolocal.errors import UsageError
from nanolocal.library.library import Library
from nanolocal.library.pull.background import Background
from nanolocal.library.pull.pulling import Source
from tests.hub.faults import Fault, Kind
from tests.unit.library.pull.bench import Bench, a_bench, gguf


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with a_bench(tmp_path / "home") as made:
        yield made


@pytest.fixture
def library(bench: Bench) -> Library:
    return bench.library()


@pytest.fixture
def pulls(bench: Bench, library: Library) -> Iterator[Background]:
    def source() -> Source:
        return Source(bench.hub.endpoint, bench.token, bench.models, library, bench.pick)

    background = Background(lambda: bench.hub.endpoint, source)
    yield background
    background.close()


def until(is_so: Callable[[], object]) -> None:
    for _ in range(3000):
        if is_so():
            return
        time.sleep(0.01)
    raise AssertionError("never became so")


def slow(bench: Bench) -> bytes:
    """A build that drips for as long as nobody changes that."""
    file = gguf(bench, "big-Q8_0.gguf", rows=8000)
    bench.hub.plan = lambda asked: Fault(Kind.DRIP, after=100_000) if asked.host == "cdn" else None
    return file.content


def test_a_pull_ends_in_the_library_that_the_others_use(bench: Bench, library: Library, pulls: Background) -> None:
    gguf(bench, "small-Q8_0.gguf")
    assert library.builds() == ()
    pulls.start("owner/model")
    until(lambda: not pulls.is_running)
    assert [build.id for build in library.builds()] == ["small:Q8_0"]
    assert "small:Q8_0 is in the library" in pulls.news()
    assert pulls.news() == ""
    assert pulls.line == ""


def test_one_that_was_stopped_goes_on(bench: Bench, library: Library, pulls: Background) -> None:
    content = slow(bench)
    pulls.start("owner/model")
    until(lambda: " % of " in pulls.line)
    with pytest.raises(UsageError, match="already"):
        pulls.start("owner/model")
    pulls.stop()
    until(lambda: not pulls.is_running)
    assert "/pull owner/model goes on" in pulls.news()
    assert library.builds() == ()
    bench.hub.plan = lambda asked: None
    pulls.start("owner/model")
    until(lambda: not pulls.is_running)
    assert list(bench.held().values()) == [content]


def test_a_pause_takes_nothing_more_until_it_goes_on(bench: Bench, pulls: Background) -> None:
    content = slow(bench)
    pulls.start("owner/model")
    until(lambda: " % of " in pulls.line)
    pulls.pause()
    until(lambda: "paused" in pulls.line)
    bench.hub.plan = lambda asked: None
    bench.hub.closing.set()  # ends the drip, so that the rest is asked for anew
    assert pulls.is_running
    pulls.resume()
    until(lambda: not pulls.is_running)
    assert list(bench.held().values()) == [content]


def test_closing_ends_it_and_keeps_what_has_arrived(bench: Bench, pulls: Background) -> None:
    slow(bench)
    pulls.start("owner/model")
    until(lambda: " % of " in pulls.line)
    pulls.close()
    assert not pulls.is_running
    assert any(name.endswith(".part") for name in bench.held())


def test_a_licence_with_conditions_has_to_be_agreed_to(bench: Bench, library: Library, pulls: Background) -> None:
    gguf(bench, "small-Q8_0.gguf")
    bench.hub.repo().card = {"license": "gemma"}
    pulls.start("owner/model")
    until(lambda: not pulls.is_running)
    assert pulls.news() == "Its licence has conditions: gemma · /pull owner/model agree"
    assert bench.held() == {}
    pulls.start("owner/model", agreed=True)
    until(lambda: not pulls.is_running)
    assert len(library.builds()) == 1


def test_what_goes_wrong_is_told(bench: Bench, pulls: Background) -> None:
    pulls.start("owner/missing")
    until(lambda: not pulls.is_running)
    assert "refused access" in pulls.news()
    with pytest.raises(UsageError):
        pulls.start("nothing of that name")


def test_nothing_can_be_steered_where_nothing_runs(pulls: Background) -> None:
    for steer in (pulls.pause, pulls.resume, pulls.stop):
        with pytest.raises(UsageError, match="nothing is being fetched"):
            steer()
    pulls.close()
