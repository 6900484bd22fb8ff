//! The answers to open challenges, for a server that is running: one lock-free
//! lookup per request or handshake.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::{Challenge, ChallengeKind, KeyAuthorization, Solver, SolverError, Token};
use crate::identifier::Identifier;
use crate::issuer::BoxFuture;

/// The answers to http-01 and tls-alpn-01 challenges while these are open.
#[derive(Debug, Default)]
pub struct ChallengeTable {
    current: ArcSwap<Answers>,
    /// Held while a new snapshot is made, so that no change is lost.
    writing: Mutex<()>,
}

/// One immutable snapshot.
#[derive(Debug, Clone, Default)]
struct Answers {
    http: HashMap<Token, Arc<str>>,
    /// By server name in small letters. Orders of the same name at the same time
    /// stand beside each other; the newest is answered with.
    alpn: HashMap<String, Vec<(Token, Arc<CertifiedKey>)>>,
}

impl ChallengeTable {
    /// The key authorization of an open http-01 challenge. Any text may be asked for.
    pub fn http_answer(&self, token: &str) -> Option<Arc<str>> {
        let token = Token::parse(token).ok()?;
        self.current.load().http.get(&token).cloned()
    }

    /// What a tls-alpn-01 validation of `server_name` is answered with; for an
    /// address that is its reverse name (RFC 8738 §6).
    pub fn alpn_certificate(&self, server_name: &str) -> Option<Arc<CertifiedKey>> {
        let answers = self.current.load();
        if answers.alpn.is_empty() {
            return None;
        }
        let open = answers.alpn.get(&server_name.to_ascii_lowercase())?;
        open.last().map(|(_, certificate)| Arc::clone(certificate))
    }

    /// Whether any tls-alpn-01 challenge is open: only then `acme-tls/1` is spoken.
    pub fn is_open(&self) -> bool {
        !self.current.load().alpn.is_empty()
    }

    /// Whether no challenge is open at all.
    pub fn is_empty(&self) -> bool {
        let answers = self.current.load();
        answers.http.is_empty() && answers.alpn.is_empty()
    }

    /// Opens all of `challenges`, or none. dns-01 is refused: no server answers it.
    pub fn insert(&self, challenges: &[Challenge]) -> Result<(), SolverError> {
        let mut certificates = Vec::new();
        for challenge in challenges {
            match challenge.kind {
                ChallengeKind::Http01 => {}
                ChallengeKind::TlsAlpn01 => certificates.push((
                    server_name(&challenge.identifier)?,
                    challenge.token.clone(),
                    certificate(&challenge.identifier, &challenge.key_authorization)?,
                )),
                ChallengeKind::Dns01 => {
                    return Err(SolverError::new(format!(
                        "the dns-01 challenge for {} cannot be answered by a server",
                        challenge.identifier
                    ))
                    .permanent());
                }
            }
        }
        self.change(|answers| {
            for challenge in challenges {
                if challenge.kind == ChallengeKind::Http01 {
                    let text = challenge.key_authorization.as_str().into();
                    answers.http.insert(challenge.token.clone(), text);
                }
            }
            for (name, token, certificate) in certificates {
                let open = answers.alpn.entry(name).or_default();
                open.retain(|(other, _)| *other != token);
                open.push((token, certificate));
            }
        });
        Ok(())
    }

    /// Closes `challenges`; what is not open is passed over.
    pub fn remove(&self, challenges: &[Challenge]) {
        self.change(|answers| {
            for challenge in challenges {
                match challenge.kind {
                    ChallengeKind::Http01 => {
                        answers.http.remove(&challenge.token);
                    }
                    ChallengeKind::TlsAlpn01 => {
                        for open in answers.alpn.values_mut() {
                            open.retain(|(token, _)| *token != challenge.token);
                        }
                    }
                    ChallengeKind::Dns01 => {}
                }
            }
            answers.alpn.retain(|_, open| !open.is_empty());
        });
    }

    fn change(&self, edit: impl FnOnce(&mut Answers)) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Answers::clone(&self.current.load());
        edit(&mut next);
        self.current.store(Arc::new(next));
    }
}

/// Answers challenges of one kind through a table that a running server reads.
#[derive(Debug)]
pub struct TableSolver {
    kind: ChallengeKind,
    table: Arc<ChallengeTable>,
}

impl TableSolver {
    /// http-01 through the server's plain port.
    pub fn http01(table: Arc<ChallengeTable>) -> Self {
        let kind = ChallengeKind::Http01;
        Self { kind, table }
    }

    /// tls-alpn-01 through the server's TLS port.
    pub fn tls_alpn01(table: Arc<ChallengeTable>) -> Self {
        let kind = ChallengeKind::TlsAlpn01;
        Self { kind, table }
    }
}

impl Solver for TableSolver {
    fn kind(&self) -> ChallengeKind {
        self.kind
    }

    fn present<'a>(
        &'a self,
        challenges: &'a [Challenge],
    ) -> BoxFuture<'a, Result<(), SolverError>> {
        Box::pin(async { self.table.insert(challenges) })
    }

    fn clean_up<'a>(
        &'a self,
        challenges: &'a [Challenge],
    ) -> BoxFuture<'a, Result<(), SolverError>> {
        self.table.remove(challenges);
        Box::pin(async { Ok(()) })
    }
}

/// What a validating CA sends as server name, in small letters.
fn server_name(identifier: &Identifier) -> Result<String, SolverError> {
    match identifier {
        Identifier::Dns(name) => Ok(name.as_str().to_owned()),
        Identifier::Ip(address) => Ok(reverse_name(*address)),
        Identifier::Wildcard(_) | Identifier::Email(_) | Identifier::Uri(_) => {
            Err(SolverError::new(format!(
                "control over `{identifier}` cannot be shown by tls-alpn-01"
            ))
            .hint("a wildcard needs `--challenge dns-01`")
            .permanent())
        }
    }
}

/// The name of an address in the reverse tree, without the last dot (RFC 8738 §6).
pub(crate) fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let nibbles = v6
                .octets()
                .into_iter()
                .rev()
                .flat_map(|byte| [byte & 15, byte >> 4]);
            let mut name: String = nibbles.map(|nibble| format!("{nibble:x}.")).collect();
            name.push_str("ip6.arpa");
            name
        }
    }
}

/// The self-signed certificate that answers one validation (RFC 8737 §3). Nothing
/// looks at its dates.
fn certificate(
    identifier: &Identifier,
    authorization: &KeyAuthorization,
) -> Result<Arc<CertifiedKey>, SolverError> {
    let failed = |e: &dyn std::fmt::Display| {
        SolverError::new(format!(
            "could not make the tls-alpn-01 certificate for {identifier}: {e}"
        ))
    };
    let key = KeyPair::generate().map_err(|e| failed(&e))?;
    let mut params =
        CertificateParams::new(vec![identifier.to_string()]).map_err(|e| failed(&e))?;
    // RFC 8738 and CAs look at the alternative name alone.
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(
        &authorization.digest(),
    )];
    let certificate = params.self_signed(&key).map_err(|e| failed(&e))?;
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let private = provider
        .key_provider
        .load_private_key(private)
        .map_err(|e| failed(&e))?;
    // Not `from_der`: it looks into the certificate, and refuses the extension for
    // being critical.
    let chain = vec![certificate.der().clone()];
    Ok(Arc::new(CertifiedKey::new(chain, private)))
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::*;

    use super::*;
    use crate::challenge::tests::{challenge, mutations};

    #[test]
    fn only_the_token_that_is_open_is_answered() {
        let table = ChallengeTable::default();
        let open = challenge(
            ChallengeKind::Http01,
            "a.test",
            "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ",
        );
        table.insert(std::slice::from_ref(&open)).unwrap();
        assert!(!table.is_open() && !table.is_empty());
        let answer = table.http_answer(open.token.as_str()).unwrap();
        assert_eq!(&*answer, open.key_authorization.as_str());
        for (n, mutated) in mutations(open.token.as_str()).enumerate() {
            assert_ne!(mutated, open.token.as_str(), "{n}");
            assert_eq!(table.http_answer(&mutated), None, "{n}: {mutated:?}");
        }
        let other = challenge(
            ChallengeKind::Http01,
            "a.test",
            "another-token-of-the-order",
        );
        table.remove(&[other]);
        assert!(table.http_answer(open.token.as_str()).is_some());
        table.remove(std::slice::from_ref(&open));
        table.remove(&[open]);
        assert!(table.is_empty());
    }

    #[test]
    fn names_are_found_in_any_case_and_addresses_by_their_reverse_name() {
        let table = ChallengeTable::default();
        assert!(table.alpn_certificate("a.test").is_none());
        for (name, asked) in [
            ("a.test", "A.Test"),
            ("bücher.test", "xn--bcher-kva.test"),
            ("127.0.0.1", "1.0.0.127.in-addr.arpa"),
            (
                "2001:db8::1",
                "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
            ),
        ] {
            let open = [challenge(
                ChallengeKind::TlsAlpn01,
                name,
                "0123456789abcdef",
            )];
            table.insert(&open).unwrap();
            assert!(table.is_open());
            assert!(table.alpn_certificate(asked).is_some(), "{name}");
            for miss in ["", "b.test", "a.test.", "*.a.test", "127.0.0.1", "a.test\0"] {
                assert!(table.alpn_certificate(miss).is_none(), "{name}: {miss:?}");
            }
            assert!(table.http_answer("0123456789abcdef").is_none());
            table.remove(&open);
            assert!(!table.is_open());
        }
    }

    #[test]
    fn the_certificate_has_one_name_and_the_digest_marked_critical() {
        for (name, san) in [("a.test", "DNSName(\"a.test\")"), ("::1", "IPAddress([0")] {
            let open = challenge(ChallengeKind::TlsAlpn01, name, "0123456789abcdef");
            let key = certificate(&open.identifier, &open.key_authorization).unwrap();
            let (_, parsed) = X509Certificate::from_der(key.end_entity_cert().unwrap()).unwrap();
            let names = parsed.subject_alternative_name().unwrap().unwrap();
            assert_eq!(names.value.general_names.len(), 1);
            let shown = format!("{:?}", names.value.general_names[0]);
            assert!(shown.starts_with(san), "{shown}");
            // id-pe-acmeIdentifier, an OCTET STRING of 32 bytes (RFC 8737 §3).
            let extension = parsed
                .iter_extensions()
                .find(|e| e.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")
                .unwrap();
            assert!(extension.critical);
            assert_eq!(extension.value[..2], [4, 32]);
            assert_eq!(extension.value[2..], open.key_authorization.digest());
        }
    }

    #[test]
    fn two_orders_of_one_name_do_not_take_each_others_answer_away() {
        let table = ChallengeTable::default();
        let first = challenge(ChallengeKind::TlsAlpn01, "a.test", "0123456789abcdef");
        let second = challenge(ChallengeKind::TlsAlpn01, "a.test", "fedcba9876543210");
        table.insert(&[first.clone(), second.clone()]).unwrap();
        let newest = table.alpn_certificate("a.test").unwrap();
        table.remove(&[first]);
        let left = table.alpn_certificate("a.test").unwrap();
        assert!(Arc::ptr_eq(&newest, &left));
        table.remove(&[second]);
        assert!(!table.is_open());
    }

    #[test]
    fn what_no_server_can_answer_opens_nothing() {
        let table = ChallengeTable::default();
        let good = challenge(ChallengeKind::Http01, "a.test", "0123456789abcdef");
        for (kind, name) in [
            (ChallengeKind::Dns01, "a.test"),
            (ChallengeKind::TlsAlpn01, "*.a.test"),
            (ChallengeKind::TlsAlpn01, "ada@a.test"),
        ] {
            let bad = challenge(kind, name, "fedcba9876543210");
            let error = table.insert(&[good.clone(), bad]).unwrap_err();
            assert!(error.permanent && error.message.contains(name), "{error}");
            assert!(table.is_empty());
        }
    }
}
