"""How the next token is chosen: llama.cpp's samplers, over no more of the vocabulary than can matter.

A vocabulary has up to 256k entries, and every sampler that sees them all costs more than the rest of the loop. Where
top-k follows (or only the likeliest counts), the entries that can get through it are found first, in a few vector
operations; the chain then sees some dozens of entries and chooses what it would have chosen among all.
"""

from __future__ import annotations

import ctypes
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, TypeAlias

from nanolocal.engines.ggml import Model, library
from nanolocal.errors import EngineFailed, UsageError

if TYPE_CHECKING:  # imported where it is needed: the parent has no use for it
    import numpy as np
    import numpy.typing as npt

PENALTY_WINDOW = 64
"""How many of the last tokens the repeat, frequency and presence penalties count."""

DRY_WINDOW = 1024
"""How many of the last tokens DRY looks through for the beginning of a repetition."""

_DRY_BREAKERS = (b"\n", b":", b'"', b"*")
_STRIDE = 64
_GROWTH = 16
_ROOT = b"root"

Logits: TypeAlias = "npt.NDArray[np.float32]"
Ids: TypeAlias = "npt.NDArray[np.intp]"


class Reader(Protocol):
    """What has read a batch: a ``ggml.Context``."""

    @property
    def pointer(self) -> object:
        """The ``llama_context``."""
        ...


class SampledJob(Protocol):
    """A job that says how its tokens are chosen, by fields that are called as those of ``Sampling``."""

    @property
    def seed(self) -> int | None:
        """Where chance begins."""
        ...


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen; a ``temperature`` of 0 takes the likeliest.

    A ``top_k`` of 0, a ``top_p`` or ``typical_p`` of 1, ``dry_multiplier``, ``xtc_probability`` and penalties of 0 (the
    repeat penalty of 1) change nothing. ``mirostat`` replaces all cuts. ``grammar`` is GBNF, ``""`` for none.
    """

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repeat_penalty: float
    seed: int
    typical_p: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    mirostat: bool = False
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    logit_bias: tuple[tuple[int, float], ...] = ()
    grammar: str = ""

    @classmethod
    def of(cls, job: SampledJob, seed: int) -> Sampling:
        """How ``job`` wants it, with a seed that is known."""
        return cls(**{each.name: getattr(job, each.name) for each in fields(cls)} | {"seed": seed})

    @property
    def is_greedy(self) -> bool:
        """Whether chance plays no part."""
        return self.temperature <= 0

    @property
    def penalizes(self) -> bool:
        """Whether what was said before counts."""
        penalties = (self.repeat_penalty != 1.0, self.frequency_penalty, self.presence_penalty, self.dry_multiplier)
        return any(penalties)

    @property
    def kept(self) -> int:
        """How many of the likeliest tokens the chain goes on with; 0 for all."""
        if self.is_greedy:
            return 1
        return 0 if self.mirostat else self.top_k


class Sampler:
    """Chooses the tokens of one sequence: the chain of llama.cpp, and a grammar beside it.

    ``read`` are the tokens before. A grammar that ``waits`` begins with ``begin_grammar``. Raises ``UsageError`` for a
    grammar that llama.cpp cannot read.
    """

    def __init__(self, model: Model, how: Sampling, read: Sequence[int], *, waits: bool = False) -> None:
        self._lib = lib = library()
        self._how = how
        self._size = model.vocabulary_size
        self._chain = _chain(model, how)
        self._grammar = _grammar(model, how.grammar) if how.grammar else None
        if how.grammar and not self._grammar:
            self.close()
            raise UsageError("the grammar cannot be read", "it is GBNF with a rule named root and no left recursion")
        self._is_constrained = self._grammar is not None and not waits
        self._candidates = _Candidates(lib, self._size)
        self._biased = [token for token, _ in how.logit_bias if 0 <= token < self._size]
        self._recent = deque[int](maxlen=DRY_WINDOW if how.dry_multiplier else PENALTY_WINDOW)
        for token in read[-DRY_WINDOW:] if how.penalizes else ():
            self._say(token)

    @property
    def waits(self) -> bool:
        """Whether there is a grammar that has not begun."""
        return self._grammar is not None and not self._is_constrained

    def begin_grammar(self) -> None:
        """From the next token on, the grammar decides what may come."""
        self._is_constrained = self._grammar is not None

    def choose(self, context: Reader, row: int = -1) -> int:
        """The next token after what ``context`` read in ``row`` of its last batch; nothing changes until ``accept``.

        Raises ``EngineFailed`` when the model's predictions are no numbers, or the grammar allows no token.
        """
        logits = logits_of(self._lib, context, row, self._size)
        token = self._picked(self._likeliest(logits))
        if not self._is_constrained or self._allows(token):
            return token
        return self._picked(self._constrained(logits))

    def accept(self, token: int) -> None:
        """``token`` comes next."""
        if self._is_constrained:
            self._lib.llama_sampler_accept(self._grammar, token)
        self._say(token)

    def close(self) -> None:
        """Give the memory back."""
        for sampler in (self._chain, self._grammar):
            if sampler:
                self._lib.llama_sampler_free(sampler)
        self._chain = self._grammar = None

    def _say(self, token: int) -> None:
        self._lib.llama_sampler_accept(self._chain, token)
        self._recent.append(token)

    def _touched(self) -> list[int]:
        """The tokens whose logits the chain changes before it cuts."""
        said = self._recent if self._how.penalizes else ()
        return list({*said, *self._biased})

    def _likeliest(self, logits: Logits) -> ctypes.Structure:
        """The candidates: all that can be among the likeliest that the chain keeps."""
        kept = self._how.kept
        if not kept:
            return self._candidates.of(logits, _largest(logits, self._size))
        touched = self._touched()
        return self._candidates.of(logits, _with(_largest(logits, kept + len(touched)), touched))

    def _constrained(self, logits: Logits) -> ctypes.Structure:
        """The candidates that the grammar allows: from so many of the likeliest that no other one can count."""
        kept, touched = self._how.kept, self._touched()
        count = _STRIDE if kept else self._size
        while True:
            ids = _with(_largest(logits, count + len(touched)), touched)
            allowed = self._left(self._candidates.of(logits, ids))
            if allowed.size - len(touched) >= kept > 0 or len(ids) == self._size:
                break
            count *= _GROWTH
        if not allowed.size:
            raise EngineFailed("the build has no word that the grammar allows here", "use a simpler schema or grammar")
        return self._candidates.of(logits, allowed)

    def _allows(self, token: int) -> bool:
        return bool(self._left(self._candidates.one(token)).size)

    def _left(self, candidates: ctypes.Structure) -> Ids:
        """The candidates that the grammar allows."""
        self._lib.llama_sampler_apply(self._grammar, ctypes.byref(candidates))
        return self._candidates.finite(candidates)

    def _picked(self, candidates: ctypes.Structure) -> int:
        self._lib.llama_sampler_apply(self._chain, ctypes.byref(candidates))
        return int(candidates.data[candidates.selected].id)


@dataclass(frozen=True, slots=True)
class Likely:
    """A token with the natural logarithm of its probability."""

    token: int
    logprob: float


def likely(model: Model, context: Reader, row: int, token: int, top: int) -> tuple[Likely, ...]:
    """``token`` and the ``top`` likeliest tokens after what was read in ``row``, before any sampler."""
    import numpy as np

    logits = logits_of(library(), context, row, model.vocabulary_size)
    most = float(logits.max())
    norm = most + math.log(float(np.exp(logits - most, dtype=np.float32).sum(dtype=np.float64)))
    ids = _largest(logits, min(top, logits.size)) if top else np.empty(0, np.intp)
    ordered = ids[np.argsort(-logits[ids], kind="stable")][:top]
    return tuple(Likely(int(each), float(logits[each]) - norm) for each in (token, *ordered))


def logits_of(lib: ModuleType, context: Reader, row: int, size: int) -> Logits:
    """The logits of a row where llama.cpp keeps them, until it reads on; raises ``EngineFailed`` if it has none."""
    import numpy as np

    address = ctypes.cast(lib.llama_get_logits_ith(context.pointer, row), ctypes.c_void_p).value
    if address is None:
        raise EngineFailed(f"llama.cpp predicted nothing in row {row}")
    return np.frombuffer(memoryview((ctypes.c_float * size).from_address(address)), np.float32)


class _Candidates:
    """llama.cpp's ``llama_token_data_array``, filled anew for every choice."""

    def __init__(self, lib: ModuleType, size: int) -> None:
        import numpy as np

        self._array: Callable[..., ctypes.Structure] = lib.llama_token_data_array
        self._data = np.zeros(size, np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)]))
        self._pointer = ctypes.cast(self._data.ctypes.data, ctypes.POINTER(lib.llama_token_data))

    def of(self, logits: Logits, ids: Ids) -> ctypes.Structure:
        """The tokens ``ids`` with their logits."""
        filled = self._data[: len(ids)]
        filled["id"] = ids
        filled["logit"] = logits if len(ids) == len(logits) else logits[ids]
        return self._filled(len(ids))

    def one(self, token: int) -> ctypes.Structure:
        """``token`` alone."""
        self._data[0] = (token, 1.0, 0.0)
        return self._filled(1)

    def _filled(self, size: int) -> ctypes.Structure:
        return self._array(data=self._pointer, size=size, selected=-1, sorted=False)

    def finite(self, candidates: ctypes.Structure) -> Ids:
        """The tokens of ``candidates`` that are not ruled out."""
        filled = self._data[: candidates.size]
        return filled["id"][filled["logit"] > -math.inf].astype("intp")


def _largest(logits: Logits, count: int) -> Ids:
    """Ids of the ``count`` largest logits and a few more, ascending; raises ``EngineFailed`` for what is no number.

    The ``count``-th largest of the maxima of groups cannot be above the ``count``-th largest logit.
    """
    import numpy as np

    groups = len(logits) // _STRIDE
    if count >= groups:
        return np.arange(len(logits))
    maxima = logits[: groups * _STRIDE].reshape(_STRIDE, groups).max(axis=0)
    found = np.flatnonzero(logits >= np.partition(maxima, groups - count)[groups - count])
    if found.size < count:
        raise EngineFailed(
            "the build's predictions are not numbers", "its file may be damaged: nanolocal models verify"
        )
    return found


def _with(ids: Ids, more: Sequence[int]) -> Ids:
    import numpy as np

    return np.union1d(ids, more).astype(np.intp) if more else ids


def _chain(model: Model, how: Sampling) -> object:
    """The samplers in llama.cpp's own order, without those that change nothing."""
    lib = library()
    parameters = lib.llama_sampler_chain_default_params()
    parameters.no_perf = True
    chain = lib.llama_sampler_chain_init(parameters)
    for sampler in (*_changes(model, how), *_cuts(how)):
        lib.llama_sampler_chain_add(chain, sampler)
    return chain


def _changes(model: Model, how: Sampling) -> list[object]:
    """The samplers that change some logits."""
    lib, size = library(), model.vocabulary_size
    chosen = []
    if how.logit_bias:
        biases = (lib.llama_logit_bias * len(how.logit_bias))(*how.logit_bias)
        chosen.append(lib.llama_sampler_init_logit_bias(size, len(biases), biases))
    penalties = (how.repeat_penalty, how.frequency_penalty, how.presence_penalty)
    if penalties != (1.0, 0.0, 0.0):
        chosen.append(lib.llama_sampler_init_penalties(size, PENALTY_WINDOW, *penalties))
    if how.dry_multiplier:
        breakers = (ctypes.c_char_p * len(_DRY_BREAKERS))(*_DRY_BREAKERS)
        strength = (how.dry_multiplier, how.dry_base, how.dry_allowed_length)
        chosen.append(
            lib.llama_sampler_init_dry(_vocabulary(model), *strength, DRY_WINDOW, breakers, len(_DRY_BREAKERS))
        )
    return chosen


def _cuts(how: Sampling) -> list[object]:
    """The samplers that cut the unlikely off, and the one that chooses."""
    lib, seed = library(), how.seed & 0xFFFFFFFF
    if how.is_greedy:
        return [lib.llama_sampler_init_greedy()]
    warmth = lib.llama_sampler_init_temp(how.temperature)
    if how.mirostat:
        return [warmth, lib.llama_sampler_init_mirostat_v2(seed, how.mirostat_tau, how.mirostat_eta)]
    cuts: list[tuple[bool, Callable[[], object]]] = [
        (how.top_k > 0, lambda: lib.llama_sampler_init_top_k(how.top_k)),
        (how.typical_p < 1, lambda: lib.llama_sampler_init_typical(how.typical_p, 1)),
        (how.top_p < 1, lambda: lib.llama_sampler_init_top_p(how.top_p, 1)),
        (how.min_p > 0, lambda: lib.llama_sampler_init_min_p(how.min_p, 1)),
        (
            how.xtc_probability > 0,
            lambda: lib.llama_sampler_init_xtc(how.xtc_probability, how.xtc_threshold, 1, seed),
        ),
    ]
    return [*(make() for is_used, make in cuts if is_used), warmth, lib.llama_sampler_init_dist(seed)]


def _grammar(model: Model, grammar: str) -> object:
    """A grammar over the model's vocabulary, nothing if llama.cpp cannot read it."""
    return library().llama_sampler_init_grammar(_vocabulary(model), grammar.encode("utf-8", "replace"), _ROOT)


def _vocabulary(model: Model) -> object:
    return library().llama_model_get_vocab(model.pointer)
