//! What the directory remembers: accounts, external account keys, orders with their
//! authorizations and challenges, and which certificate came of an order.
//!
//! Rules kept here: the CA's database holds all of it, in tables of its own; every
//! change is one transaction that takes the write lock at its start, and checks what
//! it depends on inside; states change by the functions of [`status`] alone; ids are
//! random; time is an argument.
//!
//! No certificate is lost. The order goes to `processing` with its CSR before anything
//! is signed; before the certificate leaves the CA, the inventory has it and the order is
//! `valid`, by one transaction. Whoever dies before that leaves an order that
//! [`State::adopt`] hands on to be signed again, and a certificate that nobody has seen.
//!
//! What a power cut may cost: changes of orders and challenges are committed without
//! waiting for the disk, so that a busy directory waits once per certificate; accounts,
//! keys and deactivations wait. A later commit that waits, such as the inventory's,
//! makes durable what came before it, and the order of events is never broken.

mod account;
mod certificate;
mod challenge;
mod eab;
mod id;
mod order;
mod runner;
mod schema;
pub mod status;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Row, Transaction, TransactionBehavior};

pub use account::{Account, AccountSummary, KeyChanged, NewAccount, Registered};
pub use certificate::{ORIGIN_KNOWN, OrderOfCertificate, Signed, visit_signed};
pub use challenge::{Outcome, Started, Validation};
pub use eab::{EabKey, NewEabKey, Trust};
pub use id::{AccountId, AuthorizationId, ChallengeId, OrderId};
pub use order::{Authorization, Challenge, NewAuthorization, NewOrder, Order};
pub use runner::Runner;
pub use status::{AccountStatus, AuthorizationStatus, ChallengeStatus, OrderStatus};

use super::problem::{Problem, ProblemType};
use crate::clock::Timestamp;
use crate::finding::words::causes;
use crate::pki::ledger::{Entry, Ledger, LedgerError, Reason, Revoke};

/// More statements than there are here.
const STATEMENTS: usize = 100;

/// The directory's memory. May be shared by threads; one writes at a time, for a
/// fraction of a millisecond unless it waits for the disk, and others read meanwhile what
/// was written before: call it from `spawn_blocking`.
#[derive(Debug)]
pub struct State {
    writer: Mutex<Held>,
    /// For as many at a time as there is anything to gain from.
    readers: [Mutex<Ledger>; 2],
    runner: Option<Runner>,
}

#[derive(Debug)]
struct Held {
    ledger: Ledger,
    waits: bool,
}

/// Whether a commit waits until the disk has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Commit {
    /// It does: a power cut after it changes nothing.
    Durable,
    /// It does not: a power cut may undo it, and all that came after it.
    Quick,
}

impl State {
    /// Opens the directory's tables in the CA's database at `path`; makes or updates
    /// them where needed.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let ledger = connect(path)?;
        schema::prepare(ledger.connection()).map_err(|error| error.at("open", path))?;
        Ok(Self {
            writer: Mutex::new(Held {
                ledger,
                waits: true,
            }),
            readers: [Mutex::new(connect(path)?), Mutex::new(connect(path)?)],
            runner: None,
        })
    }

    /// What the inventory has of the certificate with this serial number.
    pub fn certificate(&self, serial: &[u8]) -> Result<Option<Entry>, StateError> {
        Ok(self.reader().by_serial(serial)?)
    }

    /// Revokes a certificate in the inventory. Durable.
    pub fn revoke(
        &self,
        serial: &[u8],
        reason: Reason,
        now: Timestamp,
    ) -> Result<Revoke, StateError> {
        let mut held = self.held();
        held.wait_for_disk(true)?;
        Ok(held.ledger.revoke(serial, reason, now)?)
    }

    /// Forgets certificates that expired before `moment`, as [`Ledger::sweep`] does, and
    /// says how many.
    pub fn sweep_certificates(&self, moment: Timestamp) -> Result<u64, StateError> {
        Ok(self.held().ledger.sweep(moment)?)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to read by: one that is free, if there is one.
    fn reader(&self) -> MutexGuard<'_, Ledger> {
        let [first, second] = &self.readers;
        match first.try_lock() {
            Ok(reader) => reader,
            Err(TryLockError::Poisoned(reader)) => reader.into_inner(),
            Err(TryLockError::WouldBlock) => second.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Runs `work` on one moment's state.
    fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let reader = self.reader();
        let run = || {
            let transaction =
                Transaction::new_unchecked(reader.connection(), TransactionBehavior::Deferred)?;
            work(&transaction)
        };
        run().map_err(|error: StateError| error.at("read", reader.path()))
    }

    /// Runs `work` as one transaction: all of it, or, when it fails, nothing.
    fn write<T>(
        &self,
        commit: Commit,
        work: impl FnOnce(&Connection) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let mut held = self.held();
        held.wait_for_disk(commit == Commit::Durable)?;
        let run = || {
            let connection = held.ledger.connection();
            let transaction =
                Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        run().map_err(|error: StateError| error.at("write", held.ledger.path()))
    }
}

impl Held {
    /// Has commits from now on wait for the disk, or not.
    fn wait_for_disk(&mut self, waits: bool) -> Result<(), StateError> {
        if self.waits == waits {
            return Ok(());
        }
        let connection = self.ledger.connection();
        let changed = connection.execute_batch(if waits {
            "PRAGMA synchronous = FULL"
        } else {
            "PRAGMA synchronous = NORMAL"
        });
        // Looked up, not assumed: the pragma itself may have failed.
        self.waits = synchronous(connection);
        changed.map_err(|error| StateError::from(error).at("write", self.ledger.path()))
    }
}

/// A connection that reads each of its statements once.
fn connect(path: &Path) -> Result<Ledger, StateError> {
    let ledger = Ledger::open(path)?;
    let connection = ledger.connection();
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Plans that hold whatever is bound: statements would be read anew otherwise.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map_err(|error| StateError::from(error).at("open", path))?;
    Ok(ledger)
}

fn synchronous(connection: &Connection) -> bool {
    const FULL: i64 = 2;
    connection
        .query_row("PRAGMA synchronous", [], |row| row.get::<_, i64>(0))
        .is_ok_and(|level| level >= FULL)
}

/// Why something could not be remembered or found.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// No such object, or not one that may be seen.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The protocol has no such transition.
    #[error(transparent)]
    Impossible(#[from] status::Impossible),
    /// The order cannot be finalized now.
    #[error("the order is {0}, not ready")]
    NotReady(OrderStatus),
    /// The account is not valid any more.
    #[error("the account is {0}")]
    AccountClosed(AccountStatus),
    /// The authorization that a challenge belongs to is not open any more.
    #[error("the authorization is {0}, not pending")]
    AuthorizationClosed(AuthorizationStatus),
    /// Another order replaces the certificate.
    #[error("the certificate is replaced by the order {0} already")]
    AlreadyReplaced(OrderId),
    /// No external account key has this id, or it cannot be used: it is revoked, or
    /// another account has it. Strangers are not told which.
    #[error("the external account key cannot be used: {0}")]
    EabUnusable(&'static str),
    /// A key that skips validation must say for which names.
    #[error("an external account key that skips validation must list the names it is for")]
    BoundlessTrust,
    /// An order without names or with two of the same.
    #[error("an order has at least one name, and none twice")]
    UnfitNames,
    /// The directory's tables were made by a newer certmint.
    #[error(
        "the directory's tables were made by a newer certmint (they are of version {found}, \
         this program knows {known})"
    )]
    NewerSchema {
        /// The version found.
        found: usize,
        /// The newest version known.
        known: usize,
    },
    /// The system has no randomness.
    #[error("the system has no randomness")]
    NoRandomness,
    /// A row holds what certmint did not write.
    #[error("the directory's tables are damaged: {0}")]
    Damaged(String),
    /// The database refused.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The database refused, and its path is not known here.
    #[error("could not use the database")]
    Sqlite(#[from] rusqlite::Error),
}

impl StateError {
    fn at(self, action: &'static str, path: &Path) -> Self {
        match self {
            Self::Sqlite(source) => LedgerError::sqlite(action, path, source).into(),
            other => other,
        }
    }

    /// What to do about it, for whoever runs the directory.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NewerSchema { .. } => Some("update certmint on this machine".to_owned()),
            Self::BoundlessTrust => {
                Some("name the domains or address ranges that it may order for".to_owned())
            }
            Self::Damaged(_) => {
                Some("go back to a copy with `certmint ca restore ARCHIVE --force`".to_owned())
            }
            Self::Ledger(error) => error.hint(),
            _ => None,
        }
    }

    /// Whether the cause is on this side, and belongs in the log.
    pub fn is_internal(&self) -> bool {
        matches!(
            self,
            Self::NewerSchema { .. }
                | Self::NoRandomness
                | Self::Damaged(_)
                | Self::Ledger(_)
                | Self::Sqlite(_)
        )
    }
}

impl From<StateError> for Problem {
    /// What is told to a stranger; what is wrong here goes to the log.
    fn from(error: StateError) -> Self {
        if error.is_internal() {
            let (hint, error) = (error.hint(), causes(&error));
            tracing::error!(error, hint, "the directory cannot remember");
        }
        Self::from(&error)
    }
}

impl From<&StateError> for Problem {
    fn from(error: &StateError) -> Self {
        match error {
            StateError::NotFound("account") => {
                Self::new(ProblemType::AccountDoesNotExist, "no such account")
            }
            StateError::NotFound(what) => Self::not_found(what),
            StateError::NotReady(_) => Self::new(ProblemType::OrderNotReady, error.to_string()),
            StateError::AccountClosed(_) => Self::account_is_closed(),
            StateError::AlreadyReplaced(_) => Self::new(
                ProblemType::AlreadyReplaced,
                "the certificate is replaced by another order already",
            ),
            StateError::EabUnusable(_) => {
                Self::unauthorized("the external account key cannot be used")
            }
            StateError::Impossible(_)
            | StateError::AuthorizationClosed(_)
            | StateError::UnfitNames
            | StateError::BoundlessTrust => Self::malformed(error.to_string()),
            StateError::NewerSchema { .. }
            | StateError::NoRandomness
            | StateError::Damaged(_)
            | StateError::Ledger(_)
            | StateError::Sqlite(_) => Self::server_internal(),
        }
    }
}

/// What a row lacks.
fn damaged(what: &str) -> StateError {
    StateError::Damaged(what.to_owned())
}

fn moment(seconds: i64) -> Result<Timestamp, StateError> {
    Timestamp::from_unix_timestamp(seconds).map_err(|_| damaged("a date is none"))
}

fn moment_at(row: &Row<'_>, column: &str) -> Result<Option<Timestamp>, StateError> {
    row.get::<_, Option<i64>>(column)?.map(moment).transpose()
}

/// A stored problem document.
fn problem_at(row: &Row<'_>, column: &str) -> Result<Option<Problem>, StateError> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|_| damaged("a problem document is none"))
}

fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("texts and lists of them are JSON")
}

/// Changes rows, by a statement that is read once.
fn run(db: &Connection, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<usize> {
    db.prepare_cached(sql)?.execute(params)
}

/// Every row of a query, each read by `one`.
fn rows<T>(
    statement: &mut rusqlite::CachedStatement<'_>,
    params: impl rusqlite::Params,
    mut one: impl FnMut(&Row<'_>) -> Result<T, StateError>,
) -> Result<Vec<T>, StateError> {
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(one(row)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
