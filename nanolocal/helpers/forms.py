"""Patterns of whole questions, each with what answers it; compiled when a prompt first looks like one of them."""

import re
from collections.abc import Iterator
from typing import Generic, TypeVar

_Work = TypeVar("_Work")


class Forms(Generic[_Work]):
    """``hint`` is a pattern that every prompt of these forms contains: it spares all others the compiling."""

    def __init__(self, hint: str, *forms: tuple[str, _Work]) -> None:
        self._hint = re.compile(hint, re.IGNORECASE)
        self._forms = forms
        self._compiled: list[tuple[re.Pattern[str], _Work]] = []

    def matching(self, text: str) -> Iterator[tuple[re.Match[str], _Work]]:
        """Every form that is the whole of ``text``, in their order."""
        if self._hint.search(text) is None:
            return
        if not self._compiled:
            self._compiled = [(re.compile(pattern, re.IGNORECASE), work) for pattern, work in self._forms]
        for pattern, work in self._compiled:
            found = pattern.fullmatch(text)
            if found is not None:
                yield found, work
