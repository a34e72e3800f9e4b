"""The weights of a build, read from its file one tensor at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from nanolocal.compress.native.library import Bytes, Floats, decode
from nanolocal.compress.weights.encodings import NAMES
from nanolocal.errors import UsageError
from nanolocal.formats.gguf import Tensor
from nanolocal.formats.preflight import check_model


class Weights:
    """All tensors of the build at ``path``, in all its parts; raises ``Damaged`` for one that does not add up.

    ``writable`` lets ``encoded`` be written to, which changes the file.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        checked = check_model(path, with_layout=True)
        self._places: dict[str, tuple[Path, int, Tensor]] = {}
        self._mode: Literal["r", "r+"] = "r+" if writable else "r"
        for file, facts in zip(checked.files, checked.facts, strict=True):
            for tensor in facts.layout:
                self._places[tensor.name] = file, facts.data_start, tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def shape(self, name: str) -> tuple[int, ...]:
        """Columns first, as the header has it."""
        return self._tensor(name).shape

    def encoding(self, name: str) -> str:
        """As ``Q4_K``; raises ``UsageError`` for one that the lab does not know."""
        kind = self._tensor(name).kind
        if kind not in NAMES:
            raise UsageError(f"{name} is encoded in a way that the lab does not know ({kind})", "choose another build")
        return NAMES[kind]

    def encoded(self, name: str) -> Bytes:
        """Its bytes where they lie, [..., rows, bytes of a row]."""
        file, start, tensor = self._places[self._tensor(name).name]
        outer = tensor.shape[:0:-1] or (1,)
        data: Bytes = np.memmap(file, np.uint8, self._mode, start + tensor.offset, (tensor.size_bytes,))
        return data.reshape(*outer, -1)

    def read(self, name: str, rows: slice = slice(None)) -> Floats:
        """The weights, [..., rows, columns], rows of a single-row tensor being one; only ``rows`` of each matrix."""
        return decode(np.array(self.encoded(name)[..., rows, :]), self.encoding(name), self.shape(name)[0])

    def _tensor(self, name: str) -> Tensor:
        if name not in self._places:
            raise UsageError(f"the build has no tensor {name!r}", "see its tensors")
        return self._places[name][2]
