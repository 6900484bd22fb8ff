//! tls-alpn-01: a handshake whose certificate is the answer (RFC 8737 §3).
//!
//! Rules kept here: the peer holds the certificate's key; the certificate is signed by
//! itself, has exactly one name, ours, and exactly one `acmeIdentifier`, critical, with
//! the right digest; `acme-tls/1` was agreed upon. Everything else about it is nobody's
//! business, and no byte of an application is exchanged.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::der_parser::{Oid, oid};
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

use super::super::problem::{Problem, ProblemType};
use super::{Outside, at};
use crate::challenge::validation::ACME_TLS;
use crate::challenge::{KeyAuthorization, reverse_name};
use crate::identifier::{DnsName, Identifier};

const ACME_IDENTIFIER: Oid<'static> = oid!(1.3.6.1.5.5.7.1.31);

pub(super) async fn validate(
    outside: &Outside<'_>,
    identifier: &Identifier,
    right: &KeyAuthorization,
) -> Result<(), Problem> {
    let stream = outside.connect(identifier, outside.policy.tls_port).await?;
    let name = match identifier {
        // RFC 8738 §6.
        Identifier::Ip(address) => reverse_name(*address),
        other => other.to_string(),
    };
    let name = ServerName::try_from(name)
        .map_err(|_| Problem::malformed(format!("{identifier} cannot be a server name")))?;
    let peer = at(&identifier.to_string(), &stream);
    let stream = handshake(stream, name, vec![ACME_TLS.to_vec()], &peer).await?;
    let (_, connection) = stream.get_ref();
    if connection.alpn_protocol() != Some(ACME_TLS) {
        return Err(tls(format!("{peer} does not speak acme-tls/1")));
    }
    let certificate = connection.peer_certificates().and_then(<[_]>::first);
    let certificate = certificate.ok_or_else(|| tls(format!("{peer} shows no certificate")))?;
    check(certificate, identifier, right).map_err(|reason| {
        let detail = format!("the tls-alpn-01 certificate of {peer} {reason}");
        Problem::new(ProblemType::IncorrectResponse, detail)
    })
}

/// A TLS handshake with whoever holds the key of whatever certificate it shows.
pub(super) async fn handshake(
    stream: TcpStream,
    name: ServerName<'static>,
    protocols: Vec<Vec<u8>>,
    peer: &str,
) -> Result<TlsStream<TcpStream>, Problem> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| Problem::server_internal())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(HolderOfKey(algorithms)))
        .with_no_client_auth();
    config.alpn_protocols = protocols;
    config.resumption = rustls::client::Resumption::disabled();
    let connector = TlsConnector::from(Arc::new(config));
    connector
        .connect(name, stream)
        .await
        .map_err(|error| match error.get_ref() {
            // What rustls says holds no text of the peer's.
            Some(reason) => tls(format!("the TLS handshake with {peer} failed: {reason}")),
            None => tls(format!(
                "the TLS handshake with {peer} failed: {}",
                error.kind()
            )),
        })
}

/// What is wrong with the certificate, in words that go on a sentence about it.
fn check(
    der: &CertificateDer<'_>,
    identifier: &Identifier,
    right: &KeyAuthorization,
) -> Result<(), &'static str> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| "cannot be read")?;
    if !rest.is_empty() {
        return Err("has something behind it");
    }
    if certificate.issuer().as_raw() != certificate.subject().as_raw()
        || certificate.verify_signature(None).is_err()
    {
        return Err("is not signed by itself");
    }
    let mut names = Vec::new();
    let mut digests = Vec::new();
    for extension in certificate.extensions() {
        if extension.oid == ACME_IDENTIFIER {
            if !extension.critical {
                return Err("has an acmeIdentifier that is not critical");
            }
            digests.push(extension.value);
        } else if let ParsedExtension::SubjectAlternativeName(san) = extension.parsed_extension() {
            names.extend(&san.general_names);
        }
    }
    let named = match (names.as_slice(), identifier) {
        ([GeneralName::DNSName(name)], Identifier::Dns(wanted)) => {
            DnsName::parse(name).is_ok_and(|name| name == *wanted)
        }
        ([GeneralName::IPAddress(bytes)], Identifier::Ip(wanted)) => match wanted {
            IpAddr::V4(v4) => *bytes == v4.octets(),
            IpAddr::V6(v6) => *bytes == v6.octets(),
        },
        _ => false,
    };
    if !named {
        return Err("does not have that name and no other");
    }
    // An OCTET STRING of 32 bytes.
    let wanted = [&[0x04, 0x20], right.digest().as_slice()].concat();
    match digests.as_slice() {
        [digest] if *digest == wanted => Ok(()),
        [_] => Err("has not the right acmeIdentifier"),
        _ => Err("has not exactly one acmeIdentifier"),
    }
}

fn tls(detail: String) -> Problem {
    Problem::new(ProblemType::Tls, detail)
}

/// Takes every certificate of which the peer shows to hold the key.
///
/// Not rustls's own way: that reads the certificate, and refuses it for the critical
/// extension that it must have.
#[derive(Debug)]
struct HolderOfKey(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for HolderOfKey {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let spki = spki(cert)?;
        let key = webpki::RawPublicKeyEntity::try_from(&spki)
            .map_err(|_| CertificateError::BadEncoding)?;
        let mut schemes = self.0.mapping.iter();
        let algorithms = schemes.find(|(scheme, _)| *scheme == dss.scheme);
        let fits = algorithms.is_some_and(|(_, algorithms)| {
            let mut each = algorithms.iter();
            each.any(|one| key.verify_signature(*one, message, dss.signature()).is_ok())
        });
        if fits {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature_with_raw_key(message, &spki(cert)?, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

fn spki(
    certificate: &CertificateDer<'_>,
) -> Result<SubjectPublicKeyInfoDer<'static>, rustls::Error> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    Ok(SubjectPublicKeyInfoDer::from(
        parsed.public_key().raw.to_vec(),
    ))
}
