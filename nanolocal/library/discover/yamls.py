"""The little of YAML that model.yml and extra_model_paths.yaml use: keys and texts, one level of sections, blocks."""

import re
from collections.abc import Iterator

_PAIR = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z0-9_.-]+) *:(?: +(?P<value>.*)| *)$")
_MAX_LINES = 10_000


def flat(text: str) -> dict[str, str]:
    """The keys that stand at the left margin, with the texts next to them."""
    return dict(sections(text).get("", {}))


def sections(text: str) -> dict[str, dict[str, str]]:
    """Keys and texts by section, the ones outside any under an empty name; the lines of a block stay lines."""
    found: dict[str, dict[str, str]] = {"": {}}
    section, block, block_indent = "", "", -1
    for line in _lines(text):
        indent = len(line) - len(line.lstrip(" "))
        if block and indent > block_indent:
            found[section][block] = f"{found[section][block]}\n{line.strip()}".strip("\n")
            continue
        block = ""
        pair = _PAIR.match(line)
        if pair is None:
            continue
        key, value = pair["key"], _plain(pair["value"] or "")
        if indent == 0:
            section = ""
            if not value:
                section = key
                found.setdefault(section, {})
                continue
        if value in ("|", "|-", ">", ">-", ""):
            block, block_indent, value = key, indent, ""
        found[section][key] = value
    return found


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines()[:_MAX_LINES]:
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.rstrip()


def _plain(value: str) -> str:
    """A value without its quotes, or without a comment behind it."""
    value = value.strip()
    if value[:1] in ("'", '"') and value[-1:] == value[:1] and len(value) > 1:
        return value[1:-1]
    return re.split(r"\s#", value, maxsplit=1)[0].strip()
