"""Memory by asking llama.cpp: a child opens the header without reading a weight and reports every buffer.

It takes a second or two, so answers are kept, by the header's hash, the context and the version of the library.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from nanolocal.errors import Damaged, EngineFailed
from nanolocal.library.fit.caches import caches_of
from nanolocal.library.fit.compute import work_per_cell
from nanolocal.library.fit.formula import BATCH, uses_flash, weights_of
from nanolocal.library.fit.layout import Layout
from nanolocal.library.fit.process import per_cell
from nanolocal.library.fit.remote import Header
from nanolocal.library.fit.repacking import Rows, rows_here
from nanolocal.library.jsonfiles import read_object, write_object
from nanolocal.safetext import safe_line

TIMEOUT_S = 60.0
_PASSED_ON = (
    "PATH", "HOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "SYSTEMROOT", "NANOLOCAL_ISOLATION",
)  # fmt: skip
_MAX_ROWS = 2000
_MAX_CACHE_BYTES = 2**20
_MAX_REASON = 200
_ASKED = 3
"""Goes up when the engine makes its contexts otherwise: answers that were kept before are not used then."""
_HOST = 4_500_000
"""What the child that answers holds beyond the one that only asks: its modules, threads and work buffers."""


@dataclass(frozen=True, slots=True)
class Probed:
    """Bytes, as llama.cpp reports them. ``process`` is the asking child itself, ``process_peak`` the most it was.

    ``work`` is what llama.cpp takes only when it computes, for all of the context.
    """

    cache: int
    compute: int
    on_devices: int
    output: int
    process: int
    process_peak: int
    work: int

    def needed(self, layout: Layout, n_ctx: int, rows: Rows | None = None) -> int:
        """What has to be free to run with ``n_ctx`` tokens."""
        weights = weights_of(layout, rows_here() if rows is None else rows)
        return weights.used + max(self.process_peak + weights.copied, self._running(weights.copied, n_ctx))

    def peak(self, layout: Layout, n_ctx: int, rows: Rows | None = None) -> int:
        """The most that the engine's process will show."""
        weights = weights_of(layout, rows_here() if rows is None else rows)
        loading = weights.file + self.process_peak + weights.copied
        return max(loading, weights.mapped + self._running(weights.copied, n_ctx))

    def _running(self, copied: int, n_ctx: int) -> int:
        buffers = self.cache + self.compute + self.output + self.work
        return self.process + _HOST + copied + buffers + per_cell(has_attention=self.cache > 0) * n_ctx


def probe(path: Path, layout: Layout, n_ctx: int, kv: str = "f16", *, cache: Path | None = None) -> Probed:
    """Ask about the file at ``path``; raises ``EngineFailed`` with the reason when llama.cpp does not take it."""
    key = _key(path, layout, n_ctx, kv)
    kept = _read(cache)
    known = _known(kept.get(key))
    if known is None:
        work = n_ctx * work_per_cell(layout, caches_of(layout), BATCH, flash=uses_flash(kv))
        known = _ask(path, n_ctx, kv, work)
        _keep(cache, kept, key, known)
    return known


@contextmanager
def stand_in(headers: Sequence[Header]) -> Iterator[Path]:
    """The first of files that begin with ``headers`` and are holes otherwise, for a model that is not here."""
    total = len(headers)
    with tempfile.TemporaryDirectory(prefix="nanolocal-") as folder:
        names = [f"header-{number:05d}-of-{total:05d}.gguf" for number in range(1, total + 1)]
        paths = [Path(folder) / name for name in names]
        for path, header in zip(paths, headers, strict=True):
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(header.content)
                file.truncate(header.size)
        yield paths[0]


def _ask(path: Path, n_ctx: int, kv: str, work: int) -> Probed:
    question = json.dumps({"path": str(path.absolute()), "n_ctx": n_ctx, "kv": kv})
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    command = [sys.executable, "-I", "-X", "utf8", "-W", "ignore", "-m", "nanolocal.engines.probe"]
    try:
        done = subprocess.run(
            command,
            input=question,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            env=environment | {"GGML_NO_BACKTRACE": "1"},
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineFailed(f"llama.cpp did not say within {TIMEOUT_S:.0f} seconds what {path.name} takes") from error
    answer = _object(done.stdout)
    if "refused" in answer:
        reason = safe_line(str(answer["refused"]))[:_MAX_REASON]
        raise EngineFailed(f"llama.cpp does not take {path.name}: {reason}")
    probed = _known(answer | {"work": work})
    if probed is None:
        raise EngineFailed(f"llama.cpp ended while it looked at {path.name} (exit code {done.returncode})")
    return probed


def _object(text: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _known(row: object) -> Probed | None:
    """What a row says, or nothing when it is damaged."""
    if not isinstance(row, dict):
        return None
    values = {name: row.get(name) for name in Probed.__dataclass_fields__}
    sizes = {name: value for name, value in values.items() if isinstance(value, int) and value >= 0}
    return Probed(**sizes) if len(sizes) == len(values) else None


def _key(path: Path, layout: Layout, n_ctx: int, kv: str) -> str:
    with path.open("rb") as file:
        header = hashlib.sha256(file.read(layout.spans[0].data_start)).hexdigest()
    try:
        library = version("llama-cpp-python")
    except PackageNotFoundError:
        library = ""
    return f"{header}|{n_ctx}|{kv}|{BATCH}|{library}|{_ASKED}"


def _read(cache: Path | None) -> dict[str, object]:
    if cache is None:
        return {}
    try:
        return read_object(cache, _MAX_CACHE_BYTES)
    except (OSError, Damaged):
        return {}


def _keep(cache: Path | None, kept: Mapping[str, object], key: str, probed: Probed) -> None:
    """Write the answer down; a cache that cannot be written is not an error."""
    if cache is None:
        return
    rows = dict([*kept.items(), (key, asdict(probed))][-_MAX_ROWS:])
    try:
        write_object(cache, rows, durably=False)
    except OSError:
        return
