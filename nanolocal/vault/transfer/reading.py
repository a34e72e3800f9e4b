"""Finds the conversations in a file or folder. The format is known by the content; names are never believed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nanolocal.errors import NanolocalError, UsageError
from nanolocal.vault.imported import ImportedChat
from nanolocal.vault.transfer import chatgpt, claude, jan, lmstudio, ollama, openwebui, own, report
from nanolocal.vault.transfer.container import MOST_JSON_BYTES, Archive, Files, Folder, Place
from nanolocal.vault.transfer.report import Report
from nanolocal.vault.transfer.sqlitefile import MAGIC, columns, opened, rows
from nanolocal.vault.transfer.values import fields, items, parsed, text

_Item = Mapping[str, object]
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_PROMPT_LINES = (".ollama", "history")
_ENDINGS = (".json", ".zip", ".db", ".sqlite")


@dataclass(frozen=True, slots=True)
class _Format:
    name: str
    knows: Callable[[_Item], bool]
    parse: Callable[[_Item, Place], ImportedChat | None]


_OWN = _Format(own.NAME, own.knows, own.parse)
_FOREIGN = (
    _Format(chatgpt.NAME, chatgpt.knows, chatgpt.parse),
    _Format(claude.NAME, claude.knows, claude.parse),
    _Format(openwebui.NAME, openwebui.knows, openwebui.parse),
    _Format(lmstudio.NAME, lmstudio.knows, lmstudio.parse),
    _Format(jan.NAME, jan.knows, jan.parse),
)


def chats_in(path: Path, told: Report) -> Iterator[ImportedChat]:
    """Every conversation below ``path``, one at a time; what is left out and what cannot be read goes into ``told``.

    Raises ``UsageError`` when nothing there can be read at all.
    """
    if path.is_dir():
        yield from _all_in(Folder(path), path, told)
        return
    head = _head(path)
    if head.startswith(MAGIC):
        yield from _in_database(path, told)
    elif head.startswith(_ZIP):
        yield from _all_in(Archive(path), None, told)
    else:
        yield from _in_file(path, told)


def _in_file(path: Path, told: Report) -> Iterator[ImportedChat]:
    files = Folder(path.parent, depth=2)
    place = Place(files, path.name, told.notes)
    data = files.read(path.name, MOST_JSON_BYTES)
    if path.parts[-2:] == _PROMPT_LINES:
        told.notes[("prompt line", "left out: without answers they are no conversation")] += data.count(b"\n")
        return
    if jan.knows_line(_as_item(data.partition(b"\n")[0])):
        yield from _thread(data, place, told)
        return
    yield from _in_document(parsed(data, path.name), place, told)
    if path.name not in place.used:
        raise UsageError(
            f"{path.name} holds no conversations that nanolocal knows",
            "it reads exports of ChatGPT, Claude, Open WebUI, LM Studio, Jan, Ollama and nanolocal",
        )


def _all_in(files: Files, root: Path | None, told: Report) -> Iterator[ImportedChat]:
    """The conversations of a folder (``root``) or an archive; a broken part does not stop the others."""
    used: set[str] = set()
    for name in files.names():
        is_json = name.lower().endswith(".json")
        if not is_json and (root is None or not name.lower().endswith(_ENDINGS)):
            continue
        try:
            if is_json:
                place = Place(files, name, told.notes, used)
                yield from _in_document(parsed(files.read(name, MOST_JSON_BYTES), name), place, told)
            elif root is not None:
                used.add(name)
                yield from chats_in(root / name, told)
        except NanolocalError as problem:
            used.add(name)
            told.problems.append(problem)
    for name in files.names():
        if name not in used:
            told.notes.add("other file", "left out: no part of a conversation")


def _in_document(document: object, place: Place, told: Report) -> Iterator[ImportedChat]:
    """The conversations of one JSON file: a list of them, one alone, or an object that holds a list.

    Where there is one that some format knows, the file counts as used.
    """
    whole = fields(document)
    is_own = whole.get("format") == own.FORMAT
    if is_own:
        entries = own.chats_of(whole)
        _mark(place, told, own.NAME)
    else:
        entries = items(document) or items(whole.get("conversations")) or [document]
    known = [(fields(entry), _format_of(fields(entry), is_own)) for entry in entries]
    for entry, kind in known:
        if kind is not None:
            _mark(place, told, kind.name)
            chat = kind.parse(entry, place)
            if chat is not None:
                yield chat
    if place.name in place.used:
        for _ in [kind for _, kind in known if kind is None]:
            told.notes.add(*report.NO_CHAT)


def _thread(data: bytes, place: Place, told: Report) -> Iterator[ImportedChat]:
    """Jan's lines of messages, with the thread's description where it lies beside them."""
    _mark(place, told, jan.NAME)
    beside = place.beside("thread.json")
    known = beside in place.files.names()
    chat = jan.parse_lines(_as_item(place.files.read(beside, MOST_JSON_BYTES)) if known else {}, data, place)
    if chat is not None:
        yield chat


def _in_database(path: Path, told: Report) -> Iterator[ImportedChat]:
    place = Place(Folder(path.parent, depth=0), path.name, told.notes)
    with opened(path) as connection:
        if ollama.knows(connection):
            _mark(place, told, ollama.NAME)
            yield from ollama.parse(connection, told.notes)
        elif {"id", "title", "chat"} <= columns(connection, "chat"):
            _mark(place, told, openwebui.NAME)
            for row in rows(connection, "chat", ""):
                item = {**row, "chat": _as_item(text(row["chat"]).encode("utf-8", "replace"))}
                chat = openwebui.parse(item, place)
                if chat is not None:
                    yield chat
        else:
            raise UsageError(f"{path.name} is a database of no program nanolocal knows", "give an export instead")


def _format_of(item: _Item, is_own: bool) -> _Format | None:
    return next((kind for kind in ((_OWN,) if is_own else _FOREIGN) if kind.knows(item)), None)


def _as_item(data: bytes) -> _Item:
    """A JSON object, or an empty one."""
    try:
        return fields(parsed(data, "a part"))
    except UsageError:
        return {}


def _mark(place: Place, told: Report, name: str) -> None:
    """Note that the file is one of this program's."""
    place.used.add(place.name)
    if name not in told.formats:
        told.formats.append(name)


def _head(path: Path) -> bytes:
    if not path.is_file():
        raise UsageError(f"no such file: {path}", "check the name")
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "check that you may read it") from error
