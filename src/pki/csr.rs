//! Certification requests (PKCS#10, RFC 2986), read as if an enemy had written them.
//!
//! A request contributes its public key, and its names when the operator says so.
//! What asks for power (a CA, other kinds of name, hidden names) is refused;
//! whatever else stands in it is left out, and told. Names and subject are judged
//! only when names are taken from the request.

use std::net::IpAddr;

use x509_parser::asn1_rs::{Any, ToDer};
use x509_parser::certification_request::{X509CertificationRequest, X509CertificationRequestInfo};
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::oid_registry::{
    OID_PKCS9_EMAIL_ADDRESS, OID_X509_COMMON_NAME, OID_X509_EXT_NAME_CONSTRAINTS,
};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

use super::error::CaError;
use super::policy::{self, AcceptedKey, Clamped, Dates};
use super::publication::Publication;
use crate::bundle::{BadSignature, Certificate, verify_signature};
use crate::clock::{Duration, Timestamp};
use crate::identifier::{Identifier, InvalidName, quoted};
use crate::issuer::Usage;

/// Largest request read, in bytes; real ones have a few hundred.
const MAX_REQUEST: usize = 64 * 1024;
/// Most extensions looked at; real requests have a handful.
const MAX_EXTENSIONS: usize = 50;

/// How a request is to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsrRequest {
    /// Where the names come from.
    pub names: CsrNames,
    /// What the certificate is for; what the request says of it is left out.
    pub usage: Usage,
    /// Wanted life, clamped to the issuer's; `None` means the CA's default.
    pub lifetime: Option<Duration>,
    /// Its first second, exactly, or the request is refused; `None` is up to the CA. A
    /// fraction of a second is refused, and so is more than a day in the past.
    pub not_before: Option<Timestamp>,
    /// Its last second, exactly, or the request is refused; overrides `lifetime`. A
    /// fraction of a second is refused, and so is what the issuer does not outlive.
    pub not_after: Option<Timestamp>,
    /// Where its revocation list and issuer can be had, for one that lives long enough
    /// for somebody to look; a CRL address of the CA's own settings wins.
    pub publication: Option<Publication>,
}

impl CsrRequest {
    pub(super) fn dates(&self) -> Dates {
        Dates {
            lifetime: self.lifetime,
            not_before: self.not_before,
            not_after: self.not_after,
        }
    }
}

/// Where the names of a certificate come from that is made from a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CsrNames {
    /// The request's alternative names, each checked; its common name must be one
    /// of them.
    Requested,
    /// The same, and its common name is one more when it is a DNS name that is not among
    /// them: ACME lets names stand in either place (RFC 8555 §7.4).
    RequestedOrCommon,
    /// These, whatever the request says.
    Given(Vec<Identifier>),
}

/// A certificate made from a request.
#[derive(Debug, Clone)]
pub struct SignedCsr {
    /// The leaf, then what stands above it.
    pub chain: Vec<Certificate>,
    /// What the request asked for and did not get, one thing each.
    pub notes: Vec<String>,
    /// Set when it ends earlier than was asked.
    pub clamped: Option<Clamped>,
}

/// A request to be handed on to another CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignCsr {
    /// The request in DER, as it was made.
    pub der: Vec<u8>,
    /// Its names, each checked.
    pub names: Vec<Identifier>,
    /// Its public key, a DER SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
}

/// Reads a request, DER or PEM, that another CA is to answer, or this one later: it is
/// signed by its own key and holds nothing that this CA would refuse.
pub fn read_request(input: &[u8], names: &CsrNames) -> Result<ForeignCsr, CaError> {
    let checked = check(input, names)?;
    let der = decode(input)?;
    let (_, request) =
        X509CertificationRequest::from_der(&der).map_err(|e| CsrError::Malformed(e.to_string()))?;
    let spki = request
        .certification_request_info
        .subject_pki
        .raw
        .to_owned();
    Ok(ForeignCsr {
        names: checked.names,
        spki,
        der,
    })
}

/// A request that holds nothing bad.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) key: AcceptedKey,
    pub(super) names: Vec<Identifier>,
    pub(super) notes: Vec<String>,
}

/// Reads a request, DER or PEM.
pub(super) fn check(input: &[u8], names: &CsrNames) -> Result<Checked, CaError> {
    let der = decode(input)?;
    let (rest, request) =
        X509CertificationRequest::from_der(&der).map_err(|e| CsrError::Malformed(e.to_string()))?;
    if !rest.is_empty() {
        return Err(CsrError::Trailing(rest.len()).into());
    }
    check_shape(&der)?;
    let info = &request.certification_request_info;
    if info.version != X509Version::V1 {
        return Err(CsrError::Version(info.version.0).into());
    }
    let key = AcceptedKey::from_spki(info.subject_pki.raw)?;
    check_signature(&request)?;
    let mut notes = Vec::new();
    let extensions = requested_extensions(info, &mut notes)?;
    let alternative = read_extensions(extensions, &mut notes)?;
    let names = match names {
        CsrNames::Requested => {
            let names = read_names(alternative)?;
            check_subject(info, &names, &mut notes)?;
            names
        }
        CsrNames::RequestedOrCommon => {
            let mut names = read_names(alternative)?;
            names.extend(common_dns_name(info));
            check_subject(info, &names, &mut notes)?;
            names
        }
        CsrNames::Given(names) => {
            note_unused_names(info, alternative, &mut notes);
            names.clone()
        }
    };
    Ok(Checked { key, names, notes })
}

fn decode(input: &[u8]) -> Result<Vec<u8>, CsrError> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const TAGS: [&str; 2] = ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"];
    if input.len() > MAX_REQUEST {
        return Err(CsrError::TooLarge(input.len()));
    }
    if !input.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return Ok(input.to_vec());
    }
    let mut blocks =
        pem::parse_many(input).map_err(|e| CsrError::Malformed(format!("not PEM text: {e}")))?;
    let only = blocks.pop();
    if !blocks.is_empty() {
        return Err(CsrError::SeveralBlocks(blocks.len() + 1));
    }
    match only {
        Some(block) if TAGS.contains(&block.tag()) => Ok(block.into_contents()),
        Some(block) => Err(CsrError::OtherBlock(quoted(block.tag()))),
        None => Err(CsrError::Malformed("not PEM text".to_owned())),
    }
}

/// Refuses elements that the parser skips: what nobody looks at may not be there.
fn check_shape(der: &[u8]) -> Result<(), CsrError> {
    let [info, _, _] = exactly(der)?;
    let parts = children(info.data)?;
    // Attributes are there even when there are none (RFC 2986 §4.1); not every
    // program knows.
    let attributes = match parts.as_slice() {
        [_, _, _] => Vec::new(),
        [_, _, _, attributes] => children(attributes.data)?,
        _ => return Err(CsrError::Surplus),
    };
    for attribute in attributes {
        match children(attribute.data)?.as_slice() {
            [_, values] if children(values.data)?.len() == 1 => {}
            _ => return Err(CsrError::Surplus),
        }
    }
    Ok(())
}

/// The elements inside the one element in `der`, of which there must be `N`.
fn exactly<const N: usize>(der: &[u8]) -> Result<[Any<'_>; N], CsrError> {
    let (_, whole) = Any::from_der(der).map_err(|e| CsrError::Malformed(e.to_string()))?;
    children(whole.data)?
        .try_into()
        .map_err(|_| CsrError::Surplus)
}

fn children(mut content: &[u8]) -> Result<Vec<Any<'_>>, CsrError> {
    let mut found = Vec::new();
    while !content.is_empty() {
        let (rest, element) =
            Any::from_der(content).map_err(|e| CsrError::Malformed(e.to_string()))?;
        found.push(element);
        content = rest;
    }
    Ok(found)
}

fn check_signature(request: &X509CertificationRequest<'_>) -> Result<(), CsrError> {
    let info = &request.certification_request_info;
    let oid = &request.signature_algorithm.algorithm;
    let algorithm = oid
        .to_der_vec()
        .map_err(|e| CsrError::Malformed(e.to_string()))?;
    if request.signature_value.unused_bits != 0 {
        return Err(CsrError::Signature(BadSignature::Mismatch));
    }
    let signature = &request.signature_value.data;
    verify_signature(info.subject_pki.raw, &algorithm, info.raw, signature).map_err(|e| match e {
        BadSignature::Algorithm => CsrError::Algorithm(oid.to_id_string()),
        other => CsrError::Signature(other),
    })
}

/// The extensions of the one extensionRequest (RFC 2985 §5.4.2); other attributes
/// are noted.
fn requested_extensions<'a>(
    info: &'a X509CertificationRequestInfo<'a>,
    notes: &mut Vec<String>,
) -> Result<&'a [X509Extension<'a>], CsrError> {
    let mut found: Option<&[X509Extension<'_>]> = None;
    for attribute in info.iter_attributes().take(MAX_EXTENSIONS) {
        match attribute.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(request) => {
                if found.replace(&request.extensions).is_some() {
                    return Err(CsrError::Twice("extensionRequest".to_owned()));
                }
            }
            ParsedCriAttribute::ChallengePassword(_) => {
                notes.push("the challenge password was left out".to_owned());
            }
            ParsedCriAttribute::UnsupportedAttribute => {
                notes.push(format!("the attribute {} was left out", attribute.oid));
            }
        }
    }
    let extensions = found.unwrap_or_default();
    if extensions.len() > MAX_EXTENSIONS {
        return Err(CsrError::TooManyExtensions(extensions.len()));
    }
    Ok(extensions)
}

/// Refuses what asks for power; returns the alternative names.
fn read_extensions<'a>(
    extensions: &'a [X509Extension<'a>],
    notes: &mut Vec<String>,
) -> Result<&'a [GeneralName<'a>], CsrError> {
    let mut names: &[GeneralName<'_>] = &[];
    for (position, extension) in extensions.iter().enumerate() {
        let earlier = extensions.iter().take(position);
        if earlier.clone().any(|e| e.oid == extension.oid) {
            return Err(CsrError::Twice(label(extension)));
        }
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(san) => {
                names = &san.general_names;
                continue;
            }
            ParsedExtension::BasicConstraints(basic) if basic.ca => {
                return Err(CsrError::WantsCa);
            }
            ParsedExtension::KeyUsage(usage) if usage.key_cert_sign() || usage.crl_sign() => {
                return Err(CsrError::WantsToSign);
            }
            ParsedExtension::BasicConstraints(_)
            | ParsedExtension::KeyUsage(_)
            | ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::SubjectKeyIdentifier(_) => {}
            ParsedExtension::ParseError { error } => {
                let what = format!("the extension {}: {error}", label(extension));
                return Err(CsrError::Malformed(what));
            }
            _ if extension.oid == OID_X509_EXT_NAME_CONSTRAINTS => {
                return Err(CsrError::WantsConstraints);
            }
            _ if extension.critical => return Err(CsrError::Critical(label(extension))),
            _ => {}
        }
        notes.push(format!("the extension {} was left out", label(extension)));
    }
    Ok(names)
}

fn read_names(names: &[GeneralName<'_>]) -> Result<Vec<Identifier>, CsrError> {
    if names.len() > policy::MAX_NAMES {
        return Err(CsrError::TooManyNames(names.len()));
    }
    names.iter().map(read_name).collect()
}

fn read_name(name: &GeneralName<'_>) -> Result<Identifier, CsrError> {
    let parse = |text: &str| {
        // What Unicode would be mapped to is not what was signed.
        if text.is_ascii() {
            Ok(Identifier::parse(text)?)
        } else {
            Err(CsrError::NotAscii(quoted(text)))
        }
    };
    let (parsed, fits) = match name {
        GeneralName::DNSName(text) => {
            let parsed = parse(text)?;
            let fits = matches!(parsed, Identifier::Dns(_) | Identifier::Wildcard(_));
            (parsed, fits)
        }
        GeneralName::RFC822Name(text) => {
            let parsed = parse(text)?;
            let fits = matches!(parsed, Identifier::Email(_));
            (parsed, fits)
        }
        GeneralName::URI(text) => {
            let parsed = parse(text)?;
            let fits = matches!(parsed, Identifier::Uri(_));
            (parsed, fits)
        }
        GeneralName::IPAddress(octets) => {
            let v4 = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from));
            let address = address.map_err(|_| CsrError::Address(octets.len()))?;
            (parse(&address.to_string())?, true)
        }
        GeneralName::OtherName(..) => return Err(CsrError::OtherKind("otherName")),
        GeneralName::DirectoryName(_) => return Err(CsrError::OtherKind("directoryName")),
        GeneralName::RegisteredID(_) => return Err(CsrError::OtherKind("registeredID")),
        GeneralName::X400Address(_) => return Err(CsrError::OtherKind("x400Address")),
        GeneralName::EDIPartyName(_) => return Err(CsrError::OtherKind("ediPartyName")),
        GeneralName::Invalid(..) => return Err(CsrError::OtherKind("unknown")),
    };
    if fits {
        Ok(parsed)
    } else {
        Err(CsrError::WrongKind(parsed))
    }
}

/// The first common name, if it is a DNS name, as X.509 writes it.
fn common_dns_name(info: &X509CertificationRequestInfo<'_>) -> Option<Identifier> {
    let text = info.subject.iter_common_name().next()?.as_str().ok()?;
    let name = text.is_ascii().then(|| Identifier::parse(text).ok())??;
    matches!(name, Identifier::Dns(_) | Identifier::Wildcard(_)).then_some(name)
}

/// Refuses names hidden in the subject; notes what else stands there.
fn check_subject(
    info: &X509CertificationRequestInfo<'_>,
    names: &[Identifier],
    notes: &mut Vec<String>,
) -> Result<(), CsrError> {
    let mut common_name = None;
    let mut left_out = false;
    let rdns = info.subject.iter_rdn();
    let attributes = rdns.flat_map(x509_parser::x509::RelativeDistinguishedName::iter);
    for attribute in attributes {
        let oid = attribute.attr_type();
        if *oid == OID_PKCS9_EMAIL_ADDRESS {
            return Err(CsrError::EmailInSubject);
        }
        if *oid != OID_X509_COMMON_NAME {
            left_out = true;
            continue;
        }
        let text = attribute
            .as_str()
            .map_err(|_| CsrError::Malformed("an unreadable common name".to_owned()))?;
        if common_name.replace(text).is_some() {
            return Err(CsrError::SecondCommonName);
        }
    }
    if let Some(text) = common_name {
        let known = Identifier::parse(text).is_ok_and(|name| names.contains(&name));
        if !known {
            return Err(if names.is_empty() {
                CsrError::OnlyCommonName(quoted(text))
            } else {
                CsrError::CommonNameElsewhere(quoted(text))
            });
        }
    }
    if left_out {
        notes.push("the subject was left out, but for the common name".to_owned());
    }
    Ok(())
}

fn note_unused_names(
    info: &X509CertificationRequestInfo<'_>,
    names: &[GeneralName<'_>],
    notes: &mut Vec<String>,
) {
    if !names.is_empty() {
        notes.push("the names in the request were left out".to_owned());
    }
    if info.subject.iter_rdn().next().is_some() {
        notes.push("the subject was left out".to_owned());
    }
}

fn label(extension: &X509Extension<'_>) -> String {
    let oid = extension.oid.to_id_string();
    let name = match oid.as_str() {
        "2.5.29.14" => "subjectKeyIdentifier",
        "2.5.29.15" => "keyUsage",
        "2.5.29.17" => "subjectAltName",
        "2.5.29.19" => "basicConstraints",
        "2.5.29.31" => "cRLDistributionPoints",
        "2.5.29.32" => "certificatePolicies",
        "2.5.29.37" => "extKeyUsage",
        "1.3.6.1.5.5.7.1.1" => "authorityInfoAccess",
        "1.3.6.1.5.5.7.1.24" => "tlsFeature",
        _ => return oid,
    };
    name.to_owned()
}

/// Why a request is not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// Larger than 64 KiB.
    #[error("it has {0} bytes, at most {MAX_REQUEST} are read")]
    TooLarge(usize),
    /// Not a request, or a broken one.
    #[error("it is not a certification request: {0}")]
    Malformed(String),
    /// Bytes follow the request.
    #[error("{0} bytes follow the request")]
    Trailing(usize),
    /// More than one thing in the file.
    #[error("the file holds {0} PEM blocks, and must hold one")]
    SeveralBlocks(usize),
    /// A certificate or a key, say.
    #[error("the file holds a `{0}`, not a `CERTIFICATE REQUEST`")]
    OtherBlock(String),
    /// Something that no reader of requests would look at.
    #[error("it has an element too many")]
    Surplus,
    /// RFC 2986 knows version 1 (written 0) only.
    #[error("its version is {0}, which does not exist")]
    Version(u32),
    /// SHA-1, MD5, or something unknown.
    #[error("it is signed with the algorithm {0}, which is not trusted")]
    Algorithm(String),
    /// Whoever made it does not have the private key.
    #[error("its signature is wrong")]
    Signature(#[source] BadSignature),
    /// Two where one may be: verifiers would read either.
    #[error("it has {0} twice")]
    Twice(String),
    /// More than 50 extensions.
    #[error("it has {0} extensions, at most {MAX_EXTENSIONS} are read")]
    TooManyExtensions(usize),
    /// basicConstraints with CA:TRUE.
    #[error("it asks to be a CA")]
    WantsCa,
    /// keyUsage with keyCertSign or cRLSign.
    #[error("it asks to sign certificates or revocation lists")]
    WantsToSign,
    /// nameConstraints, which only CAs have.
    #[error("it asks for name constraints, which only a CA has")]
    WantsConstraints,
    /// A critical extension that we do not grant.
    #[error("it has the critical extension {0}, which is not granted")]
    Critical(String),
    /// More than 100 names.
    #[error("it has {0} names; one certificate has at most {max}", max = policy::MAX_NAMES)]
    TooManyNames(usize),
    /// A name that is not valid.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A name that is not in ASCII, as X.509 wants it.
    #[error("its name `{0}` is not in ASCII")]
    NotAscii(String),
    /// A name of another kind than it says.
    #[error("its name `{0}` is not of the kind that it claims to be")]
    WrongKind(Identifier),
    /// An address of neither 4 nor 16 octets.
    #[error("it has an IP address of {0} octets")]
    Address(usize),
    /// A kind of name that certmint does not issue.
    #[error("it has a name of the kind {0}, which is not issued")]
    OtherKind(&'static str),
    /// A name that is easily overlooked.
    #[error("its subject holds an e-mail address")]
    EmailInSubject,
    /// Which one counts, verifiers do not agree on.
    #[error("its subject has two common names")]
    SecondCommonName,
    /// A name that is easily overlooked.
    #[error("its common name `{0}` is not among its alternative names")]
    CommonNameElsewhere(String),
    /// No alternative names at all.
    #[error("its only name is the common name `{0}`")]
    OnlyCommonName(String),
}

impl CsrError {
    /// Whether its names stand where they should not, or not where they should.
    pub fn is_about_names(&self) -> bool {
        matches!(self, Self::CommonNameElsewhere(_) | Self::OnlyCommonName(_))
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Name(error) => return error.hint().map(str::to_owned),
            Self::OnlyCommonName(_)
            | Self::CommonNameElsewhere(_)
            | Self::SecondCommonName
            | Self::EmailInSubject
            | Self::OtherKind(_)
            | Self::WrongKind(_)
            | Self::NotAscii(_)
            | Self::Address(_)
            | Self::TooManyNames(_) => {
                "say which names it shall have; then those in the request do not count"
            }
            Self::WantsCa | Self::WantsToSign | Self::WantsConstraints | Self::Critical(_) => {
                "make a request without it: `certmint ca issue --csr-only NAME`"
            }
            Self::Algorithm(_) => "make the request with SHA-256 or better",
            _ => return None,
        };
        Some(text.to_owned())
    }
}
