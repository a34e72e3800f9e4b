"""How good a build is expected to be at a task, between 0 and 1."""

import math

from nanolocal.chat.routes import Build

# Share of the full-precision score that remains, 8B models: github.com/matt-c1/llama-3-quant-comparison
RETENTION = {
    "F32": 1.0, "F16": 1.0, "BF16": 1.0, "Q8_0": 1.0, "Q6_K": 0.996, "Q5_K_M": 0.992, "Q5_K_S": 0.990, "Q5_0": 0.985,
    "Q4_K_M": 0.985, "Q4_K_S": 0.985, "Q4_0": 0.970, "IQ4_XS": 0.979, "IQ4_NL": 0.980, "Q3_K_L": 0.941, "Q3_K_M": 0.942,
    "Q3_K_S": 0.849, "IQ3_M": 0.933, "IQ3_XS": 0.900, "IQ3_XXS": 0.883, "IQ2_M": 0.809, "Q2_K": 0.768, "IQ2_S": 0.720,
    "IQ2_XS": 0.621, "IQ2_XXS": 0.460, "IQ1_M": 0.095,
}  # fmt: skip
_UNKNOWN_RETENTION = 0.95
_MILLION = 1e6


def expected_quality(build: Build, task: str) -> tuple[float, bool]:
    """The expected score, and whether it was guessed from the size because no score is published."""
    retention = RETENTION.get(build.quantization.upper(), _UNKNOWN_RETENTION)
    for key in (task, task.partition("/")[0], "*"):
        if key in build.quality:
            return build.quality[key] * retention, False
    return _prior(build.parameters) * retention, True


def _prior(parameters: int) -> float:
    """A line through published averages: 1 B about 0.40, 8 B about 0.58, 70 B about 0.75; never above 0.9."""
    if parameters < _MILLION:
        return 0.02
    return min(0.9, max(0.02, 0.19 * math.log10(parameters / _MILLION) - 0.16))
