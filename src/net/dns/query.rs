//! One question to one server: over UDP, and over TCP when that is cut short or lost.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::RecordType;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::DomainName;

/// Why a server's answer does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// It answered with an error.
    #[error("answers {}", code_name(*.0))]
    Code(ResponseCode),
    /// Nothing came in time.
    #[error("does not answer")]
    TimedOut,
    /// This machine has no way to that address (IPv6, most often).
    #[error("cannot be reached from this machine")]
    NoRoute,
    /// The network said no.
    #[error("cannot be asked: {0}")]
    Network(io::ErrorKind),
    /// What came is no DNS message, or no answer to the question.
    #[error("answers something that is no answer")]
    Garbled,
}

/// How long one question may take, over UDP and TCP together.
pub(super) const QUERY_DEADLINE: Duration = Duration::from_secs(3);

/// When a question over UDP is asked again, and then over TCP: packets get lost.
const RESEND_AFTER: Duration = Duration::from_millis(900);

/// Datagrams sent before TCP is tried.
const DATAGRAMS: usize = 2;

/// What we say fits through every network (DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;

/// Asks `server`; any answer to the question counts, whatever its response code.
pub(super) async fn ask(
    server: SocketAddr,
    name: &DomainName,
    kind: RecordType,
    recursive: bool,
) -> Result<Message, NoAnswer> {
    let question = question(name, kind, recursive);
    let asked = async {
        match over_udp(server, &question).await {
            Ok(answer) if !answer.metadata.truncation => return Ok(answer),
            Err(NoAnswer::NoRoute) => return Err(NoAnswer::NoRoute),
            // Cut short, lost, or a firewall that lets only TCP through.
            Ok(_) | Err(_) => {}
        }
        let bytes = question.to_vec().map_err(|_| NoAnswer::Garbled)?;
        let bytes = over_tcp(server, &bytes).await?;
        read_answer(&bytes, &question).ok_or(NoAnswer::Garbled)
    };
    tokio::time::timeout(QUERY_DEADLINE, asked)
        .await
        .unwrap_or(Err(NoAnswer::TimedOut))
}

/// Sends one message over TCP and returns the next that comes, as bytes.
///
/// # Errors
///
/// [`NoAnswer`], also when nothing came within `deadline`.
pub async fn exchange_tcp(
    server: SocketAddr,
    message: &[u8],
    deadline: Duration,
) -> Result<Vec<u8>, NoAnswer> {
    tokio::time::timeout(deadline, over_tcp(server, message))
        .await
        .unwrap_or(Err(NoAnswer::TimedOut))
}

fn question(name: &DomainName, kind: RecordType, recursive: bool) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = recursive;
    message.add_query(Query::query(name.as_name().clone(), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD);
    message.set_edns(edns);
    message
}

async fn over_udp(server: SocketAddr, question: &Message) -> Result<Message, NoAnswer> {
    let any: SocketAddr = if server.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any).await.map_err(|e| network(&e))?;
    // Connected: only the server's own packets come in, and the network's refusals.
    socket.connect(server).await.map_err(|e| network(&e))?;
    let bytes = question.to_vec().map_err(|_| NoAnswer::Garbled)?;
    let mut buffer = [0; 4096];
    for _ in 0..DATAGRAMS {
        socket.send(&bytes).await.map_err(|e| network(&e))?;
        let answer = tokio::time::timeout(RESEND_AFTER, async {
            loop {
                let length = socket.recv(&mut buffer).await.map_err(|e| network(&e))?;
                // Not an answer to this question: forged or late. The real one may follow.
                let bytes = buffer.get(..length).unwrap_or_default();
                if let Some(answer) = read_answer(bytes, question) {
                    return Ok(answer);
                }
            }
        });
        if let Ok(answer) = answer.await {
            return answer;
        }
    }
    Err(NoAnswer::TimedOut)
}

async fn over_tcp(server: SocketAddr, message: &[u8]) -> Result<Vec<u8>, NoAnswer> {
    let length = u16::try_from(message.len()).map_err(|_| NoAnswer::Garbled)?;
    let mut stream = TcpStream::connect(server).await.map_err(|e| network(&e))?;
    let framed = [&length.to_be_bytes(), message].concat();
    stream.write_all(&framed).await.map_err(|e| network(&e))?;
    // Two bytes of length: no more than 65,535 follow.
    let length = stream.read_u16().await.map_err(|e| network(&e))?;
    let mut answer = vec![0; usize::from(length)];
    let read = stream.read_exact(&mut answer).await;
    read.map_err(|e| network(&e))?;
    Ok(answer)
}

/// The message in `bytes` if it answers `question`.
fn read_answer(bytes: &[u8], question: &Message) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    // A server that refuses may leave the question away.
    let refuses =
        answer.queries.is_empty() && answer.metadata.response_code != ResponseCode::NoError;
    let same = answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && (refuses || answer.queries == question.queries);
    same.then_some(answer)
}

fn network(error: &io::Error) -> NoAnswer {
    match error.kind() {
        io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::AddrNotAvailable
        | io::ErrorKind::Unsupported => NoAnswer::NoRoute,
        kind => NoAnswer::Network(kind),
    }
}

fn code_name(code: ResponseCode) -> String {
    match code {
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::NotAuth => "NOTAUTH".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        other => format!("error {}", u16::from(other)),
    }
}
