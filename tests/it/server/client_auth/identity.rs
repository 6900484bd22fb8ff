//! What the upstream is told of clients, and that nobody else can tell it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use data_encoding::BASE64;

use super::*;
use crate::server::proxy::upstream;
use crate::server::site::PATIENCE;

/// Answers every request on a connection of its own and tells its header.
fn recorder() -> (Content, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let content = upstream(&listener);
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let request = read_until(&mut stream, "\r\n\r\n");
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\n\n}\n ";
            stream.write_all(answer.as_bytes()).unwrap();
            if tell.send(request.to_ascii_lowercase()).is_err() {
                return;
            }
        }
    });
    (content, told)
}

/// Every spelling of what only we may say.
const CLAIMS: [&str; 16] = [
    "Client-Cert: :Zm9yZ2Vk:",
    "client_cert: forged",
    "CLIENT-Cert: forged",
    "Client.Cert: forged",
    "Client-Cert-Chain: forged",
    "Client_Cert-Chain: forged",
    "X-Client-Cert-Fingerprint: forged",
    "X_Client_Cert_Fingerprint: forged",
    "X-Client_Cert-San: forged",
    "X-Client-Cert-Subject: forged",
    "X!Client!Cert!San: forged",
    "X-SSL-Client-Cert: forged",
    "X_SSL_CLIENT_VERIFY: forged",
    "SSL-Client-Subject-DN: forged",
    "ssl_client_verify: forged",
    "X-Forwarded-Client-Cert: forged",
];

/// The header that the upstream saw of a request with forged claims.
fn seen(site: &Site, shown: Option<Shown>, requests: &Receiver<String>) -> String {
    let client = client(site, shown);
    let mut stream = site.handshake_with(&client, "localhost").unwrap();
    let claims = CLAIMS.join("\r\n");
    let request = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\n{claims}\r\n\
         connection: client-cert, x-client-cert-fingerprint, close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut first = [0];
    stream.read_exact(&mut first).unwrap();
    let header = requests.recv_timeout(PATIENCE).unwrap();
    for forged in ["forged", "zm9yz2vk"] {
        assert!(!header.contains(forged), "{header}");
    }
    header
}

#[test]
fn the_upstream_learns_who_the_client_is_from_us_alone() {
    let env = TestEnv::new();
    let pki = Pki::new();
    let alice = pki.client(KeyType::P256, &["alice.test", "10.0.0.1"]);
    let keyed = pki.client(KeyType::Ed25519, &["admin.test"]);
    let said = |header: &str, name: &str| {
        let lines: Vec<_> = header.lines().filter(|l| l.starts_with(name)).collect();
        assert!(lines.len() <= 1, "{header}");
        lines.first().map(|line| line[name.len()..].to_owned())
    };
    let whole = |bundle: &CertBundle| {
        let text = BASE64.encode(bundle.leaf().der());
        Some(format!(":{}:", text.to_ascii_lowercase()))
    };
    let sha256 = |bundle: &CertBundle| Some(format!("sha256:{}", bundle.leaf().sha256_hex()));

    let (content, requests) = recorder();
    let open = Site::tls_with(&env, listener(content, ClientAuth::Anybody));
    let header = seen(&open, None, &requests);
    assert!(!header.contains("cert"), "{header}");

    let (content, requests) = recorder();
    let policy = authorities(&env, &pki, &[], Demand::Request);
    let site = Site::tls_with(&env, listener(content, policy));
    let header = seen(&site, None, &requests);
    assert!(!header.contains("cert"), "{header}");
    let header = seen(&site, Some(Shown::certificate(&alice)), &requests);
    assert_eq!(said(&header, "client-cert: "), whole(&alice));
    assert_eq!(said(&header, "x-client-cert-fingerprint: "), sha256(&alice));
    let names = "dns:alice.test, ip:10.0.0.1";
    assert_eq!(said(&header, "x-client-cert-san: ").as_deref(), Some(names));

    let (content, requests) = recorder();
    let list = vec![fingerprint(&alice), key_fingerprint(keyed.key())];
    let site = Site::tls_with(&env, listener(content, ClientAuth::Fingerprints(list)));
    let header = seen(&site, Some(Shown::certificate(&alice)), &requests);
    assert_eq!(said(&header, "client-cert: "), whole(&alice));
    assert_eq!(said(&header, "x-client-cert-fingerprint: "), sha256(&alice));
    // Its key alone is known: the names around it anybody could have made up.
    let spki = keyed.key().public_key_der();
    let key = format!("ed25519:{}", BASE64.encode(&spki[spki.len() - 32..]));
    for shown in [
        Shown::certificate(&keyed),
        Shown::raw_key(keyed.key(), keyed.key()),
    ] {
        let header = seen(&site, Some(shown), &requests);
        let fingerprint = said(&header, "x-client-cert-fingerprint: ");
        assert_eq!(fingerprint, Some(key.to_ascii_lowercase()));
        assert_eq!(said(&header, "client-cert: "), None);
        assert!(!header.contains("admin.test"), "{header}");
    }
}
