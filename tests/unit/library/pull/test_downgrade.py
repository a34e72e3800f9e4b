"""A hub with encryption leads to an address without."""

import asyncio
import datetime
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nanolocal.errors import TransferFailed
from tests.hub.faults import Fault, Kind, Once
from tests.hub.server import Hub
from tests.unit.library.pull.pulling import TOKEN, Pulling


def write_certificate(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    hosts = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(hosts, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + certificate.public_bytes(pem))


@pytest.fixture
def safe_pulling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pulling]:
    certificate = tmp_path / "hub.pem"
    write_certificate(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Hub(certificate=certificate, accounts={TOKEN: set()}).running() as hub:
        yield Pulling(hub, tmp_path / "models", hub.repo().add("m.gguf", b"weights" * 1000), TOKEN)


def test_a_hub_with_encryption_is_read(safe_pulling: Pulling) -> None:
    assert safe_pulling.hub.endpoint.startswith("https://")
    safe_pulling.run()
    assert safe_pulling.is_right()


def test_a_redirect_to_an_address_without_encryption_is_refused(safe_pulling: Pulling) -> None:
    safe_pulling.hub.plan = Once(Fault(Kind.DOWNGRADE))
    with pytest.raises(TransferFailed, match="without encryption"):
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
