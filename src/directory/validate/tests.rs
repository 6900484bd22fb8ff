//! Validations against real sockets, honest and hostile.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::challenge::{KeyAuthorization, validation::ACME_TLS};
use crate::directory::state::{AccountId, AuthorizationId, ChallengeId};

const ANSWER: &str =
    "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA.nP1qzpXGymHBrUEepNY9HCsQk7K8KhOypzEt62jcerQ";

/// Every name is here, and every port leads to the one listener, but on the addresses
/// that swallow packets.
#[derive(Debug, Default)]
struct Here {
    address: Option<SocketAddr>,
    names: HashMap<String, Vec<IpAddr>>,
    texts: Vec<String>,
    swallows: Vec<IpAddr>,
    dials: AtomicUsize,
}

impl Network for Here {
    fn addresses<'a>(
        &'a self,
        name: &'a DnsName,
        _: &'a Turn,
    ) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let found = self.names.get(name.as_str()).cloned();
        Box::pin(async { Ok(found.unwrap_or_else(|| vec![[192, 0, 2, 1].into()])) })
    }

    fn texts<'a>(&'a self, _name: &'a DnsName) -> BoxFuture<'a, io::Result<Vec<String>>> {
        Box::pin(async { Ok(self.texts.clone()) })
    }

    fn dial(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        self.dials.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            match self.address {
                _ if self.swallows.contains(&to.ip()) => std::future::pending().await,
                Some(address) => TcpStream::connect(address).await,
                None => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        })
    }
}

fn wanted(kind: ChallengeKind, name: &str) -> Validation {
    let id = "AAAAAAAAAAAAAAAAAAAAAA";
    Validation {
        challenge: ChallengeId::parse(id).unwrap(),
        authorization: AuthorizationId::parse(id).unwrap(),
        account: AccountId::parse(id).unwrap(),
        identifier: Identifier::parse(name).unwrap(),
        kind,
        key_authorization: KeyAuthorization::new(ANSWER.to_owned()).unwrap(),
    }
}

async fn validate(
    network: &dyn Network,
    policy: &Policy,
    wanted: &Validation,
) -> Result<(), Problem> {
    let turn: Turn = Arc::new(());
    super::validate(network, policy, wanted, &turn).await
}

fn once() -> Policy {
    Policy {
        pauses: Vec::new(),
        ..Policy::default()
    }
}

/// Answers each connection with the next of `answers`, the last one again and again.
async fn web(answers: Vec<String>) -> Here {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for n in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 2048];
            let _ = stream.read(&mut request).await;
            let answer = answers.get(n).or_else(|| answers.last()).unwrap();
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    Here {
        address: Some(address),
        ..Here::default()
    }
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn to(location: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
}

#[tokio::test]
async fn http_01_takes_the_right_answer_and_only_that() {
    use ProblemType::{Connection, IncorrectResponse};
    let long = format!("{ANSWER}{}", " ".repeat(MAX_BODY));
    let endless = to("/.well-known/acme-challenge/x");
    let table: [(Vec<String>, Option<ProblemType>); 19] = [
        (vec![ok(ANSWER)], None),
        (vec![ok(&format!("{ANSWER}\r\n"))], None),
        (
            vec![to("http://b.test/x?y"), to("//c.test:80/"), ok(ANSWER)],
            None,
        ),
        (vec![ok("")], Some(IncorrectResponse)),
        (vec![ok("secret of the inside")], Some(IncorrectResponse)),
        (vec![ok(&ANSWER[1..])], Some(IncorrectResponse)),
        (vec![ok(&format!(" {ANSWER}"))], Some(IncorrectResponse)),
        (vec![ok(&long)], Some(IncorrectResponse)),
        (
            vec!["HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".into()],
            Some(IncorrectResponse),
        ),
        (
            vec!["HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n".into()],
            Some(IncorrectResponse),
        ),
        (vec!["220 mail\r\n".into()], Some(Connection)),
        (
            vec![format!(
                "HTTP/1.1 200 OK\r\nX: {}\r\n\r\n",
                "x".repeat(40_000)
            )],
            Some(Connection),
        ),
        (vec![endless], Some(Connection)),
        (
            vec![to("http://b.test:8080/"), ok(ANSWER)],
            Some(Connection),
        ),
        (vec![to("https://b.test:80/"), ok(ANSWER)], Some(Connection)),
        (vec![to("ftp://b.test/"), ok(ANSWER)], Some(Connection)),
        (vec![to("http://127.0.0.1/"), ok(ANSWER)], Some(Connection)),
        (
            vec![to("http://[::ffff:169.254.169.254]/"), ok(ANSWER)],
            Some(Connection),
        ),
        (vec![to("http://ada@b.test/"), ok(ANSWER)], Some(Connection)),
    ];
    for (answers, want) in table {
        let here = web(answers.clone()).await;
        let got = validate(&here, &once(), &wanted(ChallengeKind::Http01, "a.test")).await;
        assert_eq!(
            got.as_ref().err().map(Problem::kind),
            want,
            "{:.200}",
            answers[0]
        );
        assert!(here.dials.load(Ordering::SeqCst) <= MAX_REDIRECTS + 1);
        if let Err(problem) = got {
            assert!(!problem.detail().contains("secret"), "{problem}");
        }
    }
}

#[tokio::test]
async fn a_failure_says_who_answered_and_from_where() {
    let wanted = wanted(ChallengeKind::Http01, "a.test");
    for (answers, words) in [
        (
            vec![ok("wrong")],
            "the answer of http://a.test at 127.0.0.1 is not the right one",
        ),
        (
            vec![
                to("http://b.test/secret"),
                "HTTP/1.1 404 No\r\n\r\n".to_owned(),
            ],
            "http://b.test at 127.0.0.1 answered 404, not 200",
        ),
        (
            vec![to("http://b.test:8080/secret")],
            "http://a.test at 127.0.0.1 redirects to port 8080, which this CA does not connect to",
        ),
        (
            vec!["hello\r\n\r\n".to_owned()],
            "http://a.test at 127.0.0.1 speaks no usable HTTP",
        ),
    ] {
        let here = web(answers).await;
        let problem = validate(&here, &once(), &wanted).await.unwrap_err();
        assert_eq!(problem.detail(), words);
    }
}

#[tokio::test]
async fn a_redirect_to_an_address_is_one_however_it_is_written() {
    let wanted = wanted(ChallengeKind::Http01, "a.test");
    for host in ["127.0.0.0x1", "0x7f.1", "2130706433", "017700000001"] {
        let answers = vec![to(&format!("http://{host}/")), ok(ANSWER)];
        let here = web(answers.clone()).await;
        let problem = validate(&here, &once(), &wanted).await.unwrap_err();
        let reason = "the address 127.0.0.1 of 127.0.0.1 is not one that this CA connects to";
        assert_eq!(problem.detail(), reason, "{host}");
        assert_eq!(here.dials.load(Ordering::SeqCst), 1, "{host}");
        let open = Policy {
            allow_local: true,
            ..once()
        };
        let here = web(answers).await;
        validate(&here, &open, &wanted).await.unwrap();
    }
}

#[tokio::test]
async fn no_address_of_this_machine_is_dialled_unless_allowed() {
    for (address, ordinary) in [
        ("127.0.0.1", false),
        ("127.9.9.9", false),
        ("::1", false),
        ("::ffff:127.0.0.1", false),
        ("64:ff9b::7f00:1", false),
        ("169.254.169.254", false),
        ("fe80::1", false),
        ("10.0.0.1", true),
        ("fd00::1", true),
    ] {
        let ip: IpAddr = address.parse().unwrap();
        let mut here = web(vec![ok(ANSWER)]).await;
        here.names.insert("a.test".to_owned(), vec![ip]);
        let wanted = wanted(ChallengeKind::Http01, "a.test");
        let got = validate(&here, &once(), &wanted).await;
        assert_eq!(got.is_ok(), ordinary, "{address}");
        assert_eq!(here.dials.load(Ordering::SeqCst) > 0, ordinary, "{address}");
        let open = Policy {
            allow_local: true,
            ..once()
        };
        validate(&here, &open, &wanted).await.unwrap();
    }
    let open = Policy {
        allow_local: true,
        ..Policy::default()
    };
    for never in [
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "ff02::1",
    ] {
        assert!(!open.allows(never.parse().unwrap()), "{never}");
    }
}

#[tokio::test]
async fn an_address_that_swallows_packets_hides_no_other() {
    let ips = |text: &str| -> Vec<IpAddr> {
        let each = text.split_ascii_whitespace();
        each.map(|ip| ip.parse().unwrap()).collect()
    };
    let look = async |addresses: &str, swallows: &str, policy: Policy| {
        let mut here = web(vec![to("http://a.test/again"), ok(ANSWER)]).await;
        here.names.insert("a.test".to_owned(), ips(addresses));
        here.swallows = ips(swallows);
        let wanted = wanted(ChallengeKind::Http01, "a.test");
        validate(&here, &policy, &wanted).await
    };
    let dead = "fd00::1 fd00::2 fd00::3 fd00::4 fd00::5";
    let soon = Policy {
        deadline: Duration::from_millis(50),
        ..once()
    };
    let dead_and_good = format!("{dead} 10.0.0.1");
    let (one, many, only) = tokio::join!(
        look("fd00::1 10.0.0.1", "fd00::1", once()),
        look(&dead_and_good, dead, once()),
        look("fd00::1 10.0.0.1", "fd00::1 10.0.0.1", soon),
    );
    assert_eq!((one, many), (Ok(()), Ok(())));
    assert_eq!(only.unwrap_err().kind(), ProblemType::Connection);

    for (found, tried) in [
        ("", ""),
        ("10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
        (dead, "fd00::1 fd00::2 fd00::3 fd00::4"),
        ("fd00::1 fd00::2 10.0.0.1", "fd00::1 10.0.0.1 fd00::2"),
        ("10.0.0.1 10.0.0.2 fd00::1", "10.0.0.1 fd00::1 10.0.0.2"),
    ] {
        assert_eq!(to_try(&ips(found)), ips(tried), "{found}");
    }
    // What is not dialled takes nobody's place.
    let local = "127.0.0.1 127.0.0.2 127.0.0.3 127.0.0.4 10.0.0.1";
    assert_eq!(look(local, "", once()).await, Ok(()));
}

#[tokio::test]
async fn dns_01_wants_the_digest_among_the_records() {
    let right = wanted(ChallengeKind::Dns01, "*.a.test");
    let value = right.key_authorization.dns_value();
    for (texts, good) in [
        (vec![value.clone()], true),
        (vec!["other".to_owned(), value.clone()], true),
        (vec![], false),
        (vec![ANSWER.to_owned()], false),
        (vec![format!("{value}=")], false),
    ] {
        let here = Here {
            texts,
            ..Here::default()
        };
        assert_eq!(validate(&here, &once(), &right).await.is_ok(), good);
    }
    for kind in [ChallengeKind::Http01, ChallengeKind::TlsAlpn01] {
        let got = validate(&Here::default(), &once(), &wanted(kind, "*.a.test")).await;
        assert_eq!(got.unwrap_err().kind(), ProblemType::Malformed);
    }
}

#[tokio::test]
async fn a_validation_is_tried_again_and_ends() {
    let here = Here::default();
    let policy = Policy {
        pauses: vec![Duration::from_millis(1); 3],
        ..Policy::default()
    };
    let wanted = wanted(ChallengeKind::Http01, "a.test");
    let problem = validate(&here, &policy, &wanted).await.unwrap_err();
    assert_eq!(problem.kind(), ProblemType::Connection);
    assert_eq!(here.dials.load(Ordering::SeqCst), policy.pauses.len() + 1);

    // Who takes the connection and says nothing is left alone after the deadline.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = Here {
        address: Some(listener.local_addr().unwrap()),
        ..Here::default()
    };
    let policy = Policy {
        deadline: Duration::from_millis(50),
        ..once()
    };
    for kind in [ChallengeKind::Http01, ChallengeKind::TlsAlpn01] {
        let wanted = Validation {
            kind,
            ..wanted.clone()
        };
        let problem = validate(&here, &policy, &wanted).await.unwrap_err();
        assert_eq!(problem.kind(), ProblemType::Connection);
    }
}

/// What a tls-alpn-01 responder shows.
struct Shown {
    names: Vec<&'static str>,
    extension: Option<(bool, Vec<u8>)>,
    by_itself: bool,
    alpn: Vec<u8>,
}

impl Shown {
    fn certificate(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = self.names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        if let Some((critical, value)) = &self.extension {
            let oid = [1, 3, 6, 1, 5, 5, 7, 1, 31];
            let mut extension = CustomExtension::from_oid_content(&oid, value.clone());
            extension.set_criticality(*critical);
            params.custom_extensions = vec![extension];
        }
        let certificate = if self.by_itself {
            params.self_signed(&key).unwrap()
        } else {
            let other = KeyPair::generate().unwrap();
            let issuer = rcgen::Issuer::new(params.clone(), other);
            params.signed_by(&key, &issuer).unwrap()
        };
        let private = PrivatePkcs8KeyDer::from(key.serialize_der());
        (certificate.der().clone(), private.into())
    }

    /// A server that shows it, and never reads or writes an application's byte.
    async fn serve(&self) -> Here {
        let (certificate, key) = self.certificate();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = provider.key_provider.load_private_key(key).unwrap();
        let shown = Arc::new(CertifiedKey::new(vec![certificate], key));
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(shown)));
        config.alpn_protocols = vec![self.alpn.clone()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.shutdown().await;
                }
            }
        });
        Here {
            address: Some(address),
            ..Here::default()
        }
    }
}

#[tokio::test]
async fn tls_alpn_01_is_taken_strictly() {
    use ProblemType::{IncorrectResponse, Tls};
    let digest = KeyAuthorization::new(ANSWER.to_owned()).unwrap().digest();
    let value = [&[0x04, 0x20], digest.as_slice()].concat();
    let good = |names: &[&'static str]| Shown {
        names: names.to_vec(),
        extension: Some((true, value.clone())),
        by_itself: true,
        alpn: ACME_TLS.to_vec(),
    };
    let extension = |critical, value: Vec<u8>| Shown {
        extension: Some((critical, value)),
        ..good(&["a.test"])
    };
    let table = [
        ("a.test", good(&["a.test"]), None),
        ("a.test", good(&["A.Test"]), None),
        ("10.0.0.1", good(&["10.0.0.1"]), None),
        ("fd00::1", good(&["fd00::1"]), None),
        ("a.test", good(&["b.test"]), Some(IncorrectResponse)),
        ("a.test", good(&["*.test"]), Some(IncorrectResponse)),
        (
            "a.test",
            good(&["a.test", "b.test"]),
            Some(IncorrectResponse),
        ),
        ("a.test", good(&[]), Some(IncorrectResponse)),
        ("10.0.0.1", good(&["10.0.0.2"]), Some(IncorrectResponse)),
        (
            "a.test",
            extension(false, value.clone()),
            Some(IncorrectResponse),
        ),
        (
            "a.test",
            extension(true, value[2..].to_vec()),
            Some(IncorrectResponse),
        ),
        (
            "a.test",
            extension(true, [&value[..33], &[0]].concat()),
            Some(IncorrectResponse),
        ),
        (
            "a.test",
            Shown {
                extension: None,
                ..good(&["a.test"])
            },
            Some(IncorrectResponse),
        ),
        (
            "a.test",
            Shown {
                by_itself: false,
                ..good(&["a.test"])
            },
            Some(IncorrectResponse),
        ),
        (
            "a.test",
            Shown {
                alpn: b"h2".to_vec(),
                ..good(&["a.test"])
            },
            Some(Tls),
        ),
        (
            "a.test",
            Shown {
                alpn: Vec::new(),
                ..good(&["a.test"])
            },
            Some(Tls),
        ),
    ];
    for (n, (name, shown, want)) in table.into_iter().enumerate() {
        let here = if shown.alpn.is_empty() {
            let mut server = shown;
            server.alpn = b"http/1.1".to_vec();
            server.serve().await
        } else {
            shown.serve().await
        };
        let got = validate(&here, &once(), &wanted(ChallengeKind::TlsAlpn01, name)).await;
        assert_eq!(
            got.as_ref().err().map(Problem::kind),
            want,
            "{n} {name}: {got:?}"
        );
    }
    let plain = web(vec![ok(ANSWER)]).await;
    let got = validate(&plain, &once(), &wanted(ChallengeKind::TlsAlpn01, "a.test")).await;
    assert_eq!(got.unwrap_err().kind(), Tls);
}
