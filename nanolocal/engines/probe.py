"""A child that asks llama.cpp how much memory a context would take: ``python -I -m nanolocal.engines.probe``.

It reads one JSON object from standard input (path, n_ctx, kv) and writes one to standard output. The model is opened
with ``no_alloc``, so no weight is read, and the context is made with the engine's own parameters; llama.cpp's log then
names its buffers. A file that llama.cpp cannot take ends the process, which is why it is one.
"""

import json
import os
import re
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nanolocal.engines.ggml import context_parameters, library
from nanolocal.engines.isolation import files_of, isolate
from nanolocal.hardening import harden_process

_NO_MAPPING = 0
_MOST_MEMORY = 8 * 2**30
"""A header can ask for a recurrent state of any size, the one thing that is really allocated."""
_ALL_LAYERS = 99
_MIB = 2**20
_CACHE = re.compile(r"kv_cache\w*: size =\s*([\d.]+) MiB")
_COMPUTE = re.compile(r"(\S+) compute buffer size =\s*([\d.]+) MiB")
_OUTPUT = re.compile(r"output buffer size =\s*([\d.]+) MiB")


class Refused(Exception):
    """llama.cpp does not take the file, in its own words."""


def main() -> int:
    """Answer one question."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no answer
    harden_process()
    question = json.load(sys.stdin)
    path = Path(question["path"])
    isolate("llama_cpp", files_of(path))
    try:
        answer = measure(path, int(question["n_ctx"]), str(question["kv"]))
    except Refused as refused:
        answer = {"refused": str(refused)}
    answers.write(json.dumps(answer))
    answers.close()
    return 0


def measure(path: Path, n_ctx: int, kv: str) -> dict[str, Any]:
    """Bytes of each buffer, and of this process; raises ``Refused``."""
    lib = library()
    lines: list[str] = []
    receiver = lib.llama_log_callback(lambda level, text, data: lines.append(text.decode("utf-8", "replace")))
    lib.llama_log_set(receiver, None)
    lib.llama_backend_init()
    has_gpu = bool(lib.llama_supports_gpu_offload())
    if not has_gpu:  # drivers of graphics processors reserve far more addresses than they use
        _limit_memory()
    parameters = lib.llama_model_default_params()
    parameters.no_alloc, parameters.load_mode = True, _NO_MAPPING
    parameters.n_gpu_layers = _ALL_LAYERS if has_gpu else 0
    model = lib.llama_model_load_from_file(os.fsencode(path), parameters)
    context = lib.llama_init_from_model(model, context_parameters(model, n_ctx, kv)) if model else None
    log = "".join(lines)
    if not context:
        raise Refused(_last_error(lines))
    compute = {device: _bytes(size) for device, size in _COMPUTE.findall(log)}
    return {
        "cache": sum(_bytes(size) for size in _CACHE.findall(log)),
        "compute": compute.pop("CPU", 0),
        "on_devices": sum(compute.values()),
        "output": sum(_bytes(size) for size in _OUTPUT.findall(log)),
        "process": _memory("VmRSS"),
        "process_peak": _memory("VmHWM"),
        "library": version("llama-cpp-python"),
    }


def _limit_memory() -> None:
    if sys.platform != "win32":
        import resource

        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))


def _bytes(mebibytes: str) -> int:
    return int(float(mebibytes) * _MIB)


def _memory(name: str) -> int:
    """Bytes that this process holds, or held at most; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def _last_error(lines: list[str]) -> str:
    """What llama.cpp said went wrong."""
    spoken = [line.strip() for line in lines if "error" in line.lower() or "failed" in line.lower()]
    return spoken[0] if spoken else "llama.cpp gives no reason"


if __name__ == "__main__":
    sys.exit(main())
