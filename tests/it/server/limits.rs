//! How many connections, how often, and how much: one client against the others.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::num::NonZeroU32;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use certmint::server::Ended;
use certmint::settings::{Content, Limits, Rate};
use hyper::body::Incoming;
use hyper::service::service_fn;

use super::http_page::Page;
use super::proxy::upstream;
use super::site::{PATIENCE, Site, curl, read_to_close, read_until, try_connect_from};
use crate::support::{TestEnv, tool};

const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
const CLOSED: &str = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// What the client at 127.0.0.`n` gets.
fn ask_from(site: &Site, n: u8) -> String {
    let mut stream = site.connect_from([127, 0, 0, n]);
    // A refused connection may be gone before the request is.
    stream.write_all(CLOSED.as_bytes()).ok();
    read_to_close(&mut stream)
}

#[test]
fn a_client_that_hoards_connections_is_closed_past_its_limit_and_others_are_served() {
    let limits = Limits {
        connections_per_client: 3,
        ..Limits::default()
    };
    let env = TestEnv::new();
    for site in [
        Site::plain_with(Content::Page, limits.clone()),
        Site::tls(&env, Content::Page, limits),
    ] {
        let mut hoard: Vec<_> = (0..3).map(|_| site.connect_from([127, 0, 0, 9])).collect();
        let start = Instant::now();
        for _ in 0..20 {
            // The refusal may be there before the connection is known to be.
            if let Ok(mut stream) = try_connect_from([127, 0, 0, 9], site.address) {
                assert_eq!(read_to_close(&mut stream), "");
            }
        }
        assert!(start.elapsed() < Duration::from_secs(5), "not at once");
        assert!(ask_from(&site, 8).starts_with("HTTP/1.1 "), "kept out");
        // A place that was given up can be had again.
        drop(hoard.pop());
        while ask_from(&site, 9).is_empty() {
            assert!(start.elapsed() < PATIENCE);
        }
    }
}

#[test]
fn a_full_server_lets_its_idlest_connection_go_and_no_other() {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let limits = Limits {
        connections: 3,
        ..Limits::default()
    };
    let site = Site::plain_with(upstream(&backend), limits);
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (send, pooled) = channel();
    std::thread::spawn(move || {
        for stream in backend.incoming() {
            let mut stream = stream.unwrap();
            let send = send.clone();
            std::thread::spawn(move || {
                loop {
                    let mut request = [0; 4096];
                    let Ok(count @ 1..) = stream.read(&mut request) else {
                        return;
                    };
                    if request[..count].starts_with(b"GET /wait") {
                        send.send(stream).unwrap();
                        return;
                    }
                    stream.write_all(answer).unwrap();
                }
            });
        }
    });
    let ask = |path: &str| {
        let mut stream = site.connect();
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let served = |path: &str| {
        let mut stream = ask(path);
        read_until(&mut stream, "\r\n\r\nok");
        stream
    };
    let mut waiting = ask("/wait");
    let mut behind = pooled.recv_timeout(PATIENCE).unwrap();
    let mut idlest = served("/");
    std::thread::sleep(Duration::from_millis(20));
    let mut later = served("/");
    let _new = served("/");
    assert_eq!(read_to_close(&mut idlest), "", "it made room");
    behind
        .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
        .unwrap();
    read_until(&mut waiting, "\r\n\r\nok");
    later.write_all(GET.as_bytes()).unwrap();
    read_until(&mut later, "\r\n\r\nok");
}

/// An upstream that reads to the end of each connection and tells what came; it
/// never answers.
fn listener() -> (Content, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let content = upstream(&listener);
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, tell) = (stream.unwrap(), tell.clone());
            std::thread::spawn(move || {
                let mut all = Vec::new();
                let mut chunk = [0; 8192];
                while let Ok(count @ 1..) = stream.read(&mut chunk) {
                    all.extend_from_slice(&chunk[..count]);
                }
                tell.send(all)
            });
        }
    });
    (content, told)
}

fn small_bodies() -> Limits {
    Limits {
        body: 1 << 20,
        ..Limits::default()
    }
}

#[test]
fn curl_sees_413_whether_it_declares_its_length_or_not_and_over_either_version() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    // Once little more than the limit, and once far more than any buffer holds.
    let longer = env.write("longer", vec![b'x'; (1 << 20) + 1]);
    let long = env.write("long", vec![b'x'; 40 << 20]);
    for content in [Some(Content::Page), None] {
        let streams = content.is_none();
        let (behind, told) = listener();
        let site = Site::tls(&env, content.unwrap_or(behind), small_bodies());
        for file in [&longer, &long] {
            for version in ["--http1.1", "--http2"] {
                for more in [
                    &[][..],
                    &["-H", "expect:"],
                    &["-H", "transfer-encoding: chunked"],
                ] {
                    let declared = !more.iter().any(|word| word.contains("chunked"));
                    if !declared && !streams {
                        continue;
                    }
                    let file = file.display().to_string();
                    let url = site.url("/");
                    let args = ["-i", version, "-T", &file, &url];
                    // A pipe has no length.
                    let args = [&args[..], more].concat();
                    let out = curl(&env, &site, &args).success();
                    let shown = out
                        .stdout()
                        .replacen("HTTP/1.1 100 Continue\r\n\r\n", "", 1);
                    let page = Page::parse(&shown);
                    page.has(" 413").has("cache-control: no-store");
                    if version == "--http1.1" {
                        page.has("connection: close");
                    }
                    if declared {
                        assert!(!out.stdout().contains(" 100 "), "{}", out.stdout());
                    } else {
                        incomplete(&told.recv_timeout(PATIENCE).unwrap());
                    }
                }
            }
        }
        assert!(
            told.try_recv().is_err(),
            "a declared length reached the upstream"
        );
    }
}

/// Whether what the upstream got cannot be taken for a whole request.
#[track_caller]
fn incomplete(request: &[u8]) {
    let text = String::from_utf8_lossy(request);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    assert!(!body.ends_with("\r\n0\r\n\r\n"), "it looks whole");
    assert!(body.len() < 2 << 20, "{} bytes went on", body.len());
}

#[test]
fn a_body_without_a_length_is_cut_at_the_limit_and_the_upstream_sees_that() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let (content, told) = listener();
    let site = Site::tls(&env, content, small_bodies());
    // What curl reads from a pipe has no length on HTTP/2 either.
    for version in ["--http1.1", "--http2"] {
        let root = site.root_pem.to_str().unwrap();
        let url = site.url("/");
        let args = ["-sS", "-i", version, "--max-time", "50", "--cacert", root];
        let out = env
            .command(tool("curl").unwrap(), args)
            .args(["-T", "-", &url])
            .stdin(vec![b'x'; 8 << 20])
            .run();
        let out = out.success();
        assert!(out.stdout().contains(" 413"), "{}", out.stdout());
        incomplete(&told.recv_timeout(PATIENCE).unwrap());
    }
    // By hand: nothing is lost, and the connection is closed.
    let site = {
        let (content, _told) = listener();
        Site::plain_with(content, small_bodies())
    };
    let mut stream = site.connect();
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = [b"10000\r\n", &[b'x'; 1 << 16][..], b"\r\n"].concat();
    for _ in 0..64 {
        stream.write_all(&chunk).unwrap();
    }
    let said = read_until(&mut stream, "too long");
    assert!(said.starts_with("HTTP/1.1 413"), "{said}");
}

#[test]
fn an_upstream_over_http2_sees_a_cut_body_reset() {
    let (reset, seen) = channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("h2c://{}", listener.local_addr().unwrap());
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(move |request: http::Request<Incoming>| {
                let reset = reset.clone();
                async move {
                    let body = http_body_util::BodyExt::collect(request.into_body()).await;
                    reset.send(body.is_err()).unwrap();
                    Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
                }
            });
            let http =
                hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
            let io = hyper_util::rt::TokioIo::new(stream);
            let _ = http.serve_connection(io, service).await;
        });
    });
    let site = Site::plain_with(Content::Upstream(url.parse().unwrap()), small_bodies());
    let mut stream = site.connect();
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = [b"10000\r\n", &[b'x'; 1 << 16][..], b"\r\n"].concat();
    for _ in 0..17 {
        stream.write_all(&chunk).unwrap();
    }
    let said = read_until(&mut stream, "too long");
    assert!(said.starts_with("HTTP/1.1 413"), "{said}");
    assert!(seen.recv_timeout(PATIENCE).unwrap(), "it looked whole");
}

#[test]
fn a_slow_body_lives_as_long_as_it_goes_on() {
    let limits = Limits {
        stall: Duration::from_millis(1500),
        header: Duration::from_millis(300),
        idle: Duration::from_millis(300),
        upstream_answer: Duration::from_millis(300),
        ..Limits::default()
    };
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Site::plain_with(upstream(&backend), limits);
    let mut client = site.connect();
    let head = "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 20\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    let (mut behind, _) = backend.accept().unwrap();
    let start = Instant::now();
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(100));
        client.write_all(b"x").unwrap();
    }
    // Longer than every limit above.
    assert!(start.elapsed() > Duration::from_millis(1600));
    read_until(&mut behind, &"x".repeat(20));
    behind
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .unwrap();
    read_until(&mut client, "\r\n\r\nok");
}

fn rate(per_second: u32, burst: u32) -> Limits {
    let number = |n| NonZeroU32::new(n).unwrap();
    Limits {
        rate: Some(Rate {
            per_second: number(per_second),
            burst: number(burst),
        }),
        ..Limits::default()
    }
}

#[test]
fn who_asks_too_often_is_told_when_to_ask_again_and_others_are_served() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let site = Site::tls(&env, Content::Page, rate(1, 3));
    let statuses = |version: &str, from: &str| -> Vec<String> {
        let (url, out) = (site.url("/"), "/dev/null");
        let format = "%{http_code} %header{retry-after} %header{cache-control}\n";
        let args = [version, "--interface", from, "-o", out, "-w", format, &url];
        // Four requests on one connection.
        let again = ["-o", out, &url, "-o", out, &url, "-o", out, &url];
        let out = curl(&env, &site, &[&args[..], &again].concat()).success();
        out.stdout().lines().map(str::to_owned).collect()
    };
    for (version, from) in [("--http1.1", "127.0.0.5"), ("--http2", "127.0.0.6")] {
        let seen = statuses(version, from);
        assert_eq!(seen[..3], ["200  no-store"; 3], "{version}");
        assert_eq!(seen[3], "429 1 no-store", "{version}");
    }
    // Whoever waits as told is served; the connection was kept.
    let limited = statuses("--http1.1", "127.0.0.7");
    assert!(limited[3].starts_with("429 1"), "{limited:?}");
    std::thread::sleep(Duration::from_secs(1));
    assert!(statuses("--http1.1", "127.0.0.7")[0].starts_with("200"));
}

#[test]
fn h2load_gets_its_share_and_no_more() {
    let Some(h2load) = tool("h2load") else { return };
    let env = TestEnv::new();
    let site = Site::plain_with(Content::Page, rate(1, 50));
    let url = format!("http://{}/", site.address);
    let start = Instant::now();
    let args = ["-n", "2000", "-c", "4", "-m", "10", &url];
    let out = env.command(h2load, args).run().success();
    let line = out.stdout().lines().find(|l| l.starts_with("status codes"));
    let line = line.unwrap();
    let served: u64 = line["status codes: ".len()..]
        .split_once(' ')
        .and_then(|(count, _)| count.parse().ok())
        .unwrap();
    let share = 50 + start.elapsed().as_secs();
    assert!((50..=share + 1).contains(&served), "{line}");
    assert!(line.contains(&format!("{} 4xx", 2000 - served)), "{line}");
}

#[test]
fn connections_that_say_nothing_or_half_close_are_closed_on_time() {
    let limits = Limits {
        header: Duration::from_secs(3),
        idle: Duration::from_secs(4),
        ..Limits::default()
    };
    let site = Site::plain_with(Content::Page, limits);
    let silent: Vec<_> = (0..100).map(|_| site.connect()).collect();
    let start = Instant::now();
    for mut stream in silent {
        assert_eq!(read_to_close(&mut stream), "");
    }
    assert!(start.elapsed() < Duration::from_secs(15));
    // A client that has said all it has to say still gets its answer.
    let mut stream = site.connect();
    stream.write_all(GET.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let said = read_to_close(&mut stream);
    assert!(said.starts_with("HTTP/1.1 200"), "{said:?}");
    // One that leaves in the middle of a header is let go at once.
    let mut stream = site.connect();
    stream.write_all(b"GET / HT").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let start = Instant::now();
    read_to_close(&mut stream);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_tunnel_keeps_its_place_until_it_ends_or_the_drain_limit_passes() {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let limits = Limits {
        connections_per_client: 1,
        header: Duration::from_millis(200),
        idle: Duration::from_millis(200),
        stall: Duration::from_millis(200),
        drain: Duration::from_millis(200),
        ..Limits::default()
    };
    let site = Site::plain_with(upstream(&backend), limits);
    let tunnel = |client| {
        let mut client = site.connect_from([127, 0, 0, client]);
        let ask = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
        client.write_all(ask.as_bytes()).unwrap();
        let (mut behind, _) = backend.accept().unwrap();
        read_until(&mut behind, "\r\n\r\n");
        let agree = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                     upgrade: x\r\n\r\n";
        behind.write_all(agree.as_bytes()).unwrap();
        read_until(&mut client, "\r\n\r\n");
        (client, behind)
    };
    let (mut client, mut behind) = tunnel(9);
    assert_eq!(read_to_close(&mut site.connect_from([127, 0, 0, 9])), "");
    // Silence is no fault of a tunnel: it outlives what others are held to.
    std::thread::sleep(Duration::from_millis(1500));
    behind.write_all(b"still there").unwrap();
    read_until(&mut client, "still there");
    drop((client, behind));
    let start = Instant::now();
    loop {
        let mut probe = site.connect_from([127, 0, 0, 9]);
        probe
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        // Closed at once as long as the tunnel has the place.
        match probe.read(&mut [0]) {
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => break,
            _ => assert!(start.elapsed() < PATIENCE, "the place was not given back"),
        }
    }
    let (mut client, _behind) = tunnel(8);
    site.shutdown.stop();
    assert_eq!(read_to_close(&mut client), "");
    assert_eq!(site.ended(), Ended::Cut(1));
}
