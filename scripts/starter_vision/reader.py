"""The second stage: the text starter learns to answer questions about what the finished eyes show it."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import gguf
import numpy as np
import torch
import torch.nn.functional as F
from starter_text.data import IM_END, SPECIALS, Corpus, encode, fill_rows
from starter_text.model import Shape as TextShape
from starter_text.sources import generated
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from starter_vision.model import Rows, Seeing
from starter_vision.pictures import drawn, scenes, shaken
from starter_vision.questions import Asked, several

BEFORE, BETWEEN = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
IGNORED = -100
QUESTIONS = 6
"""How many are asked about each picture."""
CHAT_EVERY, CHAT_ROWS, CHAT_LENGTH, CHATS = 8, 4, 320, 3000
"""Every so many steps it also learns from so many rows of so many tokens of so many chats, so that it still chats."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The text starter that the build begins with: its shape, weights, tokenizer and the hash of its file."""

    shape: TextShape
    weights: dict[str, Tensor]
    tokenizer: Tokenizer
    sha256: str

    def note(self, work: Path) -> None:
        """Keep what the export needs to know of it in tokenizer.json and parent.json."""
        self.tokenizer.save(str(work / "tokenizer.json"))
        (work / "parent.json").write_text(json.dumps({"sha256": self.sha256, "shape": asdict(self.shape)}), "utf-8")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a GGUF file by their names, as float32."""
    return {
        tensor.name: torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
        for tensor in gguf.GGUFReader(path).tensors
    }


def read_parent(path: Path) -> Parent:
    """The model in a GGUF file that `starter_text.export` wrote."""
    reader = gguf.GGUFReader(path)

    def number(key: str) -> int:
        return int(reader.fields[f"llama.{key}"].contents())

    shape = TextShape(
        vocabulary=number("vocab_size"), width=number("embedding_length"), layers=number("block_count"),
        heads=number("attention.head_count"), kv_heads=number("attention.head_count_kv"),
        hidden=number("feed_forward_length"), context=number("context_length"),
    )  # fmt: skip
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    merges = reader.fields["tokenizer.ggml.merges"].contents()
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return Parent(shape, read_weights(path), make_tokenizer(tokens, merges), sha256)


def make_tokenizer(tokens: Sequence[str], merges: Sequence[str]) -> Tokenizer:
    """The tokenizer as `starter_text.data` trained it, from what a GGUF file keeps of it."""
    ids = {token: place for place, token in enumerate(tokens) if not token.startswith("<|unused_")}
    pairs = [(first, second) for first, second in (merge.split(" ") for merge in merges)]
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=pairs))
    digits = pre_tokenizers.Digits(individual_digits=True)
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, bytes_])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    return tokenizer


class Writer:
    """Turns questions about pictures into rows of tokens: what is shared, the picture, then each question."""

    def __init__(self, tokenizer: Tokenizer, patches: int) -> None:
        self.tokenizer = tokenizer
        self.patches = patches
        self.before: list[int] = tokenizer.encode(BEFORE).ids
        self.between: list[int] = tokenizer.encode(BETWEEN).ids

    def row(self, asked: Sequence[Asked]) -> list[tuple[int, int, int, int]]:
        """(token, position, block, target) for each token of one picture's row."""
        shared = len(self.before) + self.patches
        row = [(token, place, 0, IGNORED) for place, token in enumerate((*self.before, *[0] * self.patches))]
        for block, one in enumerate(asked, 1):
            question = self.tokenizer.encode(one.question).ids + self.between
            answer = [*self.tokenizer.encode(one.answer).ids, IM_END]
            wanted = [IGNORED] * (len(question) - 1) + answer
            row += [(token, shared + at, block, target)
                    for at, (token, target) in enumerate(zip(question + answer[:-1], wanted, strict=True))]  # fmt: skip
        return row

    def rows(self, asked: Sequence[Sequence[Asked]]) -> Rows:
        """The rows of several pictures, padded to one length."""
        rows = [self.row(one) for one in asked]
        longest = max(map(len, rows))
        table = torch.tensor([row + [(0, 0, -1, IGNORED)] * (longest - len(row)) for row in rows])
        return Rows(table[..., 0], table[..., 1], table[..., 2], table[..., 3], len(self.before))


class ReaderLesson:
    """The loss of a step of this stage; what it draws and asks follows from the seed and the step alone."""

    def __init__(self, model: Seeing, writer: Writer, count: int, seed: int) -> None:
        self.model = model
        self.writer = writer
        self.count = count
        self.seed = seed
        chats = generated(seed, CHATS)
        self.chats: dict[str, Corpus] = {name: encode(writer.tokenizer, group, seed) for name, group in chats.items()}

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """The loss, and the share of the answers' tokens that are right."""
        rng = random.Random(f"reader {self.seed} {step}")
        source = scenes(rng, held_out=False)
        chosen = [shaken(next(source), rng) for _ in range(self.count)]
        pictures = drawn(chosen, self.model.sight.v.shape, rng)
        rows = self.writer.rows([list(several(scene, QUESTIONS, rng)) for scene in chosen])
        wanted = rows.targets[rows.targets >= 0]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = self.model.logits(self.model.sight(pictures), rows)
            loss = F.cross_entropy(logits, wanted)
            if step % CHAT_EVERY == 0:
                loss = loss + self.chat(step)
        return loss, (logits.detach().argmax(-1) == wanted).float().mean()

    def chat(self, step: int) -> Tensor:
        """The loss on chats without a picture."""
        dice = np.random.default_rng((self.seed, step))
        inputs, targets = fill_rows(self.chats, "second", CHAT_ROWS, CHAT_LENGTH, dice)
        return self.model.reader.loss(torch.from_numpy(inputs), torch.from_numpy(targets))


@torch.no_grad()
def answered_right(model: Seeing, writer: Writer, count: int, seed: int) -> dict[str, list[bool]]:
    """For so many held-out scenes, by kind of question: whether the likeliest tokens are the answer, word for word."""
    rng = random.Random(f"held out {seed}")
    source = scenes(rng, held_out=True)
    found: dict[str, list[bool]] = {}
    for _ in range(count):
        scene = next(source)
        asked = list(several(scene, QUESTIONS, rng))
        rows = writer.rows([asked])
        seen = model.sight(drawn([scene], model.sight.v.shape, rng))
        chosen = model.logits(seen, rows).argmax(-1)
        right = chosen == rows.targets[rows.targets >= 0]
        blocks = rows.blocks[rows.targets >= 0]
        for block, one in enumerate(asked, 1):
            found.setdefault(one.kind, []).append(bool(right[blocks == block].all()))
    return found
