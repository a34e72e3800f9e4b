"""Stores of other programs in their real layouts, with small real files in them."""

import hashlib
import json
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import gguf
import numpy as np

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


def write_gguf(
    path: Path,
    name: str = "Small",
    *,
    architecture: str = "llama",
    kind: str | None = None,
    tensors: int = 1,
    rows: int = 4,
    extra: Mapping[str, int | str] | None = None,
    value: float = 1.0,
) -> Path:
    """A GGUF file by the reference writer: of each tensor ``rows`` of 256 bytes. ``kind`` is its ``general.type``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(name)
    if kind is not None:
        writer.add_type(kind)
    writer.add_block_count(2)
    writer.add_context_length(256)
    writer.add_embedding_length(64)
    writer.add_head_count(4)
    writer.add_file_type(7)
    for key, fact in (extra or {}).items():
        add = writer.add_uint16 if key.startswith("split.") else writer.add_uint32
        add(key, fact) if isinstance(fact, int) else writer.add_string(key, fact)
    for number in range(tensors):
        writer.add_tensor(f"t{number}.weight", np.full((rows, 64), value, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_safetensors(
    path: Path, names: Iterable[str], fill: int = 0, metadata: Mapping[str, str] | None = None
) -> Path:
    """A safetensors file with a tensor of two halves under each name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    listed = list(names)
    for n, name in enumerate(listed):
        header[name] = {"dtype": "F16", "shape": [2, 1], "data_offsets": [4 * n, 4 * n + 4]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes([fill]) * (4 * len(listed)))
    return path


SD15 = (
    "model.diffusion_model.input_blocks.0.0.weight",
    "model.diffusion_model.output_blocks.0.0.weight",
    "first_stage_model.decoder.conv_in.weight",
    "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight",
)
SDXL = (
    "model.diffusion_model.input_blocks.0.0.weight",
    "first_stage_model.decoder.conv_in.weight",
    "conditioner.embedders.0.transformer.text_model.encoder.layers.0.mlp.fc1.weight",
    "conditioner.embedders.1.model.transformer.resblocks.0.mlp.c_fc.weight",
)
LORA = ("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", "lora_te_text_model.lora_up.weight")
TEXT_LORA = ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",)
VAE = ("decoder.conv_in.weight", "encoder.conv_in.weight")
CLIP = ("text_model.encoder.layers.0.mlp.fc1.weight",)


def write_pipeline(
    folder: Path,
    pipeline: str = "StableDiffusionPipeline",
    denoiser: str = "UNet2DConditionModel",
    decoder: str = "AutoencoderKL",
    scheduler: str = "DDIMScheduler",
    configs: Mapping[str, Mapping[str, object]] | None = None,
) -> Path:
    """A diffusers folder of the three parts that none is without; ``configs`` says what their configurations hold."""
    place = "unet" if denoiser.startswith("UNet") else "transformer"
    parts = {"scheduler": scheduler, place: denoiser, "vae": decoder}
    folder.mkdir(parents=True, exist_ok=True)
    index = {"_class_name": pipeline} | {part: ["diffusers", name] for part, name in parts.items()}
    (folder / "model_index.json").write_text(json.dumps(index))
    for part, name in parts.items():
        config = {"_class_name": name, **(configs or {}).get("denoiser" if part == place else part, {})}
        (folder / part).mkdir(exist_ok=True)
        file = "scheduler_config.json" if part == "scheduler" else "config.json"
        (folder / part / file).write_text(json.dumps(config))
    write_safetensors(folder / place / "diffusion_pytorch_model.safetensors", ("conv_in.weight",))
    write_safetensors(folder / "vae" / "diffusion_pytorch_model.safetensors", ("decoder.conv_in.weight",), 1)
    return folder


def ollama_blob(models: Path, content: bytes) -> str:
    """Put ``content`` into Ollama's blobs and return its digest."""
    digest = hashlib.sha256(content).hexdigest()
    (models / "blobs").mkdir(parents=True, exist_ok=True)
    (models / "blobs" / f"sha256-{digest}").write_bytes(content)
    return f"sha256:{digest}"


def ollama_manifest(models: Path, name: str, layers: Mapping[str, str | object]) -> Path:
    """The manifest of ``host/namespace/model/tag`` with a digest for each kind of layer."""
    path = models / "manifests" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    listed = [
        {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": digest, "size": 1}
        for kind, digest in layers.items()
    ]
    config = {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": "sha256:" + "0" * 64, "size": 2}
    content = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": listed}
    path.write_text(json.dumps(content))
    return path


def write_ollama(models: Path, name: str, weights: Path, projector: Path | None = None) -> None:
    """A model as ``ollama pull`` stores it: weights, template, parameters, licence."""
    layers = {"model": ollama_blob(models, weights.read_bytes())}
    if projector is not None:
        layers["projector"] = ollama_blob(models, projector.read_bytes())
    for kind, text in (("template", b"{{ .Prompt }}"), ("params", b'{"stop":["<|im_end|>"]}'), ("license", b"MIT")):
        layers[kind] = ollama_blob(models, text)
    ollama_manifest(models, name, layers)


def write_hf_file(hub: Path, repository: str, name: str, content: bytes, commit: str = COMMIT) -> Path:
    """A file as huggingface_hub stores it: a blob, a symlink in the snapshot, a ref."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    link = folder / "snapshots" / commit / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(blob, link.parent))
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    return link


def write_hf_folder(hub: Path, repository: str, source: Path) -> Path:
    """Every file of ``source`` in the cache; returns the snapshot."""
    for file in sorted(source.rglob("*")):
        if file.is_file():
            write_hf_file(hub, repository, file.relative_to(source).as_posix(), file.read_bytes())
    return hub / f"models--{repository.replace('/', '--')}" / "snapshots" / COMMIT


def write_jan(data: Path, model_id: str, weights: str, projector: str = "") -> Path:
    """Jan's model.yml for files at these places."""
    place = data / "llamacpp" / "models" / model_id
    place.mkdir(parents=True, exist_ok=True)
    sight = f"mmproj_path: {projector}\n" if projector else ""
    text = f"model_path: {weights}\n{sight}name: {model_id}\nsize_bytes: 1234\nembedding: false\n"
    (place / "model.yml").write_text(text)
    return place


def census(*roots: Path) -> dict[str, tuple[int, int, int, int]]:
    """Inode, size, mode and time of change of everything below, symlinks not followed."""
    found: dict[str, tuple[int, int, int, int]] = {}
    for root in roots:
        for path in [root, *root.rglob("*")]:
            stat = path.lstat()
            found[str(path)] = (stat.st_ino, stat.st_size, stat.st_mode, stat.st_mtime_ns)
    return found
