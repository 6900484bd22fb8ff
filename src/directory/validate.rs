//! Looking whether an account controls a name: http-01 (RFC 8555 §8.3), dns-01 (§8.4)
//! and tls-alpn-01 (RFC 8737), over a network that tests and embedders can replace.
//!
//! A stranger tells us where to connect. Rules kept here: only to the configured
//! ports, and never to an address that the policy refuses, be it a redirect's or a name
//! server's; no proxy; at most [`MAX_REDIRECTS`] redirects and [`MAX_BODY`] bytes; one deadline over
//! each attempt; what was fetched is never repeated in an answer.

mod alpn;
mod http;
#[cfg(feature = "acme")]
mod system;

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

#[cfg(feature = "acme")]
pub use system::SystemNetwork;

use super::caa::CaaRecord;
use super::problem::{Problem, ProblemType};
use super::state::Validation;
use crate::challenge::ChallengeKind;
use crate::identifier::{DnsName, Identifier};
use crate::issuer::BoxFuture;

/// Redirects followed at most.
pub const MAX_REDIRECTS: usize = 10;
/// Longest http-01 answer read; a right one has about 90 bytes.
pub const MAX_BODY: usize = 512;
/// Addresses of one name tried at most, of both families when there are both.
pub const MAX_ADDRESSES: usize = 4;
/// How long an address is dialled at most while there are others to try: a lost packet is
/// sent again after a second.
const DIAL: Duration = Duration::from_secs(3);

/// The room that a validation takes up among all: it is free again when no copy is left.
pub type Turn = Arc<dyn Debug + Send + Sync>;

/// What lies outside: name servers and everybody's machines.
///
/// Calls may take as long as they like: whoever calls has a deadline.
pub trait Network: Send + Sync + Debug {
    /// The addresses of a host. What goes on when nobody waits for it any more keeps a
    /// copy of `turn` until it has ended.
    fn addresses<'a>(
        &'a self,
        name: &'a DnsName,
        turn: &'a Turn,
    ) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;

    /// The TXT records at `_acme-challenge.` and this name, CNAMEs followed; none when
    /// there are none.
    fn texts<'a>(&'a self, name: &'a DnsName) -> BoxFuture<'a, io::Result<Vec<String>>>;

    /// The CAA records at this name itself, CNAMEs followed; none when there are none. An
    /// error forbids to issue, which is what a network answers that knows of none.
    fn caa<'a>(&'a self, name: &'a DnsName) -> BoxFuture<'a, io::Result<Vec<CaaRecord>>> {
        let _ = name;
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    /// Connects to an address that the policy allows. Another machine, or port, may
    /// answer for it: an embedded directory dials this process's own sockets.
    fn dial(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>>;
}

/// How and where the directory looks.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Where http-01 is asked; 80.
    pub http_port: u16,
    /// Where tls-alpn-01 is asked, and https after a redirect; 443.
    pub tls_port: u16,
    /// Whether loopback and link-local addresses may be asked; never otherwise.
    pub allow_local: bool,
    /// How long one attempt may take.
    pub deadline: Duration,
    /// The pauses between attempts: one more attempt than pauses.
    pub pauses: Vec<Duration>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            http_port: 80,
            tls_port: 443,
            allow_local: false,
            deadline: Duration::from_secs(10),
            pauses: vec![Duration::from_secs(1), Duration::from_secs(4)],
        }
    }
}

impl Policy {
    /// Whether a challenge may make us connect to this address.
    ///
    /// An IPv4 address inside an IPv6 one (mapped, or of a NAT64) counts as itself.
    pub fn allows(&self, ip: IpAddr) -> bool {
        allows(ip, self.allow_local)
    }
}

/// See [`Policy::allows`].
fn allows(ip: IpAddr, allow_local: bool) -> bool {
    match ip {
        IpAddr::V4(v4) => allows_v4(v4, allow_local),
        IpAddr::V6(v6) => match inner_v4(v6) {
            Some(v4) => allows_v4(v4, allow_local),
            None => {
                let local = v6.is_loopback() || v6.is_unicast_link_local();
                !v6.is_unspecified() && !v6.is_multicast() && (!local || allow_local)
            }
        },
    }
}

fn allows_v4(v4: Ipv4Addr, allow_local: bool) -> bool {
    let this_network = v4.octets()[0] == 0;
    let local = v4.is_loopback() || v4.is_link_local();
    !this_network && !v4.is_multicast() && !v4.is_broadcast() && (!local || allow_local)
}

/// IPv4 in IPv6: mapped (RFC 4291 §2.5.5.2) or behind the well-known prefix (RFC 6052).
fn inner_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    const NAT64: [u8; 12] = [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0];
    let [head @ .., a, b, c, d] = v6.octets();
    v6.to_ipv4_mapped()
        .or_else(|| (head == NAT64).then(|| Ipv4Addr::new(a, b, c, d)))
}

/// Looks for the right answer, several times with pauses; the last attempt's problem
/// when none was right.
///
/// Takes at most the sum of all deadlines and pauses. Whoever wants an answer sooner
/// runs it as a task of its own: dropping it is safe, and leaves the challenge in
/// `processing`. `turn` is whose turn it is: what an attempt leaves behind keeps it.
pub async fn validate(
    network: &dyn Network,
    policy: &Policy,
    wanted: &Validation,
    turn: &Turn,
) -> Result<(), Problem> {
    let mut pauses = policy.pauses.iter();
    loop {
        let outside = Outside {
            network,
            policy,
            turn,
            until: Instant::now() + policy.deadline,
        };
        let attempt = tokio::time::timeout_at(outside.until, attempt(&outside, wanted));
        let problem = match attempt.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(problem)) => problem,
            Err(_) => Problem::new(
                ProblemType::Connection,
                format!(
                    "{} for {} was not done within {} s",
                    wanted.kind,
                    wanted.identifier,
                    policy.deadline.as_secs()
                ),
            ),
        };
        match pauses.next() {
            Some(pause) => tokio::time::sleep(*pause).await,
            None => return Err(problem),
        }
    }
}

async fn attempt(outside: &Outside<'_>, wanted: &Validation) -> Result<(), Problem> {
    match (wanted.kind, &wanted.identifier) {
        (ChallengeKind::Http01, Identifier::Dns(_) | Identifier::Ip(_)) => {
            http::validate(outside, &wanted.identifier, &wanted.key_authorization).await
        }
        (ChallengeKind::TlsAlpn01, Identifier::Dns(_) | Identifier::Ip(_)) => {
            alpn::validate(outside, &wanted.identifier, &wanted.key_authorization).await
        }
        (ChallengeKind::Dns01, Identifier::Dns(name) | Identifier::Wildcard(name)) => {
            let texts = outside.network.texts(name).await.map_err(|error| {
                Problem::new(
                    ProblemType::Dns,
                    format!("the TXT records of _acme-challenge.{name} cannot be had: {error}"),
                )
            })?;
            let right = wanted.key_authorization.dns_value();
            if texts.contains(&right) {
                return Ok(());
            }
            let detail = match texts.len() {
                0 => format!("_acme-challenge.{name} has no TXT record"),
                some => format!(
                    "none of the {some} TXT records of _acme-challenge.{name} is the right one"
                ),
            };
            Err(Problem::new(ProblemType::IncorrectResponse, detail))
        }
        (kind, identifier) => Err(Problem::malformed(format!(
            "control over {identifier} cannot be shown by {kind}"
        ))),
    }
}

/// The network behind the policy: the one way out.
struct Outside<'a> {
    network: &'a dyn Network,
    policy: &'a Policy,
    turn: &'a Turn,
    /// When the attempt ends.
    until: Instant,
}

impl Outside<'_> {
    /// A connection to the first address of a host that takes one.
    async fn connect(&self, host: &Identifier, port: u16) -> Result<TcpStream, Problem> {
        let found = match host {
            Identifier::Ip(address) => vec![*address],
            Identifier::Dns(name) => {
                self.network
                    .addresses(name, self.turn)
                    .await
                    .map_err(|error| {
                        Problem::new(
                            ProblemType::Dns,
                            format!("the addresses of {name} cannot be had: {error}"),
                        )
                    })?
            }
            other => {
                return Err(Problem::malformed(format!("{other} is no host")));
            }
        };
        let (allowed, refused): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|ip| self.policy.allows(*ip));
        let mut last = match refused.first() {
            Some(ip) => Problem::new(
                ProblemType::Connection,
                format!("the address {ip} of {host} is not one that this CA connects to"),
            ),
            None => Problem::new(ProblemType::Dns, format!("{host} has no address")),
        };
        let tried = to_try(&allowed);
        for (left, ip) in (1..=tried.len()).rev().zip(&tried) {
            let to = SocketAddr::new(*ip, port);
            let dialled = tokio::time::timeout(self.share(left), self.network.dial(to));
            let reason = match dialled.await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => error.kind(),
                Err(_) => io::ErrorKind::TimedOut,
            };
            last = Problem::new(
                ProblemType::Connection,
                format!("could not connect to {to} for {host}: {reason}"),
            );
        }
        Err(last)
    }

    /// How long the first of so many addresses may be dialled, so that one that swallows
    /// packets leaves time for the others.
    fn share(&self, addresses: usize) -> Duration {
        let rest = self.until.saturating_duration_since(Instant::now());
        match u32::try_from(addresses) {
            Ok(several @ 2..) => (rest / several).min(DIAL),
            _ => rest,
        }
    }
}

/// Whom we are connected to, in words: with split DNS the address is what one needs.
fn at(name: &str, stream: &TcpStream) -> String {
    match stream.peer_addr() {
        Ok(peer) => format!("{name} at {}", peer.ip()),
        Err(_) => name.to_owned(),
    }
}

/// What is tried of these, and in which order: theirs, but the families in turn, since
/// a whole family may lead nowhere (RFC 8305 §4).
fn to_try(found: &[IpAddr]) -> Vec<IpAddr> {
    let of_first = |ip: &IpAddr| found.first().map(IpAddr::is_ipv6) == Some(ip.is_ipv6());
    let (one, other): (Vec<IpAddr>, Vec<IpAddr>) = found.iter().partition(|ip| of_first(ip));
    let in_turn = (0..found.len()).flat_map(|n| [one.get(n), other.get(n)]);
    in_turn.flatten().copied().take(MAX_ADDRESSES).collect()
}

#[cfg(test)]
mod tests;
