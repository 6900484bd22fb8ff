//! The reverse proxy, in front of upstreams that record what reaches them.

mod streams;
mod upstreams;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use certmint::settings::{Content, Limits};

use super::http_page::Page;
use super::site::{PATIENCE, Site, curl, read_to_close, read_until};
use crate::support::{TestEnv, tool};

pub(super) fn upstream(listener: &TcpListener) -> Content {
    let url = format!("http://{}", listener.local_addr().unwrap());
    Content::Upstream(url.parse().unwrap())
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Answers each connection's first request and tells what it was, to the last byte
/// that `ends_with` it.
fn recorder(ends_with: &'static str, answer: &'static str) -> (Content, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let content = upstream(&listener);
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let request = read_until(&mut stream, ends_with);
            stream.write_all(answer.as_bytes()).unwrap();
            if tell.send(request).is_err() {
                return;
            }
        }
    });
    (content, told)
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

#[test]
fn the_upstream_is_told_who_asks_and_strangers_cannot_say() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let (content, requests) = recorder("\r\n\r\n", OK);
    let site = Site::tls(&env, content, Limits::default());
    let port = site.address.port();
    for version in ["--http1.1", "--http2"] {
        let claims = [
            version,
            "-H",
            "X-Forwarded-For: 10.9.8.7",
            "-H",
            "X-Forwarded-Proto: gopher",
            "-H",
            "X_Forwarded_For: 10.9.8.7",
            "-H",
            "X-Real-IP: 10.9.8.7",
            "-H",
            "Forwarded: for=10.9.8.7",
            "-H",
            "X-Own: kept",
            "-H",
            "X-Secret: dropped",
            "-H",
            "Connection: X-Secret",
            "-H",
            "Keep-Alive: timeout=9",
            "-H",
            "Proxy-Connection: keep-alive",
            "-H",
            "TE: trailers",
            &site.url("/a/b?c=d%2f"),
        ];
        let out = curl(&env, &site, &claims).success();
        assert_eq!(out.stdout(), "ok");
        let request = requests.recv_timeout(PATIENCE).unwrap();
        let lower = request.to_ascii_lowercase();
        assert!(
            request.starts_with("GET /a/b?c=d%2f HTTP/1.1\r\n"),
            "{request}"
        );
        for line in [
            format!("\r\nhost: localhost:{port}\r\n"),
            "\r\nx-forwarded-for: 127.0.0.1\r\n".to_owned(),
            "\r\nx-forwarded-proto: https\r\n".to_owned(),
            format!("\r\nx-forwarded-host: localhost:{port}\r\n"),
            format!("\r\nx-forwarded-port: {port}\r\n"),
            format!("\r\nforwarded: for=127.0.0.1;host=\"localhost:{port}\";proto=https\r\n"),
            "\r\nx-own: kept\r\n".to_owned(),
            "\r\nte: trailers\r\n".to_owned(),
        ] {
            assert!(lower.contains(&line), "{version}: no {line:?} in {request}");
        }
        for absent in [
            "10.9.8.7",
            "gopher",
            "keep-alive",
            "transfer-encoding",
            "content-length",
        ] {
            assert!(!lower.contains(absent), "{version}: {absent} in {request}");
        }
        if version == "--http1.1" {
            assert!(!lower.contains("x-secret"), "{request}");
        }
    }
}

#[test]
fn a_request_with_length_and_chunks_is_framed_by_the_chunks_alone() {
    let (content, requests) = recorder("0\r\n\r\n", OK);
    let site = Site::plain(content);
    let said = site.exchange(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n",
    );
    // Closed after one answer: what follows is not read as a request.
    assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
    let request = requests
        .recv_timeout(PATIENCE)
        .unwrap()
        .to_ascii_lowercase();
    assert!(request.contains("transfer-encoding: chunked"), "{request}");
    assert!(!request.contains("content-length"), "{request}");
    assert!(request.ends_with("3\r\nabc\r\n0\r\n\r\n"), "{request}");
    assert!(requests.recv_timeout(Duration::from_millis(200)).is_err());
}

#[test]
fn malformed_framing_and_hosts_are_refused_before_the_upstream() {
    let (content, requests) = recorder("\r\n\r\n", OK);
    let site = Site::plain(content);
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: u@a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n x: folded\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\nx",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1,1\r\n\r\nx",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n\r\n",
        "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n",
        "TRACE / HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        let mut stream = site.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let said = read_until(&mut stream, "\r\n\r\n");
        let status = said.get(9..12).unwrap_or_default();
        assert!(["400", "501"].contains(&status), "{request:?}: {said}");
    }
    assert!(requests.try_recv().is_err());
}

#[test]
fn an_upload_streams_to_the_upstream_as_it_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let env = TestEnv::new();
    let site = Site::tls(&env, upstream(&listener), Limits::default());
    let mut client = site.handshake("localhost", "http/1.1").unwrap();
    let head = "POST /up HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    client.write_all(b"5\r\nfirst\r\n").unwrap();
    // The upstream has the first part while the client still holds the second.
    let mut behind = accept(&listener);
    let request = read_until(&mut behind, "first");
    assert!(!request.contains("second"), "{request}");
    client.write_all(b"6\r\nsecond\r\n0\r\n\r\n").unwrap();
    read_until(&mut behind, "0\r\n\r\n");
    behind.write_all(OK.as_bytes()).unwrap();
    assert!(read_until(&mut client, "ok").contains(" 200 "));
}

#[test]
fn fifty_megabytes_arrive_whole_over_both_versions() {
    let Some(_) = tool("curl") else { return };
    const SIZE: usize = 50_000_000;
    let env = TestEnv::new();
    let bytes: Vec<u8> = (0..SIZE).map(|n| ((n * 31) >> 3) as u8).collect();
    let mut context = Context::new(&SHA256);
    context.update(&bytes);
    let expected = context.finish();
    let file = env.write("upload", &bytes);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Site::tls(&env, upstream(&listener), Limits::default());
    for version in ["--http1.1", "--http2"] {
        std::thread::scope(|scope| {
            let digest = scope.spawn(|| {
                let mut stream = accept(&listener);
                let head = read_head(&mut stream);
                assert!(head.contains("content-length: 50000000"), "{head}");
                let mut context = Context::new(&SHA256);
                let mut left = SIZE;
                let mut chunk = vec![0; 1 << 16];
                while left > 0 {
                    let count = stream.read(&mut chunk).unwrap();
                    assert!(count > 0, "{left} bytes are missing");
                    context.update(&chunk[..count]);
                    left -= count;
                }
                stream.write_all(OK.as_bytes()).unwrap();
                context.finish()
            });
            let data = format!("@{}", file.display());
            let args = [
                version,
                "-H",
                "expect:",
                "--data-binary",
                &data,
                &site.url("/"),
            ];
            let out = curl(&env, &site, &args).success();
            assert_eq!(out.stdout(), "ok");
            assert_eq!(
                digest.join().unwrap().as_ref(),
                expected.as_ref(),
                "{version}"
            );
        });
    }
}

/// The header of a request, and not a byte more.
fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

#[test]
fn events_reach_the_client_one_by_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let env = TestEnv::new();
    let site = Site::tls(&env, upstream(&listener), Limits::default());
    let mut client = site.handshake("localhost", "http/1.1").unwrap();
    let get = "GET /events HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n";
    client.write_all(get.as_bytes()).unwrap();
    let mut behind = accept(&listener);
    read_until(&mut behind, "\r\n\r\n");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                transfer-encoding: chunked\r\n\r\n";
    behind.write_all(head.as_bytes()).unwrap();
    read_until(&mut client, "text/event-stream");
    for n in 0..3 {
        // The next is sent only after this one was read.
        let event = format!("data: {n}\n\n");
        write!(behind, "{:x}\r\n{event}\r\n", event.len()).unwrap();
        read_until(&mut client, &event);
    }
    behind.write_all(b"0\r\n\r\n").unwrap();
    read_until(&mut client, "0\r\n\r\n");
}

#[test]
fn trailers_pass_and_the_answers_hop_by_hop_headers_do_not() {
    let (content, _requests) = recorder(
        "\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\
         x-hop: 1\r\nkeep-alive: timeout=5\r\nupgrade: h2c\r\nconnection: close, x-hop\r\n\r\n\
         2\r\nok\r\n0\r\nx-sum: 42\r\n\r\n",
    );
    let site = Site::plain(content);
    let said =
        site.exchange("GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te, close\r\n\r\n");
    let said = said.to_ascii_lowercase();
    assert!(said.contains("\r\nx-sum: 42\r\n"), "{said}");
    for absent in ["x-hop", "keep-alive", "upgrade"] {
        assert!(!said.contains(absent), "{absent} in {said}");
    }
}

#[test]
fn a_tunnel_opens_only_after_the_upstream_agreed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let env = TestEnv::new();
    let site = Site::tls(&env, upstream(&listener), Limits::default());
    let ask = "GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: keep-alive, Upgrade\r\n\
               upgrade: websocket\r\nsec-websocket-key: x\r\n\r\n";
    let mut client = site.handshake("localhost", "http/1.1").unwrap();
    client.write_all(ask.as_bytes()).unwrap();
    let mut behind = accept(&listener);
    let request = read_until(&mut behind, "\r\n\r\n").to_ascii_lowercase();
    assert!(request.contains("\r\nupgrade: websocket\r\n"), "{request}");
    assert!(request.contains("\r\nconnection: upgrade\r\n"), "{request}");
    let agreed = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                  upgrade: websocket\r\nsec-websocket-accept: y\r\n\r\nhello";
    behind.write_all(agreed.as_bytes()).unwrap();
    let said = read_until(&mut client, "hello").to_ascii_lowercase();
    assert!(said.starts_with("http/1.1 101"), "{said}");
    assert!(said.contains("sec-websocket-accept: y"), "{said}");
    for word in ["one", "two"] {
        client.write_all(word.as_bytes()).unwrap();
        assert_eq!(read_until(&mut behind, word), word);
        behind.write_all(word.as_bytes()).unwrap();
        assert_eq!(read_until(&mut client, word), word);
    }
    drop(behind);
    assert_eq!(read_to_close(&mut client), "");

    // Refused: an ordinary answer, and no tunnel.
    let mut client = site.handshake("localhost", "http/1.1").unwrap();
    client.write_all(ask.as_bytes()).unwrap();
    let mut behind = accept(&listener);
    read_until(&mut behind, "\r\n\r\n");
    behind
        .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno")
        .unwrap();
    assert!(read_until(&mut client, "no").starts_with("HTTP/1.1 403"));
}

#[test]
fn no_tunnel_with_a_body_nor_to_http2_nor_unasked() {
    let (content, requests) = recorder("\r\n\r\n", OK);
    let site = Site::plain(content);
    for lines in [
        "connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 4\r\n\r\nbody",
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n",
        "upgrade: websocket\r\n\r\n",
    ] {
        let mut client = site.connect();
        let request = format!("POST / HTTP/1.1\r\nhost: a\r\n{lines}");
        client.write_all(request.as_bytes()).unwrap();
        assert!(read_until(&mut client, "ok").starts_with("HTTP/1.1 200"));
        let request = requests
            .recv_timeout(PATIENCE)
            .unwrap()
            .to_ascii_lowercase();
        assert!(
            !request.contains("upgrade") && !request.contains("http2"),
            "{request}"
        );
    }
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    let (content, _requests) = recorder("\r\n\r\n", switch);
    let site = Site::plain(content);
    let said = site.exchange("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(said.starts_with("HTTP/1.1 502"), "{said}");
}

#[test]
fn an_upstream_that_is_down_is_502_and_one_that_is_slow_504() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    // Bound, then dropped: nobody listens there.
    let content = upstream(&TcpListener::bind("127.0.0.1:0").unwrap());
    let site = Site::plain(content);
    let down = curl(&env, &site, &["-i", &site.url("/")]).success();
    let page = Page::parse(down.stdout());
    page.has(" 502");
    assert!(page.body.contains("cannot be reached"), "{}", page.body);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let limits = Limits {
        upstream_answer: Duration::from_millis(300),
        ..Limits::default()
    };
    let site = Site::plain_with(upstream(&listener), limits);
    let slow = curl(&env, &site, &["-i", &site.url("/")]).success();
    Page::parse(slow.stdout()).has(" 504");

    let (content, _requests) = recorder("\r\n\r\n", "this is not HTTP\r\n\r\n");
    let site = Site::plain(content);
    let broken = curl(&env, &site, &["-i", &site.url("/")]).success();
    Page::parse(broken.stdout()).has(" 502");
}

#[test]
fn a_slow_upload_is_not_a_slow_upstream_but_a_stalled_one_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let limits = Limits {
        upstream_answer: Duration::from_millis(500),
        stall: Duration::from_millis(1500),
        ..Limits::default()
    };
    let site = Site::plain_with(upstream(&listener), limits);
    let mut client = site.connect();
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    let mut behind = accept(&listener);
    read_until(&mut behind, "\r\n\r\n");
    for digit in 0..8 {
        write!(client, "{digit}").unwrap();
        // Paced by the upstream's own reading, and slower in all than an answer may be.
        read_until(&mut behind, &digit.to_string());
        std::thread::sleep(Duration::from_millis(100));
    }
    client.write_all(b"8").unwrap();
    read_until(&mut behind, "8");
    behind.write_all(OK.as_bytes()).unwrap();
    assert!(read_until(&mut client, "ok").starts_with("HTTP/1.1 200"));

    let mut client = site.connect();
    client.write_all(head.as_bytes()).unwrap();
    let mut behind = accept(&listener);
    read_until(&mut behind, "\r\n\r\n");
    let said = read_to_close(&mut client);
    assert!(
        said.is_empty() || said.starts_with("HTTP/1.1 408"),
        "{said}"
    );
    read_to_close(&mut behind);
}

#[test]
fn connections_to_the_upstream_are_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Site::plain(upstream(&listener));
    let mut client = site.connect();
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    client.write_all(get.as_bytes()).unwrap();
    let mut behind = accept(&listener);
    for _ in 0..3 {
        read_until(&mut behind, "\r\n\r\n");
        behind
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .unwrap();
        read_until(&mut client, "ok");
        client.write_all(get.as_bytes()).unwrap();
    }
}

#[test]
fn a_client_that_leaves_takes_its_request_with_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Site::plain(upstream(&listener));
    let mut client = site.connect();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    let mut behind = accept(&listener);
    read_until(&mut behind, "\r\n\r\n");
    drop(client);
    assert_eq!(read_to_close(&mut behind), "");
}
