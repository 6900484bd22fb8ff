//! Requests that we sign ourselves, because instant-acme cannot make them:
//!
//! - an account with an external binding or an address for a key that is on disk
//!   already: it makes the key itself, and a crash would lose the account;
//! - a change of the account's key with the new key on disk first: likewise;
//! - the end of an account, whose answer it does not look at, and a look at an account;
//! - a revocation by the certificate's own key, which need not be P-256;
//! - authorizations and challenges of many names at once: its handles borrow the
//!   order, and one unreadable challenge hides all others;
//! - alternate chains, which it has no word for.
//!
//! Rules kept here: the key never leaves [`PrivateKey`]; a signature covers the URL
//! and a nonce that is used once; what names the signer is either its public key or
//! its account's URL, never both.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _,
};
use data_encoding::BASE64URL_NOPAD;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderValue};
use rcgen::{PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::account::ExternalAccount;
use super::error::AcmeError;
use super::http::{Answer, Session, uri};
use crate::key::{KeyType, PrivateKey};

/// The members of a JSON Web Key (RFC 7517).
type Jwk = BTreeMap<&'static str, String>;

/// Who signs a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity<'a> {
    pub(crate) signer: &'a Signer,
    /// The account's URL; without it the signer is named by its key.
    pub(crate) account: Option<&'a str>,
}

impl Session {
    /// Posts `payload` (nothing: POST-as-GET), again and again while failures pass,
    /// and reads the answer by `read`. Only for what may be done twice.
    pub(crate) async fn post<T>(
        &self,
        identity: Identity<'_>,
        action: &'static str,
        url: &str,
        payload: Option<&Value>,
        read: impl Fn(Answer) -> Result<T, AcmeError>,
    ) -> Result<T, AcmeError> {
        let mut attempts = self.attempts(action);
        loop {
            let answer = self.sign_and_send(identity, action, url, payload).await;
            if let Some(value) = attempts.settle(answer.and_then(&read)).await? {
                return Ok(value);
            }
        }
    }

    /// [`Session::post`] of what may have been done once it was sent.
    pub(crate) async fn post_once(
        &self,
        identity: Identity<'_>,
        action: &'static str,
        url: &str,
        payload: Option<&Value>,
    ) -> Result<Answer, AcmeError> {
        let mut attempts = self.attempts(action);
        loop {
            let answer = self.sign_and_send(identity, action, url, payload).await;
            if let Some(answer) = attempts.once(answer)? {
                return Ok(answer);
            }
        }
    }

    async fn sign_and_send(
        &self,
        identity: Identity<'_>,
        action: &'static str,
        url: &str,
        payload: Option<&Value>,
    ) -> Result<Answer, AcmeError> {
        let url = self.url(url)?;
        let nonce = self.nonce().await?;
        let body = identity
            .signer
            .sign(url.as_str(), &nonce, identity.account, payload)?;
        let mut request = Self::request(Method::POST, uri(&url), body.into());
        let jose = HeaderValue::from_static("application/jose+json");
        request.headers_mut().insert(CONTENT_TYPE, jose);
        self.exchange(action, request).await
    }
}

/// A key that signs requests: an account's, or a certificate's that revokes itself.
pub(crate) struct Signer {
    secret: Secret,
    algorithm: &'static str,
    jwk: Jwk,
}

enum Secret {
    /// JWS wants the two numbers of an ECDSA signature side by side, not in DER.
    Ecdsa(Box<EcdsaKeyPair>),
    Other(PrivateKey),
}

/// A key that signs nothing that this client can express.
#[derive(Debug, thiserror::Error)]
#[error("the key cannot sign ACME requests")]
pub struct UnfitKey;

impl Signer {
    /// A signer with a copy of `key`.
    pub(crate) fn new(key: &PrivateKey) -> Result<Self, UnfitKey> {
        let ecdsa = |algorithm, name, curve| Self::ecdsa(key, algorithm, name, curve);
        match key.kind() {
            KeyType::P256 => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, "ES256", "P-256"),
            KeyType::P384 => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, "ES384", "P-384"),
            KeyType::P521 => ecdsa(&ECDSA_P521_SHA512_FIXED_SIGNING, "ES512", "P-521"),
            KeyType::Ed25519 => Ok(Self {
                algorithm: "EdDSA",
                jwk: Jwk::from([
                    ("crv", "Ed25519".to_owned()),
                    ("kty", "OKP".to_owned()),
                    ("x", BASE64URL_NOPAD.encode(key.der_bytes())),
                ]),
                secret: Secret::Other(copy(key)?),
            }),
            KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => Ok(Self {
                algorithm: "RS256",
                jwk: rsa_jwk(key).ok_or(UnfitKey)?,
                secret: Secret::Other(copy(key)?),
            }),
        }
    }

    fn ecdsa(
        key: &PrivateKey,
        algorithm: &'static EcdsaSigningAlgorithm,
        name: &'static str,
        curve: &str,
    ) -> Result<Self, UnfitKey> {
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.to_rustls().secret_der())
            .map_err(|_| UnfitKey)?;
        // An uncompressed point: 4, then both coordinates.
        let point = pair.public_key().as_ref().get(1..).ok_or(UnfitKey)?;
        let (x, y) = point.split_at(point.len() / 2);
        Ok(Self {
            algorithm: name,
            jwk: Jwk::from([
                ("crv", curve.to_owned()),
                ("kty", "EC".to_owned()),
                ("x", BASE64URL_NOPAD.encode(x)),
                ("y", BASE64URL_NOPAD.encode(y)),
            ]),
            secret: Secret::Ecdsa(Box::new(pair)),
        })
    }

    /// `payload` for `url`, signed; `None` is a POST-as-GET (RFC 8555 §6.3). Without
    /// `account` the signer is named by its public key.
    fn sign(
        &self,
        url: &str,
        nonce: &str,
        account: Option<&str>,
        payload: Option<&Value>,
    ) -> Result<Vec<u8>, UnfitKey> {
        let mut header = json!({ "alg": self.algorithm, "nonce": nonce, "url": url });
        match account {
            Some(account) => header["kid"] = json!(account),
            None => header["jwk"] = json!(self.jwk),
        }
        Ok(self.seal(&header, payload)?.to_string().into_bytes())
    }

    /// The inner half of a key change (RFC 8555 §7.3.5), signed by the new key.
    pub(crate) fn sign_change(
        &self,
        url: &str,
        account: &str,
        old: &Self,
    ) -> Result<Value, UnfitKey> {
        let header = json!({ "alg": self.algorithm, "jwk": self.jwk, "url": url });
        self.seal(
            &header,
            Some(&json!({ "account": account, "oldKey": old.jwk })),
        )
    }

    /// Shows that whoever holds `external` wants this key's account bound to it
    /// (RFC 8555 §7.3.4).
    pub(crate) fn bind(&self, external: &ExternalAccount, url: &str) -> Value {
        let header = json!({ "alg": "HS256", "kid": external.kid, "url": url });
        let (header, payload) = (encode(&header), encode(&json!(self.jwk)));
        let key = hmac::Key::new(hmac::HMAC_SHA256, &external.hmac);
        let tag = hmac::sign(&key, format!("{header}.{payload}").as_bytes());
        let signature = BASE64URL_NOPAD.encode(tag.as_ref());
        json!({ "protected": header, "payload": payload, "signature": signature })
    }

    fn seal(&self, header: &Value, payload: Option<&Value>) -> Result<Value, UnfitKey> {
        let header = encode(header);
        let payload = payload.map(encode).unwrap_or_default();
        let message = format!("{header}.{payload}");
        let signature = match &self.secret {
            Secret::Ecdsa(pair) => pair
                .sign(&SystemRandom::new(), message.as_bytes())
                .map_err(|_| UnfitKey)?
                .as_ref()
                .to_vec(),
            Secret::Other(key) => key.sign(message.as_bytes()).map_err(|_| UnfitKey)?,
        };
        let signature = BASE64URL_NOPAD.encode(&signature);
        Ok(json!({ "protected": header, "payload": payload, "signature": signature }))
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({}, …)", self.algorithm)
    }
}

fn encode(value: &Value) -> String {
    BASE64URL_NOPAD.encode(value.to_string().as_bytes())
}

fn copy(key: &PrivateKey) -> Result<PrivateKey, UnfitKey> {
    PrivateKey::from_der(key.to_rustls().secret_der()).map_err(|_| UnfitKey)
}

fn rsa_jwk(key: &PrivateKey) -> Option<Jwk> {
    let spki = key.public_key_der();
    let (_, info) = SubjectPublicKeyInfo::from_der(&spki).ok()?;
    let PublicKey::RSA(rsa) = info.parsed().ok()? else {
        return None;
    };
    let number = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        BASE64URL_NOPAD.encode(&bytes[zeros..])
    };
    Some(Jwk::from([
        ("e", number(rsa.exponent)),
        ("kty", "RSA".to_owned()),
        ("n", number(rsa.modulus)),
    ]))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED,
        UnparsedPublicKey, VerificationAlgorithm,
    };

    use super::*;

    fn decoded(value: &Value, member: &str) -> Vec<u8> {
        let text = value[member].as_str().unwrap();
        BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()
    }

    #[test]
    fn every_kind_of_key_signs_what_its_algorithm_verifies() {
        let table: [(KeyType, &str, &dyn VerificationAlgorithm); 5] = [
            (KeyType::P256, "ES256", &ECDSA_P256_SHA256_FIXED),
            (KeyType::P384, "ES384", &ECDSA_P384_SHA384_FIXED),
            (KeyType::P521, "ES512", &ECDSA_P521_SHA512_FIXED),
            (KeyType::Ed25519, "EdDSA", &signature::ED25519),
            (
                KeyType::Rsa2048,
                "RS256",
                &signature::RSA_PKCS1_2048_8192_SHA256,
            ),
        ];
        for (kind, name, algorithm) in table {
            let key = PrivateKey::generate(kind).unwrap();
            let signer = Signer::new(&key).unwrap();
            let payload = json!({ "a": 1 });
            let bytes = signer
                .sign("https://ca.test/x", "n-1", None, Some(&payload))
                .unwrap();
            let jws: Value = serde_json::from_slice(&bytes).unwrap();
            let header: Value = serde_json::from_slice(&decoded(&jws, "protected")).unwrap();
            assert_eq!(header["alg"], name);
            assert_eq!(header["nonce"], "n-1");
            assert_eq!(header["url"], "https://ca.test/x");
            assert!(header["kid"].is_null() && header["jwk"]["kty"].is_string());
            assert_eq!(decoded(&jws, "payload"), payload.to_string().into_bytes());
            let text = |member: &str| jws[member].as_str().unwrap().to_owned();
            let message = format!("{}.{}", text("protected"), text("payload"));
            UnparsedPublicKey::new(algorithm, key.der_bytes())
                .verify(message.as_bytes(), &decoded(&jws, "signature"))
                .unwrap();
        }
    }

    #[test]
    fn an_account_is_named_by_its_url_and_a_get_has_an_empty_payload() {
        let signer = Signer::new(&PrivateKey::generate(KeyType::P256).unwrap()).unwrap();
        let bytes = signer.sign(
            "https://ca.test/o/1",
            "n",
            Some("https://ca.test/a/1"),
            None,
        );
        let jws: Value = serde_json::from_slice(&bytes.unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&decoded(&jws, "protected")).unwrap();
        assert_eq!(header["kid"], "https://ca.test/a/1");
        assert!(header["jwk"].is_null());
        assert_eq!(jws["payload"], "");
    }
}
