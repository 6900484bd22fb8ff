//! What a load balancer or a container's runtime asks: are you alive, may I send
//! anybody?

use http::header::CACHE_CONTROL;
use http::{Method, Request, Response, StatusCode};

use super::body::Body;
use super::redirect::Provisioning;
use super::respond::{NO_STORE, read_only, text};

/// `/health` and `/ready`: nothing that acts, and nothing that is secret.
#[derive(Debug)]
pub(super) struct Admin {
    pub(super) provisioning: Provisioning,
}

impl Admin {
    pub(super) fn respond(&self, request: &Request<()>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return read_only();
        }
        let mut response = match request.uri().path() {
            "/health" => text(StatusCode::OK, "running"),
            "/ready" if self.provisioning.lasts() => {
                let words = "the certificate is being obtained";
                text(StatusCode::SERVICE_UNAVAILABLE, words)
            }
            "/ready" => text(StatusCode::OK, "serving"),
            _ => text(StatusCode::NOT_FOUND, "there are /health and /ready"),
        };
        response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
        response
    }
}
