//! Problem documents: how the directory says no (RFC 7807, RFC 8555 §6.7).
//!
//! Rules kept here: a type has one URN and one usual HTTP status; what is stored with
//! an order or a challenge comes back as it went in; a detail never holds control
//! characters, and has at most [`MAX_DETAIL`] characters of whatever a stranger sent.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde::{Deserialize, Serialize};

use super::asked::AskedIdentifier;
use crate::clock;
use crate::finding::words::span;
use crate::identifier::quoted_within;

/// What a problem document is sent as.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// Longest detail; what is longer is cut.
pub const MAX_DETAIL: usize = 600;
/// The detail of every `badNonce`, word for word: acme.sh looks for this text alone.
pub const BAD_NONCE_DETAIL: &str = "JWS has an invalid anti-replay nonce";

const NAMESPACE: &str = "urn:ietf:params:acme:error:";

/// What kind of problem it is (RFC 8555 §6.7, RFC 9773 §7.4, and the profiles draft).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemType {
    /// The account asked for does not exist.
    AccountDoesNotExist,
    /// The certificate to be replaced has been replaced by another order.
    AlreadyReplaced,
    /// The certificate is revoked already.
    AlreadyRevoked,
    /// The CSR is unacceptable.
    BadCsr,
    /// The nonce is none of ours, was used, or is too old.
    BadNonce,
    /// The key that signed, or the one in the CSR, is not supported.
    BadPublicKey,
    /// The reason for revocation is not allowed.
    BadRevocationReason,
    /// The JWS was signed by an algorithm that is not supported.
    BadSignatureAlgorithm,
    /// A CAA record forbids it.
    Caa,
    /// Several problems; see the subproblems.
    Compound,
    /// The server could not connect to the validation target.
    Connection,
    /// A DNS query failed while validating.
    Dns,
    /// The account must be bound to an external one.
    ExternalAccountRequired,
    /// The answer to a challenge was not the expected one.
    IncorrectResponse,
    /// A contact URL is invalid.
    InvalidContact,
    /// The profile asked for is not offered.
    InvalidProfile,
    /// The request is malformed.
    Malformed,
    /// The order cannot be finalized yet, or any more.
    OrderNotReady,
    /// Too much of something.
    RateLimited,
    /// No certificate is issued for this identifier.
    RejectedIdentifier,
    /// Something failed on this side.
    ServerInternal,
    /// A TLS error while validating.
    Tls,
    /// Not authorized.
    Unauthorized,
    /// A contact URL has an unsupported scheme.
    UnsupportedContact,
    /// An identifier is of an unsupported type.
    UnsupportedIdentifier,
    /// A person has to visit the problem's `instance`.
    UserActionRequired,
}

impl ProblemType {
    /// Every type.
    pub const ALL: [Self; 26] = [
        Self::AccountDoesNotExist,
        Self::AlreadyReplaced,
        Self::AlreadyRevoked,
        Self::BadCsr,
        Self::BadNonce,
        Self::BadPublicKey,
        Self::BadRevocationReason,
        Self::BadSignatureAlgorithm,
        Self::Caa,
        Self::Compound,
        Self::Connection,
        Self::Dns,
        Self::ExternalAccountRequired,
        Self::IncorrectResponse,
        Self::InvalidContact,
        Self::InvalidProfile,
        Self::Malformed,
        Self::OrderNotReady,
        Self::RateLimited,
        Self::RejectedIdentifier,
        Self::ServerInternal,
        Self::Tls,
        Self::Unauthorized,
        Self::UnsupportedContact,
        Self::UnsupportedIdentifier,
        Self::UserActionRequired,
    ];

    /// The last part of its URN.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccountDoesNotExist => "accountDoesNotExist",
            Self::AlreadyReplaced => "alreadyReplaced",
            Self::AlreadyRevoked => "alreadyRevoked",
            Self::BadCsr => "badCSR",
            Self::BadNonce => "badNonce",
            Self::BadPublicKey => "badPublicKey",
            Self::BadRevocationReason => "badRevocationReason",
            Self::BadSignatureAlgorithm => "badSignatureAlgorithm",
            Self::Caa => "caa",
            Self::Compound => "compound",
            Self::Connection => "connection",
            Self::Dns => "dns",
            Self::ExternalAccountRequired => "externalAccountRequired",
            Self::IncorrectResponse => "incorrectResponse",
            Self::InvalidContact => "invalidContact",
            Self::InvalidProfile => "invalidProfile",
            Self::Malformed => "malformed",
            Self::OrderNotReady => "orderNotReady",
            Self::RateLimited => "rateLimited",
            Self::RejectedIdentifier => "rejectedIdentifier",
            Self::ServerInternal => "serverInternal",
            Self::Tls => "tls",
            Self::Unauthorized => "unauthorized",
            Self::UnsupportedContact => "unsupportedContact",
            Self::UnsupportedIdentifier => "unsupportedIdentifier",
            Self::UserActionRequired => "userActionRequired",
        }
    }

    /// Its URN.
    pub fn urn(self) -> String {
        format!("{NAMESPACE}{}", self.as_str())
    }

    /// The HTTP status that it usually comes with; that of Boulder where RFC 8555 is
    /// silent.
    pub fn status(self) -> StatusCode {
        match self {
            Self::AlreadyReplaced => StatusCode::CONFLICT,
            Self::Caa
            | Self::ExternalAccountRequired
            | Self::IncorrectResponse
            | Self::OrderNotReady
            | Self::RejectedIdentifier
            | Self::Unauthorized
            | Self::UserActionRequired => StatusCode::FORBIDDEN,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::ServerInternal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::AccountDoesNotExist
            | Self::AlreadyRevoked
            | Self::BadCsr
            | Self::BadNonce
            | Self::BadPublicKey
            | Self::BadRevocationReason
            | Self::BadSignatureAlgorithm
            | Self::Compound
            | Self::Connection
            | Self::Dns
            | Self::InvalidContact
            | Self::InvalidProfile
            | Self::Malformed
            | Self::Tls
            | Self::UnsupportedContact
            | Self::UnsupportedIdentifier => StatusCode::BAD_REQUEST,
        }
    }

    fn from_urn(urn: &str) -> Option<Self> {
        let name = urn.strip_prefix(NAMESPACE)?;
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl Serialize for ProblemType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.urn())
    }
}

impl<'de> Deserialize<'de> for ProblemType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let urn = <Cow<'de, str>>::deserialize(deserializer)?;
        Self::from_urn(&urn).ok_or_else(|| serde::de::Error::custom("not an ACME problem type"))
    }
}

/// Why a request was refused, or an order or a challenge failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Problem(Box<Document>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Document {
    #[serde(rename = "type")]
    kind: ProblemType,
    #[serde(with = "status_code")]
    status: StatusCode,
    detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identifier: Option<AskedIdentifier>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    subproblems: Vec<Subproblem>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    algorithms: Vec<String>,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

/// One part of a problem that has several (RFC 8555 §6.7.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subproblem {
    #[serde(rename = "type")]
    kind: ProblemType,
    detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identifier: Option<AskedIdentifier>,
}

impl Problem {
    /// A problem of this type, with its usual status.
    pub fn new(kind: ProblemType, detail: impl AsRef<str>) -> Self {
        Self(Box::new(Document {
            kind,
            status: kind.status(),
            detail: quoted_within(detail.as_ref(), MAX_DETAIL),
            instance: None,
            identifier: None,
            subproblems: Vec::new(),
            algorithms: Vec::new(),
            retry_after: None,
        }))
    }

    /// The request makes no sense.
    pub fn malformed(detail: impl AsRef<str>) -> Self {
        Self::new(ProblemType::Malformed, detail)
    }

    /// The one who asks may not.
    pub fn unauthorized(detail: impl AsRef<str>) -> Self {
        Self::new(ProblemType::Unauthorized, detail)
    }

    /// Nothing is at this URL, or nothing that this account may see: 404.
    pub fn not_found(what: &str) -> Self {
        Self::malformed(format!("no such {what}")).with_status(StatusCode::NOT_FOUND)
    }

    /// The account is deactivated or revoked: 401 (RFC 8555 §7.3.6).
    pub fn account_is_closed() -> Self {
        Self::unauthorized("the account is not valid any more")
            .with_status(StatusCode::UNAUTHORIZED)
    }

    /// The nonce was none; the answer carries a new one, and clients try again.
    pub fn bad_nonce() -> Self {
        Self::new(ProblemType::BadNonce, BAD_NONCE_DETAIL)
    }

    /// The JWS names an algorithm besides `algorithms`.
    pub fn bad_signature_algorithm(detail: impl AsRef<str>, algorithms: &[&str]) -> Self {
        let mut problem = Self::new(ProblemType::BadSignatureAlgorithm, detail);
        problem.0.algorithms = algorithms.iter().map(|&name| name.to_owned()).collect();
        problem
    }

    /// Too much of something; worth another try after `retry_after`, which is said in words
    /// as well: people see those alone.
    pub fn rate_limited(detail: impl AsRef<str>, retry_after: Duration) -> Self {
        let seconds = i64::try_from(whole_seconds(retry_after)).unwrap_or(i64::MAX);
        let when = span(clock::Duration::seconds(seconds));
        let detail = format!("{}: try again in {when}", detail.as_ref());
        Self::new(ProblemType::RateLimited, detail).with_retry_after(retry_after)
    }

    /// Something failed on this side. The cause belongs in the log, not here.
    pub fn server_internal() -> Self {
        Self::new(
            ProblemType::ServerInternal,
            "the server could not do this; its log says why",
        )
    }

    /// One problem out of several: the only one as it is, more of them as `compound`
    /// (of one type when all have it); `None` without any.
    pub fn compound(parts: Vec<Subproblem>) -> Option<Self> {
        let first = parts.first()?;
        if parts.len() == 1 {
            let mut only = Self::new(first.kind, &first.detail);
            only.0.identifier.clone_from(&first.identifier);
            return Some(only);
        }
        let same = parts.iter().all(|part| part.kind == first.kind);
        let kind = if same {
            first.kind
        } else {
            ProblemType::Compound
        };
        let detail = format!(
            "{} of the names have problems: see `subproblems`",
            parts.len()
        );
        let mut whole = Self::new(kind, detail);
        whole.0.subproblems = parts;
        Some(whole)
    }

    /// The same with another HTTP status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    /// The same about this identifier.
    #[must_use]
    pub fn about(mut self, identifier: AskedIdentifier) -> Self {
        self.0.identifier = Some(identifier);
        self
    }

    /// The same with the URL that a person should visit.
    #[must_use]
    pub fn with_instance(mut self, url: impl Into<String>) -> Self {
        self.0.instance = Some(url.into());
        self
    }

    /// The same, worth another try after `retry_after`.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.0.retry_after = Some(retry_after);
        self
    }

    /// Its type.
    pub fn kind(&self) -> ProblemType {
        self.0.kind
    }

    /// The HTTP status to answer with.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// What happened, for a person.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// After which time to try again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The parts of a problem that has several.
    pub fn subproblems(&self) -> &[Subproblem] {
        &self.0.subproblems
    }

    /// The algorithms that a `badSignatureAlgorithm` lists.
    pub fn algorithms(&self) -> &[String] {
        &self.0.algorithms
    }

    /// The document.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a problem has only texts and numbers")
    }

    /// The HTTP answer; nonce and links are the caller's to add.
    pub fn into_response(self) -> http::Response<Vec<u8>> {
        let mut response = http::Response::new(self.to_json());
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.0.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        response
    }
}

/// At least one, and rounded up, so that the next try is not a moment too early.
fn whole_seconds(after: Duration) -> u64 {
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    seconds.max(1)
}

impl Subproblem {
    /// A part of a problem, about `identifier`.
    pub fn new(kind: ProblemType, detail: impl AsRef<str>, identifier: AskedIdentifier) -> Self {
        Self {
            kind,
            detail: quoted_within(detail.as_ref(), MAX_DETAIL),
            identifier: Some(identifier),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.as_str(), self.0.detail)
    }
}

impl std::error::Error for Problem {}

mod status_code {
    use http::StatusCode;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(code: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u16(code.as_u16())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<StatusCode, D::Error> {
        StatusCode::from_u16(u16::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(name: &str) -> AskedIdentifier {
        AskedIdentifier::dns(name)
    }

    #[test]
    fn every_type_has_its_own_urn_and_the_status_that_clients_know() {
        let mut seen = std::collections::BTreeSet::new();
        for kind in ProblemType::ALL {
            assert!(seen.insert(kind.urn()), "{kind:?}");
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(serde_json::from_str::<ProblemType>(&json).unwrap(), kind);
            let status = kind.status().as_u16();
            let want = match kind.as_str() {
                "alreadyReplaced" => 409,
                "rateLimited" => 429,
                "serverInternal" => 500,
                "orderNotReady"
                | "unauthorized"
                | "externalAccountRequired"
                | "caa"
                | "rejectedIdentifier"
                | "userActionRequired"
                | "incorrectResponse" => 403,
                _ => 400,
            };
            assert_eq!(status, want, "{kind:?}");
        }
        for bad in ["", "\"malformed\"", "\"urn:ietf:params:acme:error:x\"", "1"] {
            assert!(serde_json::from_str::<ProblemType>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_document_has_the_members_of_the_rfc_and_no_empty_ones() {
        let json: serde_json::Value =
            serde_json::from_slice(&Problem::bad_nonce().to_json()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "urn:ietf:params:acme:error:badNonce",
                "status": 400,
                "detail": "JWS has an invalid anti-replay nonce",
            })
        );
        let listed = Problem::bad_signature_algorithm("no", &["ES256"]);
        let json: serde_json::Value = serde_json::from_slice(&listed.to_json()).unwrap();
        assert_eq!(json["algorithms"], serde_json::json!(["ES256"]));
    }

    #[test]
    fn what_is_stored_comes_back_as_it_was() {
        let parts = vec![
            Subproblem::new(ProblemType::RejectedIdentifier, "not ours", dns("*.a.test")),
            Subproblem::new(ProblemType::Malformed, "no name", dns("b test")),
        ];
        let whole = Problem::compound(parts)
            .unwrap()
            .with_instance("https://ca.test/x");
        assert_eq!(whole.kind(), ProblemType::Compound);
        let back: Problem = serde_json::from_slice(&whole.to_json()).unwrap();
        assert_eq!(back, whole);
        let lasting = Problem::account_is_closed();
        let back: Problem = serde_json::from_slice(&lasting.to_json()).unwrap();
        assert_eq!(back.status(), StatusCode::UNAUTHORIZED);
    }

    #[test]
    fn several_problems_of_one_type_keep_it_and_one_stays_alone() {
        let part = |name| Subproblem::new(ProblemType::RejectedIdentifier, "no", dns(name));
        let one = Problem::compound(vec![part("a.test")]).unwrap();
        assert_eq!(one.kind(), ProblemType::RejectedIdentifier);
        assert!(one.subproblems().is_empty());
        let two = Problem::compound(vec![part("a.test"), part("b.test")]).unwrap();
        assert_eq!((two.kind(), two.subproblems().len()), (one.kind(), 2));
        assert_eq!(two.status(), StatusCode::FORBIDDEN);
        assert_eq!(Problem::compound(Vec::new()), None);
    }

    #[test]
    fn an_answer_has_the_media_type_and_retry_after_in_whole_seconds() {
        for (after, want, words) in [
            (0, "1", "slow: try again in 1s"),
            (1_500, "2", "slow: try again in 2s"),
            (90_000, "90", "slow: try again in 1m 30s"),
        ] {
            let problem = Problem::rate_limited("slow", Duration::from_millis(after));
            assert_eq!(problem.detail(), words);
            let answer = problem.into_response();
            assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(answer.headers()[RETRY_AFTER], want);
            assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
        }
        let plain = Problem::not_found("order").into_response();
        assert_eq!(plain.status(), StatusCode::NOT_FOUND);
        assert!(!plain.headers().contains_key(RETRY_AFTER));
    }

    #[test]
    fn a_strangers_text_is_escaped_and_cut() {
        let problem = Problem::malformed(format!("a\u{1b}[31m\u{202e}{}", "x".repeat(10_000)));
        assert!(!problem.detail().contains(['\u{1b}', '\u{202e}']));
        assert!(problem.detail().chars().count() < MAX_DETAIL + 50);
    }
}
