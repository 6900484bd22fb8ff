//! What is sent: one body type for every answer, so that hyper is compiled once.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use tower_http::services::fs::ServeFileSystemResponseBody;

use super::connection::{Busy, Part};
use super::proxy::Answer;
use super::telemetry::Seen;

/// The body of an answer. The connection counts as busy until it is dropped.
pub(super) struct Body {
    source: Source,
    busy: Option<(Busy, Seen)>,
}

enum Source {
    Bytes(Option<Bytes>),
    Upstream(Answer),
    File(ServeFileSystemResponseBody),
}

impl Body {
    fn from_source(source: Source) -> Self {
        Self { source, busy: None }
    }

    /// No bytes.
    pub(super) fn empty() -> Self {
        Self::from_source(Source::Bytes(None))
    }

    /// Bytes that are at hand.
    pub(super) fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::from_source(Source::Bytes(Some(bytes.into())))
    }

    /// What the upstream sends, as it sends it.
    pub(super) fn upstream(body: Answer) -> Self {
        Self::from_source(Source::Upstream(body))
    }

    /// What a file holds.
    pub(super) fn file(body: ServeFileSystemResponseBody) -> Self {
        Self::from_source(Source::File(body))
    }

    /// Which upstream it comes from, if one.
    pub(super) fn upstream_server(&self) -> Option<String> {
        match &self.source {
            Source::Upstream(answer) => Some(answer.server().to_string()),
            Source::Bytes(_) | Source::File(_) => None,
        }
    }

    /// This body, which keeps its connection busy and is seen.
    pub(super) fn keeping(self, busy: Busy, seen: Seen) -> Self {
        Self {
            busy: Some((busy, seen)),
            ..self
        }
    }
}

impl HttpBody for Body {
    type Data = Part;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Part>, BodyError>>> {
        let frame = match &mut self.source {
            Source::Bytes(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Source::Upstream(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|e| BodyError(e.into())),
            Source::File(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|e| BodyError(e.into())),
        };
        if let Some((busy, seen)) = &mut self.busy {
            busy.is_ours(frame.is_pending());
            if let Poll::Ready(Some(Ok(frame))) = &frame {
                seen.sent(frame.data_ref().map_or(0, Bytes::len));
            }
        }
        let turn = self.busy.as_ref().and_then(|(busy, _)| busy.turn());
        frame.map_ok(|frame| frame.map_data(|bytes| Part::new(bytes, turn)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Bytes(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Source::Upstream(body) => body.is_end_stream(),
            Source::File(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Bytes(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Source::Upstream(body) => body.size_hint(),
            Source::File(body) => body.size_hint(),
        }
    }
}

/// Why a body ended early. A type of its own: a boxed error as a type parameter
/// makes the compiler ask for lifetimes that nobody can name.
#[derive(Debug, thiserror::Error)]
#[error("the body ended early")]
pub(super) struct BodyError(#[source] pub(super) Box<dyn std::error::Error + Send + Sync>);
