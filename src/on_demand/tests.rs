//! Names from the first client to the last, with a CA, a clock and a store that do as
//! they are told.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration as StdDuration;

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::gate::{Decision, NoDecision, Permission, Rules};
use super::policy::Refusal;
use super::*;
use crate::bundle::CertBundle;
use crate::certificates::{Answer, Asked, Demand, Identity, Miss, SourceId};
use crate::clock::ManualClock;
use crate::event::Trigger;
use crate::identifier::{DnsName, Identifier};
use crate::issuer::{BoxFuture, Directory, IssueError, Issued, Issuer, Wanted};
use crate::key::PrivateKey;
use crate::renew::Superseded;
use crate::store::memory::MemoryStore;

/// Issues when it is let.
#[derive(Debug)]
struct FakeCa {
    clock: Arc<ManualClock>,
    /// One permit for each certificate.
    lets: Semaphore,
    fails: AtomicBool,
    asked: AtomicUsize,
    days: i64,
}

impl Issuer for FakeCa {
    fn issue<'a>(
        &'a self,
        wanted: Wanted<'a>,
        key: PrivateKey,
    ) -> BoxFuture<'a, Result<Issued, IssueError>> {
        Box::pin(async move {
            self.asked.fetch_add(1, SeqCst);
            self.lets.acquire().await.unwrap().forget();
            if self.fails.load(SeqCst) {
                return Err(IssueError {
                    message: "not today".to_owned(),
                    hint: None,
                    permanent: false,
                    retry_after: None,
                    source: None,
                });
            }
            Ok(Issued {
                bundle: certificate(&wanted.profile.names, key, self.clock.now(), self.days),
                obtained: None,
            })
        })
    }

    fn backs_off(&self) -> bool {
        false
    }
}

fn certificate(names: &[Identifier], key: PrivateKey, now: Timestamp, days: i64) -> CertBundle {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.not_before = now;
    params.not_after = now + Duration::days(days);
    let certificate = params.self_signed(&key).unwrap();
    let certificate = Certificate::from_der(certificate.der()).unwrap();
    CertBundle::new(key, vec![certificate]).unwrap()
}

#[derive(Clone)]
struct OneIssuer(Arc<FakeCa>);

impl Issuers for OneIssuer {
    fn open(&self, _: &IssuerRef) -> Result<Arc<dyn Issuer>, IssueError> {
        Ok(Arc::clone(&self.0) as _)
    }

    fn superseded(&self, _: &IssuerRef, _: &Certificate) -> Option<Superseded> {
        None
    }
}

impl Issuance for OneIssuer {
    fn issuers(&self) -> Arc<dyn Issuers> {
        Arc::new(self.clone())
    }
}

/// Writes down what it is told.
#[derive(Debug, Default)]
struct Notes {
    events: Mutex<Vec<String>>,
    decided: Mutex<BTreeMap<&'static str, usize>>,
}

impl Observer for Notes {
    fn emit(&self, event: &Event) {
        let line = event.to_line(Timestamp::UNIX_EPOCH);
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let name = line["event"].as_str().unwrap().to_owned();
        self.events.lock().unwrap().push(name);
    }

    fn decided(&self, decision: &'static str) {
        assert!(DECISIONS.contains(&decision), "{decision}");
        *self.decided.lock().unwrap().entry(decision).or_default() += 1;
    }

    fn serves(&self, _: &str, _: &Certificate, _: Option<Timestamp>) {}
    fn withdrawn(&self, _: &str) {}
}

impl Notes {
    fn events(&self) -> Vec<String> {
        self.events.lock().unwrap().clone()
    }

    fn decided(&self, decision: &str) -> usize {
        let decided = self.decided.lock().unwrap();
        decided.get(decision).copied().unwrap_or_default()
    }
}

struct World {
    clock: Arc<ManualClock>,
    store: MemoryStore,
    ca: Arc<FakeCa>,
    notes: Arc<Notes>,
}

/// A desk with a worker behind it; both end with this.
struct Open {
    desk: Arc<Desk>,
    worker: tokio::task::JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

impl World {
    fn new() -> Self {
        Self::with_life(90)
    }

    fn with_life(days: i64) -> Self {
        let start = Timestamp::from_unix_timestamp(1_800_000_000).unwrap();
        let clock = Arc::new(ManualClock::new(start));
        Self {
            ca: Arc::new(FakeCa {
                clock: Arc::clone(&clock),
                lets: Semaphore::new(0),
                fails: AtomicBool::new(false),
                asked: AtomicUsize::new(0),
                days,
            }),
            clock,
            store: MemoryStore::new(),
            notes: Arc::default(),
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            issuer: IssuerRef::Private,
            key_type: KeyType::P256,
            lifetime_seconds: None,
            on_miss: OnMiss::Placeholder,
            caps: CapSettings::PRIVATE,
            forget_after: Duration::days(30),
            provision_hook: None,
        }
    }

    fn open(&self, settings: Settings) -> Open {
        self.open_with(settings, Vec::new())
    }

    fn open_with(&self, settings: Settings, permissions: Vec<Box<dyn Permission>>) -> Open {
        let rules = Rules {
            allow: vec!["**.allowed.test".parse().unwrap()],
            ..Rules::default()
        };
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let means = Means {
            store: Arc::new(self.store.clone()),
            table: Arc::new(CertificateTable::strict()),
            gate: Gate::new(rules, permissions, Arc::clone(&clock)),
            stand_in: stand_in(self.clock.now()),
            issuance: Arc::new(OneIssuer(Arc::clone(&self.ca))),
            clock,
            observer: Arc::clone(&self.notes) as _,
        };
        let (desk, worker) = open(means, settings).unwrap();
        let worker = tokio::task::spawn_local(worker.run());
        Open { desk, worker }
    }

    fn asked(&self) -> usize {
        self.ca.asked.load(SeqCst)
    }
}

fn stand_in(now: Timestamp) -> Arc<dyn Certificates> {
    let table = CertificateTable::with_default(SourceId::new("stand-in"));
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let names = [Identifier::parse("stand-in.test").unwrap()];
    let bundle = certificate(&names, key, now, 3650);
    table.replace(SourceId::new("stand-in"), &[bundle]).unwrap();
    Arc::new(table)
}

fn found(certificates: &dyn Certificates, name: &str) -> Option<Identity> {
    certificates.find(Asked {
        server_name: Some(name),
        local: IpAddr::from([127, 0, 0, 1]),
    })
}

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

impl Open {
    async fn ask(&self, name: &str) -> Seen {
        self.ask_for(name, StdDuration::from_secs(20)).await
    }

    async fn ask_for(&self, name: &str, patience: StdDuration) -> Seen {
        let miss = Miss {
            name,
            client: CLIENT,
            trigger: Trigger::Tls,
            patience,
        };
        match self.desk.ask(miss).await {
            Answer::Ready => Seen::Ready,
            Answer::Refused => Seen::Refused,
            Answer::Pending {
                stand_in,
                retry_after,
            } => Seen::Pending(stand_in.is_some(), retry_after.as_secs()),
        }
    }

    /// Until the name is served, or is put off for some time.
    async fn settled(&self, name: &str) -> Seen {
        let soon = policy::ASK_AGAIN.as_secs();
        loop {
            if found(self.desk.table().as_ref(), name).is_some() {
                return Seen::Ready;
            }
            match self.ask(name).await {
                Seen::Pending(_, seconds) if seconds <= soon => tokio::task::yield_now().await,
                seen => return seen,
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Ready,
    Refused,
    /// Something stands in; seconds until it may be there.
    Pending(bool, u64),
}

/// Runs on one thread, as the worker does.
fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let all = StdDuration::from_secs(60);
    let work = async move { tokio::time::timeout(all, work).await };
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(work)).unwrap();
}

#[test]
fn a_thousand_clients_that_want_one_name_make_one_order() {
    run(async {
        let world = World::new();
        let open = world.open(world.settings());
        let seen = join_all((0..1000).map(|_| open.ask("a.allowed.test"))).await;
        assert!(seen.iter().all(|seen| *seen == Seen::Pending(true, 5)));
        world.ca.lets.add_permits(5);
        assert_eq!(open.settled("A.Allowed.test").await, Seen::Ready);
        assert_eq!(world.asked(), 1);
        assert!(found(&*open.desk, "a.allowed.test").is_some());
        let events = world.notes.events();
        assert_eq!(events, ["certificate-requested", "certificate-issued"]);
        assert!(world.notes.decided("coalesced") >= 999);
    });
}

#[test]
fn strangers_names_cost_nothing() {
    run(async {
        let world = World::new();
        let open = world.open(world.settings());
        for n in 0..100_000 {
            assert_eq!(open.ask(&format!("n{n}.evil.test")).await, Seen::Refused);
        }
        for odd in [
            "",
            ".",
            "*.allowed.test",
            "a..allowed.test",
            "10.0.0.1",
            "a b",
            "ALLOWED.test",
        ] {
            assert_eq!(open.ask(odd).await, Seen::Refused, "{odd:?}");
        }
        assert_eq!(world.asked(), 0);
        assert_eq!(world.store.ids().unwrap(), []);
        let refused = Refusal::NotListed.outcome();
        assert_eq!(world.notes.decided(refused), 100_001);
        // One a second, however many there are.
        assert!(
            world.notes.events().len() < 60,
            "{}",
            world.notes.events().len()
        );
    });
}

#[test]
fn a_name_that_failed_is_put_off_also_after_a_restart() {
    run(async {
        let world = World::new();
        world.ca.fails.store(true, SeqCst);
        world.ca.lets.add_permits(10);
        let open = world.open(world.settings());
        let Seen::Pending(true, seconds) = open.settled("a.allowed.test").await else {
            panic!("it is not put off");
        };
        assert!((60..=69).contains(&seconds), "{seconds}");
        let events = world.notes.events();
        assert_eq!(events, ["certificate-requested", "certificate-failed"]);
        drop(open);
        world.ca.fails.store(false, SeqCst);
        let open = world.open(world.settings());
        assert_eq!(
            open.settled("a.allowed.test").await,
            Seen::Pending(true, seconds)
        );
        assert_eq!(world.asked(), 1);
        world.clock.advance(Duration::seconds(70));
        assert_eq!(open.settled("a.allowed.test").await, Seen::Ready);
        assert_eq!(world.asked(), 2);
    });
}

#[test]
fn a_client_that_goes_away_changes_nothing() {
    run(async {
        let world = World::new();
        let settings = Settings {
            on_miss: OnMiss::Wait,
            ..world.settings()
        };
        let open = world.open(settings);
        let gone = open.ask_for("a.allowed.test", StdDuration::from_secs(60));
        let gone = tokio::time::timeout(StdDuration::from_millis(50), gone);
        assert!(gone.await.is_err(), "it waits");
        world.ca.lets.add_permits(1);
        assert_eq!(open.settled("a.allowed.test").await, Seen::Ready);
        assert_eq!(world.asked(), 1);
    });
}

#[test]
fn a_handshake_waits_for_its_certificate_but_not_for_ever() {
    run(async {
        let world = World::new();
        let settings = Settings {
            on_miss: OnMiss::Wait,
            ..world.settings()
        };
        let open = world.open(settings);
        let patience = StdDuration::from_millis(100);
        let seen = open.ask_for("a.allowed.test", patience).await;
        assert_eq!(seen, Seen::Pending(true, 5));
        let waiting = open.ask("a.allowed.test");
        world.ca.lets.add_permits(1);
        assert_eq!(waiting.await, Seen::Ready);
        // One that fails is told of at once.
        world.ca.fails.store(true, SeqCst);
        world.ca.lets.add_permits(1);
        let Seen::Pending(true, seconds) = open.ask("b.allowed.test").await else {
            panic!("it is not put off");
        };
        assert!(seconds >= 60, "{seconds}");
        assert_eq!(world.asked(), 2);
    });
}

#[test]
fn clients_can_be_refused_until_there_is_a_certificate() {
    run(async {
        let world = World::new();
        let settings = Settings {
            on_miss: OnMiss::Reject,
            ..world.settings()
        };
        let open = world.open(settings);
        assert_eq!(open.ask("a.allowed.test").await, Seen::Pending(false, 5));
        world.ca.lets.add_permits(1);
        assert_eq!(open.settled("a.allowed.test").await, Seen::Ready);
    });
}

#[test]
fn what_is_in_the_store_is_fetched_and_nobody_is_asked_for_it() {
    run(async {
        let world = World::new();
        world.ca.lets.add_permits(1);
        let open = world.open(world.settings());
        assert_eq!(open.settled("a.allowed.test").await, Seen::Ready);
        drop(open);
        let open = world.open(world.settings());
        assert_eq!(open.ask("a.allowed.test").await, Seen::Ready);
        assert_eq!((world.asked(), world.notes.decided("loaded")), (1, 1));
        // Another CA is to be used: its certificate is not.
        let other = "https://ca.test/dir".parse::<Directory>().unwrap();
        let settings = Settings {
            issuer: IssuerRef::Acme(Box::new(crate::issuer::AcmeRef::new(other))),
            ..world.settings()
        };
        drop(open);
        world.ca.lets.add_permits(1);
        let open = world.open(settings);
        assert_eq!(open.settled("a.allowed.test").await, Seen::Ready);
        assert_eq!(world.asked(), 2);
        drop(open);
        // One that has expired neither.
        world.clock.advance(Duration::days(91));
        world.ca.lets.add_permits(1);
        let open = world.open(world.settings());
        assert_eq!(open.settled("a.allowed.test").await, Seen::Ready);
        assert_eq!(world.asked(), 3);
    });
}

/// Says what it is told to, and counts.
#[derive(Debug, Clone)]
struct Says {
    decision: Arc<Mutex<Option<Decision>>>,
    asked: Arc<AtomicUsize>,
    lets: Arc<Semaphore>,
}

impl Says {
    fn new(decision: Option<Decision>) -> Self {
        Self {
            decision: Arc::new(Mutex::new(decision)),
            asked: Arc::default(),
            lets: Arc::new(Semaphore::new(0)),
        }
    }
}

impl Permission for Says {
    fn ask<'a>(
        &'a self,
        _: &'a DnsName,
        client: Option<IpAddr>,
    ) -> BoxFuture<'a, Result<Decision, NoDecision>> {
        Box::pin(async move {
            assert_eq!(client, Some(CLIENT));
            self.asked.fetch_add(1, SeqCst);
            drop(self.lets.acquire().await);
            let decision = *self.decision.lock().unwrap();
            decision.ok_or_else(|| NoDecision {
                who: "it".to_owned(),
                why: "it is silent".to_owned(),
            })
        })
    }
}

#[test]
fn permission_is_asked_for_once_and_holds_for_as_long_as_it_was_given() {
    run(async {
        let world = World::new();
        let no = Decision {
            allowed: false,
            fresh: StdDuration::from_secs(100),
        };
        let says = Says::new(Some(no));
        let open = world.open_with(world.settings(), vec![Box::new(says.clone())]);
        let many = join_all((0..50).map(|_| open.ask("a.allowed.test")));
        let answer = async {
            tokio::task::yield_now().await;
            says.lets.add_permits(100);
        };
        let (seen, ()) = tokio::join!(many, answer);
        assert!(seen.iter().all(|seen| *seen == Seen::Refused), "{seen:?}");
        assert_eq!(says.asked.load(SeqCst), 1);
        world.clock.advance(Duration::seconds(99));
        assert_eq!(open.ask("a.allowed.test").await, Seen::Refused);
        assert_eq!(says.asked.load(SeqCst), 1);
        world.clock.advance(Duration::seconds(1));
        *says.decision.lock().unwrap() = None;
        assert_eq!(open.ask("a.allowed.test").await, Seen::Refused);
        assert_eq!(says.asked.load(SeqCst), 2);
        assert_eq!(world.notes.decided(Refusal::NoAnswer.outcome()), 1);
        *says.decision.lock().unwrap() = Some(Decision::new(true));
        world.clock.advance(Duration::seconds(30));
        assert_eq!(open.ask("a.allowed.test").await, Seen::Pending(true, 5));
        assert_eq!(says.asked.load(SeqCst), 3);
        // What the rules refuse is not asked about.
        assert_eq!(open.ask("evil.test").await, Seen::Refused);
        assert_eq!(says.asked.load(SeqCst), 3);
        world.ca.lets.add_permits(1);
        assert_eq!(open.settled("a.allowed.test").await, Seen::Ready);
    });
}

#[test]
fn caps_hold_and_are_told() {
    run(async {
        let world = World::new();
        let caps = CapSettings {
            in_flight: 1,
            queue: 1,
            names_per_hour: 3,
            ..CapSettings::PRIVATE
        };
        let settings = Settings {
            caps,
            ..world.settings()
        };
        let open = world.open(settings);
        let pending = Seen::Pending(true, 5);
        assert_eq!(open.ask("a.allowed.test").await, pending);
        while world.asked() == 0 {
            tokio::task::yield_now().await;
        }
        // One is being made, one waits for its turn.
        assert_eq!(open.ask("b.allowed.test").await, pending);
        assert_eq!(open.ask("c.allowed.test").await, Seen::Refused);
        world.ca.lets.add_permits(9);
        assert_eq!(open.settled("b.allowed.test").await, Seen::Ready);
        assert_eq!(open.settled("c.allowed.test").await, Seen::Ready);
        assert_eq!(open.ask("d.allowed.test").await, Seen::Refused);
        world.clock.advance(Duration::HOUR);
        assert_eq!(open.settled("d.allowed.test").await, Seen::Ready);
        assert_eq!(world.notes.decided(Refusal::OUTCOMES[4]), 2);
    });
}

#[test]
fn a_provision_hook_is_believed_only_as_far_as_its_certificate_is_good() {
    run(async {
        let world = World::new();
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, names: &[&str], days: i64| {
            let key = PrivateKey::generate(KeyType::P256).unwrap();
            let names: Vec<_> = names
                .iter()
                .map(|n| Identifier::parse(n).unwrap())
                .collect();
            let bundle = certificate(&names, key, world.clock.now(), days);
            let path = dir.path().join(file);
            crate::store::disk::replace(&path, bundle.combined_pem().as_bytes(), 0o600).unwrap();
            path.display().to_string()
        };
        let good = write("good", &["a.allowed.test"], 10);
        let other = write("other", &["b.allowed.test"], 10);
        let expired = write("expired", &["a.allowed.test"], -1);
        world.ca.lets.add_permits(10);
        for (command, orders, told) in [
            (format!("cat {good}"), 0, false),
            ("echo acme".to_owned(), 1, false),
            (format!("cat {other}"), 1, true),
            (format!("cat {expired}"), 1, true),
            ("false".to_owned(), 1, true),
            ("echo nonsense".to_owned(), 1, true),
            ("head -c 70000 /dev/zero".to_owned(), 1, true),
            ("/no/such/program".to_owned(), 1, true),
        ] {
            let world = World {
                store: MemoryStore::new(),
                notes: Arc::default(),
                clock: Arc::clone(&world.clock),
                ca: Arc::clone(&world.ca),
            };
            let before = world.asked();
            let settings = Settings {
                provision_hook: Some(Hook::parse(&command).unwrap()),
                ..world.settings()
            };
            let open = world.open(settings);
            assert_eq!(
                open.settled("a.allowed.test").await,
                Seen::Ready,
                "{command}"
            );
            assert_eq!(world.asked() - before, orders, "{command}");
            let failed = world
                .notes
                .events()
                .contains(&"certificate-failed".to_owned());
            assert_eq!(failed, told, "{command}: {:?}", world.notes.events());
            assert_eq!(world.store.ids().unwrap().len(), orders, "{command}");
        }
    });
}
