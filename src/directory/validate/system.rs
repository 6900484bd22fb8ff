//! The network as this machine has it.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::rdata::CAA;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::{Network, Turn, allows};
use crate::directory::caa::CaaRecord;
use crate::identifier::DnsName;
use crate::issuer::BoxFuture;
use crate::net::dns::{Dns, DnsError, DomainName};

/// How long the authoritative servers are waited for, beside the resolver.
const WALK: Duration = Duration::from_secs(6);
/// Authoritative servers asked at most: they have one zone.
const SERVERS: usize = 4;

/// Real sockets, and the system's resolvers or another one.
#[derive(Debug, Clone)]
pub struct SystemNetwork {
    dns: Dns,
    own_resolver: bool,
    system: fn(&str) -> io::Result<Vec<IpAddr>>,
}

impl SystemNetwork {
    /// Asks `resolver` for everything; without one, the system (with its hosts file).
    pub fn new(resolver: Option<SocketAddr>) -> Self {
        Self {
            dns: Dns::new(resolver),
            own_resolver: resolver.is_some(),
            system: ask_system,
        }
        .reach_local(false)
    }

    /// Also asks name servers on this machine and its links where zones name such.
    #[must_use]
    pub fn reach_local(mut self, local: bool) -> Self {
        // A stranger says where the servers of a zone are.
        let allowed: fn(IpAddr) -> bool = if local {
            |ip| allows(ip, true)
        } else {
            |ip| allows(ip, false)
        };
        self.dns = self.dns.asking_only(allowed);
        self
    }

    /// Of the system, on a thread that nobody can stop, however slowly the name is
    /// answered for: it keeps the turn of whoever wanted to know, so that there are never
    /// more of them than attempts of the validations that go on, and a stranger whose
    /// names are dead waits for his own. A thread of its own, since the runtime's are for
    /// answers to clients.
    async fn system_addresses(&self, name: String, turn: Turn) -> io::Result<Vec<IpAddr>> {
        let (tell, told) = oneshot::channel();
        let ask = self.system;
        let thread = std::thread::Builder::new().name("lookup".to_owned());
        thread.spawn(move || {
            let found = ask(&name);
            drop(turn);
            // Nobody may be waiting any more.
            let _ = tell.send(found);
        })?;
        told.await.map_err(io::Error::other)?
    }

    /// From the zone's own servers, past every cache; none where no way leads to them.
    async fn authoritative(&self, name: &DomainName) -> Vec<String> {
        if self.own_resolver {
            return Vec::new();
        }
        let walk = async {
            let target = self.dns.target_of(name).await.ok()?;
            for server in target.zone.servers.iter().take(SERVERS) {
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
    fn addresses<'a>(
        &'a self,
        name: &'a DnsName,
        turn: &'a Turn,
    ) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            if self.own_resolver {
                let name = DomainName::parse(name.as_str()).map_err(failed)?;
                return self.dns.addresses(&name).await.map_err(failed);
            }
            let name = name.as_str().to_owned();
            self.system_addresses(name, Arc::clone(turn)).await
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

/// Whatever the system asks: its hosts file, DNS and more.
fn ask_system(name: &str) -> io::Result<Vec<IpAddr>> {
    let found = (name, 0).to_socket_addrs()?;
    Ok(found.map(|address| address.ip()).collect())
}

fn failed(error: DnsError) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use hickory_proto::op::{Message, MessageType};
    use hickory_proto::rr::rdata::{A, CNAME, NS, SOA, TXT};
    use hickory_proto::rr::{Name, RData, Record};
    use tokio::net::UdpSocket;

    use super::*;

    /// What a name server knows.
    type Records = Vec<(&'static str, RData)>;

    /// A name server that counts as in charge of what it knows; gives what it was asked.
    async fn name_server(address: SocketAddr, records: Records) -> (SocketAddr, Questions) {
        let socket = UdpSocket::bind(address).await.unwrap();
        let address = socket.local_addr().unwrap();
        let questions = Questions::default();
        let asked = Arc::clone(&questions);
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let mut message = Message::from_vec(&buffer[..length]).unwrap();
                message.metadata.message_type = MessageType::Response;
                message.metadata.authoritative = true;
                let question = message.queries[0].clone();
                let name = question.name().to_string();
                let kind = question.query_type();
                asked.lock().unwrap().push(format!("{name} {kind}"));
                let fits = |(owner, data): &&(&str, RData)| {
                    name == format!("{owner}.") && data.record_type() == kind
                };
                for (_, data) in records.iter().filter(fits) {
                    let record = Record::from_rdata(question.name().clone(), 1, data.clone());
                    message.add_answers([record]);
                }
                socket.send_to(&message.to_vec().unwrap(), from).await.ok();
            }
        });
        (address, questions)
    }

    type Questions = Arc<Mutex<Vec<String>>>;

    fn any_port(host: u8) -> SocketAddr {
        ([127, 0, 0, host], 0).into()
    }

    /// A resolver that knows one private name, and no zone.
    async fn resolver() -> SocketAddr {
        let records = vec![
            ("a.home.arpa", RData::A(A::new(10, 0, 0, 7))),
            ("_acme-challenge.a.home.arpa", txt("right")),
        ];
        name_server(any_port(1), records).await.0
    }

    fn txt(text: &str) -> RData {
        RData::TXT(TXT::new(vec![text.to_owned()]))
    }

    /// A zone with one server, at that address.
    fn zone(apex: &'static str, server: &'static str, host: u8) -> Records {
        let name = |text: &str| Name::from_ascii(format!("{text}.")).unwrap();
        vec![
            (
                apex,
                RData::SOA(SOA::new(name(server), name(apex), 1, 1, 1, 1, 1)),
            ),
            (apex, RData::NS(NS(name(server)))),
            (server, RData::A(A::new(127, 0, 0, host))),
        ]
    }

    #[tokio::test]
    async fn the_servers_that_a_strangers_zone_names_are_asked_where_the_policy_allows() {
        let alias = RData::CNAME(CNAME(Name::from_ascii("x.evil.test.").unwrap()));
        let alias = vec![("_acme-challenge.b.good.test", alias)];
        let records = [
            zone("evil.test", "ns.evil.test", 9),
            zone("good.test", "ns.good.test", 8),
            alias.clone(),
        ]
        .concat();
        let (resolver, _) = name_server(any_port(1), records).await;
        // No zone can name a port: it is the resolver's, on loopback.
        let at = |host: u8| SocketAddr::from(([127, 0, 0, host], resolver.port()));
        let (_, good) = name_server(at(8), alias).await;
        let (_, evil) = name_server(at(9), vec![("x.evil.test", txt("told"))]).await;
        let network = SystemNetwork {
            own_resolver: false,
            ..SystemNetwork::new(Some(resolver))
        };
        let direct = DnsName::parse("a.evil.test").unwrap();
        let behind = DnsName::parse("b.good.test").unwrap();
        for closed in [network.clone(), network.clone().reach_local(false)] {
            for name in [&direct, &behind] {
                assert!(closed.texts(name).await.unwrap().is_empty());
            }
        }
        for asked in [&good, &evil] {
            assert_eq!(*asked.lock().unwrap(), [""; 0]);
        }
        let partly = SystemNetwork {
            dns: network
                .dns
                .clone()
                .asking_only(|ip| ip != IpAddr::from([127, 0, 0, 9])),
            ..network.clone()
        };
        assert!(partly.texts(&behind).await.unwrap().is_empty());
        let alias = "_acme-challenge.b.good.test. CNAME";
        assert_eq!(*good.lock().unwrap(), [alias]);
        assert_eq!(*evil.lock().unwrap(), [""; 0]);

        let open = network.reach_local(true);
        assert_eq!(open.texts(&behind).await.unwrap(), ["told"]);
    }

    #[tokio::test]
    async fn a_private_name_is_what_the_given_resolver_says() {
        let network = SystemNetwork::new(Some(resolver().await));
        let known = DnsName::parse("a.home.arpa").unwrap();
        let unknown = DnsName::parse("b.home.arpa").unwrap();
        let ip: IpAddr = [10, 0, 0, 7].into();
        let turn: Turn = Arc::new(());
        assert_eq!(network.addresses(&known, &turn).await.unwrap(), [ip]);
        assert_eq!(network.texts(&known).await.unwrap(), ["right"]);
        assert!(network.addresses(&unknown, &turn).await.unwrap().is_empty());
        assert!(network.texts(&unknown).await.unwrap().is_empty());
    }

    /// Whether the names that begin with `dead` are answered for.
    static OPEN: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

    fn slow(name: &str) -> io::Result<Vec<IpAddr>> {
        if name.starts_with("dead") {
            let (open, changed) = &OPEN;
            let open = open.lock().unwrap();
            drop(changed.wait_while(open, |open| !*open).unwrap());
        }
        Ok(vec![[10, 0, 0, 7].into()])
    }

    #[tokio::test]
    async fn names_that_nobody_answers_for_hold_up_no_other_and_keep_their_turn() {
        let network = SystemNetwork {
            system: slow,
            ..SystemNetwork::new(None)
        };
        let (taken, mut free) = oneshot::channel::<()>();
        let turn: Turn = Arc::new(taken);
        for n in 0..100 {
            let name = DnsName::parse(&format!("dead{n}.test")).unwrap();
            let asked = network.addresses(&name, &turn);
            let given_up = tokio::time::timeout(Duration::ZERO, asked).await;
            assert!(given_up.is_err());
        }
        drop(turn);
        let name = DnsName::parse("a.test").unwrap();
        let turn: Turn = Arc::new(());
        let asked = tokio::time::timeout(Duration::from_secs(5), network.addresses(&name, &turn));
        assert_eq!(asked.await.unwrap().unwrap().len(), 1);
        assert_eq!(free.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        *OPEN.0.lock().unwrap() = true;
        OPEN.1.notify_all();
        free.await.unwrap_err();
    }
}
