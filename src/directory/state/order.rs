//! Orders and their authorizations.
//!
//! An authorization belongs to one order, and shows control for this order alone;
//! while it is valid it also lets its account revoke (RFC 8555 §7.6). What has run out
//! reads as what it has become, whether or not a sweep came by.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row, params};

use super::super::asked::AskedIdentifier;
use super::super::problem::Problem;
use super::account::{self, id_at};
use super::status::{
    AuthorizationEvent, AuthorizationStatus, ChallengeStatus, OrderEvent, OrderStatus,
};
use super::{
    AccountId, AuthorizationId, ChallengeId, Commit, OrderId, State, StateError, damaged, id,
    moment, moment_at, problem_at, rows, run, to_json,
};
use crate::challenge::{ChallengeKind, Token};
use crate::clock::Timestamp;
use crate::identifier::Identifier;
use crate::pki::ledger::serial_from_hex;

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// Whose it is.
    pub account: AccountId,
    /// How far it is.
    pub status: OrderStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it runs out, unless it is valid by then.
    pub expires_at: Timestamp,
    /// What was ordered, word for word.
    pub identifiers: Vec<AskedIdentifier>,
    /// One for each name, in order.
    pub authorizations: Vec<AuthorizationId>,
    /// Start of validity asked for.
    pub not_before: Option<Timestamp>,
    /// End of validity asked for.
    pub not_after: Option<Timestamp>,
    /// Profile asked for.
    pub profile: Option<String>,
    /// The certificate that it replaces, as RFC 9773 names it.
    pub replaces: Option<String>,
    /// Why it is invalid.
    pub error: Option<Problem>,
    /// The CSR it was finalized with, DER.
    pub csr: Option<Vec<u8>>,
    /// The serial number of its certificate, once it is valid.
    pub serial: Option<Vec<u8>>,
}

/// An authorization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// Its id.
    pub id: AuthorizationId,
    /// The order it belongs to.
    pub order: OrderId,
    /// Whose it is.
    pub account: AccountId,
    /// What it is for; [`Identifier::Wildcard`] for a wildcard, which goes out without
    /// `*.` and with `wildcard: true`.
    pub identifier: Identifier,
    /// How far it is.
    pub status: AuthorizationStatus,
    /// When it runs out.
    pub expires_at: Timestamp,
    /// Ways of showing control; none when it was never asked for.
    pub challenges: Vec<Challenge>,
}

impl Authorization {
    /// Its challenge with this id.
    pub fn challenge(&self, id: &ChallengeId) -> Option<&Challenge> {
        self.challenges.iter().find(|challenge| challenge.id == *id)
    }
}

/// A challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Its id.
    pub id: ChallengeId,
    /// Its kind.
    pub kind: ChallengeKind,
    /// Its token.
    pub token: Token,
    /// How far it is.
    pub status: ChallengeStatus,
    /// When the right answer was seen.
    pub validated_at: Option<Timestamp>,
    /// Why it is invalid.
    pub error: Option<Problem>,
}

/// An order to be made.
#[derive(Debug, Clone)]
pub struct NewOrder<'a> {
    /// Whose.
    pub account: &'a AccountId,
    /// What was ordered, word for word.
    pub identifiers: &'a [AskedIdentifier],
    /// What has to be shown, a name each.
    pub authorizations: &'a [NewAuthorization],
    /// Start of validity asked for.
    pub not_before: Option<Timestamp>,
    /// End of validity asked for.
    pub not_after: Option<Timestamp>,
    /// Profile asked for.
    pub profile: Option<&'a str>,
    /// The certificate that it replaces.
    pub replaces: Option<&'a str>,
    /// When it and its pending authorizations run out.
    pub expires_at: Timestamp,
}

/// An authorization to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAuthorization {
    /// What for.
    pub identifier: Identifier,
    /// The kinds of challenge to offer.
    pub challenges: Vec<ChallengeKind>,
    /// Set when the account is believed: valid at once, until then, and the challenges
    /// do not matter.
    pub trusted_until: Option<Timestamp>,
}

impl State {
    /// Makes an order with all its authorizations and challenges.
    ///
    /// Atomic: of two orders that replace the same certificate one is made, as long as
    /// it does not fail (RFC 9773 §5).
    pub fn create_order(&self, new: &NewOrder<'_>, now: Timestamp) -> Result<Order, StateError> {
        let mut seen = BTreeSet::new();
        let unique = new
            .authorizations
            .iter()
            .all(|a| seen.insert(&a.identifier));
        if !unique || seen.is_empty() || seen.len() != new.identifiers.len() {
            return Err(StateError::UnfitNames);
        }
        self.write(Commit::Quick, |db| {
            account::open(db, new.account)?;
            let account = account::number(db, new.account)?;
            if let Some(certificate) = new.replaces {
                free_replacement(db, certificate, now)?;
            }
            let trusted = new.authorizations.iter().map(|a| a.trusted_until);
            let ready = trusted.clone().all(|until| until.is_some());
            let status = if ready {
                OrderStatus::Ready
            } else {
                OrderStatus::Pending
            };
            let last = trusted.flatten().fold(new.expires_at, Timestamp::max);
            let id = OrderId::random()?;
            run(
                db,
                "INSERT INTO acme_orders (id, account, status, created_at, expires_at,
                     keep_until, identifiers, not_before, not_after, profile, replaces)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                params![
                    id.as_str(),
                    account,
                    status.as_str(),
                    now.unix_timestamp(),
                    new.expires_at.unix_timestamp(),
                    last.unix_timestamp(),
                    to_json(&new.identifiers),
                    new.not_before.map(Timestamp::unix_timestamp),
                    new.not_after.map(Timestamp::unix_timestamp),
                    new.profile,
                    new.replaces,
                ],
            )?;
            let order = db.last_insert_rowid();
            for one in new.authorizations {
                insert_authorization(db, order, account, one, new.expires_at)?;
            }
            one_order(db, &id, now)
        })
    }

    /// The order with this id.
    pub fn order(&self, id: &OrderId, now: Timestamp) -> Result<Order, StateError> {
        self.read(|db| one_order(db, id, now))
    }

    /// Up to `limit` orders of an account that are not invalid, oldest first, from the
    /// one after `after` on, which must still be there.
    pub fn orders_of(
        &self,
        account: &AccountId,
        after: Option<&OrderId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<OrderId>, StateError> {
        self.read(|db| {
            let number = account::number(db, account)?;
            let after = after.map(|id| position(db, id)).transpose()?.unwrap_or(-1);
            let params = params![number, after, now.unix_timestamp(), limit];
            rows(&mut db.prepare_cached(ORDERS_OF)?, params, |row| {
                order_id_at(row, "id")
            })
        })
    }

    /// How many orders of an account are not done yet.
    pub fn open_orders(&self, account: &AccountId, now: Timestamp) -> Result<u64, StateError> {
        self.read(|db| {
            let number = account::number(db, account)?;
            let params = params![number, now.unix_timestamp()];
            Ok(db
                .prepare_cached(OPEN_ORDERS)?
                .query_row(params, |row| row.get(0))?)
        })
    }

    /// The authorization with this id.
    pub fn authorization(
        &self,
        id: &AuthorizationId,
        now: Timestamp,
    ) -> Result<Authorization, StateError> {
        self.read(|db| one_authorization(db, id, now))
    }

    /// Gives up an authorization. Durable; an order that waits for it becomes invalid.
    pub fn deactivate_authorization(
        &self,
        id: &AuthorizationId,
        now: Timestamp,
    ) -> Result<Authorization, StateError> {
        self.write(Commit::Durable, |db| {
            let there = one_authorization(db, id, now)?;
            let status = there.status.after(AuthorizationEvent::Deactivate)?;
            set_authorization(db, id, status, None)?;
            fail_waiting(db, &there.order, None, now)?;
            one_authorization(db, id, now)
        })
    }

    /// Whether an account holds valid authorizations for all of `names`, and thus may
    /// revoke a certificate that has them (RFC 8555 §7.6). Never for none.
    pub fn is_authorized_for(
        &self,
        account: &AccountId,
        names: &[Identifier],
        now: Timestamp,
    ) -> Result<bool, StateError> {
        self.read(|db| {
            let number = account::number(db, account)?;
            let mut statement = db.prepare_cached(AUTHORIZED)?;
            for name in names {
                let params = params![number, name.to_string(), now.unix_timestamp()];
                if !statement.exists(params)? {
                    return Ok(false);
                }
            }
            Ok(!names.is_empty())
        })
    }

    /// Forgets orders on which nothing depends since before `moment`, with all that
    /// belongs to them, and says how many.
    ///
    /// An order depends on nothing once it and its authorizations have run out and its
    /// certificate has expired. Accounts and external account keys stay.
    pub fn sweep(&self, moment: Timestamp) -> Result<u64, StateError> {
        /// How many orders one transaction takes, so that nobody waits long behind it.
        const BATCH: u64 = 200;
        let mut swept = 0;
        loop {
            let gone = self.write(Commit::Quick, |db| {
                Ok(run(db, SWEEP, params![moment.unix_timestamp(), BATCH])? as u64)
            })?;
            swept += gone;
            if gone < BATCH {
                return Ok(swept);
            }
        }
    }
}

/// Where an order stands among all.
fn position(db: &Connection, id: &OrderId) -> Result<i64, StateError> {
    let mut statement = db.prepare_cached("SELECT number FROM acme_orders WHERE id = ?1")?;
    let found = rows(&mut statement, [id.as_str()], |row| Ok(row.get(0)?))?;
    found.first().copied().ok_or(StateError::NotFound("order"))
}

/// What `id` is to the orders around it, once its time is looked at.
pub(super) fn one_order(
    db: &Connection,
    id: &OrderId,
    now: Timestamp,
) -> Result<Order, StateError> {
    let mut statement = db.prepare_cached(&format!("{ORDER} WHERE o.id = ?1"))?;
    let mut found = rows(&mut statement, [id.as_str()], |row| read_order(row, now))?;
    let mut order = found.pop().ok_or(StateError::NotFound("order"))?;
    let mut statement = db.prepare_cached(
        "SELECT id FROM acme_authorizations WHERE acme_order =
             (SELECT number FROM acme_orders WHERE id = ?1) ORDER BY number",
    )?;
    order.authorizations = rows(&mut statement, [id.as_str()], |row| {
        authorization_id_at(row, "id")
    })?;
    Ok(order)
}

pub(super) fn one_authorization(
    db: &Connection,
    id: &AuthorizationId,
    now: Timestamp,
) -> Result<Authorization, StateError> {
    let mut statement = db.prepare_cached(
        "SELECT z.*, o.id AS order_id, a.id AS account_id FROM acme_authorizations z
         JOIN acme_orders o ON o.number = z.acme_order
         JOIN acme_accounts a ON a.number = z.account WHERE z.id = ?1",
    )?;
    let mut found = rows(&mut statement, [id.as_str()], |row| {
        read_authorization(row, now)
    })?;
    let mut authorization = found.pop().ok_or(StateError::NotFound("authorization"))?;
    let mut statement = db.prepare_cached(
        "SELECT * FROM acme_challenges WHERE authorization =
             (SELECT number FROM acme_authorizations WHERE id = ?1) ORDER BY number",
    )?;
    authorization.challenges = rows(&mut statement, [id.as_str()], read_challenge)?;
    Ok(authorization)
}

/// Writes the state of an authorization, and until when it is what it is.
pub(super) fn set_authorization(
    db: &Connection,
    id: &AuthorizationId,
    status: AuthorizationStatus,
    until: Option<Timestamp>,
) -> Result<(), StateError> {
    let until = until.map(Timestamp::unix_timestamp);
    run(
        db,
        "UPDATE acme_authorizations SET status = ?2, expires_at = coalesce(?3, expires_at)
         WHERE id = ?1",
        params![id.as_str(), status.as_str(), until],
    )?;
    // An order stays as long as one of its authorizations is of use.
    run(
        db,
        "UPDATE acme_orders SET keep_until = max(keep_until, ?2) WHERE number =
             (SELECT acme_order FROM acme_authorizations WHERE id = ?1)",
        params![id.as_str(), until.unwrap_or(i64::MIN)],
    )?;
    Ok(())
}

/// Makes an order invalid that waits for authorizations, when there still is one to
/// fail.
pub(super) fn fail_waiting(
    db: &Connection,
    id: &OrderId,
    error: Option<&Problem>,
    now: Timestamp,
) -> Result<(), StateError> {
    let order = one_order(db, id, now)?;
    match order.status {
        OrderStatus::Pending | OrderStatus::Ready => {
            set_order(db, id, order.status.after(OrderEvent::Fail)?, error)
        }
        // What is being issued was authorized when that began.
        OrderStatus::Processing | OrderStatus::Valid | OrderStatus::Invalid => Ok(()),
    }
}

pub(super) fn set_order(
    db: &Connection,
    id: &OrderId,
    status: OrderStatus,
    error: Option<&Problem>,
) -> Result<(), StateError> {
    run(
        db,
        "UPDATE acme_orders SET status = ?2, error = coalesce(?3, error) WHERE id = ?1",
        params![id.as_str(), status.as_str(), error.map(to_json)],
    )?;
    Ok(())
}

/// Refuses a second order for the same predecessor. One that has run out does not
/// count, and is written down as what it is, since an index holds the rule.
fn free_replacement(db: &Connection, certificate: &str, now: Timestamp) -> Result<(), StateError> {
    let sql = format!(
        "{ORDER} WHERE o.replaces = ?1 AND o.replaces IS NOT NULL AND o.status <> 'invalid'"
    );
    let others = rows(&mut db.prepare_cached(&sql)?, [certificate], |row| {
        read_order(row, now)
    })?;
    for other in others {
        if other.status != OrderStatus::Invalid {
            return Err(StateError::AlreadyReplaced(other.id));
        }
        set_order(db, &other.id, OrderStatus::Invalid, None)?;
    }
    Ok(())
}

fn insert_authorization(
    db: &Connection,
    order: i64,
    account: i64,
    new: &NewAuthorization,
    expires_at: Timestamp,
) -> Result<(), StateError> {
    let (status, until) = match new.trusted_until {
        Some(until) => (AuthorizationStatus::Valid, until),
        None => (AuthorizationStatus::Pending, expires_at),
    };
    run(
        db,
        "INSERT INTO acme_authorizations (id, acme_order, account, identifier, status,
             expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            AuthorizationId::random()?.as_str(),
            order,
            account,
            new.identifier.to_string(),
            status.as_str(),
            until.unix_timestamp()
        ],
    )?;
    if new.trusted_until.is_some() {
        return Ok(());
    }
    let authorization = db.last_insert_rowid();
    for kind in &new.challenges {
        run(
            db,
            "INSERT INTO acme_challenges (id, authorization, kind, token, status)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                ChallengeId::random()?.as_str(),
                authorization,
                kind.as_str(),
                id::random::<32>()?,
                ChallengeStatus::Pending.as_str()
            ],
        )?;
    }
    Ok(())
}

const ORDER: &str = "SELECT o.*, a.id AS account_id FROM acme_orders o
    JOIN acme_accounts a ON a.number = o.account";

pub(super) const ORDERS_OF: &str = "SELECT id FROM acme_orders WHERE account = ?1
    AND number > ?2
    AND status <> 'invalid' AND (status IN ('processing', 'valid') OR expires_at > ?3)
    ORDER BY number LIMIT ?4";

pub(super) const OPEN_ORDERS: &str = "SELECT count(*) FROM acme_orders WHERE account = ?1
    AND status IN ('pending', 'ready', 'processing') AND expires_at > ?2";

pub(super) const AUTHORIZED: &str = "SELECT 1 FROM acme_authorizations WHERE account = ?1
    AND identifier = ?2 AND expires_at > ?3 AND status IN ('pending', 'valid')
    AND status = 'valid'";

/// What is being issued stays, however old: its certificate may be in the inventory.
pub(super) const SWEEP: &str = "DELETE FROM acme_orders WHERE number IN (
    SELECT number FROM acme_orders INDEXED BY acme_orders_by_end
    WHERE keep_until < ?1 AND status <> 'processing' LIMIT ?2)";

fn read_order(row: &Row<'_>, now: Timestamp) -> Result<Order, StateError> {
    let text = |column: &str| row.get::<_, String>(column);
    let expires_at = moment(row.get("expires_at")?)?;
    let stored = OrderStatus::from_word(&text("status")?)
        .ok_or_else(|| damaged("the state of an order is unknown"))?;
    let status = if expires_at <= now {
        stored.after(OrderEvent::Expire).unwrap_or(stored)
    } else {
        stored
    };
    let serial: Option<String> = row.get("serial")?;
    let serial = serial.map(|hex| serial_from_hex(&hex).ok_or_else(|| damaged("a serial is none")));
    Ok(Order {
        id: order_id_at(row, "id")?,
        account: id_at(row, "account_id")?,
        status,
        created_at: moment(row.get("created_at")?)?,
        expires_at,
        identifiers: serde_json::from_str(&text("identifiers")?)
            .map_err(|_| damaged("the identifiers of an order are none"))?,
        authorizations: Vec::new(),
        not_before: moment_at(row, "not_before")?,
        not_after: moment_at(row, "not_after")?,
        profile: row.get("profile")?,
        replaces: row.get("replaces")?,
        error: problem_at(row, "error")?,
        csr: row.get("csr")?,
        serial: serial.transpose()?,
    })
}

fn read_authorization(row: &Row<'_>, now: Timestamp) -> Result<Authorization, StateError> {
    let text = |column: &str| row.get::<_, String>(column);
    let expires_at = moment(row.get("expires_at")?)?;
    let stored = AuthorizationStatus::from_word(&text("status")?)
        .ok_or_else(|| damaged("the state of an authorization is unknown"))?;
    let status = if expires_at <= now {
        stored.after(AuthorizationEvent::Expire).unwrap_or(stored)
    } else {
        stored
    };
    Ok(Authorization {
        id: authorization_id_at(row, "id")?,
        order: order_id_at(row, "order_id")?,
        account: id_at(row, "account_id")?,
        identifier: Identifier::parse(&text("identifier")?)
            .map_err(|_| damaged("the name of an authorization is none"))?,
        status,
        expires_at,
        challenges: Vec::new(),
    })
}

fn read_challenge(row: &Row<'_>) -> Result<Challenge, StateError> {
    let text = |column: &str| row.get::<_, String>(column);
    Ok(Challenge {
        id: ChallengeId::parse(&text("id")?).ok_or_else(|| damaged("an id is none"))?,
        kind: text("kind")?
            .parse()
            .map_err(|_| damaged("the kind of a challenge is unknown"))?,
        token: Token::parse(&text("token")?).map_err(|_| damaged("a token is none"))?,
        status: ChallengeStatus::from_word(&text("status")?)
            .ok_or_else(|| damaged("the state of a challenge is unknown"))?,
        validated_at: moment_at(row, "validated_at")?,
        error: problem_at(row, "error")?,
    })
}

pub(super) fn order_id_at(row: &Row<'_>, column: &str) -> Result<OrderId, StateError> {
    OrderId::parse(&row.get::<_, String>(column)?).ok_or_else(|| damaged("an id is none"))
}

pub(super) fn authorization_id_at(
    row: &Row<'_>,
    column: &str,
) -> Result<AuthorizationId, StateError> {
    AuthorizationId::parse(&row.get::<_, String>(column)?).ok_or_else(|| damaged("an id is none"))
}
