"""Pipelines of every family with a few thousand random weights each, and what goes with them.

They are written by a process of its own, so that torch never enters the test process:
``python pipelines.py FOLDER NAME...``.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FAMILIES = ("sd", "sdxl", "sd3", "flux", "pixart", "sana", "lcm")
"""Each is a diffusers folder; its pictures have sides of 32 to 64 pixels."""
COMPANIONS = ("sd-lora", "sd-lora-other", "sd-controlnet", "sd-nan", "sd-single", "flux-gguf")
"""Made for the family before the hyphen, which has to be written before or along with it.

``sd-nan`` is a folder whose UNet draws no numbers, ``sd-single`` one checkpoint as trainers write it, ``flux-gguf`` a
folder whose transformer is a GGUF file.
"""
UPSCALERS = ("upscale", "latent-upscale")
"""Folders that make a picture four times and twice as large."""
SLOW = "sd-slow"
"""Some million weights, for pictures of 256 x 256 pixels: each step of one takes a tenth of a second or more."""
_WIDTH, _LENGTH = 32, 32


def write_pipelines(folder: Path, *names: str) -> dict[str, Path]:
    """Write these of ``FAMILIES`` and ``COMPANIONS`` below ``folder``; the path of each by its name."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__)), str(folder), *names]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {name: _place(folder, name) for name in names}


def _place(folder: Path, name: str) -> Path:
    return folder / (f"{name}.safetensors" if name in ("sd-lora", "sd-lora-other", "sd-single") else name)


def _clip_tokenizer(folder: Path) -> Any:
    """Knows every letter, and no words."""
    from transformers import CLIPTokenizer

    symbols = [chr(code) for code in range(33, 127)]
    vocabulary = [*symbols, *(f"{symbol}</w>" for symbol in symbols), "<|startoftext|>", "<|endoftext|>"]
    words = folder.with_name(f"{folder.name}-words")
    words.mkdir(parents=True, exist_ok=True)
    (words / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(vocabulary)}), encoding="utf-8")
    (words / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    tokenizer = CLIPTokenizer(str(words / "vocab.json"), str(words / "merges.txt"), model_max_length=_LENGTH)
    for file in words.iterdir():
        file.unlink()
    words.rmdir()
    return tokenizer


def _clip(projection: int = 0) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=190, hidden_size=_WIDTH, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=_LENGTH, bos_token_id=188, eos_token_id=189, pad_token_id=189,
        projection_dim=projection or _WIDTH, hidden_act="quick_gelu",
    )  # fmt: skip
    return CLIPTextModelWithProjection(config) if projection else CLIPTextModel(config)


def _t5_tokenizer() -> Any:
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -2.0), ("▁", -2.0)]
    return T5Tokenizer(
        vocab=[*pieces, *((chr(code), -3.0) for code in range(33, 127))], extra_ids=0, model_max_length=_LENGTH
    )


def _t5(width: int = _WIDTH) -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(vocab_size=98, d_model=width, d_kv=8, d_ff=37, num_layers=1, num_heads=4, dropout_rate=0.0)
    )


def _vae(channels: int = 4, *, scale: int = 8, **config: float) -> Any:
    from diffusers import AutoencoderKL

    stages = scale.bit_length()
    return AutoencoderKL(
        block_out_channels=(8,) * stages, norm_num_groups=4, latent_channels=channels, sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * stages, up_block_types=("UpDecoderBlock2D",) * stages, **config,
    )  # fmt: skip


def _unet(**config: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        **{
            "sample_size": 8,
            "block_out_channels": (8, 16),
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "cross_attention_dim": _WIDTH,
            "attention_head_dim": 4,
            **config,
        }
    )


def _sd(folder: Path) -> None:
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    tokenizer = _clip_tokenizer(folder)
    StableDiffusionPipeline(
        _vae(), _clip(), tokenizer, _unet(), DDIMScheduler(), None, None, requires_safety_checker=False
    ).save_pretrained(folder)


def _sd_slow(folder: Path) -> None:
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    unet = _unet(sample_size=32, block_out_channels=(96, 192), norm_num_groups=32, attention_head_dim=8)
    parts = (_vae(), _clip(), _clip_tokenizer(folder), unet, DPMSolverMultistepScheduler(), None, None)
    StableDiffusionPipeline(*parts, requires_safety_checker=False).save_pretrained(folder)


def _upscale(folder: Path) -> None:
    from diffusers import DDIMScheduler, DDPMScheduler, StableDiffusionUpscalePipeline

    unet = _unet(in_channels=7, num_class_embeds=1000)
    StableDiffusionUpscalePipeline(
        _vae(scale=4), _clip(), _clip_tokenizer(folder), unet, DDPMScheduler(), DDIMScheduler(), max_noise_level=350
    ).save_pretrained(folder)


def _latent_upscale(folder: Path) -> None:
    from diffusers import EulerDiscreteScheduler, StableDiffusionLatentUpscalePipeline, UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=8, in_channels=8, out_channels=5, block_out_channels=(32, 32, 64, 64), layers_per_block=1,
        norm_num_groups=4, act_fn="gelu", attention_head_dim=8, conv_in_kernel=1, conv_out_kernel=1,
        cross_attention_dim=_WIDTH, down_block_types=("KDownBlock2D", *("KCrossAttnDownBlock2D",) * 3),
        up_block_types=(*("KCrossAttnUpBlock2D",) * 3, "KUpBlock2D"), mid_block_type=None, only_cross_attention=False,
        resnet_time_scale_shift="scale_shift", time_cond_proj_dim=_WIDTH + 128, time_embedding_type="fourier",
        timestep_post_act="gelu",
    )  # fmt: skip
    tokenizer = _clip_tokenizer(folder)
    StableDiffusionLatentUpscalePipeline(
        _vae(), _clip(), tokenizer, unet, EulerDiscreteScheduler(prediction_type="sample")
    ).save_pretrained(folder)


def _lcm(folder: Path) -> None:
    from diffusers import LatentConsistencyModelPipeline, LCMScheduler

    LatentConsistencyModelPipeline(
        _vae(), _clip(), _clip_tokenizer(folder), _unet(time_cond_proj_dim=8), LCMScheduler(), None, None, None, False
    ).save_pretrained(folder)


def _sdxl(folder: Path) -> None:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    unet = _unet(
        cross_attention_dim=2 * _WIDTH, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=80, use_linear_projection=True, transformer_layers_per_block=(1, 1),
    )  # fmt: skip
    tokenizer = _clip_tokenizer(folder)
    StableDiffusionXLPipeline(
        _vae(scaling_factor=0.13025), _clip(), _clip(_WIDTH), tokenizer, tokenizer, unet, EulerDiscreteScheduler(),
        add_watermarker=False,
    ).save_pretrained(folder)  # fmt: skip


def _sd3(folder: Path) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=1, in_channels=16, num_layers=2, attention_head_dim=8, num_attention_heads=4,
        joint_attention_dim=2 * _WIDTH, caption_projection_dim=32, pooled_projection_dim=2 * _WIDTH, out_channels=16,
        pos_embed_max_size=16,
    )  # fmt: skip
    tokenizer = _clip_tokenizer(folder)
    StableDiffusion3Pipeline(
        transformer, FlowMatchEulerDiscreteScheduler(shift=3.0), _vae(16, scaling_factor=1.5305, shift_factor=0.0609),
        _clip(_WIDTH), tokenizer, _clip(_WIDTH), tokenizer, _t5(2 * _WIDTH), _t5_tokenizer(),
    ).save_pretrained(folder)  # fmt: skip


def _flux(folder: Path) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=_WIDTH, pooled_projection_dim=_WIDTH, axes_dims_rope=(4, 4, 8), guidance_embeds=True,
    )  # fmt: skip
    FluxPipeline(
        FlowMatchEulerDiscreteScheduler(), _vae(16, scaling_factor=0.3611, shift_factor=0.1159), _clip(),
        _clip_tokenizer(folder), _t5(), _t5_tokenizer(), transformer,
    ).save_pretrained(folder)  # fmt: skip


def _pixart(folder: Path) -> None:
    from diffusers import DPMSolverMultistepScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel

    transformer = PixArtTransformer2DModel(
        sample_size=8, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=3, in_channels=4,
        cross_attention_dim=24, out_channels=8, caption_channels=_WIDTH, norm_type="ada_norm_single",
        use_additional_conditions=False,
    )  # fmt: skip
    PixArtSigmaPipeline(_t5_tokenizer(), _t5(), _vae(), transformer, DPMSolverMultistepScheduler()).save_pretrained(
        folder
    )


def _sana(folder: Path) -> None:
    from diffusers import AutoencoderDC, FlowMatchEulerDiscreteScheduler, SanaPipeline, SanaTransformer2DModel
    from transformers import Gemma2Config, Gemma2Model, GemmaTokenizer

    letters = [*(chr(code) for code in range(33, 127)), "▁"]
    vocabulary = {word: n for n, word in enumerate(["<pad>", "<eos>", "<bos>", "<unk>", *letters])}
    tokenizer = GemmaTokenizer(vocab=vocabulary, merges=[], model_max_length=_LENGTH)
    text = Gemma2Model(
        Gemma2Config(
            vocab_size=len(vocabulary), hidden_size=16, intermediate_size=16, num_hidden_layers=1, head_dim=8,
            num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=64, sliding_window=64,
        )
    )  # fmt: skip
    vae = AutoencoderDC(
        latent_channels=4, attention_head_dim=2, encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"), encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8), encoder_qkv_multiscales=((), (5,)), decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1), decoder_layers_per_block=(1, 1), downsample_block_type="conv",
        upsample_block_type="interpolate", decoder_norm_types="rms_norm", decoder_act_fns="silu",
    )  # fmt: skip
    transformer = SanaTransformer2DModel(
        patch_size=1, in_channels=4, out_channels=4, num_layers=1, num_attention_heads=2, attention_head_dim=4,
        num_cross_attention_heads=2, cross_attention_head_dim=4, cross_attention_dim=8, caption_channels=16,
        sample_size=32,
    )  # fmt: skip
    SanaPipeline(tokenizer, text, vae, transformer, FlowMatchEulerDiscreteScheduler(shift=3.0)).save_pretrained(folder)


def _write_lora(file: Path, seed: int) -> None:
    """A LoRA for the attention of the family ``sd``, of rank 4, strong enough to be seen."""
    import torch
    from safetensors.torch import save_file

    random = torch.Generator().manual_seed(seed)
    weights = {}
    for name, module in _unet().named_modules():
        if name.endswith(("to_q", "to_k", "to_v", "to_out.0")):
            outputs, inputs = module.weight.shape
            weights[f"unet.{name}.lora_A.weight"] = torch.randn(4, inputs, generator=random)
            weights[f"unet.{name}.lora_B.weight"] = torch.randn(outputs, 4, generator=random)
    save_file(weights, str(file))


def _sd_lora(file: Path) -> None:
    _write_lora(file, 1)


def _sd_lora_other(file: Path) -> None:
    _write_lora(file, 2)


def _sd_controlnet(folder: Path) -> None:
    import torch
    from diffusers import ControlNetModel

    net = ControlNetModel(
        block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, cross_attention_dim=_WIDTH,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), attention_head_dim=4,
        conditioning_embedding_out_channels=(8, 8, 8, 8),
    )  # fmt: skip
    for block in [*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out]:
        torch.nn.init.normal_(block.weight, std=0.5)  # it begins with zeros, which change nothing
    net.save_pretrained(folder)


def _sd_nan(folder: Path) -> None:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(folder.with_name("sd"))
    pipeline.unet.conv_out.bias.data.fill_(float("nan"))
    pipeline.save_pretrained(folder)


def _sd_single(file: Path) -> None:
    """The UNet, the decoder and the text encoder under the names that the trainers of SD 1.5 gave them."""
    from safetensors.torch import load_file, save_file

    folder = file.with_name("sd")
    unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    vae = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    text = load_file(folder / "text_encoder" / "model.safetensors")
    weights = {f"model.diffusion_model.{_in_ldm(name)}": value for name, value in unet.items()}
    for name, value in vae.items():
        is_attention = "attentions" in name and name.endswith("weight") and "norm" not in name
        weights[f"first_stage_model.{_in_ldm_vae(name)}"] = value[..., None, None] if is_attention else value
    weights |= {f"cond_stage_model.transformer.text_model.{name}": value for name, value in text.items()}
    save_file({name: value.contiguous() for name, value in weights.items()}, str(file))


_LDM = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    "down_blocks.0.resnets.0": "input_blocks.1.0", "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    "down_blocks.1.resnets.0": "input_blocks.3.0", "down_blocks.1.attentions.0": "input_blocks.3.1",
    "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "up_blocks.0.resnets.0": "output_blocks.0.0", "up_blocks.0.attentions.0": "output_blocks.0.1",
    "up_blocks.0.resnets.1": "output_blocks.1.0", "up_blocks.0.attentions.1": "output_blocks.1.1",
    "up_blocks.0.upsamplers.0": "output_blocks.1.2",
    "up_blocks.1.resnets.0": "output_blocks.2.0", "up_blocks.1.resnets.1": "output_blocks.3.0",
}  # fmt: skip
"""Parts of the UNet of ``sd`` as CompVis calls them."""
_LDM_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip


def _in_ldm(name: str) -> str:
    part = max((part for part in _LDM if name.startswith(f"{part}.")), key=len)
    rest = name.removeprefix(f"{part}.")
    if ".resnets." in f".{part}.":
        layer, _, end = rest.rpartition(".")
        rest = f"{_LDM_RESNET[layer]}.{end}"
    return f"{_LDM[part]}.{rest}"


_LDM_VAE = (
    ("mid_block.resnets.0", "mid.block_1"), ("mid_block.resnets.1", "mid.block_2"),
    ("mid_block.attentions.0", "mid.attn_1"), ("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"),
    ("to_out.0", "proj_out"), ("conv_norm_out", "norm_out"), ("conv_shortcut", "nin_shortcut"),
    ("downsamplers.0", "downsample"), ("upsamplers.0", "upsample"), ("resnets", "block"),
    *((f"up_blocks.{3 - n}", f"up.{n}") for n in range(4)), ("down_blocks", "down"),
)  # fmt: skip


def _in_ldm_vae(name: str) -> str:
    for ours, theirs in _LDM_VAE:
        name = name.replace(ours, theirs)
    return name


def _flux_gguf(folder: Path) -> None:
    """The folder ``flux`` with the same transformer in a GGUF file, its large weights in Q8_0."""
    import shutil

    from gguf import GGMLQuantizationType, GGUFWriter, quantize
    from safetensors.numpy import load_file

    shutil.copytree(folder.with_name("flux"), folder)
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    writer = GGUFWriter(folder / "transformer" / "flux-Q8_0.gguf", "flux")
    for name, value in load_file(weights).items():
        is_large = value.ndim == 2 and value.shape[1] % 32 == 0
        kind = GGMLQuantizationType.Q8_0 if is_large else GGMLQuantizationType.F32
        writer.add_tensor(name, quantize(value, kind), raw_dtype=kind)
    weights.unlink()
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


_WRITERS: dict[str, Callable[[Path], None]] = {
    "sd": _sd, "sdxl": _sdxl, "sd3": _sd3, "flux": _flux, "pixart": _pixart, "sana": _sana, "lcm": _lcm,
    "sd-lora": _sd_lora, "sd-lora-other": _sd_lora_other, "sd-controlnet": _sd_controlnet, "sd-nan": _sd_nan,
    "sd-single": _sd_single, "flux-gguf": _flux_gguf, SLOW: _sd_slow,
    "upscale": _upscale, "latent-upscale": _latent_upscale,
}  # fmt: skip


def _write(folder: Path, *names: str) -> None:
    import torch

    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        torch.manual_seed(0)
        _WRITERS[name](_place(folder, name))


if __name__ == "__main__":
    _write(Path(sys.argv[1]), *sys.argv[2:])
