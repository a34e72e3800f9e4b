"""How many threads compute, on a simulated machine whose tokens cost what real ones were measured to cost."""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nanolocal.engines.ggml import Context, Model, Part
from nanolocal.engines.pace import Pace, Usage, look_at_machine
from tests.fakes.tiny_gguf import write_tiny_gguf

COSTS = {
    0.0: {1: 0.026, 2: 0.018},
    0.2: {1: 0.026, 2: 0.021},
    0.5: {1: 0.027, 2: 0.045},
    1.0: {1: 0.029, 2: 0.083},
}
"""Seconds a token by threads, on two cores of which other programs want so much."""


@dataclass(slots=True)
class Machine:
    """Two cores, an engine, and others that want ``wanted`` of a core."""

    wanted: float = 0.0
    costs: Mapping[float, Mapping[int, float]] = field(default_factory=lambda: COSTS)
    at: float = 100.0
    idle_s: float = 0.0
    own_s: float = 0.0
    used: list[int] = field(default_factory=list)

    def look(self) -> Usage:
        return Usage(self.at, self.idle_s, self.own_s)

    def rest(self, seconds: float, own: float = 0.0) -> None:
        """Time goes by while the engine uses so much of a core, or less when others want it."""
        others = self.wanted if own <= 1 else max(self.wanted / 2, self.wanted + own - 2)
        self.at += seconds
        self.own_s += seconds * min(own, 2 - others)
        self.idle_s += seconds * max(2 - others - own, 0)

    def step(self, pace: Pace, tokens: int = 1) -> float:
        threads = pace.before(self.at)
        seconds = self.costs[self.wanted][threads] * tokens
        self.rest(seconds, threads)
        pace.after(tokens, seconds)
        self.used.append(threads)
        return seconds

    def run(self, pace: Pace, seconds: float) -> float:
        """Write for so long; the tokens per second."""
        began, before = self.at, len(self.used)
        while self.at < began + seconds:
            self.step(pace)
        return (len(self.used) - before) / (self.at - began)

    def best(self) -> float:
        return 1 / min(self.costs[self.wanted].values())


def test_a_quiet_machine_computes_with_all_cores() -> None:
    machine = Machine()
    pace = Pace(2, machine.look)
    machine.rest(2.0, own=1)
    machine.run(pace, 60)
    assert set(machine.used) == {2}


def test_what_others_did_during_a_pause_does_not_slow_the_next_answer_down() -> None:
    machine = Machine()
    pace = Pace(2, machine.look)
    machine.run(pace, 2)
    machine.wanted = 1.0
    machine.rest(5.0)
    machine.wanted, machine.used = 0.0, []
    machine.run(pace, 2)
    assert set(machine.used) == {2}


def test_the_first_step_knows_that_the_machine_is_busy() -> None:
    machine = Machine(wanted=1.0)
    pace = Pace(2, machine.look)
    machine.rest(2.0, own=1)
    machine.run(pace, 60)
    assert set(machine.used) == {1}


def test_another_program_takes_a_core_and_gives_it_back() -> None:
    machine = Machine()
    pace = Pace(2, machine.look)
    machine.run(pace, 10)
    machine.wanted = 1.0
    assert machine.run(pace, 10) > 0.9 * machine.best()
    assert machine.used[-1] == 1
    machine.wanted = 0.0
    assert machine.run(pace, 10) > 0.95 * machine.best()
    assert machine.used[-1] == 2


@pytest.mark.parametrize("wanted", COSTS)
@pytest.mark.parametrize("before", COSTS)
def test_from_any_state_to_any_other(before: float, wanted: float) -> None:
    machine = Machine(wanted=before)
    pace = Pace(2, machine.look)
    machine.run(pace, 10)
    machine.wanted = wanted
    assert machine.run(pace, 30) > 0.95 * machine.best()


@pytest.mark.parametrize("better", [1, 2])
def test_where_the_free_cores_leave_a_doubt_the_faster_is_kept(better: int) -> None:
    machine = Machine(0.5, {0.5: {better: 0.02, 3 - better: 0.04}})
    pace = Pace(2, machine.look)
    assert machine.run(pace, 60) > 0.95 * machine.best()
    assert machine.used[-1] == better


def test_trials_that_change_nothing_become_rare() -> None:
    machine = Machine(0.5, {0.5: {1: 0.03, 2: 0.02}})
    pace = Pace(2, machine.look)
    machine.run(pace, 120)
    first = machine.used.count(1)
    machine.run(pace, 120)
    assert 0 < machine.used.count(1) - first < first < 0.03 * len(machine.used)


def test_reading_a_prompt_is_not_compared_with_writing() -> None:
    machine = Machine(0.5, {0.5: {1: 0.03, 2: 0.02}})
    pace = Pace(2, machine.look)
    machine.run(pace, 0.5)
    assert machine.used[-1] == 1
    machine.step(pace, tokens=256)
    machine.step(pace, tokens=256)
    assert machine.used[-1] == 2


def test_a_step_that_becomes_much_slower_is_reason_for_a_trial() -> None:
    machine = Machine(0.5, {0.5: {1: 0.03, 2: 0.02}})
    pace = Pace(2, machine.look)
    machine.run(pace, 120)
    machine.costs = {0.5: {1: 0.03, 2: 0.2}}
    assert machine.run(pace, 30) > 0.85 * machine.best()


def test_one_thread_has_no_choice() -> None:
    machine = Machine()
    pace = Pace(1, machine.look)
    machine.run(pace, 10)
    assert set(machine.used) == {1}


def test_the_real_machine_has_as_many_cores_free_as_are_idle_or_ours() -> None:
    before = look_at_machine()
    sum(range(3_000_000))
    after = look_at_machine()
    assert after.at > before.at and after.own_s > before.own_s and after.idle_s >= before.idle_s > 0


def test_a_context_computes_with_the_threads_it_is_told(tmp_path: Path) -> None:
    machine = Machine()
    pace = Pace(2, machine.look)
    model = Model(write_tiny_gguf(tmp_path / "tiny.gguf"), lambda _: None)
    context = Context(model, 256, pace, ctypes.create_string_buffer(2))
    lib = context._lib
    used = []
    for position, wanted in enumerate((0.0, 1.0, 1.0, 0.0)):
        machine.wanted = wanted
        machine.rest(1.0, own=1)
        assert context.decode([Part(0, [65], position, 1)])
        used.append((lib.llama_n_threads(context.pointer), lib.llama_n_threads_batch(context.pointer)))
    context.close()
    model.close()
    assert used == [(2, 2), (1, 1), (1, 1), (2, 2)]
