//! Answers: an object with its links, and what every answer carries.

use std::time::Duration;

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LINK, LOCATION, RETRY_AFTER,
};
use http::{Response, StatusCode};
use hyper::body::Bytes;
use serde::Serialize;

use super::super::problem::Problem;

const REPLAY_NONCE: HeaderName = HeaderName::from_static("replay-nonce");

/// An answer in the making.
#[derive(Debug)]
pub(super) struct Answer(Response<Bytes>);

impl Answer {
    /// 200 with a JSON object.
    pub(super) fn json(object: &impl Serialize) -> Self {
        let body = serde_json::to_vec(object).expect("texts, numbers and lists are JSON");
        Self::body("application/json", body)
    }

    /// 200 with something else.
    pub(super) fn body(media_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut response = Response::new(body.into());
        let kind = HeaderValue::from_static(media_type);
        response.headers_mut().insert(CONTENT_TYPE, kind);
        Self(response)
    }

    /// Nothing but a status.
    pub(super) fn empty(status: StatusCode) -> Self {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        Self(response)
    }

    pub(super) fn status(mut self, status: StatusCode) -> Self {
        *self.0.status_mut() = status;
        self
    }

    pub(super) fn location(self, url: &str) -> Self {
        self.header(LOCATION, url)
    }

    /// A link. Without a space after `;`: clients that look for text want it so.
    pub(super) fn link(mut self, url: &str, relation: &str) -> Self {
        if let Ok(link) = HeaderValue::try_from(format!("<{url}>;rel=\"{relation}\"")) {
            self.0.headers_mut().append(LINK, link);
        }
        self
    }

    /// When it is worth asking again.
    pub(super) fn retry_after(mut self, after: Duration) -> Self {
        let seconds = HeaderValue::from(after.as_secs().max(1));
        self.0.headers_mut().insert(RETRY_AFTER, seconds);
        self
    }

    fn header(mut self, name: HeaderName, value: &str) -> Self {
        // Ids are base64url and the host came from a header: it always fits.
        if let Ok(value) = HeaderValue::try_from(value) {
            self.0.headers_mut().insert(name, value);
        }
        self
    }

    /// Which methods there are, for a 405.
    pub(super) fn allow(self, methods: &'static str) -> Self {
        self.header(ALLOW, methods)
    }

    /// What it says was wrong, if anything.
    pub(super) fn problem(&self) -> Option<&Problem> {
        self.0.extensions().get()
    }

    /// The answer with what every one carries: a nonce, and the way back.
    pub(super) fn finish(self, nonce: &str, directory: Option<&str>) -> Response<Bytes> {
        let answer = self.header(REPLAY_NONCE, nonce);
        let mut answer = match directory {
            Some(url) => answer.link(url, "index"),
            None => answer,
        };
        let headers = answer.0.headers_mut();
        let no_store = HeaderValue::from_static("no-store");
        headers.entry(CACHE_CONTROL).or_insert(no_store);
        answer.0
    }
}

impl Answer {
    /// The answer as it is, where no nonces are given out.
    pub(super) fn plain(self) -> Response<Bytes> {
        self.0
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        let mut response = problem.clone().into_response().map(Bytes::from);
        response.extensions_mut().insert(problem);
        Self(response)
    }
}
