"""Which builds a repository holds, and which of them is taken."""

import pytest

from nanolocal.errors import NoBuildFits, UsageError
from nanolocal.library.pull.choosing import Option, RemoteFile, Shape, best_that_fits, choose
from nanolocal.library.pull.grouping import checkpoints, ggufs
from nanolocal.library.pull.pipelines import pipelines

GB = 10**9
BIG = best_that_fits(1000 * GB, 1e15)


def files(*paths: str, size: int = GB) -> list[RemoteFile]:
    return [RemoteFile(path, size) for path in paths]


def names(option: Option) -> list[str]:
    return [file.path for file in option.files]


def test_builds_of_one_repository_by_their_quantizations() -> None:
    found = ggufs(files("m-Q4_K_M.gguf", "m-q8_0.gguf", "BF16/m-BF16.gguf", "m.i1-IQ2_XS.gguf", "m-UD-Q4_K_XL.gguf",
                        "README.md", "config.json", "m.imatrix.gguf", "my-lora-f16.gguf"))  # fmt: skip
    assert [option.label for option in found] == ["Q4_K_M", "Q8_0", "BF16", "IQ2_XS", "Q4_K_XL"]


def test_a_quantization_may_stand_in_the_folder() -> None:
    assert [option.label for option in ggufs(files("Q5_K_M/model.gguf", "plain.gguf"))] == ["Q5_K_M", "plain"]


def test_split_files_are_one_build_in_order() -> None:
    shuffled = files(
        "Q8_0/m-Q8_0-00002-of-00003.gguf", "Q8_0/m-Q8_0-00003-of-00003.gguf", "Q8_0/m-Q8_0-00001-of-00003.gguf"
    )
    (option,) = ggufs(shuffled)
    assert names(option) == [f"Q8_0/m-Q8_0-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert (option.label, option.size, option.lacks) == ("Q8_0", 3 * GB, "")


@pytest.mark.parametrize("numbers", [(1, 3), (2, 3), (1, 2), (1, 1, 2, 3)])
def test_split_files_that_are_not_all_there_are_not_taken(numbers: tuple[int, ...]) -> None:
    parts = files(*(f"m-Q8_0-{n:05d}-of-00003.gguf" for n in numbers))
    (option,) = ggufs(parts)
    assert option.lacks
    with pytest.raises(UsageError, match="not whole"):
        choose((option,), "Q8_0", "", BIG)
    with pytest.raises(UsageError):
        choose((option,), "", "", BIG)


@pytest.mark.parametrize(("projectors", "chosen"), [
    (("mmproj-F32.gguf", "mmproj-F16.gguf", "mmproj-BF16.gguf"), "mmproj-F16.gguf"),
    (("mmproj-F32.gguf", "mmproj-Q8_0.gguf"), "mmproj-Q8_0.gguf"),
    (("mmproj-other-7b-f16.gguf",), None),
    (("mmproj-see-4b-Q8_0.gguf", "mmproj-F16.gguf"), "mmproj-see-4b-Q8_0.gguf"),
    ((), None),
])  # fmt: skip
def test_the_file_to_see_by_comes_along(projectors: tuple[str, ...], chosen: str | None) -> None:
    (option,) = ggufs(files("see-4b-Q4_K_M.gguf", *projectors))
    assert [file.path for file in option.companions] == ([chosen] if chosen else [])


def test_the_projector_that_the_catalogue_names_goes_before() -> None:
    (option,) = ggufs(files("see-Q4_K_M.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf"), "mmproj-F32.gguf")
    assert [file.path for file in option.companions] == ["mmproj-F32.gguf"]
    assert option.size == 2 * GB


def sized(**sizes: float) -> list[Option]:
    return [
        Option(Shape.GGUF, label, (RemoteFile(f"m-{label}.gguf", int(size * GB)),)) for label, size in sizes.items()
    ]


@pytest.mark.parametrize(("budget", "label"), [
    (100, "Q8_0"), (9, "Q6_K"), (6, "Q4_K_M"), (4.5, "Q3_K_M"), (3.0, "Q3_K_M"), (2.9, "Q2_K"),
])  # fmt: skip
def test_the_best_that_fits_of_4_to_8_bits_is_taken(budget: float, label: str) -> None:
    options = sized(Q2_K=2, Q3_K_M=2.4, Q4_K_M=4, Q6_K=6, Q8_0=8, F16=16, IQ4_NL=4.1)
    assert choose(options, "", "", best_that_fits(int(budget * GB), 1e15)).label == label


def test_where_none_fits_the_smallest_is_named() -> None:
    with pytest.raises(NoBuildFits) as refused:
        choose(sized(Q8_0=8, Q4_K_M=4), "", "", best_that_fits(GB, 1e15))
    assert "Q4_K_M 4.0 GB" in refused.value.hint


@pytest.mark.parametrize(
    ("quant", "label"), [("q8_0", "Q8_0"), ("m-F16", "F16"), ("fp16", "F16"), ("m-Q8_0.gguf", "Q8_0")]
)
def test_a_build_is_named_by_its_quantization_or_file_in_any_case(quant: str, label: str) -> None:
    assert choose(sized(Q8_0=8, F16=16), quant, "", BIG).label == label


def test_an_unknown_quantization_lists_what_there_is_with_sizes() -> None:
    with pytest.raises(UsageError) as refused:
        choose(sized(Q8_0=8, Q4_K_M=4), "Q5_K_M", "", BIG)
    assert refused.value.hint == "there are Q4_K_M 4.0 GB, Q8_0 8.0 GB"


def test_two_builds_of_one_quantization_have_to_be_told_by_file() -> None:
    options = ggufs(files("a-Q8_0.gguf", "b-Q8_0.gguf"))
    with pytest.raises(UsageError) as refused:
        choose(options, "Q8_0", "", BIG)
    assert "a-Q8_0.gguf, b-Q8_0.gguf" in refused.value.hint
    assert names(choose(options, "", "b-Q8_0.gguf", BIG)) == ["b-Q8_0.gguf"]


def test_single_checkpoints_are_taken_only_by_name() -> None:
    options = checkpoints(files("dream.safetensors", "sub/other.safetensors"))
    with pytest.raises(UsageError):
        choose(options, "", "", BIG)
    assert names(choose(options, "", "dream.safetensors", BIG)) == ["dream.safetensors"]


INDEX = {
    "_class_name": "StableDiffusionXLPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "image_encoder": [None, None],
    "force_zeros": True,
}
PLAIN = ("model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json",
         "tokenizer/vocab.json", "tokenizer/merges.txt", "scheduler/scheduler_config.json")  # fmt: skip
NOISE = ("README.md", "LICENSE.txt", "sd_xl_base.safetensors", "unet/model.onnx", "unet/diffusion_pytorch_model.bin",
         "vae_1_0/config.json", "text_encoder/flax_model.msgpack", "text_encoder/pytorch_model.bin.index.json",
         "unet/run.py", "vae/deep/x.json", "image_encoder/config.json", "tokenizer/tokenizer.pkl")  # fmt: skip


def pipeline(*weights: str) -> dict[str, list[str]]:
    return {option.label: names(option) for option in pipelines(files(*PLAIN, *NOISE, *weights, size=10_000), INDEX)}


def test_a_pipeline_in_half_precision_without_what_is_not_needed() -> None:
    found = pipeline(
        "unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors", "text_encoder/model.safetensors",
        "text_encoder/model.fp16.safetensors", "vae/diffusion_pytorch_model.safetensors",
    )  # fmt: skip
    weights = ["unet/diffusion_pytorch_model{}.safetensors", "text_encoder/model{}.safetensors"]
    vae = "vae/diffusion_pytorch_model.safetensors"
    assert {label: set(paths) for label, paths in found.items()} == {
        "F16": {*PLAIN, vae, *(name.format(".fp16") for name in weights)},
        "F32": {*PLAIN, vae, *(name.format("") for name in weights)},
    }
    assert all(paths[0] == "model_index.json" for paths in found.values())
    assert next(iter(found)) == "F16"


def test_shards_come_with_their_index_and_not_beside_the_whole() -> None:
    found = pipeline(
        "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.json", "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.fp16-00001-of-00001.safetensors", "text_encoder/model.safetensors.index.fp16.json",
        "text_encoder/model.safetensors", "text_encoder/model-00001-of-00001.safetensors",
        "text_encoder/model.safetensors.index.json",
    )  # fmt: skip
    unet = {name for name in found["F16"] if name.startswith("unet/d")}
    assert len(unet) == 3
    assert {name for name in found["F16"] if name.startswith("text_encoder/m")} == {
        "text_encoder/model.fp16-00001-of-00001.safetensors", "text_encoder/model.safetensors.index.fp16.json",
    }  # fmt: skip
    assert {name for name in found["F32"] if name.startswith("text_encoder/m")} == {"text_encoder/model.safetensors"}


def test_one_precision_of_which_nothing_is_said() -> None:
    found = pipeline("unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors",
                     "vae/diffusion_pytorch_model.safetensors")  # fmt: skip
    assert list(found) == ["full"]


def test_pickled_weights_alone_are_refused() -> None:
    with pytest.raises(UsageError, match="pickled"):
        pipelines(files(*PLAIN, "unet/diffusion_pytorch_model.bin"), INDEX)


def test_a_component_that_is_called_as_no_folder_may_be_is_refused() -> None:
    with pytest.raises(UsageError, match="refused"):
        pipelines(files(*PLAIN), {**INDEX, "../unet": ["diffusers", "UNet2DConditionModel"]})


def test_a_pipeline_is_taken_in_half_precision_unless_another_is_named() -> None:
    options = pipelines(files(*PLAIN, "unet/a.fp16.safetensors", "unet/a.safetensors"), INDEX)
    assert choose(options, "", "", BIG).label == "F16"
    assert choose(options, "f32", "", BIG).label == "F32"
    assert choose(options, "fp16", "", BIG).label == "F16"
