//! The inventory under test, alone and shared.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::clock::Duration as Span;

/// The moment at which these tests take place.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix_timestamp(1_795_000_000).unwrap()
}

/// A leaf that has one name, is valid now and for `days` more.
pub(crate) fn leaf(number: u32, name: &str, days: i64) -> Entry {
    let identifier = Identifier::parse(name).unwrap();
    Entry {
        serial: [&[0x40], number.to_be_bytes().as_slice()].concat(),
        issuer: "I1".to_owned(),
        role: Role::Leaf,
        id: Some(CertId::for_name(&identifier)),
        names: vec![identifier],
        subject: format!("CN={name}"),
        usage: "server".to_owned(),
        key_type: "p256".to_owned(),
        not_before: now() - Span::days(30),
        not_after: now() + Span::days(days),
        issued_at: now() - Span::days(30),
        spki_sha256: "00".repeat(32),
        der: vec![0x30, 0],
        revoked: None,
    }
}

fn ledger() -> (tempfile::TempDir, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&dir.path().join("ca.sqlite")).unwrap();
    (dir, ledger)
}

fn names(ledger: &Ledger, filter: &Filter) -> Vec<String> {
    let mut found = Vec::new();
    ledger
        .for_each(filter, |entry| found.push(entry.names[0].to_string()))
        .unwrap();
    found
}

#[test]
fn an_entry_comes_back_as_it_went_in() {
    let (_dir, ledger) = ledger();
    let mut full = leaf(1, "a.test", 1);
    full.names = [
        "a.test",
        "*.a.test",
        "10.0.0.1",
        "::1",
        "ada@a.test",
        "spiffe://a/b",
    ]
    .map(|name| Identifier::parse(name).unwrap())
    .to_vec();
    full.revoked = Some(Revocation {
        at: now(),
        reason: Reason::CaCompromise,
    });
    let bare = Entry {
        serial: vec![0x41],
        role: Role::Root,
        id: None,
        names: Vec::new(),
        ..leaf(2, "b.test", 1)
    };
    ledger.record(&[full.clone(), bare.clone()]).unwrap();
    assert_eq!(ledger.by_serial(&full.serial).unwrap(), Some(full.clone()));
    assert_eq!(ledger.by_serial(&bare.serial).unwrap(), Some(bare));
    assert_eq!(ledger.by_serial(&[0x42]).unwrap(), None);
    // DER's sign octet makes no difference.
    let padded = [&[0], full.serial.as_slice()].concat();
    assert_eq!(ledger.by_serial(&padded).unwrap(), Some(full));
}

#[test]
fn a_duplicate_serial_number_is_refused_and_nothing_of_its_batch_is_kept() {
    let (_dir, ledger) = ledger();
    ledger.record(&[leaf(1, "a.test", 1)]).unwrap();
    let batch = [leaf(2, "b.test", 1), leaf(1, "c.test", 1)];
    let error = ledger.record(&batch).unwrap_err();
    assert!(matches!(&error, LedgerError::Duplicate(serial) if serial == "4000000001"));
    assert_eq!(names(&ledger, &Filter::default()), ["a.test"]);
}

#[test]
fn the_newest_is_the_one_issued_last_for_exactly_that_name() {
    let (_dir, ledger) = ledger();
    for entry in [
        leaf(1, "a.test", 9),
        leaf(2, "a.test", 1),
        leaf(3, "*.a.test", 1),
    ] {
        ledger.record(&[entry]).unwrap();
    }
    let newest = |name: &str| {
        let name = Identifier::parse(name).unwrap();
        ledger.newest_by_name(&name).unwrap().map(|e| e.serial[4])
    };
    assert_eq!(newest("a.test"), Some(2));
    assert_eq!(newest("*.a.test"), Some(3));
    assert_eq!(newest("b.test"), None);
    let id = "_wildcard.a.test".parse().unwrap();
    assert_eq!(ledger.newest_by_id(&id).unwrap().unwrap().serial[4], 3);
    assert!(
        ledger
            .newest_by_id(&"b".parse().unwrap())
            .unwrap()
            .is_none()
    );
}

#[test]
fn filters_let_through_what_meets_every_condition_soonest_expiry_first() {
    let (_dir, ledger) = ledger();
    let intermediate = Entry {
        role: Role::Intermediate,
        ..leaf(5, "i.test", 900)
    };
    let several = Entry {
        names: ["z.test", "a.example", "b.example"]
            .map(|name| Identifier::parse(name).unwrap())
            .to_vec(),
        ..leaf(6, "z.test", 60)
    };
    let entries = [
        leaf(1, "late.test", 90),
        leaf(2, "soon.test", 10),
        leaf(3, "gone.test", -1),
        leaf(4, "*.test", 20),
        intermediate,
        several,
    ];
    ledger.record(&entries).unwrap();
    ledger
        .revoke(&entries[3].serial, Reason::Superseded, now())
        .unwrap();

    let all = Filter::default();
    let month = Some(now() + Span::days(30));
    let glob = |text: &str| Some(text.to_owned());
    let exact = |text: &str| Some(Identifier::parse(text).unwrap());
    let table: &[(Filter, &[&str])] = &[
        (
            all.clone(),
            &[
                "gone.test",
                "soon.test",
                "*.test",
                "z.test",
                "late.test",
                "i.test",
            ],
        ),
        (
            Filter {
                limit: Some(2),
                ..all.clone()
            },
            &["gone.test", "soon.test"],
        ),
        (
            Filter {
                expiring_before: month,
                not_expired_at: Some(now()),
                ..all.clone()
            },
            &["soon.test", "*.test"],
        ),
        (
            Filter {
                expiring_before: month,
                revoked: Some(false),
                ..all.clone()
            },
            &["gone.test", "soon.test"],
        ),
        (
            Filter {
                revoked: Some(true),
                ..all.clone()
            },
            &["*.test"],
        ),
        (
            Filter {
                revoked: Some(true),
                expiring_before: Some(now()),
                ..all.clone()
            },
            &[],
        ),
        (
            Filter {
                role: Some(Role::Intermediate),
                ..all.clone()
            },
            &["i.test"],
        ),
        (
            Filter {
                name_glob: glob("*.example"),
                ..all.clone()
            },
            &["z.test"],
        ),
        (
            Filter {
                name_glob: glob("[ls]*.test"),
                ..all.clone()
            },
            &["soon.test", "late.test"],
        ),
        (
            Filter {
                name_glob: glob("s?on.*"),
                revoked: Some(false),
                ..all.clone()
            },
            &["soon.test"],
        ),
        (
            Filter {
                name_glob: glob("' OR 1=1 --"),
                ..all.clone()
            },
            &[],
        ),
        (
            Filter {
                name: exact("*.test"),
                ..all.clone()
            },
            &["*.test"],
        ),
        (
            Filter {
                name: exact("a.example"),
                name_glob: glob("z*"),
                ..all.clone()
            },
            &["z.test"],
        ),
        (
            Filter {
                name: exact("a.example"),
                name_glob: glob("y*"),
                ..all.clone()
            },
            &[],
        ),
        (
            Filter {
                name: exact("example"),
                ..all
            },
            &[],
        ),
    ];
    for (filter, expected) in table {
        assert_eq!(names(&ledger, filter), *expected, "{filter:?}");
    }
}

#[test]
fn the_first_revocation_stands_and_the_second_is_told_so() {
    let (_dir, ledger) = ledger();
    let entry = leaf(1, "a.test", 1);
    ledger.record(std::slice::from_ref(&entry)).unwrap();
    let first = Revocation {
        at: now(),
        reason: Reason::KeyCompromise,
    };
    let done = ledger.revoke(&entry.serial, first.reason, first.at);
    assert_eq!(done.unwrap(), Revoke::Done(first));
    let again = ledger.revoke(&entry.serial, Reason::Superseded, now() + Span::days(1));
    assert_eq!(again.unwrap(), Revoke::Already(first));
    assert_eq!(
        ledger.by_serial(&entry.serial).unwrap().unwrap().revoked,
        Some(first)
    );
    assert_eq!(ledger.revoked_by("I1").unwrap().len(), 1);
    assert!(ledger.revoked_by("I2").unwrap().is_empty());
    assert!(matches!(
        ledger.revoke(&[9], Reason::Superseded, now()),
        Err(LedgerError::UnknownSerial(serial)) if serial == "09"
    ));
}

#[test]
fn several_are_revoked_together_or_none_is() {
    let (_dir, ledger) = ledger();
    let entries = [1, 2, 3].map(|n| leaf(n, "a.test", 1));
    ledger.record(&entries).unwrap();
    let [a, b, c] = entries.each_ref().map(|entry| entry.serial.as_slice());
    let at = now();
    let reason = Reason::Superseded;
    let stranger = ledger.revoke_all(&[a, &[9], b], reason, at);
    assert!(matches!(stranger, Err(LedgerError::UnknownSerial(_))));
    assert!(ledger.revoked_by("I1").unwrap().is_empty());
    let first = Revocation { at, reason };
    ledger.revoke(b, reason, at).unwrap();
    let done = ledger.revoke_all(&[a, b, c], Reason::KeyCompromise, at);
    let own = Revocation {
        reason: Reason::KeyCompromise,
        ..first
    };
    assert_eq!(
        done.unwrap(),
        [Revoke::Done(own), Revoke::Already(first), Revoke::Done(own)]
    );
    assert!(ledger.revoke_all(&[], reason, at).unwrap().is_empty());
}

#[test]
fn every_leaf_is_counted_once() {
    let (_dir, ledger) = ledger();
    let ca = Entry {
        role: Role::Root,
        ..leaf(9, "r.test", 900)
    };
    let leaves =
        [-2, -1, 1, 2, 3, 90].map(|days| leaf(u32::try_from(days + 5).unwrap(), "a.test", days));
    ledger.record(&leaves).unwrap();
    ledger.record(&[ca]).unwrap();
    for revoked in [&leaves[0], &leaves[3]] {
        ledger
            .revoke(&revoked.serial, Reason::Superseded, now())
            .unwrap();
    }
    let counts = ledger.counts(now(), now() + Span::days(30)).unwrap();
    let expected = Counts {
        valid: 3,
        expiring: 2,
        expired: 1,
        revoked: 2,
    };
    assert_eq!(counts, expected);
}

#[test]
fn sweeping_keeps_ca_certificates_and_what_a_crl_still_has_to_name() {
    let (_dir, ledger) = ledger();
    let ca = Entry {
        role: Role::Root,
        ..leaf(1, "r.test", -900)
    };
    let revoked = leaf(3, "revoked.test", -100);
    let entries = [
        ca,
        leaf(2, "old.test", -100),
        revoked.clone(),
        leaf(4, "new.test", -1),
    ];
    ledger.record(&entries).unwrap();
    ledger
        .revoke(&revoked.serial, Reason::Superseded, now() - Span::days(101))
        .unwrap();
    let sweep = || ledger.sweep(now() - Span::days(90)).unwrap();
    assert_eq!(sweep(), 1);
    assert_eq!(
        names(&ledger, &Filter::default()),
        ["r.test", "revoked.test", "new.test"]
    );
    let number = ledger.next_crl_number("I1").unwrap();
    let crl = |days| LastCrl {
        number,
        this_update: now() - Span::days(days),
    };
    ledger.crl_published("I1", crl(100)).unwrap();
    assert_eq!(sweep(), 0);
    let newer = LastCrl {
        number: number + 1,
        ..crl(99)
    };
    ledger.crl_published("I1", newer).unwrap();
    ledger.crl_published("I1", crl(100)).unwrap();
    assert_eq!(ledger.last_crl("I1").unwrap(), Some(newer));
    assert_eq!(sweep(), 1);
    let orphans: i64 = ledger
        .connection
        .query_row("SELECT count(*) FROM names", [], |row| row.get(0))
        .unwrap();
    assert_eq!(orphans, 2);
}

#[test]
fn more_than_one_batch_is_swept() {
    let (_dir, ledger) = ledger();
    let count = u32::try_from(Ledger::SWEEP_BATCH).unwrap() * 2 + 1;
    let old: Vec<_> = (0..count).map(|n| leaf(n, "a.test", -100)).collect();
    ledger.record(&old).unwrap();
    assert_eq!(ledger.sweep(now()).unwrap(), u64::from(count));
    assert_eq!(ledger.sweep(now()).unwrap(), 0);
}

#[test]
fn crl_numbers_count_up_for_each_issuer_and_over_a_floor() {
    let (_dir, ledger) = ledger();
    let next = |issuer| ledger.next_crl_number(issuer).unwrap();
    assert_eq!(
        [next("I1"), next("I1"), next("I2"), next("I1")],
        [1, 2, 1, 3]
    );
    assert_eq!(ledger.next_crl_number_above("I1", 1).unwrap(), 4);
    assert_eq!(ledger.next_crl_number_above("I1", 40).unwrap(), 41);
    assert_eq!(ledger.next_crl_number_above("I3", 7).unwrap(), 8);
    ledger.skip_crl_numbers(1000).unwrap();
    assert_eq!([next("I1"), next("I2")], [1042, 1002]);
    assert!(ledger.next_crl_number_above("I4", u64::MAX).is_ok());
    assert_eq!(ledger.last_crl("I1").unwrap(), None);
}

#[test]
fn all_files_are_private_from_creation() {
    let (dir, ledger) = ledger();
    ledger.record(&[leaf(1, "a.test", 1)]).unwrap();
    ledger.snapshot_to(&dir.path().join("copy.sqlite")).unwrap();
    let mut seen = Vec::new();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{file:?}"
        );
        seen.push(file.file_name().into_string().unwrap());
    }
    seen.sort();
    assert_eq!(
        seen,
        ["ca.sqlite", "ca.sqlite-shm", "ca.sqlite-wal", "copy.sqlite"]
    );
}

#[test]
fn a_snapshot_is_a_whole_inventory_and_replaces_nothing() {
    let (dir, ledger) = ledger();
    ledger.record(&[leaf(1, "a.test", 1)]).unwrap();
    ledger.next_crl_number("I1").unwrap();
    let path = dir.path().join("copy.sqlite");
    ledger.snapshot_to(&path).unwrap();
    assert!(ledger.snapshot_to(&path).is_err());
    let copy = Ledger::open(&path).unwrap();
    assert_eq!(names(&copy, &Filter::default()), ["a.test"]);
    assert_eq!(copy.next_crl_number("I1").unwrap(), 2);
}

#[test]
fn what_is_committed_is_synced_and_logged_ahead() {
    let (_dir, ledger) = ledger();
    let pragma = |name: &str| -> String {
        let value = |row: &Row<'_>| row.get::<_, Value>(0);
        match ledger
            .connection
            .query_row(&format!("PRAGMA {name}"), [], value)
            .unwrap()
        {
            Value::Text(text) => text,
            Value::Integer(number) => number.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(pragma("journal_mode"), "wal");
    assert_eq!(pragma("synchronous"), "2");
    assert_eq!(pragma("foreign_keys"), "1");
    assert_eq!(pragma("trusted_schema"), "0");
}

#[test]
fn a_newer_inventory_is_refused_and_left_alone() {
    let (dir, ledger) = ledger();
    ledger
        .connection
        .pragma_update(None, "user_version", Ledger::SCHEMA + 1)
        .unwrap();
    drop(ledger);
    let path = dir.path().join("ca.sqlite");
    let before = std::fs::read(&path).unwrap();
    let error = Ledger::open(&path).unwrap_err();
    assert!(
        error.to_string().contains("made by a newer certmint"),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_that_is_no_database_is_said_to_be_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.sqlite");
    disk::write_new(&path, &[b'x'; 8192], 0o600).unwrap();
    assert!(matches!(
        Ledger::open(&path),
        Err(LedgerError::Damaged { .. })
    ));
}

#[test]
fn a_damaged_entry_is_named() {
    let (_dir, ledger) = ledger();
    ledger.record(&[leaf(1, "a.test", 1)]).unwrap();
    ledger
        .connection
        .execute("UPDATE certificates SET names = '../..'", [])
        .unwrap();
    let error = ledger
        .by_serial(&leaf(1, "a.test", 1).serial)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("4000000001") && error.contains("../.."),
        "{error}"
    );
}

#[test]
fn a_writer_that_never_ends_is_reported_as_such() {
    let (dir, ledger) = ledger();
    let other = Ledger::open(&dir.path().join("ca.sqlite")).unwrap();
    other.connection.busy_timeout(Duration::ZERO).unwrap();
    let held = ledger.begin("write").unwrap();
    let error = other.next_crl_number("I1").unwrap_err();
    assert!(matches!(error, LedgerError::Busy { .. }), "{error}");
    // Readers do not wait for writers.
    assert!(other.by_serial(&[1]).unwrap().is_none());
    drop(held);
    assert_eq!(other.next_crl_number("I1").unwrap(), 1);
}

#[test]
fn people_can_read_the_database() {
    let (_dir, ledger) = ledger();
    let mut entry = leaf(1, "a.test", -1);
    entry.names.push(Identifier::parse("b.test").unwrap());
    ledger.record(&[entry]).unwrap();
    let row: (String, String, String) = ledger
        .connection
        .query_row(
            "SELECT names, state, not_after FROM certificates_readable",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!(
        (row.0.as_str(), row.2.as_str()),
        ("a.test b.test", "2026-11-17T11:06:40Z")
    );
}

#[test]
fn threads_open_a_new_inventory_together_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.sqlite");
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let path = &path;
            scope.spawn(move || {
                let ledger = Ledger::open(path).unwrap();
                for n in 0..10 {
                    ledger
                        .record(&[leaf(thread * 10 + n, "a.test", 1)])
                        .unwrap();
                    ledger.next_crl_number("I1").unwrap();
                }
            });
        }
    });
    let ledger = Ledger::open(&path).unwrap();
    assert_eq!(names(&ledger, &Filter::default()).len(), 40);
    assert_eq!(ledger.next_crl_number("I1").unwrap(), 41);
}

/// What one of several users of an inventory does next.
#[derive(Debug, Clone)]
enum Step {
    Record(u8),
    Revoke(u8, usize),
    Number(bool),
    Sweep,
    Reopen,
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let step = prop_oneof![
        (0..12_u8).prop_map(Step::Record),
        (0..12_u8, 0..Reason::ALL.len()).prop_map(|(n, reason)| Step::Revoke(n, reason)),
        any::<bool>().prop_map(Step::Number),
        Just(Step::Sweep),
        Just(Step::Reopen),
    ];
    (0..3_usize, step)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn numbers_and_revocations_survive_every_interleaving(steps in prop::collection::vec(step(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.sqlite");
        let mut users: Vec<_> = (0..3).map(|_| Ledger::open(&path).unwrap()).collect();
        let mut known = std::collections::BTreeMap::<u8, Option<Revocation>>::new();
        let mut numbers = [0_u64; 2];
        for (at, (user, step)) in steps.into_iter().enumerate() {
            let ledger = &users[user];
            match step {
                Step::Record(n) => {
                    let outcome = ledger.record(&[leaf(n.into(), "a.test", 1)]);
                    prop_assert_eq!(outcome.is_ok(), !known.contains_key(&n));
                    known.entry(n).or_insert(None);
                }
                Step::Revoke(n, reason) => {
                    let at = now() + Span::seconds(i64::try_from(at).unwrap());
                    let wanted = Revocation { at, reason: Reason::ALL[reason] };
                    let outcome = ledger.revoke(&leaf(n.into(), "a.test", 1).serial, wanted.reason, at);
                    match known.get_mut(&n) {
                        None => prop_assert!(outcome.is_err()),
                        Some(Some(first)) => prop_assert_eq!(outcome.unwrap(), Revoke::Already(*first)),
                        Some(none) => {
                            prop_assert_eq!(outcome.unwrap(), Revoke::Done(wanted));
                            *none = Some(wanted);
                        }
                    }
                }
                Step::Number(second) => {
                    let issuer = usize::from(second);
                    let number = ledger.next_crl_number(["I1", "I2"][issuer]).unwrap();
                    prop_assert!(number > numbers[issuer]);
                    numbers[issuer] = number;
                }
                Step::Sweep => prop_assert_eq!(ledger.sweep(now()).unwrap(), 0),
                Step::Reopen => users[user] = Ledger::open(&path).unwrap(),
            }
        }
        let revoked: Vec<_> = known.values().flatten().collect();
        prop_assert_eq!(users[0].revoked_by("I1").unwrap().len(), revoked.len());
        for (n, revocation) in &known {
            let entry = users[1].by_serial(&leaf((*n).into(), "a.test", 1).serial).unwrap().unwrap();
            prop_assert_eq!(entry.revoked, *revocation);
        }
    }
}

/// Fills an inventory as fast as SQLite can: expiry spread over 90 days from now,
/// every 1000th revoked.
fn fill(ledger: &Ledger, rows: u32) {
    let insert = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
        INSERT INTO certificates SELECT n, printf('%040x', n * 2654435761), 'I1', 'leaf',
        printf('host-%d.example', n), printf('host-%d.example', n), printf('CN=host-%d.example', n), 'server', 'p256',
        ?2 - 864000, ?2 + (n * 7919) % 7776000, ?2 - 864000, printf('%064x', n),
        iif(n % 1000 = 0, ?2, NULL), iif(n % 1000 = 0, 'superseded', NULL), randomblob(600) FROM n";
    let names = "INSERT INTO names SELECT names, number FROM certificates";
    let transaction = ledger.begin("write").unwrap();
    transaction
        .execute(insert, params![rows, now().unix_timestamp()])
        .unwrap();
    transaction.execute(names, []).unwrap();
    transaction.commit().unwrap();
}

/// Runs by hand: it needs a gigabyte of disk and prints what each question took.
#[test]
#[ignore = "takes half a minute; its figures are for `cargo test million -- --ignored --nocapture`"]
fn a_million_certificates_answer_well_under_a_second() {
    use std::io::Write as _;
    let (dir, ledger) = ledger();
    let mut out = std::io::stdout().lock();
    let mut timed = |what: &str, limit: u128, work: &mut dyn FnMut() -> usize| {
        let start = Instant::now();
        let rows = work();
        let taken = start.elapsed().as_millis();
        writeln!(out, "{what}: {rows} rows, {taken} ms").unwrap();
        assert!(taken <= limit, "{what} took {taken} ms");
    };
    timed("fill", 600_000, &mut || {
        fill(&ledger, 1_000_000);
        1_000_000
    });
    drop(ledger);
    let path = dir.path().join("ca.sqlite");
    let mut opened = None;
    timed("open", 500, &mut || {
        opened = Some(Ledger::open(&path).unwrap());
        0
    });
    let ledger = opened.unwrap();
    let day = |days| Some(now() + Span::days(days));
    let count = |filter: Filter| {
        let mut rows = 0;
        ledger.for_each(&filter, |_| rows += 1).unwrap();
        rows
    };
    let all = Filter::default();
    let glob = |text: &str| Filter {
        name_glob: Some(text.to_owned()),
        ..Filter::default()
    };
    timed("expiring 1d", 500, &mut || {
        count(Filter {
            expiring_before: day(1),
            not_expired_at: day(0),
            ..all.clone()
        })
    });
    timed("expiring 30d, first 100", 100, &mut || {
        count(Filter {
            expiring_before: day(30),
            limit: Some(100),
            ..all.clone()
        })
    });
    timed("expiring 30d", 60_000, &mut || {
        count(Filter {
            expiring_before: day(30),
            not_expired_at: day(0),
            ..all.clone()
        })
    });
    timed("revoked", 500, &mut || {
        count(Filter {
            revoked: Some(true),
            ..all.clone()
        })
    });
    timed("role root", 100, &mut || {
        count(Filter {
            role: Some(Role::Root),
            ..all.clone()
        })
    });
    timed("name host-77*.example", 1000, &mut || {
        count(glob("host-777*.example"))
    });
    timed("name *-777777.example", 1000, &mut || {
        count(glob("*-777777.example"))
    });
    timed("newest by name", 50, &mut || {
        let name = Identifier::parse("host-999.example").unwrap();
        usize::from(ledger.newest_by_name(&name).unwrap().is_some())
    });
    timed("newest by id", 50, &mut || {
        usize::from(
            ledger
                .newest_by_id(&"host-999.example".parse().unwrap())
                .unwrap()
                .is_some(),
        )
    });
    timed("by serial", 50, &mut || {
        usize::from(ledger.by_serial(&[1]).unwrap().is_some())
    });
    timed("revoked_by", 500, &mut || {
        ledger.revoked_by("I1").unwrap().len()
    });
    timed("counts", 500, &mut || {
        let counts = ledger.counts(now(), now() + Span::days(30)).unwrap();
        usize::try_from(counts.valid + counts.revoked).unwrap()
    });
    timed("record", 100, &mut || {
        ledger.record(&[leaf(1, "a.test", 1)]).unwrap();
        1
    });
    timed("snapshot", 60_000, &mut || {
        ledger.snapshot_to(&dir.path().join("copy.sqlite")).unwrap();
        1_000_000
    });
    timed("sweep", 120_000, &mut || {
        usize::try_from(ledger.sweep(now() + Span::days(30)).unwrap()).unwrap()
    });
}
