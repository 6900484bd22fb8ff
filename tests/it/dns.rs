//! dns-01 against BIND: updates, CNAMEs, the wait for every name server, and what a
//! killed process leaves.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certmint::acme::dns::{
    Dns01, DnsCredentials, DnsProvider, Propagation, Settings, Sources, TxtRecord,
};
use certmint::challenge::{
    Challenge, ChallengeKind, Journal, KeyAuthorization, Solver, SolverError, Token,
};
use certmint::clock::{Clock, ManualClock, SystemClock};
use certmint::directory::caa::{self, Asked};
use certmint::directory::problem::ProblemType;
use certmint::directory::validate::SystemNetwork;
use certmint::identifier::{DnsName, Identifier};
use certmint::issuer::BoxFuture;
use certmint::net::dns::{Dns, DnsError, DomainName};
use hickory_proto::op::{Message, MessageType};

use crate::support::TestEnv;
use crate::support::bind::{Bind, KEY_256, KEY_384, KEY_512, Key};

#[tokio::test]
async fn each_tsig_algorithm_adds_and_removes_exactly_its_value() {
    let Some(bind) = Bind::start() else { return };
    for (key, zone) in [
        (KEY_256, "example.test"),
        (KEY_384, "example.test"),
        (KEY_512, "validation.test"),
    ] {
        let name = format!("_acme-challenge.{}.{zone}", key.0);
        let provider = rfc2136(&bind, key);
        let (one, two) = (record(zone, &name, "one"), record(zone, &name, "two"));
        provider.add(&one).await.unwrap();
        provider.add(&two).await.unwrap();
        assert_eq!(texts(&bind, &name), ["one", "two"]);
        provider.add(&two).await.unwrap();
        provider.remove(&one).await.unwrap();
        assert_eq!(texts(&bind, &name), ["two"]);
        provider.remove(&two).await.unwrap();
        provider.remove(&two).await.unwrap();
        assert!(texts(&bind, &name).is_empty());
    }
}

#[tokio::test]
async fn caa_records_say_who_may_issue() {
    let Some(bind) = Bind::start() else { return };
    let network = SystemNetwork::new(Some(bind.address()));
    let identities = ["ca.test".to_owned()].map(|name| DnsName::parse(&name).unwrap());
    let ask = async |name: &str, method| {
        let asked = Asked {
            identifier: &Identifier::parse(name).unwrap(),
            account: "https://ca.test/account/1",
            method,
        };
        let answer = caa::permits(&network, &identities, &asked).await;
        answer.err().map(|problem| problem.kind())
    };
    let (dns, http) = (Some(ChallengeKind::Dns01), Some(ChallengeKind::Http01));
    for (name, method, problem) in [
        ("caa.readonly.test", dns, None),
        ("a.b.caa.readonly.test", dns, None),
        ("caa.readonly.test", http, Some(ProblemType::Caa)),
        ("*.caa.readonly.test", dns, Some(ProblemType::Caa)),
        ("caa-alias.readonly.test", dns, None),
        ("caa-alias.readonly.test", http, Some(ProblemType::Caa)),
        ("caa-strange.readonly.test", dns, Some(ProblemType::Caa)),
        ("no-caa.readonly.test", http, None),
        ("nobody.nowhere", http, None),
        ("a.broken.readonly.test", dns, Some(ProblemType::Dns)),
    ] {
        assert_eq!(ask(name, method).await, problem, "{name} {method:?}");
    }
}

#[tokio::test]
async fn what_a_server_refuses_is_told_as_what_it_is() {
    let Some(bind) = Bind::start() else { return };
    let other_secret = (KEY_256.0, KEY_256.1, KEY_384.2);
    let other_algorithm = (KEY_256.0, "hmac-sha512", KEY_256.2);
    let unknown = ("nobody", KEY_256.1, KEY_256.2);
    for (key, zone, part, hint) in [
        (
            unknown,
            "example.test",
            "does not know the TSIG key `nobody`",
            "key-name",
        ),
        (
            other_secret,
            "example.test",
            "another secret for the TSIG key",
            "`secret`",
        ),
        (other_algorithm, "example.test", "TSIG key `key-256`", "key"),
        (
            KEY_256,
            "readonly.test",
            "refuses updates of the zone `readonly.test`",
            "update-policy",
        ),
        (
            KEY_256,
            "validation.test",
            "by the TSIG key `key-256`",
            "update-policy",
        ),
        (
            KEY_256,
            "elsewhere.test",
            "not the primary of the zone `elsewhere.test`",
            "`server`",
        ),
    ] {
        let record = record(zone, &format!("_acme-challenge.{zone}"), "v");
        let error = rfc2136(&bind, key).add(&record).await.unwrap_err();
        assert!(error.message.contains(part), "{key:?}: {error}");
        assert!(
            error.message.contains(&bind.address().to_string()),
            "{error}"
        );
        assert!(error.hint.as_ref().unwrap().contains(hint), "{error:?}");
        assert!(error.permanent && !format!("{error:?}").contains(key.2));
    }
}

#[tokio::test]
async fn a_clock_that_is_off_is_named_and_so_is_a_server_that_is_not_there() {
    let Some(bind) = Bind::start() else { return };
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    clock.advance(certmint::clock::Duration::hours(-1));
    let provider = provider(bind.address(), KEY_256, clock);
    let record = record("example.test", "_acme-challenge.example.test", "v");
    let error = provider.add(&record).await.unwrap_err();
    assert!(error.message.contains("clocks"), "{error}");

    let address = bind.address();
    drop(bind);
    let error = provider_at(address, KEY_256)
        .add(&record)
        .await
        .unwrap_err();
    assert!(
        error
            .message
            .contains("cannot be asked: connection refused"),
        "{error}"
    );
    assert!(!error.permanent);
}

#[tokio::test]
async fn records_are_written_where_cnames_lead_and_removed_there() {
    let Some(bind) = Bind::start() else { return };
    let env = TestEnv::new();
    for (host, written, key) in [
        (
            "www.example.test",
            "_acme-challenge.www.example.test",
            KEY_256,
        ),
        (
            "delegated.example.test",
            "delegated.validation.test",
            KEY_512,
        ),
        ("chain.example.test", "chain.validation.test", KEY_512),
    ] {
        let solver = solver(&bind, &env.state(), rfc2136(&bind, key));
        let challenges = [challenge(host, 1)];
        solver.present(&challenges).await.unwrap();
        assert_eq!(texts(&bind, written), [value(1)], "{host}");
        solver.clean_up(&challenges).await.unwrap();
        solver.clean_up(&challenges).await.unwrap();
        assert!(texts(&bind, written).is_empty(), "{host}");
    }
    assert_eq!(journalled(&env), 0);
}

#[tokio::test]
async fn a_circle_of_cnames_and_a_frozen_target_are_named_hop_by_hop() {
    let Some(bind) = Bind::start() else { return };
    let env = TestEnv::new();
    let solver = solver(&bind, &env.state(), rfc2136(&bind, KEY_256));
    let error = solver
        .present(&[challenge("loop.example.test", 1)])
        .await
        .unwrap_err();
    let shown = chain(&error);
    let hops = "_acme-challenge.loop.example.test → loop2.example.test → \
                _acme-challenge.loop.example.test";
    assert!(shown.contains(hops) && error.permanent, "{shown}");

    let frozen = [challenge("frozen.example.test", 1)];
    let error = solver.present(&frozen).await.unwrap_err();
    let shown = chain(&error);
    for part in [
        "could not add the TXT record `frozen.readonly.test`",
        "leads there from `_acme-challenge.frozen.example.test`",
        "refuses updates of the zone `readonly.test`",
    ] {
        assert!(shown.contains(part), "{part} is not in: {shown}");
    }
    assert!(error.permanent && error.hint.is_some());
}

#[tokio::test]
async fn a_name_and_its_wildcard_share_one_record_set_with_two_values() {
    let Some(bind) = Bind::start() else { return };
    let env = TestEnv::new();
    let solver = solver(&bind, &env.state(), rfc2136(&bind, KEY_256));
    let mut challenges = vec![challenge("example.test", 1), challenge("example.test", 2)];
    challenges[1].wildcard = true;
    challenges.extend((3..13).map(|n| challenge(&format!("n{n}.example.test"), n)));
    let begun = Instant::now();
    solver.present(&challenges).await.unwrap();
    let took = begun.elapsed();
    let name = "_acme-challenge.example.test";
    let mut both = [value(1), value(2)];
    both.sort();
    assert_eq!(texts(&bind, name), both);
    assert_eq!(texts(&bind, "_acme-challenge.n7.example.test"), [value(7)]);
    assert!(took < Duration::from_secs(10), "{took:?}");

    solver.clean_up(&challenges[..1]).await.unwrap();
    assert_eq!(texts(&bind, name), [value(2)]);
    solver.clean_up(&challenges).await.unwrap();
    assert!(texts(&bind, name).is_empty());
}

#[tokio::test]
async fn a_server_that_lags_is_waited_for_and_then_shown_beside_the_others() {
    let Some(bind) = Bind::start() else { return };
    let env = TestEnv::new();
    let second = SocketAddr::new([127, 0, 0, 2].into(), bind.address().port());
    let asked = answer_nothing_at(second).await;
    let propagation = Propagation::Checked {
        deadline: Duration::from_secs(2),
    };
    let solver = solver_with(&bind, &env.state(), rfc2136(&bind, KEY_256), propagation);
    let challenges = [challenge("lagging.test", 1)];
    let error = solver.present(&challenges).await.unwrap_err();
    let port = bind.address().port();
    for part in [
        "after 2 s not every name server has the TXT record `_acme-challenge.lagging.test`",
        &format!("ns1.lagging.test (127.0.0.1:{port}) has it"),
        &format!("ns2.lagging.test (127.0.0.2:{port}) has no TXT record there"),
    ] {
        assert!(error.message.contains(part), "{part} is not in: {error}");
    }
    assert!(!error.permanent && error.hint.as_ref().unwrap().contains("--dns-wait"));
    assert!(
        asked.load(std::sync::atomic::Ordering::SeqCst) > 2,
        "it was polled"
    );
    solver.clean_up(&challenges).await.unwrap();
    assert!(texts(&bind, "_acme-challenge.lagging.test").is_empty());

    let unchecked = Propagation::Unchecked {
        wait: Duration::ZERO,
    };
    let solver = solver_with(&bind, &env.state(), rfc2136(&bind, KEY_256), unchecked);
    solver.present(&challenges).await.unwrap();
    solver.clean_up(&challenges).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_down_is_shown_as_such() {
    let Some(bind) = Bind::start() else { return };
    let env = TestEnv::new();
    let propagation = Propagation::Checked {
        deadline: Duration::from_secs(1),
    };
    let solver = solver_with(&bind, &env.state(), rfc2136(&bind, KEY_256), propagation);
    let challenges = [challenge("lagging.test", 1)];
    let error = solver.present(&challenges).await.unwrap_err();
    let part = "cannot be asked: connection refused";
    assert!(error.message.contains(part), "{error}");
    solver.clean_up(&challenges).await.unwrap();
}

#[tokio::test]
async fn what_a_killed_process_left_is_swept_and_what_a_living_one_presents_is_not() {
    let Some(bind) = Bind::start() else { return };
    let env = TestEnv::new();
    let name = "_acme-challenge.www.example.test";
    let living = solver(&bind, &env.state(), rfc2136(&bind, KEY_256));
    let killed = solver(&bind, &env.state(), rfc2136(&bind, KEY_256));
    living
        .present(&[challenge("www.example.test", 1)])
        .await
        .unwrap();
    killed
        .present(&[challenge("www.example.test", 2)])
        .await
        .unwrap();
    assert_eq!(journalled(&env), 2);
    // The kernel frees the lock of a killed process; so does this.
    drop(killed);

    let next = solver(&bind, &env.state(), rfc2136(&bind, KEY_256));
    next.sweep().await.unwrap();
    assert_eq!(texts(&bind, name), [value(1)]);
    assert_eq!(journalled(&env), 1);
    living
        .clean_up(&[challenge("www.example.test", 1)])
        .await
        .unwrap();
    assert_eq!(journalled(&env), 0);
}

#[tokio::test]
async fn a_record_is_journalled_before_it_is_added_and_stays_while_it_cannot_be_removed() {
    let Some(bind) = Bind::start() else { return };
    let env = TestEnv::new();
    let witness = Arc::new(Witness {
        directory: env.state().join("acme/presented"),
        seen: std::sync::Mutex::default(),
    });
    let solver = solver(
        &bind,
        &env.state(),
        Arc::clone(&witness) as Arc<dyn DnsProvider>,
    );
    let challenges = [challenge("www.example.test", 1)];
    solver.present(&challenges).await.unwrap_err();
    assert_eq!(*witness.seen.lock().unwrap(), [1]);
    solver.clean_up(&challenges).await.unwrap_err();
    assert_eq!(journalled(&env), 1);
}

#[tokio::test]
async fn a_zone_is_found_from_any_depth_and_unknown_names_say_so() {
    let Some(bind) = Bind::start() else { return };
    let dns = Dns::new(Some(bind.address()));
    for name in [
        "example.test",
        "a.b.c.example.test",
        "_acme-challenge.www.example.test",
    ] {
        let zone = dns
            .authority_of(&DomainName::parse(name).unwrap())
            .await
            .unwrap();
        assert_eq!(zone.apex.to_string(), "example.test", "{name}");
        let servers: Vec<_> = zone.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, [format!("ns1.example.test ({})", bind.address())]);
    }
    let unknown = DomainName::parse("no.such.zone").unwrap();
    let error = dns.authority_of(&unknown).await.unwrap_err();
    assert!(matches!(error, DnsError::NoZone { .. }), "{error}");
    let loops = DomainName::parse("_acme-challenge.loop.example.test").unwrap();
    let error = dns.target_of(&loops).await.unwrap_err();
    assert!(matches!(error, DnsError::Loop { .. }), "{error}");
}

/// A provider that counts the journal when it is called, and then fails.
#[derive(Debug)]
struct Witness {
    directory: std::path::PathBuf,
    seen: std::sync::Mutex<Vec<usize>>,
}

impl DnsProvider for Witness {
    fn add<'a>(&'a self, _: &'a TxtRecord) -> BoxFuture<'a, Result<(), SolverError>> {
        self.seen.lock().unwrap().push(entries(&self.directory));
        Box::pin(async { Err(SolverError::new("no")) })
    }

    fn remove<'a>(&'a self, _: &'a TxtRecord) -> BoxFuture<'a, Result<(), SolverError>> {
        Box::pin(async { Err(SolverError::new("no")) })
    }
}

/// A name server that knows no record; counts the questions.
async fn answer_nothing_at(address: SocketAddr) -> Arc<std::sync::atomic::AtomicUsize> {
    let socket = tokio::net::UdpSocket::bind(address).await.unwrap();
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let mut message = Message::from_vec(&buffer[..length]).unwrap();
            message.metadata.message_type = MessageType::Response;
            message.metadata.authoritative = true;
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            socket.send_to(&message.to_vec().unwrap(), from).await.ok();
        }
    });
    asked
}

fn solver(bind: &Bind, home: &Path, provider: Arc<dyn DnsProvider>) -> Dns01 {
    solver_with(bind, home, provider, Propagation::default())
}

fn solver_with(
    bind: &Bind,
    home: &Path,
    provider: Arc<dyn DnsProvider>,
    propagation: Propagation,
) -> Dns01 {
    let settings = Settings {
        credential: "lab".to_owned(),
        propagation,
    };
    let dns = Dns::new(Some(bind.address()));
    Dns01::new(dns, provider, Arc::new(Journal::new(home)), settings)
}

fn rfc2136(bind: &Bind, key: Key) -> Arc<dyn DnsProvider> {
    provider_at(bind.address(), key)
}

fn provider_at(server: SocketAddr, key: Key) -> Arc<dyn DnsProvider> {
    provider(server, key, Arc::new(SystemClock))
}

/// Made as a user would: from a credential in a file.
fn provider(server: SocketAddr, key: Key, clock: Arc<dyn Clock>) -> Arc<dyn DnsProvider> {
    let env = TestEnv::new();
    let (name, algorithm, secret) = key;
    let text = format!(
        "[dns.lab]\nprovider = \"rfc2136\"\nserver = \"{server}\"\nkey-name = \"{name}\"\n\
         algorithm = \"{algorithm}\"\nsecret = \"env:SECRET\"\n"
    );
    let credentials = DnsCredentials::read(&env.write("dns.toml", text)).unwrap();
    let environment = |name: &str| (name == "SECRET").then(|| secret.to_owned());
    let sources = Sources {
        environment: &environment,
    };
    let credential = credentials.get("lab", sources).unwrap();
    credential.provider(clock, None).unwrap()
}

fn record(zone: &str, name: &str, value: &str) -> TxtRecord {
    TxtRecord {
        zone: DomainName::parse(zone).unwrap(),
        name: DomainName::parse(name).unwrap(),
        value: value.to_owned(),
    }
}

/// A challenge whose token is told from others by `n`.
fn challenge(host: &str, n: usize) -> Challenge {
    let token = format!("token-{n:016}");
    Challenge {
        identifier: Identifier::parse(host).unwrap(),
        wildcard: false,
        kind: ChallengeKind::Dns01,
        token: Token::parse(&token).unwrap(),
        key_authorization: KeyAuthorization::new(format!("{token}.{}", "k".repeat(43))).unwrap(),
    }
}

/// What the record of `challenge(_, n)` holds.
fn value(n: usize) -> String {
    challenge("example.test", n).key_authorization.dns_value()
}

fn texts(bind: &Bind, name: &str) -> Vec<String> {
    bind.txt(name).into_iter().collect()
}

fn journalled(env: &TestEnv) -> usize {
    entries(&env.state().join("acme/presented"))
}

/// The journal's entries, without its locks.
fn entries(directory: &Path) -> usize {
    let is_entry = |path: &Path| path.extension().is_some_and(|e| e == "json");
    std::fs::read_dir(directory).map_or(0, |found| {
        found
            .filter(|f| is_entry(&f.as_ref().unwrap().path()))
            .count()
    })
}

/// An error with all its causes, as the command line prints it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut shown = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        shown = format!("{shown}: {cause}");
        next = cause.source();
    }
    shown
}
