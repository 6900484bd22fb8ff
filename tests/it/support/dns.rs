//! A DNS server for tests: every host is this machine.
//!
//! It answers A with 127.0.0.1 and TXT from a map that the test fills, over UDP and
//! TCP; everything else exists and is empty, so that no CAA record forbids anything.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const A: u16 = 1;
const TXT: u16 = 16;
/// Longest message over UDP with EDNS, and longest taken here at all.
const LARGEST: usize = 4096;

/// A running server; ends when dropped.
#[derive(Debug)]
pub(crate) struct Dns {
    /// Where it listens, for UDP and TCP alike.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Texts by owner name, in small letters and without the last dot.
    txt: Mutex<BTreeMap<String, Vec<String>>>,
    asked: Mutex<Vec<(String, u16)>>,
    ended: AtomicBool,
}

impl Dns {
    pub(crate) fn start() -> Self {
        let (udp, tcp) = sockets();
        let address = udp.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let (over_udp, over_tcp) = (Arc::clone(&shared), Arc::clone(&shared));
        thread::spawn(move || serve_udp(&udp, &over_udp));
        thread::spawn(move || serve_tcp(&tcp, &over_tcp));
        Self { address, shared }
    }

    /// Replaces the TXT records at `name`.
    pub(crate) fn set_txt(&self, name: &str, texts: &[&str]) {
        let texts = texts.iter().map(|&text| text.to_owned()).collect();
        let name = name.to_ascii_lowercase();
        self.shared.txt.lock().unwrap().insert(name, texts);
    }

    /// Every name asked for so far, with the type of record.
    pub(crate) fn asked(&self) -> Vec<(String, u16)> {
        self.shared.asked.lock().unwrap().clone()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Each wakes one thread, which then looks.
        if let Ok(socket) = UdpSocket::bind("127.0.0.1:0") {
            socket.send_to(&[], self.address).ok();
        }
        TcpStream::connect(self.address).ok();
    }
}

/// A port that is free for both, by trying.
fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
    panic!("no port is free for UDP and TCP");
}

fn serve_udp(socket: &UdpSocket, shared: &Shared) {
    let mut query = [0; LARGEST];
    while let Ok((length, peer)) = socket.recv_from(&mut query) {
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        if let Some(answer) = shared.answer(&query[..length]) {
            socket.send_to(&answer, peer).ok();
        }
    }
}

fn serve_tcp(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((mut stream, _)) = listener.accept() {
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            stream.set_read_timeout(Some(Duration::from_secs(5))).ok();
            let mut length = [0; 2];
            while stream.read_exact(&mut length).is_ok() {
                let mut query = vec![0; u16::from_be_bytes(length).into()];
                if stream.read_exact(&mut query).is_err() {
                    return;
                }
                let Some(answer) = shared.answer(&query) else {
                    return;
                };
                let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                if stream.write_all(&[&length[..], &answer].concat()).is_err() {
                    return;
                }
            }
        });
    }
}

impl Shared {
    /// The answer to one query (RFC 1035 §4); `None` for what is none.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let id = query.get(..2)?;
        let mut at = 12;
        let mut labels = Vec::new();
        loop {
            let length = usize::from(*query.get(at)?);
            if length == 0 {
                break;
            }
            let label = query.get(at + 1..at + 1 + length)?;
            labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
            at += 1 + length;
        }
        let kind = u16::from_be_bytes(query.get(at + 1..at + 3)?.try_into().ok()?);
        let question = query.get(12..at + 5)?;
        let name = labels.join(".");
        let records = match kind {
            A => vec![vec![127, 0, 0, 1]],
            TXT => self.texts(&name),
            _ => Vec::new(),
        };
        self.asked.lock().unwrap().push((name, kind));
        let count = u16::try_from(records.len()).unwrap().to_be_bytes();
        // A response that is authoritative, to one question.
        let mut answer = [id, &[0x84, 0, 0, 1], &count[..], &[0; 4], question].concat();
        for data in records {
            // The name asked for, class IN, one second to live.
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend([0, 1, 0, 0, 0, 1]);
            answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            answer.extend(data);
        }
        Some(answer)
    }

    fn texts(&self, name: &str) -> Vec<Vec<u8>> {
        let all = self.txt.lock().unwrap();
        let texts = all.get(name).into_iter().flatten();
        texts
            .map(|text| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TestEnv, tool};
    use super::*;

    #[test]
    fn hosts_are_here_and_texts_are_those_that_were_set() {
        let Some(dig) = tool("dig") else { return };
        let (env, dns) = (TestEnv::new(), Dns::start());
        dns.set_txt("_acme-challenge.A.test", &["one", "two"]);
        let port = dns.address.port().to_string();
        for transport in ["+notcp", "+tcp"] {
            for (name, kind, want) in [
                ("any.test", "A", "127.0.0.1\n"),
                ("any.test", "AAAA", ""),
                ("any.test", "CAA", ""),
                ("_acme-challenge.a.TEST", "TXT", "\"one\"\n\"two\"\n"),
                ("_acme-challenge.b.test", "TXT", ""),
            ] {
                let args = ["@127.0.0.1", "-p", &port, "+short", "+tries=1", transport];
                let out = env.command(&dig, args).args([kind, name]).run().success();
                assert_eq!(out.stdout(), want, "{kind} {name} {transport}");
            }
        }
        assert!(dns.asked().contains(&("any.test".to_owned(), 28)));
    }
}
