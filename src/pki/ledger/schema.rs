//! The tables of the inventory, and how older ones become these.
//!
//! Rules kept here: a migration is one transaction, and once released it is never
//! changed; names of tables and columns are for people who query the file, and its
//! SQL is what the SQLite of older systems reads too (no STRICT, no `unixepoch()`):
//! one line that it cannot parse makes the whole file unreadable to it.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::{BUSY_TIMEOUT, LedgerError};

/// Each brings a database from its own position to the next; `user_version` counts
/// those that were done.
const MIGRATIONS: [&str; 1] = ["
CREATE TABLE certificates (
    number INTEGER PRIMARY KEY,      -- in the order of issuance
    serial TEXT NOT NULL UNIQUE,     -- lower-case hex
    issuer TEXT NOT NULL,            -- R1, I1, …
    role TEXT NOT NULL CHECK (role IN ('root', 'cross', 'intermediate', 'leaf')),
    id TEXT,                         -- the directory under certs/
    names TEXT NOT NULL,             -- one a line, in order; to search, ask the table below
    subject TEXT NOT NULL,
    usage TEXT NOT NULL,
    key_type TEXT NOT NULL,
    not_before INTEGER NOT NULL,     -- seconds since 1970, UTC, as every time here
    not_after INTEGER NOT NULL,
    issued_at INTEGER NOT NULL,
    spki_sha256 TEXT NOT NULL,       -- lower-case hex
    revoked_at INTEGER,
    revocation_reason TEXT,          -- in the words of RFC 5280
    der BLOB NOT NULL,
    CHECK ((revoked_at IS NULL) = (revocation_reason IS NULL))
);

CREATE INDEX certificates_by_expiry ON certificates (not_after);
CREATE INDEX certificates_by_role ON certificates (role, not_after);
CREATE INDEX certificates_by_id ON certificates (id) WHERE id IS NOT NULL;
CREATE INDEX certificates_revoked ON certificates (not_after, role, issuer)
    WHERE revoked_at IS NOT NULL;

CREATE TABLE names (
    name TEXT NOT NULL,              -- as in the certificate; IDN as A-labels
    certificate INTEGER NOT NULL REFERENCES certificates (number) ON DELETE CASCADE,
    PRIMARY KEY (name, certificate)
) WITHOUT ROWID;

CREATE INDEX names_by_certificate ON names (certificate);

CREATE TABLE crls (
    issuer TEXT PRIMARY KEY,
    last_number INTEGER NOT NULL,    -- given out last, whether or not it was signed
    published_number INTEGER,
    published_at INTEGER             -- thisUpdate of the published CRL
) WITHOUT ROWID;

CREATE VIEW certificates_readable AS SELECT
    serial,
    replace(names, char(10), ' ') AS names,
    CASE WHEN revoked_at IS NOT NULL THEN 'revoked'
        WHEN not_after < strftime('%s', 'now') + 0 THEN 'expired'
        WHEN not_before > strftime('%s', 'now') + 0 THEN 'not yet valid'
        ELSE 'valid' END AS state,
    role, issuer, id, subject, usage, key_type,
    strftime('%Y-%m-%dT%H:%M:%SZ', not_before, 'unixepoch') AS not_before,
    strftime('%Y-%m-%dT%H:%M:%SZ', not_after, 'unixepoch') AS not_after,
    strftime('%Y-%m-%dT%H:%M:%SZ', issued_at, 'unixepoch') AS issued_at,
    strftime('%Y-%m-%dT%H:%M:%SZ', revoked_at, 'unixepoch') AS revoked_at,
    revocation_reason,
    spki_sha256
FROM certificates;
"];

/// The version of the tables that this program writes.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// Brings a database that was just opened into shape, beside others doing the same.
pub(super) fn prepare(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    let failed = |source| LedgerError::sqlite("open", path, source);
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    // A restored file may be a stranger's: no functions from its schema.
    connection
        .execute_batch("PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = ON")
        .map_err(failed)?;
    refuse_newer(version(connection).map_err(failed)?, path)?;
    enter_wal(connection).map_err(failed)?;
    // FULL: what was committed is on the disk, also after a power cut. In WAL mode
    // NORMAL would not sync at a commit, and a CRL number could come twice.
    connection
        .execute_batch("PRAGMA synchronous = FULL")
        .map_err(failed)?;
    migrate(connection, path)
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn refuse_newer(found: usize, path: &Path) -> Result<(), LedgerError> {
    if found > VERSION {
        return Err(LedgerError::NewerSchema {
            path: path.to_owned(),
            found,
            known: VERSION,
        });
    }
    Ok(())
}

/// Switches to the write-ahead log, once in the life of a database. SQLite does not
/// call its busy handler for every step of this, hence the loop.
fn enter_wal(connection: &Connection) -> rusqlite::Result<()> {
    const PAUSE: Duration = Duration::from_millis(10);
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        let outcome = connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()));
        match outcome {
            Err(rusqlite::Error::SqliteFailure(failure, _))
                if failure.code == ErrorCode::DatabaseBusy && Instant::now() < deadline =>
            {
                thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
}

fn migrate(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    let failed = |source| LedgerError::sqlite("migrate", path, source);
    if version(connection).map_err(failed)? == VERSION {
        return Ok(());
    }
    // Atomic: all steps and the new version, or nothing; and looked at again, since
    // another process may have done it while this one waited.
    let transaction =
        Transaction::new_unchecked(connection, TransactionBehavior::Immediate).map_err(failed)?;
    let done = version(&transaction).map_err(failed)?;
    refuse_newer(done, path)?;
    for step in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(step).map_err(failed)?;
    }
    transaction
        .pragma_update(None, "user_version", VERSION)
        .map_err(failed)?;
    transaction.commit().map_err(failed)
}
