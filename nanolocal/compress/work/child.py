"""A child that does the lab's tasks, one after the other: ``python -I -m nanolocal.compress.work.child``.

The first line of standard input is a ``Setting`` (JSON), each further one a task. It writes a line for each step of
progress, and one with the result or what went wrong. Files it can only read, but for those in the work folder.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from nanolocal.engines.isolation import files_of, isolate
from nanolocal.errors import EngineFailed, NanolocalError, OutOfMemory, place_of
from nanolocal.hardening import end_with_parent, harden_process

_STEPS = 200
"""How finely progress is told."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a child may read and write, its threads, and the memory that it may fill (0: as much as there is)."""

    files: tuple[str, ...]
    folder: str
    threads: int
    memory_bytes: int = 0


def limit_memory(size: int) -> None:
    """Let this process fill at most ``size`` bytes of its own, where the system can hold it to that."""
    if size <= 0 or sys.platform != "linux":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def main() -> int:
    """Do what comes on standard input until it ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no answer
    end_with_parent()
    harden_process()
    setting = Setting(**json.loads(sys.stdin.readline()))
    # Later Python could not store what it compiles.
    from nanolocal.compress.native.library import ggml
    from nanolocal.compress.work import doing, tasks

    told = -1

    def say(answer: dict[str, object]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    def tell(done: float) -> None:
        nonlocal told
        if (step := int(done * _STEPS)) != told:
            told = step
            say({"done": done})

    try:
        ggml()
        files = [part for name in setting.files for part in files_of(Path(name))]
        isolate("llama_cpp", files, Path(setting.folder))
        limit_memory(setting.memory_bytes)
        keeper = doing.Keeper()
        for line in sys.stdin:
            told = -1
            task = tasks.task_from_json(json.loads(line))
            say({"result": tasks.to_json(keeper.do(task, tell, setting.threads))})
    except NanolocalError as problem:
        say(_failed(problem))
    except MemoryError:
        say(_failed(OutOfMemory("there is not enough memory for this step", "choose a smaller build, or fewer tokens")))
    except Exception as problem:  # whatever a library raises, the parent gets one clear line
        say(_failed(EngineFailed(f"the compression lab failed: {place_of(problem)}", "")))
    return 0


def _failed(problem: NanolocalError) -> dict[str, object]:
    return {"failed": type(problem).__name__, "message": problem.message, "hint": problem.hint}


if __name__ == "__main__":
    sys.exit(main())
