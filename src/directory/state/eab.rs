//! External account keys: who may have an account, for which names, and whether the
//! directory has to look (RFC 8555 §7.3.4).

use std::fmt;
use std::str::FromStr;

use rusqlite::{Connection, Row, params};

use super::super::jws::MacKey;
use super::{
    AccountId, Commit, State, StateError, damaged, id, moment, moment_at, rows, run, to_json,
};
use crate::clock::Timestamp;
use crate::identifier::NameConstraints;

/// Whether control of a name has to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Trust {
    /// It does.
    #[default]
    Validate,
    /// The holder is believed: for machines that the directory cannot reach.
    SkipValidation,
}

impl Trust {
    /// The word in flags and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::SkipValidation => "skip-validation",
        }
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Trust {
    type Err = UnknownTrust;

    fn from_str(text: &str) -> Result<Self, UnknownTrust> {
        match text {
            "validate" => Ok(Self::Validate),
            "skip-validation" => Ok(Self::SkipValidation),
            _ => Err(UnknownTrust),
        }
    }
}

impl serde::Serialize for Trust {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A text that is no [`Trust`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("trust is `validate` or `skip-validation`")]
pub struct UnknownTrust;

/// An external account key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EabKey {
    /// What it is called.
    pub kid: String,
    /// The secret.
    pub key: MacKey,
    /// What its account may order, within what the CA permits; empty: all of that.
    pub names: NameConstraints,
    /// Whether control has to be shown.
    pub trust: Trust,
    /// When it was made.
    pub created_at: Timestamp,
    /// The account that it is bound to, and since when.
    pub bound: Option<(AccountId, Timestamp)>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// An external account key to be made.
#[derive(Debug, Clone, Default)]
pub struct NewEabKey {
    /// What its account may order, within what the CA permits; empty: all of that.
    pub names: NameConstraints,
    /// Whether control has to be shown.
    pub trust: Trust,
}

impl State {
    /// Makes an external account key with a random id and secret. Durable.
    ///
    /// One that skips validation must list names.
    pub fn add_eab_key(&self, new: &NewEabKey, now: Timestamp) -> Result<EabKey, StateError> {
        if new.trust == Trust::SkipValidation && new.names.is_unlimited() {
            return Err(StateError::BoundlessTrust);
        }
        let (kid, key) = loop {
            let kid = id::random::<16>()?;
            let key = MacKey::generate().map_err(|_| StateError::NoRandomness)?;
            // Clients get both as arguments, and some would take them for flags.
            if !kid.starts_with('-') && !key.to_base64url().starts_with('-') {
                break (kid, key);
            }
        };
        self.write(Commit::Durable, |db| {
            run(
                db,
                "INSERT INTO acme_eab_keys (kid, mac_key, names, trust, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    kid,
                    key.expose(),
                    to_json(&new.names),
                    new.trust.as_str(),
                    now.unix_timestamp()
                ],
            )?;
            one(db, &kid)?.ok_or(StateError::NotFound("external account key"))
        })
    }

    /// The external account key called `kid`, whatever its state.
    pub fn eab_key(&self, kid: &str) -> Result<Option<EabKey>, StateError> {
        self.read(|db| one(db, kid))
    }

    /// The external account key that binds this account. A revoked one binds still:
    /// its account may order no more.
    pub fn eab_key_of(&self, account: &AccountId) -> Result<Option<EabKey>, StateError> {
        self.read(|db| {
            let sql = format!("{SELECT} WHERE a.id = ?1");
            Ok(rows(&mut db.prepare_cached(&sql)?, [account.as_str()], read)?.pop())
        })
    }

    /// Every external account key, oldest first.
    pub fn eab_keys(&self) -> Result<Vec<EabKey>, StateError> {
        self.read(|db| {
            let sql = format!("{SELECT} ORDER BY k.created_at, k.kid");
            rows(&mut db.prepare_cached(&sql)?, [], read)
        })
    }

    /// Revokes an external account key: it binds no new account, and who asks
    /// [`State::eab_key_of`] sees it. Durable. The first date stands.
    pub fn revoke_eab_key(&self, kid: &str, now: Timestamp) -> Result<EabKey, StateError> {
        self.write(Commit::Durable, |db| {
            run(
                db,
                "UPDATE acme_eab_keys SET revoked_at = coalesce(revoked_at, ?2) WHERE kid = ?1",
                params![kid, now.unix_timestamp()],
            )?;
            one(db, kid)?.ok_or(StateError::NotFound("external account key"))
        })
    }
}

/// Marks a key as used by the account that is about to be made.
pub(super) fn bind(db: &Connection, kid: &str, now: Timestamp) -> Result<(), StateError> {
    let key = one(db, kid)?.ok_or(StateError::EabUnusable("there is none with this id"))?;
    if key.revoked_at.is_some() {
        return Err(StateError::EabUnusable("it is revoked"));
    }
    if key.bound.is_some() {
        return Err(StateError::EabUnusable("another account has it"));
    }
    run(
        db,
        "UPDATE acme_eab_keys SET bound_at = ?2 WHERE kid = ?1",
        params![kid, now.unix_timestamp()],
    )?;
    Ok(())
}

const SELECT: &str = "SELECT k.*, a.id AS account FROM acme_eab_keys k
    LEFT JOIN acme_accounts a ON a.eab_kid = k.kid AND a.eab_kid IS NOT NULL";

fn one(db: &Connection, kid: &str) -> Result<Option<EabKey>, StateError> {
    let sql = format!("{SELECT} WHERE k.kid = ?1");
    Ok(rows(&mut db.prepare_cached(&sql)?, [kid], read)?.pop())
}

fn read(row: &Row<'_>) -> Result<EabKey, StateError> {
    let account: Option<String> = row.get("account")?;
    let bound = match (account, moment_at(row, "bound_at")?) {
        (Some(id), Some(at)) => {
            let id = AccountId::parse(&id).ok_or_else(|| damaged("an id is none"))?;
            Some((id, at))
        }
        _ => None,
    };
    let names: String = row.get("names")?;
    let trust: String = row.get("trust")?;
    Ok(EabKey {
        kid: row.get("kid")?,
        key: MacKey::from_bytes(row.get("mac_key")?)
            .ok_or_else(|| damaged("a MAC key is too short"))?,
        names: serde_json::from_str(&names).map_err(|_| damaged("permitted names are none"))?,
        trust: trust.parse().map_err(|_| damaged("a trust is unknown"))?,
        created_at: moment(row.get("created_at")?)?,
        bound,
        revoked_at: moment_at(row, "revoked_at")?,
    })
}
