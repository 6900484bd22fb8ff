//! Hostile requests in front of nginx, of HAProxy, and of an upstream that reads to
//! the letter. Each is followed by an honest request, which must get its own answer.

mod recorder;
mod table;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use certmint::settings::Content;

use super::site::{PATIENCE, Site, read_until};
use crate::support::{TestEnv, tool};
use recorder::Recorder;
use table::{CHUNKS, FRAMINGS, H2, H2_BODIES, HEADS, Seen};

/// One row, as it goes over the wire.
struct Hostile {
    shown: String,
    bytes: Vec<u8>,
    seen: Seen,
}

/// How long a connection is watched after the last thing that came from it.
const QUIET: Duration = Duration::from_millis(150);

/// The same for one that has not said anything yet.
const SILENT: Duration = Duration::from_millis(600);

fn rows() -> Vec<Hostile> {
    let mut rows = Vec::new();
    let mut http1 = |text: String, seen| {
        let bytes = http1_bytes(&text, rows.len());
        let shown = format!("{text:?}");
        rows.push(Hostile { shown, bytes, seen });
    };
    for (lines, seen) in FRAMINGS {
        let head = format!("POST @ HTTP/1.1\r\nHost: a\r\n{lines}");
        http1(format!("{head}\r\n\r\n0\r\n\r\n$S"), *seen);
    }
    for (body, seen) in CHUNKS {
        let head = "POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked";
        http1(format!("{head}\r\n\r\n{body}"), *seen);
    }
    for (text, seen) in HEADS {
        http1((*text).to_owned(), *seen);
    }
    let long = "x".repeat(70_000);
    let many = "x: y\r\n".repeat(101);
    for text in [
        format!("GET @?{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("{long} @ HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET @ HTTP/1.1\r\nHost: a\r\n{long}: y\r\n\r\n"),
        format!("GET @ HTTP/1.1\r\nHost: a\r\nx: {long}\r\n\r\n"),
        format!("GET @ HTTP/1.1\r\nHost: {long}\r\n\r\n"),
        format!("GET @ HTTP/1.1\r\nHost: a\r\n{many}\r\n"),
    ] {
        http1(text, Seen::Nothing);
    }
    let extension = format!("$X;{long}\r\n$S\r\n0\r\n\r\n");
    let head = "POST @ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked";
    http1(format!("{head}\r\n\r\n{extension}"), Seen::Cut);
    for (list, seen) in H2 {
        let bytes = http2_bytes(list, None, &[], rows.len());
        let shown = format!("HTTP/2 {list:?}");
        let seen = *seen;
        rows.push(Hostile { shown, bytes, seen });
    }
    for (lines, body, trailers, seen) in H2_BODIES {
        let head = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "@"),
            (":authority", "a"),
        ];
        let list = [&head[..], lines].concat();
        let bytes = http2_bytes(&list, Some(body), trailers, rows.len());
        let shown = format!("HTTP/2 {lines:?} {body:?} {trailers:?}");
        let seen = *seen;
        rows.push(Hostile { shown, bytes, seen });
    }
    rows
}

/// The text with its placeholders filled in.
fn fill(text: &str, id: usize, body: usize) -> Vec<u8> {
    let smuggled = format!("GET /smuggled/{id} HTTP/1.1\r\nHost: a\r\n\r\n");
    let hex = format!("{:x}", smuggled.len());
    let body = body.to_string();
    let filled = text
        .replace('@', &format!("/h/{id}"))
        .replace('^', "@")
        .replace("$S", &smuggled);
    let filled = ["$X", "${X}"]
        .iter()
        .fold(filled, |t, x| t.replace(x, &hex));
    let filled = ["$L", "${L}"]
        .iter()
        .fold(filled, |t, l| t.replace(l, &body));
    let mut bytes = Vec::new();
    for character in filled.chars() {
        match u8::try_from(u32::from(character)) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend_from_slice(character.to_string().as_bytes()),
        }
    }
    bytes
}

fn http1_bytes(text: &str, id: usize) -> Vec<u8> {
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    fill(text, id, fill(body, id, 0).len())
}

/// A connection with one request on stream 1, its headers as literals without
/// compression.
fn http2_bytes(
    list: &[(&str, &str)],
    body: Option<&str>,
    trailers: &[(&str, &str)],
    id: usize,
) -> Vec<u8> {
    let body = body.map(|body| fill(body, id, 0));
    let length = body.as_ref().map_or(0, Vec::len);
    let block = |list: &[(&str, &str)]| {
        let mut block = Vec::new();
        for (name, value) in list {
            block.push(0);
            for text in [*name, *value] {
                let bytes = fill(text, id, length);
                assert!(bytes.len() < 127);
                block.push(u8::try_from(bytes.len()).unwrap());
                block.extend(bytes);
            }
        }
        block
    };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    let mut frame = |kind: u8, flags: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        bytes.extend_from_slice(&length[1..]);
        bytes.extend_from_slice(&[kind, flags, 0, 0, 0, 1]);
        bytes.extend_from_slice(payload);
    };
    let end = |last: bool| u8::from(last);
    frame(1, 4 | end(body.is_none()), &block(list));
    if let Some(body) = body {
        frame(0, end(trailers.is_empty()), &body);
        if !trailers.is_empty() {
            frame(1, 4 | 1, &block(trailers));
        }
    }
    bytes
}

/// Sends the bytes and reads until it is closed or has been quiet for a while.
fn attack(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut said = Vec::new();
    // It may be closed before all is written.
    let _ = stream.write_all(bytes);
    let mut chunk = [0; 4096];
    loop {
        let http2 = bytes.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0");
        // On HTTP/2 the settings come first.
        let wait = if said.len() > 60 || !http2 && !said.is_empty() {
            QUIET
        } else {
            SILENT
        };
        stream.set_read_timeout(Some(wait)).unwrap();
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return said,
            Ok(count) => said.extend_from_slice(&chunk[..count]),
        }
    }
}

/// An honest request, and whether it got its own answer.
fn canary(address: SocketAddr, path: &str) -> bool {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let said = read_until(&mut stream, "\r\n\r\n");
    let mut rest = String::new();
    let _ = stream.read_to_string(&mut rest);
    let said = format!("{said}{rest}");
    said.starts_with("HTTP/1.1 200") && said.ends_with(&format!("\r\n\r\n{path}"))
}

/// Sends every row through a server in front of `upstream`, each with its canary.
/// Returns what was wrong on the client's side.
fn attack_all(rows: &[Hostile], upstream: SocketAddr, exact: bool) -> Vec<String> {
    // nginx and HAProxy answer a request before they have its body.
    let site = Site::plain(Content::Upstream(
        format!("http://{upstream}").parse().unwrap(),
    ));
    let next = AtomicUsize::new(0);
    let attacker = || {
        let mut wrong = Vec::new();
        loop {
            let id = next.fetch_add(1, Ordering::Relaxed);
            let Some(row) = rows.get(id) else {
                return wrong;
            };
            let said = attack(site.address, &row.bytes);
            let text = String::from_utf8_lossy(&said);
            let answers = text.matches("HTTP/1.").count() - text.matches(" 100 Continue").count();
            let as_expected = match row.seen {
                Seen::One => text.contains(" 200 OK"),
                Seen::Cut if !exact => true,
                Seen::Cut | Seen::Nothing => !text.contains(" 200 OK"),
            };
            // Frames are not read here: the upstream's side tells.
            if !row.shown.starts_with("HTTP/2") && (!as_expected || answers > 1) {
                wrong.push(format!("{id}: {} was answered {text:?}", row.shown));
            }
            if !canary(site.address, &format!("/canary/{id}")) {
                wrong.push(format!("{id}: {} took another's answer", row.shown));
            }
        }
    };
    let wrong = std::thread::scope(|scope| {
        let attackers: Vec<_> = (0..8).map(|_| scope.spawn(attacker)).collect();
        let ended = attackers.into_iter().flat_map(|a| a.join().unwrap());
        ended.collect()
    });
    assert!(canary(site.address, "/canary/end"));
    wrong
}

/// Compares what upstreams say they saw: requests by row, and what else.
fn judge(rows: &[Hostile], paths: &[String], exact: bool, wrong: &mut Vec<String>) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for path in paths {
        *counts.entry(path.split('?').next().unwrap()).or_default() += 1;
    }
    for (id, row) in rows.iter().enumerate() {
        let own = format!("/h/{id}");
        let count = counts.remove(own.as_str()).unwrap_or(0);
        let fits = match row.seen {
            Seen::Nothing => count == 0,
            Seen::One => count == 1,
            // nginx and HAProxy answer without waiting for the body.
            Seen::Cut => count == 0 || !exact && count == 1,
        };
        if !fits {
            wrong.push(format!("{id}: {} arrived {count} times", row.shown));
        }
        if counts.remove(format!("/canary/{id}").as_str()) != Some(1) {
            wrong.push(format!("{id}: the canary did not arrive once"));
        }
    }
    counts.remove("/canary/end");
    if !counts.is_empty() {
        wrong.push(format!("also arrived: {counts:?}"));
    }
}

#[track_caller]
fn nothing_wrong(rows: &[Hostile], wrong: &[String]) {
    let count = |seen| rows.iter().filter(|row| row.seen == seen).count();
    let mut all = String::new();
    for line in wrong {
        let line: String = line.chars().take(600).collect();
        let _ = writeln!(all, "{line}");
    }
    assert!(
        wrong.is_empty(),
        "of {} rows ({} nothing, {} one, {} cut), {} wrong:\n{all}",
        rows.len(),
        count(Seen::Nothing),
        count(Seen::One),
        count(Seen::Cut),
        wrong.len(),
    );
    assert!(rows.len() >= 300, "only {}", rows.len());
}

#[test]
fn an_upstream_sees_one_well_formed_request_or_none() {
    let rows = rows();
    let recorder = Recorder::start();
    let mut wrong = attack_all(&rows, recorder.address, true);
    let arrived = recorder.take();
    judge(&rows, &arrived.whole, true, &mut wrong);
    wrong.extend(
        arrived
            .faults
            .iter()
            .map(|fault| format!("arrived: {fault}")),
    );
    for (id, row) in rows.iter().enumerate() {
        let path = format!("/h/{id}");
        let cut = arrived.cut.iter().filter(|cut| **cut == path).count();
        if cut > usize::from(row.seen == Seen::Cut) {
            wrong.push(format!("{id}: {} was cut {cut} times", row.shown));
        }
    }
    nothing_wrong(&rows, &wrong);
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[track_caller]
fn await_port(address: SocketAddr) {
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < until, "nobody listens on {address}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A log whose last request has been written.
fn await_end(env: &TestEnv, log: &str) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let text = env.read(log);
        if text.contains("/canary/end") || Instant::now() > until {
            return text;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn nginx_behind_us_logs_one_request_or_none() {
    let Some(nginx) = tool("nginx") else { return };
    let env = TestEnv::new();
    let address = free_address();
    let dir = env.path("nginx").display().to_string();
    let config = format!(
        "daemon off; worker_processes 1; pid {dir}/pid; error_log stderr crit;
         events {{ worker_connections 512; }}
         http {{
           log_format own '$status $request_method $request_uri';
           access_log {dir}/access.log own;
           client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
           fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi;
           scgi_temp_path {dir}/scgi;
           keepalive_requests 100000;
           server {{ listen {address}; location / {{ return 200 $request_uri; }} }}
         }}"
    );
    let config = env.write("nginx/nginx.conf", config).display().to_string();
    let _nginx = env.command(nginx, ["-c", config.as_str()]).spawn();
    await_port(address);
    let rows = rows();
    let mut wrong = attack_all(&rows, address, false);
    let log = await_end(&env, "nginx/access.log");
    let mut paths = Vec::new();
    for line in log.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["200", _, path] => paths.push(path.to_owned()),
            // The client's end of a body that never ends.
            ["499" | "400", "POST", path] if path.starts_with("/h/") => paths.push(path.to_owned()),
            _ => wrong.push(format!("nginx logged {line}")),
        }
    }
    judge(&rows, &paths, false, &mut wrong);
    nothing_wrong(&rows, &wrong);
}

#[test]
fn haproxy_behind_us_logs_one_request_or_none() {
    let Some(haproxy) = tool("haproxy") else {
        return;
    };
    let env = TestEnv::new();
    let address = free_address();
    let config = format!(
        "global
           log stderr format raw local0
           maxconn 1000
         defaults
           mode http
           log global
           option dontlognull
           timeout connect 10s
           timeout client 30s
           timeout server 30s
         frontend own
           bind {address}
           log-format \"seen %ST %[capture.req.method] %[capture.req.uri]\"
           http-request return status 200 content-type text/plain lf-string %[capture.req.uri]
"
    );
    let config = env.write("haproxy.cfg", config).display().to_string();
    // It drops lines that a pipe has no room for, and none that go to a file.
    let log = env.path("haproxy.log").display().to_string();
    let to_file = [
        "sh",
        "-c",
        "log=$1; shift; exec \"$@\" 2>\"$log\"",
        "sh",
        &log,
    ];
    let haproxy = env.command(haproxy, ["-db", "-f", config.as_str()]);
    let _haproxy = haproxy.under(to_file).spawn();
    await_port(address);
    let rows = rows();
    let mut wrong = attack_all(&rows, address, false);
    let log = await_end(&env, "haproxy.log");
    let mut paths = Vec::new();
    for line in log.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["seen", "200", _, path] => paths.push(path.to_owned()),
            ["seen", ..] => wrong.push(format!("HAProxy logged {line}")),
            _ => {}
        }
    }
    judge(&rows, &paths, false, &mut wrong);
    nothing_wrong(&rows, &wrong);
}
