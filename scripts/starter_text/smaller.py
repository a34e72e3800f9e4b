"""The second build: the same weights in mixed 4-bit types, made by nanolocal's own compression lab."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LABEL, TIME = "Q4_MIX", "30m"  # more than it takes (6 to 12 on two shared cores): the clock ends no search


def folder_of(out: Path) -> Path:
    """Where the second build of the one in `out` lies: beside it."""
    return out.with_name(f"{out.name}-{LABEL}")


def compress(half: Path, out: Path, size: str) -> Path:
    """Have the lab make a build of `size` ("3.34MB") of the float16 file, in a home of its own; returns its folder.

    Raises RuntimeError where the lab refuses.
    """
    card = json.loads((out / "card.json").read_text(encoding="utf-8"))
    target = folder_of(out)
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory() as home:
        models = Path(home) / "data" / "models"
        (models / "source").mkdir(parents=True)
        shutil.copyfile(half, models / "source" / half.name)
        source = json.dumps({**card, "quantization": "F16", "files": []})
        (models / "source" / "card.json").write_text(source, encoding="utf-8")
        command = ["compress", f"{card['id']}:F16", "--target", size, "--label", LABEL, "--time", TIME]
        made = subprocess.run(
            [sys.executable, "-m", "nanolocal", *command],
            env={**os.environ, "NANOLOCAL_HOME": home},
            check=False,
        )
        if made.returncode:
            raise RuntimeError(f"the compression lab ended with {made.returncode}")
        (found,) = models.glob(f"{card['id']}-*")
        label = found.name.removeprefix(f"{card['id']}-")  # another where the program has such a build of its own
        target.mkdir()
        for file in found.iterdir():
            shutil.copyfile(file, target / file.name.replace(label, LABEL))
    described = target / "card.json"
    described.write_text(described.read_text(encoding="utf-8").replace(label, LABEL), encoding="utf-8", newline="\n")
    return target


def told(out: Path) -> str:
    """What the card of the second build says of it, for people; empty where there is none."""
    path = folder_of(out) / "card.json"
    if not path.exists():
        return ""
    card = json.loads(path.read_text(encoding="utf-8"))
    report = card["compressed"]
    accuracy, stock = report["accuracy"], report["stock"]
    return (
        f"The same weights in {report['bits_per_weight']:.2f} bits each, made by `nanolocal compress`"
        f" ({report['kept']}): {card['files'][0]['bytes'] / 1e6:.2f} MB. Measured by the lab on"
        f" {accuracy['tokens']:,} held-out tokens against the float16 weights: KL divergence"
        f" {accuracy['mean']:.4f} ± {accuracy['error']:.5f} nats a token, perplexity x {accuracy['ppl_ratio']:.4f},"
        f" the same first choice at {accuracy['top1']:.1%}; llama.cpp's {stock['recipe']} of"
        f" {stock['bytes'] / 1e6:.2f} MB loses {stock['kld']:.4f}. The router expects"
        f" {report['retained']['share']:.1%} of the quality of it."
    )


def write_readme(out: Path, name: str) -> None:
    """README.md in the second build's folder, if there is one."""
    if text := told(out):
        first = f"{text}\n\nEverything else is in the card of the first build, `models/{out.name}/README.md`."
        readme = folder_of(out) / "README.md"
        readme.write_text(f"# {name}, smaller\n\n{first}\n", encoding="utf-8", newline="\n")
