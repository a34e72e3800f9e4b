"""Parts of a file on a server, by HTTP Range: enough of it to know a model before it is fetched."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nanolocal.errors import TransferFailed
from nanolocal.library.pull.faults import Fault
from nanolocal.library.pull.headers import content_range
from nanolocal.library.pull.hops import MAX_REDIRECTS, endless, first_hop, next_hop, origin
from nanolocal.library.pull.refusals import Refused, refusal
from nanolocal.safetext import safe_line

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 30.0
_PROBE_BYTES = 1
_HINT = "try again, or another address"


@dataclass(frozen=True, slots=True)
class _Part:
    """What one answer held: the bytes, the size of the whole file, and its version (ETag)."""

    data: bytes
    total: int
    version: str


class Remote:
    """A file at ``url``, of a hub if ``is_hub``. ``token`` goes to the origin of ``url`` and nowhere else."""

    def __init__(self, client: "httpx.Client", url: str, token: str, *, is_hub: bool, allows_plain: bool) -> None:
        self._client = client
        self._url = first_hop(url, allows_plain=allows_plain)
        self._allows_plain = allows_plain
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
            for _ in range(MAX_REDIRECTS + 1):
                with self._client.stream("GET", url, headers=self._headers(url, start, end)) as answer:
                    if not answer.has_redirect_location:
                        return self._part(answer, start, end)
                    url = next_hop(url, answer.headers["location"], allows_plain=self._allows_plain)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TransferFailed(safe_line(f"{url.host} cannot be read: {error}"), _HINT) from error
        raise endless(str(self._url))

    def _part(self, answer: "httpx.Response", start: int, end: int) -> _Part:
        if answer.status_code not in (200, 206):
            is_hub = self._is_hub and origin(answer.url) == origin(self._url)
            why = refusal(Refused(answer.status_code, answer.headers, str(answer.url), is_hub, bool(self._token)))
            raise TransferFailed(why.says, _HINT) if isinstance(why, Fault) else why
        return _part(answer, start, end)

    def _headers(self, url: "httpx.URL", start: int, end: int) -> Mapping[str, str]:
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        if self._token and origin(url) == origin(self._url):
            headers["Authorization"] = f"Bearer {self._token}"
        return headers


@contextmanager
def open_remote(url: str, token: str = "", *, is_hub: bool = False, allows_plain: bool = False) -> Iterator[Remote]:
    """Open the file at an http(s) address, of a hub or not; raises ``UsageError`` for one that may not be asked.

    ``TransferFailed`` when it cannot be opened, ``AccessRefused`` where a hub wants a token.
    """
    import httpx

    with httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=True) as client:
        yield Remote(client, url, token, is_hub=is_hub, allows_plain=allows_plain)


def _part(answer: "httpx.Response", start: int, end: int) -> _Part:
    """Check an answer and read no more of it than was asked for."""
    host = safe_line(answer.url.host)
    if answer.status_code == 200:
        raise TransferFailed(f"{host} sends whole files only, so the header cannot be read alone", _HINT)
    part = content_range(answer.headers.get("content-range", ""))
    if part is None or part.total is None:
        raise TransferFailed(f"{host} does not say which bytes of how many it sends", _HINT)
    if (part.start, part.stop) != (start, min(end, part.total)):
        raise TransferFailed(f"{host} sends bytes {part.start}-{part.stop - 1} instead of {start}-{end - 1}", _HINT)
    data, length = bytearray(), part.stop - part.start
    for piece in answer.iter_raw():
        data += piece
        if len(data) > length:
            raise TransferFailed(f"{host} sends more than it was asked for", _HINT)
    if len(data) != length:
        raise TransferFailed(f"{host} stopped after {len(data)} of {length} bytes", _HINT)
    return _Part(bytes(data), part.total, answer.headers.get("etag", ""))
