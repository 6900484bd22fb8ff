//! What a connection is served with, and what that is good for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustls::sign::CertifiedKey;

use crate::bundle::Certificate;
use crate::clock::Timestamp;
use crate::identifier::Identifier;

/// A key as TLS uses it, with its certificate or without one.
#[derive(Debug)]
pub struct Served {
    key: Arc<CertifiedKey>,
    subject: Subject,
    used: AtomicBool,
}

/// Whom a key speaks for. Kept apart from the DER form, since requests ask often.
#[derive(Debug)]
enum Subject {
    Certificate {
        names: Vec<Identifier>,
        not_before: Timestamp,
        not_after: Timestamp,
    },
    /// Whoever connects knows the key; it has no name.
    RawKey,
}

impl Served {
    pub(super) fn certificate(key: CertifiedKey, leaf: &Certificate) -> Self {
        Self {
            key: Arc::new(key),
            subject: Subject::Certificate {
                names: leaf.names().to_vec(),
                not_before: leaf.not_before(),
                not_after: leaf.not_after(),
            },
            used: AtomicBool::new(false),
        }
    }

    pub(super) fn raw_key(key: CertifiedKey) -> Self {
        Self {
            key: Arc::new(key),
            subject: Subject::RawKey,
            used: AtomicBool::new(false),
        }
    }

    pub(super) fn note_use(&self) {
        // Handshakes on other processors need not fetch the line again.
        if !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
        }
    }

    pub(super) fn take_use(&self) -> bool {
        self.used.swap(false, Relaxed)
    }

    /// The key, and what is sent to clients.
    pub fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// The names in the certificate.
    pub(super) fn names(&self) -> &[Identifier] {
        match &self.subject {
            Subject::Certificate { names, .. } => names,
            Subject::RawKey => &[],
        }
    }

    /// Whether it is a raw public key (RFC 7250).
    pub fn is_raw_key(&self) -> bool {
        matches!(self.subject, Subject::RawKey)
    }

    /// Whether the certificate is good for `name`, whatever its dates. A raw key
    /// speaks for no name.
    pub fn covers(&self, name: &Identifier) -> bool {
        self.names().iter().any(|own| own.covers(name))
    }

    /// Whether `now` lies within the certificate's dates; a raw key has none.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        match self.subject {
            Subject::Certificate {
                not_before,
                not_after,
                ..
            } => not_before <= now && now <= not_after,
            Subject::RawKey => true,
        }
    }
}
