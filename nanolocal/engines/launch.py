"""How an engine child is started: its environment and its threads."""

import os
from collections.abc import Mapping
from pathlib import Path

from nanolocal.chat.routes import Build, Kind

_TINY_BYTES = 100 * 10**6
_PASSED_ON = frozenset({
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "USERPROFILE",
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "CUDA_PATH", "CUDA_VISIBLE_DEVICES", "HIP_PATH", "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES", "ONEAPI_DEVICE_SELECTOR",
    "NANOLOCAL_ISOLATION",
})  # fmt: skip
_FIXED = {
    "GGML_NO_BACKTRACE": "1",
    # A thread that waits spins for about half a millisecond, then sleeps: where no core is missing the wait is over
    # before; where one is, spinning on, as libgomp does, makes llama.cpp 200 times slower (engines/pace.py does more).
    "GOMP_SPINCOUNT": "10000",
    # torch makes sure when it is imported that its folder for compiled code is there; this one is, and stays as it is.
    "TORCHINDUCTOR_CACHE_DIR": os.sep,
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What a child sees of ``environment``: where things are, nothing that is private, and no network for libraries."""
    return {name: value for name, value in environment.items() if name.upper() in _PASSED_ON} | _FIXED


def threads_for(build: Build, cores: int) -> int:
    """Threads that ``build`` computes with; a tiny text build loses more by waiting than it gains."""
    return threads_for_text(build.size_bytes, cores) if build.kind is Kind.TEXT else max(cores, 1)


def threads_for_text(size_bytes: int, cores: int) -> int:
    """Threads that a text build of this size computes with."""
    return 1 if size_bytes < _TINY_BYTES else max(cores, 1)


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use: its affinity, and the quota of its control group."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores
    if not quota.isdigit() or not period.isdigit():
        return cores
    return max(1, min(cores, int(quota) // max(int(period), 1)))
