import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.certificate import write_certificate
from tests.hub.server import Hub
from tests.unit.library.pull.pulling import CONTENT_BYTES, Pulling


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hub") / "hub.pem"
    write_certificate(path)
    return path


@pytest.fixture(autouse=True)
def on_loopback_only(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> None:
    """No proxy, and one certificate: to read those of everybody takes 40 ms a time."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
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
