"""A picture build that is one file draws with what a pipeline folder of its family has besides."""

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import pytest

from nanolocal.chat.routes import Build, Kind
from nanolocal.library.library import Library
from tests.fakes import stores
from tests.unit.formats.test_pipeline_folder import write_shapes

FLUX = {"img_in.weight": (32, 64), "txt_in.weight": (32, 24), "double_blocks.0.img_attn.qkv.weight": (96, 32),
        "guidance_in.in_layer.weight": (32, 256)}  # fmt: skip
CONFIG = {"num_attention_heads": 2, "attention_head_dim": 16, "in_channels": 64, "joint_attention_dim": 24,
          "num_layers": 1, "guidance_embeds": True}  # fmt: skip


def write_flux(folder: Path, **config: object) -> Path:
    """A Flux pipeline with the parts that are not its transformer."""
    stores.write_pipeline(folder, "FluxPipeline", "FluxTransformer2DModel", scheduler="FlowMatchEulerDiscreteScheduler",
                          configs={"denoiser": CONFIG | config})  # fmt: skip
    text = int(str(config.get("joint_attention_dim", 24)))
    shapes: dict[str, tuple[int, ...]] = {"x_embedder.weight": (32, 64), "context_embedder.weight": (32, text)}
    layers = {f"transformer_blocks.{n}.x": (1,) for n in range(int(str(config.get("num_layers", 1))))}
    write_shapes(folder / "transformer/diffusion_pytorch_model.safetensors", shapes | layers)
    return folder


def write_transformer(path: Path, shapes: Mapping[str, tuple[int, ...]] = FLUX) -> Path:
    """The same names and shapes in a GGUF file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "flux")
    for name, shape in shapes.items():
        writer.add_tensor(name, np.ones(shape, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def build_at(library: Library, path: Path) -> Build:
    return next(build for build in library.builds() if build.path == path)


def look(tmp_path: Path) -> Library:
    return Library([tmp_path / "models"], tmp_path / "index.json")


@pytest.mark.parametrize("suffix", [".gguf", ".safetensors"])
def test_a_transformer_alone_says_what_it_lacks_until_a_folder_has_it(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / "models" / "unet" / f"flux1-schnell-Q8_0{suffix}"
    write_transformer(file)
    if suffix == ".safetensors":
        write_shapes(file, FLUX)
    alone = build_at(look(tmp_path), file)
    assert alone.kind is Kind.IMAGE
    assert alone.needs == "the other parts of its Flux pipeline: a diffusers folder of that family"
    assert (alone.base, alone.footprint) == (None, None)
    assert (alone.defaults["steps"], alone.defaults["guidance"]) == (4, 0.0)
    folder = write_flux(tmp_path / "models" / "flux")
    based = build_at(look(tmp_path), file)
    assert (based.needs, based.base) == ("", folder)
    assert based.footprint is not None and based.footprint.canvas is not None


@pytest.mark.parametrize("other", [{"joint_attention_dim": 48}, {"num_layers": 2}, {"guidance_embeds": False}])
def test_a_folder_of_other_shapes_is_not_taken(tmp_path: Path, other: dict[str, object]) -> None:
    file = write_transformer(tmp_path / "models" / "flux-Q8_0.gguf")
    write_flux(tmp_path / "models" / "flux", **other)
    assert build_at(look(tmp_path), file).base is None


def test_the_folder_that_is_called_as_the_file_is_comes_first(tmp_path: Path) -> None:
    file = write_transformer(tmp_path / "models" / "b" / "flux.gguf")
    write_flux(tmp_path / "models" / "a")
    beside = write_flux(tmp_path / "models" / "b" / "flux")
    assert build_at(look(tmp_path), file).base == beside


def test_a_folder_that_is_hostile_is_no_base(tmp_path: Path) -> None:
    file = write_transformer(tmp_path / "models" / "flux-Q8_0.gguf")
    (write_flux(tmp_path / "models" / "flux") / "vae" / "x.py").write_text("boom")
    assert build_at(look(tmp_path), file).base is None


def test_checkpoints_of_known_shapes_need_nothing_else(tmp_path: Path) -> None:
    usual = {"model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
             "first_stage_model.decoder.conv_in.weight": (8, 4, 3, 3),
             "cond_stage_model.transformer.text_model.x": (2, 2)}  # fmt: skip
    (tmp_path / "models").mkdir()
    write_shapes(tmp_path / "models" / "dreamy.safetensors", usual)
    inpainting = usual | {"model.diffusion_model.input_blocks.0.0.weight": (320, 9, 3, 3)}
    write_shapes(tmp_path / "models" / "inpainting.safetensors", inpainting)
    library = look(tmp_path)
    assert build_at(library, tmp_path / "models" / "dreamy.safetensors").needs == ""
    odd = build_at(library, tmp_path / "models" / "inpainting.safetensors")
    assert odd.needs == "the configuration of its Stable Diffusion 1 or 2 pipeline: a diffusers folder of that family"


def test_adapters_and_controlnets_are_told_from_builds(tmp_path: Path) -> None:
    lora = stores.write_safetensors(tmp_path / "models" / "Ink.safetensors", stores.LORA)
    net = tmp_path / "models" / "canny"
    stores.write_safetensors(net / "diffusion_pytorch_model.safetensors", ("controlnet_cond_embedding.weight",))
    (net / "config.json").write_text('{"_class_name": "ControlNetModel"}')
    file = stores.write_safetensors(tmp_path / "models" / "depth.safetensors", ("control_model.input_blocks.0.x",))
    library = look(tmp_path)
    assert library.builds() == ()
    assert {part.path for part in library.controlnets()} == {net, file}
    (ink,) = library.adapters()
    assert (ink.name, ink.path) == ("Ink", lora)
    canny = next(part for part in library.controlnets() if part.path == net)
    assert (canny.name, canny.architecture, canny.memory) == ("canny", "Stable Diffusion 1 or 2", 2 * 4)


@pytest.mark.parametrize(
    ("shapes", "family"),
    [
        ({"lora_unet_x_attn2_to_k.lora_down.weight": (4, 768)}, "Stable Diffusion 1"),
        ({"lora_unet_x_attn2_to_k.lora_down.weight": (4, 1024)}, "Stable Diffusion 2"),
        ({"unet.x.attn2.to_k.lora_A.weight": (4, 2048)}, "SDXL"),
        ({"lora_te2_text_model.lora_down.weight": (4, 1280)}, "SDXL"),
        ({"transformer.single_transformer_blocks.0.x.lora_A.weight": (4, 8)}, "Flux"),
        ({"lora_unet_double_blocks_0_x.lora_up.weight": (4, 8)}, ""),
    ],
)  # fmt: skip
def test_an_adapter_says_for_which_pictures_it_is(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], family: str
) -> None:
    (tmp_path / "models").mkdir()
    write_shapes(tmp_path / "models" / "style.safetensors", shapes)
    assert [part.architecture for part in look(tmp_path).adapters()] == [family]
