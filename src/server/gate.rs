//! What a request must get past before anybody looks at it: how often its client
//! asks, and how long its body says it is.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONNECTION, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode, Version};
use hyper::body::Body as HttpBody;

use super::body::Body;
use super::connection::Connection;
use super::rate::RateLimiter;
use super::respond::{NO_STORE, text};
use super::telemetry::Witness;
use crate::settings::Limits;

/// The limits that every request of a listener is held to.
#[derive(Debug)]
pub(super) struct Gate {
    body: u64,
    rate: Option<RateLimiter>,
    witness: Witness,
}

/// Why a request is not answered with what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The client asks more often than [`Limits::rate`] lets it; it may ask again
    /// after this time.
    TooOften(Duration),
    /// The body is longer than [`Limits::body`].
    BodyTooLong,
    /// As many bodies of the client are being read as may be.
    ManyBodies,
    /// As many bodies of all clients are being read as may be.
    Busy,
}

/// When whoever finds that bodies are being read may ask again.
const SOON: Duration = Duration::from_secs(5);

impl Gate {
    pub(super) fn new(limits: &Limits, witness: &Witness) -> Self {
        Self {
            body: limits.body,
            rate: limits.rate.map(RateLimiter::new),
            witness: witness.clone(),
        }
    }

    /// Counts the request and looks at the length that it declares.
    pub(super) fn check<B: HttpBody>(
        &self,
        request: &Request<B>,
        connection: &Connection,
    ) -> Result<(), Refusal> {
        let admitted = self.admit(request, connection);
        admitted.inspect_err(|refusal| self.count(refusal))
    }

    /// Counts a refusal that showed later, and answers it.
    pub(super) fn refuse(&self, refusal: Refusal, version: Version) -> Response<Body> {
        self.count(&refusal);
        refusal.answer(version)
    }

    fn count(&self, refusal: &Refusal) {
        self.witness.counts().refused.count(refusal.outcome());
    }

    fn admit<B: HttpBody>(
        &self,
        request: &Request<B>,
        connection: &Connection,
    ) -> Result<(), Refusal> {
        if let Some(rate) = &self.rate {
            let client = connection.peer.ip().into();
            rate.admit(client).map_err(Refusal::TooOften)?;
        }
        // Without a declared length the lower bound is 0.
        if request.body().size_hint().lower() > self.body {
            return Err(Refusal::BodyTooLong);
        }
        Ok(())
    }
}

impl Refusal {
    /// A label for counters.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::TooOften(_) => "too_often",
            Self::BodyTooLong => "body_too_long",
            Self::ManyBodies => "many_bodies",
            Self::Busy => "busy",
        }
    }

    /// What the client is told.
    pub(super) fn answer(&self, version: Version) -> Response<Body> {
        tracing::debug!(outcome = self.outcome(), "a request was refused");
        let (status, words, wait) = match *self {
            Self::TooOften(wait) => (
                StatusCode::TOO_MANY_REQUESTS,
                "too many requests; try again later",
                Some(wait),
            ),
            Self::BodyTooLong => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body of the request is too long",
                None,
            ),
            Self::ManyBodies => (
                StatusCode::TOO_MANY_REQUESTS,
                "too many requests at the same time; try again later",
                Some(SOON),
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too much is asked for at the same time; try again later",
                Some(SOON),
            ),
        };
        let mut response = text(status, words);
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, NO_STORE);
        if let Some(wait) = wait {
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if version != Version::HTTP_2 && !matches!(self, Self::TooOften(_)) {
            // The rest of the body is in the way of the next request.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_when_to_try_again_in_whole_seconds_and_is_not_kept() {
        for (wait, seconds) in [
            (Duration::from_nanos(1), "1"),
            (Duration::from_millis(1000), "1"),
            (Duration::from_millis(1001), "2"),
            (Duration::from_secs(90), "90"),
        ] {
            let answer = Refusal::TooOften(wait).answer(Version::HTTP_11);
            assert_eq!(answer.status(), 429);
            assert_eq!(answer.headers()["retry-after"], seconds);
            assert_eq!(answer.headers()["cache-control"], "no-store");
            assert!(!answer.headers().contains_key("connection"));
        }
        for (version, closes) in [(Version::HTTP_11, true), (Version::HTTP_2, false)] {
            for (refusal, status, waits) in [
                (Refusal::BodyTooLong, 413, false),
                (Refusal::ManyBodies, 429, true),
                (Refusal::Busy, 503, true),
            ] {
                let answer = refusal.answer(version);
                assert_eq!(answer.status(), status);
                assert_eq!(answer.headers().contains_key("retry-after"), waits);
                assert_eq!(answer.headers().contains_key("connection"), closes);
            }
        }
    }
}
