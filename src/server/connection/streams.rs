//! HTTP/2 answers that their client does not take.
//!
//! A client gives room for each answer apart, and for all of them together. Who gives
//! none leaves what we have sent so far in our memory, and on HTTP/2 the connection may
//! have other answers that go on; so each answer has a clock of its own, which runs
//! while the client has bytes of it to take, whatever the others do.

use std::cell::OnceCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::task::Poll;
use std::time::Duration;

use hyper::body::{Buf, Bytes};
use tokio::time::{Instant, Sleep};

use super::Activity;

/// How much longer an answer may wait than a connection of which nothing is taken: that
/// one is closed, which says more than to take its answers back.
const GRACE: Duration = Duration::from_secs(2);

tokio::task_local! {
    /// Of the answer that the task makes.
    static TURN: OnceCell<Arc<Turn>>;
}

/// Whom an HTTP/2 answer waits for.
#[derive(Debug)]
pub(in crate::server) struct Turn {
    activity: Arc<Activity>,
    /// Bytes that were handed to HTTP and that the client has not made room for.
    untaken: AtomicUsize,
    /// When it last took some, in milliseconds of the connection.
    taken: AtomicU64,
}

impl Turn {
    /// That of the answer which the current task makes; `None` where the task is a
    /// whole connection, as on HTTP/1.
    pub(super) fn begin(activity: &Arc<Activity>) -> Option<Arc<Self>> {
        let new = || Self {
            activity: Arc::clone(activity),
            untaken: AtomicUsize::new(0),
            taken: AtomicU64::new(0),
        };
        let of_task = |turn: &OnceCell<_>| Arc::clone(turn.get_or_init(|| Arc::new(new())));
        TURN.try_with(of_task).ok()
    }

    /// The client is to take so many bytes more.
    fn owes(&self, bytes: usize) {
        if self.untaken.fetch_add(bytes, Relaxed) == 0 {
            self.taken.store(self.activity.now(), Relaxed);
            self.activity.clients_turn();
        }
    }

    fn took(&self, bytes: usize) {
        let now = self.activity.now();
        self.taken.store(now, Relaxed);
        self.activity.taken.store(now, Relaxed);
        if self.untaken.fetch_sub(bytes, Relaxed) == bytes {
            self.activity.our_turn();
        }
    }

    /// When the client has had long enough for what it is to take; `None` while that is
    /// nothing.
    pub(super) fn deadline(&self, stall: Duration) -> Option<Instant> {
        let since = Duration::from_millis(self.taken.load(Relaxed));
        let waits = self.untaken.load(Relaxed) > 0;
        waits.then(|| self.activity.start + since + stall + GRACE)
    }
}

/// Not before the client has taken all, or we have given up on it.
impl Drop for Turn {
    fn drop(&mut self) {
        self.activity.ended(true);
    }
}

/// A part of an answer, which notes when the client takes it.
#[derive(Debug)]
pub(in crate::server) struct Part {
    bytes: Bytes,
    turn: Option<Arc<Turn>>,
}

impl Part {
    pub(in crate::server) fn new(bytes: Bytes, turn: Option<&Arc<Turn>>) -> Self {
        let turn = turn.filter(|_| !bytes.is_empty()).cloned();
        if let Some(turn) = &turn {
            turn.owes(bytes.len());
        }
        Self { bytes, turn }
    }
}

impl Buf for Part {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(turn) = &self.turn {
            turn.took(count);
        }
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        if let Some(turn) = &self.turn {
            turn.took(length);
        }
        self.bytes.copy_to_bytes(length)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(turn) = self.turn.take().filter(|_| !self.bytes.is_empty()) {
            turn.took(self.bytes.len());
        }
    }
}

/// Runs what makes an HTTP/2 answer, for as long as the client takes it.
#[derive(Debug, Clone)]
pub(in crate::server) struct Streams {
    /// How long a client may take nothing.
    pub(super) stall: Duration,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let stall = self.stall;
        tokio::spawn(TURN.scope(OnceCell::new(), unless_stalled(stream, stall)));
    }
}

/// Whom the answer of the current task waits for, once there is one.
fn turn() -> Option<Arc<Turn>> {
    TURN.with(|turn| turn.get().cloned())
}

/// Ends with `stream`, or when the client has not taken anything of it for `stall`;
/// HTTP/2 tells the client so when `stream` is dropped.
async fn unless_stalled(stream: impl Future<Output = ()>, stall: Duration) {
    let mut stream = pin!(stream);
    // Most answers never need it.
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    std::future::poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            if let Some(turn) = turn().filter(|turn| turn.deadline(stall).is_some()) {
                turn.activity.leaves(&turn);
            }
            return Poll::Ready(());
        }
        loop {
            let Some(deadline) = turn().and_then(|turn| turn.deadline(stall)) else {
                // What is handed over next is seen here again.
                return Poll::Pending;
            };
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if deadline <= Instant::now() {
                tracing::debug!("a client did not take an HTTP/2 answer");
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    })
    .await;
}
