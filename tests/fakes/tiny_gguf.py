"""A llama-architecture GGUF of a few megabytes with random weights, written in a moment.

Vocabulary: one token per byte, the ChatML specials, and (as BPE) a few merges. The weights are random but shaped so
that the build writes printable ASCII without end; with ``answer`` it writes exactly that text and ends.
"""

from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np

CHATML = (
    "{%- for message in messages -%}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{%- endfor -%}{{ '<|im_start|>assistant\n' }}"
)
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = ("h e", "l l", "he ll", "Ġ a", "Ġ t", "i n", "e r", "o u")
_WIDTH, _HEADS = 320, 4
_STEER = _WIDTH - 1
"""The dimension that is the same in every embedding, to keep control tokens down."""


def byte_symbols() -> list[str]:
    """The printable symbol that GPT-2's byte-level BPE writes for each byte."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(byte if byte in plain else next(others)) for byte in range(256)]


def write_tiny_gguf(
    path: Path,
    *,
    answer: str | None = None,
    template: str | None = CHATML,
    spm: bool = False,
    layers: int = 1,
    n_ctx: int = 8192,
    seed: int = 1,
    name: str = "tiny",
    architecture: str = "llama",
) -> Path:
    """Write the build to ``path`` and return it. The bytes of ``answer`` all differ, and none is a line feed.

    ``architecture`` may be ``qwen2vl`` too, whose positions have three dimensions.
    """
    tokens, types = spm_vocabulary() if spm else bpe_vocabulary()
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(name)
    writer.add_context_length(n_ctx)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(_WIDTH)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS // 2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    if architecture == "qwen2vl":
        writer.add_rope_dimension_sections([_WIDTH // _HEADS // 4, _WIDTH // _HEADS // 8, _WIDTH // _HEADS // 8, 0])
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama" if spm else "gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if spm:
        writer.add_token_scores([0.0] * len(tokens))
    else:
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_merges(list(MERGES))
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_add_bos_token(spm)
    if template is not None:
        writer.add_chat_template(template)
    for tensor, values in _weights(tokens, types, layers, seed, answer).items():
        writer.add_tensor(tensor, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def bpe_vocabulary() -> tuple[list[str], list[int]]:
    """Tokens and their types: one for each byte, the merged ones, the specials."""
    merged = [merge.replace(" ", "") for merge in MERGES]
    tokens = [*byte_symbols(), *merged, *SPECIALS]
    return tokens, [gguf.TokenType.NORMAL] * (256 + len(merged)) + [gguf.TokenType.CONTROL] * len(SPECIALS)


def spm_vocabulary() -> tuple[list[str], list[int]]:
    """Tokens and their types: one for each byte, some words, the specials."""
    words = ["▁", "▁the", "▁a", "he", "ll"]
    tokens = [*(f"<0x{byte:02X}>" for byte in range(256)), "<unk>", *words, *SPECIALS]
    types = [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.UNKNOWN] + [gguf.TokenType.NORMAL] * len(words)
    return tokens, types + [gguf.TokenType.CONTROL] * len(SPECIALS)


def _weights(tokens: list[str], types: list[int], layers: int, seed: int, answer: str | None) -> dict[str, np.ndarray]:
    """Embeddings are nearly one-hot, so a row of the output matrix can name the token that it follows."""
    random = np.random.default_rng(seed)
    count = len(tokens)

    def noise(rows: int, columns: int, scale: float) -> np.ndarray:
        return (random.standard_normal((rows, columns)) * scale).astype(np.float32)

    embeddings = noise(count, _WIDTH, 0.02)
    embeddings[:, :count] += np.eye(count, dtype=np.float32)
    embeddings[:, _STEER] = 1.0
    output = noise(count, _WIDTH, 0.3)
    wanted = [_is_printable(token, kind) for token, kind in zip(tokens, types, strict=True)]
    output[:, _STEER] = np.where(wanted, 0.0, -20.0)
    if answer is not None:
        chain = [10, *answer.encode(), tokens.index("<|im_end|>")]
        if len(set(chain)) != len(chain):
            raise ValueError("the bytes of the answer repeat")
        places = chain if tokens[0] == "<0x00>" else [_bpe_byte(tokens, byte) for byte in chain[:-1]] + chain[-1:]
        output[places, _STEER] = 0.0
        for before, after in pairwise(places):
            output[after, before] = 60.0
    weights = {
        "token_embd.weight": embeddings,
        "output_norm.weight": np.ones(_WIDTH, np.float32),
        "output.weight": output,
    }
    for layer in range(layers):
        shapes = {"attn_q": _WIDTH, "attn_k": _WIDTH // 2, "attn_v": _WIDTH // 2, "attn_output": _WIDTH,
                  "ffn_gate": _WIDTH, "ffn_up": _WIDTH, "ffn_down": _WIDTH}  # fmt: skip
        for name, rows in shapes.items():
            weights[f"blk.{layer}.{name}.weight"] = noise(rows, _WIDTH, 0.03)
        for name in ("attn_norm", "ffn_norm"):
            weights[f"blk.{layer}.{name}.weight"] = np.ones(_WIDTH, np.float32)
    return weights


def _is_printable(token: str, kind: int) -> bool:
    if kind == gguf.TokenType.BYTE:
        return 0x20 < int(token[3:5], 16) < 0x7F
    return kind == gguf.TokenType.NORMAL and token.isascii()


def _bpe_byte(tokens: list[str], byte: int) -> int:
    return tokens.index(byte_symbols()[byte])
