//! What a TLS server really sends.
//!
//! Rules kept here: the handshake accepts every certificate, so that a bad one can
//! be shown, and is judged afterwards; not one octet of application data is sent;
//! one deadline covers resolving, connecting and the handshake.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::judge::{chain_info, for_name, judge_certificate, untrusted};
use super::model::{Cert, Connection, Item, Report, TargetKind};
use super::roots::verify;
use super::target::{Endpoint, Host};
use super::{InspectError, Options};
use crate::bundle::Certificate;
use crate::clock::Timestamp;
use crate::finding::rules::{self, Context, Role};
use crate::finding::{Finding, Severity};
use crate::identifier::Identifier;

/// Most certificates of a server's that are looked at.
const MAX_CERTIFICATES: usize = 32;

/// Looks at the server behind `endpoint`.
pub(super) async fn endpoint(
    endpoint: &Endpoint,
    options: &Options,
    now: Timestamp,
) -> Result<Report, InspectError> {
    let wanted = options
        .server_name
        .clone()
        .unwrap_or_else(|| endpoint.host.identifier());
    let (connection, seen) = shake_hands(endpoint, &wanted, options).await?;
    Ok(report(endpoint, &wanted, connection, &seen, options, now))
}

/// What the handshake showed.
#[derive(Debug, Default)]
struct Seen {
    chain: Vec<CertificateDer<'static>>,
    stapled: bool,
    client_certificate_requested: bool,
    bad_signature: Option<String>,
}

async fn shake_hands(
    endpoint: &Endpoint,
    wanted: &Identifier,
    options: &Options,
) -> Result<(Connection, Seen), InspectError> {
    let deadline = Instant::now() + options.deadline;
    let late = |stage| InspectError::Timeout {
        endpoint: endpoint.to_string(),
        stage,
        seconds: options.deadline.as_secs(),
    };
    let addresses = timeout_at(deadline, resolve(endpoint))
        .await
        .map_err(|_| late("resolve"))??;
    let start = Instant::now();
    let (tcp, address) = timeout_at(deadline, connect(endpoint, &addresses))
        .await
        .map_err(|_| late("accept the connection"))??;
    let connect_ms = milliseconds(start);
    let name = server_name(wanted)?;
    let recorder = Arc::new(Recorder::new());
    let connector = TlsConnector::from(Arc::new(config(&recorder, &options.alpn)?));
    let start = Instant::now();
    let result = timeout_at(deadline, connector.connect(name.clone(), tcp))
        .await
        .map_err(|_| late("finish the TLS handshake"))?;
    let mut connection = Connection {
        address: address.to_string(),
        server_name: sni(&name),
        protocol: None,
        cipher_suite: None,
        key_exchange: None,
        alpn_offered: options.alpn.clone(),
        alpn: None,
        ocsp_stapled: false,
        client_certificate_requested: false,
        connect_ms,
        handshake_ms: milliseconds(start),
        error: None,
        verified: None,
    };
    match result {
        Ok(mut stream) => {
            describe(&mut connection, stream.get_ref().1);
            // A polite end; whether the server hears it is its own matter.
            let _ = timeout_at(deadline, stream.shutdown()).await;
        }
        Err(source) if recorder.saw_certificates() => {
            connection.error = Some(crate::finding::words::printable(&source.to_string()));
        }
        Err(source) => {
            return Err(InspectError::Handshake {
                endpoint: endpoint.to_string(),
                source,
            });
        }
    }
    let seen = recorder.take();
    connection.ocsp_stapled = seen.stapled;
    connection.client_certificate_requested = seen.client_certificate_requested;
    Ok((connection, seen))
}

async fn resolve(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, InspectError> {
    let host = match &endpoint.host {
        Host::Address(address) => return Ok(vec![SocketAddr::new(*address, endpoint.port)]),
        Host::Name(name) => name.as_str(),
    };
    let failed = |source| InspectError::Resolve {
        host: host.to_owned(),
        source,
    };
    let found = tokio::net::lookup_host((host, endpoint.port))
        .await
        .map_err(failed)?;
    Ok(found.collect())
}

/// The first address that answers.
async fn connect(
    endpoint: &Endpoint,
    addresses: &[SocketAddr],
) -> Result<(TcpStream, SocketAddr), InspectError> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok((stream, *address)),
            Err(error) => last = error,
        }
    }
    Err(InspectError::Connect {
        endpoint: endpoint.to_string(),
        source: last,
    })
}

fn server_name(wanted: &Identifier) -> Result<ServerName<'static>, InspectError> {
    let name = match wanted {
        Identifier::Dns(name) => ServerName::try_from(name.as_str().to_owned()).ok(),
        Identifier::Ip(address) => Some(ServerName::IpAddress((*address).into())),
        _ => None,
    };
    name.ok_or_else(|| InspectError::ServerName(wanted.clone()))
}

/// Addresses are not sent as SNI (RFC 6066 §3).
fn sni(name: &ServerName<'_>) -> Option<String> {
    match name {
        ServerName::DnsName(name) => Some(name.as_ref().to_owned()),
        _ => None,
    }
}

fn config(recorder: &Arc<Recorder>, alpn: &[String]) -> Result<ClientConfig, InspectError> {
    let provider = Arc::clone(&recorder.provider);
    let verifier: Arc<dyn ServerCertVerifier> = Arc::<Recorder>::clone(recorder);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(InspectError::Prepare)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::<Recorder>::clone(recorder));
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn describe(connection: &mut Connection, tls: &rustls::ClientConnection) {
    connection.protocol = tls.protocol_version().map(|version| match version {
        rustls::ProtocolVersion::TLSv1_3 => "TLS 1.3".to_owned(),
        rustls::ProtocolVersion::TLSv1_2 => "TLS 1.2".to_owned(),
        other => format!("{other:?}"),
    });
    connection.cipher_suite = tls
        .negotiated_cipher_suite()
        .and_then(|suite| suite.suite().as_str())
        .map(|name| name.replace("TLS13_", "TLS_"));
    connection.key_exchange = tls
        .negotiated_key_exchange_group()
        .map(|group| group_name(group.name()));
    connection.alpn = tls
        .alpn_protocol()
        .map(|protocol| crate::identifier::quoted(&String::from_utf8_lossy(protocol)));
}

/// The names that people know the groups by.
fn group_name(group: rustls::NamedGroup) -> String {
    match group {
        rustls::NamedGroup::secp256r1 => "P-256".to_owned(),
        rustls::NamedGroup::secp384r1 => "P-384".to_owned(),
        rustls::NamedGroup::secp521r1 => "P-521".to_owned(),
        other => format!("{other:?}"),
    }
}

fn milliseconds(start: Instant) -> f64 {
    (start.elapsed().as_secs_f64() * 10_000.0).round() / 10.0
}

/// From what the handshake showed to the report.
fn report(
    endpoint: &Endpoint,
    wanted: &Identifier,
    mut connection: Connection,
    seen: &Seen,
    options: &Options,
    now: Timestamp,
) -> Report {
    let place = endpoint.to_string();
    let mut findings = Vec::new();
    let mut chain = Vec::new();
    for (position, der) in seen.chain.iter().take(MAX_CERTIFICATES).enumerate() {
        match Certificate::from_der(der) {
            Ok(certificate) => chain.push(certificate),
            Err(error) => {
                let what = format!("certificate {}", position + 1);
                findings.push(rules::malformed(&what, &place, &error.to_string()));
            }
        }
    }
    let mut item = Item {
        format: "TLS",
        certificates: certs(&chain, now),
        ..Item::default()
    };
    let linked = rules::link(&chain);
    item.findings = rules::chain(&chain, options.roots.certificates(), Context::Served);
    if let Some(cert) = item.certificates.first_mut() {
        cert.chain = Some(chain_info(&chain, &linked, &item.findings));
        // On the wire the same thing is said of the chain, and is worse.
        let served = item.findings.iter().any(|f| f.id == "no-server-auth");
        cert.findings
            .retain(|f| !(served && f.id == "no-server-auth"));
    }
    if let Some(leaf) = chain.first() {
        item.findings.extend(for_name(leaf, wanted));
        if let Some((path, stored)) = &options.on_disk {
            findings.extend(rules::served_differs(&place, leaf, path, stored));
        }
    }
    let verdict = verify(&chain, Some(wanted), &options.roots, now);
    item.findings.extend(untrusted(
        &chain,
        &verdict,
        &item.findings,
        &item.certificates,
        &options.roots,
    ));
    item.verified = Some(verdict.verification.clone());
    connection.verified = Some(verdict.verification);
    findings.extend(about_the_wire(&place, &connection, seen));
    let connection = Some(connection);
    Report::new(
        place,
        TargetKind::Endpoint,
        vec![item],
        connection,
        findings,
        now,
    )
}

/// The first is the server's own, whatever it says of itself.
fn certs(chain: &[Certificate], now: Timestamp) -> Vec<Cert> {
    let judged = chain.iter().enumerate().map(|(position, certificate)| {
        let role = match (position, certificate.is_ca()) {
            (0, _) | (_, false) => Role::Leaf,
            (_, true) if certificate.is_self_issued() => Role::Root,
            (_, true) => Role::Intermediate,
        };
        let mut cert = Cert::of(certificate, role, now);
        judge_certificate(&mut cert, certificate, None, false, now);
        cert
    });
    judged.collect()
}

fn about_the_wire(place: &str, connection: &Connection, seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(reason) = &seen.bad_signature {
        findings.push(rules::handshake_signature(place, reason));
    }
    if let Some(protocol) = &connection.protocol
        && protocol != "TLS 1.3"
    {
        findings.push(rules::no_tls13(place, protocol));
    }
    debug_assert!(findings.iter().all(|f| f.severity != Severity::Warn));
    findings
}

/// Takes every certificate and writes down what it saw.
#[derive(Debug)]
struct Recorder {
    provider: Arc<CryptoProvider>,
    seen: Mutex<Seen>,
}

impl Recorder {
    fn new() -> Self {
        Self {
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            seen: Mutex::default(),
        }
    }

    fn note(&self, write: impl FnOnce(&mut Seen)) {
        write(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn take(&self) -> Seen {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn saw_certificates(&self) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        !seen.chain.is_empty()
    }

    /// A signature that cannot be checked, by SHA-1 or a weak key, is another
    /// rule's matter; one that is wrong means the server has not the key.
    fn judge(
        &self,
        result: &Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        use rustls::CertificateError::BadSignature;
        if let Err(Error::InvalidCertificate(BadSignature)) = result {
            let reason = "its signature over the handshake does not verify".to_owned();
            self.note(|seen| seen.bad_signature = Some(reason));
        }
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.note(|seen| {
            seen.chain = std::iter::once(end_entity)
                .chain(intermediates)
                .map(|der| der.clone().into_owned())
                .collect();
            seen.stapled = !ocsp_response.is_empty();
        });
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.judge(&verify_tls12_signature(message, cert, dss, algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.judge(&verify_tls13_signature(message, cert, dss, algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        // Old servers are to show their certificates too.
        let mut schemes = self
            .provider
            .signature_verification_algorithms
            .supported_schemes();
        schemes.extend([
            SignatureScheme::RSA_PKCS1_SHA1,
            SignatureScheme::ECDSA_SHA1_Legacy,
        ]);
        schemes
    }
}

impl ResolvesClientCert for Recorder {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.note(|seen| seen.client_certificate_requested = true);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
