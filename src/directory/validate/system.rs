//! The network as this machine has it.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::rdata::CAA;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::{Network, Policy};
use crate::directory::caa::CaaRecord;
use crate::identifier::DnsName;
use crate::issuer::BoxFuture;
use crate::net::dns::{Dns, DnsError, DomainName};

/// How long the authoritative servers are waited for, beside the resolver.
const WALK: Duration = Duration::from_secs(6);
/// Authoritative servers asked at most: they have one zone.
const SERVERS: usize = 4;
/// Names that the system is asked for at a time.
const LOOKUPS: usize = 32;

/// Real sockets, and the system's resolvers or another one.
#[derive(Debug, Clone)]
pub struct SystemNetwork {
    dns: Dns,
    own_resolver: bool,
    local: bool,
    lookups: Arc<Semaphore>,
}

impl SystemNetwork {
    /// Asks `resolver` for everything; without one, the system (with its hosts file).
    pub fn new(resolver: Option<SocketAddr>) -> Self {
        Self {
            dns: Dns::new(resolver),
            own_resolver: resolver.is_some(),
            local: false,
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        }
    }

    /// Also asks name servers on this machine and its links where zones name such.
    #[must_use]
    pub fn reach_local(mut self, local: bool) -> Self {
        self.local = local;
        self
    }

    /// Of the system, on a thread that nobody can stop: of these there are only so many,
    /// however slowly names are answered for.
    async fn system_addresses(&self, name: String) -> io::Result<Vec<IpAddr>> {
        let lookups = Arc::clone(&self.lookups).acquire_owned().await;
        let looking = tokio::task::spawn_blocking(move || {
            let _lookups = lookups;
            let found = (name.as_str(), 0).to_socket_addrs()?;
            Ok(found.map(|address| address.ip()).collect())
        });
        looking.await.map_err(io::Error::other)?
    }

    /// From the zone's own servers, past every cache; none where no way leads to them.
    async fn authoritative(&self, name: &DomainName) -> Vec<String> {
        if self.own_resolver {
            return Vec::new();
        }
        let policy = Policy {
            allow_local: self.local,
            ..Policy::default()
        };
        let walk = async {
            let target = self.dns.target_of(name).await.ok()?;
            let servers = target.zone.servers.iter();
            // A stranger names these, too.
            let allowed = servers.filter(|server| policy.allows(server.address.ip()));
            for server in allowed.take(SERVERS) {
                if let Ok(texts) = self.dns.txt_at(server.address, target.name()).await {
                    return Some(texts);
                }
            }
            None
        };
        tokio::time::timeout(WALK, walk)
            .await
            .ok()
            .flatten()
            .unwrap_or_default()
    }
}

impl Network for SystemNetwork {
    fn addresses<'a>(&'a self, name: &'a DnsName) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            if self.own_resolver {
                let name = DomainName::parse(name.as_str()).map_err(failed)?;
                return self.dns.addresses(&name).await.map_err(failed);
            }
            self.system_addresses(name.as_str().to_owned()).await
        })
    }

    /// What the resolver has and what the zone's own servers have: a cache may be
    /// behind, and a private zone may be known to the resolver alone.
    fn texts<'a>(&'a self, name: &'a DnsName) -> BoxFuture<'a, io::Result<Vec<String>>> {
        Box::pin(async move {
            let name = DomainName::below("_acme-challenge", name).map_err(failed)?;
            let (resolved, mut texts) =
                tokio::join!(self.dns.texts(&name), self.authoritative(&name));
            match resolved {
                Ok(more) => texts.extend(more),
                Err(error) if texts.is_empty() => return Err(failed(error)),
                Err(_) => {}
            }
            Ok(texts)
        })
    }

    fn caa<'a>(&'a self, name: &'a DnsName) -> BoxFuture<'a, io::Result<Vec<CaaRecord>>> {
        Box::pin(async move {
            let name = DomainName::parse(name.as_str()).map_err(failed)?;
            let found = self.dns.caa(&name).await.map_err(failed)?;
            let record = |caa: CAA| CaaRecord {
                critical: caa.issuer_critical,
                tag: caa.tag,
                value: caa.value,
            };
            Ok(found.into_iter().map(record).collect())
        })
    }

    fn dial(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(to))
    }
}

fn failed(error: DnsError) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, MessageType};
    use hickory_proto::rr::rdata::{A, TXT};
    use hickory_proto::rr::{RData, Record, RecordType};

    use super::*;

    /// A resolver that knows one private name, and no zone.
    async fn resolver() -> SocketAddr {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let mut message = Message::from_vec(&buffer[..length]).unwrap();
                message.metadata.message_type = MessageType::Response;
                let question = message.queries[0].clone();
                let name = question.name().to_string();
                let data = match (name.as_str(), question.query_type()) {
                    ("a.home.arpa.", RecordType::A) => Some(RData::A(A::new(10, 0, 0, 7))),
                    ("_acme-challenge.a.home.arpa.", RecordType::TXT) => {
                        Some(RData::TXT(TXT::new(vec!["right".to_owned()])))
                    }
                    _ => None,
                };
                if let Some(data) = data {
                    message.add_answers([Record::from_rdata(question.name().clone(), 1, data)]);
                }
                socket.send_to(&message.to_vec().unwrap(), from).await.ok();
            }
        });
        address
    }

    #[tokio::test]
    async fn a_private_name_is_what_the_given_resolver_says() {
        let network = SystemNetwork::new(Some(resolver().await));
        let known = DnsName::parse("a.home.arpa").unwrap();
        let unknown = DnsName::parse("b.home.arpa").unwrap();
        let ip: IpAddr = [10, 0, 0, 7].into();
        assert_eq!(network.addresses(&known).await.unwrap(), [ip]);
        assert_eq!(network.texts(&known).await.unwrap(), ["right"]);
        assert!(network.addresses(&unknown).await.unwrap().is_empty());
        assert!(network.texts(&unknown).await.unwrap().is_empty());
    }
}
