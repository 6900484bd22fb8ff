//! What stands in the certificates that certmint issues, field by field.
//!
//! No library default is policy: [`params`] sets every field there is. The rules
//! are those of RFC 5280 and the CA/Browser Forum's BR §7.1.2, as far as a private
//! CA has use for them; each deviation says why.

use aws_lc_rs::digest;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, CrlDistributionPoint, CustomExtension,
    DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyIdMethod,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};

use x509_parser::asn1_rs::{Any, Class, Header, Length, Sequence, SerializeError, Tag, ToDer as _};
use x509_parser::oid_registry::{
    OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS, OID_PKIX_AUTHORITY_INFO_ACCESS,
};

use super::config::CaConfig;
use super::policy::{self, Authorized};
use super::publication::Addresses;
use crate::bundle::Certificate;
use crate::clock::{Duration, Timestamp};
use crate::identifier::{Identifier, NameConstraints};
use crate::issuer::Usage;

/// Longest common name in characters (X.520 ub-common-name).
pub(super) const MAX_COMMON_NAME: usize = 64;
/// How far the life of a CA certificate starts in the past (BR: at most a day).
const CA_BACKDATE: Duration = Duration::hours(1);
/// Octets of a serial number: RFC 5280's most.
pub(super) const SERIAL_OCTETS: usize = 20;

/// A self-signed root, `generation` being `R1` and so on.
pub(super) fn root(
    config: &CaConfig,
    generation: &str,
    key: &impl PublicKeyData,
    now: Timestamp,
) -> Result<CertificateParams, ProfileError> {
    params(
        Fields {
            subject: root_subject(config, generation)?,
            not_before: now - CA_BACKDATE,
            not_after: now + Duration::days(config.root_days.into()),
            // Without pathLen: with one, clients that know only the root before
            // this refuse the chain through the cross-certificate.
            is_ca: IsCa::Ca(BasicConstraints::Unconstrained),
            key_usages: ca_usages(),
            extended_key_usages: Vec::new(),
            name_constraints: constraints(&config.permit),
            names: Vec::new(),
            addresses: Addresses::default(),
        },
        key,
    )
}

/// `new`'s name and key, to be signed by the root `old` that it replaces.
pub(super) fn cross(
    config: &CaConfig,
    generation: &str,
    key: &impl PublicKeyData,
    new: &Certificate,
    old: &Certificate,
) -> Result<CertificateParams, ProfileError> {
    params(
        Fields {
            subject: root_subject(config, generation)?,
            not_before: new.not_before().max(old.not_before()),
            not_after: new.not_after().min(old.not_after()),
            is_ca: IsCa::Ca(BasicConstraints::Unconstrained),
            key_usages: ca_usages(),
            extended_key_usages: Vec::new(),
            name_constraints: constraints(&config.permit),
            names: Vec::new(),
            addresses: Addresses::default(),
        },
        key,
    )
}

/// An intermediate under `root`, `generation` being `I1` and so on.
pub(super) fn intermediate(
    config: &CaConfig,
    generation: &str,
    key: &impl PublicKeyData,
    root: &Certificate,
    now: Timestamp,
) -> Result<CertificateParams, ProfileError> {
    let life = Duration::days(config.intermediate_days.into());
    params(
        Fields {
            subject: subject(
                config,
                &format!("{} Intermediate {generation}", config.name),
            )?,
            not_before: (now - CA_BACKDATE).max(root.not_before()),
            not_after: (now + life).min(root.not_after()),
            is_ca: IsCa::Ca(BasicConstraints::Constrained(0)),
            key_usages: ca_usages(),
            // BR §7.1.2.10.6: what leaves may be used for is bounded here.
            extended_key_usages: vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            // Repeated, since Java ignores those of the trust anchor.
            name_constraints: constraints(&config.permit),
            names: Vec::new(),
            addresses: Addresses::default(),
        },
        key,
    )
}

/// A leaf.
pub(super) fn leaf(
    authorized: &Authorized,
    key: &impl PublicKeyData,
    addresses: &Addresses,
) -> Result<CertificateParams, ProfileError> {
    let mut subject = DistinguishedName::new();
    if let Some(name) = policy::common_name(authorized.names()) {
        subject.push(DnType::CommonName, DnValue::Utf8String(name));
    }
    params(
        Fields {
            subject,
            not_before: authorized.not_before(),
            not_after: authorized.not_after(),
            // Written as an empty sequence, the DER of CA:FALSE.
            is_ca: IsCa::ExplicitNoCa,
            // Nothing else for RSA either: keyEncipherment is for key exchanges
            // that TLS 1.3 does not have and our server refuses.
            key_usages: vec![KeyUsagePurpose::DigitalSignature],
            extended_key_usages: extended_key_usages(authorized.usage()),
            name_constraints: None,
            names: authorized
                .names()
                .iter()
                .map(san)
                .collect::<Result<Vec<_>, _>>()?,
            addresses: addresses.clone(),
        },
        key,
    )
}

/// Everything in a certificate that is not the same in all of them.
struct Fields {
    subject: DistinguishedName,
    not_before: Timestamp,
    not_after: Timestamp,
    is_ca: IsCa,
    key_usages: Vec<KeyUsagePurpose>,
    extended_key_usages: Vec<ExtendedKeyUsagePurpose>,
    name_constraints: Option<rcgen::NameConstraints>,
    names: Vec<SanType>,
    addresses: Addresses,
}

fn params(fields: Fields, key: &impl PublicKeyData) -> Result<CertificateParams, ProfileError> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(random_serial()?);
    params.distinguished_name = fields.subject;
    params.not_before = fields.not_before;
    params.not_after = fields.not_after;
    params.subject_alt_names = fields.names;
    params.is_ca = fields.is_ca;
    params.key_usages = fields.key_usages;
    params.extended_key_usages = fields.extended_key_usages;
    params.name_constraints = fields.name_constraints;
    let Addresses { crl, issuer } = fields.addresses;
    params.crl_distribution_points = crl
        .into_iter()
        .map(|url| CrlDistributionPoint { uris: vec![url] })
        .collect();
    params.custom_extensions = issuer
        .map(|url| authority_info_access(&url))
        .transpose()?
        .into_iter()
        .collect();
    params.use_authority_key_identifier_extension = true;
    params.key_identifier_method = KeyIdMethod::PreSpecified(key_id(key));
    Ok(params)
}

/// Where the issuer's certificate can be had (RFC 5280 §4.2.2.1), which is never
/// critical.
fn authority_info_access(url: &str) -> Result<CustomExtension, ProfileError> {
    /// `uniformResourceIdentifier [6] IA5String`
    const URI: Tag = Tag(6);
    let length = Length::Definite(url.len());
    let uri = Any::new(
        Header::new(Class::ContextSpecific, false, URI, length),
        url.as_bytes(),
    );
    let description = [
        OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS.to_der_vec()?,
        uri.to_der_vec()?,
    ];
    let description = Sequence::new(description.concat().into()).to_der_vec()?;
    let syntax = Sequence::new(description.into()).to_der_vec()?;
    let oid: Vec<u64> = OID_PKIX_AUTHORITY_INFO_ACCESS
        .iter()
        .into_iter()
        .flatten()
        .collect();
    Ok(CustomExtension::from_oid_content(&oid, syntax))
}

/// A positive number of 159 random bits (RFC 5280 §4.1.2.2 allows twenty octets).
///
/// Redrawn while its first octet is zero, so that every serial number has the same
/// length and one spelling.
fn random_serial() -> Result<SerialNumber, ProfileError> {
    let mut octets = [0; SERIAL_OCTETS];
    while octets[0] == 0 {
        aws_lc_rs::rand::fill(&mut octets).map_err(|_| ProfileError::Randomness)?;
        octets[0] &= 0x7f;
    }
    Ok(SerialNumber::from_slice(&octets))
}

/// The key identifier by method 1 of RFC 7093 §2: 160 bits of SHA-256.
pub(super) fn key_id(key: &impl PublicKeyData) -> Vec<u8> {
    const OCTETS: usize = 20;
    let hash = digest::digest(&digest::SHA256, key.der_bytes());
    hash.as_ref()[..OCTETS].to_vec()
}

fn root_subject(config: &CaConfig, generation: &str) -> Result<DistinguishedName, ProfileError> {
    subject(config, &format!("{} Root {generation}", config.name))
}

fn subject(config: &CaConfig, common_name: &str) -> Result<DistinguishedName, ProfileError> {
    if common_name.chars().count() > MAX_COMMON_NAME {
        return Err(ProfileError::CommonName(common_name.to_owned()));
    }
    let mut subject = DistinguishedName::new();
    if let Some(country) = &config.country {
        // RFC 5280 appendix A.1: a PrintableString of two.
        let letters = country.as_str().try_into().map_err(ProfileError::Text)?;
        subject.push(DnType::CountryName, DnValue::PrintableString(letters));
    }
    let org = config.org.as_str().to_owned();
    subject.push(DnType::OrganizationName, DnValue::Utf8String(org));
    let name = DnValue::Utf8String(common_name.to_owned());
    subject.push(DnType::CommonName, name);
    Ok(subject)
}

fn ca_usages() -> Vec<KeyUsagePurpose> {
    vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]
}

fn extended_key_usages(usage: Usage) -> Vec<ExtendedKeyUsagePurpose> {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    match usage {
        Usage::Server => vec![ServerAuth],
        Usage::Client => vec![ClientAuth],
        Usage::Both => vec![ServerAuth, ClientAuth],
    }
}

pub(super) fn san(name: &Identifier) -> Result<SanType, ProfileError> {
    let ia5 = |text: String| text.try_into().map_err(ProfileError::Text);
    Ok(match name {
        Identifier::Dns(_) | Identifier::Wildcard(_) => SanType::DnsName(ia5(name.to_string())?),
        Identifier::Ip(address) => SanType::IpAddress(*address),
        Identifier::Email(address) => SanType::Rfc822Name(ia5(address.as_str().to_owned())?),
        Identifier::Uri(uri) => SanType::URI(ia5(uri.as_str().to_owned())?),
    })
}

/// What the CA may issue for, so that every verifier agrees with our own check:
/// kinds of name that are not listed are excluded as a whole, because GnuTLS alone
/// does that by itself.
fn constraints(permit: &NameConstraints) -> Option<rcgen::NameConstraints> {
    if permit.is_unlimited() {
        return None;
    }
    let subnet = |net: &ipnet::IpNet| {
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(net.addr(), net.prefix_len()))
    };
    let mut permitted: Vec<GeneralSubtree> = permit
        .dns()
        .map(|name| GeneralSubtree::DnsName(name.to_string()))
        .collect();
    let mut excluded = Vec::new();
    if permitted.is_empty() {
        excluded.push(GeneralSubtree::DnsName(String::new()));
    }
    permitted.extend(permit.ip().map(subnet));
    if permit.ip().next().is_none() {
        excluded.push(GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])));
        excluded.push(GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])));
    }
    Some(rcgen::NameConstraints {
        permitted_subtrees: permitted,
        excluded_subtrees: excluded,
    })
}

/// Why a certificate could not be composed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProfileError {
    /// The operating system gave no random numbers.
    #[error("no random serial number could be drawn")]
    Randomness,
    /// More than 64 characters.
    #[error("the common name `{0}` has more than {MAX_COMMON_NAME} characters")]
    CommonName(String),
    /// A text does not fit its ASN.1 type.
    #[error("a text cannot be written into a certificate")]
    Text(#[source] rcgen::Error),
    /// An extension cannot be encoded.
    #[error("an extension cannot be encoded: {0}")]
    Extension(String),
    /// The library could not write or sign it.
    #[error("it could not be written")]
    Write(#[source] rcgen::Error),
}

impl From<SerializeError> for ProfileError {
    fn from(error: SerializeError) -> Self {
        Self::Extension(error.to_string())
    }
}
