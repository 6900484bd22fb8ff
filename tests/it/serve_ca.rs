//! `certmint serve-ca`: from nothing to a trusted server, and on for years.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::client::Client;
use crate::support::{Run, Server, TestEnv, faketime, libfaketime, tool};

/// What a swap is logged with.
pub(crate) const REPLACED: &str = "certificate replaced";

pub(crate) fn serve_ca(env: &TestEnv, args: &[&str]) -> Run {
    env.certmint(["serve-ca", "--https", "127.0.0.1:0"])
        .args(args)
}

/// The address, once it serves.
pub(crate) fn ready(server: &mut Server) -> SocketAddr {
    server.await_address("serving https://")
}

pub(crate) fn root(env: &TestEnv) -> PathBuf {
    env.state().join("ca/root.pem")
}

pub(crate) fn localhost(env: &TestEnv, address: SocketAddr) -> Client {
    Client::new(&root(env), address, "localhost")
}

/// How many leaves the CA has ever issued.
pub(crate) fn issued(env: &TestEnv) -> usize {
    let list = env.certmint(["ca", "list", "--all", "--json"]).run();
    let list: Value = serde_json::from_str(list.success().stdout()).unwrap();
    let certificates = list["certificates"].as_array().unwrap();
    certificates.iter().filter(|c| c["role"] == "leaf").count()
}

/// Rewrites a file as it is, which a watching server takes as a reason to look.
fn poke(path: &Path) {
    fs::write(path, fs::read(path).unwrap()).unwrap();
}

#[test]
fn a_fresh_home_is_served_at_once_and_every_client_verifies() {
    let env = TestEnv::new();
    let mut server = serve_ca(&env, &["--init", "localhost", "127.0.0.1"]).spawn();
    let address = ready(&mut server);
    server.await_line("certmint ca trust install");
    let root = root(&env);
    let root = root.to_str().unwrap();
    let said = server.log().to_owned();
    for words in [
        "made the private CA",
        root,
        "sha256 fingerprint",
        "curl --cacert",
        "for localhost",
    ] {
        assert!(said.contains(words), "no `{words}` in {said}");
    }
    let client = localhost(&env, address);
    let mut connection = client.connect().unwrap();
    assert!(connection.get("/").starts_with("HTTP/1.1 200"));
    assert!(
        Client::new(Path::new(root), address, "127.0.0.1")
            .connect()
            .is_ok()
    );
    // Other names get the same certificate, which does not cover them.
    let other = Client::new(Path::new(root), address, "other.test");
    assert!(
        other
            .connect()
            .unwrap_err()
            .to_string()
            .contains("not valid for name")
    );

    if let Some(curl) = tool("curl") {
        for (version, expected) in [("--http1.1", "1.1"), ("--http2", "2")] {
            let url = format!("https://localhost:{}/", address.port());
            let args = [
                "-sSf",
                "-o",
                "/dev/null",
                "-w",
                "%{http_version}",
                "--cacert",
                root,
            ];
            let out = env
                .command(&curl, args)
                .args([version, &url])
                .run()
                .success();
            assert_eq!(out.stdout(), expected);
        }
    }
    if let Some(openssl) = tool("openssl") {
        for version in ["-tls1_2", "-tls1_3"] {
            let address = address.to_string();
            let args = ["s_client", "-connect", &address, "-servername", "localhost"];
            let strict = ["-verify_hostname", "localhost", "-x509_strict"];
            let out = env
                .command(&openssl, args)
                .args(["-CAfile", root, "-verify_return_error", version])
                .args(strict)
                .run()
                .success();
            assert!(
                out.stdout().contains("Verify return code: 0 (ok)"),
                "{}",
                out.stdout()
            );
        }
    }
    let out = server.terminate().success();
    assert_eq!(out.stdout(), "");
}

#[test]
fn it_mints_once_and_again_only_when_something_else_is_wanted() {
    let env = TestEnv::new();
    let start = |args: &[&str]| {
        let mut server = serve_ca(&env, args).spawn();
        let serial = localhost(&env, ready(&mut server)).serial();
        let _ = server.terminate().success();
        serial
    };
    let first = start(&["--init", "localhost"]);
    assert_eq!(start(&["--init", "localhost"]), first);
    assert_eq!(start(&["localhost", "--days", "30"]), first);
    assert_eq!(issued(&env), 1);
    let more = start(&["localhost", "more.test"]);
    assert_ne!(more, first);
    let ed25519 = start(&["localhost", "more.test", "--key-type", "p384"]);
    assert_ne!(ed25519, more);
    assert_eq!(issued(&env), 3);
    // Revoked while nobody served it.
    let _ = env.certmint(["ca", "revoke", "localhost"]).run().success();
    let mut server = serve_ca(&env, &["localhost", "more.test", "--key-type", "p384"]).spawn();
    let address = ready(&mut server);
    if localhost(&env, address).serial() == ed25519 {
        server.await_line(REPLACED);
    }
    assert_ne!(localhost(&env, address).serial(), ed25519);
}

#[test]
fn a_certificate_that_falls_due_is_renewed_under_open_connections() {
    let (Some(past), Some(library)) = (faketime("-10d"), libfaketime()) else {
        return;
    };
    let env = TestEnv::new();
    let _ = env.certmint(["ca", "init"]).under(past).run().success();
    // A week's certificate, whose half is over 24 hours before now.
    let clock = env.write("clock", "-108h");
    let mut server = serve_ca(&env, &["localhost"])
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", &clock)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .spawn();
    let client = localhost(&env, ready(&mut server));
    let mut open = client.connect().unwrap();
    let before = open.serial();
    assert!(open.get("/").starts_with("HTTP/1.1 200"));
    fs::write(&clock, "+0").unwrap();
    poke(&env.state().join("ca/chain.pem"));
    server.await_line(REPLACED);
    let fresh = client.connect().unwrap();
    assert_ne!(fresh.serial(), before);
    assert!(fresh.leaf().is_valid_at(time::OffsetDateTime::now_utc()));
    assert!(
        open.get("/").starts_with("HTTP/1.1 200"),
        "the old connection lives on"
    );
    assert_eq!(issued(&env), 2);
    let _ = server.terminate().success();
}

#[test]
fn what_other_processes_do_is_taken_over_at_once() {
    let env = TestEnv::new();
    let mut server = serve_ca(&env, &["--init", "localhost"]).spawn();
    let address = ready(&mut server);
    let old_root = env.write("old-root.pem", fs::read(root(&env)).unwrap());
    let client = Client::new(&old_root, address, "localhost");
    let mut open = client.connect().unwrap();
    let mut serials = vec![open.serial()];
    for command in [
        &["renew", "--force"][..],
        &["ca", "revoke", "localhost"],
        &["ca", "rotate", "root"],
        &["ca", "issue", "localhost"],
    ] {
        let _ = env.certmint(command).run().success();
        let line = server.await_line(REPLACED);
        let serial = client.serial();
        assert!(!serials.contains(&serial), "{command:?}");
        assert!(line.contains(&serial), "{line}");
        serials.push(serial);
        assert!(open.get("/").starts_with("HTTP/1.1 200"), "{command:?}");
    }
    // Who knows only the old root verified above; here the one who knows only the new.
    let both = fs::read_to_string(root(&env)).unwrap();
    let (newest, _) = both.split_once("-----END CERTIFICATE-----\n").unwrap();
    let newest = format!("{newest}-----END CERTIFICATE-----\n");
    let new_root = env.write("new-root.pem", newest);
    assert_ne!(fs::read(&new_root).unwrap(), fs::read(&old_root).unwrap());
    let new = Client::new(&new_root, address, "localhost");
    assert_eq!(Some(new.serial()), serials.pop());
    let _ = server.terminate().success();
}

#[test]
fn without_its_ca_it_starts_only_on_a_certificate_that_is_valid() {
    let env = TestEnv::new();
    let secret = env.write("secret", "correct horse\n");
    let secret = ["--passphrase-file", secret.to_str().unwrap()];
    let mut server = serve_ca(&env, &["--init", "localhost"])
        .args(secret)
        .spawn();
    let serial = localhost(&env, ready(&mut server)).serial();
    let _ = server.terminate().success();

    let root_pem = env.write("root.pem", fs::read(root(&env)).unwrap());
    let starts_and_warns = |words: &str| {
        let mut server = serve_ca(&env, &["localhost"]).spawn();
        let line = server.await_line("it cannot be renewed");
        assert!(line.contains("WARN") && line.contains(words), "{line}");
        let client = Client::new(&root_pem, ready(&mut server), "localhost");
        assert_eq!(client.serial(), serial);
        let _ = server.terminate().success();
    };
    let fails = |run: Run, words: &str| {
        let out = run.run().code(1);
        let said = out.stderr();
        assert_eq!(said.matches("error: ").count(), 1, "{said}");
        let error =
            "error: there is no valid certificate for `localhost`, and none could be issued";
        assert!(said.contains(error) && said.contains(words), "{said}");
        assert!(
            !said.contains("WARN") && !said.contains("serving"),
            "{said}"
        );
    };
    starts_and_warns("--passphrase-file");
    let Some(later) = faketime("+8d") else { return };
    fails(
        serve_ca(&env, &["localhost"]).under(&later),
        "--passphrase-file",
    );
    let key = env.state().join("ca/intermediate/I1/key.pem");
    fs::rename(&key, env.path("key.pem")).unwrap();
    starts_and_warns("key.pem");
    fails(
        serve_ca(&env, &["localhost"]).args(secret).under(&later),
        "key.pem",
    );
    fs::rename(env.state().join("ca"), env.path("ca")).unwrap();
    starts_and_warns("there is no CA");
    fails(
        serve_ca(&env, &["localhost"]).under(&later),
        "certmint ca init",
    );
}

/// An upstream that says when it was asked, and answers when it is told to.
fn slow_upstream() -> (SocketAddr, Receiver<()>, Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let ((asked, was_asked), (answer, may_answer)) = (channel(), channel());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 1024];
            while !request.ends_with(b"\r\n\r\n") {
                let count = stream.read(&mut chunk).unwrap();
                request.extend_from_slice(&chunk[..count]);
            }
            asked.send(()).unwrap();
            if may_answer.recv().is_err() {
                return;
            }
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nslow\n";
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (address, was_asked, answer)
}

const PATIENCE: Duration = Duration::from_secs(40);

#[test]
fn a_stop_waits_for_a_request_in_flight_and_a_second_does_not() {
    let env = TestEnv::with_ca();
    let (upstream, asked, answer) = slow_upstream();
    let upstream = format!("http://{upstream}");
    let start = || {
        let mut server = serve_ca(&env, &["localhost", "--upstream", &upstream]).spawn();
        let client = localhost(&env, ready(&mut server));
        let mut connection = client.connect().unwrap();
        connection.ask("/slow").unwrap();
        asked.recv_timeout(PATIENCE).unwrap();
        server.signal(Signal::TERM);
        server.await_line("finishing requests in flight");
        (server, connection, client)
    };
    let (server, mut connection, client) = start();
    answer.send(()).unwrap();
    assert!(connection.answer().unwrap().ends_with("slow\n"));
    let _ = server.wait(PATIENCE).success();
    assert!(client.connect().is_err());

    let (server, mut connection, _) = start();
    server.signal(Signal::INT);
    let out = server.wait(Duration::from_secs(20)).success();
    assert!(
        out.stderr().contains("stopping at once"),
        "{}",
        out.stderr()
    );
    assert!(connection.answer().is_err());
}

#[test]
fn a_port_in_use_is_an_error_that_says_what_to_do() {
    let env = TestEnv::with_ca();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = env.certmint(["serve-ca", "localhost", "--https", &address]);
    let out = run.run().code(1);
    let said = out.stderr();
    assert!(
        said.contains(&format!("error: could not listen on {address}")),
        "{said}"
    );
    assert!(
        said.contains("hint: another program listens there"),
        "{said}"
    );
    assert!(!said.contains("serving"), "{said}");
    let none = serve_ca(&TestEnv::new(), &["localhost"]).run().code(1);
    assert!(none.stderr().contains("--init"), "{}", none.stderr());
}

#[test]
fn two_servers_share_one_home() {
    let env = TestEnv::new();
    let mut servers = ["a.test", "b.test"].map(|name| {
        let server = serve_ca(&env, &["--init", name]).spawn();
        (name, server)
    });
    let addresses = [0, 1].map(|n| ready(&mut servers[n].1));
    for (name, address) in ["a.test", "b.test"].into_iter().zip(addresses) {
        let client = Client::new(&root(&env), address, name);
        assert!(client.connect().unwrap().get("/").contains("200"));
    }
    assert_eq!(issued(&env), 2);
    for (_, server) in servers {
        let _ = server.terminate().success();
    }
}

#[test]
fn files_are_served_from_a_directory() {
    let env = TestEnv::with_ca();
    env.write("site/index.html", "<h1>here</h1>\n");
    env.write("secret.txt", "not yours\n");
    let site = env.path("site");
    let args = ["localhost", "--root", site.to_str().unwrap()];
    let mut server = serve_ca(&env, &args).spawn();
    let mut connection = localhost(&env, ready(&mut server)).connect().unwrap();
    assert!(connection.get("/index.html").ends_with("<h1>here</h1>\n"));
    assert!(connection.get("/..%2fsecret.txt").starts_with("HTTP/1.1 4"));
    let _ = server.terminate().success();
    let missing = env.path("missing");
    let args = ["localhost", "--root", missing.to_str().unwrap()];
    let out = serve_ca(&env, &args).run().code(1);
    assert!(out.stderr().contains("missing"), "{}", out.stderr());
}
