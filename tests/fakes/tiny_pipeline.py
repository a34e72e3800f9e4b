"""A StableDiffusionPipeline folder with a few thousand random weights.

It is written by a process of its own, so that torch never enters the test process: ``python tiny_pipeline.py FOLDER``.
"""

import json
import subprocess
import sys
from pathlib import Path

_TEXT_WIDTH = 32


def write_tiny_pipeline(path: Path, *, latent_side: int = 8) -> Path:
    """Write the folder (native size ``8 * latent_side`` pixels) and return it; takes a few seconds."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__)), str(path), str(latent_side)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def _write(path: Path, latent_side: int) -> None:
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    torch.set_num_threads(1)
    words = path / "words"
    words.mkdir(parents=True)
    symbols = [chr(code) for code in range(33, 127)]
    vocabulary = [*symbols, *(f"{symbol}</w>" for symbol in symbols), "<|startoftext|>", "<|endoftext|>"]
    ids = {word: index for index, word in enumerate(vocabulary)}
    (words / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    (words / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    tokenizer = CLIPTokenizer(str(words / "vocab.json"), str(words / "merges.txt"), model_max_length=32)
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary), hidden_size=_TEXT_WIDTH, intermediate_size=37, num_hidden_layers=1,
            num_attention_heads=4, max_position_embeddings=32, bos_token_id=len(vocabulary) - 2,
            eos_token_id=len(vocabulary) - 1, pad_token_id=len(vocabulary) - 1,
        )
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=latent_side, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=_TEXT_WIDTH, attention_head_dim=4,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), norm_num_groups=4, latent_channels=4, sample_size=8 * latent_side,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    pipeline = StableDiffusionPipeline(
        vae, text, tokenizer, unet, DDIMScheduler(), None, None, requires_safety_checker=False
    )
    pipeline.save_pretrained(path, safe_serialization=True)
    for file in words.iterdir():
        file.unlink()
    words.rmdir()


if __name__ == "__main__":
    _write(Path(sys.argv[1]), int(sys.argv[2]))
