//! Challenges being answered: begun once, finished once, and what follows for the
//! authorization and the order in the same instant.

use rusqlite::{Connection, params};

use super::super::jwk::Jwk;
use super::super::problem::Problem;
use super::order::{
    authorization_id_at, fail_waiting, one_authorization, one_order, set_authorization, set_order,
};
use super::status::{
    AuthorizationEvent, AuthorizationStatus, ChallengeEvent, ChallengeStatus, OrderEvent,
    OrderStatus,
};
use super::{
    AccountId, Authorization, AuthorizationId, ChallengeId, Commit, State, StateError, account,
    damaged, rows, run, to_json,
};
use crate::challenge::{ChallengeKind, KeyAuthorization};
use crate::clock::Timestamp;
use crate::identifier::Identifier;

/// What has to be looked at to decide a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validation {
    /// The challenge.
    pub challenge: ChallengeId,
    /// Its authorization.
    pub authorization: AuthorizationId,
    /// Whose.
    pub account: AccountId,
    /// What control is to be shown of; [`Identifier::Wildcard`] for a wildcard.
    pub identifier: Identifier,
    /// How.
    pub kind: ChallengeKind,
    /// The right answer, and in it the token.
    pub key_authorization: KeyAuthorization,
}

/// What became of an account's word that it is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// The caller, and nobody else, has to look now, and to call
    /// [`State::finish_challenge`] whatever comes of it.
    Now(Validation),
    /// Somebody did or does already.
    Already(ChallengeStatus),
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The right answer; the authorization is valid until then.
    Right {
        /// When the authorization runs out.
        valid_until: Timestamp,
    },
    /// No right answer, after every attempt.
    Wrong(Problem),
}

impl State {
    /// The authorization that a challenge belongs to.
    pub fn authorization_of(
        &self,
        challenge: &ChallengeId,
        now: Timestamp,
    ) -> Result<Authorization, StateError> {
        self.read(|db| of_challenge(db, challenge, now))
    }

    /// Begins to look at a challenge.
    ///
    /// Atomic: of several who begin at once, one is told [`Started::Now`]. Refused when
    /// the account or the authorization is not open any more.
    pub fn start_challenge(&self, id: &ChallengeId, now: Timestamp) -> Result<Started, StateError> {
        self.write(Commit::Quick, |db| {
            let authorization = of_challenge(db, id, now)?;
            let validation = validation(db, &authorization, id)?;
            let status = status_of(&authorization, id)?;
            if status != ChallengeStatus::Pending {
                return Ok(Started::Already(status));
            }
            if authorization.status != AuthorizationStatus::Pending {
                return Err(StateError::AuthorizationClosed(authorization.status));
            }
            account::open(db, &authorization.account)?;
            let status = status.after(ChallengeEvent::Start)?;
            run(
                db,
                "UPDATE acme_challenges SET status = ?2, runner = ?3 WHERE id = ?1",
                params![id.as_str(), status.as_str(), self.number()],
            )?;
            Ok(Started::Now(validation))
        })
    }

    /// Writes down what came of a challenge, and all that follows.
    ///
    /// Atomic, with the authorization and the order: a failure makes both invalid at
    /// once; the last success makes the order ready. An authorization that was given
    /// up or ran out meanwhile stays so. Returns the authorization as it is then.
    pub fn finish_challenge(
        &self,
        id: &ChallengeId,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<Authorization, StateError> {
        self.write(Commit::Quick, |db| {
            let before = of_challenge(db, id, now)?;
            let status = status_of(&before, id)?;
            let (event, error) = match outcome {
                Outcome::Right { .. } => (ChallengeEvent::Succeed, None),
                Outcome::Wrong(problem) => (ChallengeEvent::Fail, Some(problem)),
            };
            run(
                db,
                "UPDATE acme_challenges SET status = ?2, validated_at = ?3, error = ?4
                 WHERE id = ?1",
                params![
                    id.as_str(),
                    status.after(event)?.as_str(),
                    error.is_none().then(|| now.unix_timestamp()),
                    error.map(to_json)
                ],
            )?;
            if before.status == AuthorizationStatus::Pending {
                match outcome {
                    Outcome::Right { valid_until } => succeed(db, &before, *valid_until, now)?,
                    Outcome::Wrong(problem) => {
                        let status = before.status.after(AuthorizationEvent::Fail)?;
                        set_authorization(db, &before.id, status, None)?;
                        fail_waiting(db, &before.order, Some(problem), now)?;
                    }
                }
            }
            one_authorization(db, &before.id, now)
        })
    }

    /// The challenges that this runner's predecessor began to look at and did not finish:
    /// to be looked at again, once, when the directory starts. Others' are not: they may
    /// be alive, and look elsewhere.
    pub fn unfinished_challenges(&self, now: Timestamp) -> Result<Vec<Validation>, StateError> {
        self.read(|db| {
            let mut statement = db.prepare_cached(UNFINISHED)?;
            let ids = rows(&mut statement, [self.number()], |row| {
                let id: String = row.get("id")?;
                ChallengeId::parse(&id).ok_or_else(|| damaged("an id is none"))
            })?;
            let mut found = Vec::new();
            for id in ids {
                let authorization = of_challenge(db, &id, now)?;
                if authorization.status == AuthorizationStatus::Pending {
                    found.push(validation(db, &authorization, &id)?);
                }
            }
            Ok(found)
        })
    }
}

/// The authorization is valid; the order is ready if it was the last.
fn succeed(
    db: &Connection,
    authorization: &Authorization,
    valid_until: Timestamp,
    now: Timestamp,
) -> Result<(), StateError> {
    let status = authorization.status.after(AuthorizationEvent::Succeed)?;
    set_authorization(db, &authorization.id, status, Some(valid_until))?;
    let order = one_order(db, &authorization.order, now)?;
    if order.status == OrderStatus::Pending && all_valid(db, &order.authorizations, now)? {
        let status = order.status.after(OrderEvent::Authorize)?;
        set_order(db, &order.id, status, None)?;
    }
    Ok(())
}

/// Whether each of them is valid now.
pub(super) fn all_valid(
    db: &Connection,
    authorizations: &[AuthorizationId],
    now: Timestamp,
) -> Result<bool, StateError> {
    for id in authorizations {
        if one_authorization(db, id, now)?.status != AuthorizationStatus::Valid {
            return Ok(false);
        }
    }
    Ok(true)
}

fn of_challenge(
    db: &Connection,
    id: &ChallengeId,
    now: Timestamp,
) -> Result<Authorization, StateError> {
    let mut statement = db.prepare_cached(
        "SELECT z.id FROM acme_challenges c
         JOIN acme_authorizations z ON z.number = c.authorization WHERE c.id = ?1",
    )?;
    let mut found = rows(&mut statement, [id.as_str()], |row| {
        authorization_id_at(row, "id")
    })?;
    let authorization = found.pop().ok_or(StateError::NotFound("challenge"))?;
    one_authorization(db, &authorization, now)
}

fn status_of(
    authorization: &Authorization,
    id: &ChallengeId,
) -> Result<ChallengeStatus, StateError> {
    let found = authorization.challenge(id);
    found
        .map(|challenge| challenge.status)
        .ok_or(StateError::NotFound("challenge"))
}

/// The right answer is made with the key that the account has now: a change of key
/// while a challenge is open takes the new one (RFC 8555 §8.1).
fn validation(
    db: &Connection,
    authorization: &Authorization,
    id: &ChallengeId,
) -> Result<Validation, StateError> {
    let challenge = authorization
        .challenge(id)
        .ok_or(StateError::NotFound("challenge"))?;
    let jwk: String = db
        .prepare_cached("SELECT jwk FROM acme_accounts WHERE id = ?1")?
        .query_row([authorization.account.as_str()], |row| row.get(0))?;
    let key = Jwk::parse(jwk.as_bytes()).map_err(|_| damaged("a key is none"))?;
    Ok(Validation {
        challenge: id.clone(),
        authorization: authorization.id.clone(),
        account: authorization.account.clone(),
        identifier: authorization.identifier.clone(),
        kind: challenge.kind,
        key_authorization: key.thumbprint().authorize(&challenge.token),
    })
}

pub(super) const UNFINISHED: &str = "SELECT id FROM acme_challenges
    WHERE status = 'processing' AND (runner IS NULL OR runner = ?1) ORDER BY number";
