"""Where the lab's tasks are done on this machine: children that can be ended, and whose end ends nothing else.

llama.cpp ends its process over files and shapes that it does not expect; a child that does is ``EngineFailed``. A
child keeps what it has loaded for the next task on the same build; there are as many as tasks at the same time, and
never more than ``children``.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from nanolocal import errors
from nanolocal.compress.work import tasks
from nanolocal.compress.work.child import Setting
from nanolocal.compress.work.tasks import Measure, Result, Task, Tell
from nanolocal.engines.launch import child_environment, usable_cores
from nanolocal.errors import EngineFailed, NanolocalError, UsageError


class Runner(Protocol):
    """Does tasks, here or elsewhere."""

    async def run(self, task: Task, tell: Tell) -> Result:
        """Do ``task``; ``tell`` gets how much is done, 0..1. Cancelled, it leaves nothing behind."""

    def close(self) -> None:
        """End what runs."""


class Workers:
    """Children over the work folder ``folder``, with so many ``threads`` each (0: the cores, shared among them).

    ``memory_bytes`` is what each may fill, 0 for no limit. All that tasks write has to lie in ``folder``.
    """

    def __init__(self, folder: Path, *, children: int = 1, threads: int = 0, memory_bytes: int = 0) -> None:
        self._folder = folder
        self._threads = threads or max(1, usable_cores() // children)
        self._memory_bytes = memory_bytes
        self._room = asyncio.Semaphore(children)
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()

    async def run(self, task: Task, tell: Tell = lambda done: None) -> Result:
        """Do ``task`` in a child.

        Raises the error of the task, ``EngineFailed`` where the child ended over it. Cancelled, the child is ended.
        """
        out = tasks.writes(task)
        if out is not None and out.parent.resolve() != self._folder.resolve():
            raise UsageError(f"{out.name} is not to be written to the work folder", "")
        async with self._room:
            tasks.prepare(task)
            try:
                result = await self._run_in_child(task, tell)
                await asyncio.to_thread(tasks.finish, task)
            finally:
                tasks.clear(task)
            return result

    async def _run_in_child(self, task: Task, tell: Tell) -> Result:
        child = self._child_for(task)
        self._busy.add(child)
        try:
            result = await child.do(task, tell)
        except BaseException:
            child.end()
            raise
        finally:
            self._busy.discard(child)
        if isinstance(task, Measure):
            child.end()
        else:
            self._idle.append(child)
        return result

    def _child_for(self, task: Task) -> "_Child":
        """One that may read what the task reads; what memory a build takes is measured in one of its own."""
        files = frozenset(str(path) for path in (tasks.source_of(task), *tasks.reads(task)))
        for child in list(self._idle):
            is_dead = child.process.poll() is not None
            if is_dead or (not isinstance(task, Measure) and child.may_read(files)):
                self._idle.remove(child)
                if not is_dead:
                    return child
                child.end()
        if self._idle:
            self._idle.pop(0).end()
        return _Child(Setting(tuple(sorted(files)), str(self._folder), self._threads, self._memory_bytes))

    def close(self) -> None:
        """End all children."""
        for child in (*self._idle, *self._busy):
            child.end()
        self._idle.clear()


class _Child:
    """A process and its pipes. It is started where it is made, as it ends with the thread that did."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        threads = str(setting.threads)
        self.process = subprocess.Popen(
            (sys.executable, "-I", "-X", "utf8", "-W", "ignore", "-m", "nanolocal.compress.work.child"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment(os.environ) | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._to, self._from = self.process.stdin, self.process.stdout
        self._is_told = False

    def may_read(self, files: frozenset[str]) -> bool:
        folder = Path(self._setting.folder).resolve()
        return all(name in self._setting.files or Path(name).resolve().is_relative_to(folder) for name in files)

    async def do(self, task: Task, tell: Tell) -> Result:
        loop = asyncio.get_running_loop()
        return await asyncio.to_thread(self._do, task, lambda done: loop.call_soon_threadsafe(tell, done))

    def _do(self, task: Task, tell: Callable[[float], object]) -> Result:
        with suppress(OSError):  # it has ended: there is nothing to read, either
            if not self._is_told:
                self._send(asdict(self._setting))
                self._is_told = True
            self._send(tasks.to_json(task))
        while line := self._from.readline():
            said = json.loads(line)
            if "done" in said:
                tell(said["done"])
            elif "result" in said:
                return tasks.result_from_json(said["result"])
            else:
                raise _error(said)
        code = self.process.wait()
        what = f"{type(task).__name__.lower()} of {tasks.source_of(task).name}"
        raise EngineFailed(f"llama.cpp gave up over the {what} (exit code {code})", "nanolocal models verify checks it")

    def _send(self, value: Mapping[str, object]) -> None:
        self._to.write(json.dumps(value).encode() + b"\n")
        self._to.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self._to, self._from):
            with suppress(OSError):  # what was not sent
                pipe.close()


def _error(said: Mapping[str, str]) -> NanolocalError:
    kind = getattr(errors, said["failed"], EngineFailed)
    return kind(said["message"], said["hint"]) if issubclass(kind, NanolocalError) else EngineFailed(said["message"])
