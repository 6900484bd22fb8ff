//! What goes wrong between us and an upstream, and what the client is told of it.

use http::{Response, StatusCode, Version};

use super::backend::NoConnection;
use crate::server::body::{Body, BodyError};
use crate::server::gate::Refusal;
use crate::server::respond::text;

/// What came of asking one upstream.
pub(super) enum Attempt {
    /// There is no connection, and the request is where it was.
    Unreached(NoConnection),
    Failed(Failure),
}

/// Why an exchange did not end with an answer.
pub(super) enum Broken {
    /// Nothing of the request went out; it is where it was.
    Unsent(hyper::Error),
    Sent(hyper::Error),
    Slow,
    /// The client's body did not end in time to be let through.
    TooLong,
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Slow => Self::Slow,
            Broken::TooLong => Self::TooLong,
            Broken::Unsent(error) | Broken::Sent(error) if is_client_fault(&error) => {
                Self::Client(error)
            }
            Broken::Unsent(error) | Broken::Sent(error) => Self::Broken(error),
        }
    }
}

/// Why no answer is passed back.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No connection could be made.
    #[error("no connection")]
    Unreachable(#[source] NoConnection),
    /// The client stopped sending its body.
    #[error("the client's body ended early")]
    Client(#[source] hyper::Error),
    /// The client's body is longer than [`crate::settings::Limits::body`].
    #[error("the client's body is too long")]
    TooLong,
    /// It was there, but what it said is not an answer.
    #[error("no usable answer")]
    Broken(#[source] hyper::Error),
    /// It said nothing for too long.
    #[error("no answer in time")]
    Slow,
    /// It changed protocols, and nobody had asked.
    #[error("101 without having been asked to change to that protocol")]
    Unasked,
    /// Its answer is in a transfer coding other than `chunked`.
    #[error("an answer in a transfer coding that was not asked for")]
    Coding,
}

/// Tells the client in general what the log was told in particular.
pub(super) fn refuse(failure: &Failure, version: Version) -> Response<Body> {
    let (status, words) = match failure {
        Failure::TooLong => return Refusal::BodyTooLong.answer(version),
        Failure::Client(_) => (
            StatusCode::REQUEST_TIMEOUT,
            "the body of the request did not arrive",
        ),
        Failure::Slow => (
            StatusCode::GATEWAY_TIMEOUT,
            "the server behind this one takes too long",
        ),
        Failure::Unreachable(_) => (
            StatusCode::BAD_GATEWAY,
            "the server behind this one cannot be reached",
        ),
        Failure::Broken(_) | Failure::Unasked | Failure::Coding => (
            StatusCode::BAD_GATEWAY,
            "the server behind this one did not give a usable answer",
        ),
    };
    text(status, words)
}

fn is_client_fault(error: &hyper::Error) -> bool {
    let mut below: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = below {
        if cause.is::<BodyError>() {
            return true;
        }
        below = cause.source();
    }
    false
}
