"""ExecuTorch, the successor of PyTorch Mobile: programs for its XNNPACK backend, which runs on phones too.

``int8`` has weights by row and computes matrices in 8 bits (XNNPACK's dynamic quantization), embeddings by row too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.compress.torch.model import EMBEDDINGS, Model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.nn import Module

    from nanolocal.compress.export.making import Asked, Scores

FIXED = False


def write(asked: Asked, folder: Path) -> Iterator[tuple[str, str]]:
    """See ``making.Exporter``; a text may be as long as the examples."""
    whole = folder / "model.pte"
    _save(asked.module, asked, whole)
    yield "fp32", whole.name
    small = folder / "model-int8.pte"
    _save(_to_int8(_compact(asked.model), asked), asked, small)
    yield "int8", small.name


def open(file: Path) -> Scores:
    """See ``making.Exporter``."""
    import torch
    from executorch.runtime import Runtime

    # The method holds neither its program nor the runtime alive.
    program = Runtime.get().load_program(str(file))
    method = program.load_method("forward")

    def run(tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = method.execute([torch.from_numpy(tokens)])[0].numpy()
        return scores

    return run


def _save(module: Module, asked: Asked, file: Path) -> None:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    exported = torch.export.export(module, _example(asked), dynamic_shapes=_shapes(asked))
    program = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    with file.open("wb") as stream:
        program.write_to_file(stream)


def _to_int8(module: Module, asked: Asked) -> Module:
    import torch
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    how = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
    graph = torch.export.export(module, _example(asked), dynamic_shapes=_shapes(asked)).module()
    prepared = prepare_pt2e(graph, XNNPACKQuantizer().set_global(how))
    prepared(*_example(asked))
    converted: Module = convert_pt2e(prepared)
    return converted


def _compact(model: Model) -> Module:
    """The model as a module with its embeddings in 8 bits; an output matrix that is the same stays as it is."""
    import torch
    from torch.nn.functional import embedding

    table = model.weights[EMBEDDINGS]
    scales = (table.abs().amax(1, keepdim=True) / 127).clamp_min(1e-12)

    class Looked(Model):
        def __init__(self, weights: dict[str, Tensor], numbers: Tensor, scale: Tensor) -> None:
            super().__init__(model.shape, weights)
            self.looked = (numbers, scale)

        def embed(self, tokens: Tensor) -> Tensor:
            numbers, scale = self.looked
            states = embedding(tokens, numbers).float() * embedding(tokens, scale)
            return states * float(self.shape.width) ** 0.5 if self.shape.is_gemma else states

    class Compact(torch.nn.Module):
        numbers: Tensor
        scale: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("numbers", (table / scales).round().to(torch.int8))
            self.register_buffer("scale", scales)
            for name, weight in model.weights.items():
                self.register_buffer(name.replace(".", "__"), weight)

        def forward(self, tokens: Tensor) -> Tensor:
            weights = {name: getattr(self, name.replace(".", "__")) for name in model.weights}
            return Looked(weights, self.numbers, self.scale).logits(tokens)

    return Compact().eval()


def _example(asked: Asked) -> tuple[Tensor]:
    import torch

    return (torch.randint(0, asked.vocabulary, (1, asked.length), generator=torch.Generator().manual_seed(0)),)


def _shapes(asked: Asked) -> tuple[dict[int, object]]:
    import torch

    return ({1: torch.export.Dim("time", min=2, max=asked.length)},)
