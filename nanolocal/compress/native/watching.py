"""What a collector of statistics wants to see of a graph: products of weights and activations, and rows taken."""

import numpy as np

from nanolocal.compress.measuring.capture import Collector
from nanolocal.compress.native import tensor as tensors
from nanolocal.compress.native.library import operation
from nanolocal.compress.native.tensor import Tensor

_OPERATIONS = frozenset({"MUL_MAT", "MUL_MAT_ID", "GET_ROWS"})


class Watcher:
    """Gives a ``Collector`` what a model computes."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._owners: dict[str, str] = {}
        self._inputs: dict[int, str] = {}

    def wants(self, node: Tensor) -> bool:
        """Whether it multiplies or looks up weights of the build."""
        if operation(node.op) not in _OPERATIONS or not node.src[0] or not node.src[1]:
            return False
        inputs = tensors.at(node.src[1])
        kind = tensors.I32 if operation(node.op) == "GET_ROWS" else tensors.F32
        return inputs.type == kind and self._collector.knows(tensors.name_of(tensors.at(node.src[0])))

    def take(self, node: Tensor) -> None:
        """Hand on its inputs."""
        weight, inputs = tensors.at(node.src[0]), tensors.at(node.src[1])
        name, values = tensors.name_of(weight), tensors.values(inputs)
        match operation(node.op):
            case "GET_ROWS":
                self._collector.taken(name, np.asarray(values, np.int32))
            case "MUL_MAT_ID":
                experts = np.asarray(tensors.values(tensors.at(node.src[2])), np.int32)
                rows = np.asarray(values[0], np.float32)
                self._collector.routed(name, rows, experts[0, 0], self._owner_of(name, node.src[1]))
            case _:
                rows = np.asarray(values, np.float32)
                if weight.ne[2] * weight.ne[3] > 1:
                    self._collector.multiplied_by_matrix(name, rows.reshape(-1, *rows.shape[2:]))
                else:
                    rows = rows.reshape(-1, rows.shape[3])
                    self._collector.multiplied(name, rows, self._owner_of(name, node.src[1]))

    def _owner_of(self, name: str, inputs: int) -> str:
        """The first tensor that is multiplied with the same ``inputs`` as ``name``.

        That never changes; the addresses do, from one graph to the next, and a name that comes again begins one.
        """
        if name not in self._owners:
            self._owners[name] = self._inputs.setdefault(inputs, name)
        else:
            self._inputs.clear()
        return self._owners[name]
