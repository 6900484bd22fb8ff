//! `certmint serve --config`: several listeners from one file, and everything that is
//! wrong with one told at once.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use crate::support::client::Client;
use crate::support::{Output, Run, Server, TestEnv, address_in, tool};

/// A certificate for `localhost` with its key, as `tls/cert.pem` and `tls/key.pem`, and
/// another key.
pub(crate) fn pair(env: &TestEnv) {
    for name in ["localhost", "other.test"] {
        let _ = env.certmint(["ca", "issue", name]).run().success();
    }
    let current = |id: &str, file: &str| env.read(format!("state/certs/{id}/current/{file}"));
    env.write("tls/cert.pem", current("localhost", "fullchain.pem"));
    env.write("tls/key.pem", current("localhost", "privkey.pem"));
    env.write("tls/other.pem", current("other.test", "privkey.pem"));
}

pub(crate) fn serve(env: &TestEnv, file: &Path) -> Run {
    env.certmint([Path::new("serve"), Path::new("--config"), file])
}

/// Starts and waits until `count` listeners serve; their addresses by scheme and name.
pub(crate) fn started(run: Run, count: usize) -> (Server, Vec<(String, SocketAddr)>) {
    let mut server = run.spawn();
    let mut lines = Vec::new();
    for _ in 0..count {
        let line = server.await_line("serving http");
        let address = address_in(&line).unwrap();
        lines.push((line, address));
    }
    (server, lines)
}

/// The address in the line that has `needle`.
pub(crate) fn address(lines: &[(String, SocketAddr)], needle: &str) -> SocketAddr {
    let found = lines.iter().find(|(line, _)| line.contains(needle));
    found
        .unwrap_or_else(|| panic!("no {needle} in {lines:?}"))
        .1
}

fn check(env: &TestEnv, file: &Path) -> Output {
    serve(env, file).arg("--check-config").run()
}

#[test]
fn one_file_serves_listeners_of_different_modes() {
    let Some(curl) = tool("curl") else { return };
    let env = TestEnv::with_ca();
    pair(&env);
    env.write("site/index.html", "files\n");
    let file = env.write(
        "certmint.toml",
        r#"
admin = "127.0.0.1:0"

[[listener]]
mode = "ca"
names = ["minted.test", "localhost"]
https = "127.0.0.1:0"
http = "127.0.0.1:0"
root = "site"

[[listener]]
mode = "custom"
cert = "tls/cert.pem"
key = "tls/key.pem"
https = "127.0.0.1:0"
max-body = "1MiB"
rate-limit = "50/s burst 100"

[[listener]]
mode = "insecure"
http = "127.0.0.1:0"
root = "site"
"#,
    );
    let fine = check(&env, &file).success();
    assert_eq!(
        fine.stdout(),
        format!("{}: fine, 3 listeners\n", file.display())
    );
    let mut server = serve(&env, &file).spawn();
    let redirect = server.await_address("sends clients to https");
    let admin = server.await_address("answers /health");
    let mut lines = Vec::new();
    for _ in 0..3 {
        let line = server.await_line("serving http");
        let address = address_in(&line).unwrap();
        lines.push((line, address));
    }
    let root = env.state().join("ca/root.pem");
    let minted = address(&lines, "minted.test");
    let custom = address(&lines, "https://127.0.0.1");
    let mut https: BTreeSet<_> = lines.iter().filter(|(l, _)| l.contains("https")).collect();
    https.retain(|(_, address)| *address != minted);
    let custom = https.iter().next().map_or(custom, |(_, address)| *address);
    let plain = address(&lines, "http://");
    let files = Client::new(&root, minted, "minted.test");
    assert!(files.connect().unwrap().get("/").ends_with("files\n"));
    let page = Client::new(&root, custom, "localhost");
    assert!(page.connect().unwrap().get("/").contains("localhost"));
    let get = |url: String, args: &[&str]| {
        let out = env.command(&curl, ["-sS", "--max-time", "20", &url]);
        out.args(args).run().success().stdout().to_owned()
    };
    assert_eq!(get(format!("http://{plain}/"), &[]), "files\n");
    assert_eq!(
        get(format!("http://{admin}/ready"), &[]),
        "200 OK: serving\n"
    );
    let told = get(
        format!("http://{redirect}/x?y"),
        &[
            "-H",
            "Host: minted.test",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{redirect_url}",
        ],
    );
    assert_eq!(
        told,
        format!("301 https://minted.test:{}/x?y", minted.port())
    );
    let _ = server.terminate().success();
}

/// A bad file, and what is said of it: a line and words for each problem.
type Bad<'a> = (&'a str, &'a [(usize, &'a str)]);

const BAD: &[Bad<'_>] = &[
    ("", &[(1, "there is no listener")]),
    ("[[listener]\n", &[(1, "this is no TOML")]),
    (
        "a = 1\na = 2\n\n\nb = \n",
        &[(2, "this is no TOML"), (5, "this is no TOML")],
    ),
    ("listener = 5\n", &[(1, "write `[[listener]]`")]),
    (
        "upstream = \"http://a.test\"\nadmn = \"off\"\nuser = 5\n[[listener]]\nmode = \"insecure\"\n",
        &[
            (1, "`upstream` is for a listener"),
            (2, "is `admin` meant?"),
            (3, "`user` is a text"),
        ],
    ),
    (
        "[[listener]]\nhttp = \"127.0.0.1:0\"\n[[listener]]\nmode = \"tls\"\n",
        &[(1, "no `mode`"), (4, "one of ca, acme, custom, insecure")],
    ),
    (
        "[[listener]]\nmode = \"insecure\"\nhsts = \"1d\"\nupstrem = \"http://a.test\"\nevents = \"stdout\"\ncolour = 1\n",
        &[
            (3, "`hsts` is for mode ca, acme, custom, not for insecure"),
            (4, "is `upstream` meant?"),
            (5, "`events` is for the whole server"),
            (6, "`colour` is not known"),
        ],
    ),
    (
        "[[listener]]\nmode = \"custom\"\nhttps = \"localhost:1\"\nmax-connections = \"5\"\nmax-body = 5\nidle-timeout = \"0s\"\nrate-limit = \"50\"\n",
        &[
            (1, "`cert` is missing"),
            (1, "`key` is missing"),
            (3, "write `127.0.0.1:1`"),
            (4, "`max-connections` is a number"),
            (5, "`max-body` is a text"),
            (6, "no time at all"),
            (7, "write `50/s`"),
        ],
    ),
    (
        "[[listener]]\nmode = \"ca\"\nnames = [\"a.test\", \"-\"]\ndays = 826\nkey-type = \"dsa\"\nhttp = [\"off\"]\nallow-remote = 1\nclient-auth = \"always\"\n",
        &[
            (3, "`names`: `-`"),
            (4, "`days`: 826 is not in 1..=825"),
            (5, "`key-type`: "),
            (6, "`http` takes one value"),
            (7, "`allow-remote` is for mode insecure"),
            (8, "`always` is none of require, request, fingerprint"),
        ],
    ),
    (
        "[[listener]]\nmode = \"insecure\"\nroot = \"site\"\nupstream = \"http://a.test\"\n",
        &[(4, "`root` and `upstream` contradict each other")],
    ),
    (
        "[[listener]]\nmode = \"insecure\"\nhttp = \"0.0.0.0:1\"\nallow-remote = \"yes\"\n[[listener]]\nmode = \"insecure\"\nhttp = \"0.0.0.0:1\"\nupstream-ca = \"x\"\ntrusted-proxy = \"10.0.0.0/8\"\n",
        &[
            (4, "write `allow-remote = true`"),
            (8, "`upstream-ca` is for https upstreams"),
            (9, "`trusted-proxy` is about what an upstream is told"),
        ],
    ),
    (
        "[[listener]]\nmode = \"insecure\"\nhttp = \"0.0.0.0:81\"\n[[listener]]\nmode = \"insecure\"\nhttp = \"127.0.0.1:81\"\n",
        &[
            (3, "plain http on 0.0.0.0:81"),
            (6, "127.0.0.1:81 is taken: line 3"),
        ],
    ),
    (
        "[[listener]]\nmode = \"ca\"\nnames = \"a.test\"\nclient-ca = \"tls/cert.pem\"\nallow-fingerprint = \"ed25519:AAAA\"\n[[listener]]\nmode = \"ca\"\nnames = \"b.test\"\nclient-auth = \"require\"\nclient-ca = \"missing.pem\"\ncrl = [\"tls/key.pem\"]\n[[listener]]\nmode = \"ca\"\nnames = \"c.test\"\nhttps = \"127.0.0.1:8444\"\nclient-auth = \"fingerprint\"\n",
        &[
            (5, "not a client's fingerprint"),
            (10, "missing.pem"),
            (11, "is no revocation list"),
            (16, "`client-auth` fingerprint needs to know whom"),
        ],
    ),
    (
        "[[listener]]\nmode = \"ca\"\nnames = \"a.test\"\nclient-ca = \"tls/cert.pem\"\ncrl = \"x\"\n",
        &[(4, "`client-auth` require")],
    ),
    (
        "[[listener]]\nmode = \"custom\"\ncert = \"tls/cert.pem\"\nkey = \"tls/other.pem\"\nroot = \"nowhere\"\n[[listener]]\nmode = \"custom\"\nhttps = \"127.0.0.1:8444\"\ncert = \"tls/missing.pem\"\nkey = \"tls/key.pem\"\n",
        &[(3, "tls/other.pem"), (5, "nowhere"), (9, "tls/missing.pem")],
    ),
    #[cfg(feature = "acme")]
    (
        "[[listener]]\nmode = \"acme\"\nnames = [\"*.a.test\"]\n[[listener]]\nmode = \"acme\"\nnames = \"a.test\"\ndirectory = \"letsencrypt\"\nhttps = \"[::]:444\"\nhttp = \"off\"\nchallenge = \"http-01\"\n[dns.zone]\nprovider = \"rfc2136\"\n",
        &[
            (1, "`directory` is missing"),
            (9, "nobody would answer http-01: `http` is off"),
            (11, "`dns.zone` has no `server`"),
        ],
    ),
];

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_line() {
    let env = TestEnv::with_ca();
    pair(&env);
    for (text, expected) in BAD {
        let file = env.write("bad.toml", text);
        for args in [&["--check-config"][..], &[]] {
            let out = serve(&env, &file).args(args).run().code(2);
            let said = out.stderr();
            let place = format!("{}:", file.display());
            let problems: Vec<&str> = said.lines().filter(|l| l.contains(&place)).collect();
            for (line, words) in *expected {
                let place = format!("{place}{line}: ");
                let found = problems
                    .iter()
                    .any(|p| p.contains(&place) && p.contains(words));
                assert!(found, "no `{place}…{words}` of\n{text}\nin\n{said}");
            }
            let lines: BTreeSet<_> = expected.iter().map(|(line, _)| line).collect();
            let places = lines.iter().map(|line| format!("{place}{line}: "));
            let places: Vec<String> = places.collect();
            let unexpected = problems
                .iter()
                .find(|p| !places.iter().any(|at| p.contains(at)));
            assert_eq!(unexpected, None, "of\n{text}");
            assert!(
                !said.contains("serving") && out.stdout().is_empty(),
                "{said}"
            );
        }
    }
    let missing = env.path("missing.toml");
    let out = check(&env, &missing).code(2);
    assert!(
        out.stderr().contains("missing.toml:1: "),
        "{}",
        out.stderr()
    );
}

#[test]
fn a_check_binds_nothing_and_issues_nothing() {
    let env = TestEnv::with_ca();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "[[listener]]\nmode = \"ca\"\nnames = \"a.test\"\nhttps = \"{}\"\n",
        taken.local_addr().unwrap()
    );
    let file = env.write("c.toml", text);
    let out = check(&env, &file).success();
    assert!(
        out.stdout().ends_with(": fine, 1 listener\n"),
        "{}",
        out.stdout()
    );
    assert!(!env.state().join("certs/a.test").exists());
    // Serving needs the port: one that is taken keeps all from starting.
    let out = serve(&env, &file).run().code(1);
    assert!(
        out.stderr().contains("another program listens"),
        "{}",
        out.stderr()
    );
}

#[test]
fn flags_win_over_the_file_and_paths_are_taken_from_where_it_stands() {
    let env = TestEnv::with_ca();
    env.write("conf/site/index.html", "beside the file\n");
    let file = env.write(
        "conf/c.toml",
        "home = \"elsewhere\"\nadmin = \"192.0.2.1:1\"\n[[listener]]\nmode = \"insecure\"\nhttp = \"127.0.0.1:0\"\nroot = \"site\"\n",
    );
    let run = serve(&env, &file).args(["--admin", "127.0.0.1:0"]);
    let mut server = run.current_dir(env.path("tmp")).spawn();
    server.await_address("answers /health");
    let plain = server.await_address("serving http://");
    if let Some(curl) = tool("curl") {
        let url = format!("http://{plain}/");
        let out = env.command(curl, ["-sS", &url]).run().success();
        assert_eq!(out.stdout(), "beside the file\n");
    }
    let _ = server.terminate().success();
}

/// Flags of a command `serve-…` as its help names them.
fn flags(env: &TestEnv, command: &str) -> BTreeSet<String> {
    let help = env.certmint([command, "--help"]).run().success();
    let words = help.stdout().split_whitespace();
    let flags = words.filter_map(|word| word.strip_prefix("--"));
    let name = |flag: &str| {
        flag.trim_end_matches(|c: char| !c.is_ascii_lowercase())
            .to_owned()
    };
    flags.map(name).collect()
}

#[test]
fn every_flag_of_a_listener_is_a_key_and_every_key_a_flag() {
    let env = TestEnv::new();
    let above = ["admin", "admin-socket", "access-log", "events", "user"];
    let actions = [
        "init",
        "help",
        "version",
        "home",
        "quiet",
        "verbose",
        "color",
        "log-format",
    ];
    for mode in ["ca", "acme", "custom", "insecure"] {
        let mut flags = flags(&env, &format!("serve-{mode}"));
        for above in above {
            assert!(flags.remove(above), "`serve-{mode}` has no --{above}");
        }
        for action in actions {
            flags.remove(action);
        }
        // What is known is told of a key that is not.
        let text = format!("[[listener]]\nmode = \"{mode}\"\nxxxxxxxxxxxxxxxxxxxx = 1\n");
        let file = env.write("c.toml", text);
        let out = check(&env, &file).code(2);
        let said = out.stderr().split("known are ").nth(1).unwrap();
        let said = said.lines().next().unwrap();
        let mut keys: BTreeSet<String> = said.split(", ").map(str::to_owned).collect();
        keys.remove("names");
        assert_eq!(keys, flags, "{mode}");
    }
    let file = env.write(
        "c.toml",
        "xxxxxxxxxxxxxxxxxxxx = 1\n[[listener]]\nmode = \"insecure\"\n",
    );
    let out = check(&env, &file).code(2);
    for key in above {
        assert!(out.stderr().contains(key), "{key}: {}", out.stderr());
    }
}
