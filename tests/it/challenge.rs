//! Challenges as a CA sees them: Pebble validates what the solvers present.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use certmint::challenge::{
    Challenge, ChallengeKind, Journal, KeyAuthorization, Solver, StandaloneHttp01,
    StandaloneTlsAlpn01, TableSolver, Token, Webroot01,
};
use certmint::identifier::Identifier;
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, NewAccount, NewOrder, OrderStatus,
};
use instant_acme::{Identifier as AcmeIdentifier, RetryPolicy};

use crate::server::Twin;
use crate::support::pebble::{Options, Pebble, free_port};
use crate::support::{TestEnv, tool};

#[test]
fn pebble_answers_and_has_a_root() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let options = Options {
        eab: true,
        ..Options::default()
    };
    let Some(pebble) = Pebble::start(&env, options) else {
        return;
    };
    let directory = pebble.get(&env, &pebble.directory_url);
    let directory: serde_json::Value = serde_json::from_str(&directory).unwrap();
    assert!(directory["newOrder"].is_string());
    assert_eq!(directory["meta"]["externalAccountRequired"], true);
    assert!(pebble.root(&env).starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(pebble.dns.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn pebble_validates_what_the_standalone_solvers_answer() {
    let env = TestEnv::new();
    let Some(mut pebble) = Pebble::start(&env, Options::default()) else {
        return;
    };
    let on = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let http = StandaloneHttp01::new(on(pebble.options.http_port)).unwrap();
    let tls = StandaloneTlsAlpn01::new(on(pebble.options.tls_port)).unwrap();
    let account = account(&pebble).await;
    for solver in [&http as &dyn Solver, &tls] {
        for names in [
            &["a.test", "b.test", "c.test"][..],
            &["127.0.0.1"],
            &["127.0.0.1", "a.test"],
        ] {
            validate(&account, solver, names).await;
        }
    }
    assert_eq!(
        (http.listening().await, tls.listening().await),
        (None, None)
    );
    pebble.await_line("set VALID by completed challenge");
    let asked = pebble.dns.as_ref().unwrap().asked();
    assert!(asked.iter().any(|(name, _)| name == "a.test"), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pebble_validates_what_a_running_server_answers_before_it_has_a_certificate() {
    let env = TestEnv::new();
    let Some(pebble) = Pebble::start(&env, Options::default()) else {
        return;
    };
    let twin = Twin::on(pebble.options.http_port, pebble.options.tls_port);
    let account = account(&pebble).await;
    for solver in [
        TableSolver::http01(Arc::clone(&twin.challenges)),
        TableSolver::tls_alpn01(Arc::clone(&twin.challenges)),
    ] {
        validate(&account, &solver, &["a.test", "b.test", "127.0.0.1"]).await;
        assert!(twin.challenges.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pebble_validates_what_another_web_server_serves_from_the_webroot() {
    let Some(python) = tool("python3") else {
        return;
    };
    let env = TestEnv::new();
    let port = free_port();
    let options = Options {
        http_port: port,
        ..Options::default()
    };
    let Some(pebble) = Pebble::start(&env, options) else {
        return;
    };
    let www = env.path("www");
    std::fs::create_dir(&www).unwrap();
    let args = ["-u", "-m", "http.server", "--bind", "127.0.0.1"];
    let mut server = env
        .command(python, args)
        .arg(port.to_string())
        .current_dir(&www)
        .under(["/bin/sh", "-c", "exec \"$@\" >&2", "sh"])
        .spawn();
    server.await_line("Serving HTTP");
    let solver = Webroot01::new(www.clone(), Arc::new(Journal::new(&env.state())));
    validate(&account(&pebble).await, &solver, &["a.test", "b.test"]).await;
    assert_eq!(std::fs::read_dir(&www).unwrap().count(), 0);
}

async fn account(pebble: &Pebble) -> Account {
    let new = NewAccount {
        contact: &[],
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let builder = Account::builder_with_root(&pebble.ca_file).unwrap();
    let directory = pebble.directory_url.clone();
    builder.create(&new, directory, None).await.unwrap().0
}

/// One order whose authorizations all become valid by `solver`.
async fn validate(account: &Account, solver: &dyn Solver, names: &[&str]) {
    let identifiers: Vec<_> = names
        .iter()
        .map(|name| match name.parse() {
            Ok(ip) => AcmeIdentifier::Ip(ip),
            Err(_) => AcmeIdentifier::Dns((*name).to_owned()),
        })
        .collect();
    let mut order = account
        .new_order(&NewOrder::new(&identifiers))
        .await
        .unwrap();
    let kind = match solver.kind() {
        ChallengeKind::Http01 => ChallengeType::Http01,
        ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
        ChallengeKind::Dns01 => ChallengeType::Dns01,
    };
    let mut challenges = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.unwrap();
        assert_eq!(authorization.status, AuthorizationStatus::Pending);
        let challenge = authorization.challenge(kind.clone()).unwrap();
        let text = challenge.key_authorization().as_str().to_owned();
        challenges.push(Challenge {
            identifier: Identifier::parse(&challenge.identifier().to_string()).unwrap(),
            wildcard: false,
            kind: solver.kind(),
            token: Token::parse(&challenge.token).unwrap(),
            key_authorization: KeyAuthorization::new(text).unwrap(),
        });
    }
    solver.sweep().await.unwrap();
    solver.present(&challenges).await.unwrap();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.unwrap();
        let mut challenge = authorization.challenge(kind.clone()).unwrap();
        challenge.set_ready().await.unwrap();
    }
    let policy = RetryPolicy::new()
        .initial_delay(Duration::from_millis(50))
        .timeout(Duration::from_secs(60));
    let status = order.poll_ready(&policy).await;
    solver.clean_up(&challenges).await.unwrap();
    assert_eq!(status.unwrap(), OrderStatus::Ready, "{names:?}");
}
