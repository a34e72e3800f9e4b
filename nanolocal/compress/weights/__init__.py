"""Weights as GGUF files hold them: encodings, blocks, rounding, headers and sizes."""
