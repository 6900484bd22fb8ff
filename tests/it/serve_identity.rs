//! `certmint serve-custom` without a certificate of somebody's: a raw public key, and
//! a certificate of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use certmint::key::{KeyType, PrivateKey};
use data_encoding::BASE64;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error,
    SignatureScheme, StreamOwned,
};

use crate::support::{Server, TestEnv, tool};

const PATIENCE: Duration = Duration::from_secs(40);

/// Believes the server that has this key.
#[derive(Debug)]
struct Knows(Vec<u8>, WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Knows {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if end_entity.as_ref() == self.0 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(CertificateError::BadEncoding.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(cert.as_ref());
        verify_tls13_signature_with_raw_key(message, &spki, dss, &self.1)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// What a client that knows `key` gets for `/`.
fn get(address: SocketAddr, name: &str, key: &PrivateKey) -> std::io::Result<String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let knows = Knows(
        key.public_key_der(),
        provider.signature_verification_algorithms,
    );
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(knows))
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let tls = ClientConnection::new(Arc::new(client), name).unwrap();
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(tls, stream);
    stream.write_all(b"GET / HTTP/1.1\r\nhost: any.test\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn start(env: &TestEnv, args: &[&str]) -> (Server, SocketAddr, String) {
    let run = env
        .certmint(["serve-custom", "--https", "127.0.0.1:0"])
        .args(args);
    let mut server = run.spawn();
    let line = server.await_line("serving https://");
    let address = crate::support::address_in(&line).unwrap();
    (server, address, line)
}

#[test]
fn a_raw_key_is_served_to_those_who_know_it_and_can_be_changed() {
    let env = TestEnv::new();
    let [first, second] = [(); 2].map(|()| PrivateKey::generate(KeyType::Ed25519).unwrap());
    let path = env.write("key.pem", &*first.to_pem());
    let path = path.to_str().unwrap();
    let (mut server, address, line) = start(&env, &["--raw-key", path]);
    let fingerprint = |key: &PrivateKey| {
        let spki = key.public_key_der();
        format!("ed25519:{}", BASE64.encode(&spki[spki.len() - 32..]))
    };
    assert!(line.contains(&fingerprint(&first)), "{line}");
    for name in ["any.test", "other.test", "127.0.0.1"] {
        let said = get(address, name, &first).unwrap();
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
        assert!(said.contains("encrypted with TLS 1.3"), "{said}");
    }
    assert!(get(address, "any.test", &second).is_err());
    if let Some(curl) = tool("curl") {
        // A client that wants a certificate is refused.
        let url = format!("https://{address}/");
        let out = env.command(curl, ["-sSk", &url]).run();
        assert!(!out.status().success(), "{out:?}");
    }
    // Not a key that can be served: the old one stays.
    let p256 = PrivateKey::generate(KeyType::P256).unwrap();
    env.write("key.pem", &*p256.to_pem());
    let line = server.await_line("serving on");
    assert!(line.contains("WARN") && line.contains(path), "{line}");
    assert!(get(address, "any.test", &first).is_ok());
    env.write("key.pem", &*second.to_pem());
    server.await_line(&fingerprint(&second));
    assert!(get(address, "any.test", &second).is_ok());
    assert!(get(address, "any.test", &first).is_err());
    let _ = server.terminate().success();
}

/// A client by others: GnuTLS asks for a raw key, and keeps what it got.
#[test]
fn gnutls_is_shown_the_raw_key_and_a_client_that_cannot_take_one_nothing() {
    let Some(gnutls) = tool("gnutls-cli") else {
        return;
    };
    let env = TestEnv::new();
    let key = PrivateKey::generate(KeyType::Ed25519).unwrap();
    let path = env.write("key.pem", &*key.to_pem());
    let (server, address, _) = start(&env, &["--raw-key", path.to_str().unwrap()]);
    let port = address.port().to_string();
    let get = "GET / HTTP/1.1\r\nhost: any.test\r\nconnection: close\r\n\r\n";
    // There is nobody to verify a raw key by but who compares it.
    let connect = |kinds: &str| {
        let kinds = format!("NORMAL:-VERS-ALL:+VERS-TLS1.3:{kinds}");
        let args = ["--insecure", "--save-cert", "got", "--port", &port];
        let run = env.command(&gnutls, args).args(["--priority", &kinds]);
        run.arg("127.0.0.1").stdin(get).run()
    };
    for kinds in [
        "-CTYPE-SRV-X509:+CTYPE-SRV-RAWPK",
        "-CTYPE-SRV-ALL:+CTYPE-SRV-RAWPK:+CTYPE-SRV-X509",
    ] {
        let said = connect(kinds).success();
        let words = said.stdout();
        assert!(
            words.contains("Certificate type: Raw Public Key"),
            "{words}"
        );
        assert!(words.contains("- Handshake was completed"), "{words}");
        // It calls everything that it keeps a certificate.
        let kept = env.read("got");
        let pem: String = kept.lines().filter(|l| !l.starts_with('-')).collect();
        let spki = BASE64.decode(pem.as_bytes()).unwrap();
        assert_eq!(spki, key.public_key_der(), "{kept}");
    }
    let said = connect("+CTYPE-SRV-X509");
    assert!(!said.status().success(), "{said:?}");
    let _ = server.terminate().success();
}

#[test]
fn a_key_that_is_not_ed25519_is_refused_with_its_path() {
    let env = TestEnv::new();
    let p256 = PrivateKey::generate(KeyType::P256).unwrap();
    for (name, text) in [("p256.pem", p256.to_pem().as_str()), ("empty.pem", "")] {
        let path = env.write(name, text);
        let run = env.certmint(["serve-custom", "--https", "127.0.0.1:0", "--raw-key"]);
        let out = run.arg(&path).run().code(1);
        assert!(out.stderr().contains(name), "{}", out.stderr());
        assert!(!out.stderr().contains("serving"), "{}", out.stderr());
    }
}

#[test]
fn a_self_signed_certificate_is_said_loudly_differs_each_time_and_is_not_written() {
    let Some(curl) = tool("curl") else { return };
    let env = TestEnv::new();
    let names = ["--self-signed", "try.test", "--self-signed", "127.0.0.1"];
    let fingerprint = || {
        let (server, address, line) = start(&env, &names);
        assert!(line.contains("try.test +1"), "{line}");
        assert!(server.log().contains("self-signed"), "{}", server.log());
        let json = ["-sSk", "-H", "accept: application/json"];
        let url = format!("https://{address}/");
        let out = env
            .command(&curl, json.iter().chain(&[&*url]))
            .run()
            .success();
        let json: serde_json::Value = serde_json::from_str(out.stdout()).unwrap();
        let certificate = &json["certificate"];
        assert_eq!(certificate["names"][0], "try.test");
        assert_eq!(certificate["subject"], certificate["issuer"]);
        let sha256 = certificate["sha256"].as_str().unwrap().to_owned();
        let refused = env.command(&curl, ["-sS", &url]).run();
        assert!(!refused.status().success());
        let _ = server.terminate().success();
        sha256
    };
    assert_ne!(fingerprint(), fingerprint());
    let state = env.state();
    let written = fs::read_dir(&state).map_or(0, Iterator::count);
    assert_eq!(written, 0, "{}", state.display());
    for odd in ["mail@try.test", "spiffe://try.test/x"] {
        let run = env.certmint([
            "serve-custom",
            "--https",
            "127.0.0.1:0",
            "--self-signed",
            odd,
        ]);
        let out = run.run().code(1);
        assert!(out.stderr().contains("hint: "), "{}", out.stderr());
    }
}

#[test]
fn one_identity_is_asked_for() {
    let env = TestEnv::new();
    for args in [
        &[][..],
        &["--cert", "a.pem"],
        &["--key", "a.pem"],
        &["--raw-key", "a.pem", "--self-signed", "a.test"],
        &["--cert", "a.pem", "--key", "a.pem", "--raw-key", "a.pem"],
        &[
            "--cert",
            "a.pem",
            "--key",
            "a.pem",
            "--self-signed",
            "a.test",
        ],
    ] {
        let out = env.certmint(["serve-custom"]).args(args).run();
        let _ = out.code(2);
    }
}
