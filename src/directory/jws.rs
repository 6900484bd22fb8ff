//! Signed requests: flattened JWS (RFC 7515 §7.2.2) as RFC 8555 §6.2 narrows it.
//!
//! Rules kept here: a payload can be read only once its signature is verified; what
//! would change the meaning of a request (several signatures, an unprotected header,
//! `crit`, `b64`) is refused, not ignored; base64url is strict; what a request may
//! hold has a named cap; the algorithm must be the key's own.
//!
//! The caller's order: [`Request::parse`], take the nonce, [`Request::check_url`], find
//! the key that [`Request::signer`] names, [`Request::verify`].

use std::fmt;

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use zeroize::Zeroizing;

use super::jwk::{Jwk, Object, SignatureAlgorithm, Wire};
use super::problem::Problem;
use crate::identifier::quoted;

/// Longest request body. A CSR for a hundred of the longest names, with the largest keys,
/// has less than 50 kB as it is sent, an order for them less than 40 kB.
pub const MAX_BODY: usize = 64 * 1024;
/// Longest protected header, encoded; one with an RSA key of 8192 bits has 2 kB.
pub const MAX_PROTECTED: usize = 8 * 1024;
/// Longest signature, encoded; that of an RSA key of 8192 bits has 1366.
pub const MAX_SIGNATURE: usize = 2 * 1024;
/// Longest nonce looked at.
pub const MAX_NONCE: usize = 128;
/// Longest `kid` or `url`.
pub const MAX_URL: usize = 2 * 1024;

/// A flattened JWS as it was sent: nothing in it is checked yet.
#[derive(Debug, Clone, Deserialize)]
pub struct Flattened {
    protected: String,
    payload: String,
    signature: String,
    #[serde(default, deserialize_with = "is_present")]
    header: bool,
    #[serde(default, deserialize_with = "is_present")]
    signatures: bool,
}

/// The protected header, as far as it counts here.
#[derive(Deserialize)]
struct Protected {
    alg: String,
    nonce: Option<String>,
    url: Option<String>,
    kid: Option<String>,
    jwk: Option<Object<Wire>>,
    #[serde(default, deserialize_with = "is_present")]
    crit: bool,
    #[serde(default, deserialize_with = "is_present")]
    b64: bool,
}

fn is_present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// Who says to have signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signer {
    /// The holder of this key.
    Key(Jwk),
    /// The account with this URL.
    Account(String),
}

/// A request whose form is right and whose signature is not verified yet.
pub struct Request {
    open: Open,
    algorithm: SignatureAlgorithm,
    signer: Signer,
    nonce: String,
}

/// What was signed, decoded, and the `url` that it is bound to.
struct Open {
    url: String,
    input: Vec<u8>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// A request whose signature is verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Verified {
    payload: Vec<u8>,
    url: String,
    key: Jwk,
}

impl Request {
    /// Reads the body of a POST.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        if body.len() > MAX_BODY {
            let detail = format!("a request has at most {MAX_BODY} bytes");
            return Err(Problem::malformed(detail).with_status(http::StatusCode::PAYLOAD_TOO_LARGE));
        }
        let Object(jws) = serde_json::from_slice::<Object<Flattened>>(body).map_err(|error| {
            Problem::malformed(format!("the body is no flattened JWS: {error}"))
        })?;
        let (open, header) = open(&jws, "the JWS")?;
        let algorithm = SignatureAlgorithm::parse(&header.alg)?;
        let Some(nonce) = header.nonce else {
            return Err(Problem::bad_nonce());
        };
        // RFC 8555 §6.5.2: what is not base64url is malformed, not just unknown.
        let form = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if nonce.is_empty() || nonce.len() > MAX_NONCE || !nonce.bytes().all(form) {
            return Err(Problem::malformed("the `nonce` is not base64url"));
        }
        let signer = match (header.jwk, header.kid) {
            (Some(Object(wire)), None) => Signer::Key(Jwk::from_wire(&wire)?),
            (None, Some(kid)) if kid.is_empty() || kid.len() > MAX_URL => {
                return Err(Problem::malformed("the `kid` is empty or too long"));
            }
            (None, Some(kid)) => Signer::Account(kid),
            (Some(_), Some(_)) => {
                return Err(Problem::malformed("the JWS has both `jwk` and `kid`"));
            }
            (None, None) => {
                return Err(Problem::malformed("the JWS has neither `jwk` nor `kid`"));
            }
        };
        if let Signer::Key(key) = &signer {
            fits(algorithm, key)?;
        }
        Ok(Self {
            open,
            algorithm,
            signer,
            nonce,
        })
    }

    /// Who says to have signed.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The nonce, for [`Nonces::take`](super::nonce::Nonces::take).
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// The URL that was signed.
    pub fn url(&self) -> &str {
        &self.open.url
    }

    /// Refuses a request that was signed for another URL than the one posted to
    /// (RFC 8555 §6.4).
    pub fn check_url(&self, posted: &str) -> Result<(), Problem> {
        self.open.check_url(posted)
    }

    /// The request, if `key` signed it: the account's, or that in the header itself.
    pub fn verify(self, key: &Jwk) -> Result<Verified, Problem> {
        if matches!(&self.signer, Signer::Key(own) if own != key) {
            return Err(Problem::unauthorized("the JWS is signed with another key"));
        }
        fits(self.algorithm, key)?;
        let Open {
            url,
            input,
            payload,
            signature,
        } = self.open;
        if !key.verifies(self.algorithm, &input, &signature) {
            return Err(wrong_signature());
        }
        Ok(Verified {
            payload,
            url,
            key: key.clone(),
        })
    }

    /// The request, if the key in its own header signed it; `malformed` when it names
    /// an account instead.
    pub fn verify_by_own_key(self) -> Result<Verified, Problem> {
        match &self.signer {
            Signer::Key(key) => {
                let key = key.clone();
                self.verify(&key)
            }
            Signer::Account(_) => Err(Problem::malformed(
                "this request is signed with a `jwk`, not a `kid`",
            )),
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("url", &self.open.url)
            .field("signer", &self.signer)
            .finish_non_exhaustive()
    }
}

impl Verified {
    /// The key that signed.
    pub fn key(&self) -> &Jwk {
        &self.key
    }

    /// The URL that was signed.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The payload as it was signed.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Whether the payload is empty: a read (RFC 8555 §6.3). `{}` is none.
    pub fn is_post_as_get(&self) -> bool {
        self.payload.is_empty()
    }

    /// Refuses what is no read.
    pub fn expect_post_as_get(&self) -> Result<(), Problem> {
        if self.is_post_as_get() {
            Ok(())
        } else {
            Err(Problem::malformed(
                "this is read by POST-as-GET, with an empty payload",
            ))
        }
    }

    /// The payload, which must be a JSON object.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice::<Object<T>>(&self.payload)
            .map(|Object(value)| value)
            .map_err(|error| Problem::malformed(format!("the payload cannot be read: {error}")))
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("url", &self.url)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// A secret shared with the holder of an external account. Wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct MacKey(Zeroizing<Vec<u8>>);

impl MacKey {
    /// How many random bytes a new one has.
    pub const LENGTH: usize = 32;

    /// A new one. Fails when the system has no randomness.
    pub fn generate() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut bytes = Zeroizing::new(vec![0; Self::LENGTH]);
        aws_lc_rs::rand::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// One that was kept; at least 16 bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let bytes = Zeroizing::new(bytes);
        (bytes.len() >= 16).then_some(Self(bytes))
    }

    /// The bytes, for whatever keeps them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The key as ACME clients take it.
    pub fn to_base64url(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(…)")
    }
}

/// The binding of a new account to an external one (RFC 8555 §7.3.4), its form
/// checked, its MAC not yet.
pub struct ExternalBinding {
    open: Open,
    algorithm: hmac::Algorithm,
    kid: String,
}

impl ExternalBinding {
    /// The algorithms that a binding may be made with.
    pub const ALGORITHMS: [&str; 3] = ["HS256", "HS384", "HS512"];

    /// Reads the `externalAccountBinding` of a newAccount request.
    pub fn parse(jws: &Flattened) -> Result<Self, Problem> {
        let (open, header) = open(jws, "the external account binding")?;
        let algorithm = match header.alg.as_str() {
            "HS256" => hmac::HMAC_SHA256,
            "HS384" => hmac::HMAC_SHA384,
            "HS512" => hmac::HMAC_SHA512,
            other => {
                let detail = format!(
                    "an external account binding is not made with `{}`",
                    quoted(other)
                );
                return Err(Problem::bad_signature_algorithm(detail, &Self::ALGORITHMS));
            }
        };
        if header.nonce.is_some() || header.jwk.is_some() {
            return Err(Problem::malformed(
                "an external account binding has neither `nonce` nor `jwk`",
            ));
        }
        let kid = header.kid.unwrap_or_default();
        if kid.is_empty() || kid.len() > MAX_URL {
            return Err(Problem::malformed(
                "an external account binding has a `kid`",
            ));
        }
        Ok(Self {
            open,
            algorithm,
            kid,
        })
    }

    /// Which key it says to be made with.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Refuses a binding that `key` did not make, or not for the `account` key, or not
    /// for the `url` of the request around it.
    pub fn verify(&self, key: &MacKey, url: &str, account: &Jwk) -> Result<(), Problem> {
        let mac = hmac::Key::new(self.algorithm, key.expose());
        if hmac::verify(&mac, &self.open.input, &self.open.signature).is_err() {
            return Err(Problem::unauthorized(
                "the MAC of the external account binding is wrong",
            ));
        }
        self.open.check_url(url)?;
        if Jwk::parse(&self.open.payload)? == *account {
            Ok(())
        } else {
            Err(Problem::unauthorized(
                "the external account binding is for another account key",
            ))
        }
    }
}

impl fmt::Debug for ExternalBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalBinding")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// The new key of an account, whose holder has signed for the change
/// (RFC 8555 §7.3.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    new_key: Jwk,
}

/// The payload of the inner JWS.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyChangeObject {
    account: String,
    old_key: Object<Wire>,
}

impl KeyChange {
    /// Reads and verifies the payload of a keyChange request that the account
    /// `account_url` signed with its present key.
    pub fn verify(outer: &Verified, account_url: &str) -> Result<Self, Problem> {
        let jws: Flattened = outer.json()?;
        let (open, header) = open(&jws, "the inner JWS")?;
        let algorithm = SignatureAlgorithm::parse(&header.alg)?;
        if header.nonce.is_some() || header.kid.is_some() {
            return Err(Problem::malformed(
                "the inner JWS has neither `nonce` nor `kid`",
            ));
        }
        let Some(Object(wire)) = header.jwk else {
            return Err(Problem::malformed("the inner JWS has no `jwk`"));
        };
        let new_key = Jwk::from_wire(&wire)?;
        fits(algorithm, &new_key)?;
        if !new_key.verifies(algorithm, &open.input, &open.signature) {
            return Err(wrong_signature());
        }
        // RFC 8555 §7.3.5 asks for the same URL; a difference is a malformed request.
        if open.url != outer.url {
            return Err(Problem::malformed(
                "the inner JWS has another `url` than the outer one",
            ));
        }
        let Object(asked) = serde_json::from_slice::<Object<KeyChangeObject>>(&open.payload)
            .map_err(|error| {
                Problem::malformed(format!("the inner payload cannot be read: {error}"))
            })?;
        if asked.account != account_url {
            return Err(Problem::malformed(
                "the inner payload names another account than the outer JWS",
            ));
        }
        let Object(old) = asked.old_key;
        if Jwk::from_wire(&old)? != outer.key {
            return Err(Problem::malformed("`oldKey` is not the key of the account"));
        }
        Ok(Self { new_key })
    }

    /// The key that the account shall have.
    pub fn new_key(&self) -> &Jwk {
        &self.new_key
    }
}

impl Open {
    fn check_url(&self, posted: &str) -> Result<(), Problem> {
        if self.url == posted {
            return Ok(());
        }
        Err(Problem::unauthorized(format!(
            "the `url` signed is `{}`, the one posted to is `{}`",
            quoted(&self.url),
            quoted(posted)
        )))
    }
}

/// Decodes the parts and checks what every JWS here must and must not have.
fn open(jws: &Flattened, what: &str) -> Result<(Open, Protected), Problem> {
    if jws.signatures || jws.header {
        return Err(Problem::malformed(format!(
            "{what} must have one signature and no unprotected header"
        )));
    }
    if jws.protected.len() > MAX_PROTECTED || jws.signature.len() > MAX_SIGNATURE {
        return Err(Problem::malformed(format!("{what} is too large")));
    }
    let part = |name: &str, text: &str| {
        BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| {
            Problem::malformed(format!(
                "`{name}` of {what} is not base64url without padding"
            ))
        })
    };
    let header = part("protected", &jws.protected)?;
    let Object(header) = serde_json::from_slice::<Object<Protected>>(&header).map_err(|error| {
        Problem::malformed(format!("the header of {what} cannot be read: {error}"))
    })?;
    if header.crit || header.b64 {
        return Err(Problem::malformed(format!(
            "{what} must have neither `crit` nor `b64`"
        )));
    }
    let Some(url) = header.url.clone().filter(|url| url.len() <= MAX_URL) else {
        return Err(Problem::malformed(format!("{what} has no usable `url`")));
    };
    let open = Open {
        url,
        input: [jws.protected.as_bytes(), b".", jws.payload.as_bytes()].concat(),
        payload: part("payload", &jws.payload)?,
        signature: part("signature", &jws.signature)?,
    };
    Ok((open, header))
}

fn fits(algorithm: SignatureAlgorithm, key: &Jwk) -> Result<(), Problem> {
    if algorithm == key.algorithm() {
        return Ok(());
    }
    Err(Problem::malformed(format!(
        "the key is for {}, the JWS says {}",
        key.algorithm().as_str(),
        algorithm.as_str()
    )))
}

fn wrong_signature() -> Problem {
    Problem::malformed("the signature of the JWS is wrong")
}

#[cfg(test)]
pub(super) mod tests;
