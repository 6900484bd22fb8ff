//! Whoever asks: rustls without resumption, connections that do nothing, and an
//! upstream that takes its time.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::peers::Files;

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A client without resumption that agrees on X25519 alone, or on what both prefer.
pub(crate) fn config(files: &Files, any_group: bool) -> Arc<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    if !any_group {
        provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    }
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_file(&files.root).expect("the CA has a root");
    roots.add(root).expect("it is a certificate");
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("the provider knows both")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

fn connect(config: &Arc<ClientConfig>, address: SocketAddr) -> Tls {
    let name = ServerName::try_from("localhost").expect("a name");
    let tls = ClientConnection::new(Arc::clone(config), name).expect("a client");
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_nodelay(true).expect("a TCP socket");
    let mut stream = StreamOwned::new(tls, stream);
    while stream.conn.is_handshaking() {
        stream
            .conn
            .complete_io(&mut stream.sock)
            .expect("it agrees with us");
    }
    stream
}

/// So many handshakes, one after the other, on two threads.
pub(crate) fn handshakes(config: &Arc<ClientConfig>, address: SocketAddr, many: u32) {
    const THREADS: u32 = 2;
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..many / THREADS {
                    let mut stream = connect(config, address);
                    stream.conn.send_close_notify();
                    stream.flush().ok();
                }
            });
        }
    });
}

/// Connections that sent the first bytes of a ClientHello and stopped.
pub(crate) fn stalled(address: SocketAddr, many: u32) -> Vec<TcpStream> {
    let stall = |_| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let started = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        stream.write_all(&started).expect("it reads");
        stream
    };
    (0..many).map(stall).collect()
}

/// Connections that were answered once and now wait.
pub(crate) fn idle(config: &Arc<ClientConfig>, address: SocketAddr, many: u32) -> Vec<Tls> {
    let idle = |_| {
        let mut stream = connect(config, address);
        request(&mut stream, "/");
        stream
    };
    (0..many).map(idle).collect()
}

/// Asks once, and gives the length of the body.
fn request(stream: &mut (impl Read + Write + ?Sized), path: &str) -> usize {
    let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n");
    stream.write_all(ask.as_bytes()).expect("it reads");
    let mut buffer = vec![0; 256 * 1024];
    let mut filled = 0;
    let (length, mut read) = loop {
        let n = stream.read(&mut buffer[filled..]).expect("it answers");
        assert!(n > 0, "closed in a header");
        filled += n;
        if let Some(end) = buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.expect("a length").trim().parse().expect("a number");
            break (length, filled - end - 4);
        }
    };
    while read < length {
        let n = stream.read(&mut buffer).expect("it goes on");
        assert!(n > 0, "closed in a body");
        read += n;
    }
    length
}

/// The length of a file.
pub(crate) fn download(config: &Arc<ClientConfig>, address: SocketAddr, path: &str) -> usize {
    request(&mut connect(config, address), path)
}

/// How long requests take on one connection without TLS and on one with it, in pairs of
/// one each, of which either is first in turn.
pub(crate) fn pairs(
    plain: SocketAddr,
    config: &Arc<ClientConfig>,
    secure: SocketAddr,
    many: u32,
) -> Vec<(Duration, Duration)> {
    let mut plain = TcpStream::connect(plain).expect("it listens");
    plain.set_nodelay(true).expect("a TCP socket");
    let mut secure = connect(config, secure);
    let took = |stream: &mut dyn Stream| {
        let start = Instant::now();
        request(stream, "/");
        start.elapsed()
    };
    let mut pair = |n: u32| {
        if n.is_multiple_of(2) {
            let first = took(&mut plain);
            (first, took(&mut secure))
        } else {
            let first = took(&mut secure);
            (took(&mut plain), first)
        }
    };
    // The first warm up.
    (0..many + 100).map(&mut pair).skip(100).collect()
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// An HTTP server that answers each request after `pause`.
pub(crate) fn slow_upstream(pause: Duration) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                stream.set_nodelay(true).expect("a TCP socket");
                let mut buffer = [0; 4096];
                // A header of ours comes in one piece.
                while stream.read(&mut buffer).is_ok_and(|n| n > 0) {
                    thread::sleep(pause);
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}
