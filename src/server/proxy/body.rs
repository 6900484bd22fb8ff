//! Bodies on their way through, a part at a time: no part is asked for before the
//! other side has taken the one before.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::backend::Lease;
use super::headers::clean_trailers;
use crate::server::body::BodyError;
use crate::settings::UpstreamServer;

/// Whose turn it is while a body is sent.
#[derive(Debug)]
pub(super) struct Progress {
    start: Instant,
    /// When the upstream took the last part, in milliseconds after `start`;
    /// [`Self::CLIENT`] while the client owes the next.
    handed_over: AtomicU64,
    /// The client sent more than it may.
    too_long: AtomicBool,
    /// What is left of a body that is too long.
    surplus: Mutex<Option<Incoming>>,
}

impl Progress {
    const CLIENT: u64 = u64::MAX;

    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            handed_over: AtomicU64::new(0),
            too_long: AtomicBool::new(false),
            surplus: Mutex::new(None),
        }
    }

    /// Whether the body was cut because it is too long.
    pub(super) fn is_too_long(&self) -> bool {
        self.too_long.load(Ordering::Acquire)
    }

    /// What is left of a body that was cut.
    pub(super) fn surplus(&self) -> Option<Incoming> {
        let mut surplus = self.surplus.lock().unwrap_or_else(PoisonError::into_inner);
        surplus.take()
    }

    fn cut(&self, rest: Option<Incoming>) {
        *self.surplus.lock().unwrap_or_else(PoisonError::into_inner) = rest;
        self.too_long.store(true, Ordering::Release);
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
/// client sends nothing for too long or sends too much, so that what the upstream got
/// is seen to be a part.
#[derive(Debug)]
pub(super) struct Outgoing {
    body: Option<Incoming>,
    /// Bytes that may still come.
    left: u64,
    stall: Duration,
    /// Runs while we wait for the client; most requests never need it.
    timer: Option<Pin<Box<Sleep>>>,
    progress: Arc<Progress>,
}

impl Outgoing {
    pub(super) fn new(
        body: Incoming,
        stall: Duration,
        longest: u64,
        progress: &Arc<Progress>,
    ) -> Self {
        Self {
            body: Some(body),
            left: longest,
            stall,
            timer: None,
            progress: Arc::clone(progress),
        }
    }

    /// One like this without any bytes.
    pub(super) fn without_bytes(&self) -> Self {
        Self {
            body: None,
            left: 0,
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
            let length = match &frame {
                Some(Ok(frame)) => frame.data_ref().map_or(0, |data| data.len() as u64),
                _ => 0,
            };
            let Some(left) = self.left.checked_sub(length) else {
                let rest = self.body.take();
                self.progress.cut(rest);
                let words = "the client sent more than it may";
                return Poll::Ready(Some(Err(BodyError(words.into()))));
            };
            self.left = left;
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
    lease: Lease,
}

impl Answer {
    pub(super) fn new(body: Incoming, lease: Lease) -> Self {
        Self { body, lease }
    }

    /// Who sends it.
    pub(in crate::server) fn server(&self) -> &UpstreamServer {
        self.lease.server()
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
