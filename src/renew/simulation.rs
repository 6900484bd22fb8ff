//! Certificates of public CAs over simulated years: CAs that suggest, fail and hang,
//! and a machine whose clock is wrong.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::*;
use crate::bundle::CertBundle;
use crate::clock::{Duration, ManualClock};
use crate::issuer::{AcmeRef, BoxFuture, Directory, Profile, Usage};
use crate::key::KeyType;
use crate::store::memory::MemoryStore;

const DAY: Duration = Duration::DAY;
const HOUR: Duration = Duration::HOUR;

/// The machine's clock: the true time, and how far it is off.
#[derive(Debug)]
struct WrongClock {
    truth: Arc<ManualClock>,
    off: AtomicI64,
}

impl Clock for WrongClock {
    fn now(&self) -> Timestamp {
        self.truth.now() + Duration::seconds(self.off.load(Ordering::SeqCst))
    }
}

/// What a CA says about when to renew.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Suggests {
    /// Nothing at all.
    #[default]
    Nothing,
    /// As Let's Encrypt does: two days around two thirds of a life.
    Usual,
    /// That it was due yesterday.
    Past,
    /// Not before its last hour.
    TheEnd,
    /// An error, with or without a time to come back.
    Error(Option<Duration>),
    /// Never anything.
    Hangs,
}

#[derive(Debug, Default)]
struct Mood {
    suggests: Suggests,
    /// Certificates issued before this should be replaced now.
    revoked_before: Option<Timestamp>,
    /// Issues nothing; says when to come back.
    down: Option<Option<Duration>>,
    /// Issues nothing, and does not say so.
    hangs: bool,
    /// When it was asked for a certificate.
    orders: Vec<Timestamp>,
    /// When it was asked about one.
    questions: Vec<Timestamp>,
    issued: u32,
    /// Orders under way, now and at most.
    open: (usize, usize),
    /// Lets orders go on once as many are under way.
    gate: Option<(usize, Arc<Notify>)>,
}

/// A CA, whose clock is right.
#[derive(Debug)]
struct Ca {
    life: Duration,
    truth: Arc<ManualClock>,
    machine: Arc<WrongClock>,
    mood: Mutex<Mood>,
}

impl Ca {
    fn mood<T>(&self, change: impl FnOnce(&mut Mood) -> T) -> T {
        change(&mut self.mood.lock().unwrap())
    }

    fn error(&self, retry_after: Option<Duration>) -> IssueError {
        IssueError {
            message: "not today".to_owned(),
            hint: Some("try tomorrow".to_owned()),
            permanent: false,
            retry_after: retry_after.map(|after| self.machine.now() + after),
            source: Some("the CA is on holiday".into()),
        }
    }

    async fn order(&self, wanted: Wanted<'_>, key: PrivateKey) -> Result<Issued, IssueError> {
        let now = self.truth.now();
        let (hangs, gate) = self.mood(|mood| {
            mood.orders.push(now);
            mood.open.0 += 1;
            mood.open.1 = mood.open.1.max(mood.open.0);
            let gate = mood.gate.clone();
            if let Some((many, notify)) = &gate
                && mood.open.0 == *many
            {
                notify.notify_waiters();
            }
            (mood.hangs, gate.filter(|(many, _)| mood.open.0 < *many))
        });
        if hangs {
            std::future::pending::<()>().await;
        }
        if let Some((_, notify)) = gate {
            notify.notified().await;
        }
        let down = self.mood(|mood| {
            mood.open.0 -= 1;
            mood.down
        });
        if let Some(retry_after) = down {
            return Err(self.error(retry_after));
        }
        let bundle = certificate(wanted.profile, key, now, self.life);
        if !bundle.leaf().is_valid_at(self.machine.now()) {
            // As the client does with what has no sensible dates.
            return Err(self.error(None));
        }
        self.mood(|mood| mood.issued += 1);
        Ok(Issued {
            bundle,
            obtained: Some(obtained(&wanted.replaces.unwrap().obtained.directory)),
        })
    }

    async fn suggestion(&self, leaf: &Certificate) -> Result<Option<RenewalInfo>, IssueError> {
        let (truth, now) = (self.truth.now(), self.machine.now());
        let (suggests, revoked_before) = self.mood(|mood| {
            mood.questions.push(truth);
            (mood.suggests, mood.revoked_before)
        });
        let third = leaf.lifetime() / 3;
        let (start, end) = match suggests {
            _ if revoked_before.is_some_and(|before| leaf.not_before() < before) => {
                (leaf.not_before(), leaf.not_before() + DAY)
            }
            Suggests::Usual => {
                let middle = leaf.not_after() - third;
                (middle - third / 10, middle + third / 10)
            }
            Suggests::Past => (truth - DAY * 2, truth - DAY),
            Suggests::TheEnd => (leaf.not_after() - HOUR, leaf.not_after()),
            Suggests::Nothing => return Ok(None),
            Suggests::Error(retry_after) => return Err(self.error(retry_after)),
            Suggests::Hangs => std::future::pending().await,
        };
        Ok(Some(RenewalInfo {
            start,
            end,
            explanation: Some("https://ca.test/why".to_owned()),
            ask_again: now + HOUR * 6,
        }))
    }
}

impl Issuer for Ca {
    fn issue<'a>(
        &'a self,
        wanted: Wanted<'a>,
        key: PrivateKey,
    ) -> BoxFuture<'a, Result<Issued, IssueError>> {
        Box::pin(self.order(wanted, key))
    }

    fn renewal_info<'a>(
        &'a self,
        certificate: Predecessor<'a>,
    ) -> BoxFuture<'a, Result<Option<RenewalInfo>, IssueError>> {
        Box::pin(self.suggestion(certificate.leaf))
    }

    fn backs_off(&self) -> bool {
        true
    }
}

fn certificate(profile: &Profile, key: PrivateKey, now: Timestamp, life: Duration) -> CertBundle {
    let names: Vec<String> = profile.names.iter().map(ToString::to_string).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.not_before = now - HOUR;
    params.not_after = now - HOUR + life;
    let certificate = params.self_signed(&key).unwrap();
    let certificate = Certificate::from_der(certificate.der()).unwrap();
    CertBundle::new(key, vec![certificate]).unwrap()
}

fn obtained(directory: &Directory) -> Obtained {
    Obtained {
        directory: directory.clone(),
        account: format!("{}account/1", directory.url()),
    }
}

/// A machine with certificates of several CAs.
struct Machine {
    truth: Arc<ManualClock>,
    clock: Arc<WrongClock>,
    store: MemoryStore,
    cas: BTreeMap<String, Arc<Ca>>,
    runtime: Runtime,
}

impl Issuers for BTreeMap<String, Arc<Ca>> {
    fn open(&self, issuer: &IssuerRef) -> Result<Arc<dyn Issuer>, IssueError> {
        Ok(Arc::clone(&self[&issuer.to_string()]) as _)
    }

    fn superseded(&self, _: &IssuerRef, _: &Certificate) -> Option<Superseded> {
        None
    }
}

impl Machine {
    fn new() -> Self {
        let start = Timestamp::from_unix_timestamp(1_800_000_000).unwrap();
        let truth = Arc::new(ManualClock::new(start));
        let clock = Arc::new(WrongClock {
            truth: Arc::clone(&truth),
            off: AtomicI64::new(0),
        });
        Self {
            truth,
            clock,
            store: MemoryStore::new(),
            cas: BTreeMap::new(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    /// One with one certificate for `a.test`.
    fn with(life: Duration, suggests: Suggests) -> (Self, Arc<Ca>, CertId) {
        let mut machine = Self::new();
        let ca = machine.ca("ca.test", life);
        ca.mood(|mood| mood.suggests = suggests);
        let id = machine.certificate("a.test", "ca.test");
        (machine, ca, id)
    }

    fn ca(&mut self, host: &str, life: Duration) -> Arc<Ca> {
        let ca = Arc::new(Ca {
            life,
            truth: Arc::clone(&self.truth),
            machine: Arc::clone(&self.clock),
            mood: Mutex::default(),
        });
        let directory = directory(host).to_string();
        self.cas.insert(directory, Arc::clone(&ca));
        ca
    }

    fn certificate(&self, name: &str, host: &str) -> CertId {
        self.certificate_with(name, host, |_| {})
    }

    fn certificate_with(&self, name: &str, host: &str, change: impl FnOnce(&mut Record)) -> CertId {
        let profile = Profile {
            names: vec![Identifier::parse(name).unwrap()],
            key_type: KeyType::P256,
            usage: Usage::Server,
            lifetime_seconds: None,
        };
        let directory = directory(host);
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let life = self.cas[&directory.to_string()].life;
        let bundle = certificate(&profile, key, self.truth.now(), life);
        let mut record = Record {
            profile,
            obtained: Some(obtained(&directory)),
            issuer: IssuerRef::Acme(Box::new(AcmeRef::new(directory))),
            reuse_key: false,
            exports: Vec::new(),
            deploy_hook: None,
        };
        change(&mut record);
        let id: CertId = name.parse().unwrap();
        self.store.commit(&id, &bundle, &record).unwrap();
        id
    }

    fn renewal(&self) -> Renewal<'_> {
        Renewal {
            store: &self.store,
            issuers: &self.cas,
            clock: &*self.clock,
        }
    }

    fn run(&self, request: &Request) -> Vec<Outcome> {
        self.runtime.block_on(self.renewal().run(request)).unwrap()
    }

    /// One run of cron, which knows when the next will be.
    fn cron(&self, every: Duration) -> Outcome {
        let request = Request {
            next_run: Some(self.clock.now() + every),
            ..Request::default()
        };
        self.run(&request).remove(0)
    }

    fn is_valid(&self, id: &CertId) -> bool {
        let stored = self.store.load(id).unwrap().unwrap();
        stored.bundle.leaf().is_valid_at(self.truth.now())
    }

    fn life(&self, id: &CertId) -> policy::Life {
        policy::Life::of(self.store.load(id).unwrap().unwrap().bundle.leaf())
    }

    fn plan(&self, id: &CertId) -> Option<Plan> {
        self.store.attempts(id).unwrap().plan
    }
}

fn directory(host: &str) -> Directory {
    format!("https://{host}/directory").parse().unwrap()
}

/// The shortest time between two of `moments`.
fn closest(moments: &[Timestamp]) -> Duration {
    let pairs = moments.windows(2);
    pairs
        .map(|two| two[1] - two[0])
        .min()
        .unwrap_or(Duration::MAX)
}

#[test]
fn over_years_nothing_expires_and_no_ca_is_asked_too_often() {
    for life in [6, 45, 90].map(Duration::days) {
        for (every, days) in [(HOUR, 70), (DAY, 3 * 365), (DAY * 7, 3 * 365)] {
            for suggests in [
                Suggests::Nothing,
                Suggests::Usual,
                Suggests::TheEnd,
                Suggests::Error(None),
                Suggests::Error(Some(HOUR * 40)),
            ] {
                live(life, every, days, suggests);
            }
        }
    }
}

/// Many `days` with runs as regular as they get.
fn live(life: Duration, every: Duration, days: u16, suggests: Suggests) {
    let case = format!("{life}, every {every}, {suggests:?}");
    let (machine, ca, id) = Machine::with(life, suggests);
    // Six days of life and a run a week: it comes too late, whatever it does.
    let can_be_helped = every < life;
    let runs = (DAY * i32::from(days) / every).ceil();
    for _ in 0..runs as u32 {
        machine.truth.advance(every);
        let valid = machine.is_valid(&id);
        assert!(valid || !can_be_helped, "{case}: expired");
        let outcome = machine.cron(every);
        assert!(!outcome.is_failure(), "{case}: {outcome:?}");
        assert!(machine.is_valid(&id), "{case}");
    }
    let (orders, questions) = ca.mood(|mood| (mood.orders.clone(), mood.questions.clone()));
    let closest = closest(&orders);
    assert!(
        closest >= Duration::max(life / 3, every),
        "{case}: {closest}"
    );
    let ordered = orders.len() as f64;
    let (days, at_most) = (
        f64::from(days),
        f64::from(days) / life.as_seconds_f64() * 86_400.0,
    );
    assert!(
        ordered <= runs.min(at_most * 3.0) + 1.0,
        "{case}: {ordered}"
    );
    if can_be_helped {
        assert!(ordered >= at_most.floor(), "{case}: {ordered}");
        // Once about each certificate, and then as often as it says, or once a day.
        let per_day = match suggests {
            Suggests::Nothing | Suggests::Error(Some(_)) => 1.0,
            _ => 4.0,
        };
        let asked = questions.len() as f64;
        let most = (days * per_day).min(runs) + ordered;
        assert!(asked >= 1.0 && asked <= most, "{case}: {asked} questions");
    }
}

#[test]
fn a_moment_is_picked_in_the_window_once_and_kept_until_the_window_moves() {
    let (machine, ca, id) = Machine::with(DAY * 90, Suggests::Usual);
    let life = machine.life(&id);
    let outcome = machine.cron(HOUR);
    let window = outcome.plan.clone().unwrap().window.unwrap();
    assert!(window.start <= window.moment && window.moment <= window.end);
    let wake = next_wake(&[outcome], machine.clock.now()).unwrap();
    assert_eq!(wake, machine.clock.now() + HOUR * 6, "to be asked again");
    for _ in 0..20 {
        machine.truth.advance(HOUR * 6);
        machine.cron(HOUR);
        assert_eq!(machine.plan(&id).unwrap().window.unwrap(), window);
    }
    assert_eq!(ca.mood(|mood| mood.questions.len()), 21);
    // A run in between does not ask, and a dry one never does.
    machine.truth.advance(HOUR);
    machine.cron(HOUR);
    let dry = Request {
        dry_run: true,
        ..Request::default()
    };
    machine.truth.advance(DAY * 3);
    machine.run(&dry);
    assert_eq!(ca.mood(|mood| mood.questions.len()), 21);
    // Other windows, other moments.
    ca.mood(|mood| mood.suggests = Suggests::TheEnd);
    let outcome = machine.cron(HOUR);
    let Done::NotDue { due_at } = outcome.result else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        due_at,
        life.not_after - DAY * 90 / 20,
        "not as late as that"
    );
    assert_ne!(machine.plan(&id).unwrap().window.unwrap(), window);
    // None at all: the fractions stand.
    ca.mood(|mood| mood.suggests = Suggests::Nothing);
    machine.truth.advance(HOUR * 6);
    let outcome = machine.cron(HOUR);
    let Done::NotDue { due_at } = outcome.result else {
        panic!("{outcome:?}")
    };
    assert_eq!(due_at, life.not_after - DAY * 30);
}

#[test]
fn a_ca_that_does_not_answer_leaves_the_plan_and_is_not_asked_again_at_once() {
    for (retry_after, pause) in [
        (None, HOUR * 6),
        (Some(HOUR * 2), HOUR * 2),
        (Some(Duration::ZERO), Duration::MINUTE),
        (Some(DAY * 4000), DAY),
    ] {
        let (machine, ca, id) = Machine::with(DAY * 90, Suggests::Usual);
        machine.cron(HOUR);
        let before = machine.plan(&id).unwrap();
        ca.mood(|mood| mood.suggests = Suggests::Error(retry_after));
        machine.truth.advance(HOUR * 6);
        let outcome = machine.cron(HOUR);
        assert!(matches!(outcome.result, Done::NotDue { .. }), "{outcome:?}");
        let after = machine.plan(&id).unwrap();
        assert_eq!(after.window, before.window);
        assert_eq!(after.ask_again, machine.clock.now() + pause);
        machine.truth.advance(pause - Duration::SECOND);
        machine.cron(HOUR);
        assert_eq!(ca.mood(|mood| mood.questions.len()), 2, "{retry_after:?}");
        machine.truth.advance(Duration::SECOND);
        machine.cron(HOUR);
        assert_eq!(ca.mood(|mood| mood.questions.len()), 3, "{retry_after:?}");
    }
}

#[test]
fn a_ca_that_hangs_over_the_question_is_given_up_and_the_dates_stand() {
    let (machine, ca, _) = Machine::with(DAY * 90, Suggests::Hangs);
    let outcome = machine.cron(HOUR);
    assert!(matches!(outcome.result, Done::NotDue { .. }), "{outcome:?}");
    machine.truth.advance(DAY * 60);
    let outcome = machine.cron(HOUR);
    assert!(
        matches!(outcome.result, Done::Renewed { .. }),
        "{outcome:?}"
    );
    assert_eq!(ca.mood(|mood| mood.questions.len()), 2);
}

#[test]
fn a_mass_revocation_is_followed_within_hours_and_once() {
    for every in [HOUR, DAY] {
        let (machine, ca, id) = Machine::with(DAY * 90, Suggests::Usual);
        for _ in 0..10 {
            machine.truth.advance(DAY);
            machine.cron(every);
        }
        let moved = machine.truth.now();
        ca.mood(|mood| mood.revoked_before = Some(moved));
        while ca.mood(|mood| mood.issued) == 0 {
            machine.truth.advance(every);
            let outcome = machine.cron(every);
            assert!(machine.truth.now() <= moved + every.max(HOUR * 6));
            if let Done::Renewed { reason, .. } = &outcome.result {
                let words = reason.to_string();
                assert!(
                    words.contains("suggests") && words.contains("/why"),
                    "{words}"
                );
                assert_eq!(outcome.plan, None, "it was of the one before");
            }
        }
        for _ in 0..30 {
            machine.truth.advance(DAY);
            machine.cron(every);
        }
        assert_eq!(ca.mood(|mood| mood.issued), 1);
        assert!(machine.is_valid(&id));
    }
}

#[test]
fn a_ca_that_always_wants_it_renewed_gets_one_a_day() {
    for (life, pause) in [(90, DAY), (6, DAY * 6 / 20)] {
        let (machine, ca, _) = Machine::with(DAY * life, Suggests::Past);
        for _ in 0..24 * 10 {
            machine.truth.advance(HOUR);
            let outcome = machine.cron(HOUR);
            assert!(!outcome.is_failure());
        }
        let orders = ca.mood(|mood| mood.orders.clone());
        assert!(closest(&orders) >= pause, "{}", closest(&orders));
        let most: f64 = (DAY * 10) / pause + 1.0;
        assert!(
            orders.len() as f64 <= most && orders.len() >= 8,
            "{}",
            orders.len()
        );
    }
}

#[test]
fn a_ca_that_fails_for_days_is_spared_and_used_once_it_is_back() {
    for life in [6, 45, 90].map(Duration::days) {
        for every in [HOUR, HOUR * 6] {
            for retry_after in [None, Some(Duration::ZERO), Some(HOUR * 3), Some(DAY * 30)] {
                // Back before the last run that can help.
                for left in [every * 2 + HOUR * 2, DAY, DAY * 2] {
                    let case = format!("{life}, every {every}, {retry_after:?}, {left} left");
                    let (machine, ca, id) = Machine::with(life, Suggests::Nothing);
                    ca.mood(|mood| mood.down = Some(retry_after));
                    let due = policy::due_at(machine.life(&id));
                    let back = machine.life(&id).not_after - left;
                    machine.truth.advance(due - machine.truth.now() - every);
                    while ca.mood(|mood| mood.issued) == 0 {
                        machine.truth.advance(every);
                        if machine.truth.now() >= back {
                            ca.mood(|mood| mood.down = None);
                        }
                        let outcome = machine.cron(every);
                        assert!(machine.is_valid(&id), "{case}: expired");
                        if let Done::PutOff { until, error } = &outcome.result {
                            assert!(error.ends_with("on holiday"), "{error}");
                            assert_eq!(outcome.hint.as_deref(), Some("try tomorrow"));
                            assert!(*until > machine.clock.now());
                        }
                    }
                    let orders = ca.mood(|mood| mood.orders.clone());
                    let days: f64 = (back - due) / DAY;
                    let days = days.max(0.0);
                    // The first quick ones, one or two a day, and those of the last hours.
                    let most = match retry_after {
                        Some(after) if after < HOUR * 20 => 24.0 * (days + 1.0),
                        _ => 4.0 + 1.3 * days + 16.0,
                    };
                    assert!(orders.len() as f64 <= most, "{case}: {}", orders.len());
                    assert_eq!(machine.store.attempts(&id).unwrap().failures, 0);
                }
            }
        }
    }
}

#[test]
fn a_ca_that_is_down_for_good_is_asked_about_once_a_day() {
    let (machine, ca, id) = Machine::with(DAY * 90, Suggests::Nothing);
    ca.mood(|mood| mood.down = Some(None));
    for _ in 0..24 * 160 {
        machine.truth.advance(HOUR);
        machine.cron(HOUR);
    }
    // Due for 100 of them.
    let orders = ca.mood(|mood| mood.orders.len());
    assert!((95..=130).contains(&orders), "{orders}");
    assert!(
        !machine.is_valid(&id),
        "it is not replaced by something else"
    );
}

#[test]
fn jumps_of_the_clock_neither_let_it_expire_nor_make_it_hammer() {
    let jumps = [
        (1, DAY * 400),
        (1, Duration::ZERO),
        (30, -HOUR * 5),
        (2, Duration::ZERO),
        (1, -DAY * 3650),
        (3, Duration::ZERO),
        (1, DAY * 45),
        (2, -DAY * 2),
        (40, HOUR),
        (5, Duration::ZERO),
        (1, DAY * 3650),
        (4, Duration::ZERO),
    ];
    for life in [6, 45, 90].map(Duration::days) {
        for (suggests, down) in [
            (Suggests::Nothing, false),
            (Suggests::Usual, false),
            (Suggests::Usual, true),
        ] {
            let case = format!("{life}, {suggests:?}, down {down}");
            let (machine, ca, id) = Machine::with(life, suggests);
            let mut hours = 0;
            for (run_for, off) in jumps.iter().cycle().take(jumps.len() * 20) {
                machine
                    .clock
                    .off
                    .store(off.whole_seconds(), Ordering::SeqCst);
                // Down for a day of each four.
                for _ in 0..*run_for {
                    ca.mood(|mood| mood.down = (down && hours % 96 < 24).then_some(None));
                    hours += 1;
                    machine.truth.advance(HOUR);
                    machine.cron(HOUR);
                    assert!(machine.is_valid(&id), "{case}: expired in hour {hours}");
                }
            }
            let (orders, questions) = ca.mood(|mood| (mood.orders.len(), mood.questions.len()));
            // Two of twelve jumps make it look expired, and each may bring one attempt more
            // than the days do.
            let (days, jumped) = (hours / 24 + 1, jumps.len() * 20);
            assert!(orders <= days * 3 + jumped, "{case}: {orders} orders");
            assert!(
                questions <= days * 4 + jumped,
                "{case}: {questions} questions"
            );
        }
    }
}

#[test]
fn weekly_runs_renew_what_would_expire_before_the_next() {
    // Due after 8⅔ days: not at the first run, and the second would be too late.
    let (machine, _, id) = Machine::with(DAY * 13, Suggests::Nothing);
    for expected in ["expected before", "expected before", "expected before"] {
        machine.truth.advance(DAY * 7);
        assert!(machine.is_valid(&id));
        let outcome = machine.cron(DAY * 7);
        let Done::Renewed { reason, .. } = &outcome.result else {
            panic!("{outcome:?}")
        };
        assert!(reason.to_string().contains(expected), "{reason}");
    }
    // But nothing young, however rare the runs.
    machine.truth.advance(DAY * 3);
    let outcome = machine.cron(DAY * 35);
    assert!(matches!(outcome.result, Done::NotDue { .. }), "{outcome:?}");
}

#[test]
fn a_ca_that_hangs_holds_up_its_own_certificates_and_nobody_elses() {
    let mut machine = Machine::new();
    let hanging = machine.ca("hanging.test", DAY * 90);
    let good = machine.ca("good.test", DAY * 90);
    hanging.mood(|mood| mood.hangs = true);
    let mut ids = Vec::new();
    for n in 0..20 {
        machine.certificate(&format!("a{n}.test"), "hanging.test");
        ids.push(machine.certificate(&format!("b{n}.test"), "good.test"));
    }
    machine.truth.advance(DAY * 61);
    let all_done = async {
        while good.mood(|mood| mood.issued) < 20
            || ids
                .iter()
                .any(|id| machine.store.attempts(id).unwrap().deploying.is_some())
        {
            tokio::task::yield_now().await;
        }
        // The last outcome is noted after the last hook.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    };
    let renewal = machine.renewal();
    let request = Request::default();
    // Only where one holds up another does this come before the end.
    let all_done = async {
        let _ = timeout(StdDuration::from_secs(60), all_done).await;
    };
    let run = renewal.run_until(&request, all_done);
    let outcomes = machine.runtime.block_on(run).unwrap();
    let mut done: Vec<_> = outcomes.iter().map(|o| o.id.to_string()).collect();
    let mut expected: Vec<_> = ids.iter().map(ToString::to_string).collect();
    assert!(
        outcomes
            .iter()
            .all(|o| matches!(o.result, Done::Renewed { .. }))
    );
    assert!(done.is_sorted(), "in the order of the ids");
    done.sort();
    expected.sort();
    assert_eq!(done, expected);
    assert_eq!(hanging.mood(|mood| mood.open.1), Renewal::AT_ONCE);
    // What was dropped is as it was, and free.
    for n in 0..20 {
        let id: CertId = format!("a{n}.test").parse().unwrap();
        assert_eq!(machine.store.load(&id).unwrap().unwrap().generation, 1);
        assert!(machine.store.try_lock_cert(&id).unwrap().is_some());
    }
}

#[test]
fn certificates_of_one_ca_are_renewed_at_the_same_time_under_a_cap() {
    let mut machine = Machine::new();
    let ca = machine.ca("ca.test", DAY * 90);
    for n in 0..24 {
        machine.certificate(&format!("a{n}.test"), "ca.test");
    }
    machine.truth.advance(DAY * 61);
    // None goes on before as many as may are under way.
    ca.mood(|mood| mood.gate = Some((Renewal::AT_ONCE, Arc::default())));
    let outcomes = machine.run(&Request::default());
    assert_eq!(outcomes.len(), 24);
    assert!(
        outcomes
            .iter()
            .all(|o| matches!(o.result, Done::Renewed { .. }))
    );
    assert_eq!(ca.mood(|mood| mood.open), (0, Renewal::AT_ONCE));
}

#[test]
fn hooks_never_run_beside_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::new();
    let script = dir.path().join("hook");
    let busy = dir.path().join("busy").display().to_string();
    let text = format!("#!/bin/sh\nmkdir {busy} || exit 1\nsleep 0.02\nrmdir {busy}\n");
    crate::store::disk::write_new(&script, text.as_bytes(), 0o755).unwrap();
    for host in ["one.test", "two.test"] {
        machine.ca(host, DAY * 90);
        for n in 0..4 {
            machine.certificate_with(&format!("a{n}.{host}"), host, |record| {
                record.deploy_hook = Some(script.display().to_string());
            });
        }
    }
    machine.truth.advance(DAY * 61);
    let outcomes = machine.run(&Request::default());
    assert_eq!(outcomes.len(), 8);
    for outcome in outcomes {
        assert!(!outcome.is_failure(), "{outcome:?}");
        assert!(matches!(outcome.result, Done::Renewed { .. }));
    }
}

#[test]
fn what_a_running_server_keeps_is_left_to_it() {
    let (machine, ca, id) = Machine::with(DAY * 90, Suggests::Nothing);
    machine.truth.advance(DAY * 61);
    let serving = machine.store.lock_serving(&id).unwrap().unwrap();
    assert!(machine.store.lock_serving(&id).unwrap().is_none());
    let cron = || Request {
        leave_served: true,
        ..Request::default()
    };
    assert!(!machine.renewal().asks_public_ca(&cron()).unwrap());
    let outcome = machine.run(&cron()).remove(0);
    assert!(matches!(outcome.result, Done::Kept), "{outcome:?}");
    assert!(!outcome.is_failure() && outcome.names.len() == 1);
    let forced = Request {
        force: true,
        ..cron()
    };
    let outcome = machine.run(&forced).remove(0);
    let Done::Failed { error, retry_at } = &outcome.result else {
        panic!("{outcome:?}")
    };
    assert!(error.to_string().contains("running server") && retry_at.is_none());
    assert_eq!(machine.store.attempts(&id).unwrap(), Attempts::default());
    assert_eq!(
        ca.mood(|mood| (mood.orders.len(), mood.questions.len())),
        (0, 0)
    );
    // The server itself does renew it; and so does cron once the server is gone.
    let outcome = machine.run(&Request::default()).remove(0);
    assert!(
        matches!(outcome.result, Done::Renewed { .. }),
        "{outcome:?}"
    );
    drop(serving);
    let outcome = machine.run(&cron()).remove(0);
    assert!(matches!(outcome.result, Done::NotDue { .. }), "{outcome:?}");
}

#[test]
fn whether_a_public_ca_will_be_asked_is_known_before() {
    let (machine, ca, id) = Machine::with(DAY * 90, Suggests::Usual);
    let asks = |request: Request| machine.renewal().asks_public_ca(&request).unwrap();
    let force = || Request {
        force: true,
        ..Request::default()
    };
    assert!(asks(Request::default()), "about the new certificate");
    machine.cron(HOUR);
    assert!(!asks(Request::default()));
    assert!(asks(force()));
    let unknown = vec!["nope.test".parse().unwrap()];
    assert!(!asks(Request {
        ids: unknown,
        ..force()
    }));
    assert!(!asks(Request {
        dry_run: true,
        ..force()
    }));
    machine.truth.advance(HOUR * 6);
    assert!(asks(Request::default()), "once more");
    // Due and put off.
    machine.truth.advance(DAY * 65);
    ca.mood(|mood| mood.down = Some(None));
    assert!(asks(Request::default()));
    machine.cron(HOUR);
    assert!(!asks(Request::default()));
    machine.truth.advance(Duration::minutes(2));
    assert!(asks(Request::default()));
    assert!(machine.store.attempts(&id).unwrap().failures == 1);
    // A dry run says what a real one would do.
    let dry = Request {
        dry_run: true,
        ..Request::default()
    };
    assert!(matches!(machine.run(&dry)[0].result, Done::WouldRenew(_)));
}

#[test]
fn what_is_said_of_the_current_certificate_outlives_its_hooks_being_done_again() {
    let (machine, ca, id) = Machine::with(DAY * 90, Suggests::Usual);
    let serial = machine.store.load(&id).unwrap().unwrap();
    let serial = serial.bundle.leaf().serial_hex();
    let begun = Attempts {
        deploying: Some(serial),
        ..Attempts::default()
    };
    machine.store.set_attempts(&id, &begun).unwrap();
    let outcome = machine.cron(HOUR);
    assert!(matches!(outcome.result, Done::Redeployed { .. }));
    assert!(machine.plan(&id).is_some_and(|plan| plan.window.is_some()));
    machine.cron(HOUR);
    assert_eq!(ca.mood(|mood| mood.questions.len()), 1);
    // A plan for another certificate counts for nothing.
    let mut attempts = machine.store.attempts(&id).unwrap();
    attempts.plan.as_mut().unwrap().serial = "00".to_owned();
    machine.store.set_attempts(&id, &attempts).unwrap();
    machine.cron(HOUR);
    assert_eq!(ca.mood(|mood| mood.questions.len()), 2);
}
