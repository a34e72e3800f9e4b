"""Schemas that become grammars, and those that are refused. What the grammars do is tested with llama.cpp itself."""

import json

import pytest

from nanolocal.chat.schemas import MOST_BYTES, grammar_of
from nanolocal.errors import UsageError

DEEP: object = {"type": "string"}
for _ in range(60):
    DEEP = {"type": "array", "items": DEEP}
WIDE = {"type": "object", "properties": {f"p{number}": {"type": "object", "required": ["x"]} for number in range(900)}}


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("x" * (MOST_BYTES + 1), "longer than"),
        ("3", "a schema is an object"),
        ("false", "allows nothing"),
        ('{"type": "text"}', "unknown type 'text'"),
        ('{"type": [{}]}', "unknown type"),
        ('{"not": {}}', "no grammar can promise 'not'"),
        ('{"type": "string", "pattern": "(?=a)"}', "it looks around"),
        ('{"type": "string", "pattern": "^a+$", "maxLength": 3}', "a pattern beside a length"),
        ('{"type": "array", "uniqueItems": true}', "'uniqueItems'"),
        ('{"$ref": "https://example.com/x.json"}', "is not part of it"),
        ('{"$ref": "#/nowhere"}', "names nothing"),
        ('{"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#/$defs/a"}}}', "refers to itself"),
        ('{"allOf": [{"$ref": "#"}]}', "nests more than"),
        ('{"type": "integer", "minimum": 4, "maximum": 3}', "no whole number between"),
        ('{"type": "number", "minimum": 1e400}', "at most 15 digits"),
        ('{"type": "number", "minimum": "a"}', "at most 15 digits"),
        ('{"type": "string", "minLength": 100000}', "at least 100000 characters"),
        ('{"type": "array", "minItems": 3, "maxItems": 2}', "at least 3 items"),
        ('{"enum": [], "type": "string"}', "no value at all"),
        ('{"enum": ["a"], "minLength": 2}', "beside a list of values"),
        ('{"allOf": [{"format": "date"}, {"format": "time"}]}', "two of its parts give 'format' differently"),
        ('{"allOf": [{"properties": {"a": {}}}, {"properties": {}, "additionalProperties": false}]}', "rules out 'a'"),
        ('{"properties": []}', "properties is an object"),
        ('{"type": "array", "maxItems": -1}', "maxItems is a whole number"),
        (json.dumps(DEEP), "nests more than"),
        (json.dumps(WIDE), "too large"),
    ],
)
def test_a_schema_that_cannot_be_promised_is_refused_in_a_line(schema: str, why: str) -> None:
    with pytest.raises(UsageError) as refused:
        grammar_of(schema)
    assert why in refused.value.message
    assert "\n" not in refused.value.message


def test_nothing_in_a_schema_can_write_rules() -> None:
    hostile = 'x" ::= "\n\nroot ::= "y'
    grammar = grammar_of(json.dumps({"type": "object", "properties": {hostile: {"const": hostile}}, "title": hostile}))
    assert sum(line.startswith("root ::=") for line in grammar.splitlines()) == 1


def test_choices_that_multiply_end_in_a_refusal() -> None:
    tree = {"anyOf": [{"$ref": "#"}, {"allOf": [{"$ref": "#"}, {"title": "x"}]}], "description": "x"}
    with pytest.raises(UsageError):
        grammar_of(json.dumps(tree))
