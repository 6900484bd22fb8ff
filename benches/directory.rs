//! How quickly the private ACME directory issues, beside Caddy's `acme_server`.
//!
//! The same client asks both for certificates of loopback addresses by http-01: alone,
//! and thirty-two of them at once. The servers take turns in one run. Run with
//! `cargo bench --bench directory`; Caddy validates on port 80 alone, and is left out
//! where that is not free, or Caddy not installed.

#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a benchmark prepares files, prints, and starts programs"
)]

#[path = "directory/client.rs"]
mod client;
#[expect(dead_code, reason = "the other benchmarks use the rest")]
mod support;

use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use client::Client;
use support::{has, median, millis};

const CERTMINT: &str = env!("CARGO_BIN_EXE_certmint");
/// Orders of one client, of which the median counts.
const ALONE: usize = 100;
const TOGETHER: u8 = 32;
const TIME: Duration = Duration::from_secs(8);
const ROUNDS: usize = 3;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let port = runtime.block_on(responder());
    let mut servers = vec![certmint(dir.path(), port)];
    if port == 80 && has("caddy") {
        servers.push(caddy(dir.path()));
    } else {
        println!("Caddy is left out: it is not installed, or port 80 is not free");
    }
    runtime.block_on(compare(&servers));
    drop(servers);
    runtime.block_on(large(dir.path(), port));
}

/// A server under test; ended when dropped.
struct Server {
    name: &'static str,
    directory: String,
    process: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn compare(servers: &[Server]) {
    let mut alone = vec![Vec::new(); servers.len()];
    let mut together = vec![Vec::new(); servers.len()];
    for _ in 0..ROUNDS {
        for (n, server) in servers.iter().enumerate() {
            alone[n].extend(one(&server.directory).await);
            together[n].push(many(&server.directory).await);
        }
    }
    for (n, server) in servers.iter().enumerate() {
        let (time, rate) = (median(&mut alone[n]), median(&mut together[n]));
        println!(
            "{:<10} one client: {:>6.1} ms an order; {TOGETHER} clients: {rate} certificates/s",
            server.name,
            millis(time),
        );
    }
    if let [ours, theirs] = &mut together[..] {
        let times = (median(&mut alone[0]), median(&mut alone[1]));
        println!(
            "certmint takes {:.2} of the time, and issues {:.1} times as many",
            times.0.as_secs_f64() / times.1.as_secs_f64(),
            median(ours) as f64 / median(theirs) as f64
        );
    }
}

/// How long each order of one client takes, validation and all.
async fn one(directory: &str) -> Vec<Duration> {
    let mut client = Client::new(directory, address(0)).await;
    let mut times = Vec::new();
    for _ in 0..ALONE {
        let start = Instant::now();
        client.obtain().await;
        times.push(start.elapsed());
    }
    times
}

/// Certificates per second for many clients.
async fn many(directory: &str) -> usize {
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut clients = Vec::new();
    for n in 0..TOGETHER {
        clients.push(Client::new(directory, address(n)).await);
    }
    let start = Instant::now();
    let work: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    client.obtain().await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(TIME).await;
    let rate = done.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for one in work {
        one.await.unwrap();
    }
    rate as usize
}

/// Every client controls an address of its own.
fn address(client: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, client)
}

/// Answers http-01 for every client: by the address that is asked it is known whose
/// key the answer takes. On port 80 where that can be had.
async fn responder() -> u16 {
    let any = Ipv4Addr::UNSPECIFIED;
    let listener = match tokio::net::TcpListener::bind((any, 80)).await {
        Ok(listener) => listener,
        Err(_) => tokio::net::TcpListener::bind((any, 0)).await.unwrap(),
    };
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(client::answer(stream));
        }
    });
    port
}

fn certmint(dir: &Path, port: u16) -> Server {
    let home = dir.join("certmint");
    let made = Command::new(CERTMINT)
        .args(["-q", "ca", "init", "--home"])
        .arg(&home)
        .status();
    assert!(made.unwrap().success());
    serve(&home, port)
}

fn serve(home: &Path, port: u16) -> Server {
    let mut process = Command::new(CERTMINT)
        .args([
            "ca",
            "serve",
            "--https=127.0.0.1:0",
            "--http=off",
            "--allow-loopback",
        ])
        .args(["--permit=127.0.0.0/8", "--max-orders-per-account=1000000"])
        .args(["--max-orders-per-client=1000000"])
        .arg("--max-certificates-per-name=1000000")
        .arg(format!("--http01-port={port}"))
        .arg("--home")
        .arg(home)
        .arg("localhost")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let line = lines.find_map(|line| line.ok().filter(|line| line.contains("serving https://")));
    let line = line.expect("it says where it serves");
    let address = line.split("https://").nth(1).unwrap();
    let address = address.split([' ', ',']).next().unwrap();
    let port = address.rsplit(':').next().unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    Server {
        name: "certmint",
        directory: format!("https://localhost:{port}/directory"),
        process,
    }
}

fn caddy(dir: &Path) -> Server {
    let port = free_port();
    let file: PathBuf = dir.join("Caddyfile");
    let text = format!(
        "{{\n admin off\n auto_https disable_redirects\n skip_install_trust\n storage file_system {0}\n \
         http_port 1\n}}\nhttps://localhost:{port} {{\n bind 127.0.0.1\n tls internal\n acme_server\n}}\n",
        dir.join("caddy").display()
    );
    std::fs::write(&file, text).unwrap();
    let process = Command::new("caddy")
        .args(["run", "--config"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(Instant::now() < deadline, "Caddy does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    Server {
        name: "Caddy",
        directory: format!("https://localhost:{port}/acme/local/directory"),
        process,
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// The same with a million orders in the past.
async fn large(dir: &Path, port: u16) {
    const PAST: u32 = 1_000_000;
    let home = dir.join("certmint");
    let database = rusqlite::Connection::open(home.join("ca/ca.sqlite")).unwrap();
    let start = Instant::now();
    database
        .execute_batch(&format!(
            "PRAGMA synchronous = OFF;
             BEGIN;
             INSERT INTO acme_orders (id, account, status, created_at, expires_at, keep_until,
                 identifiers, serial)
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {PAST})
             SELECT printf('past%018d', i), (SELECT min(number) FROM acme_accounts), 'valid',
                 1700000000, 1700086400, 4000000000,
                 '[{{\"type\":\"ip\",\"value\":\"127.0.1.0\"}}]',
                 printf('%040x', i) FROM n;
             INSERT INTO acme_authorizations (id, acme_order, account, identifier, status, expires_at)
             SELECT id, number, account, '127.0.1.0', 'valid', 1700086400 FROM acme_orders
                 WHERE id LIKE 'past%';
             COMMIT;"
        ))
        .unwrap();
    println!(
        "{PAST} past orders took {:.0} s to make up",
        start.elapsed().as_secs_f64()
    );
    let start = Instant::now();
    let server = serve(&home, port);
    println!("  the start takes {:.2} s", start.elapsed().as_secs_f64());
    let time = median(&mut one(&server.directory).await);
    let rate = many(&server.directory).await;
    println!(
        "  one client: {:.1} ms an order; {TOGETHER} clients: {rate} certificates/s",
        millis(time)
    );
}
