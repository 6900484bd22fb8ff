//! From the DER of a certificate to what is asked about it: every field read once.

use std::fmt::Write as _;
use std::net::IpAddr;

use data_encoding::HEXLOWER;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry;
use x509_parser::prelude::X509Certificate;
use x509_parser::public_key::PublicKey;

use super::certificate::MalformedCertificate;
use crate::clock::Timestamp;
use crate::identifier::{Identifier, quoted};

/// What a certificate says.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Fields {
    pub(super) der: CertificateDer<'static>,
    pub(super) serial: Vec<u8>,
    pub(super) subject: String,
    pub(super) common_name: Option<String>,
    pub(super) issuer: String,
    pub(super) subject_der: Vec<u8>,
    pub(super) issuer_der: Vec<u8>,
    pub(super) spki: Vec<u8>,
    pub(super) key_description: String,
    pub(super) signature_description: String,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) names: Vec<Identifier>,
    pub(super) other_names: Vec<String>,
    pub(super) san_critical: Option<bool>,
    pub(super) basic_constraints: Option<BasicConstraints>,
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) extended_key_usage: Option<Vec<ExtendedKeyUsage>>,
    pub(super) subject_key_id: Option<Vec<u8>>,
    pub(super) authority_key_id: Option<Vec<u8>>,
    pub(super) name_constraints: Option<ConstrainedNames>,
    pub(super) crl_urls: Vec<String>,
    pub(super) ocsp_urls: Vec<String>,
}

/// The basicConstraints extension (RFC 5280 §4.2.1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BasicConstraints {
    /// Whether verifiers must understand it.
    pub critical: bool,
    /// Whether the subject is a CA.
    pub ca: bool,
    /// How many intermediates may follow.
    pub path_len: Option<u32>,
}

/// The keyUsage extension (RFC 5280 §4.2.1.3): bit 0 is digitalSignature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyUsage {
    /// Whether verifiers must understand it.
    pub critical: bool,
    bits: u16,
}

impl KeyUsage {
    const NAMES: [&'static str; 9] = [
        "digitalSignature",
        "contentCommitment",
        "keyEncipherment",
        "dataEncipherment",
        "keyAgreement",
        "keyCertSign",
        "cRLSign",
        "encipherOnly",
        "decipherOnly",
    ];

    /// The key may sign handshakes.
    pub fn digital_signature(self) -> bool {
        self.bits & 1 != 0
    }

    /// The key may sign certificates.
    pub fn cert_sign(self) -> bool {
        self.bits & (1 << 5) != 0
    }

    /// The key may sign CRLs.
    pub fn crl_sign(self) -> bool {
        self.bits & (1 << 6) != 0
    }

    /// The names of the bits that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        (0..Self::NAMES.len())
            .filter(move |n| self.bits & (1 << n) != 0)
            .map(|n| Self::NAMES[n])
    }
}

/// One purpose in the extKeyUsage extension (RFC 5280 §4.2.1.12).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ExtendedKeyUsage {
    /// id-kp-serverAuth.
    ServerAuth,
    /// id-kp-clientAuth.
    ClientAuth,
    /// id-kp-emailProtection.
    EmailProtection,
    /// anyExtendedKeyUsage.
    Any,
    /// Any other purpose, as a dotted OID.
    Other(String),
}

impl std::fmt::Display for ExtendedKeyUsage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ServerAuth => "serverAuth",
            Self::ClientAuth => "clientAuth",
            Self::EmailProtection => "emailProtection",
            Self::Any => "any",
            Self::Other(oid) => oid,
        })
    }
}

/// The nameConstraints extension as text: each subtree in its kind's notation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConstrainedNames {
    /// Whether verifiers must understand it.
    pub critical: bool,
    /// What is permitted.
    pub permitted: Vec<String>,
    /// What is excluded.
    pub excluded: Vec<String>,
}

impl Fields {
    pub(super) fn read(
        der: &[u8],
        parsed: &X509Certificate<'_>,
    ) -> Result<Self, MalformedCertificate> {
        let validity = parsed.validity();
        let common_name = parsed
            .subject()
            .iter_common_name()
            .next()
            .and_then(|cn| cn.as_str().ok())
            .map(quoted);
        let mut fields = Self {
            der: CertificateDer::from(der.to_vec()),
            serial: parsed.raw_serial().to_vec(),
            subject: quoted_name(parsed.subject()),
            common_name,
            issuer: quoted_name(parsed.issuer()),
            subject_der: parsed.subject().as_raw().to_vec(),
            issuer_der: parsed.issuer().as_raw().to_vec(),
            spki: parsed.public_key().raw.to_vec(),
            key_description: describe_key(parsed.public_key()),
            signature_description: describe_oid(&parsed.signature_algorithm.algorithm),
            not_before: validity.not_before.to_datetime(),
            not_after: validity.not_after.to_datetime(),
            names: Vec::new(),
            other_names: Vec::new(),
            san_critical: None,
            basic_constraints: None,
            key_usage: None,
            extended_key_usage: None,
            subject_key_id: None,
            authority_key_id: None,
            name_constraints: None,
            crl_urls: Vec::new(),
            ocsp_urls: Vec::new(),
        };
        for extension in parsed.extensions() {
            fields.read_extension(extension.critical, extension.parsed_extension())?;
        }
        Ok(fields)
    }

    fn read_extension(
        &mut self,
        critical: bool,
        extension: &ParsedExtension<'_>,
    ) -> Result<(), MalformedCertificate> {
        match extension {
            ParsedExtension::SubjectAlternativeName(san) => {
                self.san_critical = Some(critical);
                san.general_names
                    .iter()
                    .for_each(|name| self.read_name(name));
            }
            ParsedExtension::BasicConstraints(basic) => {
                self.basic_constraints = Some(BasicConstraints {
                    critical,
                    ca: basic.ca,
                    path_len: basic.path_len_constraint,
                });
            }
            ParsedExtension::KeyUsage(usage) => {
                self.key_usage = Some(KeyUsage {
                    critical,
                    bits: usage.flags,
                });
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                self.extended_key_usage = Some(read_extended_key_usage(usage));
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            ParsedExtension::NameConstraints(constraints) => {
                let texts = |trees: &Option<Vec<x509_parser::extensions::GeneralSubtree<'_>>>| {
                    trees
                        .iter()
                        .flatten()
                        .map(|tree| subtree_text(&tree.base))
                        .collect()
                };
                self.name_constraints = Some(ConstrainedNames {
                    critical,
                    permitted: texts(&constraints.permitted_subtrees),
                    excluded: texts(&constraints.excluded_subtrees),
                });
            }
            ParsedExtension::CRLDistributionPoints(points) => {
                self.crl_urls = points.points.iter().flat_map(distribution_urls).collect();
            }
            ParsedExtension::AuthorityInfoAccess(access) => {
                self.ocsp_urls = access
                    .accessdescs
                    .iter()
                    .filter(|d| d.access_method == oid_registry::OID_PKIX_ACCESS_DESCRIPTOR_OCSP)
                    .filter_map(|d| uri_text(&d.access_location))
                    .collect();
            }
            ParsedExtension::ParseError { error } => {
                return Err(MalformedCertificate::Der(error.to_string()));
            }
            _ => {}
        }
        Ok(())
    }

    fn read_name(&mut self, name: &GeneralName<'_>) {
        let parsed = match name {
            GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => {
                Identifier::parse(text)
                    .ok()
                    .filter(|id| same_kind(id, name))
            }
            GeneralName::IPAddress(octets) => ip_from_octets(octets).map(Identifier::Ip),
            _ => None,
        };
        match parsed {
            Some(name) => self.names.push(name),
            None => self.other_names.push(quoted(&name.to_string())),
        }
    }
}

/// A DNS name that looks like an address stays out of `names`, and so on.
fn same_kind(id: &Identifier, name: &GeneralName<'_>) -> bool {
    matches!(
        (id, name),
        (
            Identifier::Dns(_) | Identifier::Wildcard(_),
            GeneralName::DNSName(_)
        ) | (Identifier::Email(_), GeneralName::RFC822Name(_))
            | (Identifier::Uri(_), GeneralName::URI(_))
    )
}

fn ip_from_octets(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

fn subtree_text(base: &GeneralName<'_>) -> String {
    match base {
        GeneralName::DNSName(text) => quoted(text),
        GeneralName::IPAddress(octets) => {
            let (address, mask) = octets.split_at(octets.len() / 2);
            let net = ip_from_octets(address)
                .zip(ip_from_octets(mask))
                .and_then(|(a, m)| ipnet::IpNet::with_netmask(a, m).ok());
            net.map_or_else(|| HEXLOWER.encode(octets), |net| net.to_string())
        }
        other => quoted(&other.to_string()),
    }
}

fn uri_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::URI(uri) => Some(quoted(uri)),
        _ => None,
    }
}

fn distribution_urls(point: &x509_parser::extensions::CRLDistributionPoint<'_>) -> Vec<String> {
    use x509_parser::extensions::DistributionPointName;
    match &point.distribution_point {
        Some(DistributionPointName::FullName(names)) => names.iter().filter_map(uri_text).collect(),
        _ => Vec::new(),
    }
}

fn read_extended_key_usage(
    usage: &x509_parser::extensions::ExtendedKeyUsage<'_>,
) -> Vec<ExtendedKeyUsage> {
    let known = [
        (usage.server_auth, ExtendedKeyUsage::ServerAuth),
        (usage.client_auth, ExtendedKeyUsage::ClientAuth),
        (usage.email_protection, ExtendedKeyUsage::EmailProtection),
        (usage.any, ExtendedKeyUsage::Any),
        (
            usage.code_signing,
            ExtendedKeyUsage::Other("1.3.6.1.5.5.7.3.3".into()),
        ),
        (
            usage.time_stamping,
            ExtendedKeyUsage::Other("1.3.6.1.5.5.7.3.8".into()),
        ),
        (
            usage.ocsp_signing,
            ExtendedKeyUsage::Other("1.3.6.1.5.5.7.3.9".into()),
        ),
    ];
    let others = usage
        .other
        .iter()
        .map(|oid| ExtendedKeyUsage::Other(oid.to_id_string()));
    known
        .into_iter()
        .filter(|(set, _)| *set)
        .map(|(_, usage)| usage)
        .chain(others)
        .collect()
}

/// A distinguished name in the order of RFC 4514, escaped for printing.
fn quoted_name(name: &x509_parser::x509::X509Name<'_>) -> String {
    let parts = name
        .iter_rdn()
        .flat_map(x509_parser::x509::RelativeDistinguishedName::iter);
    let mut text = String::new();
    for attribute in parts {
        let oid = attribute.attr_type().to_id_string();
        let label = match oid.as_str() {
            "2.5.4.3" => "CN",
            "2.5.4.6" => "C",
            "2.5.4.7" => "L",
            "2.5.4.8" => "ST",
            "2.5.4.10" => "O",
            "2.5.4.11" => "OU",
            "0.9.2342.19200300.100.1.25" => "DC",
            "1.2.840.113549.1.9.1" => "emailAddress",
            other => other,
        };
        let value = attribute
            .as_str()
            .map_or_else(|_| HEXLOWER.encode(attribute.as_slice()), quoted);
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{label}={value}");
    }
    text
}

fn describe_key(spki: &x509_parser::x509::SubjectPublicKeyInfo<'_>) -> String {
    match spki.parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(point)) => match point.key_size() {
            256 => "P-256".to_owned(),
            384 => "P-384".to_owned(),
            // The point's octets are counted, and 521 bits fill 66 of them.
            _ => "P-521".to_owned(),
        },
        _ => describe_oid(&spki.algorithm.algorithm),
    }
}

fn describe_oid(oid: &x509_parser::der_parser::Oid<'_>) -> String {
    let known = match oid.to_id_string().as_str() {
        "1.2.840.10045.4.3.2" => "ECDSA with SHA-256",
        "1.2.840.10045.4.3.3" => "ECDSA with SHA-384",
        "1.2.840.10045.4.3.4" => "ECDSA with SHA-512",
        "1.2.840.113549.1.1.5" => "RSA with SHA-1",
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        "1.2.840.113549.1.1.11" => "RSA with SHA-256",
        "1.2.840.113549.1.1.12" => "RSA with SHA-384",
        "1.2.840.113549.1.1.13" => "RSA with SHA-512",
        "1.3.101.112" => "Ed25519",
        "2.16.840.1.101.3.4.3.17" => "ML-DSA-44",
        "2.16.840.1.101.3.4.3.18" => "ML-DSA-65",
        "2.16.840.1.101.3.4.3.19" => "ML-DSA-87",
        other => return other.to_owned(),
    };
    known.to_owned()
}
