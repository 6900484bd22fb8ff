//! What bytes hold: told apart by what they are, never by a file's name.
//!
//! Rules kept here: one broken block hides no other; no key leaves this module,
//! only what may be told of it.

use zeroize::Zeroizing;

use x509_parser::prelude::FromDer;

use super::model::{Crl, Key, Request, Sans};
use crate::bundle::{Certificate, verify_signature};
use crate::clock::Timestamp;
use crate::finding::Finding;
use crate::finding::rules;
use crate::identifier::{Identifier, quoted};
use crate::key::{KeyError, Passphrase, PrivateKey};

/// What was found in a file.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) format: &'static str,
    pub(super) certificates: Vec<Certificate>,
    pub(super) keys: Vec<FoundKey>,
    pub(super) requests: Vec<Request>,
    pub(super) crls: Vec<FoundCrl>,
    pub(super) other: Vec<String>,
    pub(super) findings: Vec<Finding>,
}

/// A private key, as far as it may be told.
#[derive(Debug)]
pub(super) struct FoundKey {
    pub(super) key: Key,
    /// Its public half; none while it is locked.
    pub(super) spki: Option<Vec<u8>>,
}

/// A CRL with what is needed to look certificates up in it.
#[derive(Debug)]
pub(super) struct FoundCrl {
    pub(super) crl: Crl,
    /// Issuers' names and serials cannot be compared as text.
    pub(super) issuer_der: Vec<u8>,
    signature: CrlSignature,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct CrlSignature {
    oid: Vec<u8>,
    message: Vec<u8>,
    value: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    serial: Vec<u8>,
    at: Timestamp,
    reason: Option<&'static str>,
}

impl FoundCrl {
    /// When and why the serial was revoked, if it was.
    pub(super) fn revocation(&self, serial: &[u8]) -> Option<(Timestamp, Option<&'static str>)> {
        let entry = self.entries.iter().find(|entry| entry.serial == serial)?;
        Some((entry.at, entry.reason))
    }

    /// Whether `issuer` signed it.
    pub(super) fn is_signed_by(&self, issuer: &Certificate) -> bool {
        let CrlSignature {
            oid,
            message,
            value,
        } = &self.signature;
        verify_signature(issuer.spki(), oid, message, value).is_ok()
    }
}

/// One block of a PEM text.
pub(super) struct Block {
    pub(super) tag: String,
    pub(super) contents: Result<Zeroizing<Vec<u8>>, String>,
    legacy_encryption: bool,
}

/// Most PEM blocks read from one file; the bundle of a system's roots has 150.
pub(super) const MAX_BLOCKS: usize = 10_000;

const BEGIN: &[u8] = b"-----BEGIN ";

/// Cuts a text into its PEM blocks and decodes each by itself.
pub(super) fn pem_blocks(text: &[u8]) -> Vec<Block> {
    let starts: Vec<usize> = positions(text, BEGIN).take(MAX_BLOCKS).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| pem_block(text.get(*start..end).unwrap_or_default()))
        .collect()
}

fn positions<'a>(text: &'a [u8], needle: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    (0..text.len()).filter(move |at| text.get(*at..).is_some_and(|t| t.starts_with(needle)))
}

fn pem_block(text: &[u8]) -> Block {
    let head = text.strip_prefix(BEGIN).unwrap_or_default();
    let line = head
        .split(|b| *b == b'\n' || *b == b'\r')
        .next()
        .unwrap_or_default();
    let tag = String::from_utf8_lossy(line);
    let tag = quoted(tag.trim_end().trim_end_matches('-'));
    match pem::parse(text) {
        Ok(block) => Block {
            legacy_encryption: block.headers().get("Proc-Type").is_some(),
            contents: Ok(Zeroizing::new(block.into_contents())),
            tag,
        },
        Err(error) => Block {
            tag,
            contents: Err(error.to_string()),
            legacy_encryption: false,
        },
    }
}

impl Contents {
    /// Reads `bytes`, which lie in `place`; `None` when they are nothing we know.
    pub(super) fn read(bytes: &[u8], place: &str, passphrase: Option<&Passphrase>) -> Option<Self> {
        let blocks = pem_blocks(bytes);
        let mut contents = Self::default();
        if blocks.is_empty() {
            contents.read_der(bytes, passphrase).then_some(())?;
            return Some(contents);
        }
        contents.format = "PEM";
        if blocks.len() == MAX_BLOCKS {
            let reason = format!("only its first {MAX_BLOCKS} blocks were read");
            let path = std::path::Path::new(place);
            contents.findings.push(rules::unreadable(path, &reason));
        }
        for block in &blocks {
            contents.read_block(block, place, passphrase);
        }
        Some(contents)
    }

    fn read_block(&mut self, block: &Block, place: &str, passphrase: Option<&Passphrase>) {
        let result = match &block.contents {
            Err(reason) => Err(reason.clone()),
            Ok(der) => self.read_tagged(block, der, passphrase),
        };
        if let Err(reason) = result {
            let what = format!("a block `{}`", block.tag);
            self.findings.push(rules::malformed(&what, place, &reason));
        }
    }

    fn read_tagged(
        &mut self,
        block: &Block,
        der: &[u8],
        passphrase: Option<&Passphrase>,
    ) -> Result<(), String> {
        match block.tag.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
                let certificate = read_certificate(&block.tag, der)?;
                self.certificates.push(certificate);
            }
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
                self.requests.push(read_request(der)?)
            }
            "X509 CRL" => self.crls.push(read_crl(der)?),
            "ENCRYPTED PRIVATE KEY" => self.keys.push(read_locked_key(der, passphrase)),
            tag if tag.ends_with("PRIVATE KEY") && block.legacy_encryption => {
                self.keys.push(locked())
            }
            "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" => {
                let key = PrivateKey::from_der(der).map_err(|e| e.to_string())?;
                self.keys.push(unlocked(&key, false));
            }
            other => self.other.push(other.to_owned()),
        }
        Ok(())
    }

    /// Tries each kind of DER; whether it was one.
    fn read_der(&mut self, bytes: &[u8], passphrase: Option<&Passphrase>) -> bool {
        const SEQUENCE: u8 = 0x30;
        if bytes.first() != Some(&SEQUENCE) {
            return false;
        }
        self.format = "DER";
        if let Ok(certificate) = Certificate::from_der(bytes) {
            self.certificates.push(certificate);
        } else if let Ok(request) = read_request(bytes) {
            self.requests.push(request);
        } else if let Ok(crl) = read_crl(bytes) {
            self.crls.push(crl);
        } else if let Ok(key) = PrivateKey::from_der(bytes) {
            self.keys.push(unlocked(&key, false));
        } else if pkcs8::EncryptedPrivateKeyInfoRef::try_from(bytes).is_ok() {
            self.keys.push(read_locked_key(bytes, passphrase));
        } else {
            return self.read_pkcs12(bytes, passphrase);
        }
        true
    }

    fn read_pkcs12(&mut self, bytes: &[u8], passphrase: Option<&Passphrase>) -> bool {
        if !looks_like_pkcs12(bytes) {
            return false;
        }
        self.format = "PKCS#12";
        match decode_pkcs12(bytes, passphrase) {
            Ok((key, certificates)) => {
                self.keys.extend(key.map(|key| unlocked(&key, true)));
                self.certificates = certificates;
            }
            Err(reason) => self.other.push(reason),
        }
        true
    }
}

/// What a PKCS#12 file holds, or why that cannot be told.
type Pkcs12 = Result<(Option<PrivateKey>, Vec<Certificate>), String>;

#[cfg(feature = "p12")]
fn decode_pkcs12(bytes: &[u8], passphrase: Option<&Passphrase>) -> Pkcs12 {
    crate::pki::p12::decode(bytes, passphrase).map_err(|error| {
        let reason = crate::finding::words::causes(&error);
        format!("a PKCS#12 store that was not opened: {reason}")
    })
}

#[cfg(not(feature = "p12"))]
fn decode_pkcs12(_bytes: &[u8], _passphrase: Option<&Passphrase>) -> Pkcs12 {
    Err("a PKCS#12 store, which this build does not open".to_owned())
}

/// `PFX ::= SEQUENCE { version INTEGER (3), … }` (RFC 7292 §4).
fn looks_like_pkcs12(bytes: &[u8]) -> bool {
    // The length takes one to five octets, or is indefinite.
    (2..=6).any(|at| {
        bytes
            .get(at..)
            .is_some_and(|rest| rest.starts_with(&[2, 1, 3, 0x30]))
    })
}

/// OpenSSL's trusted certificates carry more behind the certificate.
fn read_certificate(tag: &str, der: &[u8]) -> Result<Certificate, String> {
    let exact = match (
        tag,
        x509_parser::certificate::X509Certificate::from_der(der),
    ) {
        ("TRUSTED CERTIFICATE", Ok((rest, _))) => der.len() - rest.len(),
        _ => der.len(),
    };
    let der = der.get(..exact).unwrap_or_default();
    Certificate::from_der(der).map_err(|e| e.to_string())
}

fn unlocked(key: &PrivateKey, encrypted: bool) -> FoundKey {
    let spki = key.public_key_der();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &spki);
    FoundKey {
        key: Key {
            spki_sha256: Some(data_encoding::HEXLOWER.encode(hash.as_ref())),
            encrypted: Some(encrypted),
            ..Key::of(describe(key.kind()))
        },
        spki: Some(spki),
    }
}

/// The words that certificates use for the same kinds.
fn describe(kind: crate::key::KeyType) -> &'static str {
    use crate::key::KeyType;
    match kind {
        KeyType::P256 => "P-256",
        KeyType::P384 => "P-384",
        KeyType::P521 => "P-521",
        KeyType::Ed25519 => "Ed25519",
        KeyType::Rsa2048 => "RSA 2048",
        KeyType::Rsa3072 => "RSA 3072",
        KeyType::Rsa4096 => "RSA 4096",
    }
}

fn locked() -> FoundKey {
    FoundKey {
        key: Key {
            encrypted: Some(true),
            ..Key::default()
        },
        spki: None,
    }
}

/// An encrypted key that the passphrase, if any, does not open is still a key.
fn read_locked_key(der: &[u8], passphrase: Option<&Passphrase>) -> FoundKey {
    let text = Zeroizing::new(crate::key::encode_pem("ENCRYPTED PRIVATE KEY", der));
    match PrivateKey::from_pem(text.as_bytes(), passphrase) {
        Ok(key) => unlocked(&key, true),
        Err(KeyError::PassphraseNeeded | KeyError::WrongPassphrase | _) => locked(),
    }
}

fn read_request(der: &[u8]) -> Result<Request, String> {
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::extensions::ParsedExtension;
    let (rest, request) = X509CertificationRequest::from_der(der).map_err(|e| e.to_string())?;
    if !rest.is_empty() {
        return Err(format!("{} bytes follow the request", rest.len()));
    }
    let info = &request.certification_request_info;
    let mut names = Vec::new();
    let mut other = Vec::new();
    for extension in request.requested_extensions().into_iter().flatten() {
        if let ParsedExtension::SubjectAlternativeName(san) = extension {
            for name in &san.general_names {
                match requested_name(name) {
                    Some(name) => names.push(name),
                    None => other.push(quoted(&name.to_string())),
                }
            }
        }
    }
    Ok(Request {
        subject: quoted(&info.subject.to_string()),
        sans: Sans {
            other,
            ..Sans::sort(&names)
        },
        key: Key::of(&describe_spki(&info.subject_pki)),
        signature_ok: request.verify_signature().is_ok(),
    })
}

fn requested_name(name: &x509_parser::extensions::GeneralName<'_>) -> Option<Identifier> {
    use x509_parser::extensions::GeneralName;
    match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => {
            Identifier::parse(text).ok()
        }
        GeneralName::IPAddress(octets) => match octets.len() {
            4 => Some(Identifier::Ip(<[u8; 4]>::try_from(*octets).ok()?.into())),
            _ => Some(Identifier::Ip(<[u8; 16]>::try_from(*octets).ok()?.into())),
        },
        _ => None,
    }
}

fn describe_spki(spki: &x509_parser::x509::SubjectPublicKeyInfo<'_>) -> String {
    use x509_parser::public_key::PublicKey;
    match spki.parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(point)) => match point.key_size() {
            256 => "P-256".to_owned(),
            384 => "P-384".to_owned(),
            _ => "P-521".to_owned(),
        },
        _ => match spki.algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => "Ed25519".to_owned(),
            other => other.to_owned(),
        },
    }
}

fn read_crl(der: &[u8]) -> Result<FoundCrl, String> {
    use x509_parser::asn1_rs::ToDer;
    use x509_parser::revocation_list::CertificateRevocationList;
    let (rest, crl) = CertificateRevocationList::from_der(der).map_err(|e| e.to_string())?;
    if !rest.is_empty() {
        return Err(format!("{} bytes follow the CRL", rest.len()));
    }
    let entries: Vec<Entry> = crl
        .iter_revoked_certificates()
        .map(|entry| Entry {
            serial: entry.raw_serial().to_vec(),
            at: entry.revocation_date.to_datetime(),
            reason: entry
                .reason_code()
                .and_then(|(_, code)| reason_name(code.0)),
        })
        .collect();
    Ok(FoundCrl {
        crl: Crl {
            issuer: quoted(&crl.issuer().to_string()),
            number: crl.crl_number().map(ToString::to_string),
            this_update: crl.last_update().to_datetime(),
            next_update: crl.next_update().map(|at| at.to_datetime()),
            revoked: entries.len(),
        },
        issuer_der: crl.issuer().as_raw().to_vec(),
        signature: CrlSignature {
            oid: crl
                .signature_algorithm
                .algorithm
                .to_der_vec()
                .unwrap_or_default(),
            message: crl.tbs_cert_list.as_ref().to_vec(),
            value: crl.signature_value.data.to_vec(),
        },
        entries,
    })
}

/// RFC 5280 §5.3.1.
fn reason_name(code: u8) -> Option<&'static str> {
    Some(match code {
        1 => "keyCompromise",
        2 => "cACompromise",
        3 => "affiliationChanged",
        4 => "superseded",
        5 => "cessationOfOperation",
        6 => "certificateHold",
        9 => "privilegeWithdrawn",
        10 => "aACompromise",
        _ => return None,
    })
}
