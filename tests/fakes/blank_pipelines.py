"""Pipelines shaped like the real ones, narrower, for ``bench_picture_fit``: their weights lie in holes of their files.

They are as large as their headers say and cost what real ones cost, but every weight is 0. Writing one needs torch,
and no memory for the weights: ``python blank_pipelines.py FOLDER NAME F16``.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Parts = dict[str, tuple[str, Any]]
"""Name of a part, library, and what is saved of it."""

_BYTES = {"F16": 2, "BF16": 2, "F32": 4}


def build(folder: Path, name: str, dtype: str) -> Path:
    """Write the pipeline called ``name`` of ``SHAPES`` with weights stored as ``dtype``."""
    import torch

    pipeline, make = SHAPES[name]
    with torch.device("meta"):
        parts = make()
    folder.mkdir(parents=True)
    index: dict[str, object] = {"_class_name": pipeline, "_diffusers_version": "0.42.1"}
    for part, (library, thing) in parts.items():
        index[part] = [library, type(thing).__name__]
        if isinstance(thing, torch.nn.Module):
            _save_model(folder / part, library, thing, dtype)
        else:
            thing.save_pretrained(folder / part)
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def _save_model(folder: Path, library: str, model: Any, dtype: str) -> None:
    folder.mkdir()
    if library == "diffusers":
        model.save_config(folder)
    else:
        model.config.architectures = [type(model).__name__]
        model.config.save_pretrained(folder)
    wanted = model.state_dict().keys()
    tensors = {name: value for name, value in model.named_parameters() if name in wanted}
    tensors |= {name: value for name, value in model.named_buffers() if name in wanted}
    name = "diffusion_pytorch_model" if library == "diffusers" else "model"
    _write(folder / f"{name}.safetensors", {name: tuple(value.shape) for name, value in tensors.items()}, dtype)


def _write(path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: str) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        size = _BYTES[dtype]
        for side in shape:
            size *= side
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


def _scheduler(name: str, **config: Any) -> Any:
    """A scheduler computes when it is made, and so needs real memory."""
    import diffusers
    import torch

    with torch.device("cpu"):
        return getattr(diffusers, name)(**config)


def _clip(width: int, layers: int, projection: int = 0) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=49_408, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
        num_attention_heads=width // 64, max_position_embeddings=77, projection_dim=projection or width,
        eos_token_id=2, bos_token_id=0, pad_token_id=1,
    )  # fmt: skip
    return CLIPTextModelWithProjection(config) if projection else CLIPTextModel(config)


def _clip_words() -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer(model_max_length=77)


def _t5(width: int, layers: int, feed: int) -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(
            vocab_size=32_128, d_model=width, d_kv=64, d_ff=feed, num_layers=layers, num_heads=width // 64,
            feed_forward_proj="gated-gelu", dropout_rate=0.0,
        )
    )  # fmt: skip


def _t5_words(length: int) -> Any:
    from transformers import T5Tokenizer

    return T5Tokenizer(model_max_length=length)


def _vae(channels: int, latent: int, *, size: int = 512, **more: Any) -> Any:
    from diffusers import AutoencoderKL

    stages = (channels, 2 * channels, 4 * channels, 4 * channels)
    return AutoencoderKL(
        block_out_channels=stages, layers_per_block=2, latent_channels=latent, sample_size=size,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, **more,
    )  # fmt: skip


def _sd() -> Parts:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=64, block_out_channels=(160, 320, 640, 640), layers_per_block=2, cross_attention_dim=768,
        attention_head_dim=8,
    )  # fmt: skip
    return {
        "vae": ("diffusers", _vae(128, 4)),
        "text_encoder": ("transformers", _clip(768, 12)),
        "tokenizer": ("transformers", _clip_words()),
        "unet": ("diffusers", unet),
        "scheduler": ("diffusers", _scheduler("PNDMScheduler", steps_offset=1, skip_prk_steps=True)),
    }


def _sd_wide() -> Parts:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=64, block_out_channels=(320, 640, 640, 640), layers_per_block=1, cross_attention_dim=768,
        attention_head_dim=8,
    )  # fmt: skip
    return {**_sd(), "vae": ("diffusers", _vae(64, 4)), "unet": ("diffusers", unet)}


def _sdxl() -> Parts:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=96, block_out_channels=(192, 384, 768), layers_per_block=2, cross_attention_dim=768 + 640,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=(3, 6, 12),
        transformer_layers_per_block=(1, 1, 3), use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=256, projection_class_embeddings_input_dim=640 + 6 * 256,
    )  # fmt: skip
    return {
        "vae": ("diffusers", _vae(128, 4, size=768, scaling_factor=0.13025)),
        "text_encoder": ("transformers", _clip(768, 6)),
        "text_encoder_2": ("transformers", _clip(640, 8, 640)),
        "tokenizer": ("transformers", _clip_words()),
        "tokenizer_2": ("transformers", _clip_words()),
        "unet": ("diffusers", unet),
        "scheduler": ("diffusers", _scheduler("EulerDiscreteScheduler")),
    }


def _sd3() -> Parts:
    from diffusers import SD3Transformer2DModel

    transformer = SD3Transformer2DModel(
        sample_size=96, patch_size=2, in_channels=16, num_layers=10, attention_head_dim=64, num_attention_heads=12,
        joint_attention_dim=1024, caption_projection_dim=768, pooled_projection_dim=512 + 512, out_channels=16,
        pos_embed_max_size=192, qk_norm="rms_norm",
    )  # fmt: skip
    return {
        "transformer": ("diffusers", transformer),
        "scheduler": ("diffusers", _scheduler("FlowMatchEulerDiscreteScheduler", shift=3.0)),
        "vae": ("diffusers", _vae(128, 16, scaling_factor=1.5305, shift_factor=0.0609)),
        "text_encoder": ("transformers", _clip(512, 4, 512)),
        "tokenizer": ("transformers", _clip_words()),
        "text_encoder_2": ("transformers", _clip(512, 4, 512)),
        "tokenizer_2": ("transformers", _clip_words()),
        "text_encoder_3": ("transformers", _t5(1024, 6, 2816)),
        "tokenizer_3": ("transformers", _t5_words(256)),
    }


def _flux() -> Parts:
    from diffusers import FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=64, num_layers=4, num_single_layers=8, attention_head_dim=128, num_attention_heads=8,
        joint_attention_dim=1024, pooled_projection_dim=768, guidance_embeds=True,
    )  # fmt: skip
    return {
        "scheduler": ("diffusers", _scheduler("FlowMatchEulerDiscreteScheduler", shift=3.0, use_dynamic_shifting=True)),
        "vae": ("diffusers", _vae(96, 16, scaling_factor=0.3611, shift_factor=0.1159)),
        "text_encoder": ("transformers", _clip(768, 4)),
        "tokenizer": ("transformers", _clip_words()),
        "text_encoder_2": ("transformers", _t5(1024, 6, 2816)),
        "tokenizer_2": ("transformers", _t5_words(512)),
        "transformer": ("diffusers", transformer),
    }


def _pixart() -> Parts:
    from diffusers import PixArtTransformer2DModel

    transformer = PixArtTransformer2DModel(
        sample_size=64, num_layers=14, patch_size=2, attention_head_dim=72, num_attention_heads=12, in_channels=4,
        cross_attention_dim=864, out_channels=8, caption_channels=1024, use_additional_conditions=False,
    )  # fmt: skip
    return {
        "tokenizer": ("transformers", _t5_words(300)),
        "text_encoder": ("transformers", _t5(1024, 8, 2816)),
        "vae": ("diffusers", _vae(128, 4, scaling_factor=0.13025)),
        "transformer": ("diffusers", transformer),
        "scheduler": ("diffusers", _scheduler("DPMSolverMultistepScheduler")),
    }


def _sana() -> Parts:
    from diffusers import AutoencoderDC, SanaTransformer2DModel
    from transformers import Gemma2Config, Gemma2Model, GemmaTokenizer

    text = Gemma2Model(
        Gemma2Config(
            vocab_size=64_000, hidden_size=768, intermediate_size=3072, num_hidden_layers=6, head_dim=128,
            num_attention_heads=6, num_key_value_heads=3, sliding_window=512,
        )
    )  # fmt: skip
    stages, kinds = (64, 128, 256, 256, 512, 512), ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3
    vae = AutoencoderDC(
        latent_channels=32, encoder_block_types=kinds, decoder_block_types=kinds, encoder_block_out_channels=stages,
        decoder_block_out_channels=stages, encoder_layers_per_block=(1, 1, 1, 1, 1, 1),
        decoder_layers_per_block=(2, 2, 2, 2, 2, 2), downsample_block_type="conv", upsample_block_type="interpolate",
        scaling_factor=0.41407,
    )  # fmt: skip
    transformer = SanaTransformer2DModel(
        in_channels=32, out_channels=32, num_attention_heads=36, attention_head_dim=32, num_layers=10,
        num_cross_attention_heads=16, cross_attention_head_dim=72, cross_attention_dim=1152, caption_channels=768,
        sample_size=16,
    )  # fmt: skip
    return {
        "tokenizer": ("transformers", GemmaTokenizer(model_max_length=300)),
        "text_encoder": ("transformers", text),
        "vae": ("diffusers", vae),
        "transformer": ("diffusers", transformer),
        "scheduler": (
            "diffusers",
            _scheduler("DPMSolverMultistepScheduler", prediction_type="flow_prediction", use_flow_sigmas=True),
        ),
    }


SHAPES: dict[str, tuple[str, Callable[[], Parts]]] = {
    "sd": ("StableDiffusionPipeline", _sd),
    "sd wide": ("StableDiffusionPipeline", _sd_wide),
    "sdxl": ("StableDiffusionXLPipeline", _sdxl),
    "sd3": ("StableDiffusion3Pipeline", _sd3),
    "flux": ("FluxPipeline", _flux),
    "pixart": ("PixArtSigmaPipeline", _pixart),
    "sana": ("SanaPipeline", _sana),
}


if __name__ == "__main__":
    build(Path(sys.argv[1]), *sys.argv[2:])
