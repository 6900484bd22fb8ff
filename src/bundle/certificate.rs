//! One X.509 certificate, parsed once into what the rest of certmint asks about.

use std::sync::Arc;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::ToDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::fields::{BasicConstraints, ConstrainedNames, ExtendedKeyUsage, Fields, KeyUsage};
use super::signature::{BadSignature, verify_signature};
use crate::clock::{Duration, Timestamp};
use crate::identifier::Identifier;
use crate::key::encode_pem;

/// A certificate. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Certificate(Arc<Fields>);

impl Certificate {
    /// Largest certificate read; real ones have a few kilobytes.
    pub const MAX_DER: usize = 64 * 1024;

    /// Reads one DER certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, MalformedCertificate> {
        if der.len() > Self::MAX_DER {
            return Err(MalformedCertificate::TooLarge(der.len()));
        }
        let (rest, parsed) =
            X509Certificate::from_der(der).map_err(|e| MalformedCertificate::Der(e.to_string()))?;
        if !rest.is_empty() {
            return Err(MalformedCertificate::Trailing(rest.len()));
        }
        Fields::read(der, &parsed).map(|fields| Self(Arc::new(fields)))
    }

    /// Reads every certificate of a PEM text, in order; other blocks are skipped.
    pub fn parse_pem(text: &[u8]) -> Result<Vec<Self>, MalformedCertificate> {
        let blocks = pem::parse_many(text).map_err(|e| MalformedCertificate::Pem(e.to_string()))?;
        let certificates = blocks
            .iter()
            .filter(|block| block.tag() == "CERTIFICATE")
            .map(|block| Self::from_der(block.contents()))
            .collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() {
            return Err(MalformedCertificate::NoneInPem);
        }
        Ok(certificates)
    }

    /// The certificate as DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.0.der
    }

    /// The certificate as PEM.
    pub fn to_pem(&self) -> String {
        encode_pem("CERTIFICATE", &self.0.der)
    }

    /// The serial number's content octets, big endian.
    pub fn serial(&self) -> &[u8] {
        &self.0.serial
    }

    /// The serial number as lower-case hex without separators.
    pub fn serial_hex(&self) -> String {
        HEXLOWER.encode(&self.0.serial)
    }

    /// The subject, `CN=…, O=…`; empty when there is none.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The subject's common name.
    pub fn common_name(&self) -> Option<&str> {
        self.0.common_name.as_deref()
    }

    /// The issuer, `CN=…, O=…`.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Whether subject and issuer are the same name.
    pub fn is_self_issued(&self) -> bool {
        self.0.subject_der == self.0.issuer_der
    }

    /// Whether `issuer`'s subject is this certificate's issuer; says nothing of keys.
    pub fn names_as_issuer(&self, issuer: &Self) -> bool {
        self.0.issuer_der == issuer.0.subject_der
    }

    /// The public key as DER SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        &self.0.spki
    }

    /// The public key in words: `P-256`, `RSA 2048`.
    pub fn key_description(&self) -> &str {
        &self.0.key_description
    }

    /// How it was signed: `ECDSA with SHA-256`.
    pub fn signature_description(&self) -> &str {
        &self.0.signature_description
    }

    /// Start of validity, inclusive.
    pub fn not_before(&self) -> Timestamp {
        self.0.not_before
    }

    /// End of validity, inclusive.
    pub fn not_after(&self) -> Timestamp {
        self.0.not_after
    }

    /// The length of its life.
    pub fn lifetime(&self) -> Duration {
        self.0.not_after - self.0.not_before
    }

    /// Whether it is valid at `now`, as far as dates go.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.0.not_before <= now && now <= self.0.not_after
    }

    /// The subject alternative names.
    pub fn names(&self) -> &[Identifier] {
        &self.0.names
    }

    /// Alternative names of kinds that certmint does not issue, or malformed
    /// ones, escaped for printing.
    pub fn other_names(&self) -> &[String] {
        &self.0.other_names
    }

    /// Whether the subjectAltName extension is critical; `None` when absent.
    pub fn san_critical(&self) -> Option<bool> {
        self.0.san_critical
    }

    /// Whether one of its names covers `wanted`.
    pub fn covers(&self, wanted: &Identifier) -> bool {
        self.0.names.iter().any(|name| name.covers(wanted))
    }

    /// Its first name, else its common name, else its serial number.
    pub fn display_name(&self) -> String {
        match (self.0.names.first(), &self.0.common_name) {
            (Some(name), _) => name.to_string(),
            (None, Some(name)) => name.clone(),
            (None, None) => self.serial_hex(),
        }
    }

    /// The basicConstraints extension.
    pub fn basic_constraints(&self) -> Option<BasicConstraints> {
        self.0.basic_constraints
    }

    /// Whether it may issue certificates.
    pub fn is_ca(&self) -> bool {
        self.0.basic_constraints.is_some_and(|b| b.ca)
    }

    /// The keyUsage extension.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.0.key_usage
    }

    /// The extKeyUsage extension; `None` when absent, which means any purpose.
    pub fn extended_key_usage(&self) -> Option<&[ExtendedKeyUsage]> {
        self.0.extended_key_usage.as_deref()
    }

    /// The subjectKeyIdentifier.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.0.subject_key_id.as_deref()
    }

    /// The authorityKeyIdentifier's key identifier.
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.0.authority_key_id.as_deref()
    }

    /// The nameConstraints extension.
    pub fn name_constraints(&self) -> Option<&ConstrainedNames> {
        self.0.name_constraints.as_ref()
    }

    /// URLs in cRLDistributionPoints.
    pub fn crl_urls(&self) -> &[String] {
        &self.0.crl_urls
    }

    /// OCSP responders in authorityInfoAccess.
    pub fn ocsp_urls(&self) -> &[String] {
        &self.0.ocsp_urls
    }

    /// SHA-256 over the DER, as hex in pairs joined by colons.
    pub fn fingerprint(&self) -> String {
        let hash = digest::digest(&digest::SHA256, &self.0.der);
        let pairs: Vec<String> = hash.as_ref().iter().map(|b| format!("{b:02X}")).collect();
        pairs.join(":")
    }

    /// SHA-256 over the DER, as lower-case hex.
    pub fn sha256_hex(&self) -> String {
        sha256_hex(&self.0.der)
    }

    /// SHA-256 over the public key (SubjectPublicKeyInfo), as lower-case hex.
    pub fn spki_sha256_hex(&self) -> String {
        sha256_hex(&self.0.spki)
    }

    /// Checks that `issuer`'s key signed this certificate and its name stands in it.
    pub fn verify_signed_by(&self, issuer: &Self) -> Result<(), BadSignature> {
        if !self.names_as_issuer(issuer) {
            return Err(BadSignature::Issuer);
        }
        let (_, parsed) =
            X509Certificate::from_der(&self.0.der).map_err(|_| BadSignature::Mismatch)?;
        let oid = oid_der(&parsed.signature_algorithm.algorithm);
        verify_signature(
            issuer.spki(),
            &oid,
            parsed.tbs_certificate.as_ref(),
            &parsed.signature_value.data,
        )
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Certificate({}, serial {})",
            self.display_name(),
            self.serial_hex()
        )
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// An object identifier as DER, with tag and length.
fn oid_der(oid: &x509_parser::der_parser::Oid<'_>) -> Vec<u8> {
    oid.to_der_vec().unwrap_or_default()
}

/// Why bytes are not a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedCertificate {
    /// The PEM armour is broken.
    #[error("not PEM text: {0}")]
    Pem(String),
    /// The PEM holds other things, but no certificate.
    #[error("no certificate in the PEM text")]
    NoneInPem,
    /// The DER is broken.
    #[error("not a certificate: {0}")]
    Der(String),
    /// Bytes follow the certificate.
    #[error("{0} bytes follow the certificate")]
    Trailing(usize),
    /// Larger than [`Certificate::MAX_DER`].
    #[error("the certificate has {0} bytes, at most {max} are read", max = Certificate::MAX_DER)]
    TooLarge(usize),
}
