//! An HTTP client for talking to strangers over TLS.
//!
//! Rules kept here: https only (plain http to this machine's own loopback only when
//! asked for, for tests); redirects are never followed; an answer is at most
//! [`MAX_BODY`] long and complete within a deadline that also covers connecting.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderValue, USER_AGENT};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::roots::{Roots, RootsError};

/// Longest body taken from a peer.
pub const MAX_BODY: usize = 1024 * 1024;
/// How long one exchange may take, from connecting to the last byte.
pub const EXCHANGE_DEADLINE: Duration = Duration::from_secs(30);
/// How long one attempt to connect may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(30);
/// How we introduce ourselves (RFC 8555 §6.1 demands that we do).
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("certmint/", env!("CARGO_PKG_VERSION")));

/// A client that keeps its connections open between requests; clones share them.
#[derive(Debug, Clone)]
pub struct HttpClient {
    inner: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    plain_loopback: bool,
    deadline: Duration,
}

impl HttpClient {
    /// A client that trusts `roots`.
    pub fn new(roots: &Roots) -> Result<Self, RootsError> {
        Ok(Self::build(roots.load()?, false))
    }

    /// A client that also speaks plain http, to loopback addresses alone.
    pub fn with_plain_loopback(roots: &Roots) -> Result<Self, RootsError> {
        Ok(Self::build(roots.load()?, true))
    }

    /// The same client with another deadline than [`EXCHANGE_DEADLINE`].
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    fn build(roots: rustls::RootCertStore, plain_loopback: bool) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("aws-lc-rs has both versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_DEADLINE));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
        let builder = if plain_loopback {
            builder.https_or_http()
        } else {
            builder.https_only()
        };
        let connector = builder.enable_all_versions().wrap_connector(tcp);
        let inner = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self {
            inner,
            plain_loopback,
            deadline: EXCHANGE_DEADLINE,
        }
    }

    /// Sends one request and returns the whole answer, whatever its status.
    pub async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.check(request.uri())?;
        let host = request.uri().host().unwrap_or_default().to_owned();
        request.headers_mut().insert(USER_AGENT, AGENT);
        let exchange = self.exchange(&host, request.map(Full::new));
        match tokio::time::timeout(self.deadline, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(HttpError::TimedOut {
                host,
                after: self.deadline,
            }),
        }
    }

    async fn exchange(
        &self,
        host: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, HttpError> {
        let sent = self.inner.request(request).await;
        let (parts, body) = sent.map_err(|e| refused(host, e))?.into_parts();
        match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => Ok(Response::from_parts(parts, body.to_bytes())),
            Err(e) if e.is::<LengthLimitError>() => Err(HttpError::TooLarge(host.to_owned())),
            Err(source) => Err(HttpError::Broken {
                host: host.to_owned(),
                source,
            }),
        }
    }

    fn check(&self, uri: &Uri) -> Result<(), HttpError> {
        let host = uri.host().unwrap_or_default();
        let loopback = || {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        };
        match uri.scheme_str() {
            Some("https") if !host.is_empty() => Ok(()),
            Some("http") if self.plain_loopback && loopback() => Ok(()),
            _ => Err(HttpError::NotHttps(crate::identifier::quoted(
                &uri.to_string(),
            ))),
        }
    }
}

fn refused(host: &str, source: hyper_util::client::legacy::Error) -> HttpError {
    let host = host.to_owned();
    if let Some(reason) = untrusted(&source) {
        return HttpError::Untrusted { host, reason };
    }
    let connecting = source.is_connect();
    let source = Box::new(source);
    if connecting {
        HttpError::Unreachable { host, source }
    } else {
        HttpError::Broken { host, source }
    }
}

/// What rustls found wrong with the peer's certificate, if that is what ended it.
fn untrusted(error: &(dyn Error + 'static)) -> Option<rustls::CertificateError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(reason)) = error.downcast_ref() {
            return Some(reason.clone());
        }
        // An I/O error hides what it carries from `source`.
        let inner = error.downcast_ref::<std::io::Error>();
        next = match inner.and_then(std::io::Error::get_ref) {
            Some(carried) => Some(carried),
            None => error.source(),
        };
    }
    None
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address is no https address.
    #[error("`{0}` is not an https address")]
    NotHttps(String),
    /// The peer's certificate is not trusted.
    #[error("the TLS certificate of `{host}` is not trusted: {reason}")]
    Untrusted {
        /// The peer.
        host: String,
        /// What is wrong with it.
        reason: rustls::CertificateError,
    },
    /// No connection; the request was not sent.
    #[error("could not connect to `{host}`")]
    Unreachable {
        /// The peer.
        host: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The connection ended before the answer did; the request may have been acted on.
    #[error("the connection to `{host}` broke")]
    Broken {
        /// The peer.
        host: String,
        /// How.
        source: Box<dyn Error + Send + Sync>,
    },
    /// No whole answer in time; the request may have been acted on.
    #[error("`{host}` gave no complete answer within {} s", after.as_secs_f32())]
    TimedOut {
        /// The peer.
        host: String,
        /// The deadline.
        after: Duration,
    },
    /// An answer of more than [`MAX_BODY`].
    #[error("the answer of `{0}` is longer than {MAX_BODY} bytes")]
    TooLarge(String),
}

impl HttpError {
    /// Whether the same request may well be answered the next time.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Broken { .. } | Self::TimedOut { .. }
        )
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotHttps(_) => Some("give an address that starts with `https://`"),
            Self::Untrusted { .. } => Some(
                "check the clock and the address; a private CA's root is named with `--ca-file`",
            ),
            Self::Unreachable { .. } => Some("check the address, name resolution and the firewall"),
            Self::Broken { .. } | Self::TimedOut { .. } | Self::TooLarge(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(plain: bool) -> HttpClient {
        HttpClient::build(rustls::RootCertStore::empty(), plain)
    }

    #[test]
    fn only_https_passes_and_plain_http_to_loopback_when_asked_for() {
        for (uri, strict, lax) in [
            ("https://ca.test/dir", true, true),
            ("https://127.0.0.1:14000/dir", true, true),
            ("http://127.0.0.1:80/dir", false, true),
            ("http://[::1]:80/dir", false, true),
            ("http://localhost/dir", false, false),
            ("http://ca.test/dir", false, false),
            ("/dir", false, false),
        ] {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(client(false).check(&uri).is_ok(), strict, "{uri}");
            assert_eq!(client(true).check(&uri).is_ok(), lax, "{uri}");
        }
    }

    #[tokio::test]
    async fn an_endless_body_and_a_silent_peer_end_in_bounded_errors() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for endless in [true, false] {
                let (mut peer, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let _ = peer.read(&mut [0; 4096]).await;
                    let _ = peer.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                    while endless && peer.write_all(&[b'x'; 65536]).await.is_ok() {}
                    std::future::pending::<()>().await;
                });
            }
        });
        let request = || {
            let uri = format!("http://{address}/");
            Request::get(uri).body(Bytes::new()).unwrap()
        };
        let client = client(true).deadline(Duration::from_millis(500));
        let long = client.send(request()).await.unwrap_err();
        assert!(matches!(long, HttpError::TooLarge(_)), "{long:?}");
        let late = client.send(request()).await.unwrap_err();
        assert!(matches!(late, HttpError::TimedOut { .. }), "{late:?}");
        assert!(late.is_transient() && !long.is_transient());
    }
}
