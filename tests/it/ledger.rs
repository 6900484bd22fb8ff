//! The CA's inventory under several processes, under `kill -9`, and in the hands of
//! people who query it.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use certmint::clock::{Clock as _, Duration as Span, SystemClock};
use certmint::identifier::Identifier;
use certmint::pki::ledger::{Entry, Filter, Ledger, Role, serial_to_hex};
use rustix::process::Signal;

use crate::support::{Run, TestEnv, tool};

/// Where each test keeps its inventory, below the directory it runs children in.
const FILE: &str = "ca.sqlite";

fn entry(serial: Vec<u8>, name: &str) -> Entry {
    let now = SystemClock.now();
    Entry {
        serial,
        issuer: "I1".to_owned(),
        role: Role::Leaf,
        id: None,
        names: vec![Identifier::parse(name).unwrap()],
        subject: format!("CN={name}"),
        usage: "server".to_owned(),
        key_type: "p256".to_owned(),
        not_before: now,
        not_after: now + Span::days(7),
        issued_at: now,
        spki_sha256: String::new(),
        der: vec![0x30, 0],
        revoked: None,
    }
}

/// This binary again, running the one ignored test `child` in `dir`.
fn child(env: &TestEnv, dir: &Path, child: &str) -> Run {
    let name = format!("ledger::{child}");
    let args = [
        "--exact",
        &name,
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ];
    env.command(std::env::current_exe().unwrap(), args)
        .current_dir(dir)
}

/// Says a number in one write, so that a kill cannot cut it.
fn say(number: u64) {
    let line = format!("number {number}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

fn said(text: &str) -> Vec<u64> {
    text.lines()
        .filter_map(|line| line.strip_prefix("number ")?.parse().ok())
        .collect()
}

/// How many certificates one child of [`child_that_issues`] records.
const ISSUED: u8 = 50;

#[test]
#[ignore = "started by the test below it"]
fn child_that_issues() {
    let ledger = Ledger::open(Path::new(FILE)).unwrap();
    let process = std::process::id().to_be_bytes();
    for n in 1..=ISSUED {
        let serial = [&[0x40], process.as_slice(), &[n]].concat();
        ledger.record(&[entry(serial, "a.test")]).unwrap();
        say(ledger.next_crl_number("I1").unwrap());
    }
}

#[test]
fn four_processes_write_at_once_and_nothing_is_lost_or_given_twice() {
    let env = TestEnv::new();
    let dir = env.path("tmp");
    // The file does not exist yet: they make it together, too.
    let children: Vec<_> = (0..4)
        .map(|_| child(&env, &dir, "child_that_issues").spawn())
        .collect();
    let mut numbers = Vec::new();
    for child in children {
        let output = child.wait(Duration::from_secs(60)).success();
        let own = said(output.stderr());
        assert!(
            own.is_sorted() && own.len() == usize::from(ISSUED),
            "{own:?}"
        );
        numbers.extend(own);
    }
    let total = 4 * u64::from(ISSUED);
    let distinct: BTreeSet<u64> = numbers.iter().copied().collect();
    assert_eq!(distinct, (1..=total).collect());
    let ledger = Ledger::open(&dir.join(FILE)).unwrap();
    let mut rows = 0;
    ledger.for_each(&Filter::default(), |_| rows += 1).unwrap();
    assert_eq!(rows, total);
}

#[test]
#[ignore = "started by the test below it, which kills it"]
fn child_that_numbers() {
    let ledger = Ledger::open(Path::new(FILE)).unwrap();
    loop {
        say(ledger.next_crl_number("I1").unwrap());
    }
}

#[test]
fn a_crl_number_never_comes_twice_whenever_the_process_is_killed() {
    let env = TestEnv::new();
    let dir = env.path("tmp");
    let mut last = 0;
    for _ in 0..20 {
        let mut server = child(&env, &dir, "child_that_numbers").spawn();
        server.await_line("number ");
        let mut random = [0];
        aws_lc_rs::rand::fill(&mut random).unwrap();
        // Up to 8 ms, some writes long: the moment is meant to be a random one.
        std::thread::sleep(Duration::from_micros(u64::from(random[0]) * 32));
        server.signal(Signal::KILL);
        let output = server.wait(Duration::from_secs(60));
        let numbers = said(output.stderr());
        assert!(numbers.iter().is_sorted_by(|a, b| a < b), "{numbers:?}");
        assert!(numbers[0] > last, "{} after {last}", numbers[0]);
        last = *numbers.last().unwrap();
    }
    let ledger = Ledger::open(&dir.join(FILE)).unwrap();
    assert!(ledger.next_crl_number("I1").unwrap() > last);
}

#[test]
fn people_query_the_inventory_with_sqlite3() {
    let Some(sqlite3) = tool("sqlite3") else {
        return;
    };
    let env = TestEnv::new();
    let path = env.path(FILE);
    let ledger = Ledger::open(&path).unwrap();
    let serial = vec![0x4f, 0xab];
    let mut entry = entry(serial.clone(), "a.test");
    entry.names.push(Identifier::parse("*.a.test").unwrap());
    ledger.record(&[entry]).unwrap();
    // Beside the open connection, as beside a running server.
    let query = "SELECT serial, names, state, role FROM certificates_readable; \
        SELECT serial FROM certificates JOIN names ON certificate = number \
        WHERE name = '*.a.test'; PRAGMA integrity_check; PRAGMA foreign_key_check";
    let args = [path.as_os_str(), query.as_ref()];
    let output = env.command(sqlite3, args).run().success();
    let hex = serial_to_hex(&serial);
    let expected = format!("{hex}|a.test *.a.test|valid|leaf\n{hex}\nok\n");
    assert_eq!(output.stdout(), expected);
}
