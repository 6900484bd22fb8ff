//! Certificates on demand, seen by real clients: what they are served with before, while
//! and after their certificate is made.
//!
//! How long making takes is up to the tests: a provision hook waits for them, or Pebble
//! is stopped.

#[cfg(feature = "acme")]
mod abuse;
#[cfg(feature = "acme")]
mod acme;
#[cfg(feature = "acme")]
mod ask;
mod gate;
mod lasting;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;

use serde_json::Value;

use crate::support::client::Client;
use crate::support::{Run, Server, TestEnv, tool};

/// A server of the private CA that makes certificates on demand.
struct Scene {
    env: TestEnv,
    server: Server,
    https: SocketAddr,
    http: SocketAddr,
    admin: SocketAddr,
}

impl Scene {
    #[track_caller]
    fn start(args: &[&str]) -> Option<Self> {
        Self::start_in(TestEnv::with_ca(), args)
    }

    #[track_caller]
    fn start_in(env: TestEnv, args: &[&str]) -> Option<Self> {
        let _ = (tool("curl")?, tool("openssl")?);
        Some(Self::of(private(&env).args(args), env))
    }

    /// One that is run like this.
    #[track_caller]
    fn of(run: Run, env: TestEnv) -> Self {
        let operation = ["--admin", "127.0.0.1:0", "--events", "events"];
        let mut server = run.args(operation).spawn();
        let http = server.await_address("sends clients to https");
        let admin = server.await_address("answers /health");
        let https = server.await_address("serving https://");
        Self {
            env,
            server,
            https,
            http,
            admin,
        }
    }

    fn client(&self, name: &str) -> Client {
        let root = self.env.state().join("ca/root.pem");
        Client::new(&root, self.https, name)
    }

    /// What curl gets for a URL of `name`, head and body in small letters; it verifies
    /// nothing.
    fn curl(&self, scheme: &str, name: &str, more: &[&str]) -> String {
        let address = match scheme {
            "https" => self.https,
            _ => self.http,
        };
        let port = address.port();
        let resolve = format!("{name}:{port}:127.0.0.1");
        let url = format!("{scheme}://{name}:{port}/");
        let args = ["-skvi", "--max-time", "30", "--resolve", &resolve, &url];
        let out = self
            .env
            .command(tool("curl").unwrap(), args)
            .args(more)
            .run();
        format!("{}{}", out.stdout(), out.stderr()).to_ascii_lowercase()
    }

    /// What `openssl s_client` shows of a handshake; it verifies nothing.
    fn s_client(&self, name: &str, more: &[&str]) -> String {
        let address = self.https.to_string();
        let args = ["s_client", "-connect", &address, "-servername", name];
        let out = self.env.command(tool("openssl").unwrap(), args).args(more);
        let out = out.stdin("").run();
        format!("{}{}", out.stdout(), out.stderr())
    }

    /// The events so far that are about certificates: name, domain.
    fn events(&self) -> Vec<(String, Value)> {
        events(&self.env)
    }

    fn event_names(&self) -> Vec<String> {
        self.events().into_iter().map(|(name, _)| name).collect()
    }

    /// A counter of the metrics.
    fn decisions(&self, decision: &str) -> u64 {
        let sample = format!("certmint_on_demand_decisions_total{{decision=\"{decision}\"}} ");
        self.metric(&sample)
    }

    fn metric(&self, sample: &str) -> u64 {
        let url = format!("http://{}/metrics", self.admin);
        let curl = tool("curl").unwrap();
        let out = self.env.command(curl, ["-sf", &url]).run().success();
        let value = out
            .stdout()
            .lines()
            .find_map(|line| line.strip_prefix(sample));
        value
            .unwrap_or_else(|| panic!("no {sample}in {}", out.stdout()))
            .parse()
            .unwrap()
    }

    /// Lets go whoever waits for [`waiting_hook`].
    fn open_the_hook(&self) {
        self.env.write("go", "");
    }
}

fn private(env: &TestEnv) -> Run {
    let addresses = ["--https", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    env.certmint(["serve-ca", "--on-demand"]).args(addresses)
}

/// A provision hook that has nothing to give, and says so once the test lets it.
const WAITING_HOOK: &str = "/bin/sh -c 'while [ ! -e go ]; do sleep 0.05; done; echo acme'";

fn events(env: &TestEnv) -> Vec<(String, Value)> {
    let text = fs::read_to_string(env.path("events")).unwrap_or_default();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| (line["event"].as_str().unwrap().to_owned(), line))
        .filter(|(name, _)| name.starts_with("certificate-"))
        .collect()
}

fn kept(env: &TestEnv, name: &str) -> PathBuf {
    env.state().join("certs").join(format!("_on-demand.{name}"))
}

/// Whether `text` has every one of `needles`.
#[track_caller]
fn has(text: &str, needles: &[&str]) {
    for needle in needles {
        assert!(text.contains(needle), "no `{needle}` in {text}");
    }
}

#[test]
fn the_first_client_is_served_with_its_own_certificate_and_the_next_start_has_it() {
    let Some(scene) = Scene::start(&[]) else {
        return;
    };
    let serial = scene.client("a.test").serial();
    assert_eq!(scene.client("A.Test").serial(), serial);
    assert_ne!(scene.client("b.test").serial(), serial);
    let page = scene.client("a.test").connect().unwrap().get("/");
    has(&page, &["HTTP/1.1 200"]);
    let names = scene.event_names();
    let once = ["certificate-requested", "certificate-issued"];
    assert_eq!(names, [once, once].concat());
    let (_, issued) = &scene.events()[1];
    for (field, value) in [
        ("domain", "a.test"),
        ("source", "private"),
        ("serial", &serial),
    ] {
        assert_eq!(issued[field], value, "{issued}");
    }
    assert_eq!(issued["is_renewal"], false);
    assert_eq!(
        (scene.decisions("requested"), scene.decisions("loaded")),
        (2, 0)
    );
    let Scene { env, server, .. } = scene;
    has(
        server.terminate().success().stderr(),
        &[
            "`--allow` says for which",
            "having a certificate made",
            "served from now on",
        ],
    );

    let Some(scene) = Scene::start_in(env, &[]) else {
        return;
    };
    assert_eq!(scene.client("a.test").serial(), serial);
    assert_eq!(
        (scene.decisions("requested"), scene.decisions("loaded")),
        (0, 1)
    );
    assert_eq!(scene.event_names(), names);
}

#[test]
fn while_it_is_made_a_placeholder_is_served_that_leads_nowhere() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    upstream.set_nonblocking(true).unwrap();
    let url = format!("http://{}", upstream.local_addr().unwrap());
    let args = ["--on-miss", "placeholder", "--provision-hook", WAITING_HOOK];
    let site = ["--upstream", &url, "--hsts", "365d"];
    let Some(scene) = Scene::start(&[args.as_slice(), &site].concat()) else {
        return;
    };
    let shown = scene.s_client("a.test", &["-tls1_3", "-ign_eof"]);
    has(&shown, &["certmint placeholder"]);
    assert!(!shown.contains("New Session Ticket"), "{shown}");
    let shown = scene.s_client("a.test", &["-tls1_2"]);
    has(&shown, &["certmint placeholder"]);
    assert!(!shown.contains("TLS session ticket"), "{shown}");
    for version in ["--http1.1", "--http2"] {
        let answer = scene.curl("https", "a.test", &[version]);
        has(
            &answer,
            &[
                " 503",
                "retry-after: 5",
                "cache-control: no-store",
                "certificate issuance in progress",
            ],
        );
        assert!(!answer.contains("strict-transport-security"), "{answer}");
        // Two requests on one connection: the second finds it closed, when it comes after
        // the goodbye; HTTP/2 says that beside the answer.
        let again = format!("https://a.test:{}/again", scene.https.port());
        let both = scene.curl("https", "a.test", &[version, "--rate", "1/s", &again]);
        assert_eq!(both.matches("connected to ").count(), 2, "{both}");
    }
    let plain = scene.curl("http", "a.test", &[]);
    has(
        &plain,
        &[
            " 503 ",
            "retry-after: 5",
            "cache-control: no-store",
            "certificate issuance in progress",
        ],
    );
    assert!(upstream.accept().is_err(), "the upstream was asked");
    assert!(
        scene.metric(&format!(
            "certmint_tls_handshakes_total{{listener=\"{}\",outcome=\"placeholder\"}} ",
            scene.https
        )) >= 6
    );
    assert_eq!(scene.event_names(), ["certificate-requested"]);

    scene.open_the_hook();
    let mut scene = scene;
    scene.server.await_line("served from now on");
    let leaf = scene.client("a.test").connect().unwrap().leaf();
    assert_eq!(leaf.display_name(), "a.test");
    assert!(
        scene
            .s_client("a.test", &["-tls1_3", "-ign_eof"])
            .contains("New Session Ticket")
    );
    let moved = scene.curl("http", "a.test", &[]);
    let location = format!("location: https://a.test:{}/", scene.https.port());
    has(&moved, &[" 301 ", &location]);
    assert_eq!(
        scene.event_names(),
        ["certificate-requested", "certificate-issued"]
    );
}

#[test]
fn the_plain_port_begins_too_and_a_handshake_waits_or_is_refused_as_told() {
    let hook = ["--provision-hook", WAITING_HOOK];
    let Some(mut scene) = Scene::start(&[hook.as_slice(), &["--on-miss", "reject"]].concat())
    else {
        return;
    };
    has(&scene.curl("http", "a.test", &[]), &[" 503 "]);
    let (_, requested) = &scene.events()[0];
    assert_eq!(
        (&requested["domain"], &requested["trigger"]),
        (&"a.test".into(), &"http".into())
    );
    has(&scene.s_client("a.test", &[]), &["unrecognized name"]);
    scene.open_the_hook();
    scene.server.await_line("served from now on");
    assert_eq!(
        scene
            .client("a.test")
            .connect()
            .unwrap()
            .leaf()
            .display_name(),
        "a.test"
    );
    let _ = scene.server.terminate().success();

    let args = ["--on-miss", "wait", "--handshake-timeout", "4s"];
    let env = TestEnv::with_ca();
    let Some(mut scene) = Scene::start_in(env, &[hook.as_slice(), &args].concat()) else {
        return;
    };
    // Not for ever: the placeholder, while it goes on being made.
    has(&scene.s_client("a.test", &[]), &["certmint placeholder"]);
    let waiting = scene.client("a.test");
    let waiting = std::thread::spawn(move || waiting.serial());
    scene.open_the_hook();
    scene.server.await_line("served from now on");
    let serial = waiting.join().unwrap();
    assert_eq!(scene.client("a.test").serial(), serial);
    assert_eq!(
        scene.event_names(),
        ["certificate-requested", "certificate-issued"]
    );
}

#[test]
fn a_client_that_leaves_stops_nothing_and_a_stop_does() {
    let args = ["--on-miss", "wait", "--provision-hook", WAITING_HOOK];
    let Some(mut scene) = Scene::start(&args) else {
        return;
    };
    let client = scene.client("a.test");
    let handshake = {
        let stream = TcpStream::connect(client.address()).unwrap();
        crate::support::client::send_hello(&stream, "a.test");
        stream
    };
    scene.server.await_line("having a certificate made");
    drop(handshake);
    scene.open_the_hook();
    scene.server.await_line("served from now on");
    assert_eq!(
        scene
            .client("a.test")
            .connect()
            .unwrap()
            .leaf()
            .display_name(),
        "a.test"
    );
    fs::remove_file(scene.env.path("go")).unwrap();

    let stream = TcpStream::connect(client.address()).unwrap();
    crate::support::client::send_hello(&stream, "b.test");
    scene.server.await_line("having a certificate made");
    let Scene { env, server, .. } = scene;
    let begun = std::time::Instant::now();
    let _ = server.terminate().success();
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    assert!(!kept(&env, "b.test").exists());
    assert!(kept(&env, "a.test").exists());
}

#[test]
fn names_that_are_known_from_the_start_are_served_beside() {
    let Some(scene) = Scene::start(&["known.test", "--allow", "*.lab.test"]) else {
        return;
    };
    assert_eq!(
        scene
            .client("known.test")
            .connect()
            .unwrap()
            .leaf()
            .display_name(),
        "known.test"
    );
    assert_eq!(
        scene
            .client("a.lab.test")
            .connect()
            .unwrap()
            .leaf()
            .display_name(),
        "a.lab.test"
    );
    has(&scene.s_client("other.test", &[]), &["unrecognized name"]);
    let none = scene.env.command(
        tool("openssl").unwrap(),
        ["s_client", "-noservername", "-connect"],
    );
    let none = none.arg(scene.https.to_string()).stdin("").run();
    has(none.stderr(), &["unrecognized name"]);
    assert!(!kept(&scene.env, "known.test").exists());
}

#[test]
fn the_placeholder_can_be_the_operators() {
    let env = TestEnv::with_ca();
    let args = ["ca", "issue", "fallback.test", "--out", "fallback"];
    let _ = env.certmint(args).run().success();
    let files = env.path("fallback");
    let (cert, key) = (files.join("fullchain.pem"), files.join("privkey.pem"));
    let args = [
        "--on-miss",
        "placeholder",
        "--provision-hook",
        WAITING_HOOK,
        "--default-cert",
    ];
    let both = [
        cert.to_str().unwrap(),
        "--default-key",
        key.to_str().unwrap(),
    ];
    let Some(scene) = Scene::start_in(env, &[args.as_slice(), &both].concat()) else {
        return;
    };
    has(&scene.s_client("a.test", &[]), &["CN = fallback.test"]);
    has(&scene.curl("https", "a.test", &[]), &[" 503"]);
}

/// Rows of the table that do not depend on who issues nor on how it is asked for.
#[track_caller]
fn rows(mut scene: Scene, scheme: &str) {
    let (pending, refused, issued) = match scheme {
        "https" => (" 503", "unrecognized name", " 200"),
        _ => (" 503 service", " 421 misdirected", " 301 moved"),
    };
    let trigger = if scheme == "https" { "tls" } else { "http" };
    let see = |name: &str, needle: &str| has(&scene.curl(scheme, name, &[]), &[needle]);
    // Not allowed, and no name at all.
    see("stranger.test", refused);
    see("a.b.lab.test", refused);
    // Unknown, then pending.
    for _ in 0..3 {
        see("a.lab.test", pending);
    }
    assert_eq!(
        scene.event_names(),
        ["certificate-rejected", "certificate-requested"]
    );
    let events = scene.events();
    for (n, name) in ["stranger.test", "a.lab.test"].into_iter().enumerate() {
        assert_eq!(events[n].1["domain"], name, "{events:?}");
        assert_eq!(events[n].1["trigger"], trigger, "{events:?}");
    }
    assert!(
        events[0].1["error"]
            .as_str()
            .unwrap()
            .contains("not among the names")
    );
    let counted = ["requested", "coalesced", "refused_not_listed"].map(|d| scene.decisions(d));
    assert_eq!(counted, [1, 2, 2]);
    scene.open_the_hook();
    scene.server.await_line("served from now on");
    // Issued: from the very next connection.
    has(&scene.curl(scheme, "a.lab.test", &[]), &[issued]);
    assert!(!scene.s_client("a.lab.test", &[]).contains("placeholder"));
    assert_eq!(scene.event_names().pop().unwrap(), "certificate-issued");
    let log = scene.server.terminate().success();
    has(
        log.stderr(),
        &[
            "no certificate is made",
            "having a certificate made",
            "served from now on",
        ],
    );
}

#[test]
fn the_rows_of_the_table_hold_with_the_private_ca_over_either_port() {
    for scheme in ["https", "http"] {
        let args = [
            "--on-miss",
            "placeholder",
            "--allow",
            "*.lab.test",
            "--provision-hook",
            WAITING_HOOK,
        ];
        let Some(scene) = Scene::start(&args) else {
            return;
        };
        rows(scene, scheme);
    }
}

#[cfg(feature = "acme")]
#[test]
fn the_rows_of_the_table_hold_with_an_acme_ca_over_either_port() {
    for scheme in ["https", "http"] {
        let Some(world) = acme::World::allowing("*.lab.test") else {
            return;
        };
        let (scene, _pebble) = world.serve(&["--provision-hook", WAITING_HOOK]);
        rows(scene, scheme);
    }
}
