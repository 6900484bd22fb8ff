//! What is counted, and how Prometheus reads it (text format 0.0.4).
//!
//! Rules kept here: counting on the way of a connection or a request is relaxed atomics,
//! without a lock and without memory; no label's value comes from a client, so the
//! number of series depends on the settings alone; names and labels are those of
//! [`FAMILIES`], which the documentation is made from.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http::Method;

use super::process;
use crate::clock::Timestamp;
use crate::event::{DIRECTORY, Event, Trigger};
use crate::on_demand::DECISIONS;

/// Most certificates whose dates are shown: those that expire first.
const SHOWN: usize = 1000;

/// Most different values that a label of [`Labelled`] takes; the rest is `other`.
const VALUES: usize = 24;

/// The methods that are told apart.
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "other",
];

/// The classes of an answer's status; `none` when the client left before there was one.
const STATUSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// A counter with one label, whose values the program chooses: each takes the next free
/// place when it is first seen.
#[derive(Debug)]
pub(super) struct Labelled {
    places: [(OnceLock<&'static str>, AtomicU64); VALUES],
    other: AtomicU64,
}

impl Labelled {
    fn new(known: &[&'static str]) -> Self {
        let labelled = Self {
            places: std::array::from_fn(|_| (OnceLock::new(), AtomicU64::new(0))),
            other: AtomicU64::new(0),
        };
        for value in known {
            labelled.place(value);
        }
        labelled
    }

    fn place(&self, value: &'static str) -> &AtomicU64 {
        let taken = |place: &&(OnceLock<&'static str>, _)| *place.0.get_or_init(|| value) == value;
        self.places
            .iter()
            .find(taken)
            .map_or(&self.other, |(_, count)| count)
    }

    pub(super) fn count(&self, value: &'static str) {
        self.place(value).fetch_add(1, Relaxed);
    }

    fn values(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let named = self
            .places
            .iter()
            .filter_map(|(value, count)| Some((*value.get()?, count.load(Relaxed))));
        let other = self.other.load(Relaxed);
        named.chain((other > 0).then_some(("other", other)))
    }
}

/// Most different values of the two labels of [`Crossed`]; the rest is `other`.
const ROWS: usize = 24;
const COLUMNS: usize = 32;

/// A counter with two labels, whose values the program chooses, as for [`Labelled`].
#[derive(Debug)]
pub(super) struct Crossed {
    rows: [OnceLock<&'static str>; ROWS],
    columns: [OnceLock<&'static str>; COLUMNS],
    counts: Box<[[AtomicU64; COLUMNS + 1]]>,
}

impl Default for Crossed {
    fn default() -> Self {
        let row = |_| std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            rows: std::array::from_fn(|_| OnceLock::new()),
            columns: std::array::from_fn(|_| OnceLock::new()),
            counts: (0..=ROWS).map(row).collect(),
        }
    }
}

impl Crossed {
    pub(super) fn count(&self, row: &'static str, column: &'static str) {
        let place = |known: &[OnceLock<&'static str>], value: &'static str| {
            let mut known = known.iter();
            known.position(|place| *place.get_or_init(|| value) == value)
        };
        let row = place(&self.rows, row).unwrap_or(ROWS);
        let column = place(&self.columns, column).unwrap_or(COLUMNS);
        let count = self.counts.get(row).and_then(|counts| counts.get(column));
        if let Some(count) = count {
            count.fetch_add(1, Relaxed);
        }
    }

    /// What has been counted at least once.
    fn values(&self) -> impl Iterator<Item = ([&'static str; 2], u64)> {
        let value = |known: &[OnceLock<&'static str>], n: usize| {
            let value = known.get(n).and_then(|place| place.get().copied());
            value.unwrap_or("other")
        };
        self.counts.iter().enumerate().flat_map(move |(r, counts)| {
            counts.iter().enumerate().filter_map(move |(c, count)| {
                let count = count.load(Relaxed);
                (count > 0).then(|| ([value(&self.rows, r), value(&self.columns, c)], count))
            })
        })
    }
}

/// What is counted of the private ACME directory.
#[derive(Debug)]
pub(super) struct DirectoryCounts {
    pub(super) requests: Crossed,
    pub(super) validations: Crossed,
    certificates: Labelled,
    revocations: Labelled,
}

impl Default for DirectoryCounts {
    fn default() -> Self {
        Self {
            requests: Crossed::default(),
            validations: Crossed::default(),
            certificates: Labelled::new(&[]),
            revocations: Labelled::new(&[]),
        }
    }
}

/// What is counted for one listener.
#[derive(Debug)]
pub(super) struct ListenerCounts {
    label: Box<str>,
    pub(super) handshakes: Labelled,
    pub(super) refused: Labelled,
    accepted: AtomicU64,
    open: AtomicI64,
    in_flight: AtomicI64,
    requests: [[AtomicU64; STATUSES.len()]; METHODS.len()],
    bytes: AtomicU64,
}

impl ListenerCounts {
    fn new(label: &str) -> Self {
        Self {
            label: label.into(),
            handshakes: Labelled::new(&["full", "resumed", "placeholder"]),
            refused: Labelled::new(&[]),
            accepted: AtomicU64::new(0),
            open: AtomicI64::new(0),
            in_flight: AtomicI64::new(0),
            requests: Default::default(),
            bytes: AtomicU64::new(0),
        }
    }

    pub(super) fn label(&self) -> &str {
        &self.label
    }

    pub(super) fn connection_opened(&self) {
        self.accepted.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
    }

    pub(super) fn connection_closed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    pub(super) fn request_began(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// `status` is `None` when there was no answer.
    pub(super) fn request_ended(&self, method: MethodClass, status: Option<u16>, bytes: u64) {
        self.in_flight.fetch_sub(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        let class = usize::from(status.unwrap_or(0) / 100).min(STATUSES.len() - 1);
        if let Some(count) = self.requests.get(method.0).and_then(|row| row.get(class)) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn open_connections(&self) -> i64 {
        self.open.load(Relaxed)
    }
}

/// A place in [`METHODS`].
#[derive(Debug, Clone, Copy)]
pub(super) struct MethodClass(usize);

impl MethodClass {
    pub(super) fn of(method: &Method) -> Self {
        let known = METHODS.iter().position(|known| *known == method.as_str());
        // A client may call its method `other`; that is what it is, then.
        Self(known.unwrap_or(METHODS.len() - 1))
    }
}

/// The dates of one certificate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dates {
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) renewal: Option<Timestamp>,
}

/// A certificate that is not there yet.
#[derive(Debug, Clone)]
pub(super) struct Awaited {
    /// Why the last attempt came to nothing.
    pub(super) error: Option<String>,
    /// When there is another.
    pub(super) retry_at: Option<Timestamp>,
}

/// Everything that is counted.
#[derive(Debug)]
pub(super) struct Metrics {
    listeners: Mutex<Vec<Arc<ListenerCounts>>>,
    certificates: Mutex<BTreeMap<String, Dates>>,
    awaited: Mutex<BTreeMap<String, Awaited>>,
    swaps: AtomicU64,
    reloads: Labelled,
    issuances: Labelled,
    on_demand: Labelled,
    pub(super) directory: DirectoryCounts,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            listeners: Mutex::default(),
            certificates: Mutex::default(),
            awaited: Mutex::default(),
            swaps: AtomicU64::new(0),
            reloads: Labelled::new(&["done", "failed"]),
            directory: DirectoryCounts::default(),
            issuances: Labelled::new(&["issued", "renewed", "failed"]),
            on_demand: {
                let counts = Labelled::new(&["requested"]);
                DECISIONS.iter().for_each(|known| _ = counts.place(known));
                counts
            },
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    /// The counts of the listener at `label`, which go on where they were when it is
    /// opened again.
    pub(super) fn listener(&self, label: &str) -> Arc<ListenerCounts> {
        let mut listeners = lock(&self.listeners);
        if let Some(known) = listeners.iter().find(|known| known.label() == label) {
            return Arc::clone(known);
        }
        let counts = Arc::new(ListenerCounts::new(label));
        listeners.push(Arc::clone(&counts));
        counts
    }

    pub(super) fn listeners(&self) -> Vec<Arc<ListenerCounts>> {
        lock(&self.listeners).clone()
    }

    pub(super) fn certificate(&self, id: &str, dates: Option<Dates>) {
        lock(&self.awaited).remove(id);
        let mut certificates = lock(&self.certificates);
        match dates {
            Some(dates) => _ = certificates.insert(id.to_owned(), dates),
            None => _ = certificates.remove(id),
        }
    }

    pub(super) fn await_certificate(&self, id: &str, awaited: Awaited) {
        lock(&self.awaited).insert(id.to_owned(), awaited);
    }

    /// Those that are waited for.
    pub(super) fn awaited(&self) -> BTreeMap<String, Awaited> {
        lock(&self.awaited).clone()
    }

    /// How many there are, and those that expire first.
    pub(super) fn certificates(&self) -> (usize, Vec<(String, Dates)>) {
        let mut all: Vec<_> = lock(&self.certificates)
            .iter()
            .map(|(id, dates)| (id.clone(), *dates))
            .collect();
        let count = all.len();
        if count > SHOWN {
            all.sort_by_key(|(_, dates)| dates.not_after);
            all.truncate(SHOWN);
        }
        (count, all)
    }

    pub(super) fn on_demand(&self, decision: &'static str) {
        self.on_demand.count(decision);
    }

    /// Counts what an event tells.
    pub(super) fn note(&self, event: &Event) {
        match event {
            Event::Reloaded => self.reloads.count("done"),
            Event::ReloadFailed { .. } => self.reloads.count("failed"),
            Event::CertificateIssued(issued) => self.made_by(&issued.source).count("issued"),
            Event::CertificateRenewed(issued) => self.made_by(&issued.source).count("renewed"),
            Event::CertificateRevoked { reason, .. } => self.directory.revocations.count(reason),
            Event::CertificateFailed { source, .. } => self.made_by(source).count("failed"),
            Event::CertificateSwapped(_) => _ = self.swaps.fetch_add(1, Relaxed),
            Event::CertificateRequested {
                trigger: Trigger::Tls | Trigger::Http,
                ..
            } => self.on_demand.count("requested"),
            Event::Ready { .. }
            | Event::CertificateRequested { .. }
            | Event::CertificateRejected { .. }
            | Event::ValidationFailed { .. }
            | Event::AccountRegistered(_)
            | Event::Stopping
            | Event::Stopped { .. }
            | Event::CertificateExpiring(_) => {}
        }
    }

    /// Where an issuance counts: what others obtain is told apart from what this server
    /// has for itself.
    fn made_by(&self, source: &str) -> &Labelled {
        match source {
            DIRECTORY => &self.directory.certificates,
            _ => &self.issuances,
        }
    }

    /// What a scrape reads. `lost` are the lines that the access log and the events lost.
    pub(super) fn render(&self, lost: [u64; 2]) -> String {
        let mut text = Exposition(String::with_capacity(16 * 1024));
        text.family(BUILD).sample(&[env!("CARGO_PKG_VERSION")], 1);
        render_listeners(&mut text, &self.listeners());
        let (count, certificates) = self.certificates();
        render_certificates(&mut text, count, &certificates);
        let awaited = lock(&self.awaited).len();
        text.family(AWAITED).sample(&[], awaited);
        self.render_events(&mut text);
        let mut lost_lines = text.family(LOST);
        for (log, lines) in ["access", "events"].iter().zip(lost) {
            lost_lines.sample(&[log], lines);
        }
        render_process(&mut text, &process::Usage::read());
        text.0
    }

    fn render_events(&self, text: &mut Exposition) {
        text.family(SWAPS).sample(&[], self.swaps.load(Relaxed));
        for (name, counter) in [
            (ISSUANCES, &self.issuances),
            (ON_DEMAND, &self.on_demand),
            (RELOADS, &self.reloads),
            (DIRECTORY_CERTIFICATES, &self.directory.certificates),
            (DIRECTORY_REVOCATIONS, &self.directory.revocations),
        ] {
            let mut family = text.family(name);
            for (value, count) in counter.values() {
                family.sample(&[value], count);
            }
        }
        for (name, counter) in [
            (DIRECTORY_REQUESTS, &self.directory.requests),
            (DIRECTORY_VALIDATIONS, &self.directory.validations),
        ] {
            let mut family = text.family(name);
            for (values, count) in counter.values() {
                family.sample(&values, count);
            }
        }
    }
}

/// How samples are found.
type Number = fn(&ListenerCounts) -> i64;
type Counter = fn(&ListenerCounts) -> &Labelled;
type Date = fn(&Dates) -> Option<Timestamp>;

fn render_listeners(text: &mut Exposition, listeners: &[Arc<ListenerCounts>]) {
    let numbers: [(_, Number); 4] = [
        (OPEN, |l| l.open.load(Relaxed)),
        (ACCEPTED, |l| as_i64(&l.accepted)),
        (IN_FLIGHT, |l| l.in_flight.load(Relaxed)),
        (BYTES, |l| as_i64(&l.bytes)),
    ];
    for (name, number) in numbers {
        let mut family = text.family(name);
        for listener in listeners {
            family.sample(&[listener.label()], number(listener));
        }
    }
    let labelled: [(_, Counter); 2] = [(HANDSHAKES, |l| &l.handshakes), (REFUSED, |l| &l.refused)];
    for (name, of) in labelled {
        let mut family = text.family(name);
        for listener in listeners {
            for (value, count) in of(listener).values() {
                family.sample(&[listener.label(), value], count);
            }
        }
    }
    let mut requests = text.family(REQUESTS);
    for listener in listeners {
        for (method, row) in METHODS.iter().zip(&listener.requests) {
            for (status, count) in STATUSES.iter().zip(row) {
                requests.sample(&[listener.label(), method, status], count.load(Relaxed));
            }
        }
    }
}

fn render_certificates(text: &mut Exposition, count: usize, shown: &[(String, Dates)]) {
    text.family(CERTIFICATES).sample(&[], count);
    let dates: [(_, Date); 3] = [
        (NOT_BEFORE, |dates| Some(dates.not_before)),
        (NOT_AFTER, |dates| Some(dates.not_after)),
        (RENEWAL, |dates| dates.renewal),
    ];
    for (name, date) in dates {
        let mut family = text.family(name);
        for (id, dates) in shown {
            if let Some(date) = date(dates) {
                family.sample(&[id], date.unix_timestamp());
            }
        }
    }
}

fn render_process(text: &mut Exposition, process: &process::Usage) {
    for (name, value) in [
        (STARTED, process.started),
        (OPEN_FDS, process.open_fds),
        (MAX_FDS, process.max_fds),
        (RESIDENT, process.resident),
        (THREADS, process.threads),
    ] {
        let mut family = text.family(name);
        if let Some(value) = value {
            family.sample(&[], value);
        }
    }
}

fn as_i64(counter: &AtomicU64) -> i64 {
    i64::try_from(counter.load(Relaxed)).unwrap_or(i64::MAX)
}

struct Exposition(String);

impl Exposition {
    /// Begins the family of [`FAMILIES`] called `name`.
    fn family(&mut self, name: &'static str) -> Samples<'_> {
        let family = FAMILIES.iter().find(|family| family.name == name);
        let family = family.expect("every name that is rendered is in the table");
        let Family { kind, help, .. } = family;
        writeln!(self.0, "# HELP {name} {help}.\n# TYPE {name} {kind}").expect(TAKES_ALL);
        Samples {
            text: &mut self.0,
            family,
        }
    }
}

struct Samples<'a> {
    text: &'a mut String,
    family: &'static Family,
}

impl Samples<'_> {
    fn sample(&mut self, values: &[&str], number: impl Display) {
        self.text.push_str(self.family.name);
        for (n, (label, value)) in self.family.labels.iter().zip(values).enumerate() {
            self.text.push(if n == 0 { '{' } else { ',' });
            write!(self.text, "{label}=\"").expect(TAKES_ALL);
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        let end = if values.is_empty() { "" } else { "}" };
        writeln!(self.text, "{end} {number}").expect(TAKES_ALL);
    }
}

const TAKES_ALL: &str = "a string takes all";

/// One metric.
#[derive(Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    /// What it tells, as a sentence without its end.
    pub help: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
}

const BUILD: &str = "certmint_build_info";
const OPEN: &str = "certmint_connections_open";
const ACCEPTED: &str = "certmint_connections_total";
const REFUSED: &str = "certmint_refused_total";
const HANDSHAKES: &str = "certmint_tls_handshakes_total";
const REQUESTS: &str = "certmint_http_requests_total";
const IN_FLIGHT: &str = "certmint_http_requests_in_flight";
const BYTES: &str = "certmint_http_answer_bytes_total";
const CERTIFICATES: &str = "certmint_certificates";
const AWAITED: &str = "certmint_certificates_awaited";
const NOT_BEFORE: &str = "certmint_certificate_not_before_seconds";
const NOT_AFTER: &str = "certmint_certificate_not_after_seconds";
const RENEWAL: &str = "certmint_certificate_renewal_seconds";
const SWAPS: &str = "certmint_certificate_swaps_total";
const ISSUANCES: &str = "certmint_issuances_total";
const ON_DEMAND: &str = "certmint_on_demand_decisions_total";
const RELOADS: &str = "certmint_reloads_total";
const DIRECTORY_REQUESTS: &str = "certmint_directory_requests_total";
const DIRECTORY_VALIDATIONS: &str = "certmint_directory_validations_total";
const DIRECTORY_CERTIFICATES: &str = "certmint_directory_certificates_total";
const DIRECTORY_REVOCATIONS: &str = "certmint_directory_revocations_total";
const LOST: &str = "certmint_log_lines_lost_total";
const STARTED: &str = "process_start_time_seconds";
const OPEN_FDS: &str = "process_open_fds";
const MAX_FDS: &str = "process_max_fds";
const RESIDENT: &str = "process_resident_memory_bytes";
const THREADS: &str = "process_threads";

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family {
        name,
        kind: "counter",
        help,
        labels,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family {
        name,
        kind: "gauge",
        help,
        labels,
    }
}

/// Every metric.
pub const FAMILIES: &[Family] = &[
    gauge(BUILD, &["version"], "Which certmint this is, always 1"),
    gauge(OPEN, &["listener"], "Connections that are open"),
    counter(ACCEPTED, &["listener"], "Connections that were accepted"),
    counter(
        REFUSED,
        &["listener", "reason"],
        "Connections that were closed, and requests that were refused, for a limit",
    ),
    counter(
        HANDSHAKES,
        &["listener", "outcome"],
        "TLS handshakes: full, resumed, or why there is no connection",
    ),
    counter(
        REQUESTS,
        &["listener", "method", "status"],
        "Requests whose answer has ended, by the class of its status; none when the client left \
         before there was one",
    ),
    gauge(
        IN_FLIGHT,
        &["listener"],
        "Requests whose answer has not ended",
    ),
    counter(
        BYTES,
        &["listener"],
        "Bytes in the bodies of answers, as handed to HTTP",
    ),
    gauge(CERTIFICATES, &[], "Certificates that are served with"),
    gauge(
        AWAITED,
        &[],
        "Certificates that listeners wait for: they are being obtained, or will be tried again",
    ),
    gauge(
        NOT_BEFORE,
        &["id"],
        "First second of a certificate's life, Unix time; of the 1000 that expire first",
    ),
    gauge(
        NOT_AFTER,
        &["id"],
        "Last second of a certificate's life, Unix time; of the 1000 that expire first",
    ),
    gauge(
        RENEWAL,
        &["id"],
        "When a certificate is looked at for renewal next, Unix time; of the 1000 that expire first",
    ),
    counter(SWAPS, &[], "Certificates that took another's place"),
    counter(
        ISSUANCES,
        &["result"],
        "Attempts to have a certificate issued: issued, renewed or failed",
    ),
    counter(
        ON_DEMAND,
        &["decision"],
        "Names that clients asked for and that there is no certificate for: requested, on their way \
         already (coalesced), loaded from the store, or why they were refused",
    ),
    counter(
        RELOADS,
        &["result"],
        "Times that the settings were read again: done or failed",
    ),
    counter(
        DIRECTORY_REQUESTS,
        &["endpoint", "problem"],
        "Requests that the private ACME directory answered, by the type of the problem; none when \
         there was none",
    ),
    counter(
        DIRECTORY_VALIDATIONS,
        &["challenge", "outcome"],
        "Challenges that the private ACME directory looked at: valid or invalid",
    ),
    counter(
        DIRECTORY_CERTIFICATES,
        &["result"],
        "Certificates that the private ACME directory made for its clients: issued, renewed or failed",
    ),
    counter(
        DIRECTORY_REVOCATIONS,
        &["reason"],
        "Certificates that were revoked through the private ACME directory",
    ),
    counter(
        LOST,
        &["log"],
        "Lines that could not be written to the access log or the events",
    ),
    gauge(STARTED, &[], "When the process began, Unix time"),
    gauge(OPEN_FDS, &[], "Descriptors that are open"),
    gauge(MAX_FDS, &[], "Most descriptors that may be open"),
    gauge(RESIDENT, &[], "Memory that is in use, in bytes"),
    gauge(THREADS, &[], "Threads of the process"),
];

/// The documentation of the metrics, as Markdown.
pub fn reference() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         `/metrics` of the admin listener and of the admin socket, in the text format of Prometheus. \
         No label's value comes from a client, \
         but for the ids of certificates that were made on demand.\n\n\
         | metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for family in FAMILIES {
        let labels: Vec<String> = family.labels.iter().map(|l| format!("`{l}`")).collect();
        let (name, kind, labels) = (family.name, family.kind, labels.join(" "));
        writeln!(text, "| `{name}` | {kind} | {labels} | {} |", family.help).expect(TAKES_ALL);
    }
    text
}
