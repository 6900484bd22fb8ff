//! Accounts: one per key.

use std::ops::ControlFlow;

use rusqlite::{Connection, Row, params};

use super::super::jwk::{Jwk, Thumbprint};
use super::id::AccountId;
use super::status::{AccountEvent, AccountStatus, AuthorizationEvent, AuthorizationStatus};
use super::{
    Commit, State, StateError, Trust, damaged, eab, moment, moment_at, rows, run, to_json,
};
use crate::clock::Timestamp;
use crate::pki::ledger::serial_from_hex;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its key.
    pub key: Jwk,
    /// Whether it may order.
    pub status: AccountStatus,
    /// Contact URLs, as they were sent.
    pub contacts: Vec<String>,
    /// Whether its holder agreed to the terms of service.
    pub terms_agreed: bool,
    /// The external account key it is bound to.
    pub eab_kid: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An account to be made.
#[derive(Debug, Clone)]
pub struct NewAccount<'a> {
    /// Its key.
    pub key: &'a Jwk,
    /// Contact URLs.
    pub contacts: &'a [String],
    /// Whether its holder agrees to the terms of service.
    pub terms_agreed: bool,
    /// The external account key to bind it to, whose MAC was verified.
    pub eab_kid: Option<&'a str>,
}

/// An account as whoever runs the directory sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSummary {
    /// Its id.
    pub id: AccountId,
    /// Whether it may order.
    pub status: AccountStatus,
    /// Contact URLs, as a stranger sent them.
    pub contacts: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The external account key it is bound to.
    pub eab_kid: Option<String>,
    /// When that key was revoked: the account may order no more since.
    pub eab_revoked_at: Option<Timestamp>,
    /// Whether it has to show control of names.
    pub trust: Trust,
    /// Its certificates that are remembered: those that came of an order, until five
    /// weeks after their end.
    pub certificates: u64,
    /// When it made the last of its remembered orders that did not fail.
    pub last_ordered_at: Option<Timestamp>,
    /// When it finalized the order of the last of these certificates.
    pub last_issued_at: Option<Timestamp>,
}

/// What became of a request for an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// It was made.
    New(Account),
    /// The key has one, as it is: perhaps not valid any more.
    Existing(Account),
}

/// What became of a request for another key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyChanged {
    /// The account has the new key.
    Done(Account),
    /// Another account has that key (409, with its URL; RFC 8555 §7.3.5).
    Taken(AccountId),
}

impl State {
    /// Makes an account, or finds the one that the key has.
    ///
    /// Atomic and durable: of two who come with one key, one makes the account; of two
    /// who come with one external account key, one gets it.
    pub fn register(&self, new: &NewAccount<'_>, now: Timestamp) -> Result<Registered, StateError> {
        self.write(Commit::Durable, |db| {
            if let Some(there) = by_thumbprint(db, &new.key.thumbprint())? {
                return Ok(Registered::Existing(there));
            }
            if let Some(kid) = new.eab_kid {
                eab::bind(db, kid, now)?;
            }
            let id = AccountId::random()?;
            run(
                db,
                "INSERT INTO acme_accounts (id, thumbprint, jwk, status, contacts, terms_agreed,
                     eab_kid, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    id.as_str(),
                    new.key.thumbprint().as_str(),
                    new.key.to_json(),
                    AccountStatus::Valid.as_str(),
                    to_json(&new.contacts),
                    new.terms_agreed,
                    new.eab_kid,
                    now.unix_timestamp(),
                ],
            )?;
            Ok(Registered::New(one(db, &id)?))
        })
    }

    /// The account with this id.
    pub fn account(&self, id: &AccountId) -> Result<Account, StateError> {
        self.read(|db| one(db, id))
    }

    /// The account with this key.
    pub fn account_by_key(&self, key: &Thumbprint) -> Result<Option<Account>, StateError> {
        self.read(|db| by_thumbprint(db, key))
    }

    /// Sets what an account may change about itself; `None` leaves it as it is.
    /// Durable.
    pub fn update_account(
        &self,
        id: &AccountId,
        contacts: Option<&[String]>,
        terms_agreed: Option<bool>,
    ) -> Result<Account, StateError> {
        self.write(Commit::Durable, |db| {
            open(db, id)?;
            run(
                db,
                "UPDATE acme_accounts SET contacts = coalesce(?2, contacts),
                     terms_agreed = coalesce(?3, terms_agreed) WHERE id = ?1",
                params![
                    id.as_str(),
                    contacts.map(|list| to_json(&list)),
                    terms_agreed
                ],
            )?;
            one(db, id)
        })
    }

    /// Gives an account another key, if it still has the key `old`.
    ///
    /// Atomic and durable: two accounts never have one key, and of two changes from
    /// the same key one is made.
    pub fn change_key(
        &self,
        id: &AccountId,
        old: &Thumbprint,
        new: &Jwk,
    ) -> Result<KeyChanged, StateError> {
        self.write(Commit::Durable, |db| {
            let account = open(db, id)?;
            if account.key.thumbprint() != *old {
                return Err(StateError::NotFound("account"));
            }
            if let Some(other) = by_thumbprint(db, &new.thumbprint())? {
                return Ok(KeyChanged::Taken(other.id));
            }
            run(
                db,
                "UPDATE acme_accounts SET thumbprint = ?2, jwk = ?3 WHERE id = ?1",
                params![id.as_str(), new.thumbprint().as_str(), new.to_json()],
            )?;
            Ok(KeyChanged::Done(one(db, id)?))
        })
    }

    /// Closes an account for good, by its holder's wish or the CA's.
    ///
    /// Atomic and durable, together with its orders, also those whose certificate is about
    /// to be signed, and its authorizations (RFC 8555 §7.3.6): what the CA takes away is
    /// revoked if control was shown, and invalid if not. Its key stays taken.
    pub fn close_account(
        &self,
        id: &AccountId,
        event: AccountEvent,
    ) -> Result<Account, StateError> {
        let pending = AuthorizationStatus::Pending.after(match event {
            AccountEvent::Deactivate => AuthorizationEvent::Deactivate,
            AccountEvent::Revoke => AuthorizationEvent::Fail,
        })?;
        let valid = AuthorizationStatus::Valid.after(match event {
            AccountEvent::Deactivate => AuthorizationEvent::Deactivate,
            AccountEvent::Revoke => AuthorizationEvent::Revoke,
        })?;
        self.write(Commit::Durable, |db| {
            let account = one(db, id)?;
            let closed = account.status.after(event)?;
            let number = number(db, id)?;
            run(
                db,
                "UPDATE acme_accounts SET status = ?2 WHERE number = ?1",
                params![number, closed.as_str()],
            )?;
            run(db, CLOSE_ORDERS, [number])?;
            run(
                db,
                CLOSE_AUTHORIZATIONS,
                params![number, pending.as_str(), valid.as_str()],
            )?;
            one(db, id)
        })
    }

    /// Calls `visit` with each account, oldest first, until it breaks off; those that are
    /// closed only when `closed` says so. None is held in memory but the one visited.
    ///
    /// What is seen is one moment's state, whatever others write meanwhile; `visit` must
    /// not use this state.
    pub fn visit_accounts(
        &self,
        closed: bool,
        mut visit: impl FnMut(AccountSummary) -> ControlFlow<()>,
    ) -> Result<(), StateError> {
        self.read(|db| {
            let mut statement = db.prepare_cached(SUMMARIES)?;
            let mut rows = statement.query([closed])?;
            while let Some(row) = rows.next()? {
                if visit(read_summary(row)?).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// The serial numbers of the certificates that an account's orders came to, oldest
    /// first, as far as they are remembered.
    pub fn certificates_of(&self, id: &AccountId) -> Result<Vec<Vec<u8>>, StateError> {
        self.read(|db| {
            let number = number(db, id)?;
            rows(&mut db.prepare_cached(SERIALS)?, [number], |row| {
                let hex: String = row.get("serial")?;
                serial_from_hex(&hex).ok_or_else(|| damaged("a serial is none"))
            })
        })
    }
}

/// The account, if it may still do things.
pub(super) fn open(db: &Connection, id: &AccountId) -> Result<Account, StateError> {
    let account = one(db, id)?;
    match account.status {
        AccountStatus::Valid => Ok(account),
        closed => Err(StateError::AccountClosed(closed)),
    }
}

pub(super) fn number(db: &Connection, id: &AccountId) -> Result<i64, StateError> {
    let mut statement = db.prepare_cached("SELECT number FROM acme_accounts WHERE id = ?1")?;
    let found = rows(&mut statement, [id.as_str()], |row| Ok(row.get(0)?))?;
    found
        .first()
        .copied()
        .ok_or(StateError::NotFound("account"))
}

fn one(db: &Connection, id: &AccountId) -> Result<Account, StateError> {
    let mut statement = db.prepare_cached("SELECT * FROM acme_accounts WHERE id = ?1")?;
    let mut found = rows(&mut statement, [id.as_str()], read)?;
    found.pop().ok_or(StateError::NotFound("account"))
}

fn by_thumbprint(db: &Connection, key: &Thumbprint) -> Result<Option<Account>, StateError> {
    let mut statement = db.prepare_cached("SELECT * FROM acme_accounts WHERE thumbprint = ?1")?;
    Ok(rows(&mut statement, [key.as_str()], read)?.pop())
}

fn read(row: &Row<'_>) -> Result<Account, StateError> {
    let text = |column: &str| row.get::<_, String>(column);
    Ok(Account {
        id: id_at(row, "id")?,
        key: Jwk::parse(text("jwk")?.as_bytes()).map_err(|_| damaged("a key is none"))?,
        status: AccountStatus::from_word(&text("status")?)
            .ok_or_else(|| damaged("the state of an account is unknown"))?,
        contacts: serde_json::from_str(&text("contacts")?)
            .map_err(|_| damaged("contacts are no list"))?,
        terms_agreed: row.get("terms_agreed")?,
        eab_kid: row.get("eab_kid")?,
        created_at: moment(row.get("created_at")?)?,
    })
}

fn read_summary(row: &Row<'_>) -> Result<AccountSummary, StateError> {
    let text = |column: &str| row.get::<_, String>(column);
    let trust: Option<String> = row.get("trust")?;
    let trust = trust.as_deref().map_or(Ok(Trust::Validate), str::parse);
    Ok(AccountSummary {
        id: id_at(row, "id")?,
        status: AccountStatus::from_word(&text("status")?)
            .ok_or_else(|| damaged("the state of an account is unknown"))?,
        contacts: serde_json::from_str(&text("contacts")?)
            .map_err(|_| damaged("contacts are no list"))?,
        created_at: moment(row.get("created_at")?)?,
        eab_kid: row.get("eab_kid")?,
        eab_revoked_at: moment_at(row, "eab_revoked_at")?,
        trust: trust.map_err(|_| damaged("a trust is unknown"))?,
        certificates: row.get("certificates")?,
        last_ordered_at: moment_at(row, "last_ordered_at")?,
        last_issued_at: moment_at(row, "last_issued_at")?,
    })
}

/// Of what is not invalid, what is not open is valid: an index finds both, and among a
/// million orders those of others are not looked at.
pub(super) const SUMMARIES: &str = "SELECT a.id, a.status, a.contacts, a.created_at, a.eab_kid,
    k.trust, k.revoked_at AS eab_revoked_at,
    (SELECT count(*) FROM acme_orders WHERE account = a.number AND status <> 'invalid')
        - (SELECT count(*) FROM acme_orders WHERE account = a.number
           AND status IN ('pending', 'ready', 'processing')) AS certificates,
    (SELECT created_at FROM acme_orders WHERE account = a.number AND status <> 'invalid'
        ORDER BY number DESC LIMIT 1) AS last_ordered_at,
    (SELECT finalized_at FROM acme_orders WHERE account = a.number AND status <> 'invalid'
        AND status = 'valid' ORDER BY number DESC LIMIT 1) AS last_issued_at
    FROM acme_accounts a LEFT JOIN acme_eab_keys k ON k.kid = a.eab_kid
    WHERE ?1 OR a.status = 'valid' ORDER BY a.number";

pub(super) const SERIALS: &str = "SELECT serial FROM acme_orders WHERE account = ?1
    AND status <> 'invalid' AND serial IS NOT NULL ORDER BY number";

pub(super) const CLOSE_ORDERS: &str = "UPDATE acme_orders SET status = 'invalid'
    WHERE account = ?1 AND status IN ('pending', 'ready', 'processing')";

pub(super) const CLOSE_AUTHORIZATIONS: &str = "UPDATE acme_authorizations
    SET status = CASE status WHEN 'pending' THEN ?2 ELSE ?3 END
    WHERE account = ?1 AND status IN ('pending', 'valid')";

pub(super) fn id_at(row: &Row<'_>, column: &str) -> Result<AccountId, StateError> {
    AccountId::parse(&row.get::<_, String>(column)?).ok_or_else(|| damaged("an id is none"))
}
