"""What a user may type after ``models pull``."""

from functools import cache

import pytest

from nanolocal.errors import UsageError
from nanolocal.library.catalogue import shelf
from nanolocal.library.pull import references
from nanolocal.library.pull.references import Reference


@cache
def catalogue() -> shelf.Catalogue:
    return shelf.load()


def parse(typed: str, hub_host: str = "") -> Reference:
    return references.parse(typed, hub_host, catalogue())


def short(reference: Reference) -> tuple[str, str, str, str]:
    return reference.repo, reference.revision, reference.quant, reference.file


@pytest.mark.parametrize(("typed", "expected"), [
    ("owner/name", ("owner/name", "main", "", "")),
    ("owner/name:Q4_K_M", ("owner/name", "main", "Q4_K_M", "")),
    ("owner/name@v1.0", ("owner/name", "v1.0", "", "")),
    ("owner/name@refs/pr/1:Q8_0", ("owner/name", "refs/pr/1", "Q8_0", "")),
    ("hf.co/owner/name:Q4_K_M", ("owner/name", "main", "Q4_K_M", "")),
    ("huggingface.co/owner/name", ("owner/name", "main", "", "")),
    ("https://huggingface.co/owner/name", ("owner/name", "main", "", "")),
    ("https://huggingface.co/owner/name/", ("owner/name", "main", "", "")),
    ("https://huggingface.co/owner/name/tree/dev", ("owner/name", "dev", "", "")),
    ("https://huggingface.co/owner/name/tree/dev/sub", ("owner/name", "dev", "", "")),
    ("https://huggingface.co/owner/name/discussions", ("owner/name", "main", "", "")),
    ("https://HuggingFace.co/owner/name/resolve/main/d/x.gguf?download=true", ("owner/name", "main", "", "d/x.gguf")),
    ("https://huggingface.co/owner/name/blob/main/x%20y.gguf", ("owner/name", "main", "", "x y.gguf")),
    ("http://mirror.example:8080/owner/name", ("owner/name", "main", "", "")),
])  # fmt: skip
def test_repositories_and_their_pages(typed: str, expected: tuple[str, ...]) -> None:
    assert short(parse(typed, "mirror.example:8080")) == expected


def test_a_file_elsewhere() -> None:
    url = "https://example.org/models/x.Q4_0.gguf?key=secret"
    assert parse(url).url == url
    assert parse(url).repo == ""


@pytest.mark.parametrize(("typed", "model", "quant"), [
    ("qwen3-4b", "qwen3-4b", ""),
    ("qwen3:4b", "qwen3-4b", ""),
    ("Qwen3 4B", "qwen3-4b", ""),
    ("qwen3-4b:q8_0", "qwen3-4b", "Q8_0"),
    ("qwen3:4b-q4_K_M", "qwen3-4b", "Q4_K_M"),
    ("qwen3:4b:strange", "qwen3-4b", "strange"),
])  # fmt: skip
def test_names_of_the_catalogue(typed: str, model: str, quant: str) -> None:
    found = parse(typed)
    assert found.model is not None
    assert (found.model.id, found.quant) == (model, quant)
    assert found.repo in {offer.repo for offer in found.model.builds}


def test_every_model_of_the_catalogue_that_has_a_build_can_be_named() -> None:
    for model in catalogue().models:
        if model.builds:
            assert parse(model.id).repo in {offer.repo for offer in model.builds}


def test_the_build_that_is_named_is_looked_for_where_it_is_known_to_be() -> None:
    several = [(model, offer) for model in catalogue().models for offer in model.builds[1:] if offer.quantization]
    for model, offer in several[:20]:
        found = parse(f"{model.id}:{offer.quantization}")
        same = {each.repo for each in model.builds if each.quantization == offer.quantization}
        assert found.repo in same


def test_a_repository_that_the_catalogue_knows_keeps_what_it_knows() -> None:
    found = parse("Qwen/Qwen3-4B")
    assert (found.repo, found.model and found.model.id) == ("Qwen/Qwen3-4B", "qwen3-4b")


@pytest.mark.parametrize(("typed", "says"), [
    ("gemma-3-4b", "did you mean gemma-3-4b-it"),
    ("no such thing at all", "models catalogue"),
    ("", "models catalogue"),
    ("../../etc/passwd", "models catalogue"),
    ("owner/..", "models catalogue"),
    ("/abs/path.gguf", "models catalogue"),
    ("https://huggingface.co/datasets/owner/name", "OWNER/REPOSITORY"),
    ("https://huggingface.co/owner", "OWNER/REPOSITORY"),
    ("https://user:word@example.org/x.gguf", "without a user"),
    ("https://example.org/x\u202e.gguf", "without a user"),
    ("https:///x.gguf", "without a user"),
    ("https://[::1/x.gguf", "without a user"),
])  # fmt: skip
def test_anything_else_is_refused_with_a_way_on(typed: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(typed)
    assert says in refused.value.hint


@pytest.mark.parametrize(("name", "says"), [
    ("x.bin", "pickled"), ("x.ckpt", "pickled"), ("X.PT", "pickled"), ("x.pth", "pickled"), ("x.h5", "pickled"),
    ("x.zip", "archive"), ("x.gguf.gz", "archive"), ("x.tar", "archive"), ("x.7z", "archive"), ("x.py", "code"),
    ("x.so", "code"), ("x.txt", "no model file"), ("x", "no model file"),
])  # fmt: skip
@pytest.mark.parametrize("where", ["https://example.org/", "https://huggingface.co/owner/name/resolve/main/"])
def test_pickles_archives_and_code_are_refused_by_name(where: str, name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse(where + name)
