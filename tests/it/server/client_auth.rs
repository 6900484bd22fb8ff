//! Clients that show who they are: which of them come in, what the others are told,
//! and what the upstream learns.

mod identity;
mod trust;

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;

use certmint::bundle::{CertBundle, Certificate};
use certmint::key::{KeyType, PrivateKey};
use certmint::settings::{
    ClientAuth, ClientFingerprint, Content, Demand, ListenerSettings, TlsPolicy,
};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, ClientConfig, ClientConnection, HandshakeKind, StreamOwned};

use super::pki::Pki;
use super::site::{Site, anywhere, read_until};
use super::tls::s_client_sending;
use crate::support::{TestEnv, tool};

const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n\r\n";

/// A page for the clients that `clients` lets in.
fn site(env: &TestEnv, clients: ClientAuth) -> Site {
    Site::tls_with(env, listener(Content::Page, clients))
}

fn listener(content: Content, clients: ClientAuth) -> ListenerSettings {
    ListenerSettings {
        tls: TlsPolicy {
            clients,
            hsts: None,
        },
        ..anywhere(content)
    }
}

/// Trusts the certificates of `pki`; its revocation lists are looked at when there
/// are any.
fn authorities(env: &TestEnv, pki: &Pki, crls: &[String], demand: Demand) -> ClientAuth {
    let crls = (!crls.is_empty()).then(|| env.write("crl.pem", crls.concat()));
    ClientAuth::Authorities {
        roots: env.write("clients.pem", pki.root.to_pem()),
        crls: crls.into_iter().collect(),
        demand,
    }
}

fn fingerprint(bundle: &CertBundle) -> ClientFingerprint {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bundle.leaf().der());
    ClientFingerprint::Certificate(hash.as_ref().try_into().unwrap())
}

fn key_fingerprint(key: &PrivateKey) -> ClientFingerprint {
    let spki = key.public_key_der();
    ClientFingerprint::Ed25519(spki[spki.len() - 32..].try_into().unwrap())
}

/// What a client shows.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>, bool);

impl Shown {
    fn certificate(bundle: &CertBundle) -> Self {
        Self::signing_with(bundle, bundle.key())
    }

    /// A certificate whose key the client may not have.
    fn signing_with(bundle: &CertBundle, key: &PrivateKey) -> Self {
        let chain = bundle.chain().iter().map(|c| c.der().clone()).collect();
        Self(certified(chain, key), false)
    }

    fn raw_key(shown: &PrivateKey, signing: &PrivateKey) -> Self {
        let spki = CertificateDer::from(shown.public_key_der());
        Self(certified(vec![spki], signing), true)
    }
}

fn certified(chain: Vec<CertificateDer<'static>>, key: &PrivateKey) -> Arc<CertifiedKey> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key.to_rustls());
    Arc::new(CertifiedKey::new(chain, key.unwrap()))
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// How a client of `site` that shows `shown` connects.
fn client(site: &Site, shown: Option<Shown>) -> Arc<ClientConfig> {
    let mut client = site.client("http/1.1");
    match shown {
        None => {}
        Some(Shown(key, true)) => {
            client.client_auth_cert_resolver =
                Arc::new(AlwaysResolvesClientRawPublicKeys::new(key));
        }
        Some(shown) => client.client_auth_cert_resolver = Arc::new(shown),
    }
    Arc::new(client)
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Connects and asks for the page: the header of the answer, or the alert when that is refused.
fn ask(site: &Site, client: &Arc<ClientConfig>) -> Result<(Stream, String), AlertDescription> {
    let refused = |error: io::Error| {
        let error = error.get_ref().and_then(|e| e.downcast_ref());
        let Some(rustls::Error::AlertReceived(alert)) = error else {
            panic!("no alert, but {error:?}")
        };
        *alert
    };
    let mut stream = site.handshake_with(client, "localhost").map_err(refused)?;
    // In TLS 1.3 the client is done before the server has looked at its certificate.
    let asked = stream.write_all(GET.as_bytes());
    let mut first = [0];
    let read = asked.and_then(|()| io::Read::read_exact(&mut stream, &mut first));
    read.map_err(refused)?;
    let header = read_until(&mut stream, "\r\n\r\n");
    Ok((stream, header))
}

/// The alert, or `None` for a client that comes in.
fn alert(site: &Site, shown: Option<Shown>) -> Option<AlertDescription> {
    match ask(site, &client(site, shown)) {
        Err(alert) => Some(alert),
        Ok((_, header)) => {
            // Misdirected: who is trusted has changed since the handshake.
            let answered = [" 200 ", " 421 "].iter().any(|s| header.contains(s));
            assert!(answered, "{header}");
            None
        }
    }
}

#[test]
fn each_policy_lets_in_whom_it_should_and_tells_the_others_why() {
    use AlertDescription::{
        CertificateExpired, CertificateRequired, CertificateRevoked, DecryptError, UnknownCA,
        UnsupportedCertificate,
    };
    let pki = Pki::new();
    let stranger = Pki::named("Other").client(KeyType::P256, &["alice.test"]);
    // The names of our authorities, and other keys.
    let pretender = Pki::new().client(KeyType::P256, &["alice.test"]);
    let good = pki.client(KeyType::P256, &["alice.test"]);
    let revoked = pki.client(KeyType::P256, &["bob.test"]);
    let server = pki.signed(KeyType::P256, &["carol.test"], |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    let expired = pki.signed(KeyType::P256, &["dora.test"], |params| {
        params.not_after = rcgen::date_time_ymd(2025, 2, 1);
    });
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let short = CertBundle::new(
        PrivateKey::from_der(good.key().to_rustls().secret_der()).unwrap(),
        vec![good.leaf().clone()],
    )
    .unwrap();
    let lists = |revoked: &[&Certificate], year| vec![pki.crl(revoked, year), pki.root_crl()];
    // Files of their own: those that change are taken over.
    let envs: [TestEnv; 6] = std::array::from_fn(|_| TestEnv::new());
    let mut rest = envs.iter();
    let mut with = |crls: &[String], demand| {
        let env = rest.next().unwrap();
        site(env, authorities(env, &pki, crls, demand))
    };
    let required = with(&[], Demand::Require);
    let requested = with(&[], Demand::Request);
    let current = with(&lists(&[revoked.leaf()], 2045), Demand::Require);
    let outdated = with(&lists(&[], 2025), Demand::Require);
    let half = with(&[pki.root_crl()], Demand::Require);
    let other_half = with(&[pki.crl(&[], 2045)], Demand::Require);
    let show = |bundle: &CertBundle| Some(Shown::certificate(bundle));
    let stolen = || Some(Shown::signing_with(&good, &key));
    for (case, site, shown, expected) in [
        ("nothing", &required, None, Some(CertificateRequired)),
        ("good", &required, show(&good), None),
        ("revoked, no list", &required, show(&revoked), None),
        ("other CA", &required, show(&stranger), Some(UnknownCA)),
        (
            "same names",
            &required,
            show(&pretender),
            Some(DecryptError),
        ),
        ("no intermediate", &required, show(&short), Some(UnknownCA)),
        (
            "a server's",
            &required,
            show(&server),
            Some(UnsupportedCertificate),
        ),
        (
            "expired",
            &required,
            show(&expired),
            Some(CertificateExpired),
        ),
        ("stolen", &required, stolen(), Some(DecryptError)),
        // Whoever shows nothing is a stranger, whoever shows a bad one is refused.
        ("nothing", &requested, None, None),
        ("good", &requested, show(&good), None),
        ("other CA", &requested, show(&stranger), Some(UnknownCA)),
        (
            "expired",
            &requested,
            show(&expired),
            Some(CertificateExpired),
        ),
        ("stolen", &requested, stolen(), Some(DecryptError)),
        ("good", &current, show(&good), None),
        (
            "revoked",
            &current,
            show(&revoked),
            Some(CertificateRevoked),
        ),
        ("nothing", &current, None, Some(CertificateRequired)),
        // What nobody can say counts as revoked.
        ("list outdated", &outdated, show(&good), Some(UnknownCA)),
        ("issuer's list missing", &half, show(&good), Some(UnknownCA)),
        (
            "root's list missing",
            &other_half,
            show(&good),
            Some(UnknownCA),
        ),
    ] {
        assert_eq!(alert(site, shown), expected, "{case}");
    }
}

#[test]
fn fingerprints_let_in_a_certificate_or_a_key_whoever_issued_it() {
    use AlertDescription::{AccessDenied, CertificateRequired, DecryptError, HandshakeFailure};
    let env = TestEnv::new();
    let pki = Pki::new();
    let listed = pki.signed(KeyType::P256, &["a.test"], |params| {
        // Nobody asks when it was valid, nor what for.
        params.not_after = rcgen::date_time_ymd(2025, 2, 1);
    });
    let other = pki.client(KeyType::P256, &["a.test"]);
    let known = pki.client(KeyType::Ed25519, &["k.test"]);
    let unknown = pki.client(KeyType::Ed25519, &["k.test"]);
    let (known_key, unknown_key) = (known.key(), unknown.key());
    let both = site(
        &env,
        ClientAuth::Fingerprints(vec![fingerprint(&listed), key_fingerprint(known_key)]),
    );
    let certificates = site(&env, ClientAuth::Fingerprints(vec![fingerprint(&listed)]));
    let show = |bundle: &CertBundle| Some(Shown::certificate(bundle));
    let raw = |shown: &PrivateKey, signing: &PrivateKey| Some(Shown::raw_key(shown, signing));
    for (case, site, shown, expected) in [
        ("nothing", &both, None, Some(CertificateRequired)),
        ("listed", &both, show(&listed), None),
        ("not listed", &both, show(&other), Some(AccessDenied)),
        ("listed key", &both, show(&known), None),
        ("other key", &both, show(&unknown), Some(AccessDenied)),
        (
            "stolen certificate",
            &both,
            Some(Shown::signing_with(&listed, other.key())),
            Some(DecryptError),
        ),
        (
            "stolen certificate of a key",
            &both,
            Some(Shown::signing_with(&known, unknown_key)),
            Some(DecryptError),
        ),
        ("raw key", &both, raw(known_key, known_key), None),
        (
            "other raw key",
            &both,
            raw(unknown_key, unknown_key),
            Some(AccessDenied),
        ),
        (
            "stolen raw key",
            &both,
            raw(known_key, unknown_key),
            Some(DecryptError),
        ),
        ("listed", &certificates, show(&listed), None),
        (
            "key not listed",
            &certificates,
            show(&known),
            Some(AccessDenied),
        ),
        // Where no key is listed, none is negotiated.
        (
            "raw key",
            &certificates,
            raw(known_key, known_key),
            Some(HandshakeFailure),
        ),
    ] {
        assert_eq!(alert(site, shown), expected, "{case}");
    }
}

#[test]
fn openssl_is_told_whose_certificates_are_taken_and_why_its_own_is_not() {
    let Some(_) = tool("openssl") else { return };
    let env = TestEnv::new();
    let pki = Pki::new();
    let (good, revoked) = (
        pki.client(KeyType::P256, &["a.test"]),
        pki.client(KeyType::P256, &["b.test"]),
    );
    let stranger = Pki::named("Other").client(KeyType::P256, &["a.test"]);
    let crls = [pki.crl(&[revoked.leaf()], 2045), pki.root_crl()];
    let site = site(&env, authorities(&env, &pki, &crls, Demand::Require));
    for version in ["-tls1_2", "-tls1_3"] {
        for (name, bundle, expected) in [
            ("good", Some(&good), "200 OK"),
            ("revoked", Some(&revoked), "alert certificate revoked"),
            ("stranger", Some(&stranger), "alert unknown ca"),
            ("nothing", None, "alert"),
        ] {
            let pem = env.write(
                "client.pem",
                bundle.map_or(String::new(), |b| b.combined_pem().to_string()),
            );
            let pem = pem.to_str().unwrap();
            let mut args = vec![version, "-servername", "localhost", "-ign_eof"];
            if bundle.is_some() {
                args.extend(["-cert", pem, "-cert_chain", pem, "-key", pem]);
            }
            let out = s_client_sending(&env, &site, &args, GET_AND_CLOSE);
            let said = format!("{}{}", out.stdout(), out.stderr());
            assert!(said.contains(expected), "{version} {name}: {said}");
        }
        let out = s_client_sending(&env, &site, &[version, "-servername", "localhost"], "");
        let said = out.stdout();
        assert!(
            said.contains("Acceptable client certificate CA names\nCN = Test Root"),
            "{said}"
        );
    }
}

const GET_AND_CLOSE: &str = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Clients with a memory: what one listener let them keep must be worth nothing to
/// another.
#[test]
fn a_ticket_of_an_open_listener_opens_none_that_asks_who_comes() {
    let env = TestEnv::new();
    let pki = Pki::new();
    let open = Site::page(&env);
    let clients = pki.client(KeyType::P256, &["a.test"]);
    let demanding = [
        authorities(&env, &pki, &[], Demand::Require),
        authorities(&env, &pki, &[], Demand::Request),
        ClientAuth::Fingerprints(vec![fingerprint(&clients)]),
    ];
    for policy in demanding {
        let closed = Site::tls_with_pki(&env, &open.pki, listener(Content::Page, policy.clone()));
        let client = client(&open, None);
        ask(&open, &client).unwrap();
        let (again, _) = ask(&open, &client).unwrap();
        assert_eq!(again.conn.handshake_kind(), Some(HandshakeKind::Resumed));
        match ask(&closed, &client) {
            Err(alert) => assert_eq!(alert, AlertDescription::CertificateRequired),
            Ok((stream, _)) => {
                assert!(matches!(
                    policy,
                    ClientAuth::Authorities {
                        demand: Demand::Request,
                        ..
                    }
                ));
                assert_eq!(stream.conn.handshake_kind(), Some(HandshakeKind::Full));
            }
        }
        // And it gives none of its own.
        let known = self::client(&closed, Some(Shown::certificate(&clients)));
        for _ in 0..2 {
            let (stream, _) = ask(&closed, &known).unwrap();
            assert_eq!(stream.conn.handshake_kind(), Some(HandshakeKind::Full));
        }
    }
}

#[test]
fn openssl_resumes_where_anybody_may_connect_and_nowhere_else() {
    let Some(_) = tool("openssl") else { return };
    let env = TestEnv::new();
    let pki = Pki::new();
    let open = Site::page(&env);
    let other = Site::tls_with_pki(
        &env,
        &open.pki,
        listener(Content::Page, ClientAuth::Anybody),
    );
    let policy = authorities(&env, &pki, &[], Demand::Require);
    let closed = Site::tls_with_pki(&env, &open.pki, listener(Content::Page, policy));
    let bundle = pki.client(KeyType::P256, &["a.test"]);
    let pem = env.write("client.pem", &*bundle.combined_pem());
    let pem = pem.to_str().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let session = env.path(format!("session{version}"));
        let session = session.to_str().unwrap();
        let run = |site: &Site, how: &str, more: &[&str]| {
            let args = [
                version,
                "-servername",
                "localhost",
                "-ign_eof",
                how,
                session,
            ];
            let out = s_client_sending(&env, site, &[&args[..], more].concat(), GET_AND_CLOSE);
            format!("{}{}", out.stdout(), out.stderr())
        };
        run(&open, "-sess_out", &[]);
        let resumed = run(&open, "-sess_in", &[]);
        assert!(resumed.contains("Reused, TLSv1"), "{version}: {resumed}");
        let elsewhere = run(&other, "-sess_in", &[]);
        assert!(elsewhere.contains("New, TLSv1"), "{version}: {elsewhere}");
        let refused = run(&closed, "-sess_in", &[]);
        assert!(!refused.contains("Reused"), "{version}: {refused}");
        assert!(!refused.contains("200 OK"), "{version}: {refused}");
        let own = ["-cert", pem, "-cert_chain", pem, "-key", pem];
        let let_in = run(&closed, "-sess_in", &own);
        assert!(let_in.contains("200 OK"), "{version}: {let_in}");
        assert!(let_in.contains("New, TLSv1"), "{version}: {let_in}");
        assert!(
            !let_in.contains("TLS session ticket:"),
            "{version}: {let_in}"
        );
    }
}
