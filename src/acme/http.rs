//! One run of talking to one CA: its directory, its nonces, and their bounds.
//!
//! Rules kept here: a nonce is used once; a URL is followed only when it is https on
//! a host that the directory names; no run makes more requests or takes longer than
//! its [`Limits`].

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, HeaderMap, HeaderValue, LINK, LOCATION, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::Bytes;
use serde::de::DeserializeOwned;
use time::format_description::well_known::Rfc2822;
use tokio::time::Instant;
use url::Url;

use super::error::AcmeError;
use super::wire::{Endpoints, Problem};
use crate::clock::{Clock, Duration as Span, Timestamp};
use crate::identifier::{quoted, quoted_within};
use crate::issuer::BoxFuture;
use crate::issuer::Directory;
use crate::net::http::{HttpClient as NetClient, HttpError};

/// Carries a request to the CA and its answer back; a fake stands in for it in tests.
///
/// The answer is whole, whatever its status; its length and the time it takes are
/// bounded by the implementation.
pub trait HttpClient: Send + Sync + fmt::Debug {
    /// Sends one request.
    fn send<'a>(
        &'a self,
        request: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, HttpError>>;
}

impl HttpClient for NetClient {
    fn send<'a>(
        &'a self,
        request: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        Box::pin(Self::send(self, request))
    }
}

/// What one run may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the directory to the certificate.
    pub total: Duration,
    /// Requests of any kind.
    pub requests: u32,
    /// Longest wait that the CA may ask for; beyond it the run ends with an error
    /// that says when to come back.
    pub wait: Duration,
    /// Failures in a row of one request that are taken for passing ones.
    pub failures: u32,
    /// Refused nonces in a row; at 50 % refusal one run in 10⁶ meets this.
    pub nonces: u32,
    /// First wait between looks at an order; after a failure, five times as long.
    pub first_delay: Duration,
    /// Longest wait that is not the CA's wish.
    pub last_delay: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total: Duration::from_secs(600),
            requests: 200,
            wait: Duration::from_secs(60),
            failures: 5,
            nonces: 20,
            first_delay: Duration::from_millis(50),
            last_delay: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// Requests that each name may add to a run.
    const PER_NAME: u32 = 40;

    /// The same, for an order of `names` names.
    #[must_use]
    pub(crate) fn for_names(self, names: usize) -> Self {
        let names = u32::try_from(names).unwrap_or(u32::MAX);
        let requests = names.saturating_mul(Self::PER_NAME);
        Self {
            requests: self.requests.saturating_add(requests),
            ..self
        }
    }
}

/// One run of talking to one CA; clones are the same run.
#[derive(Debug, Clone)]
pub struct Session {
    run: Arc<Run>,
    endpoints: Arc<Endpoints>,
    origins: Arc<BTreeSet<String>>,
}

/// What all clones of a session share.
#[derive(Debug)]
struct Run {
    http: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    started: Instant,
    spent: AtomicU32,
    nonces: Mutex<Vec<String>>,
}

impl Session {
    /// Most nonces kept for later.
    const MAX_NONCES: usize = 32;

    /// Begins a run by reading the directory.
    pub async fn open(
        http: Arc<dyn HttpClient>,
        directory: &Directory,
        limits: Limits,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AcmeError> {
        let session = Self::begin(http, directory, limits, clock);
        let endpoints: Endpoints = session
            .fetch("read the directory", directory.url().as_str())
            .await?;
        session.adopt(endpoints)
    }

    /// Begins a run with a directory that was read a while ago.
    pub(crate) fn resume(
        http: Arc<dyn HttpClient>,
        directory: &Directory,
        endpoints: &Endpoints,
        limits: Limits,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AcmeError> {
        Self::begin(http, directory, limits, clock).adopt(endpoints.clone())
    }

    fn begin(
        http: Arc<dyn HttpClient>,
        directory: &Directory,
        limits: Limits,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            run: Arc::new(Run {
                http,
                clock,
                limits,
                started: Instant::now(),
                spent: AtomicU32::new(0),
                nonces: Mutex::default(),
            }),
            endpoints: Arc::default(),
            origins: Arc::new(BTreeSet::from([origin(directory.url())])),
        }
    }

    /// The hosts that the directory names are the CA's too.
    fn adopt(self, mut endpoints: Endpoints) -> Result<Self, AcmeError> {
        let mut origins = (*self.origins).clone();
        for text in endpoints.urls() {
            let url = followable(text).ok_or_else(|| AcmeError::ForeignUrl(quoted(text)))?;
            origins.insert(origin(&url));
            *text = url.into();
        }
        // What is asked about is appended with a slash of its own.
        if let Some(base) = &mut endpoints.renewal_info {
            base.truncate(base.trim_end_matches('/').len());
        }
        Ok(Self {
            run: self.run,
            endpoints: Arc::new(endpoints),
            origins: Arc::new(origins),
        })
    }

    /// What the CA offers.
    pub fn endpoints(&self) -> &Arc<Endpoints> {
        &self.endpoints
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.run.limits
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.run.clock.now()
    }

    /// When the run must have ended.
    pub(crate) fn deadline(&self) -> Instant {
        self.run.started + self.run.limits.total
    }

    /// `text` as a URL that may be followed.
    pub(crate) fn url(&self, text: &str) -> Result<Url, AcmeError> {
        followable(text)
            .filter(|url| self.origins.contains(&origin(url)))
            .ok_or_else(|| AcmeError::ForeignUrl(quoted(text)))
    }

    /// Reads an object that needs no signature.
    async fn fetch<T: DeserializeOwned>(
        &self,
        action: &'static str,
        url: &str,
    ) -> Result<T, AcmeError> {
        let url = self.url(url)?;
        let mut attempts = self.attempts(action);
        loop {
            let request = Self::request(Method::GET, uri(&url), Bytes::new());
            let answer = self.exchange(action, request).await;
            let read = answer.and_then(|answer| answer.json(action));
            if let Some(object) = attempts.settle(read).await? {
                return Ok(object);
            }
        }
    }

    /// A nonce that was not used yet.
    pub(crate) async fn nonce(&self) -> Result<String, AcmeError> {
        if let Some(nonce) = self.stock().pop() {
            return Ok(nonce);
        }
        let url = self.url(&self.endpoints.new_nonce)?;
        let request = Self::request(Method::HEAD, uri(&url), Bytes::new());
        self.exchange("get a nonce", request).await?;
        self.stock().pop().ok_or(AcmeError::NoNonce)
    }

    fn stock(&self) -> MutexGuard<'_, Vec<String>> {
        let nonces = self.run.nonces.lock();
        nonces.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn request(method: Method, url: Uri, body: Bytes) -> Request<Bytes> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = url;
        let any = HeaderValue::from_static("*/*");
        request.headers_mut().insert(ACCEPT, any);
        request
    }

    /// One request and its answer; an error status is an error.
    pub(crate) async fn exchange(
        &self,
        action: &'static str,
        request: Request<Bytes>,
    ) -> Result<Answer, AcmeError> {
        let most = self.run.limits.requests;
        if self.run.spent.fetch_add(1, Ordering::Relaxed) >= most {
            return Err(AcmeError::TooManyRequests(most));
        }
        let url = request.uri().to_string();
        let sent = tokio::time::timeout_at(self.deadline(), self.run.http.send(request)).await;
        let (parts, body) = sent
            .map_err(|_| self.late(action))?
            .map_err(|source| AcmeError::Unanswered { action, source })?
            .into_parts();
        tracing::debug!(action, status = parts.status.as_u16(), "the CA answered");
        if let Some(nonce) = nonce_in(&parts.headers) {
            let mut stock = self.stock();
            if stock.len() < Self::MAX_NONCES {
                stock.push(nonce);
            }
        }
        let answer = Answer {
            url,
            retry_after: retry_after(&parts.headers, self.now()),
            headers: parts.headers,
            body,
        };
        if parts.status.is_success() {
            Ok(answer)
        } else {
            Err(answer.refusal(action, parts.status))
        }
    }

    pub(crate) fn late(&self, action: &'static str) -> AcmeError {
        AcmeError::Deadline {
            action,
            after: self.run.started.elapsed(),
        }
    }
}

/// A successful answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    url: String,
    headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) retry_after: Option<Timestamp>,
}

impl Answer {
    /// Most links read.
    const MAX_LINKS: usize = 10;

    /// The body as a JSON object.
    pub(crate) fn json<T: DeserializeOwned>(&self, action: &'static str) -> Result<T, AcmeError> {
        serde_json::from_slice(&self.body).map_err(|e| AcmeError::Malformed {
            action,
            reason: quoted_within(&e.to_string(), 200),
        })
    }

    /// The URL of what was made, or is to be had elsewhere.
    pub(crate) fn location(&self) -> Option<String> {
        let text = self.headers.get(LOCATION)?.to_str().ok()?;
        let base = Url::parse(&self.url).ok()?;
        base.join(text).ok().map(String::from)
    }

    /// The targets of the links of relation `relation` (RFC 8288).
    pub(crate) fn links(&self, relation: &str) -> Vec<String> {
        let lines = self.headers.get_all(LINK).iter();
        let values = lines.filter_map(|line| line.to_str().ok());
        let links = values.flat_map(|line| line.split(','));
        let matching = links.filter_map(|link| {
            let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
            let named = parameters.split(';').any(|parameter| {
                parameter
                    .trim()
                    .strip_prefix("rel=")
                    .is_some_and(|value| value.trim_matches('"') == relation)
            });
            let base = Url::parse(&self.url).ok()?;
            named.then(|| base.join(target).ok().map(String::from))?
        });
        matching.take(Self::MAX_LINKS).collect()
    }

    fn refusal(self, action: &'static str, status: StatusCode) -> AcmeError {
        let retry_after = self.retry_after;
        let status = status.as_u16();
        match serde_json::from_slice::<Problem>(&self.body) {
            Ok(problem) => AcmeError::Refused {
                action,
                status,
                problem: Box::new(problem),
                retry_after,
            },
            Err(_) => AcmeError::BadStatus {
                action,
                status,
                retry_after,
            },
        }
    }
}

impl Endpoints {
    fn urls(&mut self) -> impl Iterator<Item = &mut String> {
        let optional = [
            &mut self.revoke_cert,
            &mut self.key_change,
            &mut self.renewal_info,
        ];
        [
            &mut self.new_nonce,
            &mut self.new_account,
            &mut self.new_order,
        ]
        .into_iter()
        .chain(optional.into_iter().flatten())
    }
}

/// `text` as an https URL that can be asked for.
fn followable(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    // What `url` takes, `http` takes, but for a few characters.
    (url.scheme() == "https" && Uri::from_str(url.as_str()).is_ok()).then_some(url)
}

/// A URL that was found followable; what is none is refused below us.
pub(crate) fn uri(url: &Url) -> Uri {
    Uri::from_str(url.as_str()).unwrap_or_default()
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// A nonce, if there is one that is as RFC 8555 §6.5.1 has it.
fn nonce_in(headers: &HeaderMap) -> Option<String> {
    const MAX: usize = 1024;
    let text = headers.get("replay-nonce")?.to_str().ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    ((1..=MAX).contains(&text.len()) && text.bytes().all(plain)).then(|| text.to_owned())
}

/// The moment that `Retry-After` names, as seconds or as a date (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    /// Nobody asks for more in earnest.
    const MAX_SECONDS: i64 = 90 * 24 * 3600;
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let moment = if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        let seconds = text.parse().unwrap_or(MAX_SECONDS).min(MAX_SECONDS);
        now + Span::seconds(seconds)
    } else {
        Timestamp::parse(text, &Rfc2822).ok()?
    };
    Some(moment.min(now + Span::seconds(MAX_SECONDS)))
}

/// How long until `moment`; nothing when it has passed.
pub(crate) fn from_now(moment: Timestamp, now: Timestamp) -> Duration {
    (moment - now).try_into().unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.append(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_capped() {
        let now = Timestamp::from_unix_timestamp(784_111_777).unwrap();
        for (text, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("99999999999999999999", Some(90 * 24 * 3600)),
            ("Sun, 06 Nov 2094 08:50:37 GMT", Some(90 * 24 * 3600)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(-2977)),
            ("", None),
            ("-5", None),
            ("soon", None),
        ] {
            let read = retry_after(&headers("retry-after", text), now);
            assert_eq!(read.map(|m| (m - now).whole_seconds()), seconds, "{text}");
        }
    }

    #[test]
    fn links_are_resolved_and_told_apart_by_relation() {
        let mut map = headers("link", "<https://ca.test/dir>;rel=\"index\"");
        map.append(
            "link",
            "</c/1/1>; rel=\"alternate\", <2>;rel=alternate, <x>"
                .parse()
                .unwrap(),
        );
        let answer = Answer {
            url: "https://ca.test/c/1".to_owned(),
            headers: map,
            body: Bytes::new(),
            retry_after: None,
        };
        assert_eq!(
            answer.links("alternate"),
            ["https://ca.test/c/1/1", "https://ca.test/c/2"]
        );
        assert_eq!(answer.links("up"), [""; 0]);
    }

    #[test]
    fn hostile_nonces_are_no_nonces() {
        for (text, good) in [
            ("abc-_19", true),
            ("", false),
            ("a b", false),
            ("a\"}", false),
            (&"a".repeat(2000), false),
        ] {
            assert_eq!(
                nonce_in(&headers("replay-nonce", text)).is_some(),
                good,
                "{text}"
            );
        }
    }
}
