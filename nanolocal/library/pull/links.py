"""The only place that speaks HTTP: to whom the token goes, which redirects are followed, how much is read."""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import TYPE_CHECKING, Self

from nanolocal import __version__
from nanolocal.errors import TransferFailed, UsageError
from nanolocal.library.pull.faults import Fault, Patience, Tries
from nanolocal.library.pull.headers import next_link
from nanolocal.library.pull.hops import (
    CHECK_ADDRESS,
    MAX_REDIRECTS,
    endless,
    first_hop,
    next_hop,
    origin,
    parsed,
)
from nanolocal.library.pull.refusals import Refused, refusal
from nanolocal.safetext import safe_line

if TYPE_CHECKING:
    import httpx

MAX_JSON_BYTES = 16 * 2**20
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CONNECT_SECONDS = 15.0
_TRIES_FOR_JSON = 4
_OFFLINE = "check the network, and HF_ENDPOINT if it is set"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer whose body has not been read. ``first`` are the headers of the answer before any redirect.

    ``url`` is where it came from in the end; ``is_hub`` says that this is the endpoint's own origin.
    """

    status: int
    headers: Mapping[str, str]
    first: Mapping[str, str]
    url: str
    is_hub: bool
    has_token: bool
    _response: "httpx.Response"

    def refusal(self) -> Fault | TransferFailed:
        """What to raise where this is not what was asked for."""
        return refusal(Refused(self.status, self.headers, self.url, self.is_hub, self.has_token))

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes; raises ``Fault`` where it breaks off."""
        if self.headers.get("content-encoding", "identity") != "identity":
            raise TransferFailed(
                safe_line(f"{self.url} came compressed, although it was asked for as it is"), CHECK_ADDRESS
            )
        with _http_errors(self.url):
            async for piece in self._response.aiter_raw():
                yield piece


class Links:
    """Connections to a hub, at ``endpoint``, and to wherever it sends us. To be entered with ``async with``.

    The token goes to the endpoint's own origin and nowhere else. With ``allows_plain``, other machines are asked over
    plain http too. ``seconds`` is how long a silent server is waited for; ``says`` hears why something has to wait.
    """

    def __init__(
        self,
        endpoint: str,
        token: str = "",
        *,
        allows_plain: bool = False,
        patience: Patience | None = None,
        seconds: float = 30.0,
        says: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.endpoint = endpoint.rstrip("/")
        self._token = token
        self._allows_plain = allows_plain
        self._patience = patience or Patience()
        self._seconds = seconds
        self._says = says

    async def __aenter__(self) -> Self:
        self._origin = origin(parsed(self.endpoint))
        self._client = _client(self._seconds)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def json(self, path_or_url: str, params: Mapping[str, str] | None = None) -> tuple[object, str | None]:
        """What the hub's API answers, and the address of the next page, if there is one.

        ``path_or_url`` is a path below the endpoint, or an address. Raises ``TransferFailed``.
        """
        url = parsed(path_or_url if "://" in path_or_url else f"{self.endpoint}/{path_or_url.lstrip('/')}")
        url = url.copy_merge_params(params) if params else url
        patience = replace(self._patience, faults_in_a_row=min(self._patience.faults_in_a_row, _TRIES_FOR_JSON))
        tries = Tries(patience, safe_line(url.path), _OFFLINE)
        while True:
            try:
                return await self._json(str(url))
            except Fault as fault:
                wait = tries.wait_after(fault, 0)
                self._says(f"{fault.says}: trying again in {wait:.0f} s")
                await asyncio.sleep(wait)

    async def _json(self, url: str) -> tuple[object, str | None]:
        async with self.get(url, {"Accept": "application/json"}) as reply:
            if reply.status != 200:
                raise reply.refusal()
            body = bytearray()
            async with aclosing(reply.pieces()) as pieces:
                async for piece in pieces:
                    body += piece
                    if len(body) > MAX_JSON_BYTES:
                        says = f"{url} is longer than {MAX_JSON_BYTES >> 20} MiB"
                        raise TransferFailed(safe_line(says), CHECK_ADDRESS)
            following = next_link(reply.headers.get("link", ""))
            try:
                value = json.loads(body)
            except (ValueError, RecursionError) as error:
                says = f"{url} is no hub: what it answers is not JSON"
                raise TransferFailed(safe_line(says), CHECK_ADDRESS) from error
            return value, str(self._after(parsed(reply.url), following)) if following else None

    def check(self, url: str) -> None:
        """Raise ``UsageError`` where ``url`` is no address that may be asked."""
        self._first(url)

    @asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Reply]:
        """The answer to a GET of ``url``, redirects followed. Raises ``Fault``, or ``TransferFailed`` for a bad one.

        ``UsageError`` where it, or what it leads to, may not be asked.
        """
        hop, first = self._first(url), None
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._send(hop, headers)
            try:
                first = response.headers if first is None else first
                following = response.headers.get("location", "") if response.status_code in _REDIRECTS else ""
                if not following:
                    yield self._reply(response, first)
                    return
            finally:
                await response.aclose()
            hop = self._after(hop, following)
        raise endless(url)

    def _first(self, url: str) -> "httpx.URL":
        return first_hop(url, allows_plain=self._allows_plain)

    def _after(self, hop: "httpx.URL", location: str) -> "httpx.URL":
        return next_hop(hop, location, allows_plain=self._allows_plain)

    def _reply(self, response: "httpx.Response", first: Mapping[str, str]) -> Reply:
        url, is_hub = str(response.url), origin(response.url) == self._origin
        return Reply(response.status_code, response.headers, first, url, is_hub, bool(self._token), response)

    async def _send(self, url: "httpx.URL", headers: Mapping[str, str]) -> "httpx.Response":
        sent = {"Accept-Encoding": "identity", "User-Agent": f"nanolocal/{__version__}", **headers}
        if self._token and origin(url) == self._origin:
            sent["Authorization"] = f"Bearer {self._token}"
        with _http_errors(str(url)):
            return await self._client.send(self._client.build_request("GET", url, headers=sent), stream=True)


def _client(seconds: float) -> "httpx.AsyncClient":
    import httpx  # 80 ms

    timeout = httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS), pool=None)
    jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    try:
        return httpx.AsyncClient(follow_redirects=False, timeout=timeout, cookies=jar)
    except (ImportError, ValueError, OSError, ssl.SSLError) as error:
        raise UsageError(
            safe_line(f"the network settings cannot be used: {error}"), "check HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE"
        ) from error


@contextmanager
def _http_errors(url: str) -> Iterator[None]:
    """What httpx raises, as what it means here."""
    import httpx

    try:
        yield
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise TransferFailed(safe_line(f"{url[:200]} cannot be fetched: {error}"), _OFFLINE) from error
    except (httpx.HTTPError, httpx.StreamError, ssl.SSLError) as error:  # the last where a record comes damaged
        host = parsed(url).host
        says = f"{host} fell silent" if isinstance(error, httpx.ReadTimeout) else f"no connection to {host}: {error}"
        raise Fault(safe_line(says).rstrip(": ")) from error
