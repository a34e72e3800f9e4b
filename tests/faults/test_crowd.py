"""A few processes on one wallet, killed meanwhile; ``scripts/stress_ledger.py processes`` lets many work for long."""

import random
from pathlib import Path

from tests.fakes.homes import open_vault
from tests.faults.crowd import Crowd, faults


def test_three_processes_that_are_killed_meanwhile_leave_nothing_wrong(tmp_path: Path) -> None:
    open_vault(tmp_path / "home", None).close()
    crowd, left = Crowd(tmp_path / "home", 3, 40, random.Random(20)), [20, 50, 80]
    heard = crowd.run(lambda done: bool(left) and done >= left[0] and bool(left.pop(0)))
    assert (heard.kills, left) == (3, [])
    assert len(heard.outcomes) == 3 * 40
    assert faults(tmp_path / "home", heard) == []
    assert {"settled", "voided", "granted"} <= heard.tally().keys()
