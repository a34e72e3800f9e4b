"""Tiny builds, written once a session."""

import pytest

from nanolocal.chat.routes import Build, Kind
from tests.fakes.tiny_gguf import write_tiny_gguf
from tests.fakes.tiny_pipeline import write_tiny_pipeline
from tests.unit.engines.helpers import ANSWER, build_of


@pytest.fixture(scope="session")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Writes letters until it is stopped or the context is full."""
    return build_of(write_tiny_gguf(tmp_path_factory.mktemp("builds") / "endless.gguf", layers=2))


@pytest.fixture(scope="session")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Always answers ``ANSWER``."""
    return build_of(write_tiny_gguf(tmp_path_factory.mktemp("builds") / "answering.gguf", answer=ANSWER))


@pytest.fixture(scope="session")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Draws 64x64 noise."""
    return build_of(write_tiny_pipeline(tmp_path_factory.mktemp("builds") / "painter"), Kind.IMAGE)
