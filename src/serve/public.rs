//! A certificate of a public CA under a server: found in the cache or obtained while
//! the server answers nothing but challenges, then renewed in process.
//!
//! Rules kept here: a server never starts without a valid certificate, and never stops
//! for want of one; whatever was presented to the CA is taken back before the end; only
//! one server keeps a certificate, and says so by its lock.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::keeper::pause_until;
use super::kept::Kept;
use super::pool::Means;
use super::{PublicLeaf, ServeError};
use crate::acme::{AcmeError, Opener, OwnDirectory, Surroundings};
use crate::bundle::Certificate;
use crate::certificates::CertificateTable;
use crate::challenge::{ChallengeTable, ServedAt};
use crate::clock::{self, Clock, Timestamp, rfc3339};
use crate::directory::Permit;
use crate::directory::embedded::Embedded;
use crate::event::{Asker, Event, Moment, Trigger};
use crate::finding::words::causes;
use crate::identifier::{Identifier, summary};
use crate::issuer::{IssueError, Issuer, IssuerRef};
use crate::key::PrivateKey;
use crate::pki::CaPaths;
use crate::renew::issuers::HomeIssuers;
use crate::renew::{Failure, issued, obtain, record_failure};
use crate::server::{Provisioning, Redirect, Telemetry};
use crate::store::file::FileStore;
use crate::store::{Attempts, Lock, Record, Store, StoreError, Stored};

/// A certificate that is in the cache or still to be obtained.
pub(super) struct Prepared {
    pub(super) table: Arc<CertificateTable>,
    pub(super) challenges: Arc<ChallengeTable>,
    /// Where these are answered.
    pub(super) served: ServedAt,
    pub(super) provisioning: Provisioning,
    leaf: PublicLeaf,
    store: FileStore,
    cached: Option<Stored>,
    telemetry: Telemetry,
    /// The server serves others already: it is waited for as long as it takes.
    is_late: bool,
    /// Says that this server keeps the certificate fresh.
    _serving: Lock,
}

/// How long after a failure that says nothing of it a new listener is tried again.
const RETRY: Duration = Duration::from_secs(600);

/// What is told once there is something to serve, or once there never will be.
pub(super) type First = oneshot::Sender<Result<Certificate, ServeError>>;

/// Looks what is in the cache. Asks nobody.
pub(super) fn prepare(leaf: PublicLeaf, means: &Means) -> Result<Prepared, ServeError> {
    prepare_into(Arc::new(CertificateTable::strict()), leaf, means)
}

/// [`prepare`], to be served from `table`.
pub(super) fn prepare_into(
    table: Arc<CertificateTable>,
    leaf: PublicLeaf,
    means: &Means,
) -> Result<Prepared, ServeError> {
    let (clock, telemetry) = (&means.clock, &means.telemetry);
    let store = FileStore::open(&leaf.cache_dir, Arc::clone(clock))?;
    let serving = store.lock_serving(&leaf.id)?;
    let serving = serving.ok_or_else(|| ServeError::KeptByAnother(leaf.id.clone()))?;
    let found = leaf.find(&store)?;
    let unfit = found
        .as_ref()
        .and_then(|stored| leaf.unfit(stored, clock.now()));
    if let Some(why) = &unfit {
        tracing::warn!(id = %leaf.id, "the cached certificate cannot be served: {why}");
    }
    Ok(Prepared {
        table,
        challenges: Arc::default(),
        served: ServedAt::default(),
        provisioning: Provisioning::begun(),
        cached: found.filter(|_| unfit.is_none()),
        telemetry: telemetry.clone(),
        is_late: !means.provisioning.lasts(),
        leaf,
        store,
        _serving: serving,
    })
}

/// Obtains the certificate unless it is cached, tells `first`, and keeps it fresh until
/// `stop`. Ends when there is none to be had, unless others are served already; then it
/// is tried again later, or when `again` says so.
pub(super) async fn keep(
    prepared: Prepared,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    again: Arc<Notify>,
    first: First,
) {
    let openers = Openers::new(Surroundings {
        home: prepared.leaf.home.clone(),
        clock: Arc::clone(&clock),
        variables: Arc::clone(&prepared.leaf.variables),
        operator: None,
        table: Some(Arc::clone(&prepared.challenges)),
        served: prepared.served.clone(),
        agree_to_terms: prepared.leaf.agree_to_terms,
        own: prepared.leaf.own_directory(&clock),
    });
    let work = async {
        match prepared.begin(&openers, &*clock, &again).await {
            Ok(kept) => {
                prepared.provisioning.finish();
                // Nobody waits any more when the server is stopping.
                let _ = first.send(Ok(kept.serving.clone()));
                prepared.keep(kept, &openers, clock).await;
            }
            Err(error) => {
                let _ = first.send(Err(error));
            }
        }
    };
    stop.run_until_cancelled(work).await;
    openers.settle().await;
}

impl Prepared {
    /// What the plain port answers with.
    pub(super) fn redirect(&self) -> Redirect {
        Redirect {
            certificates: Arc::clone(&self.table) as _,
            challenges: Arc::clone(&self.challenges),
            provisioning: self.provisioning.clone(),
            to: 0,
        }
    }

    /// [`Self::start`], again and again where no start of the server depends on it.
    async fn begin(
        &self,
        openers: &Openers,
        clock: &dyn Clock,
        again: &Notify,
    ) -> Result<Kept, ServeError> {
        loop {
            match self.start(openers, clock).await {
                Err(error) if self.is_late => self.put_off(&error, clock, again).await,
                done => return done,
            }
        }
    }

    /// Waits until it may be tried again, as after a failed renewal.
    async fn put_off(&self, error: &ServeError, clock: &dyn Clock, again: &Notify) {
        let id = &self.leaf.id;
        let attempts = self.store.attempts(id).unwrap_or_default();
        let until = attempts.not_before.filter(|until| *until > clock.now());
        let until = until.unwrap_or_else(|| clock.now() + RETRY);
        let (hint, error, moment) = (error.hint(), causes(error), rfc3339(until));
        self.telemetry
            .awaits(id.as_str(), Some(&error), Some(until));
        tracing::error!(
            %id,
            error,
            hint,
            "a new listener is not served yet; trying again at {moment}, or at the next reload"
        );
        while clock.now() < until {
            tokio::select! {
                () = again.notified() => return,
                () = sleep(pause_until(until, clock.now())) => {}
            }
        }
    }

    /// From here on there is something to serve.
    async fn start(&self, openers: &Openers, clock: &dyn Clock) -> Result<Kept, ServeError> {
        let stored = match &self.cached {
            Some(stored) => stored.clone(),
            None => self.provision(openers, clock).await?,
        };
        let mut kept = Kept::new(
            Arc::clone(&self.table),
            self.store.clone(),
            &stored,
            &self.telemetry,
        )?;
        if !self.leaf.is_exactly(&stored) {
            let attempts = self.store.attempts(&self.leaf.id)?;
            kept.replace_from(attempts.not_before.unwrap_or_else(|| clock.now()));
        }
        Ok(kept)
    }

    async fn keep(&self, kept: Kept, openers: &Openers, clock: Arc<dyn Clock>) {
        if let Err(error) = self.adopt(clock.now()) {
            let error = causes(&error);
            tracing::warn!(id = %self.leaf.id, error, "it will be renewed with the settings of before");
        }
        if self.cached.is_some() {
            self.look_ahead(openers);
        }
        let issuers = || self.issuers(openers);
        // As with a certificate that our own CA is asked for directly.
        let ca = self.leaf.issuer.asks_ours();
        let ca = ca.then(|| CaPaths::new(&self.leaf.home));
        let others = ca.iter().flat_map(|ca| [ca.chain_export(), ca.crl()]);
        kept.keep(issuers, others, clock).await;
    }

    fn issuers(&self, openers: &Openers) -> HomeIssuers {
        let opener = openers.next();
        let clock = Arc::clone(&openers.surroundings.clock);
        let passphrase = self.leaf.passphrase.clone();
        HomeIssuers::new(self.leaf.home.clone(), passphrase, clock).acme(opener)
    }

    /// A cached certificate is served whatever became of the CA; that its renewal will
    /// fail is said while there is time to do something about it.
    fn look_ahead(&self, openers: &Openers) {
        if let Err(error) = openers.next().open(&self.leaf.issuer) {
            let (hint, error) = (error.hint.clone(), causes(&error));
            let id = &self.leaf.id;
            tracing::warn!(%id, error, hint, "the certificate is valid, but it cannot be renewed");
        }
    }

    /// Renewals ask for what this server was told, not for what another was before.
    fn adopt(&self, now: Timestamp) -> Result<(), StoreError> {
        let _lock = self.store.lock_cert(&self.leaf.id)?;
        let Some(stored) = self.leaf.find(&self.store)? else {
            return Ok(());
        };
        let record = self.leaf.record(Some(&stored));
        if record != stored.record && self.leaf.unfit(&stored, now).is_none() {
            self.store.commit(&self.leaf.id, &stored.bundle, &record)?;
        }
        Ok(())
    }

    /// Has the first certificate issued: what passes by itself is outwaited until the
    /// deadline, what does not ends the start at once.
    async fn provision(&self, openers: &Openers, clock: &dyn Clock) -> Result<Stored, ServeError> {
        let PublicLeaf {
            id, start_timeout, ..
        } = &self.leaf;
        let deadline = Instant::now() + *start_timeout;
        tracing::info!(
            names = summary(&self.leaf.profile.names),
            directory = %self.leaf.issuer.directory,
            "obtaining the certificate"
        );
        self.telemetry.awaits(id.as_str(), None, None);
        self.telemetry.emit(&Event::CertificateRequested {
            domain: self.leaf.domain(),
            trigger: Trigger::Start,
        });
        // Taken for no answer when the deadline comes first.
        let _ = timeout_at(deadline, self.outwait_others(clock.now())).await;
        let (mut failures, mut last) = (0, None);
        loop {
            let attempt = self.obtain(openers, clock.now());
            let Ok(done) = timeout_at(deadline, attempt).await else {
                let failure = last.unwrap_or_else(|| self.leaf.no_answer());
                return Err(self.refused(failure, true, clock.now()));
            };
            let failure = match done {
                Ok(stored) => return Ok(stored),
                Err(failure) => failure,
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let pause = match next_try(&failure, failures, clock.now()) {
                Next::Never => return Err(self.refused(failure, false, clock.now())),
                Next::In(pause) if pause >= left => {
                    return Err(self.refused(failure, true, clock.now()));
                }
                Next::In(pause) => pause,
            };
            failures += 1;
            self.tell_failure(&failure, Some(clock.now() + pause));
            let (hint, error, seconds) = (failure.hint(), causes(&failure), pause.as_secs());
            tracing::warn!(%id, error, hint, "trying again in {seconds} s");
            last = Some(failure);
            sleep(pause).await;
        }
    }

    async fn obtain(&self, openers: &Openers, now: Timestamp) -> Result<Stored, Failure> {
        let (id, store) = (&self.leaf.id, &self.store);
        let _lock = store.lock_cert(id)?;
        for healed in store.recover(id)? {
            tracing::info!(%id, "{healed}");
        }
        let found = self.leaf.find(store)?;
        if let Some(stored) = &found
            && self.leaf.unfit(stored, now).is_none()
        {
            // Another process was quicker.
            return Ok(stored.clone());
        }
        let issuer = openers.next().open(&self.leaf.issuer)?;
        let key = PrivateKey::generate(self.leaf.profile.key_type)?;
        let record = self.leaf.record(found.as_ref());
        let stored = obtain(store, &*issuer as &dyn Issuer, id, &record, key).await?;
        self.telemetry.emit(&issued(&stored, found.is_some()));
        Ok(stored)
    }

    /// A service manager that starts us again and again does not make us ask the CA
    /// again and again: the first restart comes almost at once, the tenth in a minute.
    /// A person who has mended something is not made to wait for longer.
    async fn outwait_others(&self, now: Timestamp) {
        let attempts = self.store.attempts(&self.leaf.id).unwrap_or_default();
        if let Some(until) = earliest(&attempts, now) {
            let (id, moment) = (&self.leaf.id, rfc3339(until));
            tracing::info!(%id, "the last start has failed too: waiting until {moment}");
            sleep(Duration::try_from(until - now).unwrap_or_default()).await;
        }
    }

    fn tell_failure(&self, failure: &Failure, retry_at: Option<Timestamp>) {
        let (id, error) = (self.leaf.id.as_str(), causes(failure));
        self.telemetry.awaits(id, Some(&error), retry_at);
        self.telemetry.emit(&Event::CertificateFailed {
            id: self.leaf.id.to_string(),
            domain: self.leaf.domain(),
            source: self.leaf.issuer.directory.url().to_string(),
            is_renewal: false,
            error,
            retry_at: retry_at.map(Moment),
            asker: Asker::default(),
        });
    }

    /// The error that ends this start, noted for the next one.
    fn refused(&self, source: Failure, gave_up: bool, now: Timestamp) -> ServeError {
        let id = &self.leaf.id;
        let until = record_failure(&self.store, id, &source, true, None, now);
        self.tell_failure(&source, until.filter(|_| self.is_late));
        ServeError::NoCertificate {
            id: id.clone(),
            within: gave_up.then_some(self.leaf.start_timeout),
            source: Box::new(source),
        }
    }
}

impl PublicLeaf {
    /// Our own CA, if it is asked; for the names that are served.
    fn own_directory(&self, clock: &Arc<dyn Clock>) -> Option<Arc<OwnDirectory>> {
        let embedded = || Embedded {
            home: self.home.clone(),
            passphrase: self.passphrase.clone(),
            clock: Arc::clone(clock),
            permit: Permit::Exactly(self.profile.names.iter().cloned().collect()),
        };
        self.issuer.asks_ours().then(|| embedded().directory())
    }

    /// What is kept under our id, fit or not; of another issuer it is an error.
    fn find(&self, store: &dyn Store) -> Result<Option<Stored>, StoreError> {
        let found = store.load(&self.id).unwrap_or_else(|damage| {
            // Nothing that is there can be served: as good as nothing there.
            tracing::warn!(id = %self.id, %damage, "obtaining anew");
            None
        });
        let owner = IssuerRef::Acme(Box::new(self.issuer.clone()));
        match found {
            Some(stored) if !stored.record.issuer.is_same_as(&owner) => {
                Err(StoreError::OtherIssuer {
                    id: self.id.clone(),
                    owner: stored.record.issuer,
                })
            }
            found => Ok(found),
        }
    }

    /// Its first name.
    fn domain(&self) -> String {
        let first = self.profile.names.first();
        first.map(ToString::to_string).unwrap_or_default()
    }

    /// Why what is kept cannot be served.
    fn unfit(&self, stored: &Stored, now: Timestamp) -> Option<String> {
        let leaf = stored.bundle.leaf();
        let directories = [Some(&self.issuer.directory), self.issuer.fallback.as_ref()];
        let from = stored.record.obtained.as_ref().map(|o| &o.directory);
        if !stored.bundle.covers(&self.profile.names) {
            let names = summary(leaf.names());
            return Some(format!(
                "it is for {names}, not for all that is to be served"
            ));
        }
        if from.is_some() && !directories.contains(&from) {
            return from.map(|directory| format!("it was obtained from {directory}"));
        }
        if now > leaf.not_after() {
            return Some(format!("it expired at {}", rfc3339(leaf.not_after())));
        }
        let early = now < leaf.not_before();
        early.then(|| format!("it is not valid before {}", rfc3339(leaf.not_before())))
    }

    /// Whether what is kept is what would be ordered now, but for its dates.
    fn is_exactly(&self, stored: &Stored) -> bool {
        let wanted: BTreeSet<&Identifier> = self.profile.names.iter().collect();
        let kept: BTreeSet<&Identifier> = stored.bundle.leaf().names().iter().collect();
        wanted == kept && stored.bundle.key().kind() == self.profile.key_type
    }

    /// What is kept with the certificate: our settings, and what is known of copies and
    /// hooks already.
    fn record(&self, found: Option<&Stored>) -> Record {
        let known = found.map(|stored| stored.record.clone());
        let issuer = IssuerRef::Acme(Box::new(self.issuer.clone()));
        let profile = self.profile.clone();
        match known {
            Some(known) => Record {
                issuer,
                profile,
                ..known
            },
            None => Record {
                issuer,
                profile,
                obtained: None,
                reuse_key: false,
                exports: Vec::new(),
                deploy_hook: None,
            },
        }
    }

    /// When the deadline passes before anything else has failed.
    fn no_answer(&self) -> Failure {
        let directory = &self.issuer.directory;
        let names = summary(&self.profile.names);
        Failure::Issue(IssueError {
            message: format!("no certificate for {names} from {directory}: it takes too long"),
            hint: (!directory.is_private()).then(|| {
                format!(
                    "look whether `curl {}` gets an answer; `--start-timeout` waits longer",
                    directory.url()
                )
            }),
            permanent: false,
            retry_after: None,
            source: None,
        })
    }
}

/// An opener for each run, so that it sees the account and the files of its moment.
struct Openers {
    surroundings: Surroundings,
    last: RefCell<Arc<Opener>>,
}

impl Openers {
    fn new(surroundings: Surroundings) -> Self {
        let last = Arc::new(Opener::new(surroundings.clone()));
        Self {
            surroundings,
            last: RefCell::new(last),
        }
    }

    fn next(&self) -> Arc<Opener> {
        let next = Arc::new(Opener::new(self.surroundings.clone()));
        self.last.replace(Arc::clone(&next));
        next
    }

    /// Waits until what a cancelled run presented is taken back; a run that came to its
    /// end has done so itself.
    async fn settle(&self) {
        let last = Arc::clone(&self.last.borrow());
        last.settle().await;
    }
}

/// When to try again during a start.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Never,
    In(Duration),
}

/// Waits while the CA cannot be reached: a network may come up any second.
const UNREACHED: (Duration, u32, Duration) = (Duration::from_secs(1), 2, Duration::from_secs(30));
/// Waits after the CA said no: it counts failures, and few are allowed in an hour.
const REFUSED: (Duration, u32, Duration) = (Duration::from_secs(15), 4, Duration::from_secs(300));

/// What follows a start's attempt that failed after `failures` others.
fn next_try(failure: &Failure, failures: u32, now: Timestamp) -> Next {
    let Failure::Issue(error) = failure else {
        return Next::Never;
    };
    if error.permanent {
        return Next::Never;
    }
    if let Some(moment) = error.retry_after {
        let wait = Duration::try_from(moment - now).unwrap_or_default();
        return Next::In(wait.max(UNREACHED.0));
    }
    let cause = error.source.as_deref();
    let cause = cause.and_then(|cause| cause.downcast_ref::<AcmeError>());
    let passing = cause.is_some_and(AcmeError::is_transient);
    let (first, factor, longest) = if passing { UNREACHED } else { REFUSED };
    let stretched = first.saturating_mul(factor.saturating_pow(failures));
    Next::In(stretched.min(longest))
}

/// When a start may ask the CA, seeing how earlier ones went; `None` for at once.
fn earliest(attempts: &Attempts, now: Timestamp) -> Option<Timestamp> {
    /// 2⁶ seconds is about a minute.
    const DOUBLINGS: u32 = 6;
    let (last, until) = (attempts.last?, attempts.not_before?);
    let spacing = clock::Duration::seconds(1 << attempts.failures.min(DOUBLINGS));
    let until = until.min(last + spacing);
    // A clock that jumped back must not keep us waiting.
    (last <= now && now < until).then_some(until)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp::UNIX_EPOCH;

    fn failure(permanent: bool, retry_after: Option<i64>, source: Option<AcmeError>) -> Failure {
        Failure::Issue(IssueError {
            message: String::new(),
            hint: None,
            permanent,
            retry_after: retry_after.map(|s| T0 + clock::Duration::seconds(s)),
            source: source.map(|e| Box::new(e) as _),
        })
    }

    #[test]
    fn a_start_tries_again_what_may_pass_and_soon_when_nobody_said_no() {
        let seconds = |s| Next::In(Duration::from_secs(s));
        let tries = |failure: &Failure| [0, 1, 2, 9].map(|nth| next_try(failure, nth, T0));
        let unreached = failure(false, None, Some(AcmeError::NoNonce));
        assert_eq!(tries(&unreached), [1, 2, 4, 30].map(seconds));
        let refused = AcmeError::NotVerified { failures: vec![] };
        let refused = failure(false, None, Some(refused));
        assert_eq!(tries(&refused), [15, 60, 240, 300].map(seconds));
        for (asked, waited) in [(100, 100), (0, 1), (-5, 1)] {
            let asked = failure(false, Some(asked), Some(AcmeError::NoNonce));
            assert_eq!(tries(&asked), [waited; 4].map(seconds));
        }
        let hopeless = failure(true, Some(5), None);
        let disk = Failure::Store(StoreError::BadLockName(String::new()));
        for failure in [hopeless, disk] {
            assert_eq!(next_try(&failure, 0, T0), Next::Never);
        }
    }

    #[test]
    fn starts_that_fail_again_and_again_come_to_one_a_minute() {
        let after = |failures, not_before: i64| Attempts {
            failures,
            last: Some(T0),
            not_before: Some(T0 + clock::Duration::seconds(not_before)),
            ..Attempts::default()
        };
        for (attempts, until) in [
            (Attempts::default(), None),
            (after(1, 60), Some(2)),
            (after(3, 6000), Some(8)),
            (after(6, 72_000), Some(64)),
            (after(40, 72_000), Some(64)),
            // The CA asked for less.
            (after(6, 5), Some(5)),
            (after(6, 0), None),
        ] {
            let until = until.map(|s| T0 + clock::Duration::seconds(s));
            assert_eq!(earliest(&attempts, T0), until, "{attempts:?}");
            let later = T0 + clock::Duration::seconds(64);
            assert_eq!(earliest(&attempts, later), None);
            assert_eq!(earliest(&attempts, T0 - clock::Duration::SECOND), None);
        }
    }
}
