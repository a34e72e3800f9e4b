"""Train the text starter build from scratch and write it under models/: tokenizer, data, train, export, card."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starter_text.export import Trained

ROOT = Path(__file__).resolve().parent.parent


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared/data/text", help="folder of NAME.jsonl.xz files"
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "models/nanolocal-starter-text", help="where the build is written"
    )
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build/starter-text", help="checkpoints, tokens and the loss curve"
    )
    parser.add_argument("--minutes", type=float, default=65.0, help="time budget of the training loop")
    parser.add_argument("--tokens", type=int, default=0, help="token budget; takes the place of --minutes")
    parser.add_argument(
        "--size", choices=("small", "full"), default="small", help="small: CPU; full: 26 M parameters, one GPU"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--optimizer", choices=("muon", "adamw"), default="muon")
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="all stages on a tiny budget, written under build/")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --work")
    parser.add_argument("--export-only", action="store_true", help="write the build from the last checkpoint")
    parser.add_argument(
        "--from", type=Path, dest="start", metavar="GGUF", help="train a build further, on the mix for that"
    )
    parser.add_argument("--rate", type=float, default=0.0, metavar="R", help="times the usual rate; 1, with --from 0.5")
    parser.add_argument("--compress", default="", metavar="SIZE", help="a second build by the lab too, such as 3.34MB")
    parser.add_argument(
        "--pack", type=Path, metavar="DIR", help="only copy what a full run reads from --data: under 64 MiB, to travel"
    )
    parser.add_argument("--note", default="", help="what the model card shall say about this run")
    chosen = parser.parse_args(words)
    chosen.rate = chosen.rate or (0.5 if chosen.start else 1.0)
    if chosen.smoke and chosen.work == parser.get_default("work"):
        chosen.work = ROOT / "build/starter-text-smoke"
    if chosen.smoke and chosen.out == parser.get_default("out"):
        chosen.out = chosen.work / "out"
    if chosen.pack:
        return chosen
    has_checkpoint = (chosen.work / "checkpoint.pt").exists()
    if chosen.export_only and not has_checkpoint:
        parser.error(f"{chosen.work} holds no checkpoint to export")
    if has_checkpoint and not (chosen.resume or chosen.export_only or chosen.smoke):
        parser.error(f"{chosen.work} holds a checkpoint: go on with --resume, or give another --work")
    return chosen


def prepare(chosen: argparse.Namespace, size: str) -> None:
    """Write tokenizer.json and corpora.pkl into the work directory."""
    from starter_text.data import encode, train_tokenizer
    from starter_text.export import tokenizer_of
    from starter_text.model import SHAPES
    from starter_text.sources import PHASES, Phase, collect

    vocabulary, scale = SHAPES[size].vocabulary, {"smoke": 0.01, "small": 1.0, "full": 3.0}[size]
    phases: tuple[Phase, ...] = ("further",) if chosen.start else PHASES[size]
    documents = collect(chosen.data, chosen.seed, scale, phases)
    tokenizer = tokenizer_of(chosen.start) if chosen.start else train_tokenizer(documents, vocabulary)
    tokenizer.save(str(chosen.work / "tokenizer.json"))
    start = hashlib.sha256(chosen.start.read_bytes()).hexdigest() if chosen.start else ""
    if chosen.start and (card := chosen.start.with_name("card.json")).exists():
        shutil.copyfile(card, chosen.work / "before.json")
    (chosen.work / "run.json").write_text(json.dumps({"from": start}) + "\n", encoding="utf-8")
    corpora = {name: encode(tokenizer, group, chosen.seed) for name, group in documents.items()}
    for name, corpus in corpora.items():
        print(f"{name:14} {len(corpus.borders) - 1:7,} documents {len(corpus.tokens):10,} tokens", flush=True)
    with (chosen.work / "corpora.pkl").open("wb") as file:
        pickle.dump(corpora, file)


def train(chosen: argparse.Namespace, size: str) -> bool:
    """Run the training loop; False when it was stopped before its end."""
    import torch
    from starter_text.export import weights_of
    from starter_text.model import SHAPES, Llama
    from starter_text.train import Plan, Trainer

    torch.set_num_threads(chosen.threads)
    torch.manual_seed(chosen.seed)
    device = chosen.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    rows, micro = {"small": (8, 8), "smoke": (4, 4), "full": (512, 128) if device == "cuda" else (8, 4)}[size]
    tokens = 40_000 if chosen.smoke else chosen.tokens
    plan = Plan(
        chosen.minutes, tokens, rows, micro, 512, device, chosen.optimizer, chosen.seed, chosen.compile,
        is_further=chosen.start is not None, is_full=size == "full", peak=chosen.rate,
    )  # fmt: skip
    with (chosen.work / "corpora.pkl").open("rb") as file:
        corpora = pickle.load(file)  # noqa: S301 - written by this script
    model = Llama(SHAPES[size])
    if chosen.start:
        model.load_state_dict(weights_of(chosen.start))
    print(
        f"{sum(weight.numel() for weight in model.parameters()):,} parameters on {device}, process {os.getpid()}",
        flush=True,
    )
    trainer = Trainer(model, corpora, plan, chosen.work)
    if chosen.resume and (chosen.work / "checkpoint.pt").exists():
        trainer.resume()
    else:
        (chosen.work / "curve.csv").unlink(missing_ok=True)
    return trainer.run()


def held_out_loss(trained: Trained, seed: int) -> float:
    """Mean loss per token on newly generated stories and chats."""
    import numpy as np
    import torch
    from starter_text.data import encode, fill_rows
    from starter_text.sources import generated
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(trained.tokenizer))
    fresh = {name: encode(tokenizer, group, seed) for name, group in generated(seed + 1000, 200).items()}
    inputs, targets = fill_rows(fresh, "first", 24, 512, np.random.default_rng(seed))
    with torch.no_grad():
        return float(trained.model().loss(torch.from_numpy(inputs), torch.from_numpy(targets)))


def right_before(work: Path) -> dict[str, int]:
    """The right answers to the checks in the card of the build before this one, if it lies in the work directory."""
    card = work / "before.json"
    if not card.exists():
        return {}
    checks = json.loads(card.read_text(encoding="utf-8"))["checks"]
    return {name: counted["right"] for name, counted in checks.items()}


def export(chosen: argparse.Namespace, size: str) -> None:
    """Write the GGUF file, card.json and README.md from the last checkpoint."""
    import torch
    from starter_text import smaller
    from starter_text.card import ID, NAME, Told, write_card, write_readme
    from starter_text.checks import Reader, run_checks
    from starter_text.curve import write_curve
    from starter_text.export import QUANTIZATIONS, load, quantize, write_gguf
    from starter_text.figures import Figures
    from starter_text.model import SHAPES

    torch.set_num_threads(chosen.threads)
    trained = load(chosen.work, SHAPES[size])
    half = chosen.work / f"{ID}-F16.gguf"
    build = chosen.out / f"{ID}-{QUANTIZATIONS[size]}.gguf"
    write_gguf(trained, NAME, half)
    quantize(half, build, QUANTIZATIONS[size])
    print(f"wrote {build} ({build.stat().st_size:,} bytes)", flush=True)
    with (chosen.work / "corpora.pkl").open("rb") as file:
        used = list(pickle.load(file))  # noqa: S301 - written by this script
    reader = Reader(build)
    checks = [] if chosen.smoke else run_checks(reader)
    for check in checks:
        print(f"{check.name}: {check.right} of {check.asked}", flush=True)
    figures = Figures.read(chosen.work / "figures.json")
    start = json.loads((chosen.work / "run.json").read_text(encoding="utf-8"))["from"]
    write_card(trained, used, checks, build, figures)
    if chosen.compress:
        print(f"wrote {smaller.compress(half, chosen.out, chosen.compress)}", flush=True)
    if not chosen.smoke:
        note = chosen.work / "note.txt"
        said = note.read_text(encoding="utf-8").strip() if note.exists() else ""
        told = Told(held_out_loss(trained, chosen.seed), said, start, figures, right_before(chosen.work))
        write_readme(trained, used, reader, checks, told)
        smaller.write_readme(chosen.out, NAME)
    write_curve(chosen.work / "curve.csv", chosen.out / "curve.svg")


def main() -> int:
    """Run the stages; 0 when the build was written, 130 when the training was stopped."""
    sys.path.insert(0, str(ROOT))
    chosen = arguments()
    size = "smoke" if chosen.smoke else chosen.size
    if chosen.pack:
        from starter_text.sources import pack

        print(f"packed {pack(chosen.data, chosen.pack) / 2**20:.1f} MiB into {chosen.pack}")
        return 0
    chosen.work.mkdir(parents=True, exist_ok=True)
    if chosen.note:
        (chosen.work / "note.txt").write_text(chosen.note, encoding="utf-8")
    if not chosen.export_only:
        if not (chosen.resume and (chosen.work / "corpora.pkl").exists()):
            prepare(chosen, size)
        if not train(chosen, size):
            print("stopped; go on with --resume", file=sys.stderr)
            return 130
    export(chosen, size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
