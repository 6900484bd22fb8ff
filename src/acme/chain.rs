//! Checks what a CA sent before anything is swapped for it.

use std::collections::BTreeSet;

use crate::bundle::{BadSignature, CertBundle, Certificate, MalformedCertificate};
use crate::clock::{Duration, Timestamp, rfc3339};
use crate::identifier::{Identifier, summary};

/// How far our clock and the CA's may be apart.
const SKEW: Duration = Duration::hours(1);

/// The certificates in `body`, which shall be for `names` and the public key `spki`.
pub(crate) fn read(
    body: &[u8],
    names: &[Identifier],
    spki: &[u8],
    now: Timestamp,
) -> Result<Vec<Certificate>, ChainError> {
    let chain = Certificate::parse_pem(body)?;
    let [leaf, issuer, ..] = chain.as_slice() else {
        return Err(ChainError::TooShort(chain.len()));
    };
    if chain.len() > CertBundle::MAX_CHAIN {
        return Err(ChainError::TooLong(chain.len()));
    }
    if leaf.spki() != spki {
        return Err(ChainError::OtherKey);
    }
    let asked: BTreeSet<&Identifier> = names.iter().collect();
    let given: BTreeSet<&Identifier> = leaf.names().iter().collect();
    if asked != given || !leaf.other_names().is_empty() {
        return Err(ChainError::OtherNames(summary(leaf.names())));
    }
    if leaf.is_ca() || !issuer.is_ca() {
        return Err(ChainError::OtherRoles);
    }
    if leaf.not_after() <= now {
        return Err(ChainError::Expired(rfc3339(leaf.not_after())));
    }
    if leaf.not_before() > now + SKEW {
        return Err(ChainError::NotYetValid(rfc3339(leaf.not_before())));
    }
    for (position, pair) in (1..).zip(chain.windows(2)) {
        let [lower, upper] = pair else { continue };
        lower
            .verify_signed_by(upper)
            .map_err(|source| ChainError::Broken { position, source })?;
    }
    Ok(chain)
}

/// Whether one of the issuers in `chain` has the common name `wanted`.
pub(crate) fn is_issued_by(chain: &[Certificate], wanted: &str) -> bool {
    let named = |certificate: &Certificate| {
        let parts = certificate.issuer().split(", ");
        let names = parts.filter_map(|part| part.strip_prefix("CN="));
        let mut names = names.map(str::trim);
        names.any(|name| name.eq_ignore_ascii_case(wanted))
    };
    chain.iter().any(named)
}

/// What is wrong with the certificates that a CA sent.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// They cannot be read.
    #[error(transparent)]
    Unreadable(#[from] MalformedCertificate),
    /// Nothing but the leaf, if that: no client could verify it.
    #[error("it comes with {} instead of its issuers", if *.0 == 0 { "nothing" } else { "no other certificate" })]
    TooShort(usize),
    /// More than [`CertBundle::MAX_CHAIN`].
    #[error("it comes with {0} certificates, at most {max} are taken", max = CertBundle::MAX_CHAIN)]
    TooLong(usize),
    /// The leaf is for somebody else's key.
    #[error("it is for another key than ours")]
    OtherKey,
    /// The leaf is for other names.
    #[error("it is for other names than asked for: {0}")]
    OtherNames(String),
    /// A leaf that may issue, or an issuer that may not.
    #[error("its basic constraints are not those of a leaf and its issuer")]
    OtherRoles,
    /// It is over already.
    #[error("it expired at {0}")]
    Expired(String),
    /// It begins too late.
    #[error("it is not valid before {0}; is the clock right?")]
    NotYetValid(String),
    /// The signatures do not lead from one to the next.
    #[error("certificate {position} of its chain is not signed by the one after it")]
    Broken {
        /// Counted from 1.
        position: usize,
        /// What the check said.
        source: BadSignature,
    },
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    /// A CA called `name`.
    fn ca(name: &str) -> (CertificateParams, KeyPair) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        (params, KeyPair::generate().unwrap())
    }

    #[test]
    fn a_chain_is_taken_only_when_everything_about_it_is_right() {
        let at = |days| Timestamp::UNIX_EPOCH + Duration::days(days);
        let key = KeyPair::generate().unwrap();
        let (params, ca_key) = ca("I");
        let issuer_pem = params.self_signed(&ca_key).unwrap().pem();
        let issuer = Issuer::new(params, ca_key);
        let (params, other_key) = ca("I");
        let impostor_pem = params.self_signed(&other_key).unwrap().pem();
        let names = |names: &[&str]| -> Vec<Identifier> {
            names
                .iter()
                .map(|n| Identifier::parse(n).unwrap())
                .collect()
        };
        let leaf = |change: fn(&mut CertificateParams)| {
            let wanted = ["a.test".to_owned(), "*.a.test".to_owned()];
            let mut params = CertificateParams::new(wanted).unwrap();
            (params.not_before, params.not_after) = (at(10), at(100));
            change(&mut params);
            params.signed_by(&key, &issuer).unwrap().pem()
        };
        let good = leaf(|_| {});
        let whole = format!("{good}{issuer_pem}");
        use rcgen::PublicKeyData as _;
        let spki = key.subject_public_key_info();
        let says = |body: &str, asked: &[&str], now| {
            let read = read(body.as_bytes(), &names(asked), &spki, now);
            read.err()
                .map_or_else(|| "good".to_owned(), |e| e.to_string())
        };
        let both = ["*.a.test", "a.test"];
        let authority = leaf(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
        for (body, asked, day, expected) in [
            (whole.clone(), &both[..], 50, "good"),
            (whole.clone(), &both[..1], 50, "it is for other names"),
            (
                whole.clone(),
                &["a.test", "*.a.test", "b.test"],
                50,
                "it is for other names",
            ),
            (whole.clone(), &both, 100, "it expired at"),
            (whole.clone(), &both, 9, "it is not valid before"),
            (good.clone(), &both, 50, "it comes with no other"),
            (
                format!("{good}{impostor_pem}"),
                &both,
                50,
                "certificate 1 of its chain",
            ),
            (format!("{good}{good}"), &both, 50, "its basic constraints"),
            (
                format!("{authority}{issuer_pem}"),
                &both,
                50,
                "its basic constraints",
            ),
            (
                format!("{issuer_pem}{good}"),
                &both,
                50,
                "it is for another key",
            ),
            (
                format!("{good}{}", issuer_pem.repeat(10)),
                &both,
                50,
                "it comes with 11",
            ),
            ("not PEM".to_owned(), &both, 50, "no certificate"),
        ] {
            let said = says(&body, asked, at(day));
            assert!(said.starts_with(expected), "{said}, not {expected}");
        }
        let skewed = at(10) - Duration::minutes(59);
        assert_eq!(says(&whole, &both, skewed), "good");
    }

    #[test]
    fn an_issuer_is_found_by_its_whole_common_name_anywhere_in_the_chain() {
        let (params, key) = ca("Root X1");
        let der = params.self_signed(&key).unwrap();
        let chain = [Certificate::from_der(der.der()).unwrap()];
        assert!(is_issued_by(&chain, "Root X1") && is_issued_by(&chain, "root x1"));
        assert!(!is_issued_by(&chain, "Root X") && !is_issued_by(&chain, ""));
    }
}
