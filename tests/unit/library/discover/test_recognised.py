"""What a file is: split, projector, adapter, embedding model, checkpoint, duplicate, or nothing that is used here."""

import os
from pathlib import Path

import pytest

from nanolocal.chat.routes import Kind
from nanolocal.library.discover.scan import Report
from nanolocal.library.duplicates import merge
from nanolocal.library.fingerprints import Fingerprints
from nanolocal.library.pictures import use_of
from tests.fakes import stores
from tests.unit.library.discover.reading import in_folder, parts, reasons


def ids(report: Report) -> list[str]:
    return sorted(build.id for build, _ in report.builds)


def write_split(folder: Path, name: str, total: int, leave_out: tuple[int, ...] = ()) -> list[Path]:
    paths = [folder / f"{name}-{number:05d}-of-{total:05d}.gguf" for number in range(1, total + 1)]
    for number, path in enumerate(paths, 1):
        if number not in leave_out:
            stores.write_gguf(path, extra={"split.no": number - 1, "split.count": total}, value=number)
    return [path for path in paths if path.exists()]


def test_parts_are_one_build_with_all_their_weights(tmp_path: Path) -> None:
    paths = write_split(tmp_path / "m", "big-Q4_K_M", 3)
    ((build, _),) = in_folder(tmp_path / "m").builds
    assert (build.id, build.path) == ("big:Q4_K_M", paths[0])
    assert build.size_bytes == sum(path.stat().st_size for path in paths)
    assert build.parameters == 3 * 256


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_any_missing_part_is_named(tmp_path: Path, missing: int) -> None:
    write_split(tmp_path / "m", "big", 3, leave_out=(missing,))
    report = in_folder(tmp_path / "m")
    assert ids(report) == []
    (reason,) = reasons(report)
    assert f"lacks 1 of its 3 parts, first big-{missing:05d}-of-00003.gguf" in reason


def test_a_part_of_another_file_is_refused(tmp_path: Path) -> None:
    paths = write_split(tmp_path / "m", "big", 2)
    stores.write_gguf(paths[1], extra={"split.no": 0, "split.count": 2})
    report = in_folder(tmp_path / "m")
    assert reasons(report) == ["big-00002-of-00002.gguf is another part than its name says"]


def test_a_cut_off_part_is_refused(tmp_path: Path) -> None:
    paths = write_split(tmp_path / "m", "big", 2)
    paths[1].write_bytes(paths[1].read_bytes()[:-40])
    assert "shorter than its tensors need" in reasons(in_folder(tmp_path / "m"))[0]


def test_two_splits_that_differ_in_a_later_part_are_two_builds(tmp_path: Path) -> None:
    write_split(tmp_path / "m" / "a", "big", 2)
    second = write_split(tmp_path / "m" / "b", "big", 2)[1]
    stores.write_gguf(second, extra={"split.no": 1, "split.count": 2}, value=99)
    report = in_folder(tmp_path / "m")
    assert len({build.sha256 for build, _ in report.builds}) == 2


def test_a_projector_belongs_to_the_builds_of_one_model_beside_it(tmp_path: Path) -> None:
    for quantization in ("Q4_K_M", "Q8_0"):
        stores.write_gguf(tmp_path / "m" / f"eye-4b-{quantization}.gguf", quantization)
    stores.write_gguf(tmp_path / "m" / "mmproj-F32.gguf", architecture="clip", kind="mmproj")
    best = stores.write_gguf(tmp_path / "m" / "mmproj-F16.gguf", architecture="clip", kind="mmproj", value=2)
    report = in_folder(tmp_path / "m")
    assert {build.projector for build, _ in report.builds} == {best}
    assert {role for role, _ in parts(report)} == {"projector"}


def test_a_projector_among_many_models_is_told_by_its_name(tmp_path: Path) -> None:
    for name in ("gemma-3-4b-it-Q4_K_M", "qwen2.5-vl-7b-Q4_K_M", "llama-3-8b-Q8_0"):
        stores.write_gguf(tmp_path / "m" / f"{name}.gguf", name)
    for name in ("mmproj-gemma-3-4b-it-f16", "qwen2.5-vl-7b-vision-mmproj", "mmproj-f16"):
        stores.write_gguf(tmp_path / "m" / f"{name}.gguf", name, architecture="clip", kind="mmproj")
    report = in_folder(tmp_path / "m")
    chosen = {build.path.stem: build.projector and build.projector.stem for build, _ in report.builds}
    assert chosen == {
        "gemma-3-4b-it-Q4_K_M": "mmproj-gemma-3-4b-it-f16",
        "qwen2.5-vl-7b-Q4_K_M": "qwen2.5-vl-7b-vision-mmproj",
        "llama-3-8b-Q8_0": None,
    }


def test_a_projector_is_known_by_its_header_whatever_its_name(tmp_path: Path) -> None:
    stores.write_gguf(tmp_path / "m" / "a.gguf", architecture="clip")
    stores.write_gguf(tmp_path / "m" / "b.gguf", kind="mmproj")
    stores.write_gguf(tmp_path / "m" / "c.gguf", extra={"clip.has_vision_encoder": 1})
    report = in_folder(tmp_path / "m")
    assert (ids(report), parts(report)) == ([], [("projector", f"{name}.gguf") for name in "abc"])


def test_adapters_are_never_models(tmp_path: Path) -> None:
    stores.write_gguf(tmp_path / "m" / "a.gguf", kind="adapter", extra={"adapter.type": "lora"})
    stores.write_safetensors(tmp_path / "m" / "b.safetensors", stores.LORA)
    stores.write_safetensors(tmp_path / "m" / "c" / "adapter_model.safetensors", stores.TEXT_LORA)
    report = in_folder(tmp_path / "m")
    assert ids(report) == []
    assert [role for role, _ in parts(report)] == ["adapter"] * 3
    assert len(report.entries()) == 3


@pytest.mark.parametrize(
    ("architecture", "extra", "kind"),
    [
        ("nomic-bert", {}, Kind.EMBEDDING),
        ("qwen3", {"qwen3.pooling_type": 3}, Kind.EMBEDDING),
        ("qwen3", {"qwen3.pooling_type": 0}, Kind.TEXT),
        ("gemma3", {}, Kind.TEXT),
    ],
)
def test_embedding_models_write_no_text(tmp_path: Path, architecture: str, extra: dict[str, int], kind: Kind) -> None:
    stores.write_gguf(tmp_path / "m" / "e.gguf", architecture=architecture, extra=extra)
    ((build, _),) = in_folder(tmp_path / "m").builds
    assert build.kind is kind


def test_files_that_are_no_models_are_refused_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    stores.write_gguf(folder / "ggml-vocab-llama.gguf", tensors=0)
    stores.write_gguf(folder / "calibration.gguf", kind="imatrix")
    for name in ("model.pt", "model.pth", "model.ckpt", "model.pkl", "pytorch_model.bin"):
        (folder / name).write_bytes(b"\x80\x04K\x01.")
    (folder / "firmware.bin").write_bytes(b"\x7fELF")
    stores.write_safetensors(folder / "strange.safetensors", ("what.is.this",))
    report = in_folder(folder)
    assert ids(report) == []
    said = "\n".join(reasons(report))
    assert "a vocabulary and no weights" in said
    assert "an importance matrix" in said
    assert said.count("is pickled") == 5
    assert "firmware" not in said
    assert "strange.safetensors is of no kind that is known here" in said


@pytest.mark.parametrize("architecture", ["hyvid", "sd1", "t5encoder", "wan"])
def test_parts_of_picture_models_as_gguf_are_no_text_builds(tmp_path: Path, architecture: str) -> None:
    stores.write_gguf(tmp_path / "m" / "x.gguf", architecture=architecture)
    assert parts(in_folder(tmp_path / "m")) == [("component", "x.gguf")]


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (stores.SD15, "an SD 1.5 checkpoint"),
        (stores.SDXL, "an SDXL checkpoint"),
        (("model.diffusion_model.input_blocks.0", "conditioner.embedders.0.model.x"), "an SDXL refiner"),
        (("model.diffusion_model.input_blocks.0", "cond_stage_model.model.x"), "an SD 2 checkpoint"),
        (("model.diffusion_model.joint_blocks.0", "text_encoders.x"), "an SD 3 checkpoint"),
        (("double_blocks.0.img_attn",), "the transformer of a Flux model"),
        (("control_model.input_blocks.0",), "a ControlNet"),
        (("decoder.conv_in.weight",), "a picture decoder (VAE)"),
        (("encoder.block.0.layer.0.SelfAttention.q.weight",), "a text encoder (T5)"),
        (("transformer.h.0.lora_A.weight",), "a LoRA adapter"),
        (("lora_unet_x.hada_w1_a",), "a LoRA adapter"),
        (("double_blocks.0.processor.proj_lora1.down.weight",), "a LoRA adapter"),
        (("unet.mid_block.attn1.processor.to_q_lora.up.weight",), "a LoRA adapter"),
        (("model.layers.0.self_attn.q_proj.weight",), "a text encoder (a language model)"),
        (("model.diffusion_model.noise_refiner.0.w",), "the diffusion model of a picture model"),
        (("decoder.explora_down.weight", "decoder.conv_in.weight"), "a picture decoder (VAE)"),
    ],
)
def test_safetensors_files_by_the_names_of_their_tensors(names: tuple[str, ...], what: str) -> None:
    use = use_of(names)
    assert use is not None and use.what == what


def test_the_same_file_in_many_places_is_one_build(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    first = stores.write_gguf(folder / "a" / "m-Q8_0.gguf")
    for name in ("copy", "hard", "soft"):
        (folder / name).mkdir()
    (folder / "copy" / "same-Q8_0.gguf").write_bytes(first.read_bytes())
    os.link(first, folder / "hard" / "m.gguf")
    (folder / "soft" / "m.gguf").symlink_to(first)
    stores.write_gguf(folder / "other.gguf", value=2)
    report = in_folder(folder)
    merged = merge(report.builds, Fingerprints(tmp_path / "index.json"))
    assert sorted(len(places) for _, places, _ in merged) == [1, 4]


def test_large_files_that_differ_in_the_middle_are_two_builds(tmp_path: Path) -> None:
    size = 300 * 2**20
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path in paths:
        with path.open("wb") as file:
            file.truncate(size)
    with paths[2].open("r+b") as file:
        file.seek(size // 2)
        file.write(bytes([1]) * 2**20)
    fingerprints = Fingerprints(tmp_path / "index.json")
    assert len({fingerprints.of(path) for path in paths}) == 1
    assert fingerprints.are_alike(paths[0], paths[1])
    assert not fingerprints.are_alike(paths[0], paths[2])
