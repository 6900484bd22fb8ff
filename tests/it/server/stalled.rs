//! Handshakes that do not go on, by the thousand: the real program, so that its
//! memory and its descriptors are its own.
//!
//! `CERTMINT_TEST_STALLED` is how many there are at once, 1,000 by default.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use certmint::challenge::{Challenge, ChallengeKind, ChallengeTable, KeyAuthorization, Token};
use certmint::identifier::Identifier;
use certmint::settings::{Content, Limits, ListenerSettings};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::site::{PATIENCE, Site, anywhere, connect_from, read_to_close};
use crate::support::client::Client;
use crate::support::{Server, TestEnv, tool};

/// How long a handshake may take, as the program has it by default.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What each stalled handshake may cost, in bytes of resident memory. A build
/// without optimisation and the allocator's rounding are in it: `benches/server.rs`
/// has what an optimised one takes.
const MOST: u64 = 16_000;

/// A handshake that stalls after our answer, which holds a whole handshake's state.
const ANSWERED: &str = "a ClientHello";

/// Connections from one address: less than any limit per client.
const PER_ADDRESS: usize = 1000;

/// A process's memory in kilobytes: `VmRSS` now, `VmHWM` at its highest.
pub(crate) fn memory(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.unwrap().trim_start_matches(':').trim();
    kilobytes.trim_end_matches(" kB").parse().unwrap()
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count()
}

fn how_many() -> usize {
    let told = std::env::var("CERTMINT_TEST_STALLED");
    told.map_or(1000, |count| count.parse().unwrap())
}

/// A whole ClientHello for `localhost` that offers `alpn`.
fn client_hello(alpn: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let name = "localhost".try_into().unwrap();
    let mut hello = Vec::new();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// `count` connections to `server` from clients of their own that have sent `start`.
fn stall(server: SocketAddr, count: usize, start: &[u8]) -> Vec<TcpStream> {
    let connect = |n: usize| {
        let client = u8::try_from(10 + n / PER_ADDRESS).unwrap();
        let mut stream = connect_from([127, 0, 0, client], server);
        stream.write_all(start).unwrap();
        stream
    };
    (0..count).map(connect).collect()
}

/// Waits until each of them has been closed; the time between `start` and the last.
#[track_caller]
fn closed(stalled: Vec<TcpStream>, start: Instant) -> Duration {
    for mut stream in stalled {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut chunk = [0; 4096];
        loop {
            match stream.read(&mut chunk) {
                Ok(1..) => {}
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("still open after {:?}", start.elapsed())
                }
                _ => break,
            }
        }
    }
    start.elapsed()
}

/// Waits until the process has `count` descriptors more than `before`, but for those
/// of clients that were about to leave.
#[track_caller]
fn taken(pid: u32, before: usize, count: usize) {
    let start = Instant::now();
    while descriptors(pid) + 4 < before + count {
        let has = descriptors(pid).saturating_sub(before);
        assert!(start.elapsed() < PATIENCE, "{has} of {count} were accepted");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Stalls so many handshakes at `server`, and looks at what they cost and whether
/// they end; `fresh` is a client that must be served meanwhile.
fn besiege(name: &str, process: &Server, server: SocketAddr, start: &[u8], fresh: impl Fn()) {
    // What was answered has cost time to compute: all are to be there at once.
    let answered = name == ANSWERED;
    let most = if answered { 4 * MOST } else { MOST };
    let count = how_many().min(if answered { 1000 } else { usize::MAX });
    let pid = process.pid();
    fresh();
    let (memory_before, descriptors_before) = (memory(pid, "VmRSS"), descriptors(pid));
    let began = Instant::now();
    let stalled = stall(server, count, start);
    let connected = began.elapsed();
    taken(pid, descriptors_before, count);
    let asked = Instant::now();
    fresh();
    let waited = asked.elapsed();
    assert!(
        waited < Duration::from_secs(3),
        "{name}: served after {waited:?}"
    );
    let grown = (memory(pid, "VmRSS").saturating_sub(memory_before)) * 1024;
    let each = grown / count as u64;
    let took = closed(stalled, began);
    // The handle, not the macro: figures are to be seen.
    writeln!(
        std::io::stderr(),
        "{name}: {count} stalled, {each} bytes each; a fresh client waited {waited:?}; \
         the last was closed after {took:?}"
    )
    .ok();
    assert!(
        each < most,
        "{name}: {each} bytes for each stalled handshake"
    );
    assert!(
        took < connected + HANDSHAKE + Duration::from_secs(5),
        "{name}: {took:?}"
    );
    let left = Instant::now();
    // A few may be the server's own: on a busy machine it begins to watch its files late.
    while descriptors(pid) > descriptors_before + 4 {
        assert!(left.elapsed() < PATIENCE, "{name}: descriptors are left");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_thousand_stalled_handshakes_cost_little_and_keep_nobody_out() {
    certmint::server::raise_descriptor_limit();
    let env = TestEnv::new();
    let _ = env.certmint(["ca", "init"]).run().success();
    let _ = env.certmint(["ca", "issue", "localhost"]).run().success();
    let current = env.state().join("certs/localhost/current");
    let hello = client_hello("http/1.1");
    for (name, start) in [
        ("nothing", &b""[..]),
        ("half a ClientHello", &hello[..hello.len() / 2]),
        (ANSWERED, &hello),
    ] {
        // A new process each: what one siege took is there for the next.
        let mut process = env
            .certmint(["serve-custom", "--https", "127.0.0.1:0", "--cert"])
            .arg(current.join("fullchain.pem"))
            .arg("--key")
            .arg(current.join("privkey.pem"))
            .spawn();
        let address = process.await_address("serving https://");
        let client = Client::new(&env.state().join("ca/root.pem"), address, "localhost");
        let fresh = || {
            let page = client.connect().unwrap().get("/");
            assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        };
        besiege(name, &process, address, start, fresh);
    }
}

#[cfg(feature = "acme")]
#[test]
fn handshakes_stall_as_cheaply_while_a_certificate_is_being_obtained() {
    certmint::server::raise_descriptor_limit();
    let env = TestEnv::new();
    let refused = client_hello("http/1.1");
    let hello = client_hello("acme-tls/1");
    for (name, start) in [
        ("nothing, provisioning", &b""[..]),
        ("half an acme-tls/1 ClientHello", &hello[..hello.len() / 2]),
    ] {
        let port = crate::support::pebble::free_port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let https = address.to_string();
        // Nobody answers there: provisioning goes on.
        let mut process = env
            .certmint(["serve-acme", "a.test", "--agree-tos"])
            .args(["--email", "a@example.com"])
            .args(["--directory", "https://127.0.0.1:1/dir"])
            .args(["--http", "127.0.0.1:0", "--https", &https])
            .spawn();
        process.await_line("trying again");
        let fresh = || {
            let mut stream = connect_from([127, 0, 0, 2], address);
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(&refused).unwrap();
            let mut alert = [0; 7];
            stream.read_exact(&mut alert).unwrap();
            assert_eq!(alert[6], 112, "unrecognized_name");
        };
        besiege(name, &process, address, start, fresh);
    }
}

#[test]
fn a_validation_that_stalls_is_closed_at_the_deadline_of_every_handshake() {
    let env = TestEnv::new();
    let token = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ";
    let thumbprint = "nP1qzpXGymHBrUEepNY9HCsQk7K8KhOypzEt62jcerQ";
    let challenges = Arc::<ChallengeTable>::default();
    let open = [Challenge {
        identifier: Identifier::parse("localhost").unwrap(),
        wildcard: false,
        kind: ChallengeKind::TlsAlpn01,
        token: Token::parse(token).unwrap(),
        key_authorization: KeyAuthorization::new(format!("{token}.{thumbprint}")).unwrap(),
    }];
    challenges.insert(&open).unwrap();
    let settings = ListenerSettings {
        limits: Limits {
            handshake: Duration::from_millis(1500),
            ..Limits::default()
        },
        ..anywhere(Content::Page)
    };
    let site = Site::challenged(&env, settings, challenges);
    let hello = client_hello("acme-tls/1");
    for start in [&b""[..], &hello[..1], &hello[..hello.len() / 2], &hello] {
        let began = Instant::now();
        let stalled = stall(site.address, 200, start);
        let connected = began.elapsed();
        let mut fresh = site.handshake("localhost", "http/1.1").unwrap();
        fresh
            .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .unwrap();
        assert!(read_to_close(&mut fresh).starts_with("HTTP/1.1 200"));
        let took = closed(stalled, began);
        assert!(took > Duration::from_millis(1400), "{took:?}");
        assert!(took < connected + Duration::from_millis(4500), "{took:?}");
    }
}

#[test]
fn a_client_hello_that_trickles_in_is_closed_at_the_same_deadline() {
    let env = TestEnv::new();
    let settings = ListenerSettings {
        limits: Limits {
            handshake: Duration::from_millis(1000),
            ..Limits::default()
        },
        ..anywhere(Content::Page)
    };
    let site = Site::challenged(&env, settings, Arc::default());
    let mut stream = site.connect();
    let began = Instant::now();
    for byte in client_hello("acme-tls/1") {
        if stream.write_all(&[byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let took = began.elapsed();
    assert!((900..4000).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn out_of_descriptors_it_pauses_says_so_once_and_recovers() {
    if tool("prlimit").is_none() {
        return;
    }
    let env = TestEnv::new();
    let mut process = env
        .certmint(["serve-insecure", "--http", "127.0.0.1:0"])
        .under(["prlimit", "--nofile=64:64", "--"])
        .spawn();
    let address = process.await_address("serving http://");
    let get = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let many = stall(address, 200, b"");
    process.await_line("cannot accept connections");
    let cpu = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
        let after = stat.rsplit_once(") ").unwrap().1;
        let fields: Vec<u64> = after.split(' ').map(|f| f.parse().unwrap_or(0)).collect();
        fields[11] + fields[12]
    };
    // Hundredths of a second: it does not spin.
    let before = cpu();
    std::thread::sleep(Duration::from_secs(1));
    let spent = cpu() - before;
    assert!(spent < 30, "{spent} hundredths in a second of waiting");
    let mut waiting = connect_from([127, 0, 0, 2], address);
    waiting.write_all(get).unwrap();
    waiting.set_read_timeout(Some(PATIENCE)).unwrap();
    drop(many);
    assert!(read_to_close(&mut waiting).starts_with("HTTP/1.1 200"));
    let out = process.terminate().success();
    let said = out.stderr().matches("cannot accept connections").count();
    assert_eq!(said, 1, "{}", out.stderr());
}
