"""What the numbers of a model must be, so that llama.cpp does not end the process over them.

The rules are assertions of llama-model.cpp (``load_hparams``), of the graphs in src/models and of ggml's operations.
What llama.cpp refuses with an error is left to it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nanolocal.formats.architectures import SAME_HEADS, WHOLE_HEAD_TURNED
from nanolocal.formats.refusal import Refused

MAX_BLOCKS = 512
MAX_EXPERTS = 1024
_ROPE_SCALINGS = frozenset({"linear", "longrope", "none", "yarn"})
_COUNTS = (
    "attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length", "block_count",
    "context_length", "embedding_length", "expert_count", "expert_group_count", "expert_group_used_count",
    "expert_used_count", "feed_forward_length", "nextn_predict_layers", "rope.dimension_count", "vocab_size",
)  # fmt: skip
_EPSILONS = ("layer_norm_epsilon", "layer_norm_rms_epsilon", "group_norm_epsilon")
_FEW_EXPERTS_ARE_NONE = frozenset({"hunyuan-dense", "hunyuan_vl"})


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The counts of one architecture; one that is absent, or a list with one for each layer, is ``None``."""

    architecture: str
    metadata: Mapping[str, object]

    def of(self, name: str) -> int | None:
        value = self.metadata.get(f"{self.architecture}.{name}")
        return value if isinstance(value, int) else None

    def count(self, name: str) -> int:
        return self.of(name) or 0


def check_hyperparameters(architecture: str, metadata: Mapping[str, object], lengths: Mapping[str, int]) -> None:
    """Raise ``Refused`` for a number that llama.cpp cannot stand in a model of ``architecture``."""
    for name in _COUNTS:
        value = metadata.get(f"{architecture}.{name}", 0)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**32:
            raise Refused(f"{architecture}.{name} is {str(value)[:40]!r} and no count")
    numbers = _Numbers(architecture, metadata)
    blocks = numbers.of("block_count")
    if blocks is not None and not 1 <= blocks <= MAX_BLOCKS:
        raise Refused(f"it has {blocks} layers, not 1 to {MAX_BLOCKS}")
    if blocks is not None and numbers.count("nextn_predict_layers") > blocks:
        raise Refused("it has more layers that predict ahead than layers")
    _check_heads(numbers)
    _check_epsilons(numbers)
    _check_experts(numbers, f"{architecture}.expert_used_count" in lengths)
    scaling = metadata.get(f"{architecture}.rope.scaling.type", "none")
    if scaling not in _ROPE_SCALINGS:
        raise Refused(f"its rope scaling {str(scaling)[:40]!r} is unknown")


def query_rows(architecture: str, metadata: Mapping[str, object]) -> int:
    """How many rows the tensor of the queries has, heads times their size; 0 where that cannot be told."""
    numbers = _Numbers(architecture, metadata)
    heads = numbers.count("attention.head_count")
    if not heads or architecture not in WHOLE_HEAD_TURNED:
        return 0
    return heads * (numbers.of("attention.key_length") or numbers.count("embedding_length") // heads)


def _check_heads(numbers: _Numbers) -> None:
    """Heads that are counted layer by layer, or not at all, are left to llama.cpp."""
    heads, kv_heads = numbers.count("attention.head_count"), numbers.count("attention.head_count_kv")
    if not heads:
        return
    if kv_heads and heads % kv_heads:
        raise Refused(f"{heads} heads cannot share {kv_heads} heads of keys and values")
    size = numbers.count("embedding_length") // heads
    key, value = numbers.of("attention.key_length") or size, numbers.of("attention.value_length") or size
    if numbers.architecture in SAME_HEADS and key != value:
        raise Refused(f"its heads have {key} numbers for keys and {value} for values")
    turned = numbers.of("rope.dimension_count")
    if turned is None:
        return
    is_still = not turned and (numbers.architecture in SAME_HEADS or numbers.architecture.startswith("gemma"))
    if turned > key or turned % 2 or is_still or (numbers.architecture in WHOLE_HEAD_TURNED and turned != key):
        raise Refused(f"position turns {turned} numbers of heads of {key}")


def _check_epsilons(numbers: _Numbers) -> None:
    for name in _EPSILONS:
        value = numbers.metadata.get(f"{numbers.architecture}.attention.{name}", 0.0)
        if not isinstance(value, float) or not 0 <= value < math.inf:
            raise Refused(f"its {name} is {str(value)[:20]}")


def _check_experts(numbers: _Numbers, is_used_by_layer: bool) -> None:
    experts, used = numbers.count("expert_count"), numbers.count("expert_used_count")
    groups, used_groups = numbers.count("expert_group_count"), numbers.count("expert_group_used_count")
    if numbers.architecture in _FEW_EXPERTS_ARE_NONE and experts <= 1:
        experts, used = 0, 0
    if experts > MAX_EXPERTS or used > experts or (experts and not used and not is_used_by_layer):
        raise Refused(f"it uses {used} of {experts} experts")
    if (groups >= experts if experts else groups) or (
        groups > 1 and (experts % groups or not 0 < used_groups < groups)
    ):
        raise Refused(f"it uses {used_groups} of {groups} groups of its {experts} experts")
