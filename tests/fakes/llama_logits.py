"""The scores that llama.cpp computes, as exactly as it can: keys and values of 32 bits, no flash attention."""

import ctypes
import os
from pathlib import Path
from types import ModuleType

import numpy as np

from nanolocal.engines.ggml import backend, library


def llama_logits(path: Path, tokens: np.ndarray, adapter: Path | None = None) -> np.ndarray:
    """Scores (rows, length, vocabulary) of the build at ``path`` for ``tokens`` (rows, length), with a LoRA if any."""
    backend()
    lib = library()
    parameters = lib.llama_model_default_params()
    parameters.n_gpu_layers = 0
    model = lib.llama_model_load_from_file(os.fsencode(path), parameters)
    assert model, f"llama.cpp does not load {path.name}"
    settings = lib.llama_context_default_params()
    settings.n_ctx = settings.n_batch = settings.n_ubatch = tokens.shape[1]
    settings.type_k = settings.type_v = 0
    settings.flash_attn_type = 0
    settings.n_threads = settings.n_threads_batch = 1
    context = lib.llama_init_from_model(model, settings)
    assert context
    try:
        if adapter is not None:
            lora = lib.llama_adapter_lora_init(model, os.fsencode(adapter))
            assert lora, f"llama.cpp does not load {adapter.name}"
            assert lib.llama_set_adapters_lora(context, (type(lora) * 1)(lora), 1, (ctypes.c_float * 1)(1.0)) == 0
        size = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
        return np.stack([_scores(lib, context, row.tolist(), size) for row in tokens])
    finally:
        lib.llama_free(context)
        lib.llama_model_free(model)


def _scores(lib: ModuleType, context: object, tokens: list[int], size: int) -> np.ndarray:
    lib.llama_memory_clear(lib.llama_get_memory(context), True)
    batch = lib.llama_batch_init(len(tokens), 0, 1)
    for place, token in enumerate(tokens):
        batch.token[place], batch.pos[place], batch.n_seq_id[place], batch.logits[place] = token, place, 1, 1
        batch.seq_id[place][0] = 0
    batch.n_tokens = len(tokens)
    assert lib.llama_decode(context, batch) == 0
    scores = np.ctypeslib.as_array(lib.llama_get_logits(context), (len(tokens), size)).copy()
    lib.llama_batch_free(batch)
    return scores
