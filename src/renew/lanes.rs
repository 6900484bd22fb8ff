//! Many certificates at a time: a lane for each CA, so that one which hangs holds up
//! its own certificates and nobody else's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use futures_util::future::join_all;

use super::{Outcome, Renewal, Request, Turn, policy, situation, whom_to_ask};
use crate::identifier::CertId;
use crate::issuer::IssuerRef;
use crate::store::StoreError;

/// The certificates of one issuer, with their places in what was asked for.
#[derive(Debug)]
struct Lane {
    at_once: usize,
    waiting: Mutex<VecDeque<(usize, CertId)>>,
}

impl Lane {
    fn next(&self) -> Option<(usize, CertId)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop_front()
    }
}

type Outcomes = Mutex<BTreeMap<usize, Outcome>>;

impl Renewal<'_> {
    /// How many certificates of one public CA are worked on at the same time.
    pub const AT_ONCE: usize = 8;

    /// Looks at every certificate asked for, whatever fails; the outcomes are in the
    /// order of the ids.
    ///
    /// Fails only when the store cannot be listed at all.
    pub async fn run(&self, request: &Request) -> Result<Vec<Outcome>, StoreError> {
        self.run_until(request, std::future::pending()).await
    }

    /// [`Renewal::run`], but once `stop` is ready what is under way is dropped, which
    /// leaves each certificate as it was or renewed. The outcomes are those of the
    /// certificates that were done by then.
    pub async fn run_until(
        &self,
        request: &Request,
        stop: impl Future<Output = ()>,
    ) -> Result<Vec<Outcome>, StoreError> {
        let lanes = self.lanes(self.ids(request)?);
        let (outcomes, turn) = (Outcomes::default(), Turn::default());
        let mut workers = Vec::new();
        for lane in &lanes {
            for _ in 0..lane.at_once {
                workers.push(self.work(lane, request, &turn, &outcomes));
            }
        }
        tokio::select! {
            biased;
            () = stop => {}
            _ = join_all(workers) => {}
        }
        let outcomes = outcomes.into_inner();
        let outcomes = outcomes.unwrap_or_else(PoisonError::into_inner);
        Ok(outcomes.into_values().collect())
    }

    /// Whether a run as asked for would ask a public CA for anything: a certificate,
    /// or when it would have one renewed. Changes nothing.
    pub fn asks_public_ca(&self, request: &Request) -> Result<bool, StoreError> {
        if request.dry_run {
            return Ok(false);
        }
        let ids = match request.ids.is_empty() {
            true => self.store.ids()?,
            false => request.ids.clone(),
        };
        Ok(ids.iter().any(|id| self.asks_about(id, request)))
    }

    /// What cannot be read will fail without anybody being asked.
    fn asks_about(&self, id: &CertId, request: &Request) -> bool {
        let is_public = self
            .store
            .issuer(id)
            .is_some_and(|issuer| issuer.is_public());
        let is_ours = || {
            !request.leave_served
                || !(id.is_on_demand() || self.store.is_served(id).is_ok_and(|s| s))
        };
        let loaded = (is_public && is_ours()).then(|| self.store.load(id));
        let Some(Ok(Some(stored))) = loaded else {
            return false;
        };
        let issuer = &stored.record.issuer;
        let superseded = self.issuers.superseded(issuer, stored.bundle.leaf());
        let attempts = self.store.attempts(id).unwrap_or_default();
        let situation = situation(&stored, &attempts, superseded.as_ref(), request);
        let now = self.clock.now();
        whom_to_ask(&stored).is_some() && policy::should_ask(&situation, now)
            || matches!(policy::next_step(situation, now), policy::Step::Renew(_))
    }

    /// Each id once.
    fn ids(&self, request: &Request) -> Result<Vec<CertId>, StoreError> {
        if !request.ids.is_empty() {
            let mut seen = BTreeSet::new();
            let ids = request.ids.iter().filter(|id| seen.insert(*id));
            return Ok(ids.cloned().collect());
        }
        if !request.dry_run {
            // A first certificate that a crash left whole but unnamed is among them then.
            for healed in self.store.recover_all()? {
                tracing::info!("{healed}");
            }
        }
        self.store.ids()
    }

    fn lanes(&self, ids: Vec<CertId>) -> Vec<Lane> {
        let mut lanes: BTreeMap<Option<String>, VecDeque<(usize, CertId)>> = BTreeMap::new();
        for (place, id) in ids.into_iter().enumerate() {
            let lane = match self.store.issuer(&id) {
                Some(IssuerRef::Acme(acme)) => Some(acme.directory.url().to_string()),
                // Nobody has to be waited for; what cannot be read fails at once.
                Some(IssuerRef::Private) | None => None,
            };
            lanes.entry(lane).or_default().push_back((place, id));
        }
        let lane = |(public, waiting): (Option<String>, VecDeque<_>)| Lane {
            at_once: match public {
                Some(_) => Self::AT_ONCE.min(waiting.len()),
                None => 1,
            },
            waiting: Mutex::new(waiting),
        };
        lanes.into_iter().map(lane).collect()
    }

    fn work<'a>(
        &'a self,
        lane: &'a Lane,
        request: &'a Request,
        turn: &'a Turn,
        outcomes: &'a Outcomes,
    ) -> Worker<'a> {
        Box::pin(async move {
            while let Some((place, id)) = lane.next() {
                let outcome = self.one_of_many(id, request, turn).await;
                outcomes
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(place, outcome);
                // Much of it blocks, but briefly: the others get a turn in between.
                tokio::task::yield_now().await;
            }
        })
    }
}

type Worker<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
