//! What is done when: one piece of work after the other, and what is served with what
//! came of it.
//!
//! Rules kept here: one name that fails or takes long keeps no other waiting; what
//! nobody uses is not renewed, and in the end removed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::desk::{Desk, Job};
use super::making::{Got, Hands, Looked, PutOff, RETRY};
use super::policy::Happening;
use super::tending::{Kept, Origin, Tending};
use super::{Issuance, Settings};
use crate::bundle::Certificate;
use crate::certificates::{SourceId, UnusableCertificate};
use crate::clock::{Duration, Timestamp, rfc3339};
use crate::event::{Event, Facts};
use crate::finding::words::causes;
use crate::identifier::{CertId, DnsName, Identifier};
use crate::store::{Attempts, Store};

/// Performs what the desk hands on, and looks after what was made.
pub struct Worker {
    hands: Hands,
    jobs: mpsc::Receiver<Job>,
    /// What the store had at the start, to be looked through.
    found: VecDeque<CertId>,
}

/// What became of a piece of work.
enum Done {
    /// A name was to be served for the first time.
    Made(Job, Result<Got, PutOff>),
    /// A certificate was looked at.
    Looked(DnsName, Kept, Looked),
}

/// How often the wall clock is looked at, and who was served with what.
const LOOK: StdDuration = StdDuration::from_secs(60);

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
                self.replace(name, &kept, &got, tending);
            }
            Done::Looked(name, kept, Looked::LetGo) => self.let_go(&name, &kept, tending),
        }
    }

    fn replace(&self, name: DnsName, kept: &Kept, got: &Got, tending: &mut Tending) {
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
        if let Err(error) = self.swap(&name, got, tending) {
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
            let identity = self.desk.identity(name);
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
}

/// The one host name of a certificate that was made on demand.
fn host(leaf: &Certificate) -> Option<DnsName> {
    match leaf.names() {
        [Identifier::Dns(name)] => Some(name.clone()),
        _ => None,
    }
}
