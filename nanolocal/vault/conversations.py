"""Conversations as trees: implements ``chat.ports.Store``, and lists, searches, renames and deletes.

Editing or regenerating adds a sibling; nothing is overwritten. Attachments and pictures are blobs, written inside the
transaction that stores their message, so that a file without a message can only be what a crash left behind.
"""

import json
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields

from nanolocal.chat import ports
from nanolocal.chat.helping import read_sources, sources_json
from nanolocal.chat.messages import Answer, Attachment, Message, Role, Source, Usage
from nanolocal.chat.ports import INSTRUCTIONS, Hold, StoredMessage
from nanolocal.errors import Damaged, UsageError
from nanolocal.vault import contents, experience, promptcache, tunings
from nanolocal.vault.blobs import Blobs
from nanolocal.vault.database import Database, Row, Transaction, Value
from nanolocal.vault.imported import ImportedChat, WholeChat
from nanolocal.vault.keys import KEY_BYTES
from nanolocal.vault.records import route_record
from nanolocal.vault.search import Hit, SearchFilters, search, stored
from nanolocal.vault.snapshots import DELETED

_ATTACHED = "message_id IN (SELECT id FROM message WHERE chat_id = ?)"

_MESSAGE = """
    SELECT m.id, m.parent_id, m.role, m.text, m.created_at, m.build_id, m.task, m.stopped, m.cost_micro,
           m.prompt_tokens, m.cached_tokens, m.completion_tokens, m.pixel_steps, m.route_json, m.decode_tok_s,
           m.dropped_tokens, f.verdict, f.note, m.sources_json"""

_RATED = "LEFT JOIN feedback f ON f.message_id = m.id"

_ALL = f"{_MESSAGE} FROM message m {_RATED} WHERE chat_id = ? ORDER BY m.seq"

_PATH = f"""
    WITH RECURSIVE path (id, parent_id) AS (
        SELECT id, parent_id FROM message WHERE chat_id = ?1 AND id = ?2
        UNION ALL
        SELECT m.id, m.parent_id FROM message m JOIN path p ON m.chat_id = ?1 AND m.id = p.parent_id
    )
    {_MESSAGE}
    FROM path CROSS JOIN message m ON m.id = path.id {_RATED} ORDER BY m.seq"""  # noqa: S608 - own names

_NEWEST_BELOW = """
    WITH RECURSIVE below (seq, id) AS (
        SELECT seq, id FROM message WHERE chat_id = ?1 AND id = ?2
        UNION ALL
        SELECT m.seq, m.id FROM message m JOIN below b ON m.chat_id = ?1 AND m.parent_id = b.id
    )
    SELECT id FROM below ORDER BY seq DESC LIMIT 1"""


@dataclass(frozen=True, slots=True)
class ChatRow:
    """A conversation in a list; ``updated_at`` in seconds since 1970, ``messages`` counts all branches."""

    id: str
    title: str
    updated_at: float
    messages: int


class Conversations:
    """The stored conversations of one vault. Unknown ids raise ``UsageError``."""

    def __init__(self, database: Database, blobs: Blobs, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock

    def transaction(self, *, is_urgent: bool = False) -> AbstractContextManager[Transaction]:
        """Begin a write transaction; it commits at the end of the block and rolls back on an exception.

        After one that ``is_urgent`` the vault's header follows a little later.
        """
        return self._database.transaction(is_urgent=is_urgent)

    def start_chat(self, tx: ports.Transaction, title: str, system: str | None) -> str:
        """Make a conversation and return its id."""
        now = self._clock()
        return self._start(_own(tx), title, system, now, now, None)

    def add_prompt(self, tx: ports.Transaction, chat_id: str, parent_id: str | None, message: Message) -> str:
        """Store what the user said after ``parent_id`` (``None`` or ``""``: at the start); returns the message's id."""
        columns = {"role": message.role.value, "text": stored(message.text)}
        return self._add(_own(tx), chat_id, parent_id or None, columns, message.attachments)

    def add_answer(self, tx: ports.Transaction, chat_id: str, parent_id: str, answer: Answer, hold: Hold) -> str:
        """Store an answer with its usage, cost and route record, and return the message's id."""
        own = _own(tx)
        own.execute("DELETE FROM draft WHERE hold_id = ?", (hold.id,))
        experience.note_speed(own, answer)
        tunings.note_guessing(own, answer, self._clock())
        return self._add(own, chat_id, parent_id, _columns(answer, hold), (*answer.pictures, *answer.ingredients))

    def keep_draft(self, prompt_id: str, answer: Answer, hold: Hold) -> None:
        """Keep what there is of an answer until ``add_answer`` replaces it; its picture is left out."""
        with self._database.transaction() as tx:
            tx.execute(
                "INSERT OR REPLACE INTO draft (hold_id, prompt_id, columns_json) VALUES (?, ?, ?)",
                (hold.id, prompt_id, json.dumps(_columns(answer, hold) | asdict(answer.usage))),
            )

    def delivered(self, tx: ports.Transaction, hold_id: str) -> tuple[str, Usage] | None:
        """The conversation and usage of a draft, for charging it; ``None`` where there is no draft."""
        rows = _own(tx).execute(
            "SELECT chat_id, columns_json FROM draft JOIN message ON id = prompt_id WHERE draft.hold_id = ?", (hold_id,)
        )
        if not rows:
            return None
        columns = json.loads(rows[0][1])
        return rows[0][0], Usage(*(columns.get(field.name, 0) for field in fields(Usage)))

    def finish_draft(self, tx: ports.Transaction, hold_id: str, cost_micro: int) -> None:
        """Make the draft that a dead process left into its answer; the conversation ends with it."""
        own = _own(tx)
        chat_id, prompt_id, kept = own.execute(
            "SELECT chat_id, prompt_id, columns_json FROM draft JOIN message ON id = prompt_id WHERE draft.hold_id = ?",
            (hold_id,),
        )[0]
        own.execute("DELETE FROM draft WHERE hold_id = ?", (hold_id,))
        columns = json.loads(kept) | {"cost_micro": cost_micro}
        columns.pop("loads", None)
        self._add(own, chat_id, prompt_id, columns, ())

    def path(self, chat_id: str, tip_id: str | None = None) -> Sequence[StoredMessage]:
        """The messages from the first to ``tip_id`` (newest leaf if ``None``), each with its attachments' bytes."""
        with self._database.snapshot() as source:
            self._require_chat(source, chat_id)
            tree = source.execute("SELECT id, parent_id FROM message WHERE chat_id = ? ORDER BY seq", (chat_id,))
            if not tree and not tip_id:
                return []
            siblings: dict[str | None, list[str]] = {}
            for message_id, parent_id in tree:
                siblings.setdefault(parent_id, []).append(message_id)
            tip = stored(tip_id) if tip_id else tree[-1][0]
            rows = source.execute(_PATH, (chat_id, tip))
            if not rows:
                raise _no_message(chat_id, tip)
            return [self._message(row, tuple(siblings[row[1]])) for row in rows]

    def whole(self, chat_id: str) -> WholeChat:
        """The conversation with every branch and its attachments' bytes."""
        with self._database.snapshot() as source:
            self._require_chat(source, chat_id)
            chat = "SELECT source, title, created_at, updated_at, system FROM chat WHERE id = ?"
            origin, title, created_at, updated_at, system = source.execute(chat, (chat_id,))[0]
            rows = source.execute(_ALL, (chat_id,))
            siblings: dict[str | None, list[str]] = {}
            for message in rows:
                siblings.setdefault(message[1], []).append(message[0])
            messages = tuple(self._message(each, tuple(siblings[each[1]])) for each in rows)
            return WholeChat(chat_id, origin, title, created_at, updated_at, system, messages)

    def newest_below(self, chat_id: str, message_id: str) -> str:
        """The newest message of the branch that ``message_id`` begins: itself where nothing follows it."""
        found = self._database.execute(_NEWEST_BELOW, (chat_id, stored(message_id)))
        if not found:
            raise _no_message(chat_id, message_id)
        newest: str = found[0][0]
        return newest

    def system_prompt(self, chat_id: str | None) -> str | None:
        """The conversation's system prompt; for ``None`` that of a new one, the user's instructions."""
        if chat_id is None:
            return self.setting(INSTRUCTIONS)
        self._require_chat(self._database, chat_id)
        system: str | None = self._database.execute("SELECT system FROM chat WHERE id = ?", (chat_id,))[0][0]
        return system

    def hold_of(self, message_id: str) -> str | None:
        """The hold under which an answer was charged; ``None`` for what is no answer here."""
        rows = self._database.execute("SELECT hold_id FROM message WHERE id = ?", (stored(message_id),))
        return rows[0][0] if rows else None

    def chat_exists(self, chat_id: str) -> bool:
        """Whether there is a conversation with this id."""
        return _has_chat(self._database, chat_id)

    def chats(self, limit: int, offset: int = 0) -> list[ChatRow]:
        """Conversations, the last used first."""
        rows = self._database.execute(
            """SELECT id, title, updated_at, (SELECT count(*) FROM message WHERE chat_id = chat.id)
               FROM chat ORDER BY updated_at DESC, seq DESC LIMIT ? OFFSET ?""",
            (max(0, limit), max(0, offset)),
        )
        return [ChatRow(*row) for row in rows]

    def search(self, query: str, limit: int = 20, filters: SearchFilters | None = None) -> list[Hit]:
        """Messages and titles that match; see ``vault.search``. Raises ``UsageError`` for a filter's wrong value."""
        return search(self._database, query, limit, filters)

    def rename_chat(self, chat_id: str, title: str) -> None:
        """Give a conversation another title."""
        with self._database.transaction() as tx:
            self._require_chat(tx, chat_id)
            contents.removed(tx, "chat", "id = ?", (chat_id,))
            tx.execute("UPDATE chat SET title = ? WHERE id = ?", (stored(title), chat_id))
            contents.added(tx, "chat", "id = ?", (chat_id,))

    def delete_chat(self, chat_id: str) -> None:
        """Remove a conversation with all branches, attachments, pictures and what engines have read of it.

        What it cost stays in the ledger. The vault's snapshots, which still hold it, are made anew when the vault is
        next opened or closed.
        """
        with self._database.transaction() as tx:
            self._require_chat(tx, chat_id)
            blobs = tx.execute(
                "SELECT blob_id FROM attachment JOIN message ON message.id = message_id WHERE chat_id = ?", (chat_id,)
            )
            contents.removed(tx, "attachment", _ATTACHED, (chat_id,))
            contents.removed(tx, "message", "chat_id = ?", (chat_id,))
            contents.removed(tx, "chat", "id = ?", (chat_id,))
            promptcache.forget_chat(tx, self._database.directory, chat_id)
            tx.execute("DELETE FROM message WHERE chat_id = ?", (chat_id,))
            tx.execute("DELETE FROM chat WHERE id = ?", (chat_id,))
            _keep_setting(tx, DELETED, "1")
            tx.on_commit(lambda: self._blobs.discard([row[0] for row in blobs]))
        self._database.checkpoint()

    def import_chat(self, chat: ImportedChat) -> str | None:
        """Store a conversation from elsewhere whole, or return ``None`` when that ``source`` is already here.

        ``nanolocal:ID`` is the source of every conversation that began here.

        Raises ``UsageError`` for a message whose parent did not come before it; then nothing was stored.
        """
        with self._database.transaction() as tx:
            if _has_source(tx, chat.source):
                return None
            times = (_finite(chat.created_at), _finite(chat.updated_at))
            chat_id = self._start(tx, chat.title, chat.system, *times, chat.source)
            ids: dict[str, str] = {}
            for message in chat.messages:
                if message.parent_id is not None and message.parent_id not in ids:
                    raise UsageError(f"message {message.id} of {chat.source} has no parent", "leave it out")
                columns = {
                    "role": message.role.value,
                    "text": stored(message.text),
                    "created_at": _finite(message.created_at),
                    "build_id": None if message.author is None else stored(message.author),
                    "task": None if message.task is None else stored(message.task),
                    "stopped": message.stopped,
                    "sources_json": _sources(message.sources),
                }
                parent = None if message.parent_id is None else ids[message.parent_id]
                ids[message.id] = self._add(tx, chat_id, parent, columns, message.attachments)
            tx.execute("UPDATE chat SET updated_at = ? WHERE id = ?", (times[1], chat_id))
        return chat_id

    def is_imported(self, source: str) -> bool:
        """Whether ``import_chat`` would find this source already here."""
        return _has_source(self._database, source)

    def rate(self, message_id: str, verdict: str | None, note: str = "") -> None:
        """Keep what the user thinks of an answer: ``good`` or ``bad``, with a note; ``None`` takes it back."""
        with self._database.transaction() as tx:
            answer = "SELECT 1 FROM message WHERE id = ? AND role = 'assistant'"
            if not tx.execute(answer, (stored(message_id),)):
                raise UsageError(f"there is no answer {message_id}", "see: nanolocal chats show ID --json")
            experience.note(tx, message_id, verdict, self._clock(), instead_of=("good", "bad"))
            if verdict is None:
                tx.execute("DELETE FROM feedback WHERE message_id = ?", (message_id,))
                return
            tx.execute(
                "INSERT OR REPLACE INTO feedback (message_id, verdict, note, created_at) VALUES (?, ?, ?, ?)",
                (message_id, verdict, stored(note), self._clock()),
            )

    def setting(self, name: str) -> str | None:
        """A private setting, such as ``INSTRUCTIONS``."""
        rows = self._database.execute("SELECT value FROM setting WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else None

    def keep_setting(self, name: str, value: str | None) -> None:
        """Keep a private setting; ``None`` removes it."""
        with self._database.transaction() as tx:
            _keep_setting(tx, name, value)

    def _start(
        self, tx: Transaction, title: str, system: str | None, created_at: float, updated_at: float, source: str | None
    ) -> str:
        chat_id = secrets.token_hex(8)
        words = [None if text is None else stored(text) for text in (title, system, source)]
        tx.execute(
            "INSERT INTO chat (title, system, source, id, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
            (*words, chat_id, created_at, updated_at),
        )
        contents.added(tx, "chat", "id = ?", (chat_id,))
        return chat_id

    def _add(
        self,
        tx: Transaction,
        chat_id: str,
        parent_id: str | None,
        columns: Mapping[str, Value],
        attachments: Sequence[Attachment],
    ) -> str:
        self._require_chat(tx, chat_id)
        parent = (chat_id, stored(parent_id or ""))
        if parent_id and not tx.execute("SELECT 1 FROM message WHERE chat_id = ? AND id = ?", parent):
            raise _no_message(chat_id, parent_id)
        message_id, now = secrets.token_hex(8), self._clock()
        record = {"id": message_id, "chat_id": chat_id, "parent_id": parent_id, "created_at": now, **columns}
        names, marks = ", ".join(record), ", ".join("?" * len(record))
        tx.execute(f"INSERT INTO message ({names}) VALUES ({marks})", tuple(record.values()))  # noqa: S608 - own names
        contents.added(tx, "message", "id = ?", (message_id,))
        tx.execute("UPDATE chat SET updated_at = ? WHERE id = ?", (now, chat_id))
        for position, attachment in enumerate(attachments):
            self._attach(tx, message_id, position, attachment)
        return message_id

    def _attach(self, tx: Transaction, message_id: str, position: int, attachment: Attachment) -> None:
        row_key = secrets.token_bytes(KEY_BYTES)
        blob_id = self._blobs.write(attachment.data, row_key)
        tx.on_rollback(lambda: self._blobs.discard([blob_id]))
        tx.execute(
            """INSERT INTO attachment (key, blob_id, message_id, position, name, media_type, size, receipt)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                row_key,
                blob_id,
                message_id,
                position,
                stored(attachment.name),
                stored(attachment.media_type),
                len(attachment.data),
                stored(attachment.receipt) or None,
            ),
        )
        contents.added(tx, "attachment", "blob_id = ?", (blob_id,))

    def _message(self, row: Row, siblings: tuple[str, ...]) -> StoredMessage:
        attached = self._database.execute(
            "SELECT name, media_type, blob_id, key, receipt FROM attachment WHERE message_id = ? ORDER BY position",
            (row[0],),
        )
        files, damaged = [], []
        for name, kind, blob_id, row_key, receipt in attached:
            try:
                data = self._blobs.read(blob_id, row_key or b"")
            except Damaged:
                data = b""
                damaged.append(name)
            files.append(Attachment(name, kind, data, receipt or ""))
        return StoredMessage(
            id=row[0],
            parent_id=row[1],
            message=Message(Role(row[2]), row[3], tuple(files)),
            created_at=row[4],
            siblings=siblings,
            build_id=row[5],
            task=row[6],
            stopped=row[7],
            cost_micro=row[8],
            usage=Usage(*row[9:13]),
            route_json=row[13],
            decode_tok_s=row[14],
            dropped_tokens=row[15],
            verdict=row[16],
            note=row[17] or "",
            damaged=tuple(damaged),
            sources=read_sources(row[18]),
        )

    def _require_chat(self, source: Database | Transaction, chat_id: str) -> None:
        if not _has_chat(source, chat_id):
            raise UsageError(f"there is no conversation {chat_id}", "see: nanolocal chats list")


def _columns(answer: Answer, hold: Hold) -> dict[str, Value]:
    usage = asdict(answer.usage)
    del usage["loads"]  # of interest to the ledger alone
    return {
        "role": Role.ASSISTANT.value,
        "text": stored(answer.text),
        "build_id": answer.route.build.id,
        "task": answer.route.task,
        "stopped": answer.stopped.value,
        "problem": None if answer.problem is None else stored(answer.problem),
        "cost_micro": answer.cost_micro,
        "hold_id": hold.id,
        **usage,
        "dropped_tokens": answer.dropped_tokens,
        **{name: _finite(seconds) for name, seconds in asdict(answer.timing).items()},
        "energy_j": _finite(answer.energy_j),
        "route_json": route_record(answer.route),
        "sources_json": _sources(answer.sources),
    }


def _sources(sources: Sequence[Source]) -> str | None:
    kept = sources_json(sources)
    return None if kept is None else stored(kept)


def _has_chat(source: Database | Transaction, chat_id: str) -> bool:
    return bool(source.execute("SELECT 1 FROM chat WHERE id = ?", (stored(chat_id),)))


def _has_source(place: Database | Transaction, source: str) -> bool:
    known = "SELECT 1 FROM chat WHERE source = ?1 OR id = ?2"
    return bool(place.execute(known, (stored(source), stored(source).removeprefix("nanolocal:"))))


def _no_message(chat_id: str, message_id: str) -> UsageError:
    return UsageError(f"conversation {chat_id} has no message {message_id}", f"see: nanolocal chats show {chat_id}")


def _keep_setting(tx: Transaction, name: str, value: str | None) -> None:
    if value is None:
        tx.execute("DELETE FROM setting WHERE name = ?", (name,))
    else:
        tx.execute("INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)", (name, stored(value)))


def _own(tx: ports.Transaction) -> Transaction:
    if not isinstance(tx, Transaction):
        raise TypeError("this transaction was not begun by the vault")
    return tx


def _finite(value: float) -> float:
    return float(value) if math.isfinite(value) else 0.0
