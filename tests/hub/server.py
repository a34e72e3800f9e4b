"""The hub's servers: the endpoint, the host that large files really lie on, and one that nobody should trust."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path

from tests.hub.answers import Handler
from tests.hub.faults import Asked, Plan, no_faults
from tests.hub.stored import Repo
from tests.hub.wire import Wire

HOSTS = ("hub", "cdn", "elsewhere")


@dataclass
class Hub:
    """What it holds, how it behaves, and everything it was asked.

    ``accounts`` are the tokens it knows, each with the gated repositories whose licence was accepted. With a
    ``certificate``, ``wires`` lead to all of its hosts but the one that nobody should trust.
    """

    repos: dict[str, Repo] = field(default_factory=dict)
    accounts: dict[str, set[str]] = field(default_factory=dict)
    plan: Plan = no_faults
    page_size: int = 1000
    knows_ranges: bool = True
    sends_digest: bool = False
    sends_mark: bool = True
    says_length: bool = True
    vouches: bool = True
    certificate: Path | None = None
    asked: list[Asked] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    wires: dict[str, Wire] = field(default_factory=dict)
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def endpoint(self) -> str:
        return self.addresses["hub"]

    def repo(self, id: str = "owner/model") -> Repo:
        return self.repos.setdefault(id, Repo(id))

    def url(self, path: str, id: str = "owner/model") -> str:
        return f"{self.endpoint}/{id}/resolve/main/{path}"

    def served(self, file: str) -> int:
        """Bytes of a file that were sent, over all hosts."""
        return sum(asked.served for asked in self.asked if asked.file == file)

    def authorizations(self, host: str) -> set[str]:
        return {asked.authorization for asked in self.asked if asked.host == host}

    @contextmanager
    def running(self) -> Iterator["Hub"]:
        with ExitStack() as stack:
            for host in HOSTS:
                stack.enter_context(self._serve(host))
            stack.callback(self.closing.set)
            yield self

    @contextmanager
    def _serve(self, host: str) -> Iterator[None]:
        server = _Server(self, host)
        port: int = server.server_address[1]
        with ExitStack() as stack:
            if self.certificate is None or host == "elsewhere":
                self.addresses[host] = f"http://127.0.0.1:{port}"
            else:
                self.wires[host] = Wire(port)
                self.addresses[host] = f"https://localhost:{stack.enter_context(self.wires[host].laid())}"
                server.encrypt(self.certificate)
            thread = threading.Thread(target=server.serve_forever, args=(0.005,), daemon=True)
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()
                server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, hub: Hub, host: str) -> None:
        self.hub = hub
        self.host = host
        super().__init__(("127.0.0.1", 0), Handler)

    def encrypt(self, certificate: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(certificate))
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""
