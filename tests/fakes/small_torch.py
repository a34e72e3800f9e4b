"""Models of every family, small enough to be made, trained and read by llama.cpp in a moment."""

from pathlib import Path

import numpy as np
import torch

from nanolocal.compress.torch.files import write
from nanolocal.compress.torch.model import Model
from nanolocal.compress.torch.shape import Shape
from nanolocal.compress.torch.train import fresh
from tests.fakes.tiny_gguf import bpe_vocabulary, write_tiny_gguf

VOCABULARY = len(bpe_vocabulary()[0])
WINDOWS = (True, False, True, False)


def small_shape(architecture: str = "llama", **changes: object) -> Shape:
    """Three layers of four heads over two of keys, with what the family has of windows and caps."""
    own: dict[str, object] = {"layers": 3, "width": 64, "heads": 4, "kv_heads": 2, "head_size": 24, "hidden": 96}
    if architecture == "qwen2":
        own["head_size"] = 16
    if architecture == "gemma2":
        own |= {"attention_cap": 5.0, "output_cap": 3.0, "window": 16}
    if architecture == "gemma3":
        own |= {"window": 16, "rope_base": 1_000_000.0}
    own |= changes
    if own.get("window"):
        own.setdefault("windowed", WINDOWS[: int(str(own["layers"]))])
    return Shape(architecture, VOCABULARY, context=256, norm_eps=2.0**-17, **own)  # type: ignore[arg-type]


def lively(shape: Shape, seed: int = 1, *, has_own_output: bool = False) -> Model:
    """A model whose weights, norms and biases all matter."""
    model = fresh(shape, seed, has_own_output=has_own_output)
    random = torch.Generator().manual_seed(seed)
    for weight in model.weights.values():
        weight.mul_(4.0) if weight.dim() == 2 else weight.add_(torch.randn(weight.shape, generator=random) * 0.3)
    return model


def words(folder: Path) -> Path:
    """A build whose vocabulary the models take over."""
    path = folder / "words.gguf"
    return path if path.exists() else write_tiny_gguf(path)


def written(model: Model, path: Path, kind: str | None = None) -> Path:
    """The file of ``model``."""
    write(model, path, words(path.parent), kind=kind)
    return path


def some_tokens(rows: int, length: int, seed: int = 0) -> np.ndarray:
    """Tokens with something to learn: each row counts up from somewhere, in steps of its own."""
    random = np.random.default_rng(seed)
    first, step = random.integers(0, 250, (rows, 1)), random.integers(1, 4, (rows, 1))
    counted: np.ndarray = (first + step * np.arange(length)) % 250
    return counted.astype(np.int32)
