//! One piece of work: fetching a certificate, having it made, renewing it.
//!
//! Rules kept here: what was made is on the disk before anybody serves it; a name that
//! failed is not tried again before its time, also after a restart; a provision hook that
//! is of no help is told of, and passed over.

use std::net::IpAddr;
use std::sync::Arc;

use super::desk::{Desk, Job};
use super::gate::Gate;
use super::policy::{Happening, Refusal};
use super::provision::{self, Provided, ProvisionError};
use super::tending::{Kept, Origin};
use super::{Issuance, Settings};
use crate::bundle::{CertBundle, Certificate};
use crate::clock::{Duration, Timestamp};
use crate::event::{Asker, Event, Facts, Moment};
use crate::finding::words::causes;
use crate::identifier::{CertId, DnsName};
use crate::issuer::{Issuer, IssuerRef};
use crate::key::PrivateKey;
use crate::renew::policy::{Life, due_at, due_by};
use crate::renew::{
    Done as Renewed, Failure, Outcome, Renewal, Request, issued, obtain, random, record_failure,
    wait_for_certificate,
};
use crate::store::{Attempts, Record, Store, StoreError, Stored};

/// What performing takes.
pub(super) struct Hands {
    pub(super) desk: Arc<Desk>,
    pub(super) store: Arc<dyn Store>,
    pub(super) issuance: Arc<dyn Issuance>,
    pub(super) settings: Settings,
}

/// A certificate to be served.
pub(super) struct Got {
    pub(super) bundle: CertBundle,
    pub(super) origin: Origin,
    /// When it is to be looked at.
    pub(super) due: Timestamp,
}

/// No certificate before this moment.
pub(super) struct PutOff {
    pub(super) until: Timestamp,
}

/// What became of a certificate that was looked at.
pub(super) enum Looked {
    /// Nothing: to be looked at again at this moment.
    Kept(Timestamp),
    /// There is a new one.
    Replaced(Got),
    /// Nobody needs it, or may have it.
    LetGo,
}

/// Each certificate is looked at so often, due or not: it may have been revoked.
pub(super) const LOOK_AGAIN: Duration = Duration::days(1);

/// After a failure that says nothing else.
pub(super) const RETRY: Duration = Duration::minutes(10);

/// One part of so many is left of a life when its end is an event.
const LAST_PART: i32 = 20;

impl Hands {
    /// Fetches or makes the certificate of a name.
    pub(super) async fn serve(&self, job: &Job) -> Result<Got, PutOff> {
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
        match self.provided(name, client).await {
            Some(bundle) => Ok(supplied(bundle)),
            None => self.order(name).await,
        }
    }

    /// Has the CA make it.
    async fn order(&self, name: &DnsName) -> Result<Got, PutOff> {
        let id = CertId::on_demand(name);
        match self.obtain(&id, name).await {
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

    async fn obtain(&self, id: &CertId, name: &DnsName) -> Result<Stored, Refused> {
        let (store, now) = (&*self.store, self.desk.clock().now());
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
    pub(super) fn due(&self, stored: &Stored, attempts: &Attempts) -> Timestamp {
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
    pub(super) async fn look(&self, name: &DnsName, kept: &Kept) -> Looked {
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
            None => match self.order(name).await {
                Ok(got) => Looked::Replaced(got),
                Err(PutOff { until }) => Looked::Kept(until),
            },
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
            asker: Asker::default(),
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
            asker: Asker::default(),
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
        due: due_at(life),
        bundle,
        origin: Origin::Supplied,
    }
}
