//! `ca serve` beside a process that has a directory of the same CA inside itself
//! (`--directory private`): neither touches what the other is at.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::Signal;

use super::{any, ready};
use crate::support::{Server, TestEnv};

const PROCESSING: &str = "SELECT count(*) FROM acme_orders WHERE status = 'processing'";
const VALID: &str = "SELECT count(*) FROM acme_orders WHERE status = 'valid'";

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A CA whose inventory the test can keep others from writing.
struct Scene {
    env: TestEnv,
    inventory: Connection,
}

impl Scene {
    fn new() -> Self {
        let env = TestEnv::with_ca();
        // The tables are there from the first order on.
        let _ = embedded(&env, "before.test").wait(PATIENCE).success();
        let inventory = Connection::open(env.state().join("ca/ca.sqlite")).unwrap();
        inventory.busy_timeout(Duration::from_secs(30)).unwrap();
        Self { env, inventory }
    }

    fn count(&self, sql: &str) -> i64 {
        self.inventory.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// How many certificates there are for `name`.
    fn issued(&self, name: &str) -> i64 {
        let sql = "SELECT count(*) FROM certificates WHERE names = ?1";
        let count = self.inventory.query_row(sql, [name], |row| row.get(0));
        count.unwrap()
    }

    /// A process that stands still between the word that its order is finalized and the
    /// certificate, and for which name that is.
    fn stopped_in_the_middle(&self) -> (Server, String) {
        for attempt in 0..50 {
            let name = format!("n{attempt}.test");
            let process = embedded(&self.env, &name);
            if self.stop_in_the_middle(&process, &name) {
                return (process, name);
            }
            // It did both within one of the moments that it was left.
            let _ = process.wait(PATIENCE).success();
        }
        panic!("it is always quicker");
    }

    /// Lets it write for moments only, and looks in between how far it is.
    fn stop_in_the_middle(&self, process: &Server, name: &str) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "it gets nowhere");
            self.inventory.execute_batch("BEGIN IMMEDIATE").unwrap();
            let is_issued = self.issued(name) > 0;
            let is_in_the_middle = self.count(PROCESSING) == 1 && !is_issued;
            if is_in_the_middle {
                process.signal(Signal::STOP);
                await_stop(process);
            }
            self.inventory.execute_batch("COMMIT").unwrap();
            if is_in_the_middle || is_issued {
                return is_in_the_middle;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn await_stop(process: &Server) {
    let deadline = Instant::now() + PATIENCE;
    let stat = format!("/proc/{}/stat", process.pid());
    while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
        assert!(Instant::now() < deadline, "it does not stop");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A process that orders of its own directory.
fn embedded(env: &TestEnv, name: &str) -> Server {
    let order = ["acme", "issue", "--directory", "private", name];
    env.certmint(order).spawn()
}

#[test]
fn an_order_of_another_process_is_neither_failed_nor_signed_twice() {
    let scene = Scene::new();
    let (client, name) = scene.stopped_in_the_middle();
    let mut server = any(&scene.env, &[]).spawn();
    ready(&mut server);
    assert_eq!(scene.count(PROCESSING), 1, "it is the other's");
    client.signal(Signal::CONT);
    let done = client.wait(PATIENCE).success();
    assert!(done.stdout().contains("issued n"), "{done:?}");
    assert_eq!((scene.issued(&name), scene.count(PROCESSING)), (1, 0));
    let _ = server.terminate().success();
}

#[test]
fn an_order_of_another_process_that_was_killed_is_finished_at_the_next_start() {
    let scene = Scene::new();
    let (client, name) = scene.stopped_in_the_middle();
    let before = scene.count(VALID);
    client.signal(Signal::KILL);
    let _ = client.wait(PATIENCE);
    let mut server = any(&scene.env, &[]).spawn();
    ready(&mut server);
    assert_eq!((scene.issued(&name), scene.count(PROCESSING)), (1, 0));
    assert_eq!(scene.count(VALID), before + 1);
    let _ = server.terminate().success();
}
