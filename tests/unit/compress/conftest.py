"""Small real models, and what the lab has measured of them, shared by the tests of a module."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from nanolocal.compress.measuring.calibration import built_in
from nanolocal.compress.work.tasks import Base, Capture, Chunks, Source, Tokenize, perform
from tests.fakes.lab_gguf import CONTEXT, write_lab_gguf


def say_nothing(done: float) -> None:
    """Takes progress."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A build, its text in chunks, the probabilities of the original and what was captured."""

    source: Source
    chunks: Chunks
    folder: Path

    @property
    def base(self) -> str:
        return str(self.folder / "base.bin")

    @property
    def statistics(self) -> str:
        return str(self.folder / "statistics.npz")


HESSIANS = ("blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.1.ffn_down.weight")


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A dense build of 32-bit floats."""
    folder = tmp_path_factory.mktemp("lab")
    source = Source(str(write_lab_gguf(folder / "dense.gguf")))
    chunks = perform(Tokenize(source, built_in().held_out_text()[:4000], CONTEXT, 8), say_nothing, 1)
    assert isinstance(chunks, Chunks)
    made = Bench(source, chunks, folder)
    perform(Base(source, chunks, made.base), say_nothing, 1)
    perform(Capture(source, chunks, made.statistics, HESSIANS), say_nothing, 1)
    return made
