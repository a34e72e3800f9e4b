"""Tool calls in the ways that models write them. What is no call gives an empty list, never an error."""

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import TypeAlias

Properties: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool's name, and its arguments as a JSON object."""

    name: str
    arguments: str


class Tools:
    """The tools that a job offers, in the form of OpenAI's API: ``[{"type": "function", "function": {...}}]``."""

    def __init__(self, offered: str) -> None:
        self.offered: list[object] = json.loads(offered) if offered else []
        self._properties: dict[str, Properties] = {}
        for tool in self.offered:
            function = _fields(_fields(tool).get("function")) or _fields(tool)
            properties = _fields(_fields(function.get("parameters")).get("properties"))
            self._properties[str(function.get("name"))] = properties

    def __bool__(self) -> bool:
        return bool(self.offered)

    @property
    def names(self) -> Set[str]:
        """What they are called."""
        return self._properties.keys()

    def value(self, tool: str, name: str, written: str) -> object:
        """An argument that was written without JSON's quotes: a text where the tool wants one, else JSON if it is."""
        kind = _fields(self._properties.get(tool, {}).get(name)).get("type")
        if kind == "string":
            return written
        try:
            return json.loads(written)
        except (ValueError, RecursionError):
            return written


NO_TOOLS = Tools("")


def calls_in(text: str, tools: Tools) -> list[Call]:
    """The calls in a block that a model marked as such, markers included; none if it cannot be understood."""
    ways: tuple[Callable[[str, Tools], list[Call]], ...] = (
        _elements, _key_values, _separated, _braced, _objects, _python,
    )  # fmt: skip
    for way in ways:
        found = way(text, tools)
        if found:
            return found
    return []


_ELEMENT = re.compile(r'<(?:function=|invoke name=")([^">\s]+)"?>(.*?)(?:</function>|</invoke>|\Z)', re.DOTALL)
_PARAMETER = re.compile(r'<parameter(?:=| name=")([^">]+)"?>\n?(.*?)\n?</parameter>', re.DOTALL)


def _elements(text: str, tools: Tools) -> list[Call]:
    """``<function=NAME><parameter=KEY>VALUE</parameter></function>``, also with JSON inside, or as ``<invoke``."""
    found = []
    for name, body in _ELEMENT.findall(text):
        if body.lstrip().startswith(("{", '"')):
            found += _call(name, _json(body))
        else:
            found += _call(name, {key: tools.value(name, key, value) for key, value in _PARAMETER.findall(body)})
    return found


_KEY_VALUE = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)


def _key_values(text: str, tools: Tools) -> list[Call]:
    """``<tool_call>NAME<arg_key>KEY</arg_key><arg_value>VALUE</arg_value>``: GLM."""
    body = re.sub(r"^<tool_call>|</tool_call>$", "", text)
    name = re.match(r"\s*([\w.\-]+)\s*(?=<arg_key>|\Z)", body)
    if name is None:
        return []
    tool = name[1]
    return _call(tool, {key.strip(): tools.value(tool, key.strip(), value) for key, value in _KEY_VALUE.findall(body)})


_SEPARATED = (
    re.compile(r"<｜tool▁call▁begin｜>function<｜tool▁sep｜>([^\n<]+)\n(.*?)<｜tool▁call▁end｜>", re.DOTALL),
    re.compile(r"<｜tool▁call▁begin｜>([^\n<]+)<｜tool▁sep｜>(.*?)<｜tool▁call▁end｜>", re.DOTALL),
    re.compile(
        r"<\|tool_call_begin\|>\s*(?:functions\.)?([^\n<:]+)(?::\d+)?\s*<\|tool_call_argument_begin\|>(.*?)"
        r"<\|tool_call_end\|>",
        re.DOTALL,
    ),
    re.compile(r"\[TOOL_CALLS\]\s*([\w.\-]+)\s*(?:\[CALL_ID\][^\[]*)?\[ARGS\](.*?)(?=\[TOOL_CALLS\]|\Z)", re.DOTALL),
)
_FENCE = re.compile(r"^\s*```(?:json)?\s*")


def _separated(text: str, _: Tools) -> list[Call]:
    """A name and JSON between markers: DeepSeek, Kimi, Mistral."""
    for pattern in _SEPARATED:
        found = [call for name, body in pattern.findall(text) for call in _call(name, _json(_FENCE.sub("", body)))]
        if found:
            return found
    return []


_GEMMA_QUOTE = '<|"|>'
_BRACED = re.compile(r"call:([\w.\-]+)(\{.*?\})(?=<tool_call\|>|\Z)", re.DOTALL)


def _braced(text: str, _: Tools) -> list[Call]:
    """``call:NAME{key:<|"|>text<|"|>,other:3}``: Gemma, whose texts have their own quotes and whose keys have none."""
    found = []
    for name, body in _BRACED.findall(text):
        between = body.split(_GEMMA_QUOTE)
        parts = [json.dumps(part) if index % 2 else re.sub(r"([{,]\s*)([\w.\-]+)(\s*:)", r'\1"\2"\3', part)
                 for index, part in enumerate(between)]  # fmt: skip
        found += _call(name, _json("".join(parts)))
    return found


def _objects(text: str, tools: Tools) -> list[Call]:
    """JSON objects with a name and arguments, alone or in a list: Hermes, Qwen, Llama, Mistral, Granite, Cohere.

    Apertus has the name as the key of the arguments.
    """
    found = []
    for value in _values(text):
        for item in value if isinstance(value, list) else [value]:
            fields = _fields(_fields(item).get("function")) or _fields(item)
            name = fields.get("name") or fields.get("tool_name")
            arguments = next((fields[key] for key in ("arguments", "parameters") if key in fields), None)
            if len(fields) == 1 and fields.keys() <= tools.names:
                ((name, arguments),) = fields.items()
            if isinstance(name, str) and arguments is not None:
                found += _call(name, _json(arguments) if isinstance(arguments, str) else arguments)
    return found


def _values(text: str) -> Iterator[object]:
    """The JSON objects and lists in a text, whatever stands between them."""
    decoder, place = json.JSONDecoder(), 0
    while (start := re.compile(r"[\[{]").search(text, place)) is not None:
        try:
            value, place = decoder.raw_decode(text, start.start())
            yield value
        except (ValueError, RecursionError):
            place = start.end()


def _python(text: str, _: Tools) -> list[Call]:
    """Calls as Python writes them, ``[name(key="value")]`` or ``name.call(key="value")``: LFM2, Llama's own tools."""
    body = re.sub(r"<\|?[\w/]+\|?>", "", text).strip()
    try:
        tree = ast.parse(body, mode="eval").body
        nodes = tree.elts if isinstance(tree, ast.List) else [tree]
        return [
            Call(_dotted(node.func), _dump({key.arg: ast.literal_eval(key.value) for key in node.keywords if key.arg}))
            for node in nodes
            if isinstance(node, ast.Call) and not node.args
        ]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return []


def _dotted(node: ast.expr) -> str:
    return ast.unparse(node).removesuffix(".call")


def _call(name: str, arguments: object) -> list[Call]:
    """A call, if the arguments are an object."""
    return [Call(name.strip(), _dump(arguments))] if isinstance(arguments, dict) and name.strip() else []


def _json(text: str) -> object:
    """The JSON that a text begins with; what it stands for, where it is JSON in quotes."""
    try:
        value, _ = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return None
    return _json(value) if isinstance(value, str) else value


def _dump(arguments: object) -> str:
    return json.dumps(arguments, ensure_ascii=False)


def _fields(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
