//! slowhttptest, which holds connections as long as it is let: by headers and bodies
//! that do not end, by answers that it does not take, and by ranges without number.
//!
//! It tells whether a client that connects meanwhile is served, and curl tells as well.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use certmint::settings::{Content, Limits};

use super::proxy::upstream;
use super::site::{Site, curl, read_to_close};
use crate::support::{TestEnv, tool};

/// How many connections it holds.
const HELD: usize = 200;

/// What it says once the server has closed all that it held.
const CLOSED: &str = "No open connections left";

/// What it says when it gave up: it reads too little at a time to come to an end.
const GAVE_UP: &str = "Hit test time limit";

fn limits() -> Limits {
    Limits {
        header: Duration::from_secs(3),
        stall: Duration::from_secs(3),
        ..Limits::default()
    }
}

/// Connections of this machine that `server` holds open.
fn held(server: SocketAddr) -> usize {
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X}", server.port());
    let established = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[1].ends_with(&port) && fields[3] == "01"
    };
    sockets.lines().skip(1).filter(established).count()
}

/// Runs it against a site, with and without TLS, that answers with `content`, and asks
/// for `/ok` by curl as long as it runs. It must end by saying `ends`.
fn withstands(env: &TestEnv, content: &Content, path: &str, attack: &[&str], ends: &str) {
    let (Some(slowhttptest), Some(_)) = (tool("slowhttptest"), tool("curl")) else {
        return;
    };
    for site in [
        Site::plain_with(content.clone(), limits()),
        Site::tls(env, content.clone(), limits()),
    ] {
        let (url, count) = (site.url(path), HELD.to_string());
        let mut seen = Vec::new();
        let said = std::thread::scope(|scope| {
            let attacker = scope.spawn(|| {
                let at = ["-c", &count, "-r", &count, "-p", "20", "-u", &url];
                let report = ["-g", "-o", "report"];
                let run = env.command(&slowhttptest, attack).args(at).args(report);
                run.run()
            });
            while !attacker.is_finished() {
                let told = ["-o", "/dev/null", "-w", "%{http_code}", &site.url("/ok")];
                let out = curl(env, &site, &told).success();
                assert_eq!(out.stdout(), "200", "{attack:?}");
                seen.push((Instant::now(), held(site.address)));
                std::thread::sleep(Duration::from_millis(100));
            }
            attacker.join().unwrap()
        });
        assert!(said.stdout().contains(ends), "{attack:?}: {said:?}");
        let rows = env.read("report.csv");
        let mut begun = 0;
        for row in rows.lines().skip(1) {
            let fields: Vec<usize> = row.split(',').map(|f| f.parse().unwrap()).collect();
            let [_, closed, _, connected, available] = fields[..] else {
                panic!("{row}");
            };
            assert!(available > 0, "{attack:?}: nobody is served\n{rows}");
            begun = begun.max(closed + connected);
        }
        // The last of them may have come after the last row.
        assert!(begun > HELD / 2, "{attack:?}: {rows}");
        if ends == GAVE_UP {
            // It lets go of them itself at the end: what counts is a little before.
            let most = seen.iter().map(|(_, held)| *held).max().unwrap();
            let before = seen.last().unwrap().0 - Duration::from_secs(2);
            let (_, left) = *seen.iter().rev().find(|(at, _)| *at < before).unwrap();
            // Of those that it believes to hold, its probe's and ours may be left.
            assert!(
                most > HELD / 2 && left < 5,
                "{attack:?}: {most}, then {left}"
            );
        }
    }
}

/// A directory with a file too large for any buffer, and a small one.
fn files(env: &TestEnv) -> Content {
    env.write("www/ok", "ok");
    let large = File::create(env.path("www/large")).unwrap();
    large.set_len(64 << 20).unwrap();
    Content::Root(env.path("www"))
}

#[test]
fn slow_headers_are_closed_on_time_and_others_are_served() {
    let env = TestEnv::new();
    // A line every second: each is progress, and none of it counts.
    withstands(
        &env,
        &files(&env),
        "/ok",
        &["-H", "-i", "1", "-l", "45"],
        CLOSED,
    );
}

#[test]
fn bodies_that_stand_still_are_closed_on_time_and_others_are_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let content = upstream(&listener);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || answer(&mut stream));
        }
    });
    let env = TestEnv::new();
    let still = ["-B", "-i", "20", "-s", "8192", "-l", "45"];
    withstands(&env, &content, "/body", &still, CLOSED);
}

/// Answers `/ok` and reads everything else to its end.
fn answer(stream: &mut TcpStream) {
    let mut start = [0; 1024];
    let count = stream.read(&mut start).unwrap_or_default();
    if start[..count].starts_with(b"GET /ok ") {
        let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
        stream.write_all(ok).ok();
    }
    read_to_close(stream);
}

#[test]
fn answers_that_nobody_takes_are_closed_on_time_and_others_are_served() {
    let env = TestEnv::new();
    let windows = ["-w", "512", "-y", "1024"];
    let still = ["-X", "-n", "20", "-z", "32", "-l", "15"];
    let still = [&still[..], &windows].concat();
    withstands(&env, &files(&env), "/large", &still, GAVE_UP);
}

#[test]
fn a_header_full_of_ranges_costs_no_more_than_another() {
    let env = TestEnv::new();
    let ranges = ["-R", "-a", "5", "-b", "3000", "-l", "45"];
    withstands(&env, &files(&env), "/large", &ranges, CLOSED);
}
