"""The vision starter: a small ViT and projector as libmtmd's "mlp" type runs them, in front of the text starter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from starter_text.model import Layer, Llama
from starter_text.model import Shape as TextShape
from torch import Tensor, nn

MEAN = STD = 0.5
"""What pixels from 0 to 1 are normalised with."""


@dataclass(frozen=True, slots=True)
class EyeShape:
    """The sizes of the ViT; a picture of side x side pixels becomes (side / patch) squared tokens."""

    side: int = 64
    patch: int = 8
    width: int = 192
    heads: int = 6
    hidden: int = 768
    blocks: int = 5
    norm_eps: float = 1e-5

    @property
    def patches(self) -> int:
        """Tokens per picture."""
        return (self.side // self.patch) ** 2


EYES = {"small": EyeShape(), "smoke": EyeShape(width=64, heads=2, hidden=128, blocks=2)}


def mix(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None = None) -> Tensor:
    """Attention over (batch, heads, time, head size); on a CPU faster than torch's own. `hidden` is added to scores."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return torch.softmax(scores if hidden is None else scores + hidden, dim=-1).type_as(v) @ v


class EyeBlock(nn.Module):
    """Attention, then the feed-forward, each on a normalised input and added back."""

    def __init__(self, shape: EyeShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.ln1 = nn.LayerNorm(shape.width, shape.norm_eps)
        self.attn_q = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_k = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_v = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_out = nn.Linear(shape.width, shape.width, bias=False)
        self.ln2 = nn.LayerNorm(shape.width, shape.norm_eps)
        self.ffn_up = nn.Linear(shape.width, shape.hidden)
        self.ffn_down = nn.Linear(shape.hidden, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        """X (batch, patches, width) after this block."""
        mixers = torch.cat((self.attn_q.weight, self.attn_k.weight, self.attn_v.weight))
        q, k, v = F.linear(self.ln1(x), mixers).view(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        x = x + self.attn_out(mix(q, k, v).transpose(1, 2).flatten(-2)).type_as(x)
        # libmtmd runs the tanh form, which is never further than 0.0005 off and takes three times as long here
        out: Tensor = x + self.ffn_down(F.gelu(self.ffn_up(self.ln2(x)))).type_as(x)
        return out


class Eyes(nn.Module):
    """The ViT; its parameter names, after "v.", are those of libmtmd."""

    def __init__(self, shape: EyeShape) -> None:
        super().__init__()
        self.shape = shape
        self.patch_embd = nn.Conv2d(3, shape.width, shape.patch, shape.patch)
        self.position_embd = nn.Embedding(shape.patches, shape.width)
        self.blk = nn.ModuleList(EyeBlock(shape) for _ in range(shape.blocks))
        self.post_ln = nn.LayerNorm(shape.width, shape.norm_eps)
        nn.init.normal_(self.position_embd.weight, std=0.2)
        for name, weight in self.blk.named_parameters():
            if weight.dim() == 2:
                last = name.endswith(("attn_out.weight", "ffn_down.weight"))
                nn.init.normal_(weight, std=0.03 / (2 * shape.blocks) ** 0.5 if last else 0.03)

    def forward(self, pictures: Tensor) -> Tensor:
        """Features (batch, patches, width) of pictures (batch, 3, side, side) that are normalised."""
        x = self.patch_embd(pictures).flatten(2).transpose(1, 2) + self.position_embd.weight
        for block in self.blk:
            x = block(x)
        out: Tensor = self.post_ln(x)
        return out


class Sight(nn.Module):
    """Eyes and projector: all that the mmproj file holds, under its names."""

    def __init__(self, shape: EyeShape, embedding: int) -> None:
        super().__init__()
        self.v = Eyes(shape)
        last = nn.Linear(embedding, embedding)
        nn.init.normal_(last.weight, std=0.02)
        nn.init.zeros_(last.bias)
        self.mm = nn.Sequential(nn.Linear(shape.width, embedding), nn.GELU(approximate="tanh"), last)

    def forward(self, pictures: Tensor) -> Tensor:
        """What the text model reads in place of token embeddings: (batch, patches, embedding)."""
        out: Tensor = self.mm(self.v(pictures))
        return out


def attend(layer: Layer, x: Tensor, turns: Tensor, hidden: Tensor) -> Tensor:
    """The layer's attention over x (batch, time, width) with `hidden` (batch, 1, time, time) added to its scores.

    `turns` are complex numbers (batch, 1, time, head size / 2): how far each pair of each token is turned.
    """
    heads, kv_heads = layer.shape.heads, layer.shape.kv_heads
    mixers = torch.cat((layer.attn_q.weight, layer.attn_k.weight, layer.attn_v.weight))
    mixed = F.linear(x, mixers).view(*x.shape[:2], -1, layer.shape.head_size).transpose(1, 2)
    pairs = mixed[:, :-kv_heads].float()
    pairs = torch.view_as_complex(pairs.view(*pairs.shape[:-1], -1, 2))
    turned = torch.view_as_real(pairs * turns).flatten(-2).type_as(mixed)
    k, v = (part.repeat_interleave(heads // kv_heads, dim=1) for part in (turned[:, heads:], mixed[:, -kv_heads:]))
    out: Tensor = layer.attn_output(mix(turned[:, :heads], k, v, hidden).transpose(1, 2).flatten(-2))
    return out


@dataclass(frozen=True, slots=True)
class Rows:
    """Tokens with pictures among them; all but `before` are (batch, time).

    `ids`, `places` and `blocks` are tokens, their positions, and the question that each belongs to (0 for what all
    questions share, -1 for padding): a token sees what is shared and its own question. `targets` are the next tokens,
    negative where they are not to be learned; the picture stands after the first `before` tokens.
    """

    ids: Tensor
    places: Tensor
    blocks: Tensor
    targets: Tensor
    before: int


class Seeing(nn.Module):
    """The whole build: sight in front of the text starter."""

    def __init__(self, eyes: EyeShape, text: TextShape) -> None:
        super().__init__()
        self.sight = Sight(eyes, text.width)
        self.reader = Llama(text)

    def states(self, seen: Tensor, rows: Rows) -> Tensor:
        """The text model's last states (batch, time, width), with `seen` (batch, patches, width) in place of tokens."""
        x = self.reader.token_embd(rows.ids)
        after = rows.before + seen.shape[1]
        x = torch.cat((x[:, : rows.before], seen.type_as(x), x[:, after:]), dim=1)
        hidden = hidden_from(rows.blocks)
        turns = torch.complex(self.reader.cos, self.reader.sin)[rows.places][:, None]
        for layer in self.reader.blk:
            assert isinstance(layer, Layer)
            x = x + attend(layer, layer.attn_norm(x), turns, hidden).type_as(x)
            gates = torch.cat((layer.ffn_gate.weight, layer.ffn_up.weight))
            gate, up = F.linear(layer.ffn_norm(x), gates).chunk(2, dim=-1)
            x = x + layer.ffn_down(F.silu(gate) * up).type_as(x)
        out: Tensor = self.reader.output_norm(x)
        return out

    def logits(self, seen: Tensor, rows: Rows) -> Tensor:
        """Logits (wanted, vocabulary) at the targets that are wanted, row by row."""
        states = self.states(seen, rows)[rows.targets >= 0]
        return F.linear(states, self.reader.token_embd.weight).float()


def hidden_from(blocks: Tensor) -> Tensor:
    """What keeps the tokens of a row (batch, time) from each other: scores to add (batch, 1, time, time)."""
    time = blocks.shape[1]
    same = (blocks[:, :, None] == blocks[:, None, :]) | (blocks[:, None, :] == 0)
    earlier = torch.ones(time, time, dtype=torch.bool, device=blocks.device).tril()
    return torch.where(same & earlier, 0.0, -1e4)[:, None].bfloat16()
