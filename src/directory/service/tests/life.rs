//! What an honest client goes through.

use super::*;

#[tokio::test]
async fn from_an_account_to_a_certificate_and_its_revocation() {
    let world = World::new().await;
    let client = world.client().await;
    let (url, order) = client.ordered(&["A.home.test", "*.home.test"]).await;
    // Word for word (RFC 8555 §7.1.3).
    assert_eq!(
        order["identifiers"],
        json!([dns("A.home.test"), dns("*.home.test")])
    );
    assert_eq!(order["status"], "pending");
    assert!(order.get("certificate").is_none() && order.get("error").is_none());

    let second = order["authorizations"][1].as_str().unwrap();
    let wild = client.fetch(second).await.json();
    assert_eq!(wild["wildcard"], true);
    assert_eq!(wild["identifier"], dns("home.test"));
    let kinds = |authz: &Value| -> Vec<String> {
        let challenges = authz["challenges"].as_array().unwrap();
        let kinds = challenges.iter().map(|c| c["type"].as_str().unwrap());
        kinds.map(str::to_owned).collect()
    };
    assert_eq!(kinds(&wild), ["dns-01"]);
    let first = order["authorizations"][0].as_str().unwrap();
    let plain = client.fetch(first).await.json();
    assert!(plain.get("wildcard").is_none(), "only when it is true");
    assert_eq!(kinds(&plain).len(), 3);

    client.authorize(&order).await;
    assert_eq!(client.fetch(&url).await.at("status"), "ready");
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let csr = csr_for(&key, &["a.home.test", "*.home.test"]);
    let done = client.finalize(&order, &csr).await;
    assert_eq!(done.at("status"), "valid");
    assert_eq!(done.header("location"), url);
    let reply = client.fetch(&done.at("certificate")).await;
    let chain = Certificate::parse_pem(&reply.body).unwrap();
    assert_eq!(chain.len(), 2, "leaf and intermediate");
    chain[0].verify_signed_by(&chain[1]).unwrap();
    assert_eq!(chain[0].spki(), key.public_key_der());
    assert_eq!(chain[0].not_after() - start(), Duration::days(7));
    assert!(chain[0].authority_key_id().is_some());

    let revoke = format!("{BASE}/revoke-cert");
    let wanted = json!({ "certificate": b64(chain[0].der()), "reason": 4 });
    assert_eq!(
        client.post(&revoke, wanted.clone()).await.status,
        StatusCode::OK
    );
    let again = client.post(&revoke, wanted).await;
    assert_eq!(again.problem(), "alreadyRevoked");
    let list = Request::get("/crl/I1.crl").body(Bytes::new()).unwrap();
    let list = world.service.answer_plain(list).await;
    assert_eq!(list.headers()[CONTENT_TYPE], "application/pkix-crl");
    use x509_parser::prelude::FromDer;
    let (_, list) =
        x509_parser::revocation_list::CertificateRevocationList::from_der(list.body()).unwrap();
    let serials: Vec<_> = list
        .iter_revoked_certificates()
        .map(|one| one.raw_serial().to_vec())
        .collect();
    assert_eq!(serials, [chain[0].serial()]);
    assert_eq!(
        *world.seen.happened.lock().unwrap(),
        [
            "registered",
            "validated dns-01 true",
            "validated dns-01 true",
            "issued a.home.test false",
            "revoked superseded"
        ]
    );
}

#[tokio::test]
async fn the_directory_tells_what_there_is() {
    let world = World::with(Settings {
        terms_of_service: Some("https://ca.test/terms".parse().unwrap()),
        website: Some("https://ca.test/".parse().unwrap()),
        caa_identities: vec![DnsName::parse("ca.test").unwrap()],
        require_eab: true,
        ..settings()
    })
    .await;
    let reply = world.get("/directory").await;
    assert_eq!(
        reply.json(),
        json!({
            "newNonce": "https://ca.test/new-nonce",
            "newAccount": "https://ca.test/new-account",
            "newOrder": "https://ca.test/new-order",
            "revokeCert": "https://ca.test/revoke-cert",
            "keyChange": "https://ca.test/key-change",
            "renewalInfo": "https://ca.test/renewal-info",
            "meta": {
                "termsOfService": "https://ca.test/terms",
                "website": "https://ca.test/",
                "caaIdentities": ["ca.test"],
                "externalAccountRequired": true,
                "profiles": {
                    "default": "7 days unless the order says when it ends",
                    "classic": "90 days",
                    "shortlived": "1 day"
                }
            }
        })
    );
    assert_eq!(
        reply.header("link"),
        "<https://ca.test/directory>;rel=\"index\""
    );
    assert_eq!(reply.header("cache-control"), "no-store");
    assert!(reply.headers.contains_key("replay-nonce"));
    let nonce = world.get("/new-nonce").await;
    assert_eq!(nonce.status, StatusCode::NO_CONTENT);

    // The terms come before the account, with where to read them.
    let key = TestKey::new(KeyType::Ed25519);
    let url = format!("{BASE}/new-account");
    let refused = world.post(&url, &key, None, b"{}").await;
    assert_eq!(refused.problem(), "userActionRequired");
    let links: Vec<_> = refused.headers.get_all("link").iter().collect();
    assert!(
        links
            .iter()
            .any(|l| *l == "<https://ca.test/terms>;rel=\"terms-of-service\"")
    );
    let agreed = br#"{"termsOfServiceAgreed":true}"#;
    let unbound = world.post(&url, &key, None, agreed).await;
    assert_eq!(unbound.problem(), "externalAccountRequired");
}

#[tokio::test]
async fn an_account_is_found_changed_rolled_over_and_closed() {
    let world = World::new().await;
    let client = world.client().await;
    let new_account = format!("{BASE}/new-account");
    let found = world.post(
        &new_account,
        &client.key,
        None,
        b"{\"onlyReturnExisting\":true}",
    );
    let found = found.await;
    assert_eq!(found.status, StatusCode::OK);
    assert_eq!(found.header("location"), client.kid);
    assert_eq!(found.json()["contact"], json!(["mailto:ada@home.test"]));
    let stranger = TestKey::new(KeyType::P256);
    let none = world.post(
        &new_account,
        &stranger,
        None,
        b"{\"onlyReturnExisting\":true}",
    );
    assert_eq!(none.await.problem(), "accountDoesNotExist");

    let changed = client.post(&client.kid, json!({ "contact": [] })).await;
    assert_eq!(changed.json()["contact"], json!([]));
    for (contact, problem) in [
        ("tel:123", "unsupportedContact"),
        ("mailto:ada@home.test,bob@home.test", "invalidContact"),
        ("mailto:ada@home.test?subject=x", "invalidContact"),
        ("mailto:", "invalidContact"),
    ] {
        let reply = client
            .post(&client.kid, json!({ "contact": [contact] }))
            .await;
        assert_eq!(reply.problem(), problem, "{contact}");
    }

    // A key that another account has is refused with its URL (RFC 8555 §7.3.5).
    let other = world.client().await;
    let url = format!("{BASE}/key-change");
    let change = |new: &TestKey| {
        let header = json!({ "alg": new.alg(), "url": url, "jwk": jwk_of(&new.jwk()) });
        let payload = json!({ "account": client.kid, "oldKey": jwk_of(&client.key.jwk()) });
        new.jws(&header, payload.to_string().as_bytes())
    };
    let taken = client.post(&url, change(&other.key)).await;
    assert_eq!(
        (taken.status, taken.header("location")),
        (StatusCode::CONFLICT, &*other.kid)
    );
    let counted = world.seen.requests.lock().unwrap().pop().unwrap();
    assert_eq!(counted, "key-change malformed");
    let new = TestKey::new(KeyType::P384);
    assert_eq!(client.post(&url, change(&new)).await.status, StatusCode::OK);
    assert_eq!(
        client.fetch(&client.kid).await.problem(),
        "malformed",
        "the old key"
    );
    let client = Client { key: new, ..client };
    assert_eq!(client.fetch(&client.kid).await.at("status"), "valid");

    let (order, _) = client.ordered(&["a.test"]).await;
    let closed = client
        .post(&client.kid, json!({ "status": "deactivated" }))
        .await;
    assert_eq!(closed.at("status"), "deactivated");
    let after = client.fetch(&order).await;
    assert_eq!(after.status, StatusCode::UNAUTHORIZED);
    let again = world.post(&new_account, &client.key, None, b"{}").await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_wrong_answer_ends_challenge_authorization_and_order_at_once() {
    let world = World::new().await;
    let client = world.client().await;
    let (url, order) = client.ordered(&["a.test"]).await;
    let authz_url = order["authorizations"][0].as_str().unwrap();
    let dns01 = client.first_dns01(&order).await;
    let challenge = dns01["url"].as_str().unwrap();
    let read = client.fetch(challenge).await;
    assert_eq!(read.at("status"), "pending", "reading is not answering");
    assert_eq!(read.at("url"), challenge);
    let links: Vec<_> = read.headers.get_all("link").iter().collect();
    assert!(links.contains(&&HeaderValue::try_from(format!("<{authz_url}>;rel=\"up\"")).unwrap()));

    world.zone.set("a.test", "wrong".to_owned());
    let failed = client.post(challenge, json!({})).await.json();
    assert_eq!(failed["status"], "invalid");
    assert_eq!(
        failed["error"]["type"],
        "urn:ietf:params:acme:error:incorrectResponse"
    );
    assert_eq!(failed["error"]["identifier"], dns("a.test"));
    assert_eq!(client.fetch(authz_url).await.at("status"), "invalid");
    let order = client.fetch(&url).await.json();
    assert_eq!(
        (&order["status"], order["error"].is_object()),
        (&json!("invalid"), true)
    );
}

#[tokio::test]
async fn a_certificate_is_revoked_by_its_key_and_by_whoever_controls_its_names() {
    let world = World::new().await;
    let client = world.client().await;
    let url = format!("{BASE}/revoke-cert");
    let (chain, key, _) = client.obtain(&["a.test"]).await;
    let wanted = json!({ "certificate": b64(chain[0].der()), "reason": 1 });
    let own = TestKey::of(key);
    let stranger = TestKey::new(KeyType::P256);
    let reply = world
        .post(&url, &stranger, None, wanted.to_string().as_bytes())
        .await;
    assert_eq!(reply.problem(), "unauthorized");
    let reply = world
        .post(&url, &own, None, wanted.to_string().as_bytes())
        .await;
    assert_eq!(reply.status, StatusCode::OK);

    let (chain, ..) = client.obtain(&["b.test", "c.test"]).await;
    let wanted = |reason: Value| json!({ "certificate": b64(chain[0].der()), "reason": reason });
    let other = world.client().await;
    let (_, order) = other.ordered(&["b.test"]).await;
    other.authorize(&order).await;
    assert_eq!(
        other.post(&url, wanted(json!(0))).await.problem(),
        "unauthorized"
    );
    let (_, order) = other.ordered(&["c.test"]).await;
    other.authorize(&order).await;
    for reason in [2, 6, 7, 8, 10, 255, 256, -1] {
        let reply = other.post(&url, wanted(json!(reason))).await;
        assert_eq!(reply.problem(), "badRevocationReason", "{reason}");
    }
    assert_eq!(
        other.post(&url, wanted(json!(5))).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn an_interrupted_order_is_finished_at_the_next_start() {
    let world = World::new().await;
    let client = world.client().await;
    let (url, order) = client.ordered(&["a.test"]).await;
    client.authorize(&order).await;
    let id = OrderId::parse(url.rsplit('/').next().unwrap()).unwrap();
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let der = BASE64URL_NOPAD
        .decode(csr_for(&key, &["a.test"]).as_bytes())
        .unwrap();
    // As far as a process gets that is killed before it signs.
    world
        .service
        .state
        .begin_issuance(&id, &der, start())
        .unwrap();
    let (key, kid) = (client.key, client.kid);
    let world = world.reopened(settings()).await;
    let client = Client {
        world: &world,
        key,
        kid,
    };
    let order = client.fetch(&url).await;
    assert_eq!(order.at("status"), "valid");
    assert_eq!(world.leaves(), 1);
    let other = open(
        &world.home,
        settings(),
        &world.clock,
        &world.zone,
        &world.seen,
    )
    .await;
    assert!(
        matches!(other, Err(OpenError::RunByAnother(_))),
        "one at a time"
    );
    let embedded = Settings {
        embedded: true,
        ..settings()
    };
    open(
        &world.home,
        embedded,
        &world.clock,
        &world.zone,
        &world.seen,
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn orders_are_listed_page_by_page() {
    let world = World::new().await;
    let client = world.client().await;
    let mut made = Vec::new();
    for n in 0..130 {
        made.push(client.ordered(&[&format!("h{n}.test")]).await.0);
    }
    let first = client.fetch(&format!("{}/orders", client.kid)).await;
    let next = first.headers.get_all("link").iter().find_map(|link| {
        let link = link.to_str().unwrap().strip_prefix('<')?;
        link.strip_suffix(">;rel=\"next\"").map(str::to_owned)
    });
    let second = client.fetch(&next.unwrap()).await;
    let listed = |reply: &Reply| -> Vec<String> {
        serde_json::from_value(reply.json()["orders"].clone()).unwrap()
    };
    assert_eq!([listed(&first), listed(&second)].concat(), made);
    // From one that is forgotten on, nobody knows what is next.
    let gone = format!("{}/orders/{}", client.kid, "x".repeat(22));
    assert_eq!(client.fetch(&gone).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn many_at_once_get_a_certificate_each() {
    let world = World::new().await;
    let client = world.client().await;
    let mut ready = Vec::new();
    for n in 0..20 {
        let name = format!("h{n}.test");
        let (_, order) = client.ordered(&[&name]).await;
        client.authorize(&order).await;
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        ready.push((order, csr_for(&key, &[&name])));
    }
    let all = ready.iter().map(|(order, csr)| client.finalize(order, csr));
    for done in futures_util::future::join_all(all).await {
        assert_eq!(done.at("status"), "valid", "{done:?}");
    }
    assert_eq!(world.leaves(), 20);
}

#[tokio::test]
async fn during_a_rotation_both_chains_are_offered() {
    let world = World::new().await;
    let client = world.client().await;
    let (_, _, before) = client.obtain(&["old.test"]).await;
    let made = rotate_root(world.home.path(), &RotateRoot::default(), start());
    made.unwrap();
    let (chain, _, after) = client.obtain(&["new.test"]).await;
    assert_eq!(
        chain.len(),
        3,
        "leaf, intermediate, and the new root by the old one"
    );
    let alternates = async |order: &str| {
        let certificate = client.fetch(order).await.at("certificate");
        let reply = client.fetch(&certificate).await;
        let links = reply.headers.get_all("link").iter();
        let links = links.filter_map(|link| {
            let link = link.to_str().unwrap().strip_prefix('<')?;
            link.strip_suffix(">;rel=\"alternate\"").map(str::to_owned)
        });
        links.collect::<Vec<_>>()
    };
    let [other] = &alternates(&after).await[..] else {
        panic!("one other chain")
    };
    let shorter = client.fetch(other).await;
    let shorter = Certificate::parse_pem(&shorter.body).unwrap();
    assert_eq!(shorter, chain[..2]);
    let links = client.fetch(other).await.headers;
    let back = format!("<{}>;rel=\"alternate\"", other.strip_suffix("/1").unwrap());
    assert!(links.get_all("link").iter().any(|link| *link == *back));
    // What was issued before goes on under its own intermediate.
    assert_eq!(alternates(&before).await, Vec::<String>::new());
    let none = format!("{other}1");
    assert_eq!(client.fetch(&none).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_takes_long_is_answered_in_between_and_goes_on_when_the_client_leaves() {
    let world = World::new().await;
    let client = world.client().await;
    for leaves in [false, true] {
        let (url, order) = client.ordered(&["slow.test"]).await;
        let dns01 = client.first_dns01(&order).await;
        let answer = client.answer_to(&dns01).dns_value();
        world.zone.set("slow.test", answer);
        let ready = client.post(dns01["url"].as_str().unwrap(), json!({}));
        if leaves {
            let patience = std::time::Duration::from_millis(300);
            assert!(timeout(patience, ready).await.is_err(), "it left");
        } else {
            let said = ready.await;
            assert_eq!(said.at("status"), "processing");
            assert_eq!(said.header("retry-after"), "1");
        }
        let authz = order["authorizations"][0].as_str().unwrap();
        let meanwhile = client.fetch(authz).await;
        assert_eq!(meanwhile.at("status"), "pending");
        assert_eq!(meanwhile.header("retry-after"), "1");
        world.zone.slow.notify_one();
        let mut seen = String::new();
        for _ in 0..1000 {
            seen = client.fetch(&url).await.at("status");
            if seen != "pending" {
                break;
            }
        }
        assert_eq!(seen, "ready");
    }
}
