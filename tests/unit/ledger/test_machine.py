"""A short run of the state machine; ``scripts/stress_ledger.py machine`` makes a long one."""

from pathlib import Path

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.unit.ledger.crasher import crasher
from tests.unit.ledger.machine import LedgerMachine
from tests.unit.ledger.playing import Template


def test_the_fourteen_invariants_hold_in_any_order_of_what_can_happen(tmp_path: Path) -> None:
    with crasher() as ours:
        LedgerMachine.template, LedgerMachine.crasher = Template(tmp_path), ours
        run_state_machine_as_test(LedgerMachine, settings=settings(max_examples=25, stateful_step_count=20))
