//! The reverse proxy: HTTP servers behind this one.
//!
//! Rules kept here: bodies stream both ways and are never held; what belongs to a
//! connection ends at it (RFC 9110 §7.6.1), so a request is framed anew for the
//! upstream whatever the client's framing was, and so is its answer; `Host` goes on
//! as the client sent it, and who the client is, only we say; a connection becomes a
//! tunnel only after the upstream agreed with 101, and never when the request has a
//! body; a request goes out a second time only when it cannot have been acted upon,
//! or when that does no harm.

mod backend;
mod body;
mod failure;
mod headers;
mod health;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};

use super::body::Body;
use super::connection::Connection;
use super::respond::{linger, text};
use super::{ServerError, Tasks};
use crate::finding::words::causes;
use crate::net::roots::Roots;
use crate::settings::{Limits, Upstream, UpstreamProtocol};
use backend::{Backend, Channel, Lease, UpstreamTls};
pub(super) use body::Answer;
use body::{Outgoing, Progress};
use failure::{Attempt, Broken, Failure, refuse};
pub(super) use headers::Forwarding;
use headers::{
    has_token, host_value, is_chunked_alone, join_cookies, set_forwarded, take_hop_by_hop,
};
use health::Standing;

/// Forwards requests to one of the upstreams.
#[derive(Debug)]
pub(super) struct Proxy {
    upstream: Upstream,
    backends: Vec<Arc<Backend>>,
    /// Whose turn it is among those that are equally good.
    turn: AtomicUsize,
    answer: Duration,
    stall: Duration,
    /// Longest body of a request, in bytes.
    longest: u64,
    tasks: Tasks,
}

/// What a client asked for, whichever upstream is going to answer.
#[derive(Debug)]
struct Asked {
    path: PathAndQuery,
    host: Option<Authority>,
    /// The protocols to change to.
    upgrade: Option<HeaderValue>,
    /// The client takes trailers.
    trailers: bool,
}

impl Proxy {
    pub(super) fn new(
        upstream: Upstream,
        limits: &Limits,
        tasks: &Tasks,
    ) -> Result<Self, ServerError> {
        let is_tls = |protocol| protocol == UpstreamProtocol::Https;
        let tls = if upstream.servers().iter().any(|s| is_tls(s.protocol())) {
            let file = upstream.roots().map(|path| Roots::File(path.to_owned()));
            let roots = file.unwrap_or_default().load();
            let roots = roots.map_err(ServerError::UpstreamRoots)?;
            Some(UpstreamTls::new(roots).map_err(super::TlsError::Library)?)
        } else {
            None
        };
        let backends = upstream.servers().iter().map(|server| {
            let tls = tls.clone().filter(|_| is_tls(server.protocol()));
            let backend = Backend::new(server.clone(), limits.upstream_connect, tls);
            Arc::new(backend)
        });
        Ok(Self {
            backends: backends.collect(),
            upstream,
            turn: AtomicUsize::new(0),
            answer: limits.upstream_answer,
            stall: limits.stall,
            longest: limits.body,
            tasks: tasks.clone(),
        })
    }

    /// Answers with what an upstream answers, or says why none can.
    pub(super) async fn respond(
        &self,
        mut request: Request<Incoming>,
        host: Option<Authority>,
        connection: &Connection,
    ) -> Response<Body> {
        if !is_chunked_alone(request.headers()) {
            // The body would reach the upstream without what says how to read it.
            let words = "only the transfer coding `chunked` is understood here";
            let mut refusal = text(StatusCode::NOT_IMPLEMENTED, words);
            let close = HeaderValue::from_static("close");
            refusal.headers_mut().insert(CONNECTION, close);
            return refusal;
        }
        let Some(path) = self.path(request.uri()) else {
            let words = "the path leads out of what is served here";
            return text(StatusCode::BAD_REQUEST, words);
        };
        let asked = self.prepare(&mut request, path, host, connection);
        let client_side = asked
            .upgrade
            .is_some()
            .then(|| hyper::upgrade::on(&mut request));
        let version = request.version();
        let (parts, body) = request.into_parts();
        let progress = Arc::new(Progress::new());
        let body = Outgoing::new(body, self.stall, self.longest, &progress);
        let mut request = Some(Request::from_parts(parts, body));
        let answered = self.ask(&mut request, &asked, &progress).await;
        let passed = answered
            .and_then(|(response, lease)| self.pass_back(response, lease, &asked, client_side));
        passed.unwrap_or_else(|failure| {
            if let Some(rest) = progress.surplus() {
                linger(rest);
            }
            refuse(&failure, version)
        })
    }

    /// What the client asked for, unless it would leave an upstream's prefix.
    fn path(&self, asked: &Uri) -> Option<PathAndQuery> {
        let path = asked.path_and_query()?;
        let servers = self.upstream.servers();
        let leaves = servers.iter().any(|s| !s.prefix().is_empty()) && has_dot_segment(path.path());
        (!leaves).then(|| path.clone())
    }

    /// Takes out of the request what is between the client and us, and notes it.
    fn prepare(
        &self,
        request: &mut Request<Incoming>,
        path: PathAndQuery,
        host: Option<Authority>,
        connection: &Connection,
    ) -> Asked {
        let one_one = request.version() == Version::HTTP_11;
        let bodiless = request.body().is_end_stream();
        let headers = request.headers_mut();
        let hop = take_hop_by_hop(headers);
        let upgrade = hop
            .upgrade
            .filter(|protocol| one_one && bodiless && !is_h2c(protocol));
        let trusted = self.upstream.trusts(connection.peer.ip());
        set_forwarded(headers, connection, host.as_ref(), trusted);
        join_cookies(headers);
        Asked {
            path,
            host,
            upgrade,
            trailers: hop.trailers,
        }
    }

    /// Asks one upstream after the other until one can be reached. The request is
    /// taken when it is sent, here and below: there is one place for it, and no copies.
    async fn ask(
        &self,
        request: &mut Option<Request<Outgoing>>,
        asked: &Asked,
        progress: &Progress,
    ) -> Result<(Response<Incoming>, Lease), Failure> {
        let mut tried = Vec::new();
        let mut reached_none = None;
        while let Some((index, backend)) = self.choose(&tried) {
            tried.push(index);
            let load = backend.begin();
            match self.ask_one(backend, request, asked, progress).await {
                Ok((response, channel)) => {
                    if backend.health.succeeded() && self.backends.len() > 1 {
                        tracing::info!(upstream = %backend.server, "the upstream answers again");
                    }
                    return Ok((response, Lease::new(channel, load)));
                }
                Err(Attempt::Unreached(error)) => {
                    let failure = Failure::Unreachable(error);
                    self.note(backend, &failure);
                    reached_none = Some(failure);
                }
                Err(Attempt::Failed(failure)) => {
                    self.note(backend, &failure);
                    return Err(failure);
                }
            }
        }
        Err(reached_none.unwrap_or(Failure::Slow))
    }

    /// The upstream to try next: the one with the fewest requests among those that
    /// are well, or else among all.
    fn choose(&self, tried: &[usize]) -> Option<(usize, &Arc<Backend>)> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let (before, after) = self.backends.split_at(turn % self.backends.len());
        let first = before.len();
        let in_turn = (first..).zip(after).chain((0..).zip(before));
        let left = in_turn.filter(|(index, _)| !tried.contains(index));
        if self.backends.len() == 1 {
            return left.last();
        }
        let mut due = left.clone();
        let due = due.find(|(_, b)| b.health.standing() == Standing::Due && b.health.try_again());
        let well = left
            .clone()
            .filter(|(_, b)| b.health.standing() == Standing::Up);
        due.or_else(|| well.min_by_key(|(_, b)| b.load()))
            .or_else(|| left.min_by_key(|(_, b)| b.load()))
    }

    /// Asks on a connection that is there, and on a new one when that one turns out
    /// to have been closed in the meantime.
    async fn ask_one(
        &self,
        backend: &Arc<Backend>,
        request: &mut Option<Request<Outgoing>>,
        asked: &Asked,
        progress: &Progress,
    ) -> Result<(Response<Incoming>, Channel), Attempt> {
        let http1_only = asked.upgrade.is_some();
        if let Some(channel) = backend.used(http1_only) {
            let spare = request.as_ref().and_then(spare);
            let broken = match self
                .exchange(channel, backend, request, asked, progress)
                .await
            {
                Ok(answered) => return Ok(answered),
                Err(broken) => broken,
            };
            match (broken, spare) {
                (Broken::Unsent(_), _) => {}
                (Broken::Sent(error), Some(spare)) if is_closing(&error) => *request = Some(spare),
                (broken, _) => return Err(Attempt::Failed(broken.into())),
            }
        }
        // In a box of its own, as few requests need it.
        let opened = Box::pin(backend.open(http1_only)).await;
        let channel = opened.map_err(Attempt::Unreached)?;
        let answered = self.exchange(channel, backend, request, asked, progress);
        answered
            .await
            .map_err(|broken| Attempt::Failed(broken.into()))
    }

    /// Sends the request and waits for the header of the answer. The wait begins
    /// anew with each part of the client's body that the upstream took, and stands
    /// still while we wait for the client.
    async fn exchange(
        &self,
        mut channel: Channel,
        backend: &Backend,
        request: &mut Option<Request<Outgoing>>,
        asked: &Asked,
        progress: &Progress,
    ) -> Result<(Response<Incoming>, Channel), Broken> {
        let answered = {
            let mut sent = request.take().expect("who asks has something to send");
            address(&mut sent, asked, backend, channel.is_http2());
            let mut answer = pin!(channel.send(sent));
            let mut deadline = Instant::now() + self.answer;
            loop {
                match timeout_at(deadline, answer.as_mut()).await {
                    Ok(answered) => break answered,
                    Err(_) => {
                        let now = Instant::now();
                        let waited_since = progress.handed_over().unwrap_or(now);
                        deadline = waited_since + self.answer;
                        if deadline <= now {
                            return Err(Broken::Slow);
                        }
                    }
                }
            }
        };
        match answered {
            Ok(response) => Ok((response, channel)),
            Err(_) if progress.is_too_long() => Err(Broken::TooLong),
            Err(mut error) => {
                *request = error.take_message();
                let unsent = request.is_some();
                let error = error.into_error();
                Err(if unsent {
                    Broken::Unsent(error)
                } else {
                    Broken::Sent(error)
                })
            }
        }
    }

    /// Makes the upstream's answer ours.
    fn pass_back(
        &self,
        mut response: Response<Incoming>,
        lease: Lease,
        asked: &Asked,
        client_side: Option<OnUpgrade>,
    ) -> Result<Response<Body>, Failure> {
        *response.version_mut() = Version::HTTP_11;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let protocol = response.headers().get(UPGRADE).cloned();
            let (Some(client_side), Some(protocol)) = (client_side, protocol) else {
                return Err(Failure::Unasked);
            };
            if !is_among(&protocol, asked.upgrade.as_ref()) {
                return Err(Failure::Unasked);
            }
            let upstream_side = hyper::upgrade::on(&mut response);
            self.tunnel(client_side, upstream_side, lease);
            take_hop_by_hop(response.headers_mut());
            let headers = response.headers_mut();
            headers.insert(UPGRADE, protocol);
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            return Ok(response.map(|_| Body::empty()));
        }
        if !is_chunked_alone(response.headers()) {
            return Err(Failure::Coding);
        }
        let headers = response.headers();
        let awaits_trailers = asked.trailers && headers.contains_key(TRAILER);
        if awaits_trailers || headers.contains_key(TRANSFER_ENCODING) {
            // Beside chunks it does not count (RFC 9112 §6.3), and would frame our
            // answer, which without it has trailers on HTTP/1.1 as well.
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        take_hop_by_hop(response.headers_mut());
        Ok(response.map(|body| Body::upstream(Answer::new(body, lease))))
    }

    /// Carries bytes both ways until both sides have closed. Silence does not end it:
    /// a WebSocket may have nothing to say for hours. A peer that is gone is found by
    /// the kernel's keepalive, and a tunnel keeps its place among the connections of
    /// its client and of the listener until it ends, or a stop's drain limit passes.
    fn tunnel(&self, client_side: OnUpgrade, upstream_side: OnUpgrade, lease: Lease) {
        let carry = async move {
            let _load = lease;
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

    /// Remembers a failure and tells the log.
    fn note(&self, backend: &Backend, failure: &Failure) {
        let upstream = &backend.server;
        match failure {
            Failure::Client(error) => {
                return tracing::debug!("a client did not finish its request: {}", causes(error));
            }
            Failure::TooLong => return tracing::debug!("a request was cut: {failure}"),
            _ => {}
        }
        if let Some(more) = backend.trouble.admit() {
            tracing::warn!(
                %upstream,
                cause = %causes(failure),
                unlogged = more,
                "a request failed at the upstream"
            );
        }
        if backend.health.failed() && self.backends.len() > 1 {
            tracing::warn!(%upstream, "the upstream is left out for a while");
        }
    }
}

/// Directs the request at an upstream. May be done again for another.
fn address(request: &mut Request<Outgoing>, asked: &Asked, backend: &Backend, http2: bool) {
    let server = &backend.server;
    let host = asked.host.as_ref().unwrap_or_else(|| server.authority());
    let mut target = http::uri::Parts::default();
    target.path_and_query = Some(below(server.prefix(), &asked.path));
    let length = request.body().size_hint().exact();
    let headers = request.headers_mut();
    let host_line = host_value(headers, host);
    for name in [HOST, CONNECTION, UPGRADE, TE, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    if asked.trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let (Some(length), Some(claimed)) = (length, headers.get_mut(CONTENT_LENGTH)) {
        // It may have been written in a way that not everybody reads alike.
        *claimed = length.into();
    }
    let ends = request.body().is_end_stream();
    let headers = request.headers_mut();
    if http2 {
        let tls = server.protocol() == UpstreamProtocol::Https;
        target.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
        target.authority = Some(host.clone());
    } else {
        if let Some(host) = host_line {
            headers.insert(HOST, host);
        }
        if let Some(protocol) = &asked.upgrade {
            headers.insert(UPGRADE, protocol.clone());
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        } else if asked.trailers {
            // RFC 9110 §10.1.4: whoever sends TE also names it.
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
        if !ends && headers.contains_key(TRAILER) {
            // On HTTP/1.1 only chunks have them.
            headers.remove(CONTENT_LENGTH);
        }
        if !ends && !headers.contains_key(CONTENT_LENGTH) {
            // Also with GET, for which hyper would leave the body away.
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    if let Ok(target) = Uri::from_parts(target) {
        *request.uri_mut() = target;
    }
    *request.version_mut() = if http2 {
        Version::HTTP_2
    } else {
        Version::HTTP_11
    };
}

/// A path behind an upstream's prefix.
fn below(prefix: &str, path: &PathAndQuery) -> PathAndQuery {
    if prefix.is_empty() {
        return path.clone();
    }
    // Two valid paths make one.
    PathAndQuery::try_from(format!("{prefix}{path}")).unwrap_or_else(|_| path.clone())
}

/// A copy of a request that does no harm when it arrives twice (RFC 9110 §9.2.2) and
/// has no body.
fn spare(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    if !request.method().is_idempotent() || !request.body().is_end_stream() {
        return None;
    }
    let mut spare = Request::new(request.body().without_bytes());
    *spare.method_mut() = request.method().clone();
    spare.headers_mut().clone_from(request.headers());
    Some(spare)
}

/// Whether an error on a used connection can be its end, which the upstream decided
/// on before it saw the request.
fn is_closing(error: &hyper::Error) -> bool {
    !(error.is_parse() || error.is_user() || error.is_timeout())
}

/// Whether the upstream chose one protocol of those that were asked for.
fn is_among(chosen: &HeaderValue, asked: Option<&HeaderValue>) -> bool {
    let mut headers = http::HeaderMap::new();
    if let (Some(asked), Ok(chosen)) = (asked, chosen.to_str()) {
        headers.insert(UPGRADE, asked.clone());
        return chosen
            .split(',')
            .all(|chosen| has_token(&headers, &UPGRADE, chosen.trim()));
    }
    false
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

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(upstream: &str) -> Proxy {
        Proxy::new(
            upstream.parse().unwrap(),
            &Limits::default(),
            &Tasks::default(),
        )
        .unwrap()
    }

    #[tokio::test]
    async fn the_prefix_comes_before_every_path_and_cannot_be_left() {
        let plain = proxy("http://up.test:3000");
        let prefixed = proxy("http://up.test:3000/api/");
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
                let path = proxy.path(&asked)?;
                Some(below(proxy.upstream.servers()[0].prefix(), &path).to_string())
            };
            assert_eq!(of(&plain).as_deref(), at_plain, "{asked}");
            assert_eq!(of(&prefixed).as_deref(), at_below, "{asked}");
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

    #[test]
    fn only_a_protocol_that_was_asked_for_is_changed_to() {
        for (asked, chosen, is_asked) in [
            (Some("websocket"), "WebSocket", true),
            (Some("a, b/1"), "b/1", true),
            (Some("websocket"), "h2c", false),
            (Some("websocket"), "websocket, h2c", false),
            (Some("websocket"), "", false),
            (None, "websocket", false),
        ] {
            let asked = asked.map(HeaderValue::from_static);
            let chosen = HeaderValue::from_static(chosen);
            assert_eq!(is_among(&chosen, asked.as_ref()), is_asked, "{chosen:?}");
        }
    }

    #[tokio::test]
    async fn the_least_busy_upstream_that_is_well_is_asked_each_in_turn() {
        let several = |urls: &[&str]| {
            let parsed = urls.iter().map(|url| url.parse::<Upstream>().unwrap());
            let upstream = parsed.reduce(Upstream::and).unwrap();
            Proxy::new(upstream, &Limits::default(), &Tasks::default()).unwrap()
        };
        let proxy = several(&["http://a", "http://b", "http://c"]);
        let next = |tried: &[usize]| proxy.choose(tried).map(|(index, _)| index);
        assert_eq!(
            [next(&[]), next(&[]), next(&[])],
            [Some(0), Some(1), Some(2)]
        );
        let _busy = [proxy.backends[0].begin(), proxy.backends[2].begin()];
        assert_eq!([next(&[]), next(&[]), next(&[])], [Some(1); 3]);
        assert_eq!(next(&[1, 0]), Some(2));
        assert_eq!(next(&[0, 1, 2]), None);
        for _ in 0..3 {
            proxy.backends[1].health.failed();
        }
        assert_ne!(next(&[]), Some(1), "left out");
        for index in [0, 2] {
            for _ in 0..3 {
                proxy.backends[index].health.failed();
            }
        }
        assert_eq!(next(&[]), Some(1), "one that failed is better than none");
        let alone = several(&["http://a"]);
        for _ in 0..9 {
            alone.backends[0].health.failed();
        }
        assert!(alone.choose(&[]).is_some() && alone.choose(&[0]).is_none());
    }

    #[test]
    fn without_roots_there_is_no_https_upstream() {
        let upstream: Upstream = "https://up.test".parse().unwrap();
        let missing = upstream.with_roots("/nonexistent/roots.pem".into());
        let error = Proxy::new(missing, &Limits::default(), &Tasks::default()).unwrap_err();
        assert!(error.hint().unwrap().contains("PEM file"), "{error}");
    }
}
