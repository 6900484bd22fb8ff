//! Requests whose bodies do not end, sent before anybody has signed anything.

use std::net::TcpStream;

use super::{any, ready, root};
use crate::server::{connect_from, memory};
use crate::support::TestEnv;
use crate::support::client::{Client, Connection};

/// One client's connections.
const MANY: usize = 600;
/// Less than a request may have, and less than is announced.
const SENT: usize = 60_000;
/// What the process may grow by, in kilobytes: connections cost some, and bodies that
/// are all kept more than twice as much.
const MOST: u64 = 64 * 1024;

#[test]
fn half_sent_bodies_of_one_client_cost_little_and_others_are_served() {
    let env = TestEnv::with_ca();
    let mut server = any(&env, &[]).spawn();
    let address = ready(&mut server);
    let client = Client::new(&root(&env), address, "localhost");
    let head = "POST /new-account HTTP/1.1\r\nhost: localhost\r\n\
                content-type: application/jose+json\r\ncontent-length: 65536\r\n\r\n";
    let request = [head.as_bytes(), &[b'x'; SENT]].concat();
    let other = |path: &str| {
        let stream = connect_from([127, 0, 0, 2], address);
        client.connect_by(stream).unwrap().get(path)
    };
    assert!(other("/directory").starts_with("HTTP/1.1 200 "));

    let before = memory(server.pid(), "VmRSS");
    let half_sent = |_| -> Connection {
        let stream = TcpStream::connect(address).unwrap();
        let mut connection = client.connect_by(stream).unwrap();
        // Whoever is refused may find it closed.
        _ = connection.send(&request);
        connection
    };
    let mut held: Vec<_> = (0..MANY).map(half_sent).collect();
    assert!(other("/directory").starts_with("HTTP/1.1 200 "));
    let grown = memory(server.pid(), "VmHWM") - before;
    assert!(grown < MOST, "{grown} kB more");
    let refused = held.pop().unwrap().answer().unwrap();
    for words in [
        "HTTP/1.1 429 ",
        "retry-after: ",
        "replay-nonce: ",
        "rateLimited",
    ] {
        assert!(refused.contains(words), "no `{words}` in {refused}");
    }
    drop(held);
    let _ = server.terminate().success();
}
