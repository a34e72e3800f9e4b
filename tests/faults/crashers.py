"""Files that ended or overran native parsers, each made by code from what its report says."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

_BYTES = [f"<0x{byte:02X}>".encode() for byte in range(256)]
_ENORMOUS = 2**63


@dataclass(frozen=True, slots=True)
class Crasher:
    """A file, where its kind is reported, and what the refusal has to say."""

    name: str
    report: str
    reason: str
    content: bytes


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key.encode()) + struct.pack("<I", kind) + value


def number(key: str, value: int) -> bytes:
    return entry(key, 4, struct.pack("<I", value))


def string(key: str, value: bytes) -> bytes:
    return entry(key, 8, text(value))


def array(key: str, kind: int, count: int, items: bytes = b"") -> bytes:
    return entry(key, 9, struct.pack("<IQ", kind, count) + items)


def texts(key: str, values: list[bytes]) -> bytes:
    return array(key, 8, len(values), b"".join(text(value) for value in values))


def tensor(name: str, shape: Iterable[int], kind: int = 0, offset: int = 0) -> bytes:
    dimensions = tuple(shape)
    return text(name.encode()) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, kind, offset)


def gguf(
    *entries: bytes, tensors: Iterable[bytes] = (), counts: tuple[int, int] | None = None, version: int = 3
) -> bytes:
    """A whole file with room for its tensors, unless ``counts`` says otherwise."""
    listed = list(tensors)
    claimed = (len(listed), len(entries)) if counts is None else counts
    header = b"GGUF" + struct.pack("<IQQ", version, *claimed) + b"".join(entries) + b"".join(listed)
    return header + bytes(-len(header) % 32 + 1024)


LLAMA = string("general.architecture", b"llama")


def vocabulary(model: bytes, tokens: list[bytes], *more: bytes) -> bytes:
    return gguf(LLAMA, string("tokenizer.ggml.model", model), texts("tokenizer.ggml.tokens", tokens), *more)


def heads(*more: bytes) -> bytes:
    return gguf(
        LLAMA, number("llama.embedding_length", 64), number("llama.attention.head_count", 2), *more,
        tensors=[tensor("blk.0.attn_q.weight", (64, 64))],
    )  # fmt: skip


_TALOS = "CVE-2024-21802, -21825, -21836, -23496, -23605"
_LLAMA_CPP = "ggml-org/llama.cpp issues 25821, 25969, 26051, 26690, 24997"
_ASSERTED = "an assertion or a lookup without a way to fail in llama.cpp, found with scripts/stress_headers.py"

CRASHERS = [
    Crasher("many entries", _TALOS, "metadata entries", gguf(counts=(0, 2**61))),
    Crasher("many tensors", _TALOS, "claims", gguf(counts=(2**61, 0))),
    Crasher("endless key", _TALOS, "a text of", gguf(struct.pack("<Q", 2**64 - 1), counts=(0, 1))),
    Crasher("endless text", _TALOS, "a text of", gguf(entry("a", 8, struct.pack("<Q", 2**64 - 1)))),
    Crasher("array larger than memory", _TALOS, "an array of", gguf(array("a", 12, 2**61))),
    Crasher("texts larger than memory", _TALOS, "an array of", gguf(array("a", 8, 2**61))),
    Crasher("dimensions that overflow", _TALOS, "a tensor of shape",
            gguf(LLAMA, tensors=[tensor("t", (2**62, 2**62))])),
    Crasher("too many dimensions", _TALOS, "5 dimensions", gguf(LLAMA, tensors=[tensor("t", (1,) * 5)])),
    Crasher("49 bytes that hang", "ggml-org/llama.cpp issue 27188", "an array of", gguf(array("a", 4, _ENORMOUS))[:49]),
    Crasher("sizes that overflow together", "CVE-2025-53630, CVE-2026-27940", "overlaps another or leaves a gap",
            gguf(LLAMA, tensors=[tensor("a", (32,)), tensor("b", (32,), offset=2**64 - 32)])),
    Crasher("tensors on top of each other", "CVE-2026-27940", "overlaps",
            gguf(LLAMA, tensors=[tensor("a", (32,)), tensor("b", (32,))])),
    Crasher("weights outside the file", "CVE-2026-7482", "shorter than its tensors",
            gguf(LLAMA, tensors=[tensor("a", (2**20, 2**10))])),
    Crasher("array of no type", _LLAMA_CPP, "unknown type", gguf(array("a", 99, 1, b"\0"))),
    Crasher("arrays inside arrays", _LLAMA_CPP, "array inside an array",
            gguf(entry("a", 9, struct.pack("<IQ", 9, 1) * 500))),
    Crasher("513 layers", _LLAMA_CPP, "513 layers", gguf(LLAMA, number("llama.block_count", 513))),
    Crasher("no layers", _LLAMA_CPP, "0 layers", gguf(LLAMA, number("llama.block_count", 0))),
    Crasher("alignment of 0", _LLAMA_CPP, "alignment 0", gguf(LLAMA, number("general.alignment", 0))),
    Crasher("weights between two multiples", _LLAMA_CPP, "multiples of 32",
            gguf(LLAMA, number("general.alignment", 1), string("a", b"b"), tensors=[tensor("t", (4,))])),
    Crasher("no tokens for bytes", _ASSERTED, "no token for 256 of the 256 bytes", vocabulary(b"llama", [b"<unk>"])),
    Crasher("one byte is missing", _ASSERTED, "1 of the 256 bytes, first 0xC3",
            vocabulary(b"llama", [token for token in _BYTES if token != b"<0xC3>"])),
    Crasher("no escaped bytes", _ASSERTED, "no token for", vocabulary(b"rwkv", [b"a", b"b"])),
    Crasher("a token twice", _ASSERTED, "'a' appears twice", vocabulary(b"llama", [*_BYTES, b"a", b"b", b"a"])),
    Crasher("the same up to a zero byte", _ASSERTED, "'a' appears twice", vocabulary(b"gpt2", [b"a", b"a\0b"])),
    Crasher("the name of an empty token", _ASSERTED, "appears twice", vocabulary(b"gpt2", [b"", b"[EMPTY_0]"])),
    Crasher("too few scores", _ASSERTED, "scores has 1 entries for 257 tokens",
            vocabulary(b"llama", [*_BYTES, b"a"], array("tokenizer.ggml.scores", 6, 1, bytes(4)))),
    Crasher("types that are texts", _ASSERTED, "token_type is not the list",
            vocabulary(b"gpt2", [b"a"], texts("tokenizer.ggml.token_type", [b"x"]))),
    Crasher("word pieces with bytes", _ASSERTED, "word pieces",
            vocabulary(b"bert", [b"a"], array("tokenizer.ggml.token_type", 5, 1, struct.pack("<i", 6)))),
    Crasher("a token that fills memory", _ASSERTED, "far too long", vocabulary(b"gpt2", [b"a", b"{ " * 42_000])),
    Crasher("end outside the vocabulary", _ASSERTED, "eos token 9 is outside",
            vocabulary(b"gpt2", [b"a"], number("tokenizer.ggml.eos_token_id", 9))),
    Crasher("unknown scaling", _ASSERTED, "rope scaling 'odd'", gguf(LLAMA, string("llama.rope.scaling.type", b"odd"))),
    Crasher("more experts used than there are", _ASSERTED, "uses 3 of 2 experts",
            gguf(LLAMA, number("llama.expert_count", 2), number("llama.expert_used_count", 3))),
    Crasher("a negative epsilon", _ASSERTED, "layer_norm_rms_epsilon is -1.0",
            gguf(LLAMA, entry("llama.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", -1)))),
    Crasher("heads that cannot be shared", _ASSERTED, "2 heads cannot share 3",
            heads(number("llama.attention.head_count_kv", 3))),
    Crasher("keys and values of two sizes", _ASSERTED, "16 numbers for keys and 32 for values",
            heads(number("llama.attention.key_length", 16))),
    Crasher("a position for part of a head", _ASSERTED, "turns 16 numbers of heads of 32",
            heads(number("llama.rope.dimension_count", 16))),
    Crasher("queries of another size", _ASSERTED, "128 rows of its heads",
            heads(number("llama.attention.key_length", 64), number("llama.attention.value_length", 64))),
    Crasher("weights that are 8 bit integers", _ASSERTED, "a type that weights never have",
            gguf(LLAMA, tensors=[tensor("t", (32, 4), kind=24)])),
    Crasher("a quantized row", _ASSERTED, "a single row and quantized",
            gguf(LLAMA, tensors=[tensor("t", (32,), kind=8)])),
    Crasher("the number of a part as a list", _ASSERTED, "split.no is no number", gguf(LLAMA, array("split.no", 2, 0))),
    Crasher("a text where a number belongs", _ASSERTED, "context_length is 'x'",
            gguf(LLAMA, string("llama.context_length", b"x"))),
    Crasher("a template of 65 KiB", _ASSERTED, "chat template has 66,560 bytes",
            gguf(LLAMA, string("tokenizer.chat_template", b"a" * 66_560))),
    Crasher("the other byte order", "", "big endian", b"GGUF" + struct.pack(">IQQ", 3, 0, 0)),
    Crasher("nothing", "", "it is empty", b""),
]  # fmt: skip
