"""What a server says in headers, within bounds. Each is ``None`` or empty where it is missing or makes no sense."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

_RANGE = re.compile(r"bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII | re.IGNORECASE)
_UNSATISFIED = re.compile(r"bytes\s+\*/(\d{1,18})", re.ASCII | re.IGNORECASE)
_DIGEST = re.compile(r"(?:^|,)\s*sha-256\s*=\s*:([A-Za-z0-9+/=]{44}):", re.ASCII)
_SHA256 = re.compile(r'(?:W/)?"?([0-9a-fA-F]{64})"?', re.ASCII)
_NEXT = re.compile(r'<([^<>]{1,4096})>\s*;[^<]{0,200}?\brel="?next\b', re.IGNORECASE)
_DIGITS = re.compile(r"\d{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Bytes ``start`` up to, not including, ``stop`` of ``total``, which is ``None`` where the server does not know."""

    start: int
    stop: int
    total: int | None


def content_range(text: str) -> ContentRange | None:
    """``bytes 0-9/100`` (RFC 9110, 14.4)."""
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        return None
    start, stop = int(found[1]), int(found[2]) + 1
    total = None if found[3] == "*" else int(found[3])
    return ContentRange(start, stop, total) if start < stop and (total is None or stop <= total) else None


def unsatisfied_total(text: str) -> int | None:
    """The size in ``bytes */100``, which comes with 416."""
    found = _UNSATISFIED.fullmatch(text.strip())
    return int(found[1]) if found else None


def whole_number(text: str) -> int | None:
    """A size in bytes, as in ``Content-Length``."""
    return int(text) if _DIGITS.fullmatch(text.strip()) else None


def retry_after(text: str, now: float) -> float | None:
    """Seconds to wait from ``now``, a Unix time: a number or a date (RFC 9110, 10.2.3), never less than 0."""
    if (seconds := whole_number(text)) is not None:
        return float(seconds)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def sha256_digest(text: str) -> bytes | None:
    """The SHA-256 in a ``Content-Digest`` or ``Repr-Digest`` (RFC 9530): ``sha-256=:BASE64:``."""
    found = _DIGEST.search(text)
    if found is None:
        return None
    try:
        digest = base64.b64decode(found[1], validate=True)
    except binascii.Error:
        return None
    return digest if len(digest) == 32 else None


def linked_sha256(headers: Mapping[str, str]) -> str:
    """The SHA-256 of the file that a hub's answer leads to: its ``X-Linked-Etag``."""
    found = _SHA256.fullmatch(headers.get("x-linked-etag", "").strip())
    return found[1].lower() if found else ""


def validator(headers: Mapping[str, str]) -> str:
    """What tells versions of a file apart and may stand in ``If-Range``: a strong ``ETag``, else ``Last-Modified``."""
    etag = headers.get("etag", "").strip()
    return etag if etag.startswith('"') else headers.get("last-modified", "").strip()


def next_link(text: str) -> str:
    """The address in ``Link: <...>; rel="next"``."""
    found = _NEXT.search(text)
    return found[1] if found else ""
