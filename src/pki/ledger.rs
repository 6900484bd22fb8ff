//! The inventory: every certificate the CA ever issued, what was revoked, and the
//! numbers of its CRLs, in one SQLite database that people can query.
//!
//! Rules kept here: all SQL stands in this module, and typed values go in and out,
//! so that another database can take its place; what a comment calls atomic must
//! be so there too. Several processes use the file at once: each write is one
//! transaction that takes the write lock at its start, since a read that turns
//! into a write fails when somebody wrote in between. The file is 0600 from
//! creation, and SQLite gives its companions (`-wal`, `-shm`) the same mode.

mod entry;
mod error;
mod schema;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Row, Transaction, TransactionBehavior, params,
    params_from_iter,
};

pub use entry::{
    Counts, Entry, Filter, LastCrl, Reason, Revocation, Revoke, Revoked, Role, UnknownReason,
    serial_from_hex, serial_to_hex,
};
pub use error::LedgerError;

use crate::clock::Timestamp;
use crate::identifier::{CertId, Identifier};
use crate::store::{StoreError, disk};

/// How long a process waits for another one's write.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The inventory of one CA. One thread at a time; open it again for another.
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
    path: PathBuf,
}

impl Ledger {
    /// The version of the tables, as recorded in backups.
    pub const SCHEMA: usize = schema::VERSION;
    /// How many rows one transaction of [`Ledger::sweep`] deletes, so that nobody
    /// waits for long behind it.
    const SWEEP_BATCH: usize = 2000;

    /// Opens the inventory at `path`; makes it when there is none, and brings an
    /// older one up to date.
    ///
    /// Refuses one made by a newer certmint.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        create_private(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)
            .map_err(|source| LedgerError::sqlite("open", path, source))?;
        schema::prepare(&connection, path)?;
        Ok(Self {
            connection,
            path: path.to_owned(),
        })
    }

    /// Where the inventory lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes down certificates. To be called before any of them leaves the CA.
    ///
    /// Atomic and durable: all of them or, when a serial number is there already,
    /// none.
    pub fn record(&self, entries: &[Entry]) -> Result<(), LedgerError> {
        let transaction = self.begin("write")?;
        for entry in entries {
            insert(&transaction, entry).map_err(|error| match is_duplicate(&error) {
                true => LedgerError::Duplicate(entry.serial_hex()),
                false => self.failed("write")(error),
            })?;
        }
        transaction.commit().map_err(self.failed("write"))
    }

    /// The certificate with this serial number.
    pub fn by_serial(&self, serial: &[u8]) -> Result<Option<Entry>, LedgerError> {
        self.one("c.serial = ?1", Value::from(serial_to_hex(serial)))
    }

    /// The certificate that was issued last for exactly this name.
    pub fn newest_by_name(&self, name: &Identifier) -> Result<Option<Entry>, LedgerError> {
        self.one(
            "c.number = (SELECT max(certificate) FROM names WHERE name = ?1)",
            Value::from(name.to_string()),
        )
    }

    /// The certificate that was issued last under this id.
    pub fn newest_by_id(&self, id: &CertId) -> Result<Option<Entry>, LedgerError> {
        self.one(
            "c.number = (SELECT max(number) FROM certificates WHERE id = ?1)",
            Value::from(id.as_str().to_owned()),
        )
    }

    /// Calls `visit` with each certificate that `filter` lets through, the one that
    /// expires first at first. None is held in memory but the one visited.
    ///
    /// What is seen is one moment's state, whatever others write meanwhile; `visit`
    /// must not write to this inventory.
    pub fn for_each(
        &self,
        filter: &Filter,
        mut visit: impl FnMut(Entry),
    ) -> Result<(), LedgerError> {
        self.try_for_each(filter, |entry| {
            visit(entry);
            Ok(())
        })
    }

    /// [`Ledger::for_each`] for a visitor that can fail, which ends the walk.
    pub fn try_for_each<E: From<LedgerError>>(
        &self,
        filter: &Filter,
        mut visit: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let (sql, values) = select(filter);
        let mut statement = self
            .connection
            .prepare_cached(&sql)
            .map_err(self.failed("read"))?;
        let mut rows = statement
            .query(params_from_iter(values))
            .map_err(self.failed("read"))?;
        while let Some(row) = rows.next().map_err(self.failed("read"))? {
            visit(self.read_entry(row)?)?;
        }
        Ok(())
    }

    /// How many leaves there are at `now`, and how many of them end before `soon`.
    pub fn counts(&self, now: Timestamp, soon: Timestamp) -> Result<Counts, LedgerError> {
        let row = |row: &Row<'_>| {
            let [live, soon, all]: [u64; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
            let [revoked_live, revoked_soon, revoked]: [u64; 3] =
                [row.get(3)?, row.get(4)?, row.get(5)?];
            Ok(Counts {
                valid: live.saturating_sub(revoked_live),
                expiring: soon.saturating_sub(revoked_soon),
                expired: (all.saturating_sub(live))
                    .saturating_sub(revoked.saturating_sub(revoked_live)),
                revoked,
            })
        };
        self.connection
            .query_row(
                COUNT,
                params![now.unix_timestamp(), soon.unix_timestamp()],
                row,
            )
            .map_err(self.failed("read"))
    }

    /// Revokes a certificate. A revoked one stays as it was: the first date and
    /// reason stand.
    ///
    /// Atomic: of two processes that revoke the same one, exactly one is told
    /// [`Revoke::Done`].
    pub fn revoke(
        &self,
        serial: &[u8],
        reason: Reason,
        at: Timestamp,
    ) -> Result<Revoke, LedgerError> {
        let transaction = self.begin("write")?;
        let done = self.revoke_within(&transaction, serial, reason, at)?;
        transaction.commit().map_err(self.failed("write"))?;
        Ok(done)
    }

    /// Revokes several as [`Ledger::revoke`] does one, and waits for the disk once.
    ///
    /// Atomic: all of them or, when one is unknown, none. Others wait behind it, so not
    /// for too many.
    pub fn revoke_all(
        &self,
        serials: &[&[u8]],
        reason: Reason,
        at: Timestamp,
    ) -> Result<Vec<Revoke>, LedgerError> {
        let transaction = self.begin("write")?;
        let done = serials
            .iter()
            .map(|serial| self.revoke_within(&transaction, serial, reason, at))
            .collect::<Result<_, _>>()?;
        transaction.commit().map_err(self.failed("write"))?;
        Ok(done)
    }

    fn revoke_within(
        &self,
        transaction: &Transaction<'_>,
        serial: &[u8],
        reason: Reason,
        at: Timestamp,
    ) -> Result<Revoke, LedgerError> {
        let hex = serial_to_hex(serial);
        let changed = transaction
            .execute(
                "UPDATE certificates SET revoked_at = ?2, revocation_reason = ?3
                 WHERE serial = ?1 AND revoked_at IS NULL",
                params![hex, at.unix_timestamp(), reason.as_str()],
            )
            .map_err(self.failed("write"))?;
        let entry = self
            .by_serial(serial)?
            .ok_or_else(|| LedgerError::UnknownSerial(hex.clone()))?;
        let revocation = entry
            .revoked
            .ok_or_else(|| self.damaged(&hex, "its revocation was lost"))?;
        Ok(if changed == 1 {
            Revoke::Done(revocation)
        } else {
            Revoke::Already(revocation)
        })
    }

    /// What the CA's certificate called `issuer` signed and is revoked, oldest first.
    pub fn revoked_by(&self, issuer: &str) -> Result<Vec<Revoked>, LedgerError> {
        let mut statement = self
            .connection
            .prepare(
                "SELECT serial, not_after, revoked_at, revocation_reason
                 FROM certificates INDEXED BY certificates_revoked
                 WHERE revoked_at IS NOT NULL AND issuer = ?1 ORDER BY revoked_at, number",
            )
            .map_err(self.failed("read"))?;
        let mut rows = statement.query([issuer]).map_err(self.failed("read"))?;
        let mut revoked = Vec::new();
        while let Some(row) = rows.next().map_err(self.failed("read"))? {
            let read = || -> rusqlite::Result<(String, i64, i64, String)> {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            };
            let (serial, not_after, at, reason) = read().map_err(self.failed("read"))?;
            revoked.push(Revoked {
                serial: self.serial(&serial)?,
                not_after: self.moment(&serial, not_after)?,
                revocation: self.revocation(&serial, at, &reason)?,
            });
        }
        Ok(revoked)
    }

    /// The next number for a CRL of `issuer`: 1, 2, …
    ///
    /// Atomic and durable before it returns, hence before anything is signed: no
    /// number is given out twice, whoever crashes when. Numbers may be skipped.
    pub fn next_crl_number(&self, issuer: &str) -> Result<u64, LedgerError> {
        self.advance_crl_number(issuer, 0)
    }

    /// [`Ledger::next_crl_number`], and greater than `floor`: for a CRL found with a
    /// number that this inventory does not remember.
    pub fn next_crl_number_above(&self, issuer: &str, floor: u64) -> Result<u64, LedgerError> {
        self.advance_crl_number(issuer, floor)
    }

    fn advance_crl_number(&self, issuer: &str, floor: u64) -> Result<u64, LedgerError> {
        // A CRL with an absurd number must not use up ours.
        const MAX_FLOOR: u64 = u64::MAX / 4;
        let failed = || self.failed("write");
        let transaction = self.begin("write")?;
        transaction
            .execute(
                "INSERT INTO crls (issuer, last_number) VALUES (?1, max(0, ?2) + 1)
                 ON CONFLICT (issuer) DO UPDATE SET last_number = max(last_number, ?2) + 1",
                params![issuer, floor.min(MAX_FLOOR)],
            )
            .map_err(failed())?;
        let number = transaction
            .query_row(
                "SELECT last_number FROM crls WHERE issuer = ?1",
                [issuer],
                |row| row.get(0),
            )
            .map_err(failed())?;
        transaction.commit().map_err(failed())?;
        Ok(number)
    }

    /// Leaves out the next `count` CRL numbers of every issuer: an inventory from a
    /// backup does not know what was signed since.
    pub fn skip_crl_numbers(&self, count: u32) -> Result<(), LedgerError> {
        let transaction = self.begin("write")?;
        transaction
            .execute("UPDATE crls SET last_number = last_number + ?1", [count])
            .map_err(self.failed("write"))?;
        transaction.commit().map_err(self.failed("write"))
    }

    /// Takes down that a CRL was published. An older one than the last is ignored.
    pub fn crl_published(&self, issuer: &str, crl: LastCrl) -> Result<(), LedgerError> {
        let transaction = self.begin("write")?;
        transaction
            .execute(
                "UPDATE crls SET published_number = ?2, published_at = ?3
                 WHERE issuer = ?1 AND coalesce(published_number, 0) < ?2",
                params![issuer, crl.number, crl.this_update.unix_timestamp()],
            )
            .map_err(self.failed("write"))?;
        transaction.commit().map_err(self.failed("write"))
    }

    /// The CRL of `issuer` that was published last.
    pub fn last_crl(&self, issuer: &str) -> Result<Option<LastCrl>, LedgerError> {
        let found: Option<(u64, i64)> = self
            .connection
            .query_row(
                "SELECT published_number, published_at FROM crls
                 WHERE issuer = ?1 AND published_number IS NOT NULL",
                [issuer],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(self.failed("read"))?;
        found
            .map(|(number, at)| {
                let this_update = self.moment(issuer, at)?;
                Ok(LastCrl {
                    number,
                    this_update,
                })
            })
            .transpose()
    }

    /// Forgets leaves that expired before `moment`, and says how many.
    ///
    /// A revoked one stays until a CRL was published after it expired (RFC 5280
    /// §3.3); CA certificates stay for good.
    pub fn sweep(&self, moment: Timestamp) -> Result<u64, LedgerError> {
        let mut swept = 0;
        loop {
            let transaction = self.begin("sweep")?;
            let gone = transaction
                .execute(
                    SWEEP,
                    params![moment.unix_timestamp(), Self::SWEEP_BATCH as u64],
                )
                .map_err(self.failed("sweep"))?;
            transaction.commit().map_err(self.failed("sweep"))?;
            swept += gone as u64;
            if gone < Self::SWEEP_BATCH {
                return Ok(swept);
            }
        }
    }

    /// Writes a copy of the whole inventory, as it is at one moment, to the new file
    /// `path`, 0600, while others go on writing.
    pub fn snapshot_to(&self, path: &Path) -> Result<(), LedgerError> {
        let text = path
            .to_str()
            .ok_or_else(|| LedgerError::NotUnicode(path.to_owned()))?;
        // SQLite would make the file with the modes that the umask allows; it takes
        // an empty one as it is.
        disk::write_new(path, b"", 0o600)?;
        self.connection
            .execute("VACUUM INTO ?1", [text])
            .map(drop)
            .map_err(self.failed("copy"))
            .inspect_err(|_| drop(disk::remove_file(path)))
    }

    fn one(&self, condition: &str, value: Value) -> Result<Option<Entry>, LedgerError> {
        let sql = format!("SELECT {COLUMNS} FROM certificates c WHERE {condition}");
        let mut statement = self
            .connection
            .prepare_cached(&sql)
            .map_err(self.failed("read"))?;
        let mut rows = statement.query([value]).map_err(self.failed("read"))?;
        match rows.next().map_err(self.failed("read"))? {
            Some(row) => self.read_entry(row).map(Some),
            None => Ok(None),
        }
    }

    /// The database itself, for the tables of others beside the inventory's own.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    fn begin(&self, action: &'static str) -> Result<Transaction<'_>, LedgerError> {
        Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)
            .map_err(self.failed(action))
    }

    fn read_entry(&self, row: &Row<'_>) -> Result<Entry, LedgerError> {
        let raw = RawEntry::read(row).map_err(self.failed("read"))?;
        let serial = raw.serial.as_str();
        let damaged = |what: &str| self.damaged(serial, what);
        let names = raw
            .names
            .lines()
            .map(Identifier::parse)
            .collect::<Result<_, _>>()
            .map_err(|e| damaged(&e.to_string()))?;
        let id = raw.id.as_deref().map(str::parse).transpose();
        let revoked = match (raw.revoked_at, &raw.reason) {
            (Some(at), Some(reason)) => Some(self.revocation(serial, at, reason)?),
            _ => None,
        };
        Ok(Entry {
            serial: self.serial(serial)?,
            role: Role::from_word(&raw.role).ok_or_else(|| damaged("its role is unknown"))?,
            id: id.map_err(|_| damaged("its id is none"))?,
            names,
            not_before: self.moment(serial, raw.not_before)?,
            not_after: self.moment(serial, raw.not_after)?,
            issued_at: self.moment(serial, raw.issued_at)?,
            revoked,
            issuer: raw.issuer,
            subject: raw.subject,
            usage: raw.usage,
            key_type: raw.key_type,
            spki_sha256: raw.spki_sha256,
            der: raw.der,
        })
    }

    fn serial(&self, hex: &str) -> Result<Vec<u8>, LedgerError> {
        serial_from_hex(hex).ok_or_else(|| self.damaged(hex, "its serial number is none"))
    }

    fn moment(&self, of: &str, seconds: i64) -> Result<Timestamp, LedgerError> {
        Timestamp::from_unix_timestamp(seconds)
            .map_err(|_| self.damaged(of, "one of its dates is none"))
    }

    fn revocation(&self, of: &str, at: i64, reason: &str) -> Result<Revocation, LedgerError> {
        Ok(Revocation {
            at: self.moment(of, at)?,
            reason: reason
                .parse()
                .map_err(|_| self.damaged(of, "its reason for revocation is unknown"))?,
        })
    }

    fn damaged(&self, entry: &str, what: &str) -> LedgerError {
        LedgerError::Damaged {
            path: self.path.clone(),
            reason: format!("entry `{entry}`: {what}"),
        }
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(rusqlite::Error) -> LedgerError {
        let path = self.path.clone();
        move |source| LedgerError::sqlite(action, &path, source)
    }
}

/// Makes the file, empty and private, unless it is there.
///
/// Never while this process uses it: closing any descriptor of a file frees the
/// locks (fcntl) that SQLite holds on it elsewhere in the process. Whoever opens
/// the inventory comes by here first and waits for the one who makes it.
fn create_private(path: &Path) -> Result<(), LedgerError> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    match disk::write_new(path, b"", 0o600) {
        Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(LedgerError::from),
    }
}

/// Takes down a certificate in somebody's transaction, who makes it durable.
pub(crate) fn insert(db: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    // No name has a line break.
    let names = entry.names.iter().map(Identifier::to_string);
    let names = names.collect::<Vec<_>>().join("\n");
    let number = db.prepare_cached(INSERT_CERTIFICATE)?.insert(params![
        entry.serial_hex(),
        entry.issuer,
        entry.role.as_str(),
        entry.id.as_ref().map(CertId::as_str),
        names,
        entry.subject,
        entry.usage,
        entry.key_type,
        entry.not_before.unix_timestamp(),
        entry.not_after.unix_timestamp(),
        entry.issued_at.unix_timestamp(),
        entry.spki_sha256,
        entry.revoked.map(|revoked| revoked.at.unix_timestamp()),
        entry.revoked.map(|revoked| revoked.reason.as_str()),
        entry.der,
    ])?;
    let mut name = db.prepare_cached(INSERT_NAME)?;
    for one in names.lines() {
        name.execute(params![one, number])?;
    }
    Ok(())
}

fn is_duplicate(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(failure, _)
        if failure.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE)
}

/// The query for a filter. The joins' order and the indexes are laid down here: the
/// database keeps no statistics, and guesses wrong.
fn select(filter: &Filter) -> (String, Vec<Value>) {
    let mut values = Vec::new();
    let mut conditions = Vec::new();
    let mut bind = |value: Value| {
        values.push(value);
        format!("?{}", values.len())
    };
    let named = |test: String| {
        format!(
            "(SELECT DISTINCT certificate FROM names WHERE name {test}) n
             CROSS JOIN certificates c ON c.number = n.certificate"
        )
    };
    let from = match (&filter.name, &filter.name_glob) {
        (Some(name), _) => named(format!("= {}", bind(name.to_string().into()))),
        (None, Some(glob)) => named(format!("GLOB {}", bind(glob.clone().into()))),
        (None, None) if filter.revoked == Some(true) => {
            "certificates c INDEXED BY certificates_revoked".to_owned()
        }
        (None, None) => "certificates c".to_owned(),
    };
    if let (Some(_), Some(glob)) = (&filter.name, &filter.name_glob) {
        let glob = bind(glob.clone().into());
        conditions.push(format!(
            "EXISTS (SELECT 1 FROM names WHERE certificate = c.number AND name GLOB {glob})"
        ));
    }
    if let Some(moment) = filter.expiring_before {
        conditions.push(format!("c.not_after < {}", bind(seconds(moment))));
    }
    if let Some(moment) = filter.not_expired_at {
        conditions.push(format!("c.not_after >= {}", bind(seconds(moment))));
    }
    if let Some(role) = filter.role {
        conditions.push(format!(
            "c.role = {}",
            bind(role.as_str().to_owned().into())
        ));
    }
    conditions.push(match filter.revoked {
        Some(true) => "c.revoked_at IS NOT NULL".to_owned(),
        Some(false) => "c.revoked_at IS NULL".to_owned(),
        None => "TRUE".to_owned(),
    });
    let limit = filter.limit.map_or(-1, |n| i64::try_from(n).unwrap_or(-1));
    let limit = bind(limit.into());
    let sql = format!(
        "SELECT {COLUMNS} FROM {from} WHERE {} ORDER BY c.not_after, c.number LIMIT {limit}",
        conditions.join(" AND ")
    );
    (sql, values)
}

fn seconds(moment: Timestamp) -> Value {
    Value::from(moment.unix_timestamp())
}

/// One row as the database gives it.
struct RawEntry {
    serial: String,
    issuer: String,
    role: String,
    id: Option<String>,
    names: String,
    subject: String,
    usage: String,
    key_type: String,
    not_before: i64,
    not_after: i64,
    issued_at: i64,
    spki_sha256: String,
    revoked_at: Option<i64>,
    reason: Option<String>,
    der: Vec<u8>,
}

/// What [`RawEntry::read`] reads, in its order.
const COLUMNS: &str = "c.serial, c.issuer, c.role, c.id, c.names, c.subject, c.usage, c.key_type,
    c.not_before, c.not_after, c.issued_at, c.spki_sha256, c.revoked_at, c.revocation_reason, c.der";

impl RawEntry {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            serial: row.get(0)?,
            issuer: row.get(1)?,
            role: row.get(2)?,
            id: row.get(3)?,
            names: row.get(4)?,
            subject: row.get(5)?,
            usage: row.get(6)?,
            key_type: row.get(7)?,
            not_before: row.get(8)?,
            not_after: row.get(9)?,
            issued_at: row.get(10)?,
            spki_sha256: row.get(11)?,
            revoked_at: row.get(12)?,
            reason: row.get(13)?,
            der: row.get(14)?,
        })
    }
}

const INSERT_CERTIFICATE: &str = "INSERT INTO certificates (serial, issuer, role, id, names,
    subject, usage, key_type, not_before, not_after, issued_at, spki_sha256, revoked_at,
    revocation_reason, der)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

/// A certificate may carry a name twice.
const INSERT_NAME: &str = "INSERT OR IGNORE INTO names (name, certificate) VALUES (?1, ?2)";

/// Six counts, each from an index alone.
const COUNT: &str = "WITH leaf AS (SELECT not_after FROM certificates
        INDEXED BY certificates_by_role WHERE role = 'leaf'),
    revoked AS (SELECT not_after FROM certificates
        INDEXED BY certificates_revoked WHERE revoked_at IS NOT NULL AND role = 'leaf')
    SELECT (SELECT count(*) FROM leaf WHERE not_after >= ?1),
        (SELECT count(*) FROM leaf WHERE not_after >= ?1 AND not_after < ?2),
        (SELECT count(*) FROM leaf),
        (SELECT count(*) FROM revoked WHERE not_after >= ?1),
        (SELECT count(*) FROM revoked WHERE not_after >= ?1 AND not_after < ?2),
        (SELECT count(*) FROM revoked)";

const SWEEP: &str = "DELETE FROM certificates WHERE number IN (
    SELECT number FROM certificates c INDEXED BY certificates_by_role
    WHERE role = 'leaf' AND not_after < ?1 AND (revoked_at IS NULL OR EXISTS (
        SELECT 1 FROM crls WHERE crls.issuer = c.issuer AND published_at > c.not_after))
    LIMIT ?2)";

#[cfg(test)]
pub(crate) mod tests;
