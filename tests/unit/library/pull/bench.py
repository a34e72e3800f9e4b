"""A library that pulls from the hub of the tests, and what lies in its folders then."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from nanolocal.library.adopted import Adopted
from nanolocal.library.catalogue.shelf import Catalogue
from nanolocal.library.library import Library
from nanolocal.library.pull.choosing import Pick, best_that_fits
from nanolocal.library.pull.control import Control
from nanolocal.library.pull.plan import Progress
from nanolocal.library.pull.pulling import Done, Source, pull
from nanolocal.library.pull.references import parse
from nanolocal.library.pull.running import Prepared
from tests.fakes import stores
from tests.hub.server import Hub
from tests.hub.stored import Stored

NO_CATALOGUE = Catalogue(())


@dataclass
class Bench:
    hub: Hub
    root: Path
    token: str = ""
    endpoint: str = ""
    pick: Pick = field(default_factory=lambda: best_that_fits(10**12, 1e15))
    said: list[str] = field(default_factory=list)
    told: list[Progress] = field(default_factory=list)
    on_progress: Callable[[Progress, Control], None] = lambda now, control: None

    @property
    def models(self) -> Path:
        return self.root / "models"

    def library(self) -> Library:
        return Library([self.models], self.root / "cache" / "builds.json", Adopted(self.root / "adopted.json"))

    def pull(
        self,
        typed: str,
        file: str = "",
        *,
        agrees: bool = True,
        catalogue: Catalogue = NO_CATALOGUE,
        allows_plain: bool = False,
    ) -> Done:
        """As a face does it."""
        endpoint = self.endpoint or self.hub.endpoint
        self.asked: list[Prepared] = []

        def agree(prepared: Prepared, free: int) -> bool:
            self.asked.append(prepared)
            return agrees

        async def run() -> Done:
            control = Control()

            def tell(now: Progress) -> None:
                self.told.append(now)
                self.on_progress(now, control)

            source = Source(endpoint, self.token, self.models, self.library(), self.pick, allows_plain)
            return await pull(source, parse(typed, "", catalogue), file, control, agree, tell, self.said.append)

        return asyncio.run(run())

    def held(self) -> dict[str, bytes]:
        """Every file below the root but caches, cards and chunk hashes."""
        return {
            path.relative_to(self.root).as_posix(): path.read_bytes()
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and path.name != "card.json" and path.parent.name not in ("cache", ".pulled")
        }


@contextmanager
def a_bench(root: Path) -> Iterator[Bench]:
    with Hub().running() as hub:
        yield Bench(hub, root)


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """A server that says the same to everybody; its address."""

    class Same(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Same) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def gguf(bench: Bench, path: str, repo: str = "owner/model", **facts: object) -> Stored:
    """Put a small real GGUF into a repository."""
    scratch = bench.root.with_name(f"{bench.root.name}-scratch")
    name = hashlib.sha256(f"{repo}/{path}".encode()).hexdigest()
    written = stores.write_gguf(scratch / name, path, **facts)  # type: ignore[arg-type]
    return bench.hub.repo(repo).add(path, written.read_bytes())
