"""A process of its own that fetches one file, to be killed: ``python -m tests.hub.client JOB``, which is JSON.

Says ``done BYTES`` as it goes, and at the end ``complete SHA256`` or ``failed KIND WHY``.
"""

import asyncio
import json
import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from nanolocal.errors import NanolocalError
from nanolocal.library.pull.control import Control
from nanolocal.library.pull.faults import Patience
from nanolocal.library.pull.links import Links
from nanolocal.library.pull.plan import Progress, Wanted
from nanolocal.library.pull.transfer import fetch

PATIENT = Patience(first_wait=0.01, longest_wait=0.1, slow_bytes=4096, slow_seconds=0.2)
"""As in life, but faster."""


@dataclass(frozen=True)
class Job:
    """What it is to fetch. ``largest`` bytes may be written to a file, if not 0, as on a full disk."""

    endpoint: str
    token: str
    url: str
    name: str
    size: int | None
    sha256: str
    folder: str
    connections: int
    chunk_bytes: int
    largest: int = 0

    def argument(self) -> str:
        return json.dumps(asdict(self))


def tell(progress: Progress) -> None:
    print(f"done {progress.done}", flush=True)


async def run(job: Job) -> str:
    wanted = Wanted(job.url, job.name, job.size, job.sha256)
    async with Links(job.endpoint, job.token, patience=PATIENT) as links:
        fetched = await fetch(
            links,
            wanted,
            Path(job.folder),
            Control(connections=job.connections),
            tell,
            chunk_bytes=job.chunk_bytes,
            patience=PATIENT,
            reserve=0,
        )
    return f"complete {fetched.sha256}"


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    if job.largest:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job.largest, job.largest))
    try:
        print(asyncio.run(run(job)), flush=True)
    except NanolocalError as error:
        print(f"failed {type(error).__name__} {error.message}", flush=True)


if __name__ == "__main__":
    main()
