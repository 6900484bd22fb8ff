//! Settings read again while a server serves: applied whole or not at all, and no
//! client notices.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};
use rustix::process::Signal;
use time::OffsetDateTime;

use crate::serve_config::{address, pair, serve, started};
use crate::serve_custom::{Mount, pairs};
use crate::support::client::Client;
use crate::support::{Server, TestEnv, say, tool};
use crate::swaps::{again_and_again, h2load_is_clean};

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
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
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

#[test]
fn an_address_that_overlaps_takes_the_place_of_the_other_in_one_reload() {
    /// More than the kernel keeps for a client that does not read.
    const LARGE: usize = 32 << 20;
    let env = env();
    env.write("one/large", vec![b'x'; LARGE]);
    let file = env.write("c.toml", custom("one", ""));
    let (mut server, lines) = started(serve(&env, &file), 1);
    let client = client(&env, lines[0].1);
    let port = lines[0].1.port();
    let on = |address: &str| {
        let text = custom("one", "").replace("127.0.0.1:0", &format!("{address}:{port}"));
        fs::write(&file, text).unwrap();
    };
    let mut addresses = vec!["0.0.0.0", "127.0.0.1"];
    if TcpListener::bind("[::1]:0").is_ok() {
        addresses.extend(["[::]", "0.0.0.0", "127.0.0.1"]);
    }
    for address in addresses {
        let mut open = client.connect().unwrap();
        open.ask("/large").unwrap();
        on(address);
        let said = reload(&mut server, READ);
        assert!(said.contains("1 new, 1 closed"), "{address}: {said}");
        assert!(shows(&client, "one"), "{address}");
        let answer = open.answer().unwrap();
        assert!(answer.len() > LARGE, "what was open is drained: {address}");
    }
    // What fails all the same leaves the old one listening.
    let _other = TcpListener::bind(("127.0.0.2", port)).unwrap();
    on("0.0.0.0");
    server.signal(Signal::HUP);
    let line = server.await_line("listens again");
    assert!(line.contains(&format!("127.0.0.1:{port}")), "{line}");
    server.await_line("another program listens");
    server.await_line(KEPT);
    for _ in 0..3 {
        assert!(shows(&client, "one"));
    }
    let _ = server.terminate().success();
}

#[test]
fn h2load_fails_at_nothing_while_settings_and_certificates_change() {
    const RELOADS: usize = 24;
    let Some(h2load) = tool("h2load") else { return };
    let env = TestEnv::new();
    let (pairs, root) = pairs(&env, 2);
    let mount = Mount::new(&env, &pairs[0]);
    let upstreams = ["one", "two"].map(|site| {
        env.write(format!("{site}/index.html"), format!("site {site}\n"));
        let args = ["serve-insecure", "--http", "127.0.0.1:0", "--root", site];
        let mut server = env.certmint(args).spawn();
        let address = server.await_address("serving http://");
        (server, address)
    });
    let settings = |n: usize| {
        let upstream = upstreams[n % 2].1;
        let mut text = format!(
            "[[listener]]\nmode = \"custom\"\ncert = \"secret/tls.crt\"\nkey = \"secret/tls.key\"\n\
             https = \"127.0.0.1:0\"\nupstream = \"http://{upstream}\"\n"
        );
        if n % 3 == 1 {
            text.push_str("[[listener]]\nmode = \"insecure\"\nhttp = \"127.0.0.1:0\"\n");
        }
        text
    };
    let file = env.write("c.toml", settings(0));
    let (mut server, lines) = started(serve(&env, &file), 1);
    let client = Client::new(&root, lines[0].1, "localhost");
    let url = format!("https://localhost:{}/", lines[0].1.port());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let args = ["-n1000", "-c8", "-m4", &url];
        let (env, stop) = (&env, &stop);
        let load = scope.spawn(move || again_and_again(env, &h2load, &args, h2load_is_clean, stop));
        for n in 1..=RELOADS {
            let pair = &pairs[n % 2];
            mount.swap(n, pair);
            fs::write(&file, settings(n)).unwrap();
            reload(&mut server, READ);
            assert!(shows(&client, ["one", "two"][n % 2]), "{n}");
        }
        stop.store(true, Ordering::SeqCst);
        let runs = load.join().unwrap();
        assert!(runs > 0);
        say(&format!("{RELOADS} reloads: h2load ran {runs} times"));
    });
    let out = server.terminate().success();
    assert!(!out.stderr().contains("ERROR"), "{}", out.stderr());
}

/// An authority of clients, and a list of its from `begin` to `end`, in days from now.
fn list(env: &TestEnv, begin: i64, end: i64) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap();
    env.write("clients.pem", root.pem());
    let day = |days| OffsetDateTime::now_utc() + time::Duration::days(days);
    let list = rcgen::CertificateRevocationListParams {
        this_update: day(begin),
        next_update: day(end),
        crl_number: rcgen::SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let issuer = rcgen::Issuer::new(params, key);
    env.write(
        "clients.crl",
        list.signed_by(&issuer).unwrap().pem().unwrap(),
    );
}

#[test]
fn a_revocation_list_that_is_out_of_date_or_soon_will_be_is_told_at_start_and_reload() {
    let env = env();
    let more = "client-auth = \"require\"\nclient-ca = \"clients.pem\"\ncrl = [\"clients.crl\"]";
    let file = env.write("c.toml", custom("one", more));
    list(&env, -1, 30);
    let (mut server, _) = started(serve(&env, &file), 1);
    assert!(!server.log().contains("CRL"), "{}", server.log());
    list(&env, -99, 1);
    server.signal(Signal::HUP);
    let line = server.await_line("will be out of date in");
    assert!(
        line.contains("WARN") && line.contains("clients.crl"),
        "{line}"
    );
    server.await_line(READ);
    let _ = server.terminate().success();
    list(&env, -30, -1);
    let mut server = serve(&env, &file).spawn();
    let line = server.await_line("is out of date since");
    for words in ["ERROR", "clients.crl", "are refused", "`certmint ca crl`"] {
        assert!(line.contains(words), "no {words} in {line}");
    }
    server.await_line("serving https://");
    let _ = server.terminate().success();
}
