//! The built-in page: what this very connection is protected by.
//!
//! One report in three forms: HTML for browsers, JSON for programs that ask for
//! it, words for a terminal. It loads nothing, runs no script, and may not be
//! framed or kept.

mod html;
mod plain;

use std::sync::Arc;

use aws_lc_rs::digest;
use data_encoding::BASE64;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, StatusCode, Version};
use rustls::{NamedGroup, ProtocolVersion};
use serde::Serialize;

use super::body::Body;
use super::connection::Connection;
use super::respond::{NO_STORE, read_only, text};
use super::tls::TlsSession;
use crate::bundle::Certificate;
use crate::clock::{Clock, Duration, Timestamp, rfc3339};
use crate::identifier::{Identifier, quoted};

/// Answers `/` with a report on the connection.
#[derive(Debug)]
pub(super) struct Page {
    clock: Arc<dyn Clock>,
    policy: HeaderValue,
}

impl Page {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let hash = digest::digest(&digest::SHA256, html::STYLE.as_bytes());
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
            BASE64.encode(hash.as_ref())
        );
        let policy = HeaderValue::try_from(policy).expect("base64 is visible ASCII");
        Self { clock, policy }
    }

    pub(super) fn respond(&self, request: &Request<()>, connection: &Connection) -> Response<Body> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return read_only();
        }
        if request.uri().path() != "/" {
            return text(StatusCode::NOT_FOUND, "the only page here is /");
        }
        let report = Report::new(connection, request.version(), self.clock.now());
        let (kind, body) = match Form::wanted(request.headers()) {
            Form::Html => ("text/html; charset=utf-8", html::render(&report)),
            Form::Json => ("application/json", report.to_json()),
            Form::Words => ("text/plain; charset=utf-8", plain::render(&report)),
        };
        let mut response = Response::new(Body::bytes(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, NO_STORE);
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(VARY, HeaderValue::from_static("accept"));
        response
    }
}

/// The forms of the report.
#[derive(Debug, PartialEq, Eq)]
enum Form {
    Html,
    Json,
    Words,
}

impl Form {
    /// The form that `Accept` names first; words for those that take anything, such
    /// as curl, and for those that do not say.
    fn wanted(headers: &HeaderMap) -> Self {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        let kinds = accept.unwrap_or_default().split(',');
        for kind in kinds.filter_map(|kind| kind.split(';').next()) {
            match kind.trim().to_ascii_lowercase().as_str() {
                "text/html" | "application/xhtml+xml" => return Self::Html,
                "application/json" => return Self::Json,
                "text/plain" => return Self::Words,
                _ => {}
            }
        }
        Self::Words
    }
}

/// What there is to say about a connection.
#[derive(Debug, Serialize)]
struct Report {
    schema: &'static str,
    time: String,
    client: String,
    server: String,
    http: &'static str,
    /// `null` without TLS.
    tls: Option<TlsReport>,
    /// `null` without TLS.
    certificate: Option<CertificateReport>,
}

#[derive(Debug, Serialize)]
struct TlsReport {
    version: String,
    cipher_suite: String,
    /// `null` when TLS 1.2 resumed a session, which exchanges no keys.
    key_exchange: Option<String>,
    /// Whether an attacker with a quantum computer, later on, still cannot read it.
    post_quantum: bool,
    alpn: Option<String>,
    server_name: Option<String>,
    resumed: bool,
}

#[derive(Debug, Serialize)]
struct CertificateReport {
    names: Vec<String>,
    subject: String,
    issuer: String,
    serial: String,
    sha256: String,
    public_key: String,
    public_key_sha256: String,
    signature: String,
    not_before: String,
    not_after: String,
    /// Seconds; negative once expired.
    remaining_seconds: i64,
    /// Share of its life that is over, 0 to 1.
    life_used: f64,
    /// What was sent above it, in order.
    chain: Vec<ChainReport>,
}

#[derive(Debug, Serialize)]
struct ChainReport {
    subject: String,
    issuer: String,
    not_after: String,
    sha256: String,
}

impl Report {
    fn new(connection: &Connection, version: Version, now: Timestamp) -> Self {
        let tls = connection.tls.as_ref();
        Self {
            schema: "certmint.connection/1",
            time: rfc3339(now),
            client: connection.peer.to_string(),
            server: connection.local.to_string(),
            http: match version {
                Version::HTTP_2 => "HTTP/2",
                Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            },
            tls: tls.map(TlsReport::new),
            certificate: tls.and_then(|tls| CertificateReport::new(tls, now)),
        }
    }

    fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).unwrap_or_default();
        json.push('\n');
        json
    }
}

impl TlsReport {
    fn new(tls: &TlsSession) -> Self {
        let version = match tls.version {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3".to_owned(),
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2".to_owned(),
            other => format!("{other:?}"),
        };
        // rustls writes TLS13_AES_…, everyone else (IANA's registry too) TLS_AES_….
        let suite = tls.cipher_suite.map(|suite| format!("{suite:?}"));
        let suite = suite.unwrap_or_default().replacen("TLS13_", "TLS_", 1);
        Self {
            version,
            cipher_suite: suite,
            key_exchange: tls.group.map(group_name),
            post_quantum: tls.group == Some(NamedGroup::X25519MLKEM768),
            alpn: tls.alpn.as_deref().map(quoted),
            server_name: tls.server_name.as_deref().map(quoted),
            resumed: tls.resumed,
        }
    }
}

fn group_name(group: NamedGroup) -> String {
    match group {
        NamedGroup::secp256r1 => "P-256".to_owned(),
        NamedGroup::secp384r1 => "P-384".to_owned(),
        other => format!("{other:?}"),
    }
}

impl CertificateReport {
    fn new(tls: &TlsSession, now: Timestamp) -> Option<Self> {
        let chain = &tls.served.key().cert;
        let mut chain = chain
            .iter()
            .filter_map(|der| Certificate::from_der(der).ok());
        let leaf = chain.next()?;
        let life = leaf.lifetime().as_seconds_f64();
        let used = (now - leaf.not_before()).as_seconds_f64();
        Some(Self {
            names: leaf.names().iter().map(Identifier::to_unicode).collect(),
            subject: leaf.subject().to_owned(),
            issuer: leaf.issuer().to_owned(),
            serial: leaf.serial_hex(),
            sha256: leaf.fingerprint(),
            public_key: leaf.key_description().to_owned(),
            public_key_sha256: leaf.spki_sha256_hex(),
            signature: leaf.signature_description().to_owned(),
            not_before: rfc3339(leaf.not_before()),
            not_after: rfc3339(leaf.not_after()),
            remaining_seconds: (leaf.not_after() - now).whole_seconds(),
            life_used: if life > 0.0 {
                (used / life).clamp(0.0, 1.0)
            } else {
                1.0
            },
            chain: chain
                .map(|certificate| ChainReport::new(&certificate))
                .collect(),
        })
    }

    /// `12 days left`, `expired 3 hours ago`.
    fn left(&self) -> String {
        let left = Duration::seconds(self.remaining_seconds);
        if left.is_negative() {
            format!("expired {} ago", in_words(-left))
        } else {
            format!("{} left", in_words(left))
        }
    }
}

impl ChainReport {
    fn new(certificate: &Certificate) -> Self {
        Self {
            subject: certificate.subject().to_owned(),
            issuer: certificate.issuer().to_owned(),
            not_after: rfc3339(certificate.not_after()),
            sha256: certificate.fingerprint(),
        }
    }
}

/// The two largest units of a length of time.
fn in_words(length: Duration) -> String {
    let minutes = length.whole_minutes();
    let units = [
        ("year", 525_600),
        ("day", 1440),
        ("hour", 60),
        ("minute", 1),
    ];
    let Some(first) = units.iter().position(|(_, size)| minutes >= *size) else {
        return "less than a minute".to_owned();
    };
    let mut rest = minutes;
    let parts: Vec<String> = units[first..]
        .iter()
        .take(2)
        .filter_map(|(unit, size)| {
            let count = rest / size;
            rest %= size;
            let plural = if count == 1 { "" } else { "s" };
            (count > 0).then(|| format!("{count} {unit}{plural}"))
        })
        .collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_follows_accept() {
        for (accept, form) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", Form::Html),
            ("application/json", Form::Json),
            ("Application/JSON; q=1, text/html", Form::Json),
            ("*/*", Form::Words),
            ("", Form::Words),
            ("image/png", Form::Words),
        ] {
            let value = HeaderValue::from_static(accept);
            let headers = HeaderMap::from_iter([(ACCEPT, value)]);
            assert_eq!(Form::wanted(&headers), form, "{accept}");
        }
        assert_eq!(Form::wanted(&HeaderMap::new()), Form::Words);
    }

    #[test]
    fn lengths_of_time_have_two_units() {
        for (length, words) in [
            (Duration::days(3 * 365 + 20), "3 years 20 days"),
            (Duration::days(365), "1 year"),
            (Duration::days(6) + Duration::hours(4), "6 days 4 hours"),
            (Duration::days(1) + Duration::minutes(5), "1 day"),
            (Duration::minutes(61), "1 hour 1 minute"),
            (Duration::seconds(59), "less than a minute"),
        ] {
            assert_eq!(in_words(length), words);
        }
    }
}
