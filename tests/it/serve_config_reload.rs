//! Settings read again while a server serves: applied whole or not at all, and no
//! client notices.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;

use crate::serve_config::{address, pair, serve, started};
use crate::support::client::Client;
use crate::support::{Server, TestEnv};

const READ: &str = "the settings are read again";
const KEPT: &str = "the settings are not taken over";

/// SIGHUP, and the line that says what became of it.
fn reload(server: &mut Server, outcome: &str) -> String {
    server.signal(Signal::HUP);
    server.await_line(outcome)
}

/// A listener `custom` that serves `site`, with `more` settings.
fn custom(site: &str, more: &str) -> String {
    format!(
        "[[listener]]\nmode = \"custom\"\ncert = \"tls/cert.pem\"\nkey = \"tls/key.pem\"\nhttps = \"127.0.0.1:0\"\nroot = \"{site}\"\n{more}\n"
    )
}

/// A private CA, a pair of files, and the directories `one` and `two` to serve.
fn env() -> TestEnv {
    let env = TestEnv::with_ca();
    pair(&env);
    for site in ["one", "two"] {
        env.write(format!("{site}/index.html"), format!("site {site}\n"));
    }
    env
}

fn client(env: &TestEnv, address: SocketAddr) -> Client {
    Client::new(&env.state().join("ca/root.pem"), address, "localhost")
}

fn shows(client: &Client, site: &str) -> bool {
    let answer = client.connect().unwrap().get("/");
    answer.ends_with(&format!("site {site}\n"))
}

#[test]
fn no_request_fails_while_settings_change_under_load() {
    let env = env();
    let file = env.write("c.toml", custom("one", ""));
    let (mut server, lines) = started(serve(&env, &file), 1);
    let client = client(&env, lines[0].1);
    let (done, requests) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut first = client.connect().unwrap();
    assert!(first.get("/").ends_with("site one\n"));
    thread::scope(|scope| {
        let hammer = |kept: bool| {
            let mut connection = client.connect().unwrap();
            while !done.load(Ordering::SeqCst) {
                if !kept {
                    connection = client.connect().unwrap();
                }
                let answer = connection.get("/");
                assert!(answer.starts_with("http/1.1 200") || answer.starts_with("HTTP/1.1 200"));
                requests.fetch_add(1, Ordering::SeqCst);
            }
        };
        for kept in [true, true, false, false] {
            scope.spawn(move || hammer(kept));
        }
        for n in 0..20 {
            let (site, limit) = (["two", "one"][n % 2], 100 + n * 7 % 50);
            let more = format!("max-connections = {limit}\nidle-timeout = \"{}s\"", 30 + n);
            fs::write(&file, custom(site, &more)).unwrap();
            reload(&mut server, READ);
            assert!(shows(&client, site), "{n}");
        }
        done.store(true, Ordering::SeqCst);
    });
    assert!(requests.into_inner() > 20);
    // It keeps to what it began with.
    assert!(first.get("/").ends_with("site one\n"));
    let out = server.terminate().success();
    assert!(!out.stderr().contains("ERROR"), "{}", out.stderr());
}

#[test]
fn a_file_with_problems_keeps_the_old_settings_and_every_problem_is_logged() {
    let env = env();
    let file = env.write("c.toml", custom("one", ""));
    let (mut server, lines) = started(serve(&env, &file), 1);
    let client = client(&env, lines[0].1);
    for (bad, said) in [
        ("[[listener]\n".to_owned(), &["c.toml:1: "][..]),
        (String::new(), &["c.toml:1: "]),
        (
            custom("nowhere", "hsts = \"x\"\nidle-timeout = 5"),
            &["c.toml:7: ", "c.toml:8: "],
        ),
        (
            custom(
                "nowhere",
                "client-auth = \"require\"\nclient-ca = \"missing.pem\"",
            ),
            &["c.toml:6: ", "c.toml:8: "],
        ),
        (
            format!(
                "{}{}",
                custom("two", ""),
                custom("two", "").replace("key.pem", "other.pem")
            ),
            &["c.toml:10: "],
        ),
    ] {
        fs::write(&file, &bad).unwrap();
        server.signal(Signal::HUP);
        for place in said {
            let line = server.await_line(place);
            assert!(line.contains("ERROR"), "{line}");
        }
        server.await_line(KEPT);
        assert!(shows(&client, "one"), "{bad}");
    }
    fs::write(&file, custom("two", "")).unwrap();
    reload(&mut server, READ);
    assert!(shows(&client, "two"));
    let _ = server.terminate().success();
}

#[test]
fn listeners_come_and_go_and_the_others_stay() {
    let env = env();
    let plain = "[[listener]]\nmode = \"insecure\"\nhttp = \"127.0.0.1:0\"\nroot = \"two\"\n";
    let file = env.write("c.toml", custom("one", ""));
    let (mut server, lines) = started(serve(&env, &file), 1);
    let stays = client(&env, lines[0].1);
    let mut open = stays.connect().unwrap();
    fs::write(&file, format!("{}{plain}", custom("one", ""))).unwrap();
    let said = reload(&mut server, READ);
    assert!(
        said.contains("2 listeners") && said.contains("1 new"),
        "{said}"
    );
    let added = server.await_address("serving http://");
    assert!(TcpStream::connect(added).is_ok());
    assert!(open.get("/").ends_with("site one\n"));
    // A port that is taken changes nothing, not even for the others.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let wanted = plain.replace("127.0.0.1:0", &taken.local_addr().unwrap().to_string());
    fs::write(&file, format!("{}{wanted}", custom("two", ""))).unwrap();
    server.signal(Signal::HUP);
    server.await_line("another program listens");
    server.await_line(KEPT);
    assert!(shows(&stays, "one") && TcpStream::connect(added).is_ok());
    fs::write(&file, custom("two", "")).unwrap();
    let said = reload(&mut server, READ);
    assert!(said.contains("1 closed"), "{said}");
    assert!(shows(&stays, "two"));
    assert!(TcpStream::connect(added).is_err());
    let _ = server.terminate().success();
}

#[test]
fn names_of_the_private_ca_and_files_of_others_follow_the_settings() {
    let env = env();
    let minted = |name: &str| {
        format!(
            "[[listener]]\nmode = \"ca\"\nnames = [\"{name}\"]\nhttps = \"127.0.0.1:0\"\nroot = \"one\"\n"
        )
    };
    let file = env.write("c.toml", minted("a.test"));
    let (mut server, lines) = started(serve(&env, &file), 1);
    let at = address(&lines, "a.test");
    let root = env.state().join("ca/root.pem");
    let named = |name| Client::new(&root, at, name);
    assert!(named("a.test").connect().is_ok() && named("b.test").connect().is_err());
    fs::write(&file, minted("b.test")).unwrap();
    reload(&mut server, READ);
    assert!(named("b.test").connect().is_ok() && named("a.test").connect().is_err());
    fs::write(&file, custom("one", "")).unwrap();
    reload(&mut server, READ);
    assert!(named("localhost").connect().is_ok() && named("b.test").connect().is_err());
    let _ = server.terminate().success();
}

#[test]
fn what_takes_a_restart_is_said_with_key_and_line() {
    let env = env();
    let file = env.write("c.toml", custom("one", ""));
    let (mut server, _) = started(serve(&env, &file), 1);
    let above = "admin = \"127.0.0.1:0\"\nuser = \"nobody\"\n\nhome = \"elsewhere\"\n";
    fs::write(&file, format!("{above}{}", custom("two", ""))).unwrap();
    server.signal(Signal::HUP);
    for what in ["c.toml:4: `home`", "c.toml:1: `admin`", "c.toml:2: `user`"] {
        let line = server.await_line("takes effect at the next start");
        assert!(line.contains(what), "no {what} in {line}");
    }
    server.await_line(READ);
    assert!(!env.path("elsewhere").exists());
    let _ = server.terminate().success();
}

#[test]
fn without_a_file_a_hangup_reads_again_what_the_flags_name() {
    let env = env();
    let args = [
        "serve-custom",
        "--https",
        "127.0.0.1:0",
        "--cert",
        "tls/cert.pem",
    ];
    let args = env
        .certmint(args)
        .args(["--key", "tls/key.pem", "--root", "one"]);
    let mut server = args.spawn();
    let client = client(&env, server.await_address("serving https://"));
    fs::rename(env.path("one"), env.path("away")).unwrap();
    server.signal(Signal::HUP);
    server.await_line("could not serve the files");
    server.await_line(KEPT);
    fs::rename(env.path("two"), env.path("one")).unwrap();
    reload(&mut server, READ);
    assert!(shows(&client, "two"));
    let _ = server.terminate().success();
    let mut server = env
        .certmint(["serve-insecure", "--http", "127.0.0.1:0"])
        .spawn();
    server.await_line("serving http://");
    reload(&mut server, READ);
    let _ = server.terminate().success();
}
