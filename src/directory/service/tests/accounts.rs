//! Accounts as whoever runs the directory sees them: named in what happens, and shut out
//! by another process.

use super::policy::bound;
use super::*;
use crate::directory::state::status::AccountEvent;
use crate::directory::state::{AccountId, AccountStatus, AuthorizationId, NewEabKey, OrderStatus};

/// Another process that looks after the same CA.
fn beside(world: &World) -> State {
    State::open(&world.home.path().join("ca/ca.sqlite")).unwrap()
}

fn id_of(client: &Client<'_>) -> AccountId {
    AccountId::parse(client.kid.rsplit('/').next().unwrap()).unwrap()
}

#[tokio::test]
async fn what_happens_says_for_which_account_and_from_where() {
    let world = World::new().await;
    let key = beside(&world).add_eab_key(&NewEabKey::default(), start());
    let key = key.unwrap();
    let own = TestKey::new(KeyType::P256);
    let url = format!("{BASE}/new-account");
    let payload = json!({ "externalAccountBinding": bound(&key, &url, &own) });
    for _ in 0..2 {
        let reply = world
            .post(&url, &own, None, payload.to_string().as_bytes())
            .await;
        assert!(reply.status.is_success(), "{reply:?}");
    }
    let id = world.service.state.account_by_key(&own.jwk().thumbprint());
    let id = id.unwrap().unwrap().id;
    let client = Client {
        world: &world,
        key: own,
        kid: format!("{BASE}/account/{id}"),
    };
    let (chain, leaf_key, _) = client.obtain(&["a.test"]).await;
    let (_, order) = client.ordered(&["b.test"]).await;
    let dns01 = client.first_dns01(&order).await;
    client.post(dns01["url"].as_str().unwrap(), json!({})).await;
    // By its key, which says nothing of who holds it.
    let wanted = json!({ "certificate": b64(chain[0].der()) }).to_string();
    let url = format!("{BASE}/revoke-cert");
    let revoked = world
        .post(&url, &TestKey::of(leaf_key), None, wanted.as_bytes())
        .await;
    assert_eq!(revoked.status, StatusCode::OK, "{revoked:?}");
    let (chain, ..) = client.obtain(&["c.test"]).await;
    let wanted = json!({ "certificate": b64(chain[0].der()) });
    assert_eq!(client.post(&url, wanted).await.status, StatusCode::OK);

    let account = Asker {
        account: Some(id),
        eab_kid: Some(key.kid),
        client: Some(FROM),
    };
    let somebody = Asker {
        account: None,
        eab_kid: None,
        ..account.clone()
    };
    let words = world.seen.happened.lock().unwrap().clone();
    let askers = world.seen.askers.lock().unwrap().clone();
    let seen: Vec<_> = words.iter().map(String::as_str).zip(&askers).collect();
    assert_eq!(
        seen,
        [
            ("registered", &account),
            ("validated dns-01 true", &account),
            ("issued a.test false", &account),
            ("validated dns-01 false", &account),
            ("revoked unspecified", &somebody),
            ("validated dns-01 true", &account),
            ("issued c.test false", &account),
            ("revoked unspecified", &account),
        ]
    );
}

#[tokio::test]
async fn an_account_that_another_process_revokes_is_refused_everywhere_at_once() {
    let world = World::new().await;
    let client = world.client().await;
    let other = world.client().await;
    let (chain, ..) = client.obtain(&["a.test"]).await;
    let (ready, order) = client.ordered(&["b.test"]).await;
    client.authorize(&order).await;
    let (waiting, open) = client.ordered(&["c.test"]).await;
    let dns01 = client.first_dns01(&open).await;
    let (others, _) = other.ordered(&["d.test"]).await;

    let id = id_of(&client);
    let closed = beside(&world).close_account(&id, AccountEvent::Revoke);
    assert_eq!(closed.unwrap().status, AccountStatus::Revoked);

    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let revoke = json!({ "certificate": b64(chain[0].der()) });
    let again = json!({ "identifiers": [dns("e.test")] });
    let csr = json!({ "csr": csr_for(&key, &["b.test"]) });
    for (url, payload) in [
        (client.kid.clone(), json!({ "contact": [] })),
        (client.kid.clone(), json!({ "status": "deactivated" })),
        (format!("{BASE}/new-order"), again),
        (order["finalize"].as_str().unwrap().to_owned(), csr),
        (dns01["url"].as_str().unwrap().to_owned(), json!({})),
        (format!("{BASE}/revoke-cert"), revoke),
    ] {
        let reply = client.post(&url, payload).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{url}");
        assert_eq!(reply.problem(), "unauthorized", "{url}");
    }
    for url in [&client.kid, &ready, &waiting] {
        assert_eq!(client.fetch(url).await.problem(), "unauthorized", "{url}");
    }
    let url = format!("{BASE}/new-account");
    let reply = world.post(&url, &client.key, None, b"{}").await;
    assert_eq!(reply.problem(), "unauthorized", "the key stays taken");
    assert_eq!(world.leaves(), 1);

    let state = &world.service.state;
    for (order, shown) in [(&order, "revoked"), (&open, "invalid")] {
        let authz = order["authorizations"][0].as_str().unwrap();
        let authz = AuthorizationId::parse(authz.rsplit('/').next().unwrap()).unwrap();
        let found = state.authorization(&authz, start()).unwrap();
        assert_eq!(found.status.as_str(), shown);
    }
    for url in [&ready, &waiting] {
        let order = OrderId::parse(url.rsplit('/').next().unwrap()).unwrap();
        let found = state.order(&order, start()).unwrap();
        assert_eq!(found.status.as_str(), "invalid");
    }
    assert_eq!(other.fetch(&others).await.at("status"), "pending");
}

#[tokio::test]
async fn what_was_interrupted_is_not_signed_for_an_account_that_was_revoked_meanwhile() {
    let world = World::new().await;
    let mut begun = Vec::new();
    for name in ["a.test", "b.test"] {
        let client = world.client().await;
        let (url, order) = client.ordered(&[name]).await;
        client.authorize(&order).await;
        let order = OrderId::parse(url.rsplit('/').next().unwrap()).unwrap();
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let csr = csr_for(&key, &[name]);
        let der = BASE64URL_NOPAD.decode(csr.as_bytes()).unwrap();
        let state = &world.service.state;
        state.begin_issuance(&order, &der, start()).unwrap();
        begun.push((id_of(&client), order));
    }
    let [(shut_out, theirs), (_, others)] = &begun[..] else {
        panic!("two orders")
    };
    let state = beside(&world);
    state.close_account(shut_out, AccountEvent::Revoke).unwrap();
    let world = world.reopened(settings()).await;
    let status = |order| world.service.state.order(order, start()).unwrap().status;
    assert_eq!(status(theirs), OrderStatus::Invalid);
    assert_eq!(status(others), OrderStatus::Valid);
    assert_eq!(world.leaves(), 1);
    assert!(state.certificates_of(shut_out).unwrap().is_empty());
    // The request for it is forgotten, but not whose it was.
    let askers = world.seen.askers.lock().unwrap();
    let last = askers.last().unwrap();
    assert_eq!(
        (&last.account, last.client),
        (&Some(begun[1].0.clone()), None)
    );
}
