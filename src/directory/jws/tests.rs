//! Real signatures, and a long tail of what is none.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
};
use rcgen::SigningKey as _;
use serde_json::{Value, json};

use super::super::problem::ProblemType;
use super::*;
use crate::key::{KeyType, PrivateKey};

const URL: &str = "https://ca.test/acme/new-order";

/// What an ACME client signs with.
pub(in crate::directory) struct TestKey(PrivateKey);

impl TestKey {
    pub(in crate::directory) fn new(kind: KeyType) -> Self {
        Self(PrivateKey::generate(kind).unwrap())
    }

    pub(in crate::directory) fn of(key: PrivateKey) -> Self {
        Self(key)
    }

    pub(in crate::directory) fn jwk(&self) -> Jwk {
        Jwk::from_spki(&self.0.public_key_der()).unwrap()
    }

    pub(in crate::directory) fn alg(&self) -> &'static str {
        self.jwk().algorithm().as_str()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let algorithm = match self.0.kind() {
            KeyType::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            KeyType::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
            _ => return self.0.sign(message).unwrap(),
        };
        let der = self.0.to_rustls();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, der.secret_der()).unwrap();
        let random = aws_lc_rs::rand::SystemRandom::new();
        pair.sign(&random, message).unwrap().as_ref().to_vec()
    }

    /// A JWS with this header and payload, whatever they say.
    pub(in crate::directory) fn jws(&self, header: &Value, payload: &[u8]) -> Value {
        sealed(header, payload, |input| self.sign(input))
    }

    fn header(&self) -> Value {
        json!({ "alg": self.alg(), "nonce": "n-1_A", "url": URL, "jwk": jwk_of(&self.jwk()) })
    }
}

pub(in crate::directory) fn jwk_of(key: &Jwk) -> Value {
    serde_json::from_str(&key.to_json()).unwrap()
}

fn b64(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

pub(in crate::directory) fn sealed(
    header: &Value,
    payload: &[u8],
    sign: impl Fn(&[u8]) -> Vec<u8>,
) -> Value {
    let (header, payload) = (b64(header.to_string().as_bytes()), b64(payload));
    let signature = b64(&sign(format!("{header}.{payload}").as_bytes()));
    json!({ "protected": header, "payload": payload, "signature": signature })
}

fn parse(jws: &Value) -> Result<Request, Problem> {
    Request::parse(jws.to_string().as_bytes())
}

/// `base` with one member set, or removed when the value is `null`.
fn with(base: &Value, member: &str, value: Value) -> Value {
    let mut changed = base.clone();
    if value.is_null() {
        changed.as_object_mut().unwrap().remove(member);
    } else {
        changed[member] = value;
    }
    changed
}

#[test]
fn every_supported_kind_of_key_is_verified_by_jwk_and_by_kid() {
    for kind in [
        KeyType::P256,
        KeyType::P384,
        KeyType::Ed25519,
        KeyType::Rsa2048,
    ] {
        let key = TestKey::new(kind);
        let request = parse(&key.jws(&key.header(), b"{\"a\":1}")).unwrap();
        assert_eq!(request.signer(), &Signer::Key(key.jwk()));
        assert_eq!((request.nonce(), request.url()), ("n-1_A", URL));
        request.check_url(URL).unwrap();
        let verified = request.verify_by_own_key().unwrap();
        assert_eq!(verified.json::<Value>().unwrap(), json!({ "a": 1 }));
        assert_eq!(verified.key(), &key.jwk());
        assert!(!verified.is_post_as_get());

        let header = with(
            &with(&key.header(), "jwk", Value::Null),
            "kid",
            json!("https://a/1"),
        );
        let jws = key.jws(&header, b"");
        let request = parse(&jws).unwrap();
        assert_eq!(request.signer(), &Signer::Account("https://a/1".to_owned()));
        let verified = request.verify(&key.jwk()).unwrap();
        verified.expect_post_as_get().unwrap();
        let stranger = TestKey::new(kind).jwk();
        let problem = parse(&jws).unwrap().verify(&stranger).unwrap_err();
        assert_eq!(problem.kind(), ProblemType::Malformed);
        let problem = parse(&jws).unwrap().verify_by_own_key().unwrap_err();
        assert_eq!(problem.kind(), ProblemType::Malformed);
    }
}

#[test]
fn a_request_for_another_url_is_unauthorized() {
    let key = TestKey::new(KeyType::P256);
    let request = parse(&key.jws(&key.header(), b"{}")).unwrap();
    for other in [
        "",
        "https://ca.test/acme/new-order/",
        "http://ca.test/acme/new-order",
        "/acme/new-order",
    ] {
        assert_eq!(
            request.check_url(other).unwrap_err().kind(),
            ProblemType::Unauthorized
        );
    }
}

#[test]
fn each_spoilt_header_gives_its_type_of_problem() {
    use ProblemType::{BadNonce, BadPublicKey, BadSignatureAlgorithm, Malformed};
    let key = TestKey::new(KeyType::P256);
    let good = key.header();
    let other = TestKey::new(KeyType::Ed25519).jwk();
    let mut private = jwk_of(&key.jwk());
    private["d"] = json!("AAAA");
    let table: Vec<(&str, Value, ProblemType)> = vec![
        ("alg", Value::Null, Malformed),
        ("alg", json!(1), Malformed),
        ("alg", json!(""), BadSignatureAlgorithm),
        ("alg", json!("none"), BadSignatureAlgorithm),
        ("alg", json!("HS256"), BadSignatureAlgorithm),
        ("alg", json!("es256"), BadSignatureAlgorithm),
        ("alg", json!("ES512"), BadSignatureAlgorithm),
        ("alg", json!("PS256"), BadSignatureAlgorithm),
        ("alg", json!("RS384"), BadSignatureAlgorithm),
        ("alg", json!("RS512"), BadSignatureAlgorithm),
        ("alg", json!("ES256 "), BadSignatureAlgorithm),
        ("alg", json!("ES384"), Malformed),
        ("alg", json!("RS256"), Malformed),
        ("alg", json!("EdDSA"), Malformed),
        ("nonce", Value::Null, BadNonce),
        ("nonce", json!(""), Malformed),
        ("nonce", json!(5), Malformed),
        ("nonce", json!("a b"), Malformed),
        ("nonce", json!("a="), Malformed),
        ("nonce", json!("a+/"), Malformed),
        ("nonce", json!("a".repeat(MAX_NONCE + 1)), Malformed),
        ("url", Value::Null, Malformed),
        ("url", json!(["https://ca.test"]), Malformed),
        ("url", json!("u".repeat(MAX_URL + 1)), Malformed),
        ("jwk", Value::Null, Malformed),
        ("jwk", json!([]), Malformed),
        ("jwk", json!(["EC", "P-256", "AA", "AA"]), Malformed),
        ("jwk", json!("x"), Malformed),
        ("jwk", json!({}), Malformed),
        ("jwk", json!({ "kty": "oct", "k": "AAAA" }), BadPublicKey),
        ("jwk", private, BadPublicKey),
        ("jwk", jwk_of(&other), Malformed),
        ("kid", json!("https://ca.test/acme/account/1"), Malformed),
        ("kid", json!(7), Malformed),
        ("crit", json!([]), Malformed),
        ("crit", json!(["exp"]), Malformed),
        ("b64", json!(true), Malformed),
        ("b64", json!(false), Malformed),
        ("typ", json!("x".repeat(MAX_PROTECTED)), Malformed),
    ];
    for (member, value, want) in table {
        let shown = format!("{member} = {value}");
        let header = with(&good, member, value);
        let problem = parse(&key.jws(&header, b"{}")).unwrap_err();
        assert_eq!(problem.kind(), want, "{shown:.80}: {problem}");
        if want == BadSignatureAlgorithm {
            assert_eq!(problem.algorithms(), SignatureAlgorithm::NAMES);
        }
    }
    // What nobody acts upon changes nothing.
    for member in ["typ", "cty", "x5u"] {
        let header = with(&good, member, json!("x"));
        parse(&key.jws(&header, b"{}"))
            .unwrap()
            .verify_by_own_key()
            .unwrap();
    }
    // Present, though `null`: still not what we take.
    let mut header = good.clone();
    header["crit"] = Value::Null;
    assert_eq!(
        parse(&key.jws(&header, b"{}")).unwrap_err().kind(),
        Malformed
    );
}

#[test]
fn what_is_no_flattened_jws_is_malformed() {
    let key = TestKey::new(KeyType::P256);
    let good = key.jws(&key.header(), b"{}");
    let part = |name: &str| good[name].as_str().unwrap().to_owned();
    let padded = |name: &str| json!(format!("{}=", part(name)));
    let spoilt = [
        with(&good, "protected", Value::Null),
        with(&good, "payload", Value::Null),
        with(&good, "signature", Value::Null),
        with(&good, "protected", json!("")),
        with(&good, "protected", json!({ "alg": "ES256" })),
        with(&good, "protected", json!(b64(b"[]"))),
        with(&good, "protected", json!(b64(b"{"))),
        with(&good, "protected", json!(b64(b"{}{}"))),
        with(&good, "protected", padded("protected")),
        with(&good, "protected", json!(format!("{} ", part("protected")))),
        with(&good, "payload", json!("e30=")),
        with(&good, "payload", json!("e31")),
        with(&good, "payload", json!("e+0/")),
        with(&good, "payload", json!({})),
        with(&good, "signature", padded("signature")),
        with(&good, "signature", json!("A".repeat(MAX_SIGNATURE + 4))),
        with(&good, "signatures", json!([])),
        with(
            &good,
            "signatures",
            json!([{ "protected": part("protected"), "signature": part("signature") }]),
        ),
        with(&good, "header", json!({})),
        with(&good, "header", json!({ "kid": "x" })),
        json!([
            part("protected"),
            part("payload"),
            part("signature"),
            false,
            false
        ]),
        json!({ "payload": part("payload"), "signatures": [] }),
        json!(format!(
            "{}.{}.{}",
            part("protected"),
            part("payload"),
            part("signature")
        )),
        json!(null),
    ];
    for jws in spoilt {
        let problem = parse(&jws).unwrap_err();
        assert_eq!(problem.kind(), ProblemType::Malformed, "{jws}");
    }
    let text = good.to_string();
    let twice = format!(r#"{{"payload":"e30",{}"#, &text[1..]);
    let compact = format!(
        "{}.{}.{}",
        part("protected"),
        part("payload"),
        part("signature")
    );
    let huge = format!("{text}{}", " ".repeat(MAX_BODY));
    let header = key.header().to_string();
    let duplicate = format!(r#"{{"url":"https://other.test",{}"#, &header[1..]);
    let duplicate = with(&good, "protected", json!(b64(duplicate.as_bytes()))).to_string();
    for body in [
        "",
        "{}",
        "\0",
        &twice,
        &compact,
        &huge,
        &format!("{text}x"),
        &text[1..],
        &duplicate,
    ] {
        let problem = Request::parse(body.as_bytes()).unwrap_err();
        assert_eq!(problem.kind(), ProblemType::Malformed, "{body:.60}");
    }
    assert_eq!(Request::parse(huge.as_bytes()).unwrap_err().status(), 413);
    parse(&with(&good, "unknown", json!(1))).unwrap();
}

#[test]
fn no_changed_part_keeps_its_signature() {
    let key = TestKey::new(KeyType::P256);
    let good = key.jws(&key.header(), b"{}");
    let elsewhere = with(
        &key.header(),
        "url",
        json!("https://ca.test/acme/revoke-cert"),
    );
    let stranger = with(
        &key.header(),
        "jwk",
        jwk_of(&TestKey::new(KeyType::P256).jwk()),
    );
    let of = |name: &str| {
        let mut bytes = BASE64URL_NOPAD
            .decode(good[name].as_str().unwrap().as_bytes())
            .unwrap();
        bytes[0] ^= 1;
        json!(b64(&bytes))
    };
    let protected = |header: &Value| json!(b64(header.to_string().as_bytes()));
    for jws in [
        with(&good, "payload", json!("")),
        with(&good, "payload", json!(b64(b"{ }"))),
        with(&good, "signature", of("signature")),
        with(&good, "signature", json!("")),
        with(&good, "signature", json!(b64(&[0; 64]))),
        with(&good, "protected", protected(&elsewhere)),
        with(&good, "protected", protected(&stranger)),
        with(
            &good,
            "protected",
            protected(&with(&key.header(), "nonce", json!("n-2"))),
        ),
    ] {
        let problem = parse(&jws).unwrap().verify_by_own_key().unwrap_err();
        assert_eq!(problem.kind(), ProblemType::Malformed, "{jws}");
    }
    // A key that is not the one in the header never counts.
    let other = TestKey::new(KeyType::P256).jwk();
    let problem = parse(&good).unwrap().verify(&other).unwrap_err();
    assert_eq!(problem.kind(), ProblemType::Unauthorized);
}

#[test]
fn a_payload_must_be_an_object_and_a_read_must_be_empty() {
    let key = TestKey::new(KeyType::Ed25519);
    let verified = |payload: &[u8]| {
        parse(&key.jws(&key.header(), payload))
            .unwrap()
            .verify_by_own_key()
            .unwrap()
    };
    for bad in [
        &b""[..],
        b"[]",
        b"[1]",
        b"null",
        b"1",
        b"\"x\"",
        b"{",
        b"{}x",
        b"\xff",
    ] {
        assert!(verified(bad).json::<Value>().is_err(), "{bad:?}");
        assert_eq!(verified(bad).is_post_as_get(), bad.is_empty());
    }
    assert!(verified(b"{}").json::<Value>().is_ok());
    assert!(verified(b"{}").expect_post_as_get().is_err());
}

/// A binding of `account` by `mac` with header and payload as given.
fn binding(mac: &MacKey, algorithm: hmac::Algorithm, header: &Value, payload: &[u8]) -> Flattened {
    let key = hmac::Key::new(algorithm, mac.expose());
    let jws = sealed(header, payload, |input| {
        hmac::sign(&key, input).as_ref().to_vec()
    });
    serde_json::from_value(jws).unwrap()
}

#[test]
fn an_external_binding_is_for_one_account_key_and_one_url() {
    let mac = MacKey::generate().unwrap();
    let account = TestKey::new(KeyType::P256).jwk();
    let payload = account.to_json();
    let header = json!({ "alg": "HS256", "kid": "k1", "url": URL });
    for (name, algorithm) in [
        ("HS256", hmac::HMAC_SHA256),
        ("HS384", hmac::HMAC_SHA384),
        ("HS512", hmac::HMAC_SHA512),
    ] {
        let header = with(&header, "alg", json!(name));
        let jws = binding(&mac, algorithm, &header, payload.as_bytes());
        let bound = ExternalBinding::parse(&jws).unwrap();
        assert_eq!(bound.kid(), "k1");
        bound.verify(&mac, URL, &account).unwrap();
    }
    let bound = |header: &Value, payload: &str| {
        ExternalBinding::parse(&binding(
            &mac,
            hmac::HMAC_SHA256,
            header,
            payload.as_bytes(),
        ))
    };
    // The form.
    for (member, value, want) in [
        ("alg", json!("ES256"), ProblemType::BadSignatureAlgorithm),
        ("alg", json!("none"), ProblemType::BadSignatureAlgorithm),
        ("alg", json!("hs256"), ProblemType::BadSignatureAlgorithm),
        ("kid", Value::Null, ProblemType::Malformed),
        ("kid", json!(""), ProblemType::Malformed),
        ("url", Value::Null, ProblemType::Malformed),
        ("nonce", json!("n"), ProblemType::Malformed),
        ("jwk", jwk_of(&account), ProblemType::Malformed),
        ("crit", json!([]), ProblemType::Malformed),
    ] {
        let problem = bound(&with(&header, member, value), &payload).unwrap_err();
        assert_eq!(problem.kind(), want, "{member}");
    }
    // What it is bound to.
    let good = bound(&header, &payload).unwrap();
    let other = TestKey::new(KeyType::P256).jwk();
    let wrong = MacKey::generate().unwrap();
    for problem in [
        good.verify(&wrong, URL, &account),
        good.verify(&mac, "https://ca.test/acme/new-account", &account),
        good.verify(&mac, URL, &other),
        // The right MAC by a weaker algorithm than the header says.
        ExternalBinding::parse(&binding(
            &mac,
            hmac::HMAC_SHA256,
            &with(&header, "alg", json!("HS512")),
            payload.as_bytes(),
        ))
        .unwrap()
        .verify(&mac, URL, &account),
    ] {
        assert_eq!(problem.unwrap_err().kind(), ProblemType::Unauthorized);
    }
    for payload in ["", "{}", "null", "\"x\""] {
        assert!(
            bound(&header, payload)
                .unwrap()
                .verify(&mac, URL, &account)
                .is_err()
        );
    }
}

#[test]
fn a_mac_key_is_not_shown_and_not_short() {
    let key = MacKey::generate().unwrap();
    assert_eq!(format!("{key:?}"), "MacKey(…)");
    assert_eq!(key.to_base64url().len(), 43);
    assert_eq!(MacKey::from_bytes(key.expose().to_vec()), Some(key));
    assert!(MacKey::from_bytes(vec![1; 15]).is_none());
}

#[test]
fn a_key_change_is_signed_by_both_keys_for_one_account() {
    const ACCOUNT: &str = "https://ca.test/acme/account/1";
    let (old, new) = (TestKey::new(KeyType::P256), TestKey::new(KeyType::Ed25519));
    let header = json!({ "alg": new.alg(), "url": URL, "jwk": jwk_of(&new.jwk()) });
    let payload = json!({ "account": ACCOUNT, "oldKey": jwk_of(&old.jwk()) });
    let outer_header = with(
        &with(&old.header(), "jwk", Value::Null),
        "kid",
        json!(ACCOUNT),
    );
    let change = |inner: &Value| {
        let outer = old.jws(&outer_header, inner.to_string().as_bytes());
        let outer = parse(&outer).unwrap().verify(&old.jwk()).unwrap();
        KeyChange::verify(&outer, ACCOUNT)
    };
    let good = new.jws(&header, payload.to_string().as_bytes());
    assert_eq!(change(&good).unwrap().new_key(), &new.jwk());

    let inner = |member: &str, value: Value| {
        new.jws(
            &with(&header, member, value),
            payload.to_string().as_bytes(),
        )
    };
    let about = |member: &str, value: Value| {
        new.jws(
            &header,
            with(&payload, member, value).to_string().as_bytes(),
        )
    };
    let oct = json!({ "kty": "oct", "k": "AAAA" });
    for (inner, want) in [
        (
            inner("alg", json!("HS256")),
            ProblemType::BadSignatureAlgorithm,
        ),
        (inner("alg", json!("ES256")), ProblemType::Malformed),
        (inner("jwk", Value::Null), ProblemType::Malformed),
        (inner("jwk", oct), ProblemType::BadPublicKey),
        (
            inner("jwk", jwk_of(&TestKey::new(KeyType::Ed25519).jwk())),
            ProblemType::Malformed,
        ),
        (inner("kid", json!(ACCOUNT)), ProblemType::Malformed),
        (inner("nonce", json!("n-1")), ProblemType::Malformed),
        (inner("url", Value::Null), ProblemType::Malformed),
        (
            inner("url", json!("https://ca.test/acme/key-change2")),
            ProblemType::Malformed,
        ),
        (
            about("account", json!("https://ca.test/acme/account/2")),
            ProblemType::Malformed,
        ),
        (about("account", Value::Null), ProblemType::Malformed),
        (about("oldKey", Value::Null), ProblemType::Malformed),
        (about("oldKey", jwk_of(&new.jwk())), ProblemType::Malformed),
        (with(&good, "header", json!({})), ProblemType::Malformed),
        (with(&good, "signature", json!("")), ProblemType::Malformed),
        // Signed by the old key in the new one's name.
        (
            old.jws(&header, payload.to_string().as_bytes()),
            ProblemType::Malformed,
        ),
        (json!({}), ProblemType::Malformed),
    ] {
        let problem = change(&inner).unwrap_err();
        assert_eq!(problem.kind(), want, "{inner}: {problem}");
    }
}
