"""Builds measured and examined as a user does it, with the starter build that ships."""

import json

import pytest

from nanolocal import bootstrap
from nanolocal.chat.routes import Tally
from nanolocal.paths import Paths
from tests.e2e.conftest import Program

pytestmark = pytest.mark.slow

TEXT = "nanolocal-starter-text:Q8_0"


def test_a_measured_speed_is_kept_and_nothing_is_charged_or_stored(program: Program) -> None:
    result = program("models", "bench", TEXT, "--json")
    assert result.returncode == 0
    found = json.loads(result.stdout)["builds"][0]
    assert found["build"] == TEXT
    assert min(found[key] for key in ("load_s", "prompt_tok_s", "decode_tok_s", "memory_bytes")) > 0
    session = bootstrap.open_session(Paths.choose(program.home), None)
    try:
        speed = session.experience.speeds()[session.library.get(TEXT).sha256]
        assert speed.write_tok_s == pytest.approx(found["decode_tok_s"], rel=0.01)
        assert session.store.chats(1) == []
        assert session.vault.database.execute("SELECT 1 FROM entry WHERE kind IN ('hold', 'settle')") == []
    finally:
        session.vault.close()


def test_an_exam_moves_what_the_router_expects(program: Program) -> None:
    result = program("models", "bench", "nanolocal-starter-text", "--quality", "--task", "math/logic", "--items", "3")
    assert result.returncode == 0
    assert "math/logic" in result.stdout
    assert "EXPECTED BEFORE" in result.stdout
    session = bootstrap.open_session(Paths.choose(program.home), None)
    try:
        tally = session.experience.tallies()[session.library.get(TEXT).sha256, "math/logic"]
        assert tally == Tally(tally.wins, 3.0)
    finally:
        session.vault.close()
