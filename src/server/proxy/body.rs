//! Bodies on their way through, a part at a time: no part is asked for before the
//! other side has taken the one before.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::backend::Lease;
use super::headers::clean_trailers;
use crate::server::body::BodyError;

/// Whose turn it is while a body is sent.
#[derive(Debug)]
pub(super) struct Progress {
    start: Instant,
    /// When the upstream took the last part, in milliseconds after `start`;
    /// [`Self::CLIENT`] while the client owes the next.
    handed_over: AtomicU64,
}

impl Progress {
    const CLIENT: u64 = u64::MAX;

    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            handed_over: AtomicU64::new(0),
        }
    }

    /// Since when the upstream is to answer or to take more; `None` while the
    /// client is the one we wait for.
    pub(super) fn handed_over(&self) -> Option<Instant> {
        match self.handed_over.load(Ordering::Relaxed) {
            Self::CLIENT => None,
            millis => Some(self.start + Duration::from_millis(millis)),
        }
    }

    fn upstreams_turn(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(0);
        self.handed_over.store(millis, Ordering::Relaxed);
    }

    fn clients_turn(&self) {
        self.handed_over.store(Self::CLIENT, Ordering::Relaxed);
    }
}

/// The client's body on its way to the upstream. Ends with an error when the
/// client sends nothing for too long.
#[derive(Debug)]
pub(super) struct Outgoing {
    body: Option<Incoming>,
    stall: Duration,
    /// Runs while we wait for the client; most requests never need it.
    timer: Option<Pin<Box<Sleep>>>,
    progress: Arc<Progress>,
}

impl Outgoing {
    pub(super) fn new(body: Incoming, stall: Duration, progress: &Arc<Progress>) -> Self {
        Self {
            body: Some(body),
            stall,
            timer: None,
            progress: Arc::clone(progress),
        }
    }

    /// One like this without any bytes.
    pub(super) fn without_bytes(&self) -> Self {
        Self {
            body: None,
            stall: self.stall,
            timer: None,
            progress: Arc::clone(&self.progress),
        }
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            self.timer = None;
            self.progress.upstreams_turn();
            let frame = frame.map(|frame| match frame {
                Ok(frame) => Ok(without_framing(frame)),
                Err(error) => Err(BodyError(error.into())),
            });
            return Poll::Ready(frame);
        }
        self.progress.clients_turn();
        let stall = self.stall;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
        timer.as_mut().poll(cx).map(|()| {
            let words = "the client sent nothing for too long";
            Some(Err(BodyError(words.into())))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

/// The upstream's body on its way to the client. Its connection can be used again
/// once it has ended, and is closed when the client leaves before that.
#[derive(Debug)]
pub(in crate::server) struct Answer {
    body: Incoming,
    _lease: Lease,
}

impl Answer {
    pub(super) fn new(body: Incoming, lease: Lease) -> Self {
        Self {
            body,
            _lease: lease,
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body)
            .poll_frame(cx)
            .map_ok(without_framing)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Takes out of trailers what may only stand in a header.
fn without_framing(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            clean_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}
