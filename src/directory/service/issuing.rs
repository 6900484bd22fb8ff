//! From a checked order to its certificate.
//!
//! Each is signed where it is asked for. Whoever comes to record takes along what others
//! have signed: the inventory waits for the disk once per batch, not once per certificate.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use tokio::sync::oneshot;

use super::super::problem::Problem;
use super::super::state::{Order, OrderId, StateError};
use super::super::{Asker, Happening, Profile};
use super::Service;
use super::orders::{bad_csr, names_of};
use crate::clock::Timestamp;
use crate::finding::words::causes;
use crate::identifier::Identifier;
use crate::pki::{CaError, CsrNames, CsrRequest, Refused, Unrecorded};

/// Certificates recorded in one go at most, so that the first does not wait for the last.
const BATCH: usize = 64;

/// One certificate to be signed.
#[derive(Debug)]
pub(super) struct Job {
    about: About,
    csr: Vec<u8>,
    request: CsrRequest,
}

/// What a certificate is for, and for whom.
#[derive(Debug)]
struct About {
    order: OrderId,
    names: Vec<Identifier>,
    is_renewal: bool,
    asker: Asker,
}

/// One that is signed, and who waits for it.
#[derive(Debug)]
struct Signed {
    about: About,
    certificate: Unrecorded,
    done: oneshot::Sender<Order>,
}

/// What is signed waits here for whoever records next.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Vec<Signed>>,
    /// Orders that get no certificate, which could not be written down so far.
    unended: Mutex<Vec<(About, Problem)>>,
    recording: Mutex<()>,
}

impl Queue {
    fn next(&self) -> Vec<Signed> {
        let mut waiting = lock(&self.waiting);
        let count = waiting.len().min(BATCH);
        waiting.drain(..count).collect()
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
    pub(super) fn job(
        &self,
        order: Order,
        profile: &Profile,
        asker: Asker,
    ) -> Result<Job, Problem> {
        let names = names_of(&order)?;
        let dates = (order.not_before, order.not_after);
        Ok(Job {
            request: self.csr_request(profile, CsrNames::Given(names.clone()), dates),
            about: About {
                order: order.id,
                names,
                is_renewal: order.replaces.is_some(),
                asker,
            },
            csr: order.csr.unwrap_or_default(),
        })
    }

    /// Signs, for whoever records next. What is given back gets the order once it is
    /// valid, and nothing when it will not be.
    pub(super) fn sign(&self, job: Job) -> oneshot::Receiver<Order> {
        let (done, told) = oneshot::channel();
        let about = job.about;
        match self.ca.sign_unrecorded(&job.csr, &job.request) {
            Ok(certificate) => lock(&self.queue.waiting).push(Signed {
                about,
                certificate,
                done,
            }),
            Err(error) => self.end(vec![(about, refused(&error))]),
        }
        told
    }

    /// Ends orders that get no certificate, or keeps them for [`Self::record_all`].
    fn end(&self, orders: Vec<(About, Problem)>) {
        let unended = orders
            .into_iter()
            .filter(|(about, problem)| !self.failed(about, problem));
        let unended: Vec<_> = unended.collect();
        lock(&self.queue.unended).extend(unended);
    }

    /// Records all that is signed, and ends what could not be ended. Blocks on the disk.
    pub(super) fn record_all(&self) {
        let unended = std::mem::take(&mut *lock(&self.queue.unended));
        self.end(unended);
        while self.record_some() {}
    }

    /// Records what is signed, or leaves it to whoever does so already; says whether
    /// more waits for the caller to see to it.
    pub(super) fn record_some(&self) -> bool {
        {
            let _turn = match self.queue.recording.try_lock() {
                Ok(turn) => turn,
                Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
                Err(TryLockError::WouldBlock) => return false,
            };
            let batch = self.queue.next();
            if batch.is_empty() || !self.record(batch) {
                return false;
            }
        }
        // Looked at after the turn: what came in its last moment was left to us.
        !lock(&self.queue.waiting).is_empty()
    }

    /// Records a batch; says whether there is any use in going on.
    fn record(&self, batch: Vec<Signed>) -> bool {
        let entries = batch
            .iter()
            .map(|signed| (&signed.about.order, signed.certificate.entry()));
        match self.state.issue(entries, self.clock.now()) {
            Ok(answers) => {
                for (signed, answer) in batch.into_iter().zip(answers) {
                    self.recorded(signed, answer);
                }
                true
            }
            // It may be one that is to blame, and not the disk.
            Err(_) if batch.len() > 1 => batch
                .into_iter()
                .map(|signed| self.record(vec![signed]))
                .fold(false, |any, recorded| any | recorded),
            Err(error) => {
                let problem = Problem::from(error);
                let lost = batch
                    .into_iter()
                    .filter(|one| !self.failed(&one.about, &problem));
                let lost: Vec<_> = lost.collect();
                let ended = lost.is_empty();
                // Not even that could be written: until the disk can be, it waits.
                lock(&self.queue.waiting).extend(lost);
                ended
            }
        }
    }

    fn recorded(&self, signed: Signed, answer: Result<Order, StateError>) {
        let Signed {
            about,
            certificate,
            done,
        } = signed;
        match answer {
            Ok(order) => {
                if let Some(certificate) = certificate.recorded().chain.first() {
                    self.observer.saw(&Happening::Issued {
                        certificate,
                        is_renewal: about.is_renewal,
                        asker: &about.asker,
                    });
                }
                // Whoever waited may have gone.
                let _ = done.send(order);
            }
            // Nobody has seen the certificate, and nobody will.
            Err(error) => {
                let error = causes(&error);
                tracing::warn!(order = %about.order, error, "a certificate was signed in vain");
            }
        }
    }

    /// Ends an order that gets no certificate; says whether that could be written down.
    fn failed(&self, about: &About, problem: &Problem) -> bool {
        let About {
            order,
            names,
            is_renewal,
            asker,
        } = about;
        if let Err(error) = self.state.fail_order(order, problem, self.clock.now()) {
            let error = causes(&error);
            tracing::error!(%order, error, "an order that failed could not be ended");
            return false;
        }
        self.observer.saw(&Happening::Failed {
            names,
            is_renewal: *is_renewal,
            problem: problem.detail(),
            asker,
        });
        true
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
