//! `--directory private`: the whole ACME life on one machine, by this machine's own CA,
//! through the real binary and seen with curl and openssl.

use std::net::SocketAddr;
use std::os::unix::fs::chown;

use rustix::process::Signal;
use serde_json::Value;

use crate::acme_issue::private;
use crate::serve_ca::{issued, root};
use crate::support::bind::{Bind, KEY_256};
use crate::support::client::Client;
use crate::support::{Run, TestEnv, address_in, tool, tools};

const READY: &str = "serving https://";
const REPLACED: &str = "certificate replaced";

/// `serve-acme` with our own CA, on ports of the system's choice.
fn serve(env: &TestEnv, args: &[&str]) -> Run {
    let command = ["serve-acme", "--directory", "private"];
    let ports = ["--https", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    env.certmint(command).args(ports).args(args)
}

fn issue(env: &TestEnv, args: &[&str]) -> Run {
    env.certmint(["acme", "issue", "--directory", "private"])
        .args(args)
}

fn client(env: &TestEnv, address: SocketAddr, name: &str) -> Client {
    Client::new(&root(env), address, name)
}

fn json(run: Run) -> Value {
    serde_json::from_str(run.arg("--json").run().success().stdout()).unwrap()
}

fn serial(env: &TestEnv, id: &str) -> String {
    let file = format!("certs/{id}/current/cert.pem");
    let pem = std::fs::read(env.state().join(file)).unwrap();
    let all = certmint::bundle::Certificate::parse_pem(&pem).unwrap();
    all[0].serial_hex()
}

/// What to run a program under so that it has loopback and no other network at all;
/// `None` after saying that the test is skipped.
#[track_caller]
fn without_network(env: &TestEnv) -> Option<Vec<String>> {
    let (_, _) = (tool("unshare")?, tool("ip")?);
    let alone = "ip link set lo up && exec \"$@\"";
    let words = [
        "unshare",
        "--map-root-user",
        "--net",
        "sh",
        "-c",
        alone,
        "sh",
    ];
    let words: Vec<String> = words.map(str::to_owned).into();
    let tried = env.command("true", [""; 0]).under(&words).run();
    if !tried.status().success() {
        tools::skip("a network namespace");
        return None;
    }
    Some(words)
}

#[test]
fn one_command_serves_on_a_fresh_machine_without_network_and_without_root() {
    let env = TestEnv::new();
    let Some(mut alone) = without_network(&env) else {
        return;
    };
    let (Some(curl), Some(setpriv)) = (tool("curl"), tool("setpriv")) else {
        return;
    };
    // A namespace in which nobody is root any more: the flags that need no privilege.
    if rustix::process::geteuid().is_root() {
        chown(env.path(""), Some(65534), Some(65534)).unwrap();
        for dir in ["home", "tmp"] {
            chown(env.path(dir), Some(65534), Some(65534)).unwrap();
        }
        alone.retain(|word| word != "--map-root-user");
        let user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        alone.push(setpriv.display().to_string());
        alone.extend(user.map(str::to_owned));
        let exe = env!("CARGO_BIN_EXE_certmint");
        let tried = env.command("test", ["-x", exe]).under(&alone).run();
        if !tried.status().success() {
            return tools::skip("a directory that everybody can enter");
        }
    }
    let script = format!(
        "set -e
        test -z \"$(ip route)\"
        certmint=$1; curl=$2; root=$HOME/.local/share/certmint/ca/root.pem
        mkfifo said
        $certmint serve-acme --directory private --https 127.0.0.1:8443 \
            --http 127.0.0.1:8080 localhost 2>said &
        server=$!
        while read -r line; do
            echo \"$line\"
            case $line in *'{READY}'*) break;; esac
        done <said
        $curl -sS --cacert $root -o /dev/null -w 'https %{{http_code}}\\n' https://localhost:8443/
        $curl -sS -o /dev/null -w 'http %{{http_code}} %{{redirect_url}}\\n' http://localhost:8080/x
        cat said >said.rest &
        kill -TERM $server
        wait $server
        echo ended
        $certmint renew --force
        id -u; test \"$(stat -c %a $HOME/.local/share/certmint)\" = 700"
    );
    let certmint = env!("CARGO_BIN_EXE_certmint");
    let curl = curl.to_str().unwrap();
    let run = env.command("sh", ["-c", &script, "sh", certmint, curl]);
    let out = run.under(alone).run().success();
    for words in [
        "made the private CA",
        "root certificate",
        "serving https://127.0.0.1:8443 for localhost",
        "https 200",
        "http 301 https://localhost:8443/x",
        "ended",
        "localhost  renewed (localhost)",
    ] {
        assert!(out.stdout().contains(words), "{words}:\n{}", out.stdout());
    }
    assert!(!out.stdout().contains("\n0\n"), "{}", out.stdout());
}

#[test]
fn a_certificate_is_obtained_renewed_revoked_and_obtained_anew() {
    let Some(openssl) = tool("openssl") else {
        return;
    };
    let env = TestEnv::new();
    let made = json(issue(&env, &["localhost", "127.0.0.1", "www.home.test"]));
    assert_eq!(made["directory"], "https://private.invalid/directory");
    let dir = env.state().join("certs/localhost/current");
    let (root, full) = (root(&env), dir.join("fullchain.pem"));
    let verify = env.command(
        &openssl,
        ["verify", "-x509_strict", "-purpose", "sslserver"],
    );
    let verify = verify
        .arg("-CAfile")
        .arg(&root)
        .arg("-untrusted")
        .arg(&full);
    let _ = verify.arg(dir.join("cert.pem")).run().success();

    // The CA said when to renew it (RFC 9773), and it is not due.
    let _ = env.certmint(["renew"]).run().success();
    let looked = json(env.certmint(["renew"]));
    let line = &looked["certificates"][0];
    assert_eq!(line["result"], "not-due", "{looked}");
    assert!(line["suggested"]["start"].is_string(), "{looked}");
    let first = serial(&env, "localhost");
    let forced = env.certmint(["renew", "--force", "--splay", "1h"]).run();
    assert!(forced.success().stdout().contains("renewed (localhost +2)"));
    let second = serial(&env, "localhost");
    assert_ne!(first, second);

    let shown = json(env.certmint(["acme", "account", "show", "--directory", "private"]));
    assert_eq!(shown["accounts"][0]["status"], "valid", "{shown}");
    let rollover = ["acme", "account", "rollover", "--directory", "private"];
    let _ = env.certmint(rollover).run().success();

    // One line for it, not one for each of its lives.
    let status = env.certmint(["ca", "status"]).run().success();
    let lines = status.stdout().lines();
    assert_eq!(
        lines.filter(|line| line.contains("www.home.test")).count(),
        1
    );

    let revoke = ["acme", "revoke", "localhost", "--reason", "superseded"];
    let revoked = env.certmint(revoke).run().success();
    assert!(revoked.stdout().contains("by its account (superseded)"));
    let crl = env.state().join("ca/crl/I1.crl");
    let list = env.command(&openssl, ["crl", "-noout", "-text", "-in"]);
    let list = list.arg(&crl).run().success().stdout().to_uppercase();
    assert!(list.contains(&second.to_uppercase()), "{list}");
    assert!(list.contains("SUPERSEDED") && !list.contains(&first.to_uppercase()));
    let critical = env.certmint(["ca", "status"]).run().code(4);
    assert!(critical.stdout().contains("was revoked"));
    let renewed = env.certmint(["renew"]).run().success();
    assert!(renewed.stdout().contains("renewed"), "{}", renewed.stdout());

    // What `ca revoke` revokes is replaced as well, with a new key where others know it.
    let third = serial(&env, "localhost");
    let _ = env
        .certmint(["ca", "revoke", &third, "--reason", "keyCompromise"])
        .run()
        .success();
    let _ = env.certmint(["renew"]).run().success();
    assert_ne!(serial(&env, "localhost"), third);

    // An account that is gone is made again.
    let deactivate = ["acme", "account", "deactivate", "--directory", "private"];
    let _ = env.certmint(deactivate).arg("--yes").run().success();
    let _ = env.certmint(["renew", "--force"]).run().success();
    assert_eq!(issued(&env), 5);
}

#[test]
fn each_challenge_is_looked_at_where_this_process_answers_it() {
    let env = TestEnv::new();
    for (name, args) in [
        ("any.test", &["--challenge", "http-01"][..]),
        ("any2.test", &["--challenge", "tls-alpn-01"]),
        ("zero.test", &["--http", "127.0.0.1:0"]),
        ("everywhere.test", &["--https", "[::]:0"]),
        (
            "both.test",
            &["--http", "127.0.0.1:0", "--https", "0.0.0.0:0"],
        ),
    ] {
        let out = issue(&env, args).arg(name).run();
        assert!(out.success().stdout().contains(name));
    }
    let _ = env.certmint(["renew", "--force"]).run().success();
    assert_eq!(issued(&env), 10);

    // A port that is taken is no way, and is told.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let out = issue(&env, &["--https", &address, "taken.test"])
        .run()
        .code(1);
    assert!(out.stderr().contains(&address), "{}", out.stderr());
    assert_eq!(issued(&env), 10);
}

#[test]
fn a_web_server_on_port_80_of_this_machine_answers_for_its_directory() {
    let env = TestEnv::new();
    let (Some(alone), Some(python)) = (without_network(&env), tool("python3")) else {
        return;
    };
    let script = "set -e
        mkdir site
        $2 -m http.server 80 --bind 127.0.0.1 --directory site >log 2>&1 & server=$!
        until grep -q Serving log || ! kill -0 $server; do :; done
        $1 acme issue --directory private --webroot site www.test
        kill $server";
    let certmint = env!("CARGO_BIN_EXE_certmint");
    let run = env
        .command("sh", ["-c", script, "sh", certmint])
        .arg(python);
    let run = run
        .env("CERTMINT_HOME", env.state())
        .env("PYTHONUNBUFFERED", "1");
    let out = run.under(alone).run().success();
    assert!(out.stdout().contains("issued www.test"), "{}", out.stdout());
    assert!(env.read("log").contains("GET /.well-known/acme-challenge/"));
}

#[test]
fn a_wildcard_is_proved_by_dns() {
    let Some(bind) = Bind::start() else { return };
    let env = TestEnv::new();
    let (name, algorithm, secret) = KEY_256;
    let text = format!(
        "[dns.lab]\nprovider = \"rfc2136\"\nserver = \"{}\"\nkey-name = \"{name}\"\n\
         algorithm = \"{algorithm}\"\nsecret = \"{secret}\"\n",
        bind.address()
    );
    let file = private(&env, "dns.toml", &text);
    let server = bind.address().to_string();
    let args = [
        "*.example.test",
        "--dns-file",
        &file,
        "--dns-server",
        &server,
    ];
    let out = issue(&env, &args).run().success();
    assert!(out.stdout().contains("issued *.example.test"));
    assert!(bind.txt("_acme-challenge.example.test").is_empty());

    let out = issue(&env, &["*.example.test"]).run().code(2);
    assert!(
        out.stderr().contains("certmint serve-ca"),
        "{}",
        out.stderr()
    );
}

#[test]
fn a_server_obtains_by_either_challenge_and_starts_again_from_its_cache() {
    let env = TestEnv::new();
    for (n, kind) in (1..).zip(["tls-alpn-01", "http-01"]) {
        let name = format!("{kind}.test");
        let mut server = serve(&env, &["--challenge", kind, &name]).spawn();
        let address = server.await_address(READY);
        let first = client(&env, address, &name).serial();
        let _ = server.terminate().success();
        assert_eq!(issued(&env), n);
        let mut server = serve(&env, &["--challenge", kind, &name]).spawn();
        let address = server.await_address(READY);
        assert_eq!(client(&env, address, &name).serial(), first);
        assert_eq!(issued(&env), n, "it was in the cache");
    }
}

#[test]
fn a_server_that_wants_to_hear_of_balancers_for_whom_they_speak_hears_it_of_itself() {
    let env = TestEnv::new();
    for (n, kind) in (1..).zip(["tls-alpn-01", "http-01"]) {
        let name = format!("{kind}.test");
        let behind = ["--proxy-protocol-from", "127.0.0.0/8"];
        let mut server = serve(&env, &behind)
            .args(["--challenge", kind, &name])
            .spawn();
        server.await_line(READY);
        assert_eq!(issued(&env), n);
        let _ = server.terminate().success();
    }
}

#[test]
fn a_server_follows_a_revocation_and_a_new_root_at_once() {
    let env = TestEnv::new();
    let mut server = serve(&env, &["localhost"]).spawn();
    let address = server.await_address(READY);
    let first = client(&env, address, "localhost").serial();
    // The server keeps it fresh, and says so to others.
    let out = env.certmint(["renew", "--force"]).run().code(1);
    assert!(out.stderr().contains("server") || out.stdout().contains("server"));

    let _ = env.certmint(["ca", "revoke", "localhost"]).run().success();
    server.await_line(REPLACED);
    let second = client(&env, address, "localhost").serial();
    assert_ne!(first, second);

    let _ = env.certmint(["ca", "rotate", "root"]).run().success();
    server.await_line(REPLACED);
    let connection = client(&env, address, "localhost").connect().unwrap();
    assert_ne!(connection.serial(), second);
    assert!(connection.leaf().issuer().to_string().contains("I2"));
    let _ = server.terminate().success();
}

#[test]
fn listeners_of_a_file_are_each_looked_at_on_their_own_ports() {
    let env = TestEnv::new();
    let listener = |names: &str, more: &str| {
        format!(
            "[[listener]]\nmode = \"acme\"\nnames = [{names}]\ndirectory = \"private\"\n\
             https = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n{more}\n"
        )
    };
    let one = listener("\"one.test\"", "");
    let two = listener("\"two.test\", \"2.two.test\"", "challenge = \"http-01\"");
    let file = env.write("c.toml", format!("{one}{two}"));
    let check = env.certmint(["serve", "--check-config", "--config"]);
    let _ = check.arg(&file).run().success();
    assert!(!root(&env).exists(), "a check makes nothing");

    let mut server = env.certmint(["serve", "--config"]).arg(&file).spawn();
    server.await_line("made the private CA");
    for _ in 0..2 {
        let line = server.await_line(READY);
        let name = if line.contains("one.test") {
            "one.test"
        } else {
            "two.test"
        };
        is_served(&env, &line, name);
    }
    // One that comes by a reload.
    let three = listener("\"three.test\"", "profile = \"shortlived\"");
    std::fs::write(&file, format!("{one}{two}{three}")).unwrap();
    server.signal(Signal::HUP);
    let line = server.await_line("for three.test");
    is_served(&env, &line, "three.test");
    let _ = server.terminate().success();
}

#[track_caller]
fn is_served(env: &TestEnv, line: &str, name: &str) {
    let client = client(env, address_in(line).unwrap(), name);
    let page = client.connect().unwrap().get("/");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
}

#[test]
fn names_are_certified_when_they_are_asked_for() {
    let env = TestEnv::new();
    let init = ["ca", "init", "--permit", "lab.test"];
    let _ = env.certmint(init).run().success();
    let mut server = serve(&env, &["--on-demand"]).spawn();
    let address = server.await_address(READY);
    for name in ["a.lab.test", "b.c.lab.test"] {
        // The first connection waits for it: our own CA takes milliseconds.
        let mut connection = client(&env, address, name).connect().unwrap();
        assert!(connection.get("/").starts_with("HTTP/1.1 200"));
        assert_eq!(connection.leaf().display_name(), name);
    }
    let outside = client(&env, address, "a.example.com").connect();
    assert!(outside.is_err(), "it is none that the CA may certify");
    assert_eq!(issued(&env), 2);
    let _ = server.terminate().success();

    // Beside a name that is known from the start, and after a restart.
    let mut server = serve(&env, &["--on-demand", "lab.test"]).spawn();
    let address = server.await_address(READY);
    for (name, known) in [("lab.test", 3), ("a.lab.test", 3), ("new.lab.test", 4)] {
        client(&env, address, name).connect().unwrap();
        assert_eq!(issued(&env), known, "{name}");
    }
    let _ = server.terminate().success();
}

#[test]
fn a_key_that_is_encrypted_is_unlocked_by_a_file() {
    let env = TestEnv::new();
    let file = env.write("pass", "correct horse\n");
    let file = file.to_str().unwrap();
    let unlock = ["--passphrase-file", file];
    let mut server = serve(&env, &unlock).arg("localhost").spawn();
    let address = server.await_address(READY);
    let first = client(&env, address, "localhost").serial();
    let _ = server.terminate().success();
    let key = env.read("state/ca/intermediate/I1/key.pem");
    assert!(key.contains("ENCRYPTED"), "made with the passphrase");

    // What is cached is served without, with a warning.
    let mut server = serve(&env, &["localhost"]).spawn();
    let address = server.await_address(READY);
    assert_eq!(client(&env, address, "localhost").serial(), first);
    server.await_line("cannot be renewed");
    let _ = server.terminate().success();

    for (args, code) in [
        (
            &["acme", "issue", "--directory", "private", "b.test"][..],
            2,
        ),
        (&["acme", "account", "show", "--directory", "private"], 2),
        (&["acme", "revoke", "localhost"], 2),
        (&["renew", "--force"], 1),
    ] {
        let out = env.certmint(args).run().code(code);
        let said = format!("{}{}", out.stdout(), out.stderr());
        assert!(said.contains("--passphrase-file"), "{args:?}: {said}");
        let _ = env.certmint(["renew", "--force"]).args(unlock).run();
        let _ = env.certmint(args).args(unlock).run().success();
    }
    assert_ne!(serial(&env, "localhost"), first);
}

#[test]
fn it_works_beside_a_directory_on_the_network() {
    let Some(flock) = tool("flock") else { return };
    let env = TestEnv::with_ca();
    // As whoever runs `ca serve` of this CA holds it.
    let lock = env.write("state/locks/acme-directory", "");
    let certmint = env!("CARGO_BIN_EXE_certmint");
    let words = ["acme", "issue", "--directory", "private", "localhost"];
    let run = env.command(flock, [lock.to_str().unwrap(), certmint]);
    let run = run.args(words).env("CERTMINT_HOME", env.state());
    assert!(run.run().success().stdout().contains("issued localhost"));
}

#[test]
fn what_cannot_be_is_refused_with_the_remedy() {
    let env = TestEnv::new();
    let init = ["ca", "init", "--permit", "home.arpa"];
    for (args, code, told) in [
        // There is no CA yet, and none is made for these.
        (
            &["acme", "account", "show", "--directory", "private"][..],
            1,
            "certmint ca init",
        ),
        (
            &[
                "acme",
                "issue",
                "--directory",
                "letsencrypt",
                "--passphrase-file",
                "p",
                "a.test",
            ],
            2,
            "leave it out, or give `--directory private`",
        ),
        (
            &[
                "serve-acme",
                "--directory",
                "private",
                "--https",
                "127.0.0.1:0",
                "*.a.test",
            ],
            2,
            "certmint serve-ca",
        ),
        (
            &["acme", "issue", "--directory", "private", "a@a.test"],
            2,
            "certmint ca issue",
        ),
    ] {
        let out = env.certmint(args).run().code(code);
        assert!(out.stderr().contains(told), "{args:?}: {}", out.stderr());
        assert!(!root(&env).exists(), "{args:?}");
    }
    let _ = env.certmint(init).run().success();
    let out = issue(&env, &["a.home.arpa", "localhost"]).run().code(1);
    assert!(out.stderr().contains("localhost"), "{}", out.stderr());
    let out = serve(&env, &["localhost"]).run().code(1);
    assert!(out.stderr().contains("`localhost`"), "{}", out.stderr());
    let _ = issue(&env, &["a.home.arpa"]).run().success();
    let out = issue(&env, &["--profile", "nope", "b.home.arpa"])
        .run()
        .code(1);
    assert!(out.stderr().contains("it has classic, default, shortlived"));
    let lives = |profile: &str| {
        let made = json(issue(
            &env,
            &["--force", "--profile", profile, "a.home.arpa"],
        ));
        let day = |at: &Value| at.as_str().unwrap()[..10].to_owned();
        (day(&made["not_before"]), day(&made["not_after"]))
    };
    let (day, week, quarter) = (lives("shortlived"), lives("default"), lives("classic"));
    assert!(
        day.1 < week.1 && week.1 < quarter.1,
        "{day:?} {week:?} {quarter:?}"
    );
}

#[test]
fn our_own_ca_stands_in_for_one_that_cannot_be_reached() {
    let env = TestEnv::new();
    let first = "https://127.0.0.1:1/directory";
    let command = ["serve-acme", "--directory", first, "--fallback", "private"];
    let ports = ["--https", "127.0.0.1:0", "--http", "off"];
    let mut server = env
        .certmint(command)
        .args(ports)
        .args(["--agree-tos", "localhost"])
        .spawn();
    let line = server.await_line(READY);
    assert!(server.log().contains("asking the second CA"));
    is_served(&env, &line, "localhost");
    let _ = server.terminate().success();
}
