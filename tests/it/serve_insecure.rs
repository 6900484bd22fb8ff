//! `certmint serve-insecure`: plain HTTP, never unawares.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Run, TestEnv, tool};

fn serve(env: &TestEnv, args: &[&str]) -> Run {
    env.certmint(["serve-insecure"]).args(args)
}

fn get(address: SocketAddr, accept: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn it_warns_at_every_start_and_its_page_says_that_there_is_no_tls() {
    let env = TestEnv::new();
    for _ in 0..2 {
        let mut server = serve(&env, &["--http", "127.0.0.1:0"]).spawn();
        let warning = server.await_line("warning: plain http");
        assert!(warning.contains("can be read and changed"), "{warning}");
        let address = server.await_address("serving http://");
        for (accept, words) in [
            ("text/html", "no TLS on this connection"),
            ("text/plain", "plain HTTP, without TLS"),
        ] {
            let page = get(address, accept);
            assert!(page.starts_with("HTTP/1.1 200"), "{page}");
            assert!(page.contains(words), "{page}");
        }
        let _ = server.terminate().success();
    }
    assert!(!env.state().exists(), "it needs no state");
}

#[test]
fn an_address_that_others_reach_must_be_wanted() {
    let env = TestEnv::new();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let out = serve(&env, &["--http", address]).run().code(2);
        let said = out.stderr();
        assert!(
            said.contains(&format!("error: plain http on {address}")),
            "{said}"
        );
        assert!(
            said.contains("hint: ") && said.contains("--allow-remote"),
            "{said}"
        );
        assert!(!said.contains("serving"), "{said}");
    }
    let mut server = serve(&env, &["--http", "0.0.0.0:0", "--allow-remote"]).spawn();
    server.await_line("warning: plain http");
    let address = server.await_address("serving http://");
    let local = SocketAddr::from(([127, 0, 0, 1], address.port()));
    assert!(get(local, "*/*").starts_with("HTTP/1.1 200"));
    let _ = server.terminate().success();
    // What is asked for once does not come from the environment.
    let out = serve(&env, &["--http", "0.0.0.0:0"])
        .env("CERTMINT_SERVE_INSECURE_ALLOW_REMOTE", "true")
        .run();
    let _ = out.code(2);
}

#[test]
fn a_port_in_use_is_an_error_that_says_what_to_do() {
    let env = TestEnv::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let out = serve(&env, &["--http", &address]).run().code(1);
    let said = out.stderr();
    assert!(
        said.contains("hint: another program listens there"),
        "{said}"
    );
    assert!(!said.contains("warning"), "{said}");
}

#[test]
fn files_and_flags_are_checked_before_anything_is_served() {
    let env = TestEnv::new();
    env.write("site/index.html", "plain\n");
    let site = env.path("site");
    let site = site.to_str().unwrap();
    let mut server = serve(&env, &["--http", "127.0.0.1:0", "--root", site]).spawn();
    let page = get(server.await_address("serving http://"), "*/*");
    assert!(page.ends_with("plain\n"), "{page}");
    let _ = server.terminate().success();
    for args in [
        &["--root", site, "--upstream", "http://127.0.0.1:1"][..],
        &["--upstream", "ftp://127.0.0.1:1"],
        &["--http", "localhost:8080"],
        &["--https", "127.0.0.1:0"],
    ] {
        let _ = serve(&env, args).run().code(2);
    }
}

#[test]
fn a_log_that_nobody_reads_any_more_does_not_keep_it_from_stopping() {
    let Some(mkfifo) = tool("mkfifo") else { return };
    let env = TestEnv::new();
    let log = env.path("log");
    let _ = env.command(mkfifo, [&log]).run().success();
    let into_log = "exec \"$@\" 2>\"$0\"";
    let server = serve(&env, &["--http", "127.0.0.1:0"])
        .under(["/bin/sh", "-c", into_log, log.to_str().unwrap()])
        .spawn();
    let reader = BufReader::new(std::fs::File::open(&log).unwrap());
    let mut lines = reader.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("serving http://")));
    drop(lines);
    server.signal(Signal::TERM);
    let _ = server.wait(Duration::from_secs(20)).success();
}
