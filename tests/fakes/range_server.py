"""A loopback HTTP server that serves parts of one file, honestly or with one fault."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread


@dataclass(slots=True)
class Served:
    """What the server did: bytes of the body it sent, and the ``Authorization`` of each request by its path."""

    url: str = ""
    sent: int = 0
    tokens: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def serving(path: Path, *, fault: str = "", redirect_to: str = "") -> Iterator[Served]:
    """Serve ``path`` under any name, or the files of a folder; ``fault`` is what goes wrong (see ``_Handler``)."""
    served = Served()

    class Handler(_Handler):
        pass

    Handler.served, Handler.file, Handler.fault, Handler.redirect_to = served, path, fault, redirect_to
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}/model-Q4_K_M.gguf"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    served: Served
    file: Path
    fault: str
    redirect_to: str

    def do_GET(self) -> None:
        served, fault = self.served, self.fault
        served.tokens.append((self.path, self.headers.get("Authorization", "")))
        if self.redirect_to or fault == "circle":
            self.send_response(302)
            self.send_header("Location", self.redirect_to or self.path)
            self.end_headers()
            return
        place = self.file / self.path.rpartition("/")[2] if self.file.is_dir() else self.file
        size = place.stat().st_size
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if match is None or fault == "whole":
            self._answer(200, b"x", {})
            return
        start, end = int(match[1]), min(int(match[2]) + 1, size)
        with place.open("rb") as file:
            file.seek(start)
            data = file.read(end - start)
        if fault == "elsewhere":
            start, end = start + 1, end + 1
        total = size + (start if fault == "growing" else 0)
        version = f'"{start}"' if fault == "changing" else '"1"'
        if fault == "forbidden":
            self._answer(403, b"", {})
            return
        said = "nonsense" if fault == "nonsense" else f"bytes {start}-{end - 1}/{total}"
        self._answer(206, data[:-1] if fault == "short" else data, {"Content-Range": said, "ETag": version})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.served.sent += len(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
