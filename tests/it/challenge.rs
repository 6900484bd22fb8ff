//! Challenges as a CA sees them: Pebble validates what the solvers present.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use certmint::challenge::{
    Journal, Solver, StandaloneHttp01, StandaloneTlsAlpn01, TableSolver, Webroot01,
};

use crate::acme::issuing::{authority, client, issue, issuer};
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
    let http = Arc::new(StandaloneHttp01::new(on(pebble.options.http_port)).unwrap());
    let tls = Arc::new(StandaloneTlsAlpn01::new(on(pebble.options.tls_port)).unwrap());
    let solvers: [Arc<dyn Solver>; 2] = [
        Arc::<StandaloneHttp01>::clone(&http),
        Arc::<StandaloneTlsAlpn01>::clone(&tls),
    ];
    for solver in solvers {
        for names in [
            &["a.test", "b.test", "c.test"][..],
            &["127.0.0.1"],
            &["127.0.0.1", "a.test"],
        ] {
            validate(&env, &pebble, Arc::clone(&solver), names).await;
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
    for solver in [
        TableSolver::http01(Arc::clone(&twin.challenges)),
        TableSolver::tls_alpn01(Arc::clone(&twin.challenges)),
    ] {
        let names = ["a.test", "b.test", "127.0.0.1"];
        validate(&env, &pebble, Arc::new(solver), &names).await;
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
    validate(&env, &pebble, Arc::new(solver), &["a.test", "b.test"]).await;
    assert_eq!(std::fs::read_dir(&www).unwrap().count(), 0);
}

/// One order whose names are all shown control of by `solver`.
async fn validate(env: &TestEnv, pebble: &Pebble, solver: Arc<dyn Solver>, names: &[&str]) {
    let http = client(&pebble.ca_file, Duration::from_secs(30));
    let authority = authority(&env.state(), &pebble.directory_url, http);
    let issued = issue(&issuer(authority, vec![solver]), names).await;
    assert!(issued.is_ok(), "{names:?}: {issued:?}");
}
