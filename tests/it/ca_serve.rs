//! `certmint ca serve`: how the private ACME directory starts, is looked after and ends.

mod beside;
mod bodies;
mod issuing;
mod kills;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::serve_ca::{REPLACED, localhost, ready, root};
use crate::support::client::Client;
use crate::support::{Run, TestEnv, tool};

fn ca_serve(env: &TestEnv, args: &[&str]) -> Run {
    env.certmint(["ca", "serve", "--https", "127.0.0.1:0"])
        .args(args)
}

/// For any name, and with nothing published.
fn any(env: &TestEnv, args: &[&str]) -> Run {
    ca_serve(env, &["--permit-any", "--http", "off"]).args(args)
}

/// What is answered in plain HTTP.
fn plain(address: SocketAddr, method: &str, path: &str) -> String {
    let answer = plain_bytes(address, method, path);
    String::from_utf8_lossy(&answer).into_owned()
}

fn plain_bytes(address: SocketAddr, method: &str, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x.test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn it_is_served_with_a_certificate_of_its_own_ca_and_says_how_to_use_it() {
    let env = TestEnv::with_ca();
    let mut server = ca_serve(&env, &["--permit", "home.arpa", "--http", "127.0.0.1:0"]).spawn();
    let published = server.await_address("publishes the CRLs");
    let address = ready(&mut server);
    server.await_line("certmint serve-acme NAME");
    let root = root(&env);
    let root = root.to_str().unwrap();
    let said = server.log().to_owned();
    let directory = format!("https://localhost:{}/directory", address.port());
    for words in [
        "sha256 fingerprint",
        &format!("directory  {directory}\n"),
        &format!("REQUESTS_CA_BUNDLE={root} certbot certonly --server {directory} "),
        &format!("LEGO_CA_CERTIFICATES={root} lego --server {directory} "),
        &format!("acme.sh --issue --server {directory} --ca-bundle {root} "),
        &format!("acme_ca {directory} and acme_ca_root {root} "),
        &format!("--directory {directory} --ca-file {root}"),
        // A port that changes is not written into certificates.
        "certificates will not say where the CRLs are",
    ] {
        assert!(said.contains(words), "no `{words}` in {said}");
    }
    for name in ["localhost", "127.0.0.1", "::1"] {
        let mut connection = Client::new(&PathBuf::from(root), address, name)
            .connect()
            .unwrap();
        if name != "::1" {
            assert!(connection.get("/directory").starts_with("HTTP/1.1 200"));
        }
    }
    assert!(plain(published, "GET", "/roots.pem").starts_with("HTTP/1.1 200"));
    // Nothing is sent to https from there, nor taken.
    let with_body = "POST /roots.pem HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx";
    let mut stream = TcpStream::connect(published).unwrap();
    stream.write_all(with_body.as_bytes()).unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");

    if let Some(curl) = tool("curl") {
        let ask = |more: &[&str]| {
            let args = ["-sS", "--cacert", root, "-o", "/dev/null", "-w"];
            let args = [&args[..], &["%{http_version} %{http_code}"], more].concat();
            let out = env.command(&curl, args).arg(&directory).run().success();
            out.stdout().to_owned()
        };
        assert_eq!(ask(&["--http1.1"]), "1.1 200");
        assert_eq!(ask(&["--http2"]), "2 200");
        // By a name that it does not have.
        assert_eq!(ask(&["-H", "host: other.test"]), "2 421");
    }
    if let Some(openssl) = tool("openssl") {
        let address = address.to_string();
        let args = ["s_client", "-connect", &address, "-servername", "localhost"];
        let strict = ["-verify_hostname", "localhost", "-x509_strict"];
        let out = env.command(&openssl, args).args(strict);
        let out = out.args(["-CAfile", root, "-verify_return_error"]);
        let out = out.run().success();
        let verified = "Verify return code: 0 (ok)";
        assert!(out.stdout().contains(verified), "{}", out.stdout());
    }
    let out = server.terminate().success();
    assert_eq!(out.stdout(), "");
}

#[test]
fn its_names_port_and_url_are_what_was_said() {
    let env = TestEnv::with_ca();
    let names = ["ca.home.arpa", "10.0.0.1", "--require-eab"];
    let mut server = any(&env, &names).spawn();
    let address = ready(&mut server);
    server.await_line(&format!(
        "directory  https://ca.home.arpa:{}/directory",
        address.port()
    ));
    server.await_line("certmint ca eab add");
    let client = Client::new(&root(&env), address, "ca.home.arpa");
    let serial = client.serial();
    let _ = server.terminate().success();
    // Minted once; the URL may be another than where it is served.
    let mut server = any(&env, &names)
        .env("CERTMINT_CA_SERVE_PUBLIC_URL", "https://acme.home.arpa")
        .spawn();
    let address = ready(&mut server);
    server.await_line("directory  https://acme.home.arpa/directory");
    let client = Client::new(&root(&env), address, "ca.home.arpa");
    assert_eq!(client.serial(), serial);
    let _ = server.terminate().success();
}

#[test]
fn what_would_serve_anybody_or_nobody_does_not_start() {
    let bare = TestEnv::new();
    let open = TestEnv::with_ca();
    let narrow = TestEnv::new();
    let init = ["ca", "init", "--permit", "home.arpa,10.0.0.0/8"];
    let _ = narrow.certmint(init).run().success();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let table: &[(&TestEnv, &[&str], i32, &[&str])] = &[
        (
            &bare,
            &["--permit-any"],
            1,
            &["there is no CA in", "certmint ca init"],
        ),
        (
            &open,
            &[],
            2,
            &[
                "certificates for any name",
                "--permit home.arpa",
                "--require-eab",
                "--permit-any",
            ],
        ),
        (
            &open,
            &["--permit", "a.test", "--permit-any"],
            2,
            &["cannot be used with"],
        ),
        (&open, &["--permit", "*.a.test"], 2, &["without `*`"]),
        (
            &narrow,
            &["ca.home.arpa", "--permit", "a.test"],
            2,
            &["`--permit a.test` is outside what this CA may issue for (`home.arpa, 10.0.0.0/8`)"],
        ),
        (
            &narrow,
            &[],
            2,
            &["`localhost` cannot be", "certmint ca serve NAME"],
        ),
        (&narrow, &["a.test"], 1, &["none could be issued", "a.test"]),
        (
            &open,
            &["--permit-any", "*.a.test"],
            2,
            &["none of the names", "a host or an address"],
        ),
        (
            &open,
            &["--permit-any", "--public-url", "http://a.test"],
            2,
            &["https://host"],
        ),
        (
            &open,
            &["--permit-any", "--http01-port", "0"],
            2,
            &["--http01-port"],
        ),
        (
            &open,
            &["--permit-any", "--http", &taken],
            1,
            &["could not listen on", "another program listens there"],
        ),
    ];
    for (env, args, code, words) in table {
        let quiet = match args.contains(&"--http") {
            true => &[][..],
            false => &["--http", "off"],
        };
        let out = ca_serve(env, args).args(quiet).run().code(*code);
        for words in *words {
            assert!(
                out.stderr().contains(words),
                "no `{words}` in {}",
                out.stderr()
            );
        }
        assert!(!out.stderr().contains("serving"), "{}", out.stderr());
    }
    // A CA with constraints says for which names.
    let mut server = ca_serve(&narrow, &["ca.home.arpa", "--http", "off"]).spawn();
    ready(&mut server);
    let _ = server.terminate().success();
}

#[test]
fn a_locked_key_is_unlocked_before_anybody_is_answered() {
    let env = TestEnv::new();
    let secret = env.write("secret", "correct horse\n");
    let secret = ["--passphrase-file", secret.to_str().unwrap()];
    let _ = env.certmint(["ca", "init"]).args(secret).run().success();
    let out = any(&env, &[]).run().code(2);
    assert!(
        out.stderr().contains("--passphrase-file"),
        "{}",
        out.stderr()
    );
    let mut server = any(&env, &secret).spawn();
    let address = ready(&mut server);
    assert!(localhost(&env, address).connect().is_ok());
    let _ = server.terminate().success();
}

#[test]
fn what_it_refuses_as_a_server_is_a_problem_with_a_nonce() {
    let Some(curl) = tool("curl") else { return };
    let env = TestEnv::with_ca();
    let mut server = any(&env, &["--rate-limit", "1/s burst 2"]).spawn();
    let address = ready(&mut server);
    let root = root(&env);
    let body = env.write("body", vec![b'x'; 200 * 1024]);
    let body = format!("@{}", body.display());
    let url = format!("https://localhost:{}/new-order", address.port());
    let ask = |args: &[&str]| {
        let words = ["-sS", "-i", "--cacert", root.to_str().unwrap(), &url];
        let out = env.command(&curl, words).args(args).run().success();
        out.stdout().replace("\r\n", "\n").to_ascii_lowercase()
    };
    for (args, status, kind) in [
        (&["--data-binary", &*body][..], 413, "malformed"),
        (&["-H", "host: other.test"], 421, "malformed"),
        (&[], 429, "ratelimited"),
    ] {
        // What is left of its turns is soon used up.
        let mut tries = (0..100).map(|_| ask(args));
        let said = tries.find(|said| said.contains(&format!(" {status} \n")));
        let said = said.unwrap();
        for part in [
            "content-type: application/problem+json\n",
            "replay-nonce: ",
            &format!("\"urn:ietf:params:acme:error:{kind}\""),
            &format!("\"status\":{status}"),
        ] {
            assert!(said.contains(part), "no `{part}` in {said}");
        }
        assert_eq!(said.contains("retry-after: "), status == 429, "{said}");
    }
    let _ = server.terminate().success();
}

#[test]
fn it_is_looked_after_like_every_server() {
    let env = TestEnv::with_ca();
    let events = env.path("events");
    let log = env.path("access.log");
    let socket = env.path("admin.sock");
    let mut server = any(&env, &["--admin", "127.0.0.1:0"])
        .args(["--events", events.to_str().unwrap()])
        .args(["--access-log", log.to_str().unwrap()])
        .args(["--admin-socket", socket.to_str().unwrap()])
        .spawn();
    let admin = server.await_address("/health, /ready and /metrics");
    let address = ready(&mut server);
    // It is ready a moment after it says where it serves.
    let until = Instant::now() + Duration::from_secs(20);
    while !plain(admin, "GET", "/ready").starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < until, "never ready");
    }
    let client = localhost(&env, address);
    let mut open = client.connect().unwrap();
    let serial = open.serial();
    assert!(open.get("/directory").starts_with("HTTP/1.1 200"));
    let metrics = plain(admin, "GET", "/metrics");
    for line in [
        "# TYPE certmint_directory_requests_total counter",
        "# TYPE certmint_directory_validations_total counter",
        "# TYPE certmint_directory_certificates_total counter",
        "# TYPE certmint_directory_revocations_total counter",
        "certmint_certificate_not_after_seconds{id=\"acme-directory\"} ",
        "certmint_issuances_total{result=\"issued\"} 1",
    ] {
        assert!(metrics.contains(line), "no `{line}` in {metrics}");
    }
    // The flags are what they were: nothing waits for the next start.
    server.signal(Signal::HUP);
    let said = server.await_line("the settings are read again");
    assert!(
        said.ends_with("1 listener; of the ports, 0 new, 0 closed"),
        "{said}"
    );
    assert!(open.get("/directory").starts_with("HTTP/1.1 200"));
    assert_eq!(client.serial(), serial);
    let unix = format!("unix:{}", socket.display());
    let _ = env.certmint(["health", &unix]).run().success();

    let said = server.terminate().success();
    assert!(!said.stderr().contains("next start"), "{}", said.stderr());
    let events = std::fs::read_to_string(events).unwrap();
    let events: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let kinds: Vec<_> = events
        .iter()
        .map(|e| e["event"].as_str().unwrap())
        .collect();
    let expected = [
        "certificate-issued",
        "ready",
        "reloaded",
        "stopping",
        "stopped",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(events[0]["id"], "acme-directory");
    assert_eq!(events[0]["source"], "private");
    let log = std::fs::read_to_string(log).unwrap();
    assert_eq!(log.matches("/directory").count(), 2, "{log}");
}

#[test]
fn its_own_certificate_follows_its_ca() {
    let env = TestEnv::with_ca();
    let mut server = any(&env, &[]).spawn();
    let address = ready(&mut server);
    let client = localhost(&env, address);
    let mut open = client.connect().unwrap();
    let mut serials = vec![open.serial()];
    for command in [
        &["ca", "rotate", "root"][..],
        &["ca", "revoke", "acme-directory"],
        &["renew", "--force", "acme-directory"],
    ] {
        let _ = env.certmint(command).run().success();
        let line = server.await_line(REPLACED);
        let serial = client.serial();
        assert!(
            line.contains(&serial) && !serials.contains(&serial),
            "{command:?}"
        );
        serials.push(serial);
        assert!(
            open.get("/directory").starts_with("HTTP/1.1 200"),
            "{command:?}"
        );
    }
    let issuer = client.connect().unwrap().leaf().issuer().to_owned();
    assert!(issuer.contains("I2"), "{issuer}");
    // A server of the same name beside it has a certificate of its own.
    let mut beside = env
        .certmint(["serve-ca", "localhost", "--https", "127.0.0.1:0"])
        .spawn();
    let other = localhost(&env, ready(&mut beside)).serial();
    assert!(!serials.contains(&other));
    assert_eq!(Some(client.serial()), serials.pop());
    let _ = beside.terminate().success();
    let _ = server.terminate().success();
}
