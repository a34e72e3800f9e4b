"""LiteRT, the successor of TensorFlow Lite: a graph for one text of one length, shorter ones filled up at their end.

``int8`` has weights by row and computes matrices in 8 bits (``dynamic_wi8_afp32`` of ai-edge-quantizer).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nanolocal.compress.export.making import Asked, Scores

FIXED = True


def write(asked: Asked, folder: Path) -> Iterator[tuple[str, str]]:
    """See ``making.Exporter``."""
    import litert_torch
    import torch
    from ai_edge_quantizer import quantizer, recipe

    whole = folder / "model.tflite"
    example = torch.zeros((1, asked.length), dtype=torch.int64)
    litert_torch.convert(asked.module, (example,)).export(str(whole))
    yield "fp32", whole.name
    small = folder / "model-int8.tflite"
    shrinking = quantizer.Quantizer(str(whole))
    shrinking.load_quantization_recipe(recipe.dynamic_wi8_afp32())
    shrinking.quantize().export_model(str(small))
    yield "int8", small.name


def open(file: Path) -> Scores:
    """See ``making.Exporter``."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file))
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        filled = np.zeros(given["shape"], given["dtype"])
        filled[:, : tokens.shape[1]] = tokens
        interpreter.set_tensor(given["index"], filled)
        interpreter.invoke()
        scores: NDArray[np.float32] = interpreter.get_tensor(made["index"])[:, : tokens.shape[1]]
        return scores

    return run
