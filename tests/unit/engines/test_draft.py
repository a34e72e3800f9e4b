"""A small build that writes ahead: the text stays the same, and wrong guesses do no harm."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from nanolocal.chat.routes import Build
from nanolocal.chat.tuning import USUAL
from nanolocal.engines import bare
from nanolocal.engines.draft import Draft
from nanolocal.engines.drafting import gain_of
from nanolocal.engines.ggml import Model
from nanolocal.engines.pool import EnginePool
from nanolocal.engines.sidebyside import ask_bare
from nanolocal.engines.stopflag import StopFlag
from nanolocal.errors import OutOfMemory
from nanolocal.library.describe import describe
from nanolocal.library.drafts import drafts_for
from nanolocal.library.fingerprints import Fingerprints
from tests.fakes.blank_gguf import Shape, write_blank_gguf
from tests.fakes.filled_gguf import FIRST_WORD, chain, fill, words
from tests.fakes.tiny_gguf import write_tiny_gguf
from tests.unit.engines.helpers import Heard, asking, build_of, listen, with_pool
from tests.unit.engines.test_tuning import Known

LARGE = Shape("qwen3", width=512, layers=4, vocabulary=1000, trained=4096)
SMALL = replace(LARGE, width=256, layers=1)
CHATML = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("builds")


@pytest.fixture(scope="module")
def large(folder: Path) -> Build:
    """Counts through its vocabulary."""
    return build_of(chain(write_blank_gguf(folder / "large.gguf", LARGE, "Q4_K_M", splitting="llama-bpe")))


@pytest.fixture(scope="module")
def small(folder: Path) -> Build:
    """Counts as the large one does."""
    return build_of(chain(write_blank_gguf(folder / "small.gguf", SMALL, "Q4_K_M", splitting="llama-bpe")))


@pytest.fixture(scope="module")
def guessing(folder: Path) -> Build:
    """Says something else."""
    return build_of(fill(write_blank_gguf(folder / "guessing.gguf", SMALL, "Q8_0", splitting="llama-bpe")))


def answers(build: Build, draft: Build | None, *asked: str, **how: float) -> list[Heard]:
    async def run(pool: EnginePool) -> list[Heard]:
        return [await listen(pool, build, asking(text, n_ctx=2048, max_tokens=120, **how)) for text in asked]

    return with_pool(run, tunings=Known(USUAL, draft))


def test_what_a_draft_writes_ahead_is_taken_and_the_text_is_the_same(large: Build, small: Build) -> None:
    heard = answers(large, small, "hello", "hello again")
    assert [each.text for each in heard] == ["".join(words(0, 120))] * 2


@pytest.mark.parametrize("how", [{}, {"temperature": 0.8, "seed": 3}, {"temperature": 1.5, "seed": 5, "top_k": 0}])
def test_with_any_draft_the_text_is_that_without(folder: Path, how: dict[str, float]) -> None:
    """In 32 bits, where a step of several tokens is computed to nearly the same as one after the other."""
    build, other = (build_of(write_tiny_gguf(folder / f"{seed}.gguf", layers=2, seed=seed)) for seed in (1, 2))
    alone = answers(build, None, "one", "two", **how)
    for draft in (other, build):
        assert [each.text for each in answers(build, draft, "one", "two", **how)] == [each.text for each in alone]


def test_it_writes_what_llama_cpp_writes_by_itself(large: Build, small: Build) -> None:
    question = bare.Question(str(large.path), 1024, (1,), CHATML.format("hello"), write=120)
    found = asyncio.run(ask_bare(question, None))[0]
    (heard,) = answers(large, small, "hello")
    assert bytes.fromhex("".join(found.pieces)).decode() == heard.text


def test_a_draft_of_another_vocabulary_is_done_without(folder: Path, large: Build) -> None:
    other = build_of(write_blank_gguf(folder / "other.gguf", replace(SMALL, vocabulary=900), splitting="llama-bpe"))
    assert answers(large, other, "hello")[0].text == "".join(words(0, 120))


def test_a_longer_context_is_made_for_both(large: Build, small: Build) -> None:
    async def grow(pool: EnginePool) -> str:
        await listen(pool, large, asking("hi", n_ctx=256, max_tokens=20))
        return (await listen(pool, large, asking("".join(words(100, 400)), n_ctx=2048, max_tokens=120))).text

    assert with_pool(grow, tunings=Known(USUAL, small)) == "".join(words(0, 120))


def test_a_draft_follows_what_is_written_and_goes_on(large: Build, small: Build, guessing: Build) -> None:
    def loaded(build: Build) -> Model:
        return Model(build.path, lambda fraction: None)

    draft = Draft(small.path, loaded(large), 512, 1, StopFlag())
    told = list(range(FIRST_WORD, FIRST_WORD + 40))
    assert draft.follow(told) and draft.next(5) == list(range(told[-1] + 1, told[-1] + 6))
    told += [told[-1] + 1, FIRST_WORD + 100]
    assert draft.follow(told) and draft.next(2) == [FIRST_WORD + 101, FIRST_WORD + 102]
    assert draft.follow(told[:10]) and draft.next(1) == [FIRST_WORD + 10]
    assert not draft.follow(told * 13)
    draft.widen(1024)
    assert draft.follow(told * 13) and draft.next(1) == [FIRST_WORD + 101]


def test_drafts_are_small_and_of_the_same_vocabulary(folder: Path, large: Build, small: Build, guessing: Build) -> None:
    write_blank_gguf(folder / "else.gguf", replace(SMALL, vocabulary=900), splitting="llama-bpe")
    write_blank_gguf(folder / "llama.gguf", replace(SMALL, architecture="llama"), splitting="llama-bpe")
    fingerprints = Fingerprints(folder / "fingerprints.json")
    paths = [folder / f"{name}.gguf" for name in ("large", "small", "guessing", "else", "llama")]
    builds = [build for path in paths if isinstance(build := describe(path, fingerprints), Build)]
    assert len(builds) == 5
    assert [build.path.stem for build in drafts_for(builds[0], builds)] == ["small", "guessing"]
    assert drafts_for(builds[1], builds) == []


def test_what_a_draft_gains_is_measured(large: Build, small: Build) -> None:
    assert asyncio.run(gain_of(large, small, USUAL, 10**10)) > 0
    with pytest.raises(OutOfMemory):
        asyncio.run(gain_of(large, small, USUAL, 1000))
