//! Showing control of the names of an order (RFC 8555 §7.5).
//!
//! Rules kept here: what belongs to several names is done for all of them at once;
//! whatever is presented is cleaned up on success, error and cancellation; what may
//! have been done already is looked at before it is done again; what cannot be
//! presented is shown in another way, if there is one.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    AuthorizationStatus, Challenge as Offer, ChallengeStatus, ChallengeType,
    Identifier as AcmeIdentifier,
};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::account::Account;
use super::error::{AcmeError, Failure};
use super::http::{Answer, Session};
use super::retry::Patience;
use super::wire::{AuthorizationState, Problem};
use crate::challenge::{Challenge, ChallengeKind, KeyAuthorization, Solver, SolverError, Token};
use crate::clock::Timestamp;
use crate::finding::words::causes;
use crate::identifier::{DnsName, Identifier, quoted, quoted_within};

/// How long removing what was presented may take.
pub(crate) const CLEAN_UP_DEADLINE: Duration = Duration::from_secs(60);
/// How long the other names are waited for once one has failed.
const GRACE: Duration = Duration::from_secs(5);

const READ_AUTHORIZATION: &str = "read an authorization";

/// One run's connections to the world.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Means<'a> {
    pub(crate) session: &'a Session,
    pub(crate) account: &'a Arc<Account>,
    /// In order of preference.
    pub(crate) solvers: &'a [Arc<dyn Solver>],
    /// Keeps account of cleaning up that outlives a cancelled run.
    pub(crate) cleanups: &'a TaskTracker,
}

/// Shows control of every name that the CA is not sure of. `urls` are those of the
/// order's authorizations, `thumbprint` is the account key's.
pub(crate) async fn authorize(
    means: Means<'_>,
    thumbprint: &str,
    names: &[Identifier],
    urls: &[String],
) -> Result<(), AcmeError> {
    if urls.len() > names.len() {
        return Err(AcmeError::Malformed {
            action: READ_AUTHORIZATION,
            reason: "there are more authorizations than names".to_owned(),
        });
    }
    let states = fetch_all(means, urls).await?;
    let plan = |solvers: &[Arc<dyn Solver>]| -> Result<Vec<Task>, AcmeError> {
        let plan = Plan {
            session: means.session,
            thumbprint,
            names,
            solvers,
        };
        let tasks = states.iter().map(|(url, state)| plan.task(url, state));
        tasks.filter_map(Result::transpose).collect()
    };
    let mut solvers = means.solvers.to_vec();
    let mut tasks = plan(&solvers)?;
    let mut first = None;
    while !tasks.is_empty() {
        let mut presented = Presented::new(&solvers, &tasks, means.cleanups);
        let Err((kind, error)) = presented.present().await else {
            let proven = prove_all(means, tasks).await;
            presented.clean_up().await;
            return proven;
        };
        presented.clean_up().await;
        solvers.retain(|solver| solver.kind() != kind);
        let words = causes(&error);
        // What the user asked for first is what the error should be about.
        let error = first.take().unwrap_or(error);
        tasks = match plan(&solvers) {
            Err(AcmeError::NoChallenge { .. }) => return Err(error.into()),
            other => other?,
        };
        tracing::warn!(%kind, error = words, "cannot be presented; trying the next kind of challenge");
        first = Some(error);
    }
    Ok(())
}

async fn fetch_all(
    means: Means<'_>,
    urls: &[String],
) -> Result<Vec<(String, AuthorizationState)>, AcmeError> {
    let mut fetching: JoinSet<Result<_, AcmeError>> = JoinSet::new();
    for url in urls {
        let (session, account, url) = means.owned(url);
        fetching.spawn(async move {
            let state = look(&session, &account, &url).await?;
            Ok((url, state.0))
        });
    }
    let mut states = Vec::new();
    while let Some(joined) = fetching.join_next().await {
        states.push(joined.expect("the task neither panics nor is aborted")?);
    }
    Ok(states)
}

/// An authorization, and when the CA would have us look again.
async fn look(
    session: &Session,
    account: &Account,
    url: &str,
) -> Result<(AuthorizationState, Option<Timestamp>), AcmeError> {
    const ACTION: &str = READ_AUTHORIZATION;
    let read = |answer: Answer| Ok((answer.json(ACTION)?, answer.retry_after));
    session
        .post(account.identity(), ACTION, url, None, read)
        .await
}

impl Means<'_> {
    fn owned(&self, url: &str) -> (Session, Arc<Account>, String) {
        let (session, account) = (self.session.clone(), Arc::clone(self.account));
        (session, account, url.to_owned())
    }
}

/// One challenge to be answered.
#[derive(Debug)]
struct Task {
    authorization: String,
    url: String,
    name: Identifier,
    /// Position of the solver.
    solver: usize,
    challenge: Challenge,
}

/// What is needed to know which challenge to answer, and with what.
#[derive(Debug, Clone, Copy)]
struct Plan<'a> {
    session: &'a Session,
    thumbprint: &'a str,
    names: &'a [Identifier],
    solvers: &'a [Arc<dyn Solver>],
}

impl Plan<'_> {
    /// What is to be done for one authorization; nothing when it is valid already.
    fn task(&self, url: &str, state: &AuthorizationState) -> Result<Option<Task>, AcmeError> {
        let (identifier, name) = asked_for(self.names, &state.identifier, state.wildcard)?;
        match state.status {
            AuthorizationStatus::Valid => return Ok(None),
            AuthorizationStatus::Pending => {}
            _ => {
                let failures = vec![failure(name, state)];
                return Err(AcmeError::NotVerified { failures });
            }
        }
        let Some((solver, kind, offer)) = choose(self.solvers, &name, &state.challenges) else {
            let kinds = state.challenges.iter().take(10);
            return Err(AcmeError::NoChallenge {
                name,
                offered: kinds.map(|offer| quoted_within(named(offer), 40)).collect(),
            });
        };
        let malformed = |reason: String| AcmeError::Malformed {
            action: READ_AUTHORIZATION,
            reason,
        };
        let token = Token::parse(&offer.token).map_err(|e| malformed(e.to_string()))?;
        let key_authorization = KeyAuthorization::new(format!("{token}.{}", self.thumbprint))
            .map_err(|e| malformed(e.to_string()))?;
        self.session.url(&offer.url)?;
        Ok(Some(Task {
            authorization: url.to_owned(),
            url: offer.url.clone(),
            solver,
            challenge: Challenge {
                identifier,
                wildcard: matches!(name, Identifier::Wildcard(_)),
                kind,
                token,
                key_authorization,
            },
            name,
        }))
    }
}

/// The identifier of an authorization, and which of `names` it stands for.
fn asked_for(
    names: &[Identifier],
    named: &AcmeIdentifier,
    wildcard: bool,
) -> Result<(Identifier, Identifier), AcmeError> {
    let bare = match named {
        AcmeIdentifier::Ip(address) => Some(Identifier::Ip(*address)),
        AcmeIdentifier::Dns(name) => DnsName::parse(name).ok().map(Identifier::Dns),
        _ => None,
    };
    let whole = match &bare {
        Some(Identifier::Dns(name)) if wildcard => Some(Identifier::Wildcard(name.clone())),
        other => other.clone(),
    };
    match (bare, whole) {
        (Some(bare), Some(whole)) if names.contains(&whole) => Ok((bare, whole)),
        _ => Err(AcmeError::Malformed {
            action: READ_AUTHORIZATION,
            reason: format!(
                "nobody asked for `{}`",
                quoted(&named.authorized(wildcard).to_string())
            ),
        }),
    }
}

/// The first solver that may be used for `name` and whose challenge is offered.
fn choose<'a>(
    solvers: &[Arc<dyn Solver>],
    name: &Identifier,
    offered: &'a [Offer],
) -> Option<(usize, ChallengeKind, &'a Offer)> {
    solvers.iter().enumerate().find_map(|(position, solver)| {
        let kind = solver.kind();
        let fits = match name {
            Identifier::Wildcard(_) => kind == ChallengeKind::Dns01,
            Identifier::Ip(_) => kind != ChallengeKind::Dns01,
            _ => true,
        };
        let offer = offered.iter().find(|offer| named(offer) == kind.as_str());
        fits.then_some(())?;
        Some((position, kind, offer?))
    })
}

/// The name of a kind of challenge, as the CA has it.
fn named(offer: &Offer) -> &str {
    match &offer.r#type {
        ChallengeType::Http01 => ChallengeKind::Http01.as_str(),
        ChallengeType::TlsAlpn01 => ChallengeKind::TlsAlpn01.as_str(),
        ChallengeType::Dns01 => ChallengeKind::Dns01.as_str(),
        ChallengeType::Unknown(name) => name,
        _ => "another",
    }
}

/// What has been presented, and by whom; cleaned up also when it is dropped.
#[derive(Debug)]
struct Presented {
    groups: Vec<(Arc<dyn Solver>, Vec<Challenge>)>,
    cleanups: TaskTracker,
}

impl Presented {
    fn new(solvers: &[Arc<dyn Solver>], tasks: &[Task], cleanups: &TaskTracker) -> Self {
        let groups = solvers.iter().enumerate().map(|(position, solver)| {
            let mine = tasks.iter().filter(|task| task.solver == position);
            let challenges: Vec<_> = mine.map(|task| task.challenge.clone()).collect();
            (Arc::clone(solver), challenges)
        });
        Self {
            groups: groups.filter(|(_, group)| !group.is_empty()).collect(),
            cleanups: cleanups.clone(),
        }
    }

    async fn present(&self) -> Result<(), (ChallengeKind, SolverError)> {
        for (solver, challenges) in &self.groups {
            let presented = solver.present(challenges).await;
            presented.map_err(|error| (solver.kind(), error))?;
        }
        Ok(())
    }

    async fn clean_up(&mut self) {
        // In a task of its own: dropping this future half way loses nothing.
        if let Some(task) = self.detach() {
            let _ = task.await;
        }
    }

    fn detach(&mut self) -> Option<tokio::task::JoinHandle<()>> {
        let groups = std::mem::take(&mut self.groups);
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        (!groups.is_empty()).then(|| {
            let work = async move {
                for (solver, challenges) in groups {
                    remove(solver.as_ref(), &challenges).await;
                }
            };
            self.cleanups.spawn_on(work, &runtime)
        })
    }
}

impl Drop for Presented {
    fn drop(&mut self) {
        drop(self.detach());
    }
}

async fn remove(solver: &dyn Solver, challenges: &[Challenge]) {
    let kind = solver.kind();
    match tokio::time::timeout(CLEAN_UP_DEADLINE, solver.clean_up(challenges)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%kind, %error, "could not clean up after the challenge"),
        Err(_) => tracing::warn!(%kind, "cleaning up after the challenge takes too long"),
    }
}

/// Tells the CA to look, for every name at once, and waits for what it finds.
async fn prove_all(means: Means<'_>, tasks: Vec<Task>) -> Result<(), AcmeError> {
    let mut proving = JoinSet::new();
    for task in tasks {
        let (session, account, _) = means.owned("");
        proving.spawn(async move { prove(&session, &account, task).await });
    }
    let mut failures = Vec::new();
    loop {
        let next = proving.join_next();
        let joined = if failures.is_empty() {
            next.await
        } else {
            tokio::time::timeout(GRACE, next).await.unwrap_or_default()
        };
        let Some(joined) = joined else { break };
        match joined.expect("the task neither panics nor is aborted") {
            Ok(()) => {}
            Err(AcmeError::NotVerified { failures: more }) => failures.extend(more),
            Err(other) => return Err(other),
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        failures.sort_by(|a, b| a.name.cmp(&b.name));
        Err(AcmeError::NotVerified { failures })
    }
}

async fn prove(session: &Session, account: &Account, task: Task) -> Result<(), AcmeError> {
    let action = "answer a challenge";
    let identity = account.identity();
    let mut failing = Patience::default();
    let mut polling = Patience::default();
    let mut told = false;
    loop {
        let mut refused = None;
        if !told {
            let go = json!({});
            match session
                .post_once(identity, action, &task.url, Some(&go))
                .await
            {
                Ok(_) => told = true,
                Err(error) => refused = Some(error),
            }
        }
        if let Some(error) = &refused
            && error.is_vanished_account()
        {
            return Err(refused.take().expect("it was just looked at"));
        }
        if refused.is_none() {
            session.pause(&mut polling, action, None).await?;
        }
        // A challenge whose answer was lost may be under way, or over, already.
        let (state, wish) = look(session, account, &task.authorization).await?;
        match state.status {
            AuthorizationStatus::Valid => return Ok(()),
            AuthorizationStatus::Pending => {}
            _ => {
                let failures = vec![failure(task.name, &state)];
                return Err(AcmeError::NotVerified { failures });
            }
        }
        let mine = state.challenges.iter().find(|c| c.url == task.url);
        match refused {
            Some(_) if mine.is_some_and(|c| c.status == ChallengeStatus::Processing) => told = true,
            Some(error) => session.bear(&mut failing, action, error).await?,
            None => hold(session, wish).await,
        }
    }
}

/// Waits as long as the CA wishes between two looks, if it does.
async fn hold(session: &Session, wish: Option<Timestamp>) {
    let wish = wish.and_then(|moment| Duration::try_from(moment - session.now()).ok());
    if let Some(wait) = wish {
        let until = Instant::now() + wait.min(session.limits().wait);
        tokio::time::sleep_until(until.min(session.deadline())).await;
    }
}

fn failure(name: Identifier, state: &AuthorizationState) -> Failure {
    let failed = state.challenges.iter().find(|c| c.error.is_some());
    Failure {
        name,
        kind: failed.and_then(|c| named(c).parse().ok()),
        problem: failed.and_then(|c| c.error.clone()).map(Problem::from),
    }
}
