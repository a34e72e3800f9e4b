"""A language model in torch that computes what llama.cpp's graph does, with the names and layouts of its GGUF tensors.

There is no permutation to undo: "llama" turns neighbours of a head and the others halves of it, as in llama.cpp
(``ggml_rope_ext``, NORM and NEOX). Norms are multiplied as they are stored, gemma's with the 1 already added.
``files`` reads and writes these models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nanolocal.compress.torch.shape import Shape

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

EMBEDDINGS, OUTPUT, OUTPUT_BIAS = "token_embd.weight", "output.weight", "output.bias"
FACTORS = "rope_freqs.weight"
"""What the turns of positions are divided by (Llama 3.1 and later)."""
_HIDDEN_FAR = -1e30
"""Added to the products of queries and keys that must not meet."""

Watch = Callable[[str, "Tensor"], None]
"""Gets the name of a matrix and what is multiplied with it, (batch, time, columns)."""


@dataclass(slots=True)
class Model:
    """Weights by GGUF name, float32: matrices (rows, columns), norms and biases (numbers).

    ``kinds`` are the types that the file had; ``adapters`` low-rank pairs A (rank, columns) and B (rows, rank) by the
    name of their matrix, added to what it computes. ``watch`` sees every input of a matrix of a layer. ``rounds_gelu``
    looks gemma's GELU up in half precision, as llama.cpp does on a processor (``ggml_table_gelu_f16``).
    """

    shape: Shape
    weights: dict[str, Tensor]
    kinds: dict[str, str] = field(default_factory=dict)
    adapters: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    watch: Watch | None = None
    rounds_gelu: bool = True

    def parameters(self) -> Iterator[tuple[str, Tensor]]:
        """What can be trained, by name: all but the factors of positions."""
        yield from ((name, weight) for name, weight in self.weights.items() if name != FACTORS)

    def copy(self) -> Model:
        """A model with weights of its own."""
        weights = {name: weight.detach().clone() for name, weight in self.weights.items()}
        adapters = {name: (a.detach().clone(), b.detach().clone()) for name, (a, b) in self.adapters.items()}
        return Model(self.shape, weights, dict(self.kinds), adapters)

    def matrices(self) -> list[str]:
        """The names of the matrices of the layers, in their order."""
        return [name for name in self.weights if name.startswith("blk.") and self.weights[name].dim() == 2]

    def logits(self, tokens: Tensor) -> Tensor:
        """Scores (batch, time, vocabulary) for ``tokens`` (batch, time)."""
        return self.head(self.states(tokens))

    def states(self, tokens: Tensor) -> Tensor:
        """What the output matrix is multiplied with, (batch, time, width), for ``tokens`` (batch, time)."""
        states = self.embed(tokens)
        for layer in range(self.shape.layers):
            states = self.layer(states, layer)
        return self.finish(states)

    def embed(self, tokens: Tensor) -> Tensor:
        """The input of the first layer."""
        from torch.nn.functional import embedding

        states = embedding(tokens, self.weights[EMBEDDINGS])
        return states * float(self.shape.width) ** 0.5 if self.shape.is_gemma else states

    def finish(self, states: Tensor) -> Tensor:
        """The output of the last layer, normalised."""
        return self._norm(states, "output_norm")

    def head(self, states: Tensor) -> Tensor:
        """Scores for what ``states`` or ``finish`` returned."""
        from torch.nn.functional import linear

        matrix = self.weights.get(OUTPUT, self.weights[EMBEDDINGS])
        return self._capped(linear(states, matrix, self.weights.get(OUTPUT_BIAS)), self.shape.output_cap)

    def layer(self, states: Tensor, number: int) -> Tensor:
        """(batch, time, width) after one layer."""
        name = f"blk.{number}"
        mixed = self._attend(self._norm(states, f"{name}.attn_norm"), number)
        states = states + self._norm(mixed, f"{name}.post_attention_norm")
        fed = self._feed(self._norm(states, f"{name}.ffn_norm"), name)
        return states + self._norm(fed, f"{name}.post_ffw_norm")

    def _norm(self, states: Tensor, name: str) -> Tensor:
        """Root-mean-square norm; nothing happens where the model has none of that name."""
        from torch import rsqrt

        weight = self.weights.get(f"{name}.weight")
        if weight is None:
            return states
        return states * rsqrt(states.square().mean(-1, keepdim=True) + self.shape.norm_eps) * weight

    def _linear(self, states: Tensor, name: str) -> Tensor:
        from torch.nn.functional import linear

        matrix = f"{name}.weight"
        if self.watch is not None and name.startswith("blk."):
            self.watch(matrix, states)
        result = linear(states, self.weights[matrix], self.weights.get(f"{name}.bias"))
        if matrix in self.adapters:
            first, second = self.adapters[matrix]
            result = result + linear(linear(states, first), second)
        return result

    def _feed(self, states: Tensor, name: str) -> Tensor:
        from torch.nn.functional import silu

        gate, up = self._linear(states, f"{name}.ffn_gate"), self._linear(states, f"{name}.ffn_up")
        opened = self._gelu(gate) if self.shape.is_gemma else silu(gate)
        return self._linear(opened * up, f"{name}.ffn_down")

    def _gelu(self, values: Tensor) -> Tensor:
        from torch.nn.functional import gelu

        exact = gelu(values, approximate="tanh")
        if not self.rounds_gelu:
            return exact
        rounded = gelu(values.detach().half().float(), approximate="tanh").half().float()
        return exact + (rounded - exact).detach()

    def _attend(self, states: Tensor, number: int) -> Tensor:
        from torch import softmax

        shape, name = self.shape, f"blk.{number}"
        batch, time, _ = states.shape

        def heads(part: str, count: int) -> Tensor:
            return self._linear(states, f"{name}.attn_{part}").view(batch, time, count, shape.head_size)

        cos, sin = self._angles(time, number, states.device.type)
        q = self._turn(self._norm(heads("q", shape.heads), f"{name}.attn_q_norm"), cos, sin)
        k = self._turn(self._norm(heads("k", shape.kv_heads), f"{name}.attn_k_norm"), cos, sin)
        v = heads("v", shape.kv_heads)
        groups = shape.heads // shape.kv_heads
        k, v = k.repeat_interleave(groups, dim=2), v.repeat_interleave(groups, dim=2)
        scores = (q.transpose(1, 2) * shape.attention_scale) @ k.permute(0, 2, 3, 1)
        scores = self._capped(scores, shape.attention_cap) + self._mask(time, number, scores)
        mixed = softmax(scores, dim=-1) @ v.transpose(1, 2)
        return self._linear(mixed.transpose(1, 2).reshape(batch, time, -1), f"{name}.attn_output")

    def _mask(self, time: int, number: int, like: Tensor) -> Tensor:
        from torch import ones, zeros

        hidden = ones(time, time, dtype=like.dtype, device=like.device).triu(1)
        if self.shape.is_windowed(number):
            hidden = hidden + ones(time, time, dtype=like.dtype, device=like.device).tril(-self.shape.window)
        return zeros(time, time, dtype=like.dtype, device=like.device).masked_fill(hidden > 0, _HIDDEN_FAR)

    def _angles(self, time: int, number: int, device: str) -> tuple[Tensor, Tensor]:
        """Cosines and sines (time, 1, half a head) of the positions 0 to ``time`` in one layer."""
        from torch import arange, float32

        shape = self.shape
        local = shape.is_windowed(number)
        base, scale = (shape.local_base, shape.local_scale) if local else (shape.rope_base, shape.rope_scale)
        turns = base ** (arange(0, shape.head_size, 2, dtype=float32, device=device) / -shape.head_size) * scale
        if FACTORS in self.weights:
            turns = turns / self.weights[FACTORS]
        angles = arange(time, dtype=float32, device=device)[:, None, None] * turns
        return angles.cos(), angles.sin()

    def _turn(self, heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Turn heads (batch, time, count, size) by their positions."""
        from torch import cat, stack

        if self.shape.turns_neighbours:
            even, odd = heads[..., 0::2], heads[..., 1::2]
            return stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)
        first, second = heads.chunk(2, dim=-1)
        return cat((first * cos - second * sin, first * sin + second * cos), dim=-1)

    @staticmethod
    def _capped(values: Tensor, cap: float) -> Tensor:
        return (values / cap).tanh() * cap if cap else values


def module(model: Model) -> Module:
    """The model as a ``torch.nn.Module`` for exporters: ``forward(tokens (batch, time)) -> logits``."""
    from torch import nn

    class Exported(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, weight in model.weights.items():
                self.register_parameter(name.replace(".", "__"), nn.Parameter(weight, requires_grad=False))

        def forward(self, tokens: Tensor) -> Tensor:
            weights = {name: getattr(self, name.replace(".", "__")) for name in model.weights}
            return Model(model.shape, weights, rounds_gelu=False).logits(tokens)

    return Exported().eval()
