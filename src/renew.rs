//! Renewing what is due.
//!
//! [`policy`] decides, as a pure function of dates, past attempts and now;
//! [`Renewal::run`] performs: lock, look again, issue, store, export, hook. One
//! certificate's failure is recorded and reported and never delays the next.

pub mod hook;
pub mod issuers;
pub mod policy;

use std::sync::Arc;
use std::time::Duration as StdDuration;

use crate::bundle::Certificate;
use crate::clock::{Clock, Duration, Timestamp};
use crate::identifier::{CertId, Identifier};
use crate::issuer::{IssueError, Issuer};
use crate::key::{KeyError, PrivateKey};
use crate::store::{Attempts, Export, IssuerRef, Record, Store, StoreError, Stored, export};

use hook::{Hook, HookFailure};
use policy::{Reason, Step};

/// Finds the issuer of a stored certificate.
pub trait Issuers: Send + Sync {
    /// The issuer itself; may need to unlock a key, so only asked when one is due.
    fn open(&self, issuer: &IssuerRef) -> Result<Arc<dyn Issuer>, IssueError>;

    /// Why `leaf` should not be left in use until it is due (its issuer was rotated,
    /// say).
    fn superseded(&self, issuer: &IssuerRef, leaf: &Certificate) -> Option<Superseded>;
}

/// Why a certificate should not be left in use until it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superseded {
    /// In words.
    pub why: String,
    /// What follows from it.
    pub then: Then,
}

/// What follows when a certificate was superseded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It is replaced now.
    Replace,
    /// It is replaced now with a new key, also where the key would be kept: others
    /// know the old one.
    ReplaceKey,
    /// It is not renewed again: whoever revoked it has ended its use.
    Withdraw,
}

/// What to renew and how.
#[derive(Debug, Default)]
pub struct Request {
    /// Only these; all when empty.
    pub ids: Vec<CertId>,
    /// Also what is not due or was put off.
    pub force: bool,
    /// Decide only.
    pub dry_run: bool,
    /// Runs after each renewal, besides the certificate's own hook.
    pub deploy_hook: Option<Hook>,
    /// How long each hook may run; [`Renewal::HOOK_DEADLINE`] when `None`.
    pub hook_timeout: Option<StdDuration>,
}

/// What became of one certificate.
#[derive(Debug)]
pub struct Outcome {
    /// Its id.
    pub id: CertId,
    /// Its names, when it could be loaded.
    pub names: Vec<Identifier>,
    /// What was done.
    pub result: Done,
    /// What was damaged in the store, when an older generation stood in.
    pub damage: Vec<String>,
}

/// What was done about one certificate.
#[derive(Debug)]
pub enum Done {
    /// Nothing: it is not due before `due_at`.
    NotDue {
        /// When it will be.
        due_at: Timestamp,
    },
    /// Nothing: it failed before, and is not to be tried again yet.
    PutOff {
        /// When it may be tried again.
        until: Timestamp,
        /// What the last failure said.
        error: String,
    },
    /// Nothing, now and later: it was revoked for good. Only [`Request::force`], or
    /// issuing it anew, brings it back.
    Withdrawn {
        /// What the revocation said.
        why: String,
    },
    /// Nothing, since this was a dry run; else it would have been renewed.
    WouldRenew(Reason),
    /// The stored one is good, but an earlier run did not get to the end of its
    /// copies and hooks, or somebody damaged a copy: that has been made up for.
    Redeployed {
        /// When it will be due.
        due_at: Timestamp,
        /// Copies that could not be written, and hooks that failed.
        trouble: Vec<Trouble>,
    },
    /// It was renewed.
    Renewed {
        /// Why.
        reason: Reason,
        /// The new generation.
        stored: Box<Stored>,
        /// What went wrong with its hooks and copies; the certificate itself is in place.
        trouble: Vec<Trouble>,
    },
    /// It could not be renewed; what was in use before is untouched.
    Failed {
        /// Why.
        error: Failure,
        /// When it will be tried again; `None` when the next run may.
        retry_at: Option<Timestamp>,
    },
}

/// Why a certificate could not be renewed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The issuer refused.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The id is unknown.
    #[error("there is no certificate `{0}`")]
    Unknown(CertId),
}

impl Failure {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Issue(error) => error.hint.clone(),
            Self::Key(_) => None,
            Self::Unknown(_) => Some("list what there is with `certmint ca status`".to_owned()),
        }
    }
}

/// What went wrong after a certificate was safely renewed.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// A copy could not be written.
    #[error(transparent)]
    Export(StoreError),
    /// A hook failed.
    #[error(transparent)]
    Hook(#[from] HookFailure),
}

impl Outcome {
    /// Whether the run as a whole has failed because of this one.
    pub fn is_failure(&self) -> bool {
        match &self.result {
            Done::Failed { .. } => true,
            Done::Renewed { trouble, .. } | Done::Redeployed { trouble, .. } => !trouble.is_empty(),
            Done::NotDue { .. }
            | Done::PutOff { .. }
            | Done::Withdrawn { .. }
            | Done::WouldRenew(_) => false,
        }
    }

    /// When there may be something to do again, seen from `now`.
    pub fn next_wake(&self, now: Timestamp) -> Timestamp {
        match &self.result {
            Done::NotDue { due_at } | Done::Redeployed { due_at, .. } => *due_at,
            Done::PutOff { until, .. } => *until,
            Done::Renewed { stored, .. } => policy::due_at(policy::Life::of(stored.bundle.leaf())),
            Done::Failed { retry_at, .. } => retry_at.unwrap_or(now + Self::RETRY),
            Done::WouldRenew(_) => now,
            Done::Withdrawn { .. } => now + Self::NEVER,
        }
    }

    /// When to look again at what is never due: not the reason to wake for.
    const NEVER: Duration = Duration::days(365);

    /// How soon to look again after a failure that may be retried at once.
    const RETRY: Duration = Duration::hours(1);
}

/// Performs renewals.
pub struct Renewal<'a> {
    /// Where certificates are kept.
    pub store: &'a dyn Store,
    /// Who issues them.
    pub issuers: &'a dyn Issuers,
    /// What time it is.
    pub clock: &'a dyn Clock,
}

impl Renewal<'_> {
    /// How long a hook may run.
    pub const HOOK_DEADLINE: StdDuration = StdDuration::from_secs(120);

    /// Looks at every certificate asked for, one after the other, whatever fails.
    ///
    /// Fails only when the store cannot be listed at all.
    pub async fn run(&self, request: &Request) -> Result<Vec<Outcome>, StoreError> {
        let ids = self.ids(request)?;
        let mut outcomes = Vec::with_capacity(ids.len());
        for id in ids {
            outcomes.push(self.one(id, request).await);
        }
        Ok(outcomes)
    }

    fn ids(&self, request: &Request) -> Result<Vec<CertId>, StoreError> {
        if !request.ids.is_empty() {
            return Ok(request.ids.clone());
        }
        if !request.dry_run {
            // A first certificate that a crash left whole but unnamed is among them then.
            for healed in self.store.recover_all()? {
                tracing::info!("{healed}");
            }
        }
        self.store.ids()
    }

    /// Looks at one certificate.
    pub async fn one(&self, id: CertId, request: &Request) -> Outcome {
        let mut seen = Seen::default();
        let result = self
            .attempt(&id, request, &mut seen)
            .await
            .unwrap_or_else(|error| Done::Failed {
                retry_at: self.put_off(&id, &error, &seen),
                error,
            });
        Outcome {
            id,
            names: seen.names,
            result,
            damage: seen.damage,
        }
    }

    async fn attempt(
        &self,
        id: &CertId,
        request: &Request,
        seen: &mut Seen,
    ) -> Result<Done, Failure> {
        // A dry run takes no lock: it changes nothing and must not wait.
        let _lock = if request.dry_run {
            None
        } else {
            let lock = self.store.lock_cert(id)?;
            for healed in self.store.recover(id)? {
                tracing::info!(%id, "{healed}");
            }
            Some(lock)
        };
        let stored = self
            .store
            .load(id)?
            .ok_or_else(|| Failure::Unknown(id.clone()))?;
        seen.take(&stored);
        let leaf = stored.bundle.leaf();
        let attempts = self.store.attempts(id)?;
        let superseded = self.issuers.superseded(&stored.record.issuer, leaf);
        let situation = policy::Situation {
            life: policy::Life::of(leaf),
            attempts: &attempts,
            superseded: superseded.as_ref().map(|s| (s.why.clone(), s.then)),
            damaged: !stored.damage.is_empty(),
            force: request.force,
        };
        match policy::next_step(situation, self.clock.now()) {
            Step::Wait { due_at } => {
                let unfinished = attempts.deploying.as_ref() == Some(&leaf.serial_hex());
                Ok(self.redeploy(&stored, due_at, unfinished, request).await)
            }
            Step::PutOff { until } => Ok(Done::PutOff {
                until,
                error: attempts.error.unwrap_or_default(),
            }),
            Step::Leave { why } => Ok(Done::Withdrawn { why }),
            Step::Renew(reason) if request.dry_run => Ok(Done::WouldRenew(reason)),
            Step::Renew(reason) => {
                let compromised = superseded.is_some_and(|s| s.then == Then::ReplaceKey);
                let key = next_key(&stored, compromised)?;
                self.renew(&stored, key, reason, request, seen).await
            }
        }
    }

    async fn renew(
        &self,
        old: &Stored,
        key: PrivateKey,
        reason: Reason,
        request: &Request,
        seen: &mut Seen,
    ) -> Result<Done, Failure> {
        let issuer = self.issuers.open(&old.record.issuer)?;
        seen.backs_off = issuer.backs_off();
        let stored = self.obtain(&*issuer, &old.id, &old.record, key).await?;
        let trouble = deploy(&stored, &stored.record.exports, request).await;
        self.finish(&old.id);
        Ok(Done::Renewed {
            reason,
            stored: Box::new(stored),
            trouble,
        })
    }

    /// [`obtain`], noting that copies and hooks are to follow: a run that is killed
    /// before their end must not leave a service with the old certificate.
    async fn obtain(
        &self,
        issuer: &dyn Issuer,
        id: &CertId,
        record: &Record,
        key: PrivateKey,
    ) -> Result<Stored, Failure> {
        let bundle = issuer.issue(id, &record.profile, key).await?;
        let begun = Attempts {
            deploying: Some(bundle.leaf().serial_hex()),
            ..self.store.attempts(id)?
        };
        self.store.set_attempts(id, &begun)?;
        Ok(self.store.commit(id, &bundle, record)?)
    }

    /// Forgets past attempts: the certificate is in place, whoever uses it is told.
    fn finish(&self, id: &CertId) {
        if let Err(unwritten) = self.store.set_attempts(id, &Attempts::default()) {
            tracing::warn!(%id, error = %unwritten, "copies and hooks will be done again");
        }
    }

    /// Copies that are not what they should be are made again, and whoever reads
    /// them is told; `unfinished` when a hook may not have run.
    async fn redeploy(
        &self,
        stored: &Stored,
        due_at: Timestamp,
        unfinished: bool,
        request: &Request,
    ) -> Done {
        let is_stale = |e: &&Export| !export::is_current(&stored.bundle, e);
        let stale: Vec<Export> = stored
            .record
            .exports
            .iter()
            .filter(is_stale)
            .cloned()
            .collect();
        if (stale.is_empty() && !unfinished) || request.dry_run {
            return Done::NotDue { due_at };
        }
        let trouble = deploy(stored, &stale, request).await;
        if unfinished {
            self.finish(&stored.id);
        }
        Done::Redeployed { due_at, trouble }
    }

    /// Records the failure, and says when the next attempt may be made.
    fn put_off(&self, id: &CertId, error: &Failure, seen: &Seen) -> Option<Timestamp> {
        if !seen.loaded {
            return None;
        }
        let retry_after = match error {
            Failure::Issue(e) => e.retry_after,
            _ => None,
        };
        let before = self.store.attempts(id).unwrap_or_default();
        let failure = policy::AttemptFailure {
            error: error.to_string(),
            retry_after,
            backs_off: seen.backs_off,
            jitter: policy::jitter(id, before.failures),
        };
        let after = policy::after_failure(&before, failure, self.clock.now());
        let retry_at = after.not_before;
        // What stopped the renewal may stop this note of it too; the failure is
        // reported either way.
        if let Err(unwritten) = self.store.set_attempts(id, &after) {
            tracing::warn!(%id, error = %unwritten, "the failed attempt could not be recorded");
        }
        retry_at
    }
}

/// Has a certificate issued as `record` says and makes it the current generation
/// of `id`, whose lock the caller holds.
pub async fn obtain(
    store: &dyn Store,
    issuer: &dyn Issuer,
    id: &CertId,
    record: &Record,
    key: PrivateKey,
) -> Result<Stored, Failure> {
    let bundle = issuer.issue(id, &record.profile, key).await?;
    let stored = store.commit(id, &bundle, record)?;
    forget_attempts(store, id)?;
    Ok(stored)
}

/// Strikes the failures of `id`; writes nothing when there were none.
pub fn forget_attempts(store: &dyn Store, id: &CertId) -> Result<(), StoreError> {
    let fresh = Attempts::default();
    if store.attempts(id)? == fresh {
        return Ok(());
    }
    store.set_attempts(id, &fresh)
}

/// What is known of a certificate by the time something fails.
#[derive(Default)]
struct Seen {
    loaded: bool,
    names: Vec<Identifier>,
    damage: Vec<String>,
    backs_off: bool,
}

impl Seen {
    fn take(&mut self, stored: &Stored) {
        self.loaded = true;
        self.names.clone_from(&stored.record.profile.names);
        self.damage.clone_from(&stored.damage);
    }
}

fn next_key(old: &Stored, compromised: bool) -> Result<PrivateKey, KeyError> {
    if old.record.reuse_key && !compromised {
        return PrivateKey::from_pem(old.bundle.key().to_pem().as_bytes(), None);
    }
    PrivateKey::generate(old.record.profile.key_type)
}

/// Writes every copy, and says which could not be written.
pub fn export_all(stored: &Stored) -> Vec<StoreError> {
    write_exports(stored, &stored.record.exports)
}

fn write_exports(stored: &Stored, exports: &[Export]) -> Vec<StoreError> {
    let write = |e: &Export| export::write(&stored.bundle, e).err();
    exports.iter().filter_map(write).collect()
}

/// Writes `exports` of what was just stored, then runs its hooks, whatever fails.
async fn deploy(stored: &Stored, exports: &[Export], request: &Request) -> Vec<Trouble> {
    let unwritten = write_exports(stored, exports);
    let failed = run_hooks(stored, request).await;
    let unwritten = unwritten.into_iter().map(Trouble::Export);
    unwritten
        .chain(failed.into_iter().map(Trouble::Hook))
        .collect()
}

async fn run_hooks(stored: &Stored, request: &Request) -> Vec<HookFailure> {
    let deadline = request.hook_timeout.unwrap_or(Renewal::HOOK_DEADLINE);
    let own = stored.record.deploy_hook.as_deref().map(Hook::parse);
    let mut failures = Vec::new();
    for hook in own.into_iter().chain(request.deploy_hook.clone().map(Ok)) {
        let result = match hook {
            Ok(hook) => hook.run(&hook::Context::of(stored), deadline).await,
            Err(failure) => Err(failure),
        };
        failures.extend(result.err());
    }
    failures
}

/// When somebody should look again: the earliest of what the outcomes ask for.
pub fn next_wake(outcomes: &[Outcome], now: Timestamp) -> Option<Timestamp> {
    outcomes
        .iter()
        .map(|outcome| outcome.next_wake(now))
        .min()
        .map(|moment| moment.max(now))
}

#[cfg(test)]
mod tests;
