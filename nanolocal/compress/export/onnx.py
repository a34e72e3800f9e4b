"""ONNX Runtime: one graph that takes any number of texts of any length, with weights of 32, 8 and 4 bits.

``int8`` has weights by row and computes matrices in 8 bits (``quantize_dynamic``); ``int4`` has blocks of 32 weights
with a scale and a zero each (``MatMulNBitsQuantizer``), of the embeddings too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import GraphProto

    from nanolocal.compress.export.making import Asked, Scores

FIXED = False
_OPSET = 20
_BLOCK = 32
_LARGE = 3 * 2**29
"""Bytes of a model whose weights go into a file beside it: protobuf ends at 2 GiB."""


def write(asked: Asked, folder: Path) -> Iterator[tuple[str, str]]:
    """See ``making.Exporter``."""
    whole = folder / "model.onnx"
    is_large = sum(each.numel() * each.element_size() for each in asked.module.parameters()) > _LARGE
    _export(asked, whole, is_large=is_large)
    yield "fp32", whole.name
    yield "int8", _to_int8(whole, is_large=is_large)
    yield "int4", _to_int4(whole, is_large=is_large)


def open(file: Path) -> Scores:
    """See ``making.Exporter``."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def run(tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = session.run(["logits"], {"tokens": tokens})[0]
        return scores

    return run


def _export(asked: Asked, file: Path, *, is_large: bool) -> None:
    import torch

    example = torch.randint(0, asked.vocabulary, (2, max(asked.length, 2)), generator=torch.Generator().manual_seed(0))
    program = torch.onnx.export(
        asked.module,
        (example,),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch"), 1: torch.export.Dim("time")},),
        input_names=["tokens"],
        output_names=["logits"],
        opset_version=_OPSET,
        verbose=False,
    )
    assert program is not None
    program.save(str(file), external_data=is_large)


def _to_int8(whole: Path, *, is_large: bool) -> str:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    made = whole.with_name("model-int8.onnx")
    quantize_dynamic(whole, made, weight_type=QuantType.QInt8, per_channel=True, use_external_data_format=is_large)
    return made.name


def _to_int4(whole: Path, *, is_large: bool) -> str:
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    made = whole.with_name("model-int4.onnx")
    model = onnx.load(whole)
    _untie(model.graph)
    quantizer = MatMulNBitsQuantizer(
        model, block_size=_BLOCK, is_symmetric=False, op_types_to_quantize=("MatMul", "Gather"), quant_axes=_AXES
    )
    quantizer.process()
    quantizer.model.save_model_to_file(str(made), use_external_data_format=is_large)
    return made.name


_AXES = (("MatMul", 0), ("Gather", 1))


def _untie(graph: GraphProto) -> None:
    """Give an output matrix that is the embeddings turned a tensor of its own: only constants are quantized."""
    import numpy
    import onnx

    constants = {each.name: each for each in graph.initializer}
    for node in list(graph.node):
        if node.op_type != "Transpose" or node.input[0] not in constants:
            continue
        turned = numpy.ascontiguousarray(onnx.numpy_helper.to_array(constants[node.input[0]]).T)
        graph.initializer.append(onnx.numpy_helper.from_array(turned, node.output[0]))
        graph.node.remove(node)
