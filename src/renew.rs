//! Renewing what is due.
//!
//! [`policy`] decides, as a pure function of dates, past attempts, what the issuer
//! said, and now; [`Renewal::one`] performs: lock, look again, ask, issue, store,
//! export, hook. [`Renewal::run`] does so for many at a time. One certificate's
//! failure is recorded and reported and never delays another.

pub mod hook;
pub mod issuers;
mod lanes;
mod outcome;
pub mod policy;
pub mod runs;

use std::sync::Arc;
use std::time::Duration as StdDuration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::bundle::Certificate;
use crate::clock::{Clock, Timestamp};
use crate::event::{self, Event, Facts};
use crate::finding::words::causes;
use crate::identifier::{CertId, Identifier};
use crate::issuer::{
    IssueError, Issued, Issuer, IssuerRef, Obtained, Predecessor, RenewalInfo, Wanted,
};
use crate::key::{KeyError, PrivateKey};
use crate::store::{Attempts, Export, Lock, Plan, Record, Store, StoreError, Stored, export};

use hook::{Hook, HookFailure};
pub use outcome::{Done, Failure, Outcome, Trouble, next_wake};
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
    /// Decide only, by what is known: nobody is asked and nothing is written.
    pub dry_run: bool,
    /// Leave to running servers what they keep fresh ([`Store::lock_serving`]). Such
    /// a server does not say so of itself.
    pub leave_served: bool,
    /// When the next run is expected: what falls due before it is renewed now.
    pub next_run: Option<Timestamp>,
    /// Runs after each renewal, besides the certificate's own hook.
    pub deploy_hook: Option<Hook>,
    /// How long each hook may run; [`Renewal::HOOK_DEADLINE`] when `None`.
    pub hook_timeout: Option<StdDuration>,
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

/// Held while copies are written and hooks run: hooks of several certificates reload
/// the same service, and are not made to run beside each other.
type Turn = Mutex<()>;

impl Renewal<'_> {
    /// How long a hook may run.
    pub const HOOK_DEADLINE: StdDuration = StdDuration::from_secs(120);
    /// How long an issuer may take to say when it would have a certificate renewed.
    const ASK_DEADLINE: StdDuration = if cfg!(test) {
        StdDuration::from_millis(50)
    } else {
        StdDuration::from_secs(60)
    };

    /// Looks at one certificate.
    pub async fn one(&self, id: CertId, request: &Request) -> Outcome {
        self.one_of_many(id, request, &Turn::default()).await
    }

    async fn one_of_many(&self, id: CertId, request: &Request, turn: &Turn) -> Outcome {
        let mut seen = Seen::default();
        let result = self.attempt(&id, request, turn, &mut seen).await;
        let result = result.unwrap_or_else(|error| {
            seen.hint = error.hint();
            Done::Failed {
                retry_at: self.put_off(&id, &error, &seen),
                error,
            }
        });
        Outcome {
            id,
            names: seen.names,
            result,
            damage: seen.damage,
            plan: seen.plan,
            hint: seen.hint,
        }
    }

    async fn attempt(
        &self,
        id: &CertId,
        request: &Request,
        turn: &Turn,
        seen: &mut Seen,
    ) -> Result<Done, Failure> {
        if request.leave_served && (id.is_on_demand() || self.store.is_served(id)?) {
            if let Some(stored) = self.store.load(id)? {
                seen.names = stored.record.profile.names;
            }
            return if request.force {
                Err(Failure::Served(id.clone()))
            } else {
                Ok(Done::Kept)
            };
        }
        // A dry run takes no lock: it changes nothing and must not wait.
        let _lock = if request.dry_run {
            None
        } else {
            let lock = wait_for_certificate(self.store, id).await?;
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
        let superseded = self.issuers.superseded(&stored.record.issuer, leaf);
        let mut attempts = self.store.attempts(id)?;
        if let Some(of) = whom_to_ask(&stored)
            && !request.dry_run
            && policy::should_ask(
                &situation(&stored, &attempts, superseded.as_ref(), request),
                self.clock.now(),
            )
        {
            self.ask(&stored, of, &mut attempts).await;
        }
        seen.plan = attempts.plan_for(&leaf.serial_hex()).cloned();
        let situation = situation(&stored, &attempts, superseded.as_ref(), request);
        match policy::next_step(situation, self.clock.now()) {
            Step::Wait { due_at } => {
                let unfinished = attempts.deploying.as_ref() == Some(&leaf.serial_hex());
                let redone = self.redeploy(&stored, due_at, unfinished, request, turn);
                Ok(redone.await)
            }
            Step::PutOff { until } => {
                seen.hint = attempts.hint;
                Ok(Done::PutOff {
                    until,
                    error: attempts.error.unwrap_or_default(),
                })
            }
            Step::Leave { why } => Ok(Done::Withdrawn { why }),
            Step::Renew(reason) if request.dry_run => Ok(Done::WouldRenew(reason)),
            Step::Renew(reason) => {
                let compromised = superseded.is_some_and(|s| s.then == Then::ReplaceKey);
                let key = next_key(&stored, compromised)?;
                self.renew(&stored, key, reason, request, turn, seen).await
            }
        }
    }

    /// Asks the issuer when it would have the certificate renewed, and records what
    /// it said. Nothing fails when it says nothing: the dates stand.
    async fn ask(&self, stored: &Stored, obtained: &Obtained, attempts: &mut Attempts) {
        let leaf = stored.bundle.leaf();
        let serial = leaf.serial_hex();
        let certificate = Predecessor { leaf, obtained };
        let answer = self.answer(&stored.record.issuer, certificate).await;
        let now = self.clock.now();
        let before = attempts.plan_for(&serial);
        let plan = match answer {
            Ok(info) => policy::answered(before, &serial, info, random(), now),
            Err(error) => {
                let (id, error_text) = (&stored.id, causes(&error));
                tracing::info!(%id, error = error_text, "its CA did not say when to renew");
                policy::unanswered(before, &serial, error.retry_after, now)
            }
        };
        attempts.plan = Some(plan);
        if let Err(unwritten) = self.store.set_attempts(&stored.id, attempts) {
            let id = &stored.id;
            tracing::warn!(%id, error = %unwritten, "when to renew could not be recorded");
        }
    }

    async fn answer(
        &self,
        issuer: &IssuerRef,
        certificate: Predecessor<'_>,
    ) -> Result<Option<RenewalInfo>, IssueError> {
        let open = self.issuers.open(issuer)?;
        let asked = timeout(Self::ASK_DEADLINE, open.renewal_info(certificate)).await;
        asked.unwrap_or_else(|_| {
            Err(IssueError {
                message: format!(
                    "{issuer} gave no answer within {} s",
                    Self::ASK_DEADLINE.as_secs()
                ),
                hint: None,
                permanent: false,
                retry_after: None,
                source: None,
            })
        })
    }

    async fn renew(
        &self,
        old: &Stored,
        key: PrivateKey,
        reason: Reason,
        request: &Request,
        turn: &Turn,
        seen: &mut Seen,
    ) -> Result<Done, Failure> {
        let issuer = self.issuers.open(&old.record.issuer)?;
        seen.backs_off = issuer.backs_off();
        let stored = self.obtain(&*issuer, old, key).await?;
        seen.plan = None;
        let trouble = deploy(&stored, &stored.record.exports, request, turn).await;
        let now = self.clock.now();
        let life = policy::Life::of(old.bundle.leaf());
        let hurried = policy::is_hurried(life, &reason, now).then_some(now);
        self.finish(&stored, hurried);
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
        old: &Stored,
        key: PrivateKey,
    ) -> Result<Stored, Failure> {
        let Stored { id, record, .. } = old;
        let replaces = record.obtained.as_ref().map(|obtained| Predecessor {
            leaf: old.bundle.leaf(),
            obtained,
        });
        let wanted = Wanted {
            id,
            profile: &record.profile,
            replaces,
        };
        let Issued { bundle, obtained } = issuer.issue(wanted, key).await?;
        let begun = Attempts {
            deploying: Some(bundle.leaf().serial_hex()),
            ..self.store.attempts(id)?
        };
        self.store.set_attempts(id, &begun)?;
        let record = Record {
            obtained,
            ..record.clone()
        };
        Ok(self.store.commit(id, &bundle, &record)?)
    }

    /// Forgets past attempts: the certificate is in place, whoever uses it is told.
    /// What was said about it, and when one was last renewed in a hurry, stays.
    fn finish(&self, stored: &Stored, hurried: Option<Timestamp>) {
        let Stored { id, bundle, .. } = stored;
        let before = self.store.attempts(id).unwrap_or_default();
        let after = Attempts {
            plan: before.plan_for(&bundle.leaf().serial_hex()).cloned(),
            hurried: hurried.or(before.hurried),
            used: before.used,
            ..Attempts::default()
        };
        if let Err(unwritten) = self.store.set_attempts(id, &after) {
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
        turn: &Turn,
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
        let trouble = deploy(stored, &stale, request, turn).await;
        if unfinished {
            self.finish(stored, None);
        }
        Done::Redeployed { due_at, trouble }
    }

    /// Records the failure, and says when the next attempt may be made.
    fn put_off(&self, id: &CertId, error: &Failure, seen: &Seen) -> Option<Timestamp> {
        let not_after = seen.not_after?;
        let now = self.clock.now();
        record_failure(self.store, id, error, seen.backs_off, Some(not_after), now)
    }
}

/// Records a failure to obtain `id`, of which the certificate in use ends at
/// `not_after`, and says when the next attempt may be made; `backs_off` when its issuer
/// must be spared.
pub fn record_failure(
    store: &dyn Store,
    id: &CertId,
    error: &Failure,
    backs_off: bool,
    not_after: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    /// More than any error of ours has; parts of it come from peers.
    const LONGEST: usize = 2000;
    let retry_after = match error {
        Failure::Issue(e) => e.retry_after,
        _ => None,
    };
    let before = store.attempts(id).unwrap_or_default();
    let failure = policy::AttemptFailure {
        error: causes(error).chars().take(LONGEST).collect(),
        hint: error.hint(),
        retry_after,
        backs_off,
        not_after,
        random: random(),
    };
    let after = policy::after_failure(&before, failure, now);
    // What stopped the renewal may stop this note of it too; the failure is reported
    // either way.
    if let Err(unwritten) = store.set_attempts(id, &after) {
        tracing::warn!(%id, error = %unwritten, "the failed attempt could not be recorded");
    }
    after.not_before
}

/// What [`policy`] is to decide upon.
fn situation<'a>(
    stored: &Stored,
    attempts: &'a Attempts,
    superseded: Option<&Superseded>,
    request: &Request,
) -> policy::Situation<'a> {
    let leaf = stored.bundle.leaf();
    policy::Situation {
        life: policy::Life::of(leaf),
        plan: attempts.plan_for(&leaf.serial_hex()),
        attempts,
        superseded: superseded.map(|s| (s.why.clone(), s.then)),
        damaged: !stored.damage.is_empty(),
        force: request.force,
        next_run: request.next_run,
    }
}

/// From whom it was obtained, when that one may have a wish about its renewal.
fn whom_to_ask(stored: &Stored) -> Option<&Obtained> {
    match stored.record.issuer {
        IssuerRef::Private => None,
        IssuerRef::Acme(_) => stored.record.obtained.as_ref(),
    }
}

/// Waits for a lock of `store` without keeping others from their work, at most
/// [`Lock::WAIT`].
pub async fn wait_for_lock(store: &dyn Store, name: &str) -> Result<Lock, StoreError> {
    wait(|within| match within {
        None => store.try_lock(name),
        Some(time) => store.lock_within(name, time).map(Some),
    })
    .await
}

/// [`wait_for_lock`] for the lock of a certificate.
pub async fn wait_for_certificate(store: &dyn Store, id: &CertId) -> Result<Lock, StoreError> {
    wait(|within| match within {
        None => store.try_lock_cert(id),
        Some(time) => store.lock_cert_within(id, time).map(Some),
    })
    .await
}

/// Tries to `take` a lock again and again; the last time, with how long to wait for
/// it, for its error.
async fn wait(
    take: impl Fn(Option<StdDuration>) -> Result<Option<Lock>, StoreError>,
) -> Result<Lock, StoreError> {
    const PAUSE: StdDuration = StdDuration::from_millis(50);
    let until = Instant::now() + Lock::WAIT;
    loop {
        let last = (Instant::now() >= until).then_some(StdDuration::ZERO);
        if let Some(lock) = take(last)? {
            return Ok(lock);
        }
        sleep(PAUSE).await;
    }
}

/// A number from 0 to 1, each as likely.
pub fn random() -> f64 {
    let mut bytes = [0; 4];
    // Without random numbers no key could be made either: any number will do.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX)
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
    let wanted = Wanted {
        id,
        profile: &record.profile,
        replaces: None,
    };
    let Issued { bundle, obtained } = issuer.issue(wanted, key).await?;
    let record = Record {
        obtained,
        ..record.clone()
    };
    let stored = store.commit(id, &bundle, &record)?;
    forget_attempts(store, id)?;
    Ok(stored)
}

/// The event of a certificate that was issued just now.
pub fn issued(stored: &Stored, is_renewal: bool) -> Event {
    Event::issued(event::Issued {
        certificate: Facts::new(stored.id.as_str(), stored.bundle.leaf()),
        source: stored.record.issuer.source(),
        is_renewal,
        asker: event::Asker::default(),
    })
}

/// Strikes the failures of `id`; writes nothing when there were none.
pub fn forget_attempts(store: &dyn Store, id: &CertId) -> Result<(), StoreError> {
    let before = store.attempts(id)?;
    let fresh = Attempts {
        used: before.used,
        ..Attempts::default()
    };
    if before == fresh {
        return Ok(());
    }
    store.set_attempts(id, &fresh)
}

/// What is known of a certificate by the time something fails.
#[derive(Default)]
struct Seen {
    names: Vec<Identifier>,
    damage: Vec<String>,
    backs_off: bool,
    /// Set once it was loaded.
    not_after: Option<Timestamp>,
    plan: Option<Plan>,
    hint: Option<String>,
}

impl Seen {
    fn take(&mut self, stored: &Stored) {
        self.not_after = Some(stored.bundle.leaf().not_after());
        // Also when the issuer cannot be opened, which is where it says so itself.
        self.backs_off = matches!(stored.record.issuer, IssuerRef::Acme(_));
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
async fn deploy(
    stored: &Stored,
    exports: &[Export],
    request: &Request,
    turn: &Turn,
) -> Vec<Trouble> {
    let _turn = turn.lock().await;
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

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
