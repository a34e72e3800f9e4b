"""What an engine child may still do once it looks at a model file: read that file and its own libraries, and compute.

A file that takes over llama.cpp or torch then finds no vault, no home, no network and no other program. On Linux alone,
by ``landlock`` and ``seccomp``, each as far as the kernel has it; elsewhere nothing is given up.

``python -I -m nanolocal.engines.isolation`` does that to itself and writes what is in force as one JSON object.
"""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import nanolocal
from nanolocal.engines.launch import child_environment
from nanolocal.engines.protocol import Load, LoadEmbedding, LoadImage
from nanolocal.errors import Damaged
from nanolocal.formats.splits import parts_of

SWITCH = "NANOLOCAL_ISOLATION"
"""The environment variable that switches all this off, should it keep a driver from working."""

_PATIENCE_S = 30
_SYSTEM = (
    "/usr", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store", "/home/linuxbrew/.linuxbrew",
    "/etc/ld.so.cache", "/etc/localtime", "/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf", "/etc/crypto-policies",
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm", "/sys/devices/system",
    "/sys/kernel/mm", "/sys/fs/cgroup", "/dev/random", "/dev/urandom",
)  # fmt: skip
_GPU_SYSTEM = (
    "/opt", "/sys", "/proc/devices", "/proc/driver", "/proc/modules", "/proc/version", "/etc/OpenCL", "/etc/vulkan",
)  # fmt: skip
_GPU_DEVICES = {
    "cuda": ("nvidia*", "dxg"),
    "hip": ("kfd", "dri", "dxg"),
    "vulkan": ("dri", "nvidia*", "dxg"),
    "sycl": ("dri", "dxg"),
    "xpu": ("dri", "dxg"),
}
"""What the parts of llama.cpp and torch for graphics cards work through, in /dev; none is granted without its part."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """What binds a process: the ABI of Landlock, 0 for none, and whether its system calls are filtered.

    ``problems`` says what does not bind it, and why.
    """

    landlock: int = 0
    has_filter: bool = False
    problems: tuple[str, ...] = ()


def isolate(package: str, files: Iterable[Path] = (), snapshots: Path | None = None) -> Isolation:
    """Give up all but ``package`` and its devices, ``files`` to read, and those in the folder ``snapshots`` to rewrite.

    It goes on with what the system cannot enforce. To be called before there is a second thread: one that runs already
    stays free.
    """
    if sys.platform != "linux":
        return Isolation(problems=("only Linux can isolate an engine",))
    if os.environ.get(SWITCH) == "off":
        return Isolation(problems=(f"switched off by {SWITCH}",))
    from nanolocal.engines import landlock, seccomp

    # Its entry in /proc is made anew when the kernel is short of memory, and no rule would be about it, unless it is
    # held open.
    os.open("/proc/self", os.O_PATH)
    grants = [(place, landlock.READ) for place in (*map(Path, _SYSTEM), *_libraries(), *files)]
    grants.append((Path(os.devnull), landlock.REWRITE))
    if snapshots is not None:
        grants.append((snapshots, landlock.REWRITE))
    if devices := _gpu_devices(package):
        grants += [(Path(place), landlock.READ) for place in _GPU_SYSTEM]
        grants += [(device, landlock.USE_DEVICE) for device in devices]
    abi, has_filter, problems = 0, False, []
    try:
        abi = landlock.restrict(grants)
    except OSError as error:
        problems.append(f"Landlock: {_reason(error)}")
    try:
        seccomp.restrict()
        has_filter = True
    except OSError as error:
        problems.append(f"seccomp: {_reason(error)}")
    return Isolation(abi, has_filter, tuple(problems))


def isolate_for(load: Load) -> Isolation:
    """Give up all that the build does not need."""
    if isinstance(load, LoadImage):
        places = [Path(name) for name in (load.path, load.base, *load.places) if name]
        return isolate("torch", [file for place in places for file in files_below(place)])
    if isinstance(load, LoadEmbedding):
        return isolate("llama_cpp", files_of(Path(load.path)))
    files = [part for name in (load.path, load.projector, load.draft) if name for part in files_of(Path(name))]
    return isolate("llama_cpp", files, Path(load.snapshots) if load.snapshots else None)


def files_of(path: Path) -> list[Path]:
    """The GGUF file that begins with ``path``, in all its parts, as far as it is there."""
    try:
        parts = parts_of(path)
    except Damaged:
        return []
    return [part for part in parts if part.is_file()]


def files_below(folder: Path) -> list[Path]:
    """A folder, and the files elsewhere that links in it lead to; a file is just that."""
    return [folder, *(path for path in folder.rglob("*") if path.is_symlink() and path.is_file())]


def ask() -> Isolation:
    """What is in force in a child."""
    command = (sys.executable, "-I", "-X", "utf8", "-W", "ignore", "-m", "nanolocal.engines.isolation")
    try:
        said = subprocess.run(
            command, capture_output=True, timeout=_PATIENCE_S, check=True, env=child_environment(os.environ)
        ).stdout
        told = json.loads(said)
        return Isolation(told["landlock"], told["has_filter"], tuple(told["problems"]))
    except (OSError, subprocess.SubprocessError, ValueError, TypeError, KeyError):
        return Isolation(problems=("an isolated child does not even start",))


def _libraries() -> Iterator[Path]:
    """Where Python looks for modules, and where those keep their libraries; of a source tree the package alone."""
    package = Path(nanolocal.__file__).parent
    yield package
    for prefix in {sys.prefix, sys.base_prefix}:
        yield from (Path(prefix) / name for name in ("lib", "lib64"))
    home = Path("~").expanduser()
    for entry in map(Path, sys.path):
        is_source_tree = entry == package.parent and entry.name not in {"site-packages", "dist-packages"}
        if entry.is_absolute() and not is_source_tree and not home.is_relative_to(entry):
            yield entry


@cache
def has_graphics_card(package: str) -> bool:
    """Whether ``package`` has a part for graphics cards that there are here."""
    return bool(_gpu_devices(package))


def _gpu_devices(package: str) -> list[Path]:
    """What it needs of /dev, by the libraries among its files: none is loaded to find out."""
    found = find_spec(package)
    if found is None or found.origin is None:
        return []
    libraries = Path(found.origin).parent / "lib"
    parts = [part for part in _GPU_DEVICES if any(libraries.glob(f"lib*[-_]{part}*"))]
    return [device for part in parts for name in _GPU_DEVICES[part] for device in Path("/dev").glob(name)]


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSYS, errno.EINVAL):
        return "this kernel has none"
    if error.errno == errno.EOPNOTSUPP:
        return "switched off when this kernel was started (lsm=)"
    return error.strerror or str(error)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(isolate("llama_cpp"))))
