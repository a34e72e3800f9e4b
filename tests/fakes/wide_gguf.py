"""A tiny llama with a vocabulary as wide as real ones, for what only shows there."""

from pathlib import Path

import gguf
import numpy as np

from tests.fakes.tiny_gguf import byte_symbols

_WIDTH, _HEADS = 32, 2


def write_wide_gguf(path: Path, size: int = 20_000, seed: int = 1) -> Path:
    """Write a build of ``size`` tokens with random weights: one for each byte, then ``t0`` and so on."""
    random = np.random.default_rng(seed)
    words = [f"t{number}" for number in range(size - 258)]
    tokens = [*byte_symbols(), *words, "<|endoftext|>", "<|im_end|>"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(4096)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_WIDTH)
    writer.add_head_count(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * (size - 2) + [gguf.TokenType.CONTROL] * 2)
    writer.add_token_merges(["t 1"])
    writer.add_bos_token_id(size - 2)
    writer.add_eos_token_id(size - 1)

    def noise(rows: int, columns: int, scale: float) -> np.ndarray:
        return (random.standard_normal((rows, columns)) * scale).astype(np.float32)

    writer.add_tensor("token_embd.weight", noise(size, _WIDTH, 1.0))
    writer.add_tensor("output_norm.weight", np.ones(_WIDTH, np.float32))
    writer.add_tensor("output.weight", noise(size, _WIDTH, 0.5))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", noise(_WIDTH, _WIDTH, 0.2))
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{name}.weight", np.ones(_WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
