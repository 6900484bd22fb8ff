//! What a connection and a request cost the server, beside nginx, HAProxy and Caddy.
//!
//! Every server runs on the first core, whoever asks on the others; costs are the
//! server's own CPU time for each operation, and the servers take turns in one run.
//! Run with `cargo bench --bench server`, all or one of `handshake`, `proxy`,
//! `download`, `memory`, `latency`; it needs taskset and h2load, and leaves out a
//! peer that is not installed.

#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a benchmark prepares files, prints, and starts programs"
)]

mod server {
    pub(crate) mod clients;
    pub(crate) mod peers;
}
#[expect(dead_code, reason = "the other benchmarks use the rest")]
mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use server::clients;
use server::peers::{self, Content, Peer};
use support::median;

const ROUNDS: u32 = 3;

/// One of the comparisons.
type Part = fn(&peers::Files);

fn main() {
    // Cargo adds `--bench`.
    let asked = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let dir = tempfile::tempdir().expect("a directory");
    let files = peers::Files::write(dir.path());
    let parts: [(&str, Part); 5] = [
        ("handshake", handshakes),
        ("proxy", proxied_requests),
        ("download", downloads),
        ("memory", memory),
        ("latency", latency),
    ];
    for (name, part) in parts {
        if asked.as_deref().is_none_or(|asked| asked == name) {
            part(&files);
        }
    }
}

/// Full handshakes with P-256 and X25519, then the end of the connection.
fn handshakes(files: &peers::Files) {
    const EACH: u32 = 3000;
    let servers = peers::start(files, &Content::Page);
    let client = clients::config(files, false);
    compare("a full handshake", &servers, |server| {
        clients::handshakes(&client, server.address, EACH);
        EACH
    });
}

/// Kept-alive requests for 1 kB over TLS, from an nginx behind the server.
fn proxied_requests(files: &peers::Files) {
    const EACH: u32 = 30_000;
    let upstream = peers::upstream(files);
    let servers = peers::start(files, &Content::Upstream(upstream.address));
    compare("a proxied request of 1 kB", &servers, |server| {
        let done = Command::new("taskset")
            .args(["-c", "1", "h2load", "--h1", "-c", "32", "-t", "1"])
            .args(["-n", &EACH.to_string()])
            .arg(format!("https://localhost:{}/", server.address.port()))
            .output()
            .expect("h2load is installed");
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(said.contains(&format!("{EACH} 2xx")), "{said}");
        EACH
    });
}

/// A file of 100 MB over TLS.
fn downloads(files: &peers::Files) {
    const EACH: u32 = 4;
    let servers = peers::start(files, &Content::Root);
    let client = clients::config(files, true);
    compare("a download of 100 MB", &servers, |server| {
        for _ in 0..EACH {
            let length = clients::download(&client, server.address, "/large");
            assert_eq!(length, peers::LARGE);
        }
        EACH
    });
}

/// What a connection holds while nothing happens on it.
fn memory(files: &peers::Files) {
    const MANY: u32 = 2000;
    let servers = peers::start(files, &Content::Page);
    let client = clients::config(files, true);
    println!("memory of a connection, of {MANY}");
    for server in &servers {
        // What the first connections make it allocate once is not theirs.
        drop(clients::stalled(server.address, 50));
        drop(clients::idle(&client, server.address, 50));
        let before = server.memory();
        let stalled = clients::stalled(server.address, MANY);
        let with_stalled = server.memory();
        drop(stalled);
        server.settle();
        let between = server.memory();
        let idle = clients::idle(&client, server.address, MANY);
        let with_idle = server.memory();
        drop(idle);
        let each = |before: u64, after: u64| after.saturating_sub(before) / u64::from(MANY);
        println!(
            "  {:<10} stalled in the handshake {:>7} B, idle {:>7} B",
            server.name,
            each(before, with_stalled),
            each(between, with_idle)
        );
    }
}

/// What TLS adds to a kept-alive request whose upstream takes a millisecond: each
/// request without it is compared with the one next to it, so that a slow moment of the
/// machine hits both.
fn latency(files: &peers::Files) {
    const EACH: u32 = 1500;
    const ROUNDS: u32 = 5;
    let upstream = clients::slow_upstream(Duration::from_millis(1));
    let plain = peers::certmint_plain(files, upstream);
    let secure = peers::certmint_private(files, upstream);
    let client = clients::config(files, true);
    let micros = |nanos: i128| nanos as f64 / 1000.0;
    println!("a kept-alive request with an upstream of 1 ms, median of {EACH} pairs each");
    let mut parts = Vec::new();
    for _ in 0..ROUNDS {
        let pairs = clients::pairs(plain.address, &client, secure.address, EACH);
        let nanos = |time: Duration| i128::try_from(time.as_nanos()).expect("it is short");
        let mut without: Vec<_> = pairs.iter().map(|(plain, _)| nanos(*plain)).collect();
        let differences = pairs.iter().map(|(plain, tls)| nanos(*tls) - nanos(*plain));
        let added = median(&mut differences.collect::<Vec<_>>());
        let without = median(&mut without);
        // In millionths, which have an order.
        parts.push(added * 1_000_000 / without);
        println!(
            "  serve-insecure {:>8.1} us, serve-ca {:>+7.1} us",
            micros(without),
            micros(added)
        );
    }
    let percent = |part: i128| part as f64 / 10_000.0;
    let middle = median(&mut parts);
    let (least, most) = (parts[0], parts[parts.len() - 1]);
    println!(
        "  TLS adds {:+.1} %, {:+.1} to {:+.1} in {ROUNDS} rounds",
        percent(middle),
        percent(least),
        percent(most)
    );
}

/// The servers' CPU time for each operation, in turns; the median of the rounds.
fn compare(what: &str, servers: &[Peer], operate: impl Fn(&Peer) -> u32) {
    let mut costs = vec![Vec::new(); servers.len()];
    for round in 0..=ROUNDS {
        for (server, costs) in servers.iter().zip(&mut costs) {
            let (before, start) = (server.cpu(), Instant::now());
            let done = operate(server);
            let (cost, took) = ((server.cpu() - before) / done, start.elapsed());
            // The first warms up.
            if round > 0 {
                costs.push(cost);
            }
            if std::env::var_os("VERBOSE").is_some() {
                println!("    {} {cost:?} each, {took:?} in all", server.name);
            }
        }
    }
    println!("{what}: CPU time of the server, median of {ROUNDS} rounds in turn");
    let ours = median(&mut costs[0]).as_secs_f64();
    for (server, costs) in servers.iter().zip(&mut costs) {
        let median = median(costs).as_secs_f64();
        println!(
            "  {:<10} {:>9.1} us   certmint takes {:.2} of it",
            server.name,
            median * 1e6,
            ours / median
        );
    }
}
