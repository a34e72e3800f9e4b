"""Base32 as people type it (RFC 4648 without padding), and the names made of it: device ids and issuer keys.

A name is a prefix that says what it is, then the value and a checksum in groups of four: ``NLD-XXXX-XXXX-XXXX-XXXX``.
"""

import base64
import hashlib
from dataclasses import dataclass

from nanolocal.errors import UsageError

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2212_"
_TYPED: dict[int, str | None] = {
    **{ord(letter.lower()): letter for letter in _ALPHABET if letter.isalpha()},
    **dict.fromkeys(map(ord, _DASHES)),
    ord("0"): "O",
    ord("1"): "L",
}
GROUP = 4


def tidy(text: str) -> str:
    """``text`` in upper case, without spaces, line breaks and dashes, with 0 and 1 as the letters O and L."""
    return "".join(text.split()).translate(_TYPED)


def grouped(letters: str, separator: str = "-") -> str:
    """``letters`` in groups of four."""
    return separator.join(letters[at : at + GROUP] for at in range(0, len(letters), GROUP))


def encode(data: bytes) -> str:
    """``data``, a multiple of five bytes, as letters without padding."""
    return base64.b32encode(data).decode()


def decode(letters: str, what: str, length: int) -> bytes:
    """The bytes of tidied ``letters``, which ``what`` has ``length`` of; raises ``UsageError``."""
    for place, letter in enumerate(letters[: length + 1], 1):
        if letter not in _ALPHABET:
            raise UsageError(
                f"{what} has only letters and the digits 2 to 7, not {letter!r} (character {place})",
                "copy or type it once more",
            )
    if len(letters) != length:
        wrong = f"{length - len(letters)} too few" if len(letters) < length else f"{len(letters) - length} too many"
        raise UsageError(f"{what} has {length} characters, this one {len(letters)}: {wrong}", "copy it as a whole")
    return base64.b32decode(letters)


@dataclass(frozen=True, slots=True)
class Naming:
    """One kind of name: its ``prefix``, what it is called, and how many bytes its value and its checksum have."""

    prefix: str
    what: str
    size: int
    check: int

    def write(self, value: bytes) -> str:
        """The name of ``value``."""
        return f"{self.prefix}-{grouped(encode(value + self._checksum(value)))}"

    def read(self, text: str) -> bytes:
        """The value that ``text`` names; raises ``UsageError`` for a slip of the hand or a name of another kind."""
        letters = tidy(text)
        if not letters.startswith(self.prefix):
            raise UsageError(f"{self.what} begins with {self.prefix}-, not {text.strip()[:8]!r}", self._hint)
        data = decode(letters.removeprefix(self.prefix), self.what, (self.size + self.check) * 8 // 5)
        value, checksum = data[: self.size], data[self.size :]
        if checksum != self._checksum(value):
            raise UsageError(f"{self.what} was mistyped: its last letters do not fit the others", self._hint)
        return value

    @property
    def _hint(self) -> str:
        return "nanolocal credits voucher device prints it on the device that it belongs to"

    def _checksum(self, value: bytes) -> bytes:
        return hashlib.sha256(f"nanolocal-{self.prefix}-v1\0".encode() + value).digest()[: self.check]


DEVICE = Naming("NLD", "a device id", 8, 2)
ISSUER = Naming("NLK", "an issuer key", 32, 3)
