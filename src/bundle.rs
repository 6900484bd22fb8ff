//! A private key with the chain that belongs to it, as one value.
//!
//! A [`CertBundle`] that exists is correct: the key is the leaf's, and each
//! certificate was signed by the next. Programs that swap certificates swap
//! this value, so that a mismatched pair cannot come to be.

mod certificate;
mod fields;
mod signature;

use std::fmt::Write as _;
use std::sync::Arc;

use zeroize::Zeroizing;

pub use certificate::{Certificate, MalformedCertificate};
pub use fields::{BasicConstraints, ConstrainedNames, ExtendedKeyUsage, KeyUsage};
pub use signature::{BadSignature, verify_signature};

use crate::identifier::Identifier;
use crate::key::{KeyError, Passphrase, PrivateKey};

/// A key and its chain: the leaf first, each certificate signed by the next.
#[derive(Debug, Clone)]
pub struct CertBundle {
    key: Arc<PrivateKey>,
    chain: Vec<Certificate>,
}

impl CertBundle {
    /// Longest chain taken; real ones have two to four certificates.
    pub const MAX_CHAIN: usize = 10;

    /// Joins a key and a chain, or says what does not fit.
    pub fn new(key: PrivateKey, chain: Vec<Certificate>) -> Result<Self, BundleError> {
        check_chain(&chain)?;
        let leaf = chain.first().ok_or(BundleError::NoCertificate)?;
        if leaf.spki() != key.public_key_der() {
            return Err(BundleError::KeyMismatch);
        }
        Ok(Self {
            key: Arc::new(key),
            chain,
        })
    }

    /// Reads a key and a chain from PEM texts, which may be the same text.
    pub fn from_pem(
        key: &[u8],
        chain: &[u8],
        passphrase: Option<&Passphrase>,
    ) -> Result<Self, BundleError> {
        let key = PrivateKey::from_pem(key, passphrase)?;
        Self::new(key, Certificate::parse_pem(chain)?)
    }

    /// The certificate itself.
    pub fn leaf(&self) -> &Certificate {
        &self.chain[0]
    }

    /// Leaf and intermediates, as they are sent to clients.
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// The intermediates alone.
    pub fn intermediates(&self) -> &[Certificate] {
        &self.chain[1..]
    }

    /// The private key.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// Whether the leaf is good for every one of `names`.
    pub fn covers(&self, names: &[Identifier]) -> bool {
        names.iter().all(|name| self.leaf().covers(name))
    }

    /// Leaf and intermediates as PEM.
    pub fn fullchain_pem(&self) -> String {
        to_pem(&self.chain)
    }

    /// Key, leaf and intermediates in one PEM text, for programs that read one file.
    pub fn combined_pem(&self) -> Zeroizing<String> {
        let mut text = self.key.to_pem();
        text.push_str(&self.fullchain_pem());
        text
    }
}

/// `certificates` as PEM, one after the other.
pub fn to_pem(certificates: &[Certificate]) -> String {
    certificates
        .iter()
        .fold(String::new(), |mut text, certificate| {
            let _ = write!(text, "{}", certificate.to_pem());
            text
        })
}

fn check_chain(chain: &[Certificate]) -> Result<(), BundleError> {
    if chain.len() > CertBundle::MAX_CHAIN {
        return Err(BundleError::TooLong(chain.len()));
    }
    for (position, pair) in chain.windows(2).enumerate() {
        let [lower, upper] = pair else { continue };
        lower
            .verify_signed_by(upper)
            .map_err(|source| BundleError::BrokenChain {
                position: position + 1,
                source,
            })?;
    }
    Ok(())
}

/// Why a key and certificates do not make a bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The key cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A certificate cannot be read.
    #[error(transparent)]
    Certificate(#[from] MalformedCertificate),
    /// There is no certificate at all.
    #[error("there is no certificate in the chain")]
    NoCertificate,
    /// The key is another one's.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// More than [`CertBundle::MAX_CHAIN`].
    #[error("the chain has {0} certificates, at most {max} are taken", max = CertBundle::MAX_CHAIN)]
    TooLong(usize),
    /// A certificate was not signed by the one after it.
    #[error("certificate {position} of the chain is not signed by the one after it")]
    BrokenChain {
        /// Counted from 1.
        position: usize,
        /// What the check said.
        source: BadSignature,
    },
}
