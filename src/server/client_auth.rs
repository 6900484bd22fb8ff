//! Which clients may connect, by what they show in the TLS handshake.
//!
//! Rules kept here: trust never fails open. Files that cannot be read, or hold
//! nothing, are an error, never an empty list; a certificate whose revocation cannot
//! be looked up, or only in a list that is out of date, counts as revoked; whatever
//! a client shows, it proves to hold the key. What a client merely claims, such as
//! the names in a certificate that it made itself, goes no further.

mod fingerprints;
mod identity;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{CertificateType, WebPkiClientVerifier};

use crate::bundle::{Certificate, MalformedCertificate};
use crate::clock::Timestamp;
use crate::finding::rules::{self, Subject};
use crate::finding::{Finding, Severity};
use crate::settings::{ClientAuth, ClientFingerprint, Demand};
use crate::store::{StoreError, disk};

use fingerprints::{Form, Pinned};
pub(super) use identity::ClientIdentity;

/// What is asked of clients, ready to be used.
#[derive(Debug)]
pub(super) enum Clients {
    /// Nothing.
    Anybody,
    /// A certificate of an authority.
    Authorities(Arc<dyn ClientCertVerifier>),
    /// A certificate or a key from a list.
    Fingerprints {
        list: Vec<ClientFingerprint>,
        certificates: Arc<dyn ClientCertVerifier>,
        /// For clients that offer a raw public key, when a key is in the list.
        raw_keys: Option<Arc<dyn ClientCertVerifier>>,
    },
}

impl Clients {
    /// Reads what the settings name.
    pub(super) fn load(
        settings: &ClientAuth,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TrustError> {
        Ok(match settings {
            ClientAuth::Anybody => Self::Anybody,
            ClientAuth::Authorities {
                roots,
                crls,
                demand,
            } => Self::Authorities(authorities(roots, crls, *demand, provider)?),
            ClientAuth::Fingerprints(list) => {
                if list.is_empty() {
                    return Err(TrustError::NoFingerprint);
                }
                let pinned = |form| -> Arc<dyn ClientCertVerifier> {
                    Arc::new(Pinned::new(list, form, provider))
                };
                let is_key = |f: &ClientFingerprint| matches!(f, ClientFingerprint::Ed25519(_));
                Self::Fingerprints {
                    list: list.clone(),
                    certificates: pinned(Form::Certificate),
                    raw_keys: list.iter().any(is_key).then(|| pinned(Form::RawKey)),
                }
            }
        })
    }

    /// Who checks certificates; `None` when none is asked for.
    pub(super) fn certificates(&self) -> Option<&Arc<dyn ClientCertVerifier>> {
        match self {
            Self::Anybody => None,
            Self::Authorities(verifier) => Some(verifier),
            Self::Fingerprints { certificates, .. } => Some(certificates),
        }
    }

    /// Who checks raw public keys, when one may be shown instead of a certificate.
    pub(super) fn raw_keys(&self) -> Option<&Arc<dyn ClientCertVerifier>> {
        match self {
            Self::Anybody | Self::Authorities(_) => None,
            Self::Fingerprints { raw_keys, .. } => raw_keys.as_ref(),
        }
    }

    /// Who a client is that has been verified and showed `shown`.
    pub(super) fn identify(&self, shown: &CertificateDer<'_>, raw: bool) -> Option<ClientIdentity> {
        match self {
            Self::Anybody => None,
            Self::Authorities(_) => Some(ClientIdentity::of_certificate(shown)),
            Self::Fingerprints { list, .. } => {
                let form = if raw { Form::RawKey } else { Form::Certificate };
                Some(match fingerprints::matching(list, form, shown)? {
                    ClientFingerprint::Certificate(_) => ClientIdentity::of_certificate(shown),
                    ClientFingerprint::Ed25519(key) => ClientIdentity::of_key(&key),
                })
            }
        }
    }
}

/// Whether a client would rather show a raw public key than a certificate (RFC 7250
/// §4.1: it offers the types in the order that it prefers).
pub(super) fn prefers_raw_key(offered: Option<&[CertificateType]>) -> bool {
    let known = [CertificateType::RawPublicKey, CertificateType::X509];
    let first = offered.into_iter().flatten().find(|t| known.contains(t));
    first == Some(&CertificateType::RawPublicKey)
}

/// The files that `settings` lives by.
pub(super) fn files(settings: &ClientAuth) -> Vec<PathBuf> {
    match settings {
        ClientAuth::Authorities { roots, crls, .. } => {
            std::iter::once(roots).chain(crls).cloned().collect()
        }
        ClientAuth::Anybody | ClientAuth::Fingerprints(_) => Vec::new(),
    }
}

/// What is in those files, so that a change can be told.
pub(super) fn digest(settings: &ClientAuth) -> Result<[u8; 32], TrustError> {
    let mut all = digest::Context::new(&digest::SHA256);
    for path in files(settings) {
        let hash = digest::digest(&digest::SHA256, &disk::read(&path)?);
        all.update(hash.as_ref());
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(all.finish().as_ref());
    Ok(digest)
}

/// Says which revocation lists are out of date, or will be before long: from then on
/// everybody is refused whom they are about.
pub(super) fn tell_stale_lists(settings: &ClientAuth, now: Timestamp) {
    let ClientAuth::Authorities { crls, .. } = settings else {
        return;
    };
    for path in crls {
        // One that cannot be read has been an error already.
        for list in read_crls(path).unwrap_or_default() {
            let Some(finding) = stale(path, &list, now) else {
                continue;
            };
            let remedy = "write a new one with `certmint ca crl`, or fetch the CA's again";
            if finding.severity == Severity::Critical {
                tracing::error!(
                    "{}; clients of its CA are refused: {remedy}",
                    finding.message
                );
            } else {
                tracing::warn!(
                    "{}; from then on clients of its CA are refused: {remedy}",
                    finding.message
                );
            }
        }
    }
}

fn stale(path: &Path, list: &[u8], now: Timestamp) -> Option<Finding> {
    let (_, list) = x509_parser::parse_x509_crl(list).ok()?;
    let next_update = list.next_update().map(|at| at.to_datetime());
    let name = path.display().to_string();
    let this_update = list.last_update().to_datetime();
    rules::stale_crl(Subject::new(&name), this_update, next_update, now)
}

fn authorities(
    roots: &Path,
    crls: &[PathBuf],
    demand: Demand,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TrustError> {
    let roots = read_roots(roots)?;
    let lists = crls.iter().map(|path| read_crls(path));
    let lists: Vec<_> = lists.collect::<Result<_, _>>()?;
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            // Every certificate of the chain is looked up; unknown is refused.
            .with_crls(lists.into_iter().flatten())
            .enforce_revocation_expiration();
    let builder = match demand {
        Demand::Require => builder,
        Demand::Request => builder.allow_unauthenticated(),
    };
    builder.build().map_err(TrustError::Verifier)
}

fn read_roots(path: &Path) -> Result<RootCertStore, TrustError> {
    let malformed = |source| TrustError::Root {
        path: path.to_owned(),
        source,
    };
    let certificates = Certificate::parse_pem(&disk::read(path)?).map_err(malformed)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        // The verifier takes any anchor for a CA: whoever has the key of a client's
        // own certificate could then be anybody.
        let added = certificate.is_ca() && roots.add(certificate.der().clone()).is_ok();
        if !added {
            return Err(TrustError::NotAnAuthority {
                path: path.to_owned(),
                name: certificate.display_name(),
            });
        }
    }
    Ok(roots)
}

fn read_crls(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TrustError> {
    const PEM: &[u8] = b"-----BEGIN ";
    let bad = |reason: String| TrustError::Crl {
        path: path.to_owned(),
        reason,
    };
    let bytes = disk::read(path)?;
    let lists: Vec<Vec<u8>> = if bytes.windows(PEM.len()).any(|window| window == PEM) {
        let blocks = pem::parse_many(&bytes).map_err(|e| bad(e.to_string()))?;
        let lists = blocks.into_iter().filter(|block| block.tag() == "X509 CRL");
        lists.map(pem::Pem::into_contents).collect()
    } else {
        vec![bytes]
    };
    if lists.iter().all(Vec::is_empty) {
        return Err(bad("there is none in it".to_owned()));
    }
    for list in &lists {
        webpki::OwnedCertRevocationList::from_der(list).map_err(|e| bad(e.to_string()))?;
    }
    Ok(lists.into_iter().map(Into::into).collect())
}

/// Why nobody can be told whom to trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file cannot be read.
    #[error("could not read what clients are verified with")]
    File(#[from] StoreError),
    /// The authorities' file is not what it should be.
    #[error("`{}` does not hold the certificates of clients' authorities", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: MalformedCertificate,
    },
    /// A certificate that issues none.
    #[error("`{name}` in `{}` is not the certificate of an authority", path.display())]
    NotAnAuthority {
        /// The file.
        path: PathBuf,
        /// Whose certificate it is.
        name: String,
    },
    /// A file of revocation lists is not one.
    #[error("`{}` is not a certificate revocation list: {reason}", path.display())]
    Crl {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The list of fingerprints is empty.
    #[error("no client's fingerprint is allowed")]
    NoFingerprint,
    /// The TLS library does not take them.
    #[error("clients cannot be verified with these authorities")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
}

impl TrustError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::File(source) => match source.hint() {
                Some(hint) => hint,
                None => "name files that are there and can be read".to_owned(),
            },
            Self::Root { .. } | Self::Verifier(_) => {
                "name a PEM file with the root of the CA that issues to clients".to_owned()
            }
            Self::NotAnAuthority { .. } => {
                "name the CA's root, or let this one client in by its fingerprint".to_owned()
            }
            Self::Crl { .. } => "write a list with `certmint ca crl`, or fetch the CA's again, \
                                 in PEM or DER"
                .to_owned(),
            Self::NoFingerprint => {
                "allow one as `SHA256:` and hex, or `ed25519:` and base64".to_owned()
            }
        })
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests play the operator who writes the files"
)]
mod tests {
    use std::fs;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    fn certificate(is_ca: IsCa) -> String {
        let mut params = CertificateParams::new(["ca.test".to_owned()]).unwrap();
        params.is_ca = is_ca;
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn a_file_that_gives_no_trust_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let ca = certificate(IsCa::Ca(BasicConstraints::Unconstrained));
        let leaf = certificate(IsCa::NoCa);
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let (roots, crl) = (dir.path().join("roots.pem"), dir.path().join("crl.pem"));
        let load = |root: Option<&str>, list: Option<&str>| {
            for (path, text) in [(&roots, root), (&crl, list)] {
                let _ = fs::remove_file(path);
                if let Some(text) = text {
                    fs::write(path, text).unwrap();
                }
            }
            let settings = ClientAuth::Authorities {
                roots: roots.clone(),
                crls: vec![crl.clone()],
                demand: Demand::Require,
            };
            Clients::load(&settings, &provider).map(|_| ()).unwrap_err()
        };
        for (root, list, named) in [
            (None, None, &roots),
            (Some(""), None, &roots),
            (Some("words"), None, &roots),
            (Some(broken), None, &roots),
            (Some(&format!("{ca}{broken}")), None, &roots),
            (Some(&format!("{ca}{leaf}")), None, &roots),
            (Some(&ca), None, &crl),
            (Some(&ca), Some(""), &crl),
            (Some(&ca), Some("words"), &crl),
            (Some(&ca), Some(&ca), &crl),
        ] {
            let error = load(root, list);
            let said = crate::finding::words::causes(&error);
            let name = named.file_name().unwrap().to_str().unwrap();
            assert!(said.contains(name), "{root:?} {list:?}: {said}");
            assert!(error.hint().is_some(), "{said}");
        }
        let none = Clients::load(&ClientAuth::Fingerprints(Vec::new()), &provider);
        assert!(matches!(none, Err(TrustError::NoFingerprint)));
    }

    #[test]
    fn the_first_known_type_that_a_client_offers_is_what_it_prefers() {
        let (raw, x509) = (CertificateType::RawPublicKey, CertificateType::X509);
        let odd = CertificateType::Unknown(9);
        for (offered, expected) in [
            (&[raw][..], true),
            (&[raw, x509], true),
            (&[odd, raw], true),
            (&[x509, raw], false),
            (&[x509], false),
            (&[odd], false),
            (&[], false),
        ] {
            assert_eq!(prefers_raw_key(Some(offered)), expected, "{offered:?}");
        }
        assert!(!prefers_raw_key(None));
    }
}
