"""The hub of a test as another machine that speaks plain http: its own server is the proxy on the way there."""

import pytest

from tests.hub.server import Hub

MIRROR = "http://mirror.example"


def be_a_mirror(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``hub`` answer at ``MIRROR``, and its other hosts on loopback as before."""
    monkeypatch.setenv("http_proxy", hub.endpoint)
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    hub.addresses["hub"] = MIRROR
