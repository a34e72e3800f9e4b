"""A hub with encryption leads to an address without."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanolocal.errors import TransferFailed, UsageError
from tests.hub.certificate import write_certificate
from tests.hub.faults import Fault, Kind, Once
from tests.hub.server import Hub
from tests.unit.library.pull.pulling import TOKEN, Pulling


@pytest.fixture
def safe_pulling(tmp_path: Path, certificate: Path) -> Iterator[Pulling]:
    with Hub(certificate=certificate, accounts={TOKEN: set()}).running() as hub:
        yield Pulling(hub, tmp_path / "models", hub.repo().add("m.gguf", b"weights" * 1000), TOKEN)


def test_a_hub_with_encryption_is_read(safe_pulling: Pulling) -> None:
    assert safe_pulling.hub.endpoint.startswith("https://")
    safe_pulling.run()
    assert safe_pulling.is_right()


def test_a_redirect_to_an_address_without_encryption_is_refused(safe_pulling: Pulling) -> None:
    safe_pulling.hub.plan = Once(Fault(Kind.DOWNGRADE))
    with pytest.raises(UsageError, match="without encryption"):
        safe_pulling.run()
    assert not [asked for asked in safe_pulling.hub.asked if asked.host == "elsewhere"]


def test_a_hub_that_nobody_vouches_for_is_not_read(
    safe_pulling: Pulling, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_certificate(tmp_path / "other.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.pem"))

    async def ask() -> object:
        async with safe_pulling.links() as links:
            return await links.json("api/models/owner/model/revision/main")

    with pytest.raises(TransferFailed, match="certificate"):
        asyncio.run(ask())
    assert safe_pulling.hub.asked == []
