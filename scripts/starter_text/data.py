"""Documents as tokens: the tokenizer, the encoded corpora, and the rows of a batch."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from starter_text.facts import Document
from starter_text.sources import SOURCES, Phase

SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|unknown|>",
    "<|tool_call|>",
    "<|tool_result|>",
    "<|context|>",
    "<|reserved|>",
)
END_OF_TEXT, IM_START, IM_END = 0, 1, 2
LEARN = 0x8000  # set on a token that the model shall learn to write; vocabularies stay below it
SYSTEM = (
    "You are a helpful assistant.",
    "You are the nanolocal starter model.",
    "Answer briefly.",
    "You are a friendly assistant.",
)

Tokens = npt.NDArray[np.uint16]
Rows = npt.NDArray[np.int64]


def pieces(document: Document, system: str = "") -> Iterator[tuple[str, bool]]:
    """The document's text in pieces, each with whether the model shall learn to write it."""
    if isinstance(document, str):
        yield document, True
        return
    if system:
        yield f"<|im_start|>system\n{system}<|im_end|>\n", False
    for question, answer in document:
        yield f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n", False
        yield f"{answer}<|im_end|>", True
        yield "\n", False


def as_llama_splits(model: models.BPE) -> Tokenizer:
    """A byte-level tokenizer with one token per digit, as llama.cpp's "smollm" splits text."""
    tokenizer = Tokenizer(model)
    digits, bytes_ = (
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, bytes_])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train_tokenizer(documents: dict[str, list[Document]], vocabulary: int, per_source: int = 6000) -> Tokenizer:
    """A byte-level BPE tokenizer for these documents."""
    tokenizer = as_llama_splits(models.BPE())
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = [AddedToken(text, special=True, normalized=False) for text in SPECIALS]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    texts = (re.sub(r"<\|im_\w+\|>", "", text) for group in documents.values() for document in islice(group, per_source)
             for text, _ in pieces(document))  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@dataclass(frozen=True, slots=True)
class Corpus:
    """The tokens of one source, with the border of each document (documents + 1 offsets)."""

    tokens: Tokens
    borders: npt.NDArray[np.int64]


def encode(tokenizer: Tokenizer, documents: list[Document], seed: int) -> Corpus:
    """All documents as tokens; each ends with the end-of-text token."""
    rng = random.Random(seed)
    parts: list[npt.NDArray[np.int64]] = []
    for document in documents:
        system = rng.choice(SYSTEM) if rng.random() < 0.12 else ""
        ids = [
            token | (LEARN if learn else 0)
            for text, learn in pieces(document, system)
            for token in tokenizer.encode(text).ids
        ]
        parts.append(np.array([*ids, END_OF_TEXT], dtype=np.int64))
    borders = np.cumsum([0, *(len(part) for part in parts)])
    return Corpus(np.concatenate(parts).astype(np.uint16), borders.astype(np.int64))


def fill_rows(
    corpora: dict[str, Corpus], phase: Phase, rows: int, length: int, rng: np.random.Generator
) -> tuple[Rows, Rows]:
    """Inputs and targets (rows, length); each row starts with a fresh document, targets not to learn are -100."""
    shares = {source.name: source.share(phase) for source in SOURCES if source.name in corpora}
    names = list(shares)
    weights = np.array([shares[name] / max(1.0, float(np.diff(corpora[name].borders).mean())) for name in names])
    weights /= weights.sum()
    batch = np.zeros((rows, length + 1), dtype=np.int64)
    for row in batch:
        filled = 0
        while filled <= length:
            corpus = corpora[names[int(rng.choice(len(names), p=weights))]]
            pick = int(rng.integers(len(corpus.borders) - 1))
            document = corpus.tokens[corpus.borders[pick] : corpus.borders[pick + 1]]
            part = document[: length + 1 - filled]
            row[filled : filled + len(part)] = part
            filled += len(part)
    inputs, targets = batch[:, :-1] & ~LEARN, batch[:, 1:] & ~LEARN
    if not phase.endswith("first"):
        targets[(batch[:, 1:] & LEARN) == 0] = -100
    return inputs, targets
