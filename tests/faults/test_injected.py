"""The system kills the process, or reports a full or failing disk, at a chosen system call (strace)."""

from pathlib import Path

import pytest

from tests.faults.machinery import POINTS, Fault, can_trace, injected, small_vault
from tests.faults.scenario import SCENARIOS, SHARED

pytestmark = pytest.mark.skipif(not can_trace(), reason="strace is not here, or may not trace")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_vault(tmp_path_factory.mktemp("whole") / "home")


@pytest.mark.parametrize("how", POINTS)
@pytest.mark.parametrize("what", SCENARIOS)
def test_disturbed_at_a_system_call_nothing_acknowledged_is_lost(
    whole: Path, tmp_path: Path, what: str, how: str
) -> None:
    """One point of each call; ``scripts/stress_vault.py calls`` goes through all of them."""
    struck = 0
    for number, call in enumerate(POINTS[how]):
        hit, wrong = injected(Fault(what, call, 1 + number % 3, how), whole, tmp_path)
        struck += hit
        assert wrong == []
    assert struck


@pytest.mark.parametrize("what", SHARED)
def test_nor_is_anything_of_another_process_that_writes_meanwhile(whole: Path, tmp_path: Path, what: str) -> None:
    calls = POINTS["signal=SIGKILL"]
    struck = 0
    for number, call in enumerate(calls):
        hit, wrong = injected(Fault(what, call, 1 + number % 3, "signal=SIGKILL"), whole, tmp_path, beside=True)
        struck += hit
        assert wrong == []
    assert struck
