"""What a server's refusal means to the user: worth another try, or the end, with the next step."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from nanolocal.errors import AccessRefused, TransferFailed
from nanolocal.library.pull.faults import Fault
from nanolocal.library.pull.headers import retry_after
from nanolocal.safetext import safe_line

BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""What a server says that may answer well another time."""
_MOST_WORDS = 200
_KEEP_ONE = "nanolocal models token"


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer that is not the thing asked for. ``is_hub`` says that it came from the endpoint itself."""

    status: int
    headers: Mapping[str, str]
    url: str
    is_hub: bool
    has_token: bool


def refusal(what: Refused) -> Fault | TransferFailed:
    """The error to raise for it."""
    host, path = urlsplit(what.url).netloc.rpartition("@")[2], urlsplit(what.url).path
    if what.status in BUSY:
        wait = retry_after(what.headers.get("retry-after", ""), time.time())
        why = "asks to wait" if what.status == 429 else f"cannot answer now ({what.status})"
        return Fault(safe_line(f"{host} {why}"), wait)
    if what.status in (401, 403):
        return _no_access(what, host)
    if what.status in (404, 410):
        return TransferFailed(
            safe_line(f"{host} has no {path}{_words(what.headers)}"), "check the name; private models need a token"
        )
    says = safe_line(f"{host} refused {path}: status {what.status}{_words(what.headers)}")
    return TransferFailed(says, "check the address, or try again later")


def _no_access(what: Refused, host: str) -> TransferFailed:
    says = safe_line(f"{host} refused access ({what.status}){_words(what.headers)}")
    if not what.is_hub:
        return TransferFailed(says, "tokens are sent to the hub alone: check the address")
    page = _page(what.url)
    if what.headers.get("x-error-code") == "GatedRepo":
        token = "with the account of your token" if what.has_token else f"and keep a token of your account: {_KEEP_ONE}"
        return AccessRefused(says, safe_line(f"accept the licence at {page} {token}"))
    if what.has_token:
        return AccessRefused(says, "the token does not open this: check the name and what the token may read")
    return AccessRefused(says, safe_line(f"check the name; if {page} is private, keep a token: {_KEEP_ONE}"))


def _page(url: str) -> str:
    """Where people read about the repository that ``url`` is about."""
    parts = urlsplit(url)
    path = parts.path.replace("/api/models/", "/", 1)
    for inner in ("/resolve/", "/revision/", "/tree/", "/paths-info/"):
        path = path.partition(inner)[0]
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}"


def _words(headers: Mapping[str, str]) -> str:
    """What the hub itself says about it."""
    words = headers.get("x-error-message", "")[:_MOST_WORDS]
    return f": {words}" if words else ""
