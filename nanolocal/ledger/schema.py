"""The ledger's tables. The entries are the truth; ``account``, ``spent`` and ``held`` follow from them.

An entry's ``body`` is canonical JSON and the only thing hashed; the other columns are generated from it, so they cannot
disagree. SQL itself keeps the wallet from overdraft, and triggers refuse gaps, breaks in the chain, changes, removals.
"""

GUARDS = {
    "entry_continues_the_chain": """CREATE TRIGGER entry_continues_the_chain BEFORE INSERT ON entry BEGIN
                SELECT RAISE(ABORT, 'entry numbers must have no gap')
                WHERE new.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM entry);
                SELECT RAISE(ABORT, 'an entry must name the hash before it')
                WHERE new.seq > 1 AND new.prev <> (SELECT hash FROM entry WHERE seq = new.seq - 1);
            END""",
    "entry_is_final": """CREATE TRIGGER entry_is_final BEFORE UPDATE ON entry BEGIN
                SELECT RAISE(ABORT, 'ledger entries are never changed');
            END""",
    "entry_stays": """CREATE TRIGGER entry_stays BEFORE DELETE ON entry BEGIN
                SELECT RAISE(ABORT, 'ledger entries are never removed');
            END""",
    "price_is_final": """CREATE TRIGGER price_is_final BEFORE UPDATE ON price BEGIN
                SELECT RAISE(ABORT, 'prices are never changed');
            END""",
    "price_stays": """CREATE TRIGGER price_stays BEFORE DELETE ON price BEGIN
                SELECT RAISE(ABORT, 'prices are never removed');
            END""",
}
"""The triggers, by name."""

MIGRATIONS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (
        2,
        (
            """CREATE TABLE account (
                id TEXT PRIMARY KEY,
                debits_posted INTEGER NOT NULL DEFAULT 0 CHECK (debits_posted >= 0),
                credits_posted INTEGER NOT NULL DEFAULT 0 CHECK (credits_posted >= 0),
                debits_pending INTEGER NOT NULL DEFAULT 0 CHECK (debits_pending >= 0),
                credits_pending INTEGER NOT NULL DEFAULT 0 CHECK (credits_pending >= 0),
                no_overdraft INTEGER NOT NULL CHECK (no_overdraft IN (0, 1)),
                CHECK (no_overdraft = 0 OR debits_posted + debits_pending <= credits_posted)
            ) STRICT, WITHOUT ROWID""",
            """CREATE TABLE price (
                seq INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL UNIQUE CHECK (length(id) = 64),
                body TEXT NOT NULL,
                recorded_at INTEGER NOT NULL,
                build_id TEXT NOT NULL GENERATED ALWAYS AS (body ->> '$.build_id') STORED,
                build_sha256 TEXT NOT NULL GENERATED ALWAYS AS (body ->> '$.build_sha256') STORED
            ) STRICT""",
            "CREATE INDEX price_by_build ON price (build_id, build_sha256)",
            """CREATE TABLE entry (
                seq INTEGER PRIMARY KEY CHECK (seq >= 1),
                body TEXT NOT NULL,
                prev TEXT NOT NULL,
                hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64),
                sig BLOB,
                idem TEXT NOT NULL UNIQUE GENERATED ALWAYS AS (body ->> '$.idem') STORED,
                kind TEXT NOT NULL GENERATED ALWAYS AS (body ->> '$.kind') STORED
                    CHECK (kind IN ('transfer', 'hold', 'settle', 'void', 'reverse', 'restore', 'checkpoint')),
                amount INTEGER NOT NULL GENERATED ALWAYS AS (body ->> '$.amount') STORED CHECK (amount >= 0),
                debit TEXT NOT NULL REFERENCES account (id) GENERATED ALWAYS AS (body ->> '$.debit') STORED,
                credit TEXT NOT NULL REFERENCES account (id) GENERATED ALWAYS AS (body ->> '$.credit') STORED,
                ref TEXT GENERATED ALWAYS AS (body ->> '$.ref') STORED,
                price_id TEXT REFERENCES price (id) GENERATED ALWAYS AS (body ->> '$.price_id') STORED,
                chat_id TEXT GENERATED ALWAYS AS (body ->> '$.chat_id') STORED,
                ts INTEGER NOT NULL GENERATED ALWAYS AS (body ->> '$.ts') STORED,
                CHECK (body ->> '$.seq' = seq)
            ) STRICT""",
            "CREATE UNIQUE INDEX entry_resolves_once ON entry (ref) WHERE kind IN ('settle', 'void')",
            "CREATE INDEX entry_by_kind ON entry (kind, seq)",
            *GUARDS.values(),
        ),
    ),
    (
        5,
        (
            # Kinds that say what holds from here on, columns to add usage up by, and a table rebuilt to check them.
            """CREATE TABLE entry_anew (
                seq INTEGER PRIMARY KEY CHECK (seq >= 1),
                body TEXT NOT NULL,
                prev TEXT NOT NULL,
                hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64),
                sig BLOB CHECK (length(sig) = 64),
                idem TEXT NOT NULL UNIQUE GENERATED ALWAYS AS (body ->> '$.idem') STORED,
                kind TEXT NOT NULL GENERATED ALWAYS AS (body ->> '$.kind') STORED CHECK (kind IN
                    ('transfer', 'hold', 'settle', 'void', 'restore', 'device', 'budget', 'issuer', 'price')),
                amount INTEGER NOT NULL GENERATED ALWAYS AS (body ->> '$.amount') STORED CHECK (amount >= 0),
                debit TEXT NOT NULL REFERENCES account (id) GENERATED ALWAYS AS (body ->> '$.debit') STORED,
                credit TEXT NOT NULL REFERENCES account (id) GENERATED ALWAYS AS (body ->> '$.credit') STORED,
                ref TEXT GENERATED ALWAYS AS (body ->> '$.ref') STORED,
                price_id TEXT REFERENCES price (id) GENERATED ALWAYS AS (body ->> '$.price_id') STORED,
                build_id TEXT GENERATED ALWAYS AS (body ->> '$.build_id') STORED,
                chat_id TEXT GENERATED ALWAYS AS (body ->> '$.chat_id') STORED,
                key TEXT GENERATED ALWAYS AS (body ->> '$.key') STORED,
                day TEXT GENERATED ALWAYS AS
                    (coalesce(body ->> '$.day', date((body ->> '$.ts') / 1000, 'unixepoch'))) STORED,
                ts INTEGER NOT NULL GENERATED ALWAYS AS (body ->> '$.ts') STORED,
                prompt_tokens INTEGER GENERATED ALWAYS AS (body ->> '$.usage.prompt_tokens') VIRTUAL,
                cached_tokens INTEGER GENERATED ALWAYS AS (body ->> '$.usage.cached_tokens') VIRTUAL,
                completion_tokens INTEGER GENERATED ALWAYS AS (body ->> '$.usage.completion_tokens') VIRTUAL,
                pixel_steps INTEGER GENERATED ALWAYS AS (body ->> '$.usage.pixel_steps') VIRTUAL,
                loads INTEGER GENERATED ALWAYS AS (coalesce(body ->> '$.usage.loads', 0)) VIRTUAL,
                CHECK (body ->> '$.seq' = seq)
            ) STRICT""",
            "INSERT INTO entry_anew (seq, body, prev, hash, sig) SELECT seq, body, prev, hash, sig FROM entry",
            "DROP TABLE entry",
            "ALTER TABLE entry_anew RENAME TO entry",
            "CREATE UNIQUE INDEX entry_resolves_once ON entry (ref) WHERE kind IN ('settle', 'void')",
            "CREATE INDEX entry_by_kind ON entry (kind, seq)",
            # All that usage is added up from, so that the entries themselves need not be read.
            """CREATE INDEX entry_usage ON entry (
                day, build_id, chat_id, key, amount, prompt_tokens, cached_tokens, completion_tokens, pixel_steps, loads
            ) WHERE kind = 'settle'""",
            *(sql for name, sql in GUARDS.items() if name.startswith("entry")),
            """CREATE TABLE spent (
                subject TEXT NOT NULL,
                period TEXT NOT NULL,
                posted INTEGER NOT NULL DEFAULT 0 CHECK (posted >= 0),
                pending INTEGER NOT NULL DEFAULT 0 CHECK (pending >= 0),
                PRIMARY KEY (subject, period)
            ) STRICT, WITHOUT ROWID""",
            # The holds that are neither settled nor voided.
            "CREATE TABLE held (idem TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
            """INSERT INTO held SELECT idem FROM entry AS hold WHERE kind = 'hold' AND NOT EXISTS
                (SELECT 1 FROM entry AS done WHERE done.ref = hold.idem AND done.kind IN ('settle', 'void'))""",
            # What a check found: the wallet is read-only until the owner accepts it.
            """CREATE TABLE finding (
                id INTEGER PRIMARY KEY CHECK (id = 1),
                what TEXT NOT NULL,
                known TEXT NOT NULL,
                is_accepted INTEGER NOT NULL CHECK (is_accepted IN (0, 1))
            ) STRICT""",
        ),
    ),
    (
        6,
        (
            # An issuer's own keys. What they sign is in the chain.
            """CREATE TABLE issuer_key (
                kid TEXT PRIMARY KEY CHECK (length(kid) = 8),
                name TEXT NOT NULL UNIQUE,
                seed BLOB NOT NULL CHECK (length(seed) = 32),
                made_at INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID""",
            """CREATE UNIQUE INDEX voucher_serial_once ON entry
                (debit, body ->> '$.terms.serial', body ->> '$.terms.kind')
                WHERE kind = 'transfer' AND debit GLOB 'issuer:*'""",
        ),
    ),
)
