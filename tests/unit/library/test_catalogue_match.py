"""Which model a stored build is of: real-world names are known, and where they are not, nothing is said."""

from pathlib import Path

import pytest

from nanolocal.chat.routes import Build, Kind
from nanolocal.library.catalogue import shelf
from nanolocal.library.catalogue.names import header_names, key_of, quantization_of, without_quantization

SHIPPED = shelf.load()


def build(path: str, name: str = "", parameters: int = 0, kind: Kind = Kind.TEXT) -> Build:
    return Build("x:Q4_K_M", name, kind, Path(path), "Q4_K_M", 1, "ab" * 32, parameters=parameters)


def match(path: str, name: str = "", parameters: int = 0, tag: str = "") -> str | None:
    found = SHIPPED.match(build(path, name, parameters), tag=tag)
    return found.id if found else None


@pytest.mark.parametrize(
    ("file", "model"),
    [
        ("Qwen3-4B-Instruct-2507-Q4_K_M.gguf", "qwen3-4b-instruct-2507"),
        ("Qwen3-4B-Instruct-2507-UD-Q4_K_XL.gguf", "qwen3-4b-instruct-2507"),
        ("Qwen_Qwen3-4B-Instruct-2507-IQ4_XS.gguf", "qwen3-4b-instruct-2507"),
        ("Qwen3-4B-Q4_K_M.gguf", "qwen3-4b"),
        ("Qwen3-30B-A3B-Instruct-2507-Q4_K_M.gguf", "qwen3-30b-a3b-instruct-2507"),
        ("Qwen3-235B-A22B-Q8_0-00001-of-00009.gguf", "qwen3-235b-a22b"),
        ("Qwen3VL-4B-Instruct-Q4_K_M.gguf", "qwen3-vl-4b-instruct"),
        ("Qwen3-VL-4B-Instruct-Q8_0.gguf", "qwen3-vl-4b-instruct"),
        ("qwen2.5-1.5b-instruct-q8_0.gguf", "qwen2.5-1.5b-instruct"),
        ("Qwen2.5-Coder-7B-Instruct-Q4_K_M.gguf", "qwen2.5-coder-7b-instruct"),
        ("qwq-32b-q4_k_m.gguf", "qwq-32b"),
        ("Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", "llama-3.1-8b-instruct"),
        ("Meta-Llama-3.1-8B-Instruct-Q5_K_S.gguf", "llama-3.1-8b-instruct"),
        ("Llama-3.1-8B-Instruct-UD-IQ2_M.gguf", "llama-3.1-8b-instruct"),
        ("llama-3.2-1b-instruct-q8_0.gguf", "llama-3.2-1b-instruct"),
        ("Llama-3.3-70B-Instruct.Q4_K_M.gguf", "llama-3.3-70b-instruct"),
        ("mistral-7b-instruct-v0.2.Q4_K_M.gguf", "mistral-7b-instruct-v0.2"),
        ("Mistral-7B-Instruct-v0.3-Q4_K_M.gguf", "mistral-7b-instruct-v0.3"),
        ("mistralai_Mistral-Small-3.1-24B-Instruct-2503-IQ2_M.gguf", "mistral-small-3.1-24b-instruct-2503"),
        ("mixtral-8x7b-instruct-v0.1.Q5_K_M.gguf", "mixtral-8x7b-instruct-v0.1"),
        ("gemma-3-4b-it-Q4_K_M.gguf", "gemma-3-4b-it"),
        ("gemma-3-4b-it-qat-q4_0.gguf", "gemma-3-4b-it"),
        ("google_gemma-3-4b-it-bf16.gguf", "gemma-3-4b-it"),
        ("gemma-3n-E4B-it-Q8_0.gguf", "gemma-3n-e4b-it"),
        ("Phi-3-mini-4k-instruct-q4.gguf", "phi-3-mini-4k-instruct"),
        ("phi-4-Q4_K_M.gguf", "phi-4"),
        ("microsoft_Phi-4-mini-instruct-Q4_K_M.gguf", "phi-4-mini-instruct"),
        ("DeepSeek-R1-Distill-Qwen-14B-Q4_K_M.gguf", "deepseek-r1-distill-qwen-14b"),
        ("DeepSeek-R1-0528-Qwen3-8B-UD-Q4_K_XL.gguf", "deepseek-r1-0528-qwen3-8b"),
        ("deepseek-coder-6.7b-instruct.Q4_K_M.gguf", "deepseek-coder-6.7b-instruct"),
        ("SmolLM3-Q4_K_M.gguf", "smollm3-3b"),
        ("HuggingFaceTB_SmolLM3-3B-Q4_K_M.gguf", "smollm3-3b"),
        ("ibm-granite_granite-3.3-8b-instruct-Q4_K_M.gguf", "granite-3.3-8b-instruct"),
        ("gpt-oss-20b-mxfp4.gguf", "gpt-oss-20b"),
        ("gpt-oss-120b-mxfp4-00001-of-00003.gguf", "gpt-oss-120b"),
        ("THUDM_GLM-4-9B-0414-Q4_K_M.gguf", "glm-4-9b-0414"),
        ("llava-v1.6-mistral-7b.Q4_K_M.gguf", "llava-v1.6-mistral-7b"),
        ("MiniCPM-V-2_6-Q4_K_M.gguf", "minicpm-v-2.6"),
        ("tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf", "tinyllama-1.1b-chat-v1.0"),
        ("nomic-embed-text-v1.5.Q8_0.gguf", "nomic-embed-text-v1.5"),
        ("embeddinggemma-300M-Q8_0.gguf", "embeddinggemma-300m"),
        ("mxbai-embed-large-v1-f16.gguf", "mxbai-embed-large-v1"),
        ("all-MiniLM-L6-v2-Q8_0.gguf", "all-minilm-l6-v2"),
    ],
)
def test_a_file_of_this_name(file: str, model: str) -> None:
    assert match(f"/models/{file}") == model


@pytest.mark.parametrize(
    ("tag", "model"),
    [
        ("qwen3:4b", "qwen3-4b"),
        ("qwen3:4b-instruct-2507-q4_K_M", "qwen3-4b-instruct-2507"),
        ("qwen3:30b-a3b-thinking-2507-q8_0", "qwen3-30b-a3b-thinking-2507"),
        ("llama3.1:8b-instruct-q4_K_M", "llama-3.1-8b-instruct"),
        ("llama3.1:8b", "llama-3.1-8b-instruct"),
        ("llama3.2:latest", "llama-3.2-3b-instruct"),
        ("llama3.2", "llama-3.2-3b-instruct"),
        ("gemma3:4b", "gemma-3-4b-it"),
        ("gemma3:4b-it-qat", "gemma-3-4b-it"),
        ("gemma3:12b-it-q8_0", "gemma-3-12b-it"),
        ("deepseek-r1:14b", "deepseek-r1-distill-qwen-14b"),
        ("qwen2.5-coder:7b", "qwen2.5-coder-7b-instruct"),
        ("qwen2.5-coder:7b-instruct-q6_K", "qwen2.5-coder-7b-instruct"),
        ("mistral:latest", "mistral-7b-instruct-v0.3"),
        ("phi4:14b-q8_0", "phi-4"),
        ("gpt-oss:20b", "gpt-oss-20b"),
        ("nomic-embed-text:latest", "nomic-embed-text-v1.5"),
        ("smollm2:135m", "smollm2-135m-instruct"),
        ("hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M", "llama-3.2-1b-instruct"),
        ("hf.co/somebody/Llama-3.2-1B-Instruct-Tuned-GGUF:Q4_K_M", None),
        ("my-own-model:latest", None),
        ("llama3.1:8b-text-q4_0", None),
        ("qwen2.5:7b-base", None),
    ],
)
def test_a_blob_that_ollama_calls_this(tag: str, model: str | None) -> None:
    assert match("/usr/share/ollama/blobs/sha256-" + "3f" * 32, tag=tag) == model


@pytest.mark.parametrize(
    "file",
    [
        "Llama-3.1-8B-Lexi-Uncensored-V2-Q4_K_M.gguf",
        "Llama-3.1-8B-Q4_K_M.gguf",
        "Qwen3-4B-Base-Q4_K_M.gguf",
        "Qwen2.5-7B-Q4_K_M.gguf",
        "Qwen3-4B-abliterated-Q4_K_M.gguf",
        "Qwen3-8B-128K-Q4_K_M.gguf",
        "mistral-7b-v0.1.Q4_K_M.gguf",
        "gemma-3-4b-pt-q4_0.gguf",
        "medgemma-4b-it-Q4_K_M.gguf",
        "mmproj-model-f16.gguf",
        "llama-7b.gguf",
        "model.gguf",
        "ggml-model-Q4_K_M.gguf",
        "story.gguf",
        ".gguf",
    ],
)
def test_bases_tunes_and_strangers_are_not_taken_for_what_they_come_from(file: str) -> None:
    assert match(f"/models/{file}") is None
    assert match(f"/models/{file}", name="") is None


def test_a_tune_that_kept_the_header_of_its_origin_is_not_taken_for_it() -> None:
    assert match("/m/Llama-3.1-8B-Lexi-Uncensored-V2-Q4_K_M.gguf", name="Meta Llama 3.1 8B Instruct") is None
    assert match("/m/Qwen3-4B-Q4_K_M.gguf", name="Qwen3 4B Thinking 2507") is None


def test_a_file_that_says_nothing_is_known_by_its_header() -> None:
    assert match("/m/model.gguf", name="Meta Llama 3.1 8B Instruct") == "llama-3.1-8b-instruct"
    assert match("/m/ggml-model-q4_0.gguf", name="Gemma 3 4b It") == "gemma-3-4b-it"
    assert match("/m/model.gguf", name="Somebody's Tune") is None


def test_a_tag_moves_so_the_header_outweighs_it() -> None:
    blob = "/o/blobs/sha256-" + "ab" * 32
    assert match(blob, name="Qwen3 4B Thinking 2507", tag="qwen3:4b") == "qwen3-4b-thinking-2507"
    assert match(blob, name="model", tag="qwen3:4b") == "qwen3-4b"


def test_base_name_size_and_finetune_of_a_header_make_a_name() -> None:
    metadata = {
        "general.name": "Models",
        "general.basename": "Meta-Llama-3.1",
        "general.size_label": "8B",
        "general.finetune": "Instruct",
    }
    assert header_names(metadata) == ("Models", "Meta-Llama-3.1-8B-Instruct")
    found = SHIPPED.match(build("/m/model.gguf"), metadata)
    assert found is not None and found.id == "llama-3.1-8b-instruct"
    assert header_names({"general.size_label": "8B"}) == ()


@pytest.mark.parametrize(
    "path",
    [
        "/h/models--ggml-org--SmolLM3-3B-GGUF/snapshots/" + "0a" * 20 + "/model.gguf",
        "/home/u/.lmstudio/models/ggml-org/SmolLM3-3B-GGUF/model-Q4_K_M.gguf",
    ],
)
def test_the_folders_of_the_hub_s_cache_and_of_lm_studio_name_the_repository(path: str) -> None:
    assert match(path) == "smollm3-3b"
    assert match(path, name="Qwen3 4B") is None
    assert match(path.replace("model", "draft-of-something")) is None


def test_a_file_with_far_fewer_or_more_weights_than_its_name_says_is_not_that_model() -> None:
    assert match("/m/Qwen3-4B-Q4_K_M.gguf", parameters=4_022_468_096) == "qwen3-4b"
    assert match("/m/Qwen3-4B-Q4_K_M.gguf", parameters=596_049_920) is None
    assert match("/m/Qwen3-4B-Q4_K_M.gguf", parameters=8_190_735_360) is None
    assert match("/m/SmolVLM-256M-Instruct-Q8_0.gguf", parameters=134_515_008) == "smolvlm-256m-instruct"


def test_pictures_are_known_by_their_folder_and_never_taken_for_text() -> None:
    def known(path: str, kind: Kind = Kind.IMAGE) -> str | None:
        found = SHIPPED.match(build(path, kind=kind, parameters=3_500_000_000))
        return found.id if found else None

    assert known("/m/stable-diffusion-xl-base-1.0") == "stable-diffusion-xl-base-1.0"
    assert known("/m/sdxl-turbo") == "sdxl-turbo"
    cache = "/h/models--black-forest-labs--FLUX.1-schnell/snapshots/" + "0a" * 20
    assert known(cache) == "flux.1-schnell"
    assert known(cache, Kind.TEXT) is None
    assert known("/m/Qwen3-4B") is None
    assert known("/m/holiday") is None


def test_spellings_of_one_name_have_one_key() -> None:
    spelt = ("Llama-3.1-8B-Instruct", "llama3.1:8b-instruct", "Llama 3.1 8B Instruct", "llama-3.1-8b-instruct.Q4_K_M")
    assert {key_of(name) for name in spelt} == {"llama3.18binstruct"}
    assert key_of("FLUX.1-dev") == key_of("flux1 dev") == "flux1dev"
    assert quantization_of("Qwen3-4B-UD-Q4_K_XL.gguf") == "Q4_K_XL"
    assert quantization_of("gemma-3-4b-it-qat.gguf") is None
    assert without_quantization("qwen3:4b-q4_K_M") == "qwen3:4b"
