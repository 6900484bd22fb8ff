//! What others may know of a server: metrics, the access log, events, and the sockets
//! that they are asked on.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use certmint::certificates::CertificateTable;
use certmint::clock::{Clock, SystemClock};
use certmint::event::{Event, Trigger};
use certmint::key::KeyType;
use certmint::server::{
    AdminSocket, AdminSocketError, Controls, Ended, LineFormat, Listener, Provisioning, Security,
    Server, Shutdown, Telemetry, metrics,
};
use certmint::settings::{Content, LogTarget};

use super::pki::Pki;
use super::site::{PATIENCE, anywhere, read_to_close, source};
use crate::support::{Output, TestEnv, tool};

/// A server with TLS, plain HTTP and an admin listener, and perhaps an admin socket.
struct Watched {
    tls: SocketAddr,
    plain: SocketAddr,
    admin: SocketAddr,
    shutdown: Shutdown,
    provisioning: Provisioning,
    telemetry: Telemetry,
    reloads: Arc<AtomicUsize>,
    thread: Option<JoinHandle<Ended>>,
}

impl Watched {
    fn start(telemetry: Telemetry, socket: Option<&Path>) -> Self {
        let bundle = Pki::new().leaf(KeyType::P256, &["localhost"]);
        let table = CertificateTable::strict();
        table
            .replace(source(), std::slice::from_ref(&bundle))
            .unwrap();
        telemetry.serves("localhost", bundle.leaf(), None);
        let provisioning = Provisioning::begun();
        let listener = |security| Listener {
            settings: anywhere(Content::Page),
            security,
        };
        let listeners = vec![
            listener(Security::Tls(Arc::new(table))),
            listener(Security::Plain),
            listener(Security::Admin(provisioning.clone())),
        ];
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let shutdown = Shutdown::new();
        let server = Server::bind(listeners, &clock, shutdown.clone(), &telemetry).unwrap();
        let [tls, plain, admin] = server.addresses()[..] else {
            panic!("three were asked for")
        };
        let reloads = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&reloads);
        let controls = Controls {
            telemetry: telemetry.clone(),
            provisioning: provisioning.clone(),
            shutdown: shutdown.clone(),
            // The second fails.
            reload: Arc::new(move || {
                let nth = counted.fetch_add(1, Ordering::SeqCst);
                Box::pin(async move {
                    match nth {
                        0 => Ok("reloaded".to_owned()),
                        _ => Err("line 3: no".to_owned()),
                    }
                })
            }),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let entered = runtime.enter();
        let socket = socket.map(|path| AdminSocket::bind(path).unwrap());
        drop(entered);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                let stopped = tokio_util::sync::CancellationToken::new();
                let until = stopped.clone();
                let answering = tokio::spawn(async move {
                    if let Some(socket) = socket {
                        socket.serve(controls, until.cancelled()).await;
                    }
                });
                let ended = server.run().await.unwrap();
                stopped.cancel();
                answering.await.unwrap();
                ended
            })
        });
        Self {
            tls,
            plain,
            admin,
            shutdown,
            provisioning,
            telemetry,
            reloads,
            thread: Some(thread),
        }
    }

    fn stop(&mut self) -> Ended {
        self.shutdown.stop();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.shutdown.force();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    read_to_close(&mut stream)
}

fn get(address: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    exchange(address, &request)
}

/// Refuses what Prometheus would, and what the documentation does not know. Returns
/// each sample's series and value.
fn parse(text: &str) -> Vec<(String, f64)> {
    assert!(text.ends_with('\n'));
    let (mut family, mut kind, mut samples) = (String::new(), "", Vec::new());
    let mut seen = BTreeSet::new();
    let mut series = BTreeSet::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split_once(' ').unwrap().0.to_owned();
            assert!(seen.insert(family.clone()), "twice: {line}");
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, found) = rest.split_once(' ').unwrap();
            assert_eq!(name, family);
            let known = metrics::FAMILIES.iter().find(|f| f.name == name).unwrap();
            kind = known.kind;
            assert_eq!(found, kind);
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        assert!(kind == "gauge" || value >= 0.0, "{line}");
        let labels = name.strip_prefix(&family).expect(line);
        let known = metrics::FAMILIES.iter().find(|f| f.name == family).unwrap();
        let mut names = Vec::new();
        if let Some(labels) = labels.strip_prefix('{') {
            let mut rest = labels.strip_suffix('}').expect(line);
            while !rest.is_empty() {
                let (label, after) = rest.split_once("=\"").expect(line);
                let end = after.find('"').expect(line);
                assert!(!after[..end].contains('\\'), "{line}");
                names.push(label.trim_start_matches(',').to_owned());
                rest = &after[end + 1..];
            }
        }
        assert_eq!(names, known.labels, "{line}");
        assert!(series.insert(name.to_owned()), "twice: {line}");
        samples.push((name.to_owned(), value));
    }
    let all: BTreeSet<String> = metrics::FAMILIES
        .iter()
        .map(|f| f.name.to_owned())
        .collect();
    assert_eq!(seen, all);
    samples
}

fn scrape(site: &Watched) -> Vec<(String, f64)> {
    let answer = get(site.admin, "/metrics");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    parse(body)
}

/// The sum of the samples whose series begins with `start` and contains all of `parts`.
fn sum(samples: &[(String, f64)], start: &str, parts: &[&str]) -> f64 {
    let fits =
        |series: &str| series.starts_with(start) && parts.iter().all(|part| series.contains(part));
    samples
        .iter()
        .filter(|(series, _)| fits(series))
        .map(|(_, value)| value)
        .sum()
}

#[test]
fn what_happens_is_counted_and_no_stranger_adds_a_series() {
    let site = Watched::start(Telemetry::default(), None);
    // Warm: the first scrape is a request as well.
    let _ = scrape(&site);
    let before = scrape(&site);
    let plain = format!("listener=\"{}\"", site.plain);
    for method in [
        "GET", "POST", "get", "EVIL\"{}", "other", "TRACE", "PROPFIND",
    ] {
        let request = format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let _ = exchange(site.plain, &request);
    }
    for n in 0..50 {
        let _ = exchange(
            site.plain,
            &format!("M{n} /{n} HTTP/1.1\r\nhost: h{n}.test\r\nconnection: close\r\n\r\n"),
        );
        let _ = get(site.plain, &format!("/{n}"));
    }
    // No TLS, plain HTTP on the port for TLS, and nothing at all.
    let _ = exchange(site.tls, "\x01\x02");
    let _ = get(site.tls, "/");
    drop(TcpStream::connect(site.tls).unwrap());
    let tls = format!("listener=\"{}\"", site.tls);
    let after = loop {
        let now = scrape(&site);
        if sum(&now, "certmint_tls_handshakes_total", &[&tls]) >= 3.0
            && sum(&now, "certmint_connections_open", &[&plain]) == 0.0
            && sum(&now, "certmint_http_requests_in_flight", &[&plain]) == 0.0
        {
            break now;
        }
        std::thread::yield_now();
    };
    for outcome in ["not_tls", "plain_http", "closed"] {
        let label = format!("outcome=\"{outcome}\"");
        assert_eq!(
            sum(&after, "certmint_tls_handshakes_total", &[&tls, &label]),
            1.0,
            "{outcome}"
        );
    }
    let requests = |method: &str| {
        let label = format!("method=\"{method}\"");
        sum(&after, "certmint_http_requests_total", &[&plain, &label])
    };
    assert_eq!((requests("GET"), requests("POST")), (51.0, 1.0));
    // 50, `get`, `other`, TRACE and PROPFIND; hyper refuses the quotation mark.
    assert_eq!(requests("other"), 54.0);
    assert_eq!(sum(&after, "certmint_connections_total", &[&plain]), 107.0);
    assert!(sum(&after, "certmint_http_answer_bytes_total", &[&plain]) > 5000.0);
    let series = |all: &[(String, f64)]| -> BTreeSet<String> {
        all.iter().map(|(series, _)| series.clone()).collect()
    };
    let new: BTreeSet<String> = series(&after)
        .difference(&series(&before))
        .cloned()
        .collect();
    assert!(
        new.iter().all(|series| series.contains("outcome=")) && new.len() == 3,
        "{new:?}"
    );
    let not_after = sum(
        &after,
        "certmint_certificate_not_after_seconds",
        &["id=\"localhost\""],
    );
    let not_before = sum(&after, "certmint_certificate_not_before_seconds", &[]);
    assert!(not_after > not_before && not_before > 0.0);
}

#[test]
fn the_text_is_as_promtool_wants_it() {
    let Some(promtool) = tool("promtool") else {
        return;
    };
    let env = TestEnv::new();
    let site = Watched::start(Telemetry::default(), None);
    let answer = get(site.admin, "/metrics");
    let text = answer.split_once("\r\n\r\n").unwrap().1;
    let checked = env.command(promtool, ["check", "metrics"]).stdin(text);
    let _ = checked.run().success();
}

#[test]
fn it_is_ready_only_between_the_first_certificate_and_the_stop() {
    let mut site = Watched::start(Telemetry::default(), None);
    assert!(get(site.admin, "/ready").starts_with("HTTP/1.1 503"));
    site.provisioning.finish();
    assert!(get(site.admin, "/ready").starts_with("HTTP/1.1 200"));
    // A connection that is open when the stop comes, so that there is somebody to tell.
    let mut stream = TcpStream::connect(site.admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\nexpect: 1\r\n")
        .unwrap();
    while !site
        .telemetry
        .metrics()
        .contains("certmint_connections_open{listener=\"")
    {
        std::thread::yield_now();
    }
    let address = format!("certmint_connections_open{{listener=\"{}\"}} 1", site.admin);
    while !site.telemetry.metrics().contains(&address) {
        std::thread::yield_now();
    }
    site.shutdown.stop();
    let _ = stream.write_all(b"\r\n");
    let mut answer = String::new();
    // Closed at once, or told: both keep traffic away.
    let _ = stream.read_to_string(&mut answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 503"),
        "{answer}"
    );
    let _ = site.stop();
}

#[test]
fn each_request_is_one_line_whatever_the_client_sends() {
    let Some(curl) = tool("curl") else { return };
    for format in [LineFormat::Text, LineFormat::Json] {
        let env = TestEnv::new();
        let (path, moved) = (env.path("access.log"), env.path("access.log.1"));
        let target = LogTarget::File(path.clone());
        let telemetry = Telemetry::new(Arc::new(SystemClock), Some(&target), None, format).unwrap();
        let site = Watched::start(telemetry.clone(), None);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let url = format!("https://localhost:{}/?b=%0a", site.tls.port());
        let secret = ["-H", "authorization: Bearer secret", "-H", "cookie: secret"];
        let args = ["-sSk", "--http2", "-A", "a\" \\ \u{e9}\t{\"x\":1}"];
        let args = args.iter().chain(&secret).copied().chain([url.as_str()]);
        let _ = env.command(curl.clone(), args).run().success();
        let hostile = "GET /\x7f\"' HTTP/1.1\r\nhost: x\r\nuser-agent: a\x1b[2J\r\n\r\n";
        let _ = exchange(site.plain, hostile);
        telemetry.settle();
        std::fs::rename(&path, &moved).unwrap();
        telemetry.reopen().unwrap();
        let _ = get(site.plain, "/after");
        // The line follows the last byte of the answer.
        let after = loop {
            telemetry.settle();
            let text = env.read("access.log");
            if !text.is_empty() {
                break text;
            }
        };
        let before = env.read("access.log.1");
        assert_eq!(
            (before.lines().count(), after.lines().count()),
            (1, 1),
            "{before}{after}"
        );
        assert!(
            before
                .bytes()
                .all(|b| b == b'\n' || (0x20..0x7f).contains(&b)),
            "{before}"
        );
        assert!(!before.contains("secret"), "{before}");
        match format {
            LineFormat::Text => {
                assert!(before.starts_with("127.0.0.1 - - ["), "{before}");
                assert!(before.contains("\"GET /?b=%0a HTTP/2.0\" 200 "), "{before}");
                assert!(
                    before.contains(r#""a\x22 \x5C \xC3\xA9\x09{\x22x\x22:1}""#),
                    "{before}"
                );
                assert!(before.contains(" tls=TLSv1.3 "), "{before}");
            }
            LineFormat::Json => {
                let line: serde_json::Value = serde_json::from_str(&before).unwrap();
                assert_eq!(line["target"], "/?b=%0a");
                assert_eq!(line["status"], 200);
                assert_eq!(line["tls"], "TLSv1.3");
                assert_eq!(line["listener"], site.tls.to_string());
                assert_eq!(line["host"], format!("localhost:{}", site.tls.port()));
            }
        }
    }
}

#[test]
fn events_are_lines_of_json_and_counted() {
    let env = TestEnv::new();
    let target = LogTarget::File(env.path("events"));
    let clock = Arc::new(SystemClock);
    let telemetry = Telemetry::new(clock, None, Some(&target), LineFormat::Text).unwrap();
    telemetry.emit(&Event::Reloaded);
    telemetry.emit(&Event::rejected("a\nb", Trigger::Tls, "not allowed"));
    telemetry.on_demand("refused_denied");
    telemetry.settle();
    let text = env.read("events");
    let events: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["event"], "reloaded");
    assert_eq!(events[1]["event"], "certificate-rejected");
    let samples = parse(&telemetry.metrics());
    assert_eq!(sum(&samples, "certmint_reloads_total", &["done"]), 1.0);
    let decisions = "certmint_on_demand_decisions_total";
    assert_eq!(sum(&samples, decisions, &["refused_denied"]), 1.0);
    assert!(telemetry.last_reload().unwrap().error.is_none());
}

fn ask(env: &TestEnv, socket: &Path, args: &[&str], path: &str) -> Output {
    let curl = tool("curl").unwrap();
    let socket = [
        "-sS",
        "-i",
        "--max-time",
        "20",
        "--unix-socket",
        socket.to_str().unwrap(),
    ];
    let url = format!("http://certmint{path}");
    let args = socket.iter().chain(args).copied().chain([url.as_str()]);
    env.command(curl, args).run()
}

#[test]
fn the_admin_socket_tells_and_acts() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let path = env.path("run/admin.sock");
    let mut site = Watched::start(Telemetry::default(), Some(&path));
    let mode = std::fs::metadata(&path).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
    let status = ask(&env, &path, &[], "/status").success();
    let body = status.stdout().split_once("\r\n\r\n").unwrap().1;
    let status: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(status["schema"], "certmint.server-status/1");
    assert_eq!(status["certificates"][0]["id"], "localhost");
    assert_eq!(status["listeners"][0]["address"], site.tls.to_string());
    assert_eq!(status["pid"], std::process::id());
    site.provisioning.finish();
    for (args, path_asked, expected) in [
        (&[][..], "/health", "200"),
        (&[], "/ready", "200"),
        (&[], "/nothing", "404"),
        (&[], "/reload", "405"),
        (&["-X", "POST"], "/status", "405"),
        (&["-X", "POST"], "/reload", "200"),
        (&["-X", "POST"], "/reload", "409"),
    ] {
        let out = ask(&env, &path, args, path_asked).success();
        let start = format!("HTTP/1.1 {expected} ");
        assert!(
            out.stdout().starts_with(&start),
            "{path_asked}: {}",
            out.stdout()
        );
    }
    assert_eq!(site.reloads.load(Ordering::SeqCst), 2);
    let metrics = ask(&env, &path, &[], "/metrics").success();
    let _ = parse(metrics.stdout().split_once("\r\n\r\n").unwrap().1);
    let stop = ask(&env, &path, &["-X", "POST"], "/stop").success();
    assert!(
        stop.stdout().starts_with("HTTP/1.1 202"),
        "{}",
        stop.stdout()
    );
    let thread = site.thread.take().unwrap();
    assert_eq!(thread.join().unwrap(), Ended::Drained);
    assert!(!path.exists(), "it is removed");
}

#[test]
fn a_dead_servers_socket_is_replaced_and_a_living_ones_is_not() {
    let env = TestEnv::new();
    let path = env.path("admin.sock");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    // A dead one's: the name is left, and nobody listens.
    drop(UnixListener::bind(&path).unwrap());
    let first = AdminSocket::bind(&path).unwrap();
    let error = AdminSocket::bind(&path).unwrap_err();
    assert!(matches!(error, AdminSocketError::Taken(_)), "{error}");
    drop(first);
    assert!(!path.exists());
    // Another program's, that lives.
    let other = UnixListener::bind(&path).unwrap();
    let error = AdminSocket::bind(&path).unwrap_err();
    assert!(matches!(error, AdminSocketError::Taken(_)), "{error}");
    drop(other);
    std::fs::remove_file(&path).unwrap();
    // What took its place is not removed.
    let ours = AdminSocket::bind(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(ours);
    assert!(path.exists());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    let error = AdminSocket::bind(&path).unwrap_err();
    assert!(matches!(error, AdminSocketError::NotASocket(_)), "{error}");
    assert_eq!(env.read("admin.sock"), "precious");
}

#[test]
fn another_user_is_turned_away_whatever_the_mode() {
    let (Some(setpriv), Some(curl)) = (tool("setpriv"), tool("curl")) else {
        return;
    };
    if !rustix::process::geteuid().is_root() {
        return crate::support::tools::skip("only root can become another user");
    }
    let env = TestEnv::new();
    let path = env.path("admin.sock");
    let _site = Watched::start(Telemetry::default(), Some(&path));
    let everybody = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    everybody(path.parent().unwrap(), 0o755);
    everybody(&path, 0o666);
    let _ = ask(&env, &path, &[], "/health").success();
    let (path, curl) = (path.to_str().unwrap(), curl.to_str().unwrap());
    let args = [
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        curl,
        "-sS",
        "-i",
    ];
    let args = args
        .into_iter()
        .chain(["--unix-socket", path, "http://x/status"]);
    let out = env.command(setpriv, args).run();
    assert!(
        !out.status().success() && out.stdout().is_empty(),
        "{}",
        out.stdout()
    );
}

#[test]
fn certmint_health_asks_by_address_and_by_socket() {
    let env = TestEnv::new();
    let path = env.path("admin.sock");
    let mut site = Watched::start(Telemetry::default(), Some(&path));
    let ready = format!("http://{}", site.admin);
    let health = format!("http://{}/health", site.admin);
    let socket = format!("unix:{}", path.display());
    for url in [&ready, &socket] {
        let out = env.certmint(["health", url]).run().code(4);
        assert!(
            out.stderr().contains("being obtained (503)"),
            "{}",
            out.stderr()
        );
    }
    let _ = env.certmint(["health", &health]).run().code(0);
    site.provisioning.finish();
    for url in [&ready, &socket] {
        let out = env.certmint(["health", url]).run().code(0);
        assert!(out.stdout().contains("serving"), "{}", out.stdout());
        let told = env.certmint(["health"]).env("CERTMINT_HEALTH_URL", url);
        let _ = told.run().code(0);
    }
    let _ = site.stop();
    for url in [&ready, &socket] {
        let out = env.certmint(["health", url]).run().code(4);
        assert!(
            out.stderr().contains("nobody answers at"),
            "{}",
            out.stderr()
        );
    }
    // Whoever accepts and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", mute.local_addr().unwrap());
    let out = env
        .certmint(["health", "--timeout", "1s", &url])
        .run()
        .code(4);
    assert!(
        out.stderr().contains("no answer within 1 s"),
        "{}",
        out.stderr()
    );
    let _ = env.certmint(["health", "https://x"]).run().code(2);
    let wrong = env
        .certmint(["health"])
        .env("CERTMINT_HEALTH_URL", "nonsense");
    let _ = wrong.run().code(2);
}

#[test]
fn the_documentation_is_what_the_tables_say() {
    let tables = [
        ("events.md", certmint::event::reference()),
        ("metrics.md", metrics::reference()),
    ];
    let rendered = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (name, text) in &tables {
        std::fs::write(rendered.join(name), text).unwrap();
    }
    for (name, text) in tables {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("docs")
            .join(name);
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        let (path, rendered) = (path.display(), rendered.join(name));
        let rendered = rendered.display();
        assert!(
            written == text,
            "{path} is out of date: copy {rendered} over it"
        );
    }
}
