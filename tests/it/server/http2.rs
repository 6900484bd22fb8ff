//! HTTP/2 spoken to do harm, by frames made by hand: the connection is ended, memory
//! does not grow, and others are served meanwhile.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use certmint::settings::{Content, Limits};

use super::proxy::upstream;
use super::site::{PATIENCE, Site, connect_from, read_to_close};
use crate::support::{Server, TestEnv};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// `GET /` and `POST /` for the host `a`, by the static table and literals.
pub(super) const GET: &[u8] = b"\x82\x86\x84\x41\x01a";
const POST: &[u8] = b"\x83\x86\x84\x41\x01a";

/// What one client may make the server grow by, in kilobytes.
const ROOM: u64 = 12 << 10;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The client's streams: 1, 3, 5 and so on.
fn stream(n: u32) -> u32 {
    2 * n + 1
}

/// A connection that has sent its preface and these settings.
pub(super) fn begin(mut connection: TcpStream, settings: &[u8]) -> TcpStream {
    let settings = frame(SETTINGS, 0, 0, settings);
    connection
        .write_all(&[PREFACE, &settings].concat())
        .unwrap();
    connection
}

/// How a connection ended.
#[derive(Debug)]
struct End {
    after: Duration,
    /// The code of the last GOAWAY.
    code: Option<u32>,
    /// What was written until then, in bytes.
    sent: usize,
}

/// Writes what `next` makes, until the server ends the connection. What the server
/// says is read meanwhile, unless `deaf`.
fn flood(mut connection: TcpStream, deaf: bool, mut next: impl FnMut(u32) -> Vec<u8>) -> End {
    let start = Instant::now();
    let reader = connection.try_clone().unwrap();
    let reading = std::thread::spawn(move || if deaf { None } else { goaway(reader) });
    connection.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut sent = 0;
    for n in 0.. {
        assert!(start.elapsed() < PATIENCE, "still open after {sent} bytes");
        let bytes = next(n);
        match connection.write(&bytes) {
            Ok(count) if count == bytes.len() => sent += count,
            _ => break,
        }
    }
    let after = start.elapsed();
    connection.shutdown(std::net::Shutdown::Both).ok();
    let code = reading.join().unwrap();
    End { after, code, sent }
}

/// Reads frames to the end; the code of the last GOAWAY.
fn goaway(mut connection: TcpStream) -> Option<u32> {
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut code = None;
    let mut head = [0; 9];
    while connection.read_exact(&mut head).is_ok() {
        let [a, b, c, kind, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        if connection.read_exact(&mut payload).is_err() {
            break;
        }
        if kind == GOAWAY {
            code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
    }
    code
}

/// The real program, whose memory can be looked at.
struct Target {
    process: Server,
    address: SocketAddr,
    before: u64,
}

impl Target {
    fn start(env: &TestEnv, args: &[&str]) -> Self {
        let program = env.certmint(["serve-insecure", "--http", "127.0.0.1:0"]);
        let mut process = program.args(args).spawn();
        let address = process.await_address("serving http://");
        let mut target = Self {
            process,
            address,
            before: 0,
        };
        target.is_prompt();
        target.before = target.memory();
        target
    }

    fn memory(&self) -> u64 {
        super::stalled::memory(self.process.pid(), "VmHWM")
    }

    fn connect(&self) -> TcpStream {
        connect_from([127, 0, 0, 1], self.address)
    }

    /// A fresh client is served at once.
    #[track_caller]
    fn is_prompt(&self) {
        let start = Instant::now();
        let mut fresh = connect_from([127, 0, 0, 2], self.address);
        fresh.set_read_timeout(Some(PATIENCE)).unwrap();
        fresh
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .unwrap();
        let said = read_to_close(&mut fresh);
        assert!(said.starts_with("HTTP/1.1 "), "{said}");
        let took = start.elapsed();
        // Long, for a machine that is busy with other tests as well.
        assert!(took < Duration::from_secs(8), "served after {took:?}");
    }

    #[track_caller]
    fn has_not_grown(&self, by: &str) {
        let (before, now) = (self.before, self.memory());
        assert!(now < before + ROOM, "{by}: {before} kB became {now} kB");
    }
}

fn open_and_reset(n: u32) -> Vec<u8> {
    let get = frame(HEADERS, END_STREAM | END_HEADERS, stream(n), GET);
    let reset = frame(RST_STREAM, 0, stream(n), &8_u32.to_be_bytes());
    [get, reset].concat()
}

#[test]
fn floods_end_the_connection_in_little_memory_while_others_are_served() {
    let env = TestEnv::new();
    let target = Target::start(&env, &[]);
    let connect = || begin(target.connect(), b"");
    // Rapid reset (CVE-2023-44487): HTTP/2's ENHANCE_YOUR_CALM is 11.
    let many = |n: u32| (100 * n..100 * (n + 1)).flat_map(open_and_reset).collect();
    let end = flood(connect(), false, many);
    assert_eq!(end.code, Some(11), "rapid reset: {end:?}");
    // A header that does not end (CVE-2024-27316).
    let end = flood(connect(), false, |n| match n {
        0 => frame(HEADERS, END_STREAM, 1, GET),
        _ => frame(
            CONTINUATION,
            0,
            1,
            &[b"\0\x40\x7fx", &[b'x'; 200][..]].concat(),
        ),
    });
    assert!(end.sent < 1 << 20, "CONTINUATION: {end:?}");
    let end = flood(connect(), false, |n| match n {
        0 => frame(HEADERS, END_STREAM, 1, GET),
        _ => frame(CONTINUATION, 0, 1, b""),
    });
    assert!(end.sent < 1 << 20, "empty CONTINUATION: {end:?}");
    // DATA without data, and in parts of a byte, on a request that is being read.
    for (name, data) in [("empty DATA", &b""[..]), ("tiny DATA", b"x")] {
        let end = flood(connect(), false, |n| match n {
            0 => frame(HEADERS, END_HEADERS, 1, POST),
            _ => frame(DATA, 0, 1, data),
        });
        assert!(end.sent < 32 << 20, "{name}: {end:?}");
    }
    target.has_not_grown("floods");
    target.is_prompt();
}

#[test]
fn pings_and_settings_that_nobody_reads_the_answers_to_stop_at_the_kernel() {
    let env = TestEnv::new();
    let target = Target::start(&env, &[]);
    std::thread::scope(|scope| {
        let floods = [
            frame(PING, 0, 0, b"certmint"),
            frame(SETTINGS, 0, 0, b"\x00\x03\x00\x00\x00\x64"),
        ];
        // Each is cut when its first header has not come within its 10 seconds.
        let floods = floods.map(|one| {
            let connection = begin(target.connect(), b"");
            let many = one.repeat(1000);
            scope.spawn(move || flood(connection, true, |_| many.clone()))
        });
        while !floods
            .iter()
            .all(std::thread::ScopedJoinHandle::is_finished)
        {
            target.is_prompt();
            std::thread::sleep(Duration::from_millis(200));
        }
        for ended in floods {
            let end = ended.join().unwrap();
            assert!(end.after < Duration::from_secs(20), "{end:?}");
        }
    });
    target.has_not_grown("PING and SETTINGS");
}

#[test]
fn requests_that_are_taken_back_after_they_reached_the_upstream_are_few() {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    backend.set_nonblocking(true).unwrap();
    let site = Site::plain_with(upstream(&backend), Limits::default());
    let connection = begin(site.connect(), b"");
    let (mut behind, mut reached) = (Vec::new(), 0);
    // Each is let through before it is taken back, so that h2 sees no flood.
    let end = flood(connection, false, |n| {
        let before = reached;
        let waited = Instant::now();
        while n % 2 == 1 && reached == before && waited.elapsed() < Duration::from_secs(2) {
            match backend.accept() {
                Ok((stream, _)) => {
                    behind.push(stream);
                    reached += 1;
                }
                Err(_) => std::thread::yield_now(),
            }
        }
        match n % 2 {
            0 => frame(HEADERS, END_STREAM | END_HEADERS, stream(n / 2), GET),
            _ => frame(RST_STREAM, 0, stream(n / 2), &8_u32.to_be_bytes()),
        }
    });
    assert!(
        (200..400).contains(&reached),
        "{reached} reached it; {end:?}"
    );
}

#[test]
fn a_window_that_stays_shut_ends_the_connection_and_holds_no_answer() {
    let env = TestEnv::new();
    env.write("www/index.html", vec![b'x'; 8 << 20]);
    let limits = Limits {
        stall: Duration::from_millis(1500),
        ..Limits::default()
    };
    let site = Site::plain_with(Content::Root(env.path("www")), limits);
    // A window of nothing, of one byte, and the usual one that is never opened again.
    for window in [0_u32, 1, 65_535] {
        let settings = [&b"\x00\x04"[..], &window.to_be_bytes()].concat();
        let mut connection = begin(site.connect(), &settings);
        for n in 0..100 {
            let get = frame(HEADERS, END_STREAM | END_HEADERS, stream(n), GET);
            connection.write_all(&get).unwrap();
        }
        let start = Instant::now();
        // What is sent keeps nothing alive.
        let pinging = connection.try_clone().unwrap();
        let ended = std::thread::spawn(move || goaway(pinging));
        while !ended.is_finished() {
            assert!(start.elapsed() < Duration::from_secs(15), "window {window}");
            let _ = connection.write_all(&frame(PING, 0, 0, b"certmint"));
            std::thread::sleep(Duration::from_millis(50));
        }
        let took = start.elapsed();
        assert!(
            took > Duration::from_millis(1300),
            "window {window}: {took:?}"
        );
    }
}

#[test]
fn shut_windows_hold_little_memory_per_answer() {
    let env = TestEnv::new();
    env.write("www/index.html", vec![b'x'; 8 << 20]);
    let root = env.path("www").display().to_string();
    let target = Target::start(&env, &["--root", &root]);
    let connections: Vec<_> = (0..5)
        .map(|_| {
            let mut connection = begin(target.connect(), b"\x00\x04\x00\x00\x00\x01");
            for n in 0..100 {
                let get = frame(HEADERS, END_STREAM | END_HEADERS, stream(n), GET);
                connection.write_all(&get).unwrap();
            }
            connection
        })
        .collect();
    target.is_prompt();
    std::thread::sleep(Duration::from_secs(2));
    // 500 answers: a part of the file that is sent, one that was read ahead, and room
    // for the next, 64 kB each.
    let each = (target.memory() - target.before) / 500;
    assert!(each < 256, "{each} kB for each answer that is not taken");
    target.is_prompt();
    drop(connections);
}

#[test]
fn more_streams_than_allowed_are_refused() {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Site::plain_with(upstream(&backend), Limits::default());
    let connection = begin(site.connect(), b"");
    // Streams that are refused are the client's fault, and it is let go for them.
    let end = flood(connection, false, |n| {
        frame(HEADERS, END_STREAM | END_HEADERS, stream(n), GET)
    });
    assert!(end.sent < 1 << 20, "{end:?}");
}
