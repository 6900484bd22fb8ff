//! One line for each request, as text or JSON.
//!
//! Rules kept here: only what is named below is written, so no header that is a secret
//! can be (`Authorization`, `Cookie`); whatever a client chose is cut, and escaped so that
//! it begins no line and ends no field.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, REFERER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use rustls::ProtocolVersion;
use serde::Serialize;

use super::connection::Connection;
use crate::clock::{Timestamp, rfc3339};

/// Longest request target that is written, in bytes as the client sent them.
const TARGET: usize = 4096;

/// Longest host, referrer or user agent that is written.
const HEADER: usize = 512;

/// Longest method that is written; all that are registered are shorter.
const METHOD: usize = 32;

/// What the lines look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LineFormat {
    /// The combined format of Apache and nginx, and after it `name=value`.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A request that is being answered. What it holds is shared with the request.
#[derive(Debug)]
pub(super) struct Entry {
    method: Method,
    target: Uri,
    version: Version,
    host: Option<HeaderValue>,
    referrer: Option<HeaderValue>,
    agent: Option<HeaderValue>,
    connection: Arc<Connection>,
    /// Which upstream answers.
    pub(super) upstream: Option<String>,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome<'a> {
    /// `None` when the client left before there was an answer.
    pub(super) status: Option<u16>,
    pub(super) bytes: u64,
    pub(super) took: Duration,
    pub(super) listener: &'a str,
    pub(super) now: Timestamp,
}

impl Entry {
    pub(super) fn new<B>(request: &Request<B>, connection: &Arc<Connection>) -> Self {
        let headers = request.headers();
        Self {
            method: request.method().clone(),
            target: request.uri().clone(),
            version: request.version(),
            host: first(headers, &HOST),
            referrer: first(headers, &REFERER),
            agent: first(headers, &USER_AGENT),
            connection: Arc::clone(connection),
            upstream: None,
        }
    }

    /// The line, without its end.
    pub(super) fn to_line(&self, format: LineFormat, outcome: Outcome<'_>) -> String {
        let fields = self.fields(outcome);
        match format {
            LineFormat::Text => fields.text(),
            LineFormat::Json => {
                serde_json::to_string(&fields).expect("strings and numbers are JSON")
            }
        }
    }

    fn fields<'a>(&'a self, outcome: Outcome<'a>) -> Fields<'a> {
        let target = match self.target.path_and_query() {
            Some(target) => escaped(target.as_str().as_bytes(), TARGET),
            None => escaped(self.target.to_string().as_bytes(), TARGET),
        };
        let header =
            |value: &Option<HeaderValue>| value.as_ref().map(|v| escaped(v.as_bytes(), HEADER));
        let authority = self.target.authority();
        let host = authority.map(|host| escaped(host.as_str().as_bytes(), HEADER));
        Fields {
            moment: outcome.now,
            schema: "certmint.access/1",
            time: rfc3339(outcome.now),
            client: self.connection.peer.ip().to_string(),
            method: escaped(self.method.as_str().as_bytes(), METHOD),
            target,
            protocol: protocol(self.version),
            status: outcome.status,
            bytes: outcome.bytes,
            seconds: outcome.took.as_secs_f64(),
            host: host.or_else(|| header(&self.host)),
            referrer: header(&self.referrer),
            agent: header(&self.agent),
            tls: self.connection.tls.as_ref().map(|tls| version(tls.version)),
            listener: outcome.listener,
            upstream: self.upstream.as_deref(),
        }
    }
}

fn first(headers: &HeaderMap, name: &http::HeaderName) -> Option<HeaderValue> {
    headers.get(name).cloned()
}

#[derive(Serialize)]
struct Fields<'a> {
    #[serde(skip)]
    moment: Timestamp,
    schema: &'static str,
    time: String,
    client: String,
    method: String,
    target: String,
    protocol: &'static str,
    status: Option<u16>,
    bytes: u64,
    seconds: f64,
    host: Option<String>,
    referrer: Option<String>,
    agent: Option<String>,
    tls: Option<&'static str>,
    listener: &'a str,
    upstream: Option<&'a str>,
}

impl Fields<'_> {
    fn text(&self) -> String {
        let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let mut line = String::with_capacity(256);
        // nginx writes 499 for a client that left; programs that read this format know it.
        let status = self.status.unwrap_or(499);
        write!(
            line,
            "{} - - [{}] \"{} {} {}\" {status} {} \"{}\" \"{}\" \
             host=\"{}\" tls={} listener={} upstream={} seconds={:.6}",
            self.client,
            day_and_time(self.moment),
            self.method,
            self.target,
            self.protocol,
            self.bytes,
            or_none(&self.referrer),
            or_none(&self.agent),
            or_none(&self.host),
            self.tls.unwrap_or("-"),
            self.listener,
            self.upstream.unwrap_or("-"),
            self.seconds,
        )
        .expect("a string takes all");
        line
    }
}

/// `22/Nov/2026:08:00:00 +0000`.
fn day_and_time(moment: Timestamp) -> String {
    let moment = moment.to_offset(time::UtcOffset::UTC);
    let month: String = moment.month().to_string().chars().take(3).collect();
    format!(
        "{:02}/{month}/{:04}:{:02}:{:02}:{:02} +0000",
        moment.day(),
        moment.year(),
        moment.hour(),
        moment.minute(),
        moment.second()
    )
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP",
    }
}

fn version(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLS",
    }
}

/// `bytes` as printable ASCII without quotation marks, and as `\xHH` what is not; what
/// is longer than `max` ends in `...`.
fn escaped(bytes: &[u8], max: usize) -> String {
    let mut text = String::with_capacity(bytes.len().min(max));
    for &byte in bytes.iter().take(max) {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                write!(text, "\\x{byte:02X}").expect("a string takes all");
            }
            byte => text.push(char::from(byte)),
        }
    }
    if bytes.len() > max {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(request: &Request<()>, format: LineFormat) -> String {
        let client = "192.0.2.1:5".parse().unwrap();
        let connection = Connection::new("127.0.0.1:443".parse().unwrap(), client);
        let entry = Entry {
            upstream: Some("http://b:1".to_owned()),
            ..Entry::new(request, &Arc::new(connection))
        };
        let outcome = Outcome {
            status: Some(200),
            bytes: 12,
            took: Duration::from_micros(1500),
            listener: "127.0.0.1:443",
            now: Timestamp::UNIX_EPOCH,
        };
        entry.to_line(format, outcome)
    }

    #[test]
    fn a_line_is_the_combined_format_with_more_after_it() {
        let request = Request::get("/a?b=c")
            .header(HOST, "a.test")
            .header(USER_AGENT, "curl/8")
            .header("authorization", "Basic secret")
            .header("cookie", "secret")
            .body(())
            .unwrap();
        assert_eq!(
            line(&request, LineFormat::Text),
            "192.0.2.1 - - [01/Jan/1970:00:00:00 +0000] \"GET /a?b=c HTTP/1.1\" 200 12 \"-\" \
             \"curl/8\" host=\"a.test\" tls=- listener=127.0.0.1:443 upstream=http://b:1 \
             seconds=0.001500"
        );
        let json: serde_json::Value =
            serde_json::from_str(&line(&request, LineFormat::Json)).unwrap();
        assert_eq!(json["target"], "/a?b=c");
        assert_eq!(json["seconds"], 0.0015);
        assert_eq!(json["time"], "1970-01-01T00:00:00Z");
        assert!(!json.to_string().contains("secret"));
    }

    #[test]
    fn no_byte_of_a_client_begins_a_line_or_ends_a_field() {
        let every: Vec<u8> = (1..=255)
            .filter(|b| !matches!(b, 0..0x20 | 0x7f) || *b == b'\t')
            .collect();
        let hostile = HeaderValue::from_bytes(&every).unwrap();
        let request = Request::builder()
            .method(Method::from_bytes("X".repeat(9000).as_bytes()).unwrap())
            .uri("/%0a'{}")
            .header(HOST, hostile.clone())
            .header(USER_AGENT, hostile.clone())
            .header(REFERER, "x".repeat(60_000))
            .body(())
            .unwrap();
        for format in [LineFormat::Text, LineFormat::Json] {
            let line = line(&request, format);
            assert!(line.bytes().all(|b| (0x20..0x7f).contains(&b)), "{line}");
            assert!(line.len() < 8000, "{}", line.len());
        }
        let text = line(&request, LineFormat::Text);
        // Of the combined format and `host`, and no other.
        assert_eq!(text.matches('"').count(), 8, "{text}");
        assert_eq!(escaped(b"\n\r\0\"\\\xff", 9), r"\x0A\x0D\x00\x22\x5C\xFF");
        assert_eq!(escaped(b"abcd", 3), "abc...");
    }
}
