//! Accounts: one per key.

use rusqlite::{Connection, Row, params};

use super::super::jwk::{Jwk, Thumbprint};
use super::id::AccountId;
use super::status::{AccountEvent, AccountStatus};
use super::{Commit, State, StateError, damaged, eab, moment, rows, run, to_json};
use crate::clock::Timestamp;

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
    /// Atomic and durable, together with its orders that are not being issued and its
    /// authorizations (RFC 8555 §7.3.6). Its key stays taken.
    pub fn close_account(
        &self,
        id: &AccountId,
        event: AccountEvent,
    ) -> Result<Account, StateError> {
        self.write(Commit::Durable, |db| {
            let account = one(db, id)?;
            let closed = account.status.after(event)?;
            let number = number(db, id)?;
            run(
                db,
                "UPDATE acme_accounts SET status = ?2 WHERE number = ?1",
                params![number, closed.as_str()],
            )?;
            run(
                db,
                "UPDATE acme_orders SET status = 'invalid' WHERE account = ?1
                 AND status IN ('pending', 'ready', 'processing')
                 AND status <> 'processing'",
                [number],
            )?;
            run(
                db,
                "UPDATE acme_authorizations SET status = 'deactivated' WHERE account = ?1
                 AND status IN ('pending', 'valid')",
                [number],
            )?;
            one(db, id)
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

pub(super) fn id_at(row: &Row<'_>, column: &str) -> Result<AccountId, StateError> {
    AccountId::parse(&row.get::<_, String>(column)?).ok_or_else(|| damaged("an id is none"))
}
