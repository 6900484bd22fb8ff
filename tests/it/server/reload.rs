//! Listeners that change while they serve.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use certmint::clock::{Clock, SystemClock};
use certmint::server::{Control, Ended, Listener, Security, Server, Shutdown, Telemetry};
use certmint::settings::{ClientAuth, ClientFingerprint, Content, ListenerSettings};

use crate::support::TestEnv;

/// A server that runs until dropped, and what changes it.
struct Running {
    runtime: tokio::runtime::Runtime,
    control: Control,
    addresses: Vec<SocketAddr>,
    shutdown: Shutdown,
    ended: tokio::task::JoinHandle<Ended>,
}

fn listener(content: Content) -> Listener {
    let address = "127.0.0.1:0".parse().unwrap();
    Listener {
        settings: ListenerSettings::new(address, content),
        security: Security::Plain,
    }
}

impl Running {
    fn start(listeners: Vec<Listener>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let shutdown = Shutdown::new();
        let server =
            Server::bind(listeners, &clock, shutdown.clone(), &Telemetry::default()).unwrap();
        let (control, addresses) = (server.control(), server.addresses());
        let ended = runtime.spawn(async { server.run().await.unwrap() });
        Self {
            runtime,
            control,
            addresses,
            shutdown,
            ended,
        }
    }

    fn apply(&self, listeners: Vec<Listener>) -> Vec<SocketAddr> {
        let _inside = self.runtime.enter();
        self.control.apply(listeners).unwrap()
    }

    fn end(self) {
        self.shutdown.stop();
        let ended = self.runtime.block_on(self.ended).unwrap();
        assert_eq!(ended, Ended::Drained);
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    let patience = Duration::from_secs(40);
    stream.set_read_timeout(Some(patience)).unwrap();
    stream
}

/// One request; the connection is kept.
fn get(stream: &mut TcpStream) -> String {
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b".\n") {
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}

/// Waits for the end of a connection that nothing is sent on any more.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.read(&mut [0; 64]).unwrap() == 0
}

fn sites(env: &TestEnv) -> [Content; 2] {
    ["one", "two"].map(|name| {
        env.write(format!("{name}/index.html"), format!("site {name}.\n"));
        Content::Root(env.path(name))
    })
}

#[test]
fn open_connections_keep_to_their_settings_and_those_of_a_removed_listener_end() {
    let env = TestEnv::new();
    let [one, two] = sites(&env);
    let server = Running::start(vec![listener(one.clone()), listener(one)]);
    let [stays, goes] = server.addresses[..] else {
        panic!("two listeners")
    };
    let (mut kept, mut left) = (connect(stays), connect(goes));
    for stream in [&mut kept, &mut left] {
        assert!(get(stream).ends_with("site one.\n"));
    }
    assert_eq!(server.apply(vec![listener(two)]), [stays]);
    assert!(is_closed(&mut left));
    assert!(get(&mut kept).ends_with("site one.\n"));
    assert!(get(&mut connect(stays)).ends_with("site two.\n"));
    server.end();
}

#[test]
fn clients_that_have_to_show_who_they_are_do_so_anew() {
    let env = TestEnv::new();
    let [one, _] = sites(&env);
    let known = |byte| {
        let mut listener = listener(one.clone());
        let known = vec![ClientFingerprint::Ed25519([byte; 32])];
        listener.settings.tls.clients = ClientAuth::Fingerprints(known);
        listener
    };
    let server = Running::start(vec![known(1)]);
    let mut open = connect(server.addresses[0]);
    let _ = get(&mut open);
    server.apply(vec![known(2)]);
    assert!(is_closed(&mut open), "its trust may have been taken away");
    server.end();
}

#[test]
fn a_change_that_fails_changes_nothing() {
    let env = TestEnv::new();
    let [one, two] = sites(&env);
    let server = Running::start(vec![listener(one)]);
    let nowhere = listener(Content::Root(env.path("nowhere")));
    {
        let _inside = server.runtime.enter();
        let refused = server.control.apply(vec![listener(two), nowhere]);
        assert!(refused.is_err());
    }
    assert!(get(&mut connect(server.addresses[0])).ends_with("site one.\n"));
    server.end();
}
