import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.server import Hub
from tests.unit.library.pull.pulling import CONTENT_BYTES, Pulling


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub().running() as running:
        yield running


@pytest.fixture
def pulling(hub: Hub, tmp_path: Path) -> Pulling:
    """A hub with one large file, and a folder for it."""
    return Pulling(hub, tmp_path / "models", hub.repo().add("m.gguf", random.Random(20).randbytes(CONTENT_BYTES)))
