"""Full-text search over messages and titles. Any string is a query: nothing a user types is a command."""

from collections.abc import Iterable
from dataclasses import dataclass

from nanolocal.vault.database import Database, Row

_SNIPPET_WORDS = 16
_AROUND = 60
_MOST_WORDS = 32
_MOST_CHARACTERS = 1000

_BY_WORD = """
    SELECT m.chat_id, m.id, c.title, snippet(message_index, 0, '', '', '…', ?), m.created_at, m.text
    FROM message_index JOIN message m ON m.seq = message_index.rowid JOIN chat c ON c.id = m.chat_id
    WHERE message_index MATCH ? ORDER BY rank, m.seq DESC LIMIT ?"""
_TITLES_BY_WORD = """
    SELECT c.id, (SELECT id FROM message WHERE chat_id = c.id ORDER BY seq DESC LIMIT 1),
           c.title, c.title, c.updated_at, NULL
    FROM chat_index JOIN chat c ON c.seq = chat_index.rowid
    WHERE chat_index MATCH ? ORDER BY rank, c.seq DESC LIMIT ?"""
_BY_PART = """
    SELECT m.chat_id, m.id, c.title, m.text, m.created_at, m.text
    FROM message m JOIN chat c ON c.id = m.chat_id
    WHERE m.text LIKE ? ESCAPE '\\' ORDER BY m.seq DESC LIMIT ?"""
_TITLES_BY_PART = """
    SELECT c.id, (SELECT id FROM message WHERE chat_id = c.id ORDER BY seq DESC LIMIT 1),
           c.title, c.title, c.updated_at, NULL
    FROM chat c WHERE c.title LIKE ? ESCAPE '\\' ORDER BY c.seq DESC LIMIT ?"""


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that matches, or for a title that does the conversation's newest message. ``snippet`` is one line."""

    chat_id: str
    message_id: str
    title: str
    snippet: str
    created_at: float


def search(database: Database, query: str, limit: int) -> list[Hit]:
    """The best ``limit`` hits: messages first, titles of other conversations after them, equal texts of one chat once.

    All words must occur, the last one may be unfinished. If no word matches, the query is looked for as a part of any
    text, which also finds words in scripts written without spaces.
    """
    query = stored(query.replace("\0", " "))[:_MOST_CHARACTERS].strip()
    if not query or limit <= 0:
        return []
    words = " ".join('"' + word.replace('"', '""') + '"' for word in query.split()[:_MOST_WORDS]) + "*"
    most = 4 * limit
    hits = _distinct(
        database.execute(_BY_WORD, (_SNIPPET_WORDS, words, most)) + database.execute(_TITLES_BY_WORD, (words, most))
    )
    if not hits:
        part = "%" + query.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        rows = database.execute(_BY_PART, (part, most)) + database.execute(_TITLES_BY_PART, (part, most))
        hits = _distinct((*row[:3], _around(row[3], query), *row[4:]) for row in rows)
    return hits[:limit]


def stored(text: str) -> str:
    """``text`` as the database can keep it: lone surrogates, which no UTF-8 can hold, become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _distinct(rows: Iterable[Row]) -> list[Hit]:
    """One hit for equal texts in a conversation; one for its title (``text`` is ``None``) if no message matched."""
    hits: list[Hit] = []
    seen: set[tuple[str, str | None]] = set()
    chats: set[str] = set()
    for chat_id, message_id, title, snippet, created_at, text in rows:
        if (chat_id, text) in seen or (text is None and chat_id in chats):
            continue
        seen.add((chat_id, text))
        chats.add(chat_id)
        hits.append(Hit(chat_id, message_id or "", title, " ".join(snippet.split()), created_at))
    return hits


def _around(text: str, part: str) -> str:
    """The stretch of ``text`` around the first ``part``."""
    start = max(0, text.lower().find(part.lower()) - _AROUND)
    end = start + len(part) + 2 * _AROUND
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")
