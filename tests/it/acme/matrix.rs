//! Every fault at every endpoint ends in a certificate or in one bounded error.
//!
//! By default what must be survived is tried at every endpoint, and of the rest a
//! part; with `CERTMINT_TEST_FAULTS=all` everything is. The outcomes of all cases are
//! left in `target/tmp/acme-faults.txt`.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use certmint::acme::{Limits, Wishes};
use certmint::challenge::ChallengeKind;
use certmint::finding::words::causes;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::issuing::{Counting, authority, client, issue, issuer, quick, wishing};
use super::{EXCHANGE, address, gullible};
use crate::support::fault::{Endpoint, Fault, FaultProxy, RetryAfter, Rule};
use crate::support::{TestEnv, say};

const ENDPOINTS: [Endpoint; 9] = [
    Endpoint::Directory,
    Endpoint::NewNonce,
    Endpoint::NewAccount,
    Endpoint::NewOrder,
    Endpoint::Authorization,
    Endpoint::Challenge,
    Endpoint::Finalize,
    Endpoint::Order,
    Endpoint::Certificate,
];

/// What is asked without a nonce.
const UNSIGNED: [Endpoint; 2] = [Endpoint::Directory, Endpoint::NewNonce];

/// Longer than any case may take: the total deadline of a run, and one exchange.
const BOUND: Duration = Duration::from_secs(40);
/// How long an answer is waited for; what hangs or drips does so for longer.
const PATIENCE: Duration = Duration::from_secs(4);
/// Runs at once.
const AT_ONCE: usize = 20;

/// What must come of a case, besides what must come of all.
#[derive(Debug, Clone)]
enum Must {
    Issue,
    /// With these words in the error.
    Fail(&'static str),
    Either,
}

#[derive(Debug, Clone)]
struct Case {
    name: String,
    rule: Rule,
    must: Must,
}

/// What must be survived when it happens once, at every endpoint.
fn passing() -> Vec<(&'static str, Fault)> {
    use Fault::*;
    use RetryAfter::*;
    vec![
        ("429 in 1 s", Problem("rateLimited", 429, Some(Seconds(1)))),
        ("503 by date", Html(503, Some(Date(2)))),
        ("500", Problem("serverInternal", 500, None)),
        ("502 page", Html(502, None)),
        ("reset", Reset),
        ("lost answer", LostAnswer),
        ("hang", Hang),
        ("drip", Drip),
        ("truncated", Truncate),
        ("broken JSON", BrokenJson),
        ("no nonce", NoNonce),
        ("bad nonce", BadNonce),
        (
            "new fields",
            Set(vec![("newField", json!([1, { "x": 2 }]))]),
        ),
    ]
}

/// What need not be survived.
fn hostile() -> Vec<(&'static str, Fault)> {
    use Fault::*;
    use RetryAfter::*;
    vec![
        (
            "429 in 1 h",
            Problem("rateLimited", 429, Some(Seconds(3600))),
        ),
        ("429 by date", Problem("rateLimited", 429, Some(Date(3600)))),
        ("refused", Problem("rejectedIdentifier", 403, None)),
        ("403 page", Html(403, None)),
        ("hostile text", Instead(403, HOSTILE_PROBLEM, None)),
        ("garbage", Garbage),
        ("64 MiB", Huge),
        (
            "foreign URLs",
            Replace("https://localhost", "https://127.0.0.2"),
        ),
        ("plain URLs", Replace("https://", "http://")),
        ("stuck", Set(vec![("status", json!("processing"))])),
        ("odd status", Set(vec![("status", json!("contemplating"))])),
        ("redirect", Instead(302, "", None)),
    ]
}

const HOSTILE_PROBLEM: &str = r#"{"type":"urn:ietf:params:acme:error:\u001b[31mx\u202e",
    "detail":"\u001b]0;title\u0007\r\n\u0000","subproblems":[{"detail":"\u009b2J",
    "identifier":{"type":"dns","value":"\u001b[2J"}}]}"#;

/// Every fault at every endpoint, once and always.
fn grid() -> Vec<Case> {
    let passing = passing();
    let survivable = passing.len();
    let all = std::env::var("CERTMINT_TEST_FAULTS").is_ok_and(|which| which == "all");
    let mut cases = Vec::new();
    for (row, endpoint) in ENDPOINTS.into_iter().enumerate() {
        let faults = passing.iter().cloned().chain(hostile());
        for (column, (name, fault)) in faults.enumerate() {
            if name == "bad nonce" && UNSIGNED.contains(&endpoint) {
                continue;
            }
            let passes = column < survivable;
            for (always, times) in [(false, "once"), (true, "always")] {
                let sampled = (row + column) % 4 == 0;
                if !all && !sampled && (always || !passes) {
                    continue;
                }
                let rule = if always { Rule::always } else { Rule::once };
                cases.push(Case {
                    name: format!("{name}, {times}"),
                    rule: rule(endpoint, fault.clone()),
                    must: match passes && (!always || name == "new fields") {
                        true => Must::Issue,
                        false => Must::Either,
                    },
                });
            }
        }
    }
    cases
}

/// URLs, tokens and texts that lead astray, wherever a CA may have them. `trap` is
/// what nobody may connect to.
fn lures(trap: SocketAddr) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, endpoint, fault, must| {
        let rule = Rule::always(endpoint, fault);
        cases.push(Case { name, rule, must });
    };
    let astray = Must::Fail("sent us to");
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://{trap}/x");
        for (endpoint, member) in [
            (Endpoint::Directory, "newNonce"),
            (Endpoint::Directory, "newAccount"),
            (Endpoint::Directory, "newOrder"),
            (Endpoint::Directory, "revokeCert"),
            (Endpoint::Directory, "keyChange"),
            (Endpoint::Directory, "renewalInfo"),
            (Endpoint::NewOrder, "authorizations/*"),
            (Endpoint::Authorization, "challenges/*/url"),
            (Endpoint::Order, "finalize"),
            (Endpoint::Order, "certificate"),
        ] {
            // A directory may name other hosts of the CA's.
            if endpoint == Endpoint::Directory && scheme == "https" {
                continue;
            }
            let fault = Fault::Set(vec![(member, json!(url))]);
            add(
                format!("{scheme} {member}"),
                endpoint,
                fault,
                astray.clone(),
            );
        }
        for endpoint in [Endpoint::NewAccount, Endpoint::NewOrder] {
            let fault = Fault::Header("Location", url.clone());
            add(
                format!("{scheme} Location"),
                endpoint,
                fault,
                astray.clone(),
            );
        }
        let fault = Fault::Header("Link", format!("<{url}>;rel=\"alternate\""));
        add(
            format!("{scheme} Link"),
            Endpoint::Certificate,
            fault,
            Must::Issue,
        );
    }
    let endpoint = Endpoint::Authorization;
    let long = "x".repeat(100_000);
    for (name, token, says) in [
        ("path", "../../../../../etc/cron.d/x", "not base64url"),
        ("escape", "0123456789\u{1b}]0;x\u{7}\r\n", "not base64url"),
        ("empty", "", "16 to 128 characters"),
        ("long", &long, "16 to 128 characters"),
    ] {
        let fault = Fault::Set(vec![("challenges/*/token", json!(token))]);
        add(format!("token: {name}"), endpoint, fault, Must::Fail(says));
    }
    let text = "\u{1b}[2J\u{9b}\u{202e}\r\n";
    let failed = Fault::Set(vec![
        ("status", json!("invalid")),
        (
            "challenges/*/error",
            json!({ "type": text, "detail": text }),
        ),
    ]);
    let unverified = Must::Fail("could not verify `a.example`");
    add("error: escape".to_owned(), endpoint, failed, unverified);
    let stranger = Fault::Set(vec![("identifier/value", json!(text))]);
    let unasked = Must::Fail("nobody asked for");
    add("name: escape".to_owned(), endpoint, stranger, unasked);
    let other = Fault::Set(vec![("identifier/value", json!("b.example"))]);
    let unasked = Must::Fail("nobody asked for `b.example`");
    add("name: another".to_owned(), endpoint, other, unasked);
    let odd = Fault::Set(vec![("challenges/*/type", json!(text))]);
    let none = Must::Fail("no way to show control");
    add("kinds: escape".to_owned(), endpoint, odd, none);
    let more = Fault::Set(vec![
        (
            "challenges/-",
            json!({ "type": "dns-persist-01", "status": "pending",
            "url": "https://localhost/x", "issuer-domain-names": ["ca.test"] }),
        ),
        ("challenges/-", json!({ "type": "odd-01", "status": "odd" })),
        ("challenges/-", json!(["odd"])),
    ]);
    add("kinds: unknown".to_owned(), endpoint, more, Must::Issue);
    let many: Vec<_> = (0..2000)
        .map(|n| format!("https://localhost/{n}"))
        .collect();
    let many = Fault::Set(vec![("authorizations", json!(many))]);
    let too_many = Must::Fail("more authorizations than names");
    add(
        "2000 to show".to_owned(),
        Endpoint::NewOrder,
        many,
        too_many,
    );
    cases
}

struct Outcome {
    case: Case,
    result: Result<(), String>,
    left_open: usize,
    seconds: f32,
    requests: usize,
    met: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_at_every_endpoint_ends_in_a_certificate_or_one_bounded_error() {
    let env = TestEnv::new();
    let Some(pebble) = gullible(&env, &[]) else {
        return;
    };
    let env = Arc::new(env);
    let trap = TcpListener::bind("127.0.0.2:0").unwrap();
    let upstream = address(&pebble);
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    let cases = [grid(), lures(trap.local_addr().unwrap())].concat();
    let began = Instant::now();
    for (number, case) in cases.into_iter().enumerate() {
        let (env, permits) = (Arc::clone(&env), Arc::clone(&permits));
        running.spawn(async move {
            let _permit = permits.acquire().await;
            (number, run(&env, number, upstream, case).await)
        });
    }
    let mut done = running.join_all().await;
    done.sort_by_key(|(number, _)| *number);
    let mut table = String::new();
    let mut wrong = Vec::new();
    for (_, outcome) in &done {
        let line = outcome.line();
        if let Some(complaint) = outcome.complaint() {
            wrong.push(format!("{complaint}: {line}"));
        }
        let _ = writeln!(table, "{line}");
    }
    let issued = done.iter().filter(|(_, o)| o.result.is_ok()).count();
    say(&format!(
        "{} cases in {:?}: {issued} certificates, {} errors",
        done.len(),
        began.elapsed(),
        done.len() - issued
    ));
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/acme-faults.txt");
    std::fs::write(file, table).unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    trap.set_nonblocking(true).unwrap();
    assert!(trap.accept().is_err(), "somebody walked into the trap");
}

async fn run(env: &TestEnv, number: usize, upstream: SocketAddr, case: Case) -> Outcome {
    let dir = env.path(format!("case-{number}"));
    std::fs::create_dir_all(&dir).unwrap();
    let proxy = FaultProxy::start(&dir, upstream, vec![case.rule.clone()]).await;
    let http = client(proxy.ca_file(), PATIENCE);
    let ca = authority(&dir.join("state"), &proxy.directory(), http);
    let solver = Counting::new(ChallengeKind::Http01);
    // So that alternate chains are looked at.
    let wishes = Wishes {
        profile: None,
        preferred_chain: Some("No Such Root".to_owned()),
    };
    // A busy machine is slower than any fault that is to be survived.
    let limits = Limits {
        total: Duration::from_secs(20),
        ..quick()
    };
    let issuer = wishing(ca, vec![Arc::<Counting>::clone(&solver)], wishes).limits(limits);
    let began = Instant::now();
    let result = issue(&issuer, &["a.example"]).await;
    Outcome {
        result: result.map(drop).map_err(|error| causes(&error)),
        left_open: solver.open.load(Ordering::SeqCst),
        seconds: began.elapsed().as_secs_f32(),
        requests: proxy.seen().len(),
        met: proxy.seen().iter().any(|seen| seen.failed),
        case,
    }
}

impl Outcome {
    fn line(&self) -> String {
        let said = self.result.as_ref().err();
        format!(
            "{:<13} {:<20} {:>5.1} s {:>3} requests  {}",
            format!("{:?}", self.case.rule.endpoint),
            self.case.name,
            self.seconds,
            self.requests,
            said.map_or("certificate", String::as_str)
        )
    }

    fn complaint(&self) -> Option<&'static str> {
        let begins = "no certificate for a.example from https://localhost:";
        let said = self.result.as_ref().err().map_or(begins, String::as_str);
        let hidden = |c: char| c.is_control() || c == '\u{202e}';
        let as_it_must = match (&self.case.must, &self.result) {
            (Must::Issue, Err(_)) => Some("no certificate"),
            (Must::Fail(_), Ok(())) => Some("a certificate"),
            (Must::Fail(says), Err(said)) if !said.contains(says) => Some("other words"),
            _ => None,
        };
        [
            (!self.met, "not met"),
            (said.contains(hidden), "not escaped"),
            (
                said.len() > 700 || !said.starts_with(begins),
                "not well worded",
            ),
            (self.seconds > BOUND.as_secs_f32(), "too slow"),
            (self.requests > 300, "too many requests"),
            (self.left_open != 0, "left open"),
        ]
        .into_iter()
        .find_map(|(wrong, complaint)| wrong.then_some(complaint))
        .or(as_it_must)
    }
}

/// The leaf of another run, with its issuer: everything about it is right but the key.
#[tokio::test]
async fn somebody_elses_certificate_and_one_without_its_issuers_are_refused() {
    let env = TestEnv::new();
    let Some(pebble) = gullible(&env, &[]) else {
        return;
    };
    let one = |place: &str, directory: &str, ca_file: &std::path::Path| {
        let ca = authority(&env.path(place), directory, client(ca_file, EXCHANGE));
        issuer(ca, vec![Counting::new(ChallengeKind::Http01)])
    };
    let direct = one("direct", &pebble.directory_url, &pebble.ca_file);
    let other = issue(&direct, &["a.example"]).await.unwrap().bundle;
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    // What cannot be read may have suffered on its way; the rest is meant.
    for (body, says, asked) in [
        (other.fullchain_pem(), "it is for another key than ours", 1),
        (other.leaf().to_pem(), "with no other certificate", 1),
        (broken.to_owned(), "not usable", 3),
        (String::new(), "not usable", 3),
    ] {
        let rule = Rule::always(Endpoint::Certificate, Fault::Body(body));
        let proxy = FaultProxy::start(&env.path("tmp"), address(&pebble), vec![rule]).await;
        let issuer = one("state", &proxy.directory(), proxy.ca_file());
        let text = causes(&issue(&issuer, &["a.example"]).await.unwrap_err());
        assert!(text.contains(says), "{text}");
        assert_eq!(proxy.count(Endpoint::Certificate), asked, "{says}");
    }
}
