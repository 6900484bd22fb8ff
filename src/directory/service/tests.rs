//! The directory through its one door: requests that a client would send, on a CA of
//! its own, a memory of its own, and a network that is a table.

mod abuse;
mod accounts;
mod beside;
mod database;
mod life;
mod policy;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use data_encoding::BASE64URL_NOPAD;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HOST};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::super::validate::{Policy, Turn};
use super::super::{Limits, Permit, Profile};
use super::*;
use crate::bundle::Certificate;
use crate::challenge::ChallengeKind;
use crate::challenge::KeyAuthorization;
use crate::clock::Duration;
use crate::clock::{ManualClock, Timestamp};
use crate::directory::caa::CaaRecord;
use crate::directory::jws::tests::{TestKey, jwk_of};
use crate::directory::state::Trust;
use crate::identifier::{Identifier, NameConstraints};
use crate::key::{KeyType, PrivateKey};
use crate::pki::ledger::{Filter, Ledger, Role};
use crate::pki::{
    CaName, InitRequest, RotateIntermediate, RotateRoot, init, request as csr, rotate_intermediate,
    rotate_root,
};

const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const BASE: &str = "https://ca.test";

fn start() -> Timestamp {
    moment("2026-11-22T12:00:00Z")
}

fn moment(text: &str) -> Timestamp {
    Timestamp::parse(text, &time::format_description::well_known::Rfc3339).unwrap()
}

/// A network of TXT records alone.
#[derive(Debug, Default)]
struct Zone {
    texts: Mutex<HashMap<String, Vec<String>>>,
    caa: Mutex<Option<String>>,
    /// Lookups of `dead.test`, which go on.
    looking: Mutex<Vec<Turn>>,
    /// What `slow.test` waits for.
    slow: Notify,
}

impl Zone {
    fn set(&self, name: &str, text: String) {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.insert(name.to_owned(), vec![text]);
    }

    /// Every name has a CAA record that lets this CA issue.
    fn allow_only(&self, issuer: &str) {
        *self.caa.lock().unwrap() = Some(issuer.to_owned());
    }
}

impl Network for Zone {
    fn addresses<'a>(
        &'a self,
        name: &'a DnsName,
        turn: &'a Turn,
    ) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        if name.as_str() == "dead.test" {
            self.looking.lock().unwrap().push(Arc::clone(turn));
        }
        Box::pin(async { Ok(Vec::new()) })
    }

    fn texts<'a>(&'a self, name: &'a DnsName) -> BoxFuture<'a, io::Result<Vec<String>>> {
        let texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        let found = texts.get(name.as_str()).cloned().unwrap_or_default();
        Box::pin(async move {
            if name.as_str() == "slow.test" {
                self.slow.notified().await;
            }
            Ok(found)
        })
    }

    fn caa<'a>(&'a self, _: &'a DnsName) -> BoxFuture<'a, io::Result<Vec<CaaRecord>>> {
        let record = |issuer: String| CaaRecord {
            critical: false,
            tag: "issue".to_owned(),
            value: issuer.into_bytes(),
        };
        let issuer = self.caa.lock().unwrap().clone();
        Box::pin(async move { Ok(issuer.map(record).into_iter().collect()) })
    }

    fn dial(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }
}

/// What happened, in words, and for whom; and what requests came to.
#[derive(Debug, Default)]
struct Seen {
    happened: Mutex<Vec<String>>,
    askers: Mutex<Vec<Asker>>,
    requests: Mutex<Vec<String>>,
}

impl Observer for Seen {
    fn saw(&self, happening: &Happening<'_>) {
        let (words, asker) = match happening {
            Happening::Request {
                endpoint, problem, ..
            } => {
                let problem = problem.map_or("none", |problem| problem.kind().as_str());
                let words = format!("{endpoint} {problem}");
                self.requests.lock().unwrap().push(words);
                return;
            }
            Happening::Registered { asker } => ("registered".to_owned(), asker),
            Happening::Validated {
                kind,
                problem,
                asker,
                ..
            } => (format!("validated {kind} {}", problem.is_none()), asker),
            Happening::Issued {
                certificate,
                is_renewal,
                asker,
            } => {
                let name = certificate.display_name();
                (format!("issued {name} {is_renewal}"), asker)
            }
            Happening::Failed { problem, asker, .. } => (format!("failed {problem}"), asker),
            Happening::Revoked { reason, asker, .. } => (format!("revoked {reason}"), asker),
        };
        self.askers.lock().unwrap().push((*asker).clone());
        self.happened.lock().unwrap().push(words);
    }
}

/// A directory, and all around it.
struct World {
    home: TempDir,
    clock: Arc<ManualClock>,
    zone: Arc<Zone>,
    seen: Arc<Seen>,
    service: Arc<Service>,
    /// Where requests come from.
    from: Mutex<IpAddr>,
}

fn settings() -> Settings {
    Settings {
        public_url: None,
        terms_of_service: None,
        website: None,
        caa_identities: Vec::new(),
        require_eab: false,
        permit: Permit::Any,
        challenges: ChallengeKind::ALL.to_vec(),
        profiles: Profile::usual(7),
        limits: Limits::default(),
        validation: Policy {
            pauses: Vec::new(),
            ..Policy::default()
        },
        publication: None,
        embedded: false,
    }
}

impl World {
    async fn new() -> Self {
        Self::with(settings()).await
    }

    /// On a CA that issues below `test` and for 10/8.
    async fn with(settings: Settings) -> Self {
        let home = tempfile::tempdir().unwrap();
        let permit = ["test", "10.0.0.0/8"].map(|text| text.parse().unwrap());
        let request = InitRequest {
            permit: NameConstraints::new(permit.to_vec()),
            ..InitRequest::new(CaName::try_from("Test".to_owned()).unwrap())
        };
        init(home.path(), &request, start()).unwrap();
        let clock = Arc::new(ManualClock::new(start()));
        let (zone, seen) = Default::default();
        let service = open(&home, settings, &clock, &zone, &seen).await.unwrap();
        Self {
            home,
            clock,
            zone,
            seen,
            service,
            from: Mutex::new(FROM),
        }
    }

    /// From now on requests come from here.
    fn move_to(&self, from: &str) {
        *self.from.lock().unwrap() = from.parse().unwrap();
    }

    /// The same as after a crash: only the files are left.
    async fn reopened(self, settings: Settings) -> Self {
        assert_eq!(Arc::strong_count(&self.service), 1, "somebody still works");
        drop(self.service);
        let service = open(&self.home, settings, &self.clock, &self.zone, &self.seen).await;
        Self {
            service: service.unwrap(),
            ..self
        }
    }

    async fn get(&self, url: &str) -> Reply {
        self.send(Method::GET, url, "", Vec::new()).await
    }

    async fn send(&self, method: Method, url: &str, kind: &str, body: Vec<u8>) -> Reply {
        let path = url.strip_prefix(BASE).unwrap_or(url).to_owned();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "ca.test")
            .header(CONTENT_TYPE, kind)
            .body(Bytes::from(body))
            .unwrap();
        let from = *self.from.lock().unwrap();
        let (head, body) = self.service.answer(request, from).await.into_parts();
        Reply {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    async fn nonce(&self) -> String {
        let url = format!("{BASE}/new-nonce");
        let reply = self.send(Method::HEAD, &url, "", Vec::new()).await;
        assert_eq!(reply.status, StatusCode::OK);
        reply.header("replay-nonce").to_owned()
    }

    /// A POST signed by `key`, as `kid` says or by the key itself.
    async fn post(&self, url: &str, key: &TestKey, kid: Option<&str>, payload: &[u8]) -> Reply {
        let mut header = json!({ "alg": key.alg(), "nonce": self.nonce().await, "url": url });
        match kid {
            Some(kid) => header["kid"] = json!(kid),
            None => header["jwk"] = jwk_of(&key.jwk()),
        }
        let body = key.jws(&header, payload).to_string().into_bytes();
        self.send(Method::POST, url, "application/jose+json", body)
            .await
    }

    async fn client(&self) -> Client<'_> {
        self.client_bound_by(json!({ "contact": ["mailto:ada@home.test"] }))
            .await
    }

    async fn client_bound_by(&self, payload: Value) -> Client<'_> {
        let key = TestKey::new(KeyType::P256);
        let url = format!("{BASE}/new-account");
        let reply = self
            .post(&url, &key, None, payload.to_string().as_bytes())
            .await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        let kid = reply.header("location").to_owned();
        Client {
            world: self,
            key,
            kid,
        }
    }

    /// How often it happened.
    fn happened(&self, what: &str) -> usize {
        let seen = self.seen.happened.lock().unwrap();
        seen.iter().filter(|words| words.starts_with(what)).count()
    }

    /// The leaves that were ever issued.
    fn leaves(&self) -> usize {
        let ledger = Ledger::open(&self.home.path().join("ca/ca.sqlite")).unwrap();
        let filter = Filter {
            role: Some(Role::Leaf),
            ..Filter::default()
        };
        let mut leaves = 0;
        ledger.for_each(&filter, |_| leaves += 1).unwrap();
        leaves
    }
}

async fn open(
    home: &TempDir,
    settings: Settings,
    clock: &Arc<ManualClock>,
    zone: &Arc<Zone>,
    seen: &Arc<Seen>,
) -> Result<Arc<Service>, OpenError> {
    let surroundings = Surroundings {
        home: home.path().to_owned(),
        passphrase: None,
        clock: Arc::clone(clock) as _,
        network: Arc::clone(zone) as _,
        observer: Arc::clone(seen) as _,
    };
    tokio::task::spawn_blocking(|| Service::open(settings, surroundings))
        .await
        .unwrap()
}

#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        let value = value.unwrap_or_else(|| panic!("no {name} in {self:?}"));
        value.to_str().unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The value of one member of the object.
    fn at(&self, member: &str) -> String {
        let object = self.json();
        let value = object[member].as_str();
        value
            .unwrap_or_else(|| panic!("no {member} in {object}"))
            .to_owned()
    }

    /// The last part of the problem's type.
    fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let object = self.json();
        let kind = object["type"].as_str().unwrap();
        assert_eq!(object["status"], json!(self.status.as_u16()));
        assert!(self.headers.contains_key("replay-nonce"));
        let name = kind.strip_prefix("urn:ietf:params:acme:error:");
        name.unwrap().to_owned()
    }
}

/// An account and its key.
struct Client<'a> {
    world: &'a World,
    key: TestKey,
    kid: String,
}

impl Client<'_> {
    async fn post(&self, url: &str, payload: Value) -> Reply {
        let payload = payload.to_string();
        self.world
            .post(url, &self.key, Some(&self.kid), payload.as_bytes())
            .await
    }

    async fn fetch(&self, url: &str) -> Reply {
        self.world.post(url, &self.key, Some(&self.kid), b"").await
    }

    async fn order(&self, payload: Value) -> Reply {
        self.post(&format!("{BASE}/new-order"), payload).await
    }

    /// An order for DNS names, whose URL and object come back.
    async fn ordered(&self, names: &[&str]) -> (String, Value) {
        let identifiers: Vec<_> = names.iter().map(|name| dns(name)).collect();
        let reply = self.order(json!({ "identifiers": identifiers })).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        (reply.header("location").to_owned(), reply.json())
    }

    /// Shows control of everything that an order waits for, by DNS.
    async fn authorize(&self, order: &Value) {
        for url in order["authorizations"].as_array().unwrap() {
            let authz = self.fetch(url.as_str().unwrap()).await.json();
            let name = authz["identifier"]["value"].as_str().unwrap();
            let dns01 = dns01_of(&authz);
            self.world
                .zone
                .set(name, self.answer_to(&dns01).dns_value());
            let reply = self.post(dns01["url"].as_str().unwrap(), json!({})).await;
            assert_eq!(reply.at("status"), "valid", "{reply:?}");
        }
    }

    /// The dns-01 challenge of an order's first name.
    async fn first_dns01(&self, order: &Value) -> Value {
        let url = order["authorizations"][0].as_str().unwrap();
        dns01_of(&self.fetch(url).await.json())
    }

    fn answer_to(&self, challenge: &Value) -> KeyAuthorization {
        let token = challenge["token"].as_str().unwrap();
        let thumbprint = self.key.jwk().thumbprint();
        KeyAuthorization::new(format!("{token}.{}", thumbprint.as_str())).unwrap()
    }

    async fn finalize(&self, order: &Value, csr: &str) -> Reply {
        let url = order["finalize"].as_str().unwrap();
        self.post(url, json!({ "csr": csr })).await
    }

    /// From names to the certificate's chain, its key, and the order's URL.
    async fn obtain(&self, names: &[&str]) -> (Vec<Certificate>, PrivateKey, String) {
        let (url, order) = self.ordered(names).await;
        self.authorize(&order).await;
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let done = self.finalize(&order, &csr_for(&key, names)).await;
        assert_eq!(done.at("status"), "valid", "{done:?}");
        let chain = self.fetch(&done.at("certificate")).await;
        assert_eq!(
            chain.header("content-type"),
            "application/pem-certificate-chain"
        );
        (Certificate::parse_pem(&chain.body).unwrap(), key, url)
    }
}

/// RFC 9773 §4.1: what a certificate is asked after by.
fn ari_id(leaf: &Certificate) -> String {
    let issuer = leaf.authority_key_id().unwrap();
    format!("{}.{}", b64(issuer), b64(leaf.serial()))
}

fn dns01_of(authz: &Value) -> Value {
    let challenges = authz["challenges"].as_array().unwrap();
    let mut dns01 = challenges.iter().filter(|c| c["type"] == "dns-01");
    dns01.next().unwrap().clone()
}

fn dns(name: &str) -> Value {
    json!({ "type": "dns", "value": name })
}

/// A CSR as finalize takes it.
fn csr_for(key: &PrivateKey, names: &[&str]) -> String {
    let names: Vec<_> = names
        .iter()
        .map(|name| Identifier::parse(name).unwrap())
        .collect();
    let pem = csr(key, &names).unwrap();
    BASE64URL_NOPAD.encode(pem::parse(pem).unwrap().contents())
}

fn b64(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}
