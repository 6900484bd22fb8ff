//! One connection after its handshake: HTTP on it, and when it has been idle for
//! too long.
//!
//! hyper's own header timeout also runs between requests and does not exist for
//! HTTP/2, so the clock is kept here, by what the connection does: reading a
//! header, answering, or nothing.

mod streams;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use super::accept::{Place, Serving};
use super::proxy::Forwarding;
use super::respond::Handler;
use super::tls::TlsSession;
use crate::settings::Limits;
use streams::Streams;
pub(super) use streams::{Part, Turn};

/// Largest request header, in bytes.
const MAX_HEADER: usize = 64 * 1024;

/// Most requests at the same time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;

/// What one HTTP/2 request may send ahead of whoever takes its body, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;

/// What all requests of an HTTP/2 connection together may send ahead, in bytes.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// What of one answer may wait for an HTTP/2 client to take it, in bytes.
const MAX_UNSENT: usize = 64 * 1024;

/// HTTP/2 requests that may be taken back before we have so much as looked at them
/// (CVE-2023-44487), and requests that we may have to reset for their faults: past
/// either the connection is ended.
const MAX_EARLY_RESETS: usize = 20;
const MAX_FAULTY_STREAMS: usize = 128;

/// HTTP/2 requests that may be taken back unanswered, less those that were answered;
/// past it the connection is cut. Each has cost the upstream a request.
const MAX_ABANDONED: u32 = 200;

/// How long an idle connection may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(1);

pub(super) type HttpBuilder = auto::Builder<Streams>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How HTTP is spoken, for every connection of a listener.
pub(super) fn http_builder(limits: &Limits) -> HttpBuilder {
    let stall = limits.stall;
    let mut builder = auto::Builder::new(Streams { stall });
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(MAX_HEADER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(MAX_UNSENT)
        .max_pending_accept_reset_streams(MAX_EARLY_RESETS)
        .max_local_error_reset_streams(MAX_FAULTY_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEADER).unwrap_or(u32::MAX));
    builder
}

/// Who is at the ends of a connection, and what protects it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) tls: Option<TlsSession>,
    /// For whoever is behind; made when it is first asked for.
    forwarding: OnceLock<Box<Forwarding>>,
}

impl Connection {
    pub(super) fn new(local: SocketAddr, peer: SocketAddr) -> Self {
        // A listener on [::] also sees IPv4 clients; nobody wants them mapped.
        let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
        Self {
            local: canonical(local),
            peer: canonical(peer),
            tls: None,
            forwarding: OnceLock::new(),
        }
    }

    /// The client is served with a certificate that stands in for one that is being made;
    /// there may be that one after this time.
    pub(super) fn stands_in(&self) -> Option<Duration> {
        self.tls.as_ref()?.stands_in
    }

    /// What is said of it to whoever is behind.
    pub(super) fn forwarding(&self) -> &Forwarding {
        let new = || Box::new(Forwarding::new(self.peer.ip(), self.local.port()));
        self.forwarding.get_or_init(new)
    }

    /// `https` or `http`.
    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// Serves HTTP until the connection ends, idles too long, or is to stop.
pub(super) async fn serve(
    io: Io,
    place: Place,
    connection: Arc<Connection>,
    handler: Arc<Handler>,
    serving: &Serving,
) -> Result<(), BoxError> {
    let activity = Arc::new(Activity::new());
    let _listed = serving.idlers.list(&activity);
    let io = Transport {
        io,
        activity: Arc::clone(&activity),
        _place: place,
    };
    let requests = Arc::clone(&activity);
    let (gate, witness) = (Arc::clone(&serving.gate), serving.witness.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let mut busy = Busy::begin(&requests, request.version());
        let mut seen = witness.request(&request, &connection);
        let (handler, connection) = (Arc::clone(&handler), Arc::clone(&connection));
        let gate = Arc::clone(&gate);
        // In a box of its own: hyper keeps room for it while the connection is idle, and
        // moves it twice.
        Box::pin(async move {
            busy.turn = Turn::begin(&busy.activity);
            let response = handler.respond(request, &connection, &gate).await;
            busy.answered();
            if connection.stands_in().is_some() {
                busy.activity.take_leave();
            }
            let status = response.status().as_u16();
            seen.answered(status, || response.body().upstream_server());
            Ok::<_, Infallible>(response.map(|body| body.keeping(busy, seen)))
        })
    });
    let http = serving
        .http
        .serve_connection_with_upgrades(TokioIo::new(io), service);
    let mut http = pin!(http);
    let mut stop = pin!(serving.shutdown.graceful().cancelled());
    let mut watchdog = Watchdog::new(&activity, &serving.limits);
    let mut stopping = false;
    std::future::poll_fn(|cx| {
        if !stopping && stop.as_mut().poll(cx).is_ready() {
            stopping = true;
            http.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = http.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        loop {
            match watchdog.poll(cx) {
                Verdict::Fine => return Poll::Pending,
                Verdict::SayGoodbye => {
                    http.as_mut().graceful_shutdown();
                    if let Poll::Ready(result) = http.as_mut().poll(cx) {
                        return Poll::Ready(result);
                    }
                }
                Verdict::Leave => return Poll::Ready(Ok(())),
            }
        }
    })
    .await
}

/// What a connection is busy with, in milliseconds since it began.
#[derive(Debug)]
pub(super) struct Activity {
    start: Instant,
    /// Requests whose answer has not ended.
    in_flight: AtomicU32,
    /// Those of them that wait for us or the upstream, not for the client.
    ours: AtomicU32,
    /// When the client last took a part of an answer.
    taken: AtomicU64,
    /// When the last answer ended, or the last of it was written.
    idle_since: AtomicU64,
    /// When the header now being read began; [`Self::NONE`] when none is. A
    /// connection begins with one.
    header_since: AtomicU64,
    http2: AtomicBool,
    /// The kernel takes no more bytes: the client is slow.
    blocked: AtomicBool,
    /// HTTP/2 requests that were taken back, less those that were answered.
    abandoned: AtomicU32,
    /// Somebody else needs the place.
    dismissed: AtomicBool,
    /// It is to end with the answers that are on their way.
    leaving: AtomicBool,
    /// HTTP/2 answers that are made, of which the client still has bytes to take.
    tails: Mutex<Vec<Weak<Turn>>>,
    /// Wakes the connection for what another task noted above.
    waker: AtomicWaker,
}

impl Activity {
    const NONE: u64 = u64::MAX;

    fn new() -> Self {
        Self {
            start: Instant::now(),
            in_flight: AtomicU32::new(0),
            ours: AtomicU32::new(0),
            taken: AtomicU64::new(0),
            idle_since: AtomicU64::new(0),
            header_since: AtomicU64::new(0),
            http2: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            abandoned: AtomicU32::new(0),
            dismissed: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            tails: Mutex::default(),
            waker: AtomicWaker::new(),
        }
    }

    /// Since when nothing has been asked for; `None` while something is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_idle = self.in_flight.load(Relaxed) == 0
            && self.header_since.load(Relaxed) == Self::NONE
            && !self.blocked.load(Relaxed);
        let since = Duration::from_millis(self.idle_since.load(Relaxed));
        is_idle.then(|| self.start + since)
    }

    /// Asks an idle connection to leave.
    pub(super) fn dismiss(&self) {
        self.dismissed.store(true, Relaxed);
        self.waker.wake();
    }

    /// Ends the connection with the answers that are on their way.
    fn take_leave(&self) {
        self.leaving.store(true, Relaxed);
        self.waker.wake();
    }

    /// Whether the client only ever asks for things to take it back.
    fn is_abused(&self) -> bool {
        self.abandoned.load(Relaxed) > MAX_ABANDONED
    }

    /// A request's answer waits for us or the upstream.
    fn our_turn(&self) {
        self.ours.fetch_add(1, Relaxed);
    }

    /// It waits for the client to take what there is of it.
    fn clients_turn(&self) {
        self.ours.fetch_sub(1, Relaxed);
        self.taken.store(self.now(), Relaxed);
    }

    /// A request's answer has ended. `ours` if it waited for us until then.
    fn ended(&self, ours: bool) {
        if ours {
            self.ours.fetch_sub(1, Relaxed);
        }
        self.idle_since.store(self.now(), Relaxed);
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Remembers an answer that is made but not yet taken.
    fn leaves(&self, turn: &Arc<Turn>) {
        let mut tails = self.tails();
        if tails.len() == tails.capacity() {
            tails.retain(|tail| tail.strong_count() > 0);
        }
        tails.push(Arc::downgrade(turn));
    }

    /// Whether the client has left such an answer alone for too long.
    fn has_stalled_tail(&self, limits: &Limits) -> bool {
        let mut tails = self.tails();
        tails.retain(|tail| tail.strong_count() > 0);
        tails
            .iter()
            .filter_map(|tail| tail.upgrade()?.deadline(limits.stall))
            .any(|deadline| deadline <= Instant::now())
    }

    // The list is whole after every step, also one that panicked.
    fn tails(&self) -> MutexGuard<'_, Vec<Weak<Turn>>> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(Self::NONE)
    }

    /// Bytes came. Between two requests of HTTP/1 they begin a header; on HTTP/2
    /// they may as well be a PING, which keeps nothing alive.
    fn received(&self) {
        if self.in_flight.load(Relaxed) == 0
            && !self.http2.load(Relaxed)
            && self.header_since.load(Relaxed) == Self::NONE
        {
            self.header_since.store(self.now(), Relaxed);
        }
    }

    /// Bytes were written, or could not be. The end of an answer may wait for a slow
    /// client long after the answer has ended for us; that is not idleness.
    fn wrote(&self, blocked: bool) {
        if self.blocked.load(Relaxed) != blocked {
            self.blocked.store(blocked, Relaxed);
            self.idle_since.store(self.now(), Relaxed);
        }
    }

    /// When the connection has waited long enough for its client; `None` while the
    /// client waits for us.
    fn deadline(&self, limits: &Limits) -> Option<Instant> {
        let after = |since: u64, limit| self.start + Duration::from_millis(since) + limit;
        if self.in_flight.load(Relaxed) > 0 {
            let waiting = self.ours.load(Relaxed) == 0;
            return waiting.then(|| after(self.taken.load(Relaxed), limits.stall));
        }
        let idle = after(self.idle_since.load(Relaxed), limits.idle);
        match self.header_since.load(Relaxed) {
            Self::NONE => Some(idle),
            since => Some(after(since, limits.header).min(idle)),
        }
    }
}

/// One request, until its answer has ended.
#[derive(Debug)]
pub(super) struct Busy {
    activity: Arc<Activity>,
    /// On HTTP/2, which knows what the client has taken.
    turn: Option<Arc<Turn>>,
    ours: bool,
    answered: bool,
}

impl Busy {
    fn begin(activity: &Arc<Activity>, version: Version) -> Self {
        activity.in_flight.fetch_add(1, Relaxed);
        activity.ours.fetch_add(1, Relaxed);
        activity.header_since.store(Activity::NONE, Relaxed);
        activity.http2.store(version == Version::HTTP_2, Relaxed);
        Self {
            activity: Arc::clone(activity),
            turn: None,
            ours: true,
            answered: false,
        }
    }

    /// There is an answer: its header is the client's to take.
    fn answered(&mut self) {
        self.answered = true;
        let fewer = |abandoned: u32| abandoned.checked_sub(1);
        // None abandoned is no reason to be lenient later.
        let _ = self
            .activity
            .abandoned
            .fetch_update(Relaxed, Relaxed, fewer);
        self.is_ours(false);
    }

    /// Whose turn it is, where the client says what it takes.
    pub(super) fn turn(&self) -> Option<&Arc<Turn>> {
        self.turn.as_ref()
    }

    /// Whether the next part of the answer is ours to make; if not, the client has
    /// just been given one and is to take it.
    pub(super) fn is_ours(&mut self, ours: bool) {
        if self.turn.is_some() {
            return;
        }
        match (self.ours, ours) {
            (false, true) => self.activity.our_turn(),
            (true, false) => self.activity.clients_turn(),
            (false, false) => self.activity.taken.store(self.activity.now(), Relaxed),
            (true, true) => {}
        }
        self.ours = ours;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.turn.is_none() {
            self.activity.ended(self.ours);
        }
        if !self.answered && self.activity.http2.load(Relaxed) {
            self.activity.abandoned.fetch_add(1, Relaxed);
            if self.activity.is_abused() {
                self.activity.waker.wake();
            }
        }
    }
}

/// What the watchdog wants done.
enum Verdict {
    Fine,
    SayGoodbye,
    Leave,
}

/// One timer per connection, moved only when a deadline comes nearer: a busy
/// connection does not pay for it with each request.
struct Watchdog<'a> {
    activity: &'a Activity,
    limits: &'a Limits,
    timer: Pin<Box<tokio::time::Sleep>>,
    leaving: bool,
}

impl<'a> Watchdog<'a> {
    fn new(activity: &'a Activity, limits: &'a Limits) -> Self {
        let first = Instant::now() + limits.header.min(limits.idle);
        Self {
            activity,
            limits,
            timer: Box::pin(tokio::time::sleep_until(first)),
            leaving: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Verdict {
        self.activity.waker.register(cx.waker());
        if self.activity.is_abused() {
            tracing::debug!("a client takes back what it asks for, again and again");
            return Verdict::Leave;
        }
        let dismissed = self.activity.dismissed.swap(false, Relaxed);
        if dismissed && !self.leaving && self.activity.idle_since().is_some() {
            self.leaving = true;
            self.timer.as_mut().reset(Instant::now() + FAREWELL);
            return Verdict::SayGoodbye;
        }
        if self.activity.leaving.swap(false, Relaxed) && !self.leaving {
            self.leaving = true;
            return Verdict::SayGoodbye;
        }
        loop {
            let deadline = self.deadline();
            if !self.leaving
                && let Some(at) = deadline
                && at < self.timer.deadline()
            {
                self.timer.as_mut().reset(at);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Verdict::Fine;
            }
            if self.activity.has_stalled_tail(self.limits) {
                tracing::debug!("a client did not take the end of an HTTP/2 answer");
                return Verdict::Leave;
            }
            let now = Instant::now();
            match deadline {
                Some(at) if at <= now && self.leaving => return Verdict::Leave,
                Some(at) if at <= now => {
                    self.leaving = true;
                    self.timer.as_mut().reset(now + FAREWELL);
                    return Verdict::SayGoodbye;
                }
                Some(at) => self.timer.as_mut().reset(at),
                // The end of an HTTP/2 answer may pass unseen; look again.
                None => self.timer.as_mut().reset(now + self.limits.header),
            }
        }
    }

    /// When it has waited long enough. A client that was told goodbye and waits for nothing
    /// any more, such as one whose answers were given up meanwhile, is not kept for as long
    /// as an idle one.
    fn deadline(&self) -> Option<Instant> {
        let deadline = self.activity.deadline(self.limits)?;
        Some(match self.activity.idle_since() {
            Some(since) if self.leaving => deadline.min(since + FAREWELL),
            _ => deadline,
        })
    }
}

/// The bytes of a connection.
pub(super) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection's bytes, its place among the connections counted, and its clock.
/// Lives as long as the connection, also when it is upgraded.
struct Transport {
    io: Io,
    activity: Arc<Activity>,
    _place: Place,
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let result = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if buf.filled().len() > before {
            self.activity.received();
        }
        result
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let result = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        self.activity.wrote(result.is_pending());
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let result = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        self.activity.wrote(result.is_pending());
        result
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The deadline in milliseconds after the connection began.
    fn deadline(activity: &Activity) -> Option<u128> {
        let limits = Limits::default();
        let at = activity.deadline(&limits)?;
        Some(at.duration_since(activity.start).as_millis())
    }

    /// Lets the connection's clock move on.
    fn tick(activity: &Activity) -> u128 {
        let before = activity.now();
        while activity.now() == before {
            std::thread::yield_now();
        }
        u128::from(activity.now())
    }

    #[test]
    fn a_connection_begins_with_a_header_and_then_idles() {
        let activity = Arc::new(Activity::new());
        assert_eq!(deadline(&activity), Some(10_000));
        let busy = Busy::begin(&activity, Version::HTTP_11);
        assert_eq!(deadline(&activity), None);
        let ended = tick(&activity);
        drop(busy);
        let idle = deadline(&activity).unwrap();
        assert!(idle >= ended + 60_000);
        // The next header begins with its first byte, not with each of them.
        let began = tick(&activity);
        activity.received();
        let header = deadline(&activity).unwrap();
        assert!((began + 10_000..idle).contains(&header));
        tick(&activity);
        activity.received();
        assert_eq!(deadline(&activity), Some(header));
    }

    #[test]
    fn bytes_on_http2_keep_nothing_alive() {
        let activity = Arc::new(Activity::new());
        drop(Busy::begin(&activity, Version::HTTP_2));
        let idle = deadline(&activity);
        tick(&activity);
        activity.received();
        activity.wrote(false);
        assert_eq!(deadline(&activity), idle);
    }

    #[test]
    fn a_client_that_still_takes_the_end_of_an_answer_is_not_idle() {
        let activity = Arc::new(Activity::new());
        drop(Busy::begin(&activity, Version::HTTP_11));
        activity.wrote(true);
        let before = deadline(&activity).unwrap();
        tick(&activity);
        activity.wrote(true);
        assert_eq!(deadline(&activity), Some(before), "no progress");
        activity.wrote(false);
        assert!(deadline(&activity).unwrap() > before);
    }

    #[test]
    fn while_one_answer_waits_for_us_the_client_owes_nothing() {
        let activity = Arc::new(Activity::new());
        let mut first = Busy::begin(&activity, Version::HTTP_2);
        let second = Busy::begin(&activity, Version::HTTP_2);
        first.is_ours(false);
        assert_eq!(deadline(&activity), None);
        drop(second);
        assert!(deadline(&activity).is_some(), "it is to take the first");
        first.is_ours(true);
        assert_eq!(deadline(&activity), None);
    }
}
