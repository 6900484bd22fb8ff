//! A CA in memory, for what the test CA of Let's Encrypt cannot do.
//!
//! It checks no signature, but that each is of its own URL and a nonce of its own;
//! every name is authorized from the start, unless the test has it otherwise.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use data_encoding::BASE64URL_NOPAD;
use http::{Request, Response};
use hyper::body::Bytes;
use rcgen::{CertificateParams, CertificateSigningRequestParams, Issuer, KeyPair};
use serde_json::{Value, json};

use super::HttpClient;
use crate::issuer::BoxFuture;
use crate::net::http::HttpError;

/// A request as the CA saw it: path, protected header, payload.
pub(super) type Seen = (String, Value, Value);
/// A status, which is 0 for an answer that is lost, and a body. A text is sent as it
/// is, and the member `retry-after` of an object as a header.
pub(super) type Reply = Option<(u16, Value)>;
/// What answers instead of the CA, if it wants to: path, payload, how often the path
/// was asked for before.
type Override = Box<dyn Fn(&str, &Value, usize) -> Reply + Send + Sync>;

pub(super) struct FakeCa {
    directory: Value,
    seen: Mutex<Vec<Seen>>,
    chain: Mutex<String>,
    replies: Override,
    issuer: Issuer<'static, KeyPair>,
    issuer_pem: String,
}

impl std::fmt::Debug for FakeCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeCa")
    }
}

impl FakeCa {
    pub(super) const DIRECTORY: &str = "https://ca.test/dir";
    /// The URL of whatever it makes.
    pub(super) const LOCATION: &str = "https://ca.test/location";

    /// A CA whose directory also has what is in `more`.
    pub(super) fn new(
        more: &Value,
        replies: impl Fn(&str, &Value, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let mut directory = json!({
            "newNonce": "https://ca.test/nonce", "newAccount": "https://ca.test/account",
            "newOrder": "https://ca.test/new-order", "keyChange": "https://ca.test/change",
            "revokeCert": "https://ca.test/revoke",
        });
        for (name, value) in more.as_object().unwrap() {
            directory[name] = value.clone();
        }
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "Fake");
        let key = KeyPair::generate().unwrap();
        let issuer_pem = params.self_signed(&key).unwrap().pem();
        Self {
            directory,
            seen: Mutex::default(),
            chain: Mutex::default(),
            replies: Box::new(replies),
            issuer: Issuer::new(params, key),
            issuer_pem,
        }
    }

    /// Payloads of the requests to `path`.
    pub(super) fn payloads(&self, path: &str) -> Vec<Value> {
        let seen = self.seen();
        let matching = seen.iter().filter(|(asked, ..)| asked == path);
        matching.map(|(_, _, payload)| payload.clone()).collect()
    }

    /// What the requests to `path` were signed with.
    pub(super) fn headers(&self, path: &str) -> Vec<Value> {
        let seen = self.seen();
        let matching = seen.iter().filter(|(asked, ..)| asked == path);
        matching.map(|(_, header, _)| header.clone()).collect()
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, path: &str, payload: &Value) -> (u16, Value) {
        let order = |status: &str| {
            json!({ "status": status, "finalize": "https://ca.test/finalize",
                "authorizations": [], "certificate": "https://ca.test/certificate" })
        };
        match path {
            "/dir" => (200, self.directory.clone()),
            "/account" => (201, json!({ "status": "valid" })),
            "/new-order" => {
                let mut order = order("ready");
                order["replaces"] = payload["replaces"].clone();
                (201, order)
            }
            "/finalize" => {
                let csr = payload["csr"].as_str().unwrap();
                let der = BASE64URL_NOPAD.decode(csr.as_bytes()).unwrap();
                let mut csr = CertificateSigningRequestParams::from_der(&der.into()).unwrap();
                let now = time::OffsetDateTime::UNIX_EPOCH;
                csr.params.not_before = now;
                csr.params.not_after = now + time::Duration::days(90);
                let leaf = csr.signed_by(&self.issuer).unwrap().pem();
                *self.chain.lock().unwrap() = format!("{leaf}{}", self.issuer_pem);
                (200, order("processing"))
            }
            "/location" => (200, order("valid")),
            "/certificate" => (200, json!(*self.chain.lock().unwrap())),
            _ => (200, json!({ "status": "valid" })),
        }
    }

    fn note(&self, path: &str, header: Value, payload: &Value) {
        let mut seen = self.seen();
        let used: BTreeSet<&str> = seen.iter().filter_map(|s| s.1["nonce"].as_str()).collect();
        let fresh = header["nonce"].as_str().is_none_or(|n| !used.contains(n));
        assert!(fresh, "used twice: {header}");
        seen.push((path.to_owned(), header, payload.clone()));
    }
}

impl HttpClient for FakeCa {
    fn send<'a>(
        &'a self,
        request: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        let path = request.uri().path().to_owned();
        let jws: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let part = |name: &str| -> Value {
            let text = jws[name].as_str().unwrap_or_default();
            let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
            serde_json::from_slice(&bytes).unwrap_or_default()
        };
        let (header, payload) = (part("protected"), part("payload"));
        let signed = header["url"].as_str();
        assert!(signed.is_none_or(|url| request.uri() == url), "{header}");
        let before = self.payloads(&path).len();
        self.note(&path, header, &payload);
        let reply = (self.replies)(&path, &payload, before);
        let (status, body) = reply.unwrap_or_else(|| self.answer(&path, &payload));
        // As at other CAs, what needs no signature brings no nonce.
        let nonce = (path != "/dir").then(|| format!("nonce-{}", self.seen().len()));
        Box::pin(async move {
            if status == 0 {
                return Err(HttpError::Broken {
                    host: "ca.test".to_owned(),
                    source: "its answer is lost".into(),
                });
            }
            let mut answer = Response::builder()
                .status(status)
                .header("location", Self::LOCATION);
            if let Some(nonce) = nonce {
                answer = answer.header("replay-nonce", nonce);
            }
            if let Some(wish) = body["retry-after"].as_str() {
                answer = answer.header("retry-after", wish);
            }
            let text = match body {
                Value::String(text) => text,
                other => other.to_string(),
            };
            Ok(answer.body(text.into()).unwrap())
        })
    }
}
