"""What a vocabulary must have, so that llama.cpp neither ends the process nor reads beyond an array.

The rules are those of llama-vocab.cpp (``llama_vocab::impl::load`` and ``byte_to_token``): it asserts that no two
tokens are equal, reads a score and a type for each token, and looks up the token of a byte without a way to fail.
"""

import sys
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from nanolocal.formats.refusal import Refused

MAX_TOKENS = 2**21
MAX_TEMPLATE_BYTES = 64 * 2**10
MAX_SQUARES = 2**30
"""Of the tokens' lengths, summed: llama.cpp writes a whole token once more for each character that it cannot decode."""

_PREFIX = "tokenizer.ggml."
_WITH_MERGES = frozenset({"gemma4", "gpt2"})
_WITHOUT_TOKENS = frozenset({"no_vocab", "none"})
_SPECIALS = ("bos", "eos", "eot")
_INT32, _FLOAT32, _STRING = 5, 6, 8
_BYTE = 6
"""llama.h, ``LLAMA_TOKEN_TYPE_BYTE``."""
_ITEMS = {"merges": (_STRING,), "scores": (_INT32, _FLOAT32), "token_type": (_INT32,), "tokens": (_STRING,)}


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens as llama.cpp sees them: cut at a zero byte, an empty one named by its place."""

    texts: frozenset[bytes]
    repeated: bytes | None


def read_tokens(texts: Sequence[bytes]) -> Tokens:
    """The tokens for what a file holds."""
    seen = frozenset(texts)
    if len(seen) == len(texts) and not any(b"\0" in text for text in seen) and b"" not in seen:
        return Tokens(seen, None)
    tokens = [text.partition(b"\0")[0] or b"[EMPTY_%d]" % index for index, text in enumerate(texts)]
    counted = Counter(tokens)
    return Tokens(frozenset(counted), next((token for token, times in counted.items() if times > 1), None))


def has_byte_tokens(token_types: bytes) -> bool:
    """Whether one of the types, 32 bit integers, says that its token stands for a byte."""
    types = array("i", token_types[: len(token_types) // 4 * 4])
    if sys.byteorder == "big":
        types.byteswap()
    return _BYTE in types


@dataclass(slots=True)
class Vocabulary:
    """What is kept of a vocabulary while its entries are read; ``kinds`` are the GGUF types of arrays' items by key."""

    kinds: dict[str, int] = field(default_factory=dict)
    tokens: Tokens | None = None
    has_byte_tokens: bool = False


def check_vocabulary(metadata: Mapping[str, object], lengths: Mapping[str, int], vocabulary: Vocabulary) -> None:
    """Raise ``Refused`` for a vocabulary that llama.cpp cannot stand."""
    tokens = vocabulary.tokens
    _check_template(metadata)
    name = metadata.get(f"{_PREFIX}model")
    if name is None:
        return
    if not isinstance(name, str):
        raise Refused("its vocabulary names no tokenizer")
    for key, allowed in _ITEMS.items():
        if _PREFIX + key in metadata or vocabulary.kinds.get(_PREFIX + key, allowed[0]) not in allowed:
            raise Refused(f"{_PREFIX}{key} is not the list that it should be")
    if name in _WITHOUT_TOKENS:
        return
    if tokens is None or not tokens.texts:
        raise Refused("its vocabulary is empty")
    _check_lengths(lengths)
    _check_specials(metadata, lengths[f"{_PREFIX}tokens"])
    _check_texts(name, tokens)
    if name == "bert" and vocabulary.has_byte_tokens:
        raise Refused("its vocabulary of word pieces has tokens for bytes")
    if name in _WITH_MERGES and f"{_PREFIX}merges" not in lengths and metadata.get(f"{_PREFIX}pre") != "kimi-k2":
        raise Refused("its vocabulary has no merges")


def _check_template(metadata: Mapping[str, object]) -> None:
    for key, value in metadata.items():
        if key.startswith("tokenizer.chat_template") and isinstance(value, str):
            size = len(value.encode("utf-8", "replace"))
            if size > MAX_TEMPLATE_BYTES:
                raise Refused(f"its chat template has {size:,} bytes")


def _check_lengths(lengths: Mapping[str, int]) -> None:
    count = lengths[f"{_PREFIX}tokens"]
    for key in ("scores", "token_type"):
        if lengths.get(_PREFIX + key, count) < count:
            raise Refused(f"{_PREFIX}{key} has {lengths[_PREFIX + key]:,} entries for {count:,} tokens")


def _check_specials(metadata: Mapping[str, object], count: int) -> None:
    for name in _SPECIALS:
        token = metadata.get(f"{_PREFIX}{name}_token_id", 0)
        if not isinstance(token, int) or not 0 <= token < count:
            raise Refused(f"{name} token {str(token)[:20]} is outside the vocabulary of {count}")


def _check_texts(name: str, tokens: Tokens) -> None:
    if tokens.repeated is not None:
        raise Refused(f"the token {tokens.repeated[:40].decode('utf-8', 'replace')!r} appears twice")
    if sum(len(text) ** 2 for text in tokens.texts) > MAX_SQUARES:
        raise Refused("its vocabulary has tokens that are far too long")
    names_of = _BYTE_NAMES.get(name)
    if names_of is None:
        return
    missing = [byte for byte in range(256) if tokens.texts.isdisjoint(names_of(byte))]
    if missing:
        raise Refused(f"its vocabulary has no token for {len(missing)} of the 256 bytes, first 0x{missing[0]:02X}")


def _hexadecimal(byte: int) -> tuple[bytes, ...]:
    return (b"<0x%02X>" % byte, bytes([byte]))


def _escaped(byte: int) -> tuple[bytes, ...]:
    """As Python writes it, the way llama.cpp's converter does."""
    return (repr(bytes([byte]))[2:-1].encode("ascii"),)


_BYTE_NAMES: Mapping[str, Callable[[int], tuple[bytes, ...]]] = {
    "llama": _hexadecimal,
    "plamo2": _hexadecimal,
    "rwkv": _escaped,
}
"""How tokenizers that have no other way to write a byte call the token for it."""
