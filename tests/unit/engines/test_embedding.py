"""Vectors of texts: the same as llama-cpp-python's own, in batches, in a real child, on files made here."""

import asyncio
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from nanolocal.chat.events import Embedded, EngineDone, EngineEvent, Reading
from nanolocal.chat.messages import Stopped
from nanolocal.chat.ports import EmbeddingJob
from nanolocal.chat.routes import Build, Kind
from nanolocal.engines.pool import EnginePool
from nanolocal.errors import EngineFailed, UsageError
from tests.fakes.blank_gguf import Shape, write_blank_gguf
from tests.fakes.filled_gguf import fill
from tests.fakes.tiny_bert import write_tiny_bert
from tests.unit.engines.helpers import Heard, asking, build_of, children, listen, with_pool

TEXTS = ("the cat sat on the mat", "a dog ran", "why?", "the cat sat on the mat. " * 12, "dog", "z")
LONG = "the cat sat on the mat " * 100


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Build:
    return build_of(write_tiny_bert(tmp_path_factory.mktemp("builds") / "bert.gguf"), Kind.EMBEDDING)


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Writes text, and was not made for vectors."""
    path = tmp_path_factory.mktemp("builds") / "writer.gguf"
    return build_of(fill(write_blank_gguf(path, Shape("llama", width=128, head=32, vocabulary=600), "F16")))


def vectors_of(heard: Heard) -> np.ndarray:
    found = heard.of(Embedded)
    numbers = [number for event in found for number in array("f", event.vectors)]
    return np.array(numbers, np.float32).reshape(sum(event.count for event in found), -1)


def embed(build: Build, texts: Sequence[str], n_ctx: int = 512, **how: bool) -> Heard:
    return with_pool(lambda pool: listen(pool, build, EmbeddingJob(tuple(texts), n_ctx, **how)))


def reference(path: Path, texts: Sequence[str], pooling: int, *, normalises: bool) -> np.ndarray:
    """What llama-cpp-python's own class makes of each text by itself."""
    from llama_cpp import Llama

    llama = Llama(
        str(path),
        embedding=True,
        n_ctx=512,
        n_batch=512,
        n_ubatch=512,
        n_threads=1,
        pooling_type=pooling,
        verbose=False,
    )
    try:
        return np.array([llama.embed(text, normalize=normalises) for text in texts], np.float32)
    finally:
        llama.close()


@pytest.mark.parametrize("pooling", [1, 2])
def test_vectors_are_those_of_llama_cpp_python(pooling: int, tmp_path: Path) -> None:
    build = build_of(write_tiny_bert(tmp_path / f"bert-{pooling}.gguf", pooling=pooling), Kind.EMBEDDING)
    heard = embed(build, TEXTS)
    expected = reference(build.path, TEXTS, pooling, normalises=True)
    assert vectors_of(heard) == pytest.approx(expected, abs=1e-5)
    assert np.linalg.norm(vectors_of(heard), axis=1) == pytest.approx(1.0, abs=1e-6)
    assert len({tuple(row) for row in expected.round(3).tolist()}) == len(TEXTS)


def test_raw_vectors_are_as_the_model_makes_them(bert: Build) -> None:
    heard = embed(bert, TEXTS, normalises=False)
    assert vectors_of(heard) == pytest.approx(reference(bert.path, TEXTS, 1, normalises=False), rel=1e-4, abs=2e-5)


@pytest.mark.parametrize("texts", [TEXTS, (LONG, *TEXTS)])
def test_a_build_that_writes_gives_the_mean_of_its_tokens(writer: Build, texts: tuple[str, ...]) -> None:
    heard = embed(writer, [text[:480] for text in texts])
    expected = reference(writer.path, [text[:480] for text in texts], 1, normalises=True)
    assert vectors_of(heard) == pytest.approx(expected, abs=1e-5)


def test_a_build_that_writes_takes_the_last_token_where_its_file_says_so(tmp_path: Path) -> None:
    shape = Shape("qwen3", width=128, head=32, vocabulary=600, more={"pooling_type": 3})
    build = build_of(fill(write_blank_gguf(tmp_path / "last.gguf", shape, "F16")), Kind.EMBEDDING)
    expected = reference(build.path, TEXTS, 3, normalises=True)
    assert vectors_of(embed(build, TEXTS)) == pytest.approx(expected, abs=1e-5)


def test_many_texts_come_in_order_and_are_counted(bert: Build) -> None:
    texts = [f"the cat {number}" for number in range(100)]
    heard = embed(bert, texts)
    assert len(heard.of(Embedded)) < 20
    alone = embed(bert, [texts[71]])
    assert vectors_of(heard)[71] == pytest.approx(vectors_of(alone)[0], abs=1e-5)
    read = sum(event.tokens for event in heard.of(Embedded))
    assert heard.of(Reading)[-1] == Reading(read, read, 0)
    assert heard.done.usage.prompt_tokens == read > 500
    assert heard.done.stopped is Stopped.END


def test_a_text_that_is_too_long_is_an_error_with_its_tokens_or_cut(bert: Build) -> None:
    with pytest.raises(UsageError, match=r"text 2 has 602 tokens, bert:f32 reads at most 512") as raised:
        embed(bert, ["the cat", LONG], 8192)
    assert "--truncate" in raised.value.hint
    heard = embed(bert, ["the cat", LONG], 8192, truncates=True)
    assert [event.cut for event in heard.of(Embedded)][-1] == 1
    assert heard.done.usage.prompt_tokens == 512 + 4


def test_a_longer_text_makes_room_in_a_build_that_is_loaded(writer: Build) -> None:
    async def both(pool: EnginePool) -> tuple[Heard, Heard]:
        return await listen(pool, writer, EmbeddingJob(("why?",), 512)), await listen(
            pool, writer, EmbeddingJob(("why? " * 300,), 4096)
        )

    short, long = with_pool(both)
    assert short.done.timing.load_s > 0 == long.done.timing.load_s
    assert long.done.usage.prompt_tokens > 512 and vectors_of(long).shape == vectors_of(short).shape


def test_a_build_writes_and_makes_vectors_in_turn(writer: Build) -> None:
    async def both(pool: EnginePool) -> list[Heard]:
        jobs = (EmbeddingJob(("why?",), 512), asking("why?", max_tokens=3), EmbeddingJob(("why?",), 512))
        heard = [await listen(pool, writer, job) for job in jobs]
        assert len(children()) == 1
        return heard

    first, text, again = with_pool(both)
    assert text.tokens == 3
    assert vectors_of(first).tolist() == vectors_of(again).tolist()


def test_a_stop_keeps_what_is_done(bert: Build) -> None:
    stop = asyncio.Event()

    def at_once(event: EngineEvent) -> None:
        if isinstance(event, Embedded):
            stop.set()

    job = EmbeddingJob(tuple(f"the cat {number}" for number in range(3000)), 512)
    heard = with_pool(lambda pool: listen(pool, bert, job, stop, at_once))
    done = heard.of(Embedded)
    assert heard.done.stopped is Stopped.USER
    assert 0 < sum(event.count for event in done) < 3000
    assert heard.done.usage.prompt_tokens == sum(event.tokens for event in done)


def test_what_makes_no_vectors_says_so(painter: Build, bert: Build, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="draws pictures"):
        embed(painter, ["x"])
    with pytest.raises(UsageError, match="makes vectors"):
        with_pool(lambda pool: listen(pool, bert, asking("hello")))
    ranker = build_of(write_tiny_bert(tmp_path / "ranker.gguf", pooling=4), Kind.EMBEDDING)
    with pytest.raises(EngineFailed, match="ranks texts"):
        embed(ranker, ["x"])


def test_the_last_event_is_the_end(bert: Build) -> None:
    assert isinstance(embed(bert, ["the cat"]).events[-1], EngineDone)
