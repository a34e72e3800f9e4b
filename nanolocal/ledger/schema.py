"""The ledger's tables. The entries are the truth, the accounts a sum of them that SQL itself keeps from overdraft.

An entry's ``body`` is canonical JSON and the only thing hashed; the other columns are generated from it, so they cannot
disagree. Triggers refuse gaps, breaks in the chain, changes and removals.
"""

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
            """CREATE TRIGGER entry_continues_the_chain BEFORE INSERT ON entry BEGIN
                SELECT RAISE(ABORT, 'entry numbers must have no gap')
                WHERE new.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM entry);
                SELECT RAISE(ABORT, 'an entry must name the hash before it')
                WHERE new.seq > 1 AND new.prev <> (SELECT hash FROM entry WHERE seq = new.seq - 1);
            END""",
            """CREATE TRIGGER entry_is_final BEFORE UPDATE ON entry BEGIN
                SELECT RAISE(ABORT, 'ledger entries are never changed');
            END""",
            """CREATE TRIGGER entry_stays BEFORE DELETE ON entry BEGIN
                SELECT RAISE(ABORT, 'ledger entries are never removed');
            END""",
            """CREATE TRIGGER price_is_final BEFORE UPDATE ON price BEGIN
                SELECT RAISE(ABORT, 'prices are never changed');
            END""",
            """CREATE TRIGGER price_stays BEFORE DELETE ON price BEGIN
                SELECT RAISE(ABORT, 'prices are never removed');
            END""",
        ),
    ),
)
