"""From a checkpoint to the two GGUF files of the build, the same byte for byte each time they are written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import gguf
import torch
from starter_text.export import Trained, quantize, write_gguf
from starter_text.model import Shape as TextShape
from torch import Tensor

from starter_vision.model import MEAN, STD, EyeShape, Seeing

ID = "nanolocal-starter-vision"
NAME = "nanolocal starter (vision)"
TEXT_FILE, SIGHT_FILE = f"{ID}-Q8_0.gguf", f"mmproj-{ID}-F16.gguf"


@dataclass(frozen=True, slots=True)
class Finished:
    """What a finished run left behind: averaged weights by name, tokenizer, figures, the parent's hash."""

    eyes: EyeShape
    text: TextShape
    weights: dict[str, Tensor]
    tokenizer: Path
    progress: dict[str, dict[str, float]]
    parent: str

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The weights under a prefix, by the rest of their names."""
        return {name.removeprefix(prefix): value for name, value in self.weights.items() if name.startswith(prefix)}

    def model(self) -> Seeing:
        """The model with its weights as float16 keeps them."""
        model = Seeing(self.eyes, self.text)
        model.load_state_dict({name: kept(value).float() for name, value in self.weights.items()})
        return model.eval()


def kept(weight: Tensor) -> Tensor:
    """A weight in the precision that its file has: matrices in float16, the rest in float32."""
    return weight.half() if weight.dim() > 1 else weight


def load(work: Path, eyes: EyeShape) -> Finished:
    """The last checkpoints of a work directory."""
    parent = json.loads((work / "parent.json").read_text("utf-8"))
    state = torch.load(work / "reader.pt", map_location="cpu", weights_only=True)
    first = torch.load(work / "eyes.pt", map_location="cpu", weights_only=True, mmap=True)
    weights = {
        name.removeprefix("model."): value for name, value in state["average"].items() if name.startswith("model.")
    }
    progress = {"eyes": first["progress"], "reader": state["progress"]}
    text = TextShape(**parent["shape"])
    return Finished(eyes, text, weights, work / "tokenizer.json", progress, parent["sha256"])


def write_sight(finished: Finished, path: Path) -> None:
    """Eyes and projector as an mmproj file of the type "mlp"."""
    eyes = finished.eyes
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_name(NAME)
    writer.add_license("apache-2.0")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", True)
    numbers = {
        "image_size": eyes.side, "patch_size": eyes.patch, "embedding_length": eyes.width,
        "feed_forward_length": eyes.hidden, "block_count": eyes.blocks, "projection_dim": finished.text.width,
        "attention.head_count": eyes.heads,
    }  # fmt: skip
    for name, value in numbers.items():
        writer.add_uint32(f"clip.vision.{name}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", eyes.norm_eps)
    writer.add_array("clip.vision.feature_layer", [eyes.blocks])  # else the last block is left out
    writer.add_array("clip.vision.image_mean", [MEAN] * 3)
    writer.add_array("clip.vision.image_std", [STD] * 3)
    for name, weight in finished.part("sight.").items():
        writer.add_tensor(name, kept(weight).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_build(finished: Finished, work: Path, out: Path) -> list[Path]:
    """Both files under `out`; the text model first."""
    out.mkdir(parents=True, exist_ok=True)
    half = work / f"{ID}-F16.gguf"
    progress = dict(finished.progress["reader"])
    write_gguf(Trained(finished.text, finished.part("reader."), finished.tokenizer, progress), NAME, half)
    quantize(half, out / TEXT_FILE, "Q8_0")
    write_sight(finished, out / SIGHT_FILE)
    return [out / TEXT_FILE, out / SIGHT_FILE]
