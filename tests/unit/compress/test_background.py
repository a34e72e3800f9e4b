"""The lab beside the conversation: a build that is quantized already is taken only by those who agreed to it."""

import time
from pathlib import Path

from nanolocal.compress import workspace
from nanolocal.compress.background import Background
from nanolocal.compress.lab import Lab
from nanolocal.compress.plan import Device
from nanolocal.library.library import Library
from nanolocal.paths import starter_models

DEVICE = Device(memory=8 * 10**9, disk=50 * 10**9, bandwidth=20e9, cores=2)
STARTER = "nanolocal-starter-text:Q8_0"


def ended(background: Background) -> str:
    while background.is_running:
        time.sleep(0.05)
    return background.news()


def test_a_quantized_build_needs_an_agreement(tmp_path: Path) -> None:
    models = tmp_path / "models"
    library = Library([starter_models()], tmp_path / "index.json")
    background = Background(lambda: Lab(models, library, DEVICE), lambda: (), library.builds)
    assert "quantized already" in background.outlook(STARTER).warning
    background.start(STARTER)
    assert "already quantized" in ended(background)
    assert not models.exists()
    background.start(STARTER, agreed=True)
    while background.is_running and not workspace.unfinished(models):
        time.sleep(0.05)
    assert workspace.unfinished(models)
    background.close()
    assert background.news().startswith("Stopped")
