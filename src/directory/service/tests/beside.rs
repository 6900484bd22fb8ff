//! Two directories of one CA at a time: neither touches what the other is at, and what
//! one leaves when it dies is finished by the server.

use super::*;
use crate::directory::state::OrderStatus;

fn embedded() -> Settings {
    Settings {
        embedded: true,
        ..settings()
    }
}

impl World {
    /// One more directory of the same CA.
    async fn another(&self, settings: Settings) -> Arc<Service> {
        let opened = open(&self.home, settings, &self.clock, &self.zone, &self.seen);
        opened.await.unwrap()
    }
}

/// An order in `processing`, begun by the directory of `client`, and what is to be signed.
async fn begun(client: &Client<'_>, name: &str) -> (OrderId, issuing::Job) {
    let (url, order) = client.ordered(&[name]).await;
    client.authorize(&order).await;
    let id = OrderId::parse(url.rsplit('/').next().unwrap()).unwrap();
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let csr = csr_for(&key, &[name]);
    let csr = BASE64URL_NOPAD.decode(csr.as_bytes()).unwrap();
    let service = &client.world.service;
    let order = service.state.begin_issuance(&id, &csr, start());
    let profile = service.profile(None).unwrap();
    let order = order.unwrap();
    let asker = Asker::forgotten(order.account.clone());
    let job = service.job(order, profile, asker).unwrap();
    (id, job)
}

fn status(service: &Service, order: &OrderId) -> OrderStatus {
    service.state.order(order, start()).unwrap().status
}

#[tokio::test]
async fn a_server_leaves_alone_what_a_living_directory_is_at() {
    let world = World::with(embedded()).await;
    let client = world.client().await;
    let (order, job) = begun(&client, "a.test").await;
    let looked_at = client.ordered(&["slow.test"]).await.1;
    let looked_at = client.first_dns01(&looked_at).await["url"].clone();
    let looked_at = looked_at.as_str().unwrap().rsplit('/').next().unwrap();
    let looked_at = ChallengeId::parse(looked_at).unwrap();
    let state = &world.service.state;
    state.start_challenge(&looked_at, start()).unwrap();

    let server = world.another(settings()).await;
    server.finish_interrupted();
    assert_eq!(status(&server, &order), OrderStatus::Processing);
    assert_eq!(world.leaves(), 0);
    assert_eq!(server.state.unfinished_challenges(start()).unwrap(), []);

    let told = world.service.sign(job);
    world.service.record_all();
    assert_eq!(told.await.unwrap().status, OrderStatus::Valid);
    server.finish_interrupted();
    assert_eq!(status(&server, &order), OrderStatus::Valid);
    assert_eq!((world.leaves(), world.happened("issued")), (1, 1));
    assert_eq!(world.happened("failed"), 0);
}

#[tokio::test]
async fn what_a_dead_directory_was_at_is_finished_by_the_server_once() {
    for at_start in [true, false] {
        let world = World::with(embedded()).await;
        let client = world.client().await;
        let (order, _never_signed) = begun(&client, "a.test").await;
        let World {
            home,
            clock,
            zone,
            seen,
            service,
            ..
        } = world;
        let open = |settings| async { open(&home, settings, &clock, &zone, &seen).await.unwrap() };
        let server = if at_start {
            // In whose place another works meanwhile.
            drop(service);
            let other = open(embedded()).await;
            let server = open(settings()).await;
            drop(other);
            server
        } else {
            let server = open(settings()).await;
            assert_eq!(status(&server, &order), OrderStatus::Processing);
            drop(service);
            server.finish_interrupted();
            server
        };
        assert_eq!(status(&server, &order), OrderStatus::Valid, "{at_start}");
        server.finish_interrupted();
        let issued = seen.happened.lock().unwrap();
        let issued = issued.iter().filter(|words| words.starts_with("issued"));
        assert_eq!(issued.count(), 1, "{at_start}");
    }
}

#[tokio::test]
async fn a_server_that_died_is_followed_by_the_next_whoever_else_is_alive() {
    let world = World::new().await;
    let client = world.client().await;
    let (order, _never_signed) = begun(&client, "a.test").await;
    let other = world.another(embedded()).await;
    let challenge = client.ordered(&["slow.test"]).await.1;
    let challenge = client.first_dns01(&challenge).await["url"].clone();
    let challenge = challenge.as_str().unwrap().rsplit('/').next().unwrap();
    let challenge = ChallengeId::parse(challenge).unwrap();
    world
        .service
        .state
        .start_challenge(&challenge, start())
        .unwrap();
    assert_eq!(status(&other, &order), OrderStatus::Processing);
    let world = world.reopened(settings()).await;
    assert_eq!(status(&other, &order), OrderStatus::Valid);
    assert_eq!(world.leaves(), 1);
    let again = world.service.state.unfinished_challenges(start()).unwrap();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].challenge, challenge);
}
