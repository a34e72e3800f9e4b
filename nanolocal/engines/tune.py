"""The fastest settings of a build here, looked for in a child (``tuner``) that ends with the answer."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict

from nanolocal.chat.routes import Build
from nanolocal.chat.tuning import Tuning
from nanolocal.engines.launch import child_environment, threads_for, usable_cores
from nanolocal.engines.search import Tried
from nanolocal.engines.tuner import Question
from nanolocal.errors import EngineFailed


def question_for(build: Build) -> Question:
    """What is to be found out about ``build`` on this machine: fewer threads, and for a tiny build more."""
    cores = usable_cores()
    usual = threads_for(build, cores)
    others = {1, cores // 2, cores - 1, cores} - {usual, 0}
    return Question(str(build.path), usual, tuple(sorted(others)), n_ctx=min(1024, build.context_length or 1024))


async def tune(question: Question, tell: Callable[[Tried], None]) -> tuple[Tuning, float]:
    """What was found, and how many times as fast that is. Raises ``EngineFailed``; cancelled, it ends the child."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-X", "utf8", "-W", "ignore", "-m", "nanolocal.engines.tuner"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=child_environment(os.environ),
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(asdict(question)).encode())
        process.stdin.close()
        while line := await process.stdout.readline():
            said = json.loads(line)
            if "tried" in said:
                tell(Tried(**said["tried"]))
            elif "found" in said:
                return Tuning(**said["found"]), float(said["gain"])
            else:
                raise EngineFailed(str(said["failed"]), "nanolocal models verify checks the file")
        code = await process.wait()
        raise EngineFailed(f"the measurement ended with exit code {code}", "nanolocal models verify checks the file")
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
