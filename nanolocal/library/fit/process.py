"""What a child of this program holds besides the model: the interpreter, the libraries, the vocabulary.

All figures were measured on Linux x86-64 with Python 3.11 and llama-cpp-python 0.3.36, in the child that answers
(``nanolocal.engines.host``): real vocabularies of 32,000 to 262,144 tokens (Llama 3, Qwen 2, Gemma 4, Command R, GPT-2,
DeepSeek, StarCoder) and made-up ones, fitted by least squares and rounded up.
"""

from dataclasses import dataclass

from nanolocal.library.fit.layout import Layout

LIBRARIES = 23_700_000
"""Pages of shared libraries; children share them."""
_INTERPRETER = 31_000_000
_PER_TOKEN, _PER_PLAIN_TOKEN, _PER_MERGE, _PER_TEXT_BYTE = 190, 100, 75, 1.85
_LOADING, _LOADING_PER_TOKEN, _LOADING_PER_MERGE, _LOADING_PER_TEXT_BYTE = 30_500_000, 162, 105, 3.3
_PER_TENSOR = 9_000
"""Of the graph: some eight nodes for each tensor."""
_PER_CELL, _PER_TEXT_TOKEN = 180, 40
"""Of each token of context: with llama.cpp's record of its place, and the text and token that the child keeps alone."""


@dataclass(frozen=True, slots=True)
class Process:
    """Anonymous bytes without weights and context: when it runs, and at the end of loading."""

    running: int
    loading: int


def process_of(layout: Layout) -> Process:
    """What the child takes for a model with this vocabulary and so many tensors."""
    tokens = layout.vocabulary
    merges = layout.facts.lengths.get("tokenizer.ggml.merges", 0)
    text = _text_bytes(layout, tokens, merges)
    graph = _PER_TENSOR * len(layout.tensors)
    per_token = _PER_TOKEN if merges else _PER_PLAIN_TOKEN
    running = _INTERPRETER + graph + tokens * per_token + merges * _PER_MERGE + int(text * _PER_TEXT_BYTE)
    parsed = tokens * _LOADING_PER_TOKEN + merges * _LOADING_PER_MERGE + int(text * _LOADING_PER_TEXT_BYTE)
    return Process(running, _LOADING + graph // 8 + parsed)


def per_cell(*, has_attention: bool) -> int:
    """Bytes that each token of context takes beside the caches."""
    return _PER_CELL if has_attention else _PER_TEXT_TOKEN


def _text_bytes(layout: Layout, tokens: int, merges: int) -> int:
    """How long all tokens and merges are together: the header less what else is in it."""
    header = layout.spans[0].data_start
    lists = 12 * tokens + 8 * merges + 4 * layout.facts.lengths.get("tokenizer.ggml.scores", 0)
    names = sum(40 + len(tensor.name) for tensor in layout.spans[0].tensors)
    template = sum(len(value) for value in layout.facts.metadata.values() if isinstance(value, str))
    return max(header - lists - names - template, 0)
