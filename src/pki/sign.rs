//! Composing, linting and signing, in that order.

use rcgen::{CertificateParams, PublicKeyData, SigningKey};

use super::error::CaError;
use super::lint::{self, Ordered};
use crate::bundle::Certificate;
use crate::finding::Severity;
use crate::key::{KeyError, KeyType, PrivateKey};

/// A key that signs rehearsals: what the linter sees before the CA's key is used.
#[derive(Debug)]
pub(super) struct Rehearsal(PrivateKey);

impl Rehearsal {
    pub(super) fn new() -> Result<Self, KeyError> {
        PrivateKey::generate(KeyType::P256).map(Self)
    }
}

/// Signs `params` over `key` with `signer`, once the linter agrees that a rehearsal
/// is what was ordered; the result is held against the order again.
pub(super) fn sign(
    params: &CertificateParams,
    key: &impl PublicKeyData,
    signer: &impl SigningKey,
    ordered: &Ordered<'_>,
    rehearsal: &Rehearsal,
) -> Result<Certificate, CaError> {
    refuse_findings(&build(params, key, &rehearsal.0, ordered)?, ordered)?;
    let certificate = build(params, key, signer, ordered)?;
    refuse_findings(&certificate, ordered)?;
    certificate
        .verify_signed_by(ordered.issuer.unwrap_or(&certificate))
        .map_err(CaError::Signature)?;
    Ok(certificate)
}

fn build(
    params: &CertificateParams,
    key: &impl PublicKeyData,
    signer: &impl SigningKey,
    ordered: &Ordered<'_>,
) -> Result<Certificate, CaError> {
    let issuer = match ordered.issuer {
        Some(issuer) => rcgen::Issuer::from_ca_cert_der(issuer.der(), signer),
        None => Ok(rcgen::Issuer::from_params(params, signer)),
    };
    let signed = issuer.and_then(|issuer| params.signed_by(key, &issuer));
    let der = signed.map_err(CaError::Composition)?;
    Certificate::from_der(der.der()).map_err(CaError::Unreadable)
}

fn refuse_findings(certificate: &Certificate, ordered: &Ordered<'_>) -> Result<(), CaError> {
    let findings = lint::check(certificate, ordered);
    if findings.iter().any(|f| f.severity >= Severity::Warn) {
        return Err(CaError::Lint { findings });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::pki::lint::Kind;
    use crate::pki::profile;
    use crate::pki::test_ca::{Hierarchy, key, now};

    /// A CA's key that knows how often it was used.
    struct Counting<'a>(&'a PrivateKey, Cell<usize>);

    impl PublicKeyData for Counting<'_> {
        fn der_bytes(&self) -> &[u8] {
            self.0.der_bytes()
        }

        fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
            PublicKeyData::algorithm(self.0)
        }
    }

    impl SigningKey for Counting<'_> {
        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
            self.1.set(self.1.get() + 1);
            self.0.sign(message)
        }
    }

    #[test]
    fn what_is_not_as_ordered_is_not_signed() {
        let ca = Hierarchy::new(&[]);
        let key = key();
        let right = profile::intermediate(&ca.config, "I2", &key, &ca.root, now()).unwrap();
        let ordered = Ordered {
            kind: Kind::Intermediate {
                permit: &ca.config.permit,
            },
            spki: &key.public_key_der(),
            issuer: Some(&ca.root),
            not_before: right.not_before,
            not_after: right.not_after,
        };
        let rehearsal = Rehearsal::new().unwrap();
        let signer = Counting(&ca.root_key, Cell::new(0));
        let attempt = |params| sign(params, &key, &signer, &ordered, &rehearsal);
        attempt(&right).unwrap();
        assert_eq!(signer.1.get(), 1);
        let mut wrong = right.clone();
        wrong.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let refused = attempt(&wrong).unwrap_err();
        assert!(
            refused.to_string().contains("basic constraints"),
            "{refused}"
        );
        assert_eq!(signer.1.get(), 1, "the CA's key was not used again");
        // A signature by another key than the issuer's is not handed out.
        let other = &ca.intermediate_key;
        let refused = sign(&right, &key, other, &ordered, &rehearsal).unwrap_err();
        assert!(matches!(refused, CaError::Signature(_)), "{refused}");
    }
}
