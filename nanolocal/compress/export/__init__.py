"""Builds for other runtimes: ONNX Runtime, LiteRT and ExecuTorch, each run and compared before it is handed over."""
