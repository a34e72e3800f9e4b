"""The card of a folder of pulled builds: what came, from where, and by which hash; merged where builds share it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nanolocal.errors import Damaged
from nanolocal.library.cards import CARD
from nanolocal.library.jsonfiles import read_object, write_object
from nanolocal.library.naming import slug
from nanolocal.library.pull import hashes
from nanolocal.library.pull.choosing import Shape
from nanolocal.library.pull.names import checked
from nanolocal.library.pull.pipelines import ONLY
from nanolocal.library.pull.plan import SHA256, Fetched, Wanted
from nanolocal.library.pull.planned import Plan, without_query


def hash_in(folder: Path, name: str) -> str:
    """The SHA-256 of a file by the card in ``folder``; empty where it tells none."""
    return next((str(row["sha256"]) for row in _rows(_read(folder)) if row.get("path") == name and "sha256" in row), "")


def licence_in(folder: Path) -> str | None:
    """The licence of what was pulled into ``folder``; ``None`` where nothing was."""
    card = _read(folder)
    return str(card.get("licence", "")) if "pulled" in card else None


def endpoint_in(folder: Path) -> str:
    """The hub that the files in ``folder`` were pulled from; empty where they came from none."""
    endpoint = _table(_read(folder), "pulled").get("endpoint")
    return endpoint if isinstance(endpoint, str) else ""


def pulled(folder: Path) -> Iterator[Wanted]:
    """What was pulled into ``folder``, as it came; rows that make no sense are passed over."""
    for name, row in _table(_table(_read(folder), "pulled"), "files").items():
        facts = [row.get(key) for key in ("url", "size", "sha256")] if isinstance(row, dict) else []
        match facts:
            case [str(url), int(size), str(sha256)] if size >= 0 and SHA256.fullmatch(sha256):
                yield Wanted(url, checked(name), size, sha256)


def came_from(folder: Path, file: Wanted) -> bool:
    """Whether the file of that name in ``folder`` was fetched from the same address."""
    row = _table(_table(_read(folder), "pulled"), "files").get(file.name)
    return isinstance(row, dict) and row.get("url") == without_query(file.url)


def write(folder: Path, plan: Plan, fetched: Sequence[Fetched]) -> None:
    """Add what was fetched to the card, on disk before this returns; raises ``OSError``."""
    before = _read(folder)
    names = {file.name for file in fetched}
    kept = [row for row in _rows(before) if row.get("path") not in names]
    facts: dict[str, object] = {
        "files": [*kept, *({"path": file.name, "sha256": file.sha256} for file in fetched)],
        "pulled": _provenance(_table(_table(before, "pulled"), "files"), plan, fetched),
    }
    if plan.terms.licence:
        facts["licence"] = plan.terms.licence
    if plan.shape is Shape.PIPELINE:
        facts["id"] = slug(plan.repo.partition("/")[2])
        if plan.label != ONLY:
            facts["quantization"] = plan.label.lower()
    write_object(folder / CARD, {**before, **facts}, durably=True)


def forget(path: Path, models: Path) -> None:
    """The file or folder at ``path`` goes: neither its card nor the hashes of its chunks say any more of it."""
    is_folder = path.is_dir()
    folder = path if is_folder else path.parent
    card = _read(folder)
    known = [row for row in _rows(card) if is_folder or row.get("path") == path.name]
    for row in known:
        hashes.forget(models, str(row.get("sha256")))
    if is_folder or not known:
        return
    files = {name: row for name, row in _table(_table(card, "pulled"), "files").items() if name != path.name}
    rows = [row for row in _rows(card) if row.get("path") != path.name]
    pulled = {"pulled": {**_table(card, "pulled"), "files": files}} if "pulled" in card else {}
    write_object(folder / CARD, {**card, "files": rows, **pulled}, durably=True)


def _provenance(earlier: Mapping[str, object], plan: Plan, fetched: Sequence[Fetched]) -> dict[str, object]:
    urls = {file.name: without_query(file.url) for file in plan.files}
    files = {
        file.name: {"url": urls[file.name], "commit": plan.commit, "size": file.size, "sha256": file.sha256}
        for file in fetched
    }
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    said = {"repo": plan.repo, "endpoint": plan.endpoint, "commit": plan.commit, "when": when}
    return {**said, "files": {**earlier, **files}}


def _read(folder: Path) -> dict[str, object]:
    """The card, empty where there is none or it is broken: then it is written anew."""
    try:
        return read_object(folder / CARD)
    except (Damaged, OSError):
        return {}


def _table(value: Mapping[str, object], key: str) -> dict[str, object]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _rows(card: Mapping[str, object]) -> list[dict[str, object]]:
    rows = card.get("files")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
