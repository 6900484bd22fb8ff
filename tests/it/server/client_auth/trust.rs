//! The files that say who may connect: at the start, and when they change.

use std::time::Instant;

use super::*;
use crate::server::site::PATIENCE;

/// Waits until a client that shows `shown` gets what is expected.
#[track_caller]
fn await_outcome(site: &Site, bundle: &CertBundle, expected: Option<AlertDescription>) {
    let begin = Instant::now();
    loop {
        let outcome = alert(site, Some(Shown::certificate(bundle)));
        if outcome == expected {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{outcome:?}");
        std::thread::yield_now();
    }
}

fn status(stream: &mut Stream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let head = read_until(stream, "\r\n\r\n");
    head[9..12].to_owned()
}

#[test]
fn a_revocation_counts_for_new_connections_and_for_those_that_are_open() {
    let env = TestEnv::new();
    let pki = Pki::new();
    let [alice, bob] = ["a.test", "b.test"].map(|name| pki.client(KeyType::P256, &[name]));
    let lists = |revoked: &[&Certificate]| [pki.crl(revoked, 2045), pki.root_crl()].concat();
    let policy = authorities(&env, &pki, &[lists(&[])], Demand::Require);
    let site = site(&env, policy);
    let open = |bundle| {
        let client = client(&site, Some(Shown::certificate(bundle)));
        site.handshake_with(&client, "localhost").unwrap()
    };
    let (mut of_alice, mut of_bob) = (open(&alice), open(&bob));
    let head = "HEAD / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(status(&mut of_alice, head), "200");
    assert_eq!(status(&mut of_bob, head), "200");
    env.write("crl.pem", lists(&[bob.leaf()]));
    await_outcome(&site, &bob, Some(AlertDescription::CertificateRevoked));
    assert_eq!(status(&mut of_bob, head), "421");
    assert_eq!(status(&mut of_alice, head), "200");
    assert_eq!(alert(&site, Some(Shown::certificate(&alice))), None);
}

#[test]
fn another_authority_is_taken_over_and_unusable_files_leave_the_old_in_force() {
    let env = TestEnv::new();
    let [first, second] = ["First", "Second"].map(Pki::named);
    let [of_first, of_second] = [&first, &second].map(|p| p.client(KeyType::P256, &["a.test"]));
    let site = site(&env, authorities(&env, &first, &[], Demand::Require));
    assert_eq!(alert(&site, Some(Shown::certificate(&of_first))), None);
    let clients = env.write("clients.pem", second.root.to_pem());
    await_outcome(&site, &of_second, None);
    await_outcome(&site, &of_first, Some(AlertDescription::UnknownCA));
    // Nothing of this lets anybody in, or keeps anybody out.
    for broken in [Some(""), Some("words"), None] {
        match broken {
            Some(text) => drop(env.write("clients.pem", text)),
            None => std::fs::remove_file(&clients).unwrap(),
        }
        let until = Instant::now() + std::time::Duration::from_millis(200);
        while Instant::now() < until {
            assert_eq!(alert(&site, Some(Shown::certificate(&of_second))), None);
            let refused = alert(&site, Some(Shown::certificate(&of_first)));
            assert_eq!(refused, Some(AlertDescription::UnknownCA));
            assert_eq!(
                alert(&site, None),
                Some(AlertDescription::CertificateRequired)
            );
        }
    }
    env.write("clients.pem", first.root.to_pem());
    await_outcome(&site, &of_first, None);
}

#[test]
fn what_changed_before_the_first_connection_counts_for_it() {
    let env = TestEnv::new();
    let pki = Pki::new();
    let alice = pki.client(KeyType::P256, &["a.test"]);
    let lists = |revoked: &[&Certificate]| [pki.crl(revoked, 2045), pki.root_crl()].concat();
    let site = site(
        &env,
        authorities(&env, &pki, &[lists(&[])], Demand::Require),
    );
    env.write("crl.pem", lists(&[alice.leaf()]));
    let refused = alert(&site, Some(Shown::certificate(&alice)));
    assert_eq!(refused, Some(AlertDescription::CertificateRevoked));
}
