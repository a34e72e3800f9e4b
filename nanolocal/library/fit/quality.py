"""What a quantization keeps of a model's abilities.

The shares are those of an 8B model, corrected for chance, from https://github.com/matt-c1/llama-3-quant-comparison;
larger models lose less. A type that was not measured there takes the figure of the nearest below it in size.
"""

_KEPT = {
    "Q8_0": 1.0, "Q6_K": 0.996, "Q5_K_M": 0.992, "Q4_K_M": 0.985, "Q4_K_S": 0.985, "IQ4_XS": 0.979, "Q3_K_M": 0.942,
    "Q3_K_L": 0.941, "IQ3_M": 0.933, "IQ3_XS": 0.900, "IQ3_XXS": 0.883, "Q3_K_S": 0.849, "IQ2_M": 0.809, "Q2_K": 0.768,
    "IQ2_S": 0.720, "IQ2_XS": 0.621, "IQ2_XXS": 0.460, "IQ1_M": 0.095,
}  # fmt: skip
_LIKE = {
    "Q5_K_S": "Q4_K_M", "Q5_0": "Q4_K_M", "Q5_1": "Q5_K_M", "Q4_1": "IQ4_XS", "Q4_0": "IQ4_XS", "IQ4_NL": "IQ4_XS",
    "MXFP4": "IQ4_XS", "IQ3_S": "IQ3_XS", "Q2_K_S": "IQ2_S", "IQ1_S": "IQ1_M", "TQ2_0": "IQ1_M", "TQ1_0": "IQ1_M",
}  # fmt: skip
_WHOLE = frozenset({"F16", "BF16", "F32"})
_UNKNOWN = 0.942
"""A type that is in neither table: taken for a three-bit one, so that a known one is preferred."""


def kept_by(quantization: str) -> float:
    """The share of 0..1 that is kept."""
    name = quantization.upper().removeprefix("UD-")
    return 1.0 if name in _WHOLE else _KEPT.get(_LIKE.get(name, name), _UNKNOWN)
