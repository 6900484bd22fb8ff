//! Resolved settings as types: what a command was told, once flags, environment,
//! file and defaults are combined. A value that exists can be acted on.

mod parse;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use http::uri::Authority;
use ipnet::IpNet;
use url::Url;

use crate::identifier::quoted;

pub use parse::{ByteSize, Limit};

/// An address to listen on: an IP address and a port, where port 0 lets the
/// system choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddr(pub SocketAddr);

impl ListenAddr {
    /// Whether two sockets cannot both listen on their address.
    pub fn collides(self, other: Self) -> bool {
        let (one, other) = (self.0, other.0);
        let everywhere = |a: SocketAddr, b: SocketAddr| {
            // `[::]` takes IPv4 as well.
            a.ip().is_unspecified() && (a.is_ipv6() || b.is_ipv4())
        };
        one.port() != 0
            && one.port() == other.port()
            && (one.ip().to_canonical() == other.ip().to_canonical()
                || everywhere(one, other)
                || everywhere(other, one))
    }
}

impl FromStr for ListenAddr {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        if let Ok(address) = text.parse() {
            return Ok(Self(address));
        }
        let refuse = |hint: String| InvalidSetting {
            text: text.to_owned(),
            reason: "not an address and port".to_owned(),
            hint: Some(hint),
        };
        let port = text.rsplit_once(':').map_or(text, |(_, port)| port);
        let port = port.parse::<u16>().unwrap_or(8443);
        Err(refuse(format!(
            "write `127.0.0.1:{port}` for this machine alone, `[::]:{port}` for every address"
        )))
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One listening socket and what stands behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Where to listen.
    pub address: ListenAddr,
    /// What to answer with.
    pub content: Content,
    /// How much of what.
    pub limits: Limits,
    /// What TLS asks of clients and tells them; nothing without TLS.
    pub tls: TlsPolicy,
    /// Load balancers in these networks begin each connection with a PROXY protocol
    /// header (version 1 or 2) that says who the client is. It is required of them,
    /// and nobody else is believed. None by default.
    pub proxy_protocol: Vec<IpNet>,
}

impl ListenerSettings {
    /// Answers with `content` on `address`, everything else as it is by default.
    pub fn new(address: ListenAddr, content: Content) -> Self {
        Self {
            address,
            content,
            limits: Limits::default(),
            tls: TlsPolicy::default(),
            proxy_protocol: Vec::new(),
        }
    }
}

/// What TLS asks of clients and tells them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsPolicy {
    /// Who may connect.
    pub clients: ClientAuth,
    /// Clients are told to use https alone for this site (RFC 6797).
    pub hsts: Option<Hsts>,
}

/// How clients show who they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Anybody may connect.
    #[default]
    Anybody,
    /// By a certificate that one of these authorities issued.
    Authorities {
        /// PEM file of the authorities.
        roots: PathBuf,
        /// PEM or DER files of their revocation lists; empty when none is looked at.
        crls: Vec<PathBuf>,
        /// What becomes of clients without one.
        demand: Demand,
    },
    /// By a certificate or a raw public key (RFC 7250) with one of these
    /// fingerprints, whoever issued it; it is always shown to hold the key.
    Fingerprints(Vec<ClientFingerprint>),
}

/// What becomes of a client that shows no certificate. One that shows a wrong one is
/// refused in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Demand {
    /// It is refused.
    #[default]
    Require,
    /// It is served as a stranger.
    Request,
}

/// Who a client is, without an authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientFingerprint {
    /// `SHA256:` and the SHA-256 of its certificate's DER form, in hex.
    Certificate([u8; 32]),
    /// `ed25519:` and its Ed25519 public key (RFC 8032), in base64.
    Ed25519([u8; 32]),
}

/// `Strict-Transport-Security` (RFC 6797).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hsts {
    /// How long clients remember it.
    pub max_age: Duration,
    /// For the names below as well.
    pub include_subdomains: bool,
}

/// What a listener answers requests with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Content {
    /// A page that shows the connection's own certificate.
    #[default]
    Page,
    /// The files below a directory.
    Root(PathBuf),
    /// Another HTTP server's answers.
    Upstream(Upstream),
}

/// HTTP servers behind this one, each of which may answer any request. Parsed from
/// the URL of one; [`Self::and`] adds others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    servers: Vec<UpstreamServer>,
    roots: Option<PathBuf>,
    trusted: Vec<IpNet>,
}

impl Upstream {
    /// The servers; at least one.
    pub fn servers(&self) -> &[UpstreamServer] {
        &self.servers
    }

    /// The PEM file of the roots that vouch for https upstreams; `None` for the
    /// system's.
    pub fn roots(&self) -> Option<&Path> {
        self.roots.as_deref()
    }

    /// Whether what this client says about whom it asks for is believed. Nobody by
    /// default.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&peer))
    }

    /// These servers and those of `other`, with the roots and the trust of both;
    /// where both name roots, those of `other` count.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.servers.extend(other.servers);
        self.trusted.extend(other.trusted);
        self.roots = other.roots.or(self.roots);
        self
    }

    /// Trusts the roots in this PEM file instead of the system's.
    #[must_use]
    pub fn with_roots(self, path: PathBuf) -> Self {
        Self {
            roots: Some(path),
            ..self
        }
    }

    /// Believes proxies in these networks: what they say of a client in
    /// `X-Forwarded-*` and `Forwarded` is passed on, and they are added to it.
    #[must_use]
    pub fn trusting(mut self, proxies: impl IntoIterator<Item = IpNet>) -> Self {
        self.trusted.extend(proxies);
        self
    }
}

impl FromStr for Upstream {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        Ok(Self {
            servers: vec![text.parse()?],
            roots: None,
            trusted: Vec::new(),
        })
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, server) in self.servers.iter().enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            server.fmt(f)?;
        }
        Ok(())
    }
}

/// How an upstream is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// `http://`: HTTP/1.1.
    Http,
    /// `h2c://`: HTTP/2 without TLS, from the first byte.
    H2c,
    /// `https://`: HTTP/2 or HTTP/1.1 on TLS, as the upstream chooses.
    Https,
}

impl UpstreamProtocol {
    const ALL: [Self; 3] = [Self::Http, Self::H2c, Self::Https];

    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::H2c => "h2c",
            Self::Https => "https",
        }
    }
}

/// One HTTP server behind this one: `http://host:port[/prefix]`, or with `h2c` or
/// `https` in place of `http`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamServer {
    protocol: UpstreamProtocol,
    authority: Authority,
    prefix: String,
}

impl UpstreamServer {
    /// How it is spoken to.
    pub fn protocol(&self) -> UpstreamProtocol {
        self.protocol
    }

    /// Its host and, unless it is the usual one, its port.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(match self.protocol {
            UpstreamProtocol::Http | UpstreamProtocol::H2c => 80,
            UpstreamProtocol::Https => 443,
        })
    }

    /// What is put before every path; empty, or starting with `/` and not ending
    /// with one.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl FromStr for UpstreamServer {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        let refuse = |reason: &str| InvalidSetting {
            text: text.to_owned(),
            reason: reason.to_owned(),
            hint: Some(
                "write `http://host:port`, `https://host:port` or `h2c://host:port`, with a \
                 `/prefix` where one is wanted"
                    .to_owned(),
            ),
        };
        let url = Url::parse(text).map_err(|e| refuse(&format!("not a URL: {e}")))?;
        let protocol = UpstreamProtocol::ALL
            .into_iter()
            .find(|protocol| protocol.as_str() == url.scheme())
            .ok_or_else(|| refuse("an upstream is http, https or h2c"))?;
        let url = match (protocol, text.split_once("://")) {
            // The rules for a host are those of a scheme that everybody knows.
            (UpstreamProtocol::H2c, rest) => rest
                .ok_or_else(|| refuse("it has no usable host"))
                .map(|(_, rest)| Url::parse(&format!("http://{rest}")))?
                .map_err(|e| refuse(&format!("not a URL: {e}")))?,
            _ => url,
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("an upstream has no user and password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("an upstream has no query and no fragment"));
        }
        let authority = url[url::Position::BeforeHost..url::Position::AfterPort]
            .parse()
            .map_err(|_| refuse("it has no usable host"))?;
        Ok(Self {
            protocol,
            authority,
            prefix: url.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for UpstreamServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, authority) = (self.protocol.as_str(), &self.authority);
        write!(f, "{scheme}://{authority}{}", self.prefix)
    }
}

/// How long a client may take and how many there may be, for one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From accepting a connection to the end of its TLS handshake. 10 seconds.
    pub handshake: Duration,
    /// From the first byte of a request to the end of its header; also from the
    /// start of a connection to the end of its first header. 10 seconds.
    pub header: Duration,
    /// How long a connection without a request is kept. An HTTP/2 PING is not a
    /// request. 60 seconds.
    pub idle: Duration,
    /// How long a transfer may stand still: the client neither sends the next part
    /// of a body nor takes the next part of an answer. 60 seconds.
    pub stall: Duration,
    /// Connections at the same time; more wait in the listen backlog. 16,384.
    pub connections: usize,
    /// How long requests in flight may take to end after a stop was asked for.
    /// 30 seconds.
    pub drain: Duration,
    /// To connect to the upstream. 5 seconds.
    pub upstream_connect: Duration,
    /// From the end of a request to the header of the upstream's answer. 60 seconds.
    pub upstream_answer: Duration,
    /// Connections at the same time from one IPv4 address or IPv6 /64; more are
    /// closed as they come. 4,096.
    pub connections_per_client: usize,
    /// Longest body of a request, in bytes; a longer one is answered with 413.
    /// 100 MiB.
    pub body: u64,
    /// Requests of one IPv4 address or IPv6 /64; more are answered with 429. No
    /// limit by default.
    pub rate: Option<Rate>,
}

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: NonZeroU32,
    /// At once, after a quiet time.
    pub burst: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            stall: Duration::from_secs(60),
            connections: 16_384,
            drain: Duration::from_secs(30),
            upstream_connect: Duration::from_secs(5),
            upstream_answer: Duration::from_secs(60),
            connections_per_client: 4096,
            body: 100 * 1024 * 1024,
            rate: None,
        }
    }
}

/// Where lines for programs go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The end of a file.
    File(PathBuf),
}

/// Why a text is not the setting it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}`: {reason}", quoted(text))]
pub struct InvalidSetting {
    text: String,
    reason: String,
    hint: Option<String>,
}

impl InvalidSetting {
    /// What to write instead.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_collide_when_the_kernel_would_say_so() {
        for (one, other, collides) in [
            ("127.0.0.1:443", "127.0.0.1:443", true),
            ("127.0.0.1:443", "127.0.0.1:444", false),
            ("127.0.0.1:443", "127.0.0.2:443", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:443", "127.0.0.1:443", true),
            ("[::]:443", "127.0.0.1:443", true),
            ("[::]:443", "[::1]:443", true),
            ("0.0.0.0:443", "[::1]:443", false),
            ("[::ffff:127.0.0.1]:443", "127.0.0.1:443", true),
        ] {
            let (one, other): (ListenAddr, ListenAddr) =
                (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(one.collides(other), collides, "{one} {other}");
            assert_eq!(other.collides(one), collides, "{other} {one}");
        }
    }

    #[test]
    fn a_listen_address_is_an_ip_address_and_a_port() {
        for (text, expected) in [
            ("127.0.0.1:8443", Some("127.0.0.1:8443")),
            ("[::]:443", Some("[::]:443")),
            ("127.0.0.1:0", Some("127.0.0.1:0")),
            // bad values
            ("", None),
            ("8443", None),
            (":8443", None),
            ("localhost:8443", None),
            ("127.0.0.1", None),
            ("::1:443", None),
            ("127.0.0.1:70000", None),
        ] {
            let parsed = text.parse::<ListenAddr>().ok().map(|a| a.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text:?}");
        }
        let error = ":9000".parse::<ListenAddr>().unwrap_err();
        assert!(error.hint().unwrap().contains("127.0.0.1:9000"));
    }

    #[test]
    fn an_upstream_is_a_url_without_secrets() {
        for (text, expected) in [
            (
                "http://localhost:3000",
                Some(("http", "localhost:3000", 3000, "")),
            ),
            (
                "http://localhost:3000/",
                Some(("http", "localhost:3000", 3000, "")),
            ),
            (
                "http://[::1]:3000/api/v1/",
                Some(("http", "[::1]:3000", 3000, "/api/v1")),
            ),
            ("http://BACKEND/", Some(("http", "backend", 80, ""))),
            ("https://backend/x", Some(("https", "backend", 443, "/x"))),
            (
                "https://backend:8443",
                Some(("https", "backend:8443", 8443, "")),
            ),
            ("h2c://BACKEND", Some(("h2c", "backend", 80, ""))),
            (
                "H2C://[::1]:3000/api/",
                Some(("h2c", "[::1]:3000", 3000, "/api")),
            ),
            // bad values
            ("", None),
            ("localhost:3000", None),
            ("ftp://localhost", None),
            ("http://", None),
            ("h2c://", None),
            ("h2c:localhost", None),
            ("http://u:p@localhost", None),
            ("h2c://u@localhost", None),
            ("http://localhost/?q", None),
            ("http://localhost/#f", None),
            ("http://local host/", None),
            ("h2c://local host/", None),
            ("https://localhost:70000", None),
        ] {
            let parsed = text.parse::<UpstreamServer>().ok();
            let parts = parsed.as_ref().map(|u| {
                let authority = u.authority().as_str();
                (u.protocol().as_str(), authority, u.port(), u.prefix())
            });
            assert_eq!(parts, expected, "{text:?}");
        }
        let error = "localhost:3000".parse::<Upstream>().unwrap_err();
        assert!(error.hint().unwrap().contains("h2c://host:port"));
    }

    #[test]
    fn several_upstreams_are_one_and_trust_nobody_unasked() {
        let one: Upstream = "http://a:1".parse().unwrap();
        let two: Upstream = "h2c://b:2/x".parse().unwrap();
        let stranger = "10.0.0.1".parse().unwrap();
        assert!(!one.trusts(stranger));
        let both = one
            .with_roots("/roots.pem".into())
            .and(two)
            .trusting(["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(both.to_string(), "http://a:1, h2c://b:2/x");
        assert_eq!(both.roots(), Some(Path::new("/roots.pem")));
        assert!(both.trusts(stranger) && !both.trusts("::1".parse().unwrap()));
    }
}
