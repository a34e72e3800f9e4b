"""Addresses, and the way from one to the next: where a redirect may lead, and what is one origin.

Plain http goes no further than this machine, unless the user ``allows_plain``: hash and bytes would come over a wire
that anybody on it can write to.
"""

from ipaddress import ip_address
from typing import TYPE_CHECKING

from nanolocal.errors import TransferFailed, UsageError
from nanolocal.safetext import safe_line

if TYPE_CHECKING:
    import httpx

MAX_REDIRECTS = 10
CHECK_ADDRESS = "check the address, and HF_ENDPOINT if it is set"
_ENCRYPT = "use https://; for a mirror in your own network: --insecure, or insecure_hub = true in the settings"


def parsed(url: str) -> "httpx.URL":
    """``url`` in its parts; raises ``UsageError`` where it has none."""
    import httpx

    try:
        return httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise UsageError(safe_line(f"{url[:200]!r} is no address: {error}")) from error


def first_hop(url: str, *, allows_plain: bool) -> "httpx.URL":
    """Where the way begins; raises ``UsageError`` for anything but a web address that may be asked."""
    first = parsed(url)
    if not _is_on_the_web(first):
        raise UsageError(safe_line(f"{url[:200]!r} is no web address"), "give one that begins with https://")
    _check_encryption(first, allows_plain)
    return first


def next_hop(hop: "httpx.URL", location: str, *, allows_plain: bool) -> "httpx.URL":
    """Where ``location`` leads; a name and password in it are nobody's business but that of the same origin.

    Raises ``TransferFailed`` where that is no web address, ``UsageError`` where it is one without encryption that may
    not be asked, which after one with encryption is every one.
    """
    following = _joined(hop, location)
    if not _is_on_the_web(following):
        says = f"{hop.host} leads to {str(following)[:200]!r}, which is no web address"
        raise TransferFailed(safe_line(says), CHECK_ADDRESS)
    if hop.scheme == "https" and following.scheme == "http":
        says = safe_line(f"{hop.host} leads to {following.host} without encryption: refused")
        raise UsageError(says, "use another hub or address")
    _check_encryption(following, allows_plain)
    return following if origin(following) == origin(hop) else following.copy_with(username="", password="")


def endless(url: str) -> TransferFailed:
    """What to raise after ``MAX_REDIRECTS``."""
    return TransferFailed(safe_line(f"{url} leads from one address to the next without end"), CHECK_ADDRESS)


def origin(url: "httpx.URL") -> tuple[str, str, int | None]:
    """Scheme, host and port, the port also where it is the usual one and is not said."""
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _joined(base: "httpx.URL", location: str) -> "httpx.URL":
    """``location`` as seen from ``base``; raises ``TransferFailed`` where it is no address."""
    try:
        return base.join(parsed(location))
    except UsageError as error:
        says = f"{base.host} leads to {location[:200]!r}, which is no address"
        raise TransferFailed(safe_line(says), CHECK_ADDRESS) from error


def _check_encryption(url: "httpx.URL", allows_plain: bool) -> None:
    if url.scheme == "http" and not allows_plain and not _is_loopback(url.host):
        says = f"plain http to {url.netloc.decode()} is refused: on the way anybody can change what it sends"
        raise UsageError(safe_line(says), _ENCRYPT)


def _is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine, which its name or address alone must say."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _is_on_the_web(url: "httpx.URL") -> bool:
    return url.scheme in ("http", "https") and bool(url.host)
