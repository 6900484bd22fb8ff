//! What may be had: for how long, in whose place, by whose key, and after what was
//! permitted has changed.

use super::*;

#[tokio::test]
async fn dates_are_issued_exactly_or_refused() {
    let world = World::new().await;
    let client = world.client().await;
    let ask = |start: &str, end: &str, profile: Option<&str>| {
        let mut order = json!({ "identifiers": [dns("a.test")], "notAfter": end });
        if !start.is_empty() {
            order["notBefore"] = json!(start);
        }
        if let Some(profile) = profile {
            order["profile"] = json!(profile);
        }
        client.order(order)
    };
    let reply = ask("2026-11-22T12:10:00Z", "2026-12-01T00:00:00Z", None).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    let order = reply.json();
    assert_eq!(order["notBefore"], "2026-11-22T12:10:00Z");
    client.authorize(&order).await;
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let done = client.finalize(&order, &csr_for(&key, &["a.test"])).await;
    let chain = client.fetch(&done.at("certificate")).await;
    let leaf = &Certificate::parse_pem(&chain.body).unwrap()[0];
    assert_eq!(leaf.not_before(), moment("2026-11-22T12:10:00Z"));
    assert_eq!(leaf.not_after(), moment("2026-12-01T00:00:00Z"));
    for (start, end) in [
        ("", "2026-11-22T11:00:00Z"),
        ("", "2027-03-01T00:00:00Z"),
        ("", "2026-12-01T00:00:00.5Z"),
        ("", "soon"),
        ("", "9999-12-31T23:59:59-23:59"),
        ("0000-01-01T00:00:00+23:59", "2026-11-25T00:00:00Z"),
        ("2026-11-20T00:00:00Z", "2026-11-25T00:00:00Z"),
        ("2026-12-20T00:00:00Z", "2026-12-25T00:00:00Z"),
        ("2026-11-23T00:00:00Z", "2026-11-22T13:00:00Z"),
    ] {
        assert_eq!(
            ask(start, end, None).await.problem(),
            "malformed",
            "{start} {end}"
        );
    }
    let end = "2026-12-01T00:00:00Z";
    assert_eq!(ask("", end, Some("none")).await.problem(), "invalidProfile");
    assert_eq!(
        ask("", end, Some("classic")).await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn what_replaces_is_the_accounts_own_and_once() {
    let world = World::new().await;
    let client = world.client().await;
    let (chain, ..) = client.obtain(&["a.test", "b.test"]).await;
    let leaf = &chain[0];
    let id = ari_id(leaf);
    let info = world.get(&format!("/renewal-info/{id}")).await;
    assert_eq!(info.header("retry-after"), "21600");
    let window = &info.json()["suggestedWindow"];
    assert_eq!(
        window["start"], "2026-11-25T23:57:30Z",
        "half of a short life"
    );
    assert!(window["end"].as_str() > window["start"].as_str());

    let replacing = |names: &[&str]| {
        let identifiers: Vec<_> = names.iter().map(|name| dns(name)).collect();
        json!({ "identifiers": identifiers, "replaces": id })
    };
    let other = world.client().await;
    assert_eq!(
        other.order(replacing(&["a.test"])).await.problem(),
        "unauthorized"
    );
    assert_eq!(
        client.order(replacing(&["c.test"])).await.problem(),
        "malformed"
    );
    let reply = client.order(replacing(&["a.test"])).await;
    assert_eq!(
        (reply.status, reply.at("replaces")),
        (StatusCode::CREATED, id.clone())
    );
    let twice = client.order(replacing(&["a.test"])).await;
    assert_eq!(
        (twice.status, twice.problem()),
        (StatusCode::CONFLICT, "alreadyReplaced".into())
    );

    let revoked = json!({ "certificate": b64(leaf.der()) });
    client.post(&format!("{BASE}/revoke-cert"), revoked).await;
    let info = world.get(&format!("/renewal-info/{id}")).await.json();
    assert!(info["suggestedWindow"]["end"].as_str().unwrap() < "2026-11-22T12:00:00Z");
    for bad in ["x", "a.b", &id[1..], &format!("{id}="), "."] {
        let reply = world.get(&format!("/renewal-info/{bad}")).await;
        assert_eq!(reply.problem(), "malformed", "{bad}");
    }
}

/// The window of a renewal.
async fn window_of(world: &World, leaf: &Certificate) -> [Timestamp; 2] {
    let url = format!("/renewal-info/{}", ari_id(leaf));
    let info = world.get(&url).await.json();
    assert_eq!(info.get("explanationURL"), None);
    ["start", "end"].map(|edge| moment(info["suggestedWindow"][edge].as_str().unwrap()))
}

#[tokio::test]
async fn a_new_root_brings_clients_forward_within_a_day_and_a_new_intermediate_does_not() {
    let world = World::new().await;
    let client = world.client().await;
    let (first, ..) = client.obtain(&["a.test"]).await;
    let usual = window_of(&world, &first[0]).await;

    world.clock.advance(Duration::DAY);
    let now = world.clock.now();
    let rotation = RotateIntermediate::default();
    rotate_intermediate(world.home.path(), &rotation, now).unwrap();
    assert_eq!(window_of(&world, &first[0]).await, usual);

    world.clock.advance(Duration::DAY);
    let now = world.clock.now();
    rotate_root(world.home.path(), &RotateRoot::default(), now).unwrap();
    let [start, end] = window_of(&world, &first[0]).await;
    assert!(now - Duration::HOUR <= start && start <= now, "{start}");
    assert_eq!(end - start, Duration::DAY, "a third of five days is more");
    // It stays, so that whoever picks a moment in it comes to that moment.
    world.clock.advance(Duration::HOUR * 7);
    assert_eq!(window_of(&world, &first[0]).await, [start, end]);
    // Who comes now is not held up, and has what is not to be replaced.
    let replacing = json!({ "identifiers": [dns("a.test")], "replaces": ari_id(&first[0]) });
    assert_eq!(client.order(replacing).await.status, StatusCode::CREATED);
    let (second, ..) = client.obtain(&["a.test"]).await;
    assert_eq!(second.len(), 3, "leaf, I3, R2 by R1");
    assert!(window_of(&world, &second[0]).await[0] > world.clock.now());

    // What would have come sooner still does.
    let (third, ..) = client.obtain(&["b.test"]).await;
    world.clock.advance(Duration::DAY * 4);
    let due = window_of(&world, &third[0]).await;
    rotate_root(world.home.path(), &RotateRoot::default(), world.clock.now()).unwrap();
    assert_eq!(window_of(&world, &third[0]).await, due);
}

#[tokio::test]
async fn external_accounts_bound_names_and_may_be_believed() {
    let world = World::with(Settings {
        require_eab: true,
        permit: Permit::Within(NameConstraints::default()),
        ..settings()
    })
    .await;
    let new = crate::directory::state::NewEabKey {
        names: NameConstraints::new(vec!["lab.test".parse().unwrap()]),
        trust: Trust::SkipValidation,
    };
    let eab = world.service.state.add_eab_key(&new, start()).unwrap();
    let url = format!("{BASE}/new-account");
    let key = TestKey::new(KeyType::P256);
    let payload = json!({ "externalAccountBinding": bound(&eab, &url, &key) }).to_string();
    let made = world.post(&url, &key, None, payload.as_bytes()).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let kid = made.header("location").to_owned();
    let client = Client {
        world: &world,
        key,
        kid,
    };

    let outside = client.order(json!({ "identifiers": [dns("a.test"), dns("a.lab.test")] }));
    let outside = outside.await;
    assert_eq!(outside.problem(), "rejectedIdentifier");
    assert_eq!(
        outside.json()["identifier"],
        dns("a.test"),
        "and says which"
    );
    let (_, order) = client.ordered(&["a.lab.test", "*.lab.test"]).await;
    assert_eq!(order["status"], "ready", "believed");
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let done = client
        .finalize(&order, &csr_for(&key, &["a.lab.test", "*.lab.test"]))
        .await;
    assert_eq!(done.at("status"), "valid");

    let (_, ready) = client.ordered(&["b.lab.test"]).await;
    let second = TestKey::new(KeyType::P256);
    let payload = json!({ "externalAccountBinding": bound(&eab, &url, &second) }).to_string();
    let twice = world.post(&url, &second, None, payload.as_bytes()).await;
    assert_eq!(twice.problem(), "unauthorized", "one account per key");
    world
        .service
        .state
        .revoke_eab_key(&eab.kid, start())
        .unwrap();
    let late = client
        .order(json!({ "identifiers": [dns("a.lab.test")] }))
        .await;
    assert_eq!(late.problem(), "unauthorized");
    // Nor is what it had ordered before made any more.
    let late = client
        .finalize(&ready, &csr_for(&key, &["b.lab.test"]))
        .await;
    assert_eq!(late.problem(), "unauthorized");
    assert_eq!(world.leaves(), 1);
}

#[tokio::test]
async fn a_policy_that_was_narrowed_holds_for_what_was_ordered_before() {
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    for (narrow, want) in [
        (
            Settings {
                require_eab: true,
                ..settings()
            },
            "externalAccountRequired",
        ),
        (
            Settings {
                permit: Permit::Exactly(Default::default()),
                ..settings()
            },
            "rejectedIdentifier",
        ),
    ] {
        let world = World::new().await;
        let client = world.client().await;
        let (_, order) = client.ordered(&["a.test"]).await;
        client.authorize(&order).await;
        let (account, kid) = (client.key, client.kid);
        let world = world.reopened(narrow).await;
        let client = Client {
            world: &world,
            key: account,
            kid,
        };
        let reply = client.finalize(&order, &csr_for(&key, &["a.test"])).await;
        assert_eq!(reply.problem(), want);
        let reply = client
            .order(json!({ "identifiers": [dns("a.test")] }))
            .await;
        assert_eq!(reply.problem(), want);
        assert_eq!(world.leaves(), 0);
    }
}

pub(super) fn bound(eab: &crate::directory::state::EabKey, url: &str, key: &TestKey) -> Value {
    use aws_lc_rs::hmac;
    let header = json!({ "alg": "HS256", "kid": eab.kid, "url": url });
    let mac = hmac::Key::new(hmac::HMAC_SHA256, eab.key.expose());
    let jwk = jwk_of(&key.jwk()).to_string();
    crate::directory::jws::tests::sealed(&header, jwk.as_bytes(), |input| {
        hmac::sign(&mac, input).as_ref().to_vec()
    })
}

#[tokio::test]
async fn a_domain_that_forbids_it_gets_no_certificate() {
    let world = World::with(Settings {
        caa_identities: vec![DnsName::parse("ca.test").unwrap()],
        ..settings()
    })
    .await;
    let client = world.client().await;
    for (issuer, want) in [("other.test", "invalid"), ("ca.test", "valid")] {
        world.zone.allow_only(issuer);
        let (_, order) = client.ordered(&["a.test"]).await;
        let dns01 = client.first_dns01(&order).await;
        let answer = client.answer_to(&dns01).dns_value();
        world.zone.set("a.test", answer);
        let seen = client.post(dns01["url"].as_str().unwrap(), json!({})).await;
        assert_eq!(seen.at("status"), want, "{issuer}");
        if want == "invalid" {
            let kind = &seen.json()["error"]["type"];
            assert_eq!(kind, "urn:ietf:params:acme:error:caa");
        }
    }
}

#[test]
fn a_life_beyond_the_usual_one_can_be_made_the_default() {
    let lives = |days| {
        let profiles = Profile::usual(days);
        let first = profiles.first().unwrap();
        (first.lifetime.whole_days(), first.longest.whole_days())
    };
    assert_eq!(lives(7), (7, 90));
    assert_eq!(lives(365), (365, 365));
}
