"""A pipeline folder is checked whole, classes, code, links, shards and shapes, before anything is imported."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from nanolocal.errors import Damaged
from nanolocal.formats.pipeline_folder import TO_CONVERT, check_controlnet, check_folder
from nanolocal.formats.pipelines import CLASSES, CONTROLNETS, PIPELINES, Family, Role, role_of
from tests.fakes import stores

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that passes."""
    return stores.write_pipeline(tmp_path / "painter")


def write_shapes(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """A safetensors file whose tensors lie in a hole."""
    header: dict[str, object] = {}
    end = 0
    for name, shape in shapes.items():
        size = 2
        for side in shape:
            size *= side
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


def change(path: Path, **keys: object) -> None:
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(content | keys), encoding="utf-8")


def sharded(folder: Path, *names: str) -> None:
    """The weights of the UNet in shards that an index names."""
    for name in names:
        if Path(name).name == name:
            stores.write_safetensors(folder / "unet" / name, (f"{name}.weight",))
    index = {"weight_map": {f"t{number}": name for number, name in enumerate(names)}}
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    (folder / WEIGHTS).unlink()


def with_index(**keys: object) -> Callable[[Path], None]:
    return lambda folder: change(folder / "model_index.json", **keys)


def with_config(file: str, **keys: object) -> Callable[[Path], None]:
    return lambda folder: change(folder / file, **keys)


def linked(to: str, name: str = "unet/extra.safetensors") -> Callable[[Path], None]:
    return lambda folder: (folder / name).symlink_to(to)


def a_link_to_a_file_outside(folder: Path) -> None:
    outside = stores.write_safetensors(folder.parent / "outside.safetensors", ("conv_in.weight",))
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to(outside)


def a_link_to_a_folder_outside(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    (folder / "text_encoder").symlink_to(folder.parent / "elsewhere")


def a_fifo(folder: Path) -> None:
    os.mkfifo(folder / "unet" / "pipe.json")


def an_index_that_is_a_fifo(folder: Path) -> None:
    (folder / "model_index.json").unlink()
    os.mkfifo(folder / "model_index.json")


def a_missing_shard(folder: Path) -> None:
    sharded(folder, "a-00001-of-00002.safetensors", "a-00002-of-00002.safetensors")
    (folder / "unet" / "a-00002-of-00002.safetensors").unlink()


def shards_without_an_index(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "unet/diffusion_pytorch_model-00001-of-00002.safetensors")


def huge(folder: Path) -> None:
    with (folder / "vae/config.json").open("ab") as file:
        file.truncate(5 * 2**20)


def deep(folder: Path) -> None:
    (folder / "vae/config.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000, encoding="utf-8")


def without_a_part(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        del index[name]
        (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")

    return spoil


def wrong_shapes(folder: Path) -> None:
    change(folder / "unet/config.json", block_out_channels=[320, 640], in_channels=4)
    write_shapes(folder / WEIGHTS, {"conv_in.weight": (16, 4, 3, 3)})


def cut_off(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-2])


def pickled(suffix: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / WEIGHTS).rename((folder / WEIGHTS).with_suffix(suffix))

    return spoil


def a_library(folder: Path) -> None:
    (folder / "unet/x.so").write_bytes(b"\x7fELF")


HOSTILE = {
    "pipeline of its own": (with_index(_class_name=["my_pipeline", "X"]), "unknown pipeline"),
    "video pipeline": (with_index(_class_name="WanPipeline"), "unknown pipeline 'WanPipeline'"),
    "custom_pipeline": (with_index(custom_pipeline="evil"), "code of its own in model_index.json, by custom_pipeline"),
    "_module": (with_index(_module="evil"), "code of its own in model_index.json, by _module"),
    "auto_map": (with_config("unet/config.json", auto_map={"AutoModel": "x.Y"}), "in unet/config.json, by auto_map"),
    "auto_map deep inside": (
        with_config("vae/config.json", text_config=[{"auto_map": {"AutoModel": "x.Y"}}]),
        "in vae/config.json, by auto_map",
    ),
    "trust_remote_code": (with_config("unet/config.json", trust_remote_code=True), "by trust_remote_code"),
    "a class in the wrong place": (with_index(unet=["diffusers", "AutoencoderKL"]), "which is for something else"),
    "an unknown library": (with_index(unet=["evil", "UNet2DConditionModel"]), "unknown class evil.UNet2D"),
    "a part of its own": (with_index(extra=["diffusers", "AutoencoderKL"]), "unknown part 'extra'"),
    "a file outside": (a_link_to_a_file_outside, f"a link that leads out of it, or nowhere: {WEIGHTS}"),
    "a folder outside": (a_link_to_a_folder_outside, "a link that leads out of it, or nowhere: text_encoder"),
    "a link to nothing": (linked("nothing"), "a link that leads out of it, or nowhere: unet/extra.safetensors"),
    "a link to itself": (linked("extra.safetensors"), "a link that leads out of it, or nowhere"),
    "a fifo": (a_fifo, "something that is no file: unet/pipe.json"),
    "an index that is a fifo": (an_index_that_is_a_fifo, "something that is no file: model_index.json"),
    "a library": (a_library, "code of its own: unet/x.so"),
    "a missing shard": (a_missing_shard, "lacks a shard of its unet: a-00002-of-00002.safetensors"),
    "a shard outside": (lambda folder: sharded(folder, "../../x.safetensors"), "names a shard outside its folder"),
    "shards without an index": (shards_without_an_index, "has no index of the shards in unet"),
    "a huge setting": (huge, "vae/config.json is too large: more than 4 MiB"),
    "a deep setting": (deep, "nested too deeply"),
    "no decoder": (without_a_part("vae"), "has no decoder"),
    "no denoiser": (without_a_part("unet"), "has no denoiser"),
    "wrong shapes": (wrong_shapes, "conv_in.weight is 16 x 4 x 3 x 3 and should be 320 x 4"),
    "cut off": (cut_off, "not as long as its header says"),
    "pickled .bin": (pickled(".bin"), "diffusion_pytorch_model.bin is pickled"),
    "pickled .ckpt": (pickled(".ckpt"), "diffusion_pytorch_model.ckpt is pickled"),
    "pickled .pt": (pickled(".pt"), "diffusion_pytorch_model.pt is pickled"),
    "pickled .pth": (pickled(".pth"), "diffusion_pytorch_model.pth is pickled"),
    "pickled .pkl": (pickled(".pkl"), "diffusion_pytorch_model.pkl is pickled"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_folder_is_refused_in_one_line_and_left_as_it_is(folder: Path, name: str) -> None:
    spoil, why = HOSTILE[name]
    spoil(folder)
    before = stores.census(folder)
    with pytest.raises(Damaged) as refused:
        check_folder(folder)
    assert why in refused.value.message
    assert "\n" not in refused.value.message
    assert refused.value.hint
    assert stores.census(folder) == before


def test_a_pickle_is_refused_with_the_way_to_convert_it(folder: Path) -> None:
    pickled(".bin")(folder)
    with pytest.raises(Damaged) as refused:
        check_folder(folder)
    assert refused.value.hint == TO_CONVERT
    assert "safetensors" in TO_CONVERT


PROGRAM = """
import sys
from pathlib import Path
from nanolocal.errors import Damaged
from nanolocal.formats.pipeline_folder import check_folder
for folder in map(Path, sys.argv[1:]):
    try:
        check_folder(folder)
    except Damaged:
        continue
    raise SystemExit(f"{folder} passed")
print(sorted({"torch", "diffusers", "transformers", "safetensors", "my_unet"} & set(sys.modules)))
"""


def test_nothing_is_imported_while_hostile_folders_are_looked_at(tmp_path: Path) -> None:
    folders = []
    for number, (spoil, _) in enumerate(HOSTILE.values()):
        folder = stores.write_pipeline(tmp_path / str(number) / "painter")
        (folder.parent / "my_unet.py").write_text("raise SystemExit('ran')")
        spoil(folder)
        folders.append(str(folder))
    done = subprocess.run([sys.executable, "-c", PROGRAM, *folders], capture_output=True, text=True, check=False,
                          cwd=Path(__file__).parents[3])  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_a_pickle_beside_safetensors_is_passed_over(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04")
    assert [file.name for file in check_folder(folder).denoiser.files] == ["diffusion_pytorch_model.safetensors"]


def test_a_snapshot_of_the_hubs_cache_passes_with_its_links_into_the_blobs(folder: Path, tmp_path: Path) -> None:
    snapshot = stores.write_hf_folder(tmp_path / "hub", "org/painter", folder)
    assert (snapshot / WEIGHTS).is_symlink()
    facts = check_folder(snapshot)
    assert facts.denoiser.weights.parameters == 2
    secret = stores.write_safetensors(tmp_path / "hub/models--org--other/blobs/x", ("conv_in.weight",))
    (snapshot / WEIGHTS).unlink()
    (snapshot / WEIGHTS).symlink_to(secret)
    with pytest.raises(Damaged, match="leads out of it"):
        check_folder(snapshot)


def test_a_link_inside_the_folder_and_one_to_the_folder_pass(folder: Path, tmp_path: Path) -> None:
    (folder / "vae/copy.safetensors").symlink_to("diffusion_pytorch_model.safetensors")
    (tmp_path / "here").symlink_to(folder)
    assert check_folder(tmp_path / "here").pipeline == "StableDiffusionPipeline"


def test_shards_are_read_together(folder: Path) -> None:
    sharded(folder, "a-00001-of-00002.safetensors", "a-00002-of-00002.safetensors")
    part = check_folder(folder).denoiser
    assert (len(part.files), part.weights.parameters, part.weights.stored_as) == (2, 4, "F16")


def test_of_two_precisions_the_half_one_is_taken(folder: Path) -> None:
    stores.write_safetensors(folder / "unet/diffusion_pytorch_model.fp16.safetensors", ("conv_in.weight",))
    facts = check_folder(folder)
    assert facts.variant == "fp16"
    assert facts.denoiser.files[0].name == "diffusion_pytorch_model.fp16.safetensors"
    assert facts.decoder.files[0].name == "diffusion_pytorch_model.safetensors"


def test_the_denoiser_may_be_a_gguf_file(tmp_path: Path) -> None:
    folder = stores.write_pipeline(tmp_path / "f", "FluxPipeline", "FluxTransformer2DModel")
    (folder / "transformer/diffusion_pytorch_model.safetensors").unlink()
    stores.write_gguf(folder / "transformer/flux-Q8_0.gguf", architecture="flux")
    weights = check_folder(folder).denoiser.weights
    assert weights.shapes == {"t0.weight": (4, 64)}
    assert (weights.floats, weights.others_bytes) == (256, 0)


def test_a_controlnet_is_told_by_its_class(tmp_path: Path) -> None:
    net = tmp_path / "canny"
    stores.write_safetensors(net / "diffusion_pytorch_model.safetensors", ("controlnet_cond_embedding.weight",))
    change(net / "config.json", _class_name="ControlNetModel")
    assert check_controlnet(net).role is Role.CONTROLNET
    change(net / "config.json", _class_name="EvilControlNet")
    with pytest.raises(Damaged, match="unknown class 'EvilControlNet'"):
        check_controlnet(net)
    change(net / "config.json", _class_name="ControlNetModel", auto_map={"AutoModel": "x.Y"})
    with pytest.raises(Damaged, match="code of its own"):
        check_controlnet(net)


CLASSES_PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
import diffusers, transformers
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from diffusers.utils.deprecation_utils import _maybe_remap_transformers_class
homes = {"diffusers": diffusers, "transformers": transformers}
missing = []
for library, name in json.loads(sys.argv[1]):
    name = _maybe_remap_transformers_class(name) or name
    if library != "stable_diffusion" and not isinstance(getattr(homes[library], name, None), type):
        missing.append(name)
print(json.dumps(missing))
"""


@pytest.mark.slow
def test_every_listed_class_exists_in_the_installed_libraries() -> None:
    listed = {("diffusers", name) for name in (*PIPELINES, *CONTROLNETS)}
    listed |= {
        (library, name) for libraries in CLASSES.values() for library, names in libraries.items() for name in names
    }
    done = subprocess.run(
        [sys.executable, "-c", CLASSES_PROGRAM, json.dumps(sorted(listed))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_every_family_has_words_and_pipelines() -> None:
    assert {PIPELINES[name] for name in PIPELINES} == set(Family)
    assert all(family.described for family in Family)


@pytest.mark.parametrize(
    ("part", "role"),
    [("text_encoder_3", Role.TEXT_ENCODER), ("unet", Role.DENOISER), ("transformer", Role.DENOISER), ("unet2", None),
     ("text_encoder_9", None), ("vae.x", None), ("controlnet", Role.CONTROLNET)],
)  # fmt: skip
def test_parts_have_roles_by_their_whole_name(part: str, role: Role | None) -> None:
    assert role_of(part) is role
