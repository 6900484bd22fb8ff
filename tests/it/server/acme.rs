//! Challenges in a running server: port 80, `acme-tls/1`, and provisioning.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread::JoinHandle;

use certmint::certificates::{CertificateTable, SourceId};
use certmint::challenge::{Challenge, ChallengeKind, ChallengeTable, KeyAuthorization, Token};
use certmint::clock::{Clock, SystemClock};
use certmint::identifier::Identifier;
use certmint::key::KeyType;
use certmint::server::{
    Ended, Listener, Provisioning, Redirect, Security, Server, Shutdown, Telemetry,
};
use certmint::settings::{Content, Limits, ListenAddr, ListenerSettings, Rate};

use super::http_page::Page;
use super::pki::Pki;
use crate::support::{Output, TestEnv, tool};

const TOKEN: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ";

/// What `serve-acme` sets up: a TLS listener and a plain one beside it.
pub(crate) struct Twin {
    https: SocketAddr,
    http: SocketAddr,
    certificates: Arc<CertificateTable>,
    pub(crate) challenges: Arc<ChallengeTable>,
    provisioning: Provisioning,
    shutdown: Shutdown,
    thread: Option<JoinHandle<Ended>>,
}

impl Twin {
    fn start() -> Self {
        Self::on(0, 0)
    }

    /// On these ports of the loopback address.
    pub(crate) fn on(http: u16, https: u16) -> Self {
        Self::with(http, https, &Limits::default())
    }

    fn with(http: u16, https: u16, limits: &Limits) -> Self {
        let certificates = Arc::new(CertificateTable::strict());
        let challenges = Arc::<ChallengeTable>::default();
        let provisioning = Provisioning::begun();
        let listener = |port, security| Listener {
            settings: ListenerSettings {
                limits: limits.clone(),
                ..ListenerSettings::new(
                    ListenAddr(SocketAddr::from(([127, 0, 0, 1], port))),
                    Content::Page,
                )
            },
            security,
        };
        let redirect = Redirect {
            certificates: Arc::<CertificateTable>::clone(&certificates),
            challenges: Arc::clone(&challenges),
            provisioning: provisioning.clone(),
            to: 1,
        };
        let tls = Security::TlsWithChallenges {
            certificates: Arc::<CertificateTable>::clone(&certificates),
            challenges: Arc::clone(&challenges),
        };
        let listeners = vec![
            listener(http, Security::Redirect(redirect)),
            listener(https, tls),
        ];
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let shutdown = Shutdown::new();
        let server =
            Server::bind(listeners, &clock, shutdown.clone(), &Telemetry::default()).unwrap();
        let addresses = server.addresses();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(server.run()).unwrap()
        });
        Self {
            http: addresses[0],
            https: addresses[1],
            certificates,
            challenges,
            provisioning,
            shutdown,
            thread: Some(thread),
        }
    }

    /// The certificate for `a.test` is there; provisioning is over.
    fn provisioned(&self) {
        let bundle = Pki::new().leaf(KeyType::P256, &["a.test"]);
        self.certificates
            .replace(SourceId::new("a.test"), &[bundle])
            .unwrap();
        self.provisioning.finish();
    }

    /// curl to the plain port, for the host `host`.
    fn get(&self, env: &TestEnv, host: &str, path: &str, more: &[&str]) -> Page {
        let url = format!("http://{}{path}", self.http);
        let host = format!("host: {host}");
        let always = [
            "-sS",
            "-i",
            "--max-time",
            "50",
            "--path-as-is",
            "-H",
            &host,
            &url,
        ];
        let run = env.command(tool("curl").unwrap(), always).args(more).run();
        Page::parse(run.success().stdout())
    }

    /// What `openssl s_client` sees when it offers `alpn` for `name`, sends a request,
    /// and reads until the server closes.
    fn s_client(&self, env: &TestEnv, name: &str, alpn: &str) -> Output {
        let connect = self.https.to_string();
        let args = ["s_client", "-connect", &connect, "-servername", name];
        let more = ["-alpn", alpn, "-ign_eof", "-showcerts"];
        let request = "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";
        env.command(tool("openssl").unwrap(), args.iter().chain(&more))
            .stdin(request)
            .run()
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        self.shutdown.force();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

fn challenge(kind: ChallengeKind, name: &str) -> Challenge {
    let thumbprint = "nP1qzpXGymHBrUEepNY9HCsQk7K8KhOypzEt62jcerQ";
    Challenge {
        identifier: Identifier::parse(name).unwrap(),
        wildcard: false,
        kind,
        token: Token::parse(TOKEN).unwrap(),
        key_authorization: KeyAuthorization::new(format!("{TOKEN}.{thumbprint}")).unwrap(),
    }
}

#[test]
fn the_plain_port_answers_open_tokens_first_then_503_then_sends_to_https() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let twin = Twin::start();
    let path = format!("/.well-known/acme-challenge/{TOKEN}");
    let open = [challenge(ChallengeKind::Http01, "a.test")];

    for path in ["/", &path] {
        twin.get(&env, "a.test", path, &[])
            .has(" 503")
            .has("retry-after: 5")
            .has("cache-control: no-store");
    }
    twin.challenges.insert(&open).unwrap();
    let answered = |host| {
        let page = twin.get(&env, host, &path, &[]);
        page.has(" 200").has("content-type: text/plain\r\n");
        assert_eq!(page.body, open[0].key_authorization.as_str());
    };
    for host in ["a.test", "127.0.0.1", "unknown.test"] {
        answered(host);
    }
    twin.get(&env, "a.test", &path, &["-d", "x"]).has(" 405");

    twin.provisioned();
    answered("a.test");
    twin.challenges.remove(&open);
    let port = twin.https.port();
    let to = |path: &str| format!("location: https://a.test:{port}{path}\r\n").to_lowercase();
    for path in ["/", "/x?y=z", &path, "//evil.test/", "/../x"] {
        let page = twin.get(&env, "a.test:80", path, &[]);
        page.has(" 301").has(&to(path));
    }
    let page = twin.get(&env, "A.Test", "/form", &["-d", "x"]);
    page.has(" 308").has(&to("/form"));
    for host in ["b.test", "127.0.0.1", "[::1]", "a.test.evil.test"] {
        let page = twin.get(&env, host, "/", &[]);
        page.has(" 421");
        assert!(!page.head.contains("location"), "{host}: {}", page.head);
    }
}

#[test]
fn no_rate_keeps_a_ca_from_an_open_challenge() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let limits = Limits {
        rate: Some(Rate {
            per_second: NonZeroU32::MIN,
            burst: NonZeroU32::MIN,
        }),
        ..Limits::default()
    };
    let twin = Twin::with(0, 0, &limits);
    let open = [challenge(ChallengeKind::Http01, "a.test")];
    twin.challenges.insert(&open).unwrap();
    let path = format!("/.well-known/acme-challenge/{TOKEN}");
    for _ in 0..5 {
        twin.get(&env, "a.test", &path, &[]).has(" 200");
    }
    twin.get(&env, "a.test", "/", &[]).has(" 503");
    let other = "/.well-known/acme-challenge/other";
    let refused = |path| twin.get(&env, "a.test", path, &[]).head.contains(" 429");
    assert!(refused("/") || refused("/") || refused("/"), "no limit");
    assert!(
        refused(other) || refused(other),
        "a token that is not open is free"
    );
    twin.get(&env, "a.test", &path, &[]).has(" 200");
}

#[test]
fn acme_tls_is_spoken_for_open_names_alone_and_never_carries_http() {
    let Some(_) = tool("openssl") else { return };
    let env = TestEnv::new();
    let twin = Twin::start();
    let unknown = "unrecognized name";
    let validated = "ALPN protocol: acme-tls/1";
    let said = |name: &str, alpn: &str| {
        let out = twin.s_client(&env, name, alpn);
        format!("{}{}", out.stdout(), out.stderr())
    };
    let has = |text: String, needle: &str| {
        assert!(text.contains(needle), "no `{needle}` in {text}");
        text
    };
    // Provisioning: nobody is let in.
    for alpn in ["acme-tls/1", "h2,http/1.1"] {
        has(said("a.test", alpn), unknown);
    }
    let open = [challenge(ChallengeKind::TlsAlpn01, "a.test")];
    twin.challenges.insert(&open).unwrap();
    let text = has(said("A.test", "acme-tls/1"), validated);
    assert!(!text.contains("HTTP/1.1 "), "{text}");
    assert!(!text.contains("New Session Ticket arrived"), "{text}");
    has_acme_identifier(&env, &text);
    for (name, alpn) in [
        ("a.test", "h2"),
        ("b.test", "acme-tls/1"),
        ("a.test", "acme-tls/1,http/1.1"),
    ] {
        has(said(name, alpn), unknown);
    }
    // Serving: the challenge beside the real certificate.
    twin.provisioned();
    has(said("a.test", "acme-tls/1"), validated);
    has(said("a.test", "http/1.1"), "HTTP/1.1 200");
    has(
        said("a.test", "acme-tls/1,http/1.1"),
        "ALPN protocol: http/1.1",
    );
    twin.challenges.remove(&open);
    has(said("a.test", "acme-tls/1"), "no application protocol");
    // An address is asked for by its reverse name (RFC 8738 §6).
    let address = [challenge(ChallengeKind::TlsAlpn01, "127.0.0.1")];
    twin.challenges.insert(&address).unwrap();
    has(said("1.0.0.127.in-addr.arpa", "acme-tls/1"), validated);
}

/// What OpenSSL finds in the certificate that `s_client` showed.
fn has_acme_identifier(env: &TestEnv, shown: &str) {
    let begin = shown.find("-----BEGIN CERTIFICATE-----").unwrap();
    let args = ["x509", "-noout", "-text"];
    let openssl = tool("openssl").unwrap();
    let out = env.command(openssl, args).stdin(&shown[begin..]).run();
    let out = out.success();
    for part in ["1.3.6.1.5.5.7.1.31: critical", "DNS:a.test"] {
        assert!(out.stdout().contains(part), "no {part} in {}", out.stdout());
    }
}

#[test]
fn a_redirect_to_no_listener_does_not_start() {
    let redirect = Redirect {
        certificates: Arc::new(CertificateTable::strict()),
        challenges: Arc::default(),
        provisioning: Provisioning::default(),
        to: 1,
    };
    let listener = Listener {
        settings: ListenerSettings::new("127.0.0.1:0".parse().unwrap(), Content::Page),
        security: Security::Redirect(redirect),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let error = Server::bind(
        vec![listener],
        &clock,
        Shutdown::new(),
        &Telemetry::default(),
    )
    .unwrap_err();
    assert_eq!(error.to_string(), "there is no listener 1 to redirect to");
}
