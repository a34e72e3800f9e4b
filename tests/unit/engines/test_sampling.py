"""The samplers over the few entries that can matter choose what llama.cpp's own loop chooses over all of them."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jsonschema
import numpy as np
import pytest

from nanolocal.chat.schemas import grammar_of
from nanolocal.engines import sampling
from nanolocal.engines.ggml import Context, Model, Part, library
from nanolocal.engines.pace import Pace
from nanolocal.engines.sampling import Likely, Sampler, Sampling, likely, logits_of
from nanolocal.engines.stopflag import StopFlag
from nanolocal.errors import EngineFailed, UsageError
from tests.fakes.tiny_gguf import write_tiny_gguf
from tests.fakes.wide_gguf import write_wide_gguf

PROMPT = [5, 9, 700, 5, 9, 700, 5, 9]


@dataclass(frozen=True)
class Bare:
    """A model and a context over it."""

    model: Model
    context: Context
    stop: StopFlag

    def write(self, pick: Callable[[], int], count: int = 40, prompt: list[int] = PROMPT) -> list[int]:
        """The tokens that ``pick`` chooses one after the other."""
        self.context.keep(0, 0)
        said: list[int] = []
        tokens, position = prompt, 0
        for _ in range(count):
            assert self.context.decode([Part(0, tokens, position)])
            position += len(tokens)
            tokens = [pick()]
            said += tokens
        return said

    def chosen(self, how: Sampling) -> list[int]:
        """What ``Sampler`` chooses."""
        sampler = Sampler(self.model, how, PROMPT)

        def pick() -> int:
            token = sampler.choose(self.context)
            sampler.accept(token)
            return token

        try:
            return self.write(pick)
        finally:
            sampler.close()

    def expected(self, how: Sampling) -> list[int]:
        """What the same chain chooses in ``llama_sampler_sample``, over the whole vocabulary."""
        lib = library()
        chain = sampling._chain(self.model, how)
        for token in PROMPT:
            lib.llama_sampler_accept(chain, token)
        try:
            return self.write(lambda: int(lib.llama_sampler_sample(chain, self.context.pointer, -1)))
        finally:
            lib.llama_sampler_free(chain)

    def answer(self, how: Sampling, limit: int) -> str | None:
        """What is written from a line feed on, if it ends by itself."""
        sampler = Sampler(self.model, how, [])
        written = b""
        try:
            self.context.keep(0, 0)
            tokens = [10]
            for position in range(limit):
                assert self.context.decode([Part(0, tokens, position)])
                tokens = [sampler.choose(self.context)]
                sampler.accept(tokens[0])
                if self.model.ends(tokens[0]):
                    return written.decode("utf-8", "replace")
                written += self.model.piece(tokens[0])
            return None
        finally:
            sampler.close()


def opened(model: Model) -> Bare:
    stop = StopFlag()
    return Bare(model, Context(model, 1024, Pace(1), stop.buffer), stop)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    bare = opened(Model(write_wide_gguf(tmp_path_factory.mktemp("wide") / "wide.gguf"), lambda fraction: None))
    yield bare
    bare.context.close()
    bare.model.close()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    bare = opened(Model(write_tiny_gguf(tmp_path_factory.mktemp("tiny") / "tiny.gguf"), lambda fraction: None))
    yield bare
    bare.context.close()
    bare.model.close()


def how(temperature: float = 0.9, top_k: int = 40, **settings: object) -> Sampling:
    given: dict[str, object] = {"top_p": 0.95, "min_p": 0.02, "repeat_penalty": 1.0, "seed": 7}
    return Sampling(temperature, top_k=top_k, **given | settings)  # type: ignore[arg-type]


LOOPS = ((5, 12.0), (9, 12.0), (700, 12.0))
"""Makes the tokens of the prompt likely, so that it would go on as it began."""

CHAINS = {
    "default": how(),
    "greedy": how(0.0),
    "greedy with penalties": how(0.0, repeat_penalty=1.4, presence_penalty=0.5, frequency_penalty=0.3),
    "penalties": how(repeat_penalty=1.3, presence_penalty=0.5),
    "rewards": how(presence_penalty=-2.0, frequency_penalty=-1.0),
    "dry": how(dry_multiplier=1.5, dry_allowed_length=1, logit_bias=LOOPS),
    "xtc": how(xtc_probability=0.7, xtc_threshold=0.05),
    "typical": how(typical_p=0.5, top_p=1.0),
    "bias up": how(logit_bias=((19_000, 9.0), (3, 8.5))),
    "bias down": how(0.0, logit_bias=tuple((token, -100.0) for token in range(0, 20_000, 2))),
    "mirostat": how(mirostat=True, mirostat_tau=4.0),
    "many kept": how(top_k=900),
    "all kept": how(top_k=0, top_p=1.0, min_p=0.0),
}


@pytest.mark.parametrize("name", CHAINS)
def test_it_chooses_what_llama_cpp_chooses_over_the_whole_vocabulary(wide: Bare, name: str) -> None:
    assert wide.chosen(CHAINS[name]) == wide.expected(CHAINS[name])


@pytest.mark.parametrize(
    ("name", "without"),
    [("penalties", how()), ("rewards", how()), ("dry", how(logit_bias=LOOPS)), ("bias up", how()),
     ("bias down", how(0.0)), ("xtc", how()), ("mirostat", how()), ("typical", how(top_p=1.0))],
)  # fmt: skip
def test_each_sampler_changes_something(wide: Bare, name: str, without: Sampling) -> None:
    assert wide.chosen(CHAINS[name]) != wide.chosen(without)


def test_temperature_zero_is_the_largest_logit(wide: Bare) -> None:
    lib = library()

    def largest() -> int:
        return int(logits_of(lib, wide.context, -1, wide.model.vocabulary_size).argmax())

    assert wide.chosen(how(0.0)) == wide.write(largest)


def test_several_at_once_do_not_disturb_each_other(wide: Bare) -> None:
    wanted = {seed: wide.chosen(how(repeat_penalty=1.2, seed=seed)) for seed in (1, 2)}
    samplers = {seed: Sampler(wide.model, how(repeat_penalty=1.2, seed=seed), PROMPT) for seed in wanted}
    said: dict[int, list[int]] = {1: [], 2: []}
    for number in range(20):
        for seed, sampler in samplers.items():
            wide.write(lambda: 0, 1, PROMPT + said[seed])
            token = sampler.choose(wide.context)
            sampler.accept(token)
            said[seed].append(token)
            assert said[seed] == wanted[seed][: number + 1]
    for sampler in samplers.values():
        sampler.close()


def test_choosing_changes_nothing_until_the_token_is_accepted(wide: Bare) -> None:
    sampler = Sampler(wide.model, how(0.0, presence_penalty=2.0), PROMPT)
    wide.write(lambda: 0, 1)
    first = sampler.choose(wide.context)
    assert sampler.choose(wide.context) == first
    for _ in range(3):
        sampler.accept(first)
    penalized = Sampler(wide.model, how(0.0, presence_penalty=2.0, logit_bias=((first, -50.0),)), PROMPT)
    assert penalized.choose(wide.context) != first
    sampler.close()
    penalized.close()


def test_predictions_that_are_no_numbers_are_an_error() -> None:
    with pytest.raises(EngineFailed, match="not numbers"):
        sampling._largest(np.full(10_000, np.nan, np.float32), 40)


def test_the_largest_are_found_among_equals() -> None:
    logits = np.zeros(10_000, np.float32)
    logits[[17, 9_999]] = 1.0
    assert {17, 9_999} <= set(sampling._largest(logits, 2).tolist())
    assert sampling._largest(logits, 3).size == 10_000


def test_logprobs_are_those_of_a_softmax_over_all(wide: Bare) -> None:
    wide.write(lambda: 0, 1)
    logits = logits_of(library(), wide.context, -1, wide.model.vocabulary_size).astype(np.float64)
    wanted = logits - math.log(np.exp(logits).sum())
    best = [int(token) for token in np.argsort(-logits)[:3]]
    found = likely(wide.model, wide.context, -1, 77, 3)
    assert [each.token for each in found] == [77, *best]
    assert [each.logprob for each in found] == pytest.approx([wanted[77], *wanted[best]], abs=1e-4)
    assert [each.token for each in likely(wide.model, wide.context, -1, 77, 0)] == [77]
    assert all(isinstance(each, Likely) and each.logprob < 0 for each in found)


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"enum": ["a", 'b\n"', None]}, "maxItems": 3},
        "score": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "born": {"anyOf": [{"type": "null"}, {"type": "string", "format": "date"}]},
    },
    "required": ["name", "age", "born"],
    "additionalProperties": False,
}
TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer", "minimum": -99, "maximum": 99},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["value", "next"],
        }
    },
    "$ref": "#/$defs/node",
}
BOTH = {
    "allOf": [
        {"type": "object", "properties": {"n": {"type": "number", "minimum": 0.25}}, "required": ["n"]},
        {"properties": {"n": {"maximum": 0.5}, "yes": {"const": True}}, "anyOf": [{"required": ["yes"]}, {}]},
    ]
}
SCHEMAS: dict[str, Any] = {
    "person": PERSON,
    "tree": TREE,
    "both": BOTH,
    "map": {"type": "object", "additionalProperties": {"type": ["boolean", "null"]}},
    "tuple": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
    "anything": True,
    "code": {"type": "string", "pattern": r"^[A-Z]{2}-(\d+|\"[^a-z]\\)$"},
    "address": {"type": "string", "pattern": r"^[\w.-]{1,9}@[^@\s]{1,9}\.(com|org)$"},
    "found": {"type": "string", "pattern": r"x|^y.z"},
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_answer_with_a_schema_that_ends_is_valid(tiny: Bare, name: str) -> None:
    """50 seeds, random weights, and an end that is likely wherever the grammar allows one, of texts as of all."""
    grammar, end = grammar_of(json.dumps(SCHEMAS[name])), ((tiny.model.eos, 22.0), (ord('"'), 8.0))
    settings = [how(1.5, 0, top_p=1.0, min_p=0.0, seed=seed, logit_bias=end, grammar=grammar) for seed in range(50)]
    ended = [text for text in (tiny.answer(each, 200) for each in settings) if text is not None]
    for text in ended:
        jsonschema.validate(json.loads(text), SCHEMAS[name])
    assert len(ended) >= 10
    assert len(set(ended)) >= 2


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_grammar_decides_every_word_of_a_wide_vocabulary(wide: Bare, temperature: float) -> None:
    """The tokens it allows are far from likely, so the whole vocabulary has to be looked at."""
    assert wide.answer(how(temperature, grammar='root ::= "t17t3" "0"{3,5} "."'), 20) in (
        "t17t3000.",
        "t17t30000.",
        "t17t300000.",
    )


@pytest.mark.parametrize("grammar", ["no ::= root", 'root ::= root "a"', "{"])
def test_a_grammar_that_cannot_be_read_is_refused(tiny: Bare, grammar: str) -> None:
    with pytest.raises(UsageError, match="grammar cannot be read"):
        Sampler(tiny.model, how(grammar=grammar), [])


def test_a_grammar_without_a_word_to_go_on_is_an_error(wide: Bare) -> None:
    sampler = Sampler(wide.model, how(grammar="root ::= <[99999]>"), PROMPT)
    wide.write(lambda: 0, 1)
    with pytest.raises(EngineFailed, match="no word that the grammar allows"):
        sampler.choose(wide.context)
    sampler.close()


def test_a_grammar_that_waits_begins_when_it_is_told(tiny: Bare) -> None:
    sampler = Sampler(tiny.model, how(0.0, grammar='root ::= "7"'), [], waits=True)
    tiny.write(lambda: 0, 1, [10])
    free = sampler.choose(tiny.context)
    assert sampler.waits
    sampler.accept(free)
    sampler.begin_grammar()
    assert (tiny.model.piece(sampler.choose(tiny.context)), sampler.waits) == (b"7", False)
    assert tiny.model.piece(free) != b"7"
    sampler.close()
