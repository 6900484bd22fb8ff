//! Authorizations and challenges (RFC 8555 §7.5).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration as Wait;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::task::JoinHandle;

use super::super::asked::AskedIdentifier;
use super::super::caa;
use super::super::jws::Verified;
use super::super::problem::Problem;
use super::super::state::{
    Account, Authorization, AuthorizationId, AuthorizationStatus, Challenge, ChallengeId,
    ChallengeStatus, Outcome, Started, StateError, Validation,
};
use super::super::validate::{Turn, validate};
use super::super::{Asker, Happening};
use super::Service;
use super::answer::Answer;
use super::limiter::Trial;
use super::orders::{AUTHORIZATION_LIFE, SOON};
use super::route::Urls;
use super::slots::Ticket;
use crate::clock::rfc3339;
use crate::finding::words::causes;
use crate::identifier::{Identifier, quoted};

/// How long the answer to a client waits for what becomes of its challenge.
pub(super) const PATIENCE: Wait = Wait::from_secs(4);
/// How long it takes until what could not be written down is tried again.
const AGAIN: Wait = Wait::from_secs(5);
/// For a day: the authorization has run out then.
const ATTEMPTS: u32 = 24 * 3600 / 5;

/// The payload of an update.
#[derive(Deserialize)]
struct Update {
    status: Option<String>,
}

#[derive(Serialize)]
struct ShownAuthorization<'a> {
    identifier: Option<AskedIdentifier>,
    status: &'static str,
    expires: String,
    challenges: Vec<ShownChallenge<'a>>,
    /// Present only when true (RFC 8555 §7.1.4).
    #[serde(skip_serializing_if = "is_false")]
    wildcard: bool,
}

#[derive(Serialize)]
struct ShownChallenge<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    url: String,
    status: &'static str,
    token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    validated: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Problem>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !value
}

fn shown(authorization: &Authorization, urls: &Urls) -> Answer {
    // Of one that is decided, only what decided it (RFC 8555 §7.1.4).
    let tells = |challenge: &&Challenge| match authorization.status {
        AuthorizationStatus::Valid => challenge.status == ChallengeStatus::Valid,
        _ => true,
    };
    let challenges = authorization.challenges.iter().filter(tells);
    let answer = Answer::json(&ShownAuthorization {
        identifier: AskedIdentifier::of(&authorization.identifier),
        status: authorization.status.as_str(),
        expires: rfc3339(authorization.expires_at),
        challenges: challenges.map(|c| challenge_of(c, urls)).collect(),
        wildcard: matches!(authorization.identifier, Identifier::Wildcard(_)),
    });
    let looking = authorization
        .challenges
        .iter()
        .any(|challenge| challenge.status == ChallengeStatus::Processing);
    if looking && authorization.status == AuthorizationStatus::Pending {
        answer.retry_after(SOON)
    } else {
        answer
    }
}

fn challenge_of<'a>(challenge: &'a Challenge, urls: &Urls) -> ShownChallenge<'a> {
    ShownChallenge {
        kind: challenge.kind.as_str(),
        url: urls.challenge(&challenge.id),
        status: challenge.status.as_str(),
        token: challenge.token.as_str(),
        validated: challenge.validated_at.map(rfc3339),
        error: challenge.error.as_ref(),
    }
}

/// What follows the first look at a request for a challenge.
pub(super) enum Begun {
    /// It is as it is.
    Known(Authorization),
    /// It has to be looked at, when it is its turn.
    Look(Validation, Admitted),
}

/// The room that a challenge takes until it is decided.
pub(super) struct Admitted {
    pub(super) ticket: Ticket,
    pub(super) trial: Trial,
}

impl Service {
    pub(super) fn authorization(
        &self,
        account: &Account,
        id: &AuthorizationId,
        request: &Verified,
        urls: &Urls,
    ) -> Result<Answer, Problem> {
        let now = self.clock.now();
        let found = self.state.authorization(id, now)?;
        if found.account != account.id {
            return Err(Problem::not_found("authorization"));
        }
        if request.is_post_as_get() {
            return Ok(shown(&found, urls));
        }
        let update: Update = request.json()?;
        match update.status.as_deref() {
            Some("deactivated") => {
                let given_up = self.state.deactivate_authorization(id, now)?;
                Ok(shown(&given_up, urls))
            }
            other => {
                let other = quoted(other.unwrap_or_default());
                let detail = format!("an authorization can be `deactivated`, not `{other}`");
                Err(Problem::malformed(detail))
            }
        }
    }

    /// The first look at a request for a challenge: a read, or the word that the
    /// account is ready.
    pub(super) fn begin_challenge(
        &self,
        account: &Account,
        id: &ChallengeId,
        request: &Verified,
        from: IpAddr,
    ) -> Result<Begun, Problem> {
        let now = self.clock.now();
        let found = self.state.authorization_of(id, now)?;
        if found.account != account.id {
            return Err(Problem::not_found("challenge"));
        }
        if request.is_post_as_get() {
            return Ok(Begun::Known(found));
        }
        // RFC 8555 §7.5.1: an empty object; what else older clients put into it does
        // not count.
        let _: Map<String, Value> = request.json()?;
        let asked = found.challenge(id);
        if asked.is_some_and(|challenge| challenge.status != ChallengeStatus::Pending) {
            return Ok(Begun::Known(found));
        }
        let trial = self.limiter.attempt(&account.id, &found.identifier, now)?;
        let ticket = self.slots.enter(&account.id, Some(from))?;
        match self.state.start_challenge(id, now) {
            Ok(Started::Now(validation)) => Ok(Begun::Look(validation, Admitted { ticket, trial })),
            other => {
                self.slots.leave(&ticket);
                other?;
                Ok(Begun::Known(found))
            }
        }
    }

    /// A challenge as it is now.
    pub(super) fn challenge(
        &self,
        found: &Authorization,
        id: &ChallengeId,
        urls: &Urls,
    ) -> Result<Answer, Problem> {
        let challenge = found
            .challenge(id)
            .ok_or_else(|| Problem::not_found("challenge"))?;
        let answer =
            Answer::json(&challenge_of(challenge, urls)).link(&urls.authorization(&found.id), "up");
        Ok(match challenge.status {
            ChallengeStatus::Processing => answer.retry_after(SOON),
            _ => answer,
        })
    }

    /// Looks at a challenge, for as long as it takes, and writes down what was seen:
    /// a task of its own, since no client that leaves may stop it. Gives what became of
    /// the authorization.
    ///
    /// `account` is the account's URL, for CAA records that name it; `asker` is for whom
    /// it is looked at.
    pub(super) fn look(
        self: &Arc<Self>,
        wanted: Validation,
        admitted: Admitted,
        account: String,
        asker: Asker,
    ) -> JoinHandle<Option<Authorization>> {
        let service = Arc::clone(self);
        let Admitted { ticket, trial } = admitted;
        tokio::spawn(async move {
            let turn = service.slots.turn(&ticket).await;
            let seen = service.validate(&wanted, &account, &turn).await;
            drop(turn);
            let outcome = service.judge(&wanted, seen, &asker);
            // A failure has been counted.
            drop(trial);
            let kept = service.keep(&wanted.challenge, &outcome).await;
            service.slots.leave(&ticket);
            kept
        })
    }

    /// Writes down what was seen; where that cannot be done, once it can: nobody else looks
    /// at a challenge that this process looks at.
    async fn keep(self: &Arc<Self>, id: &ChallengeId, outcome: &Outcome) -> Option<Authorization> {
        for attempt in 0..ATTEMPTS {
            let (id, outcome) = (id.clone(), outcome.clone());
            let write = move |service: &Arc<Self>| {
                let now = service.clock.now();
                Ok(service.state.finish_challenge(&id, &outcome, now))
            };
            // A panic has been told of.
            let error = match self.blocking(write).await.ok()? {
                Ok(authorization) => return Some(authorization),
                Err(error) => error,
            };
            if attempt == 0 {
                let error = causes(&error);
                tracing::error!(error, "what became of a challenge could not be kept");
            }
            if !matches!(error, StateError::Ledger(_)) {
                return None;
            }
            tokio::time::sleep(AGAIN).await;
        }
        None
    }

    /// Whether the account controls the name, and its domain lets us issue.
    async fn validate(
        &self,
        wanted: &Validation,
        account: &str,
        turn: &Turn,
    ) -> Result<(), Problem> {
        let network = &*self.network;
        validate(network, &self.settings.validation, wanted, turn).await?;
        let asked = caa::Asked {
            identifier: &wanted.identifier,
            account,
            method: Some(wanted.kind),
        };
        caa::permits(network, &self.settings.caa_identities, &asked).await
    }

    /// What follows from what was seen; a failure is counted.
    fn judge(&self, wanted: &Validation, seen: Result<(), Problem>, asker: &Asker) -> Outcome {
        let now = self.clock.now();
        self.observer.saw(&Happening::Validated {
            kind: wanted.kind,
            identifier: &wanted.identifier,
            problem: seen.as_ref().err().map(Problem::detail),
            asker,
        });
        match seen {
            Ok(()) => Outcome::Right {
                valid_until: now + AUTHORIZATION_LIFE,
            },
            Err(problem) => {
                self.limiter
                    .failed(&wanted.account, &wanted.identifier, now);
                Outcome::Wrong(told_about(problem, &wanted.identifier))
            }
        }
    }
}

fn told_about(problem: Problem, identifier: &Identifier) -> Problem {
    match AskedIdentifier::of(identifier) {
        Some(identifier) => problem.about(identifier),
        None => problem,
    }
}
