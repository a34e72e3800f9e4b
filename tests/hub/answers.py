"""How the hub answers one request."""

import base64
import hashlib
import json
import re
import socket
import struct
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.faults import Asked, Fault, Kind
from tests.hub.stored import Repo, Stored

if TYPE_CHECKING:
    from tests.hub.server import Hub, _Server

NUMBER = "X-Request-Number"
"""The header that says which of ``hub.asked`` is answered."""
_SLICE = 16 * 2**10
_EXTRA = b"surplus"
_LOOP = "loop"


class Handler(BaseHTTPRequestHandler):
    """Answers as ``hub`` (API, resolve), ``cdn`` or ``elsewhere`` (contents by SHA-256), by its server's role."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60

    def setup(self) -> None:
        # What a client that leaves never reads was sent all the same: keep it little.
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 2**10)
        super().setup()

    @property
    def hub(self) -> "Hub":
        return cast("_Server", self.server).hub

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        host = cast("_Server", self.server).host
        parts = urlsplit(self.path)
        sent = self.headers
        self.asked = Asked(host, self.command, self.path, sent.get("Authorization", ""), sent.get("Range", ""))
        self.asked.agent, self.asked.cookie = sent.get("User-Agent", ""), sent.get("Cookie", "")
        self.asked.encoding = sent.get("Accept-Encoding", "")
        with self.hub.lock:
            self.number = len(self.hub.asked)
            self.hub.asked.append(self.asked)
        path = unquote(parts.path)
        if parts.query == _LOOP:
            self._redirect(self.path)
        elif host != "hub":
            self._content_by_name(path.removeprefix("/"))
        elif path.startswith("/api/models/"):
            self._api(path.removeprefix("/api/models/"), parse_qs(parts.query))
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path, re.DOTALL):
            self._resolve(found[1], found[3])
        elif found := re.fullmatch(r"/files/(.+)", path):
            self._plain(found[1])
        else:
            self._refuse(404)

    # the API

    def _api(self, path: str, query: dict[str, list[str]]) -> None:
        found = re.fullmatch(r"([^/]+/[^/]+)/(revision|tree|paths-info)/([^/]+)", path)
        repo = self._open_repo(found[1]) if found else None
        if found is None or repo is None:
            if found is None:
                self._refuse(404)
            return
        match found[2]:
            case "revision":
                siblings = [file.sibling() for file in repo.files.values()]
                shown = {"id": repo.id, "sha": repo.commit, "gated": "manual" if repo.is_gated else False}
                self._json({**shown, "siblings": siblings, "cardData": repo.card})
            case "tree":
                self._tree(repo, int(query.get("cursor", ["0"])[0]))
            case _:
                length = int(self.headers.get("Content-Length", "0"))
                paths = json.loads(self.rfile.read(length))["paths"]
                self._json([repo.files[path].entry() for path in paths if path in repo.files])

    def _tree(self, repo: Repo, first: int) -> None:
        files = [file.entry() for file in repo.files.values()]
        last = first + self.hub.page_size
        headers = {}
        if last < len(files):
            where = f"{self.hub.endpoint}/api/models/{repo.id}/tree/{repo.commit}?recursive=true&expand=true"
            headers["Link"] = f'<{where}&cursor={last}>; rel="next"'
        self._json(files[first:last], headers)

    def _json(self, value: object, headers: dict[str, str] | None = None) -> None:
        fault = self._fault()
        if fault is not None and self._went_wrong(fault):
            return
        body = json.dumps(value).encode()
        self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})})
        self._write(body)

    def _open_repo(self, id: str) -> Repo | None:
        """The repository, if whoever asks may read it; otherwise that was answered."""
        repo = self.hub.repos.get(id)
        token = self.asked.authorization.removeprefix("Bearer ")
        if self.asked.authorization and token not in self.hub.accounts:
            self._refuse(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif repo is None:
            self._refuse(401 if not token else 404, {"X-Error-Code": "RepoNotFound"})
        elif repo.is_gated and id not in self.hub.accounts.get(token, ()):
            message = f"Access to model {id} is restricted."
            self._refuse(403 if token else 401, {"X-Error-Code": "GatedRepo", "X-Error-Message": message})
        else:
            return repo
        return None

    # files

    def _resolve(self, id: str, path: str) -> None:
        repo = self._open_repo(id)
        if repo is None:
            return
        if path not in repo.files:
            self._refuse(404, {"X-Error-Code": "EntryNotFound"})
            return
        file = repo.files[path]
        self.asked.file = path
        if not file.is_lfs:
            self._content(file, {"X-Repo-Commit": repo.commit})
            return
        self.asked.leads_on = True
        fault = self._fault()
        if fault is not None and self._went_wrong(fault):
            return
        headers = {"X-Repo-Commit": repo.commit, "X-Linked-Size": str(file.size)}
        if self.hub.vouches:
            headers["X-Linked-Etag"] = f'"{file.sha256}"'
        self._redirect(f"{self.hub.addresses['cdn']}/{file.sha256}?signature=secret", headers)

    def _plain(self, path: str) -> None:
        """A file at a plain address, of which no hub says anything."""
        file = next((repo.files[path] for repo in self.hub.repos.values() if path in repo.files), None)
        if file is None:
            self._refuse(404)
            return
        self.asked.file = path
        self._content(file, {})

    def _content_by_name(self, sha256: str) -> None:
        with self.hub.lock:
            files = [file for repo in self.hub.repos.values() for file in repo.files.values() if file.is_lfs]
            file = next((file for file in files if file.sha256 == sha256), None)
        if file is None:
            self._refuse(404)
            return
        self.asked.file = file.path
        self._content(file, {})

    def _content(self, file: Stored, headers: dict[str, str]) -> None:
        fault = self._fault()
        if fault is not None and self._went_wrong(fault):
            return
        if fault is not None and fault.kind is Kind.NEW_ETAG:
            file.version += 1
        size, mark = file.size, file.etag
        if self.hub.sends_mark:
            headers["ETag"] = mark
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.asked.range)
        is_whole = asked is None or not self.hub.knows_ranges or self.headers.get("If-Range", mark) != mark
        if is_whole or asked is None or (fault is not None and fault.kind is Kind.WHOLE):
            self._body(200, headers, file.part(0, size), 0, fault)
            return
        start, stop = int(asked[1]), min(size, int(asked[2] or size) + 1)
        if start >= stop or (fault is not None and fault.kind is Kind.UNSATISFIABLE):
            self._refuse(416, {"Content-Range": f"bytes */{size}"})
            return
        shift = 1 if fault is not None and fault.kind is Kind.WRONG_RANGE else 0
        headers["Content-Range"] = f"bytes {start + shift}-{stop - 1 + shift}/{size + shift}"
        self._body(206, headers, file.part(start, stop), start, fault)

    def _body(self, status: int, headers: dict[str, str], body: bytes, start: int, fault: Fault | None) -> None:
        self.asked.start = start
        if self.hub.sends_digest and self.headers.get("Want-Content-Digest"):
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            headers["Content-Digest"] = f"sha-256=:{digest}:"
        kind = None if fault is None else fault.kind
        after = min(len(body), fault.after) if fault else len(body)
        if kind is Kind.TOO_LONG or not self.hub.says_length:
            self._head(status, {**headers, "Transfer-Encoding": "chunked"})
            self._write_chunked(body, _EXTRA if kind is Kind.TOO_LONG else b"")
            return
        self._head(status, {**headers, "Content-Length": str(len(body) - (kind is Kind.TOO_SHORT))})
        match kind:
            case Kind.DISCONNECT | Kind.RESET:
                self._write(body[:after])
                self._hang_up(is_reset=kind is Kind.RESET)
            case Kind.DRIP:
                self._write(body[:after])
                self._drip(body[after:])
            case Kind.FLIP if body:
                self._write(_flipped(body, min(after, len(body) - 1)))
            case Kind.FLIP_BELOW if body:
                self._write(body[: min(after, len(body) - 1)])
                self.hub.wires[self.asked.host].flip(self.client_address[1], after)
                self._write(body[min(after, len(body) - 1) :])
            case Kind.TOO_SHORT:
                self._write(body[:-1])
            case _:
                self._write(body)

    # what goes wrong

    def _fault(self) -> Fault | None:
        if self.command == "HEAD":
            return None
        with self.hub.lock:
            fault = self.hub.plan(self.asked)
        self.asked.fault = fault.kind if fault else None
        return fault

    def _went_wrong(self, fault: Fault) -> bool:
        """Whether the fault was the answer."""
        match fault.kind:
            case Kind.BUSY:
                self._refuse(429, {"Retry-After": fault.says} if fault.says else {})
            case Kind.UNAVAILABLE:
                self._refuse(503, {"Retry-After": fault.says} if fault.says else {})
            case Kind.FORBIDDEN:
                self._refuse(403)
            case Kind.ELSEWHERE | Kind.DOWNGRADE:
                self._redirect(self.hub.addresses["elsewhere"] + self._name())
            case Kind.LOOP:
                self._redirect(f"{urlsplit(self.path).path}?{_LOOP}")
            case _:
                return False
        return True

    def _name(self) -> str:
        """The content that is asked for, as the hosts without an API call it."""
        files = [file for repo in self.hub.repos.values() for file in repo.files.values()]
        return f"/{next(file.sha256 for file in files if file.path == self.asked.file)}"

    def _drip(self, rest: bytes) -> None:
        for byte in rest:
            if self.hub.closing.wait(0.02) or not self._write(bytes([byte])):
                break
        self.close_connection = True

    def _hang_up(self, *, is_reset: bool) -> None:
        self.close_connection = True
        if is_reset:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.request.close()

    # sending

    def _refuse(self, status: int, headers: dict[str, str] | None = None) -> None:
        self._head(status, {"Content-Length": "0", **(headers or {})})

    def _redirect(self, where: str, headers: dict[str, str] | None = None) -> None:
        self._head(302, {"Location": where, "Content-Length": "0", **(headers or {})})

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.asked.status = status
        self.send_response(status)
        self.send_header("Set-Cookie", "who=you; Path=/")
        self.send_header(NUMBER, str(self.number))
        for name, value in headers.items():
            self.send_header(name, value)
        try:
            self.end_headers()
        except OSError:
            self.close_connection = True

    def _write_chunked(self, body: bytes, extra: bytes) -> None:
        for first in range(0, len(body), _SLICE):
            piece = body[first : first + _SLICE]
            if not self._write(b"%x\r\n" % len(piece), counts=False) or not self._write(piece):
                return
            self._write(b"\r\n", counts=False)
        if extra:
            self._write(b"%x\r\n%b\r\n" % (len(extra), extra), counts=False)
        self._write(b"0\r\n\r\n", counts=False)

    def _write(self, body: bytes, *, counts: bool = True) -> bool:
        """Send it, unless only the headers were asked for; whether the client still listens."""
        if self.command == "HEAD":
            return True
        for first in range(0, len(body), _SLICE):
            piece = body[first : first + _SLICE]
            count = len(piece) if counts else 0
            self.asked.served += count  # before it goes: whoever has it may look at once
            try:
                self.wfile.write(piece)
            except OSError:
                self.asked.served -= count
                self.close_connection = True
                return False
        return True


def _flipped(body: bytes, place: int) -> bytes:
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
