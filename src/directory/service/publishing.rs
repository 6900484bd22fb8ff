//! What is there over plain HTTP for everybody: the CRLs, and the certificates of those
//! who issue.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use http::{Method, StatusCode};

use super::super::problem::Problem;
use super::Service;
use super::answer::Answer;
use crate::clock::Duration;
use crate::finding::words::causes;
use crate::pki::crl;
use crate::store::disk;

/// How long a CRL is good for.
const LIFE: Duration = Duration::days(7);
const CRL: &str = "application/pkix-crl";
const ISSUER: &str = "application/pkix-cert";

/// Which of the revocations are in the CRLs that lie there.
#[derive(Debug, Default)]
pub(super) struct Lists {
    revoked: AtomicU64,
    published: Mutex<u64>,
    /// One could not be signed while others were: it is tried again, but not each minute.
    is_incomplete: AtomicBool,
}

impl Service {
    /// Takes note of a revocation that is in the inventory.
    pub(super) fn note_revocation(&self) {
        self.lists.revoked.fetch_add(1, Ordering::SeqCst);
    }

    /// Signs the CRLs, unless somebody did since the last revocation. Blocks on the
    /// disk.
    pub(super) fn publish_revocations(&self) {
        let wanted = self.lists.revoked.load(Ordering::SeqCst);
        let published = &self.lists.published;
        let mut published = published.lock().unwrap_or_else(PoisonError::into_inner);
        if *published >= wanted {
            return;
        }
        let upto = self.lists.revoked.load(Ordering::SeqCst);
        if self.publish_lists() {
            *published = upto;
        }
    }

    /// Signs the CRLs when there are none, or when half of the life of one is gone.
    pub(super) fn refresh_lists(&self) {
        let now = self.clock.now();
        let due = self.ca.authority().crls_due_at(now);
        if due.is_some_and(|due| due <= now) || self.lists.is_incomplete.load(Ordering::SeqCst) {
            self.publish_lists();
        }
    }

    /// Signs the CRLs; says whether there are fresh ones.
    fn publish_lists(&self) -> bool {
        let published = self.ca.publish_crls(LIFE);
        for error in &published.failed {
            let (hint, error) = (error.hint(), causes(error));
            tracing::error!(error, hint, "a fresh CRL could not be signed");
        }
        let (some, all) = (!published.lists.is_empty(), published.failed.is_empty());
        self.lists.is_incomplete.store(!all, Ordering::SeqCst);
        some || all
    }

    /// What lies at a path of the plain address.
    pub(super) fn published(&self, method: &Method, path: &str) -> Result<Answer, Problem> {
        if *method != Method::GET && *method != Method::HEAD {
            let problem = Problem::malformed("this can only be read");
            let problem = problem.with_status(StatusCode::METHOD_NOT_ALLOWED);
            return Ok(Answer::from(problem).allow("GET, HEAD"));
        }
        let nothing = || Problem::not_found("file");
        let authority = self.ca.authority();
        let named = |text: &str, suffix: &str| {
            let name = text.strip_suffix(suffix)?.to_owned();
            authority.intermediate(&name).cloned()
        };
        match path.strip_prefix('/').unwrap_or_default().split_once('/') {
            None if path == "/roots.pem" => Ok(self.roots()),
            Some(("crl", file)) => {
                let issuer = named(file, ".crl").ok_or_else(nothing)?;
                // As it lies there: whoever signs a list verifies it.
                let list = crl::path(authority.paths().dir(), &issuer.name)
                    .ok()
                    .and_then(|path| disk::read_if_exists(&path).ok().flatten());
                Ok(Answer::body(CRL, list.ok_or_else(nothing)?))
            }
            Some(("issuer", file)) => {
                let issuer = named(file, ".crt").ok_or_else(nothing)?;
                Ok(Answer::body(ISSUER, issuer.certificate.der().to_vec()))
            }
            _ => Err(nothing()),
        }
    }
}
