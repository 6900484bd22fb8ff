//! A stop, and those who are not simple requests: HTTP/2 connections and tunnels.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use certmint::server::Ended;
use certmint::settings::{Content, Limits};

use super::site::{Site, read_to_close, read_until};
use crate::support::{TestEnv, tool};

fn upstream(backend: &TcpListener) -> Content {
    let address = backend.local_addr().unwrap();
    Content::Upstream(format!("http://{address}").parse().unwrap())
}

#[test]
fn a_stop_is_told_to_http2_clients_whose_requests_are_finished() {
    let Some(nghttp) = tool("nghttp") else { return };
    let env = TestEnv::new();
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Site::tls(&env, upstream(&backend), Limits::default());
    let url = site.url("/");
    std::thread::scope(|scope| {
        let asking = || env.command(&nghttp, ["-v", &url]).run().success();
        let client = scope.spawn(asking);
        let (mut behind, _) = backend.accept().unwrap();
        read_until(&mut behind, "\r\n\r\n");
        site.shutdown.stop();
        behind
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")
            .unwrap();
        let out = client.join().unwrap();
        let said = out.stdout();
        assert!(said.contains("recv GOAWAY frame"), "{said}");
        assert!(said.contains("done"), "{said}");
    });
    assert_eq!(site.ended(), Ended::Drained);
}

/// A tunnel through a server, and both of its ends.
fn tunnel(drain: Duration) -> (Site, TcpStream, TcpStream) {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let limits = Limits {
        drain,
        ..Limits::default()
    };
    let site = Site::plain_with(upstream(&backend), limits);
    let mut client = site.connect();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")
        .unwrap();
    let (mut behind, _) = backend.accept().unwrap();
    read_until(&mut behind, "\r\n\r\n");
    behind
        .write_all(b"HTTP/1.1 101 S\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")
        .unwrap();
    read_until(&mut client, "\r\n\r\n");
    (site, client, behind)
}

#[test]
fn a_tunnel_lives_on_after_a_stop_until_its_ends_are_done() {
    let (site, mut client, mut behind) = tunnel(Duration::from_secs(600));
    site.shutdown.stop();
    while TcpStream::connect(site.address).is_ok() {
        std::thread::yield_now();
    }
    client.write_all(b"still").unwrap();
    let mut word = [0; 5];
    behind.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"still");
    drop(client);
    drop(behind);
    assert_eq!(site.ended(), Ended::Drained);
}

#[test]
fn a_tunnel_that_nobody_ends_is_cut_at_the_limit() {
    let (site, mut client, _behind) = tunnel(Duration::from_millis(300));
    site.shutdown.stop();
    assert_eq!(read_to_close(&mut client), "");
    assert!(matches!(site.ended(), Ended::Cut(1..)));
}
