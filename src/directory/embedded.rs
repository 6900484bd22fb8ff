//! The directory inside the process that asks it (`--directory private`): the whole
//! ACME life of a certificate on one machine, with no network and no port but those
//! that answer the challenges.
//!
//! Rules kept here: nobody but this process can ask; challenges are looked at on this
//! process's own sockets alone, whatever names are to be certified, so that no name
//! leads anywhere else; certificates are for the names that the process was told, and
//! within the CA's own constraints.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use http::header::{HOST, HeaderValue};
use http::{Request, Response, Uri};
use hyper::body::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use url::Url;

use super::validate::{Network, Policy, SystemNetwork, Turn};
use super::{Limits, OpenError, Permit, Profile, Service, Settings, Surroundings};
use crate::acme::{HttpClient, OwnAnswers, OwnDirectory};
use crate::challenge::ChallengeKind;
use crate::clock::Clock;
use crate::identifier::DnsName;
use crate::issuer::{BoxFuture, IssueError};
use crate::key::Passphrase;
use crate::net::http::HttpError;

/// The host of every URL, which nobody can have (RFC 6761 §6.4).
const HOST_NAME: &str = "private.invalid";
/// Where requests come from.
const OURSELVES: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// More of anything than one process does in an hour.
const NO_LIMIT: u32 = 1_000_000;
/// Validations at the same time.
const VALIDATIONS: u32 = 64;
/// A port of this machine answers at once, or is in trouble.
const DEADLINE: StdDuration = StdDuration::from_secs(5);
/// Between attempts: our own ports are open before the CA is told to look.
const PAUSES: [StdDuration; 2] = [StdDuration::from_millis(100), StdDuration::from_millis(500)];

/// A directory to be opened inside this process.
#[derive(Debug)]
pub struct Embedded {
    /// The state directory, which holds the CA.
    pub home: PathBuf,
    /// Unlocks the CA's intermediate key.
    pub passphrase: Option<Passphrase>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// For which names it issues.
    pub permit: Permit,
}

impl Embedded {
    /// What opens it whenever it is asked anew.
    pub fn directory(self) -> Arc<OwnDirectory> {
        Arc::new(move |answers| self.open(answers))
    }

    /// Opens it for an ACME client in this process. Blocks on the disk.
    pub fn open(&self, answers: OwnAnswers) -> Result<Arc<dyn HttpClient>, IssueError> {
        let surroundings = Surroundings {
            home: self.home.clone(),
            passphrase: self.passphrase.clone(),
            clock: Arc::clone(&self.clock),
            network: Arc::new(OwnNetwork {
                dns: SystemNetwork::new(answers.dns_server).reach_local(true),
                answers,
            }),
            observer: Arc::new(()),
        };
        let service = Service::open(settings(self.permit.clone()), surroundings);
        Ok(Arc::new(InProcess(service.map_err(unusable)?)))
    }
}

fn settings(permit: Permit) -> Settings {
    let url = format!("https://{HOST_NAME}");
    Settings {
        public_url: Url::parse(&url).ok(),
        terms_of_service: None,
        website: None,
        caa_identities: Vec::new(),
        require_eab: false,
        permit,
        challenges: ChallengeKind::ALL.to_vec(),
        profiles: Profile::usual(Profile::DAYS),
        limits: Limits {
            accounts_per_address: NO_LIMIT,
            orders_per_account: NO_LIMIT,
            orders_per_address: NO_LIMIT,
            open_orders: NO_LIMIT,
            failures_per_name: NO_LIMIT,
            certificates_per_name: NO_LIMIT,
            validations: VALIDATIONS,
        },
        validation: Policy {
            allow_local: true,
            deadline: DEADLINE,
            pauses: PAUSES.to_vec(),
            ..Policy::default()
        },
        publication: None,
        embedded: true,
    }
}

fn unusable(error: OpenError) -> IssueError {
    if let OpenError::Ca(error) = error {
        return error.into();
    }
    IssueError {
        message: "this machine's own CA cannot be asked".to_owned(),
        hint: error.hint(),
        // The other process may have ended by then, and the disk may have room.
        permanent: false,
        retry_after: None,
        source: Some(Box::new(error)),
    }
}

/// The way from an ACME client to a directory in the same process.
#[derive(Debug)]
struct InProcess(Arc<Service>);

impl HttpClient for InProcess {
    fn send<'a>(
        &'a self,
        request: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        let request = as_received(request);
        Box::pin(async move { Ok(self.0.answer(request, OURSELVES).await) })
    }
}

/// A request as a server sees it: of a path, and the host in a header (RFC 9112 §3.2).
fn as_received(mut request: Request<Bytes>) -> Request<Bytes> {
    let path = request.uri().path_and_query();
    let path = path.map_or("/", |path| path.as_str());
    if let Ok(path) = path.parse::<Uri>() {
        *request.uri_mut() = path;
    }
    let host = HeaderValue::from_static(HOST_NAME);
    request.headers_mut().insert(HOST, host);
    request
}

/// This process's own sockets, and nothing else; TXT records alone are looked up.
#[derive(Debug)]
struct OwnNetwork {
    answers: OwnAnswers,
    dns: SystemNetwork,
}

impl OwnNetwork {
    async fn connect(&self, kind: ChallengeKind, to: SocketAddr) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(to).await?;
        let source = stream.local_addr()?.ip();
        stream
            .write_all(self.answers.preamble(kind, source))
            .await?;
        Ok(stream)
    }
}

impl Network for OwnNetwork {
    fn addresses<'a>(
        &'a self,
        _: &'a DnsName,
        _: &'a Turn,
    ) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async { Ok(vec![OURSELVES]) })
    }

    fn texts<'a>(&'a self, name: &'a DnsName) -> BoxFuture<'a, io::Result<Vec<String>>> {
        self.dns.texts(name)
    }

    fn dial(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(async move {
            let usual = Policy::default();
            let kind = match to.port() {
                port if port == usual.http_port => ChallengeKind::Http01,
                port if port == usual.tls_port => ChallengeKind::TlsAlpn01,
                _ => return Err(io::ErrorKind::Unsupported.into()),
            };
            let mut last = io::ErrorKind::NotConnected.into();
            for address in self.answers.addresses(kind).await {
                match self.connect(kind, address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            Err(last)
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::challenge::ServedAt;

    fn network(served: ServedAt) -> OwnNetwork {
        OwnNetwork {
            answers: OwnAnswers {
                served,
                ..OwnAnswers::default()
            },
            dns: SystemNetwork::new(None),
        }
    }

    #[tokio::test]
    async fn every_name_and_address_leads_to_our_own_ports() {
        let served = ServedAt::default();
        let network = network(served.clone());
        let to = |text: &str| text.parse::<SocketAddr>().unwrap();
        let unserved = network.dial(to("127.0.0.1:443")).await.unwrap_err();
        assert_eq!(unserved.kind(), io::ErrorKind::NotConnected);

        let https = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = TcpListener::bind("0.0.0.0:0").await.unwrap();
        served.tell(ChallengeKind::TlsAlpn01, https.local_addr().unwrap());
        served.tell(ChallengeKind::Http01, http.local_addr().unwrap());
        let name = DnsName::parse("www.example.com").unwrap();
        let turn: Turn = Arc::new(());
        assert_eq!(network.addresses(&name, &turn).await.unwrap(), [OURSELVES]);
        for (asked, listener) in [
            ("127.0.0.1:443", &https),
            ("192.0.2.1:443", &https),
            ("[2001:db8::1]:80", &http),
            ("127.0.0.1:80", &http),
        ] {
            let stream = network.dial(to(asked)).await.unwrap();
            let (_, from) = listener.accept().await.unwrap();
            assert_eq!(from, stream.local_addr().unwrap(), "{asked}");
        }
        let port = https.local_addr().unwrap().port();
        served.behind(&["127.0.0.0/8".parse().unwrap()]);
        for (asked, listener) in [("192.0.2.1:443", &https), ("127.0.0.1:80", &http)] {
            let introduced = network.dial(to(asked)).await.unwrap();
            let (mut accepted, _) = listener.accept().await.unwrap();
            drop(introduced);
            let mut said = String::new();
            accepted.read_to_string(&mut said).await.unwrap();
            assert_eq!(said, "PROXY UNKNOWN\r\n", "{asked}");
        }
        for elsewhere in [port, 22, 8080] {
            let refused = network.dial(SocketAddr::new(OURSELVES, elsewhere)).await;
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::Unsupported);
        }
    }

    #[test]
    fn a_request_is_for_a_path_of_our_host() {
        let request = Request::post("https://private.invalid/new-order?x=1").body(Bytes::new());
        let request = as_received(request.unwrap());
        assert_eq!(request.uri(), "/new-order?x=1");
        assert_eq!(request.headers()[HOST], HOST_NAME);
        let settings = settings(Permit::Any);
        let directory: crate::issuer::Directory = "private".parse().unwrap();
        let base = settings.public_url.unwrap();
        assert_eq!(base.join(Service::PATH).unwrap(), *directory.url());
    }
}
