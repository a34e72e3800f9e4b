"""The vault's tables: conversations as trees, their attachments, the search index, and what engines have read of them.

``seq`` orders messages by arrival whatever the clock says. A parent must be a message of the same conversation; the
check is deferred so that a conversation of any depth goes in one statement.
"""

MIGRATIONS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (
        1,
        (
            "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
            """CREATE TABLE chat (
                seq INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL UNIQUE,
                title TEXT NOT NULL,
                system TEXT,
                created_at REAL NOT NULL,
                updated_at REAL NOT NULL
            ) STRICT""",
            "CREATE INDEX chat_by_update ON chat (updated_at)",
            """CREATE TABLE message (
                seq INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL UNIQUE,
                chat_id TEXT NOT NULL REFERENCES chat (id),
                parent_id TEXT,
                role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
                text TEXT NOT NULL,
                created_at REAL NOT NULL,
                build_id TEXT,
                task TEXT,
                stopped TEXT,
                problem TEXT,
                cost_micro INTEGER NOT NULL DEFAULT 0 CHECK (cost_micro >= 0),
                hold_id TEXT UNIQUE,
                prompt_tokens INTEGER NOT NULL DEFAULT 0,
                cached_tokens INTEGER NOT NULL DEFAULT 0,
                completion_tokens INTEGER NOT NULL DEFAULT 0,
                pixel_steps INTEGER NOT NULL DEFAULT 0,
                dropped_tokens INTEGER NOT NULL DEFAULT 0,
                load_s REAL NOT NULL DEFAULT 0,
                ttft_s REAL NOT NULL DEFAULT 0,
                prompt_tok_s REAL NOT NULL DEFAULT 0,
                decode_tok_s REAL NOT NULL DEFAULT 0,
                cpu_s REAL NOT NULL DEFAULT 0,
                energy_j REAL NOT NULL DEFAULT 0,
                route_json TEXT,
                UNIQUE (chat_id, id),
                FOREIGN KEY (chat_id, parent_id) REFERENCES message (chat_id, id) DEFERRABLE INITIALLY DEFERRED
            ) STRICT""",
            "CREATE INDEX message_by_parent ON message (chat_id, parent_id)",
            """CREATE TABLE attachment (
                blob_id TEXT PRIMARY KEY,
                message_id TEXT NOT NULL REFERENCES message (id) ON DELETE CASCADE,
                position INTEGER NOT NULL,
                name TEXT NOT NULL,
                media_type TEXT NOT NULL,
                size INTEGER NOT NULL CHECK (size >= 0),
                UNIQUE (message_id, position)
            ) STRICT""",
            """CREATE VIRTUAL TABLE message_index USING fts5(
                text, content='message', content_rowid='seq', tokenize="unicode61 remove_diacritics 2"
            )""",
            """CREATE VIRTUAL TABLE chat_index USING fts5(
                title, content='chat', content_rowid='seq', tokenize="unicode61 remove_diacritics 2"
            )""",
            # Without this the words of a deleted text stay readable in the index's free slots.
            "INSERT INTO message_index (message_index, rank) VALUES ('secure-delete', 1)",
            "INSERT INTO chat_index (chat_index, rank) VALUES ('secure-delete', 1)",
            """CREATE TRIGGER message_indexed AFTER INSERT ON message BEGIN
                INSERT INTO message_index (rowid, text) VALUES (new.seq, new.text);
            END""",
            """CREATE TRIGGER message_unindexed AFTER DELETE ON message BEGIN
                INSERT INTO message_index (message_index, rowid, text) VALUES ('delete', old.seq, old.text);
            END""",
            """CREATE TRIGGER message_reindexed AFTER UPDATE OF text ON message BEGIN
                INSERT INTO message_index (message_index, rowid, text) VALUES ('delete', old.seq, old.text);
                INSERT INTO message_index (rowid, text) VALUES (new.seq, new.text);
            END""",
            """CREATE TRIGGER chat_indexed AFTER INSERT ON chat BEGIN
                INSERT INTO chat_index (rowid, title) VALUES (new.seq, new.title);
            END""",
            """CREATE TRIGGER chat_unindexed AFTER DELETE ON chat BEGIN
                INSERT INTO chat_index (chat_index, rowid, title) VALUES ('delete', old.seq, old.title);
            END""",
            """CREATE TRIGGER chat_reindexed AFTER UPDATE OF title ON chat BEGIN
                INSERT INTO chat_index (chat_index, rowid, title) VALUES ('delete', old.seq, old.title);
                INSERT INTO chat_index (rowid, title) VALUES (new.seq, new.title);
            END""",
        ),
    ),
    (
        3,
        (
            # number and mark change with every commit; the header's anchor holds the last ones, see contents.py too.
            """CREATE TABLE progress (
                one INTEGER PRIMARY KEY CHECK (one = 1),
                number INTEGER NOT NULL,
                mark TEXT NOT NULL,
                anchored INTEGER NOT NULL,
                digest TEXT
            ) STRICT""",
            "INSERT INTO progress (one, number, mark, anchored) VALUES (1, 0, '', 0)",
            # Half of a blob's key, so that with this row gone no copy of the file can be read.
            "ALTER TABLE attachment ADD COLUMN key BLOB",
            "ALTER TABLE chat ADD COLUMN source TEXT",
            "CREATE UNIQUE INDEX chat_by_source ON chat (source) WHERE source IS NOT NULL",
            """CREATE TABLE feedback (
                seq INTEGER PRIMARY KEY AUTOINCREMENT,
                message_id TEXT NOT NULL UNIQUE REFERENCES message (id) ON DELETE CASCADE,
                verdict TEXT NOT NULL CHECK (verdict IN ('good', 'bad')),
                note TEXT NOT NULL,
                created_at REAL NOT NULL
            ) STRICT""",
            "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
        ),
    ),
    (
        4,
        (
            # An answer that is still being written, so that a killed process loses seconds of it; see ports.Store.
            """CREATE TABLE draft (
                hold_id TEXT PRIMARY KEY,
                prompt_id TEXT NOT NULL REFERENCES message (id) ON DELETE CASCADE,
                columns_json TEXT NOT NULL
            ) STRICT, WITHOUT ROWID""",
        ),
    ),
    (
        7,
        (
            # What this device has seen of its builds, by the SHA-256 of their files; see experience.py.
            """CREATE TABLE speed (
                sha256 TEXT PRIMARY KEY,
                load_s REAL NOT NULL,
                read_tok_s REAL NOT NULL,
                write_tok_s REAL NOT NULL,
                answers INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID""",
            """CREATE TABLE signal (
                seq INTEGER PRIMARY KEY AUTOINCREMENT,
                message_id TEXT NOT NULL REFERENCES message (id) ON DELETE CASCADE,
                sha256 TEXT NOT NULL,
                task TEXT NOT NULL,
                kind TEXT NOT NULL,
                weight REAL NOT NULL,
                created_at REAL NOT NULL,
                UNIQUE (message_id, kind)
            ) STRICT""",
            """CREATE TABLE exam (
                sha256 TEXT NOT NULL,
                task TEXT NOT NULL,
                wins REAL NOT NULL,
                tries REAL NOT NULL,
                taken_at REAL NOT NULL,
                PRIMARY KEY (sha256, task)
            ) STRICT, WITHOUT ROWID""",
        ),
    ),
    (
        8,
        (
            # The keys of the files in prompts/; one without a conversation is being written. See promptcache.py.
            """CREATE TABLE prompt_cache (
                file TEXT PRIMARY KEY,
                key BLOB NOT NULL,
                chat_id TEXT REFERENCES chat (id) ON DELETE CASCADE,
                sha256 TEXT,
                tokens INTEGER NOT NULL,
                size INTEGER NOT NULL CHECK (size >= 0),
                used_at REAL NOT NULL,
                UNIQUE (chat_id, sha256)
            ) STRICT, WITHOUT ROWID""",
        ),
    ),
    (
        9,
        (
            # How a picture was drawn: JSON of chat.drawing.PictureReceipt; NULL for every other file.
            "ALTER TABLE attachment ADD COLUMN receipt TEXT",
        ),
    ),
    (
        10,
        (
            # How builds run fastest here, by the SHA-256 of their files, this device and the release of the library.
            """CREATE TABLE tuning (
                sha256 TEXT NOT NULL,
                device TEXT NOT NULL,
                library TEXT NOT NULL,
                settings_json TEXT NOT NULL,
                gain REAL NOT NULL,
                tried_at REAL NOT NULL,
                PRIMARY KEY (sha256, device, library)
            ) STRICT, WITHOUT ROWID""",
            # What guessing ahead gained in answers of a task; see tunings.py.
            """CREATE TABLE guessing (
                sha256 TEXT NOT NULL,
                task TEXT NOT NULL,
                gain REAL NOT NULL,
                answers INTEGER NOT NULL,
                seen_at REAL NOT NULL,
                PRIMARY KEY (sha256, task)
            ) STRICT, WITHOUT ROWID""",
        ),
    ),
    (
        11,
        (
            # What the program itself knew of an answer: JSON of chat.messages.Source; NULL where that is nothing.
            "ALTER TABLE message ADD COLUMN sources_json TEXT",
        ),
    ),
)
