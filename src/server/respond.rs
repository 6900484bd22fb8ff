//! From a request to whoever answers it.

use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderValue,
    LOCATION, RETRY_AFTER, STRICT_TRANSPORT_SECURITY,
};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes, Incoming};

use super::admin::Admin;
use super::application::Hosted;
use super::body::Body;
use super::connection::Connection;
use super::files::Files;
use super::gate::{Gate, Refusal};
use super::page::Page;
use super::proxy::Proxy;
use super::redirect::Redirector;
use crate::certificates::{Asked, Certificates};

/// Most of an unwanted body that is read, in bytes, and for how long.
const DISCARDED: usize = 64 * 1024;
const DISCARDED_WITHIN: Duration = Duration::from_secs(1);

/// How long a client may go on sending what has already been refused.
const LINGER: Duration = Duration::from_secs(5);

/// Whoever answers a listener's requests.
#[derive(Debug)]
pub(super) enum Handler {
    Page(Page),
    Files(Files),
    Proxy(Box<Proxy>),
    /// Answers challenges, and sends clients of a plain port to https.
    Redirect(Redirector),
    /// Tells programs how the server is.
    Admin(Admin),
    /// Has an application answer.
    Application(Hosted),
    /// Asks for patience where the certificate of the name is still being made.
    Pending,
    /// Sends clients that speak plain HTTP on a TLS port to https.
    SwitchToTls(Option<Arc<dyn Certificates>>),
}

impl Handler {
    /// Answers one request.
    pub(super) async fn respond(
        &self,
        request: Request<Incoming>,
        connection: &Connection,
        gate: &Gate,
    ) -> Response<Body> {
        let head = request.method() == Method::HEAD;
        let host = check(&request);
        let strict = strict_transport(&host, connection);
        let named = match self {
            Self::Application(_) => host.as_ref().ok().cloned().flatten(),
            _ => None,
        };
        let admitted = if self.is_free(&request) {
            Ok(())
        } else {
            gate.check(&request, connection)
        };
        let mut response = match admitted {
            Ok(()) => self.answer(request, host, connection, gate).await,
            Err(refusal) => Box::pin(refuse(request, refusal)).await,
        };
        if let Self::Application(hosted) = self {
            response = hosted.in_its_words(response, named.as_ref());
        }
        if let Some(strict) = strict {
            // An upstream that sends its own knows better.
            let headers = response.headers_mut();
            headers.entry(STRICT_TRANSPORT_SECURITY).or_insert(strict);
        }
        if head {
            without_body(response)
        } else {
            response
        }
    }

    /// Whether no limit holds: a program that watches the server, or a CA that looks
    /// at an open challenge.
    fn is_free<B>(&self, request: &Request<B>) -> bool {
        match self {
            Self::Admin(_) => true,
            Self::Redirect(redirector) => redirector.is_validation(request),
            _ => false,
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        host: Checked,
        connection: &Connection,
        gate: &Gate,
    ) -> Response<Body> {
        let directed = host.and_then(|host| check_direction(host, connection));
        let host = match directed {
            Ok(host) => host,
            Err(mut refusal) => {
                if request.version() != Version::HTTP_2 {
                    // Where the next request begins, the client may see otherwise.
                    let close = HeaderValue::from_static("close");
                    refusal.headers_mut().insert(CONNECTION, close);
                }
                discard_body(request).await;
                return *refusal;
            }
        };
        match self {
            Self::Proxy(proxy) => proxy.respond(request, host, connection).await,
            Self::Application(hosted) => {
                Box::pin(hosted.respond(request, host, connection, gate)).await
            }
            Self::Page(page) => page.respond(&discard_body(request).await, connection),
            Self::Files(files) => {
                let request = discard_body(request).await;
                Box::pin(files.respond(request)).await
            }
            Self::Redirect(redirector) => {
                let request = discard_body(request).await;
                redirector
                    .respond(&request, host.as_ref(), connection)
                    .await
            }
            Self::Pending => {
                let closes = request.version() != Version::HTTP_2;
                discard_body(request).await;
                let retry_after = connection.stands_in().unwrap_or_default();
                let mut answer = not_yet("Certificate issuance in progress", retry_after);
                if closes {
                    let close = HeaderValue::from_static("close");
                    answer.headers_mut().insert(CONNECTION, close);
                }
                answer
            }
            Self::Admin(admin) => {
                let request = discard_body(request).await;
                Box::pin(admin.respond(&request)).await
            }
            Self::SwitchToTls(certificates) => {
                let request = discard_body(request).await;
                switch_to_tls(&request, host.as_ref(), connection, certificates.as_deref())
            }
        }
    }
}

/// Answers a request that a limit stands against.
async fn refuse(request: Request<Incoming>, refusal: Refusal) -> Response<Body> {
    let answer = refusal.answer(request.version());
    match refusal {
        Refusal::TooOften(_) => _ = discard_body(request).await,
        // A client that expects 100 has not sent its body yet, and need not.
        _ if request.headers().contains_key(EXPECT) => {}
        _ => linger(request.into_body()),
    }
    answer
}

/// Goes on reading a body beside the answer to it, for a while. Most clients look for
/// an answer only when they cannot send any more, and one that is still sending when
/// the connection closes loses the answer (RFC 9112 §9.6).
pub(super) fn linger(mut body: Incoming) {
    let reading = async move { while let Some(Ok(_)) = body.frame().await {} };
    tokio::spawn(tokio::time::timeout(LINGER, reading));
}

/// Reads away a body that nobody wants, when it is short: an answer that comes
/// before the body's end is an error to some clients, curl over HTTP/2 among them.
async fn discard_body(request: Request<Incoming>) -> Request<()> {
    let (parts, mut body) = request.into_parts();
    // A client that expects 100 has not sent its body yet, and need not.
    if !body.is_end_stream() && !parts.headers.contains_key(EXPECT) {
        let reading = async {
            let mut read = 0;
            while let Some(Ok(frame)) = body.frame().await {
                read += frame.data_ref().map_or(0, Bytes::len);
                if read > DISCARDED {
                    return;
                }
            }
        };
        // Too long or too slow: the connection ends with the answer. In a box of its
        // own, as few requests have a body that nobody wants.
        let _ = Box::pin(tokio::time::timeout(DISCARDED_WITHIN, reading)).await;
    }
    Request::from_parts(parts, ())
}

/// The answer to HEAD: hyper leaves the body away on HTTP/1, not on HTTP/2.
fn without_body(response: Response<Body>) -> Response<Body> {
    let length = response.body().size_hint().exact();
    let mut response = response.map(|_| Body::empty());
    if let Some(length) = length.filter(|&length| length > 0) {
        let headers = response.headers_mut();
        headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    response
}

/// The host that is asked for, or why there is no answer.
type Checked = Result<Option<Authority>, Box<Response<Body>>>;

/// Refuses what no handler should see, and finds the host that is asked for;
/// only HTTP/1.0 may name none.
fn check<B>(request: &Request<B>) -> Checked {
    let bad = |reason| Box::new(text(StatusCode::BAD_REQUEST, reason));
    if request.method() == Method::CONNECT || request.method() == Method::TRACE {
        let mut refusal = text(StatusCode::NOT_IMPLEMENTED, "this method is not supported");
        refusal.headers_mut().insert(CACHE_CONTROL, NO_STORE);
        return Err(Box::new(refusal));
    }
    let uri = request.uri();
    let is_foreign =
        uri.authority().is_some() && !matches!(uri.scheme_str(), Some("http" | "https"));
    if !uri.path().starts_with('/') || is_foreign {
        return Err(bad("the request target is not a path"));
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("there is more than one Host header"));
    }
    let host = match host.map(|host| Authority::try_from(host.as_bytes())) {
        Some(Err(_)) => return Err(bad("the Host header is malformed")),
        Some(Ok(host)) => Some(host),
        None => None,
    };
    if host.is_none() && request.version() == Version::HTTP_11 {
        return Err(bad("there is no Host header"));
    }
    // RFC 9112 §3.2.2: an authority in the request target wins. RFC 9113 §8.3.1: on
    // HTTP/2 the two must not differ.
    let target = request.uri().authority();
    if request.version() == Version::HTTP_2
        && let (Some(target), Some(host)) = (target, &host)
        && target != host
    {
        return Err(bad("Host and :authority differ"));
    }
    let host = target.cloned().or(host);
    if host.as_ref().is_some_and(|h| h.as_str().contains('@')) {
        return Err(bad("the host has a user name"));
    }
    let is_odd = |h: &Authority| h.as_str() != h.host() && h.port_u16().is_none();
    if host.as_ref().is_some_and(is_odd) {
        return Err(bad("the host's port is none"));
    }
    Ok(host)
}

/// Refuses a request that belongs on another connection: for a host that this one's
/// certificate does not speak for (RFC 9110 §15.5.20), as HTTP/2 clients send when
/// they share connections and others when they hide whom they ask for; and of a
/// client who would not be let in any more.
fn check_direction(host: Option<Authority>, connection: &Connection) -> Checked {
    let Some(tls) = &connection.tls else {
        return Ok(host);
    };
    let local = connection.local.ip();
    let misdirected = |words| Err(Box::new(text(StatusCode::MISDIRECTED_REQUEST, words)));
    match &host {
        Some(host) if !tls.answers_for(host.host(), local) => {
            misdirected("this connection's certificate is not one for the host asked for")
        }
        _ if !tls.is_still_trusted() => {
            misdirected("the client's certificate is not trusted any more; connect anew")
        }
        _ => Ok(host),
    }
}

/// What is said of https for the host asked for, where that is due.
fn strict_transport(host: &Checked, connection: &Connection) -> Option<HeaderValue> {
    let host = host.as_ref().ok()?.as_ref()?;
    let tls = connection.tls.as_ref()?;
    tls.strict_transport(host.host()).cloned()
}

/// The request's place at https on `port`, when its host is one of ours.
pub(super) fn https_location(
    request: &Request<()>,
    host: &Authority,
    port: u16,
    connection: &Connection,
    certificates: &dyn Certificates,
) -> Option<HeaderValue> {
    let name = host.host();
    let address = name.trim_matches(['[', ']']).parse().ok();
    certificates.find(Asked {
        server_name: address.is_none().then_some(name),
        local: address.unwrap_or_else(|| connection.local.ip()),
    })?;
    let port = if port == 443 {
        String::new()
    } else {
        format!(":{port}")
    };
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    HeaderValue::try_from(format!("https://{name}{port}{path}")).ok()
}

/// A redirect to https on the same port when the host is one of ours, else words.
fn switch_to_tls(
    request: &Request<()>,
    host: Option<&Authority>,
    connection: &Connection,
    certificates: Option<&dyn Certificates>,
) -> Response<Body> {
    let location = host.zip(certificates).and_then(|(host, certificates)| {
        let port = connection.local.port();
        https_location(request, host, port, connection, certificates)
    });
    let words = "this port speaks HTTPS: begin the address with https://";
    let Some(location) = location else {
        return text(StatusCode::BAD_REQUEST, words);
    };
    let mut response = text(StatusCode::PERMANENT_REDIRECT, words);
    response.headers_mut().insert(LOCATION, location);
    // Browsers keep a 308 for good, and this port may serve something else one day.
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// Keeps an answer out of caches.
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The words of an answer of the listener's own.
#[derive(Debug, Clone)]
pub(super) struct Words(pub(super) String);

/// A short answer in words, for people.
pub(super) fn text(status: StatusCode, words: &str) -> Response<Body> {
    let reason = status.canonical_reason().unwrap_or_default();
    let body = Body::bytes(format!("{} {reason}: {words}\n", status.as_u16()));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.extensions_mut().insert(Words(words.to_owned()));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// 503 for what is there in a moment: when to ask again.
pub(super) fn not_yet(words: &str, retry_after: Duration) -> Response<Body> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, words);
    let seconds = retry_after.as_secs().max(1);
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// 405 for what can only be read.
pub(super) fn read_only() -> Response<Body> {
    let mut response = text(
        StatusCode::METHOD_NOT_ALLOWED,
        "this can be read with GET and HEAD, nothing else",
    );
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}
