//! Checking a signature with a public key, for certificates, CRLs and requests.

use rustls::pki_types::SubjectPublicKeyInfoDer;
use webpki::RawPublicKeyEntity;

/// Checks that `signature` over `message` was made by the key in `spki` (DER
/// SubjectPublicKeyInfo) with the algorithm named by `oid` (DER, with its tag).
///
/// Knows what TLS verifiers know: ECDSA on the NIST curves, Ed25519, and RSA of
/// 2048 bits or more with SHA-2.
pub fn verify_signature(
    spki: &[u8],
    oid: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    let spki = SubjectPublicKeyInfoDer::from(spki);
    let key = RawPublicKeyEntity::try_from(&spki).map_err(|_| BadSignature::Key)?;
    let mut known = false;
    for algorithm in webpki::ALL_VERIFICATION_ALGS {
        if !algorithm.signature_alg_id().as_ref().starts_with(oid) {
            continue;
        }
        known = true;
        if key.verify_signature(*algorithm, message, signature).is_ok() {
            return Ok(());
        }
    }
    Err(if known {
        BadSignature::Mismatch
    } else {
        BadSignature::Algorithm
    })
}

/// Why a signature was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// The issuer's name is another one.
    #[error("the issuer named in it is not the subject of the other")]
    Issuer,
    /// The public key cannot be used.
    #[error("the public key is of an unknown kind")]
    Key,
    /// An algorithm that is unknown or no longer trusted, such as SHA-1.
    #[error("the signature algorithm is not supported")]
    Algorithm,
    /// It was made by another key, or over something else.
    #[error("the signature does not verify")]
    Mismatch,
}
