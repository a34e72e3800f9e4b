"""Compares the lab's figures with those of llama.cpp's own tools, which are built from the source of the same release.

    scripts/check_divergence.py [--model FILE] [--tools FOLDER] [--work FOLDER]

FOLDER of --tools holds llama-perplexity and llama-imatrix; without it they are fetched by pip and built into --work at
the lowest priority, which takes a compiler, cmake and a quarter of an hour. Compared are the file of the original's
probabilities, perplexity, KL divergence with its quantiles, and the importance matrix. Exit 1 where they disagree.
"""

import argparse
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from nanolocal.compress.measuring.calibration import built_in
from nanolocal.compress.measuring.imatrix import as_llama_imatrix, read_imatrix
from nanolocal.compress.measuring.logits import BaseFile
from nanolocal.compress.native.quantizer import tensors_of
from nanolocal.compress.weights.encodings import is_encodable
from nanolocal.compress.work.tasks import (
    Base,
    BaseDone,
    Capture,
    Chunks,
    Divergence,
    DryRun,
    Measure,
    Plan,
    Quantize,
    Source,
    Tokenize,
    perform,
)
from nanolocal.engines.launch import usable_cores

ROOT = Path(__file__).resolve().parent.parent
STARTER = ROOT / "models/nanolocal-starter-text/nanolocal-starter-text-Q8_0.gguf"
TOOLS = ("llama-perplexity", "llama-imatrix")
N_CTX, CHUNKS = 256, 24
MOST_RUNS = 30
OFF = (
    "LLAMA_BUILD_TESTS",
    "LLAMA_BUILD_EXAMPLES",
    "LLAMA_BUILD_SERVER",
    "LLAMA_CURL",
    "LLAMA_OPENSSL",
    "BUILD_SHARED_LIBS",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, by llama.cpp's tool and by the lab, and how far apart they may be."""

    name: str
    theirs: float
    ours: float
    allowed: float

    @property
    def agrees(self) -> bool:
        """Whether they are close enough."""
        return abs(self.theirs - self.ours) <= self.allowed


def build_tools(work: Path) -> Path:
    """Fetch the source of the installed release and build the tools; returns their folder."""
    release = version("llama-cpp-python")
    source = work / f"llama_cpp_python-{release}" / "vendor" / "llama.cpp"
    if not source.is_dir():
        fetch = (sys.executable, "-m", "pip", "download", f"llama-cpp-python=={release}", "--no-deps")
        subprocess.run((*fetch, "--no-binary", ":all:", "--dest", str(work)), check=True)
        with tarfile.open(work / f"llama_cpp_python-{release}.tar.gz") as archive:
            archive.extractall(work, filter="data")
    built = work / "build"
    switches = [f"-D{name}=OFF" for name in OFF]
    configure = ["cmake", "-S", str(source), "-B", str(built), "-DCMAKE_BUILD_TYPE=Release", *switches]
    make = ["cmake", "--build", str(built), "--target", *TOOLS, f"-j{max(1, usable_cores() // 2)}"]
    for command in (configure, make):
        subprocess.run(["nice", "-n", "19", *command], check=True)
    return built / "bin"


def tool(folder: Path, name: str, *arguments: str, last: str = "") -> str:
    """Run a tool on one core, without flash attention, as the lab computes on processors; returns what it prints.

    It prints from a thread that it does not wait for at its end: it is run again until ``last`` is there.
    """
    command = (str(folder / name), *arguments, "-c", str(N_CTX), "-b", str(N_CTX), "-t", "1", "-fa", "off", "-ngl", "0")
    for _ in range(MOST_RUNS):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
        if last in done.stdout + done.stderr:
            return done.stdout + done.stderr
    raise SystemExit(f"{name} does not print {last!r}:\n{done.stdout[-2000:]}")


def figure(text: str, name: str) -> float:
    """The number behind ``name`` in what a tool printed."""
    found = re.search(rf"{re.escape(name)}\s*[:=]\s*([-\d.]+)", text)
    if not found:
        raise SystemExit(f"the tool prints no {name!r}:\n{text[-2000:]}")
    return float(found[1])


def say(done: float) -> None:
    """Progress is not shown."""


def prepare(model: Path, work: Path) -> tuple[Source, Path, Chunks]:
    """A build of 16-bit floats, a text file and its chunks."""
    names = [name for name, tensor in tensors_of(model).items() if is_encodable(name, tensor.shape)]
    wide = Source(str(work / "f16.gguf"))
    perform(Quantize(Source(str(model)), wide.path, dict.fromkeys(names, "F16")), say)
    text = work / "text.txt"
    text.write_text(built_in().held_out_text(), encoding="utf-8", newline="")
    chunks = perform(Tokenize(wide, built_in().held_out_text(), N_CTX, CHUNKS), say)
    assert isinstance(chunks, Chunks)
    return wide, text, chunks


def compare_base(tools: Path, wide: Source, text: Path, chunks: Chunks, work: Path) -> Iterator[Row]:
    """The original's probabilities and perplexity."""
    ours, theirs = work / "ours.base", work / "theirs.base"
    done = perform(Base(wide, chunks, str(ours)), say)
    assert isinstance(done, BaseDone)
    common = ("-m", wide.path, "-f", str(text), "--chunks", str(len(chunks.tokens)))
    said = tool(tools, "llama-perplexity", *common, "--kl-divergence-base", str(theirs), last="Final estimate")
    one, other = BaseFile.open(ours), BaseFile.open(theirs)
    yield Row("size of the base file", theirs.stat().st_size, ours.stat().st_size, 0)
    # Theirs keeps what stood where the first token now is.
    same = all(mine[1:] == its[1:] for mine, its in zip(one.chunks.tokens, other.chunks.tokens, strict=True))
    yield Row("tokens are the same", 1, float(same), 0)
    apart = max(
        float(np.abs(one.log_probabilities(n) - other.log_probabilities(n)).max()) for n in range(len(chunks.tokens))
    )
    yield Row("largest difference of a log p", 0, apart, 1e-3)
    yield Row("perplexity of the original", figure(said, "Final estimate: PPL"), float(np.exp(done.nll)), 0.01)


def compare_divergence(tools: Path, wide: Source, chunks: Chunks, work: Path, recipe: str) -> Iterator[Row]:
    """A build that is smaller, measured with the file that the lab wrote."""
    small = work / f"{recipe}.gguf"
    plan = perform(DryRun(wide, recipe), say)
    assert isinstance(plan, Plan)
    perform(Quantize(wide, str(small), plan.types, str(work / "ours.npz")), say)
    measured = perform(Measure(str(small), str(work / "ours.base"), chunks, str(work / "m.npy")), say)
    assert isinstance(measured, Divergence)
    base = ("--kl-divergence-base", str(work / "ours.base"), "--kl-divergence")
    said = tool(tools, "llama-perplexity", "-m", str(small), *base, last="Same top p:")
    for name, ours, unit, allowed in (
        ("Mean    KLD", measured.mean, 1, 2e-6),
        ("99.0%   KLD", measured.p99, 1, 2e-5),
        ("99.9%   KLD", measured.p999, 1, 2e-5),
        ("Mean PPL(Q)", measured.ppl, 1, 1e-2),
        ("Mean PPL(base)", measured.ppl_base, 1, 1e-2),
        ("Mean PPL(Q)/PPL(base)", measured.ppl_ratio, 1, 1e-5),
        ("RMS Δp", measured.rms_dp, 100, 2e-3),
        ("Same top p", measured.top1, 100, 0.1),
    ):
        yield Row(f"{recipe}: {name}", figure(said, name), unit * ours, allowed)


def compare_imatrix(tools: Path, wide: Source, text: Path, chunks: Chunks, work: Path) -> Iterator[Row]:
    """The importance matrix."""
    perform(Capture(wide, chunks, str(work / "ours.npz")), say)
    common = ("-m", wide.path, "-f", str(text), "--chunks", str(len(chunks.tokens)), "--no-ppl")
    tool(tools, "llama-imatrix", *common, "-o", str(work / "theirs.gguf"))
    ours, theirs = as_llama_imatrix(read_imatrix(work / "ours.npz")), read_imatrix(work / "theirs.gguf")
    yield Row("tensors of the importance matrix", len(theirs), len(ours), 0)
    yield Row("their names are the same", 1, float(ours.keys() == theirs.keys()), 0)
    counts = all((ours[name].counts == theirs[name].counts).all() for name in theirs)
    yield Row("their counts are the same", 1, float(counts), 0)
    apart = max(float(np.abs(ours[n].in_sum2 / np.maximum(theirs[n].in_sum2, 1e-20) - 1).max()) for n in theirs)
    yield Row("largest relative difference of a sum", 0, apart, 1e-3)


def show(rows: Sequence[Row]) -> int:
    """Print the table; 1 where a row disagrees."""
    width = max(len(row.name) for row in rows)
    sys.stdout.write(f"{'':{width}}  {'llama.cpp':>14}  {'the lab':>14}\n")
    for row in rows:
        verdict = "" if row.agrees else "  differs"
        sys.stdout.write(f"{row.name:{width}}  {row.theirs:14.6f}  {row.ours:14.6f}{verdict}\n")
    return 0 if all(row.agrees for row in rows) else 1


def main() -> int:
    """Build what is missing, compare, and show."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=STARTER)
    parser.add_argument("--tools", type=Path)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work: Path = given.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        tools = given.tools or build_tools(work)
        wide, text, chunks = prepare(given.model, work)
        rows = [*compare_base(tools, wide, text, chunks, work), *compare_imatrix(tools, wide, text, chunks, work)]
        for recipe in ("Q8_0", "Q4_K_M", "Q2_K"):
            rows += compare_divergence(tools, wide, chunks, work, recipe)
    return show(rows)


if __name__ == "__main__":
    sys.exit(main())
