"""Text encoders that remember what they made of a prompt, and that let some of its words count more.

Both happen at the encoder itself, so every pipeline has them whatever it does with the result: the tokens go in as
ever, and the same tokens give the same numbers without computing them again.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from nanolocal.engines.diffusion.weighting import Span

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedTokenizerBase

_MOST_BYTES = 128 * 2**20
"""What is remembered at the most, of all encoders of a pipeline together a few times that."""
_NAMES = ("", "_2", "_3", "_4")
_FAINT = 1e-3


class Encoders:
    """The text encoders of ``pipeline`` from now on. ``takes_weights`` is false where nothing could be weighted."""

    def __init__(self, pipeline: DiffusionPipeline) -> None:
        pairs = [
            (getattr(pipeline, f"tokenizer{n}", None), getattr(pipeline, f"text_encoder{n}", None)) for n in _NAMES
        ]
        self._memories = [(tokenizer, _Memory(encoder)) for tokenizer, encoder in pairs if encoder is not None]
        self._weighing = [pair for pair in self._memories if pair[0] is not None and pair[1].is_clip]
        self.takes_weights = bool(self._weighing) and _reads_every_token(pipeline)

    def weigh(self, prompts: Sequence[tuple[str, Sequence[Span]]]) -> None:
        """Weight these spans of these prompts, and no others."""
        for tokenizer, memory in self._weighing:
            memory.weights = dict(_weights(tokenizer, text, spans) for text, spans in prompts if spans)

    def forget(self) -> None:
        """Their weights have changed."""
        for _, memory in self._memories:
            memory.forget()


class _Memory:
    """Stands before the ``forward`` of a text encoder."""

    def __init__(self, encoder: Module) -> None:
        self.weights: Mapping[tuple[int, ...], Sequence[float]] = {}
        self.is_clip = type(encoder).__name__.startswith("CLIPText")
        self._known: OrderedDict[object, object] = OrderedDict()
        self._held = 0
        self._inner: Callable[..., object] = encoder.forward

        @functools.wraps(encoder.forward)
        def forward(*args: object, **kwargs: object) -> object:
            return self._forward(args, kwargs)

        encoder.forward = forward

    def forget(self) -> None:
        self._known.clear()
        self._held = 0

    def _forward(self, args: Sequence[object], kwargs: Mapping[str, object]) -> object:
        key = _key((args, kwargs))
        found = None if key is None else self._known.get(key)
        if found is None:
            found = self._inner(*args, **kwargs)
            if key is not None:
                self._keep(key, found)
        ids = _ids(args, kwargs) if self.weights else None
        weights = None if ids is None else self.weights.get(ids)
        return found if weights is None else _scaled(found, weights)

    def _keep(self, key: object, found: object) -> None:
        size = sum(tensor.nbytes for tensor in _tensors(found))
        if size > _MOST_BYTES:
            return
        self._known[key] = found
        self._held += size
        while self._held > _MOST_BYTES:
            _, oldest = self._known.popitem(last=False)
            self._held -= sum(tensor.nbytes for tensor in _tensors(oldest))


def _reads_every_token(pipeline: DiffusionPipeline) -> bool:
    """Whether the picture follows what a CLIP says of each token; Flux reads no more of it than its sum."""
    return type(pipeline).__name__.startswith(("StableDiffusion", "LatentConsistency"))


def _key(value: object) -> object:
    """Something that is the same for the same input; nothing where a tensor in it is no list of numbers to look up."""
    import torch

    if isinstance(value, torch.Tensor):
        if value.is_floating_point():
            return None
        return (value.device.type, value.dtype, tuple(value.shape), value.cpu().numpy().tobytes())
    if isinstance(value, Mapping):
        value = sorted(value.items())
    if isinstance(value, list | tuple):
        parts = [_key(item) for item in value]
        return None if any(part is None for part in parts) else tuple(parts)
    return (type(value).__name__, value) if isinstance(value, str | int | float | bool | None) else None


def _tensors(value: object) -> Iterator[Tensor]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _ids(args: Sequence[object], kwargs: Mapping[str, object]) -> tuple[int, ...] | None:
    """The tokens of a prompt that goes in alone."""
    ids = args[0] if args else kwargs.get("input_ids")
    import torch

    return tuple(ids[0].tolist()) if isinstance(ids, torch.Tensor) and len(ids) == 1 else None


def _weights(
    tokenizer: PreTrainedTokenizerBase, text: str, spans: Sequence[Span]
) -> tuple[tuple[int, ...], list[float]]:
    """The tokens of ``text`` as the pipelines make them, and the weight of each."""
    length = tokenizer.model_max_length
    ids = tokenizer(text, padding="max_length", max_length=length, truncation=True).input_ids
    weights = [1.0] * len(ids)
    for span in spans:
        start, end = (
            1 + len(tokenizer(text[:at], add_special_tokens=False).input_ids) for at in (span.start, span.end)
        )
        weights[start:end] = [span.weight] * (min(end, length) - min(start, length))
    return tuple(ids), weights[:length]


def _scaled(found: object, weights: Sequence[float]) -> object:
    """What was made of each token times its weight, with the mean as it was (as AUTOMATIC1111 does it)."""
    import torch
    from transformers.utils import ModelOutput

    assert isinstance(found, ModelOutput)

    def scale(values: Tensor) -> Tensor:
        factors = torch.tensor(weights, dtype=values.dtype, device=values.device)
        scaled = values * factors[None, :, None]
        mean, size = scaled.float().mean(), scaled.float().abs().mean()
        if mean.abs() < _FAINT * size:  # a mean that is as good as nothing is no measure, and may be 0
            return scaled
        return scaled * (values.float().mean() / mean).to(values.dtype)

    changed: dict[str, object] = {"last_hidden_state": scale(found.last_hidden_state)}
    if getattr(found, "hidden_states", None) is not None:
        changed["hidden_states"] = tuple(scale(values) for values in found.hidden_states)
    return type(found)(**{**found, **changed})
