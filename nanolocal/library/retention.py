"""What quantization leaves of a model's quality, as a share of what it has above chance.

Two curves, by size, since large models lose far less: of an 8 B model (github.com/matt-c1/llama-3-quant-comparison,
MMLU) and of a 70 B one (the same source, relative to Q5_K_M, few runs; what it lacks is halved loss of the 8 B curve).
Between 13 B and 30 B they are mixed. Types that were not measured there stand beside their neighbours in bits a weight.
"""

import math
from functools import lru_cache

SMALL = {
    "F32": 1.0, "F16": 1.0, "BF16": 1.0, "Q8_0": 1.0, "Q6_K": 0.996, "Q5_K_M": 0.992, "Q5_1": 0.990, "Q5_K_S": 0.990,
    "Q5_0": 0.987, "Q4_K_M": 0.985, "Q4_K_S": 0.985, "Q4_K": 0.985, "IQ4_NL": 0.980, "IQ4_XS": 0.979, "Q4_1": 0.975,
    "MXFP4": 0.975, "Q4_0": 0.970, "Q3_K_M": 0.942, "Q3_K_L": 0.941, "IQ3_M": 0.933, "IQ3_S": 0.920, "IQ3_XS": 0.900,
    "IQ3_XXS": 0.883, "Q3_K_S": 0.849, "IQ2_M": 0.809, "Q2_K": 0.768, "IQ2_S": 0.720, "Q2_K_S": 0.700, "IQ2_XS": 0.621,
    "IQ2_XXS": 0.460, "IQ1_M": 0.095, "TQ2_0": 0.095, "TQ1_0": 0.095,
    "IQ1_S": 0.05,
}  # fmt: skip
_LARGE = {"IQ3_XXS": 0.969, "IQ2_XS": 0.895, "IQ2_XXS": 0.848, "IQ1_M": 0.720}
_UNKNOWN = 0.942
"""A type in neither table: taken for one of three bits, so that a known one is preferred."""
_EIGHT_BILLION = 8 * 10**9
_LEAST = 0.05
_SMALL_UP_TO, _LARGE_FROM = 13e9, 30e9


_MEASURED = (
    (0.0014, 1.0), (0.0055, 0.996), (0.0108, 0.992), (0.0282, 0.985), (0.0363, 0.979), (0.0844, 0.942), (0.331, 0.768),
)  # fmt: skip
"""KL divergences of an 8 B model's types (llama.cpp, tools/perplexity/README.md), and what each left in ``SMALL``."""
BY_DIVERGENCE = "estimated from its KL divergence as published MMLU of an 8 B model fell with that; not measured here"


def retained_at(kld: float) -> float:
    """The share, 0.05 to 1, that is left at a mean KL divergence of ``kld`` nats a token; raises ``ValueError``.

    Between the types that were measured it is interpolated over the logarithm, and goes on so beyond them.
    """
    if not kld >= 0.0:
        raise ValueError(f"{kld} is no KL divergence")
    if kld <= _MEASURED[0][0]:
        return 1.0
    index = next((index for index, (known, _) in enumerate(_MEASURED) if kld <= known), len(_MEASURED) - 1)
    (low, before), (high, after) = _MEASURED[index - 1], _MEASURED[index]
    share = before + (after - before) * math.log(kld / low) / math.log(high / low)
    return max(share, _LEAST)


@lru_cache(maxsize=1024)
def retained(quantization: str, parameters: int = _EIGHT_BILLION) -> float:
    """The share, 0 to 1, that a build of ``quantization`` keeps of a model with so many parameters."""
    name = quantization.upper().removeprefix("UD-")
    small = SMALL.get(name, _UNKNOWN)
    large = _LARGE.get(name, 1 - (1 - small) / 2)
    weight = min(max((parameters - _SMALL_UP_TO) / (_LARGE_FROM - _SMALL_UP_TO), 0.0), 1.0)
    return small + (large - small) * weight
