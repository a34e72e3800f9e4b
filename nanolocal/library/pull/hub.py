"""What a hub says about a repository: its commit, files and licence. Nothing of it is believed before it was checked.

The API is the hub's own (huggingface.co/docs/hub/api): ``api/models/ID/revision/REV?blobs=true`` and, where that leaves
sizes out, the pages of ``api/models/ID/tree/COMMIT``.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from nanolocal.errors import TransferFailed, UsageError
from nanolocal.library.pull.choosing import RemoteFile
from nanolocal.library.pull.plan import SHA256

if TYPE_CHECKING:
    from nanolocal.library.pull.links import Links

PUBLIC = "https://huggingface.co"
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MAX_FILES = 100_000
_MAX_PAGES = 2000
_MAX_SIZE = 2**46
_MAX_PATH = 1000
_MAX_WORDS = 300


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository at one commit. ``gated`` is how access has to be asked for: ``auto``, ``manual`` or not at all."""

    repo: str
    commit: str
    files: tuple[RemoteFile, ...]
    licence: str = ""
    licence_link: str = ""
    gated: str = ""


def endpoint_of(setting: str) -> str:
    """The hub to use: ``HF_ENDPOINT``, else the setting, else the public one; raises ``UsageError`` for no address."""
    given = (os.environ.get("HF_ENDPOINT") or setting or PUBLIC).strip().rstrip("/")
    try:
        split = urlsplit(given)
        is_usable = split.scheme in ("http", "https") and bool(split.hostname) and split.username is None
    except ValueError:
        is_usable = False
    if not is_usable or not given.isprintable() or split.query or split.fragment:
        raise UsageError(f"{given[:200]!r} is no address of a hub", f"HF_ENDPOINT={PUBLIC}, or the setting hub")
    return given


def token_setting(endpoint: str) -> str:
    """The vault's private setting with the token for a hub: each has its own, so that a mirror gets no other's."""
    return f"hub token {endpoint}"


def address(endpoint: str, listing: Listing, path: str) -> str:
    """Where a file of a listing is fetched, pinned to its commit."""
    return f"{endpoint}/{listing.repo}/resolve/{listing.commit}/{quote(path)}"


async def look(links: "Links", repo: str, revision: str) -> Listing:
    """What ``repo`` holds at ``revision``; raises ``TransferFailed`` for answers that cannot be true."""
    where = f"api/models/{repo}/revision/{quote(revision, safe='')}"
    value, _ = await links.json(where, {"blobs": "true"})
    if not isinstance(value, dict):
        raise _strange(repo)
    commit = value.get("sha")
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise _strange(repo)
    files = tuple(_files(value.get("siblings"), repo))
    if any(file.size is None for file in files) or not files:
        files = await _tree(links, repo, commit) or files
    licence, link = _licence(value)
    return Listing(repo, commit, files, licence, link, _gated(value.get("gated")))


async def _tree(links: "Links", repo: str, commit: str) -> tuple[RemoteFile, ...]:
    """Every file with its size, page by page."""
    found: list[RemoteFile] = []
    seen: set[str] = set()
    page: str | None = f"api/models/{repo}/tree/{commit}"
    params: dict[str, str] | None = {"recursive": "true", "expand": "true"}
    while page is not None:
        value, following = await links.json(page, params)
        found += _entries(value, repo)
        if len(found) > _MAX_FILES or len(seen) > _MAX_PAGES or following in seen:
            raise _strange(repo)
        page, params = following, None
        seen.add(following or "")
    return tuple(found)


def _entries(value: object, repo: str) -> Iterator[RemoteFile]:
    if not isinstance(value, list):
        raise _strange(repo)
    for row in value:
        if isinstance(row, dict) and row.get("type") == "file":
            yield _file(row, row.get("path"), repo)


def _files(siblings: object, repo: str) -> Iterator[RemoteFile]:
    if not isinstance(siblings, list) or len(siblings) > _MAX_FILES:
        raise _strange(repo)
    for row in siblings:
        if not isinstance(row, dict):
            raise _strange(repo)
        yield _file(row, row.get("rfilename"), repo)


def _file(row: dict[str, object], path: object, repo: str) -> RemoteFile:
    """One file; those in large file storage have their hash and their true size there."""
    if not isinstance(path, str) or not 0 < len(path) <= _MAX_PATH:
        raise _strange(repo)
    size, sha256 = _size(row.get("size")), ""
    stored = row.get("lfs")
    if isinstance(stored, dict):
        named = stored.get("sha256") or stored.get("oid")
        sha256 = named if isinstance(named, str) and SHA256.fullmatch(named) else ""
        size = _size(stored.get("size")) if stored.get("size") is not None else size
    return RemoteFile(path, size, sha256)


def _size(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= _MAX_SIZE else None


def _licence(value: dict[str, object]) -> tuple[str, str]:
    """The licence by its name, and where it can be read."""
    card = value.get("cardData")
    if not isinstance(card, dict):
        return "", ""
    return _words(card.get("license_name")) or _words(card.get("license")), _words(card.get("license_link"))


def _words(value: object) -> str:
    if isinstance(value, list):
        value = ", ".join(item for item in value if isinstance(item, str))
    return value[:_MAX_WORDS].strip() if isinstance(value, str) else ""


def _gated(value: object) -> str:
    return value if value in ("auto", "manual") else "auto" if value is True else ""


def _strange(repo: str) -> TransferFailed:
    return TransferFailed(f"the hub's answer about {repo} makes no sense", "try again later, or another hub")
