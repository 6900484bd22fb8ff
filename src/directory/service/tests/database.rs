//! A database that refuses for a while, as a full disk does: nothing stays half done for
//! longer than that.

use super::*;
use crate::directory::state::OrderStatus;

impl World {
    /// Lets nothing in `table` come out of `processing` until [`Self::mended`].
    fn broken(&self, table: &str) {
        self.sql(&format!(
            "CREATE TRIGGER full BEFORE UPDATE ON {table} WHEN NEW.status <> 'processing'
             BEGIN SELECT RAISE(ABORT, 'full'); END"
        ));
    }

    fn mended(&self) {
        self.sql("DROP TRIGGER full");
    }

    fn sql(&self, text: &str) {
        let path = self.home.path().join("ca/ca.sqlite");
        let database = rusqlite::Connection::open(path).unwrap();
        database.execute_batch(text).unwrap();
    }
}

#[tokio::test]
async fn what_became_of_a_challenge_is_kept_once_it_can_be() {
    let world = World::new().await;
    let client = world.client().await;
    let mut orders = Vec::new();
    for name in ["right.test", "wrong.test"] {
        let (url, order) = client.ordered(&[name]).await;
        let dns01 = client.first_dns01(&order).await;
        orders.push((dns01["url"].as_str().unwrap().to_owned(), url));
        if name == "right.test" {
            world.zone.set(name, client.answer_to(&dns01).dns_value());
        }
    }
    world.broken("acme_challenges");
    let [right, wrong] = [0, 1].map(|n: usize| client.post(&orders[n].0, json!({})));
    let (right, wrong) = tokio::join!(right, wrong);
    for said in [right, wrong] {
        assert_eq!(said.at("status"), "processing");
    }
    world.mended();
    for ((challenge, order), (status, of_order)) in orders
        .iter()
        .zip([("valid", "ready"), ("invalid", "invalid")])
    {
        let decided = async {
            while client.fetch(challenge).await.at("status") == "processing" {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        let most = std::time::Duration::from_secs(60);
        timeout(most, decided).await.unwrap();
        assert_eq!(client.fetch(challenge).await.at("status"), status);
        assert_eq!(client.fetch(order).await.at("status"), of_order);
    }
    assert_eq!(world.happened("validated"), 2, "nobody looked again");
}

#[tokio::test]
async fn an_order_that_gets_no_certificate_ends_once_it_can() {
    let world = World::new().await;
    let client = world.client().await;
    let (url, order) = client.ordered(&["a.test"]).await;
    client.authorize(&order).await;
    let id = OrderId::parse(url.rsplit('/').next().unwrap()).unwrap();
    let service = &world.service;
    let order = service.state.begin_issuance(&id, b"no request", start());
    let order = order.unwrap();
    let asker = Asker::forgotten(order.account.clone());
    let job = service.job(order, service.profile(None).unwrap(), asker);

    world.broken("acme_orders");
    drop(service.sign(job.unwrap()));
    service.record_all();
    let status = || service.state.order(&id, start()).unwrap().status;
    assert_eq!(status(), OrderStatus::Processing);
    world.mended();
    service.record_all();
    assert_eq!(status(), OrderStatus::Invalid);
    assert_eq!(world.happened("failed"), 1);
}
