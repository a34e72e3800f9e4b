"""A pipeline draws at the size, with the steps and the guidance that its family was made for."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from nanolocal.library.library import Library
from tests.fakes import stores

FLOW = "FlowMatchEulerDiscreteScheduler"
UNET = ("UNet2DConditionModel", "AutoencoderKL")
EIGHT = {"vae": {"block_out_channels": [128, 256, 512, 512]}}


Configs = Mapping[str, Mapping[str, object]]


def side(latents: int, **more: object) -> Configs:
    return {**EIGHT, "denoiser": {"sample_size": latents, **more}}


def defaults_of(folder: Path) -> Mapping[str, float]:
    (build,) = Library([folder.parent], folder.parent / "index.json").builds()
    return build.defaults


FAMILIES: dict[str, tuple[tuple[str, str, str, str, Configs], tuple[int, int, float]]] = {
    "sd15": (("StableDiffusionPipeline", *UNET, "PNDMScheduler", side(64)), (512, 25, 7.5)),
    "sd-2-1": (("StableDiffusionPipeline", *UNET, "DDIMScheduler", side(96)), (768, 25, 7.5)),
    "sdxl-base": (("StableDiffusionXLPipeline", *UNET, "EulerDiscreteScheduler", side(128)), (1024, 30, 5.0)),
    "sd3.5": (("StableDiffusion3Pipeline", "SD3Transformer2DModel", "AutoencoderKL", FLOW, side(128)), (1024, 28, 4.5)),
    "flux-dev": (
        ("FluxPipeline", "FluxTransformer2DModel", "AutoencoderKL", FLOW,
         {**EIGHT, "denoiser": {"guidance_embeds": True}}),
        (1024, 28, 3.5),
    ),
    "qwen-image": (
        ("QwenImagePipeline", "QwenImageTransformer2DModel", "AutoencoderKLQwenImage", FLOW,
         {"vae": {"base_dim": 96, "dim_mult": [1, 2, 4, 4]}}),
        (1328, 30, 4.0),
    ),
    "z-image": (("ZImagePipeline", "ZImageTransformer2DModel", "AutoencoderKL", FLOW, EIGHT), (1024, 30, 4.0)),
    "sana": (
        ("SanaPipeline", "SanaTransformer2DModel", "AutoencoderDC", "DPMSolverMultistepScheduler",
         {"vae": {"encoder_block_out_channels": [128, 256, 512, 512, 1024, 1024]}, "denoiser": {"sample_size": 32}}),
        (1024, 20, 4.5),
    ),
    "pixart": (
        ("PixArtSigmaPipeline", "PixArtTransformer2DModel", "AutoencoderKL", "DPMSolverMultistepScheduler", side(64)),
        (512, 20, 4.5),
    ),
    "sdxl-turbo": (("StableDiffusionXLPipeline", *UNET, "EulerAncestralDiscreteScheduler", side(64)), (512, 4, 0.0)),
    "SDXL-Lightning-8step": (("StableDiffusionXLPipeline", *UNET, "EulerDiscreteScheduler", side(128)), (1024, 8, 0.0)),
    "Hyper-SD15-1-step": (("StableDiffusionPipeline", *UNET, "TCDScheduler", side(64)), (512, 1, 0.0)),
    "flux.1-schnell": (("FluxPipeline", "FluxTransformer2DModel", "AutoencoderKL", FLOW, EIGHT), (1024, 4, 0.0)),
    "flux-without-guidance": (
        ("FluxPipeline", "FluxTransformer2DModel", "AutoencoderKL", FLOW,
         {**EIGHT, "denoiser": {"guidance_embeds": False}}),
        (1024, 4, 0.0),
    ),
    "dreamshaper": (
        ("LatentConsistencyModelPipeline", *UNET, "LCMScheduler", side(64, time_cond_proj_dim=256)), (512, 4, 8.0),
    ),
    "merged": (("StableDiffusionPipeline", *UNET, "LCMScheduler", side(64)), (512, 4, 1.0)),
    "trailing": (
        ("StableDiffusionPipeline", *UNET, "EulerAncestralDiscreteScheduler",
         {**side(64), "scheduler": {"timestep_spacing": "trailing"}}),
        (512, 4, 0.0),
    ),
    "zero-snr": (
        ("StableDiffusionPipeline", *UNET, "EulerDiscreteScheduler",
         {**side(64), "scheduler": {"timestep_spacing": "trailing", "rescale_betas_zero_snr": True}}),
        (512, 25, 7.5),
    ),
    "Qwen-Image-Lightning-4steps": (
        ("QwenImagePipeline", "QwenImageTransformer2DModel", "AutoencoderKLQwenImage", FLOW, {}), (1328, 4, 1.0),
    ),
    "turbofan": (("StableDiffusionPipeline", *UNET, "PNDMScheduler", side(64)), (512, 25, 7.5)),
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_settings_of_its_own(tmp_path: Path, name: str) -> None:
    (pipeline, denoiser, decoder, scheduler, configs), (edge, steps, guidance) = FAMILIES[name]
    stores.write_pipeline(tmp_path / "m" / name, pipeline, denoiser, decoder, scheduler, configs)
    found = defaults_of(tmp_path / "m" / name)
    assert (found["width"], found["height"], found["steps"], found["guidance"]) == (edge, edge, steps, guidance)
    assert found["min_width"] <= edge <= found["max_width"] <= 4096
    assert edge % found["multiple"] == 0


@pytest.mark.parametrize("latents", [0, 7, 100_000, -1, True, "64", None, [64], [0, 64], 1e9])
def test_a_size_that_nobody_can_mean_is_that_of_the_family(tmp_path: Path, latents: object) -> None:
    configs: Configs = {**EIGHT, "denoiser": {"sample_size": latents}}
    stores.write_pipeline(tmp_path / "m" / "odd", configs=configs)
    found = defaults_of(tmp_path / "m" / "odd")
    assert (found["width"], found["height"]) == ((56, 56) if latents == 7 else (512, 512))


def test_a_size_may_have_two_sides(tmp_path: Path) -> None:
    stores.write_pipeline(tmp_path / "m" / "wide", configs={**EIGHT, "denoiser": {"sample_size": [48, 64]}})
    found = defaults_of(tmp_path / "m" / "wide")
    assert (found["width"], found["height"]) == (512, 384)


def test_a_card_knows_better(tmp_path: Path) -> None:
    folder = stores.write_pipeline(tmp_path / "m" / "sdxl-turbo", configs=side(64))
    (folder / "card.json").write_text('{"defaults": {"steps": 2, "max_width": 256}}')
    found = defaults_of(folder)
    assert (found["steps"], found["max_width"], found["guidance"]) == (2, 256, 0.0)


def test_places_end_where_their_table_does(tmp_path: Path) -> None:
    configs = side(128, pos_embed_max_size=96, patch_size=2)
    stores.write_pipeline(tmp_path / "m" / "sd3", "StableDiffusion3Pipeline", "SD3Transformer2DModel", configs=configs)
    assert defaults_of(tmp_path / "m" / "sd3")["max_width"] == 96 * 2 * 8


def test_what_was_found_out_is_kept(tmp_path: Path) -> None:
    stores.write_pipeline(tmp_path / "m" / "painter", configs=side(64))
    (first,) = Library([tmp_path / "m"], tmp_path / "index.json").builds()
    (again,) = Library([tmp_path / "m"], tmp_path / "index.json").builds()
    assert again == first
    assert again.footprint is not None and again.footprint.canvas is not None
