"""``nanolocal chats``: the conversations in the vault."""

import argparse
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nanolocal.chat.amounts import format_credits
from nanolocal.chat.helping import as_record, shown
from nanolocal.chat.messages import Role
from nanolocal.chat.ports import StoredMessage
from nanolocal.cli import output, transfer
from nanolocal.cli.common import Subparsers, agreed, wants_json, whole_id, with_session
from nanolocal.errors import UsageError
from nanolocal.paths import make_private

if TYPE_CHECKING:
    from nanolocal.bootstrap import Session
    from nanolocal.vault.search import SearchFilters

_FILTERS = ("model", "task", "since", "until", "has", "from")
_NAMES = {Role.USER: "You", Role.ASSISTANT: "Assistant", Role.SYSTEM: "System"}


def add(commands: Subparsers, common: argparse.ArgumentParser) -> None:
    """Declare the command and its parts."""
    parser = commands.add_parser(
        "chats", parents=[common], help="list, show, search, export, import and delete conversations"
    )
    parser.set_defaults(run=with_session(run_list), limit=50)
    parts = parser.add_subparsers(metavar="PART")
    listing = parts.add_parser("list", parents=[common], help="the newest conversations")
    listing.add_argument("--limit", type=int, default=50, metavar="N")
    listing.set_defaults(run=with_session(run_list))
    show = parts.add_parser("show", parents=[common], help="one conversation")
    show.add_argument("chat", metavar="ID", help="its id, or the start of it")
    show.add_argument("--pictures", type=Path, metavar="DIR", help="write its pictures there, unencrypted")
    show.set_defaults(run=with_session(run_show))
    search = parts.add_parser("search", parents=[common], help="find words in all conversations")
    search.add_argument("words", nargs="*", metavar="WORD", help='also "a phrase", model:NAME, since:7d and the like')
    search.add_argument("--model", metavar="NAME", help="answers of builds with this in their name")
    search.add_argument("--task", metavar="TASK", help="answers to this kind of task")
    search.add_argument("--since", metavar="DAY", help="2026-11-24, today, yesterday or 7d")
    search.add_argument("--until", metavar="DAY", help="before that day")
    search.add_argument("--has", metavar="WHAT", choices=("picture",), help="picture")
    search.add_argument("--from", metavar="WHO", choices=("me", "model"), help="me or model")
    search.add_argument("--limit", type=int, default=20, metavar="N")
    search.set_defaults(run=with_session(run_search))
    rate = parts.add_parser("rate", parents=[common], help="keep that an answer was good or bad")
    rate.add_argument("message", metavar="MESSAGE_ID", help="as in the JSON of ask and of chats show")
    rate.add_argument("verdict", choices=("good", "bad", "none"), help="none takes it back")
    rate.add_argument("--note", default="", metavar="TEXT", help="why")
    rate.set_defaults(run=with_session(run_rate))
    transfer.add(parts, common)
    delete = parts.add_parser("delete", parents=[common], help="remove a conversation for good")
    delete.add_argument("chat", metavar="ID")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    delete.add_argument("--shred", action="store_true", help="new database key too: old disk blocks tell nothing")
    delete.set_defaults(run=with_session(run_delete))


def run_list(args: argparse.Namespace, session: "Session") -> int:
    """List conversations, the newest first."""
    rows = session.store.chats(_positive(args.limit))
    if wants_json(args):
        keys = ("id", "title", "updated_at", "messages")
        output.as_json({"chats": [{key: getattr(row, key) for key in keys} for row in rows]})
        return 0
    output.table(
        [(row.id[:12], _when(row.updated_at), str(row.messages), row.title) for row in rows],
        ("ID", "CHANGED", "MESSAGES", "TITLE"),
    )
    return 0


def run_show(args: argparse.Namespace, session: "Session") -> int:
    """Print one conversation along its newest branch."""
    chat_id = whole_id(session, args.chat)
    path = session.store.path(chat_id)
    pictures = _save_pictures(path, args.pictures) if args.pictures else []
    if wants_json(args):
        output.as_json({"id": chat_id, "messages": [_as_json(stored) for stored in path], "pictures": pictures})
        return 0
    for stored in path:
        output.line(f"{_NAMES[stored.message.role]}:")
        for item in stored.message.attachments:
            output.line(f"[{item.name}]")
        if stored.message.text:
            output.line(stored.message.text)
        for source in stored.sources:
            output.line(f"[{shown(source)}]")
        output.line()
    for name in pictures:
        output.line(name)
    return 0


def run_search(args: argparse.Namespace, session: "Session") -> int:
    """Print the messages that hold the words, best first."""
    hits = session.store.search(" ".join(args.words), _positive(args.limit), _filters(args))
    if wants_json(args):
        keys = ("chat_id", "message_id", "title", "snippet", "marks", "created_at")
        output.as_json({"hits": [{key: getattr(hit, key) for key in keys} for hit in hits]})
        return 0
    for hit in hits:
        output.line(f"{hit.chat_id[:12]}  {_when(hit.created_at)}  {hit.title}")
        output.line(f"    {hit.snippet}")
    return 0


def _filters(args: argparse.Namespace) -> "SearchFilters":
    from nanolocal.vault.search import SearchFilters

    filters = SearchFilters()
    for name in _FILTERS:
        if (value := vars(args)[name]) is not None:
            filters = filters.narrowed(name, value) or filters
    return filters


def run_rate(args: argparse.Namespace, session: "Session") -> int:
    """Keep what the user thinks of an answer, beside it in the vault."""
    verdict = None if args.verdict == "none" else args.verdict
    session.store.rate(args.message, verdict, args.note)
    if wants_json(args):
        output.as_json({"message_id": args.message, "verdict": verdict})
    return 0


def run_delete(args: argparse.Namespace, session: "Session") -> int:
    """Delete one conversation with its pictures and its words in the index."""
    chat_id = whole_id(session, args.chat)
    if not agreed(args, f"Delete conversation {chat_id[:12]} for good?"):
        return 0
    session.store.delete_chat(chat_id)
    if args.shred:
        session.vault.rotate()
    if wants_json(args):
        output.as_json({"deleted": chat_id})
    return 0


def _save_pictures(path: Sequence[StoredMessage], folder: Path) -> list[str]:
    saved = []
    for stored in path:
        for n, item in enumerate(stored.message.attachments, 1):
            if item.media_type.startswith("image/"):
                file = make_private(folder) / f"{stored.id[:12]}-{n}.png"
                file.write_bytes(item.data)
                saved.append(str(file))
    return saved


def _as_json(stored: StoredMessage) -> dict[str, object]:
    return {
        "id": stored.id,
        "parent_id": stored.parent_id,
        "role": stored.message.role,
        "text": stored.message.text,
        "attachments": [item.name for item in stored.message.attachments],
        "created_at": stored.created_at,
        "build": stored.build_id,
        "task": stored.task,
        "stopped": stored.stopped,
        "cost_micro": stored.cost_micro,
        "cost": format_credits(stored.cost_micro),
        "sources": [as_record(source) for source in stored.sources],
        "route": json.loads(stored.route_json) if stored.route_json else None,
    }


def _positive(limit: int) -> int:
    if limit < 1:
        raise UsageError(f"--limit is at least 1, not {limit}", "--limit 20")
    return min(limit, 1_000_000)


def _when(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp).astimezone().strftime("%Y-%m-%d %H:%M")
