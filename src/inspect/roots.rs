//! The roots that a chain is verified against, and the verifying.
//!
//! The system's roots are read from the bundle file that distributions keep, as
//! Go and OpenSSL do; one file holds them all, so no crate is needed for it.

use std::path::{Path, PathBuf};

use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use super::model::Verification;
use super::{InspectError, read_capped};
use crate::bundle::Certificate;
use crate::clock::Timestamp;
use crate::finding::rules::label;
use crate::finding::words;
use crate::identifier::Identifier;
use crate::net::roots::SYSTEM_BUNDLES;

/// Trusted roots, and what to call them.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    certificates: Vec<Certificate>,
    name: String,
    /// Asked for by the user: what does not verify against them is wrong.
    given: bool,
}

impl Roots {
    /// Roots that the user gave, called `name` in messages.
    pub fn given(certificates: Vec<Certificate>, name: impl Into<String>) -> Self {
        Self {
            certificates,
            name: name.into(),
            given: true,
        }
    }

    /// The roots in a PEM file.
    pub fn from_file(path: &Path) -> Result<Self, InspectError> {
        let certificates = read_bundle(path)?;
        Ok(Self::given(
            certificates,
            format!("`{}`", words::path(path)),
        ))
    }

    /// The system's roots; none on a system that keeps them in no file that we know.
    pub fn system() -> Self {
        let found = SYSTEM_BUNDLES
            .iter()
            .find_map(|path| read_bundle(Path::new(path)).ok());
        let certificates = found.unwrap_or_default();
        let name = match certificates.len() {
            0 => "no roots (the system keeps none where we look)".to_owned(),
            n => format!("the system's {n} roots"),
        };
        Self {
            certificates,
            name,
            given: false,
        }
    }

    /// The roots themselves.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Whether the user asked for just these.
    pub fn are_given(&self) -> bool {
        self.given
    }

    /// The same roots and one more, the private CA's own, say.
    #[must_use]
    pub fn and(mut self, more: impl IntoIterator<Item = Certificate>, name: &str) -> Self {
        let before = self.certificates.len();
        for certificate in more {
            if !self.certificates.contains(&certificate) {
                self.certificates.push(certificate);
            }
        }
        if self.certificates.len() > before {
            self.name = format!("{} and {name}", self.name);
        }
        self
    }
}

/// One broken root in a bundle must not hide the others.
fn read_bundle(path: &Path) -> Result<Vec<Certificate>, InspectError> {
    let io = |source| InspectError::Read {
        path: PathBuf::from(path),
        source,
    };
    let file = std::fs::File::open(path).map_err(io)?;
    let bytes = read_capped(file, &words::path(path))?;
    let blocks = super::contents::pem_blocks(&bytes);
    let certificates: Vec<Certificate> = blocks
        .into_iter()
        .filter(|block| block.tag.contains("CERTIFICATE"))
        .filter_map(|block| Certificate::from_der(block.contents.as_ref().ok()?).ok())
        .collect();
    if certificates.is_empty() {
        return Err(InspectError::NoRoots(path.to_owned()));
    }
    Ok(certificates)
}

/// What rustls-webpki says, with its own word for what went wrong.
pub(super) struct Verdict {
    pub(super) verification: Verification,
    pub(super) error: Option<Error>,
}

/// Verifies `chain`, leaf first and in whatever order beyond, as a TLS client would.
pub(super) fn verify(
    chain: &[Certificate],
    wanted: Option<&Identifier>,
    roots: &Roots,
    now: Timestamp,
) -> Verdict {
    let result = path_to_root(chain, wanted, roots, now);
    let (root, error) = match result {
        Ok(root) => (Some(root), None),
        Err(error) => (None, Some(error)),
    };
    Verdict {
        verification: Verification {
            ok: error.is_none(),
            root,
            error: error.as_ref().map(in_words),
            roots: roots.name.clone(),
        },
        error,
    }
}

fn path_to_root(
    chain: &[Certificate],
    wanted: Option<&Identifier>,
    roots: &Roots,
    now: Timestamp,
) -> Result<String, Error> {
    let (leaf, above) = chain.split_first().ok_or(Error::UnknownIssuer)?;
    let anchors: Vec<TrustAnchor<'_>> = roots
        .certificates
        .iter()
        .filter_map(|root| webpki::anchor_from_trusted_cert(root.der()).ok())
        .collect();
    let intermediates: Vec<CertificateDer<'_>> = above.iter().map(|c| c.der().clone()).collect();
    let end_entity = EndEntityCert::try_from(leaf.der())?;
    let seconds = u64::try_from(now.unix_timestamp()).unwrap_or_default();
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let path = end_entity.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &intermediates,
        time,
        KeyUsage::server_auth(),
        None,
        None,
    )?;
    let anchor = path.anchor();
    let root = roots.certificates.iter().find(|root| {
        webpki::anchor_from_trusted_cert(root.der()).is_ok_and(|a| {
            a.subject == anchor.subject
                && a.subject_public_key_info == anchor.subject_public_key_info
        })
    });
    if let Some(name) = wanted.and_then(server_name) {
        end_entity.verify_is_valid_for_subject_name(&name)?;
    }
    Ok(root.map_or_else(String::new, label))
}

fn server_name(wanted: &Identifier) -> Option<ServerName<'static>> {
    match wanted {
        Identifier::Dns(name) => ServerName::try_from(name.as_str().to_owned()).ok(),
        Identifier::Ip(address) => Some(ServerName::IpAddress((*address).into())),
        _ => None,
    }
}

/// A verifier's error for people.
fn in_words(error: &Error) -> String {
    let words = match error {
        Error::UnknownIssuer => "no trusted root leads to it",
        Error::CertExpired { .. } => "a certificate on the way has expired",
        Error::CertNotValidYet { .. } => "a certificate on the way is not valid yet",
        Error::InvalidCertValidity => "it ends before it begins",
        Error::CertNotValidForName(_) => "it is not for this name",
        Error::CaUsedAsEndEntity => "it is a CA certificate used as a server's own",
        Error::EndEntityUsedAsCa => "a certificate on the way is no CA",
        Error::NameConstraintViolation => "a name is outside what its CA may speak for",
        Error::PathLenConstraintViolated => "more intermediates follow than a CA allows",
        Error::RequiredEkuNotFoundContext(_) => "it is not for servers",
        Error::InvalidSignatureForPublicKey => "a signature does not verify",
        other => return format!("{other:?}"),
    };
    words.to_owned()
}

/// The rules that say the same as a verifier's error, more precisely.
pub(super) fn same_as(error: &Error) -> &'static [&'static str] {
    match error {
        Error::UnknownIssuer => &["missing-intermediate", "bad-signature"],
        Error::CertExpired { .. } | Error::InvalidCertValidity => &["expired", "not-yet-valid"],
        Error::CertNotValidYet { .. } => &["not-yet-valid"],
        Error::CertNotValidForName(_) => &["name-mismatch"],
        Error::CaUsedAsEndEntity => &["ca-as-leaf"],
        Error::NameConstraintViolation => &["name-constraints"],
        Error::PathLenConstraintViolated => &["path-length"],
        Error::RequiredEkuNotFoundContext(_) => &["no-server-auth"],
        Error::InvalidSignatureForPublicKey => &["bad-signature"],
        _ => &["weak-signature", "weak-key"],
    }
}
