//! Certificates of a public CA under a server at work: listeners that come by a reload,
//! renewals as they are told, and a stop in the middle of one.

use std::fs;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::serve_acme::{PATIENCE, READY, REPLACED, Scene};
use crate::serve_config::{pair, serve, started};
use crate::support::client::Client;
use crate::support::dns::Dns;
use crate::support::pebble::{Options, free_port};
use crate::support::{Server, TestEnv, faketime, tool};

const READ: &str = "the settings are read again";

/// A listener that serves files of others.
const OTHER: &str = "[[listener]]\nmode = \"custom\"\ncert = \"tls/cert.pem\"\nkey = \"tls/key.pem\"\nhttps = \"127.0.0.1:0\"\n";

/// A listener on the ports that the CA looks at.
fn public(scene: &Scene, names: &[&str], more: &str) -> String {
    format!(
        "[[listener]]\nmode = \"acme\"\nnames = {names:?}\nhttps = \"{}\"\nhttp = \"{}\"\n\
         directory = \"{}\"\nca-file = \"{}\"\nagree-tos = true\n{more}\n",
        scene.https(),
        scene.http(),
        scene.directory(),
        scene.pebble.ca_file.display(),
    )
}

/// A server with `above` and the listener [`OTHER`], and a client of that.
fn start_with_other(env: &TestEnv, file: &Path, above: &str) -> (Server, Client) {
    let _ = env.certmint(["ca", "init"]).run().success();
    pair(env);
    fs::write(file, format!("{above}{OTHER}")).unwrap();
    let (server, lines) = started(serve(env, file), 1);
    let root = env.state().join("ca/root.pem");
    (server, Client::new(&root, lines[0].1, "localhost"))
}

#[track_caller]
fn is_served(client: &Client) {
    let page = client.connect().unwrap().get("/");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
}

/// Tells other threads of the end, also of one by a failure.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What is noted as presented to a CA, and the locks of those who noted it.
fn presented(env: &TestEnv) -> usize {
    let Ok(dir) = fs::read_dir(env.state().join("acme/presented")) else {
        return 0;
    };
    // That one stays.
    dir.filter(|entry| entry.as_ref().unwrap().file_name() != "sweep.lock")
        .count()
}

#[test]
fn listeners_of_a_public_ca_come_change_and_go_and_the_others_notice_nothing() {
    let Some(scene) = Scene::start(Options::default()) else {
        return;
    };
    let file = scene.env.path("c.toml");
    let (mut server, other) = start_with_other(&scene.env, &file, "");
    let reload = |server: &Server, listeners: &str| {
        fs::write(&file, format!("{OTHER}{listeners}")).unwrap();
        server.signal(Signal::HUP);
    };
    let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let hammer = |kept: bool| {
            let mut connection = other.connect().unwrap();
            while !over.load(Ordering::SeqCst) {
                if !kept {
                    connection = other.connect().unwrap();
                }
                let answer = connection.get("/");
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                asked.fetch_add(1, Ordering::SeqCst);
            }
        };
        for kept in [true, false] {
            scope.spawn(move || hammer(kept));
        }
        let _ending = Ending(&over);
        reload(&server, &public(&scene, &["a.test"], ""));
        let line = server.await_line(READY);
        assert!(line.contains(&scene.https().to_string()), "{line}");
        let first = scene.client("a.test").serial();
        is_served(&scene.client("a.test"));
        let moved = scene.get("a.test", &format!("http://{}/", scene.http()));
        assert!(moved.contains(" 301 "), "{moved}");

        // Another first name is another certificate.
        reload(&server, &public(&scene, &["b.test", "a.test"], ""));
        server.await_line(READ);
        let until = Instant::now() + PATIENCE;
        while scene.client("b.test").connect().is_err() {
            assert!(Instant::now() < until, "b.test is never served");
            thread::sleep(Duration::from_millis(20));
        }
        assert_ne!(scene.client("a.test").serial(), first);

        // The same certificate with another name waits for a restart, and says so.
        reload(&server, &public(&scene, &["b.test", "c.test"], ""));
        server.await_line("takes effect at the next start");
        server.await_line(READ);
        is_served(&scene.client("b.test"));

        reload(&server, "");
        server.await_line(READ);
        for gone in [scene.https(), scene.http()] {
            let until = Instant::now() + PATIENCE;
            while TcpStream::connect(gone).is_ok() {
                assert!(Instant::now() < until, "{gone} listens on");
                thread::sleep(Duration::from_millis(20));
            }
        }
    });
    assert!(asked.into_inner() > 20);
    let out = server.terminate().success();
    assert!(!out.stderr().contains("ERROR"), "{}", out.stderr());
    assert_eq!(presented(&scene.env), 0);
}

#[test]
fn a_listener_that_a_reload_brought_is_tried_again_without_another() {
    let Some(scene) = Scene::start(Options::default()) else {
        return;
    };
    let Some(_) = tool("openssl") else { return };
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let above = format!("admin = \"{admin}\"\nadmin-socket = \"admin.sock\"\n");
    let file = scene.env.path("c.toml");
    let (mut server, other) = start_with_other(&scene.env, &file, &above);
    let metric = |name: &str| {
        let all = scene.get("lb", &format!("http://{admin}/metrics"));
        let line = all.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {all}"))
            .trim()
            .to_owned()
    };
    scene.gate.shut();
    let listener = public(&scene, &["a.test"], "start-timeout = \"8s\"");
    fs::write(&file, format!("{above}{OTHER}{listener}")).unwrap();
    server.signal(Signal::HUP);
    server.await_line(READ);
    let line = server.await_line("a new listener is not served yet; trying again at");
    assert!(line.contains("ERROR") && line.contains("a.test"), "{line}");

    // As while a server starts: challenges, and nothing else.
    let refused = scene.s_client("a.test", &[]);
    assert!(refused.contains("unrecognized name"), "{refused}");
    let plain = scene.get("a.test", &format!("http://{}/", scene.http()));
    assert!(plain.contains(" 503 "), "{plain}");
    is_served(&other);
    let ready = scene.get("lb", &format!("http://{admin}/ready"));
    assert!(ready.contains(" 200 "), "the others are: {ready}");
    assert_eq!(metric("certmint_certificates_awaited "), "1");
    let curl = [
        "-sS",
        "--unix-socket",
        "admin.sock",
        "http://certmint/status",
    ];
    let status = scene.env.command(tool("curl").unwrap(), curl).run();
    let status: Value = serde_json::from_str(status.success().stdout()).unwrap();
    let awaited = &status["awaited"][0];
    assert_eq!(awaited["id"], "a.test", "{status}");
    assert!(awaited["error"].is_string(), "{status}");
    assert!(awaited["retry_at"].is_string(), "{status}");

    scene.gate.unshut();
    // The first pause of the ordinary backoff is a minute.
    let until = Instant::now() + Duration::from_secs(60) + PATIENCE;
    while scene.client("a.test").connect().is_err() {
        assert!(Instant::now() < until, "it is never served");
        thread::sleep(Duration::from_millis(200));
    }
    let line = server.await_line(READY);
    assert!(line.contains("a.test"), "{line}");
    assert_eq!(metric("certmint_certificates_awaited "), "0");
    let _ = server.terminate().success();
}

#[test]
fn a_renewal_is_told_in_events_and_metrics() {
    let options = Options {
        validity: 24,
        ..Options::default()
    };
    let Some(scene) = Scene::start(options) else {
        return;
    };
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port())).to_string();
    let mut server = scene
        .serve(&["a.test", "--admin", &admin, "--events", "events"])
        .spawn();
    server.await_line(READY);
    server.await_line(REPLACED);
    let leaf = scene.client("a.test").connect().unwrap().leaf();
    let metrics = scene.get("lb", &format!("http://{admin}/metrics"));
    for sample in [
        "certmint_certificate_swaps_total 1".to_owned(),
        "certmint_issuances_total{result=\"issued\"} 1".to_owned(),
        "certmint_issuances_total{result=\"renewed\"} 1".to_owned(),
        format!(
            "certmint_certificate_not_after_seconds{{id=\"a.test\"}} {}",
            leaf.not_after().unix_timestamp()
        ),
    ] {
        let found = metrics.lines().any(|line| line == sample);
        assert!(found, "no `{sample}` in {metrics}");
    }
    let _ = server.terminate().success();
    let events = scene.env.read("events");
    let events: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |name: &str, serial: &str| {
        let told = events.iter().filter(|event| event["event"] == name);
        told.filter(|event| event["serial"] == serial).count()
    };
    let serial = leaf.serial_hex();
    for name in ["certificate-renewed", "certificate-swapped"] {
        assert_eq!(of(name, &serial), 1, "{name} of {serial} in {events:?}");
    }
    assert_eq!(of("certificate-issued", &serial), 0, "{events:?}");
}

/// The way to a name server, which can be closed: then nobody is answered.
struct Relay {
    address: SocketAddr,
    closed: Arc<AtomicBool>,
}

impl Relay {
    fn to(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let relay = Self {
            address: socket.local_addr().unwrap(),
            closed: Arc::default(),
        };
        let closed = Arc::clone(&relay.closed);
        thread::spawn(move || {
            let mut message = [0; 4096];
            while let Ok((length, client)) = socket.recv_from(&mut message) {
                if closed.load(Ordering::SeqCst) {
                    continue;
                }
                let on = UdpSocket::bind("127.0.0.1:0").unwrap();
                on.set_read_timeout(Some(PATIENCE)).unwrap();
                on.send_to(&message[..length], server).ok();
                if let Ok(length) = on.recv(&mut message) {
                    socket.send_to(&message[..length], client).ok();
                }
            }
        });
        relay
    }
}

#[test]
fn a_stop_in_the_middle_of_a_renewal_leaves_nothing_behind() {
    let Some(due) = faketime("+61d") else { return };
    let dns = Dns::start();
    let relay = Relay::to(dns.address);
    let options = Options {
        dns_server: Some(relay.address),
        ..Options::default()
    };
    let Some(scene) = Scene::start(options) else {
        return;
    };
    let mut server = scene.serve(&["a.test"]).spawn();
    server.await_line(READY);
    let serial = scene.client("a.test").serial();
    let _ = server.terminate().success();

    // The CA never gets to look at what is presented for it.
    relay.closed.store(true, Ordering::SeqCst);
    let webroot = scene.env.path("www");
    fs::create_dir(&webroot).unwrap();
    let run = scene.serve(&["a.test", "--webroot", webroot.to_str().unwrap()]);
    let mut server = run.under(due.clone()).spawn();
    server.await_line(READY);
    let tokens = webroot.join(".well-known/acme-challenge");
    let until = Instant::now() + PATIENCE;
    while fs::read_dir(&tokens).map_or(0, Iterator::count) == 0 {
        assert!(Instant::now() < until, "no token in {}", tokens.display());
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(scene.client("a.test").serial(), serial);
    let begun = Instant::now();
    let out = server.terminate().success();
    assert!(begun.elapsed() < Duration::from_secs(30), "the drain limit");
    for never in ["still at work", "ERROR"] {
        assert!(!out.stderr().contains(never), "{}", out.stderr());
    }
    let left = fs::read_dir(&webroot).unwrap().count();
    assert_eq!(left, 0, "a token: {}", out.stderr());
    assert_eq!(presented(&scene.env), 0, "a note: {}", out.stderr());

    relay.closed.store(false, Ordering::SeqCst);
    let mut server = scene.serve(&["a.test"]).under(due).spawn();
    server.await_line(READY);
    server.await_line(REPLACED);
    assert_ne!(scene.client("a.test").serial(), serial);
    let out = server.terminate().success();
    assert!(!out.stderr().contains("taken back"), "{}", out.stderr());
    assert_eq!(presented(&scene.env), 0);
}
