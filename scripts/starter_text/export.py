"""From a checkpoint to GGUF files that are the same, byte for byte, each time they are written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, models
from torch import Tensor

from starter_text.data import END_OF_TEXT, IM_END, IM_START, SPECIALS, as_llama_splits
from starter_text.model import Llama, Shape

UNKNOWN = 3
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Trained:
    """What a finished run left behind: the averaged weights, the tokenizer file and the run's figures."""

    shape: Shape
    weights: dict[str, Tensor]
    tokenizer: Path
    progress: dict[str, float]

    def model(self) -> Llama:
        """The model with its weights as float16 keeps them, which is what the GGUF file holds."""
        model = Llama(self.shape)
        model.load_state_dict({name: weight.half().float() for name, weight in self.weights.items()})
        return model.eval()


def load(work: Path, shape: Shape) -> Trained:
    """The last checkpoint of a work directory."""
    state = torch.load(work / "checkpoint.pt", map_location="cpu", weights_only=True)
    return Trained(shape, state["average"], work / "tokenizer.json", state["progress"])


def write_gguf(trained: Trained, name: str, path: Path) -> None:
    """The model in float16 (norms in float32) with its tokenizer and chat template."""
    shape = trained.shape
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_license("apache-2.0")
    writer.add_languages(["en"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head_size)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    add_tokenizer(writer, trained.tokenizer, shape.vocabulary)
    for tensor_name, weight in trained.weights.items():
        matrix = weight.dim() == 2
        writer.add_tensor(tensor_name, weight.numpy().astype(np.float16 if matrix else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer: gguf.GGUFWriter, path: Path, vocabulary: int) -> None:
    """Tokens, merges and special tokens; llama.cpp's "smollm" splits text as the trained tokenizer does."""
    ids = Tokenizer.from_file(str(path)).get_vocab()
    tokens = sorted(ids, key=ids.__getitem__)
    unused = [f"<|unused_{place}|>" for place in range(vocabulary - len(tokens))]
    kinds = [gguf.TokenType.CONTROL if token in SPECIALS else gguf.TokenType.NORMAL for token in tokens]
    merges = json.loads(path.read_text(encoding="utf-8"))["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens + unused)
    writer.add_token_types(kinds + [gguf.TokenType.UNUSED] * len(unused))
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(IM_START)
    writer.add_eos_token_id(IM_END)
    writer.add_eot_token_id(IM_END)
    writer.add_pad_token_id(END_OF_TEXT)
    writer.add_unk_token_id(UNKNOWN)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


QUANTIZATIONS = {"smoke": "Q8_0", "small": "Q8_0", "full": "Q6_K"}
"""What each size is shipped as: the finest that stays below 25 MB."""


def quantize(source: Path, target: Path, kind: str) -> None:
    """Write `source` with `kind` weights to `target`; raises RuntimeError when llama.cpp refuses."""
    import llama_cpp

    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    options.nthread = 1
    target.parent.mkdir(parents=True, exist_ok=True)
    failed = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), options)
    if failed:
        raise RuntimeError(f"llama.cpp could not write {target.name} (code {failed})")


def tokenizer_of(path: Path) -> Tokenizer:
    """The tokenizer that `add_tokenizer` wrote into a GGUF file."""
    from nanolocal.compress.torch.files import entries_of

    entries = entries_of(path)
    tokens, merges = (entries[f"tokenizer.ggml.{name}"].value for name in ("tokens", "merges"))
    assert isinstance(tokens, list)
    assert isinstance(merges, list)
    known = {str(token): place for place, token in enumerate(tokens)}
    tokenizer = as_llama_splits(
        models.BPE(known, [(first, second) for first, second in (str(merge).split(" ") for merge in merges)])
    )
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    return tokenizer


def weights_of(path: Path) -> dict[str, Tensor]:
    """The weights of a GGUF file by their names, as float32; raises what `nanolocal.compress` raises."""
    from nanolocal.compress.torch.files import read

    return read(path).weights
