//! `certmint serve-acme` against Pebble: every row of its start-up table, what is seen
//! while it provisions, and that it goes on serving whatever becomes of the CA.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use certmint::bundle::Certificate;
use serde_json::Value;

use crate::support::bind::{Bind, KEY_256};
use crate::support::client::Client;
use crate::support::pebble::{Options, Pebble, free_port};
use crate::support::{Run, TestEnv, faketime, libfaketime, tool};

pub(crate) const REPLACED: &str = "certificate replaced";
pub(crate) const READY: &str = "serving https://";

/// Longer than anything here may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// The way to Pebble, which can be shut: then every connection is refused, and those
/// that there were are cut, lest a client that kept one goes on.
pub(crate) struct Gate {
    port: u16,
    /// Who is let through; nobody while it is shut.
    through: Arc<Mutex<Option<Vec<TcpStream>>>>,
    /// Connections so far, refused ones among them.
    taken: Arc<AtomicUsize>,
}

impl Gate {
    fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let gate = Self {
            port: listener.local_addr().unwrap().port(),
            through: Arc::new(Mutex::new(Some(Vec::new()))),
            taken: Arc::default(),
        };
        let (through, taken) = (Arc::clone(&gate.through), Arc::clone(&gate.taken));
        thread::spawn(move || {
            for client in listener.incoming() {
                taken.fetch_add(1, Ordering::SeqCst);
                let mut through = through.lock().unwrap();
                let (Ok(client), Some(through)) = (client, through.as_mut()) else {
                    continue;
                };
                if let Ok(to) = TcpStream::connect(("127.0.0.1", port)) {
                    join(&client, &to);
                    join(&to, &client);
                    through.push(client);
                }
            }
        });
        gate
    }

    pub(crate) fn shut(&self) {
        for client in self.through.lock().unwrap().take().into_iter().flatten() {
            // It may have left.
            client.shutdown(Shutdown::Both).ok();
        }
    }

    pub(crate) fn unshut(&self) {
        *self.through.lock().unwrap() = Some(Vec::new());
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

fn join(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    thread::spawn(move || {
        io::copy(&mut from, &mut to).ok();
        to.shutdown(Shutdown::Write).ok();
    });
}

/// A CA, the way to it, and an environment for servers.
pub(crate) struct Scene {
    pub(crate) env: TestEnv,
    pub(crate) pebble: Pebble,
    pub(crate) gate: Gate,
    root: PathBuf,
}

impl Scene {
    #[track_caller]
    pub(crate) fn start(options: Options) -> Option<Self> {
        let _ = tool("curl")?;
        let env = TestEnv::new();
        let pebble = Pebble::start(&env, options)?;
        let port = pebble.directory_url.rsplit(':').next().unwrap();
        let gate = Gate::to(port.trim_end_matches("/dir").parse().unwrap());
        let root = env.write("pebble-root.pem", pebble.root(&env));
        Some(Self {
            env,
            pebble,
            gate,
            root,
        })
    }

    pub(crate) fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.gate.port)
    }

    pub(crate) fn http(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.pebble.options.http_port))
    }

    pub(crate) fn https(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.pebble.options.tls_port))
    }

    /// A server whose ports are those that Pebble looks at.
    pub(crate) fn serve(&self, args: &[&str]) -> Run {
        let (http, https) = (self.http().to_string(), self.https().to_string());
        self.serve_on(&["--http", &http, "--https", &https])
            .args(args)
    }

    fn serve_on(&self, args: &[&str]) -> Run {
        self.env
            .certmint(["serve-acme", "--agree-tos", "--email", "ada@example.com"])
            .args(["--directory", &self.directory()])
            .arg("--ca-file")
            .arg(&self.pebble.ca_file)
            .args(args)
    }

    pub(crate) fn client(&self, name: &str) -> Client {
        Client::new(&self.root, self.https(), name)
    }

    /// What curl gets in plain HTTP for `host`, head and body in small letters.
    pub(crate) fn get(&self, host: &str, url: &str) -> String {
        let curl = tool("curl").unwrap();
        let host = format!("host: {host}");
        let args = ["-si", "--max-time", "20", "-H", &host, url];
        let out = self.env.command(curl, args).run().success();
        out.stdout().to_ascii_lowercase()
    }

    /// What `openssl s_client` shows; it verifies nothing.
    pub(crate) fn s_client(&self, name: &str, more: &[&str]) -> String {
        let address = self.https().to_string();
        let args = ["s_client", "-connect", &address, "-servername", name];
        let out = self.env.command(tool("openssl").unwrap(), args).args(more);
        let out = out.run();
        format!("{}{}", out.stdout(), out.stderr())
    }

    fn account(&self) -> String {
        let dir = fs::read_dir(self.env.state().join("acme")).unwrap();
        let account = dir.map(|entry| entry.unwrap().path().join("account.json"));
        let account: Vec<_> = account.filter(|path| path.exists()).collect();
        assert_eq!(account.len(), 1, "{account:?}");
        fs::read_to_string(&account[0]).unwrap()
    }
}

fn record(home: &Path, id: &str) -> Value {
    let path = home.join("certs").join(id).join("current/cert.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Makes a server look at its certificate now rather than within the minute.
fn poke(scene: &Scene, id: &str) {
    let dir = scene.env.state().join("certs").join(id).join("current");
    fs::write(dir.join("poke"), "").unwrap();
    fs::remove_file(dir.join("poke")).unwrap();
}

/// A name server that answers nobody, so that a validation never ends.
struct Abyss(UdpSocket);

impl Abyss {
    fn open() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn options(&self) -> Options {
        Options {
            dns_server: Some(self.0.local_addr().unwrap()),
            ..Options::default()
        }
    }

    /// Waits until the CA asks for a name: it validates, so a challenge is open.
    fn await_validation(&self) {
        let mut query = [0; 512];
        self.0.recv(&mut query).unwrap();
    }
}

/// A service manager's end of `NOTIFY_SOCKET`.
struct Manager(UnixDatagram, PathBuf);

impl Manager {
    fn listen(env: &TestEnv) -> Self {
        let path = env.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket, path)
    }

    fn told(&self) -> String {
        let mut message = [0; 512];
        let length = self.0.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    }

    /// What it is told once the start is over.
    fn told_at_last(&self) -> String {
        let mut told = self.told();
        while told.starts_with("EXTEND_TIMEOUT_USEC=") {
            told = self.told();
        }
        told
    }
}

#[test]
fn a_first_start_obtains_through_its_own_ports_and_a_restart_reuses_it_all() {
    let Some(scene) = Scene::start(Options::default()) else {
        return;
    };
    let manager = Manager::listen(&scene.env);
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port())).to_string();
    let start = || {
        let names = ["a.test", "b.test", "127.0.0.1", "--admin", &admin];
        let run = scene.serve(&names).env("NOTIFY_SOCKET", &manager.1);
        let mut server = run.spawn();
        let line = server.await_line(READY);
        assert!(line.contains(&scene.https().to_string()), "{line}");
        server
    };
    let server = start();
    let serials: BTreeSet<String> = ["a.test", "b.test", "127.0.0.1"]
        .map(|name| scene.client(name).serial())
        .into();
    assert_eq!(serials.len(), 1, "one certificate for all names");
    let page = scene.client("a.test").connect().unwrap().get("/");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    // Clients whose name is not served are told so.
    assert!(scene.s_client("c.test", &[]).contains("unrecognized name"));
    let moved = scene.get("b.test", &format!("http://{}/x", scene.http()));
    let location = format!("location: https://b.test:{}/x", scene.https().port());
    assert!(moved.contains(&location), "{moved}");
    for path in ["health", "ready"] {
        let answer = scene.get("lb", &format!("http://{admin}/{path}"));
        assert!(answer.contains(" 200 ok"), "{answer}");
    }
    assert!(
        scene
            .get("lb", &format!("http://{admin}/"))
            .contains(" 404 ")
    );

    let told = manager.told();
    assert!(told.starts_with("EXTEND_TIMEOUT_USEC="), "{told}");
    assert!(manager.told_at_last().starts_with("READY=1\n"));
    let out = server.terminate().success();
    assert_eq!(out.stdout(), "");
    assert!(manager.told().starts_with("STOPPING=1"));

    let account = scene.account();
    assert!(account.contains("ada@example.com"));
    let server = start();
    assert!(manager.told_at_last().starts_with("READY=1\n"));
    assert_eq!(BTreeSet::from([scene.client("a.test").serial()]), serials);
    let _ = server.terminate().success();
    assert_eq!(scene.account(), account);

    let record = record(&scene.env.state(), "a.test");
    let issuer = &record["issuer"];
    for (key, want) in [
        ("kind", "acme"),
        ("directory", &scene.directory()),
        ("http", &scene.http().to_string()),
        ("https", &scene.https().to_string()),
        ("ca-file", scene.pebble.ca_file.to_str().unwrap()),
    ] {
        assert_eq!(issuer[key], want, "{key} in {record}");
    }
    assert_eq!(issuer["contact"][0], "ada@example.com");
}

#[test]
fn while_it_provisions_it_answers_challenges_alone_and_a_stop_leaves_nothing() {
    let abyss = Abyss::open();
    let Some(scene) = Scene::start(abyss.options()) else {
        return;
    };
    let Some(_) = tool("openssl") else { return };
    let manager = Manager::listen(&scene.env);
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port())).to_string();
    let run = scene.serve(&["a.test", "--admin", &admin]);
    let server = run.env("NOTIFY_SOCKET", &manager.1).spawn();
    abyss.await_validation();
    let has = |text: &str, needle: &str| assert!(text.contains(needle), "no `{needle}` in {text}");

    let validation = scene.s_client("a.test", &["-alpn", "acme-tls/1"]);
    has(&validation, "ALPN protocol: acme-tls/1");
    for (name, more) in [
        ("a.test", &[][..]),
        ("a.test", &["-alpn", "h2,http/1.1"]),
        ("b.test", &["-alpn", "acme-tls/1"]),
    ] {
        has(&scene.s_client(name, more), "unrecognized name");
    }
    for path in ["", ".well-known/acme-challenge/0123456789abcdef"] {
        let plain = scene.get("a.test", &format!("http://{}/{path}", scene.http()));
        for needle in [" 503 ", "retry-after: ", "cache-control: no-store"] {
            has(&plain, needle);
        }
    }
    has(&scene.get("lb", &format!("http://{admin}/ready")), " 503 ");
    has(&scene.get("lb", &format!("http://{admin}/health")), " 200 ");
    assert!(manager.told().starts_with("EXTEND_TIMEOUT_USEC="));

    let begun = Instant::now();
    let out = server.terminate().success();
    assert!(begun.elapsed() < Duration::from_secs(10));
    has(out.stderr(), "stopped before there was a certificate");
    assert!(!out.stderr().contains("serving"), "{}", out.stderr());
    assert!(!out.stderr().contains("ERROR"), "{}", out.stderr());
    assert_eq!(manager.told_at_last(), "STOPPING=1", "never READY");
    let ids = fs::read_dir(scene.env.state().join("certs"));
    assert_eq!(ids.map_or(0, Iterator::count), 0);

    // What lies in files of others is taken back as well.
    let webroot = scene.env.path("www");
    fs::create_dir(&webroot).unwrap();
    let server = scene
        .serve(&["a.test", "--webroot", webroot.to_str().unwrap()])
        .spawn();
    let tokens = webroot.join(".well-known/acme-challenge");
    let until = Instant::now() + PATIENCE;
    while fs::read_dir(&tokens).map_or(0, Iterator::count) == 0 {
        assert!(Instant::now() < until, "no token in {}", tokens.display());
        thread::sleep(Duration::from_millis(10));
    }
    let _ = server.terminate().success();
    assert_eq!(fs::read_dir(&webroot).unwrap().count(), 0);
}

#[test]
fn control_is_shown_in_every_way_and_http_01_stands_in() {
    let Some(bind) = Bind::start() else { return };
    let options = Options {
        dns_server: Some(bind.address()),
        ..Options::default()
    };
    let Some(scene) = Scene::start(options) else {
        return;
    };
    let (name, algorithm, secret) = KEY_256;
    let credentials = scene.env.write(
        "dns.toml",
        format!(
            "[dns.bind]\nprovider = \"rfc2136\"\nserver = \"{}\"\nkey-name = \"{name}\"\n\
             algorithm = \"{algorithm}\"\nsecret = \"env:TSIG_SECRET\"\n",
            bind.address()
        ),
    );
    let chmod = ["600", credentials.to_str().unwrap()];
    let _ = scene.env.command("/bin/chmod", chmod).run().success();
    let (http, https) = (scene.http().to_string(), scene.https().to_string());
    let elsewhere = SocketAddr::from(([127, 0, 0, 1], free_port())).to_string();
    let server = bind.address().to_string();
    for (name, args) in [
        (
            "tls.example.test",
            &["--http", "off", "--https", &https][..],
        ),
        (
            "http.example.test",
            &[
                "--challenge",
                "http-01",
                "--http",
                &http,
                "--https",
                &elsewhere,
            ],
        ),
        // Nobody answers tls-alpn-01 where the CA looks.
        (
            "both.example.test",
            &["--http", &http, "--https", &elsewhere],
        ),
        (
            "*.example.test",
            &[
                "--dns",
                "bind",
                "--dns-file",
                credentials.to_str().unwrap(),
                "--dns-server",
                &server,
                "--http",
                "off",
                "--https",
                &elsewhere,
            ],
        ),
    ] {
        let run = scene.serve_on(&[name]).args(args);
        let mut server = run.env("TSIG_SECRET", secret).spawn();
        let address = server.await_address(READY);
        let asked = name.replace('*', "any");
        let client = Client::new(&scene.root, address, &asked);
        assert!(client.connect().is_ok(), "{name}");
        let _ = server.terminate().success();
    }
    assert!(bind.txt("_acme-challenge.example.test").is_empty());
    let tls = record(&scene.env.state(), "tls.example.test");
    assert_eq!(tls["issuer"]["challenge"], "tls-alpn-01", "{tls}");
    let dns = record(&scene.env.state(), "_wildcard.example.test");
    assert_eq!(dns["issuer"]["dns"], "bind", "{dns}");
    assert!(!dns.to_string().contains(secret));
}

/// A start that must fail: one error with all that is known, and no socket left.
#[track_caller]
fn fails(scene: &Scene, run: Run, words: &[&str]) -> String {
    let out = run.run().code(1);
    let said = out.stderr().to_owned();
    assert_eq!(said.matches("error: ").count(), 1, "{said}");
    for never in ["serving", "still at work"] {
        assert!(!said.contains(never), "{said}");
    }
    for word in words {
        assert!(said.contains(word), "no `{word}` in {said}");
    }
    assert!(TcpStream::connect(scene.https()).is_err());
    said
}

#[test]
fn without_a_certificate_a_start_tries_until_its_deadline_and_fails() {
    let Some(scene) = Scene::start(Options::default()) else {
        return;
    };
    let none = "error: there is no valid certificate for `a.test`, and none could be issued";
    let directory = scene.directory();
    let begun = Instant::now();
    scene.gate.shut();
    let run = scene.serve(&["a.test", "--start-timeout", "8s"]);
    let said = fails(&scene, run, &[none, " within 8 s", &directory, "hint: "]);
    assert!(begun.elapsed() < Duration::from_secs(20), "{said}");
    assert!(scene.gate.taken() > 1, "it tries more than once");

    // One that comes up within the deadline is as good as one that was there.
    let mut server = scene.serve(&["a.test"]).spawn();
    server.await_line("trying again in");
    scene.gate.unshut();
    server.await_line(READY);
    assert!(scene.client("a.test").connect().is_ok());
    let _ = server.terminate().success();
}

#[test]
fn what_will_not_pass_ends_a_start_at_once() {
    let Some(scene) = Scene::start(Options::default()) else {
        return;
    };
    let begun = Instant::now();
    let refused = scene.serve(&["www.blocked"]);
    let none = "error: there is no valid certificate for `www.blocked`";
    let problem = "rejectedIdentifier";
    let directory = scene.directory();
    fails(&scene, refused, &[none, &directory, problem, "hint: "]);
    // A service manager would start it again and again.
    let again = fails(&scene, scene.serve(&["www.blocked"]), &[problem]);
    assert!(again.contains("waiting until"), "{again}");

    let (ca, http, https) = (
        scene.pebble.ca_file.to_str().unwrap(),
        scene.http().to_string(),
        scene.https().to_string(),
    );
    let ports = ["--http", &http, "--https", &https];
    let base = ["serve-acme", "a.test", "--directory", &directory];
    let home = scene.env.path("other");
    let fresh = |args: &[&str]| {
        let run = scene.env.certmint(base).args(ports).args(args);
        run.env("CERTMINT_HOME", &home)
    };
    fails(&scene, fresh(&["--ca-file", ca]), &["--agree-tos"]);
    fails(&scene, fresh(&[]), &["localhost", "--ca-file"]);
    assert!(begun.elapsed() < PATIENCE, "at once, not at the deadline");
    // What can be seen before anybody is asked.
    for (args, words) in [
        (
            &["--challenge", "http-01", "--http", "off"][..],
            "--webroot",
        ),
        (&["--challenge", "dns-01"], "--dns"),
    ] {
        let out = scene.serve_on(args).arg("a.test").run().code(2);
        assert!(out.stderr().contains(words), "{}", out.stderr());
    }
    let required = scene.env.certmint(["serve-acme", "a.test"]).run().code(2);
    assert!(required.stderr().contains("--directory"));
}

#[test]
fn a_valid_certificate_is_served_at_once_whatever_became_of_the_ca() {
    let Some(due) = faketime("+61d") else { return };
    let Some(expired) = faketime("+91d") else {
        return;
    };
    let Some(scene) = Scene::start(Options::default()) else {
        return;
    };
    let mut server = scene.serve(&["a.test"]).spawn();
    server.await_line(READY);
    let serial = scene.client("a.test").serial();
    let _ = server.terminate().success();

    scene.gate.shut();
    let mut server = scene.serve(&["a.test"]).under(due).spawn();
    server.await_line(READY);
    assert_eq!(scene.client("a.test").serial(), serial);
    let line = server.await_line("renewal failed; serving on");
    assert!(line.contains("WARN") && line.contains("a.test"), "{line}");
    assert_eq!(scene.client("a.test").serial(), serial);
    let _ = server.terminate().success();

    let run = scene.serve(&["a.test", "--start-timeout", "6s"]);
    let words = [
        "it expired at",
        "there is no valid certificate for `a.test`",
    ];
    fails(&scene, run.under(expired), &words);
}

#[test]
fn an_expired_certificate_is_replaced_before_anything_is_served() {
    let options = Options {
        validity: 4,
        ..Options::default()
    };
    let Some(scene) = Scene::start(options) else {
        return;
    };
    let mut server = scene.serve(&["a.test"]).spawn();
    server.await_line(READY);
    scene.gate.shut();
    // Killed, not stopped.
    drop(server);
    let current = scene.env.state().join("certs/a.test/current/cert.pem");
    let leaf = Certificate::parse_pem(&fs::read(current).unwrap()).unwrap();
    let [leaf] = &leaf[..] else {
        panic!("{leaf:?}")
    };
    // Clocks tick in seconds.
    while time::OffsetDateTime::now_utc() < leaf.not_after() + Duration::from_secs(1) {
        thread::sleep(Duration::from_millis(50));
    }
    scene.gate.unshut();
    let mut server = scene.serve(&["a.test"]).spawn();
    server.await_line("it expired at");
    server.await_line(READY);
    assert_ne!(scene.client("a.test").serial(), leaf.serial_hex());
    let _ = server.terminate().success();
}

#[test]
fn once_serving_it_serves_on_and_renews_when_the_ca_is_back() {
    let Some(library) = libfaketime() else { return };
    let Some(scene) = Scene::start(Options::default()) else {
        return;
    };
    let clock = scene.env.write("clock", "+0");
    let run = scene.serve(&["a.test"]);
    let mut server = run
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", &clock)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .spawn();
    server.await_line(READY);
    let client = scene.client("a.test");
    let serial = client.serial();
    let now_is = |moved: &str| {
        fs::write(&clock, moved).unwrap();
        poke(&scene, "a.test");
    };
    scene.gate.shut();
    now_is("+61d");
    let line = server.await_line("renewal failed; serving on");
    assert!(line.contains("WARN"), "{line}");
    let attempts = scene.env.read("state/certs/a.test/attempts.json");
    let attempts: Value = serde_json::from_str(&attempts).unwrap();
    assert_eq!(attempts["failures"], 1, "{attempts}");
    assert!(attempts["not-before"].is_string(), "{attempts}");
    assert_eq!(client.serial(), serial);
    now_is("+91d");
    let line = server.await_line("the certificate served has expired");
    assert!(line.contains("ERROR") && line.contains("a.test"), "{line}");
    // Two hours later.
    now_is("+2186h");
    server.await_line("the certificate served has expired");
    assert_eq!(client.serial(), serial, "it serves on");
    let mut open = client.connect().unwrap();
    scene.gate.unshut();
    // The clock was wrong: by the right one it is due, and the CA is there.
    now_is("+62d");
    server.await_line(REPLACED);
    assert_ne!(client.serial(), serial);
    assert!(
        open.get("/").starts_with("HTTP/1.1 200"),
        "connections live on"
    );
    let _ = server.terminate().success();
}

#[test]
fn renewals_under_load_cost_no_handshake() {
    let options = Options {
        validity: 8,
        ..Options::default()
    };
    let Some(scene) = Scene::start(options) else {
        return;
    };
    let mut server = scene.serve(&["a.test"]).spawn();
    server.await_line(READY);
    let client = scene.client("a.test");
    let mut known = BTreeSet::from([client.serial()]);
    let over = AtomicBool::new(false);
    let seen: BTreeSet<String> = thread::scope(|scope| {
        let connect = || {
            let mut seen = BTreeSet::new();
            let mut count = 0_usize;
            while !over.load(Ordering::SeqCst) {
                let mut connection = client.connect().expect("no handshake fails");
                seen.insert(connection.serial());
                count += 1;
                if count.is_multiple_of(10) {
                    assert!(connection.get("/").starts_with("HTTP/1.1 200"));
                }
            }
            (seen, count)
        };
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(connect)).collect();
        for _ in 0..3 {
            let line = server.await_line(REPLACED);
            let serial = line.split("serial=").nth(1).unwrap();
            let serial = serial.split_whitespace().next().unwrap();
            known.insert(serial.trim_matches('"').to_owned());
        }
        // Until the newest is what everybody gets.
        while !known.contains(&client.serial()) {
            thread::yield_now();
        }
        over.store(true, Ordering::SeqCst);
        let seen = clients.into_iter().map(|thread| thread.join().unwrap());
        seen.fold(BTreeSet::new(), |mut all, (seen, count)| {
            assert!(count > 20, "{count}");
            all.extend(seen);
            all
        })
    });
    assert_eq!(known.len(), 4);
    assert!(
        seen.len() >= 3 && seen.is_subset(&known),
        "{seen:?} {known:?}"
    );
    let out = server.terminate().success();
    assert!(!out.stderr().contains("WARN"), "{}", out.stderr());
}

#[test]
fn other_settings_are_served_at_once_and_ordered_behind_it() {
    let Some(scene) = Scene::start(Options::default()) else {
        return;
    };
    let start = |args: &[&str]| {
        let mut server = scene.serve(args).spawn();
        server.await_line(READY);
        server
    };
    let ordered = |scene: &Scene| record(&scene.env.state(), "a.test")["issuer"].clone();
    let server = start(&["a.test", "b.test"]);
    let first = scene.client("b.test").serial();
    let _ = server.terminate().success();

    // Nothing to order, but to be remembered for the next renewal.
    let server = start(&["a.test", "b.test", "--email", "eve@example.com"]);
    let until = Instant::now() + PATIENCE;
    while !ordered(&scene).to_string().contains("eve@example.com") {
        assert!(Instant::now() < until, "{}", ordered(&scene));
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(scene.client("b.test").serial(), first);
    let _ = server.terminate().success();

    // It covers the one name that is left: served, and replaced.
    let mut server = start(&["a.test", "--key-type", "p384"]);
    server.await_line(REPLACED);
    let leaf = scene.client("a.test").connect().unwrap().leaf();
    assert_eq!(leaf.names().len(), 1);
    assert!(
        leaf.key_description().contains("P-384"),
        "{}",
        leaf.key_description()
    );
    assert!(scene.client("b.test").connect().is_err());
    let _ = server.terminate().success();

    // It does not cover one more: nothing is served before that is there.
    let server = start(&["a.test", "c.test", "--key-type", "p384"]);
    assert_ne!(scene.client("c.test").serial(), leaf.serial_hex());
    let _ = server.terminate().success();

    // Another CA takes nothing over.
    let run = scene.env.certmint(["serve-acme", "a.test"]).args([
        "--directory",
        "letsencrypt-staging",
        "--http",
        "off",
        "--https",
        &scene.https().to_string(),
    ]);
    fails(&scene, run, &["already belongs to", "--cache-dir"]);
}

#[test]
fn one_server_keeps_a_certificate_and_a_second_needs_its_own_directory() {
    let Some(scene) = Scene::start(Options::default()) else {
        return;
    };
    let mut server = scene.serve(&["a.test"]).spawn();
    server.await_line(READY);
    let serial = scene.client("a.test").serial();
    let elsewhere = || SocketAddr::from(([127, 0, 0, 1], free_port())).to_string();
    let second = || {
        let ports = ["--http", "off", "--https", &elsewhere()];
        scene.serve_on(&["a.test"]).args(ports)
    };
    let out = second().run().code(1);
    for words in ["another server keeps", "`a.test`", "--cache-dir"] {
        assert!(out.stderr().contains(words), "{}", out.stderr());
    }
    // Nor does a renewal from outside take its ports.
    let renewed = scene.env.certmint(["renew", "--json"]).run().success();
    let renewed: Value = serde_json::from_str(renewed.stdout()).unwrap();
    assert_eq!(renewed["certificates"][0]["result"], "kept", "{renewed}");
    let forced = scene.env.certmint(["renew", "--force"]).run().code(1);
    assert!(
        forced.stderr().contains("running server"),
        "{}",
        forced.stderr()
    );
    assert_eq!(scene.client("a.test").serial(), serial);
    // The certificate of another directory, by the account that is there already; its
    // challenge is answered by the first server's port, which knows nothing of it.
    let cache = scene.env.path("cache");
    let account = scene.account();
    let args = [
        "--cache-dir",
        cache.to_str().unwrap(),
        "--start-timeout",
        "5s",
    ];
    let out = second().args(args).run().code(1);
    assert!(out.stderr().contains("by tls-alpn-01"), "{}", out.stderr());
    let _ = server.terminate().success();
    let mut server = scene.serve(&["a.test"]).args(&args[..2]).spawn();
    server.await_line(READY);
    assert_ne!(scene.client("a.test").serial(), serial);
    assert!(cache.join("certs/a.test/current").exists());
    assert_eq!(scene.account(), account);
    let _ = server.terminate().success();
}

#[test]
fn a_start_that_comes_to_nothing_ends_in_order() {
    let env = TestEnv::new();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = format!("https://{}/dir", nobody.local_addr().unwrap());
    drop(nobody);
    let socket = env.path("admin.sock");
    let start = |timeout: &str| {
        let run = env
            .certmint(["serve-acme", "a.test", "--agree-tos"])
            .args(["--directory", &directory, "--start-timeout", timeout])
            .args(["--http", "127.0.0.1:0", "--https", "127.0.0.1:0"])
            .args(["--admin-socket", socket.to_str().unwrap()])
            .args(["--events", "events"]);
        let mut server = run.spawn();
        server.await_line("trying again");
        assert!(socket.exists());
        server
    };
    let _ = start("4s").wait(PATIENCE).code(1);
    assert!(!socket.exists(), "left by a failed start");
    let _ = start("60s").terminate().success();
    assert!(!socket.exists(), "left by a start that was stopped");
    let events = env.read("events");
    let last = events.lines().last().unwrap();
    assert!(last.contains(r#""event":"stopped""#), "{events}");
}
