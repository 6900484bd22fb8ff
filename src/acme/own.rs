//! What this machine's own CA, asked inside this process, is told of it: the sockets
//! that answer challenges, which it looks at whatever their ports are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::HttpClient;
use crate::challenge::{ChallengeKind, ServedAt, Solver};
use crate::issuer::IssueError;

/// Opens this machine's own ACME directory for whoever answers challenges like this.
/// Blocks on the disk.
pub type OwnDirectory = dyn Fn(OwnAnswers) -> Result<Arc<dyn HttpClient>, IssueError> + Send + Sync;

/// How this process answers the challenges of its own directory.
#[derive(Debug, Default)]
pub struct OwnAnswers {
    /// The ports of a server at work.
    pub served: ServedAt,
    /// Those who open a port when they need one.
    pub solvers: Vec<Arc<dyn Solver>>,
    /// Another server, on port 80 of this machine, answers http-01.
    pub webroot: bool,
    /// Where the TXT records of dns-01 are looked up, if not where the system does.
    pub dns_server: Option<SocketAddr>,
}

impl OwnAnswers {
    /// Where to look at a challenge of this kind right now, in order.
    pub async fn addresses(&self, kind: ChallengeKind) -> Vec<SocketAddr> {
        if let Some(address) = self.served_at(kind) {
            return connectable(address);
        }
        if kind == ChallengeKind::Http01 && self.webroot {
            let port = 80;
            return connectable(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port));
        }
        for solver in self.solvers.iter().filter(|solver| solver.kind() == kind) {
            if let Some(address) = solver.listening().await {
                return connectable(address);
            }
        }
        Vec::new()
    }

    /// What a connection from `source` for a challenge of this kind has to begin with: a
    /// server behind a balancer wants to hear for whom it is, also of ourselves.
    pub fn preamble(&self, kind: ChallengeKind, source: IpAddr) -> &'static [u8] {
        match self.served_at(kind) {
            Some(_) if self.served.wants_proxy_protocol(source) => NOBODY_ELSE,
            _ => b"",
        }
    }

    fn served_at(&self, kind: ChallengeKind) -> Option<SocketAddr> {
        if kind == ChallengeKind::Http01 && self.webroot {
            return None;
        }
        self.served.address(kind)
    }
}

/// The PROXY protocol's word of who speaks for itself alone (version 1, §2.1).
const NOBODY_ELSE: &[u8] = b"PROXY UNKNOWN\r\n";

/// Whom to connect to when `bound` is listened on: every address is also loopback.
fn connectable(bound: SocketAddr) -> Vec<SocketAddr> {
    let at = |ip: IpAddr| SocketAddr::new(ip, bound.port());
    let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![at(v4)],
        // Loopback may well be without IPv6.
        IpAddr::V6(ip) if ip.is_unspecified() => vec![at(v6), at(v4)],
        _ => vec![bound],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challenge::StandaloneHttp01;

    #[test]
    fn what_listens_everywhere_is_reached_on_loopback() {
        for (bound, reached) in [
            ("0.0.0.0:80", &["127.0.0.1:80"][..]),
            ("[::]:443", &["[::1]:443", "127.0.0.1:443"]),
            ("192.0.2.7:1", &["192.0.2.7:1"]),
            ("[::1]:2", &["[::1]:2"]),
        ] {
            let reached: Vec<SocketAddr> = reached.iter().map(|a| a.parse().unwrap()).collect();
            assert_eq!(connectable(bound.parse().unwrap()), reached, "{bound}");
        }
    }

    #[tokio::test]
    async fn a_kind_is_looked_at_where_it_is_answered() {
        use ChallengeKind::{Dns01, Http01, TlsAlpn01};
        let nobody = OwnAnswers::default();
        for kind in [Http01, TlsAlpn01, Dns01] {
            assert_eq!(nobody.addresses(kind).await, [], "{kind}");
        }
        let [https, http] = ["127.0.0.1:8443", "127.0.0.1:8080"].map(|a| a.parse().unwrap());
        let server = OwnAnswers::default();
        server.served.tell(TlsAlpn01, https);
        server.served.tell(Http01, http);
        assert_eq!(server.addresses(TlsAlpn01).await, [https]);
        assert_eq!(server.addresses(Http01).await, [http]);

        let solver = Arc::new(StandaloneHttp01::on_any_port(Ipv4Addr::LOCALHOST.into()));
        let alone = OwnAnswers {
            solvers: vec![Arc::clone(&solver) as _],
            ..OwnAnswers::default()
        };
        assert_eq!(alone.addresses(Http01).await, [], "it is closed");
        let open = [crate::challenge::tests::challenge(
            Http01,
            "a.test",
            "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ",
        )];
        solver.present(&open).await.unwrap();
        let address = solver.listening().await.unwrap();
        assert_eq!(alone.addresses(Http01).await, [address]);
        assert_eq!(alone.addresses(TlsAlpn01).await, []);
        solver.clean_up(&open).await.unwrap();
    }
}
