//! Every endpoint × everybody who might ask × everything they might send: none of it
//! gives a certificate, or changes what is somebody else's.

use super::*;

/// What can be sent as a payload, from nothing to nonsense.
fn payloads(victim: &Victim) -> Vec<Vec<u8>> {
    let csr = csr_for(
        &PrivateKey::generate(KeyType::P256).unwrap(),
        &["ready.test"],
    );
    let leaf = &victim.leaf;
    let mut all = vec![Vec::new(), vec![0xff], b"{".to_vec()];
    let objects = [
        json!(null),
        json!([]),
        json!("x"),
        json!(1),
        json!({}),
        json!({ "status": "deactivated" }),
        json!({ "status": 1 }),
        json!({ "csr": csr }),
        json!({ "csr": 1 }),
        json!({ "csr": [csr] }),
        json!({ "csr": { "": csr } }),
        json!({ "certificate": leaf }),
        json!({ "certificate": [leaf], "reason": 1 }),
        json!({ "certificate": leaf, "reason": "1" }),
        json!({ "identifiers": "ready.test" }),
        json!({ "identifiers": [{ "type": "dns" }] }),
        json!({ "identifiers": [{ "type": "dns", "value": ["ready.test"] }] }),
        json!({ "identifiers": [[]] }),
        json!({ "contact": "mailto:ada@home.test" }),
        json!({ "contact": [1] }),
        json!({ "onlyReturnExisting": true }),
        json!({ "externalAccountBinding": {} }),
        json!({ "account": victim.kid, "oldKey": {} }),
        json!({ "protected": "", "payload": "", "signature": "" }),
    ];
    all.extend(objects.iter().map(|object| object.to_string().into_bytes()));
    all
}

/// Whose the things are that strangers are after.
struct Victim {
    key: TestKey,
    kid: String,
    leaf: String,
    /// An order that only waits for a CSR, and its authorization.
    ready: String,
    valid_authz: String,
    /// An order that waits for its challenge, and both.
    pending: String,
    authz: String,
    challenge: String,
    certificate: String,
}

impl Victim {
    async fn new(world: &World) -> Self {
        let client = world.client().await;
        let (chain, _, url) = client.obtain(&["own.test"]).await;
        let certificate = client.fetch(&url).await.at("certificate");
        let (ready, order) = client.ordered(&["ready.test"]).await;
        client.authorize(&order).await;
        let valid_authz = order["authorizations"][0].as_str().unwrap().to_owned();
        let (pending, order) = client.ordered(&["pending.test"]).await;
        let authz = order["authorizations"][0].as_str().unwrap().to_owned();
        let object = client.fetch(&authz).await.json();
        let challenge = object["challenges"][0]["url"].as_str().unwrap().to_owned();
        Self {
            leaf: b64(chain[0].der()),
            key: client.key,
            kid: client.kid,
            ready,
            valid_authz,
            pending,
            authz,
            challenge,
            certificate,
        }
    }

    fn urls(&self) -> Vec<String> {
        let mut urls: Vec<String> = [
            "directory",
            "new-nonce",
            "new-account",
            "new-order",
            "key-change",
            "revoke-cert",
            "renewal-info/a.b",
            "roots.pem",
            "no-such-thing",
        ]
        .map(|path| format!("{BASE}/{path}"))
        .to_vec();
        urls.extend([
            self.kid.clone(),
            format!("{}/orders", self.kid),
            self.ready.clone(),
            format!("{}/finalize", self.ready),
            self.valid_authz.clone(),
            self.pending.clone(),
            format!("{}/finalize", self.pending),
            self.authz.clone(),
            self.challenge.clone(),
            self.certificate.clone(),
        ]);
        urls
    }

    /// All that a stranger must not change, as the victim sees it.
    async fn state(&self, world: &World) -> Vec<Bytes> {
        let mut state = Vec::new();
        for url in [
            &self.kid,
            &self.ready,
            &self.valid_authz,
            &self.pending,
            &self.authz,
            &self.challenge,
            &self.certificate,
        ] {
            let reply = world.post(url, &self.key, Some(&self.kid), b"").await;
            assert_eq!(reply.status, StatusCode::OK, "{url}: {reply:?}");
            state.push(reply.body);
        }
        state
    }
}

/// Somebody who asks: how the request is signed, if at all.
enum Stranger {
    /// With a key that no account has.
    Unknown(TestKey),
    /// With a key that no account has, in the victim's name.
    Forger(TestKey),
    /// With a key of an account's, in the name of an account that does not exist.
    Ghost(TestKey),
    /// An account of its own.
    Neighbour(TestKey, String),
    /// An account that was closed.
    Closed(TestKey, String),
    /// The victim's key, as a bare key.
    Bare,
    /// The victim's own request, with its payload changed.
    Tampering,
    /// The victim's own request for another URL.
    Elsewhere,
    /// The victim's own request with a nonce that was used.
    Replay,
    /// The victim's own request with a nonce that is none.
    NoNonce,
    /// Without any signature.
    Unsigned,
}

impl Stranger {
    async fn all(world: &World) -> Vec<(&'static str, Self)> {
        let key = || TestKey::new(KeyType::P256);
        let neighbour = world.client().await;
        let closed = world.client().await;
        closed
            .post(&closed.kid, json!({ "status": "deactivated" }))
            .await;
        vec![
            ("unknown key", Self::Unknown(key())),
            ("forger", Self::Forger(key())),
            ("ghost", Self::Ghost(key())),
            ("neighbour", Self::Neighbour(neighbour.key, neighbour.kid)),
            ("closed", Self::Closed(closed.key, closed.kid)),
            ("bare key", Self::Bare),
            ("tampering", Self::Tampering),
            ("elsewhere", Self::Elsewhere),
            ("replay", Self::Replay),
            ("no nonce", Self::NoNonce),
            ("unsigned", Self::Unsigned),
        ]
    }

    async fn asks(&self, world: &World, victim: &Victim, url: &str, payload: &[u8]) -> Reply {
        let own = Some(&*victim.kid);
        match self {
            Self::Unknown(key) => world.post(url, key, None, payload).await,
            Self::Forger(key) => world.post(url, key, own, payload).await,
            Self::Ghost(key) => {
                let kid = format!("{BASE}/account/AAAAAAAAAAAAAAAAAAAAAA");
                world.post(url, key, Some(&kid), payload).await
            }
            Self::Neighbour(key, kid) | Self::Closed(key, kid) => {
                world.post(url, key, Some(kid), payload).await
            }
            Self::Bare => world.post(url, &victim.key, None, payload).await,
            Self::Tampering => {
                let mut body = victim.signed(url, &world.nonce().await, b"{}");
                body["payload"] = json!(b64(&[payload, b" "].concat()));
                world.raw(url, &body).await
            }
            Self::Elsewhere => {
                let other = format!("{BASE}/new-order");
                let other = if url == other { &victim.ready } else { &other };
                let body = victim.signed(other, &world.nonce().await, payload);
                world.raw(url, &body).await
            }
            Self::Replay => {
                let nonce = world.nonce().await;
                let read = victim.signed(&victim.kid, &nonce, b"");
                assert_eq!(world.raw(&victim.kid, &read).await.status, StatusCode::OK);
                world.raw(url, &victim.signed(url, &nonce, payload)).await
            }
            Self::NoNonce => {
                let body = victim.signed(url, "AAAA", payload);
                world.raw(url, &body).await
            }
            Self::Unsigned => {
                let kind = "application/jose+json";
                world.send(Method::POST, url, kind, payload.to_vec()).await
            }
        }
    }
}

impl Victim {
    fn signed(&self, url: &str, nonce: &str, payload: &[u8]) -> Value {
        let header = json!({ "alg": self.key.alg(), "nonce": nonce, "url": url, "kid": self.kid });
        self.key.jws(&header, payload)
    }
}

impl World {
    async fn raw(&self, url: &str, body: &Value) -> Reply {
        let body = body.to_string().into_bytes();
        self.send(Method::POST, url, "application/jose+json", body)
            .await
    }
}

/// Answers that hold nothing of anybody's.
fn is_harmless(url: &str, reply: &Reply) -> bool {
    let path = url.strip_prefix(BASE).unwrap();
    reply.status.is_success() && ["/directory", "/new-nonce", "/new-account"].contains(&path)
}

#[tokio::test]
async fn no_stranger_gets_a_certificate_or_changes_what_is_anothers() {
    let world = World::new().await;
    let victim = Victim::new(&world).await;
    let strangers = Stranger::all(&world).await;
    let (before, leaves) = (victim.state(&world).await, world.leaves());
    let mut asked = 0;
    for (who, stranger) in &strangers {
        for url in victim.urls() {
            for payload in payloads(&victim) {
                let reply = stranger.asks(&world, &victim, &url, &payload).await;
                asked += 1;
                if !is_harmless(&url, &reply) {
                    let problem = reply.problem();
                    assert!(
                        reply.status.is_client_error(),
                        "{who} {url} {}: {problem}",
                        String::from_utf8_lossy(&payload)
                    );
                }
            }
        }
        assert_eq!(victim.state(&world).await, before, "{who}");
        assert_eq!(world.leaves(), leaves, "{who}");
    }
    assert!(asked > 5000, "{asked}");
    let seen = world.seen.happened.lock().unwrap();
    let issued = seen.iter().filter(|words| words.starts_with("issued"));
    assert_eq!(issued.count(), 1, "the victim's own");
    assert!(
        !seen.iter().any(|words| words.starts_with("revoked")),
        "{seen:?}"
    );
}

#[tokio::test]
async fn the_owner_gets_no_certificate_but_by_the_right_csr() {
    let world = World::new().await;
    let client = world.client().await;
    let (url, order) = client.ordered(&["a.test", "b.test"]).await;
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let right = csr_for(&key, &["a.test", "b.test"]);
    let early = client.finalize(&order, &right).await;
    assert_eq!(early.problem(), "orderNotReady");
    client.authorize(&order).await;
    let mut broken = right.clone().into_bytes();
    let middle = broken.len() / 2;
    broken[middle] = if broken[middle] == b'A' { b'B' } else { b'A' };
    for (what, csr) in [
        ("nothing", String::new()),
        ("no base64url", "+/".to_owned()),
        ("no CSR", b64(b"hello")),
        ("a broken one", String::from_utf8(broken).unwrap()),
        ("a name less", csr_for(&key, &["a.test"])),
        (
            "a name more",
            csr_for(&key, &["a.test", "b.test", "c.test"]),
        ),
        ("another name", csr_for(&key, &["a.test", "c.test"])),
        ("a wildcard", csr_for(&key, &["a.test", "*.b.test"])),
        ("two", format!("{right}{right}")),
    ] {
        let reply = client.finalize(&order, &csr).await;
        assert_eq!(reply.problem(), "badCSR", "{what}");
    }
    let own = PrivateKey::generate(KeyType::P256).unwrap();
    let own_csr = csr_for(&own, &["a.test", "b.test"]);
    let holder = Client {
        world: &world,
        key: TestKey::of(own),
        kid: String::new(),
    };
    let url_new = format!("{BASE}/new-account");
    let made = world.post(&url_new, &holder.key, None, b"{}").await;
    let holder = Client {
        kid: made.header("location").to_owned(),
        ..holder
    };
    let (_, own_order) = holder.ordered(&["a.test", "b.test"]).await;
    holder.authorize(&own_order).await;
    let reply = holder.finalize(&own_order, &own_csr).await;
    assert_eq!(reply.problem(), "badCSR", "the key of the account");

    assert_eq!(
        client.fetch(&url).await.at("status"),
        "ready",
        "and may try again"
    );
    assert_eq!(world.leaves(), 0);
    assert_eq!(client.finalize(&order, &right).await.at("status"), "valid");
    let again = client.finalize(&order, &right).await;
    assert_eq!(again.problem(), "orderNotReady");
    assert_eq!(world.leaves(), 1);
}

#[tokio::test]
async fn names_outside_of_what_is_permitted_are_rejected_each_with_its_reason() {
    let within = Permit::Within(NameConstraints::new(vec![
        "home.test".parse().unwrap(),
        "10.1.0.0/16".parse().unwrap(),
    ]));
    let exactly = ["a.home.test", "10.1.2.3"].map(|name| Identifier::parse(name).unwrap());
    let ip = |value: &str| json!({ "type": "ip", "value": value });
    for (permit, identifier, want) in [
        (within.clone(), dns("a.home.test"), None),
        (within.clone(), dns("*.home.test"), None),
        (within.clone(), ip("10.1.2.3"), None),
        (within.clone(), dns("a.test"), Some("rejectedIdentifier")),
        (
            within.clone(),
            dns("evil.example"),
            Some("rejectedIdentifier"),
        ),
        (within.clone(), ip("10.2.0.1"), Some("rejectedIdentifier")),
        (within.clone(), ip("::1"), Some("rejectedIdentifier")),
        (within.clone(), dns("10.1.2.3"), Some("malformed")),
        (
            within,
            json!({ "type": "email", "value": "ada@home.test" }),
            Some("unsupportedIdentifier"),
        ),
        (
            Permit::Within(NameConstraints::default()),
            dns("a.test"),
            Some("rejectedIdentifier"),
        ),
        (Permit::Any, dns("a.test"), None),
        (Permit::Any, dns("evil.example"), Some("rejectedIdentifier")),
        (
            Permit::Exactly(exactly.clone().into()),
            dns("a.home.test"),
            None,
        ),
        (
            Permit::Exactly(exactly.clone().into()),
            dns("b.home.test"),
            Some("rejectedIdentifier"),
        ),
        (
            Permit::Exactly(exactly.into()),
            dns("*.home.test"),
            Some("rejectedIdentifier"),
        ),
    ] {
        let world = World::with(Settings {
            permit: permit.clone(),
            ..settings()
        })
        .await;
        let client = world.client().await;
        let reply = client.order(json!({ "identifiers": [identifier] })).await;
        match want {
            None => assert_eq!(reply.status, StatusCode::CREATED, "{permit:?} {identifier}"),
            Some(want) => assert_eq!(reply.problem(), want, "{permit:?} {identifier}"),
        }
    }
    let world = World::new().await;
    let client = world.client().await;
    let two = json!({ "identifiers": [dns("a.example"), dns("b.test"), dns("c.example")] });
    let reply = client.order(two).await;
    assert_eq!(reply.problem(), "rejectedIdentifier");
    assert_eq!(reply.json()["subproblems"].as_array().unwrap().len(), 2);
    for names in [
        vec![],
        vec![dns("a.test"); 2],
        vec![dns("a.test"), dns("A.test")],
    ] {
        let reply = client.order(json!({ "identifiers": names })).await;
        assert_eq!(reply.problem(), "malformed");
    }
    let many: Vec<_> = (0..101).map(|n| dns(&format!("h{n}.test"))).collect();
    let reply = client.order(json!({ "identifiers": many })).await;
    assert_eq!(reply.problem(), "malformed");
}

#[tokio::test]
async fn what_is_not_asked_for_rightly_is_refused_with_the_right_status() {
    let world = World::new().await;
    let client = world.client().await;
    let order = format!("{BASE}/new-order");
    for (method, url) in [
        (Method::GET, &*order),
        (Method::PUT, &*order),
        (Method::DELETE, "/directory"),
        (Method::GET, &*client.kid),
        (Method::POST, "/roots.pem"),
        (Method::POST, "/renewal-info/a.b"),
    ] {
        let reply = world.send(method, url, "", Vec::new()).await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{url}");
        assert!(!reply.header("allow").is_empty());
        let counted = world.seen.requests.lock().unwrap().pop().unwrap();
        assert!(counted.ends_with(" malformed"), "{counted}");
    }
    let body = client.key.jws(
        &json!({ "alg": "ES256", "nonce": world.nonce().await, "url": order, "kid": client.kid }),
        b"{}",
    );
    let body = body.to_string().into_bytes();
    for kind in ["", "application/json", "application/jose"] {
        let reply = world.send(Method::POST, &order, kind, body.clone()).await;
        assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    let huge = vec![b' '; crate::directory::jws::MAX_BODY + 1];
    let reply = world
        .send(Method::POST, &order, "application/jose+json", huge)
        .await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    // The text that acme.sh looks for.
    let stale = client.key.jws(
        &json!({ "alg": "ES256", "nonce": "AAAA", "url": order, "kid": client.kid }),
        b"{}",
    );
    let reply = world.raw(&order, &stale).await;
    assert_eq!(
        (reply.status, reply.problem()),
        (StatusCode::BAD_REQUEST, "badNonce".into())
    );
    assert_eq!(reply.at("detail"), "JWS has an invalid anti-replay nonce");
    for path in [
        "/crl/I9.crl",
        "/crl/../ca.json",
        "/crl/I1.crl.pem",
        "/issuer/R1.crt",
        "/",
        "/directory",
    ] {
        let request = Request::get(path).body(Bytes::new()).unwrap();
        let reply = world.service.answer_plain(request).await;
        assert_eq!(reply.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn limits_answer_429_and_say_when_to_come_back() {
    let world = World::with(Settings {
        limits: Limits {
            accounts_per_address: 2,
            orders_per_account: 4,
            open_orders: 2,
            failures_per_name: 1,
            certificates_per_name: 1,
            ..Limits::default()
        },
        ..settings()
    })
    .await;
    let refused = |reply: Reply| {
        assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS, "{reply:?}");
        assert_eq!(reply.problem(), "rateLimited");
        reply.header("retry-after").parse::<u64>().unwrap()
    };
    let first = world.client().await;
    let second = world.client().await;
    let url = format!("{BASE}/new-account");
    let third = TestKey::new(KeyType::P256);
    assert!(refused(world.post(&url, &third, None, b"{}").await) > 60);
    // Who has an account already is not held up.
    let known = world.post(&url, &first.key, None, b"{}").await;
    assert_eq!(known.status, StatusCode::OK);

    let ask = |name: &str| json!({ "identifiers": [dns(name)] });
    first.obtain(&["a.test"]).await;
    assert!(refused(second.order(ask("a.test")).await) > 60, "per name");
    let one = first.ordered(&["b.test"]).await;
    first.ordered(&["c.test"]).await;
    refused(first.order(ask("d.test")).await);
    // One that is over makes room.
    first.authorize(&one.1).await;
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    first.finalize(&one.1, &csr_for(&key, &["b.test"])).await;
    first.ordered(&["d.test"]).await;
    let last = first.post(&first.kid, json!({})).await;
    assert_eq!(last.status, StatusCode::OK, "reading costs nothing");

    let mut challenges = Vec::new();
    for _ in 0..2 {
        let (_, order) = second.ordered(&["w.test"]).await;
        let dns01 = second.first_dns01(&order).await;
        challenges.push(dns01["url"].as_str().unwrap().to_owned());
    }
    let failed = second.post(&challenges[0], json!({})).await;
    assert_eq!(failed.at("status"), "invalid");
    assert!(refused(second.post(&challenges[1], json!({})).await) > 60);
    // An hour and a minute later all of it is forgotten.
    world.clock.advance(Duration::minutes(62));
    let fresh = second.post(&challenges[1], json!({})).await;
    assert_eq!(fresh.at("status"), "invalid", "looked at");
    second.ordered(&["a.test"]).await;
    world.client().await;
}

#[tokio::test]
async fn orders_of_one_address_count_whatever_their_accounts() {
    let limits = Limits {
        orders_per_address: 3,
        ..Limits::default()
    };
    let world = World::with(Settings {
        limits,
        ..settings()
    })
    .await;
    let (first, second) = (world.client().await, world.client().await);
    first.ordered(&["a.test"]).await;
    second.ordered(&["b.test"]).await;
    second.ordered(&["c.test"]).await;
    let ask = json!({ "identifiers": [dns("d.test")] });
    for client in [&first, &second] {
        let refused = client.order(ask.clone()).await;
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.problem(), "rateLimited");
        let detail = refused.at("detail");
        assert!(detail.contains("from this address"), "{detail}");
    }
    world.clock.advance(Duration::minutes(62));
    first.ordered(&["d.test"]).await;
}

#[tokio::test]
async fn what_a_validation_leaves_behind_counts_as_its_accounts() {
    let limits = Limits {
        validations: 8,
        ..Limits::default()
    };
    let world = World::with(Settings {
        limits,
        ..settings()
    })
    .await;
    let (stranger, honest) = (world.client().await, world.client().await);
    let (_, dead) = stranger.ordered(&["dead.test"]).await;
    let authz = dead["authorizations"][0].as_str().unwrap();
    let offered = stranger.fetch(authz).await.json();
    let mut offered = offered["challenges"].as_array().unwrap().iter();
    let http01 = offered.find(|offer| offer["type"] == "http-01").unwrap();
    let failed = stranger.post(http01["url"].as_str().unwrap(), json!({}));
    assert_eq!(failed.await.at("status"), "invalid");

    // The lookup goes on: with its turn, and without that of anybody else.
    honest.obtain(&["a.test"]).await;
    let (url, order) = stranger.ordered(&["b.test"]).await;
    let dns01 = stranger.first_dns01(&order).await;
    let answer = stranger.answer_to(&dns01).dns_value();
    world.zone.set("b.test", answer);
    let ready = stranger.post(dns01["url"].as_str().unwrap(), json!({}));
    let early = timeout(std::time::Duration::from_millis(300), ready).await;
    assert!(early.is_err(), "{early:?}");
    assert_eq!(stranger.fetch(&url).await.at("status"), "pending");
    world.zone.looking.lock().unwrap().clear();
    let mut seen = String::new();
    for _ in 0..1000 {
        seen = stranger.fetch(&url).await.at("status");
        if seen != "pending" {
            break;
        }
    }
    assert_eq!(seen, "ready");
}

#[tokio::test]
async fn an_order_counts_as_often_as_it_has_names() {
    let world = World::with(Settings {
        limits: Limits {
            orders_per_account: 3,
            orders_per_address: 7,
            ..Limits::default()
        },
        ..settings()
    })
    .await;
    let names = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| dns(name)).collect();
        json!({ "identifiers": names })
    };
    let refused = async |client: &Client<'_>, asked, whose| {
        let refused = client.order(asked).await;
        assert_eq!(refused.problem(), "rateLimited");
        let detail = refused.at("detail");
        assert!(
            detail.contains("names") && detail.contains(whose),
            "{detail}"
        );
    };
    let first = world.client().await;
    first.ordered(&["a.test", "b.test"]).await;
    let two = names(&["c.test", "d.test"]);
    refused(&first, two, "of this account").await;
    first.ordered(&["c.test"]).await;
    refused(&first, names(&["d.test"]), "of this account").await;
    // What has more names than the limit takes all of it, and can be had.
    let second = world.client().await;
    second
        .ordered(&["a.test", "b.test", "c.test", "d.test"])
        .await;
    // By the address it counts for what it is.
    let third = world.client().await;
    refused(&third, names(&["a.test"]), "from this address").await;
    world.clock.advance(Duration::minutes(62));
    third.ordered(&["a.test", "b.test"]).await;
}

#[tokio::test]
async fn one_address_with_many_accounts_leaves_room_for_the_validations_of_others() {
    let limits = Limits {
        validations: 8,
        ..Limits::default()
    };
    let world = World::with(Settings {
        limits,
        ..settings()
    })
    .await;
    let mut hoarders = Vec::new();
    for _ in 0..8 {
        hoarders.push(world.client().await);
    }
    for client in &hoarders {
        let (_, order) = client.ordered(&["slow.test"]).await;
        let dns01 = client.first_dns01(&order).await;
        let url = dns01["url"].as_str().unwrap();
        let begun = async { while client.fetch(url).await.at("status") != "processing" {} };
        tokio::select! {
            _ = client.post(url, json!({})) => {}
            () = begun => {}
        }
    }
    // An answer that says `valid` did not wait for any of them.
    world.move_to("192.0.2.8");
    world.client().await.obtain(&["a.test"]).await;
    world.move_to("2001:db8::1");
    world.client().await.obtain(&["b.test"]).await;
    assert_eq!(world.happened("validated dns-01 false"), 0);
}

#[tokio::test]
async fn validations_begun_together_do_not_fail_more_often_than_they_may() {
    let limits = Limits {
        failures_per_name: 2,
        ..Limits::default()
    };
    let world = World::with(Settings {
        limits,
        ..settings()
    })
    .await;
    let client = world.client().await;
    // Those that succeed leave nothing behind.
    for _ in 0..3 {
        client.obtain(&["a.test"]).await;
    }
    let mut challenges = Vec::new();
    for _ in 0..3 {
        let (_, order) = client.ordered(&["slow.test"]).await;
        let dns01 = client.first_dns01(&order).await;
        challenges.push(dns01["url"].as_str().unwrap().to_owned());
    }
    let [first, second, third] = &challenges[..] else {
        panic!("three")
    };
    let status = async |url: &str| client.fetch(url).await.at("status");
    for url in [first, second] {
        let begun = async { while status(url).await != "processing" {} };
        tokio::select! {
            _ = client.post(url, json!({})) => {}
            () = begun => {}
        }
    }
    let refused = client.post(third, json!({})).await;
    assert_eq!(refused.problem(), "rateLimited");
    assert_eq!(refused.header("retry-after"), "5", "they may succeed");
    assert_eq!(status(third).await, "pending");
    for url in [first, second] {
        while status(url).await != "invalid" {
            world.zone.slow.notify_waiters();
        }
    }
    let refused = client.post(third, json!({})).await;
    assert_eq!(refused.problem(), "rateLimited");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!(wait > 60, "they failed");
    assert_eq!(world.happened("validated dns-01 false"), 2);
}

#[tokio::test]
async fn what_the_server_around_it_refuses_is_a_problem_as_well() {
    let world = World::new().await;
    let host = Authority::from_static("ca.test");
    for (status, problem) in [
        (StatusCode::PAYLOAD_TOO_LARGE, "malformed"),
        (StatusCode::TOO_MANY_REQUESTS, "rateLimited"),
        (StatusCode::SERVICE_UNAVAILABLE, "rateLimited"),
        (StatusCode::MISDIRECTED_REQUEST, "malformed"),
        (StatusCode::BAD_REQUEST, "malformed"),
        (StatusCode::REQUEST_TIMEOUT, "malformed"),
    ] {
        let answer = world.service.refuse(status, "it is so", Some(&host));
        let (head, body) = answer.into_parts();
        let reply = Reply {
            status: head.status,
            headers: head.headers,
            body,
        };
        assert_eq!((reply.status, reply.problem()), (status, problem.into()));
        assert_eq!(reply.at("detail"), "it is so");
        let index = "<https://ca.test/directory>;rel=\"index\"";
        assert_eq!(reply.header("link"), index);
        let counted = world.seen.requests.lock().unwrap().pop().unwrap();
        assert_eq!(counted, format!("refused {problem}"));
    }
    let unknown = world.service.refuse(StatusCode::BAD_REQUEST, "x", None);
    assert!(!unknown.headers().contains_key("link"));
    assert!(unknown.headers().contains_key("replay-nonce"));
}

#[tokio::test]
async fn orders_that_were_let_in_together_do_not_exceed_the_limit_of_a_name() {
    let limits = Limits {
        certificates_per_name: 1,
        ..Limits::default()
    };
    let world = World::with(Settings {
        limits,
        ..settings()
    })
    .await;
    let (first, second) = (world.client().await, world.client().await);
    let racing = [
        first.ordered(&["r.test"]).await.1,
        second.ordered(&["r.test"]).await.1,
    ];
    first.authorize(&racing[0]).await;
    second.authorize(&racing[1]).await;
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let csr = csr_for(&key, &["r.test"]);
    assert_eq!(first.finalize(&racing[0], &csr).await.at("status"), "valid");
    let late = second.finalize(&racing[1], &csr).await;
    assert_eq!(late.problem(), "rateLimited");
    world.clock.advance(Duration::minutes(62));
    let later = second.finalize(&racing[1], &csr).await;
    assert_eq!(later.at("status"), "valid", "the order was kept");
}

#[tokio::test]
async fn who_replaces_a_certificate_before_it_is_due_counts_like_anybody() {
    let limits = Limits {
        certificates_per_name: 2,
        ..Limits::default()
    };
    let world = World::with(Settings {
        limits,
        ..settings()
    })
    .await;
    let client = world.client().await;
    let (chain, ..) = client.obtain(&["a.test"]).await;
    let id = ari_id(&chain[0]);
    let order = json!({ "identifiers": [dns("a.test")], "replaces": id });
    let early = client.order(order).await.json();
    client.authorize(&early).await;
    client.obtain(&["a.test"]).await;
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let csr = csr_for(&key, &["a.test"]);
    let late = client.finalize(&early, &csr).await;
    assert_eq!(late.problem(), "rateLimited");
    assert_eq!(world.leaves(), 2);
}

#[tokio::test]
async fn replacements_that_are_due_are_held_up_by_their_own_number_alone() {
    let limits = Limits {
        certificates_per_name: 2,
        ..Limits::default()
    };
    let world = World::with(Settings {
        limits,
        ..settings()
    })
    .await;
    let (client, other) = (world.client().await, world.client().await);
    let (chain, ..) = client.obtain(&["a.test"]).await;
    other.obtain(&["a.test"]).await;
    let used_up = client.order(json!({ "identifiers": [dns("a.test")] }));
    assert_eq!(used_up.await.problem(), "rateLimited");
    let mut leaf = chain[0].clone();
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    // Each is due at once, as whoever wants more than others can see to.
    let due = async |leaf: &Certificate| {
        let revoked = json!({ "certificate": b64(leaf.der()) });
        client.post(&format!("{BASE}/revoke-cert"), revoked).await;
        json!({ "identifiers": [dns("a.test")], "replaces": ari_id(leaf) })
    };
    for _ in 0..2 {
        let order = client.order(due(&leaf).await).await;
        assert_eq!(order.status, StatusCode::CREATED, "{order:?}");
        let order = order.json();
        client.authorize(&order).await;
        let done = client.finalize(&order, &csr_for(&key, &["a.test"])).await;
        let chain = client.fetch(&done.at("certificate")).await;
        leaf = Certificate::parse_pem(&chain.body).unwrap().swap_remove(0);
    }
    let again = due(&leaf).await;
    let refused = client.order(again.clone()).await;
    assert_eq!(refused.problem(), "rateLimited");
    let detail = refused.at("detail");
    assert!(detail.contains("replacements"), "{detail}");
    assert_eq!(world.leaves(), 4, "twice the limit, and no more");
    world.clock.advance(Duration::minutes(62));
    assert_eq!(client.order(again).await.status, StatusCode::CREATED);
}
