"""From a JSON schema to a grammar (GBNF) whose every text is JSON that the schema allows.

The grammar may allow less than the schema (no properties beside the named ones, say), never more: what no grammar can
promise, such as unique items, is refused. The one exception is ``oneOf``, which is read as ``anyOf``.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import unquote

from nanolocal.chat.numerals import integers, numbers
from nanolocal.chat.patterns import PatternRefused, pattern_grammar
from nanolocal.errors import UsageError

MOST_BYTES = 256 * 2**10
_NOTHING = '""'
_MOST_DEPTH = 48
_MOST_RULES = 1500
_MOST_ITEMS, _MOST_CHARACTERS = 200, 1000
_TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
_REFUSED = (
    "not", "if", "dependentSchemas", "dependentRequired", "dependencies", "patternProperties", "propertyNames",
    "minProperties", "maxProperties", "unevaluatedProperties", "unevaluatedItems", "contains", "multipleOf",
    "$dynamicRef", "$recursiveRef",
)  # fmt: skip
_SILENT = (
    "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$id", "$schema",
    "$anchor", "$defs", "definitions",
)  # fmt: skip
_IMPLIED = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}
"""Keywords that speak of one type, for schemas that do not name it."""

_DATE = (
    '[0-9]{4} "-" ( ("0" [13578] | "1" [02]) "-" ("0" [1-9] | [12] [0-9] | "3" [01])'
    ' | ("0" [469] | "11") "-" ("0" [1-9] | [12] [0-9] | "30") | "02-" ("0" [1-9] | "1" [0-9] | "2" [0-8]) )'
)
_TIME = (
    '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})?'
    ' ("Z" | [-+] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])'
)
_UUID = '[0-9a-f]{8} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{12}'

_COMMON = {
    "ws": r'| " " | "\n" [ \t]{0,20}',
    "plain": r'[^"\\\x00-\x1F\x7F] | "\\" ["\\/bfnrt]',
    "char": r'plain | "\\u" [0-9a-fA-F]{4}',
    "string": r'"\"" char* "\""',
    "integer": integers(None, None),
    "number": numbers(None, None, is_low_open=False, is_high_open=False),
    "boolean": '"true" | "false"',
    "null": '"null"',
    "object": r'"{" ws (string ":" " "? value ("," ws string ":" " "? value)*)? ws "}"',
    "array": r'"[" ws (value ("," ws value)*)? ws "]"',
    "value": "object | array | string | number | boolean | null",
    "date": _DATE,
    "time": _TIME,
    "uuid": _UUID,
    "date-time": 'date "T" time',
}

Schema = Mapping[str, object]


def grammar_of(schema: str) -> str:
    """The grammar for a schema in JSON; raises ``UsageError`` for one that is broken or that it cannot promise."""
    if len(schema.encode("utf-8", "replace")) > MOST_BYTES:
        raise UsageError(f"the schema is longer than {MOST_BYTES // 1024} KiB", "give a simpler one")
    try:
        root = json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the schema is not JSON: {error}", "give a JSON schema") from error
    try:
        return _Grammar(root).text()
    except RecursionError as error:
        raise _refusal("it nests too deep") from error


class _Grammar:
    """The rules for one schema. Names are numbered, so that nothing in the schema can break the grammar."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._rules: dict[str, str] = {}
        self._references: dict[str, str] = {}

    def text(self) -> str:
        """All rules, a line each."""
        self._rules["root"] = self._expression(self._root, 0)
        return "\n".join(f"{name} ::= {body}" for name, body in {**self._rules, **_COMMON}.items())

    def _rule(self, body: str) -> str:
        """A rule of its own; returns its name."""
        name = f"r{len(self._rules)}"
        self._rules[name] = body
        if len(self._rules) > _MOST_RULES:
            raise UsageError("the schema is too large for a grammar", "give a simpler one")
        return name

    def _value(self, schema: object, depth: int) -> str:
        """A rule for ``schema``; returns its name."""
        return self._rule(self._expression(schema, depth + 1))

    def _expression(self, schema: object, depth: int) -> str:
        """What comes after ``::=`` for a schema."""
        if schema is True:
            return "value"
        if not isinstance(schema, dict):
            raise _refusal("it has a part that allows nothing" if schema is False else "a schema is an object")
        if depth > _MOST_DEPTH:
            raise _refusal(f"it nests more than {_MOST_DEPTH} deep")
        refused = [key for key in _REFUSED if key in schema]
        if refused or schema.get("uniqueItems"):
            raise _refusal(f"no grammar can promise {(refused or ['uniqueItems'])[0]!r}")
        if "$ref" in schema:
            return self._reference(schema, depth)
        if "allOf" in schema:
            parts = [self._resolved(part) for part in _list(schema, "allOf")]
            return self._expression(_merged([_without(schema, "allOf"), *parts]), depth + 1)
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self._either(_without(schema, key), _list(schema, key), depth)
        return self._plain(schema, depth)

    def _either(self, base: Schema, options: Sequence[object], depth: int) -> str:
        """One of some schemas, each together with ``base``."""
        if base:
            options = [_merged([base, self._resolved(option)]) for option in options]
        return " | ".join(self._value(option, depth) for option in options)

    def _plain(self, schema: Schema, depth: int) -> str:
        """A schema without combinations."""
        kinds = _kinds(schema)
        if "enum" in schema or "const" in schema:
            beside = [key for keys in _IMPLIED.values() for key in keys if key in schema]
            if beside:
                raise _refusal(f"it has {beside[0]} beside a list of values")
            values = _list(schema, "enum") if "enum" in schema else [schema["const"]]
            allowed = [value for value in values if any(_is(value, kind) for kind in kinds or _TYPES)]
            if not allowed or ("const" in schema and schema["const"] not in allowed):
                raise _refusal("it allows no value at all")
            return " | ".join(_literal(value) for value in ([schema["const"]] if "const" in schema else allowed))
        if not kinds:
            return "value"
        makers: dict[str, Callable[[Schema, int], str]] = {
            "object": self._object, "array": self._array, "string": self._string, "integer": _integer,
            "number": _number,
        }  # fmt: skip
        return " | ".join(makers[kind](schema, depth) if kind in makers else kind for kind in kinds)

    def _reference(self, schema: Schema, depth: int) -> str:
        """A part of the same document; with words beside it both count."""
        pointer = str(schema["$ref"])
        if _without(schema, "$ref"):
            return self._expression(_merged([_without(schema, "$ref"), self._resolved({"$ref": pointer})]), depth + 1)
        if pointer not in self._references:
            # Named before it is written: it may contain itself.
            name = self._references[pointer] = self._rule("")
            self._rules[name] = self._expression(self._found(pointer), depth + 1)
        return self._references[pointer]

    def _resolved(self, schema: object) -> object:
        """The schema with its reference, if it has one, replaced by what it names."""
        seen = set[str]()
        while isinstance(schema, dict) and "$ref" in schema:
            pointer = str(schema["$ref"])
            if pointer in seen:
                raise _refusal(f"{pointer} refers to itself")
            seen.add(pointer)
            schema = _merged([_without(schema, "$ref"), self._found(pointer)])
        return schema

    def _found(self, pointer: str) -> object:
        if not pointer.startswith("#"):
            raise _refusal(f"{pointer[:60]!r} is not part of it")
        place = self._root
        for step in unquote(pointer[1:]).split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(place, dict) and key in place:
                place = place[key]
            elif isinstance(place, list) and key.isdecimal() and int(key) < len(place):
                place = place[int(key)]
            else:
                raise _refusal(f"{pointer[:60]!r} names nothing")
        return place

    def _object(self, schema: Schema, depth: int) -> str:
        """Properties in the schema's order; others only where none is named."""
        others = schema.get("additionalProperties", True)
        named, required = dict(_object(schema, "properties")), [str(name) for name in _list(schema, "required")]
        for name in required:
            named.setdefault(name, others)
        if not named:
            if others is False:
                return r'"{" ws "}"'
            entry = rf'string ":" " "? {self._value(others, depth)}'
            return rf'"{{" ws ({entry} ("," ws {entry})*)? ws "}}"'
        # From the last one on: what may follow when nothing was written yet, and after something was.
        first, later = "", ""
        for name, value in reversed(named.items()):
            if value is False and name not in required:
                continue
            entry = rf'{_literal(name)} ":" " "? {self._value(value, depth)}'
            if name in required:
                first, later = self._rule(f"{entry} {later}"), self._rule(f'"," ws {entry} {later}')
            else:
                begun, gone_on = f"{entry} {later}", f'"," ws {entry} {later}'
                first = self._rule(f"{begun} | {first or _NOTHING}")
                later = self._rule(f"{gone_on} | {later or _NOTHING}")
        return f'"{{" ws {first} ws "}}"'

    def _array(self, schema: Schema, depth: int) -> str:
        item, tuples = schema.get("items", True), "prefixItems"
        if isinstance(item, list):  # until draft 2019-09
            item, tuples = schema.get("additionalItems", True), "items"
        before = [self._value(each, depth) for each in _list(schema, tuples)]
        least = _count(schema, "minItems", 0)
        most = len(before) if item is False else max(least, min(_count(schema, "maxItems", _MOST_ITEMS), _MOST_ITEMS))
        before = before[: _count(schema, "maxItems", len(before))]
        if least > _MOST_ITEMS or least > most or _count(schema, "maxItems", most) < least:
            raise _refusal(f"an array of at least {least} items cannot be promised")
        if not before and not most:
            return '"[" ws "]"'
        rest = "" if item is False else self._value(item, depth)
        if before:
            head = ' "," ws '.join(before)
            left = (max(least - len(before), 0), most - len(before))
            tail = f' ("," ws {rest}){{{left[0]},{left[1]}}}' if rest and left[1] > 0 else ""
            return f'"[" ws {head}{tail} ws "]"'
        items = f'{rest} ("," ws {rest}){{{max(least - 1, 0)},{most - 1}}}'
        return f'"[" ws {items if least else f"({items})?"} ws "]"'

    def _string(self, schema: Schema, depth: int) -> str:
        layout = str(schema.get("format", ""))
        if layout in ("date", "time", "date-time", "uuid"):
            return rf'"\"" {layout} "\""'
        has_length = "minLength" in schema or "maxLength" in schema
        if "pattern" in schema:
            if has_length:
                raise _refusal("it has a pattern beside a length")
            return rf'"\"" {_pattern(str(schema["pattern"]))} "\""'
        if not has_length:
            return "string"
        least = _count(schema, "minLength", 0)
        most = max(least, min(_count(schema, "maxLength", _MOST_CHARACTERS), _MOST_CHARACTERS))
        if least > _MOST_CHARACTERS or _count(schema, "maxLength", most) < least:
            raise _refusal(f"a text of at least {least} characters cannot be promised")
        return rf'"\"" plain{{{least},{most}}} "\""'


def _pattern(pattern: str) -> str:
    try:
        return pattern_grammar(pattern)
    except PatternRefused as error:
        raise _refusal(f"its pattern {pattern[:40]!r}: {error}") from error


def _integer(schema: Schema, depth: int) -> str:
    low, high, is_low_open, is_high_open = _bounds(schema)
    body = integers(low, high, is_low_open=is_low_open, is_high_open=is_high_open)
    if not body:
        raise _refusal("there is no whole number between its bounds")
    return body if low is not None or high is not None else "integer"


def _number(schema: Schema, depth: int) -> str:
    low, high, is_low_open, is_high_open = _bounds(schema)
    body = numbers(low, high, is_low_open=is_low_open, is_high_open=is_high_open)
    if not body:
        raise _refusal("there is no number of up to three decimals between its bounds")
    return body if low is not None or high is not None else "number"


def _bounds(schema: Schema) -> tuple[float | None, float | None, bool, bool]:
    """The tighter lower and upper bound, and whether each is itself left out."""
    lows = [(_finite(schema, key), is_open) for key, is_open in (("minimum", False), ("exclusiveMinimum", True))]
    highs = [(_finite(schema, key), is_open) for key, is_open in (("maximum", False), ("exclusiveMaximum", True))]
    low, is_low_open = max(((value, is_open) for value, is_open in lows if value is not None), default=(None, False))
    high, is_high_open = min(
        ((value, is_open) for value, is_open in highs if value is not None),
        default=(None, False), key=lambda bound: (bound[0] or 0.0, not bound[1]),
    )  # fmt: skip
    return low, high, is_low_open, is_high_open


def _finite(schema: Schema, key: str) -> float | None:
    value = schema.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise _refusal(f"{key} is a number of at most 15 digits")
    return value


def _kinds(schema: Schema) -> list[str]:
    """The types that a schema allows, as it says or implies; none for any."""
    said = schema.get("type")
    kinds = [said] if isinstance(said, str) else said
    if kinds is None:
        return [kind for kind, keys in _IMPLIED.items() if any(key in schema for key in keys)][:1]
    if not isinstance(kinds, list) or not kinds or any(kind not in _TYPES for kind in kinds):
        raise _refusal(f"it has the unknown type {str(said)[:40]!r}")
    return kinds


def _is(value: object, kind: str) -> bool:
    classes: dict[str, type | tuple[type, ...]] = {
        "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
        "null": type(None),
    }  # fmt: skip
    return isinstance(value, classes[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _merged(parts: Sequence[object]) -> Schema:
    """One schema that allows what all of them allow; refuses what cannot be joined."""
    joined: dict[str, object] = {}
    for part in parts:
        if part is True:
            continue
        if not isinstance(part, dict):
            raise _refusal("it combines parts that are no objects")
        _refuse_closed(joined, part)
        for key, value in _without(part, "").items():
            joined[key] = _both(key, joined[key], value) if key in joined else value
    return joined


def _refuse_closed(one: Schema, other: Schema) -> None:
    """Properties that another part rules out cannot be joined."""
    for closed, more in ((one, other), (other, one)):
        extra = _object(more, "properties").keys() - _object(closed, "properties").keys()
        if closed.get("additionalProperties") is False and extra:
            raise _refusal(f"one of its parts rules out {min(extra)[:40]!r}")


def _both(key: str, one: object, other: object) -> object:
    """The value of a keyword that two parts have."""
    if one == other:
        return one
    if key == "properties" and isinstance(one, dict) and isinstance(other, dict):
        shared = one.keys() & other.keys()
        return one | other | {name: {"allOf": [one[name], other[name]]} for name in shared}
    if key in ("allOf", "required") and isinstance(one, list) and isinstance(other, list):
        return one + other
    if isinstance(one, int | float) and isinstance(other, int | float):
        if key in ("minimum", "exclusiveMinimum", "minLength", "minItems"):
            return max(one, other)
        if key in ("maximum", "exclusiveMaximum", "maxLength", "maxItems"):
            return min(one, other)
    if key in ("type", "enum"):
        return [each for each in _as_list(one) if each in _as_list(other)]
    raise _refusal(f"two of its parts give {key[:40]!r} differently")


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _list(schema: Schema, key: str) -> list[object]:
    value = schema.get(key, [])
    if not isinstance(value, list):
        raise _refusal(f"{key} is a list")
    return value


def _object(schema: Schema, key: str) -> Mapping[str, object]:
    value = schema.get(key, {})
    if not isinstance(value, dict):
        raise _refusal(f"{key} is an object")
    return value


def _count(schema: Schema, key: str, default: int) -> int:
    value = schema.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _refusal(f"{key} is a whole number")
    return value


def _without(schema: Schema, key: str) -> dict[str, object]:
    """The schema without a keyword, and without words that allow and forbid nothing."""
    return {name: value for name, value in schema.items() if name != key and name not in _SILENT}


def _literal(value: object) -> str:
    """A value's JSON as a literal of the grammar."""
    return _quoted(json.dumps(value, ensure_ascii=True))


def _quoted(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _refusal(why: str) -> UsageError:
    return UsageError(f"the schema cannot be used: {why}", "give a simpler schema, or a grammar")
