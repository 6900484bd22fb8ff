//! What the upstream is told of a client that was verified.

use aws_lc_rs::digest;
use data_encoding::{BASE64, HEXLOWER};
use http::header::{HeaderName, HeaderValue};
use rustls::pki_types::CertificateDer;

use crate::bundle::Certificate;
use crate::certificates::ed25519_fingerprint;
use crate::identifier::Identifier;

/// The certificate itself (RFC 9440 §2.2). What a client sent above it is not passed
/// on: nobody has verified all of it.
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");

/// `SHA256:` of the certificate or `ed25519:` and the key, as settings take them.
const FINGERPRINT: HeaderName = HeaderName::from_static("x-client-cert-fingerprint");

/// The certificate's alternative names.
const SAN: HeaderName = HeaderName::from_static("x-client-cert-san");

/// Longest list of names passed on, in bytes; of a longer one nothing is, since half
/// of it would be a lie.
const MAX_SAN: usize = 8 * 1024;

/// Who a client is, as headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) struct ClientIdentity(Vec<(HeaderName, HeaderValue)>);

impl ClientIdentity {
    /// A client whose certificate an authority, or the operator, vouches for.
    pub(super) fn of_certificate(der: &CertificateDer<'_>) -> Self {
        let hash = digest::digest(&digest::SHA256, der);
        let fingerprint = format!("SHA256:{}", HEXLOWER.encode(hash.as_ref()));
        let names = Certificate::from_der(der).ok().and_then(|c| names(&c));
        let values = [
            (CLIENT_CERT, Some(format!(":{}:", BASE64.encode(der)))),
            (FINGERPRINT, Some(fingerprint)),
            (SAN, names),
        ];
        Self(values.into_iter().filter_map(header).collect())
    }

    /// A client known by its key alone: whatever else it showed, it may have made up.
    pub(super) fn of_key(key: &[u8; 32]) -> Self {
        let fingerprint = (FINGERPRINT, Some(ed25519_fingerprint(key)));
        Self(header(fingerprint).into_iter().collect())
    }

    pub(in crate::server) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0
    }
}

fn header((name, value): (HeaderName, Option<String>)) -> Option<(HeaderName, HeaderValue)> {
    Some((name, HeaderValue::try_from(value?).ok()?))
}

/// `DNS:a.test, email:b@a.test, URI:spiffe://a.test/b, IP:10.0.0.1`; a comma within
/// a URI is written `%2C`, so that it cannot pretend to begin another name.
fn names(certificate: &Certificate) -> Option<String> {
    let name = |name: &Identifier| match name {
        Identifier::Dns(_) | Identifier::Wildcard(_) => format!("DNS:{name}"),
        Identifier::Ip(address) => format!("IP:{address}"),
        Identifier::Email(address) => format!("email:{}", address.as_str()),
        Identifier::Uri(uri) => format!("URI:{}", uri.as_str().replace(',', "%2C")),
    };
    let names: Vec<String> = certificate.names().iter().map(name).collect();
    let list = names.join(", ");
    (!list.is_empty() && list.len() <= MAX_SAN).then_some(list)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn made(names: Vec<SanType>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn value<'a>(identity: &'a ClientIdentity, name: &HeaderName) -> Option<&'a str> {
        let (_, value) = identity.headers().iter().find(|(n, _)| n == name)?;
        Some(value.to_str().unwrap())
    }

    #[test]
    fn a_certificate_is_told_whole_and_its_names_cannot_run_into_each_other() {
        let uri = "spiffe://a.test/b,DNS:admin.test";
        let der = made(vec![
            SanType::DnsName("a.test".try_into().unwrap()),
            SanType::Rfc822Name("b@a.test".try_into().unwrap()),
            SanType::URI(uri.try_into().unwrap()),
        ]);
        let identity = ClientIdentity::of_certificate(&der);
        let whole = value(&identity, &CLIENT_CERT).unwrap();
        let bare = whole.strip_prefix(':').unwrap().strip_suffix(':').unwrap();
        assert_eq!(BASE64.decode(bare.as_bytes()).unwrap(), &*der);
        assert_eq!(
            value(&identity, &SAN),
            Some("DNS:a.test, email:b@a.test, URI:spiffe://a.test/b%2CDNS:admin.test")
        );
        let fingerprint = value(&identity, &FINGERPRINT).unwrap();
        assert_eq!(fingerprint.len(), "SHA256:".len() + 64);
    }

    #[test]
    fn too_many_names_are_told_not_at_all_and_a_key_has_none() {
        let name = |n| SanType::DnsName(format!("{n:060}.test").try_into().unwrap());
        let identity = ClientIdentity::of_certificate(&made((0..150).map(name).collect()));
        assert_eq!(value(&identity, &SAN), None);
        assert!(value(&identity, &CLIENT_CERT).is_some());
        let key = ClientIdentity::of_key(&[7; 32]);
        assert_eq!(key.headers().len(), 1);
        assert!(value(&key, &FINGERPRINT).unwrap().starts_with("ed25519:"));
    }
}
