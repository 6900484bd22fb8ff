//! A directory that is killed again and again while its clients order: no certificate
//! that was issued is lost, no serial number comes twice, and every order goes on.
//!
//! `CERTMINT_TEST_CRASH=all` kills it forty times; a few times otherwise.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;

use super::ready;
use crate::support::pebble::free_port;
use crate::support::{Server, TestEnv};

/// Names of each client: as many as fit one certificate each between two kills.
const NAMES: usize = 60;
const CLIENTS: usize = 2;

#[test]
fn a_directory_that_is_killed_loses_no_certificate_and_repeats_no_serial() {
    let all = std::env::var_os("CERTMINT_TEST_CRASH").is_some_and(|all| all == "all");
    let rounds = if all { 40 } else { 5 };
    let ca = TestEnv::with_ca();
    let events = ca.path("events");
    let port = free_port().to_string();
    let clients: Vec<_> = (0..CLIENTS).map(|n| Buyer::new(&ca, n)).collect();
    let mut running: Vec<Server> = Vec::new();
    let (mut seen, mut kills) = (0, 0);
    for round in 0..rounds {
        let server = start(&ca, &port, &events);
        if running.is_empty() {
            running = clients.iter().map(|c| c.order(&ca, &port)).collect();
        }
        // Each time in another place between two certificates.
        let wanted = seen + 3 + round % 4;
        if issued(&events, wanted, &mut running) {
            std::thread::sleep(Duration::from_micros(
                u64::try_from(round * 700).unwrap() % 5000,
            ));
            kills += 1;
        } else {
            // They were quicker than the kill.
            for client in running.drain(..) {
                let _ = client.wait(Duration::from_secs(10)).success();
            }
        }
        server.signal(Signal::KILL);
        let _ = server.wait(Duration::from_secs(10));
        seen = count(&events);
    }
    assert!(kills > 0, "it was never killed in the middle");
    let server = start(&ca, &port, &events);
    for client in running {
        let done = client.wait(Duration::from_secs(120));
        assert!(
            done.stderr().contains("issued") || done.status().success(),
            "{done:?}"
        );
    }
    check(&ca, &clients);
    let _ = server.terminate().success();
}

/// Somebody with an account who orders a certificate for each of many names.
struct Buyer {
    env: TestEnv,
    kid: String,
    number: usize,
}

impl Buyer {
    fn new(ca: &TestEnv, number: usize) -> Self {
        let env = TestEnv::new();
        let add = [
            "ca",
            "eab",
            "add",
            "--json",
            "--skip-validation",
            "--permit",
            "test",
        ];
        let key = ca.certmint(add).run().success();
        let key: Value = serde_json::from_str(key.stdout()).unwrap();
        let file = env.write("hmac", key["hmac_key"].as_str().unwrap());
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(file, private).unwrap();
        let names: Vec<_> = (0..NAMES)
            .map(|n| format!("h{n}.c{number}.test\n"))
            .collect();
        env.write("names", names.concat());
        Self {
            env,
            kid: key["kid"].as_str().unwrap().to_owned(),
            number,
        }
    }

    fn order(&self, ca: &TestEnv, port: &str) -> Server {
        self.env
            .certmint([
                "acme",
                "issue",
                "--force",
                "--challenge",
                "http-01",
                "--ca-file",
            ])
            .arg(ca.state().join("ca/root.pem"))
            .args([
                "--directory",
                &format!("https://localhost:{port}/directory"),
            ])
            .args(["--eab-kid", &self.kid, "--eab-hmac-file"])
            .arg(self.env.path("hmac"))
            .args(["--http", &format!("127.0.0.1:{}", free_port()), "--from"])
            .arg(self.env.path("names"))
            .spawn()
    }
}

fn start(ca: &TestEnv, port: &str, events: &Path) -> Server {
    let mut server = ca
        .certmint(["ca", "serve", "--require-eab", "--http", "off", "--events"])
        .arg(events)
        .arg(format!("--https=127.0.0.1:{port}"))
        .spawn();
    ready(&mut server);
    server
}

/// How many certificates the directory says to have issued.
fn count(events: &Path) -> usize {
    let text = std::fs::read_to_string(events).unwrap_or_default();
    text.matches("\"source\":\"directory\"").count()
}

/// Waits until `wanted` are issued; false when the clients end before.
fn issued(events: &Path, wanted: usize, running: &mut [Server]) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while count(events) < wanted {
        assert!(Instant::now() < deadline, "the clients get nothing");
        if running.iter_mut().all(|client| !is_running(client)) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

fn is_running(client: &Server) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", client.pid()));
    // A child that has ended is a zombie until it is waited for.
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

fn check(ca: &TestEnv, clients: &[Buyer]) {
    let inventory = Connection::open(ca.state().join("ca/ca.sqlite")).unwrap();
    let texts = |sql: &str| -> Vec<String> {
        let mut statement = inventory.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let issued = texts(
        "SELECT serial FROM certificates WHERE role = 'leaf' AND names NOT LIKE '%localhost%'",
    );
    let unique: BTreeSet<_> = issued.iter().collect();
    assert_eq!(unique.len(), issued.len(), "a serial number came twice");
    let ordered: BTreeSet<_> = texts("SELECT serial FROM acme_orders WHERE status = 'valid'")
        .into_iter()
        .collect();
    let lost: Vec<_> = issued
        .iter()
        .filter(|serial| !ordered.contains(*serial))
        .collect();
    assert!(
        lost.is_empty(),
        "issued, and no order knows of it: {lost:?}"
    );
    assert_eq!(ordered.len(), issued.len(), "orders without a certificate");
    let open = texts("SELECT id FROM acme_orders WHERE status = 'processing'");
    assert!(open.is_empty(), "left in the middle: {open:?}");
    let mut held = 0;
    for client in clients {
        for n in 0..NAMES {
            let id = format!("h{n}.c{}.test", client.number);
            let path = client
                .env
                .state()
                .join(format!("certs/{id}/current/cert.pem"));
            let Ok(pem) = std::fs::read(path) else {
                continue;
            };
            let leaf = &certmint::bundle::Certificate::parse_pem(&pem).unwrap()[0];
            assert!(
                unique.contains(&leaf.serial_hex()),
                "{id} is not in the inventory"
            );
            held += 1;
        }
    }
    assert!(held > 0, "nobody got anything");
}
