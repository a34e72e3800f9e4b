"""A trial run of a real build in a real child: what the measured price rests on."""

import asyncio
from datetime import date
from pathlib import Path

import pytest

from nanolocal.chat import trial
from nanolocal.chat.routes import Build
from nanolocal.chat.trial import Trial
from nanolocal.device.power import Meter
from nanolocal.engines.pool import EnginePool
from nanolocal.errors import NoBuildFits
from nanolocal.ledger import measured
from nanolocal.ledger.prices import Electricity
from nanolocal.routing.router import TaskRouter
from nanolocal.routing.surroundings import Surroundings


def tried(build: Build, meter: Meter, memory: int = 2**34) -> Trial:
    async def run() -> Trial:
        engines = EnginePool(2**34)
        try:
            return await trial.run(TaskRouter(lambda: (build,), lambda: Surroundings(memory)), engines, meter, build)
        finally:
            await engines.close()

    return asyncio.run(run())


def test_a_text_build_is_measured(endless: Build, tmp_path: Path) -> None:
    found = tried(endless, Meter.open(tmp_path))
    assert min(found.load_ns, found.prompt_ns, found.completion_ns) > 0
    assert (found.picture_ns, found.milliwatts) == (0, None)
    assert found.what.endswith(" prompt and 100 answer tokens")
    card = measured.card(endless, found, Electricity(), date(2026, 11, 27))
    assert card.source == "electricity, from measured speed"
    assert min(card.prompt, card.completion, card.load) > 0
    assert "30.000 W as set x 300000 micro-credits/kWh" in card.evidence


def test_a_picture_build_is_measured_with_a_meter(painter: Build, tmp_path: Path) -> None:
    energy = iter(range(0, 10**9, 10**7))
    zone = tmp_path / "class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0")
    (zone / "energy_uj").write_text("0")
    found = tried(painter, Meter.open(tmp_path, lambda: next(energy)))
    assert found.picture_ns > 0
    assert found.milliwatts is not None
    assert found.milliwatts > 0
    card = measured.card(painter, found, Electricity(), date(2026, 11, 27))
    assert (card.source, card.prompt, card.completion) == ("electricity, measured", 0, 0)
    assert card.pixel_steps > 0
    assert "NVML" in card.evidence


def test_a_build_that_does_not_fit_is_not_run(endless: Build, tmp_path: Path) -> None:
    with pytest.raises(NoBuildFits):
        tried(endless, Meter.open(tmp_path), memory=1)
