//! Public keys of accounts as JSON Web Keys (RFC 7517, RFC 7518 §6, RFC 8037).
//!
//! Rules kept here: a [`Jwk`] that exists is of a kind that is supported, of a size
//! that is, and a point on its curve; it has one form, so that one key has one
//! thumbprint; which algorithm a key signs with follows from the key.

use std::fmt;
use std::marker::PhantomData;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::problem::{Problem, ProblemType};
use crate::challenge::{KeyAuthorization, Token};
use crate::identifier::quoted;

/// Shortest RSA modulus taken, in bits.
pub const MIN_RSA_BITS: usize = 2048;
/// Longest RSA modulus taken, in bits.
pub const MAX_RSA_BITS: usize = 8192;

/// Smallest RSA exponent taken (FIPS 186-5 §5.1).
const MIN_RSA_EXPONENT: u64 = 65_537;
/// Longest RSA exponent taken, in bytes: what every library can handle.
const MAX_RSA_EXPONENT: usize = 4;

/// An algorithm that requests may be signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// Ed25519 (RFC 8037).
    EdDsa,
}

impl SignatureAlgorithm {
    /// Every algorithm, by its name in JOSE; what `badSignatureAlgorithm` lists.
    pub const NAMES: [&str; 4] = ["ES256", "ES384", "RS256", "EdDSA"];

    /// Reads the `alg` of a header.
    pub fn parse(name: &str) -> Result<Self, Problem> {
        match name {
            "ES256" => Ok(Self::Es256),
            "ES384" => Ok(Self::Es384),
            "RS256" => Ok(Self::Rs256),
            "EdDSA" => Ok(Self::EdDsa),
            other => Err(Problem::bad_signature_algorithm(
                format!("the algorithm `{}` is not supported", quoted(other)),
                &Self::NAMES,
            )),
        }
    }

    /// Its name in JOSE.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// A public key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Jwk(Form);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Form {
    /// An uncompressed point.
    P256([u8; 65]),
    /// An uncompressed point.
    P384([u8; 97]),
    Ed25519([u8; 32]),
    /// Modulus and exponent, without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

/// What of a JWK is looked at. Of members that occur twice, the whole is refused.
#[derive(Deserialize)]
pub(super) struct Wire {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    /// The private part of every asymmetric kind.
    d: Option<serde::de::IgnoredAny>,
}

impl Jwk {
    /// Reads a JWK.
    ///
    /// `malformed` when it is none, `badPublicKey` when it is one that is not taken.
    pub fn parse(json: &[u8]) -> Result<Self, Problem> {
        let Object(wire) = serde_json::from_slice(json)
            .map_err(|error| Problem::malformed(format!("the JWK cannot be read: {error}")))?;
        Self::from_wire(&wire)
    }

    pub(super) fn from_wire(wire: &Wire) -> Result<Self, Problem> {
        if wire.d.is_some() {
            return Err(bad(
                "the JWK holds a private key, which is not secret any more",
            ));
        }
        let form = match (wire.kty.as_str(), wire.crv.as_deref()) {
            ("EC", Some("P-256")) => Form::P256(point(wire)?),
            ("EC", Some("P-384")) => Form::P384(point(wire)?),
            ("OKP", Some("Ed25519")) => {
                let x = member("x", wire.x.as_deref())?;
                Form::Ed25519(x.try_into().map_err(|_| wrong_length("x"))?)
            }
            ("RSA", None) => Form::Rsa {
                n: member("n", wire.n.as_deref())?,
                e: member("e", wire.e.as_deref())?,
            },
            ("RSA", Some(_)) => return Err(Problem::malformed("an RSA key has no curve")),
            ("EC" | "OKP", None) => return Err(Problem::malformed("the JWK names no curve")),
            ("EC" | "OKP", Some(curve)) => {
                let detail = format!(
                    "keys on the curve `{}` are not supported: P-256, P-384 and Ed25519 are",
                    quoted(curve)
                );
                return Err(bad(detail));
            }
            (other, _) => {
                let detail = format!(
                    "keys of the type `{}` are not supported: EC, RSA and OKP are",
                    quoted(other)
                );
                return Err(bad(detail));
            }
        };
        form.check()?;
        Ok(Self(form))
    }

    /// The key of a certificate or CSR (DER SubjectPublicKeyInfo), when it is of a kind
    /// that can sign requests.
    pub fn from_spki(der: &[u8]) -> Option<Self> {
        let (rest, info) = SubjectPublicKeyInfo::from_der(der).ok()?;
        let bytes = info.subject_public_key.data.as_ref();
        let form = match info.parsed().ok()? {
            PublicKey::RSA(rsa) => Form::Rsa {
                n: without_zeros(rsa.modulus),
                e: without_zeros(rsa.exponent),
            },
            PublicKey::EC(_) if bytes.len() == 65 => Form::P256(bytes.try_into().ok()?),
            PublicKey::EC(_) if bytes.len() == 97 => Form::P384(bytes.try_into().ok()?),
            PublicKey::Unknown(_) if info.algorithm.algorithm == ED25519_OID => {
                Form::Ed25519(bytes.try_into().ok()?)
            }
            _ => return None,
        };
        (rest.is_empty() && form.check().is_ok()).then_some(Self(form))
    }

    /// The algorithm that this key signs with.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        match &self.0 {
            Form::P256(_) => SignatureAlgorithm::Es256,
            Form::P384(_) => SignatureAlgorithm::Es384,
            Form::Ed25519(_) => SignatureAlgorithm::EdDsa,
            Form::Rsa { .. } => SignatureAlgorithm::Rs256,
        }
    }

    /// The key in the one form that its thumbprint is made of (RFC 7638 §3.2); also
    /// how it is kept.
    pub fn to_json(&self) -> String {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let ec = |curve: &str, point: &[u8]| {
            let (x, y) = point[1..].split_at(point.len() / 2);
            let (x, y) = (text(x), text(y));
            format!(r#"{{"crv":"{curve}","kty":"EC","x":"{x}","y":"{y}"}}"#)
        };
        match &self.0 {
            Form::P256(point) => ec("P-256", point),
            Form::P384(point) => ec("P-384", point),
            Form::Ed25519(x) => {
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(x))
            }
            Form::Rsa { n, e } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(e), text(n))
            }
        }
    }

    /// The SHA-256 thumbprint (RFC 7638).
    pub fn thumbprint(&self) -> Thumbprint {
        let sum = digest(&SHA256, self.to_json().as_bytes());
        Thumbprint(BASE64URL_NOPAD.encode(sum.as_ref()))
    }

    /// Whether `signature` over `message` was made with this key and `algorithm`.
    pub fn verifies(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        if algorithm != self.algorithm() {
            return false;
        }
        match &self.0 {
            Form::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Form::P384(point) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(message, signature)
            }
            Form::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
            Form::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
        }
        .is_ok()
    }
}

impl fmt::Debug for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Jwk({}, {})",
            self.algorithm().as_str(),
            self.thumbprint()
        )
    }
}

/// The SHA-256 thumbprint of a key, in base64url: what an account is known by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Thumbprint(String);

impl Thumbprint {
    /// The 43 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The answer that this key's account gives to the challenge `token`
    /// (RFC 8555 §8.1).
    pub fn authorize(&self, token: &Token) -> KeyAuthorization {
        KeyAuthorization::new(format!("{token}.{}", self.0))
            .expect("a token and a SHA-256 thumbprint are a key authorization")
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a JSON object into `T`, and nothing but an object: by itself, serde takes an
/// array for a struct as well.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<Self::Value, A::Error> {
                T::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

impl Form {
    fn check(&self) -> Result<(), Problem> {
        let on_curve = match self {
            Self::P256(point) => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).is_ok(),
            Self::P384(point) => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).is_ok(),
            Self::Ed25519(key) => ParsedPublicKey::new(&ED25519, key).is_ok(),
            Self::Rsa { n, e } => return check_rsa(n, e),
        };
        if on_curve {
            Ok(())
        } else {
            Err(bad("the JWK is no point on its curve"))
        }
    }
}

fn check_rsa(n: &[u8], e: &[u8]) -> Result<(), Problem> {
    let (Some(&first), Some(&last)) = (n.first(), n.last()) else {
        return Err(Problem::malformed("the RSA modulus is empty"));
    };
    // RFC 7518 §2: Base64urlUInt has no leading zeros, and a second spelling of a key
    // would be a second account.
    if first == 0 || e.first().is_none_or(|byte| *byte == 0) {
        return Err(Problem::malformed(
            "an RSA number in a JWK is not empty and has no leading zeros",
        ));
    }
    let bits = n.len() * 8 - first.leading_zeros() as usize;
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
        return Err(bad(format!(
            "the RSA key has {bits} bits: {MIN_RSA_BITS} to {MAX_RSA_BITS} are taken"
        )));
    }
    if e.len() > MAX_RSA_EXPONENT {
        return Err(bad("the RSA exponent is too large"));
    }
    let exponent = e
        .iter()
        .fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
    if exponent < MIN_RSA_EXPONENT || exponent.is_multiple_of(2) || last.is_multiple_of(2) {
        return Err(bad(format!(
            "an RSA key has an odd modulus and an odd exponent of at least {MIN_RSA_EXPONENT}"
        )));
    }
    Ok(())
}

/// The point of an EC key: 4, then both coordinates in their full length
/// (RFC 7518 §6.2.1.2).
fn point<const N: usize>(wire: &Wire) -> Result<[u8; N], Problem> {
    let mut point = [4; N];
    let (x, y) = point[1..].split_at_mut(N / 2);
    for (name, from, to) in [("x", &wire.x, x), ("y", &wire.y, y)] {
        let bytes = member(name, from.as_deref())?;
        if bytes.len() != to.len() {
            return Err(wrong_length(name));
        }
        to.copy_from_slice(&bytes);
    }
    Ok(point)
}

fn member(name: &str, value: Option<&str>) -> Result<Vec<u8>, Problem> {
    let value = value.ok_or_else(|| Problem::malformed(format!("the JWK has no `{name}`")))?;
    BASE64URL_NOPAD
        .decode(value.as_bytes())
        .map_err(|_| Problem::malformed(format!("`{name}` of the JWK is not base64url")))
}

fn without_zeros(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number[zeros..].to_vec()
}

fn wrong_length(name: &str) -> Problem {
    Problem::malformed(format!("`{name}` of the JWK has the wrong length"))
}

fn bad(detail: impl AsRef<str>) -> Problem {
    Problem::new(ProblemType::BadPublicKey, detail)
}

const ED25519_OID: x509_parser::der_parser::Oid<'static> =
    x509_parser::der_parser::oid!(1.3.101.112);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{KeyType, PrivateKey};

    /// The key of RFC 7638 §3.1.
    const RFC: &str = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;

    #[test]
    fn the_thumbprint_of_the_rfc_is_found_whatever_else_the_jwk_says() {
        let key = Jwk::parse(RFC.as_bytes()).unwrap();
        assert_eq!(
            key.thumbprint().as_str(),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
        assert_eq!(Jwk::parse(key.to_json().as_bytes()).unwrap(), key);
        assert_eq!(key.algorithm(), SignatureAlgorithm::Rs256);
    }

    #[test]
    fn a_key_is_the_same_from_a_certificate_and_from_a_jwk() {
        for kind in [
            KeyType::P256,
            KeyType::P384,
            KeyType::Ed25519,
            KeyType::Rsa2048,
        ] {
            let key = PrivateKey::generate(kind).unwrap();
            let jwk = Jwk::from_spki(&key.public_key_der()).unwrap();
            assert_eq!(Jwk::parse(jwk.to_json().as_bytes()).unwrap(), jwk, "{kind}");
            let other = PrivateKey::generate(kind).unwrap();
            assert_ne!(
                Jwk::from_spki(&other.public_key_der()).unwrap(),
                jwk,
                "{kind}"
            );
        }
        let unfit = PrivateKey::generate(KeyType::P521).unwrap();
        assert_eq!(Jwk::from_spki(&unfit.public_key_der()), None);
        assert_eq!(Jwk::from_spki(b"x"), None);
    }

    #[test]
    fn what_is_no_key_or_an_unfit_one_is_refused_by_the_right_type() {
        use ProblemType::{BadPublicKey, Malformed};
        let ec = PrivateKey::generate(KeyType::P256).unwrap();
        let ec = Jwk::from_spki(&ec.public_key_der()).unwrap().to_json();
        let ec: serde_json::Value = serde_json::from_str(&ec).unwrap();
        let rsa: serde_json::Value = serde_json::from_str(RFC).unwrap();
        let b64 = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let x = BASE64URL_NOPAD
            .decode(ec["x"].as_str().unwrap().as_bytes())
            .unwrap();
        let n = BASE64URL_NOPAD
            .decode(rsa["n"].as_str().unwrap().as_bytes())
            .unwrap();
        let even = [&n[..255], &[0x10]].concat();
        let table: [(&serde_json::Value, &str, Option<String>, ProblemType); 27] = [
            (&ec, "kty", None, Malformed),
            (&ec, "kty", Some("oct".into()), BadPublicKey),
            (&ec, "kty", Some("ec".into()), BadPublicKey),
            (&ec, "kty", Some("OKP".into()), BadPublicKey),
            (&ec, "kty", Some("RSA".into()), Malformed),
            (&ec, "crv", None, Malformed),
            (&ec, "crv", Some("P-521".into()), BadPublicKey),
            (&ec, "crv", Some("secp256k1".into()), BadPublicKey),
            (&ec, "crv", Some("P-384".into()), Malformed),
            (&ec, "crv", Some("Ed25519".into()), BadPublicKey),
            (&ec, "x", None, Malformed),
            (&ec, "x", Some(String::new()), Malformed),
            (&ec, "x", Some(b64(&x[1..])), Malformed),
            (&ec, "x", Some(b64(&[&[0], &x[..]].concat())), Malformed),
            (&ec, "x", Some(format!("{}=", b64(&x))), Malformed),
            (&ec, "x", Some(format!("{} ", b64(&x))), Malformed),
            (&ec, "x", Some(b64(&[7; 32])), BadPublicKey),
            (&ec, "y", None, Malformed),
            (&ec, "d", Some("AA".into()), BadPublicKey),
            (&rsa, "n", None, Malformed),
            (&rsa, "n", Some(String::new()), Malformed),
            (&rsa, "n", Some(b64(&n[..255])), BadPublicKey),
            (&rsa, "n", Some(b64(&[&[0], &n[..]].concat())), Malformed),
            (&rsa, "n", Some(b64(&even)), BadPublicKey),
            (&rsa, "n", Some(b64(&[0xff; 1025])), BadPublicKey),
            (&rsa, "e", Some("Aw".into()), BadPublicKey),
            (&rsa, "e", Some("AQABAQAB".into()), BadPublicKey),
        ];
        for (key, name, value, want) in table {
            let mut spoilt = key.clone();
            match &value {
                Some(text) => spoilt[name] = text.as_str().into(),
                None => drop(spoilt.as_object_mut().unwrap().remove(name)),
            }
            let problem = Jwk::parse(spoilt.to_string().as_bytes()).unwrap_err();
            assert_eq!(problem.kind(), want, "{name} = {value:?}: {problem}");
        }
        for bad in [
            "",
            "null",
            "[]",
            "{}",
            "1",
            r#"{"kty":1}"#,
            r#"{"kty":"EC","kty":"EC"}"#,
        ] {
            let problem = Jwk::parse(bad.as_bytes()).unwrap_err();
            assert_eq!(problem.kind(), Malformed, "{bad}");
        }
    }

    #[test]
    fn a_signature_by_another_algorithm_than_the_keys_own_does_not_count() {
        use rcgen::SigningKey as _;
        for kind in [KeyType::Ed25519, KeyType::Rsa2048] {
            let key = PrivateKey::generate(kind).unwrap();
            let jwk = Jwk::from_spki(&key.public_key_der()).unwrap();
            let signature = key.sign(b"a").unwrap();
            for name in SignatureAlgorithm::NAMES {
                let algorithm = SignatureAlgorithm::parse(name).unwrap();
                let fits = algorithm == jwk.algorithm();
                assert_eq!(
                    jwk.verifies(algorithm, b"a", &signature),
                    fits,
                    "{kind} {name}"
                );
            }
            assert!(!jwk.verifies(jwk.algorithm(), b"b", &signature));
            assert!(!jwk.verifies(jwk.algorithm(), b"a", &signature[1..]));
            assert!(!jwk.verifies(jwk.algorithm(), b"a", b""));
        }
    }
}
