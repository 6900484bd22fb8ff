//! The reverse proxy: one HTTP server behind this one.
//!
//! Rules kept here: bodies stream both ways and are never held; what belongs to a
//! connection ends at it (RFC 9110 §7.6.1), so a request is framed anew for the
//! upstream whatever the client's framing was; `Host` goes on as the client sent
//! it, and who the client is, only we say; a connection becomes a tunnel only
//! after the upstream agreed with 101, and never when the request has a body.

mod headers;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, HOST, HeaderValue, TE, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::upgrade::OnUpgrade;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::{Instant, Sleep, timeout_at};

use super::Tasks;
use super::body::{Body, BodyError};
use super::connection::Connection;
use super::respond::text;
use super::throttle::Throttle;
use crate::finding::words::causes;
use crate::settings::{Limits, Upstream};
use headers::{join_cookies, set_forwarded, take_hop_by_hop};

/// How long an unused connection to the upstream is kept.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// Most unused connections to the upstream that are kept.
const POOL_SIZE: usize = 256;

/// When the kernel begins to ask whether a silent upstream is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How often an upstream's failure is logged.
const SAY_AGAIN: Duration = Duration::from_secs(5);

/// Forwards requests to one upstream.
#[derive(Debug)]
pub(super) struct Proxy {
    upstream: Upstream,
    client: Client<HttpConnector, Outgoing>,
    answer: Duration,
    stall: Duration,
    trouble: Throttle,
    tasks: Tasks,
}

impl Proxy {
    pub(super) fn new(upstream: Upstream, limits: &Limits, tasks: &Tasks) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(limits.upstream_connect));
        connector.set_nodelay(true);
        connector.set_keepalive(Some(KEEPALIVE));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_SIZE)
            .set_host(false)
            .build(connector);
        Self {
            upstream,
            client,
            answer: limits.upstream_answer,
            stall: limits.stall,
            trouble: Throttle::new(SAY_AGAIN),
            tasks: tasks.clone(),
        }
    }

    /// Answers with what the upstream answers, or says why it cannot.
    pub(super) async fn respond(
        &self,
        mut request: Request<Incoming>,
        host: Option<Authority>,
        connection: &Connection,
    ) -> Response<Body> {
        let Some(uri) = self.uri(request.uri()) else {
            let words = "the path leads out of what is served here";
            return text(StatusCode::BAD_REQUEST, words);
        };
        let client_side = self.prepare(&mut request, uri, host.as_ref(), connection);
        let (parts, body) = request.into_parts();
        let progress = Arc::new(Progress::new());
        let body = Outgoing::new(body, self.stall, &progress);
        let request = Request::from_parts(parts, body);
        match self.ask(request, &progress).await {
            Ok(response) => self.pass_back(response, client_side),
            Err(failure) => self.refuse(&failure),
        }
    }

    /// The upstream's URL for what the client asked for.
    fn uri(&self, asked: &Uri) -> Option<Uri> {
        let path = asked.path_and_query()?;
        let prefix = self.upstream.prefix();
        let path = if prefix.is_empty() {
            path.clone()
        } else if has_dot_segment(path.path()) {
            // The upstream would resolve it, and leave the prefix.
            return None;
        } else {
            PathAndQuery::try_from(format!("{prefix}{path}")).ok()?
        };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.upstream.authority().clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).ok()
    }

    /// Makes the client's request ours. Returns the client's side of the tunnel
    /// when it asks for one.
    fn prepare(
        &self,
        request: &mut Request<Incoming>,
        uri: Uri,
        host: Option<&Authority>,
        connection: &Connection,
    ) -> Option<OnUpgrade> {
        let one_one = request.version() == Version::HTTP_11;
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        let hop = take_hop_by_hop(request.headers_mut());
        let upgrade = hop
            .upgrade
            .filter(|protocol| one_one && request.body().is_end_stream() && !is_h2c(protocol));
        set_forwarded(request.headers_mut(), connection, host);
        let host = host.unwrap_or_else(|| self.upstream.authority());
        if let Ok(host) = HeaderValue::from_str(host.as_str()) {
            request.headers_mut().insert(HOST, host);
        }
        join_cookies(request.headers_mut());
        if let Some(protocol) = upgrade {
            let client_side = hyper::upgrade::on(&mut *request);
            let headers = request.headers_mut();
            headers.insert(UPGRADE, protocol);
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            return Some(client_side);
        }
        if hop.trailers {
            let headers = request.headers_mut();
            headers.insert(TE, HeaderValue::from_static("trailers"));
            // RFC 9110 §10.1.4: whoever sends TE also names it.
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
        None
    }

    /// Sends the request and waits for the header of the answer. The wait begins
    /// anew with each part of the client's body that the upstream took, and stands
    /// still while we wait for the client.
    async fn ask(
        &self,
        request: Request<Outgoing>,
        progress: &Progress,
    ) -> Result<Response<Incoming>, Failure> {
        let mut answer = pin!(self.client.request(request));
        let mut deadline = Instant::now() + self.answer;
        loop {
            match timeout_at(deadline, answer.as_mut()).await {
                Ok(answered) => return answered.map_err(Failure::from),
                Err(_) => {
                    let now = Instant::now();
                    let waited_since = progress.handed_over().unwrap_or(now);
                    deadline = waited_since + self.answer;
                    if deadline <= now {
                        return Err(Failure::Slow);
                    }
                }
            }
        }
    }

    fn pass_back(
        &self,
        mut response: Response<Incoming>,
        client_side: Option<OnUpgrade>,
    ) -> Response<Body> {
        *response.version_mut() = Version::HTTP_11;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let protocol = response.headers().get(UPGRADE).cloned();
            let (Some(client_side), Some(protocol)) = (client_side, protocol) else {
                return self.refuse(&Failure::Unasked);
            };
            let upstream_side = hyper::upgrade::on(&mut response);
            self.tunnel(client_side, upstream_side);
            take_hop_by_hop(response.headers_mut());
            let headers = response.headers_mut();
            headers.insert(UPGRADE, protocol);
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            return response.map(|_| Body::empty());
        }
        take_hop_by_hop(response.headers_mut());
        response.map(Body::upstream)
    }

    /// Carries bytes both ways until both sides have closed.
    fn tunnel(&self, client_side: OnUpgrade, upstream_side: OnUpgrade) {
        let carry = async move {
            let (client, upstream) = match tokio::try_join!(client_side, upstream_side) {
                Ok(sides) => sides,
                Err(error) => {
                    return tracing::debug!("no tunnel came about: {}", causes(&error));
                }
            };
            let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
            let carried = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
            if let Err(error) = carried {
                tracing::debug!("a tunnel ended: {error}");
            }
        };
        self.tasks.spawn(carry);
    }

    /// Tells the client in general and the log in particular.
    fn refuse(&self, failure: &Failure) -> Response<Body> {
        if let Failure::Client(error) = failure {
            tracing::debug!("a client did not finish its request: {}", causes(error));
            return text(
                StatusCode::REQUEST_TIMEOUT,
                "the body of the request did not arrive",
            );
        }
        if let Some(more) = self.trouble.admit() {
            tracing::warn!(
                upstream = %self.upstream,
                cause = %causes(failure),
                unlogged = more,
                "a request failed at the upstream"
            );
        }
        match failure {
            Failure::Slow => text(
                StatusCode::GATEWAY_TIMEOUT,
                "the server behind this one takes too long",
            ),
            Failure::Unreachable(_) => text(
                StatusCode::BAD_GATEWAY,
                "the server behind this one cannot be reached",
            ),
            Failure::Client(_) | Failure::Broken(_) | Failure::Unasked => text(
                StatusCode::BAD_GATEWAY,
                "the server behind this one did not give a usable answer",
            ),
        }
    }
}

/// Whether an upstream could read a part of `path` as `..`.
fn has_dot_segment(path: &str) -> bool {
    path.split(['/', '\\']).any(|segment| {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        plain == ".." || plain.contains("%2f") && plain.contains("..") || plain.contains("..%5c")
    })
}

/// HTTP/2 by upgrade would carry requests past us.
fn is_h2c(protocol: &HeaderValue) -> bool {
    protocol.to_str().map_or(true, |names| {
        names
            .split(',')
            .any(|name| name.trim().to_ascii_lowercase().starts_with("h2c"))
    })
}

/// Why the upstream's answer is not passed back.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// No connection could be made.
    #[error("no connection")]
    Unreachable(#[source] ClientError),
    /// The client stopped sending its body.
    #[error("the client's body ended early")]
    Client(#[source] ClientError),
    /// It was there, but what it said is not an answer.
    #[error("no usable answer")]
    Broken(#[source] ClientError),
    /// It said nothing for too long.
    #[error("no answer in time")]
    Slow,
    /// It changed protocols, and nobody had asked.
    #[error("101 without having been asked to change protocols")]
    Unasked,
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        if error.is_connect() {
            Self::Unreachable(error)
        } else if is_client_fault(&error) {
            Self::Client(error)
        } else {
            Self::Broken(error)
        }
    }
}

fn is_client_fault(error: &ClientError) -> bool {
    let mut below: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = below {
        if cause.is::<BodyError>() {
            return true;
        }
        below = cause.source();
    }
    false
}

/// Whose turn it is while a body is sent.
#[derive(Debug)]
struct Progress {
    start: Instant,
    /// When the upstream took the last part, in milliseconds after `start`;
    /// [`Self::CLIENT`] while the client owes the next.
    handed_over: AtomicU64,
}

impl Progress {
    const CLIENT: u64 = u64::MAX;

    fn new() -> Self {
        Self {
            start: Instant::now(),
            handed_over: AtomicU64::new(0),
        }
    }

    /// Since when the upstream is to answer or to take more; `None` while the
    /// client is the one we wait for.
    fn handed_over(&self) -> Option<Instant> {
        match self.handed_over.load(Ordering::Relaxed) {
            Self::CLIENT => None,
            millis => Some(self.start + Duration::from_millis(millis)),
        }
    }

    fn upstreams_turn(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(0);
        self.handed_over.store(millis, Ordering::Relaxed);
    }

    fn clients_turn(&self) {
        self.handed_over.store(Self::CLIENT, Ordering::Relaxed);
    }
}

/// The client's body on its way to the upstream. Ends with an error when the
/// client sends nothing for too long.
#[derive(Debug)]
struct Outgoing {
    body: Incoming,
    stall: Duration,
    /// Runs while we wait for the client; most requests never need it.
    timer: Option<Pin<Box<Sleep>>>,
    progress: Arc<Progress>,
}

impl Outgoing {
    fn new(body: Incoming, stall: Duration, progress: &Arc<Progress>) -> Self {
        Self {
            body,
            stall,
            timer: None,
            progress: Arc::clone(progress),
        }
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.timer = None;
            self.progress.upstreams_turn();
            return Poll::Ready(frame.map(|f| f.map_err(|e| BodyError(e.into()))));
        }
        self.progress.clients_turn();
        let stall = self.stall;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
        timer.as_mut().poll(cx).map(|()| {
            let words = "the client sent nothing for too long";
            Some(Err(BodyError(words.into())))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(upstream: &str) -> Proxy {
        Proxy::new(
            upstream.parse().unwrap(),
            &Limits::default(),
            &Tasks::default(),
        )
    }

    #[tokio::test]
    async fn the_prefix_comes_before_every_path_and_cannot_be_left() {
        let plain = proxy("http://up.test:3000");
        let below = proxy("http://up.test:3000/api/");
        for (asked, at_plain, at_below) in [
            ("/", Some("/"), Some("/api/")),
            (
                "/a/b?c=%2e%2e",
                Some("/a/b?c=%2e%2e"),
                Some("/api/a/b?c=%2e%2e"),
            ),
            ("/a..b/...", Some("/a..b/..."), Some("/api/a..b/...")),
            // bad values: an upstream without a prefix has nothing to leave
            ("/../x", Some("/../x"), None),
            ("/a/%2E%2e/x", Some("/a/%2E%2e/x"), None),
            ("/.%2e", Some("/.%2e"), None),
            ("/..%2fx", Some("/..%2fx"), None),
            ("/..%5cx", Some("/..%5cx"), None),
        ] {
            let asked: Uri = asked.parse().unwrap();
            let of = |proxy: &Proxy| {
                let uri = proxy.uri(&asked)?;
                assert_eq!(uri.authority().unwrap(), "up.test:3000");
                Some(uri.path_and_query().unwrap().to_string())
            };
            assert_eq!(of(&plain).as_deref(), at_plain, "{asked}");
            assert_eq!(of(&below).as_deref(), at_below, "{asked}");
        }
    }

    #[test]
    fn http2_by_upgrade_is_no_tunnel() {
        for (protocol, refused) in [
            ("websocket", false),
            ("custom/1", false),
            ("h2c", true),
            ("websocket, H2C", true),
        ] {
            assert_eq!(is_h2c(&HeaderValue::from_static(protocol)), refused);
        }
    }
}
