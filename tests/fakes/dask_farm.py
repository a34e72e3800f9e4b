"""Two real Dask workers in processes of their own on this machine, asked over TLS."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from nanolocal.compress.work.cluster import Scheduler


@dataclass(frozen=True, slots=True)
class Farm:
    """Two workers with a cache that they share, and who may ask them."""

    cluster: Any
    scheduler: Scheduler
    cache: Path

    def files(self) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in self.cache.rglob("*") if path.is_file()}


@contextmanager
def two_workers(folder: Path) -> Iterator[Farm]:
    """They run until the block ends, a thread each; all they write lies in ``folder``."""
    import distributed

    security = distributed.Security.temporary()
    given = {}
    for name in ("ca_file", "client_cert", "client_key"):
        given[name] = folder / name
        given[name].write_text(getattr(security, f"tls_{name}"))
    with (
        mock.patch.dict(os.environ),  # Dask leaves there what it sets for its workers, such as how memory is kept
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            security=security,
            dashboard_address="127.0.0.1:0",
            env={"NANOLOCAL_HOME": str(folder / "home")},
            local_directory=str(folder / "space"),
        ) as cluster,
    ):
        scheduler = Scheduler(cluster.scheduler_address, given["ca_file"], given["client_cert"], given["client_key"])
        yield Farm(cluster, scheduler, folder / "home/cache/cluster")
