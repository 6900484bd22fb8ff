//! Who may have a certificate: patterns, an address that is asked, a program.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::Signal;

use super::{Scene, has};
use crate::support::{TestEnv, tool};

/// Answers every request with what it is told to, and writes down what was asked.
struct Registry {
    url: String,
    answer: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    fn start(answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let registry = Self {
            url: format!("http://{}/check?key=1", listener.local_addr().unwrap()),
            answer: Arc::new(Mutex::new(answer.to_owned())),
            asked: Arc::default(),
        };
        let (answer, asked) = (Arc::clone(&registry.answer), Arc::clone(&registry.asked));
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && client.read_exact(&mut byte).is_ok() {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let line = head.lines().next().unwrap_or_default().to_owned();
                asked.lock().unwrap().push(line);
                let text = format!(
                    "HTTP/1.1 {}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                    answer.lock().unwrap()
                );
                let _ = client.write_all(text.as_bytes());
            }
        });
        registry
    }

    fn say(&self, answer: &str) {
        answer.clone_into(&mut self.answer.lock().unwrap());
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

#[cfg(feature = "acme")]
#[test]
fn an_address_is_asked_once_and_its_answer_holds_as_long_as_it_says() {
    let registry = Registry::start("200 OK");
    let Some(scene) = Scene::start(&["--ask", &registry.url]) else {
        return;
    };
    let served = |name: &str| scene.client(name).connect().is_ok();
    assert!(served("a.test"));
    let query = "GET /check?key=1&domain=a.test&client=127.0.0.1 HTTP/1.1";
    assert_eq!(registry.asked(), [query]);
    assert!(served("a.test"));
    assert!(registry.asked().is_empty());

    registry.say("404 Not Found\r\ncache-control: max-age=600");
    for _ in 0..3 {
        assert!(!served("b.test"));
    }
    assert_eq!(registry.asked().len(), 1);
    registry.say("403 Forbidden\r\ncache-control: no-store");
    for _ in 0..3 {
        assert!(!served("c.test"));
    }
    assert_eq!(registry.asked().len(), 3);
    assert_eq!(scene.decisions("refused_denied"), 6);
    // Whoever gives no answer has said no; for a moment nobody asks again.
    for (name, answer) in [
        ("d.test", "302 Found\r\nlocation: /yes"),
        ("e.test", "503 Service Unavailable"),
        ("f.test", "429 Too Many Requests"),
        ("g.test", "nonsense"),
    ] {
        registry.say(answer);
        assert!(!served(name) && !served(name), "{answer}");
        assert_eq!(registry.asked().len(), 1, "{answer}");
    }
    assert_eq!(scene.decisions("refused_no_answer"), 8);
    let issued = scene
        .events()
        .iter()
        .filter(|(name, _)| name == "certificate-issued")
        .count();
    assert_eq!(issued, 1);
}

#[test]
fn a_program_says_yes_with_0_and_no_with_1() {
    let hook = r#"/bin/sh -c 'test "$CERTMINT_HOOK_CLIENT" = 127.0.0.1 || exit 3; case $CERTMINT_HOOK_NAME in yes*) exit 0;; no*) exit 1;; esac; exit 2'"#;
    let Some(scene) = Scene::start(&["--allow-hook", hook, "--allow", "**.test"]) else {
        return;
    };
    assert!(scene.client("yes.a.test").connect().is_ok());
    for (name, decision) in [
        ("no.a.test", "refused_denied"),
        ("odd.a.test", "refused_no_answer"),
        ("yes.other", "refused_not_listed"),
    ] {
        has(&scene.s_client(name, &[]), &["unrecognized name"]);
        assert_eq!(scene.decisions(decision), 1, "{name}");
    }
}

#[test]
fn a_gate_is_compulsory_where_others_issue_and_its_settings_mean_something() {
    let env = TestEnv::with_ca();
    let acme = [
        "serve-acme",
        "--directory",
        "https://ca.test/dir",
        "--agree-tos",
    ];
    for (args, words) in [
        (&["serve-ca"][..], "--on-demand"),
        (
            &["serve-ca", "a.test", "--allow", "*.test"],
            "add `--on-demand`",
        ),
        (
            &["serve-ca", "--on-demand", "--default-key", "k.pem"],
            "`--default-cert`",
        ),
        (
            &["serve-ca", "--on-demand", "--allow", "**"],
            "no pattern of names",
        ),
        (
            &["serve-ca", "--on-demand", "--allow", "a.*"],
            "let everybody in",
        ),
        (
            &["serve-ca", "--on-demand", "--ask", "http://a.test/"],
            "http://127.0.0.1:",
        ),
        (
            &["serve-ca", "--on-demand", "--ask", "https://u:p@a.test/"],
            "seen by everybody",
        ),
        (&["serve-ca", "--on-demand", "--allow-hook", "'"], "quotes"),
        (&["serve-ca", "--on-demand", "--max-queue", "0"], "0"),
    ] {
        let out = env.certmint(args).run().code(2);
        has(out.stderr(), &[words]);
    }
    let out = env.certmint(acme).arg("--on-demand").run();
    let words = match cfg!(feature = "acme") {
        true => "`--ask URL`",
        false => "without ACME",
    };
    has(out.stderr(), &[words]);
    let out = env.certmint(["renew", "--dry-run"]).run();
    let _ = out.success();
}

#[test]
fn the_ca_and_a_second_server_are_looked_at_before_anything_is_served() {
    let env = TestEnv::new();
    let out = env
        .certmint(["serve-ca", "--on-demand", "--https", "127.0.0.1:0"])
        .run();
    has(out.code(1).stderr(), &["certmint ca init"]);
    let Some(scene) = Scene::start(&[]) else {
        return;
    };
    let second = super::private(&scene.env).run().code(1);
    has(
        second.stderr(),
        &["another server makes certificates on demand", "--cache-dir"],
    );
}

#[test]
fn a_reload_changes_who_may_have_one_and_nothing_that_is_served() {
    let env = TestEnv::with_ca();
    let config = |allow: &str, more: &str| {
        format!(
            "[[listener]]\nmode = \"ca\"\non-demand = true\nallow = [{allow}]\n{more}\
             https = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n"
        )
    };
    env.write("certmint.toml", config("\"a.test\"", ""));
    let run = env.certmint(["serve", "--config", "certmint.toml"]);
    if tool("openssl").is_none() {
        return;
    }
    let mut scene = Scene::of(run, env);
    let serial = scene.client("a.test").serial();
    has(&scene.s_client("b.test", &[]), &["unrecognized name"]);
    let reload = |scene: &mut Scene, text: String, said: &str| {
        scene.env.write("certmint.toml", text);
        scene.server.signal(Signal::HUP);
        scene.server.await_line(said);
    };
    let done = "the settings are read again";
    reload(&mut scene, config("\"*.test\"", ""), done);
    assert!(scene.client("b.test").connect().is_ok());
    assert_eq!(scene.client("a.test").serial(), serial);
    // Back again: what is served is served on, and new names are refused.
    reload(&mut scene, config("\"a.test\"", ""), done);
    has(&scene.s_client("c.test", &[]), &["unrecognized name"]);
    assert_eq!(scene.client("a.test").serial(), serial);
    let later = "takes effect at the next start";
    reload(&mut scene, config("\"a.test\"", "max-queue = 9\n"), later);
    assert_eq!(scene.client("a.test").serial(), serial);
    reload(&mut scene, config("\"a.*\"", ""), "let everybody in");
    assert_eq!(scene.client("a.test").serial(), serial);
}
