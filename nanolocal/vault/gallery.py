"""The pictures of a vault, whatever conversation they belong to: implements ``chat.ports.Gallery``."""

from collections.abc import Sequence
from contextlib import suppress

from nanolocal.chat.drawing import CONTROL, MASK, PictureReceipt, StoredPicture
from nanolocal.chat.messages import Attachment
from nanolocal.errors import Damaged, UsageError
from nanolocal.vault import contents, promptcache
from nanolocal.vault.blobs import Blobs
from nanolocal.vault.database import Database, Row, Transaction, Value
from nanolocal.vault.search import in_prompts
from nanolocal.vault.snapshots import DELETED

_PICTURES = """
    FROM attachment a JOIN message m ON m.id = a.message_id
    LEFT JOIN message asked ON asked.chat_id = m.chat_id AND asked.id = m.parent_id AND m.role = 'assistant'
    WHERE a.media_type LIKE 'image/%' {conditions}"""
_LISTED = f"""
    SELECT a.blob_id, m.chat_id, m.id, coalesce(asked.text, m.text), coalesce(m.build_id, ''), m.created_at, a.size,
           a.receipt, m.hold_id IS NOT NULL
    {_PICTURES} AND m.created_at >= coalesce(
        (SELECT m.created_at {_PICTURES} ORDER BY m.created_at DESC LIMIT 1 OFFSET ?), -1e300)
    ORDER BY m.created_at DESC, m.seq DESC, a.position"""


class Pictures:
    """The drawn and attached pictures of one vault. Unknown ids raise ``UsageError``."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs

    def pictures(self, query: str = "", limit: int = 60, before: float | None = None) -> Sequence[StoredPicture]:
        """The newest first, of prompts with all the words of ``query``, the last of which may be unfinished.

        With ``before`` only those from before that moment. Pictures of one moment stay together, so that there may be
        more than ``limit``.
        """
        parts: list[str] = []
        values: list[Value] = []
        if before is not None:
            parts.append("AND m.created_at < ?")
            values.append(before)
        if limit <= 0:
            return []
        for condition, more in in_prompts("coalesce(asked.seq, m.seq)", "coalesce(asked.text, m.text)", query):
            statement = _LISTED.format(conditions=" ".join([*parts, condition]))
            given = (*values, *more)
            if rows := self._database.execute(statement, (*given, *given, limit - 1)):
                return [_stored(row) for row in rows]
        return []

    def matching(self, start: str) -> Sequence[str]:
        """The ids that begin with ``start``, up to two of them."""
        pattern = "".join(character for character in start if character.isalnum()) + "%"
        query = f"SELECT a.blob_id {_PICTURES.format(conditions='AND a.blob_id LIKE ?')} LIMIT 2"
        return [row[0] for row in self._database.execute(query, (pattern,))]

    def stored(self, id: str) -> StoredPicture:
        """What is known of a picture, its bytes aside."""
        rows = self._database.execute(_LISTED.format(conditions="AND a.blob_id = ?"), (id, id, 0))
        if not rows:
            raise _no_picture(id)
        return _stored(rows[0])

    def drawn_under(self, hold_id: str) -> Sequence[StoredPicture]:
        """The pictures that a hold in the ledger was charged for, in the order they were drawn."""
        rows = self._database.execute(
            """SELECT blob_id FROM attachment JOIN message ON id = message_id
               WHERE hold_id = ? AND media_type LIKE 'image/%' ORDER BY position""",
            (hold_id,),
        )
        return [self.stored(row[0]) for row in rows]

    def picture(self, id: str) -> Attachment:
        """One picture with its bytes and its receipt; raises ``Damaged`` where it can no longer be read."""
        rows = self._database.execute(
            "SELECT name, media_type, key, coalesce(receipt, '') FROM attachment WHERE blob_id = ?", (id,)
        )
        if not rows:
            raise _no_picture(id)
        name, kind, key, receipt = rows[0]
        return Attachment(name, kind, self._blobs.read(id, key or b""), receipt)

    def ingredients(self, id: str) -> Sequence[Attachment]:
        """The mask and the control picture that it was drawn with, as far as they can be read."""
        rows = self._database.execute(
            """SELECT other.name, other.media_type, other.blob_id, other.key
               FROM attachment drawn JOIN attachment other ON other.message_id = drawn.message_id
               WHERE drawn.blob_id = ? AND other.media_type IN (?, ?) ORDER BY other.position""",
            (id, MASK, CONTROL),
        )
        found = []
        for name, kind, blob_id, key in rows:
            with suppress(Damaged):
                found.append(Attachment(name, kind, self._blobs.read(blob_id, key or b"")))
        return found

    def delete_picture(self, id: str) -> None:
        """Remove it, its key first, and what engines have read of it; its message stays and says so.

        With the last picture of an answer goes what they were drawn with.

        The vault's snapshots, which still hold the key, are made anew when the vault is next opened or closed.
        """
        with self._database.transaction() as tx:
            rows = tx.execute(
                """SELECT m.id, m.chat_id, m.text, a.name FROM attachment a JOIN message m ON m.id = a.message_id
                   WHERE a.blob_id = ?""",
                (id,),
            )
            if not rows:
                raise _no_picture(id)
            message_id, chat_id, text, name = rows[0]
            gone = [id, *self._left_alone(tx, message_id, id)]
            for blob_id in gone:
                contents.removed(tx, "attachment", "blob_id = ?", (blob_id,))
            contents.removed(tx, "message", "id = ?", (message_id,))
            promptcache.forget_chat(tx, self._database.directory, chat_id)
            for blob_id in gone:
                tx.execute("DELETE FROM attachment WHERE blob_id = ?", (blob_id,))
            told = f"{text}\n\n[{name} was deleted]".strip()
            tx.execute("UPDATE message SET text = ? WHERE id = ?", (told, message_id))
            contents.added(tx, "message", "id = ?", (message_id,))
            tx.execute("INSERT OR REPLACE INTO setting (name, value) VALUES (?, '1')", (DELETED,))
            tx.on_commit(lambda: self._blobs.discard(gone))
        self._database.checkpoint()

    def _left_alone(self, tx: Transaction, message_id: str, id: str) -> list[str]:
        """What the last picture of a message was drawn with; nothing while there are others."""
        rows = tx.execute("SELECT blob_id, media_type FROM attachment WHERE message_id = ?", (message_id,))
        if any(kind.startswith("image/") for blob_id, kind in rows if blob_id != id):
            return []
        return [blob_id for blob_id, kind in rows if kind in (MASK, CONTROL)]


def _stored(row: Row) -> StoredPicture:
    id, chat_id, message_id, prompt, build_id, created_at, size, receipt, made_here = row
    known = _receipt(receipt)
    return StoredPicture(id, chat_id, message_id, prompt, build_id, created_at, size, known, bool(made_here))


def _receipt(text: str | None) -> PictureReceipt | None:
    """``None`` for one that a newer nanolocal wrote in another form, too: the picture is there all the same."""
    try:
        return None if text is None else PictureReceipt.from_json(text)
    except Damaged:
        return None


def _no_picture(id: str) -> UsageError:
    return UsageError(f"there is no picture {id}", "see: nanolocal pictures list")
