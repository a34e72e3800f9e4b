"""One file with a whole pipeline in it, or with its transformer alone, as their trainers and ComfyUI keep them.

Such a file has weights alone. What it leaves out, the configurations and the words of the text encoders, is fetched by
diffusers from the hub; here it comes from ``base``, a pipeline folder of the same family, and for Stable Diffusion 1
and 2 and SDXL lies beside this module.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanolocal.errors import BuildFailed
from nanolocal.formats.pipeline_folder import GGUF, INDEX, PipelineFacts, read_config
from nanolocal.formats.pipelines import Family
from nanolocal.formats.preflight import Checked, check_model
from nanolocal.formats.safetensors_header import read_header

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

_CONFIGS = Path(__file__).parent / "configs"
_KINDS = (
    # (how a tensor begins that only such a file has, its configurations here, its family)
    ("conditioner.embedders.1.", "sdxl", Family.SDXL),
    ("cond_stage_model.model.", "sd2", Family.SD),
    ("cond_stage_model.transformer.", "sd1", Family.SD),
)
_FIRST_CONVOLUTION = "model.diffusion_model.input_blocks.0.0.weight"
_LATENTS = 4
_HINT = "get a diffusers folder of its family"
_WORDS = 77


def check(file: Path, base: PipelineFacts | None) -> tuple[Checked, Family]:
    """Check its header before anything else reads it, and tell its family.

    Raises ``Damaged``, ``OSError``, and ``BuildFailed`` where it lacks what is not here.
    """
    is_gguf = file.suffix.lower() == GGUF
    if is_gguf:
        checked = check_model(file)
    else:
        read_header(file)
        found = file.stat()
        checked = Checked((file,), ((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns),))
    if base is not None:
        return checked, base.family
    if is_gguf:
        raise BuildFailed(f"{file.name} is the transformer of a picture model alone", _HINT)
    return checked, _kind(file)[1]


def load(file: Path, base: PipelineFacts | None, dtype: torch.dtype) -> DiffusionPipeline:
    """The pipeline in ``file``, nothing fetched."""
    import diffusers

    if base is not None and (file.suffix.lower() == GGUF or not _has_decoder(file)):
        return with_denoiser(base, file, dtype)
    folder, family = (base.folder, base.family) if base is not None else _kind(file)
    given: dict[str, Any] = {} if base is not None else _tokenizers(family)
    name = str(read_config(folder / INDEX)["_class_name"])
    return getattr(diffusers, name).from_single_file(
        str(file), config=str(folder), local_files_only=True, torch_dtype=dtype, **given
    )


def with_denoiser(facts: PipelineFacts, file: Path, dtype: torch.dtype) -> DiffusionPipeline:
    """The pipeline of a folder with the transformer that is in ``file``, GGUF or safetensors."""
    import diffusers

    denoiser = facts.denoiser
    how: dict[str, Any] = {}
    if file.suffix.lower() == GGUF:
        how["quantization_config"] = diffusers.GGUFQuantizationConfig(compute_dtype=dtype)
    part = getattr(diffusers, denoiser.class_name).from_single_file(
        str(file),
        config=str(facts.folder),
        subfolder=denoiser.name,
        torch_dtype=dtype,
        local_files_only=True,
        **how,
    )
    return from_folder(facts, dtype, {denoiser.name: part})


def from_folder(facts: PipelineFacts, dtype: torch.dtype, parts: Mapping[str, Any]) -> DiffusionPipeline:
    """The pipeline of a folder, with ``parts`` in place of its own."""
    import diffusers

    return getattr(diffusers, facts.pipeline).from_pretrained(
        str(facts.folder),
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        torch_dtype=dtype,
        variant=facts.variant or None,
        **parts,
    )


def _has_decoder(file: Path) -> bool:
    return any(name.startswith(("first_stage_model.", "vae.")) for name in read_header(file).shapes)


def _kind(file: Path) -> tuple[Path, Family]:
    """Where its configurations are, and its family."""
    shapes = read_header(file).shapes
    names = tuple(shapes)
    is_plain = shapes.get(_FIRST_CONVOLUTION, (0, 0))[1:2] == (_LATENTS,)
    for start, folder, family in _KINDS if is_plain else ():
        if any(name.startswith(start) for name in names):
            return _CONFIGS / folder, family
    raise BuildFailed(
        f"the configuration of {file.name} is not here: one file is enough for Stable Diffusion 1 and 2 and SDXL alone",
        _HINT,
    )


def _tokenizers(family: Family) -> dict[str, Any]:
    """What Stable Diffusion reads prompts with: the tokenizer of CLIP, and SDXL a second one that pads with zeros."""
    from transformers import CLIPTokenizer

    merges = gzip.decompress((_CONFIGS / "clip_merges.txt.gz").read_bytes()).decode("utf-8").split("\n")
    pairs = [tuple(line.split(" ")) for line in merges]
    symbols = _symbols()
    words = [
        *symbols,
        *(f"{symbol}</w>" for symbol in symbols),
        *map("".join, pairs),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=pairs, model_max_length=_WORDS)
    if family is not Family.SDXL:
        return {"tokenizer": tokenizer}
    padded = {"pad_token": "!"}  # the first word, whose number is 0
    second = CLIPTokenizer(vocab=vocabulary, merges=pairs, model_max_length=_WORDS, **padded)
    return {"tokenizer": tokenizer, "tokenizer_2": second}


def _symbols() -> list[str]:
    """A printable character for each byte, in the order of CLIP's vocabulary: those that are printable come first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [*map(chr, printable), *(chr(256 + number) for number, _ in enumerate(others))]
