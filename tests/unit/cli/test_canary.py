"""The canary run sees a feature that leaks, names it, and leaves nothing of itself, however it ends."""

import base64
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from nanolocal.checks import Check, State
from nanolocal.cli import canary
from nanolocal.cli.canary import Trial
from nanolocal.cli.lookout import Place
from nanolocal.errors import EngineFailed
from nanolocal.paths import Paths


def tried(tmp_path: Path, *features: Callable[[Trial], None], places: tuple[Place, ...] = ()) -> dict[str, Check]:
    named = [(feature.__name__, feature) for feature in features]
    paths = Paths.choose(tmp_path / "home")
    try:
        checks = canary.run(paths, (), lambda _: None, named, places)
    finally:
        assert not list(tmp_path.rglob(canary.SCRATCH))
    return {check.id: check for check in checks}


def leak_at_home(trial: Trial) -> None:
    (trial.home / "cache.bin").write_bytes(b"??" + base64.b64encode(f"a {trial.word('prompt')}".encode()))


def test_what_leaks_into_the_home_is_named_with_its_place(tmp_path: Path) -> None:
    check = tried(tmp_path, leak_at_home)["trace_home"]
    assert check.state is State.WRONG
    assert check.says.startswith("the prompt can be read in ")
    assert "cache.bin (base64" in check.says


def test_what_leaks_for_a_moment_is_seen_by_a_look_in_between(tmp_path: Path) -> None:
    def leak_and_tidy_up(trial: Trial) -> None:
        leak_at_home(trial)
        trial.look()
        (trial.home / "cache.bin").unlink()

    assert tried(tmp_path, leak_and_tidy_up)["trace_home"].state is State.WRONG


def test_what_leaks_elsewhere_is_found_and_pipes_and_links_are_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "deep").mkdir(parents=True)

    def leak_elsewhere(trial: Trial) -> None:
        (elsewhere / "deep" / f"{trial.word('title')}.txt").write_text("nothing")
        os.mkfifo(elsewhere / "pipe")
        (elsewhere / "link").symlink_to("/dev/zero")

    place = Place("trace_elsewhere", "another place", (elsewhere,))
    checks = tried(tmp_path, leak_elsewhere, places=(place,))
    assert checks["trace_home"].state is State.OK
    assert checks["trace_elsewhere"].state is State.WRONG
    assert "(file name)" in checks["trace_elsewhere"].says


def test_a_feature_that_leaks_nothing_is_fine_and_one_that_fails_is_said_not_to_be_tried(tmp_path: Path) -> None:
    def harmless(trial: Trial) -> None:
        (trial.home / "file").write_bytes(os.urandom(9000))
        trial.word("picture prompt")

    def broken(trial: Trial) -> None:
        trial.word("prompt")
        raise EngineFailed("no model fits")

    places = (Place("trace_temporary", "another place", (tmp_path / "none",)),)
    checks = tried(tmp_path, harmless, broken, places=places)
    assert checks["left_out"] == Check("left_out", State.SKIPPED, "broken was not tried: no model fits")
    assert checks["tried"].says == "1 made-up word went through the program, as picture prompt"
    others = ("search_for_traces", "trace_home", "trace_temporary", "tried")
    assert {checks[name].state for name in others} == {State.OK}


def test_a_search_that_is_blind_to_a_way_of_writing_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "written", lambda text: {"plain text": text.encode(), "backwards": text[::-1].encode()})
    check = tried(tmp_path)["search_for_traces"]
    assert (check.state, check.says) == (State.WRONG, "the search for traces does not see backwards")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    def interrupted(trial: Trial) -> None:
        leak_at_home(trial)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        tried(tmp_path, interrupted)
    assert signal.getsignal(number) is before


def test_the_remains_of_a_killed_run_are_removed_by_the_next(tmp_path: Path) -> None:
    scratch = Paths.choose(tmp_path / "home").data / canary.SCRATCH
    (scratch / "data").mkdir(parents=True)
    (scratch / "data" / "left").write_text("left")
    assert tried(tmp_path)["trace_home"].state is State.OK
