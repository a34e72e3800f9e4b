"""The text starter: a small Llama (RMSNorm, interleaved RoPE, grouped-query attention, SwiGLU, tied embeddings)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of one model; every row is a multiple of 256, so that every quantization fits."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    context: int
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5

    @property
    def head_size(self) -> int:
        """Numbers per attention head."""
        return self.width // self.heads


SHAPES = {
    "small": Shape(vocabulary=4096, width=256, layers=5, heads=4, kv_heads=2, hidden=768, context=1024),
    "full": Shape(vocabulary=8192, width=512, layers=8, heads=8, kv_heads=4, hidden=1280, context=1024),
    "smoke": Shape(vocabulary=1024, width=256, layers=1, heads=4, kv_heads=2, hidden=256, context=1024),
}


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn x (batch, heads, time, head size) by its position; neighbours form a pair, as in llama.cpp's "llama"."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2).type_as(x)


def causal_attention(q: Tensor, k: Tensor, v: Tensor, block: int = 128) -> Tensor:
    """Causal attention over (batch, heads, time, head size); on a CPU by blocks of queries: twice as fast."""
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    mixed = []
    for start in range(0, q.shape[2], block):
        end = min(start + block, q.shape[2])
        scores = (q[:, :, start:end] * q.shape[-1] ** -0.5) @ k[:, :, :end].transpose(-1, -2)
        later = torch.full(scores.shape[-2:], -1e4, dtype=scores.dtype).triu(1 + start)
        mixed.append(torch.softmax(scores + later, dim=-1) @ v[:, :, :end])
    return torch.cat(mixed, dim=2)


class Layer(nn.Module):
    """One block: attention, then the gated feed-forward, each on a normalised input and added back."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        kv = shape.kv_heads * shape.head_size
        self.attn_norm = nn.RMSNorm(shape.width, shape.norm_eps)
        self.attn_q = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_k = nn.Linear(shape.width, kv, bias=False)
        self.attn_v = nn.Linear(shape.width, kv, bias=False)
        self.attn_output = nn.Linear(shape.width, shape.width, bias=False)
        self.ffn_norm = nn.RMSNorm(shape.width, shape.norm_eps)
        self.ffn_gate = nn.Linear(shape.width, shape.hidden, bias=False)
        self.ffn_up = nn.Linear(shape.width, shape.hidden, bias=False)
        self.ffn_down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """X (batch, time, width) after this block."""
        x = x + self.attend(self.attn_norm(x), cos, sin)
        y = self.ffn_norm(x)
        out: Tensor = x + self.ffn_down(F.silu(self.ffn_gate(y)) * self.ffn_up(y))
        return out

    def attend(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Causal grouped-query attention over x (batch, time, width)."""
        batch, time, width = x.shape

        def split(projected: Tensor, heads: int) -> Tensor:
            return projected.view(batch, time, heads, self.shape.head_size).transpose(1, 2)

        q = rotate(split(self.attn_q(x), self.shape.heads), cos, sin)
        k = rotate(split(self.attn_k(x), self.shape.kv_heads), cos, sin)
        v = split(self.attn_v(x), self.shape.kv_heads)
        groups = self.shape.heads // self.shape.kv_heads
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        mixed = causal_attention(q, k, v)
        out: Tensor = self.attn_output(mixed.transpose(1, 2).reshape(batch, time, width))
        return out


class Llama(nn.Module):
    """The whole model; its parameter names become GGUF tensor names in `export`."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blk = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.output_norm = nn.RMSNorm(shape.width, shape.norm_eps)
        pairs = torch.arange(0, shape.head_size, 2).float() / shape.head_size
        angles = torch.outer(torch.arange(shape.context).float(), shape.rope_base**-pairs)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                last = name.endswith(("attn_output.weight", "ffn_down.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * shape.layers) ** 0.5 if last else 0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits (batch, time, vocabulary) for ids (batch, time)."""
        time = ids.shape[1]
        x = self.token_embd(ids)
        for layer in self.blk:
            x = layer(x, self.cos[:time], self.sin[:time])
        return F.linear(self.output_norm(x), self.token_embd.weight)

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Mean cross entropy over the targets that are not -100."""
        logits = self(ids).float()
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)

    @torch.no_grad()
    def greedy(self, ids: list[int], stop: int, most: int) -> list[int]:
        """The likeliest continuation of `ids`, up to `most` tokens or the `stop` token (which is left out)."""
        written: list[int] = []
        while len(written) < most:
            window = torch.tensor([(ids + written)[-self.shape.context :]])
            token = int(self(window)[0, -1].argmax())
            if token == stop:
                break
            written.append(token)
        return written
