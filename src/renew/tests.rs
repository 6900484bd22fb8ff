//! The life cycle over simulated years, with a store, a clock and an issuer that
//! do as they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use super::*;
use crate::bundle::CertBundle;
use crate::clock::{Duration, ManualClock};
use crate::issuer::{BoxFuture, Issued, Profile, Usage, Wanted};
use crate::key::KeyType;
use crate::store::Ownership;
use crate::store::memory::MemoryStore;

/// Issues from its own clock, unless the id is among those that fail.
#[derive(Debug)]
struct FakeCa {
    clock: Arc<ManualClock>,
    failing: Mutex<BTreeSet<CertId>>,
    /// How often each id was asked for.
    asked: Mutex<BTreeMap<CertId, u32>>,
    superseded: Mutex<Option<Superseded>>,
    spared: bool,
}

impl Issuer for FakeCa {
    fn issue<'a>(
        &'a self,
        wanted: Wanted<'a>,
        key: PrivateKey,
    ) -> BoxFuture<'a, Result<Issued, IssueError>> {
        let Wanted { id, profile, .. } = wanted;
        Box::pin(async move {
            *self.asked.lock().unwrap().entry(id.clone()).or_default() += 1;
            if self.failing.lock().unwrap().contains(id) {
                return Err(IssueError {
                    message: format!("no certificate for {id} today"),
                    hint: None,
                    permanent: false,
                    retry_after: None,
                    source: None,
                });
            }
            Ok(Issued {
                bundle: certificate(profile, key, self.clock.now()),
                obtained: None,
            })
        })
    }

    fn backs_off(&self) -> bool {
        self.spared
    }
}

fn certificate(profile: &Profile, key: PrivateKey, now: Timestamp) -> CertBundle {
    let names: Vec<String> = profile.names.iter().map(ToString::to_string).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.not_before = now;
    params.not_after = now + profile.lifetime().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let certificate = Certificate::from_der(certificate.der()).unwrap();
    CertBundle::new(key, vec![certificate]).unwrap()
}

struct OneIssuer(Arc<FakeCa>);

impl Issuers for OneIssuer {
    fn open(&self, _: &IssuerRef) -> Result<Arc<dyn Issuer>, IssueError> {
        Ok(Arc::clone(&self.0) as _)
    }

    fn superseded(&self, _: &IssuerRef, _: &Certificate) -> Option<Superseded> {
        self.0.superseded.lock().unwrap().clone()
    }
}

struct World {
    clock: Arc<ManualClock>,
    store: MemoryStore,
    issuers: OneIssuer,
}

impl World {
    fn new() -> Self {
        let start = Timestamp::from_unix_timestamp(1_800_000_000).unwrap();
        let clock = Arc::new(ManualClock::new(start));
        let ca = FakeCa {
            clock: Arc::clone(&clock),
            failing: Mutex::default(),
            asked: Mutex::default(),
            superseded: Mutex::default(),
            spared: true,
        };
        Self {
            clock,
            store: MemoryStore::new(),
            issuers: OneIssuer(Arc::new(ca)),
        }
    }

    fn certificate(&self, name: &str, days: u64) -> CertId {
        self.certificate_with(name, days, |_| {})
    }

    fn certificate_with(&self, name: &str, days: u64, change: impl FnOnce(&mut Record)) -> CertId {
        let profile = Profile {
            names: vec![Identifier::parse(name).unwrap()],
            key_type: KeyType::P256,
            usage: Usage::Server,
            lifetime_seconds: Some(days * 86_400),
        };
        let mut record = Record {
            profile,
            issuer: IssuerRef::Private,
            obtained: None,
            reuse_key: false,
            exports: Vec::new(),
            deploy_hook: None,
        };
        change(&mut record);
        let id: CertId = name.parse().unwrap();
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let bundle = certificate(&record.profile, key, self.clock.now());
        self.store.commit(&id, &bundle, &record).unwrap();
        id
    }

    fn run(&self, request: &Request) -> Vec<Outcome> {
        let renewal = Renewal {
            store: &self.store,
            issuers: &self.issuers,
            clock: &*self.clock,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(renewal.run(request)).unwrap()
    }

    fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    fn fail(&self, id: &CertId) {
        self.issuers.0.failing.lock().unwrap().insert(id.clone());
    }

    fn recover(&self) {
        self.issuers.0.failing.lock().unwrap().clear();
    }

    fn asked(&self, id: &CertId) -> u32 {
        let asked = self.issuers.0.asked.lock().unwrap();
        asked.get(id).copied().unwrap_or_default()
    }

    fn stored(&self, id: &CertId) -> Stored {
        self.store.load(id).unwrap().unwrap()
    }

    fn is_valid(&self, id: &CertId) -> bool {
        self.stored(id).bundle.leaf().is_valid_at(self.clock.now())
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome.result {
        Done::NotDue { .. } => "not due",
        Done::PutOff { .. } => "put off",
        Done::Kept => "kept",
        Done::Withdrawn { .. } => "withdrawn",
        Done::WouldRenew(_) => "would renew",
        Done::Redeployed { .. } => "redeployed",
        Done::Renewed { .. } => "renewed",
        Done::Failed { .. } => "failed",
    }
}

fn words(outcomes: &[Outcome]) -> Vec<&'static str> {
    outcomes.iter().map(word).collect()
}

#[test]
fn over_three_years_nothing_expires_though_one_always_fails() {
    let world = World::new();
    let ids: Vec<CertId> = [("a.test", 6), ("b.test", 90), ("z.test", 398)]
        .into_iter()
        .map(|(name, days)| world.certificate(name, days))
        .collect();
    let broken = world.certificate("m.test", 45);
    world.fail(&broken);
    for day in 0..3 * 365 {
        world.pass(Duration::days(1));
        let outcomes = world.run(&Request::default());
        for id in &ids {
            assert!(world.is_valid(id), "{id} on day {day}");
        }
        let failed: Vec<&CertId> = outcomes
            .iter()
            .filter(|o| o.is_failure())
            .map(|o| &o.id)
            .collect();
        assert!(failed.iter().all(|id| **id == broken), "{failed:?}");
        assert_eq!(outcomes.len(), 4);
    }
    // Never more than once a day, though each day's run finds it due.
    let asked = world.asked(&broken);
    assert!((1000..=3 * 365).contains(&asked), "{asked}");
    assert_eq!(world.stored(&broken).generation, 1);
    // 3 days at least between two, ⅓ of life at most unused.
    for (id, least, most) in [(0, 182, 366), (1, 12, 19), (2, 2, 5)] {
        let generation = world.stored(&ids[id]).generation - 1;
        assert!(
            (least..=most).contains(&generation),
            "{}: {generation}",
            ids[id]
        );
    }
    world.recover();
    world.pass(Duration::days(2));
    world.run(&Request::default());
    assert!(world.is_valid(&broken));
    assert_eq!(world.store.attempts(&broken).unwrap(), Attempts::default());
}

#[test]
fn who_runs_at_each_wake_that_was_asked_for_is_never_late() {
    for days in [1, 7, 10, 90] {
        let world = World::new();
        let id = world.certificate("a.test", days);
        for _ in 0..30 {
            let now = world.clock.now();
            let wake = next_wake(&world.run(&Request::default()), now).unwrap();
            assert!(wake >= now && world.is_valid(&id));
            world.pass(wake - now);
        }
        assert_eq!(
            world.stored(&id).generation,
            30,
            "each wake but the first renews"
        );
    }
}

#[test]
fn a_failing_issuer_is_spared_between_runs() {
    let world = World::new();
    let id = world.certificate("a.test", 90);
    world.fail(&id);
    world.pass(Duration::days(60));
    for (minutes, expected, asked) in [
        (0, "failed", 1),
        (0, "put off", 1),
        (2, "failed", 2),
        (5, "put off", 2),
        (8, "failed", 3),
        (90, "put off", 3),
        (31, "failed", 4),
        (19 * 60, "put off", 4),
        (5 * 60, "failed", 5),
    ] {
        world.pass(Duration::minutes(minutes));
        let outcomes = world.run(&Request::default());
        assert_eq!(words(&outcomes), [expected], "after {minutes} minutes");
        assert_eq!(world.asked(&id), asked);
    }
    let attempts = world.store.attempts(&id).unwrap();
    assert_eq!(attempts.failures, 5);
    assert!(attempts.error.unwrap().contains("today"));
    // Whoever asks for it is not put off.
    world.recover();
    let forced = Request {
        force: true,
        ..Request::default()
    };
    assert_eq!(words(&world.run(&forced)), ["renewed"]);
    assert_eq!(words(&world.run(&Request::default())), ["not due"]);
}

#[test]
fn a_failed_commit_leaves_the_old_in_place_and_the_others_alone() {
    let world = World::new();
    let first = world.certificate("a.test", 90);
    let second = world.certificate("b.test", 90);
    world.pass(Duration::days(60));
    let before = world.stored(&first);
    world.store.fail_commits(1);
    let outcomes = world.run(&Request::default());
    assert_eq!(words(&outcomes), ["failed", "renewed"]);
    let Done::Failed { error, .. } = &outcomes[0].result else {
        panic!("{:?}", outcomes[0])
    };
    assert!(error.hint().unwrap().contains("free some space"));
    let after = world.stored(&first);
    assert_eq!(after.generation, before.generation);
    assert_eq!(after.bundle.leaf(), before.bundle.leaf());
    assert_eq!(world.stored(&second).generation, 2);
}

#[test]
fn a_dry_run_asks_nobody_and_an_unknown_id_is_one_failure() {
    let world = World::new();
    let id = world.certificate("a.test", 90);
    world.pass(Duration::days(60));
    let request = Request {
        ids: vec!["nope.test".parse().unwrap(), id.clone()],
        dry_run: true,
        ..Request::default()
    };
    let outcomes = world.run(&request);
    assert_eq!(words(&outcomes), ["failed", "would renew"]);
    assert_eq!(
        next_wake(&outcomes, world.clock.now()),
        Some(world.clock.now())
    );
    assert_eq!(world.asked(&id), 0);
    assert_eq!(world.stored(&id).generation, 1);
    assert_eq!(next_wake(&[], world.clock.now()), None);
}

#[test]
fn a_kept_key_is_kept_unless_it_is_compromised() {
    let world = World::new();
    let id = world.certificate_with("a.test", 90, |record| record.reuse_key = true);
    let key = || world.stored(&id).bundle.key().to_pem().to_string();
    let first = key();
    let supersede = |then| {
        *world.issuers.0.superseded.lock().unwrap() = Some(Superseded {
            why: "revoked".to_owned(),
            then,
        });
    };
    supersede(Then::Replace);
    assert_eq!(words(&world.run(&Request::default())), ["renewed"]);
    assert_eq!(key(), first);
    supersede(Then::ReplaceKey);
    assert_eq!(words(&world.run(&Request::default())), ["renewed"]);
    assert_ne!(key(), first);
}

#[test]
fn a_run_that_was_killed_before_its_hook_is_finished_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("told");
    let hook = format!("/bin/mkdir {}", told.display());
    let world = World::new();
    let id = world.certificate_with("a.test", 90, |record| record.deploy_hook = Some(hook));
    let deploying = |serial: &str| Attempts {
        deploying: Some(serial.to_owned()),
        ..Attempts::default()
    };
    // Killed before the commit: what is current was told of when it came.
    world.store.set_attempts(&id, &deploying("00")).unwrap();
    assert_eq!(words(&world.run(&Request::default())), ["not due"]);
    assert!(!told.exists());
    let serial = world.stored(&id).bundle.leaf().serial_hex();
    world.store.set_attempts(&id, &deploying(&serial)).unwrap();
    let dry = Request {
        dry_run: true,
        ..Request::default()
    };
    assert_eq!(words(&world.run(&dry)), ["not due"]);
    assert_eq!(words(&world.run(&Request::default())), ["redeployed"]);
    assert!(told.is_dir());
    assert_eq!(words(&world.run(&Request::default())), ["not due"]);
}

#[test]
fn copies_are_mended_and_those_that_cannot_be_are_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let (good, bad) = (dir.path().join("good"), dir.path().join("bad/under"));
    let world = World::new();
    let id = world.certificate_with("a.test", 90, |record| {
        record.exports = [&bad, &good]
            .map(|dir| Export {
                dir: dir.clone(),
                ownership: Ownership::default(),
            })
            .into();
    });
    assert_eq!(words(&world.run(&Request::default())), ["redeployed"]);
    assert_eq!(words(&world.run(&Request::default())), ["not due"]);
    crate::store::disk::remove_tree(&good).unwrap();
    crate::store::disk::remove_tree(&dir.path().join("bad")).unwrap();
    crate::store::disk::write_new(&dir.path().join("bad"), b"in the way", 0o600).unwrap();
    let outcomes = world.run(&Request::default());
    assert!(outcomes[0].is_failure());
    let Done::Redeployed { trouble, .. } = &outcomes[0].result else {
        panic!("{:?}", outcomes[0])
    };
    assert_eq!(trouble.len(), 1);
    assert!(good.join("fullchain.pem").is_file(), "the other is written");
    assert_eq!(world.store.attempts(&id).unwrap(), Attempts::default());
}
