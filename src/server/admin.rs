//! What a load balancer, a container's runtime or Prometheus asks: are you alive, may I
//! send anybody, how much of what?

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Bytes;

use super::body::Body;
use super::redirect::Provisioning;
use super::respond::{NO_STORE, read_only, text};
use super::signals::Shutdown;
use super::telemetry::Telemetry;

/// The text format of Prometheus.
pub(super) const EXPOSITION: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// `/health`, `/ready` and `/metrics`: nothing that acts, and nothing that is secret.
#[derive(Debug, Clone)]
pub(super) struct Admin {
    pub(super) provisioning: Provisioning,
    pub(super) shutdown: Shutdown,
    pub(super) telemetry: Telemetry,
}

/// What is told, before it is an answer to anybody.
#[derive(Debug)]
pub(super) enum Told {
    Words(StatusCode, &'static str),
    Metrics(String),
}

impl Admin {
    /// What is at `path`; `None` when nothing is.
    pub(super) async fn tell(&self, path: &str) -> Option<Told> {
        Some(match path {
            "/health" => Told::Words(StatusCode::OK, "running"),
            "/ready" => match self.unready() {
                Some(why) => Told::Words(StatusCode::SERVICE_UNAVAILABLE, why),
                None => Told::Words(StatusCode::OK, "serving"),
            },
            "/metrics" => {
                let telemetry = self.telemetry.clone();
                // It reads files of the kernel's, which can take a while.
                let read = tokio::task::spawn_blocking(move || telemetry.metrics()).await;
                match read {
                    Ok(text) => Told::Metrics(text),
                    Err(_) => Told::Words(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "the metrics could not be put together",
                    ),
                }
            }
            _ => return None,
        })
    }

    fn unready(&self) -> Option<&'static str> {
        if self.shutdown.graceful().is_cancelled() {
            return Some("the server is stopping");
        }
        let lasts = self.provisioning.lasts();
        lasts.then_some("the certificate is being obtained")
    }

    pub(super) async fn respond(&self, request: &Request<()>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return read_only();
        }
        let mut response = match self.tell(request.uri().path()).await {
            Some(Told::Words(status, words)) => text(status, words),
            Some(Told::Metrics(metrics)) => {
                let mut response = Response::new(Body::bytes(Bytes::from(metrics)));
                response.headers_mut().insert(CONTENT_TYPE, EXPOSITION);
                response
            }
            None => text(
                StatusCode::NOT_FOUND,
                "there are /health, /ready and /metrics",
            ),
        };
        response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
        response
    }
}
