//! Who performs: fetches, makes, renews, and lets go.
//!
//! Rules kept here: what was made is on the disk before it is served; one name that
//! fails or takes long keeps no other waiting; a name that failed is not tried again
//! before its time, also after a restart; what nobody uses is not renewed.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::desk::{Desk, Job};
use super::gate::Gate;
use super::policy::{Happening, Refusal};
use super::provision::{self, Provided, ProvisionError};
use super::tending::{Kept, Origin, Tending};
use super::{Issuance, Settings};
use crate::bundle::{CertBundle, Certificate};
use crate::certificates::{Asked, Certificates, SourceId, UnusableCertificate};
use crate::clock::{Duration, Timestamp, rfc3339};
use crate::event::{Event, Facts, Moment};
use crate::finding::words::causes;
use crate::identifier::{CertId, DnsName};
use crate::issuer::{Issuer, IssuerRef};
use crate::key::PrivateKey;
use crate::renew::policy::{Life, due_by};
use crate::renew::{
    Done as Renewed, Failure, Outcome, Renewal, Request, issued, obtain, random, record_failure,
    wait_for_certificate,
};
use crate::store::{Attempts, Record, Store, StoreError, Stored};

/// Performs what the desk hands on, and looks after what was made.
pub struct Worker {
    hands: Hands,
    jobs: mpsc::Receiver<Job>,
    /// What the store had at the start, to be looked through.
    found: VecDeque<CertId>,
}

/// What performing takes.
struct Hands {
    desk: Arc<Desk>,
    store: Arc<dyn Store>,
    issuance: Arc<dyn Issuance>,
    settings: Settings,
}

/// What became of a piece of work.
enum Done {
    /// A name was to be served for the first time.
    Made(Job, Result<Got, PutOff>),
    /// A certificate was looked at.
    Looked(DnsName, Kept, Looked),
}

/// A certificate to be served.
struct Got {
    bundle: CertBundle,
    origin: Origin,
    /// When it is to be looked at.
    due: Timestamp,
}

/// No certificate before this moment.
struct PutOff {
    until: Timestamp,
}

/// What became of a certificate that was looked at.
enum Looked {
    /// Nothing: to be looked at again at this moment.
    Kept(Timestamp),
    /// There is a new one.
    Replaced(Got),
    /// Nobody needs it, or may have it.
    LetGo,
}

/// How often the wall clock is looked at, and who was served with what.
const LOOK: StdDuration = StdDuration::from_secs(60);

/// Each certificate is looked at so often, due or not: it may have been revoked.
const LOOK_AGAIN: Duration = Duration::days(1);

/// After a failure that says nothing else.
const RETRY: Duration = Duration::minutes(10);

/// One part of so many is left of a life when its end is an event.
const LAST_PART: i32 = 20;

impl Worker {
    pub(super) fn new(
        desk: Arc<Desk>,
        jobs: mpsc::Receiver<Job>,
        store: Arc<dyn Store>,
        issuance: Arc<dyn Issuance>,
        settings: Settings,
        found: VecDeque<CertId>,
    ) -> Self {
        Self {
            hands: Hands {
                desk,
                store,
                issuance,
                settings,
            },
            jobs,
            found,
        }
    }

    /// Works until it is dropped. Blocks on the disk, so it is to have a thread of its
    /// own; what is being made when it is dropped is given up.
    pub async fn run(self) {
        let Self {
            hands,
            mut jobs,
            mut found,
        } = self;
        let mut tending = Tending::default();
        let mut working = FuturesUnordered::new();
        hands.forget_failures();
        loop {
            let now = hands.desk.clock().now();
            while working.len() < hands.settings.caps.in_flight
                && let Some((name, kept)) = tending.take_due(now)
            {
                working.push(hands.work(Work::Look(name, kept)));
            }
            let free = working.len() < hands.settings.caps.in_flight;
            tokio::select! {
                biased;
                Some(done) = working.next() => hands.take(done, &mut tending),
                Some(job) = jobs.recv(), if free => working.push(hands.work(Work::Make(job))),
                () = tokio::task::yield_now(), if !found.is_empty() => {
                    if let Some(id) = found.pop_front() {
                        hands.look_through(&id, &mut tending);
                    }
                }
                () = tokio::time::sleep(pause(tending.next_due(), now)) => {
                    hands.note_uses(&mut tending);
                }
            }
        }
    }
}

/// What there is to do.
enum Work {
    Make(Job),
    Look(DnsName, Kept),
}

/// How long to sleep before looking again.
fn pause(next: Option<Timestamp>, now: Timestamp) -> StdDuration {
    let left = next.map_or(LOOK, |next| {
        StdDuration::try_from(next - now).unwrap_or_default()
    });
    left.clamp(StdDuration::from_secs(1), LOOK)
}

impl Hands {
    async fn work(&self, work: Work) -> Done {
        match work {
            Work::Make(job) => {
                let made = self.serve(&job).await;
                Done::Made(job, made)
            }
            Work::Look(name, kept) => {
                let looked = self.look(&name, &kept).await;
                Done::Looked(name, kept, looked)
            }
        }
    }

    /// Fetches or makes the certificate of a name.
    async fn serve(&self, job: &Job) -> Result<Got, PutOff> {
        if job.stored {
            let loaded = self.load(&job.name).unwrap_or_else(|error| {
                tracing::warn!(name = %job.name, error = causes(&error), "making its certificate anew");
                None
            });
            if let Some(stored) = loaded {
                self.desk.observer().decided("loaded");
                return Ok(self.got(stored));
            }
            self.desk.settle(&job.name, Happening::NotLoaded);
            self.desk.requested(&job.name, job.trigger);
        }
        self.make(&job.name, Some(job.client)).await
    }

    async fn make(&self, name: &DnsName, client: Option<IpAddr>) -> Result<Got, PutOff> {
        let now = self.desk.clock().now();
        if let Some(bundle) = self.provided(name, client).await {
            return Ok(supplied(bundle));
        }
        let id = CertId::on_demand(name);
        match self.obtain(&id, name, now).await {
            Ok(stored) => {
                self.desk.observer().emit(&issued(&stored, false));
                Ok(self.got(stored))
            }
            Err(Refused::PutOff(until)) => Err(PutOff { until }),
            Err(Refused::Failed(failure)) => {
                let now = self.desk.clock().now();
                let retry = record_failure(&*self.store, &id, &failure, true, None, now);
                let until = retry.unwrap_or(now + RETRY);
                self.tell_failure(name, &failure, false, until);
                Err(PutOff { until })
            }
        }
    }

    /// What the provision hook has; a hook that is of no help is told of, and passed over.
    async fn provided(&self, name: &DnsName, client: Option<IpAddr>) -> Option<CertBundle> {
        let hook = self.settings.provision_hook.as_ref()?;
        let provided = provision::ask(hook, name, client, self.desk.clock().now());
        match provided.await {
            Ok(Provided::Certificate(bundle)) => Some(*bundle),
            Ok(Provided::Acme) => None,
            Err(error) => {
                self.tell_unprovided(name, &error);
                None
            }
        }
    }

    async fn obtain(&self, id: &CertId, name: &DnsName, now: Timestamp) -> Result<Stored, Refused> {
        let store = &*self.store;
        let _lock = wait_for_certificate(store, id).await.map_err(failed)?;
        for healed in store.recover(id).map_err(failed)? {
            tracing::info!(%id, "{healed}");
        }
        // Another process may have been quicker, or somebody copied it here.
        if let Ok(Some(stored)) = self.load(name) {
            return Ok(stored);
        }
        let attempts = store.attempts(id).map_err(failed)?;
        if let Some(until) = attempts.not_before.filter(|until| now < *until) {
            return Err(Refused::PutOff(until));
        }
        let issuers = self.issuance.issuers();
        let issuer = issuers.open(&self.settings.issuer);
        let issuer = issuer.map_err(|error| Refused::Failed(error.into()))?;
        let kind = self.settings.key_type;
        let key = PrivateKey::generate(kind).map_err(|error| Refused::Failed(error.into()))?;
        self.clear_foreign(id).map_err(failed)?;
        let record = self.record(name);
        let obtained = obtain(store, &*issuer as &dyn Issuer, id, &record, key).await;
        obtained.map_err(Refused::Failed)
    }

    /// What the store has for `name`, when it can be served.
    fn load(&self, name: &DnsName) -> Result<Option<Stored>, StoreError> {
        let id = CertId::on_demand(name);
        let stored = self.store.load(&id)?;
        let now = self.desk.clock().now();
        Ok(stored.filter(|stored| {
            stored.record.issuer.is_same_as(&self.settings.issuer)
                && stored.bundle.leaf().is_valid_at(now)
                && stored.bundle.covers(&self.settings.profile(name).names)
        }))
    }

    /// What another CA made is not served by a server that was told to use this one.
    fn clear_foreign(&self, id: &CertId) -> Result<(), StoreError> {
        match self.store.issuer(id) {
            Some(owner) if !owner.is_same_as(&self.settings.issuer) => self.store.remove(id),
            _ => Ok(()),
        }
    }

    fn record(&self, name: &DnsName) -> Record {
        Record {
            profile: self.settings.profile(name),
            issuer: self.settings.issuer.clone(),
            obtained: None,
            reuse_key: false,
            exports: Vec::new(),
            deploy_hook: None,
        }
    }

    fn got(&self, stored: Stored) -> Got {
        let attempts = self.store.attempts(&stored.id).unwrap_or_default();
        Got {
            due: self.due(&stored, &attempts),
            bundle: stored.bundle,
            origin: Origin::Stored,
        }
    }

    /// When a certificate of the store is to be looked at.
    fn due(&self, stored: &Stored, attempts: &Attempts) -> Timestamp {
        let now = self.desk.clock().now();
        let leaf = stored.bundle.leaf();
        let plan = attempts.plan_for(&leaf.serial_hex());
        let due = due_by(Life::of(leaf), plan, attempts, now);
        let due = attempts.not_before.map_or(due, |until| due.max(until));
        // Its CA is asked soon, but not about all at once.
        let soon = match self.settings.issuer {
            IssuerRef::Acme(_) if plan.is_none() => LOOK_AGAIN / 4 * random(),
            _ => LOOK_AGAIN,
        };
        due.min(now + soon).max(now)
    }

    /// Looks at one certificate: whether it is needed, may be had, and is due.
    async fn look(&self, name: &DnsName, kept: &Kept) -> Looked {
        let now = self.desk.clock().now();
        if now - kept.used > self.settings.forget_after {
            return Looked::LetGo;
        }
        match permitted(&self.desk.gate(), name).await {
            Ok(()) => {}
            Err(Refusal::NoAnswer | Refusal::Over(_)) => return Looked::Kept(now + RETRY),
            Err(_) => return Looked::LetGo,
        }
        match kept.origin {
            Origin::Stored => self.renew(name).await,
            Origin::Supplied => self.supply_again(name, kept.not_after).await,
        }
    }

    async fn renew(&self, name: &DnsName) -> Looked {
        let id = CertId::on_demand(name);
        if let Err(error) = self.adopt(&id, name).await {
            tracing::warn!(%id, error = causes(&error), "it will be renewed with the settings of before");
        }
        let issuers = self.issuance.issuers();
        let renewal = Renewal {
            store: &*self.store,
            issuers: &*issuers,
            clock: self.desk.clock(),
        };
        let outcome = renewal.one(id, &Request::default()).await;
        self.looked(name, outcome)
    }

    fn looked(&self, name: &DnsName, outcome: Outcome) -> Looked {
        let now = self.desk.clock().now();
        let next = outcome.next_wake(now).min(now + LOOK_AGAIN);
        match outcome.result {
            Renewed::Renewed { stored, .. } => {
                self.desk.observer().emit(&issued(&stored, true));
                Looked::Replaced(self.got(*stored))
            }
            Renewed::Failed {
                error: Failure::Unknown(_),
                ..
            } => Looked::LetGo,
            Renewed::Failed { error, retry_at } => {
                let until = retry_at.unwrap_or(now + RETRY);
                self.tell_failure(name, &error, true, until);
                Looked::Kept(until.min(next))
            }
            _ => Looked::Kept(next),
        }
    }

    /// Renewals ask for what this server was told, not for what another was before.
    async fn adopt(&self, id: &CertId, name: &DnsName) -> Result<(), StoreError> {
        let _lock = wait_for_certificate(&*self.store, id).await?;
        let Some(stored) = self.load(name)? else {
            return Ok(());
        };
        let record = Record {
            obtained: stored.record.obtained.clone(),
            ..self.record(name)
        };
        if record != stored.record {
            self.store.commit(id, &stored.bundle, &record)?;
        }
        Ok(())
    }

    async fn supply_again(&self, name: &DnsName, not_after: Timestamp) -> Looked {
        match self.provided(name, None).await {
            Some(bundle) if bundle.leaf().not_after() > not_after => {
                Looked::Replaced(supplied(bundle))
            }
            Some(_) => Looked::Kept(self.desk.clock().now() + LOOK_AGAIN / 24),
            None => match self.make(name, None).await {
                Ok(got) => Looked::Replaced(got),
                Err(PutOff { until }) => Looked::Kept(until),
            },
        }
    }

    /// Serves with what was done, and plans what is next.
    fn take(&self, done: Done, tending: &mut Tending) {
        match done {
            Done::Made(job, Ok(got)) => {
                let name = &job.name;
                let happening = match self.swap(name, &got, tending) {
                    Ok(()) => Happening::Issued,
                    Err(error) => self.unusable(name, &error),
                };
                self.desk.settle(name, happening);
            }
            Done::Made(job, Err(PutOff { until })) => {
                self.desk.settle(&job.name, Happening::Failed { until });
            }
            Done::Looked(name, _, Looked::Kept(due)) => tending.plan(name, due),
            Done::Looked(name, kept, Looked::Replaced(got)) => {
                self.replace(name, &kept, got, tending);
            }
            Done::Looked(name, kept, Looked::LetGo) => self.let_go(&name, &kept, tending),
        }
    }

    fn replace(&self, name: DnsName, kept: &Kept, got: Got, tending: &mut Tending) {
        let due = got.due;
        let leaf = got.bundle.leaf().clone();
        let served = tending.get(&name).is_some_and(|kept| kept.served);
        if !served {
            let kept = Kept {
                not_after: leaf.not_after(),
                ..kept.clone()
            };
            return tending.keep(name, kept, due);
        }
        if let Err(error) = self.swap(&name, &got, tending) {
            self.unusable(&name, &error);
            return tending.plan(name, due);
        }
        let facts = Facts::new(CertId::on_demand(&name).as_str(), &leaf);
        let swapped = Event::CertificateSwapped(facts);
        self.desk.observer().emit(&swapped);
    }

    /// Serves `name` with a certificate from the next connection on.
    fn swap(
        &self,
        name: &DnsName,
        got: &Got,
        tending: &mut Tending,
    ) -> Result<(), UnusableCertificate> {
        let id = CertId::on_demand(name);
        let source = SourceId::new(id.as_str());
        let table = self.desk.table();
        table.replace(source, std::slice::from_ref(&got.bundle))?;
        let leaf = got.bundle.leaf();
        let not_after = rfc3339(leaf.not_after());
        tracing::info!(%name, serial = leaf.serial_hex(), not_after, "served from now on");
        self.desk
            .observer()
            .serves(id.as_str(), leaf, Some(got.due));
        let now = self.desk.clock().now();
        let before = tending.get(name);
        let kept = Kept {
            origin: got.origin,
            not_after: leaf.not_after(),
            served: true,
            used: before
                .filter(|kept| kept.served)
                .map_or(now, |kept| kept.used),
            written: before.map_or_else(|| leaf.not_before(), |kept| kept.written),
        };
        tending.keep(name.clone(), kept, got.due);
        Ok(())
    }

    fn unusable(&self, name: &DnsName, error: &UnusableCertificate) -> Happening {
        tracing::error!(%name, error = causes(error), "its certificate cannot be served");
        Happening::Failed {
            until: self.desk.clock().now() + RETRY,
        }
    }

    /// Serves a name no longer. What is still valid stays in the store, for who comes
    /// back; what is not is removed.
    fn let_go(&self, name: &DnsName, kept: &Kept, tending: &mut Tending) {
        let id = CertId::on_demand(name);
        let now = self.desk.clock().now();
        if tending.get(name).is_some_and(|kept| kept.served) {
            let removed = self.desk.table().replace(SourceId::new(id.as_str()), &[]);
            removed.expect("nothing to serve can always be served");
            self.desk.observer().withdrawn(id.as_str());
            tracing::info!(%name, "its certificate is not used, or not allowed any more; let go");
        }
        self.desk.settle(name, Happening::LetGo);
        if kept.origin == Origin::Stored && now <= kept.not_after {
            self.desk.note_stored(name, None);
            let kept = Kept {
                served: false,
                ..kept.clone()
            };
            let expiry = kept.not_after + Duration::SECOND;
            return tending.keep(name.clone(), kept, expiry);
        }
        tending.forget(name);
        if kept.origin == Origin::Stored {
            self.remove(&id);
        }
    }

    fn remove(&self, id: &CertId) {
        let removed = self.store.try_lock_cert(id).and_then(|lock| match lock {
            Some(_lock) => self.store.remove(id),
            // Whoever holds it needs it.
            None => Ok(()),
        });
        match removed {
            Ok(()) => self.desk.note_removed(id),
            Err(error) => tracing::warn!(%id, error = causes(&error), "could not be removed"),
        }
    }

    /// Learns of a certificate that was made before the start.
    fn look_through(&self, id: &CertId, tending: &mut Tending) {
        let stored = match self.store.load(id) {
            Ok(Some(stored)) => stored,
            Ok(None) => return self.desk.note_removed(id),
            Err(error) => {
                tracing::warn!(%id, error = causes(&error), "cannot be served");
                return self.desk.note_removed(id);
            }
        };
        let Some(name) = host(stored.bundle.leaf()) else {
            return;
        };
        let leaf = stored.bundle.leaf();
        self.desk.note_stored(&name, Some(leaf.not_before()));
        if tending.get(&name).is_some() {
            return self.desk.note_removed(id);
        }
        let attempts = self.store.attempts(id).unwrap_or_default();
        let used = attempts.used.unwrap_or_else(|| leaf.not_before());
        let kept = Kept {
            origin: Origin::Stored,
            not_after: leaf.not_after(),
            served: false,
            used,
            written: used,
        };
        tending.keep(name, kept, self.due(&stored, &attempts));
    }

    /// Notes who was served with what since the last time.
    fn note_uses(&self, tending: &mut Tending) {
        let used = |name: &DnsName| {
            let asked = Asked {
                server_name: Some(name.as_str()),
                local: IpAddr::from([0, 0, 0, 0]),
            };
            let identity = self.desk.table().find(asked);
            identity.is_some_and(|identity| identity.take_use())
        };
        let now = self.desk.clock().now();
        for name in tending.note_uses(used, now) {
            let id = CertId::on_demand(&name);
            let written = self.store.attempts(&id).and_then(|attempts| {
                let attempts = Attempts {
                    used: Some(now),
                    ..attempts
                };
                self.store.set_attempts(&id, &attempts)
            });
            if let Err(error) = written {
                tracing::warn!(%id, error = causes(&error), "that it is used could not be noted");
                tending.unwritten(&name);
            }
        }
    }

    /// Removes what is known of names that failed long ago.
    fn forget_failures(&self) {
        let now = self.desk.clock().now();
        let failing = self.store.failing().unwrap_or_default();
        for id in failing.into_iter().filter(CertId::is_on_demand) {
            let last = self.store.attempts(&id).unwrap_or_default().last;
            if last.is_none_or(|last| now - last > self.settings.forget_after) {
                self.remove(&id);
            }
        }
    }

    fn tell_failure(
        &self,
        name: &DnsName,
        failure: &Failure,
        is_renewal: bool,
        retry_at: Timestamp,
    ) {
        let id = CertId::on_demand(name);
        let (hint, error) = (failure.hint(), causes(failure));
        let observer = self.desk.observer();
        observer.emit(&Event::CertificateFailed {
            id: id.to_string(),
            domain: name.to_string(),
            source: self.settings.issuer.source(),
            is_renewal,
            error: error.clone(),
            retry_at: Some(Moment(retry_at)),
        });
        tracing::warn!(%id, error, hint, is_renewal, "no certificate was made");
        if is_renewal && let Ok(Some(stored)) = self.store.load(&id) {
            self.tell_expiry(&id, stored.bundle.leaf());
        }
    }

    fn tell_expiry(&self, id: &CertId, leaf: &Certificate) {
        let life = leaf.not_after() - leaf.not_before();
        let left = leaf.not_after() - self.desk.clock().now();
        if left * LAST_PART <= life {
            let facts = Facts::new(id.as_str(), leaf);
            self.desk
                .observer()
                .emit(&Event::CertificateExpiring(facts));
        }
    }

    fn tell_unprovided(&self, name: &DnsName, error: &ProvisionError) {
        let error = causes(error);
        self.desk.observer().emit(&Event::CertificateFailed {
            id: CertId::on_demand(name).to_string(),
            domain: name.to_string(),
            source: "provision-hook".to_owned(),
            is_renewal: false,
            error: error.clone(),
            retry_at: None,
        });
        tracing::warn!(%name, error, "the provision hook is of no help; asking the CA");
    }
}

/// Why a certificate was not obtained.
enum Refused {
    /// It failed not long ago.
    PutOff(Timestamp),
    Failed(Failure),
}

fn failed(error: StoreError) -> Refused {
    Refused::Failed(error.into())
}

/// Whether `name` may still have a certificate.
async fn permitted(gate: &Gate, name: &DnsName) -> Result<(), Refusal> {
    gate.rules().check(name.as_str())?;
    gate.permission(name, None).await
}

fn supplied(bundle: CertBundle) -> Got {
    let life = Life::of(bundle.leaf());
    Got {
        due: crate::renew::policy::due_at(life),
        bundle,
        origin: Origin::Supplied,
    }
}

/// The one host name of a certificate that was made on demand.
fn host(leaf: &Certificate) -> Option<DnsName> {
    match leaf.names() {
        [crate::identifier::Identifier::Dns(name)] => Some(name.clone()),
        _ => None,
    }
}
