//! Questions to DNS servers, to the very ones that are in charge of a name.
//!
//! Whether a record is public is not for a cache to say: the delegation of a name is
//! walked to its zone, and every authoritative server of that zone is asked by itself,
//! without recursion. Rules kept here: every question and every walk has a deadline;
//! what a server says is bounded (servers, hops, bytes); an answer counts only when it
//! is one to our question; a name from outside is never printed unescaped.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::CAA;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::task::JoinSet;

pub use query::{NoAnswer, exchange_tcp};

use crate::identifier::{DnsName, quoted};

mod query;

/// Asks DNS servers.
///
/// An authoritative server on loopback is asked at the starting resolver's port when
/// that resolver is on loopback as well: private set-ups and tests have both in one
/// program, and no delegation can name a port.
#[derive(Debug, Clone, Default)]
pub struct Dns {
    start: Option<SocketAddr>,
    allowed: Option<fn(IpAddr) -> bool>,
}

/// A name as DNS has it: of any labels, unlike a host name (`_acme-challenge.…`).
/// Compared without regard to case; shown without the last dot.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(Arc<Name>);

/// A zone and who answers for it.
#[derive(Debug, Clone)]
pub struct Zone {
    /// The name at its top.
    pub apex: DomainName,
    /// Every address of every server, at least one, at most [`MAX_SERVERS`].
    pub servers: Vec<Authority>,
}

/// One address of an authoritative server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Authority {
    /// What the delegation calls it.
    pub name: DomainName,
    /// Where it is asked.
    pub address: SocketAddr,
}

/// Where a record for a name has to be written.
#[derive(Debug, Clone)]
pub struct Target {
    /// The name asked for, then one name for each CNAME followed.
    pub path: Vec<DomainName>,
    /// The zone of the last name.
    pub zone: Zone,
}

/// Authoritative addresses asked at most, per zone.
pub const MAX_SERVERS: usize = 16;

/// CNAMEs followed at most.
pub const MAX_HOPS: usize = 8;

/// How long finding a zone, or following CNAMEs, may take in all.
const WALK_DEADLINE: Duration = Duration::from_secs(30);

impl Dns {
    /// Asks `start` for the way to a zone, or the system's resolvers.
    pub fn new(start: Option<SocketAddr>) -> Self {
        Self {
            start,
            allowed: None,
        }
    }

    /// Asks authoritative servers at these addresses only: for names whose zones belong
    /// to strangers, who may write any address there. Resolvers are not concerned.
    #[must_use]
    pub fn asking_only(mut self, allowed: fn(IpAddr) -> bool) -> Self {
        self.allowed = Some(allowed);
        self
    }

    /// The zone that holds `name`, and all its servers.
    pub async fn authority_of(&self, name: &DomainName) -> Result<Zone, DnsError> {
        within_deadline(name, self.find_zone(name)).await
    }

    /// Where a record for `name` has to be written: CNAMEs are followed, each asked of
    /// the servers of its own zone, so that no stale cache leads to an old target.
    pub async fn target_of(&self, name: &DomainName) -> Result<Target, DnsError> {
        within_deadline(name, self.follow(name)).await
    }

    /// The texts at `name`, as this one server has them; none when it has no such
    /// record.
    pub async fn txt_at(
        &self,
        server: SocketAddr,
        name: &DomainName,
    ) -> Result<Vec<String>, NoAnswer> {
        let message = query::ask(server, name, RecordType::TXT, false).await?;
        check_code(&message)?;
        let texts = data_of(&message.answers, &name.0).filter_map(|data| match data {
            RData::TXT(txt) => Some(txt.txt_data.concat()),
            _ => None,
        });
        Ok(texts
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect())
    }

    /// The addresses of a host, as the starting resolver has them. An error when both
    /// questions, for A and for AAAA, come to nothing; an empty list when it has none.
    pub async fn addresses(&self, name: &DomainName) -> Result<Vec<IpAddr>, DnsError> {
        let (v4, v6) = tokio::join!(
            self.ask_start(name, RecordType::A),
            self.ask_start(name, RecordType::AAAA)
        );
        let answers = match (v4, v6) {
            (Ok(v4), Ok(v6)) => [v6.answers, v4.answers].concat(),
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => one.answers,
            (Err(error), Err(_)) => return Err(error),
        };
        let found = answers.iter().filter_map(|record| match &record.data {
            RData::A(a) => Some(a.0.into()),
            RData::AAAA(aaaa) => Some(aaaa.0.into()),
            _ => None,
        });
        Ok(found.collect())
    }

    /// The texts at `name`, or where its CNAMEs lead, as the starting resolver has them.
    pub async fn texts(&self, name: &DomainName) -> Result<Vec<String>, DnsError> {
        let message = self.ask_start(name, RecordType::TXT).await?;
        let texts = message
            .answers
            .iter()
            .filter_map(|record| match &record.data {
                RData::TXT(txt) => Some(txt.txt_data.concat()),
                _ => None,
            });
        Ok(texts
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect())
    }

    /// The CAA records at `name`, or where its CNAMEs lead, as the starting resolver has
    /// them; not those of the names above it.
    pub async fn caa(&self, name: &DomainName) -> Result<Vec<CAA>, DnsError> {
        let message = self.ask_start(name, RecordType::CAA).await?;
        let found = message
            .answers
            .into_iter()
            .filter_map(|record| match record.data {
                RData::CAA(caa) => Some(caa),
                _ => None,
            });
        Ok(found.collect())
    }

    async fn follow(&self, name: &DomainName) -> Result<Target, DnsError> {
        let mut path = vec![name.clone()];
        let mut here = name.clone();
        loop {
            let zone = self.find_zone(&here).await?;
            let message = self.ask_zone(&zone, &here, RecordType::CNAME).await?;
            let next = data_of(&message.answers, &here.0).find_map(|data| match data {
                RData::CNAME(target) => Some(DomainName::of(&target.0)),
                _ => None,
            });
            let Some(next) = next else {
                return Ok(Target { path, zone });
            };
            let loops = path.contains(&next);
            path.push(next.clone());
            if loops {
                return Err(DnsError::Loop { path });
            }
            if path.len() > MAX_HOPS + 1 {
                return Err(DnsError::TooManyHops { path });
            }
            here = next;
        }
    }

    async fn find_zone(&self, name: &DomainName) -> Result<Zone, DnsError> {
        let apex = self.find_apex(name).await?;
        let answer = self.ask_start(&apex, RecordType::NS).await?;
        let names: BTreeSet<DomainName> = data_of(&answer.answers, &apex.0)
            .filter_map(|data| match data {
                RData::NS(ns) => Some(DomainName::of(&ns.0)),
                _ => None,
            })
            .take(MAX_SERVERS)
            .collect();
        let servers = self.addresses_of(names).await;
        if servers.is_empty() {
            return Err(DnsError::NoServers { zone: apex });
        }
        Ok(Zone { apex, servers })
    }

    /// The nearest name at or above `name` that has a SOA record.
    async fn find_apex(&self, name: &DomainName) -> Result<DomainName, DnsError> {
        let mut failed = None;
        let mut candidate = name.clone();
        while !candidate.0.is_root() {
            match self.ask_start(&candidate, RecordType::SOA).await {
                Ok(message) => match apex_in(&message, &candidate.0) {
                    Some(apex) if apex.is_root() => break,
                    Some(apex) => return Ok(DomainName::of(apex)),
                    None => {}
                },
                // A resolver may choke on a name (a CNAME into nowhere) and still know
                // the one above it; but who does not answer at all will not later.
                Err(error @ DnsError::Resolver { refused: false, .. }) => return Err(error),
                Err(error) => failed = failed.or(Some(error)),
            }
            candidate = DomainName::of(&candidate.0.base_name());
        }
        Err(failed.unwrap_or_else(|| DnsError::NoZone { name: name.clone() }))
    }

    /// The addresses of these servers, each name asked at the same time.
    async fn addresses_of(&self, names: BTreeSet<DomainName>) -> Vec<Authority> {
        let mut tasks = JoinSet::new();
        for name in names {
            for kind in [RecordType::A, RecordType::AAAA] {
                let (dns, name) = (self.clone(), name.clone());
                tasks.spawn(async move {
                    // A server without an address cannot be asked by anybody.
                    let answer = dns.ask_start(&name, kind).await.ok()?;
                    Some((name, answer.answers))
                });
            }
        }
        let mut found = BTreeSet::new();
        while let Some(done) = tasks.join_next().await {
            let Ok(Some((name, records))) = done else {
                continue;
            };
            for record in &records {
                let ip: IpAddr = match &record.data {
                    RData::A(a) => a.0.into(),
                    RData::AAAA(aaaa) => aaaa.0.into(),
                    _ => continue,
                };
                if self.allowed.is_some_and(|allowed| !allowed(ip)) {
                    continue;
                }
                found.insert(Authority {
                    name: name.clone(),
                    address: SocketAddr::new(ip, self.port_of(ip)),
                });
            }
        }
        let mut seen = BTreeSet::new();
        found.retain(|server| seen.insert(server.address));
        found.into_iter().take(MAX_SERVERS).collect()
    }

    /// See [`Dns`]: where an authoritative server at `ip` listens.
    fn port_of(&self, ip: IpAddr) -> u16 {
        match self.start {
            Some(start) if start.ip().is_loopback() && ip.is_loopback() => start.port(),
            _ => DNS_PORT,
        }
    }

    /// Asks all servers of a zone and takes the first that answers; the starting
    /// resolver when none can be reached from here.
    async fn ask_zone(
        &self,
        zone: &Zone,
        name: &DomainName,
        kind: RecordType,
    ) -> Result<Message, DnsError> {
        let mut tasks = JoinSet::new();
        for address in zone.servers.iter().map(|server| server.address) {
            let name = name.clone();
            tasks.spawn(async move { query::ask(address, &name, kind, false).await });
        }
        while let Some(done) = tasks.join_next().await {
            if let Ok(Ok(message)) = done
                && message.metadata.authoritative
                && check_code(&message).is_ok()
            {
                return Ok(message);
            }
        }
        self.ask_start(name, kind).await
    }

    /// Asks the starting resolver, or the system's resolvers one after the other.
    async fn ask_start(&self, name: &DomainName, kind: RecordType) -> Result<Message, DnsError> {
        let mut failed = Vec::new();
        let mut refused = false;
        for server in self.start_servers()? {
            let answer = query::ask(server, name, kind, true).await;
            match answer.and_then(|message| check_code(&message).map(|()| message)) {
                Ok(message) => return Ok(message),
                Err(error) => {
                    refused |= matches!(error, NoAnswer::Code(_));
                    failed.push((server, error));
                }
            }
        }
        Err(DnsError::Resolver {
            name: name.clone(),
            kind: kind.to_string(),
            refused,
            answers: Answers(failed),
        })
    }

    fn start_servers(&self) -> Result<Vec<SocketAddr>, DnsError> {
        if let Some(start) = self.start {
            return Ok(vec![start]);
        }
        let (config, _) = hickory_resolver::system_conf::read_system_conf()
            .map_err(|error| DnsError::NoResolver(Some(Box::new(error))))?;
        let servers: Vec<SocketAddr> = config
            .name_servers()
            .iter()
            .map(|server| {
                let port = server.connections.first().map_or(DNS_PORT, |c| c.port);
                SocketAddr::new(server.ip, port)
            })
            .take(MAX_RESOLVERS)
            .collect();
        if servers.is_empty() {
            return Err(DnsError::NoResolver(None));
        }
        Ok(servers)
    }
}

/// The SOA record's owner that this answer gives for `name`.
fn apex_in<'a>(message: &'a Message, name: &Name) -> Option<&'a Name> {
    let is_soa = |record: &&Record| record.record_type() == RecordType::SOA;
    if let Some(own) = message
        .answers
        .iter()
        .find(|r| is_soa(r) && r.name == *name)
    {
        return Some(&own.name);
    }
    // Behind a CNAME, what follows speaks of the target's zone.
    if message
        .answers
        .iter()
        .any(|r| r.record_type() == RecordType::CNAME)
    {
        return None;
    }
    let above = message.authorities.iter().filter(is_soa);
    above
        .map(|record| &record.name)
        .find(|owner| owner.zone_of(name))
}

fn data_of<'a>(records: &'a [Record], name: &'a Name) -> impl Iterator<Item = &'a RData> {
    records
        .iter()
        .filter(move |record| record.name == *name)
        .map(|record| &record.data)
}

fn check_code(message: &Message) -> Result<(), NoAnswer> {
    match message.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(()),
        code => Err(NoAnswer::Code(code)),
    }
}

async fn within_deadline<T>(
    name: &DomainName,
    walk: impl Future<Output = Result<T, DnsError>>,
) -> Result<T, DnsError> {
    tokio::time::timeout(WALK_DEADLINE, walk)
        .await
        .unwrap_or_else(|_| Err(DnsError::Deadline { name: name.clone() }))
}

impl DomainName {
    /// Reads a name of any labels; a last dot is allowed.
    pub fn parse(text: &str) -> Result<Self, DnsError> {
        let printable = text.bytes().all(|b| b.is_ascii_graphic());
        match Name::from_ascii(text) {
            Ok(name) if printable && name.num_labels() > 0 => Ok(Self::of(&name)),
            _ => Err(DnsError::BadName(quoted(text))),
        }
    }

    /// `label` before a host name.
    pub fn below(label: &str, host: &DnsName) -> Result<Self, DnsError> {
        Self::parse(&format!("{label}.{host}"))
    }

    /// Whether `self` is `zone` or below it.
    pub fn is_within(&self, zone: &Self) -> bool {
        zone.0.zone_of(&self.0)
    }

    /// The name with its last dot.
    pub fn absolute(&self) -> String {
        self.0.to_ascii()
    }

    /// The name as hickory has it.
    pub fn as_name(&self) -> &Name {
        &self.0
    }

    fn of(name: &Name) -> Self {
        let mut name = name.to_lowercase();
        name.set_fqdn(true);
        Self(Arc::new(name))
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_ascii();
        f.write_str(text.strip_suffix('.').unwrap_or(&text))
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.address)
    }
}

impl Target {
    /// The name to write at.
    pub fn name(&self) -> &DomainName {
        self.path.last().expect("a path starts at the name asked")
    }
}

/// What each of several servers said instead of an answer.
#[derive(Debug)]
pub struct Answers(Vec<(SocketAddr, NoAnswer)>);

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (server, answer)) in self.0.iter().enumerate() {
            let comma = if nth == 0 { "" } else { ", " };
            write!(f, "{comma}{server} {answer}")?;
        }
        Ok(())
    }
}

/// Why a name's servers could not be found.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// Not a name that DNS could hold.
    #[error("`{0}` is not a domain name")]
    BadName(String),
    /// The system names no resolver.
    #[error("this system names no DNS resolver")]
    NoResolver(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// No resolver answered, or each only with an error.
    #[error("could not look up {kind} of `{name}`: {answers}")]
    Resolver {
        /// The name asked for.
        name: DomainName,
        /// The record type asked for.
        kind: String,
        /// A server did answer, with an error code.
        refused: bool,
        /// What each said.
        answers: Answers,
    },
    /// No SOA record at the name or anywhere above it.
    #[error("no DNS zone holds `{name}`")]
    NoZone {
        /// The name asked for.
        name: DomainName,
    },
    /// The zone's name servers have no address, or none that may be asked.
    #[error("none of the name servers of the zone `{zone}` has an address")]
    NoServers {
        /// The zone's top.
        zone: DomainName,
    },
    /// A CNAME that leads back.
    #[error("the CNAME records of `{}` go in a circle: {}", path[0], hops(path))]
    Loop {
        /// Every name met, the last of them for the second time.
        path: Vec<DomainName>,
    },
    /// More CNAMEs than anybody follows.
    #[error("`{}` leads through more than {MAX_HOPS} CNAME records: {}", path[0], hops(path))]
    TooManyHops {
        /// Every name met.
        path: Vec<DomainName>,
    },
    /// The walk took too long.
    #[error("finding the name servers of `{name}` took longer than {} s", WALK_DEADLINE.as_secs())]
    Deadline {
        /// The name asked for.
        name: DomainName,
    },
}

impl DnsError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::BadName(_) => "give a name as it stands in DNS, without spaces",
            Self::NoResolver(_) | Self::Resolver { .. } | Self::Deadline { .. } => {
                "name a resolver that can see the public zones with `--dns-server ADDRESS`"
            }
            Self::NoZone { .. } | Self::NoServers { .. } => {
                "is the domain registered and delegated? if only your own resolver knows it, \
                 give that with `--dns-server ADDRESS`"
            }
            Self::Loop { .. } | Self::TooManyHops { .. } => {
                "correct the CNAME records: the last must lead to a name that has none"
            }
        }
    }
}

/// `a → b → c`.
fn hops(path: &[DomainName]) -> String {
    let names: Vec<String> = path.iter().map(ToString::to_string).collect();
    names.join(" → ")
}

/// Where authoritative servers listen.
const DNS_PORT: u16 = 53;

/// Resolvers of the system that are tried, as many as glibc does.
const MAX_RESOLVERS: usize = 3;

#[cfg(test)]
mod tests;
