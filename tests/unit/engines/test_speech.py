"""Reasoning, tool calls, stop strings, odds and grammars through real llama.cpp in a real child.

A grammar of one text makes a build with random weights write exactly that.
"""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from nanolocal.chat.events import ReasoningDelta, TextDelta, TokenChosen, ToolCalled
from nanolocal.chat.messages import Stopped, ToolCall
from nanolocal.chat.ports import TextJob
from nanolocal.chat.routes import Build
from nanolocal.chat.schemas import grammar_of
from nanolocal.engines.pool import EnginePool
from nanolocal.errors import EngineFailed, UsageError
from tests.fakes.tiny_gguf import CHATML, write_tiny_gguf
from tests.unit.engines.helpers import ANSWER, Heard, asking, build_of, listen, with_pool

THINKS = "{#- <think></think> <tool_call></tool_call> -#}" + CHATML
OFFERS = "{%- if tools %}{{ tools | tojson }}{% endif -%}"
BEGINS = CHATML + "{{ '<think>\n' }}"
TOOLS = json.dumps([{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}])
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 99}}, "required": ["n"]}


@pytest.fixture(scope="module")
def thinking(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Its template knows reasoning and tools."""
    folder = tmp_path_factory.mktemp("thinking")
    return build_of(write_tiny_gguf(folder / "thinking.gguf", template=THINKS + OFFERS, layers=2))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Its template begins the reasoning, and it ends that and answers."""
    folder = tmp_path_factory.mktemp("begun")
    return build_of(write_tiny_gguf(folder / "begun.gguf", template=BEGINS, answer="um</think>OK!"))


def writing(text: str, **settings: object) -> TextJob:
    """A job whose answer is ``text``."""
    job = asking("hello", max_tokens=200)
    return replace(job, grammar=f"root ::= {json.dumps(text, ensure_ascii=False)}", **settings)  # type: ignore[arg-type]


def heard(build: Build, job: TextJob) -> Heard:
    return with_pool(lambda pool: listen(pool, build, job))


def reasoning(seen: Heard) -> str:
    return "".join(event.text for event in seen.of(ReasoningDelta))


def test_reasoning_and_tool_calls_are_no_part_of_the_answer(thinking: Build) -> None:
    text = '<think>\nhm\n</think>\n\nLet me look.\n<tool_call>\n{"name": "look", "arguments": {"at": 3}}\n</tool_call>'
    seen = heard(thinking, writing(text, tools=TOOLS))
    assert (reasoning(seen), seen.text) == ("hm", "Let me look.")
    assert [event.call for event in seen.of(ToolCalled)] == [ToolCall("look", '{"at": 3}')]
    thought = sum(event.tokens for event in seen.of(ReasoningDelta))
    assert thought + seen.tokens == seen.done.usage.completion_tokens > 50
    assert seen.done.stopped is Stopped.END


def test_reasoning_that_the_prompt_began_is_told_apart(begun: Build) -> None:
    seen = heard(begun, asking("hello"))
    assert (reasoning(seen), seen.text, seen.done.stopped) == ("um", "OK!", Stopped.END)


def test_an_answer_that_ends_while_it_thinks_has_no_text(begun: Build) -> None:
    seen = heard(begun, asking("hello", max_tokens=2))
    assert (reasoning(seen), seen.text, seen.done.stopped) == ("um", "", Stopped.LENGTH)


def test_a_schema_waits_until_the_reasoning_ends(begun: Build) -> None:
    job = replace(asking("hello", temperature=0.8, seed=4), grammar=grammar_of(json.dumps(SCHEMA)))
    seen = heard(begun, job)
    assert reasoning(seen) == "um"
    if seen.done.stopped is Stopped.END:
        jsonschema.validate(json.loads(seen.text), SCHEMA)
    assert seen.text.startswith("{")


def test_reasoning_that_ends_all_does_not_pass_for_an_answer_with_a_schema(tmp_path: Path) -> None:
    build = build_of(write_tiny_gguf(tmp_path / "mute.gguf", template=BEGINS, answer="um"))
    job = replace(asking("hello"), grammar=grammar_of(json.dumps(SCHEMA)))
    with pytest.raises(EngineFailed, match="ended before the answer"):
        heard(build, job)


@pytest.mark.parametrize(
    ("stop", "text"), [((), ANSWER), (("🙂",), "dé"), (("é🙂!",), "d"), (("!x", "nothing"), ANSWER), (("d",), "")]
)
def test_a_stop_string_ends_the_answer_before_it(answering: Build, stop: tuple[str, ...], text: str) -> None:
    seen = heard(answering, replace(asking("hello"), stop=stop))
    assert (seen.text, seen.done.stopped) == (text, Stopped.END)
    assert seen.tokens == seen.done.usage.completion_tokens


def test_a_stop_string_in_the_reasoning_does_not_end_it(thinking: Build) -> None:
    seen = heard(thinking, writing("<think>stop here</think>Go on, stop here.", stop=("stop",)))
    assert (reasoning(seen), seen.text) == ("stop here", "Go on, ")


def test_the_engine_answers_on_after_a_stop_string(answering: Build) -> None:
    async def both(pool: EnginePool) -> list[str]:
        jobs = [replace(asking("hello"), stop=stop) for stop in (("🙂",), ())]
        return [(await listen(pool, answering, job)).text for job in jobs]

    assert with_pool(both) == ["dé", ANSWER]


def test_odds_come_with_every_token_and_the_chosen_one_leads_at_temperature_zero(answering: Build) -> None:
    seen = heard(answering, replace(asking("hello"), logprobs=2))
    tokens = [event.token for event in seen.of(TokenChosen)]
    assert len(tokens) == seen.done.usage.completion_tokens
    assert [token.top[0] for token in tokens] == [(token.text, token.logprob) for token in tokens]
    assert all(len(token.top) == 2 and token.top[1][1] <= token.logprob <= 0 for token in tokens)
    assert not heard(answering, asking("hello")).of(TokenChosen)


def test_tools_reach_the_template_and_only_one_that_knows_them(thinking: Build, endless: Build) -> None:
    job = replace(asking("hello", max_tokens=1), tools=TOOLS)
    longer = (
        heard(thinking, job).done.usage.prompt_tokens - heard(thinking, replace(job, tools="")).done.usage.prompt_tokens
    )
    assert longer >= len(TOOLS) - 20
    with pytest.raises(UsageError, match="cannot be offered tools"):
        heard(endless, job)


def test_a_grammar_that_cannot_be_read_is_the_users_mistake(endless: Build) -> None:
    async def both(pool: EnginePool) -> Heard:
        with pytest.raises(UsageError, match="grammar cannot be read"):
            await listen(pool, endless, replace(asking("hello"), grammar="nonsense"))
        return await listen(pool, endless, asking("hello", max_tokens=3))

    assert with_pool(both).tokens == 3


def test_tokens_that_show_nothing_yet_are_counted_as_they_come(thinking: Build) -> None:
    call = f'<tool_call>{{"name": "look", "arguments": {{"at": "{"x" * 60}"}}}}</tool_call>'
    seen = heard(thinking, writing(call, tools=TOOLS))
    assert len([event for event in seen.of(TextDelta) if not event.text]) >= 3
    assert seen.tokens == seen.done.usage.completion_tokens
