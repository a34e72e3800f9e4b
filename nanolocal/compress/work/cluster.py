"""The probes of the sensitivity table on more than one machine, by Dask distributed; everything else stays here.

A worker gets the build once, in pieces, into a cache by SHA-256, and verifies it (``farm``); with it go the tokens that
are scored, the reference logits and the importance matrix, each only where ``Public`` names it: what was made from
somebody's own text never leaves. It sends back one number a task. Dask pickles what it sends, so workers and scheduler
are to be trusted, and every connection that leaves this machine has to be TLS with certificates on both sides.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import secrets
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from nanolocal.compress.measuring.calibration import Text, built_in
from nanolocal.compress.measuring.logits import BaseFile
from nanolocal.compress.work import farm
from nanolocal.compress.work.tasks import Chunks, Probe, Result, Task, Tell, Tokenize, reads
from nanolocal.compress.work.workers import Runner, Workers
from nanolocal.errors import Damaged, EngineFailed, UsageError
from nanolocal.formats.splits import parts_of

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")

_PIECE = 8 * 2**20
_AHEAD = 1
"""Tasks that wait at a worker, so that it need not wait for us."""
_TRIES = 3
_LOOK_S = 1.0
_CONNECT_S = 20
_HINT = "give its certificates with --tls-ca, --tls-cert and --tls-key, and an address that begins with tls://"
_INSTALL = "pip install 'nanolocal[cluster]'"


@dataclass(frozen=True, slots=True)
class Scheduler:
    """Where a Dask scheduler listens, as ``tls://host:8786``, and the certificates for it.

    Those that are not given are Dask's own settings (``DASK_DISTRIBUTED__COMM__TLS__CA_FILE`` and the like).
    """

    address: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Public:
    """What may leave this machine besides the build: tokens of ``texts``, ``chunks``, and files made from those.

    Reference logits say themselves which tokens they are about. Statistics do not: only those in the work ``folder`` of
    a run whose text is public leave.
    """

    texts: tuple[str, ...] = ()
    chunks: tuple[Chunks, ...] = ()
    folder: Path | None = None


@dataclass(slots=True, eq=False)
class _Worker:
    address: str
    host: str
    threads: int
    load: int = 0
    has: set[str] = field(default_factory=set)
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class _Lost(Exception):
    """A worker ended before its task did."""


def digest_of(chunks: Chunks) -> str:
    """What identifies chunks: SHA-256 over their tokens, chunk by chunk."""
    return hashlib.sha256(repr(chunks.tokens).encode()).hexdigest()


def check_address(address: str) -> bool:
    """Whether ``address`` is TLS; raises ``UsageError`` for one that is neither that nor on this machine."""
    parts = urlsplit(address)
    if parts.scheme not in ("tls", "tcp") or not parts.hostname:
        raise UsageError(f"{address!r} is no address of a scheduler", "give one such as tls://192.168.1.5:8786")
    if parts.scheme == "tcp" and not _is_here(parts.hostname):
        raise UsageError(f"{address} is another machine, and tcp:// is open to whoever listens in between", _HINT)
    return parts.scheme == "tls"


class Cluster:
    """A ``Runner``: probes run at the workers, all else with ``local``.

    Raises ``UsageError`` for an address that is neither TLS nor on this machine.
    """

    def __init__(self, scheduler: Scheduler, local: Runner, public: Public) -> None:
        self._is_tls = check_address(scheduler.address)
        self._scheduler = scheduler
        self._local = local
        self._public = public
        self._token = secrets.token_hex(8)
        self._client: Client | None = None
        self._joining = asyncio.Lock()
        self._workers: dict[str, _Worker] = {}
        self._refused: dict[str, str] = {}
        self._change = asyncio.Condition()
        self._sending: dict[tuple[str, str], asyncio.Lock] = {}
        self._known = set(map(digest_of, public.chunks))
        self._judging = asyncio.Lock()
        self._judged: dict[str, bool] = {}
        self._digests: dict[tuple[str, int, int], str] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._leaving: asyncio.Future[None] | None = None

    async def join(self) -> None:
        """Connect, and greet the workers that are there; the first probe does so too.

        Raises ``UsageError`` where Dask is missing, the certificates will not do, or no worker runs the same nanolocal;
        ``EngineFailed`` where nobody answers.
        """
        async with self._joining:
            if self._client is not None:
                return
            self._client = await _connected(self._scheduler, is_tls=self._is_tls)
            try:
                await self._look()
                if not self._workers:
                    why = "; ".join(sorted(set(self._refused.values()))) or "none has joined it"
                    raise UsageError(
                        f"the scheduler {self._scheduler.address} has no worker to use: {why}",
                        f"start one there: dask worker {self._scheduler.address} --nthreads 1",
                    )
            except BaseException:
                client, self._client = self._client, None
                await client.close()
                raise
            self._watcher = asyncio.create_task(self._watch())

    @property
    def _dask(self) -> Client:
        assert self._client is not None
        return self._client

    @property
    def addresses(self) -> tuple[str, ...]:
        """The workers that are used."""
        return tuple(sorted(self._workers))

    @property
    def refused(self) -> Mapping[str, str]:
        """The workers that are not, each with the reason."""
        return dict(self._refused)

    async def run(self, task: Task, tell: Tell) -> Result:
        """What ``local`` would return; a worker that ends is replaced by another, or by ``local`` where none is left.

        Raises ``UsageError`` for what may not leave this machine, and what the task itself raises.
        """
        if not isinstance(task, Probe):
            return await self._local.run(task, tell)
        await self.join()
        wanted, travelling = await self._packed(task)
        for _ in range(_TRIES):
            worker = await self._taken()
            if worker is None:
                return await self._local.run(task, tell)
            try:
                await self._seed(worker, wanted)
                found = await self._performed(worker, travelling, tuple(wanted.values()))
            except _Lost:
                continue
            finally:
                await self._freed(worker)
            tell(1.0)
            return found
        raise EngineFailed(f"{_TRIES} workers ended while they did one task", "nanolocal models verify checks the file")

    def close(self) -> None:
        """End what runs here, and leave when the event loop goes on; ``leave`` waits for that."""
        self._local.close()
        self._leaving = self._leaving or asyncio.ensure_future(self._left())

    async def leave(self) -> None:
        """Close, and wait until the workers know; they and what they cached stay."""
        self.close()
        if self._leaving is not None:
            await self._leaving

    async def _left(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            with suppress(asyncio.CancelledError):
                await self._watcher
        if self._client is not None:
            await self._client.close()

    async def _packed(self, task: Probe) -> tuple[dict[Path, farm.Cached], Probe]:
        """The files that a task reads, and the task with keys in place of their paths."""
        if not await self._are_public(task):
            raise UsageError("this text may not leave this machine", "leave out --scheduler, or the text of your own")
        wanted: dict[Path, farm.Cached] = {}
        names: dict[str, str] = {}
        parts = parts_of(Path(task.source.path))
        model = await self._parcel(parts, names, task.source.path)
        wanted |= model
        for path in reads(task):
            extra = await self._parcel((path,), names, str(path))
            if not self._is_public(path, extra[path]):
                raise UsageError(
                    f"{path.name} was not made from public text alone and may not leave this machine",
                    "leave out --scheduler",
                )
            wanted |= extra
        return wanted, farm.relocated(task, names)

    async def _are_public(self, task: Probe) -> bool:
        """Whether a task's tokens are among those of the public texts, cut here as the run cuts them."""
        asked = digest_of(task.chunks)
        async with self._judging:
            for text in self._public.texts if asked not in self._known else ():
                cut = await self._local.run(Tokenize(task.source, text, task.chunks.length), lambda done: None)
                if isinstance(cut, Chunks) and set(task.chunks.tokens) <= set(cut.tokens):
                    self._known.add(asked)
                    break
        return asked in self._known

    def _is_public(self, path: Path, file: farm.Cached) -> bool:
        if file.sha256 not in self._judged:
            folder = self._public.folder
            self._judged[file.sha256] = folder is not None and path.resolve().parent == folder.resolve()
            with suppress(Damaged):
                self._judged[file.sha256] = digest_of(BaseFile.open(path).chunks) in self._known
        return self._judged[file.sha256]

    async def _parcel(self, parts: Iterable[Path], names: dict[str, str], path: str) -> dict[Path, farm.Cached]:
        """Files for one folder, since a split build is loaded by its first part; notes what ``path`` becomes."""
        hashes = {part: await self._hashed(part) for part in parts}
        one = hashlib.sha256("".join(hashes.values()).encode()).hexdigest()
        key = one if len(hashes) > 1 else next(iter(hashes.values()))
        # Names of people's files do not travel; those of split builds count their parts at the end.
        sent = {
            part: farm.Cached(key, _plain_name(part, key), sha256, part.stat().st_size)
            for part, sha256 in hashes.items()
        }
        names[path] = next(iter(sent.values())).place
        return sent

    async def _hashed(self, path: Path) -> str:
        found = path.stat()
        key = (str(path), found.st_size, found.st_mtime_ns)
        if key not in self._digests:
            self._digests[key] = await asyncio.to_thread(farm.digest, path)
        return self._digests[key]

    async def _seed(self, worker: _Worker, wanted: Mapping[Path, farm.Cached]) -> None:
        """See to it that ``worker`` has these files; two workers that share a cache are sent them once."""
        missing = {path: file for path, file in wanted.items() if file.place not in worker.has}
        if not missing:
            return
        async with self._sending.setdefault((worker.host, min(file.key for file in missing.values())), asyncio.Lock()):
            lacking = await self._called(worker, farm.lacks, tuple(missing.values()))
            for path, file in missing.items():
                if file in lacking:
                    await self._send(worker, path, file)
                worker.has.add(file.place)

    async def _send(self, worker: _Worker, path: Path, file: farm.Cached) -> None:
        with path.open("rb") as stream:
            offset = 0
            while data := await asyncio.to_thread(stream.read, _PIECE):
                await self._called(worker, farm.receive, file, self._token, offset, data)
                offset += len(data)
        await self._called(worker, farm.keep, file, self._token)

    async def _called(self, worker: _Worker, function: Callable[..., T], *given: object) -> T:
        """Let a function run beside the worker's tasks; those of ``farm`` alone."""
        running = asyncio.ensure_future(
            self._dask.run(_in_thread, function, *given, workers=[worker.address], wait=True)
        )
        answers: dict[str, T] = await self._unless_gone(worker, running)
        return answers[worker.address]

    async def _performed(self, worker: _Worker, task: Task, wanted: tuple[farm.Cached, ...]) -> Result:
        future = self._dask.submit(
            *(farm.perform_here, task, wanted, worker.threads),
            workers=[worker.address],
            key=f"probe-{secrets.token_hex(8)}",
            pure=False,
        )
        try:
            result: Result = await self._unless_gone(worker, asyncio.ensure_future(_result(future)))
            return result
        except BaseException:
            with suppress(Exception):
                await future.cancel()
            raise

    async def _unless_gone(self, worker: _Worker, running: asyncio.Future[T]) -> T:
        """What comes of ``running``; raises ``_Lost`` when the worker ends first."""
        from distributed import KilledWorker

        leaving = asyncio.ensure_future(worker.gone.wait())
        try:
            await asyncio.wait((running, leaving), return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                return running.result()
            raise _Lost
        except (KilledWorker, OSError) as error:
            await self._look()
            if not worker.gone.is_set():
                await self._forget(worker.address)
            raise _Lost from error
        finally:
            for each in (running, leaving):
                each.cancel()

    async def _taken(self) -> _Worker | None:
        """The worker with the least to do, when one has room; nothing where there is none at all."""
        async with self._change:
            while True:
                if not self._workers:
                    return None
                worker = min(self._workers.values(), key=lambda each: each.load)
                if worker.load <= _AHEAD:
                    worker.load += 1
                    return worker
                await self._change.wait()

    async def _freed(self, worker: _Worker) -> None:
        async with self._change:
            worker.load -= 1
            self._change.notify_all()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            with suppress(OSError):
                await self._look()

    async def _look(self) -> None:
        """Greet the workers that have come, and let go of those that have left."""
        there = await self._dask.scheduler.identity(n_workers=-1)
        addresses = set(there["workers"])
        for address in set(self._workers) - addresses:
            await self._forget(address)
        for address in addresses - set(self._workers) - set(self._refused):
            await self._greet(address, int(there["workers"][address]["nthreads"]))

    async def _greet(self, address: str, threads: int) -> None:
        try:
            check_address(address)
            greeting: farm.Greeting = (await self._dask.run(farm.greet, workers=[address]))[address]
        except UsageError as error:
            self._refused[address] = error.message
        except Exception as error:  # a worker without nanolocal raises whatever its Python does
            self._refused[address] = f"{address} has no nanolocal that works: {type(error).__name__}"
        else:
            ours = farm.greet()
            if (greeting.code, greeting.llama) != (ours.code, ours.llama):
                self._refused[address] = f"{address} has another nanolocal or llama.cpp than this machine"
                return
            async with self._change:
                self._workers[address] = _Worker(address, f"{greeting.host}:{greeting.cache}", threads)
                self._change.notify_all()

    async def _forget(self, address: str) -> None:
        async with self._change:
            worker = self._workers.pop(address, None)
            if worker is not None:
                worker.gone.set()
            self._change.notify_all()


def runners(scheduler: Scheduler, text: Text | None) -> Callable[[Path], Cluster]:
    """What gives a runner for each work folder, for a run about the built-in text and a public one."""
    texts = [built_in(), *([text] if text is not None and text.is_public else [])]
    words = tuple(part for each in texts for part in (each.calibration_text(), each.held_out_text()))
    return lambda folder: Cluster(scheduler, Workers(folder), Public(words, folder=folder))


async def workers_of(scheduler: Scheduler) -> tuple[str, ...]:
    """The addresses of the workers that would be used; raises as ``Cluster.join`` does, and sends nothing."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(scheduler, Workers(Path(folder)), Public())
        try:
            await cluster.join()
            return cluster.addresses
        finally:
            await cluster.leave()


async def _connected(scheduler: Scheduler, *, is_tls: bool) -> Client:
    try:
        from distributed import Client
        from distributed.security import Security
    except ImportError as error:
        raise UsageError("a cluster needs Dask distributed, which is not installed", _INSTALL) from error
    given = {
        "tls_ca_file": scheduler.ca,
        "tls_client_cert": scheduler.certificate,
        "tls_client_key": scheduler.key,
    }
    try:
        files = {name: str(path) for name, path in given.items() if path is not None}
        security = Security(require_encryption=True, **files) if is_tls else Security()
        client = Client(
            scheduler.address, security=security, asynchronous=True, timeout=_CONNECT_S, set_as_default=False
        )
        return await client
    except (OSError, TimeoutError, ValueError, RuntimeError, TypeError) as error:
        raise EngineFailed(
            f"the scheduler {scheduler.address} does not answer: {error}", _HINT if is_tls else ""
        ) from error


async def _result(future: Future) -> Result:
    result: Result = await future
    return result


async def _in_thread(function: Callable[..., T], *given: object) -> T:
    """At the worker: its event loop goes on meanwhile."""
    return await asyncio.to_thread(function, *given)


def _is_here(host: str) -> bool:
    """Whether ``host`` is a loopback address or one of this machine's own."""
    import psutil

    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    own = {entry.address.partition("%")[0] for entries in psutil.net_if_addrs().values() for entry in entries}
    return address.is_loopback or str(address) in own


def _plain_name(path: Path, key: str) -> str:
    found = path.stem.rpartition("-of-")
    is_part = found[1] and found[2].isdigit()
    return f"{key[:16]}{path.stem[-15:] if is_part else ''}{path.suffix}"
