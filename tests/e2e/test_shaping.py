"""How an answer is shaped from the command line: schemas, grammars, stop strings, odds, reasoning, tools."""

import hashlib
import json
from pathlib import Path

import pytest

from nanolocal.library.records import Record, Records
from tests.e2e.conftest import Program
from tests.fakes.tiny_gguf import CHATML, write_tiny_gguf

TOOLS = '[{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]'


def answer_of(program: Program, *args: str) -> dict[str, object]:
    done = program("ask", "Hello!", "--json", *args)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def a_build(program: Program, name: str, template: str, answer: str) -> str:
    """A build of its own in the test's home; returns its id."""
    folder = program.home / "data" / "models" / name
    folder.mkdir(parents=True)
    (program.home / "data").chmod(0o700)
    path = write_tiny_gguf(folder / f"{name}-F32.gguf", template=template, answer=answer)
    records = Records(program.home / "data" / "builds.json")
    records.put(hashlib.sha256(path.read_bytes()).hexdigest(), Record(licence_shown=1.0))
    records.save()
    return f"{name}:F32"


def test_an_answer_with_a_schema_is_json_that_it_allows(program: Program, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object", "properties": {"fox": {"enum": ["red", "grey"]}}, "required": ["fox"]}')
    done = program("ask", "Hello!", "--json-schema", str(schema), "--max-tokens", "60")
    assert done.returncode == 0
    assert json.loads(done.stdout)["fox"] in ("red", "grey")
    answer = answer_of(program, "--json-schema", '{"type": "integer", "minimum": 7, "maximum": 7}')
    assert (answer["text"], answer["stopped"]) == ("7", "end")


def test_an_answer_follows_a_grammar_and_ends_before_a_stop_string(program: Program, tmp_path: Path) -> None:
    grammar = tmp_path / "list.gbnf"
    grammar.write_text('root ::= "one, two, three"')
    said = ("ask", "Hello!", "--grammar", str(grammar), "--max-tokens", "60")
    assert program(*said).stdout == "one, two, three\n"
    assert program(*said, "--stop", "nothing", "--stop", ", three").stdout == "one, two\n"


def test_the_odds_of_every_token_are_in_the_json(program: Program) -> None:
    answer = answer_of(program, "--logprobs", "2", "--top-k", "1", "--max-tokens", "5")
    odds = answer["logprobs"]
    assert isinstance(odds, list)
    assert len(odds) == answer["usage"]["completion_tokens"]  # type: ignore[index]
    assert all(token["logprob"] <= token["top"][0]["logprob"] <= 0 and len(token["top"]) == 2 for token in odds)
    assert "logprobs" not in answer_of(program, "--max-tokens", "2")


def test_reasoning_is_beside_the_answer_and_not_kept(program: Program) -> None:
    name = a_build(program, "thinker", CHATML + "{{ '<think>\n' }}", "um</think>OK!")
    answer = answer_of(program, "--model", name)
    assert (answer["reasoning"], answer["text"], answer["tool_calls"]) == ("um", "OK!", [])
    assert answer["usage"]["completion_tokens"] == 13  # type: ignore[index]
    shown = json.loads(program("chats", "show", str(answer["chat_id"]), "--json").stdout)
    assert [message["text"] for message in shown["messages"]] == ["Hello!", "OK!"]
    plain = program("ask", "Hello!", "--model", name)
    assert (plain.stdout, "um" in plain.stderr) == ("OK!\n", False)
    short = program("ask", "Hello!", "--model", name, "--max-tokens", "2")
    assert (short.stdout, "still thinking" in short.stderr) == ("", True)


def test_a_tool_that_is_asked_for_is_in_the_json(program: Program, tmp_path: Path) -> None:
    template = "{#- [TOOL_CALLS] -#}{%- if tools %}{% endif -%}" + CHATML
    name = a_build(program, "caller", template, "x")
    grammar = tmp_path / "call.gbnf"
    grammar.write_text(r'root ::= "[TOOL_CALLS][{\"name\": \"look\", \"arguments\": {\"at\": 3}}]"')
    asked = ("--model", name, "--tools", TOOLS, "--grammar", str(grammar))
    answer = answer_of(program, *asked)
    assert (answer["text"], answer["tool_calls"]) == ("", [{"name": "look", "arguments": '{"at": 3}'}])
    assert int(str(answer["cost_micro"])) > 0
    plain = program("ask", "Hello!", *asked)
    assert (plain.stdout, 'it asks for look with {"at": 3}' in plain.stderr) == ("", True)


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("--json-schema", "{"), "is not JSON"),
        (("--json-schema", "/nowhere/schema.json"), "cannot read"),
        (("--json-schema", '{"not": {}}'), "no grammar can promise"),
        (("--grammar", "/nowhere"), "cannot read"),
        (("--top-p", "2"), "--top-p is between"),
        (("--top-k", "-3"), "--top-k is between"),
        (("--min-p", "nan"), "--min-p is between"),
        (("--stop", ""), "none of them empty"),
        (("--logprobs", "3"), "add --json"),
        (("--tools", "[]"), "not a JSON list"),
        (("--tools", TOOLS), "cannot be offered tools"),
    ],
)
def test_a_bad_value_is_one_line_and_costs_nothing(program: Program, args: tuple[str, ...], why: str) -> None:
    done = program("ask", "Hello!", *args)
    assert (done.returncode, done.stdout) == (2, "")
    errors = [line for line in done.stderr.splitlines() if line.startswith("nanolocal: error: ")]
    assert len(errors) == 1
    assert why in done.stderr
    assert json.loads(program("credits", "balance", "--json").stdout)["balance_micro"] == 100_000
