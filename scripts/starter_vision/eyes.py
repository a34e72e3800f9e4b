"""The first stage: eyes and projector learn what is on each patch and the whole picture, and to say it in words."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from starter_scenes import Scene
from tokenizers import Tokenizer
from torch import Tensor, nn

from starter_vision.model import EyeShape, Sight
from starter_vision.pictures import (
    KINDS,
    MOST_THINGS,
    PAINTS,
    TABLES,
    WORDS,
    drawn,
    patch_labels,
    scenes,
    shaken,
    whole_labels,
    words_of,
)

WHOLE = (*(len(words) for words in TABLES.values()), MOST_THINGS + 1, *(len(KINDS), len(PAINTS)) * MOST_THINGS)
"""How many answers there are to each question about the whole."""
_SHARPNESS = 16.0


class Heads(nn.Module):
    """What is asked of the eyes in training only: linear readings of each patch, and of their mean."""

    def __init__(self, shape: EyeShape) -> None:
        super().__init__()
        self.shape = shape
        self.patch = nn.Linear(shape.width, len(KINDS) + len(PAINTS))
        self.whole = nn.Linear(shape.width, sum(WHOLE))

    def loss(self, features: Tensor, chosen: Sequence[Scene]) -> tuple[Tensor, Tensor]:
        """The loss of features (batch, patches, width), and the share of pictures that are wholly right."""
        patches = torch.from_numpy(np.stack([patch_labels(scene, self.shape) for scene in chosen]))
        whole = torch.tensor([whole_labels(scene) for scene in chosen])
        kinds, paints = self.patch(features).float().split((len(KINDS), len(PAINTS)), dim=-1)
        loss = F.cross_entropy(kinds.flatten(0, 1), patches[..., 0].flatten())
        loss = loss + F.cross_entropy(paints.flatten(0, 1), patches[..., 1].flatten())
        answers = self.whole(features.mean(dim=1)).float().split(WHOLE, dim=-1)
        right = []
        for place, logits in enumerate(answers):
            loss = loss + F.cross_entropy(logits, whole[:, place]) * (2.0 if place > len(TABLES) else 0.5)
            right.append(logits.argmax(-1) == whole[:, place])
        return loss, torch.stack(right).all(dim=0).float().mean()


class Speech:
    """What makes the first tokens of a picture words that the text model knows: `words_of`, a pair a token."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.token: Callable[[str], int] = cache(lambda word: tokenizer.encode(f" {word}").ids[0])

    def loss(self, seen: Tensor, table: Tensor, chosen: Sequence[Scene]) -> tuple[Tensor, Tensor]:
        """The loss of `seen` (batch, patches, embedding), by its direction and length among the embeddings of `table`.

        Each token is to lie between both of its words. Also the share of pictures of which every word is right.
        """
        wanted = torch.tensor([[[self.token(word) for word in pair] for pair in words_of(scene)] for scene in chosen])
        said, table = seen[:, :WORDS].float(), table.detach().float()
        logits = (_SHARPNESS * F.normalize(said, dim=-1)) @ F.normalize(table, dim=-1).T
        length = (said.norm(dim=-1) / table[wanted[..., 0]].norm(dim=-1) - 1).square().mean()
        best = logits.detach().topk(2).indices
        right = (best[..., None] == wanted[:, :, None]).any(dim=2).all(dim=-1).all(dim=1).float().mean()
        loss = -F.log_softmax(logits, dim=-1).gather(-1, wanted).mean()
        return loss + 0.1 * length, right


class EyeLesson:
    """The loss of a step of this stage; what it draws follows from the seed and the step alone."""

    def __init__(self, sight: Sight, heads: Heads, speech: Speech, table: Tensor, count: int, seed: int) -> None:
        self.sight = sight
        self.heads = heads
        self.speech = speech
        self.table = table
        self.count = count
        self.seed = seed

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """The loss, and the share of pictures of which every word is right."""
        rng = random.Random(f"eyes {self.seed} {step}")
        source = scenes(rng, held_out=False)
        chosen = [shaken(next(source), rng) for _ in range(self.count)]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = self.sight.v(drawn(chosen, self.sight.v.shape, rng))
            known, _ = self.heads.loss(features, chosen)
            spoken, right = self.speech.loss(self.sight.mm(features), self.table, chosen)
        return 0.5 * known + 8 * spoken, right
