//! From a checked order to its certificate.
//!
//! Whoever comes to sign takes along what others have queued: the inventory waits for
//! the disk once per batch, not once per certificate.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use tokio::sync::oneshot;

use super::super::problem::Problem;
use super::super::state::{Order, OrderId};
use super::super::{Asker, Happening, Profile};
use super::Service;
use super::orders::{bad_csr, names_of};
use crate::clock::Timestamp;
use crate::finding::words::causes;
use crate::pki::{CaError, CsrNames, CsrRequest, Refused, SignedCsr};

/// Certificates signed in one go at most, so that the first does not wait for the last.
const BATCH: usize = 64;

/// One certificate to be signed.
#[derive(Debug)]
pub(super) struct Job {
    order: OrderId,
    is_renewal: bool,
    csr: Vec<u8>,
    request: CsrRequest,
    asker: Asker,
}

impl Job {
    /// The same, asked for by `asker`.
    pub(super) fn asked_by(self, asker: Asker) -> Self {
        Self { asker, ..self }
    }
}

/// Jobs that wait for whoever signs next.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Vec<(Job, oneshot::Sender<()>)>>,
    signing: Mutex<()>,
}

impl Queue {
    fn next(&self) -> Option<Vec<(Job, oneshot::Sender<()>)>> {
        let mut waiting = lock(&self.waiting);
        let count = waiting.len().min(BATCH);
        (count > 0).then(|| waiting.drain(..count).collect())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Service {
    /// How a certificate of this profile is asked of the CA.
    pub(super) fn csr_request(
        &self,
        profile: &Profile,
        names: CsrNames,
        (not_before, not_after): (Option<Timestamp>, Option<Timestamp>),
    ) -> CsrRequest {
        CsrRequest {
            names,
            usage: profile.usage,
            lifetime: Some(profile.lifetime),
            not_before,
            not_after,
            publication: self.settings.publication.clone(),
        }
    }

    /// What is to be signed for an order in `processing`.
    pub(super) fn job(&self, order: Order, profile: &Profile) -> Result<Job, Problem> {
        let names = CsrNames::Given(names_of(&order)?);
        let request = self.csr_request(profile, names, (order.not_before, order.not_after));
        Ok(Job {
            order: order.id,
            is_renewal: order.replaces.is_some(),
            csr: order.csr.unwrap_or_default(),
            request,
            asker: Asker::forgotten(order.account),
        })
    }

    /// Queues a job; what is given back is told once it is done, well or not.
    pub(super) fn queue(&self, job: Job) -> oneshot::Receiver<()> {
        let (done, told) = oneshot::channel();
        lock(&self.queue.waiting).push((job, done));
        told
    }

    /// Signs what is queued, or leaves it to whoever does so already. Blocks on the disk.
    pub(super) fn sign_queued(&self) {
        // Looked at once more after each turn: what was queued in its last moment by
        // somebody who then left would wait for ever.
        while !lock(&self.queue.waiting).is_empty() {
            let _turn = match self.queue.signing.try_lock() {
                Ok(turn) => turn,
                Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            while let Some(batch) = self.queue.next() {
                self.sign(batch);
            }
        }
    }

    fn sign(&self, batch: Vec<(Job, oneshot::Sender<()>)>) {
        let requests: Vec<_> = batch
            .iter()
            .map(|(job, _)| (job.csr.clone(), job.request.clone()))
            .collect();
        let sign = || self.ca.sign_csrs(&requests, || self.state.turn());
        let signed = sign().or_else(|error| {
            // The disk may have been busy.
            tracing::warn!(error = causes(&error), "signing once more");
            sign()
        });
        let signed = match signed {
            Ok(signed) => signed,
            Err(error) => {
                let problem = refused(&error);
                for (job, done) in batch {
                    self.failed(&job, &problem);
                    let _ = done.send(());
                }
                return;
            }
        };
        for ((job, done), signed) in batch.into_iter().zip(signed) {
            match signed {
                Ok(signed) => self.issued(&job, &signed),
                Err(error) => self.failed(&job, &refused(&error)),
            }
            // Whoever waited may have gone.
            let _ = done.send(());
        }
    }

    /// The certificate is in the inventory. When its order cannot be told now, whoever
    /// tends the directory finds it there.
    fn issued(&self, job: &Job, signed: &SignedCsr) {
        let Some(leaf) = signed.chain.first() else {
            return;
        };
        let now = self.clock.now();
        let finished = self
            .state
            .finish_order(&job.order, leaf.serial(), leaf.not_after(), now);
        if let Err(error) = finished {
            let error = causes(&error);
            tracing::error!(order = %job.order, error, "a certificate was issued and its order could not be finished");
            return;
        }
        self.observer.saw(&Happening::Issued {
            certificate: leaf,
            is_renewal: job.is_renewal,
            asker: &job.asker,
        });
    }

    fn failed(&self, job: &Job, problem: &Problem) {
        let order = &job.order;
        if let Err(error) = self.state.fail_order(order, problem, self.clock.now()) {
            let error = causes(&error);
            tracing::error!(%order, error, "an order that failed could not be ended");
        }
        let names = match &job.request.names {
            CsrNames::Given(names) => names.as_slice(),
            CsrNames::Requested => &[],
        };
        self.observer.saw(&Happening::Failed {
            names,
            is_renewal: job.is_renewal,
            problem: problem.detail(),
            asker: &job.asker,
        });
    }
}

/// Why no certificate is signed: a stranger is told what is wrong with the CSR, and
/// nothing of what is wrong here.
pub(super) fn refused(error: &CaError) -> Problem {
    use Refused::{IssuerExpired, IssuerNotYetValid};
    let ours = matches!(
        error,
        CaError::Refused(IssuerExpired { .. } | IssuerNotYetValid { .. })
    );
    match error {
        CaError::Csr(_) | CaError::WeakKey(_) | CaError::Refused(_) if !ours => {
            bad_csr(&causes(error))
        }
        _ => {
            let (hint, error) = (error.hint(), causes(error));
            tracing::error!(error, hint, "a certificate could not be signed");
            Problem::server_internal()
        }
    }
}
