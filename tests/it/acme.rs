//! The ACME client against a real Pebble: certificates, accounts, revocation, and
//! every fault at every endpoint.

pub(crate) mod issuing;
mod matrix;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use certmint::acme::{
    AccountHome, AcmeError, Authority, ExternalAccount, Limits, Reason, Registration, Revoker,
    Session, Wishes, revoke,
};
use certmint::bundle::Certificate;
use certmint::challenge::{ChallengeKind, Solver, StandaloneHttp01, StandaloneTlsAlpn01};
use certmint::clock::{Clock, Duration as Span, SystemClock};
use certmint::finding::words::causes;
use certmint::identifier::EmailAddress;
use certmint::issuer::{Issuer as _, Predecessor};
use certmint::key::{KeyType, PrivateKey};
use serde_json::json;

use self::issuing::{
    Counting, authority, client, issue, issuer, quick, registration, renew, wishing,
};
use crate::support::fault::{Endpoint, Fault, FaultProxy, RetryAfter, Rule};
use crate::support::pebble::{Options, Pebble, free_port};
use crate::support::{TestEnv, say, tool};

/// How long one answer of a CA's that is in order may take on a busy machine.
const EXCHANGE: Duration = Duration::from_secs(10);

/// Pebble that believes everything.
fn gullible(env: &TestEnv, more: &[(&'static str, &'static str)]) -> Option<Pebble> {
    let env_of_pebble = [&[("PEBBLE_VA_ALWAYS_VALID", "1")], more].concat();
    let options = Options {
        env: env_of_pebble,
        ..Options::default()
    };
    Pebble::start(env, options)
}

fn address(pebble: &Pebble) -> SocketAddr {
    let url: url::Url = pebble.directory_url.parse().unwrap();
    SocketAddr::from((Ipv4Addr::LOCALHOST, url.port().unwrap()))
}

fn home_authority(env: &TestEnv, pebble: &Pebble) -> Arc<Authority> {
    let http = client(&pebble.ca_file, EXCHANGE);
    authority(&env.state(), &pebble.directory_url, http)
}

async fn session(directory: &str, ca_file: &Path) -> Session {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let http = client(ca_file, EXCHANGE);
    let directory = directory.parse().unwrap();
    let opened = Session::open(http, &directory, Limits::default(), clock).await;
    opened.unwrap()
}

fn account_home(env: &TestEnv, directory: &str) -> AccountHome {
    AccountHome::new(&env.state(), &directory.parse().unwrap())
}

#[tokio::test]
async fn http_01_gives_a_certificate_quickly_and_the_account_is_kept() {
    let env = TestEnv::new();
    let Some(pebble) = Pebble::start(&env, Options::default()) else {
        return;
    };
    let port = pebble.options.http_port;
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let solver: Arc<dyn Solver> = Arc::new(StandaloneHttp01::new(address).unwrap());
    let began = Instant::now();
    let one = issuer(home_authority(&env, &pebble), vec![Arc::clone(&solver)]);
    let issued = issue(&one, &["127.0.0.1"]).await.unwrap();
    let first = began.elapsed();
    assert!(issued.bundle.chain().len() >= 2);
    let file = account_home(&env, &pebble.directory_url).path();
    let account = std::fs::read(&file).unwrap();
    let names = (1..=10).map(|n| format!("127.0.0.{n}"));
    let names: Vec<String> = names.collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let began = Instant::now();
    let ten = issuer(home_authority(&env, &pebble), vec![solver]);
    let issued = issue(&ten, &names).await.unwrap();
    assert_eq!(issued.bundle.leaf().names().len(), 10);
    say(&format!(
        "http-01: one name and an account {first:?}, ten names {:?}",
        began.elapsed()
    ));
    assert_eq!(std::fs::read(&file).unwrap(), account);
    let mode = file.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let localhost: IpAddr = Ipv4Addr::LOCALHOST.into();
    assert!(TcpListener::bind((localhost, port)).is_ok());
}

#[tokio::test]
async fn a_taken_port_is_no_obstacle_when_there_is_another_way() {
    let env = TestEnv::new();
    let Some(pebble) = Pebble::start(&env, Options::default()) else {
        return;
    };
    let on = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let taken = free_port();
    let other = TcpListener::bind(on(taken)).unwrap();
    let solvers: Vec<Arc<dyn Solver>> = vec![
        Arc::new(StandaloneTlsAlpn01::new(on(taken)).unwrap()),
        Arc::new(StandaloneHttp01::new(on(pebble.options.http_port)).unwrap()),
    ];
    let issuer = issuer(home_authority(&env, &pebble), solvers);
    issue(&issuer, &["a.example"]).await.unwrap();
    drop(other);
}

#[tokio::test]
async fn every_kind_of_key_is_certified_and_half_of_all_nonces_refused_is_survived() {
    let env = TestEnv::new();
    let options = Options {
        nonce_reject: 50,
        env: vec![("PEBBLE_VA_ALWAYS_VALID", "1")],
        ..Options::default()
    };
    let Some(pebble) = Pebble::start(&env, options) else {
        return;
    };
    let solver = Counting::new(ChallengeKind::Dns01);
    let issuer = issuer(
        home_authority(&env, &pebble),
        vec![Arc::<Counting>::clone(&solver)],
    );
    // Names of their own: now and then Pebble reuses an authorization, told or not.
    for (kind, name) in [
        (KeyType::P256, "a.example"),
        (KeyType::P384, "b.example"),
        (KeyType::Rsa2048, "c.example"),
    ] {
        let names = [name, &format!("*.{name}")];
        let issued = renew(&issuer, &names, kind, None).await;
        assert_eq!(issued.unwrap().bundle.key().kind(), kind);
    }
    assert_eq!(solver.open.load(Ordering::SeqCst), 0);
    assert_eq!(solver.presented.load(Ordering::SeqCst), 6);
}

#[tokio::test]
async fn a_vanished_account_is_registered_again_within_the_run() {
    let env = TestEnv::new();
    let (Some(pebble), Some(forgetful)) = (gullible(&env, &[]), gullible(&env, &[])) else {
        return;
    };
    let proxy = FaultProxy::start(&env.path("tmp"), address(&pebble), Vec::new()).await;
    let http = client(proxy.ca_file(), EXCHANGE);
    let ca = authority(&env.state(), &proxy.directory(), http);
    let solver: Arc<dyn Solver> = Counting::new(ChallengeKind::Http01);
    let issuer = issuer(ca, vec![Arc::clone(&solver)]);
    let before = issue(&issuer, &["a.example"]).await.unwrap();
    let home = account_home(&env, &proxy.directory());
    let saved = || home.load().unwrap().unwrap().url;
    let old = saved();
    proxy.set_upstream(address(&forgetful));
    let after = issue(&issuer, &["a.example"]).await.unwrap();
    assert_ne!(old, saved());
    assert_eq!(after.obtained.unwrap().account, saved().unwrap());
    assert_ne!(before.bundle.leaf().serial(), after.bundle.leaf().serial());
}

#[tokio::test]
async fn a_cancelled_run_cleans_up() {
    let env = TestEnv::new();
    let slow = [("PEBBLE_VA_NOSLEEP", "0"), ("PEBBLE_VA_SLEEPTIME", "30")];
    let Some(pebble) = gullible(&env, &slow) else {
        return;
    };
    let solver = Counting::new(ChallengeKind::Http01);
    let issuer = issuer(
        home_authority(&env, &pebble),
        vec![Arc::<Counting>::clone(&solver)],
    );
    let issuer = Arc::new(issuer);
    let running = Arc::clone(&issuer);
    let run = tokio::spawn(async move { issue(&running, &["a.example"]).await.is_ok() });
    while solver.open.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    issuer.settle().await;
    assert_eq!(solver.open.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_failed_validation_names_the_name_the_problem_and_the_remedy() {
    let env = TestEnv::new();
    let Some(pebble) = Pebble::start(&env, Options::default()) else {
        return;
    };
    let solver = Counting::new(ChallengeKind::Http01);
    let issuer = issuer(
        home_authority(&env, &pebble),
        vec![Arc::<Counting>::clone(&solver)],
    );
    let error = issue(&issuer, &["127.0.0.1"]).await.unwrap_err();
    let text = causes(&error);
    assert!(
        text.contains("`127.0.0.1` by http-01: connection"),
        "{text}"
    );
    assert!(text.contains(&pebble.directory_url), "{text}");
    assert!(error.hint.unwrap().contains("port 80 of `127.0.0.1`"));
    assert!(!error.permanent);
    assert_eq!(solver.open.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_account_is_found_again_changed_rolled_over_and_ended() {
    let env = TestEnv::new();
    let Some(pebble) = Pebble::start(&env, Options::default()) else {
        return;
    };
    let session = session(&pebble.directory_url, &pebble.ca_file).await;
    let home = account_home(&env, &pebble.directory_url);
    let refused = home.register(&session, &Registration::default()).await;
    assert!(matches!(refused, Err(AcmeError::TermsNotAgreed { .. })));
    assert!(!home.path().exists());
    let made = home.register(&session, &registration()).await.unwrap();
    // As after a crash between the CA's answer and the writing of it.
    let text = std::fs::read_to_string(home.path()).unwrap();
    let known = format!("\"url\": \"{}\"", made.url);
    std::fs::write(home.path(), text.replace(&known, "\"url\": null")).unwrap();
    assert!(home.load().unwrap().unwrap().url.is_none());
    let again = home.register(&session, &Registration::default()).await;
    assert_eq!(again.unwrap().url, made.url);
    let ada = EmailAddress::parse("ada@example.com").unwrap();
    let info = home.set_contact(&session, &[ada]).await.unwrap();
    assert_eq!(info.contact, ["mailto:ada@example.com"]);
    let before = std::fs::read(home.path()).unwrap();
    home.roll_over(&session).await.unwrap();
    assert_ne!(std::fs::read(home.path()).unwrap(), before);
    // As after a crash between the CA's answer to a rollover and the renaming.
    let after = std::fs::read(home.path()).unwrap();
    std::fs::rename(home.path(), home.path().with_file_name("account.next.json")).unwrap();
    std::fs::write(home.path(), &before).unwrap();
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(home.path(), mode).unwrap();
    assert_eq!(home.show(&session).await.unwrap().status, "valid");
    assert_eq!(std::fs::read(home.path()).unwrap(), after);
    home.deactivate(&session).await.unwrap();
    let gone = home.show(&session).await;
    assert!(matches!(gone, Err(AcmeError::NoAccount(_))), "{gone:?}");
}

#[tokio::test]
async fn external_accounts_are_bound_and_their_lack_is_said_before_anything_is_made() {
    let env = TestEnv::new();
    let options = Options {
        eab: true,
        ..Options::default()
    };
    let Some(pebble) = Pebble::start(&env, options) else {
        return;
    };
    let session = session(&pebble.directory_url, &pebble.ca_file).await;
    let home = account_home(&env, &pebble.directory_url);
    let refused = home.register(&session, &registration()).await;
    assert!(matches!(refused, Err(AcmeError::ExternalAccountRequired)));
    assert!(!home.path().exists());
    let external = ExternalAccount::new(Pebble::EAB_KID, Pebble::EAB_HMAC).unwrap();
    assert!(!format!("{external:?}").contains(&Pebble::EAB_HMAC[..4]));
    let registration = Registration {
        external: Some(external),
        ..registration()
    };
    let info = home.register(&session, &registration).await.unwrap();
    assert_eq!(info.status, "valid");
}

#[tokio::test]
async fn certificates_are_revoked_by_account_and_by_their_own_key_and_twice_is_fine() {
    let env = TestEnv::new();
    let Some(pebble) = gullible(&env, &[]) else {
        return;
    };
    let solver = Counting::new(ChallengeKind::Http01);
    let issuer = issuer(home_authority(&env, &pebble), vec![solver]);
    let session = session(&pebble.directory_url, &pebble.ca_file).await;
    let home = account_home(&env, &pebble.directory_url);
    for (kind, by_key) in [
        (KeyType::P256, false),
        (KeyType::P256, true),
        (KeyType::P384, true),
        (KeyType::Rsa2048, true),
    ] {
        let issued = renew(&issuer, &["a.example"], kind, None).await.unwrap();
        for _ in 0..2 {
            let by = if by_key {
                Revoker::CertificateKey(issued.bundle.key())
            } else {
                Revoker::Account(&home)
            };
            revoke(&session, by, issued.bundle.leaf(), Reason::Superseded)
                .await
                .unwrap();
        }
    }
    let other = PrivateKey::generate(KeyType::P256).unwrap();
    let issued = issue(&issuer, &["a.example"]).await.unwrap();
    let by = Revoker::CertificateKey(&other);
    let refused = revoke(&session, by, issued.bundle.leaf(), Reason::KeyCompromise).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn the_preferred_chain_is_taken_from_the_alternates() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let chains = [
        ("PEBBLE_ALTERNATE_ROOTS", "2"),
        ("PEBBLE_CHAIN_LENGTH", "2"),
    ];
    let Some(pebble) = gullible(&env, &chains) else {
        return;
    };
    let top = async |preferred: Option<&str>| {
        let solver = Counting::new(ChallengeKind::Http01);
        let wishes = Wishes {
            profile: None,
            preferred_chain: preferred.map(str::to_owned),
        };
        let issuer = wishing(home_authority(&env, &pebble), vec![solver], wishes);
        let issued = issue(&issuer, &["a.example"]).await.unwrap();
        let issuer = issued.bundle.chain().last().unwrap().issuer().to_owned();
        issuer.trim_start_matches("CN=").to_owned()
    };
    let usual = top(None).await;
    let roots = (0..3).map(|n| {
        let url = format!("{}/roots/{n}", pebble.management_url);
        let roots = Certificate::parse_pem(pebble.get(&env, &url).as_bytes()).unwrap();
        roots[0].common_name().unwrap().to_owned()
    });
    let roots: Vec<String> = roots.collect();
    let other = roots.iter().find(|name| **name != usual).unwrap();
    assert_eq!(&top(Some(other)).await, other);
    assert_eq!(top(Some("No Such Root")).await, usual);
}

#[tokio::test]
async fn the_second_ca_is_asked_when_the_first_is_not_there() {
    let env = TestEnv::new();
    let Some(pebble) = gullible(&env, &[]) else {
        return;
    };
    let absent = "https://127.0.0.1:1/dir";
    let ca = |directory: &str| {
        let http = client(&pebble.ca_file, EXCHANGE);
        authority(&env.state(), directory, http)
    };
    let solver = || -> Vec<Arc<dyn Solver>> { vec![Counting::new(ChallengeKind::Http01)] };
    let asking = |directory: &str| issuer(ca(directory), solver()).limits(quick());
    let both = asking(absent).fallback(Some(ca(&pebble.directory_url)));
    let issued = issue(&both, &["a.example"]).await.unwrap();
    let obtained = issued.obtained.unwrap();
    assert_eq!(obtained.directory.url().as_str(), pebble.directory_url);
    let neither = asking(absent).fallback(Some(ca("https://127.0.0.1:2/dir")));
    let error = issue(&neither, &["a.example"]).await.unwrap_err();
    let text = causes(&error);
    assert!(
        text.contains("127.0.0.1:1/") && text.contains("127.0.0.1:2/"),
        "{text}"
    );
}

/// What this Pebble lacks, the proxy adds: profiles and renewal information.
#[tokio::test]
async fn profiles_and_renewal_information_are_used_where_the_directory_has_them() {
    let env = TestEnv::new();
    let Some(pebble) = gullible(&env, &[]) else {
        return;
    };
    let window =
        r#"{"suggestedWindow":{"start":"2030-01-01T00:00:00Z","end":"2030-01-03T00:00:00Z"}}"#;
    let directory = Fault::Set(vec![
        ("renewalInfo", json!("{proxy}/ari/")),
        ("meta/profiles", json!({ "shortlived": "six days" })),
    ]);
    let busy = Fault::Html(503, Some(RetryAfter::Seconds(1)));
    let answer = |wish| Fault::Instead(200, window, wish);
    let wishes = [
        (None, Span::hours(6)),
        (Some(RetryAfter::Seconds(7200)), Span::hours(2)),
        (Some(RetryAfter::Date(7200)), Span::hours(2)),
        (Some(RetryAfter::Seconds(0)), Span::minutes(1)),
        (Some(RetryAfter::Text("soon")), Span::hours(6)),
    ];
    let at = |first, fault| Rule {
        endpoint: Endpoint::RenewalInfo,
        first,
        count: 1,
        fault,
    };
    let mut rules = vec![Rule::always(Endpoint::Directory, directory), at(1, busy)];
    rules.extend((2..).zip(wishes).map(|(n, (wish, _))| at(n, answer(wish))));
    let backwards =
        r#"{"suggestedWindow":{"start":"2030-01-03T00:00:00Z","end":"2030-01-01T00:00:00Z"}}"#;
    rules.push(Rule::always(
        Endpoint::RenewalInfo,
        Fault::Instead(200, backwards, None),
    ));
    let proxy = FaultProxy::start(&env.path("tmp"), address(&pebble), rules).await;
    let http = client(proxy.ca_file(), EXCHANGE);
    let ca = authority(&env.state(), &proxy.directory(), http);
    let asking = |profile: &str| {
        let solver = Counting::new(ChallengeKind::Http01);
        let wishes = Wishes {
            profile: Some(profile.to_owned()),
            preferred_chain: None,
        };
        wishing(Arc::clone(&ca), vec![solver], wishes)
    };
    let issuer = asking("shortlived");
    let old = issue(&issuer, &["a.example"]).await.unwrap();
    let replaces = Predecessor {
        leaf: old.bundle.leaf(),
        obtained: old.obtained.as_ref().unwrap(),
    };
    for (wish, after) in wishes {
        let now = SystemClock.now();
        let info = issuer.renewal_info(replaces).await.unwrap().unwrap();
        assert_eq!(info.end - info.start, Span::days(2));
        let off = info.ask_again - (now + after);
        assert!(off.abs() < Span::seconds(20), "{wish:?}: {off}");
    }
    let senseless = causes(&issuer.renewal_info(replaces).await.unwrap_err());
    assert!(senseless.contains("no window whose end"), "{senseless}");
    renew(&issuer, &["a.example"], KeyType::P256, Some(replaces))
        .await
        .unwrap();
    let seen = proxy.seen();
    let orders = seen.iter().filter(|s| s.endpoint == Endpoint::NewOrder);
    let orders: Vec<_> = orders.map(|order| &order.payload).collect();
    // Pebble overlooks `replaces`; the order counts all the same.
    assert_eq!(orders.len(), 2);
    assert!(orders.iter().all(|order| order["profile"] == "shortlived"));
    assert!(orders[0]["replaces"].is_null() && orders[1]["replaces"].is_string());
    let error = issue(&asking("tiny"), &["a.example"]).await.unwrap_err();
    assert!(error.permanent && error.hint.as_deref() == Some("it has shortlived"));
    assert!(causes(&error).contains("no profile `tiny`"), "{error}");
}
