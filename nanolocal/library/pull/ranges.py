"""Parts of a file on a server, by HTTP Range: enough of it to know a model before it is fetched."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from nanolocal.errors import TransferFailed, UsageError
from nanolocal.library.pull.faults import Fault
from nanolocal.library.pull.refusals import Refused, refusal
from nanolocal.safetext import safe_line

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 30.0
_MOST_REDIRECTS = 5
_PROBE_BYTES = 1
_HINT = "try again, or another address"


@dataclass(frozen=True, slots=True)
class _Part:
    """What one answer held: the bytes, the size of the whole file, and its version (ETag)."""

    data: bytes
    total: int
    version: str


class RemoteFile:
    """A file at ``url``, of a hub if ``is_hub``. ``token`` goes to the host of ``url``, never where that redirects."""

    def __init__(self, client: "httpx.Client", url: str, token: str, is_hub: bool) -> None:
        self._client = client
        self._url = url
        self._token = token
        self._is_hub = is_hub
        first = self._fetch(0, _PROBE_BYTES)
        self.size = first.total
        self._version = first.version

    def read_range(self, start: int, end: int) -> bytes:
        """The bytes from ``start`` up to ``end``; raises ``TransferFailed``, also when the file changed meanwhile."""
        part = self._fetch(start, end)
        if (part.total, part.version) != (self.size, self._version):
            raise TransferFailed("the file changed on the server while it was read", "try again")
        return part.data

    def _fetch(self, start: int, end: int) -> _Part:
        import httpx

        url = self._url
        try:
            for _ in range(_MOST_REDIRECTS + 1):
                with self._client.stream("GET", url, headers=self._headers(url, start, end)) as answer:
                    if not answer.has_redirect_location:
                        return self._part(answer, start, end)
                    url = _next(url, answer.headers["location"])
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TransferFailed(f"{_host(url)} cannot be read: {safe_line(str(error))}", _HINT) from error
        raise TransferFailed(f"{_host(self._url)} redirects without end", _HINT)

    def _part(self, answer: "httpx.Response", start: int, end: int) -> _Part:
        if answer.status_code not in (200, 206):
            url = str(answer.url)
            is_hub = self._is_hub and _origin(url) == _origin(self._url)
            why = refusal(Refused(answer.status_code, answer.headers, url, is_hub, bool(self._token)))
            raise TransferFailed(why.says, _HINT) if isinstance(why, Fault) else why
        return _part(answer, start, end)

    def _headers(self, url: str, start: int, end: int) -> Mapping[str, str]:
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        if self._token and _origin(url) == _origin(self._url):
            headers["Authorization"] = f"Bearer {self._token}"
        return headers


@contextmanager
def open_remote(url: str, token: str = "", *, is_hub: bool = False) -> Iterator[RemoteFile]:
    """Open the file at an http(s) address, of a hub or not; raises ``UsageError`` for another kind of address.

    ``TransferFailed`` when it cannot be opened, ``AccessRefused`` where a hub wants a token.
    """
    import httpx

    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise UsageError(f"{safe_line(url)} is no http address", "give the address of a .gguf file")
    with httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=True) as client:
        yield RemoteFile(client, url, token, is_hub)


def _part(answer: "httpx.Response", start: int, end: int) -> _Part:
    """Check an answer and read no more of it than was asked for."""
    host = _host(str(answer.url))
    if answer.status_code == 200:
        raise TransferFailed(f"{host} sends whole files only, so the header cannot be read alone", _HINT)
    first, last, total = _content_range(answer.headers.get("content-range", ""), host)
    if first != start or last != min(end, total) - 1:
        raise TransferFailed(f"{host} sends bytes {first}-{last} instead of {start}-{end - 1}", _HINT)
    data = bytearray()
    for piece in answer.iter_raw():
        data += piece
        if len(data) > last + 1 - first:
            raise TransferFailed(f"{host} sends more than it was asked for", _HINT)
    if len(data) != last + 1 - first:
        raise TransferFailed(f"{host} stopped after {len(data)} of {last + 1 - first} bytes", _HINT)
    return _Part(bytes(data), total, answer.headers.get("etag", ""))


def _content_range(text: str, host: str) -> tuple[int, int, int]:
    """First and last byte and the size of the whole from ``bytes 0-9/100``."""
    unit, _, rest = text.partition(" ")
    place, _, total = rest.partition("/")
    first, _, last = place.partition("-")
    if unit != "bytes" or not (first.isdecimal() and last.isdecimal() and total.isdecimal()):
        raise TransferFailed(f"{host} does not say which bytes it sends: {safe_line(text)[:80]!r}", _HINT)
    return int(first), int(last), int(total)


def _next(url: str, location: str) -> str:
    """Where a redirect leads; raises ``TransferFailed`` when that is no longer encrypted."""
    target = urljoin(url, location)
    if urlsplit(target).scheme not in ("http", "https"):
        raise TransferFailed(f"{_host(url)} redirects to something that is no web address", _HINT)
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise TransferFailed(f"{_host(url)} redirects to an address without encryption", _HINT)
    return target


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _host(url: str) -> str:
    return safe_line(urlsplit(url).hostname or url)[:100]
