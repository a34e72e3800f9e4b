"""Train the text-to-image starter pipeline from nothing, and write it as a diffusers directory.

`python scripts/train_starter_image.py --minutes 65 --threads 1`

Stage by stage, each from its last checkpoint when `--resume` is given: the autoencoder, the latents of every picture,
the text encoder (by guessing pictures from words), the UNet, and the decoder alone to its end. Ctrl+C saves and stops;
`--export-only` writes the directory again. `--from DIR` goes on from an exported pipeline: its encoder stays as it is,
the UNet and the text encoder learn on, then the decoder.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor
from starter_card import BASE, keep_base, write_card
from starter_loop import Run, Stage, train_stage
from starter_parts import PLANS, Parts, build_parts, build_scheduler, export, load_parts
from starter_scenes import Scene, caption, draw, sample_crowd, training_scene
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
SHARES = {"vae": 0.25, "text": 0.06, "unet": 0.6, "decoder": 0.09}
SHARES_FROM = {"vae": 0.0, "text": 0.0, "unet": 0.7, "decoder": 0.3}
TRAINED_LAYOUTS = (10, 36, 14, 22, 18)  # three times the rows that are asked for: they are hard
TEXT_BATCH = 64
VAE_BATCH = 8
DECODER_BATCH = 16
THING_WEIGHT = 5.0
EMPTY_CAPTIONS = 0.1
SNR_GAMMA = 5.0


def pictures(scenes: list[Scene], side: int) -> Tensor:
    """The scenes as floats from -1 to 1, shape (n, 3, side, side)."""
    pixels = np.stack([np.asarray(draw(scene, side)) for scene in scenes])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def stage_of(run: Run, name: str, rate: float) -> Stage:
    """A stage with its part of the run's time."""
    return Stage(name, run.minutes * 60 * (SHARES_FROM if run.goes_on else SHARES)[name], rate)


def crowded(rng: random.Random, scenes: list[Scene]) -> list[Scene]:
    """The scenes with every second one replaced by a crowd."""
    return [sample_crowd(rng) if k % 2 else scene for k, scene in enumerate(scenes)]


def drawing_error(drawn: Tensor, image: Tensor) -> Tensor:
    """How far a decoded picture is from the real one; what stands before the background counts several times."""
    ground = image.flatten(2).median(dim=2).values[:, :, None, None]
    weight = 1 + THING_WEIGHT * ((image - ground).abs().amax(dim=1, keepdim=True) > 0.05)
    error = (drawn - image) * weight / weight.mean()
    return error.abs().mean() + error.square().mean()


def train_vae(run: Run, parts: Parts) -> None:
    """The autoencoder; three of its four channels stay close to the mean colours, which a UNet learns easily."""
    vae = parts.vae.to(run.device, memory_format=torch.channels_last).train()

    def loss_of(step: int) -> tuple[Tensor, int]:
        rng = random.Random(f"vae {run.seed} {step}")
        image = pictures(crowded(rng, [training_scene(rng) for _ in range(VAE_BATCH)]), run.plan.side).to(run.device)
        with torch.autocast(run.device.type, torch.bfloat16):
            coded = vae.encode(image).latent_dist
            drawn = vae.decode(coded.sample()).sample.float()
        colours = torch.nn.functional.avg_pool2d(image, 4) - 0.3
        near = (coded.mean[:, :3].float() - colours).square().mean() + coded.mean[:, 3].float().square().mean()
        spread = (coded.logvar.float() + 5).square().mean()
        return drawing_error(drawn, image) + 0.02 * near + 0.001 * spread, VAE_BATCH

    train_stage(run, stage_of(run, "vae", 2 * run.plan.rate), [vae], loss_of)
    vae.eval()


@torch.no_grad()
def cache_latents(run: Run, parts: Parts) -> tuple[list[Scene], Tensor]:
    """Every training scene and its scaled latent in float16; sets the autoencoder's scaling factor."""
    rng = random.Random(f"latents {run.seed}")
    scenes = [training_scene(rng, TRAINED_LAYOUTS) for _ in range(run.plan.scenes)]
    path = run.work / "latents.pt"
    if path.exists():
        kept = torch.load(path, weights_only=True)
        latents, factor = kept["latents"], kept["factor"]
    else:
        coded = []
        for start in range(0, len(scenes), 64):
            image = pictures(scenes[start : start + 64], run.plan.side).to(
                run.device, memory_format=torch.channels_last
            )
            coded.append(parts.vae.encode(image).latent_dist.mean.to("cpu", torch.float16))
        latents = torch.cat(coded)
        factor = parts.vae.config.scaling_factor if run.goes_on else round(1 / latents.float().std().item(), 4)
        torch.save({"latents": latents, "factor": factor}, path)
    parts.vae.register_to_config(scaling_factor=factor)
    print(f"latents {tuple(latents.shape)} scaling factor {factor}", flush=True)
    return scenes, latents * factor


def train_text(run: Run, parts: Parts, scenes: list[Scene], latents: Tensor) -> None:
    """The text encoder: guess the mean latent from the words, so that the UNet meets states that mean something."""
    text = parts.text.to(run.device).train()
    size = latents[0].numel()
    head = torch.nn.Sequential(torch.nn.Linear(run.plan.text_width, 512), torch.nn.GELU(), torch.nn.Linear(512, size))
    head.to(run.device)
    text.set_attn_implementation("eager")  # the fused attention's backward pass is slow on a CPU

    def loss_of(step: int) -> tuple[Tensor, int]:
        rng = random.Random(f"text {run.seed} {step}")
        picks = [rng.randrange(len(scenes)) for _ in range(TEXT_BATCH)]
        ids = word_ids(parts, [caption(scenes[k], rng) for k in picks]).to(run.device)
        wanted = latents[picks].float().to(run.device)
        states = text(ids).last_hidden_state
        ends = (ids == parts.tokenizer.eos_token_id).unsqueeze(2)
        guessed = head((states * ends).sum(1) / ends.sum(1)).view(wanted.shape)
        return (thing_weight(wanted) * (guessed - wanted).square()).mean(), TEXT_BATCH

    train_stage(run, stage_of(run, "text", 1e-3), [text, head], loss_of)
    text.eval()


def thing_weight(latent: Tensor) -> Tensor:
    """More weight for what stands before the ground of latent pictures: shape (n, 1, height, width), of mean one."""
    ground = latent.flatten(2).median(dim=2).values[:, :, None, None]
    weight = 1 + THING_WEIGHT * ((latent - ground).abs().amax(dim=1, keepdim=True) > 0.3)
    return weight / weight.mean()


def word_ids(parts: Parts, texts: list[str]) -> Tensor:
    """The texts as token numbers, each filled up to the text encoder's length."""
    ids: Tensor = parts.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return ids


def train_unet(run: Run, parts: Parts, scenes: list[Scene], latents: Tensor) -> None:
    """The UNet and the text encoder: predict v at a random noise level, every caption worded anew each time."""
    unet = parts.unet.to(run.device, memory_format=torch.channels_last).train()
    text = parts.text.to(run.device).train()
    text.set_attn_implementation("eager")
    if run.device.type == "cpu":  # as in the text encoder: it would be 40 % of a step
        unet.set_attn_processor(AttnProcessor())
    alphas = build_scheduler().alphas_cumprod.to(run.device)
    batch = run.plan.batch

    def loss_of(step: int) -> tuple[Tensor, int]:
        rng = random.Random(f"unet {run.seed} {step}")
        dice = torch.Generator().manual_seed(rng.getrandbits(62))
        picks = torch.randint(len(scenes), (batch,), generator=dice)
        words = ["" if rng.random() < EMPTY_CAPTIONS else caption(scenes[k], rng) for k in picks.tolist()]
        ids = word_ids(parts, words).to(run.device)
        clean = latents[picks].float().to(run.device)
        noise = torch.randn(clean.shape, generator=dice).to(run.device)
        # One level from each of `batch` bands, most of them noisy: what a prompt decides is decided there.
        bands = (torch.arange(batch) + torch.rand(batch, generator=dice)) / batch
        levels = (bands.sqrt() * len(alphas)).long().clamp(max=len(alphas) - 1).to(run.device)
        alpha = alphas[levels].view(-1, 1, 1, 1)
        noisy, wanted = (
            alpha.sqrt() * clean + (1 - alpha).sqrt() * noise,
            alpha.sqrt() * noise - (1 - alpha).sqrt() * clean,
        )
        with torch.autocast(run.device.type, torch.bfloat16):
            found = unet(noisy, levels, text(ids).last_hidden_state).sample.float()
        weight = ((SNR_GAMMA + 1) * (1 - alpha)).clamp(max=1.0)  # = min(1, (gamma + 1) / (snr + 1))
        return (weight * thing_weight(clean) * (found - wanted).square()).mean(), batch

    train_stage(run, stage_of(run, "unet", run.plan.rate * (0.6 if run.goes_on else 1)), [unet, text], loss_of)
    unet.eval()
    text.eval()


def train_decoder(run: Run, parts: Parts, scenes: list[Scene]) -> None:
    """Finish the decoder alone, on the latents as they are and a little disturbed, as a UNet's are."""
    vae = parts.vae
    modules = [vae.post_quant_conv.train(), vae.decoder.train()]

    def loss_of(step: int) -> tuple[Tensor, int]:
        rng = random.Random(f"decoder {run.seed} {step}")
        picked = crowded(rng, rng.sample(scenes, DECODER_BATCH))
        image = pictures(picked, run.plan.side).to(run.device, memory_format=torch.channels_last)
        with torch.autocast(run.device.type, torch.bfloat16):
            with torch.no_grad():
                coded = vae.encode(image).latent_dist.mean
            drawn = vae.decode(coded + 0.06 * torch.randn_like(coded)).sample.float()
        return drawing_error(drawn, image), DECODER_BATCH

    train_stage(run, stage_of(run, "decoder", 1.5 * run.plan.rate), modules, loss_of)
    vae.eval()


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the text-to-image starter pipeline and write its directory.")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "models/nanolocal-starter-image", help="where the pipeline goes"
    )
    parser.add_argument("--work", type=Path, default=ROOT / "work/starter-image", help="checkpoints and latents")
    parser.add_argument("--minutes", type=float, default=65.0, help="training time on the clock")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--size", choices=("small", "full"), default="small")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--smoke", action="store_true", help="all stages in seconds, with tiny parts; give --out and --work"
    )
    parser.add_argument(
        "--from", dest="base", type=Path, help="go on from an exported pipeline: UNet, words and decoder"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoints under --work")
    parser.add_argument(
        "--export-only", action="store_true", help="write the directory from the checkpoints, train nothing"
    )
    options = parser.parse_args(arguments)
    if options.resume and not options.base and (options.work / BASE).exists():
        parser.error(f"the training in {options.work} began from another pipeline: give its directory by --from again")
    return options


def main(arguments: list[str]) -> int:
    """Train what is left to train, then export; 130 when interrupted before the end."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    wanted = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    minutes = 0.0 if options.export_only else 0.25 if options.smoke else options.minutes
    run = Run(
        PLANS["smoke" if options.smoke else options.size],
        options.work,
        minutes,
        torch.device(wanted),
        options.seed,
        goes_on=options.base is not None,
    )
    run.work.mkdir(parents=True, exist_ok=True)
    if not options.resume and not options.export_only:
        for name in ("vae.pt", "latents.pt", "text.pt", "unet.pt", "decoder.pt", BASE):
            (run.work / name).unlink(missing_ok=True)
    signal.signal(signal.SIGINT, run.stop)
    signal.signal(signal.SIGTERM, run.stop)
    parts = load_parts(options.base) if run.goes_on else build_parts(run.plan)
    if options.base and not options.export_only:
        keep_base(options.base, run.work)
    train_vae(run, parts)
    if not run.stopped:
        cached = cache_latents(run, parts)
        train_text(run, parts, *cached)
        train_unet(run, parts, *cached)
        train_decoder(run, parts, cached[0])
    if run.stopped:
        return 130
    export(parts, options.out)
    write_card(options.out, options.work, run.plan.side)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
