//! How long the private CA's commands take, beside mkcert and openssl.
//!
//! Each figure is of a whole process, the programs taking turns in one run, so that
//! a slow moment of the machine hits all of them. Run with `cargo bench --bench ca`;
//! a program that is not installed is left out.

#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a benchmark prepares files and prints"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use certmint::clock::{Clock, Duration as Span, SystemClock, Timestamp};
use certmint::identifier::{CertId, Identifier};
use certmint::pki::ledger::{Entry, Ledger, Role};
use support::{has, median, millis, timed};

const CERTMINT: &str = env!("CARGO_BIN_EXE_certmint");
const ROUNDS: u32 = 20;
const BULK: usize = 10_000;
const INVENTORY: u64 = 1_000_000;

fn main() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    one_leaf(dir.path());
    many_leaves(dir.path());
    inventory(dir.path());
}

/// A program's name, and what makes it issue the n-th leaf.
type Peer = (&'static str, Box<dyn Fn(u32)>);

/// One leaf: `certmint ca issue`, `mkcert`, `openssl req` + `openssl x509`.
fn one_leaf(dir: &Path) {
    certmint(dir)
        .args(["-q", "ca", "init", "--name", "Bench"])
        .finish();
    let peers: Vec<Peer> = [
        Some(("certmint ca issue", certmint_leaf(dir))),
        has("mkcert").then(|| ("mkcert", mkcert_leaf(dir))),
        has("openssl").then(|| ("openssl req, x509", openssl_leaf(dir))),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); peers.len()];
    for round in 0..ROUNDS {
        for ((_, issue), times) in peers.iter().zip(&mut times) {
            times.push(timed(|| issue(round)));
        }
    }
    println!("one leaf, median of {ROUNDS} processes each, in turn");
    let ours = median(&mut times[0]);
    for ((name, _), times) in peers.iter().zip(&mut times) {
        let median = median(times);
        let ratio = ours.as_secs_f64() / median.as_secs_f64();
        println!(
            "  {name:<20} {:>8.1} ms   certmint takes {ratio:.2} of it",
            millis(median)
        );
    }
}

fn many_leaves(dir: &Path) {
    let list: String = (0..BULK).map(|n| format!("host{n}.bench.test\n")).collect();
    let path = dir.join("list");
    std::fs::write(&path, list).expect("a list");
    let took = timed(|| {
        certmint(dir)
            .args(["-q", "ca", "issue", "--from"])
            .arg(&path)
            .finish();
    });
    let each = took / u32::try_from(BULK).expect("a small number");
    println!(
        "{BULK} leaves in one command: {:.1} s, {:.2} ms each",
        took.as_secs_f64(),
        millis(each)
    );
}

fn inventory(dir: &Path) {
    let ledger = Ledger::open(&dir.join("state/ca/ca.sqlite")).expect("the inventory");
    let now = SystemClock.now();
    let filled = timed(|| {
        for start in (0..INVENTORY).step_by(10_000) {
            let entries: Vec<Entry> = (start..start + 10_000).map(|n| entry(n, now)).collect();
            ledger.record(&entries).expect("recorded");
        }
    });
    drop(ledger);
    println!(
        "inventory of {INVENTORY} more rows, filled in {:.1} s",
        filled.as_secs_f64()
    );
    for arguments in [
        ["--expiring", "30d"],
        ["--name", "host77*.inventory.test"],
        ["--limit", "10"],
    ] {
        let mut times: Vec<Duration> = (0..5)
            .map(|_| {
                timed(|| {
                    certmint(dir)
                        .args(["-q", "ca", "list"])
                        .args(arguments)
                        .finish()
                })
            })
            .collect();
        println!(
            "  ca list {:<36} {:>8.1} ms",
            arguments.join(" "),
            millis(median(&mut times))
        );
    }
}

/// A certificate of which 1 in 1,000 expires within 30 days.
fn entry(n: u64, now: Timestamp) -> Entry {
    let name = Identifier::parse(&format!("host{n}.inventory.test")).expect("a name");
    let days = if n.is_multiple_of(1000) {
        1 + i64::try_from(n / 1000 % 29).unwrap_or(0)
    } else {
        60
    };
    Entry {
        serial: [&[0x40; 8], n.to_be_bytes().as_slice()].concat(),
        issuer: "I1".to_owned(),
        role: Role::Leaf,
        id: Some(CertId::for_name(&name)),
        names: vec![name],
        subject: format!("CN=host{n}.inventory.test"),
        usage: "server".to_owned(),
        key_type: "p256".to_owned(),
        not_before: now - Span::days(30),
        not_after: now + Span::days(days),
        issued_at: now - Span::days(30),
        spki_sha256: format!("{n:064x}"),
        der: vec![0x30; 600],
        revoked: None,
    }
}

fn certmint_leaf(dir: &Path) -> Box<dyn Fn(u32)> {
    let dir = dir.to_owned();
    Box::new(move |n| {
        certmint(&dir)
            .args(["-q", "ca", "issue"])
            .arg(format!("leaf{n}.test"))
            .finish()
    })
}

fn mkcert_leaf(dir: &Path) -> Box<dyn Fn(u32)> {
    let dir = dir.to_owned();
    let root = dir.join("mkcert");
    std::fs::create_dir_all(&root).expect("a directory");
    Box::new(move |n| {
        Command::new("mkcert")
            .current_dir(&dir)
            .env("CAROOT", &root)
            .args(["-ecdsa", &format!("leaf{n}.test")])
            .finish();
    })
}

fn openssl_leaf(dir: &Path) -> Box<dyn Fn(u32)> {
    let dir = dir.to_owned();
    let run = |dir: &PathBuf, line: &str| {
        Command::new("openssl")
            .current_dir(dir)
            .args(line.split(' '))
            .finish();
    };
    let curve = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    run(
        &dir,
        &format!("req -x509 {curve} -keyout ca.key -out ca.crt -subj /CN=bench"),
    );
    Box::new(move |n| {
        run(
            &dir,
            &format!("req {curve} -keyout {n}.key -out {n}.csr -subj /CN=leaf{n}.test"),
        );
        run(
            &dir,
            &format!("x509 -req -in {n}.csr -CA ca.crt -CAkey ca.key -out {n}.crt"),
        );
    })
}

trait Finish {
    fn finish(&mut self);
}

impl Finish for Command {
    fn finish(&mut self) {
        let status = self.stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.is_ok_and(|s| s.success()), "{self:?} failed");
    }
}

fn certmint(dir: &Path) -> Command {
    let mut command = Command::new(CERTMINT);
    command.env("CERTMINT_HOME", dir.join("state"));
    command
}
