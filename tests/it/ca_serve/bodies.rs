//! Requests whose bodies do not end, sent before anybody has signed anything.

use std::convert::Infallible;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http_body_util::StreamBody;
use hyper::Request;
use hyper::body::{Bytes, Frame};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::{any, ready, root};
use crate::server::{connect_from, memory};
use crate::support::TestEnv;
use crate::support::client::{Client, Connection};

/// One client's bodies.
const MANY: usize = 600;
/// How many of them are read at a time.
const READ: usize = 64;
/// Streams of one connection.
const STREAMS: usize = 100;
/// What a request may have, and announces.
const ANNOUNCED: usize = 65_536;
/// What is sent of it.
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
    let head = format!(
        "POST /new-account HTTP/1.1\r\nhost: localhost\r\n\
         content-type: application/jose+json\r\ncontent-length: {ANNOUNCED}\r\n\r\n"
    );
    let request = [head.as_bytes(), &[b'x'; SENT]].concat();
    others_are_served(&client);

    let before = memory(server.pid(), "VmRSS");
    let half_sent = |_| -> Connection {
        let stream = TcpStream::connect(address).unwrap();
        let mut connection = client.connect_by(stream).unwrap();
        // Whoever is refused may find it closed.
        _ = connection.send(&request);
        connection
    };
    let mut held: Vec<_> = (0..MANY).map(half_sent).collect();
    others_are_served(&client);
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

#[test]
fn half_sent_bodies_on_streams_are_counted_like_those_on_connections() {
    let env = TestEnv::with_ca();
    let mut server = any(&env, &[]).spawn();
    let address = ready(&mut server);
    let client = Client::new(&root(&env), address, "localhost");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut pending, answered) = runtime.block_on(async {
        let mut answers = JoinSet::new();
        for _ in 0..MANY / STREAMS {
            let connection = open(&client).await;
            for _ in 0..STREAMS {
                let mut connection = connection.clone();
                answers.spawn(async move { connection.send_request(half_sent()).await });
            }
        }
        let mut answered = Vec::new();
        let refused = async {
            while answered.len() < MANY - READ {
                answered.push(answers.join_next().await.unwrap().unwrap().unwrap());
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(10), refused).await;
        in_time.expect("what is too much is refused before what is half sent has to end");
        (answers, answered)
    });
    for answer in &answered {
        assert_eq!(answer.status(), 429);
        assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
    }
    others_are_served(&client);
    let more = pending.try_join_next();
    assert!(more.is_none(), "there is room for the rest: {more:?}");
    drop((pending, runtime));
    let _ = server.terminate().success();
}

/// Who comes from another address.
#[track_caller]
fn others_are_served(client: &Client) {
    let stream = connect_from([127, 0, 0, 2], client.address());
    let answer = client.connect_by(stream).unwrap().get("/directory");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

type HalfSent = StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

async fn open(client: &Client) -> http2::SendRequest<HalfSent> {
    let (config, name) = client.http2();
    let stream = tokio::net::TcpStream::connect(client.address()).await;
    let tls = TlsConnector::from(Arc::new(config)).connect(name, stream.unwrap());
    let io = TokioIo::new(tls.await.unwrap());
    let (requests, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    requests
}

fn half_sent() -> Request<HalfSent> {
    let data = Ok(Frame::data(Bytes::from_static(b"{")));
    let unended = stream::iter([data]).chain(stream::pending()).boxed();
    Request::post("https://localhost/new-account")
        .header("content-type", "application/jose+json")
        .header("content-length", ANNOUNCED)
        .body(StreamBody::new(unended))
        .unwrap()
}
