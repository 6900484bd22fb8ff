//! What a connection has agreed on with its client, and what may be asked on it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::{HeaderName, HeaderValue};
use rustls::crypto::SupportedKxGroup;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::{Trust, Trusted};
use crate::certificates::Served;
use crate::clock::Clock;
use crate::identifier::{DnsName, Identifier};
use crate::server::client_auth::ClientIdentity;
use crate::settings::Hsts;

/// What was agreed on with the client.
#[derive(Debug)]
pub(in crate::server) struct TlsSession {
    pub(in crate::server) version: Option<ProtocolVersion>,
    pub(in crate::server) cipher_suite: Option<CipherSuite>,
    pub(in crate::server) group: Option<NamedGroup>,
    pub(in crate::server) alpn: Option<String>,
    pub(in crate::server) server_name: Option<String>,
    /// The certificate was sent in an earlier connection, not in this one.
    pub(in crate::server) resumed: bool,
    pub(in crate::server) served: Arc<Served>,
    /// The certificate stands in for one that is being made; there may be that one after
    /// this time.
    pub(in crate::server) stands_in: Option<Duration>,
    /// Who the client is; `None` for a stranger.
    client: Option<Box<Standing>>,
    transport: Option<Arc<StrictTransport>>,
    /// The certificate is good for the server name that the client sent.
    named: bool,
}

impl TlsSession {
    pub(super) fn new(
        stream: &TlsStream<TcpStream>,
        server_name: Option<String>,
        served: &Arc<Served>,
        client: Option<Standing>,
        transport: Option<&Arc<StrictTransport>>,
    ) -> Self {
        let (_, tls) = stream.get_ref();
        let named =
            transport.is_some() && server_name.as_deref().is_some_and(|n| covers(served, n));
        Self {
            version: tls.protocol_version(),
            cipher_suite: tls.negotiated_cipher_suite().map(|suite| suite.suite()),
            group: tls
                .negotiated_key_exchange_group()
                .map(SupportedKxGroup::name),
            alpn: tls
                .alpn_protocol()
                .map(|name| String::from_utf8_lossy(name).into_owned()),
            server_name,
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
            served: Arc::clone(served),
            stands_in: None,
            client: client.map(Box::new),
            transport: transport.cloned(),
            named,
        }
    }

    /// Whether a request for `host` may be answered on this connection, which came to
    /// `local`; otherwise it was meant for another one (RFC 9110 §15.5.20).
    ///
    /// The certificate must be good for the host. Where a default certificate stands
    /// in for what the client asked for, the client may go on asking for just that:
    /// the server name it sent, or, having sent none, an address. Which address, it
    /// knows better: NAT changes ours. A raw key has no names, and who trusts it
    /// knows whom it is talking to.
    pub(in crate::server) fn answers_for(&self, host: &str, local: IpAddr) -> bool {
        if self.is_server_name(host) || self.served.is_raw_key() || covers(&self.served, host) {
            return true;
        }
        let by_default = || !self.served.covers(&Identifier::Ip(local));
        self.server_name.is_none() && address(host).is_some_and(|ip| ip == local || by_default())
    }

    /// Whether the client would be let in by those who are trusted now, not only when
    /// it connected.
    pub(in crate::server) fn is_still_trusted(&self) -> bool {
        self.client.as_ref().is_none_or(|c| c.is_still_good())
    }

    /// Who the client is, for the upstream; empty for a stranger.
    pub(in crate::server) fn client_headers(&self) -> &[(HeaderName, HeaderValue)] {
        self.client.as_ref().map_or(&[], |c| c.identity.headers())
    }

    /// `Strict-Transport-Security` for an answer of `host`, when it is asked for and
    /// would be believed (RFC 6797 §8.1): the host is a name, and the certificate is
    /// good for it today.
    pub(in crate::server) fn strict_transport(&self, host: &str) -> Option<&HeaderValue> {
        let transport = self
            .transport
            .as_ref()
            .filter(|_| self.stands_in.is_none())?;
        let named = if self.is_server_name(host) {
            self.named
        } else {
            address(host).is_none() && covers(&self.served, host)
        };
        let valid = named && self.served.is_valid_at(transport.clock.now());
        valid.then_some(&transport.value)
    }

    fn is_server_name(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let name = self.server_name.as_deref();
        name.is_some_and(|name| name.eq_ignore_ascii_case(host))
    }
}

/// Whether the certificate is good for `host` as it stands in a request.
fn covers(served: &Served, host: &str) -> bool {
    let name = address(host).map(Identifier::Ip).or_else(|| {
        let host = host.strip_suffix('.').unwrap_or(host);
        DnsName::parse(host).ok().map(Identifier::Dns)
    });
    name.is_some_and(|name| served.covers(&name))
}

fn address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let address = bare.unwrap_or(host).parse::<IpAddr>().ok()?;
    Some(address.to_canonical())
}

/// A client that showed who it is.
#[derive(Debug)]
pub(super) struct Standing {
    identity: ClientIdentity,
    shown: Vec<CertificateDer<'static>>,
    raw: bool,
    /// Under whom it was found good last.
    verified: ArcSwap<Trust>,
    trusted: Arc<Trusted>,
    clock: Arc<dyn Clock>,
}

impl Standing {
    /// The client of a handshake that `trust` let through; `None` for a stranger.
    pub(super) fn new(
        stream: &TlsStream<TcpStream>,
        raw: bool,
        trust: Arc<Trust>,
        trusted: &Arc<Trusted>,
        clock: &Arc<dyn Clock>,
    ) -> Option<Self> {
        let (_, tls) = stream.get_ref();
        let shown = tls.peer_certificates()?.to_vec();
        Some(Self {
            identity: trust.clients.identify(shown.first()?, raw)?,
            shown,
            raw,
            verified: ArcSwap::new(trust),
            trusted: Arc::clone(trusted),
            clock: Arc::clone(clock),
        })
    }

    /// Verifies again, once, whenever others are trusted than before.
    fn is_still_good(&self) -> bool {
        let current = self.trusted.now.load();
        if Arc::ptr_eq(&current, &self.verified.load()) {
            return true;
        }
        let verifier = if self.raw {
            current.clients.raw_keys()
        } else {
            current.clients.certificates()
        };
        let (Some(verifier), Some((leaf, above))) = (verifier, self.shown.split_first()) else {
            return false;
        };
        let since = u64::try_from(self.clock.now().unix_timestamp()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(since));
        let good = verifier.verify_client_cert(leaf, above, now).is_ok();
        if good {
            self.verified.store(Arc::clone(&current));
        }
        good
    }
}

/// `Strict-Transport-Security` as it is sent.
#[derive(Debug)]
pub(super) struct StrictTransport {
    value: HeaderValue,
    clock: Arc<dyn Clock>,
}

impl StrictTransport {
    pub(super) fn new(hsts: Hsts, clock: &Arc<dyn Clock>) -> Self {
        let below = if hsts.include_subdomains {
            "; includeSubDomains"
        } else {
            ""
        };
        let value = format!("max-age={}{below}", hsts.max_age.as_secs());
        Self {
            value: HeaderValue::try_from(value).expect("a number and words are visible ASCII"),
            clock: Arc::clone(clock),
        }
    }
}
