//! A plain port beside a TLS one: challenges first, then the way to https.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, StatusCode};

use super::body::Body;
use super::connection::Connection;
use super::respond::{NO_STORE, https_location, not_yet, read_only, text};
use crate::certificates::{Answer, Certificates, Miss};
use crate::challenge::{ChallengeTable, HTTP_PREFIX};
use crate::event::Trigger;

/// When a client may ask again while the certificates are still being obtained.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// How long a client waits for a decision about a name that has no certificate.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a plain port beside a TLS one answers with.
#[derive(Debug, Clone)]
pub struct Redirect {
    /// The names that clients are sent to https for; others are answered with 421.
    pub certificates: Arc<dyn Certificates>,
    /// Open http-01 challenges are answered before anything else.
    pub challenges: Arc<ChallengeTable>,
    /// While it lasts, everything else is answered with 503.
    pub provisioning: Provisioning,
    /// The listener that clients are sent to, counted from 0 in the list given to
    /// [`super::Server::bind`].
    pub to: usize,
}

/// Whether the first certificates are still being obtained. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Provisioning(Arc<AtomicBool>);

impl Provisioning {
    /// Still obtaining.
    pub fn begun() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// Everything that is to be served can be.
    pub fn finish(&self) {
        self.0.store(false, Ordering::Release);
    }

    /// Whether [`Self::finish`] is still to come.
    pub fn lasts(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A [`Redirect`] that knows its port.
#[derive(Debug)]
pub(super) struct Redirector {
    pub(super) duties: Redirect,
    /// Where https is.
    pub(super) port: u16,
}

impl Redirector {
    pub(super) async fn respond(
        &self,
        request: &Request<()>,
        host: Option<&Authority>,
        connection: &Connection,
    ) -> Response<Body> {
        if let Some(answer) = self.challenge(request) {
            return answer;
        }
        if self.duties.provisioning.lasts() {
            return not_yet("the certificate is being obtained", ASK_AGAIN);
        }
        let location = || {
            let certificates = &*self.duties.certificates;
            https_location(request, host?, self.port, connection, certificates)
        };
        let location = match location() {
            Some(location) => Some(location),
            None => match self.demand(host, connection).await {
                Some(Answer::Ready) => location(),
                Some(Answer::Pending { retry_after, .. }) => {
                    return not_yet("Certificate issuance in progress", retry_after);
                }
                Some(Answer::Refused) | None => None,
            },
        };
        let Some(location) = location else {
            let words = "no site of this name is served here";
            return text(StatusCode::MISDIRECTED_REQUEST, words);
        };
        // Only 308 keeps the method of a POST.
        let status = match *request.method() {
            Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
            _ => StatusCode::PERMANENT_REDIRECT,
        };
        let mut response = text(status, "this site is served over https");
        response.headers_mut().insert(LOCATION, location);
        // Browsers keep it for good otherwise, and the port may be another one day.
        response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
        response
    }

    /// What is said of a name that has no certificate, where some are made on demand.
    async fn demand(&self, host: Option<&Authority>, connection: &Connection) -> Option<Answer> {
        let miss = Miss {
            name: host?.host(),
            client: connection.peer.ip(),
            trigger: Trigger::Http,
            patience: PATIENCE,
        };
        let demand = self.duties.certificates.demand()?;
        Some(demand.ask(miss).await)
    }

    /// Whether a CA looks at an open challenge.
    pub(super) fn is_validation<B>(&self, request: &Request<B>) -> bool {
        let token = request.uri().path().strip_prefix(HTTP_PREFIX);
        token.is_some_and(|token| self.duties.challenges.http_answer(token).is_some())
    }

    /// The answer to a validation of an open challenge, whatever the host.
    fn challenge(&self, request: &Request<()>) -> Option<Response<Body>> {
        let token = request.uri().path().strip_prefix(HTTP_PREFIX)?;
        let answer = self.duties.challenges.http_answer(token)?;
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Some(read_only());
        }
        let mut response = Response::new(Body::bytes(answer.to_string()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(CACHE_CONTROL, NO_STORE);
        Some(response)
    }
}
