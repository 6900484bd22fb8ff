//! A server without certificate: its clients know its public key (RFC 7250).

use std::sync::Arc;

use arc_swap::ArcSwap;
use data_encoding::BASE64;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use super::{Asked, Certificates, Identity, Served};
use crate::key::{KeyType, PrivateKey};

/// One Ed25519 key that every client is served with, whatever name it asks for.
#[derive(Debug)]
pub struct RawKey(ArcSwap<Identity>);

/// What stands before an Ed25519 public key in its SubjectPublicKeyInfo (RFC 8410 §4).
const ED25519_SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

impl RawKey {
    /// Serves with `key`.
    pub fn new(key: &PrivateKey) -> Result<Self, UnusableRawKey> {
        Ok(Self(ArcSwap::from_pointee(identity(key)?)))
    }

    /// Serves with `key` from the next connection on.
    pub fn replace(&self, key: &PrivateKey) -> Result<(), UnusableRawKey> {
        self.0.store(Arc::new(identity(key)?));
        Ok(())
    }

    /// How clients name `key`: `ed25519:` and its public half.
    pub fn fingerprint(key: &PrivateKey) -> Result<String, UnusableRawKey> {
        let spki = key.public_key_der();
        let public = ed25519_of_spki(&spki).ok_or(UnusableRawKey::Kind(key.kind()))?;
        Ok(ed25519_fingerprint(&public))
    }
}

impl Certificates for RawKey {
    fn find(&self, _: Asked<'_>) -> Option<Identity> {
        Some(Identity::clone(&self.0.load()))
    }
}

fn identity(key: &PrivateKey) -> Result<Identity, UnusableRawKey> {
    if key.kind() != KeyType::Ed25519 {
        return Err(UnusableRawKey::Kind(key.kind()));
    }
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let signing = provider.key_provider.load_private_key(key.to_rustls())?;
    let certified = CertifiedKey::new(vec![CertificateDer::from(key.public_key_der())], signing);
    Ok(Identity(Arc::new([Arc::new(Served::raw_key(certified))])))
}

/// The Ed25519 public key in a SubjectPublicKeyInfo, if that is what it holds.
pub(crate) fn ed25519_of_spki(spki: &[u8]) -> Option<[u8; 32]> {
    spki.strip_prefix(&ED25519_SPKI)?.try_into().ok()
}

/// An Ed25519 public key in the form that settings take: `ed25519:` and base64.
pub fn ed25519_fingerprint(public: &[u8; 32]) -> String {
    format!("ed25519:{}", BASE64.encode(public))
}

/// Why a key cannot be served without a certificate.
#[derive(Debug, thiserror::Error)]
pub enum UnusableRawKey {
    /// Only Ed25519 has a short public key that people can compare.
    #[error("a raw public key is an Ed25519 key, this one is {}", .0.as_str())]
    Kind(KeyType),
    /// The TLS library does not take it.
    #[error("the key cannot be used for TLS")]
    Tls(#[from] rustls::Error),
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    #[test]
    fn only_an_ed25519_key_is_served_without_certificate_and_it_can_be_swapped() {
        let [first, second] = [(); 2].map(|()| PrivateKey::generate(KeyType::Ed25519).unwrap());
        let raw = RawKey::new(&first).unwrap();
        let asked = Asked {
            server_name: Some("any.test"),
            local: IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let sent = |raw: &RawKey| raw.find(asked).unwrap().choose(&[]).key().cert[0].to_vec();
        assert_eq!(sent(&raw), first.public_key_der());
        raw.replace(&second).unwrap();
        assert_eq!(sent(&raw), second.public_key_der());
        let other = PrivateKey::generate(KeyType::P256).unwrap();
        assert!(matches!(
            raw.replace(&other),
            Err(UnusableRawKey::Kind(KeyType::P256))
        ));
        assert_eq!(sent(&raw), second.public_key_der());
    }

    #[test]
    fn the_fingerprint_is_the_public_key_itself() {
        let key = PrivateKey::generate(KeyType::Ed25519).unwrap();
        let fingerprint = RawKey::fingerprint(&key).unwrap();
        let text = fingerprint.strip_prefix("ed25519:").unwrap();
        let public = BASE64.decode(text.as_bytes()).unwrap();
        assert_eq!(public.len(), 32);
        assert!(key.public_key_der().ends_with(&public));
    }
}
