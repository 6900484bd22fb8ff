//! `certmint renew` of certificates from public CAs: Pebble, and a proxy before it
//! that fails as it is told and has renewal information.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certmint::cli::SystemClock;
use certmint::clock::{Clock, Duration as Span, rfc3339};
use certmint::identifier::CertId;
use certmint::store::Store;
use certmint::store::file::FileStore;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::acme_issue::{Lab, private};
use crate::renew::{Outcomes, calls, generation, hook, issue, renew, renew_at, tree};
use crate::support::bind::{Bind, KEY_256};
use crate::support::fault::{Endpoint, Fault, FaultProxy, RetryAfter, Rule};
use crate::support::pebble::Options;
use crate::support::{TestEnv, faketime, tool};

/// A Pebble, and a proxy before it under another URL.
struct Faulty {
    lab: Lab,
    proxy: FaultProxy,
}

impl Faulty {
    async fn new(rules: Vec<Rule>) -> Option<Self> {
        Self::with(Options::default(), rules).await
    }

    async fn with(options: Options, rules: Vec<Rule>) -> Option<Self> {
        let lab = Lab::with(options)?;
        let url: url::Url = lab.pebble.directory_url.parse().unwrap();
        let pebble = SocketAddr::from((Ipv4Addr::LOCALHOST, url.port().unwrap()));
        let proxy = FaultProxy::start(&lab.env.path("tmp"), pebble, rules).await;
        Some(Self { lab, proxy })
    }

    /// Has a certificate issued through the proxy.
    fn issue(&self, args: &[&str]) {
        let (url, file) = (self.proxy.directory(), self.proxy.ca_file());
        let http = self.lab.http();
        let words = ["issue", "--agree-tos", "--directory", &url, "--http", &http];
        let run = self.lab.acme(&words).arg("--ca-file").arg(file).args(args);
        let _ = run.run().success();
    }

    fn orders(&self) -> usize {
        self.proxy.count(Endpoint::NewOrder)
    }

    fn questions(&self) -> usize {
        self.proxy.count(Endpoint::RenewalInfo)
    }
}

/// Renewal information with a window between two moments, in hours from now.
fn suggesting(from: i64, to: i64) -> Vec<Rule> {
    let at = |hours| rfc3339(SystemClock.now() + Span::hours(hours));
    let info = json!({
        "suggestedWindow": { "start": at(from), "end": at(to) },
        "explanationURL": "https://ca.test/incident/7",
    });
    let renewal_info = Fault::Set(vec![("renewalInfo", json!("{proxy}/ari/"))]);
    let info = String::leak(info.to_string());
    vec![
        Rule::always(Endpoint::Directory, renewal_info),
        Rule::always(Endpoint::RenewalInfo, Fault::Instead(200, info, None)),
    ]
}

fn attempts(env: &TestEnv, id: &str) -> Value {
    let path = env.state().join("certs").join(id).join("attempts.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn now(env: &TestEnv) -> Outcomes {
    Outcomes::of(&renew(env, &["--json"]).run().success())
}

/// Waits for hooks to end that have begun.
fn await_deployed(env: &TestEnv, id: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    while !attempts(env, id)["deploying"].is_null() {
        assert!(Instant::now() < until, "{id} is never done");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Nothing that was presented stays: no listener, no note of one.
#[track_caller]
fn assert_tidy(lab: &Lab) {
    let address = (Ipv4Addr::LOCALHOST, lab.pebble.options.http_port);
    drop(TcpListener::bind(address).unwrap());
    let journal = lab.env.state().join("acme/presented");
    let left = fs::read_dir(journal).map_or(0, |dir| {
        let names = dir.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".json")).count()
    });
    assert_eq!(left, 0);
}

#[test]
fn a_certificate_of_a_public_ca_is_renewed_at_its_moment_with_its_own_settings() {
    let Some(lab) = Lab::new() else { return };
    let own = hook(&lab.env, "hook", "");
    let copies = lab.env.path("copies");
    let more = ["--out", copies.to_str().unwrap(), "--deploy-hook", &own];
    let args = ["a.test", "127.0.0.1", "--key-type", "p384"];
    let _ = lab.issue(&args).args(more).run().success();
    let told = calls(&lab.env, "hook");
    let before = lab.record("a.test");

    let report = now(&lab.env);
    report.is("a.test", "not-due");
    let wake = report.0["next_wake"].as_str().unwrap();
    let due = report.line("a.test")["due_at"].as_str().unwrap();
    assert!(wake <= due, "the CA is to be asked again: {}", report.0);

    let Some(early) = renew_at(&lab.env, "+1438h", 0, &[]) else {
        return;
    };
    early.is("a.test", "not-due");
    let due = renew_at(&lab.env, "+1441h", 0, &["--dry-run"]).unwrap();
    due.is("a.test", "would-renew");
    let due = renew_at(&lab.env, "+1441h", 0, &[]).unwrap();
    due.is("a.test", "renewed")
        .says("a.test", "reason", "due since");
    let after = lab.record("a.test");
    for field in ["issuer", "profile", "obtained", "exports", "deploy-hook"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    assert_eq!(calls(&lab.env, "hook"), told + 1);
    let copied = fs::read(copies.join("privkey.pem")).unwrap();
    let kept = fs::read(lab.current("a.test").join("privkey.pem")).unwrap();
    assert_eq!(copied, kept);
    assert_tidy(&lab);
    let again = now(&lab.env);
    again.is("a.test", "not-due");
    assert_eq!(calls(&lab.env, "hook"), told + 1);
}

#[test]
fn one_that_lives_for_days_is_renewed_at_half_its_life_and_an_expired_one_at_once() {
    let options = Options {
        validity: 6 * 86_400,
        ..Options::default()
    };
    let Some(lab) = Lab::with(options) else {
        return;
    };
    let _ = lab.issue(&["a.test"]).run().success();
    let Some(early) = renew_at(&lab.env, "+70h", 0, &["--dry-run"]) else {
        return;
    };
    early.is("a.test", "not-due");
    let half = renew_at(&lab.env, "+73h", 0, &[]).unwrap();
    half.is("a.test", "renewed");
    // The CA's clock is right and ours is not: what it issues looks expired.
    let late = renew_at(&lab.env, "+200h", 1, &[]).unwrap();
    late.is("a.test", "failed");
    assert_eq!(generation(&lab.env, "a.test"), "2");
    now(&lab.env).is("a.test", "not-due");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_says_when_to_come_back_is_not_asked_before() {
    let Some(faulty) = Faulty::new(Vec::new()).await else {
        return;
    };
    let env = &faulty.lab.env;
    faulty.issue(&["a.test"]);
    for form in [
        RetryAfter::Seconds(7200),
        RetryAfter::Date(7200 + 61 * 86_400),
    ] {
        let busy = Fault::Problem("rateLimited", 429, Some(form));
        faulty
            .proxy
            .set_rules(vec![Rule::always(Endpoint::NewOrder, busy)]);
        let before = generation(env, "a.test");
        let orders = faulty.orders();
        let Some(failed) = renew_at(env, "+61d", 1, &[]) else {
            return;
        };
        failed
            .is("a.test", "failed")
            .says("a.test", "error", "rateLimited")
            .says("a.test", "error", "as it was told")
            .says("a.test", "error", &faulty.proxy.directory());
        assert!(faulty.orders() > orders);
        let seen = faulty.proxy.seen().len();
        let put_off = renew_at(env, "+87950m", 0, &[]).unwrap();
        put_off
            .is("a.test", "put-off")
            .says("a.test", "error", "as it was told");
        assert_eq!(
            put_off.line("a.test")["retry_at"],
            failed.line("a.test")["retry_at"]
        );
        assert_eq!(
            put_off.line("a.test")["hint"],
            failed.line("a.test")["hint"]
        );
        assert_eq!(put_off.0["next_wake"], failed.line("a.test")["retry_at"]);
        assert_eq!(faulty.proxy.seen().len(), seen, "nobody was asked");
        assert_eq!(attempts(env, "a.test")["failures"], 1);
        faulty.proxy.set_rules(Vec::new());
        let back = renew_at(env, "+87965m", 0, &[]).unwrap();
        back.is("a.test", "renewed");
        assert_ne!(generation(env, "a.test"), before);
        assert_eq!(attempts(env, "a.test")["failures"], 0);
    }
    assert_tidy(&faulty.lab);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_is_gone_fails_the_run_and_is_spared_for_longer_and_longer() {
    let Some(faulty) = Faulty::new(Vec::new()).await else {
        return;
    };
    let env = &faulty.lab.env;
    faulty.issue(&["a.test"]);
    issue(env_with_ca(env), &["private.test"]);
    let Faulty { lab, proxy } = faulty;
    let url = proxy.directory();
    drop(proxy);
    let env = &lab.env;
    let Some(later) = faketime("+61d") else {
        return;
    };
    let text = renew(env, &[]).under(&later).run().code(1);
    let says = |what: &str| assert!(text.stderr().contains(what), "{}", text.stderr());
    says("warning: a.test  not renewed: no certificate for a.test from ");
    says(&url);
    says("; to be tried again at 20");
    assert!(
        text.stdout().contains("private.test  renewed"),
        "{}",
        text.stdout()
    );

    let put_off = renew_at(env, "+61d", 0, &[]).unwrap();
    put_off.is("a.test", "put-off");
    assert_eq!(generation(env, "a.test"), "1");
    // Two minutes later it is tried again, and ten after that.
    for (minutes, failures) in [(2, 2), (4, 2), (14, 3), (60, 3)] {
        let at = format!("+{}m", 61 * 24 * 60 + minutes);
        let tried = attempts(env, "a.test")["failures"] != failures;
        let code = i32::from(tried);
        let report = renew_at(env, &at, code, &["a.test"]).unwrap();
        report.is("a.test", if tried { "failed" } else { "put-off" });
        assert_eq!(attempts(env, "a.test")["failures"], failures, "{minutes}");
    }
    // Whoever asks for it is not put off.
    let forced = renew_at(env, "+61d", 1, &["a.test", "--force"]).unwrap();
    forced.is("a.test", "failed");
}

/// The same, with a private CA in it as well.
fn env_with_ca(env: &TestEnv) -> &TestEnv {
    let _ = env.certmint(["ca", "init"]).run().success();
    env
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_hangs_delays_nobody_else_and_a_signal_ends_the_wait() {
    let Some(mkfifo) = tool("mkfifo") else { return };
    let Some(faulty) = Faulty::new(Vec::new()).await else {
        return;
    };
    let lab = &faulty.lab;
    let env = &lab.env;
    faulty.issue(&["hanging.test"]);
    let gate = env.path("gate");
    let _ = env.command(mkfifo, [&gate]).run().success();
    let told = hook(env, "hook", &format!("echo done > {}", gate.display()));
    let _ = lab.issue(&["quick.test"]).run().success();
    issue(env_with_ca(env), &["private.test"]);
    faulty
        .proxy
        .set_rules(vec![Rule::always(Endpoint::Authorization, Fault::Hang)]);
    let Some(later) = faketime("+61d") else {
        return;
    };
    let args = ["--json", "--deploy-hook", &told];
    for signal in [Signal::TERM, Signal::INT] {
        let begun = Instant::now();
        let run = renew(env, &args).under(&later).spawn();
        let mut text = String::new();
        for _ in 0..2 {
            // Opens once a hook runs, after the renewal of one of the other two.
            let mut open = fs::File::open(&gate).unwrap();
            open.read_to_string(&mut text).unwrap();
        }
        for id in ["quick.test", "private.test"] {
            await_deployed(env, id);
        }
        run.signal(signal);
        let out = run.wait(Duration::from_secs(30)).code(1);
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert!(text.starts_with("done"));
        let name = if signal == Signal::TERM {
            "SIGTERM"
        } else {
            "SIGINT"
        };
        let line = format!("error: stopped by {name} before the end");
        assert!(out.stderr().contains(&line), "{}", out.stderr());
        assert!(out.stderr().contains("hint: nothing is half done"));
        let report = Outcomes::of(&out);
        report
            .is("quick.test", "renewed")
            .is("private.test", "renewed");
        assert_eq!(report.0["certificates"].as_array().unwrap().len(), 2);
        assert_eq!(generation(env, "hanging.test"), "1");
        assert_tidy(lab);
        for id in ["quick.test", "private.test"] {
            // So that the second round has something to do.
            fs::write(lab.current(id).join("cert.pem"), "cut").unwrap();
        }
    }
    faulty.proxy.set_rules(Vec::new());
    let after = renew_at(env, "+61d", 0, &["hanging.test"]).unwrap();
    after.is("hanging.test", "renewed");
}

#[test]
fn a_splay_waits_once_before_anything_and_only_for_a_public_ca() {
    let Some(lab) = Lab::new() else { return };
    let env = &lab.env;
    let own = hook(env, "hook", "");
    issue(env_with_ca(env), &["private.test", "--deploy-hook", &own]);
    let splay = |args: &[&str]| renew(env, &["--splay", "1d"]).args(args);
    // What is private waits for nobody.
    let out = splay(&["--force"]).run().success();
    assert!(!out.stderr().contains("waiting"), "{}", out.stderr());
    assert_eq!(calls(env, "hook"), 1);

    let _ = lab.issue(&["a.test"]).run().success();
    // It has to be asked when it would have it renewed; once.
    let mut asking = splay(&[]).spawn();
    let line = asking.await_line("waiting ");
    assert!(line.contains("before a public CA is asked"), "{line}");
    let out = asking.terminate().code(1);
    assert!(
        out.stderr().contains("stopped by SIGTERM"),
        "{}",
        out.stderr()
    );
    let _ = renew(env, &[]).run().success();
    let out = splay(&[]).run().success();
    assert!(!out.stderr().contains("waiting"), "{}", out.stderr());

    let Some(later) = faketime("+61d") else {
        return;
    };
    let dry = splay(&["--dry-run"]).under(&later).run().success();
    assert!(!dry.stderr().contains("waiting"), "{}", dry.stderr());
    let mut due = splay(&[]).under(&later).spawn();
    due.await_line("waiting ");
    due.signal(Signal::INT);
    let out = due.wait(Duration::from_secs(30)).code(1);
    assert!(
        out.stderr().contains("stopped by SIGINT"),
        "{}",
        out.stderr()
    );
    assert_eq!(calls(env, "hook"), 1, "the wait comes before any hook");
    assert_eq!(generation(env, "private.test"), "2");
    // As the timer's variable says it, with hardly any wait.
    let out = renew(env, &[])
        .env("CERTMINT_RENEW_SPLAY", "1s")
        .under(&later)
        .run()
        .success();
    assert!(out.stderr().contains("waiting 0s"), "{}", out.stderr());
    assert_eq!((calls(env, "hook"), &*generation(env, "a.test")), (2, "2"));
    // Put off after a failure: nobody is asked.
    let _ = splay(&["x".repeat(3).as_str()]).run().code(1);
    let _ = renew(env, &["--splay", "25h"]).run().code(2);
}

#[test]
fn what_a_running_server_keeps_is_left_to_it() {
    let Some(lab) = Lab::new() else { return };
    let env = &lab.env;
    let _ = lab.issue(&["a.test"]).run().success();
    let _ = lab.issue(&["b.test"]).run().success();
    let store = FileStore::open(&env.state(), Arc::new(SystemClock)).unwrap();
    let id: CertId = "a.test".parse().unwrap();
    let serving = store.lock_serving(&id).unwrap().unwrap();
    let before = tree(&env.state());
    let Some(dry) = renew_at(env, "+61d", 0, &["--dry-run"]) else {
        return;
    };
    dry.is("a.test", "kept").is("b.test", "would-renew");
    assert_eq!(before, tree(&env.state()), "a dry run makes no lock either");
    let report = renew_at(env, "+61d", 0, &[]).unwrap();
    report.is("a.test", "kept").is("b.test", "renewed");
    let text = renew(env, &["a.test"]).run().success();
    assert!(
        text.stderr()
            .contains("a.test  kept fresh by a running server"),
        "{}",
        text.stderr()
    );
    // Whoever insists is not told that it was done.
    let forced = renew(env, &["a.test", "--force", "--json"]).run().code(1);
    Outcomes::of(&forced)
        .is("a.test", "failed")
        .says("a.test", "error", "running server")
        .says("a.test", "hint", "stop the server");
    assert_eq!(generation(env, "a.test"), "1");
    drop(serving);
    let report = renew_at(env, "+61d", 0, &[]).unwrap();
    report.is("a.test", "renewed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_the_past_means_now_once_and_one_ahead_is_planned_and_kept() {
    let Some(faulty) = Faulty::new(suggesting(-50, -2)).await else {
        return;
    };
    let env = &faulty.lab.env;
    faulty.issue(&["a.test"]);
    // Nobody is asked, so nobody knows.
    let dry = renew(env, &["--dry-run", "--json"]).run().success();
    Outcomes::of(&dry).is("a.test", "not-due");
    assert_eq!(faulty.questions(), 0);
    now(env)
        .is("a.test", "renewed")
        .says("a.test", "reason", "its CA suggests it since 20")
        .says("a.test", "reason", "https://ca.test/incident/7");
    let seen = faulty.proxy.seen();
    let orders = seen.iter().filter(|s| s.endpoint == Endpoint::NewOrder);
    let orders: Vec<_> = orders.map(|order| &order.payload["replaces"]).collect();
    assert!(orders.len() == 2 && orders[0].is_null() && orders[1].is_string());
    assert_eq!(faulty.questions(), 1);
    // It wants the new one renewed as well: not in the same day.
    let second = now(env);
    second.is("a.test", "not-due");
    assert_eq!(faulty.questions(), 2);
    let Some(next_day) = renew_at(env, "+25h", 0, &[]) else {
        return;
    };
    next_day.is("a.test", "renewed");

    faulty.proxy.set_rules(suggesting(100, 200));
    let planned = now(env);
    planned
        .is("a.test", "not-due")
        .says("a.test", "suggested", "incident/7");
    let plan = attempts(env, "a.test")["plan"].clone();
    let moment = &plan["window"]["moment"];
    assert_eq!(&planned.line("a.test")["due_at"], moment);
    assert!(plan["window"]["start"].as_str() <= moment.as_str());
    assert!(moment.as_str() <= plan["window"]["end"].as_str());
    assert_eq!(planned.0["next_wake"], plan["ask-again"]);
    // The same window, the same moment; and before it may be asked again, no question.
    let asked = faulty.questions();
    now(env).is("a.test", "not-due");
    assert_eq!(faulty.questions(), asked);
    let later = renew_at(env, "+7h", 0, &[]).unwrap();
    assert_eq!(&later.line("a.test")["due_at"], moment);
    assert_eq!(faulty.questions(), asked + 1);
    // A CA that is out of order leaves the plan as it is.
    let broken = Rule::always(Endpoint::RenewalInfo, Fault::Garbage);
    let mut rules = suggesting(100, 200);
    rules.truncate(1);
    rules.push(broken);
    faulty.proxy.set_rules(rules);
    let later = renew_at(env, "+14h", 0, &[]).unwrap();
    assert_eq!(&later.line("a.test")["due_at"], moment);
    let asked = faulty.questions();
    let later = renew_at(env, "+19h", 0, &[]).unwrap();
    assert_eq!(&later.line("a.test")["due_at"], moment);
    assert_eq!(
        faulty.questions(),
        asked,
        "six hours after the failure at the earliest"
    );
    let due = renew_at(env, "+201h", 0, &[]).unwrap();
    due.is("a.test", "renewed");
}

#[test]
fn many_certificates_of_one_ca_are_renewed_at_once_and_share_the_port() {
    let Some(lab) = Lab::new() else { return };
    for n in 0..6 {
        let name = format!("n{n}.test");
        let _ = lab.issue(&[&name]).run().success();
    }
    // Another reference, and the same port.
    let args = ["other.test", "--preferred-chain", "None Such"];
    let _ = lab.issue(&args).run().success();
    let Some(report) = renew_at(&lab.env, "+61d", 0, &[]) else {
        return;
    };
    for n in 0..6 {
        report.is(&format!("n{n}.test"), "renewed");
    }
    report.is("other.test", "renewed");
    assert_tidy(&lab);
}

#[test]
fn runs_are_recorded_and_what_falls_due_before_the_next_is_renewed_now() {
    let env = TestEnv::with_ca();
    let runs = || {
        let text = fs::read(env.state().join("renew/runs.json"));
        let text = text.unwrap_or_else(|_| b"{}".to_vec());
        let written: Value = serde_json::from_slice(&text).unwrap();
        written["runs"].as_array().map_or(0, Vec::len)
    };
    for (moved, count) in [("-21d", 1), ("-14d", 2), ("-7d", 3)] {
        if renew_at(&env, moved, 0, &[]).is_none() {
            return;
        }
        assert_eq!(runs(), count);
    }
    issue(&env, &["a.test", "--days", "13"]);
    issue(&env, &["b.test", "--days", "13"]);
    // Those that people start say nothing about when the next will be.
    let _ = renew(&env, &["--dry-run"]).run().success();
    let _ = renew(&env, &["a.test"]).run().success();
    let _ = renew(&env, &["b.test", "--force"]).run().success();
    let _ = renew(&env, &["--force"]).run().success();
    assert_eq!(runs(), 3);
    let before = renew_at(&env, "+7d", 0, &["--dry-run"]).unwrap();
    before.is("a.test", "not-due");
    let _ = renew(&env, &[]).run().success();
    assert_eq!(runs(), 4);
    let before = renew_at(&env, "+167h", 0, &["--dry-run"]).unwrap();
    before.is("a.test", "would-renew").says(
        "a.test",
        "reason",
        "the next run is not expected before",
    );
    let weekly = renew_at(&env, "+167h", 0, &[]).unwrap();
    weekly.is("a.test", "renewed").is("b.test", "renewed");
    // Half of a file, as a full disk may have left it, is no record.
    fs::write(env.state().join("renew/runs.json"), "{\"ru").unwrap();
    let _ = renew(&env, &[]).run().success();
    assert_eq!(runs(), 1);
}

#[test]
fn secrets_of_a_dns_credential_may_come_from_the_environment_of_a_renewal() {
    let Some(bind) = Bind::start() else { return };
    let options = Options {
        dns_server: Some(bind.address()),
        ..Options::default()
    };
    let Some(lab) = Lab::with(options) else {
        return;
    };
    let (name, algorithm, secret) = KEY_256;
    let server = bind.address().to_string();
    let text = format!(
        "[dns.lab]\nprovider = \"rfc2136\"\nserver = \"{server}\"\nkey-name = \"{name}\"\n\
         algorithm = \"{algorithm}\"\nsecret = \"env:TSIG_SECRET\"\n"
    );
    let file = private(&lab.env, "dns.toml", &text);
    let args = [
        "a.example.test",
        "--dns-file",
        &file,
        "--dns-server",
        &server,
    ];
    let _ = lab.ask(&args).env("TSIG_SECRET", secret).run().success();
    let without = renew(&lab.env, &["--force", "--json"]).run().code(1);
    Outcomes::of(&without).is("a.example.test", "failed").says(
        "a.example.test",
        "error",
        "TSIG_SECRET",
    );
    let with = renew(&lab.env, &["--force", "--json"]).env("TSIG_SECRET", secret);
    Outcomes::of(&with.run().success()).is("a.example.test", "renewed");
    for file in tree(&lab.env.state()).values() {
        let text = String::from_utf8_lossy(&file.1);
        assert!(!text.contains(secret));
    }
}

#[test]
fn a_lost_account_and_a_ca_that_was_replaced_are_overcome() {
    let Some(lab) = Lab::new() else { return };
    let _ = lab.issue(&["a.test"]).run().success();
    let account = lab.record("a.test")["obtained"]["account"].clone();
    let accounts = lab.env.state().join("acme");
    let keys: Vec<PathBuf> = tree(&accounts).into_keys().collect();
    assert!(!keys.is_empty());
    for entry in fs::read_dir(&accounts).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().unwrap() != "presented" {
            fs::remove_dir_all(path).unwrap();
        }
    }
    // Nobody agrees to terms under cron.
    let out = renew(&lab.env, &["--force", "--json"]).run().code(1);
    let report = Outcomes::of(&out);
    report.is("a.test", "failed");
    assert!(report.line("a.test")["hint"].is_string(), "{}", report.0);
    let _ = lab.issue(&["b.test"]).run().success();
    let out = renew(&lab.env, &["--force", "--json"]).run().success();
    Outcomes::of(&out).is("a.test", "renewed");
    assert_ne!(lab.record("a.test")["obtained"]["account"], account);
}

#[test]
fn what_is_said_of_a_certificate_names_the_ca_that_it_came_from() {
    let Some(lab) = Lab::new() else { return };
    let env = env_with_ca(&lab.env);
    let _ = lab.issue(&["a.test"]).run().success();
    let status = |code| -> Value {
        let out = env.certmint(["ca", "status", "--json"]).run().code(code);
        let status: Value = serde_json::from_str(out.stdout()).unwrap();
        status["certificates"][0].clone()
    };
    let good = status(0);
    assert_eq!(good["status"], "ok", "{good}");
    assert!(good["issuer"].to_string().contains("Pebble"), "{good}");
    let Some(soon) = faketime("+61d") else { return };
    let due = env.certmint(["ca", "status"]).under(soon).run().code(3);
    assert!(
        due.stdout().contains("certmint renew a.test"),
        "{}",
        due.stdout()
    );
    fs::write(lab.current("a.test").join("cert.pem"), "cut").unwrap();
    let out = renew(env, &["--json"]).run().code(1);
    let remedy = format!(
        "`certmint acme issue --id a.test --directory {}`",
        lab.pebble.directory_url
    );
    Outcomes::of(&out)
        .is("a.test", "failed")
        .says("a.test", "hint", &remedy);
    let damaged = status(4);
    let fix = damaged["findings"][0]["fix"].as_str().unwrap();
    let line = remedy.trim_matches('`');
    assert_eq!(fix, format!("{line} NAME…"));
    // What the hint says helps.
    let words = ["--id", "a.test", "a.test"];
    let _ = lab.issue(&words).run().success();
    now(env).is("a.test", "not-due");
    // Nobody knows any more who issued it.
    fs::write(lab.current("a.test").join("cert.json"), "{").unwrap();
    for n in ["1", "2"] {
        let dir = env.state().join("certs/a.test").join(n);
        let _ = fs::write(dir.join("cert.json"), "{");
    }
    let out = renew(env, &["--json"]).run().code(1);
    Outcomes::of(&out)
        .says("a.test", "hint", "certmint ca issue --id a.test")
        .says("a.test", "hint", "certmint acme issue --id a.test");
}

#[test]
fn the_timer_and_the_cron_line_are_well_formed() {
    let deploy = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let read = |name: &str| fs::read_to_string(deploy.join(name)).unwrap();
    let env = TestEnv::with_ca();
    let (service, cron) = (read("certmint-renew.service"), read("certmint.cron"));
    let program = "/usr/local/bin/certmint ";
    let started = service
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let started = started.and_then(|line| line.strip_prefix(program)).unwrap();
    let scheduled = cron.lines().last().unwrap();
    let scheduled = scheduled.split_once("root  certmint ").unwrap().1;
    for line in [started, scheduled] {
        assert!(line.contains("--splay "), "{line}");
        let _ = env.certmint(line.split(' ')).run().success();
    }
    let Some(verify) = tool("systemd-analyze") else {
        return;
    };
    // The program is not installed where the tests run, nor are the pages.
    let here = service.replace(program, &format!("{} ", env!("CARGO_BIN_EXE_certmint")));
    let undocumented = |text: String| {
        let lines = text
            .lines()
            .filter(|line| !line.starts_with("Documentation="));
        lines.collect::<Vec<_>>().join("\n")
    };
    env.write("units/certmint-renew.service", undocumented(here));
    let timer = undocumented(read("certmint-renew.timer"));
    let timer = env.write("units/certmint-renew.timer", timer);
    let out = env.command(verify, ["verify"]).arg(timer).run().success();
    assert_eq!((out.stdout(), out.stderr()), ("", ""));
}
