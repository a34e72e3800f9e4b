"""From a regular expression to a grammar expression (GBNF) for what stands between the quotes of a JSON text.

Of what the expression matches, the grammar allows what needs no care: no control characters, and quotes and backslashes
only where the expression names them outside a class. Look-arounds, references and boundaries are refused.
"""

import re

_ANY = r'[^"\\\x00-\x1F\x7F]'
_NEVER = r'"\\\x00-\x1F\x7F'
"""For classes: what has to be escaped between quotes."""

_UNFIT = ((0, 0x1F), (0x22, 0x22), (0x5C, 0x5C), (0x7F, 0x9F), (0xD800, 0xDFFF))
"""Codes that have to be escaped between quotes, or are no characters."""

_CLASSES = {"d": "0-9", "w": "a-zA-Z0-9_", "s": r"\x20"}
_CONTROLS = {"n": r"\\n", "t": r"\\t", "r": r"\\r"}
_QUANTIFIER = re.compile(r"([*+?]|\{\d{1,3}(?:,\d{0,3})?\})\??")
_CODE = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})")
_MOST_DEPTH = 20


class PatternRefused(Exception):
    """The expression is broken or asks for what no grammar can promise; the text says what."""


def pattern_grammar(pattern: str) -> str:
    """The expression for texts that ``pattern`` is found in; raises ``PatternRefused``."""
    return _Reader(pattern).whole()


class _Reader:
    """Reads an expression from left to right."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._place = 0

    def whole(self) -> str:
        """Every alternative, with anything around it where it is not anchored."""
        ways = [self._anchored()]
        while self._takes("|"):
            ways.append(self._anchored())
        if self._place < len(self._pattern):
            raise PatternRefused(f"{self._pattern[self._place]!r} stands alone")
        return f"({' | '.join(ways)})"

    def _anchored(self) -> str:
        before = "" if self._takes("^") else f"{_ANY}* "
        body = self._sequence(0)
        return f"{before}{body}" if self._takes("$") else f"{before}{body} {_ANY}*"

    def _choice(self, depth: int) -> str:
        if depth > _MOST_DEPTH:
            raise PatternRefused("it nests too deep")
        ways = [self._sequence(depth)]
        while self._takes("|"):
            ways.append(self._sequence(depth))
        return f"({' | '.join(ways)})"

    def _sequence(self, depth: int) -> str:
        parts = []
        while (sign := self._next()) and sign not in "|)$":
            item = self._item(depth)
            if quantifier := _QUANTIFIER.match(self._pattern, self._place):
                self._place = quantifier.end()
                item += quantifier[1]
            parts.append(item)
        return " ".join(parts) or '""'

    def _item(self, depth: int) -> str:
        sign = self._read()
        if sign == "(":
            if self._takes("?") and not self._takes(":"):
                raise PatternRefused("it looks around or names a group")
            inner = self._choice(depth + 1)
            if not self._takes(")"):
                raise PatternRefused("a group is not closed")
            return inner
        if sign == "[":
            return self._class()
        if sign == ".":
            return _ANY
        if sign == "\\":
            return self._escaped()
        if sign in "*+?{^":
            raise PatternRefused(f"{sign!r} stands where nothing can be repeated")
        return _literal(sign)

    def _escaped(self) -> str:
        sign = self._read()
        if sign.lower() in _CLASSES:
            members = _CLASSES[sign.lower()]
            return f"[{members}]" if sign.islower() else f"[^{members}{_NEVER}]"
        if sign in _CONTROLS:
            return f'"{_CONTROLS[sign]}"'
        return _literal(self._character(sign))

    def _class(self) -> str:
        """What stands in brackets, without what has to be escaped between quotes."""
        is_negated = self._takes("^")
        members: list[str] = []
        while not self._takes("]"):
            first = self._member()
            if len(first) > 1 or not (self._next() == "-" and self._pattern[self._place + 1 : self._place + 2] != "]"):
                members.append(first if len(first) > 1 else _code(first))
                continue
            self._read()
            last = self._member()
            if len(last) > 1 or first > last:
                raise PatternRefused("a range ends before it begins")
            members.append(f"{_code(first)}-{_code(last)}")
        if is_negated:
            return f"[^{''.join(members)}{_NEVER}]"
        allowed = [span for member in members for span in _allowed(member)]
        if not allowed:
            raise PatternRefused("a class has nothing that can stand in a text as it is")
        return f"[{''.join(allowed)}]"

    def _member(self) -> str:
        """One character of a class, or the span of a class in it."""
        sign = self._read()
        if sign != "\\":
            return sign
        sign = self._read()
        if sign in _CLASSES:
            return _CLASSES[sign]
        if sign in _CONTROLS:
            return {"n": "\n", "t": "\t", "r": "\r"}[sign]
        return self._character(sign)

    def _character(self, sign: str) -> str:
        """The character that an escape stands for."""
        if code := _CODE.match(self._pattern, self._place - 1):
            self._place = code.end()
            return chr(int(code[1] or code[2], 16))
        if sign.isalnum():
            raise PatternRefused(f"\\{sign} cannot be promised")
        return sign

    def _next(self) -> str:
        return self._pattern[self._place : self._place + 1]

    def _read(self) -> str:
        sign = self._next()
        if not sign:
            raise PatternRefused("it ends too early")
        self._place += 1
        return sign

    def _takes(self, sign: str) -> bool:
        if self._next() != sign:
            return False
        self._place += 1
        return True


def _allowed(member: str) -> list[str]:
    """The parts of a class member that need no escape between quotes."""
    if member in _CLASSES.values():
        return [member]
    first, last = (int(code, 16) for code in (member[2:10], member[-8:]))
    spans = []
    for bad_first, bad_last in _UNFIT:
        if first < bad_first:
            spans.append((first, min(last, bad_first - 1)))
        first = max(first, bad_last + 1)
        if first > last:
            break
    else:
        spans.append((first, last))
    return [f"{_code(chr(low))}-{_code(chr(high))}" for low, high in spans]


def _code(sign: str) -> str:
    return f"\\U{ord(sign):08X}"


def _literal(sign: str) -> str:
    """A character as a JSON text has it."""
    if sign in '"\\':
        return f'"\\\\{_code(sign)}"'
    if any(first <= ord(sign) <= last for first, last in _UNFIT):
        raise PatternRefused("it has control characters")
    return f'"{_code(sign)}"'
