"""Diffusers folders are checked before anything in them is loaded."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nanolocal.chat.ports import ImageJob
from nanolocal.chat.routes import Kind
from nanolocal.engines.manifest import check_pipeline
from nanolocal.errors import EngineFailed
from tests.fakes.stores import write_safetensors
from tests.unit.engines.helpers import build_of, listen, with_pool

INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "feature_extractor": [None, None],
    "safety_checker": [None, None],
    "requires_safety_checker": False,
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderTiny"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The outline of a folder that passes."""
    path = tmp_path / "painter"
    for part in ("scheduler", "text_encoder", "tokenizer", "unet", "vae"):
        (path / part).mkdir(parents=True)
        (path / part / "config.json").write_text("{}", encoding="utf-8")
    for part in ("text_encoder", "unet", "vae"):
        write_safetensors(path / part / "model.safetensors", ("weight",))
    write_index(path)
    return path


def write_index(path: Path, **changes: object) -> None:
    (path / "model_index.json").write_text(json.dumps(INDEX | changes), encoding="utf-8")


def pickled(path: Path) -> None:
    (path / "unet/model.safetensors").rename(path / "unet/model.bin")


def with_code(path: Path) -> None:
    (path / "unet/my_unet.py").write_text("boom", encoding="utf-8")


def with_auto_map(path: Path) -> None:
    (path / "tokenizer/tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "x.Y"}}', encoding="utf-8")


def without_a_part(path: Path) -> None:
    (path / "vae/model.safetensors").unlink()
    (path / "vae/config.json").unlink()
    (path / "vae").rmdir()


def not_json(path: Path) -> None:
    (path / "model_index.json").write_bytes(b"\xff{")


def a_list(path: Path) -> None:
    (path / "model_index.json").write_text("[1]", encoding="utf-8")


def deep(path: Path) -> None:
    (path / "model_index.json").write_text("[" * 200_000, encoding="utf-8")


def no_index(path: Path) -> None:
    (path / "model_index.json").unlink()


def index(**changes: object) -> Callable[[Path], None]:
    return lambda path: write_index(path, **changes)


HOSTILE = [
    (index(_class_name="HackPipeline"), "unknown pipeline 'HackPipeline'"),
    (index(_class_name=["my_pipeline", "StableDiffusionPipeline"]), "unknown pipeline"),
    (index(_class_name=None), "unknown pipeline"),
    (index(unet=["os", "system"]), "unknown class os.system"),
    (index(unet=["diffusers", "DiffusionPipeline"]), "unknown class diffusers.DiffusionPipeline"),
    (index(unet=["my_unet", "MyUNet"]), "unknown class my_unet.MyUNet"),
    (index(unet=["diffusers.../x", "UNet2DConditionModel"]), "unknown class"),
    (index(unet=["diffusers"]), "describes its 'unet' wrongly"),
    (index(unet=[None, "UNet2DConditionModel"]), "describes its 'unet' wrongly"),
    (index(extra=["transformers", "AutoModel"]), "unknown class transformers.AutoModel"),
    (index(**{"../outside": ["diffusers", "AutoencoderKL"]}), "unknown part '../outside'"),
    (index(**{"unet/../vae": ["diffusers", "AutoencoderKL"]}), "unknown part 'unet/../vae'"),
    (pickled, "no safetensors weights for its unet: model.bin is pickled, and other formats run code"),
    (with_code, "brings code of its own: unet/my_unet.py"),
    (with_auto_map, "asks for code of its own in tokenizer/tokenizer_config.json"),
    (without_a_part, "has no folder 'vae'"),
    (not_json, "is not JSON"),
    (deep, "is not JSON"),
    (a_list, "holds no object"),
    (no_index, "cannot be read"),
]


def test_a_known_pipeline_passes(folder: Path) -> None:
    assert check_pipeline(folder) == "StableDiffusionPipeline"


@pytest.mark.parametrize(("spoil", "why"), HOSTILE)
def test_a_hostile_folder_is_refused(folder: Path, spoil: Callable[[Path], None], why: str) -> None:
    spoil(folder)
    with pytest.raises(EngineFailed) as refused:
        check_pipeline(folder)
    assert why in refused.value.message
    assert refused.value.hint


def test_the_child_refuses_it_too_and_runs_none_of_it(folder: Path) -> None:
    write_index(folder, unet=["my_unet", "MyUNet"])
    (folder / "unet" / "my_unet.json").write_text("{}", encoding="utf-8")
    with pytest.raises(EngineFailed, match=r"painter:f32 failed: painter wants the unknown class my_unet\.MyUNet"):
        with_pool(lambda pool: listen(pool, build_of(folder, Kind.IMAGE), ImageJob("x", 64, 64, 2, 1.0)))


def test_weights_that_are_garbage_fail_in_one_line(folder: Path) -> None:
    with pytest.raises(EngineFailed, match="diffusers cannot load painter: ") as refused:
        with_pool(lambda pool: listen(pool, build_of(folder, Kind.IMAGE), ImageJob("x", 64, 64, 2, 1.0)))
    assert "\n" not in refused.value.message
