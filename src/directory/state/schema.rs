//! The directory's tables in the CA's database, and how older ones become these.
//!
//! Rules kept here: those of the inventory's own tables (a migration is one
//! transaction and never changed once released; no SQL that an older SQLite cannot
//! parse); these tables count their versions for themselves, and are made only where
//! a directory is run; nothing in them refers to the inventory's rows, which are swept
//! by rules of their own.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

use super::StateError;

/// Each brings the tables from its own position to the next.
pub(super) const MIGRATIONS: [&str; 2] = [
    "
CREATE TABLE acme_accounts (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,         -- random, as every id here
    thumbprint TEXT NOT NULL UNIQUE, -- of the key; RFC 7638
    jwk TEXT NOT NULL,
    status TEXT NOT NULL,
    contacts TEXT NOT NULL,          -- JSON
    terms_agreed INTEGER NOT NULL,
    eab_kid TEXT REFERENCES acme_eab_keys (kid),
    created_at INTEGER NOT NULL      -- seconds since 1970, UTC, as every time here
);

CREATE TABLE acme_eab_keys (
    kid TEXT PRIMARY KEY,
    mac_key BLOB NOT NULL,           -- secret
    names TEXT NOT NULL,             -- JSON: what may be ordered; empty: what the CA permits
    trust TEXT NOT NULL CHECK (trust IN ('validate', 'skip-validation')),
    created_at INTEGER NOT NULL,
    bound_at INTEGER,                -- to the account that names this kid
    revoked_at INTEGER
) WITHOUT ROWID;

CREATE INDEX acme_accounts_by_eab ON acme_accounts (eab_kid) WHERE eab_kid IS NOT NULL;

CREATE TABLE acme_orders (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    account INTEGER NOT NULL REFERENCES acme_accounts (number),
    status TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    keep_until INTEGER NOT NULL,     -- when nothing depends on it any more
    identifiers TEXT NOT NULL,       -- JSON, word for word as ordered
    not_before INTEGER,
    not_after INTEGER,
    profile TEXT,
    replaces TEXT,                   -- RFC 9773
    error TEXT,                      -- a problem document
    csr BLOB,
    finalized_at INTEGER,
    serial TEXT                      -- of the certificate, lower-case hex
);

CREATE INDEX acme_orders_of_account ON acme_orders (account, number)
    WHERE status <> 'invalid';
CREATE INDEX acme_orders_open ON acme_orders (account, expires_at)
    WHERE status IN ('pending', 'ready', 'processing');
CREATE INDEX acme_orders_processing ON acme_orders (number) WHERE status = 'processing';
CREATE INDEX acme_orders_by_end ON acme_orders (keep_until);
CREATE UNIQUE INDEX acme_orders_by_serial ON acme_orders (serial) WHERE serial IS NOT NULL;
CREATE UNIQUE INDEX acme_orders_replacing ON acme_orders (replaces)
    WHERE replaces IS NOT NULL AND status <> 'invalid';

CREATE TABLE acme_authorizations (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    acme_order INTEGER NOT NULL REFERENCES acme_orders (number) ON DELETE CASCADE,
    account INTEGER NOT NULL REFERENCES acme_accounts (number),
    identifier TEXT NOT NULL,        -- with `*.` for a wildcard
    status TEXT NOT NULL,
    expires_at INTEGER NOT NULL
);

CREATE INDEX acme_authorizations_of_order ON acme_authorizations (acme_order);
CREATE INDEX acme_authorizations_live ON acme_authorizations (account, identifier, expires_at)
    WHERE status IN ('pending', 'valid');

CREATE TABLE acme_challenges (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    authorization INTEGER NOT NULL REFERENCES acme_authorizations (number) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    token TEXT NOT NULL,
    status TEXT NOT NULL,
    validated_at INTEGER,
    error TEXT                       -- a problem document
);

CREATE INDEX acme_challenges_of_authorization ON acme_challenges (authorization);
CREATE INDEX acme_challenges_processing ON acme_challenges (number)
    WHERE status = 'processing';
",
    // Who is at it, while it is in `processing`: one of the processes that run the directory.
    "
ALTER TABLE acme_orders ADD COLUMN runner INTEGER;
ALTER TABLE acme_challenges ADD COLUMN runner INTEGER;
",
];

/// The version of the tables that this program writes.
const VERSION: usize = MIGRATIONS.len();

/// Brings the tables into shape, beside others doing the same.
pub(super) fn prepare(connection: &Connection) -> Result<(), StateError> {
    if version(connection)? == VERSION {
        return Ok(());
    }
    // Atomic: all steps and the new version, or nothing; and looked at again, since
    // another process may have done it while this one waited.
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let done = version(&transaction)?;
    if done > VERSION {
        return Err(StateError::NewerSchema {
            found: done,
            known: VERSION,
        });
    }
    for step in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS acme_schema (version INTEGER NOT NULL);
         DELETE FROM acme_schema",
    )?;
    transaction.execute("INSERT INTO acme_schema (version) VALUES (?1)", [VERSION])?;
    Ok(transaction.commit()?)
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    let there = connection
        .query_row(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'acme_schema'",
            [],
            |_| Ok(()),
        )
        .optional()?;
    match there {
        None => Ok(0),
        Some(()) => connection.query_row("SELECT version FROM acme_schema", [], |row| row.get(0)),
    }
}
