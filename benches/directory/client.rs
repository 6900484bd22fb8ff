//! A client of ACME that wastes no time: one connection, no pause but between polls,
//! and whatever certificate the server shows is believed.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use data_encoding::BASE64URL_NOPAD;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

/// How long is waited before what is not done yet is asked for again.
const POLL: Duration = Duration::from_millis(2);

/// The thumbprints of the clients' keys, by the address that each controls.
static THUMBPRINTS: LazyLock<Mutex<HashMap<IpAddr, String>>> = LazyLock::new(Mutex::default);

/// Answers one http-01 request.
pub(crate) async fn answer(mut stream: TcpStream) {
    let mut request = [0; 2048];
    let Ok(read) = stream.read(&mut request).await else {
        return;
    };
    let text = String::from_utf8_lossy(&request[..read]);
    let path = text.split(' ').nth(1).unwrap_or_default();
    let token = path.rsplit('/').next().unwrap_or_default();
    let local = stream.local_addr().unwrap().ip();
    let thumbprint = THUMBPRINTS.lock().unwrap().get(&local).cloned();
    let body = format!("{token}.{}", thumbprint.unwrap_or_default());
    let reply = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(reply.as_bytes()).await;
}

/// An account with one connection, that orders certificates for one address.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    directory: Value,
    key: EcdsaKeyPair,
    jwk: Value,
    kid: Option<String>,
    nonce: String,
    address: Ipv4Addr,
    csr: String,
}

struct Reply {
    location: Option<String>,
    body: Bytes,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Client {
    pub(crate) async fn new(directory: &str, address: Ipv4Addr) -> Self {
        let url: Url = directory.parse().unwrap();
        let sender = connect(&url).await;
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref()).unwrap();
        let point = key.public_key().as_ref();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        let canonical = format!("{{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"{x}\",\"y\":\"{y}\"}}");
        let thumbprint =
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, canonical.as_bytes());
        let thumbprint = encode(thumbprint.as_ref());
        THUMBPRINTS
            .lock()
            .unwrap()
            .insert(address.into(), thumbprint);
        let port = url.port().map_or(String::new(), |port| format!(":{port}"));
        let mut client = Self {
            sender,
            host: format!("{}{port}", url.host_str().unwrap()),
            directory: Value::Null,
            key,
            jwk: serde_json::from_str(&canonical).unwrap(),
            kid: None,
            nonce: String::new(),
            address,
            csr: csr(address),
        };
        client.directory = client.send("GET", url.path(), Bytes::new()).await.json();
        let nonce = client.url("newNonce");
        client.send("HEAD", path_of(&nonce), Bytes::new()).await;
        let new_account = client.url("newAccount");
        let agreed = json!({ "termsOfServiceAgreed": true });
        let account = client.post(&new_account, agreed).await;
        client.kid = account.location;
        client
    }

    fn url(&self, name: &str) -> String {
        self.directory[name].as_str().unwrap().to_owned()
    }

    /// From newOrder to the downloaded chain.
    pub(crate) async fn obtain(&mut self) {
        let identifier = json!({ "type": "ip", "value": self.address.to_string() });
        let new_order = self.url("newOrder");
        let made = self
            .post(&new_order, json!({ "identifiers": [identifier] }))
            .await;
        let (order, url) = (made.json(), made.location.unwrap());
        let authz = order["authorizations"][0].as_str().unwrap();
        let object = self.fetch(authz).await.json();
        if object["status"] != "valid" {
            let challenges = object["challenges"].as_array().unwrap();
            let http01 = challenges.iter().find(|c| c["type"] == "http-01").unwrap();
            let challenge = http01["url"].as_str().unwrap();
            let mut seen = self.post(challenge, json!({})).await.json();
            while seen["status"] != "valid" {
                assert_ne!(seen["status"], "invalid", "{seen}");
                tokio::time::sleep(POLL).await;
                seen = self.fetch(authz).await.json();
            }
        }
        let finalize = order["finalize"].as_str().unwrap();
        let csr = json!({ "csr": self.csr });
        let mut done = self.post(finalize, csr).await.json();
        while done["status"] != "valid" {
            assert_ne!(done["status"], "invalid", "{done}");
            tokio::time::sleep(POLL).await;
            done = self.fetch(&url).await.json();
        }
        let chain = self.fetch(done["certificate"].as_str().unwrap()).await;
        assert!(chain.body.starts_with(b"-----BEGIN CERTIFICATE"));
    }

    async fn fetch(&mut self, url: &str) -> Reply {
        self.signed(url, String::new()).await
    }

    async fn post(&mut self, url: &str, payload: Value) -> Reply {
        self.signed(url, payload.to_string()).await
    }

    async fn signed(&mut self, url: &str, payload: String) -> Reply {
        let mut header = json!({ "alg": "ES256", "nonce": self.nonce, "url": url });
        match &self.kid {
            Some(kid) => header["kid"] = json!(kid),
            None => header["jwk"] = self.jwk.clone(),
        }
        let protected = encode(header.to_string().as_bytes());
        let payload = encode(payload.as_bytes());
        let input = format!("{protected}.{payload}");
        let signature = self
            .key
            .sign(&SystemRandom::new(), input.as_bytes())
            .unwrap();
        let body = json!({
            "protected": protected, "payload": payload, "signature": encode(signature.as_ref()),
        });
        self.send("POST", path_of(url), body.to_string().into())
            .await
    }

    async fn send(&mut self, method: &str, path: &str, body: Bytes) -> Reply {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("content-type", "application/jose+json")
            .body(Full::new(body))
            .unwrap();
        self.sender.ready().await.unwrap();
        let (head, body) = self
            .sender
            .send_request(request)
            .await
            .unwrap()
            .into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert!(head.status.is_success(), "{path}: {} {body:?}", head.status);
        let text = |name: &str| Some(head.headers.get(name)?.to_str().unwrap().to_owned());
        if let Some(nonce) = text("replay-nonce") {
            self.nonce = nonce;
        }
        Reply {
            location: text("location"),
            body,
        }
    }
}

fn path_of(url: &str) -> &str {
    let rest = url.strip_prefix("https://").unwrap();
    &rest[rest.find('/').unwrap()..]
}

fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

fn csr(address: Ipv4Addr) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.subject_alt_names = vec![rcgen::SanType::IpAddress(address.into())];
    encode(params.serialize_request(&key).unwrap().der())
}

async fn connect(url: &Url) -> SendRequest<Full<Bytes>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    let tcp = TcpStream::connect(("127.0.0.1", url.port().unwrap()))
        .await
        .unwrap();
    tcp.set_nodelay(true).unwrap();
    let name = ServerName::try_from(url.host_str().unwrap().to_owned()).unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let tls = connector.connect(name, tcp).await.unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

/// A benchmark measures, it does not judge.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA256,
        ]
    }
}
