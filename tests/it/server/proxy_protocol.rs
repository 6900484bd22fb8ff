//! Load balancers that say whose connection they pass on, and strangers who try.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use certmint::settings::{Content, Limits, ListenerSettings};

use super::site::{Site, anywhere, curl, read_to_close, read_until};
use crate::support::{TestEnv, tool};

const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n\
                   connection: close\r\n\r\n";

/// Believes 127.0.0.1 and nobody else.
fn settings(limits: Limits) -> ListenerSettings {
    ListenerSettings {
        limits,
        proxy_protocol: vec!["127.0.0.1/32".parse().unwrap()],
        ..anywhere(Content::Page)
    }
}

fn v2(source: [u8; 4], port: u16) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    header.extend(source);
    header.extend([198, 51, 100, 2]);
    header.extend(port.to_be_bytes());
    header.extend(443_u16.to_be_bytes());
    header
}

fn client_of(page: &str) -> String {
    let (head, body) = page.split_once("\r\n\r\n").unwrap_or((page, ""));
    assert!(head.starts_with("HTTP/1.1 200"), "{page}");
    let page: serde_json::Value = serde_json::from_str(body).unwrap();
    page["client"].as_str().unwrap().to_owned()
}

#[test]
fn the_client_is_whom_the_balancer_names() {
    let site = Site::plain_settings(settings(Limits::default()));
    for (header, client) in [
        (v2([192, 0, 2, 1], 4660), "192.0.2.1:4660"),
        (
            b"PROXY TCP4 192.0.2.7 198.51.100.2 4660 443\r\n".to_vec(),
            "192.0.2.7:4660",
        ),
        (
            b"PROXY TCP6 2001:db8::1 2001:db8::2 4660 443\r\n".to_vec(),
            "[2001:db8::1]:4660",
        ),
        // It speaks for itself: a health check.
        (
            b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00".to_vec(),
            "127.0.0.1:",
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1:"),
    ] {
        // At once, and byte by byte.
        for piece in [usize::MAX, 1] {
            let mut stream = site.connect();
            let sent = [&header, GET.as_bytes()].concat();
            for piece in sent.chunks(piece.min(sent.len())) {
                stream.write_all(piece).unwrap();
            }
            let said = client_of(&read_to_close(&mut stream));
            assert!(said.starts_with(client), "{said} is not {client}");
        }
    }
}

#[test]
fn a_balancer_that_says_nothing_or_nonsense_is_closed() {
    let limits = Limits {
        handshake: Duration::from_millis(700),
        ..Limits::default()
    };
    let env = TestEnv::new();
    for site in [
        Site::plain_settings(settings(limits.clone())),
        Site::tls_with(&env, settings(limits)),
    ] {
        for nonsense in [
            GET.as_bytes(),
            b"PROXY TCP4 nobody nowhere 1 2\r\nGET / HTTP/1.1\r\n\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00",
        ] {
            let mut stream = site.connect();
            stream.write_all(nonsense).unwrap();
            assert_eq!(read_to_close(&mut stream), "");
        }
        // Nothing, half a header, and after the whole of it no handshake: one deadline.
        for part in [
            &b""[..],
            b"PROXY TCP4 192.0.2.1",
            &v2([192, 0, 2, 1], 1)[..20],
        ] {
            let mut stream = site.connect();
            stream.write_all(part).unwrap();
            let start = Instant::now();
            assert_eq!(read_to_close(&mut stream), "");
            let took = start.elapsed().as_millis();
            assert!((500..3000).contains(&took), "{part:?}: {took} ms");
        }
    }
}

#[test]
fn strangers_are_not_believed() {
    let env = TestEnv::new();
    let stranger = [127, 0, 0, 2];
    let lines = b"PROXY TCP4 192.0.2.1 198.51.100.2 4660 443\r\n";
    let plain = Site::plain_settings(settings(Limits::default()));
    let tls = Site::tls_with(&env, settings(Limits::default()));
    for header in [&lines[..], &v2([192, 0, 2, 1], 1)] {
        for site in [&plain, &tls] {
            let mut stream = site.connect_from(stranger);
            stream
                .write_all(&[header, GET.as_bytes()].concat())
                .unwrap();
            let said = read_to_close(&mut stream);
            let refused = said.is_empty() || said.starts_with("HTTP/1.1 400");
            assert!(refused && !said.contains("192.0.2.1"), "{said}");
        }
    }
    // Without a header they are served as who they are.
    let mut stream = plain.connect_from(stranger);
    stream.write_all(GET.as_bytes()).unwrap();
    let client = client_of(&read_to_close(&mut stream));
    assert!(client.starts_with("127.0.0.2:"), "{client}");
}

#[test]
fn limits_hold_for_the_client_and_not_for_the_balancer() {
    let limits = Limits {
        connections_per_client: 2,
        ..Limits::default()
    };
    let site = Site::plain_settings(settings(limits));
    let connect = |last| {
        let mut stream = site.connect();
        stream.write_all(&v2([192, 0, 2, last], 1)).unwrap();
        stream
    };
    let mut served: Vec<_> = (1..6).flat_map(|n| [connect(n), connect(n)]).collect();
    for stream in &mut served {
        let get = GET.replace("connection: close\r\n", "");
        stream.write_all(get.as_bytes()).unwrap();
        read_until(stream, "HTTP/1.1 200");
    }
    assert_eq!(read_to_close(&mut connect(3)), "");
}

#[test]
fn haproxy_in_front_says_who_the_client_is() {
    let (Some(haproxy), Some(_)) = (tool("haproxy"), tool("curl")) else {
        return;
    };
    let env = TestEnv::new();
    let tls = Site::tls_with(&env, settings(Limits::default()));
    let plain = Site::plain_settings(settings(Limits::default()));
    let mut config = "defaults\n mode tcp\n timeout connect 9s\n timeout client 30s\n \
                      timeout server 30s\n"
        .to_owned();
    // HAProxy cannot be told port 0 and say what it got.
    let free = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let mut fronts = Vec::new();
    for site in [&tls, &plain] {
        for version in ["send-proxy", "send-proxy-v2"] {
            let port = free();
            writeln!(
                config,
                "listen l{port}\n bind 127.0.0.1:{port}\n server s {} {version} check",
                site.address
            )
            .unwrap();
            fronts.push((port, site));
        }
    }
    let config = env.write("haproxy.cfg", config).display().to_string();
    let _haproxy = env.command(haproxy, ["-db", "-f", &config]).spawn();
    for (port, site) in fronts {
        let front = SocketAddr::from(([127, 0, 0, 1], port));
        let start = Instant::now();
        while std::net::TcpStream::connect(front).is_err() {
            assert!(start.elapsed() < super::site::PATIENCE, "no HAProxy");
            std::thread::sleep(Duration::from_millis(10));
        }
        let to = format!("::localhost:{port}");
        let json = "accept: application/json";
        let args = ["--interface", "127.0.0.3", "--connect-to", &to, "-H", json];
        let url = site.url("/");
        let out = curl(&env, site, &[&args[..], &[&url]].concat()).success();
        let page: serde_json::Value = serde_json::from_str(out.stdout()).unwrap();
        let client = page["client"].as_str().unwrap();
        assert!(client.starts_with("127.0.0.3:"), "{client}");
    }
}

#[test]
fn curl_sends_a_header_of_its_own_before_tls() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let site = Site::tls_with(&env, settings(Limits::default()));
    for version in ["--http1.1", "--http2"] {
        let args = ["--haproxy-protocol", version, &site.url("/")];
        let out = curl(&env, &site, &args).success();
        assert!(out.stdout().contains("TLS 1.3"), "{}", out.stdout());
    }
    // A stranger that sends one gets nowhere.
    let url = site.url("/");
    let args = ["--haproxy-protocol", "--interface", "127.0.0.2", &url];
    let _ = curl(&env, &site, &args).code(35);
    let mut gone = site.connect_from([127, 0, 0, 2]);
    gone.write_all(&v2([192, 0, 2, 1], 1)).unwrap();
    assert_eq!(gone.read(&mut [0; 1]).unwrap_or(0), 0);
}
