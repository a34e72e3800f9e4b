"""A build that has been written, with tensors rounded anew: only the bytes of their blocks change."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nanolocal.compress.measuring.capture import read_statistics
from nanolocal.compress.measuring.imatrix import importance_for
from nanolocal.compress.native.weights import Weights
from nanolocal.compress.weights.encodings import FLOATS
from nanolocal.compress.work.tasks import Tell


def round_in_place(source: Path, out: Path, types: Mapping[str, str], statistics: Path, tell: Tell) -> None:
    """Replace in ``out`` the tensors of ``types`` that ``statistics`` has a Hessian for.

    ``out`` is what the quantizer made of ``source`` with these types.
    """
    from nanolocal.compress.weights.rounding import rounded

    old, new = Weights(source), Weights(out, writable=True)
    for number, name in enumerate(types):
        tell(number / len(types))
        kept = read_statistics(statistics, frozenset({name}))
        hessian = kept.hessian(name)
        encoding = new.encoding(name)
        if hessian is None or encoding in FLOATS or encoding == old.encoding(name):
            continue
        importance = importance_for(kept.imatrix, name, old.shape(name))
        target = new.encoded(name)
        columns = old.shape(name)[0]
        matrices = old.read(name).reshape(-1, old.shape(name)[1], columns)
        stacks = np.broadcast_to(hessian.reshape(-1, columns, columns), (len(matrices), columns, columns))
        places = target.reshape(len(matrices), -1)
        for index, weights in enumerate(matrices):
            data = rounded(weights, stacks[index], encoding, None if importance is None else importance[index])
            places[index] = np.frombuffer(data, np.uint8)
