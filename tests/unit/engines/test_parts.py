"""Reasoning, answer and tool calls, in the ways that chat templates show them, however the text is cut."""

import json
from collections.abc import Sequence

import pytest

from nanolocal.engines.calls import NO_TOOLS, Call, Tools
from nanolocal.engines.parts import Part, Said, Splitter, splitter

TOOLS = Tools(
    json.dumps(
        [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "parameters": {
                        "type": "object",
                        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
                    },
                },
            }
        ]
    )
)
CALL = Call("weather", '{"city": "Paris", "days": 3}')
JSON = '{"city": "Paris", "days": 3}'

HERMES = "{{ messages }}<tool_call></tool_call>"
QWEN = HERMES + "<think>\n\n</think>\n\n"
HARMONY = "<|start|>assistant<|channel|>final<|message|>"
GRANITE = "between <think></think> and <response></response> <|tool_call|>"
LLAMA = 'Respond in the format {"name": function name, "parameters": ...} <|python_tag|>'

ReasoningCase = tuple[str, str, str, str, str]


def hear(made: Splitter, text: str, size: int) -> list[Said | Call]:
    """What comes out of ``text`` in pieces of ``size`` characters, neighbours of one part joined."""
    heard: list[Said | Call] = []
    for start in range(0, len(text), size):
        heard += made.take(text[start : start + size])
    joined: list[Said | Call] = []
    for each in [*heard, *made.rest()]:
        last = joined[-1] if joined else None
        if isinstance(each, Said) and isinstance(last, Said) and each.part is last.part:
            joined[-1] = Said(last.text + each.text, each.part)
        else:
            joined.append(each)
    return joined


def texts(heard: Sequence[Said | Call], part: Part) -> str:
    return "".join(each.text for each in heard if isinstance(each, Said) and each.part is part)


REASONING: list[ReasoningCase] = [
    # template, end of the prompt, what the model writes, reasoning, answer
    (QWEN, "assistant\n", "<think>\nhm, 2 < 3\n</think>\n\nYes.\n", "hm, 2 < 3", "Yes.\n"),
    (QWEN, "assistant\n", "\n<think>\n\n</think>\n\nYes.", "", "Yes."),
    (QWEN, "assistant\n<think>\n", "hm\n</think>\nYes", "hm", "Yes"),
    (QWEN, "assistant\n<think>\n\n</think>\n\n", "Yes, <think> is a tag.", "", "Yes, <think> is a tag."),
    (QWEN, "assistant\n", "  Say <think>so</think>.", "", "  Say <think>so</think>."),
    (QWEN, "assistant\n<think>", "cut off \n", "cut off", ""),
    ("split('</think>')", "<think>\n", "a</think>b", "a", "b"),
    ("[THINK] [/THINK]", "[/INST]", "[THINK]hm[/THINK]Yes [T", "hm", "Yes [T"),
    ("<seed:think>", "assistant\n", "<seed:think>hm</seed:think>Yes", "hm", "Yes"),
    ("<|channel>thought", "model\n", "<|channel>thought\nhm<channel|>Yes", "hm", "Yes"),
    (GRANITE, "<|end_of_role|>", "<think>hm</think><response>Yes</response>", "hm", "Yes"),
    ("<|START_THINKING|> <|START_RESPONSE|>", "", "<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>Yes"
     "<|END_RESPONSE|>", "hm", "Yes"),
    ("Here are my reasoning steps:\n [BEGIN FINAL RESPONSE]", "Here are my reasoning steps:\n",
     "hm\n[BEGIN FINAL RESPONSE]\nYes", "hm", "Yes"),
    (HARMONY, "<|start|>assistant", "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final"
     "<|message|>Yes", "hm", "Yes"),
    (HARMONY, "<|start|>assistant", "<|channel|>commentary<|message|>First<|end|><|start|>assistant<|channel|>final"
     "<|message|>, yes", "", "First, yes"),
    (HARMONY, "<|start|>assistant", "Total: 3", "", "Total: 3"),
    (HARMONY, "<|start|>assistant", "assist", "", "assist"),
    (">>>all\n", "<|end_header_id|>\n\n>>>", "all\nYes >>> and no", "", "Yes >>> and no"),
    (">>>all\n", "<|end_header_id|>\n\n>>>", "Hello\nthere", "", "Hello\nthere"),
    ("{{ content }}", "assistant\n", "<think>no marker of its own</think>", "", "<think>no marker of its own</think>"),
]  # fmt: skip


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(("template", "end", "written", "reasoning", "answer"), REASONING)
def test_reasoning_is_told_from_the_answer(
    template: str, end: str, written: str, reasoning: str, answer: str, size: int
) -> None:
    heard = hear(splitter(template, end, NO_TOOLS), written, size)
    assert (texts(heard, Part.REASONING), texts(heard, Part.ANSWER)) == (reasoning, answer)


CALLS = [
    (HERMES, f'Let me see.\n<tool_call>\n{{"name": "weather", "arguments": {JSON}}}\n</tool_call>', "Let me see."),
    (QWEN, f'<think>\nhm\n</think>\n\n<tool_call>{{"name": "weather", "arguments": {JSON}}}</tool_call>', ""),
    (HERMES, "<tool_call>\n<function=weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n3\n</parameter>"
     "\n</function>\n</tool_call>", ""),
    ("<seed:tool_call>", "<seed:tool_call>\n<function=weather>\n<parameter=city>Paris</parameter>\n<parameter=days>3"
     "</parameter>\n</function>\n</seed:tool_call>", ""),
    ("<minimax:tool_call>", '<minimax:tool_call>\n<invoke name="weather">\n<parameter name="city">Paris</parameter>\n'
     '<parameter name="days">3</parameter>\n</invoke>\n</minimax:tool_call>', ""),
    (HERMES, "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n<arg_key>days</arg_key>\n"
     "<arg_value>3</arg_value>\n</tool_call>", ""),
    ("<function=", f"<function=weather>{JSON}</function>", ""),
    (LLAMA, f'{{"name": "weather", "parameters": {JSON}}}', ""),
    (LLAMA, f'<|python_tag|>{{"name": "weather", "parameters": {JSON}}}', ""),
    (LLAMA, '<|python_tag|>weather.call(city="Paris", days=3)', ""),
    ("[TOOL_CALLS]", f'[TOOL_CALLS][{{"name": "weather", "arguments": {JSON}, "id": "abcdefghi"}}]', ""),
    ("[TOOL_CALLS]", f"Look:[TOOL_CALLS]weather[CALL_ID]abcdefghi[ARGS]{JSON}", "Look:"),
    ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n"
     f"{JSON}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>", ""),
    ("<｜tool▁calls▁begin｜>", f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{JSON}"
     "<｜tool▁call▁end｜><｜tool▁calls▁end｜>", ""),
    ("<|tool_calls_section_begin|>", "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0"
     f"<|tool_call_argument_begin|>{JSON}<|tool_call_end|><|tool_calls_section_end|>", ""),
    ("<|tool_call>", '<|tool_call>call:weather{city:<|"|>Paris<|"|>,days:3}<tool_call|>', ""),
    ("<|tool_call_start|>", '<|tool_call_start|>[weather(city="Paris", days=3)]<|tool_call_end|>', ""),
    ("<|tools_prefix|>", f'<|tools_prefix|>[{{"weather": {JSON}}}]<|tools_suffix|>', ""),
    ("<|START_ACTION|>", f'<|START_ACTION|>[{{"tool_call_id": "0", "tool_name": "weather", "parameters": {JSON}}}]'
     "<|END_ACTION|>", ""),
    (GRANITE, f'<|tool_call|>[{{"name": "weather", "arguments": {JSON}}}]', ""),
    (" functools", f' functools[{{"name": "weather", "arguments": {JSON}}}]', ""),
    (HARMONY, "<|channel|>analysis<|message|>hm<|end|><|start|>assistant to=functions.weather<|channel|>commentary json"
     f"<|message|>{JSON}", ""),
    (HARMONY, f"<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{JSON}<|call|>", ""),
    (">>>all\n", f"all\nLook:>>>weather\n{JSON}", "Look:"),
]  # fmt: skip


@pytest.mark.parametrize("size", [1, 4, 1000])
@pytest.mark.parametrize(("template", "written", "answer"), CALLS)
def test_tool_calls_are_taken_out_of_the_answer(template: str, written: str, answer: str, size: int) -> None:
    heard = hear(splitter(template, ">>>" if ">>>" in template else "", TOOLS), written, size)
    assert [each for each in heard if isinstance(each, Call)] == [CALL]
    assert texts(heard, Part.ANSWER) == answer


def test_several_calls_come_one_after_the_other() -> None:
    one = f'<tool_call>\n{{"name": "weather", "arguments": {JSON}}}\n</tool_call>'
    assert hear(splitter(HERMES, "", TOOLS), f"{one}\n{one}", 5) == [CALL, CALL]


@pytest.mark.parametrize(
    "written",
    [
        "<tool_call>\nI would call the weather.\n</tool_call>",
        '<tool_call>{"name": "weather", "arguments": [1]}</tool_call>',
        '<tool_call>{"name": 3, "arguments": {}}</tool_call>',
        "<tool_call>" + "[" * 5000 + "</tool_call>",
        "<tool_call>" + "(" * 5000 + "</tool_call>",
        '<tool_call>{"name": "weather", "argum',
    ],
)
def test_what_is_no_call_stays_in_the_answer(written: str) -> None:
    assert hear(splitter(HERMES, "", TOOLS), written, 7) == [Said(written)]


def test_json_that_calls_no_tool_on_offer_is_the_answer() -> None:
    written = '{"name": "Ada", "parameters": {"born": 1815}}'
    assert hear(splitter(LLAMA, "", TOOLS), written, 3) == [Said(written)]


@pytest.mark.parametrize(("template", "written", "answer"), CALLS[:1])
def test_without_tools_on_offer_nothing_is_a_call(template: str, written: str, answer: str) -> None:
    assert hear(splitter(template, "", NO_TOOLS), written, 4) == [Said(written)]


def test_a_text_argument_stays_a_text_and_an_unknown_one_is_read_as_json() -> None:
    written = "<function=weather><parameter=city>\n75001\n</parameter><parameter=now>true</parameter></function>"
    assert hear(splitter("<function=", "", TOOLS), written, 9) == [Call("weather", '{"city": "75001", "now": true}')]


def test_reasoning_that_the_prompt_began_is_no_answer_until_it_ends() -> None:
    made = splitter(QWEN, "assistant\n<think>\n", NO_TOOLS)
    seen = [made.is_answering]
    for piece in ("hm", "</think>", "Yes"):
        made.take(piece)
        seen.append(made.is_answering)
    assert seen == [False, False, True, True]
    assert splitter(QWEN, "assistant\n", NO_TOOLS).is_answering


def test_a_header_is_no_answer() -> None:
    made = splitter(HARMONY, "<|start|>assistant", NO_TOOLS)
    seen = []
    for piece in ("<|channel|>", "analysis", "<|message|>", "hm", "<|end|>", "<|start|>", "assistant<|channel|>final"):
        made.take(piece)
        seen.append(made.is_answering)
    made.take("<|message|>")
    assert not any(seen)
    assert made.is_answering


def test_control_tokens_count_as_text_only_where_they_end_a_part() -> None:
    assert splitter("[THINK] [TOOL_CALLS]", "", NO_TOOLS).markers == {"[THINK]", "[/THINK]"}
    assert {"[TOOL_CALLS]", "[ARGS]"} < splitter("[THINK] [TOOL_CALLS]", "", TOOLS).markers
    assert "<|channel>" in splitter("<|channel>thought", "", NO_TOOLS).markers
    assert not splitter("{{ content }}", "", TOOLS).markers
