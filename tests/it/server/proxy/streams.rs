//! Bodies of any length in little memory, and a slow side that slows the other.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::{accept, read_head};
use crate::server::site::read_until;
use crate::support::{Server, TestEnv, tool};

/// Of each large body, in bytes: as many as a request may have by default.
const SIZE: usize = 100 << 20;

/// What the proxy may take for a transfer, in kilobytes: far less than the body.
const ROOM: u64 = 24 << 10;

/// The proxy's memory, in kilobytes: `VmRSS` now, `VmHWM` at its highest.
fn memory(server: &Server, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.unwrap().trim_start_matches(':').trim();
    kilobytes.trim_end_matches(" kB").parse().unwrap()
}

fn start(env: &TestEnv, upstream: &TcpListener) -> (Server, SocketAddr) {
    let url = format!("http://{}", upstream.local_addr().unwrap());
    let args = [
        "serve-insecure",
        "--http",
        "127.0.0.1:0",
        "--upstream",
        &url,
    ];
    let mut server = env.certmint(args).spawn();
    let address = server.await_address("serving http://");
    (server, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(crate::server::site::PATIENCE))
        .unwrap();
    stream
}

fn send_zeros(stream: &mut TcpStream) {
    let chunk = vec![0; 1 << 18];
    for _ in 0..SIZE / chunk.len() {
        stream.write_all(&chunk).unwrap();
    }
}

fn take_zeros(stream: &mut TcpStream) {
    let mut left = SIZE;
    let mut chunk = vec![0; 1 << 18];
    while left > 0 {
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "{left} bytes are missing");
        left -= count;
    }
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn a_hundred_megabytes_pass_either_way_in_little_memory() {
    let env = TestEnv::new();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let (server, address) = start(&env, &upstream);
    let mut client = connect(address);
    let before = memory(&server, "VmRSS");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut behind = accept(&upstream);
            read_head(&mut behind);
            write!(
                behind,
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {SIZE}\r\n\r\n"
            )
            .unwrap();
            send_zeros(&mut behind);
            let mut behind = accept(&upstream);
            read_head(&mut behind);
            take_zeros(&mut behind);
            behind.write_all(OK).unwrap();
        });
        write!(client, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        read_head(&mut client);
        take_zeros(&mut client);
        let head = format!("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: {SIZE}\r\n\r\n");
        client.write_all(head.as_bytes()).unwrap();
        send_zeros(&mut client);
        read_until(&mut client, "ok");
    });
    let most = memory(&server, "VmHWM");
    assert!(most < before + ROOM, "{before} kB became {most} kB");
}

#[test]
fn a_hundred_megabytes_pass_over_http2_in_little_memory() {
    let Some(curl) = tool("curl") else { return };
    let env = TestEnv::new();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let (server, address) = start(&env, &upstream);
    let file = env.write("large", "");
    let file = {
        let open = std::fs::File::options().write(true).open(&file).unwrap();
        open.set_len(SIZE as u64).unwrap();
        file.display().to_string()
    };
    let url = format!("http://{address}/");
    let http2 = [
        "-sS",
        "--http2-prior-knowledge",
        "-o",
        "/dev/null",
        "-w",
        "%{size_download} %{http_version}",
    ];
    let before = memory(&server, "VmRSS");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut behind = accept(&upstream);
            read_head(&mut behind);
            write!(
                behind,
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {SIZE}\r\n\r\n"
            )
            .unwrap();
            send_zeros(&mut behind);
            let mut behind = accept(&upstream);
            read_head(&mut behind);
            take_zeros(&mut behind);
            behind.write_all(OK).unwrap();
        });
        let got = env.command(&curl, http2).arg(&url).run().success();
        assert_eq!(got.stdout(), format!("{SIZE} 2"));
        let put = env.command(&curl, http2).arg("-T").arg(&file).arg(&url);
        assert_eq!(put.run().success().stdout(), "2 2");
    });
    let most = memory(&server, "VmHWM");
    assert!(most < before + ROOM, "{before} kB became {most} kB");
}

/// How many bytes are taken before the way is full.
fn fill(stream: &mut TcpStream) -> usize {
    stream
        .set_write_timeout(Some(Duration::from_millis(700)))
        .unwrap();
    let chunk = vec![0; 1 << 16];
    let mut sent = 0;
    while sent < SIZE {
        match stream.write(&chunk) {
            Ok(count) => sent += count,
            Err(_) => return sent,
        }
    }
    panic!("nobody stopped us");
}

#[test]
fn whoever_does_not_read_stops_the_other_from_writing() {
    let env = TestEnv::new();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let (server, address) = start(&env, &upstream);
    let before = memory(&server, "VmRSS");
    let mut client = connect(address);
    write!(client, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut behind = accept(&upstream);
    read_head(&mut behind);
    write!(
        behind,
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {SIZE}\r\n\r\n"
    )
    .unwrap();
    // Only what the kernel keeps for four sockets.
    let sent = fill(&mut behind);
    assert!(sent < 40 << 20, "the client was sent {sent} bytes unread");

    let mut client = connect(address);
    write!(
        client,
        "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: {SIZE}\r\n\r\n"
    )
    .unwrap();
    let mut behind = accept(&upstream);
    read_head(&mut behind);
    let sent = fill(&mut client);
    assert!(sent < 40 << 20, "the upstream was sent {sent} bytes unread");
    let most = memory(&server, "VmHWM");
    assert!(most < before + ROOM, "{before} kB became {most} kB");
}
