#!/usr/bin/env python3
"""What listing a large library costs, and what is fetched to know a large model before it is pulled.

    .venv/bin/python scripts/bench_library.py [--builds N] [--repeat N] [--adopted] [--json]

``models list`` runs over many small GGUF files in a scratch home, next to a bare Python. Every case runs in fresh
processes, the cases in turn; the figures are medians of processor time. ``first`` is the listing that reads every
header, the others find them remembered. ``models fit`` then asks a hub on loopback about a model of 70 billion
parameters; what was fetched of it is counted by the hub.
"""

import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.fakes.blank_gguf import Shape, write_blank_gguf  # noqa: E402
from tests.hub.server import Hub  # noqa: E402

TOKENS = 200
FOLDERS = 50
LARGE = Shape("llama", 8192, 80, 64, 8, 128, 28_672, 128_256)
"""As Llama 3 70B."""


def main(arguments: Sequence[str]) -> int:
    """Write the files, measure, print."""
    parser = argparse.ArgumentParser(description="What listing a large library costs, next to a bare Python.")
    parser.add_argument("--builds", type=int, default=1000, metavar="N", help="how many (default 1000)")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="starts of each case (default 5)")
    parser.add_argument("--adopted", action="store_true", help="adopt them, outside nanolocal's own folder")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        report = measure(Path(scratch), max(1, args.builds), max(1, args.repeat), args.adopted)
        report |= fetched_by_fit(Path(scratch))
    if args.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:24} {value:.3f}" if isinstance(value, float) else f"{name:24} {value:,}")
    return 0


def measure(scratch: Path, builds: int, repeat: int, adopted: bool) -> dict[str, float | int]:
    """Seconds of processor time of each case."""
    home = scratch / "home"
    folder = scratch / "elsewhere" if adopted else home / "data" / "models"
    for n in range(builds):
        path = folder / f"family-{n % FOLDERS}" / f"model-{n}-Q8_0.gguf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(small_gguf(n))
    nanolocal = [sys.executable, "-m", "nanolocal", "--home", str(home), "models"]
    first = cpu_s([*nanolocal, "scan", str(folder)] if adopted else [*nanolocal, "list"])
    samples: dict[str, list[float]] = {"bare": [], "help": [], "list": []}
    for _ in range(repeat):
        samples["bare"].append(cpu_s([sys.executable, "-c", "pass"]))
        samples["help"].append(cpu_s([*nanolocal[:-1], "--help"]))
        samples["list"].append(cpu_s([*nanolocal, "list"]))
    bare, shown, listed = (statistics.median(samples[case]) for case in ("bare", "help", "list"))
    return {
        "builds": builds,
        "python -c pass, s": bare,
        "nanolocal --help, s": shown,
        "first, s": first,
        "models list, s": listed,
        "beyond the start, s": listed - bare,
        "x python": listed / bare,
    }


def fetched_by_fit(scratch: Path) -> dict[str, float | int]:
    """Bytes that ``models fit`` fetches of a large model by its header; the file is a hole from there on."""
    name = "large-Q4_K_M.gguf"
    size = write_blank_gguf(scratch / "far" / name, LARGE, "Q4_K_M").stat().st_size
    command = [sys.executable, "-m", "nanolocal", "--home", str(scratch / "fit"), "models", "fit", "owner/model:Q4_K_M"]
    with Hub().running() as hub:
        hub.repo().add_large(name, scratch / "far" / name)
        env = os.environ | {"PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub.endpoint, "no_proxy": "127.0.0.1"}
        told = subprocess.run([*command, "--json"], capture_output=True, text=True, env=env, check=False).stdout
        (row,) = json.loads(told)["builds"]
        assert row["source"] == "probed", row
        served = hub.served(name)
    return {"model on a hub, bytes": size, "fetched by fit, bytes": served, "fetched by fit, %": 100 * served / size}


def cpu_s(command: Sequence[str]) -> float:
    """User and system seconds of a process; raises ``RuntimeError`` when it fails."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
    return usage.ru_utime + usage.ru_stime


def small_gguf(number: int) -> bytes:
    """A GGUF file with a vocabulary, one tensor, and the keys that a description needs."""
    vocabulary = b"".join(text(f"t{n}") for n in range(TOKENS))
    pairs = [
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        text("general.name") + struct.pack("<I", 8) + text(f"Model {number}"),
        *(
            text(f"llama.{key}") + struct.pack("<II", 4, value)
            for key, value in (
                ("context_length", 4096), ("embedding_length", 64), ("block_count", 2), ("attention.head_count", 4),
            )
        ),
        text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, TOKENS) + vocabulary,
    ]  # fmt: skip
    tensor = text("token_embd.weight") + struct.pack("<IQQIQ", 2, 64, 4, 0, 0)
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, len(pairs)) + b"".join(pairs) + tensor
    return header.ljust(-(-len(header) // 32) * 32, b"\0") + struct.pack("<256f", *[float(number)] * 256)


def text(value: str) -> bytes:
    """A string as GGUF writes it."""
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
