//! Where a server answers challenges itself, told once its ports are bound.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::ChallengeKind;

/// The addresses that a server answers challenges on; clones are the same.
#[derive(Debug, Clone, Default)]
pub struct ServedAt(Arc<Mutex<Bound>>);

#[derive(Debug, Default)]
struct Bound {
    http: Option<SocketAddr>,
    https: Option<SocketAddr>,
}

impl ServedAt {
    /// `kind` is answered on `address` from now on.
    pub fn tell(&self, kind: ChallengeKind, address: SocketAddr) {
        let mut bound = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kind {
            ChallengeKind::Http01 => bound.http = Some(address),
            ChallengeKind::TlsAlpn01 => bound.https = Some(address),
            ChallengeKind::Dns01 => {}
        }
    }

    /// Where `kind` is answered, if anywhere yet.
    pub fn address(&self, kind: ChallengeKind) -> Option<SocketAddr> {
        let bound = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kind {
            ChallengeKind::Http01 => bound.http,
            ChallengeKind::TlsAlpn01 => bound.https,
            ChallengeKind::Dns01 => None,
        }
    }
}
