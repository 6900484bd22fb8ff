//! Where a server answers challenges itself, told once its ports are bound.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;

use super::ChallengeKind;

/// The addresses that a server answers challenges on; clones are the same.
#[derive(Debug, Clone, Default)]
pub struct ServedAt(Arc<Mutex<Bound>>);

#[derive(Debug, Default)]
struct Bound {
    http: Option<SocketAddr>,
    https: Option<SocketAddr>,
    balancers: Vec<IpNet>,
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

    /// Both ports want the PROXY protocol of whoever is in these networks.
    pub fn behind(&self, balancers: &[IpNet]) {
        let mut bound = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        balancers.clone_into(&mut bound.balancers);
    }

    /// Whether a connection from `source` has to begin with the PROXY protocol.
    pub fn wants_proxy_protocol(&self, source: IpAddr) -> bool {
        let bound = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let source = source.to_canonical();
        bound.balancers.iter().any(|one| one.contains(&source))
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
