"""A BERT GGUF of some kilobytes with random weights: a WordPiece vocabulary of letters, any pooling."""

from pathlib import Path

import gguf
import numpy as np

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?"
WORDS = ("the", "cat", "sat", "on", "mat", "dog", "ran", "a")


def write_tiny_bert(
    path: Path, *, pooling: int = 1, layers: int = 2, width: int = 64, n_ctx: int = 512, seed: int = 1
) -> Path:
    """Write the build to ``path`` and return it. ``pooling`` is a ``llama_pooling_type``: 1 mean, 2 first token."""
    heads, inner = 4, 2 * width
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"▁{word}" for word in WORDS if len(word) > 1)]
    tokens += [f"▁{letter}" for letter in LETTERS] + list(LETTERS)
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name("tiny bert")
    writer.add_context_length(n_ctx)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType(pooling))
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_type_count(2)
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 4 + [gguf.TokenType.NORMAL] * (len(tokens) - 4))
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    random = np.random.default_rng(seed)

    def noise(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) * 0.2).astype(np.float32)

    weights = {
        "token_embd.weight": noise(len(tokens), width),
        "token_types.weight": noise(2, width),
        "position_embd.weight": noise(n_ctx, width),
    }
    norms = ["token_embd_norm"]
    for layer in range(layers):
        for name, rows, columns in (
            ("attn_q", width, width), ("attn_k", width, width), ("attn_v", width, width),
            ("attn_output", width, width), ("ffn_up", inner, width), ("ffn_down", width, inner),
        ):  # fmt: skip
            weights[f"blk.{layer}.{name}.weight"] = noise(rows, columns)
            weights[f"blk.{layer}.{name}.bias"] = noise(rows)
        norms += [f"blk.{layer}.attn_output_norm", f"blk.{layer}.layer_output_norm"]
    for name in norms:
        weights[f"{name}.weight"] = 1 + noise(width)
        weights[f"{name}.bias"] = noise(width)
    for name, values in weights.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
