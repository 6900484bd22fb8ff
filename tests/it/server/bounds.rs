//! Clients that are slow, silent or many, and the end of the server.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use certmint::server::Ended;
use certmint::settings::{Content, Limits};

use super::proxy::upstream;
use super::site::{Site, curl, read_to_close, read_until};
use crate::support::{TestEnv, tool};

const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// How an HTTP/2 connection begins: the preface and an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
const PING: &[u8] = b"\x00\x00\x08\x06\x00\x00\x00\x00\x00certmint";

/// Far apart, so that which of them ended a connection can be told on a busy
/// machine.
fn limits() -> Limits {
    Limits {
        handshake: Duration::from_millis(700),
        header: Duration::from_millis(700),
        idle: Duration::from_millis(3000),
        ..Limits::default()
    }
}

/// How long the server takes to close, while `feed` is written again and again.
fn closes_after(mut stream: impl Read + Write + Timed, feed: &[u8]) -> Duration {
    let start = Instant::now();
    stream.patience(Duration::from_millis(50));
    let mut buffer = [0; 4096];
    while start.elapsed() < Duration::from_secs(20) {
        match stream.read(&mut buffer) {
            Ok(0) => return start.elapsed(),
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                if !feed.is_empty() && stream.write_all(feed).is_err() {
                    return start.elapsed();
                }
            }
            Err(_) => return start.elapsed(),
        }
    }
    panic!("still open after {:?}", start.elapsed());
}

trait Timed {
    fn patience(&mut self, wait: Duration);
}

impl Timed for TcpStream {
    fn patience(&mut self, wait: Duration) {
        self.set_read_timeout(Some(wait)).unwrap();
    }
}

impl Timed for rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    fn patience(&mut self, wait: Duration) {
        self.sock.patience(wait);
    }
}

#[test]
fn a_handshake_that_does_not_end_is_closed_at_its_deadline() {
    let env = TestEnv::new();
    let site = Site::tls(&env, Content::Page, limits());
    // Nothing; then a ClientHello of 512 bytes, a byte at a time.
    for (first, feed) in [(&b""[..], &b""[..]), (b"\x16\x03\x01\x02\x00\x01", b"\x00")] {
        let mut stream = site.connect();
        stream.write_all(first).unwrap();
        let took = closes_after(stream, feed);
        assert!(
            (600..2500).contains(&took.as_millis()),
            "{feed:?}: {took:?}"
        );
    }
}

#[test]
fn a_header_that_does_not_end_is_closed_at_its_deadline() {
    let env = TestEnv::new();
    let site = Site::tls(&env, Content::Page, limits());
    let stream = site.handshake("localhost", "http/1.1").unwrap();
    let took = closes_after(stream, b"");
    assert!(
        (600..2800).contains(&took.as_millis()),
        "no request: {took:?}"
    );
    let mut stream = site.handshake("localhost", "http/1.1").unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nx: ").unwrap();
    let took = closes_after(stream, b"y");
    assert!(
        (600..2800).contains(&took.as_millis()),
        "the first: {took:?}"
    );
    // The second request of a connection has the same deadline.
    let mut stream = site.handshake("localhost", "http/1.1").unwrap();
    stream.write_all(GET.as_bytes()).unwrap();
    read_until(&mut stream, "sha256");
    stream.write_all(b"GET / HTTP/1.1\r\nx: ").unwrap();
    let took = closes_after(stream, b"y");
    assert!(
        (600..2800).contains(&took.as_millis()),
        "the second: {took:?}"
    );
}

#[test]
fn an_idle_connection_is_kept_for_longer_than_a_header_may_take() {
    let env = TestEnv::new();
    let site = Site::tls(&env, Content::Page, limits());
    let mut stream = site.handshake("localhost", "http/1.1").unwrap();
    stream.write_all(GET.as_bytes()).unwrap();
    read_until(&mut stream, "sha256");
    let took = closes_after(stream, b"");
    assert!((2800..6000).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn http2_pings_do_not_keep_a_connection() {
    let site = Site::plain_with(Content::Page, limits());
    let mut stream = site.connect();
    stream.write_all(PREFACE).unwrap();
    let took = closes_after(stream, PING);
    assert!(
        (600..2800).contains(&took.as_millis()),
        "no request: {took:?}"
    );
    // GET / by literal headers: method, scheme and path are in the static table.
    let get = b"\x00\x00\x0e\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x09localhost";
    let mut stream = site.connect();
    stream.write_all(PREFACE).unwrap();
    stream.write_all(get).unwrap();
    let took = closes_after(stream, PING);
    assert!(
        (2800..7000).contains(&took.as_millis()),
        "after one: {took:?}"
    );
}

#[test]
fn past_the_limit_of_connections_clients_wait_for_those_that_are_busy() {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let site = Site::plain_with(upstream(&backend), limits);
    let ask = || {
        let mut stream = site.connect();
        stream.write_all(GET.as_bytes()).unwrap();
        stream
    };
    let _busy = [ask(), ask()];
    let (mut behind, _) = backend.accept().unwrap();
    let _other = backend.accept().unwrap();
    let mut third = ask();
    third
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let early = third.read(&mut [0; 1]);
    assert!(early.is_err(), "served past the limit");
    behind
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .unwrap();
    // Its own answer comes by the connection that is free again, or by a new one.
    behind
        .set_read_timeout(Some(super::site::PATIENCE))
        .unwrap();
    read_until(&mut behind, "\r\n\r\n");
    read_until(&mut behind, "\r\n\r\n");
}

#[test]
fn a_client_that_does_not_take_its_answer_is_cut() {
    let env = TestEnv::new();
    let file = env.write("www/large", "");
    std::fs::File::options()
        .write(true)
        .open(file)
        .unwrap()
        .set_len(64 << 20)
        .unwrap();
    let limits = Limits {
        connections: 1,
        stall: Duration::from_millis(1500),
        ..Limits::default()
    };
    let site = Site::plain_with(Content::Root(env.path("www")), limits);
    let get = "GET /large HTTP/1.1\r\nhost: a\r\n\r\n";
    // The only place among the connections is free again once the first is cut.
    let mut first = site.connect();
    first.write_all(get.as_bytes()).unwrap();
    let mut second = site.connect();
    second.write_all(get.as_bytes()).unwrap();
    read_until(&mut second, "content-length: 67108864");

    // On HTTP/2 the kernel takes every byte; it is the window that stays shut.
    drop((first, second));
    let mut third = site.connect();
    third.write_all(PREFACE).unwrap();
    third
        .write_all(b"\x00\x00\x0a\x01\x05\x00\x00\x00\x01\x82\x86\x44\x06/large")
        .unwrap();
    let took = closes_after(third, PING);
    assert!((1400..6000).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn a_slow_client_gets_all_of_its_answer() {
    let env = TestEnv::new();
    env.write("www/large", vec![b'x'; 8 << 20]);
    let limits = Limits {
        idle: Duration::from_millis(300),
        header: Duration::from_millis(300),
        ..Limits::default()
    };
    let site = Site::tls(&env, Content::Root(env.path("www")), limits);
    let mut stream = site.handshake("localhost", "http/1.1").unwrap();
    let get = "GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(get.as_bytes()).unwrap();
    // Slower, in all, than an idle connection lives.
    let start = Instant::now();
    let mut chunk = vec![0; 128 << 10];
    let mut count = 0;
    while count < 8 << 20 {
        let read = stream.read(&mut chunk).unwrap();
        assert!(
            read > 0,
            "cut after {count} bytes and {:?}",
            start.elapsed()
        );
        count += read;
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(start.elapsed() > Duration::from_millis(600));
}

#[test]
fn a_stop_finishes_the_request_in_flight_and_takes_no_more() {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Site::plain(upstream(&backend));
    let mut client = site.connect();
    client.write_all(GET.as_bytes()).unwrap();
    let (mut behind, _) = backend.accept().unwrap();
    read_until(&mut behind, "\r\n\r\n");
    let mut idle = site.connect();
    site.shutdown.stop();
    assert_eq!(read_to_close(&mut idle), "");
    while TcpStream::connect(site.address).is_ok() {
        std::thread::yield_now();
    }
    behind
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")
        .unwrap();
    let answer = read_to_close(&mut client);
    assert!(answer.ends_with("done"), "{answer}");
    assert_eq!(site.ended(), Ended::Drained);
}

#[test]
fn a_stop_finishes_requests_over_http2_as_well() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Site::tls(&env, upstream(&backend), Limits::default());
    let url = site.url("/");
    let args = ["--http2", "-w", "%{http_version}", &url];
    std::thread::scope(|scope| {
        let client = scope.spawn(|| curl(&env, &site, &args).success());
        let (mut behind, _) = backend.accept().unwrap();
        read_until(&mut behind, "\r\n\r\n");
        site.shutdown.stop();
        behind
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")
            .unwrap();
        assert_eq!(client.join().unwrap().stdout(), "done2");
    });
    assert_eq!(site.ended(), Ended::Drained);
}

#[test]
fn a_second_stop_or_the_drain_limit_cuts_what_is_left() {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    for (drain, force) in [(Duration::from_secs(600), true), (Duration::ZERO, false)] {
        let limits = Limits {
            drain,
            ..Limits::default()
        };
        let site = Site::plain_with(upstream(&backend), limits);
        let mut client = site.connect();
        client.write_all(GET.as_bytes()).unwrap();
        let (mut behind, _) = backend.accept().unwrap();
        read_until(&mut behind, "\r\n\r\n");
        site.shutdown.stop();
        if force {
            site.shutdown.force();
        }
        assert_eq!(read_to_close(&mut client), "");
        assert_eq!(site.ended(), Ended::Cut(1));
    }
}
