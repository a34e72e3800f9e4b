"""Stop strings in a text that arrives in pieces: nothing is held back but what may be the beginning of one."""

from collections.abc import Iterable, Sequence


class StopStrings:
    """Lets a text through up to the one of ``words`` that is whole first, so that it does not matter how it arrives."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = [word for word in words if word]
        self._held = ""
        self.found: str | None = None

    def take(self, text: str) -> str:
        """What may go out now that ``text`` has come; nothing more once a word is found."""
        if self.found is not None:
            return ""
        self._held += text
        place, word = _first_whole(self._held, self._words)
        if word:
            self.found = word
            said, self._held = self._held[:place], ""
            return said
        return self._release(len(self._held) - begun(self._held, self._words))

    def rest(self) -> str:
        """What was held back, now that nothing follows."""
        return self._release(len(self._held))

    def _release(self, count: int) -> str:
        said, self._held = self._held[:count], self._held[count:]
        return said


def first_of(text: str, words: Iterable[str]) -> tuple[int, str]:
    """Where the first of ``words`` stands in ``text``, the longest of those that begin there; ``(len, "")`` if none."""
    places = [(text.find(word), -len(word), word) for word in words]
    place, _, word = min((found for found in places if found[0] >= 0), default=(len(text), 0, ""))
    return place, word


def _first_whole(text: str, words: Iterable[str]) -> tuple[int, str]:
    """Where the one of ``words`` stands that ends first in ``text``, the longest of those that end there."""
    places = [(text.find(word), word) for word in words]
    found = min(((place + len(word), place, word) for place, word in places if place >= 0), default=(0, len(text), ""))
    return found[1:]


def begun(text: str, words: Iterable[str]) -> int:
    """How many characters at the end of ``text`` may be the beginning of one of ``words``."""
    longest = 0
    for word in words:
        for length in range(min(len(word) - 1, len(text)), longest, -1):
            if text.endswith(word[:length]):
                longest = length
                break
    return longest
