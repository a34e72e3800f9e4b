"""Which build makes vectors."""

from dataclasses import replace
from pathlib import Path

import pytest

from nanolocal.chat.routes import Build, Kind
from nanolocal.errors import NoBuildFits, UsageError
from nanolocal.routing.embedding import choose
from nanolocal.routing.router import Rules, TaskRouter
from nanolocal.routing.surroundings import Surroundings

GIB = 2**30
SMALL = Build("small:Q8_0", "Small", Kind.EMBEDDING, Path("s"), "Q8_0", GIB // 10, "a", parameters=10**8)
LARGE = Build("large:Q8_0", "Large", Kind.EMBEDDING, Path("l"), "Q8_0", 2 * GIB, "b", parameters=2 * 10**9)
WRITER = Build("writer:Q4", "Writer", Kind.TEXT, Path("w"), "Q4", GIB, "c", parameters=10**9)
TINY = Build("tiny:Q8_0", "Tiny", Kind.TEXT, Path("t"), "Q8_0", 10**6, "d", tiny=True)
PAINTER = Build("painter:f16", "Painter", Kind.IMAGE, Path("p"), "f16", GIB, "e")
ALL = (SMALL, LARGE, WRITER, TINY, PAINTER)


def test_the_best_that_fits_is_taken() -> None:
    assert choose(ALL, 8 * GIB, None) is LARGE
    assert choose(ALL, GIB, None) is SMALL
    better = replace(SMALL, strengths={"*": 0.2})
    assert choose((better, LARGE), 8 * GIB, None) is better
    assert choose((SMALL, replace(LARGE, set_aside="it failed")), 8 * GIB, None) is SMALL


def test_without_one_made_for_it_a_writer_is_taken() -> None:
    assert choose((WRITER, TINY, PAINTER), 8 * GIB, None) is WRITER
    assert choose((WRITER, TINY, PAINTER), GIB // 2, None) is TINY
    with pytest.raises(NoBuildFits, match="makes vectors"):
        choose((PAINTER,), 8 * GIB, None)


def test_a_named_build_is_taken_or_refused() -> None:
    assert choose(ALL, 0, "small") is SMALL
    with pytest.raises(UsageError, match="draws"):
        choose(ALL, 0, "painter")
    with pytest.raises(UsageError, match="'nobody'"):
        choose(ALL, 0, "nobody")
    with pytest.raises(NoBuildFits, match="needs a newer llama"):
        choose((replace(SMALL, needs="a newer llama.cpp"),), 0, "small")


def test_what_the_settings_deny_is_taken_by_name_alone() -> None:
    router = TaskRouter(lambda: ALL, lambda: Surroundings(8 * GIB), Rules(deny=("large*",)))
    assert router.embeds(None) is SMALL
    assert router.embeds("large") is LARGE
