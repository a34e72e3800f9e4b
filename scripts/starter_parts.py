"""The parts of the starter image pipeline: their sizes, how each is built, how they become a directory of files."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from starter_scenes import caption, sample_scene
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

Module = TypeVar("Module", bound=torch.nn.Module)
DROPPED = (
    "_name_or_path", "transformers_version", "tokenizer_file", "name_or_path", "lambda_min_clipped",
    "is_local", "local_files_only",
)  # fmt: skip
START, END = "<|startoftext|>", "<|endoftext|>"
POSITIONS = 32


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of one training: picture side in pixels, channels per level, text width and layers, pictures, batch, rate.

    `rate` is the UNet's learning rate; the autoencoder learns twice as fast.
    """

    side: int
    vae: tuple[int, ...]
    unet: tuple[int, ...]
    text_width: int
    text_layers: int
    scenes: int
    batch: int
    rate: float


PLANS = {
    "small": Plan(64, (16, 32, 64), (64, 96, 128), 128, 2, 16_000, 24, 8e-4),
    "full": Plan(128, (48, 96, 192), (160, 320, 480), 256, 4, 200_000, 256, 4e-4),
    "smoke": Plan(64, (8, 16, 16), (16, 16, 32), 32, 1, 128, 8, 1e-3),
}


@dataclass(slots=True)
class Parts:
    """The trained parts of one pipeline."""

    tokenizer: CLIPTokenizer
    vae: AutoencoderKL
    text: CLIPTextModel
    unet: UNet2DConditionModel


def build_parts(plan: Plan) -> Parts:
    """Untrained parts of the plan's sizes; the tokenizer is complete at once."""
    tokenizer = build_tokenizer()
    return Parts(tokenizer, build_vae(plan), build_text(plan, tokenizer), build_unet(plan))


def load_parts(directory: Path) -> Parts:
    """The parts of an exported pipeline in float32, to go on from."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        directory, local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False
    )
    return Parts(pipeline.tokenizer, pipeline.vae, pipeline.text_encoder, pipeline.unet)


def build_tokenizer() -> CLIPTokenizer:
    """A byte-level BPE over the captions; the word-end form of every byte symbol keeps unknown words readable."""
    rng = random.Random(0)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    rules = CLIPTokenizer().backend_tokenizer
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer, learner.pre_tokenizer = rules.normalizer, rules.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=1000, min_frequency=8, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    learner.train_from_iterator((caption(sample_scene(rng), rng) for _ in range(6000)), trainer)
    learned = json.loads(learner.to_str())["model"]
    ends = [symbol + "</w>" for symbol in alphabet]
    symbols = [*alphabet, *ends, *sorted(learned["vocab"], key=learned["vocab"].get), START, END]
    vocabulary = {symbol: number for number, symbol in enumerate(dict.fromkeys(symbols))}
    merges = [tuple(pair) for pair in learned["merges"]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=POSITIONS)


def build_vae(plan: Plan) -> AutoencoderKL:
    """A small autoencoder: four numbers for every 4 x 4 pixels."""
    levels = len(plan.vae)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=plan.vae, layers_per_block=1, latent_channels=4, norm_num_groups=4,
        sample_size=plan.side, force_upcast=False, mid_block_add_attention=False,
    )  # fmt: skip


def build_text(plan: Plan, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A text encoder of CLIP's shape, trained together with the UNet."""
    width = plan.text_width
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=width * 4, projection_dim=width,
        num_hidden_layers=plan.text_layers, num_attention_heads=width // 32, max_position_embeddings=POSITIONS,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return CLIPTextModel(config)


def build_unet(plan: Plan) -> UNet2DConditionModel:
    """The denoiser; it attends to the words at every level but the finest, and adds the pooled text to each block."""
    coarse = len(plan.unet) - 1
    return UNet2DConditionModel(
        sample_size=plan.side // 4, in_channels=4, out_channels=4, block_out_channels=plan.unet, layers_per_block=1,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * coarse),
        up_block_types=(*("CrossAttnUpBlock2D",) * coarse, "UpBlock2D"),
        cross_attention_dim=plan.text_width, attention_head_dim=4, norm_num_groups=8,
        addition_embed_type="text", addition_embed_type_num_heads=4,
    )  # fmt: skip


def build_scheduler() -> DPMSolverMultistepScheduler:
    """DPM-Solver++ over a cosine schedule that ends in pure noise; training reads its noise levels too."""
    return DPMSolverMultistepScheduler(
        num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction",
        rescale_betas_zero_snr=True, timestep_spacing="trailing", steps_offset=1,
    )  # fmt: skip


def pipeline_of(parts: Parts) -> StableDiffusionPipeline:
    """The parts as a diffusers pipeline in float32."""
    return StableDiffusionPipeline(
        vae=parts.vae, text_encoder=parts.text, tokenizer=parts.tokenizer, unet=parts.unet, scheduler=build_scheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def export(parts: Parts, out: Path) -> None:
    """Write the pipeline in float16 under `out`; paths of this machine are taken out of the configurations."""
    parts.tokenizer.backend_tokenizer.no_padding()  # as new: a use leaves its settings in the tokenizer's file
    parts.tokenizer.backend_tokenizer.no_truncation()
    half = Parts(parts.tokenizer, *(_halved(part) for part in (parts.vae, parts.text, parts.unet)))
    pipeline_of(half).save_pretrained(out, safe_serialization=True)
    for path in (out / "model_index.json", *sorted(out.glob("*/*config.json"))):
        facts = {key: value for key, value in json.loads(path.read_text("utf-8")).items() if key not in DROPPED}
        if "dtype" in facts:  # of the text encoder alone: it would load in float16 beside a UNet in float32
            facts["dtype"] = "float32"
        path.write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", "utf-8")
    print(f"wrote {out}", flush=True)


def _halved(part: Module) -> Module:
    """A copy in float16 on the CPU; `Module.to` would have diffusers warn about its own empty list of exceptions."""
    copied = copy.deepcopy(part).cpu()
    for values in (*copied.parameters(), *copied.buffers()):
        if values.is_floating_point():
            values.data = values.data.to(torch.float16)
    return copied
