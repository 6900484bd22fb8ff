//! What others may know of a running server: counts, events, and a line for each request.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Request;
use tokio::time::Instant;

use super::access_log::{Entry, LineFormat, Outcome};
use super::connection::Connection;
use super::metrics::{Awaited, Dates, ListenerCounts, MethodClass, Metrics};
use super::sink::{Sink, SinkError};
use crate::bundle::Certificate;
use crate::clock::{Clock, SystemClock, Timestamp, rfc3339};
use crate::event::{Event, Moment};
use crate::settings::LogTarget;

/// Counts what a server does, and writes it down where that is wanted. Clones share all
/// of it. The default counts and writes nowhere.
#[derive(Debug, Clone, Default)]
pub struct Telemetry(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    began: Timestamp,
    metrics: Metrics,
    access: Option<AccessLog>,
    events: Option<(Sink, LogTarget)>,
    last_reload: Mutex<Option<Reload>>,
    beats: Mutex<Vec<Arc<Beat>>>,
}

#[derive(Debug)]
struct AccessLog {
    sink: Sink,
    target: LogTarget,
    format: LineFormat,
}

impl Default for Shared {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock))
    }
}

impl Shared {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            began: clock.now(),
            clock,
            metrics: Metrics::default(),
            access: None,
            events: None,
            last_reload: Mutex::default(),
            beats: Mutex::default(),
        }
    }
}

/// How the last reload went.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Reload {
    /// When.
    pub time: Moment,
    /// Why it changed nothing; `None` when it is in force.
    pub error: Option<String>,
}

impl Telemetry {
    /// Writes requests and events to these targets, requests in `format`. Files are made
    /// with mode 0600.
    pub fn new(
        clock: Arc<dyn Clock>,
        access_log: Option<&LogTarget>,
        events: Option<&LogTarget>,
        format: LineFormat,
    ) -> Result<Self, SinkError> {
        let access = access_log.map(|target| {
            let sink = Sink::open("access log", target)?;
            let target = target.clone();
            Ok::<_, SinkError>(AccessLog {
                sink,
                target,
                format,
            })
        });
        let events = events.map(|target| {
            let sink = Sink::open("event log", target)?;
            Ok::<_, SinkError>((sink, target.clone()))
        });
        Ok(Self(Arc::new(Shared {
            access: access.transpose()?,
            events: events.transpose()?,
            ..Shared::new(clock)
        })))
    }

    /// Counts an event and writes it down. One that cannot be written is logged.
    pub fn emit(&self, event: &Event) {
        self.0.metrics.note(event);
        let now = self.0.clock.now();
        match event {
            Event::Reloaded => self.reloaded(now, None),
            Event::ReloadFailed { error } => self.reloaded(now, Some(error.clone())),
            _ => {}
        }
        if let Some((sink, _)) = &self.0.events
            && let Err(line) = sink.write(event.to_line(now))
        {
            tracing::error!(
                event = line.trim_end(),
                "an event could not be written down"
            );
        }
    }

    fn reloaded(&self, now: Timestamp, error: Option<String>) {
        let time = Moment(now);
        let last = self.0.last_reload.lock();
        *last.unwrap_or_else(PoisonError::into_inner) = Some(Reload { time, error });
    }

    /// How the last reload went, if there was one.
    pub fn last_reload(&self) -> Option<Reload> {
        let last = self.0.last_reload.lock();
        last.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows the dates of `leaf`, which is served under `id`, and when it is looked at
    /// for renewal, if it ever is.
    pub fn serves(&self, id: &str, leaf: &Certificate, renewal: Option<Timestamp>) {
        let dates = Dates {
            not_before: leaf.not_before(),
            not_after: leaf.not_after(),
            renewal,
        };
        self.0.metrics.certificate(id, Some(dates));
    }

    /// Somebody waits for the certificate `id`: it is being obtained, or will be tried
    /// again after an error.
    pub fn awaits(&self, id: &str, error: Option<&str>, retry_at: Option<Timestamp>) {
        let error = error.map(str::to_owned);
        self.0
            .metrics
            .await_certificate(id, Awaited { error, retry_at });
    }

    /// The certificate `id` is not served any more, nor waited for.
    pub fn withdrawn(&self, id: &str) {
        self.0.metrics.certificate(id, None);
    }

    /// Counts a decision about a name that there is no certificate for. Requests and
    /// rejections are counted by their events.
    pub fn on_demand(&self, decision: &'static str) {
        self.0.metrics.on_demand(decision);
    }

    /// Counts a request that the private ACME directory answered. `problem` is the type of
    /// what was wrong with it; both are among few.
    pub fn directory_request(&self, endpoint: &'static str, problem: Option<&'static str>) {
        let counts = &self.0.metrics.directory.requests;
        counts.count(endpoint, problem.unwrap_or("none"));
    }

    /// Counts a challenge that the private ACME directory looked at.
    pub fn directory_validation(&self, challenge: &'static str, is_valid: bool) {
        let outcome = if is_valid { "valid" } else { "invalid" };
        let counts = &self.0.metrics.directory.validations;
        counts.count(challenge, outcome);
    }

    /// Opens the files again that lines are written to: they may have been moved away.
    pub fn reopen(&self) -> Result<(), SinkError> {
        if let Some(log) = &self.0.access {
            log.sink.reopen(&log.target)?;
        }
        if let Some((sink, target)) = &self.0.events {
            sink.reopen(target)?;
        }
        Ok(())
    }

    /// Waits, a few seconds at most, until everything is written down.
    pub fn settle(&self) {
        if let Some(log) = &self.0.access {
            log.sink.settle();
        }
        if let Some((sink, _)) = &self.0.events {
            sink.settle();
        }
    }

    /// What Prometheus reads. Reads files of the kernel's.
    pub fn metrics(&self) -> String {
        let access = self.0.access.as_ref().map(|log| log.sink.lost());
        let events = self.0.events.as_ref().map(|(sink, _)| sink.lost());
        self.0
            .metrics
            .render([access.unwrap_or(0), events.unwrap_or(0)])
    }

    /// How the server is, as JSON of the schema `certmint.server-status/1`.
    pub fn status(&self) -> serde_json::Value {
        let (count, certificates) = self.0.metrics.certificates();
        let certificates: Vec<_> = certificates
            .into_iter()
            .map(|(id, dates)| {
                serde_json::json!({
                    "id": id,
                    "not_before": Moment(dates.not_before),
                    "not_after": Moment(dates.not_after),
                    "renewal": dates.renewal.map(Moment),
                })
            })
            .collect();
        let awaited = self.0.metrics.awaited().into_iter().map(|(id, awaited)| {
            serde_json::json!({
                "id": id,
                "error": awaited.error,
                "retry_at": awaited.retry_at.map(Moment),
            })
        });
        let listeners = self.0.metrics.listeners().into_iter().map(|listener| {
            serde_json::json!({
                "address": listener.label(),
                "connections": listener.open_connections(),
            })
        });
        let now = self.0.clock.now();
        serde_json::json!({
            "schema": "certmint.server-status/1",
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "time": rfc3339(now),
            "started": rfc3339(self.0.began),
            "uptime_seconds": (now - self.0.began).whole_seconds(),
            "listeners": listeners.collect::<Vec<_>>(),
            "certificates_total": count,
            "certificates": certificates,
            "awaited": awaited.collect::<Vec<_>>(),
            "last_reload": self.last_reload(),
        })
    }

    /// What is counted for the listener at `label`.
    pub(super) fn listener(&self, label: &str) -> Witness {
        Witness {
            counts: self.0.metrics.listener(label),
            telemetry: self.clone(),
        }
    }

    /// Runs `work`, which is to go on until it ends by itself, and notes that it is alive
    /// for as long as the runtime gives it its turn.
    pub(super) async fn watched(&self, work: impl Future<Output = ()>) {
        let beat = Arc::new(Beat::new());
        self.beats().push(Arc::clone(&beat));
        let beating = async {
            let mut ticks = tokio::time::interval(BEAT);
            loop {
                ticks.tick().await;
                beat.beat();
            }
        };
        tokio::select! {
            () = work => {}
            () = beating => {}
        }
        // Not reached by a panic: what died without an end is missed.
        beat.ended.store(true, Relaxed);
        self.beats().retain(|other| !other.ended.load(Relaxed));
    }

    /// Whether everything that is watched has had its turn within `within`;
    /// not less than a few seconds.
    pub fn is_alive(&self, within: Duration) -> bool {
        self.beats().iter().all(|beat| beat.is_younger_than(within))
    }

    fn beats(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Beat>>> {
        self.0.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often something that is watched says that it is alive.
const BEAT: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Beat {
    began: Instant,
    /// Milliseconds after `began`.
    last: AtomicU64,
    ended: AtomicBool,
}

impl Beat {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            last: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        }
    }

    fn beat(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Relaxed);
    }

    fn is_younger_than(&self, age: Duration) -> bool {
        let last = Duration::from_millis(self.last.load(Relaxed));
        self.ended.load(Relaxed) || self.began.elapsed().saturating_sub(last) < age
    }
}

/// Sees what one listener does.
#[derive(Debug, Clone)]
pub(super) struct Witness {
    counts: Arc<ListenerCounts>,
    telemetry: Telemetry,
}

impl Witness {
    pub(super) fn counts(&self) -> &ListenerCounts {
        &self.counts
    }

    /// A connection, until what is returned is dropped.
    pub(super) fn connection(&self) -> Open {
        self.counts.connection_opened();
        Open(Arc::clone(&self.counts))
    }

    /// A request, until what is returned is dropped.
    pub(super) fn request<B>(&self, request: &Request<B>, connection: &Arc<Connection>) -> Seen {
        self.counts.request_began();
        let log = self.telemetry.0.access.is_some().then(|| {
            let entry = Entry::new(request, connection);
            Box::new((entry, self.telemetry.clone(), Instant::now()))
        });
        Seen {
            counts: Arc::clone(&self.counts),
            method: MethodClass::of(request.method()),
            status: None,
            bytes: 0,
            log,
        }
    }
}

/// A connection that is counted as open.
#[derive(Debug)]
pub(super) struct Open(Arc<ListenerCounts>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

/// One request, until its answer has ended; then it is counted and logged.
#[derive(Debug)]
pub(super) struct Seen {
    counts: Arc<ListenerCounts>,
    method: MethodClass,
    status: Option<u16>,
    bytes: u64,
    log: Option<Box<(Entry, Telemetry, Instant)>>,
}

impl Seen {
    /// What it is answered with. `upstream` is asked only when somebody wants to know.
    pub(super) fn answered(&mut self, status: u16, upstream: impl FnOnce() -> Option<String>) {
        self.status = Some(status);
        if let Some(log) = &mut self.log {
            log.0.upstream = upstream();
        }
    }

    /// A part of the answer.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.counts
            .request_ended(self.method, self.status, self.bytes);
        let Some((entry, telemetry, began)) = self.log.as_deref() else {
            return;
        };
        if let Some(log) = &telemetry.0.access {
            let outcome = Outcome {
                status: self.status,
                bytes: self.bytes,
                took: began.elapsed(),
                listener: self.counts.label(),
                now: telemetry.0.clock.now(),
            };
            // What is lost is counted there.
            let _ = log.sink.write(entry.to_line(log.format, outcome));
        }
    }
}
