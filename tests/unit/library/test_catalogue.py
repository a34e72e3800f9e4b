"""The catalogue that ships holds together, and a family file that does not is refused with its file and model."""

import importlib.util
import re
from collections import Counter
from datetime import date
from importlib import resources
from pathlib import Path

import pytest
from gguf.constants import MODEL_ARCH_NAMES
from hypothesis import given
from hypothesis import strategies as st

from nanolocal.errors import Damaged
from nanolocal.library.catalogue import shelf
from nanolocal.library.catalogue.entries import Model, Purpose
from nanolocal.library.catalogue.names import key_of
from nanolocal.library.catalogue.reading import BITS, read_family
from nanolocal.library.catalogue.shelf import Catalogue

SHIPPED = shelf.load()
IDS = [model.id for model in SHIPPED.models]
FOLDER = Path(str(resources.files("nanolocal.library.catalogue") / "families"))

GOOD = """
family = "Tiny"
maker = "Nobody"
licence = "MIT"
licence_url = "https://opensource.org/license/mit"
purposes = ["text"]

[[model]]
id = "tiny-1b"
name = "Tiny 1B"
origin = "nobody/Tiny-1B"
parameters = 1_000_000_000
context = 2048
released = "2025-04"
ollama = ["tiny:1b"]
builds = [{ repo = "nobody/Tiny-1B-GGUF", file = "Tiny-1B-Q4_K_M.gguf", size_bytes = 650_000_000 }]
scores = [{ name = "MMLU", score = 40.5, source = "https://example.org/tiny", date = "2025-04-28" }]
"""


def test_sizes_are_what_names_say() -> None:
    def is_wrong(model: Model) -> bool:
        sizes = re.findall(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", model.id)
        if not sizes or re.search(r"-\d+e-", model.id):
            return False
        named = float(sizes[0][0]) * {"b": 1e9, "m": 1e6}[sizes[0][1]]
        return not 0.75 <= (model.parameters or 0) / named <= (1.7 if named <= 2e9 else 1.3)

    assert [model.id for model in SHIPPED.models if is_wrong(model)] == []


def test_what_is_active_is_what_names_say() -> None:
    def is_wrong(model: Model) -> bool:
        named = re.search(r"-a(\d+)b\b", model.id) or re.search(r"-(\d+)b-\d+e-", model.id)
        return named is not None and not 0.9 <= (model.active or 0) / (float(named.group(1)) * 1e9) <= 1.6

    assert [model.id for model in SHIPPED.models if is_wrong(model)] == []


def test_nothing_was_released_or_measured_before_there_were_such_models_or_after_today() -> None:
    dates = [(model.id, model.released) for model in SHIPPED.models if model.released]
    dates += [(model.id, score.date) for model in SHIPPED.models for score in model.scores]
    assert [found for found in dates if not "2021-01" <= found[1] <= date.today().isoformat()] == []


def test_architectures_are_those_that_the_engines_here_know() -> None:
    where = importlib.util.find_spec("diffusers")
    assert where is not None and where.origin is not None
    pipelines = set(re.findall(r'"(\w+Pipeline)"', Path(where.origin).read_text("utf-8")))
    texts = set(MODEL_ARCH_NAMES.values())
    wrong = [
        (model.id, model.architecture)
        for model in SHIPPED.models
        if (Purpose.IMAGE in model.purposes or model.architecture)
        and model.architecture not in (pipelines if Purpose.IMAGE in model.purposes else texts)
    ]
    assert wrong == []


def test_every_model_is_found_by_its_own_spellings() -> None:
    for model in SHIPPED.models:
        for name in (model.id, model.name, model.origin, *model.ollama, *(build.repo for build in model.builds)):
            assert SHIPPED.get(name) is model, name


def test_language_models_say_how_much_they_read() -> None:
    reads = {Purpose.TEXT, Purpose.CODE, Purpose.EMBEDDING}
    sees = {Purpose.VISION, Purpose.IMAGE}
    silent = [m.id for m in SHIPPED.models if m.context is None and reads & {*m.purposes} and not sees & {*m.purposes}]
    assert silent == []


def test_no_score_is_given_twice() -> None:
    assert [m.id for m in SHIPPED.models if len({score.name for score in m.scores}) != len(m.scores)] == []


def test_builds_are_files_that_their_engine_takes_and_projectors_go_with_eyes() -> None:
    for model in SHIPPED.models:
        ending = ".safetensors" if Purpose.IMAGE in model.purposes else ".gguf"
        for build in model.builds:
            assert build.file is None or (build.file.endswith(ending) and build.quantization), build
            assert build.mmproj is None or Purpose.VISION in model.purposes, build


def test_a_size_is_said_as_people_say_it() -> None:
    said = {model.id: model.size_class for model in SHIPPED.models}
    assert (said["smollm2-135m-instruct"], said["qwen3-4b"], said["gemma-3-1b-it"]) == ("135M", "4B", "1B")
    assert (said["qwen3-30b-a3b"], said["kimi-k2-thinking"], said["kandinsky-3"]) == ("31B-A3.3B", "1T-A32B", "")


def test_there_is_something_for_everybody() -> None:
    assert len(SHIPPED.models) >= 150
    many = Counter(purpose for model in SHIPPED.models for purpose in model.purposes)
    assert all(many[purpose] >= (3 if purpose is Purpose.AUDIO else 15) for purpose in Purpose)
    wanted = {
        "stable-diffusion-v1-5", "stable-diffusion-xl-base-1.0", "sdxl-turbo", "stable-diffusion-3.5-medium",
        "flux.1-schnell", "flux.1-dev", "flux.1-kontext-dev", "qwen-image", "z-image-turbo", "sana-1600m-1024px",
    }  # fmt: skip
    assert wanted <= set(IDS)


def test_no_name_means_two_models() -> None:
    claims: dict[str, set[str]] = {}
    for model in SHIPPED.models:
        for name in shelf._names(model):
            claims.setdefault(key_of(name), set()).add(model.id)
    assert {key: ids for key, ids in claims.items() if len(ids) > 1} == {}


def test_every_licence_has_one_address_and_one_spelling() -> None:
    addresses: dict[str, set[str]] = {}
    for model in SHIPPED.models:
        addresses.setdefault(model.licence, set()).add(model.licence_url)
    assert {licence: urls for licence, urls in addresses.items() if len(urls) > 1} == {}
    folded = Counter(licence.lower() for licence in addresses)
    assert set(folded.values()) == {1}


def test_files_are_named_for_packaging_and_hold_one_family_each() -> None:
    files = sorted(path.name for path in FOLDER.iterdir())
    assert all(re.fullmatch(r"[a-z0-9.-]+\.toml", name) for name in files)
    families = [read_family(name, (FOLDER / name).read_text("utf-8"))[0].family for name in files]
    assert len(set(families)) == len(families)


def test_a_good_file_is_read_with_its_family_s_facts() -> None:
    (model,) = read_family("tiny.toml", GOOD)
    assert (model.id, model.family, model.maker, model.licence) == ("tiny-1b", "Tiny", "Nobody", "MIT")
    assert (model.builds[0].quantization, model.scores[0].score, model.size_class) == ("Q4_K_M", 40.5, "1B")
    assert model.active is None and model.notes is None


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ('family = "Tiny"', "", "tiny.toml: family is missing"),
        ('family = "Tiny"', 'family = "Tiny"\ncolour = "red"', "tiny.toml: unknown key 'colour'"),
        ("[[model]]", "[[modle]]", "tiny.toml: unknown key 'modle'"),
        ("[[model]]\n", "model = []\n[other]\n", "tiny.toml: unknown key 'other'"),
        ('id = "tiny-1b"\n', "", "tiny.toml: model 1: id is missing"),
        ("tiny-1b", "Tiny 1B", "id is not made of lower-case"),
        ("name = \"Tiny 1B\"", "name = 1", "tiny-1b: name is not a line of text"),
        ("name = \"Tiny 1B\"", 'name = "a\\u001b[31m"', "tiny-1b: name is not a line of text"),
        ('maker = "Nobody"', "", "tiny-1b: maker is missing"),
        ('licence = "MIT"', "", "tiny-1b: licence is missing"),
        ('licence_url = "https://opensource.org/license/mit"', "", "tiny-1b: licence_url is missing"),
        ("https://opensource.org/license/mit", "opensource.org", "licence_url is not an https address"),
        ("https://opensource.org/license/mit", "http://opensource.org", "licence_url is not an https address"),
        ('ollama = ["tiny:1b"]', 'licence = "Apache-2.0"', "licence and licence_url go together"),
        ("nobody/Tiny-1B\"", "Tiny-1B\"", "tiny-1b: origin 'Tiny-1B' is not owner/name"),
        ("parameters = 1_000_000_000", 'parameters = "1B"', "tiny-1b: parameters is not a whole number"),
        ("parameters = 1_000_000_000", "parameters = true", "tiny-1b: parameters is not a whole number"),
        ("parameters = 1_000_000_000", "parameters = 7", "tiny-1b: parameters is not a whole number"),
        ("context = 2048", "context = 64", "tiny-1b: context is not a whole number from 128"),
        ("context = 2048", "context = 20_000_000", "tiny-1b: context is not a whole number"),
        ("context = 2048", "active = 1_000_000_000", "tiny-1b: active is not below parameters"),
        ("context = 2048", "contex = 2048", "tiny-1b: unknown key 'contex'"),
        ("2025-04\"\n", "2025-13\"\n", "tiny-1b: released is not a date"),
        ("released = \"2025-04\"", "released = 2025-04-01", "tiny-1b: released is not a line of text"),
        ('purposes = ["text"]', 'purposes = ["poems"]', "tiny-1b: purposes knows no 'poems'"),
        ('purposes = ["text"]', 'purposes = ["text", "text"]', "tiny-1b: purposes says something twice"),
        ('purposes = ["text"]', "purposes = []", "tiny-1b: purposes is missing"),
        ('purposes = ["text"]', 'purposes = "text"', "tiny-1b: purposes is not a list of texts"),
        ('purposes = ["text"]', 'purposes = ["vision"]', "a model for vision needs image"),
        ('purposes = ["text"]', 'purposes = ["embedding"]', "a model for embedding needs vector"),
        ('purposes = ["text"]', 'purposes = ["image"]', "a model for image needs image"),
        ("tiny:1b", "Tiny 1B", "'Tiny 1B' is no tag of Ollama"),
        ("nobody/Tiny-1B-GGUF", "../Tiny-1B-GGUF", "tiny-1b: builds 1: '../Tiny-1B-GGUF' is not owner/name"),
        ("Tiny-1B-Q4_K_M.gguf", "../Tiny-1B-Q4_K_M.gguf", "builds 1: '../Tiny-1B-Q4_K_M.gguf' is no name"),
        ("Tiny-1B-Q4_K_M.gguf", "/etc/Tiny-1B-Q4_K_M.gguf", "builds 1: '/etc/Tiny-1B-Q4_K_M.gguf' is no name"),
        ("Tiny-1B-Q4_K_M.gguf", "Tiny-1B-Q4_K_M.bin", "builds 1: 'Tiny-1B-Q4_K_M.bin' is no name"),
        ("Tiny-1B-Q4_K_M.gguf", "Tiny-1B-Q9_Z.gguf", "builds 1: quantization 'Q9_Z' is not known"),
        ("size_bytes = 650_000_000", 'quantization = "Q8_0"', "builds 1: the file's name says Q4_K_M, not Q8_0"),
        ("650_000_000", "65_000_000", "tiny-1b: 65000000 bytes cannot hold 1000000000 parameters in Q4_K_M"),
        ("650_000_000", "6_500_000_000", "tiny-1b: 6500000000 bytes cannot hold"),
        ("size_bytes", "size", "tiny-1b: builds 1: unknown key 'size'"),
        ("score = 40.5", "score = 140.5", "tiny-1b: scores 1: 140.5 is not between 0 and 100"),
        ("score = 40.5", "score = nan", "tiny-1b: scores 1: nan is not between 0 and 100"),
        ("score = 40.5", 'score = "40.5"', "tiny-1b: scores 1: score is not a number"),
        ('source = "https://example.org/tiny", ', "", "tiny-1b: scores 1: source is missing"),
        (', date = "2025-04-28"', "", "tiny-1b: scores 1: date is missing"),
        ("2025-04-28", "yesterday", "tiny-1b: scores 1: date is not a date"),
        ("builds = [{", "builds = [3, {", "tiny-1b: builds 1 is not a table"),
        ("family", "= family", "tiny.toml is not TOML"),
    ],
)  # fmt: skip
def test_a_broken_file_gets_one_error_that_names_it(before: str, after: str, named: str) -> None:
    assert before in GOOD
    with pytest.raises(Damaged, match=re.escape(named)) as raised:
        read_family("tiny.toml", GOOD.replace(before, after, 1))
    assert raised.value.message.startswith("tiny.toml")
    assert raised.value.hint


@given(st.text(max_size=60), st.integers(0, len(GOOD)), st.integers(0, 60))
def test_whatever_is_in_a_file_it_is_read_or_refused(noise: str, place: int, gone: int) -> None:
    try:
        models = read_family("tiny.toml", GOOD[:place] + noise + GOOD[place + gone :])
    except Damaged as error:
        assert error.message.startswith("tiny.toml")
    else:
        assert all(model.purposes and model.licence for model in models)


@pytest.mark.parametrize("twice", ["tiny-1b", "tiny:1b", "nobody/Tiny-1B-GGUF/Tiny-1B-Q4_K_M.gguf"])
def test_two_models_cannot_share_an_id_a_tag_or_a_build(twice: str) -> None:
    (first,) = read_family("tiny.toml", GOOD)
    changed = GOOD
    for text in ("tiny-1b", "tiny:1b", "Tiny-1B-GGUF"):
        changed = changed if text in twice else changed.replace(text, text.replace("1", "2"))
    (second,) = read_family("other.toml", changed)
    with pytest.raises(Damaged, match=re.escape(f"the catalogue has {twice} twice")):
        Catalogue([first, second])


def test_a_score_on_a_scale_of_its_own_may_pass_a_hundred() -> None:
    (model,) = read_family("tiny.toml", GOOD.replace("score = 40.5", 'score = 1189, scale = "Codeforces rating"'))
    assert model.scores[0].scale == "Codeforces rating"


def test_sizes_are_judged_by_bits_that_grow_with_the_quantization() -> None:
    assert BITS["Q2_K"] < BITS["Q3_K_M"] < BITS["Q4_K_M"] < BITS["Q5_K_M"] < BITS["Q6_K"] < BITS["Q8_0"] < BITS["F16"]


def test_search_wants_every_word_and_the_purpose() -> None:
    found = SHIPPED.search(["qwen", "apache"], Purpose.CODE)
    assert {model.family for model in found} == {"Qwen2.5-Coder", "Qwen3"}
    assert SHIPPED.search(["qwen", "no such word"]) == ()
    assert SHIPPED.search([]) == SHIPPED.models
