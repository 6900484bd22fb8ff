//! http-01: one small file, perhaps after redirects.

use ::http::header::{HOST, LOCATION, USER_AGENT};
use ::http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::super::problem::{Problem, ProblemType};
use super::{MAX_BODY, MAX_REDIRECTS, Outside, alpn, at};
use crate::challenge::{HTTP_PREFIX, KeyAuthorization};
use crate::identifier::Identifier;

/// Longest head of an answer read.
const MAX_HEAD: usize = 16 * 1024;
/// How we introduce ourselves.
const AGENT: &str = concat!("certmint/", env!("CARGO_PKG_VERSION"));

/// An answer, and the task that reads the rest of it as long as this is held.
type Answer = (
    Response<Incoming>,
    AbortOnDropHandle<Result<(), hyper::Error>>,
);

pub(super) async fn validate(
    outside: &Outside<'_>,
    identifier: &Identifier,
    right: &KeyAuthorization,
) -> Result<(), Problem> {
    let host = match identifier {
        Identifier::Ip(std::net::IpAddr::V6(v6)) => format!("[{v6}]"),
        other => other.to_string(),
    };
    let port = outside.policy.http_port;
    let text = format!("http://{host}:{port}{HTTP_PREFIX}{}", right.token());
    let mut url = Url::parse(&text)
        .map_err(|_| Problem::malformed(format!("{identifier} cannot be a host in a URL")))?;
    // The name itself first, whatever a URL would make of it.
    let mut to = (identifier.clone(), port);
    for _ in 0..=MAX_REDIRECTS {
        let (host, port) = &to;
        let stream = outside.connect(host, *port).await?;
        // Not the whole URL: another server may have written something into it.
        let peer = at(&url.origin().ascii_serialization(), &stream);
        let (response, _connection) = get(stream, host, &url, &peer).await?;
        if let Some(next) = redirect(&url, &response, &peer)? {
            to = target(outside, &next, &peer)?;
            url = next;
            continue;
        }
        if response.status() != StatusCode::OK {
            let status = response.status().as_u16();
            return Err(incorrect(format!("{peer} answered {status}, not 200")));
        }
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body.map_err(|_| {
            incorrect(format!(
                "the answer of {peer} broke off or has more than {MAX_BODY} bytes"
            ))
        })?;
        // RFC 8555 §8.3 lets white space follow.
        if body.to_bytes().trim_ascii_end() == right.as_str().as_bytes() {
            return Ok(());
        }
        return Err(incorrect(format!(
            "the answer of {peer} is not the right one"
        )));
    }
    Err(Problem::new(
        ProblemType::Connection,
        format!("{identifier} redirects more than {MAX_REDIRECTS} times"),
    ))
}

/// Where an answer sends us, when it does.
fn redirect(from: &Url, response: &Response<Incoming>, peer: &str) -> Result<Option<Url>, Problem> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION);
    location
        .and_then(|value| value.to_str().ok())
        .and_then(|text| from.join(text).ok())
        .map(Some)
        .ok_or_else(|| incorrect(format!("{peer} redirects without a usable location")))
}

async fn get(
    stream: TcpStream,
    host: &Identifier,
    url: &Url,
    peer: &str,
) -> Result<Answer, Problem> {
    if url.scheme() == "http" {
        return exchange(stream, url, peer).await;
    }
    let name = match host {
        Identifier::Ip(ip) => ServerName::from(*ip),
        other => ServerName::try_from(other.to_string())
            .map_err(|_| Problem::malformed(format!("{other} is no server name")))?,
    };
    // Who redirects to https shows nothing by its certificate: what counts is that
    // the name's own server on port 80 sent us there.
    let stream = alpn::handshake(stream, name, Vec::new(), peer).await?;
    exchange(stream, url, peer).await
}

/// The host and port of a URL that we are sent to, when we may go there.
fn target(outside: &Outside<'_>, url: &Url, peer: &str) -> Result<(Identifier, u16), Problem> {
    let refuse = |reason: &str| {
        let detail = format!("{peer} redirects {reason}");
        Problem::new(ProblemType::Connection, detail)
    };
    let policy = outside.policy;
    let port = url.port_or_known_default();
    let allowed = match (url.scheme(), port) {
        ("http", Some(port)) => port == 80 || port == policy.http_port,
        ("https", Some(port)) => port == 443 || port == policy.tls_port,
        _ => return Err(refuse("to something else than http or https")),
    };
    let (Some(port), true) = (port, allowed) else {
        let port = port.unwrap_or_default();
        return Err(refuse(&format!(
            "to port {port}, which this CA does not connect to"
        )));
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("with a user name"));
    }
    match url.host_str().map(Identifier::parse) {
        Some(Ok(host @ (Identifier::Dns(_) | Identifier::Ip(_)))) => Ok((host, port)),
        _ => Err(refuse("to no host")),
    }
}

async fn exchange<S>(stream: S, url: &Url, peer: &str) -> Result<Answer, Problem>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let broken = |_| {
        let detail = format!("{peer} speaks no usable HTTP");
        Problem::new(ProblemType::Connection, detail)
    };
    let authority = match (url.host_str().unwrap_or_default(), url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    };
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let request = Request::get(path)
        .header(HOST, authority)
        .header(USER_AGENT, AGENT)
        .body(Empty::<Bytes>::new())
        .map_err(|_| Problem::malformed("the URL cannot be asked for"))?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let response = sender.send_request(request).await.map_err(broken)?;
    Ok((response, connection))
}

fn incorrect(detail: String) -> Problem {
    Problem::new(ProblemType::IncorrectResponse, detail)
}
