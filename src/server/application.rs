//! An application behind a listener: it gets whole requests, and its answers are sent.
//!
//! Rules kept here: a body is read up to a cap and within a deadline before the
//! application sees the request; the request names its host in one way, whatever
//! version of HTTP it came by; all other duties of a server are done around it.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONNECTION, EXPECT, HOST, HeaderValue};
use http::uri::Authority;
use http::{Request, Response, StatusCode, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes, Incoming};

use super::body::Body;
use super::connection::Connection;
use super::gate::{Gate, Refusal};
use super::respond::{NO_STORE, Words, linger, text};
use crate::settings::Limits;

/// Whoever answers the requests of a listener in place of its content.
///
/// A request comes with its body whole, its target as a path, and the host asked for in
/// its one `Host` header, if there is any. HEAD comes as HEAD; the body of the answer is
/// left away for it.
pub trait Application: Send + Sync + fmt::Debug {
    /// Longest body of a request, in bytes; a longer one is answered with 413. The
    /// listener's own limit holds as well.
    fn max_body(&self) -> u64;

    /// Answers one request of the client at `from`. Dropped when the client leaves.
    fn answer(
        &self,
        request: Request<Bytes>,
        from: IpAddr,
    ) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send + '_>>;

    /// The application's own words for a request that the listener refuses with `status`,
    /// because of `reason`, so that its clients understand it; `None` leaves it to the
    /// listener. `host` is what was asked for, where it is one of ours. The headers that
    /// the listener has for it are kept.
    fn refuse(
        &self,
        status: StatusCode,
        reason: &str,
        host: Option<&Authority>,
    ) -> Option<Response<Bytes>> {
        let _ = (status, reason, host);
        None
    }
}

/// An application within the limits of its listener.
#[derive(Debug)]
pub(super) struct Hosted {
    application: Arc<dyn Application>,
    /// Longest body, in bytes.
    body: u64,
    /// How long the whole of a body may take.
    within: Duration,
}

/// Why a body is not there.
enum Missing {
    /// It is longer than it may be; what is left of it.
    TooLong(Incoming),
    /// It did not come in time.
    Late,
    /// The client broke off.
    Broken,
}

impl Hosted {
    pub(super) fn new(application: Arc<dyn Application>, limits: &Limits) -> Self {
        Self {
            body: application.max_body().min(limits.body),
            within: limits.stall,
            application,
        }
    }

    pub(super) async fn respond(
        &self,
        request: Request<Incoming>,
        host: Option<Authority>,
        connection: &Connection,
        gate: &Gate,
    ) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let version = parts.version;
        // A client that expects 100 has not sent its body yet, and need not; one that
        // speaks HTTP/2 may think otherwise.
        let waits = parts.headers.contains_key(EXPECT) && version != Version::HTTP_2;
        let body = match self.read(body).await {
            Ok(body) => body,
            Err(Missing::TooLong(rest)) => {
                if !waits {
                    linger(rest);
                }
                return gate.refuse(Refusal::BodyTooLong, version);
            }
            Err(Missing::Late) => return broken(StatusCode::REQUEST_TIMEOUT, version),
            Err(Missing::Broken) => return broken(StatusCode::BAD_REQUEST, version),
        };
        let path = parts.uri.path_and_query().cloned();
        parts.uri = path.map(Uri::from).unwrap_or_default();
        parts.headers.remove(HOST);
        if let Some(host) = host.and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
            parts.headers.insert(HOST, host);
        }
        let request = Request::from_parts(parts, body);
        let answer = self.application.answer(request, connection.peer.ip()).await;
        answer.map(|bytes| match bytes.is_empty() {
            true => Body::empty(),
            false => Body::bytes(bytes),
        })
    }

    /// A refusal of the listener in the words of the application; other answers as they
    /// are.
    pub(super) fn in_its_words(
        &self,
        answer: Response<Body>,
        host: Option<&Authority>,
    ) -> Response<Body> {
        let Some(Words(reason)) = answer.extensions().get() else {
            return answer;
        };
        let host = host.filter(|_| answer.status() != StatusCode::MISDIRECTED_REQUEST);
        let worded = self.application.refuse(answer.status(), reason, host);
        let Some(worded) = worded else {
            return answer;
        };
        let (words, body) = worded.into_parts();
        let mut answer = answer.map(|_| Body::bytes(body));
        answer.headers_mut().extend(words.headers);
        answer
    }

    async fn read(&self, mut body: Incoming) -> Result<Bytes, Missing> {
        if body.size_hint().lower() > self.body {
            return Err(Missing::TooLong(body));
        }
        let reading = async {
            let mut whole = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| Missing::Broken)?;
                let Ok(part) = frame.into_data() else {
                    continue;
                };
                if (whole.len() + part.len()) as u64 > self.body {
                    return Ok(None);
                }
                whole.extend_from_slice(&part);
            }
            Ok(Some(Bytes::from(whole)))
        };
        match tokio::time::timeout(self.within, reading).await {
            Ok(Ok(Some(whole))) => Ok(whole),
            Ok(Ok(None)) => Err(Missing::TooLong(body)),
            Ok(Err(missing)) => Err(missing),
            Err(_) => Err(Missing::Late),
        }
    }
}

/// The answer to a body that did not come.
fn broken(status: StatusCode, version: Version) -> Response<Body> {
    let mut response = text(status, "the body of the request did not come");
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, NO_STORE);
    if version != Version::HTTP_2 {
        // What comes of it later is in the way of the next request.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
