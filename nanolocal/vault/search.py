"""Full-text search over messages and titles. ``model:qwen`` and the like narrow it; no other text is a command.

The index ranks inside a subquery with a limit, and snippets are cut from the few texts that are shown: a word that
stands in every message costs no more than ranking it does.
"""

import re
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NoReturn

from nanolocal.chat.messages import Role
from nanolocal.errors import UsageError
from nanolocal.vault.database import Database, Row, Value

_BEFORE, _LONGEST_SNIPPET = 50, 150
_MOST_WORDS = 32
_MOST_CHARACTERS = 1000
_FRESH_DAYS = 30
_FRESHNESS = 0.2
_ROLES = {"me": Role.USER, "model": Role.ASSISTANT}

_FOUND = "SELECT m.chat_id, m.id, c.title, m.created_at, m.text, {rank} FROM {source} JOIN chat c ON c.id = m.chat_id "
_BY_WORD = _FOUND.format(
    rank="hit.rank",
    source="""(SELECT rowid, rank FROM message_index WHERE message_index MATCH ? {filters} ORDER BY rank LIMIT ?) AS hit
              CROSS JOIN message m ON m.seq = hit.rowid""",
)
_OF_MESSAGES = _FOUND.format(rank="0", source="message m")
_BY_PART = _OF_MESSAGES + "WHERE m.text LIKE ? ESCAPE '\\' {filters} ORDER BY m.seq DESC LIMIT ?"
_BY_FILTER = _OF_MESSAGES + "WHERE 1 {filters} ORDER BY m.seq DESC LIMIT ?"
_TITLE = """
    SELECT c.id, (SELECT id FROM message WHERE chat_id = c.id ORDER BY seq DESC LIMIT 1), c.title, c.updated_at, NULL, 0
    FROM {source} ORDER BY {order}, c.seq DESC"""
_TITLES_BY_WORD = _TITLE.format(
    source="""(SELECT rowid, rank FROM chat_index WHERE chat_index MATCH ? ORDER BY rank LIMIT ?) AS hit
              CROSS JOIN chat c ON c.seq = hit.rowid""",
    order="hit.rank",
)
_TITLES_BY_PART = (
    _TITLE.format(source="chat c WHERE c.title LIKE ? ESCAPE '\\'", order="c.updated_at DESC") + " LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that matches, or for a title that does the conversation's newest message.

    ``snippet`` is one line; ``marks`` are the places in it (start, end) that match.
    """

    chat_id: str
    message_id: str
    title: str
    snippet: str
    created_at: float
    marks: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SearchFilters:
    """What a message must be besides; ``None`` and ``False`` ask for nothing.

    ``model`` is a part of the build's name, ``task`` a task or the start of one up to a slash, ``since`` and ``until``
    seconds since 1970.
    """

    model: str | None = None
    task: str | None = None
    since: float | None = None
    until: float | None = None
    has_picture: bool = False
    role: Role | None = None

    def narrowed(self, name: str, value: str) -> "SearchFilters | None":
        """With one more filter, as it is typed (``model:qwen``); ``None`` if there is none of that name.

        Raises ``UsageError`` for a value that it cannot have.
        """
        match name:
            case "model" | "task":
                known: dict[str, Any] = {name: value}
            case "since" | "until":
                known = {name: _moment(value)}
            case "has":
                known = {"has_picture": value == "picture" or _refuse(name, value, "picture")}
            case "from":
                known = {"role": _ROLES.get(value) or _refuse(name, value, " or ".join(_ROLES))}
            case _:
                return None
        return replace(self, **known)

    def sql(self) -> tuple[str, list[Value]]:
        """The conditions on ``m``, a row of message, and their parameters."""
        picture = "EXISTS (SELECT 1 FROM attachment WHERE message_id = m.id AND media_type LIKE 'image/%')"
        parts: list[tuple[str, list[Value]]] = []
        if self.model is not None:
            parts.append(("m.build_id LIKE ? ESCAPE '\\'", [_like(self.model)]))
        if self.task is not None:
            parts.append(("(m.task = ? OR m.task LIKE ? ESCAPE '\\')", [self.task, _like(self.task, "", "/%")]))
        if self.since is not None:
            parts.append(("m.created_at >= ?", [self.since]))
        if self.until is not None:
            parts.append(("m.created_at < ?", [self.until]))
        if self.has_picture:
            parts.append((picture, []))
        if self.role is not None:
            parts.append(("m.role = ?", [self.role.value]))
        return " AND ".join(part for part, _ in parts), [value for _, values in parts for value in values]


def parse_query(text: str, filters: SearchFilters | None = None) -> tuple[list[str], SearchFilters]:
    """Split what was typed into words, quoted phrases and filters. Raises ``UsageError``; see ``narrowed``."""
    words: list[str] = []
    found = filters or SearchFilters()
    for phrase, word in re.findall(r'"([^"]*)"|(\S+)', stored(text.replace("\0", " "))[:_MOST_CHARACTERS]):
        name, colon, value = word.partition(":")
        narrowed = found.narrowed(name.lower(), value) if colon and value else None
        if narrowed is not None:
            found = narrowed
        elif phrase.strip() or word:
            words.append(phrase.strip() or word)
    return words[:_MOST_WORDS], found


def search(database: Database, query: str, limit: int, filters: SearchFilters | None = None) -> list[Hit]:
    """The best ``limit`` hits: messages first, titles of other conversations after them, equal texts of one chat once.

    All words must occur, the last one may be unfinished; newer messages come a little sooner. If no word matches, the
    words are looked for as a part of any text, which also finds scripts written without spaces; that reads every
    message (0.6 s for 100,000). Without words: the newest messages that pass the filters. Raises ``UsageError`` for a
    filter that has a wrong value.
    """
    words, filters = parse_query(query, filters)
    conditions, values = filters.sql()
    if limit <= 0 or not (words or conditions):
        return []
    most = 4 * limit
    if not words:
        rows = database.execute(_BY_FILTER.format(filters=f"AND {conditions}"), (*values, most))
        return list(islice(_hits(rows, [], whole_words=False), limit))
    match = _match(words)
    inside = f"AND rowid IN (SELECT m.seq FROM message m WHERE {conditions})" if conditions else ""  # noqa: S608 - ours
    rows = _freshest_first(database.execute(_BY_WORD.format(filters=inside), (match, *values, most)))
    titles = [] if conditions else database.execute(_TITLES_BY_WORD, (match, most))
    if not rows and not titles:
        part = " ".join(words)
        also = f"AND {conditions}" if conditions else ""
        rows = database.execute(_BY_PART.format(filters=also), (_like(part), *values, most))
        titles = [] if conditions else database.execute(_TITLES_BY_PART, (_like(part), most))
        return list(islice(_hits([*rows, *titles], [part], whole_words=False), limit))
    called = " ".join(words).casefold()
    exact = [row for row in titles if row[2].casefold() == called]
    return list(islice(_hits([*exact, *rows, *titles], words, whole_words=True), limit))


def in_prompts(seq: str, text: str, query: str) -> Iterator[tuple[str, list[Value]]]:
    """Conditions for ``query``, to be tried in turn: whole words first, then parts of words.

    The filters look at ``m``, the words at the message with the number ``seq`` and the text ``text``, two expressions.
    """
    words, filters = parse_query(query)
    conditions, values = filters.sql()
    also = f"AND {conditions}" if conditions else ""
    if not words:
        yield also, values
        return
    index = "(SELECT rowid FROM message_index WHERE message_index MATCH ?)"
    yield f"{also} AND {seq} IN {index}", [*values, _match(words)]
    yield f"{also} AND {text} LIKE ? ESCAPE '\\'", [*values, _like(" ".join(words))]


def stored(text: str) -> str:
    """``text`` as the database can keep it: lone surrogates, which no UTF-8 can hold, become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _freshest_first(rows: Sequence[Row]) -> list[Row]:
    """By rank (bm25: the smaller the better), with a mild preference for what is newer."""
    newest = max((row[3] for row in rows), default=0.0)

    def place(row: Row) -> float:
        age_days = (newest - row[3]) / 86_400
        return float(row[5] * (1 + _FRESHNESS * 0.5 ** (age_days / _FRESH_DAYS)))

    return sorted(rows, key=place)


def _hits(rows: Iterable[Row], words: Sequence[str], *, whole_words: bool) -> Iterator[Hit]:
    """One hit for equal texts in a conversation; one for its title (``text`` is ``None``) if no message matched."""
    seen: set[tuple[str, str | None]] = set()
    chats: set[str] = set()
    boundary = r"(?<!\w)" if whole_words else ""
    pattern = re.compile("|".join(boundary + re.escape(_folded(word)) for word in words) or r"(?!)")
    for chat_id, message_id, title, created_at, text, _ in rows:
        if (chat_id, text) in seen or (text is None and chat_id in chats):
            continue
        seen.add((chat_id, text))
        chats.add(chat_id)
        snippet, marks = _snippet(title if text is None else text, pattern)
        yield Hit(chat_id, message_id or "", title, snippet, created_at, marks)


def _snippet(text: str, pattern: re.Pattern[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """One line around the first match, and where in it the matches are."""
    first = pattern.search(_folded(text))
    start = max(0, first.start() - _BEFORE) if first else 0
    end = start + _LONGEST_SNIPPET
    line = ("…" if start else "") + " ".join(text[start:end].split()) + ("…" if end < len(text) else "")
    return line, tuple(match.span() for match in pattern.finditer(_folded(line)))


def _folded(text: str) -> str:
    """Lower case without accents, one character for each of ``text``, so that places stay what they are."""
    if text.isascii():
        return text.lower()
    return "".join(
        character.lower() if character.isascii() else unicodedata.normalize("NFD", character)[0].lower()[0]
        for character in text
    )


def _match(words: Sequence[str]) -> str:
    """All words must occur; the last one may be unfinished."""
    return " ".join('"' + word.replace('"', '""') + '"' for word in words) + "*"


def _like(text: str, before: str = "%", after: str = "%") -> str:
    return before + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + after


def _moment(value: str) -> float:
    """Seconds since 1970 of a day's start: ``2026-11-24``, ``today``, ``yesterday``, or ``7d`` for so many days ago."""
    today = datetime.combine(datetime.fromtimestamp(time.time()).astimezone().date(), datetime.min.time())
    days = re.fullmatch(r"(\d{1,5})d", value)
    try:
        if value in ("today", "yesterday") or days:
            day = today - timedelta(days=int(days[1]) if days else int(value == "yesterday"))
        else:
            day = datetime.strptime(value, "%Y-%m-%d")
        return day.astimezone().timestamp()
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{value} is no day", "write 2026-11-24, today, yesterday or 7d") from error


def _refuse(name: str, value: str, takes: str) -> NoReturn:
    raise UsageError(f"{name}:{value} is no filter", f"{name}: takes {takes}")
